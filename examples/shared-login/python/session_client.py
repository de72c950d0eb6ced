"""A client for rest-sessions in one file that you can copy. Python 3.9 or newer, standard library only.

    sessions = SessionClient("http://127.0.0.1:3000", "shop")
    token = sessions.create("ann", ip="203.0.113.7", data={"name": "Ann"})
    session = sessions.get(token)  # {"id": "ann", ..., "d": {"name": "Ann"}}, or None: there is no such session

One object serves all threads, and all processes forked later. It reuses its connections.
"""

import atexit
import collections
import io
import ipaddress
import json
import os
import re
import socket
import time
from http.client import HTTPException, HTTPResponse
from urllib.parse import quote, urlencode, urlsplit

TOKEN = re.compile(r"[A-Za-z0-9]{64}")
ZONE = re.compile(r"[A-Za-z0-9._~-]{1,24}")
NO_IP = "0.0.0.0"
MAX_COOKIES = 4  # at most this many tokens of one request are looked up


class SessionOutage(Exception):
    """The service or its store is unreachable or too slow. Respond with 503; the sessions still exist."""


class SessionRefused(Exception):
    """The service rejected the request. `code` is the stable name of the error, as in openapi.yaml."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class SessionClient:
    def __init__(self, url, app, timeout=5):
        """`timeout` is for a whole call, in seconds. Keep it above twice the service's own timeout, 2 by default."""
        self._connections = Connections(url, timeout)
        self._app = app

    def create(self, id, ip, data=None, ttl=None):
        """Creates a session and returns its token, a secret for the visitor's cookie. `ttl` in seconds."""
        query = {"ip": ip} if ttl is None else {"ip": ip, "ttl": ttl}
        return self._ask("PUT", f"create/{segment(id)}?{urlencode(query)}", data or {})["token"]

    def get(self, token):
        """Returns the session, or None. It always has `d`, its data."""
        return _session(self._ask("GET", f"get/{token}")) if _is_token(token) else None

    def set(self, token, changes):
        """Adds and replaces keys of `d`; None removes a key. Returns the changed session, or None."""
        return _session(self._ask("POST", f"set/{token}", changes)) if _is_token(token) else None

    def kill(self, token):
        """Ends the session. Returns whether there was one."""
        return _is_token(token) and self._ask("DELETE", f"kill/{token}")["kill"] == 1

    def soid(self, id):
        """Returns all sessions of an id, the most recently used first."""
        return [_session(session) for session in self._ask("GET", f"soid/{segment(id)}")["sessions"]]

    def killsoid(self, id):
        """Ends all sessions of an id. Returns how many there were."""
        return self._ask("DELETE", f"killsoid/{segment(id)}")["kill"]

    def _ask(self, method, path, body=None):
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        try:
            repeatable = method in ("GET", "DELETE")
            status, text, _ = self._connections.ask(method, f"/{self._app}/{path}", content, repeatable)
        except (OSError, HTTPException) as error:
            raise SessionOutage(type(error).__name__) from None
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SessionOutage(f"status {status} without a JSON object")
        if status == 200:
            return answer
        if 400 <= status < 500:
            raise SessionRefused(answer.get("name"), answer.get("message"))
        raise SessionOutage(f"status {status}, {answer.get('name')}")


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


def segment(text):
    """Encodes a path segment. Escapes `.` and `..`, which proxies and clients would resolve."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


def _is_token(text):
    """Whether a text has the form of a token. Why: a cookie is untrusted input and must not get into a path."""
    return text is not None and TOKEN.fullmatch(text) is not None


def _session(answer):
    return {"d": {}, **answer} if answer else None


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
