"""A client of rest-sessions in one file, to be copied. Python 3.9 or newer, standard library only.

    sessions = SessionClient("http://127.0.0.1:3000", "shop")
    token = sessions.create("ann", ip="203.0.113.7", data={"name": "Ann"})
    session = sessions.get(token)  # {"id": "ann", ..., "d": {"name": "Ann"}}, or None: there is no such session

One object serves all threads and keeps its connections.
"""

import collections
import http.client
import json
import re
from urllib.parse import quote, urlencode, urlsplit

TOKEN = re.compile(r"[A-Za-z0-9]{64}")


class SessionOutage(Exception):
    """The service or its store is away or too slow. Answer 503; it does not mean that anyone is logged out."""


class SessionRefused(Exception):
    """The service takes no such request. `code` is the stable name of the reason, as in openapi.yaml."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class SessionClient:
    def __init__(self, url, app, timeout=5):
        """`timeout` in seconds. Keep it above the service's own, 2 by default, so that the service can explain."""
        service = urlsplit(url)
        self._address = service.hostname, service.port or 80
        self._base = f"{service.path.rstrip('/')}/{app}"
        self._timeout = timeout
        self._idle = collections.deque()  # connections that no thread is using

    def create(self, id, ip, data=None, ttl=None):
        """Creates a session and returns its token, a secret for the visitor's cookie. `ttl` in seconds."""
        query = {"ip": ip} if ttl is None else {"ip": ip, "ttl": ttl}
        return self._ask("PUT", f"create/{quote(id, safe='')}?{urlencode(query)}", data or {})["token"]

    def get(self, token):
        """The session, or None. Its data is in `d`, which is always there."""
        return _session(self._ask("GET", f"get/{token}")) if _is_token(token) else None

    def set(self, token, changes):
        """Adds and replaces keys of `d`; None removes one. Returns the session after that, or None."""
        return _session(self._ask("POST", f"set/{token}", changes)) if _is_token(token) else None

    def kill(self, token):
        """Ends the session. Returns whether there was one."""
        return _is_token(token) and self._ask("DELETE", f"kill/{token}")["kill"] == 1

    def soid(self, id):
        """All sessions of an id, the last active first."""
        return [_session(session) for session in self._ask("GET", f"soid/{quote(id, safe='')}")["sessions"]]

    def killsoid(self, id):
        """Ends all sessions of an id. Returns how many there were."""
        return self._ask("DELETE", f"killsoid/{quote(id, safe='')}")["kill"]

    def _ask(self, method, path, body=None):
        content = None if body is None else json.dumps(body).encode()
        status, text = self._exchange(method, f"{self._base}/{path}", content)
        try:
            answer = json.loads(text)
        except ValueError:
            raise SessionOutage(f"status {status} without JSON") from None
        if status == 200:
            return answer
        if status >= 500:
            raise SessionOutage(f"status {status}, {answer.get('name')}")
        raise SessionRefused(answer.get("name"), answer.get("message"))

    def _exchange(self, method, path, body):
        headers = {} if body is None else {"Content-Type": "application/json"}
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = http.client.HTTPConnection(*self._address, timeout=self._timeout), False
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                status, text = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and isinstance(error, ConnectionError):
                    continue  # the service had ended it; asking once more does no harm
                raise SessionOutage(type(error).__name__) from error
            self._idle.append(connection)
            return status, text


def _is_token(text):
    """A cookie is the visitor's text. What is not of a token's form names no session, and never enters a path."""
    return text is not None and TOKEN.fullmatch(text) is not None


def _session(answer):
    return {"d": {}, **answer} if answer else None
