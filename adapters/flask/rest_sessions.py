"""Keeps Flask's sessions in rest-sessions. Copy this file; README.md beside it shows its use."""

import json
import os
import re
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlencode, urlsplit

from flask.sessions import SessionInterface, SessionMixin

TOKEN = re.compile(r"[A-Za-z0-9]{64}")
NESTED = "json:"  # what the key of a nested value begins with; the value is then JSON text
USER_KEYS = ("user_id", "_user_id", "_auth_user_id")  # ours, Flask-Login's, Django's
ANONYMOUS = "anonymous"
NO_IP = "0.0.0.0"


class SessionsError(Exception):
    """There was no answer, or an error. No message holds a token."""


class Client:
    """The routes of rest-sessions. `d` is the data of a session as the service has it: flat."""

    def __init__(self, url, app):
        if not app:
            raise ValueError("rest-sessions: name the app, in the settings or in REST_SESSIONS_APP")
        self._url = urlsplit(url or "http://127.0.0.1:3000")
        self._path = f"{self._url.path.rstrip('/')}/{app}"
        self._local = threading.local()

    def create(self, user, ip, ttl, d, no_resave=False):
        query = {"ip": ip, "ttl": min(max(int(ttl), 10), 2147483647), "no_resave": str(no_resave).lower()}
        return self._ask("PUT", f"/create/{quote(user, safe='')}?{urlencode(query)}", d)["token"]

    def get(self, token):
        """Answers `d`, or None if there is no such session."""
        session = self._ask("GET", f"/get/{token}")
        return session.get("d", {}) if session else None

    def set(self, token, changes):
        """Answers whether there is such a session."""
        return self._ask("POST", f"/set/{token}", changes) != {}

    def kill(self, token):
        self._ask("DELETE", f"/kill/{token}")

    def kill_user(self, user):
        return self._ask("DELETE", f"/killsoid/{quote(str(user), safe='')}")["kill"]

    def _ask(self, method, path, data=None):
        connection = self._connection()
        body = None if data is None else dump(data).encode()
        while True:
            reused = connection.sock is not None
            try:
                connection.request(method, self._path + path, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
                break
            except (OSError, HTTPException) as error:
                connection.close()
                # The service ends connections that were idle; then a new one is worth a try.
                if not (reused and isinstance(error, ConnectionError)):
                    raise SessionsError("rest-sessions: no answer") from error
        if status != 200:
            raise SessionsError(f"rest-sessions: {status} {text[:200].decode(errors='replace')}")
        return json.loads(text)

    def _connection(self):
        """The connection of this thread."""
        if not hasattr(self._local, "connection"):
            kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
            self._local.connection = kind(self._url.hostname, self._url.port, timeout=5)
        return self._local.connection


def dump(value):
    """JSON, or a TypeError or ValueError for what it cannot hold."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def encode(session):
    """`d` for a session: strings, numbers and booleans as they are, other values as JSON text under `json:KEY`."""
    d = {}
    for key, value in session.items():
        if not isinstance(key, str):
            raise TypeError(f"a key of a session must be a string, not {key!r}")
        if isinstance(value, (str, int, float)) and not key.startswith(NESTED):
            d[key] = value
        else:
            d[NESTED + key] = dump(value)
    return d


def decode(d):
    """The session for a `d`. A plain value wins over a nested one of the same name."""
    session = {key: value for key, value in d.items() if not key.startswith(NESTED)}
    for key, text in d.items():
        if key.startswith(NESTED):
            session.setdefault(key.removeprefix(NESTED), json.loads(text))
    return session


def changes(before, after):
    """What makes `after` of a `d`. Each key goes with its other form, so that no two requests can leave both."""
    changed = {}
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if type(old) is type(new) and old == new:
            continue
        name = key.removeprefix(NESTED)
        forms = (key,) if name.startswith(NESTED) else (name, NESTED + name)
        changed.update((form, after.get(form)) for form in forms)
    return changed


def user_of(d):
    """The id of the session's user."""
    ids = (d[key] for key in USER_KEYS if type(d.get(key)) in (str, int))
    return next((str(user) for user in ids if user != ""), ANONYMOUS)


# Up to here the same as for Django.


class Session(dict, SessionMixin):
    """What `flask.session` is. A change is found by comparing, so in nested values too and without `modified`."""

    def __init__(self, data, token, ip):
        super().__init__(data)
        self.token = token
        self.ip = ip
        self.stored = encode(data)  # what the service has of it
        self.replaced = None  # the token of the session that this one replaces when it is saved
        self.failed = False

    @property
    def new(self):
        return self.token is None

    def regenerate(self):
        """Keeps the data, but under a new token: call it at login."""
        self.replaced = self.token or self.replaced
        self.token = None
        self.stored = {}


class RestSessionInterface(SessionInterface):
    def __init__(self, app):
        names = ("REST_SESSIONS_URL", "REST_SESSIONS_APP")
        self._client = Client(*(app.config.get(name) or os.environ.get(name) for name in names))

    def logout_everywhere(self, user_id):
        """Ends every session of a user, and answers how many there were."""
        return self._client.kill_user(user_id)

    def open_session(self, app, request):
        token = request.cookies.get(self.get_cookie_name(app), "")
        d = self._client.get(token) if TOKEN.fullmatch(token) else None
        return Session(decode(d or {}), None if d is None else token, request.remote_addr or NO_IP)

    def save_session(self, app, session, response):
        if session is None or session.failed:
            return  # Flask calls this once more for the answer that tells of the failure
        try:
            self._save(app, session, response)
        except Exception:
            session.failed = True
            raise

    def _save(self, app, session, response):
        if session.accessed:
            response.vary.add("Cookie")
        d = encode(session)
        changed = changes(session.stored, d)
        if session.token and user_of(d) != user_of(session.stored):
            session.regenerate()
        if not session:
            if changed or session.replaced:
                self._end(app, session, response)
            return
        new = session.new
        if new:
            ttl = app.permanent_session_lifetime.total_seconds()
            session.token = self._client.create(user_of(d), session.ip, ttl, d)
            if session.replaced:
                self._client.kill(session.replaced)
                session.replaced = None
        elif changed and not self._client.set(session.token, changed):
            raise SessionsError("rest-sessions: the session has ended while this request was served")
        session.stored = d
        if new or session.permanent and (changed or app.config["SESSION_REFRESH_EACH_REQUEST"]):
            expires = self.get_expiration_time(app, session)
            response.set_cookie(self.get_cookie_name(app), session.token, expires=expires, **self._attributes(app))
            response.vary.add("Cookie")

    def _end(self, app, session, response):
        """The app has emptied the session: it ends, as Flask's own does."""
        for token in filter(None, (session.token, session.replaced)):
            self._client.kill(token)
        session.token = session.replaced = None
        session.stored = {}
        response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
        response.vary.add("Cookie")

    def _attributes(self, app):
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }
