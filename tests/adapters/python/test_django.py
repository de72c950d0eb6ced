"""Tests of the Django adapter: cookies, expiry, logins, sessions that end during a request, failures."""

import asyncio
import json
import logging
import os
import pathlib
import tempfile
import threading
import unittest
from datetime import datetime, timedelta, timezone

import django
from common import APP, Server, answer, api, count, create, kill, session, stored, users
from django.conf import settings

folder = tempfile.TemporaryDirectory()

settings.configure(
    SECRET_KEY="of the test",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder.name}/users"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions", "messages")],
    MIDDLEWARE=[
        "rest_sessions.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
    SESSION_ENGINE="rest_sessions",
    SESSION_COOKIE_NAME="session",
    SESSION_COOKIE_AGE=1200,
    TEMPLATES=[],
)
django.setup()

import rest_sessions  # noqa: E402
from django.contrib import auth, messages  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection as database  # noqa: E402
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.test import AsyncClient, Client, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.safestring import SafeString, mark_safe  # noqa: E402
from django.utils.translation import gettext_lazy  # noqa: E402
from rest_sessions import SessionStore  # noqa: E402

TABLE = json.loads(pathlib.Path(os.environ["COOKIES"]).read_text(encoding="utf-8"))
DEAD = "D" * 64
view_of_the_test = None


def call(request):
    answer = view_of_the_test(request)
    return answer if isinstance(answer, (HttpResponse, StreamingHttpResponse)) else HttpResponse(str(answer))


async def asynchronous(request):
    return JsonResponse({"who": await request.session.aget("who")})


urlpatterns = [path("view", call), path("asynchronous", asynchronous)]


def setUpModule():
    unittest.addModuleCleanup(folder.cleanup)
    unittest.addModuleCleanup(database.close)
    call_command("migrate", verbosity=0)


def named(response):
    """Returns the token in a response's cookie; "" if it deletes the cookie, None if it has no cookie."""
    return response.cookies["session"].value if "session" in response.cookies else None


class DjangoTests(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def ask(self, view, token=None, status=200, **environ):
        """Runs a view once, in a request with this token."""
        global view_of_the_test
        view_of_the_test = view
        if token:
            environ["HTTP_COOKIE"] = f"session={token}"
        response = Client(raise_request_exception=False).get("/view", **environ)
        self.assertEqual(response.status_code, status)
        return response

    def test_the_table_of_cookies(self):
        tokens = {"ann": create({"who": "ann"}), "bob": create({"who": "bob"}), "dead": DEAD}
        for case in TABLE:
            lines = [line.format(**tokens) for line in case["lines"]]
            with self.subTest(case["name"]):
                response = self.ask(lambda request: request.session.get("who"), HTTP_COOKIE=",".join(lines))
                self.assertEqual(response.content.decode(), str(case["who"]))

    def test_a_logout_ends_the_live_session(self):
        token = create({"who": "ann"})
        response = self.ask(lambda request: request.session.flush(), HTTP_COOKIE=f"session={DEAD}; session={token}")
        self.assertEqual((named(response), stored(token)), ("", None))

    def test_asynchronous_requests_reuse_connections(self):
        token = create({"who": "ann"})
        server = Server(lambda connection, number: self.serve(connection, token))
        self.addCleanup(server.close)
        rest_sessions.client.cache_clear()
        self.addCleanup(rest_sessions.client.cache_clear)

        async def visit():
            client = AsyncClient()
            client.cookies["session"] = token
            answers = [await client.get("/asynchronous") for _ in range(20)]
            return {answer.content for answer in answers}

        with override_settings(REST_SESSIONS_URL=server.url):
            self.assertEqual(asyncio.run(visit()), {b'{"who": "ann"}'})
        self.assertEqual(len(server.requests), 20)
        self.assertEqual(server.connections, 1)

    @staticmethod
    def serve(connection, token):
        while connection.read():
            connection.send(answer({"d": {"who": "ann"}, "ttl": 1200}))

    def test_a_moving_expiry_date_keeps_the_token(self):
        """A middleware sets a sliding expiry: concurrent requests stay logged in and leave one session."""
        api("DELETE", "/killsoid/slider")
        token = create({"user_id": "slider"}, "slider", 1200)

        def view(request):
            request.session.set_expiry(timedelta(minutes=30))
            return "ok"

        first = named(self.ask(view, token))
        self.assertIsNone(stored(token))
        got = []
        for _ in range(3):
            got.append(named(self.ask(view, first)))
        threads = [threading.Thread(target=lambda: got.append(named(self.ask(view, first)))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(got), {first})
        self.assertEqual(len(got), 9)
        self.assertEqual(len(api("GET", "/soid/slider")["sessions"]), 1)
        self.assertIn(session(first)["ttl"], (1799, 1800))

    def test_setting_the_same_expiry_changes_nothing(self):
        token = create({"who": "ann"}, ttl=1200)
        for value in (1200, 0, None):
            response = self.ask(lambda request, value=value: request.session.set_expiry(value), token)
            self.assertIn(named(response), (token, None))
        other = named(self.ask(lambda request: request.session.set_expiry(600), token))
        self.assertNotEqual(other, token)
        self.assertEqual((session(other)["ttl"], stored(token)), (600, None))
        self.assertEqual(named(self.ask(lambda request: request.session.set_expiry(600), other)), other)

    def test_an_expiry_in_the_past_ends_the_session(self):
        before = count()
        for value in (-1, timedelta(seconds=-10), datetime(2020, 1, 1, tzinfo=timezone.utc)):
            token = create({"who": "ann"}, ttl=1200)
            with self.subTest(value):
                response = self.ask(lambda request, value=value: request.session.set_expiry(value), token)
                self.assertEqual((named(response), stored(token)), ("", None))
        self.assertEqual(count(), before)

    def test_a_past_expiry_date_ends_the_session(self):
        date = (datetime.now(timezone.utc) - timedelta(seconds=5)).isoformat()
        token = create({"who": "ann", "_session_expiry": date})
        self.assertEqual(self.ask(lambda request: request.session.get("who"), token).content, b"None")
        self.assertIsNone(stored(token))

    def test_an_invalid_expiry_is_hidden_and_stays(self):
        for value in ("soon", "2026-01-01T00:00:00"):
            token = create({"who": "ann", "_session_expiry": value})
            with self.subTest(value):
                self.ask(lambda request: request.session.update({"a": request.session["who"]}), token)
                self.assertEqual(stored(token), {"who": "ann", "_session_expiry": value, "a": "ann"})
                self.ask(lambda request: request.session.flush(), token)
                self.assertIsNone(stored(token))

    def test_an_expiry_beyond_pythons_dates_is_hidden_and_stays(self):
        limit = (datetime.max.replace(tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
        for value in (1e300, 10**15, 10**12, int(limit), "9999-12-31T23:59:59-23:59"):
            token = create({"who": "ann", "_session_expiry": value})
            with self.subTest(value):
                shown = self.ask(lambda request: request.session.get_expiry_date() and request.session.keys(), token)
                self.assertNotIn(b"_session_expiry", shown.content)
                self.ask(lambda request: request.session.update({"a": request.session["who"]}), token)
                self.assertEqual(stored(token), {"who": "ann", "_session_expiry": value, "a": "ann"})
                self.ask(lambda request: request.session.flush(), token)
                self.assertIsNone(stored(token))
        for value in ("9999-12-31T23:59:59+00:00", 3 * 10**9):
            token = create({"who": "ann", "_session_expiry": value}, ttl=2147483647)
            with self.subTest(value):
                response = self.ask(lambda request: request.session.update({"a": 1}), token)
                self.assertEqual(named(response), token)
                self.assertEqual(response.cookies["session"]["max-age"], 2147483647)
        before = count()
        self.ask(lambda request: request.session.set_expiry(10**12), status=500)
        self.assertEqual(count(), before)

    def test_a_user_id_that_django_cannot_use_is_hidden_and_stays(self):
        """Another framework has stored the user id."""
        user = auth.get_user_model().objects.create(username="bob")
        backend = "django.contrib.auth.backends.ModelBackend"

        def login(request):
            auth.login(request, user, backend)

        for d in (
            {"_auth_user_id": "ann@example.com", "_auth_user_backend": backend},
            {"_auth_user_id": "ann@example.com"},
            {"_auth_user_id": ""},
            {"_auth_user_id": f"{user.pk}\0"},
            {"_auth_user_id": user.pk + 0.5},
            {"_auth_user_id": True},
            {"json:_auth_user_id": f"[{user.pk}]"},
        ):
            with self.subTest(d):
                token = create(d, "ann@example.com")

                def view(request):
                    request.session["a"] = 1
                    return request.user.is_authenticated

                response = self.ask(view, token)
                self.assertEqual((response.content, named(response)), (b"False", token))
                self.assertEqual(stored(token), {**d, "a": 1})
                new = named(self.ask(login, token))
                self.assertEqual((stored(token), session(new)["id"]), (None, str(user.pk)))
                self.assertEqual(self.ask(lambda request: request.user, new).content, b"bob")
                token = create(d, "ann@example.com")
                self.assertEqual(named(self.ask(auth.logout, token)), "")
                self.assertIsNone(stored(token))
        token = create({"_auth_user_id": "ann@example.com"}, "ann@example.com")
        new = named(self.ask(lambda request: request.session.cycle_key(), token))
        self.assertEqual(session(new)["id"], "ann@example.com")

    def test_foreign_messages_and_csrf_tokens_are_hidden_and_stay(self):
        got = []

        def shows(request):
            got.extend(messages.get_messages(request))
            return get_token(request) and "ok"

        def adds(request):
            messages.info(request, "hi")

        for value in ("oops", "5", "[1]", '[["__json_message",0]]', '{"a":1}', "null", 5, True):
            token = create({"_messages": value})
            with self.subTest(value):
                self.ask(shows, token)
                self.assertEqual((got, stored(token)), ([], {"_messages": value}))
                self.ask(adds, token)
                self.assertIn('"hi"', stored(token)["_messages"])
        middleware = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
        with override_settings(CSRF_USE_SESSIONS=True, MIDDLEWARE=middleware):
            token = create({"_csrftoken": 5})
            self.assertEqual(self.ask(shows, token).content, b"ok")
            self.assertIsInstance(stored(token)["_csrftoken"], str)

    def test_an_ended_session_does_not_return_under_a_new_token(self):
        user = auth.get_user_model().objects.create(username="back")
        pk = str(user.pk)
        rest_sessions.logout_everywhere(pk)  # sessions of an earlier run
        views = (
            lambda request: auth.update_session_auth_hash(request, user),
            lambda request: request.session.cycle_key(),
            lambda request: request.session.set_expiry(600),
        )
        for end in (lambda token: rest_sessions.logout_everywhere(pk), lambda token: self.ask(auth.logout, token)):
            for number, view in enumerate(views):
                token = create({"_auth_user_id": pk}, pk, 1200)

                def held(request, end=end, view=view, token=token):
                    request.session.get("a")
                    end(token)
                    view(request)

                with self.subTest(number):
                    before = count() - 1
                    self.assertIsNone(named(self.ask(held, token, 400)))
                    self.assertEqual((users(pk), count()), ([], before))

    def test_concurrent_renewals_of_the_token_leave_one_session(self):
        views = (lambda request: request.session.cycle_key(), lambda request: request.session.set_expiry(600))
        for d, user in (({"user_id": "twice"}, "twice"), ({"a": 1}, "anonymous")):
            for number, view in enumerate(views):
                token = create(d, user, 1200)
                inner = []

                def held(request, view=view, token=token, inner=inner):
                    request.session.get("a")
                    inner.append(named(self.ask(view, token)))
                    view(request)

                with self.subTest(number, user=user):
                    before = count()
                    self.assertIsNone(named(self.ask(held, token, 400)))
                    self.assertEqual((d.items() <= stored(inner[0]).items(), count()), (True, before))

    def test_two_clicks_on_a_login_form_both_log_in(self):
        token = create({"cart": 1})

        def login(request):
            request.session.cycle_key()
            request.session["user_id"] = "clicker"

        def held(request):
            request.session.get("cart")
            self.ask(login, token)
            login(request)

        new = named(self.ask(held, token))
        self.assertEqual((stored(new), stored(token)), ({"cart": 1, "user_id": "clicker"}, None))

    def test_a_dead_cookie_does_not_prevent_a_new_session(self):
        def view(request):
            request.session.clear()
            request.session.cycle_key()
            request.session["a"] = 1

        self.assertEqual(stored(named(self.ask(view, DEAD))), {"a": 1})

    def test_an_escaped_token_is_not_accepted(self):
        token = create({"who": "ann"})
        escaped = f'"\\{ord(token[0]):03o}{token[1:]}"'
        for name in ("session", "\x0bsession"):
            response = self.ask(lambda request: request.session.get("who"), HTTP_COOKIE=f"{name}={escaped}")
            self.assertEqual(response.content, b"None")

    def test_clear_removes_the_data_from_the_service(self):
        token = create({"who": "ann", "json:cart": "[1]"})

        def view(request):
            request.session.clear()
            request.session["a"] = 1

        self.assertEqual(named(self.ask(view, token)), token)
        self.assertEqual(stored(token), {"a": 1})

    def test_clear_and_cycle_key_end_the_old_session(self):
        token = create({"who": "ann"})

        def view(request):
            request.session.clear()
            request.session.cycle_key()

        new = named(self.ask(view, token))
        self.assertIsNone(stored(token))
        self.assertEqual(stored(new), {})
        self.assertNotEqual(new, token)

    def test_a_new_user_after_clear_gets_a_new_token(self):
        token = create({"user_id": "eve"}, "eve")

        def view(request):
            request.session.clear()
            request.session["user_id"] = "mallory"

        new = named(self.ask(view, token))
        self.assertEqual((stored(token), stored(new)), (None, {"user_id": "mallory"}))

    def test_saving_a_session_that_was_ended_elsewhere_fails(self):
        def changes(request):
            request.session["a"] = 1

        def nothing_new(request):
            request.session.modified = True

        for view in (changes, nothing_new):
            token = create({"who": "ann"})

            def held(request, view=view, token=token):
                request.session.get("who")
                kill(token)
                view(request)

            with self.subTest(view.__name__):
                self.assertIsNone(named(self.ask(held, token, 400)))
                self.assertIsNone(stored(token))

    def test_reading_with_a_dead_token_does_not_delete_the_cookie(self):
        """The cookie may belong to a concurrent login."""
        self.assertIsNone(named(self.ask(lambda request: request.session.get("who"), DEAD)))

    @override_settings(SESSION_SAVE_EVERY_REQUEST=True)
    def test_save_every_request(self):
        token = create({"who": "ann"})
        self.assertEqual(named(self.ask(lambda request: "ok", token)), token)
        before = count()
        self.assertIsNone(named(self.ask(lambda request: "ok", DEAD)))
        self.assertIsNone(named(self.ask(lambda request: "ok")))
        self.assertEqual(count(), before)

        def held(request):
            request.session.get("who")
            kill(token)

        self.assertIsNone(named(self.ask(held, token, 400)))

    def test_a_new_session_without_a_cookie_is_ended(self):
        def view(request):
            request.session["who"] = "ann"
            request.session.save()
            raise RuntimeError("boom")

        before = count()
        self.assertIsNone(named(self.ask(view, status=500)))
        self.assertEqual(count(), before)

    def test_a_cookie_that_cannot_be_set_leaves_no_session(self):
        """The settings change after the start, as in tests."""

        def view(request):
            with_bad = override_settings(SESSION_COOKIE_SAMESITE="bogus")
            with_bad.enable()
            self.addCleanup(with_bad.disable)
            request.session["a"] = 1

        before = count()
        self.assertIsNone(named(self.ask(view, status=500)))
        self.assertEqual(count(), before)

    def test_a_change_after_the_response_has_started_is_logged_and_creates_nothing(self):
        logging.disable(logging.NOTSET)
        refused = []

        def view(request):
            def pieces():
                yield b"a"
                request.session["late"] = 1
                try:
                    request.session.save()
                except rest_sessions.SessionsError as error:
                    refused.append(error)
                yield b"b"

            return StreamingHttpResponse(pieces())

        before = count()
        with self.assertLogs("rest_sessions", "ERROR") as logs:
            response = self.ask(view)
            self.assertEqual(b"".join(response.streaming_content), b"ab")
        self.assertEqual((len(logs.output), len(refused), named(response), count()), (1, 1, None, before))

    def test_a_login_whose_old_session_cannot_be_ended(self):
        """The new session ends too, and the response has no cookie."""
        asked = []

        def serve(connection, number):
            while path := connection.read():
                asked.append(path.split("/", 2)[2].split("?")[0])
                good = answer({"d": {"who": "ann"}, "token": "N" * 64, "kill": 1, "ttl": 1200})
                connection.send(answer({}, "HTTP/1.1 503 Out") if path == f"/{APP}/kill/{DEAD}" else good)

        server = Server(serve)
        self.addCleanup(server.close)
        rest_sessions.client.cache_clear()
        self.addCleanup(rest_sessions.client.cache_clear)

        def view(request):
            request.session.cycle_key()
            request.session["user_id"] = "bob"

        with override_settings(REST_SESSIONS_URL=server.url):
            self.assertIsNone(named(self.ask(view, DEAD, 500)))
        self.assertEqual(asked, [f"get/{DEAD}", "create/bob", f"kill/{DEAD}", f"kill/{'N' * 64}"])

    def test_lazy_text_and_messages(self):
        def view(request):
            request.session["title"] = gettext_lazy("Title")
            messages.success(request, gettext_lazy("Saved"))
            messages.info(request, mark_safe("<b>x</b>"))

        token = named(self.ask(view))
        self.assertEqual(stored(token)["title"], "Title")
        got = []
        self.ask(lambda request: got.extend(message.message for message in messages.get_messages(request)), token)
        self.assertEqual((got, [type(text) for text in got]), (["Saved", "<b>x</b>"], [str, SafeString]))

    def test_unreadable_values_survive_writes_and_logins(self):
        body = b'{"who":"ann","json:n":"{oops","json:m":5}'
        token = api("PUT", "/create/ann?ip=192.0.2.1", body)["token"]
        self.ask(lambda request: request.session.update({"a": 1}), token)
        self.assertEqual(stored(token), {**json.loads(body), "a": 1})
        token = named(self.ask(lambda request: request.session.update({"user_id": "ann"}), token))
        self.assertEqual(stored(token), {**json.loads(body), "a": 1, "user_id": "ann"})

    def test_untouched_requests_survive_an_outage(self):
        rest_sessions.client.cache_clear()
        self.addCleanup(rest_sessions.client.cache_clear)
        with override_settings(REST_SESSIONS_URL="http://127.0.0.1:9"):
            self.ask(lambda request: "ok", DEAD)
            self.ask(lambda request: request.session.get("who"), DEAD, 500)

    def test_each_session_without_a_user_gets_its_own_id(self):
        ids = {session(named(self.ask(lambda request: request.session.update({"a": 1}))))["id"] for _ in range(2)}
        self.assertEqual(len(ids), 2)
        for id in ids:
            self.assertRegex(id, r"^anonymous:[0-9a-f]{16}$")

    def test_addresses_with_ports(self):
        for given, kept in (
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.7:9", "192.0.2.7"),
            ("junk", "0.0.0.0"),
            ("", "0.0.0.0"),
        ):
            token = named(self.ask(lambda request: request.session.update({"a": 1}), REMOTE_ADDR=given))
            self.assertEqual(session(token)["ip"], kept)

    def test_cookie_settings(self):
        chosen = {
            "DOMAIN": "example.com",
            "PATH": "/shop",
            "SAMESITE": "Strict",
            "HTTPONLY": False,
            "SECURE": True,
            "AGE": 99,
        }
        with override_settings(**{f"SESSION_COOKIE_{name}": value for name, value in chosen.items()}):
            cookie = self.ask(lambda request: request.session.update({"a": 1})).cookies["session"]
        got = {name: cookie[name] for name in ("domain", "path", "samesite", "httponly", "secure", "max-age")}
        wanted = {
            "domain": "example.com",
            "path": "/shop",
            "samesite": "Strict",
            "httponly": "",
            "secure": True,
            "max-age": 99,
        }
        self.assertEqual(got, wanted)
        self.assertEqual(session(cookie.value)["ttl"], 99)
        with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
            self.assertEqual(
                self.ask(lambda request: request.session.update({"a": 1})).cookies["session"]["max-age"], ""
            )

    def test_unsupported_settings_are_refused(self):
        for name, value in (
            ("SESSION_SERIALIZER", "a.Pickle"),
            ("SESSION_ENGINE", "django.contrib.sessions.backends.cache"),
        ):
            with override_settings(**{name: value}), self.assertRaisesRegex(ImproperlyConfigured, name):
                rest_sessions.SessionMiddleware(call)
        for name, value in (
            ("NAME", "my session"),
            ("NAME", "__Host-session"),
            ("NAME", "path"),  # a reserved name in Python's cookies
            ("DOMAIN", "ex\nample"),
            ("DOMAIN", "b\u00fccher.example"),
            ("PATH", "/\u00e9"),
            ("SAMESITE", "bogus"),
            ("SAMESITE", "None"),
        ):
            with self.subTest(name, value=value), override_settings(**{f"SESSION_COOKIE_{name}": value}):
                with self.assertRaises(ImproperlyConfigured):
                    rest_sessions.SessionMiddleware(call)
        rest_sessions.client.cache_clear()
        self.addCleanup(rest_sessions.client.cache_clear)
        with (
            override_settings(REST_SESSIONS_APP="no such app"),
            self.assertRaisesRegex(ValueError, "REST_SESSIONS_APP"),
        ):
            rest_sessions.SessionMiddleware(call)

    def test_two_saves_create_one_session(self):
        def view(request):
            request.session["a"] = 1
            request.session.save()
            request.session["b"] = 2
            request.session.save()

        before = count()
        self.assertEqual(stored(named(self.ask(view))), {"a": 1, "b": 2})
        self.assertEqual(count(), before + 1)

    def test_the_user_ids_dot_and_dot_dot(self):
        for user in (".", ".."):
            token = named(self.ask(lambda request, user=user: request.session.update({"user_id": user})))
            self.assertEqual(session(token)["id"], user)
            self.assertEqual(rest_sessions.logout_everywhere(user), 1)
            self.assertIsNone(stored(token))

    def test_the_store_outside_of_a_request(self):
        store = SessionStore()
        store["a"] = 1
        store.save()
        self.assertEqual(SessionStore(store.session_key)["a"], 1)
        store.delete()
        self.assertFalse(store.exists(store.session_key))


if __name__ == "__main__":
    unittest.main()
