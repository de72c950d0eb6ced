"""The Python part of the site: WSGI, served by the standard library. session_client.py is the file to copy."""

import os
import sys
import time
from html import escape
from socketserver import ThreadingMixIn
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIServer, make_server

from session_client import SessionClient, SessionOutage, SessionRefused, address_of, tokens_of

sessions = SessionClient(os.environ["SESSIONS_URL"], "site")

PASSWORD = "demo"  # Demo only: all users share one password. A real site stores a hash of each user's password.
ROLES = ("reader", "editor")

# Lax: browsers omit the cookie in POSTs from other sites. No Max-Age: the service's ttl ends a session.
COOKIE = "session={}; Path=/; HttpOnly; Secure; SameSite=Lax"

LOGIN = """<form method="post" action="/python/login">
<label>Name <input name="name" required maxlength="64" autocomplete="username"></label>
<label>Role <select name="role"><option>reader<option>editor</select></label>
<label>Password <input name="password" type="password" required autocomplete="current-password"></label>
<button>Log in</button>
<p>This is a demo: any name will do, and the password is <code>demo</code>.</p>
</form>"""


def home(request):
    token, session = session_of(request)
    if session:
        # Two concurrent visits may count as one: both read the same number.
        session = sessions.set(token, {"visits": session["d"].get("visits", 0) + 1})
    if not session:
        return page("200 OK", "You are not logged in", LOGIN)
    data = session["d"]
    return page("200 OK", f"Hello, {escape(data['name'])}", f"""<p>Your role: <b id="role">{escape(data['role'])}</b>.
Your visits to the four parts: <b id="visits">{data['visits']}</b>.</p>
<p><a href="/python/devices">Your devices</a></p>
<form method="post" action="/python/logout"><button>Log out</button></form>""")


def login(request):
    size = min(int(request.get("CONTENT_LENGTH") or 0), 16384)
    form = parse_qs(request["wsgi.input"].read(size).decode(errors="replace"))
    name, role, password = (form.get(field, [""])[0] for field in ("name", "role", "password"))
    if password != PASSWORD:
        return page("403 Forbidden", "Wrong password", LOGIN)
    if not name[:1].isalnum() or len(name) > 64 or role not in ROLES:
        return page("400 Bad Request", "Choose a name that begins with a letter or a digit", LOGIN)
    try:
        token = sessions.create(name, visitor_ip(request), {"name": name, "role": role, "visits": 0})
    except SessionRefused:  # a line break in the name, for example
        return page("400 Bad Request", "Choose another name", LOGIN)
    # Always a new token, and the old session ends. Why: an attacker may have planted the old token.
    try:
        end_session_of(request)
    except SessionOutage:
        sessions.kill(token)  # the response will not set its cookie
        raise
    return redirect(COOKIE.format(token))


def devices(request):
    _, session = session_of(request)
    if not session:
        return redirect()
    rows = "".join(
        f"<tr><td>{escape(device['ip'])}<td>{device['idle']} s"
        f"<td>{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(time.time() - device['idle']))} UTC"
        for device in sessions.soid(session["id"])
    )
    return page("200 OK", "Your devices", f"""<table><tr><th>Address<th>Idle<th>Last use{rows}</table>
<form method="post" action="/python/logout-everywhere"><button>Log out everywhere</button></form>
<p><a href="/python/">Back</a></p>""")


def logout(request):
    end_session_of(request)  # first: if it fails, the visitor keeps the cookie and can try again
    return redirect(COOKIE.format("") + "; Max-Age=0")


def logout_everywhere(request):
    _, session = session_of(request)
    if session:
        sessions.killsoid(session["id"])
    return redirect(COOKIE.format("") + "; Max-Age=0")


ROUTES = {
    ("GET", "/python/"): home,
    ("GET", "/python/devices"): devices,
    ("POST", "/python/login"): login,
    ("POST", "/python/logout"): logout,
    ("POST", "/python/logout-everywhere"): logout_everywhere,
}


def answer(request):
    handler = ROUTES.get((request["REQUEST_METHOD"], request["PATH_INFO"]))
    if not handler:
        return page("404 Not Found", "No such page")
    if request["REQUEST_METHOD"] == "POST" and not from_this_site(request):
        return page("403 Forbidden", "This form was sent from another site")
    try:
        return handler(request)
    except SessionOutage as outage:
        print(f"sessions: {outage}", file=sys.stderr)
        status, headers, body = page("503 Service Unavailable", "Please try again in a moment",
                                     "<p>The session service does not answer. You have not been logged out.</p>")
        return status, [*headers, ("Retry-After", "1")], body


def application(request, start_response):
    status, headers, body = answer(request)
    start_response(status, headers)
    return [body]


def from_this_site(request):
    """Protects against CSRF. Browsers send Origin with each POST, so this covers the login too, which has no session
    yet that could hold a CSRF token."""
    return request.get("HTTP_ORIGIN") == f"{request.get('HTTP_X_FORWARDED_PROTO')}://{request.get('HTTP_HOST')}"


def visitor_ip(request):
    return address_of(request.get("HTTP_X_REAL_IP"))  # nginx overwrites what the client sent


def session_of(request):
    """Returns the token and the session of the first cookie with a live session, or None for both."""
    for token in tokens_of(request.get("HTTP_COOKIE"), "session"):
        session = sessions.get(token)
        if session:
            return token, session
    return None, None


def end_session_of(request):
    return any(sessions.kill(token) for token in tokens_of(request.get("HTTP_COOKIE"), "session"))


def page(status, title, content=""):
    """`title` and `content` are HTML."""
    html = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Python</title>
<link rel="stylesheet" href="/style.css">
<nav><b>Python</b> <a href="/php/">PHP</a> <a href="/java/">Java</a> <a href="/node/">Node</a></nav>
<main>
<h1>{title}</h1>
{content}
</main>
"""
    return status, [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")], html.encode()


def redirect(set_cookie=None):
    headers = [("Location", "/python/"), ("Cache-Control", "no-store")]
    return "303 See Other", headers + ([("Set-Cookie", set_cookie)] if set_cookie else []), b""


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    with make_server(*address, application, Server) as server:
        print(f"listening on http://{address[0]}:{server.server_port}", flush=True)
        server.serve_forever()
