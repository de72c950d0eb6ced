"""Keeps Django's sessions in rest-sessions. Copy this file; README.md beside it shows its use."""

import json
import os
import re
import threading
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlencode, urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.sessions import middleware
from django.contrib.sessions.backends.base import SessionBase, UpdateError

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


# Up to here the same as for Flask.


@cache
def client():
    """The service that the settings name, or else the environment."""
    names = ("REST_SESSIONS_URL", "REST_SESSIONS_APP")
    return Client(*(getattr(settings, name, None) or os.environ.get(name) for name in names))


def logout_everywhere(user_id):
    """Ends every session of a user, and answers how many there were."""
    return client().kill_user(user_id)


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's own, which tells the session the visitor's address."""

    def process_request(self, request):
        super().process_request(request)
        request.session.ip = request.META.get("REMOTE_ADDR") or NO_IP


class SessionStore(SessionBase):
    """A session whose key is the service's token. There is none until the first save."""

    ip = NO_IP

    def __init__(self, session_key=None):
        super().__init__(session_key)
        self._stored = {}  # what the service has of it
        self._replaced = None  # the key of the session that this one replaces when it is saved

    def _validate_session_key(self, key):
        return bool(key) and TOKEN.fullmatch(key) is not None

    def exists(self, session_key):
        return self._validate_session_key(session_key) and client().get(session_key) is not None

    def load(self):
        d = client().get(self.session_key)
        if d is None:
            self._session_key = None
            return {}
        session = decode(d)
        self._stored = encode(session)
        return session

    def create(self):
        session = self._get_session(no_load=True)
        d = encode(session)
        # An expiry that is a date stays where it is; one in seconds begins anew with each use.
        fixed = isinstance(session.get("_session_expiry"), str)
        self._session_key = client().create(user_of(d), self.ip, self.get_expiry_age(), d, no_resave=fixed)
        self._stored = d
        self.modified = True
        if self._replaced:
            client().kill(self._replaced)
            self._replaced = None

    def save(self, must_create=False):
        if must_create:
            return self.create()
        d = encode(self._get_session())
        if self.session_key and self._character(d) != self._character(self._stored):
            self.cycle_key()
        if self.session_key is None:
            return self.create()
        changed = changes(self._stored, d)
        if changed and not client().set(self.session_key, changed):
            raise UpdateError
        self._stored = d

    @staticmethod
    def _character(d):
        """What is settled when a session is created: for another user or another ttl there has to be a new one."""
        return user_of(d), d.get("_session_expiry")

    def delete(self, session_key=None):
        for key in (session_key,) if session_key else (self.session_key, self._replaced):
            if self._validate_session_key(key):
                client().kill(key)

    def flush(self):
        super().flush()
        self._replaced = None

    async def aflush(self):
        await sync_to_async(self.flush)()

    def cycle_key(self):
        # The new session is created when it is saved, since login() names the user after it has called this.
        self._get_session()
        self._replaced = self.session_key or self._replaced
        self._session_key = None
        self.modified = True

    async def acycle_key(self):
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls):
        """The service removes them itself."""
