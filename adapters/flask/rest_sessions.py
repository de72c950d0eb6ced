"""Stores Flask's sessions in rest-sessions. Copy this file; README.md beside it shows its use."""

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
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote, urlencode, urlsplit

from flask.sessions import SessionInterface, SessionMixin
from markupsafe import Markup
from werkzeug.http import dump_cookie

LAZY = ()  # types of lazily translated text: none, because Flask's has __html__

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


# Up to here the code is identical to the Django adapter.


class Session(dict, SessionMixin):
    """The object behind `flask.session`. It loads the session when the app first uses it.

    It finds changes by comparison, so that changes in nested values are stored even without `modified`.
    """

    def __init__(self, client, tokens, ip):
        super().__init__()
        self.accessed = self.modified = self.failed = False
        self.ip = ip
        self.token = None
        self.stored = {}  # data in the service under this token
        self.known = {}  # values as read, in the form that encode() returns
        self.kept = {}  # unreadable entries
        self.replaced = None  # the token of the session that this one replaces when it is saved
        self.replaced_user = None
        self.created = False  # whether this request created the session
        self.answer = None  # the response that names this session
        self.untouched = True
        self.saved = self.warned = False
        self._client = client
        self._tokens = tokens

    def load(self):
        """Loads the first token that has a live session."""
        self.accessed = True
        if not self.untouched:
            return
        for token in self._tokens:
            d = self._client.get(token)
            if d is not None:
                data, self.known, self.kept = decode(d)
                if FLASHES in data and not flashed(data[FLASHES]):
                    hide(FLASHES, data, self.known, self.kept)
                dict.update(self, untagged(data))
                self.token, self.stored = token, self.known
                break
        self.untouched = False

    def change(self):
        """Records that the app changes the session."""
        self.modified = True
        if self.saved and not self.warned:
            log.error("rest-sessions: a session changed after its response started; the change is lost unless saved")
            self.warned = True

    @property
    def new(self):
        self.load()
        return self.token is None

    def regenerate(self):
        """Moves the data to a new token. Call it at login."""
        self.load()
        self._detach()

    def _detach(self):
        if self.token:
            self.replaced, self.replaced_user = self.token, user_of(self.stored)
        self.token = None
        self.stored = {}

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key, *default):
        if key in self:
            self.change()
        return dict.pop(self, key, *default)

    def __reduce__(self):
        return dict, (dict(self),)


def _loading(name, writes):
    method = getattr(dict, name)

    def call(self, *arguments, **named):
        self.load()
        if writes:
            self.change()
        return method(self, *arguments, **named)

    call.__name__ = name
    return call


for _name in (
    "__contains__ __eq__ __getitem__ __iter__ __len__ __ne__ __or__ __repr__ __reversed__ __ror__ "
    "copy get items keys values"
).split():
    setattr(Session, _name, _loading(_name, False))
for _name in ("__delitem__", "__ior__", "__setitem__", "clear", "popitem", "update"):
    setattr(Session, _name, _loading(_name, True))


FLASHES = "_flashes"  # the key of flash(): pairs of a category and a message


def flashed(value):
    """Whether flash() and get_flashed_messages() can use a value: it must be a list of pairs."""
    return isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)


def tagged(session):
    """Tags Markup in flashed messages as Flask's own session does, so that pages render it as HTML."""
    data = dict(dict.items(session))
    if isinstance(data.get(FLASHES), list):
        data[FLASHES] = [
            [part if type(part) is str or not hasattr(part, "__html__") else {" m": as_text(part)} for part in pair]
            if isinstance(pair, (list, tuple))
            else pair
            for pair in data[FLASHES]
        ]
    return data


def untagged(data):
    if FLASHES in data:
        data[FLASHES] = [
            tuple(Markup(part[" m"]) if marked(part) else part for part in pair) for pair in data[FLASHES]
        ]
    return data


def marked(part):
    return isinstance(part, dict) and list(part) == [" m"] and isinstance(part[" m"], str)


class RestSessionInterface(SessionInterface):
    """Loads and saves the sessions of a Flask app: `app.session_interface = RestSessionInterface(app)`."""

    def __init__(self, app):
        names = ("REST_SESSIONS_URL", "REST_SESSIONS_APP")
        self._client = Client(*(app.config.get(name) or os.environ.get(name) for name in names))
        self._check_cookie(app)

    def logout_everywhere(self, user_id):
        """Ends every session of a user and returns how many there were."""
        return self._client.kill_user(user_id)

    def open_session(self, app, request):
        tokens = tokens_of(request.environ.get("HTTP_COOKIE"), self.get_cookie_name(app))
        return Session(self._client, tokens, address_of(request.remote_addr))

    def save_session(self, app, session, response):
        if session is None or session.failed:
            return  # Flask calls this again for the error response
        if session.accessed:
            response.vary.add("Cookie")
        if session.untouched:
            session.saved = True
            return
        accessed = session.accessed
        try:
            self._save(app, session, response)
        except Exception:
            session.failed = True
            raise
        finally:
            session.accessed = accessed
            session.saved = True

    def _save(self, app, session, response):
        lifetime = app.permanent_session_lifetime.total_seconds()
        if not session or lifetime <= 0:
            if session.modified or session.stored or session.replaced:
                self._end(app, session, response)
            return
        d = encode(tagged(session), session.known)
        if session.token and user_of(d) != user_of(session.stored):
            session._detach()
        changed = changes(session.stored, d)
        permanent = session.permanent
        names = permanent != bool(session.stored.get("_permanent"))
        names = names or permanent and bool(changed or app.config["SESSION_REFRESH_EACH_REQUEST"])
        cookie = {"expires": self.get_expiration_time(app, session), **self._attributes(app)}
        if session.token is None:
            self._check_cookie(app)  # the settings may have changed since the start
        if session.token is None:
            everything = {**carried(session.kept, d), **d}
            before = session.replaced_user
            token = self._client.replace(session.replaced, before, user_of(d), session.ip, lifetime, everything)
            session.token, session.replaced, session.created, session.answer = token, None, True, None
        elif changed or session.modified:
            alive = self._client.set(session.token, changed) if changed else self._client.get(session.token) is not None
            if not alive:
                raise SessionEnded
        elif names and not session.created:
            # A dead session's cookie must not overwrite the cookie of a concurrent login.
            names = self._client.get(session.token) is not None
        session.stored = d
        if (names or session.created) and session.answer is not response:
            session.answer = response
            response.set_cookie(self.get_cookie_name(app), session.token, **cookie)
            response.vary.add("Cookie")

    def _end(self, app, session, response):
        """Ends a session that the app has emptied, as Flask's own session interface does."""
        for token in filter(None, (session.token, session.replaced)):
            self._client.kill(token)
        session.token = session.replaced = None
        session.stored, session.kept, session.created = {}, {}, False
        response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
        response.vary.add("Cookie")

    def _check_cookie(self, app):
        """Raises a ValueError for settings with which no cookie reaches browsers."""
        name, attributes = self.get_cookie_name(app), self._attributes(app)
        secure = attributes["secure"] or attributes.get("partitioned")  # Werkzeug makes partitioned cookies secure
        check_cookie(name, attributes["domain"], attributes["path"], secure, attributes["samesite"])
        dump_cookie(name, "", **attributes)  # Werkzeug may refuse more settings

    def _attributes(self, app):
        attributes = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
        }
        if hasattr(self, "get_cookie_partitioned"):  # Flask 3.1 or newer
            attributes["partitioned"] = self.get_cookie_partitioned(app)
        return attributes
