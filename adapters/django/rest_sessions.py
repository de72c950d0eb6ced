"""Stores Django's sessions in rest-sessions. Copy this file; README.md beside it shows its use."""

import atexit
import collections
import io
import ipaddress
import json
import logging
import math
import os
import re
import socket
import time
from datetime import datetime, timedelta, timezone
from functools import cache
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote, urlencode, urlsplit

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.messages.storage.base import Message
from django.contrib.messages.storage.cookie import MessageDecoder
from django.contrib.sessions import middleware
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from django.utils.functional import Promise
from django.utils.http import http_date

LAZY = (Promise,)  # types of lazily translated text

TOKEN = re.compile(r"[A-Za-z0-9]{64}")
APP = re.compile(r"[A-Za-z0-9_-]{3,20}")
COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
SAME_SITE = re.compile("strict|lax|none", re.I)
ZONE = re.compile(r"[A-Za-z0-9._~-]{1,24}")
NESTED = "json:"  # key prefix of nested values, which are stored as JSON text
USER_KEYS = ("user_id", "_user_id", "_auth_user_id")  # ours, Flask-Login's, Django's
ANONYMOUS = "anonymous"
NO_IP = "0.0.0.0"
MAX_COOKIES = 4  # at most this many tokens of one request are looked up
MAX_WRITE_DEPTH = 100  # levels of nesting that a written value may have: every language reads this many
MAX_READ_DEPTH = 512  # levels of nesting that a read value may have: PHP's limit, below Python's recursion limit
log = logging.getLogger("rest_sessions")


class SessionsError(Exception):
    """The service returned an error or did not answer. The message never contains a token or a path."""


class SessionEnded(SessionsError):
    """Another request, for example a logout, ended the session while this request used it."""

    def __init__(self):
        super().__init__("rest-sessions: the session was ended elsewhere during this request")


## Connections


DEADLINE = 5  # seconds for a whole call: connect, send, receive the response with its body, and a retry
REUSED_DEADLINE = 2  # seconds without a response after which a reused connection counts as dead (idempotent calls only)
MAX_IDLE = 15  # seconds after which an idle connection is replaced, because firewalls drop idle ones silently
MAX_KEPT = 32  # idle connections per process
MAX_ANSWER = 16 * 1024 * 1024  # bytes: maximum size of a response body


class Connections:
    """HTTP/1.1 client for one server, with a pool of idle connections per process.

    Invariant: a connection carries one call at a time and is reused only after a complete response. After a fork the
    child starts with an empty pool. Why no thread-locals: asynchronous servers start a thread for each request.
    """

    def __init__(self, url, deadline=DEADLINE):
        parts = urlsplit(url)
        plain = parts.username is None and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain or re.search(r"[^!-~]", url):
            raise ValueError("rest-sessions: the URL of the service must be http://HOST:PORT or https://HOST:PORT")
        self.host, self.port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
        self.path = parts.path.rstrip("/")
        self._host_header = parts.netloc
        self._tls = None
        if parts.scheme == "https":
            import ssl

            self._tls = ssl.create_default_context()
        self._deadline = deadline
        self._pool = (os.getpid(), collections.deque())
        atexit.register(self.close)

    def ask(self, method, path, body=None, repeatable=False):
        """Returns the status, the body, and whether a retry was needed.

        Raises OSError or HTTPException without a complete response before the deadline. If a reused connection fails,
        a repeatable request is retried once, on a new connection.
        """
        deadline = time.monotonic() + self._deadline
        head = [f"{method} {self.path}{path} HTTP/1.1", f"Host: {self._host_header}"]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        request = "\r\n".join([*head, "", ""]).encode("ascii") + (body or b"")
        sock = self._reuse()
        retried = False
        if sock and repeatable:
            try:
                soon = min(deadline, time.monotonic() + REUSED_DEADLINE)
                return (*self._exchange(sock, method, request, soon), False)
            except (OSError, HTTPException):
                sock, retried = None, True
        return (*self._exchange(sock or self._connect(deadline), method, request, deadline), retried)

    def close(self):
        """Closes the idle connections of this process."""
        idle = self._idle()
        while idle:
            idle.pop()[0].close()

    def _exchange(self, sock, method, request, deadline):
        try:
            source = Source(sock, deadline)
            sock.settimeout(_left(deadline))
            sock.sendall(request)
            answer = HTTPResponse(source, method=method)
            answer.begin()
            if (answer.length or 0) > MAX_ANSWER:
                raise HTTPException("the response is too large")
            text = answer.read() if answer.length is not None else answer.read(MAX_ANSWER + 1)
            if len(text) > MAX_ANSWER:
                raise HTTPException("the response is too large")
            reusable = not answer.will_close and not source.rest()
        except BaseException:  # includes exceptions from signals, framework timeouts and killed green threads
            sock.close()
            raise
        if reusable:
            self._keep(sock)
        else:
            sock.close()
        return answer.status, text

    def _idle(self):
        """Returns the pool of this process. After a fork, drops the parent's connections."""
        pid, idle = self._pool
        if pid != os.getpid():
            self._pool = (os.getpid(), collections.deque())
            for sock, _ in idle:
                sock.close()  # closes only the child's file descriptor: nothing is sent
            idle = self._pool[1]
        return idle

    def _reuse(self):
        """Returns the most recently used idle connection that is not known to be dead, or None."""
        idle = self._idle()
        while True:
            try:
                sock, since = idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < MAX_IDLE and _silent(sock):
                return sock
            sock.close()

    def _keep(self, sock):
        idle = self._idle()
        now = time.monotonic()
        idle.append((sock, now))
        try:
            while len(idle) > MAX_KEPT or now - idle[0][1] > MAX_IDLE:
                idle.popleft()[0].close()
        except IndexError:
            pass  # other threads have taken the rest

    def _connect(self, deadline):
        """Tries the addresses of the name in order. Each but the last gets half of the remaining time."""
        addresses = socket.getaddrinfo(self.host, self.port, 0, socket.SOCK_STREAM)
        for index, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            share = _left(deadline) / (1 if index == len(addresses) else 2)
            sock = None
            try:
                sock = socket.socket(family, kind, protocol)
                sock.settimeout(share)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls:
                    sock = self._tls.wrap_socket(sock, server_hostname=self.host)
                return sock
            except BaseException as error:
                if sock:
                    sock.close()
                if index == len(addresses) or not isinstance(error, OSError):
                    raise


class Source(io.RawIOBase):
    """The stream that HTTPResponse reads: a socket with one deadline for all reads together."""

    def __init__(self, sock, deadline):
        self._sock, self._deadline, self._pid = sock, deadline, os.getpid()
        self._reader = Reader(self)

    def makefile(self, mode):
        return self._reader

    def readable(self):
        return True

    def readinto(self, buffer):
        if self._deadline is None:
            return 0
        if self._pid != os.getpid():
            raise ConnectionAbortedError("forked during a call")
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)

    def rest(self):
        """Returns the bytes that are buffered after the response. The stream cannot be read after this call."""
        self._deadline = None
        reader, self._reader = self._reader, None
        return reader.read()


class Reader(io.BufferedReader):
    """Ignores the close() at the end of a response, so that rest() can look for stray bytes behind it."""

    def close(self):
        pass


def _left(deadline):
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


def _silent(sock):
    """Whether an idle connection is still open and has received no stray bytes."""
    try:
        sock.settimeout(0)
        sock.recv(1)
        return False
    except OSError as error:
        # SSLWantReadError: TLS has nothing to read.
        return isinstance(error, BlockingIOError) or type(error).__name__ == "SSLWantReadError"


## Routes


class Client:
    """Calls the routes of rest-sessions. `d` is the flat data of a session, as the service stores it."""

    def __init__(self, url, app):
        if not app:
            raise ValueError("rest-sessions: set REST_SESSIONS_APP in the settings or in the environment")
        if not APP.fullmatch(app):
            raise ValueError("rest-sessions: REST_SESSIONS_APP must be 3 to 20 of A-Z, a-z, 0-9, _ and -")
        self._connections = Connections(url or "http://127.0.0.1:3000")
        self._app = app

    def create(self, user, ip, ttl, d):
        """Creates a session and returns its token. Without a user (None), the session gets a random anonymous id."""
        if user is None:
            user = f"{ANONYMOUS}:{os.urandom(8).hex()}"
        elif user == ANONYMOUS or user.startswith(f"{ANONYMOUS}:"):
            raise ValueError(f"rest-sessions: the user id {user[:40]!r} is reserved for sessions without a user")
        query = urlencode({"ip": ip, "ttl": clamp(ttl), "no_resave": "false"})
        token = self._ask("PUT", f"/create/{segment(user)}?{query}", d).get("token")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise SessionsError("rest-sessions: the response to create has no token")
        return token

    def replace(self, old, before, user, ip, ttl, d):
        """Creates a session that replaces `old` (may be None), whose user was `before`.

        If ending `old` fails, this ends the new session again. If another request has already ended `old`, this raises
        SessionEnded, so that the ended session's data does not come back. Exception: a login may continue, because a
        double click on a login form ends `old` twice.
        """
        token = self.create(user, ip, ttl, d)
        if old:
            try:
                login = before is None and user is not None
                if not self.kill(old) and not login:
                    raise SessionEnded
            except BaseException:
                self.discard(token)
                raise
        return token

    def session(self, token):
        """Returns the session including its `d`, or None if there is none."""
        session = self._ask("GET", f"/get/{token}")
        if not session:
            return None
        d = session.setdefault("d", {})
        if not isinstance(d, dict):
            raise SessionsError("rest-sessions: the response to get has no valid data")
        return session

    def get(self, token):
        """Returns the `d` of a session, or None if there is no such session."""
        session = self.session(token)
        return None if session is None else session["d"]

    def set(self, token, changes):
        """Changes keys of `d`. Returns whether there is such a session."""
        return self._ask("POST", f"/set/{token}", changes) != {}

    def kill(self, token):
        """Ends a session. Returns False if it had already ended.

        Returns True after a retry, because the first attempt may have ended it.
        """
        answer, retried = self._call("DELETE", f"/kill/{token}")
        return retried or answer.get("kill") != 0

    def discard(self, token):
        """Tries to end a session that no cookie names."""
        try:
            self.kill(token)
        except SessionsError:
            log.warning("rest-sessions: could not end a new session that no cookie names; it will expire by itself")

    def kill_user(self, user):
        """Ends all sessions of a user and returns how many there were."""
        return self._ask("DELETE", f"/killsoid/{segment(str(user))}").get("kill", 0)

    def _ask(self, method, path, data=None):
        return self._call(method, path, data)[0]

    def _call(self, method, path, data=None):
        """Returns the response, and whether a retry was needed."""
        body = None if data is None else dump(data).encode()
        repeatable = method in ("GET", "DELETE")
        try:
            status, text, retried = self._connections.ask(method, f"/{self._app}{path}", body, repeatable)
        except (OSError, HTTPException) as error:
            server = f"{self._connections.host}:{self._connections.port}"
            raise SessionsError(f"rest-sessions: no answer from {server} ({type(error).__name__})") from None
        try:
            answer = json.loads(text, parse_int=whole, parse_float=fraction)
        except ValueError:
            answer = None
        if status != 200 or not isinstance(answer, dict):
            raise SessionsError(f"rest-sessions: status {status}, {explanation(answer)}")
        return answer, retried


def explanation(answer):
    """Describes an error response. Omits text from others, such as a proxy's error page: it may contain the path."""
    if not isinstance(answer, dict) or not {"name", "message"} <= answer.keys():
        return "the body is not from the service"
    return TOKEN.sub("TOKEN", re.sub(r"[^ -~]", "?", f"{answer['name']}: {answer['message']}"[:200]))


def segment(text):
    """Encodes a path segment. Escapes `.` and `..`, which proxies and clients would resolve."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


def clamp(ttl):
    """Rounds a ttl down to whole seconds within the range that the service accepts."""
    return int(min(max(ttl, 10), 2147483647))


def tokens_of(header, name):
    """Returns the tokens in the cookies of a name, in order. The first with a live session counts.

    Why not the framework's parser: it keeps only one value per name. Why also split at commas: WSGI servers join
    several header lines with one.
    """
    found = {}
    for pair in re.split("[;,]", header or ""):
        key, _, value = pair.partition("=")
        value = value.strip(" \t")
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if key.strip(" \t") == name and TOKEN.fullmatch(value):
            found[value] = True
    return list(found)[:MAX_COOKIES]


def check_cookie(name, domain, path, secure, samesite):
    """Raises a ValueError that names the setting if servers cannot send, or browsers reject, such a cookie.

    The rules come from RFC 6265bis. Why check: otherwise each request would leave a session that no cookie names.
    """
    prefix = re.match("__(?:host|secure)-", name, re.I)
    host = prefix and prefix[0].lower() == "__host-"
    none = isinstance(samesite, str) and samesite.lower() == "none"
    for setting, wrong, reason in (
        ("NAME", not COOKIE_NAME.fullmatch(name), "must be a token: no spaces, no separators, only ASCII"),
        ("DOMAIN", domain and re.search(r"[\0-\x20\x7f;,/]|:\d*$", domain), "must be a domain"),
        ("PATH", path and re.search(r"[\0-\x1f\x7f;]", path), "must be a path"),
        ("SAMESITE", samesite and not SAME_SITE.fullmatch(str(samesite)), "must be Strict, Lax or None"),
        ("SECURE", none and not secure, "must be true where SESSION_COOKIE_SAMESITE is None"),
        ("SECURE", prefix and not secure, "must be true for the prefix of SESSION_COOKIE_NAME"),
        ("DOMAIN", host and domain, "must not be set for the prefix of SESSION_COOKIE_NAME"),
        ("PATH", host and path != "/", "must be / for the prefix of SESSION_COOKIE_NAME"),
    ):
        if wrong:
            raise ValueError(f"rest-sessions: SESSION_COOKIE_{setting} {reason}; otherwise browsers reject the cookie")


def address_of(text):
    """Returns the client's IP address without a port, or NO_IP if the text is not an IP address."""
    text = (text or "").strip()
    match = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+", text)
    address, percent, zone = ((match[1] or match[2]) if match else text).partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return NO_IP
    return address + percent + zone if ZONE.fullmatch(zone) and ":" in address else address


## Values


class Unreadable(ValueError):
    """A stored value that Python, or another language, cannot read."""


BEYOND = object()  # placeholder for a number beyond the range of a double


def whole(text):
    return BEYOND if math.isinf(float(text)) else int(text)


def fraction(text):
    value = float(text)
    return BEYOND if math.isinf(value) else value


def refuse(text):
    raise Unreadable("NaN and Infinity are not JSON")


def exact(number):
    def read(text):
        value = number(text)
        if value is BEYOND:
            raise Unreadable("a number beyond the range of a double")
        return value

    return read


def load(text, depth):
    """Parses a JSON text strictly. Raises a ValueError if it is invalid or nested deeper than `depth`."""
    if nesting(text) > depth:
        raise Unreadable(f"more than {depth} levels of nesting")
    return json.loads(text, parse_int=exact(whole), parse_float=exact(fraction), parse_constant=refuse)


def nesting(text):
    """Returns the depth of nesting of a JSON text; 0 if it is certainly within MAX_WRITE_DEPTH."""
    if text.count("[") + text.count("{") <= MAX_WRITE_DEPTH:
        return 0
    depth = deepest = 0
    # Why so lenient: a quote always matches, so the time stays linear for broken text too.
    for part in re.findall(r'"(?:[^"\\]|\\.?)*"?|[\[\]{}]', text, re.S):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(part, 0)
        deepest = max(deepest, depth)
    return deepest


def as_text(value):
    """Converts values that the framework's own session stores as text, such as lazily translated text."""
    if callable(getattr(value, "__html__", None)):
        return str.__str__(str(value.__html__()))
    if isinstance(value, LAZY):
        return str.__str__(str(value))
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def dump(value):
    """Serialises a value as JSON. Raises a TypeError or ValueError if JSON cannot hold it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=as_text)


def encode(session, known):
    """Returns `d` for a session: strings, numbers and booleans unchanged, other values as JSON text under `json:KEY`.

    `known` holds the values as read from the service, in this form. Unchanged ones pass at any depth of nesting.
    """
    d = {}
    for key, value in session.items():
        try:
            if not isinstance(key, str):
                raise TypeError("a key must be a string")
            key.encode()
            d.update(entry(key, value, known))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"rest-sessions: session[{repr(key)[:100]}] cannot be stored: {error}") from error
    return d


def entry(key, value, known=None):
    """Returns one value of a session in its stored form."""
    # Converts subclasses, such as Markup and enumerations, to their plain JSON types.
    if isinstance(value, str):
        value = str.__str__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = int(value)
    elif isinstance(value, float):
        value = float(value)
    elif callable(getattr(value, "__html__", None)) or isinstance(value, LAZY):
        value = as_text(value)
    plain = isinstance(value, (str, int, float)) and not key.startswith(NESTED)
    name, stored = (key, value) if plain else (NESTED + key, dump(value))
    if known is not None and not (type(known.get(name)) is type(stored) and known[name] == stored):
        load(dump(stored) if plain else stored, MAX_WRITE_DEPTH)
        (dump(stored) if plain else stored).encode()
    return {name: stored}


def decode(d):
    """Returns the session for a `d`, the same values as encode() would return them, and the unreadable entries.

    The unreadable entries stay in the service. A plain value wins over a nested one of the same name.
    """
    session, known, kept = {}, {}, {}
    for key, value in d.items():
        name = key[len(NESTED) :] if key.startswith(NESTED) else key
        if name != key and name in d and not name.startswith(NESTED):
            continue
        try:
            readable = value
            if name != key:
                if not isinstance(value, str):
                    raise Unreadable("not a string")
                readable = load(value, MAX_READ_DEPTH)
            elif value is BEYOND:
                raise Unreadable("a number beyond the range of a double")
            stored = entry(name, readable)
            dump([name, stored]).encode()
        except (TypeError, ValueError, RecursionError):
            kept[key] = value
        else:
            session[name] = readable
            known.update(stored)
    if kept:
        log.warning("rest-sessions: cannot read these keys of a session; they stay stored: %.300s", ascii(list(kept)))
    return session, known, kept


def hide(key, session, known, kept):
    """Treats a value that the framework cannot use like an unreadable one."""
    log.warning("rest-sessions: cannot use the value of key %.100s of a session; it stays stored", ascii(key))
    del session[key]
    kept.update((form, known.pop(form)) for form in forms(key) if form in known)


def forms(key):
    """Returns the keys of `d` that can hold this value: the plain one and the one for JSON text."""
    name = key[len(NESTED) :] if key.startswith(NESTED) else key
    return (key,) if name.startswith(NESTED) else (name, NESTED + name)


def carried(kept, d):
    """Returns the unreadable entries to copy to a new token, in their stored form."""
    entries = {}
    for key, value in kept.items():
        if any(form in d for form in forms(key)):
            continue
        try:
            dump([key, value]).encode()
            entries[key] = value
        except (TypeError, ValueError):
            log.warning("rest-sessions: cannot copy the key %.100s to the new session; it is lost", ascii(key))
    return entries


def changes(before, after):
    """Returns the changes that turn `before` into `after`.

    Each key is sent together with its other form, so that concurrent requests cannot leave both.
    """
    changed = {}
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if type(old) is type(new) and old == new:
            continue
        changed.update((form, after.get(form)) for form in forms(key))
    return changed


def user_of(d):
    """Returns the id of the session's user, or None."""
    ids = (d[key] for key in USER_KEYS if type(d.get(key)) in (str, int))
    return next((str(user) for user in ids if user != ""), None)


# Up to here the code is identical to the Flask adapter.


EXPIRY = "_session_expiry"  # Django's key for the argument of set_expiry()
SLACK = 60  # seconds: expiry dates that differ by less count as equal
MAX_TTL = 2147483647  # seconds: the largest ttl that the service accepts
SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"


def is_user(value):
    """Whether Django can look up a user by this id, which another framework may have written."""
    if type(value) not in (str, int) or "\0" in str(value):
        return False
    try:
        get_user_model()._meta.pk.to_python(value)
    except ImproperlyConfigured:
        return True  # the site does not use Django's users
    except (ValidationError, ValueError, TypeError, OverflowError):
        return False
    return True


def is_csrf_token(value):
    return not settings.CSRF_USE_SESSIONS or isinstance(value, str)


def are_messages(value):
    """Whether Django's session storage for messages can read and rewrite this value."""
    if not apps.is_installed("django.contrib.messages"):
        return True
    try:
        return all(isinstance(message, Message) for message in json.loads(value, cls=MessageDecoder))
    except (TypeError, ValueError, LookupError, RecursionError):
        return False


# Checks for Django's keys. Another framework may have written values with which Django's own code would fail.
USABLE = {SESSION_KEY: is_user, "_csrftoken": is_csrf_token, "_messages": are_messages}


@cache
def client():
    """Returns the client, configured by the settings or else by the environment."""
    names = ("REST_SESSIONS_URL", "REST_SESSIONS_APP")
    return Client(*(getattr(settings, name, None) or os.environ.get(name) for name in names))


def logout_everywhere(user_id):
    """Ends every session of a user and returns how many there were."""
    return client().kill_user(user_id)


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's middleware, extended by the client's address, several cookies of one name, and sessions that ended."""

    def __init__(self, get_response):
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ImproperlyConfigured("rest-sessions: SessionMiddleware needs SESSION_ENGINE = 'rest_sessions'")
        if settings.SESSION_SERIALIZER != SERIALIZER:
            raise ImproperlyConfigured("rest-sessions: SESSION_SERIALIZER cannot be changed: the service stores JSON")
        try:
            self._check_cookie()
        except Exception as error:
            raise ImproperlyConfigured(str(error)) from error
        client()

    @classmethod
    def _check_cookie(cls):
        """Raises a ValueError, or another error, for settings with which no cookie reaches browsers."""
        name = settings.SESSION_COOKIE_NAME
        domain, path = settings.SESSION_COOKIE_DOMAIN, settings.SESSION_COOKIE_PATH
        check_cookie(name, domain, path, settings.SESSION_COOKIE_SECURE, settings.SESSION_COOKIE_SAMESITE)
        for setting, text in (("DOMAIN", domain), ("PATH", path)):
            if text and not text.isascii():  # Django sends it unescaped
                raise ValueError(f"rest-sessions: SESSION_COOKIE_{setting} must be ASCII")
        cls._set_cookie(HttpResponse(), "", None)  # Django may refuse more settings

    def process_request(self, request):
        name = settings.SESSION_COOKIE_NAME
        header = request.META.get("HTTP_COOKIE")
        # Tests and middleware may set a cookie without a header. With a header, request.COOKIES is ignored: Django
        # decodes escapes in values, so it would accept tokens that the service's `auth` refuses.
        tokens = tokens_of(header, name) if header else [request.COOKIES.get(name)]
        request.session = self.SessionStore(tokens[0] if tokens else None)
        request.session.others = tokens[1:]
        request.session.ip = address_of(request.META.get("REMOTE_ADDR"))

    def process_response(self, request, response):
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            return super().process_response(request, response)
        try:
            return self._save(request, session, response)
        finally:
            session.answered = True

    def _save(self, request, session, response):
        vary = session.accessed
        modified = session.modified
        if settings.SESSION_SAVE_EVERY_REQUEST and session.session_key:
            session.keys()  # loads the session: a dead one must not be created again
        if session.is_empty():
            # Only if the app emptied it. Why: the response to a dead cookie must not delete a later login's cookie.
            if modified and settings.SESSION_COOKIE_NAME in request.COOKIES:
                self._delete_cookie(response)
                vary = True
        elif response.status_code >= 500:
            session.abandon()
        elif modified or settings.SESSION_SAVE_EVERY_REQUEST:
            max_age = None
            if not session.get_expire_at_browser_close():
                max_age = min(session.get_expiry_age(), MAX_TTL)
            try:
                session.save()
            except UpdateError:
                raise SessionInterrupted(
                    "The session was ended before the request completed, for example by a logout."
                ) from None
            vary = True
            if session.session_key is None:
                self._delete_cookie(response)
            else:
                try:
                    self._set_cookie(response, session.session_key, max_age)
                except BaseException:
                    session.abandon()
                    raise
        if vary:
            patch_vary_headers(response, ("Cookie",))
        return response

    @staticmethod
    def _set_cookie(response, value, max_age):
        response.set_cookie(
            settings.SESSION_COOKIE_NAME,
            value,
            max_age=max_age,
            expires=None if max_age is None else http_date(time.time() + max_age),
            domain=settings.SESSION_COOKIE_DOMAIN,
            path=settings.SESSION_COOKIE_PATH,
            secure=settings.SESSION_COOKIE_SECURE or None,
            httponly=settings.SESSION_COOKIE_HTTPONLY or None,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )

    @staticmethod
    def _delete_cookie(response):
        response.delete_cookie(
            settings.SESSION_COOKIE_NAME,
            path=settings.SESSION_COOKIE_PATH,
            domain=settings.SESSION_COOKIE_DOMAIN,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )


class SessionStore(SessionBase):
    """A session whose key is the token of the service. It has no key until the first save."""

    ip = NO_IP
    others = ()  # further tokens in the request's cookies
    answered = False  # whether the response's cookies are final
    _modified = _modified_late = False

    def __init__(self, session_key=None):
        super().__init__(session_key)
        self._stored = {}  # data in the service under this key
        self._known = {}  # values as read, in the form that encode() returns
        self._kept = {}  # unreadable entries
        self._ttl = None  # seconds, as stored; None: the session ends at a fixed time in the service
        self._read = False  # whether this key was looked up in the service
        self._created = False  # whether this request created the session
        self._replaced = None  # the key of the session that this one replaces when it is saved
        self._replaced_user = None

    @property
    def modified(self):
        return self._modified

    @modified.setter
    def modified(self, value):
        if value and self.answered and not self._modified_late:
            log.error("rest-sessions: a session changed after its response started; the change is lost unless saved")
            self._modified_late = True
        self._modified = value

    def _validate_session_key(self, key):
        return bool(key) and TOKEN.fullmatch(key) is not None

    def exists(self, session_key):
        return self._validate_session_key(session_key) and client().get(session_key) is not None

    def load(self):
        """Loads the first key that has a live session."""
        data, session = {}, None
        for key in filter(None, (self.session_key, *self.others)):
            session = client().session(key)
            if session:
                data, self._known, self._kept = decode(session["d"])
                self._stored = self._known
                self._ttl = None if session.get("no_resave") else session.get("ttl")
                break
        self._session_key = key if session else None
        self._read = True
        for name, usable in USABLE.items():
            if name in data and not usable(data[name]):
                hide(name, data, self._known, self._kept)
        if EXPIRY in data:
            try:
                over = data[EXPIRY] is not None and self._age(data) <= 0
            except (TypeError, ValueError, OverflowError):
                hide(EXPIRY, data, self._known, self._kept)
                over = False
            if over:
                self._end()
                return {}
        return data

    def _ensure_loaded(self):
        """Loads the session if that has not happened yet: clear() does not need it."""
        if self.session_key and not self._read:
            self.load()

    def _age(self, data):
        """Returns the seconds from now until the session expires, if it is not used.

        Raises a ValueError, TypeError or OverflowError if the value is not an expiry or beyond Python's range of dates.
        """
        expiry = data.get(EXPIRY)
        age = self.get_expiry_age(expiry=expiry)
        if isinstance(expiry, str) and expiry:
            datetime.fromisoformat(expiry).astimezone(timezone.utc)
        elif expiry and age > 0:
            datetime.now(timezone.utc) + timedelta(days=2, seconds=age)  # two days of margin for time zones
        return age

    def create(self):
        if self.answered:
            raise SessionsError("rest-sessions: the response has started, so its cookie cannot name a new session")
        data = self._get_session(no_load=True)
        d = encode(data, self._known)
        ttl = self._age(data)
        everything = {**carried(self._kept, d), **d}
        old, before = self._replaced, self._replaced_user
        try:
            self._session_key = client().replace(old, before, user_of(everything), self.ip, ttl, everything)
        except SessionEnded:
            raise UpdateError from None
        self._replaced = None
        self._stored = d
        self._ttl = clamp(ttl)
        self._read = self._created = self.modified = True

    def save(self, must_create=False):
        data = self._get_session(no_load=must_create)
        if must_create:
            if self.session_key and self.exists(self.session_key):
                raise CreateError
            return self.create()
        self._ensure_loaded()
        if self._age(data) <= 0:
            return self._end()
        d = encode(data, self._known)
        user = user_of({**self._kept, **d})
        if self.session_key and (user != self._user() or self._needs_other_ttl(data)):
            self._detach()
        if self.session_key is None:
            return self.create()
        changed = changes(self._stored, d)
        alive = client().set(self.session_key, changed) if changed else self.exists(self.session_key)
        if not alive:
            raise UpdateError
        self._stored = d

    def _needs_other_ttl(self, data):
        """Whether the session needs another ttl, and so a new key: the service sets the ttl at create.

        load() enforces a date from set_expiry(). The ttl in the service only has to be about as long, so that a date
        that moves with each request does not need a new key.
        """
        old, new = self._stored.get(EXPIRY), data.get(EXPIRY)
        if type(old) is type(new) and old == new:
            return False
        age = self._age(data)
        if not isinstance(new, (str, datetime)):
            return self._ttl != clamp(age)
        if self._ttl is None or self._ttl < clamp(age) - SLACK:
            return True
        earlier = not isinstance(old, str) or self._age({EXPIRY: old}) - age > SLACK
        return earlier and self._ttl > clamp(age) + SLACK

    def _end(self):
        """Ends the session in the service. The next save creates another one."""
        self.delete()
        self._session_key = self._replaced = None
        self._stored, self._known, self._kept = {}, {}, {}
        self._created = False

    def abandon(self):
        """Ends a session that was created for this response, whose cookie will not name it."""
        if self._created and self.session_key:
            client().discard(self.session_key)

    def is_empty(self):
        return super().is_empty() and not self._replaced

    def delete(self, session_key=None):
        if session_key is None and self.others:
            self._ensure_loaded()
        for key in (session_key,) if session_key else (self.session_key, self._replaced):
            if self._validate_session_key(key):
                client().kill(key)

    def flush(self):
        self.clear()
        self._end()

    async def aflush(self):
        await sync_to_async(self.flush)()

    def cycle_key(self):
        # The new session is created at the save. Why: login() stores the user after it has called this.
        self._get_session()
        self._ensure_loaded()  # a key without a live session replaces nothing
        self._detach()
        self.modified = True

    def _user(self):
        """Returns the session's user as stored in the service."""
        return user_of({**self._kept, **self._stored})

    def _detach(self):
        if self.session_key:
            self._replaced, self._replaced_user = self.session_key, self._user()
        self._session_key = None
        self._stored = {}

    async def acycle_key(self):
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls):
        """Does nothing: the service removes expired sessions itself."""
