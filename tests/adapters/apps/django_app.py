"""The test app in Django. All apps here have the same routes; check.py describes them."""

import datetime
import json
import os
import time

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of the test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DJANGO_DATABASE"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["rest_sessions.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware"],
    SESSION_ENGINE="rest_sessions",
    SESSION_COOKIE_NAME="session",
    SESSION_COOKIE_SECURE=True,
    SESSION_COOKIE_AGE=1200,
)
django.setup()

from django.contrib.auth import get_user_model, login, logout  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

import rest_sessions  # noqa: E402


def data(request):
    return JsonResponse(dict(request.session.items()))


def plain(request):
    return JsonResponse({})


def write(request):
    body = json.loads(request.body)
    request.session.get("")  # loads the session
    if hold := body.get("hold"):
        open(f"{hold}.waiting", "w").close()
        while not os.path.exists(hold):
            time.sleep(0.02)
    request.session.update(body.get("set", {}))
    for key in body.get("remove", []):
        request.session.pop(key, None)
    return data(request)


def push(request):
    request.session["cart"]["items"].append(json.loads(request.body)["item"])
    request.session.modified = True
    return data(request)


def bad(request):
    request.session["fine"] = 1
    kind = json.loads(request.body)["kind"]
    request.session["bad"] = {"object": datetime.datetime.now(), "nan": float("nan")}[kind]
    return JsonResponse({})


def log_in(request):
    user, _ = get_user_model().objects.get_or_create(username=json.loads(request.body)["user"])
    login(request, user)
    return JsonResponse({"user": str(user.pk)})


def log_out(request):
    logout(request)
    return JsonResponse({})


def everywhere(request):
    return JsonResponse({"kill": rest_sessions.logout_everywhere(json.loads(request.body)["user"])})


def whoami(request):
    return JsonResponse({"name": request.user.username})


async def asynchronous(request):
    """Calls the asynchronous methods of a session, after a login."""
    await request.session.aset("asynchronous", True)
    await request.session.acycle_key()
    await request.session.asave()
    return JsonResponse({"key": await request.session.aexists(request.session.session_key)})


def expiry(request):
    request.session.set_expiry(json.loads(request.body)["seconds"])
    return data(request)


views = {
    "plain": plain,
    "read": data,
    "write": write,
    "push": push,
    "bad": bad,
    "login": log_in,
    "logout": log_out,
    "everywhere": everywhere,
    "whoami": whoami,
    "asynchronous": asynchronous,
    "expiry": expiry,
}
urlpatterns = [path(name, view) for name, view in views.items()]
call_command("migrate", verbosity=0)
app = get_wsgi_application()
