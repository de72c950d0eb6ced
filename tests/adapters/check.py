"""Checks every adapter in its framework against the service: check.py BINARY PYTHON JARS, called by run.sh.

Routes of the apps: /plain does not touch the session, /read returns its data, /write {set, remove, hold} returns the
data after the change, /push changes a nested value in place, /bad stores a value that JSON cannot hold, /login,
/logout, /everywhere ends all sessions of a user. With `hold`, a request loads its session and then waits until a file
of that name exists.
"""

import json
import pathlib
import re
import signal
import sys
import tempfile
import threading
import traceback
from urllib.parse import quote

import processes
from processes import Service, request, start_apps, until

TOKEN = re.compile(r"[A-Za-z0-9]{64}")
TEXT = 'Tasse ☕ ü "x" \\ / 😀 \n\r\t\x07\u2028 end'
NESTED = {"items": [{TEXT: TEXT, "price": 1.25, "count": -2}, None, True], "deep": {"a": {"b": [[]]}}}
PLAIN = {"text": TEXT, "int": 7, "float": 1.5, "yes": True, "no": False, "empty": ""}


class Failed(Exception):
    pass


def same(got, wanted, what=""):
    """Compares as JSON does: 1, 1.0 and true differ."""
    if json.dumps(got, sort_keys=True) != json.dumps(wanted, sort_keys=True):
        raise Failed(f"{what} {got!r} is not {wanted!r}".strip())


def holds(condition, what):
    if not condition:
        raise Failed(what)


class Visitor:
    """A browser: a cookie jar for all apps, which are on one host."""

    def __init__(self, token=None):
        self.token = token
        self.tokens = {token} if token else set()

    def ask(self, app, method, path, body=None, status=200):
        headers = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"}
        if self.token:
            headers["Cookie"] = f"other=1; session={self.token}"
        text = None if body is None else json.dumps(body).encode()
        got, answer, answered = request(ports[app], method, path, text, headers)
        holds(not leaks(answer.decode(errors="replace")), f"{path}: the response contains a token")
        wanted = status if isinstance(status, range) else (status,)
        holds(got in wanted, f"{path}: {got} {answer[:300].decode(errors='replace')}")
        cookies = [c for c in answered.get_all("Set-Cookie", []) if c.startswith("session=")]
        for cookie in cookies:
            self.keep(cookie)
        return json.loads(answer) if got == 200 else None

    def keep(self, cookie):
        value, *attributes = [part.strip() for part in cookie.split(";")]
        token = value.removeprefix("session=").strip('"')
        wanted = {"httponly", "secure", "samesite=lax", "path=/"}
        if TOKEN.fullmatch(token):
            lower = {attribute.lower() for attribute in attributes}
            holds(wanted <= lower, f"the cookie's attributes: {attributes}")
            self.token = token
            self.tokens.add(token)
            seen.add(token)
        else:
            holds(token == "", "the cookie's value is not a token")
            self.token = None

    def get(self, app, path="/read"):
        return self.ask(app, "GET", path)

    def post(self, app, path, status=200, **body):
        return self.ask(app, "POST", path, body, status)

    def write(self, app, status=200, **values):
        return self.post(app, "/write", status, set=values)

    def hold(self, app, name, status=200, **body):
        """Starts a write that waits. Returns a function that resumes it and waits for its end."""
        gate = work / f"{name}-{app}"
        failures = []

        def run():
            try:
                self.post(app, "/write", status, hold=str(gate), **body)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(pathlib.Path(f"{gate}.waiting").exists, f"{app} to hold a request")

        def go():
            gate.touch()
            thread.join()
            if failures:
                raise failures[0]

        return go


ERROR = range(500, 600)
REFUSED = range(400, 600)


def api(method, path, body=None):
    """Calls the service directly."""
    text = None if body is None else body if isinstance(body, str) else json.dumps(body)
    status, answer, _ = request(service.port, method, path, text)
    holds(status == 200, f"the service returned {status} {answer[:200]}")
    return json.loads(answer)


def stored(token):
    return api("GET", f"/shop/get/{token}").get("d", {})


def alive(token):
    return api("GET", f"/shop/get/{token}") != {}


def sessions_of(user):
    return api("GET", f"/shop/soid/{quote(str(user), safe='')}")["sessions"]


def count():
    """The number of sessions, without those of the expiry check."""
    return sum(session["id"] != "expiring" for session in api("GET", "/shop/soapp?dt=2147483647")["sessions"])


def leaks(text):
    """Whether a text contains a token, or its first characters: PHP's traces truncate long arguments."""
    return any(token[:10] in text for token in seen)


def created(d, user="anonymous", ttl=7200):
    token = api("PUT", f"/shop/create/{user}?ip=192.0.2.1&ttl={ttl}", d)["token"]
    seen.add(token)
    return token


## Checks of one app. The argument is its name.


def readers(app):
    """a visitor without a write gets no session and no cookie"""
    before = count()
    visitor = Visitor()
    visitor.get(app, "/plain")
    same(visitor.get(app), {})
    same(visitor.token, None)
    same(count(), before)


def native(app):
    """strings, numbers and booleans are stored as plain values, with the ttl and ip of the app"""
    visitor = Visitor()
    same(visitor.write(app, **PLAIN), PLAIN)
    session = api("GET", f"/shop/get/{visitor.token}")
    same(session["d"], PLAIN)
    holds(re.fullmatch(r"anonymous(:[0-9a-f]{16})?", session["id"]), f"the id {session['id']}")
    same((session["ttl"], session["ip"]), (1200, "127.0.0.1"))
    same(visitor.get(app), PLAIN)


def nested(app):
    """nested values are stored as JSON text under json:KEY and read back"""
    visitor = Visitor()
    odd = {"json:cart": 5, "json:json:x": {"y": 1}, "": "empty", "ключ:/ ☕": [1]}
    wanted = {"cart": NESTED, "list": [1, "two", False], **odd}
    visitor.write(app, **wanted)
    d = stored(visitor.token)
    same(json.loads(d.pop("json:cart")), NESTED)
    same(d.pop("json:list").replace(" ", ""), '[1,"two",false]')
    form = {"json:json:cart": "5", "json:json:json:x": '{"y":1}', "": "empty", "json:ключ:/ ☕": "[1]"}
    same({key: text.replace(" ", "") for key, text in d.items()}, form)
    same(visitor.get(app), wanted)
    visitor.write(app, cart="plain now")
    d = stored(visitor.token)
    same(("json:cart" in d, d["cart"]), (False, "plain now"))
    visitor.write(app, cart=["nested again"])
    d = stored(visitor.token)
    same(("cart" in d, json.loads(d["json:cart"])), (False, ["nested again"]))
    same(visitor.get(app), {**wanted, "cart": ["nested again"]})


def numbered(app):
    """keys may look like list indexes"""
    visitor = Visitor()
    visitor.write(app, **{"0": "zero", "1": "one"})
    same(stored(visitor.token), {"0": "zero", "1": "one"})
    same(visitor.get(app), {"0": "zero", "1": "one"})


def nulls(app):
    """a key with the value null stays stored, unlike a removed key"""
    visitor = Visitor(created({"json:none": "null", "gone": 1}))
    visitor.post(app, "/write", set={"a": 1}, remove=["gone"])
    same(stored(visitor.token), {"json:none": "null", "a": 1})
    same(visitor.get(app), {"none": None, "a": 1})


def push(app):
    """a change within a nested value is stored"""
    visitor = Visitor()
    visitor.write(app, cart={"items": [1]}, other=1)
    same(visitor.post(app, "/push", item=2)["cart"], {"items": [1, 2]})
    same(json.loads(stored(visitor.token)["json:cart"]), {"items": [1, 2]})


def removal(app):
    """removing keys deletes them, plain and nested, and no others"""
    visitor = Visitor()
    visitor.write(app, a=1, b={"c": 2}, d="stays")
    visitor.post(app, "/write", remove=["a", "b"])
    same(stored(visitor.token), {"d": "stays"})
    same(visitor.get(app), {"d": "stays"})


def changes_only(app):
    """unchanged values are not sent"""
    visitor = Visitor()
    visitor.write(app, a=1, b={"c": 2.5}, t=True)
    before = api("GET", f"/shop/get/{visitor.token}")["w"]
    visitor.get(app)
    visitor.write(app, a=1, b={"c": 2.5})
    same(api("GET", f"/shop/get/{visitor.token}")["w"], before)
    visitor.write(app, t=1)
    same(stored(visitor.token)["t"], 1, "true became")


def concurrent(app):
    """concurrent requests preserve each other's keys and leave one form of each"""
    visitor = Visitor()
    visitor.write(app, first=0)
    one = visitor.hold(app, "one", set={"left": 1, "shared": "plain"})
    two = visitor.hold(app, "two", set={"right": {"n": 2}, "shared": ["nested"]}, remove=["first"])
    one()
    two()
    same(visitor.get(app), {"left": 1, "right": {"n": 2}, "shared": ["nested"]})
    same("shared" in stored(visitor.token), False, "the plain form is still stored:")


def login(app):
    """a login creates a new token with the user's id and ends the old session"""
    visitor = Visitor()
    visitor.write(app, cart=[1], colour="red")
    old = visitor.token
    user = visitor.post(app, "/login", user=f"ann@{app}")["user"]
    holds(visitor.token != old, "the token is the same")
    same(alive(old), False, "the old session is alive:")
    same([session["id"] for session in sessions_of(user)], [user])
    data = visitor.get(app)
    same((data["cart"], data["colour"]), ([1], "red"))


def user_change(app):
    """a change of user creates a new token even if the app does not ask for one"""
    visitor = Visitor()
    visitor.write(app, user_id="eve", cart=[1])
    old = visitor.token
    visitor.write(app, user_id=f"mallory-{app}")
    holds(visitor.token != old, "the token is the same")
    same(alive(old), False, "the old session is alive:")
    same(len(sessions_of(f"mallory-{app}")), 1)
    same(visitor.get(app), {"user_id": f"mallory-{app}", "cart": [1]})


def logout(app):
    """a logout ends the session in the service, and the next write gets another token"""
    visitor = Visitor()
    visitor.post(app, "/login", user=f"bob@{app}")
    old = visitor.token
    visitor.post(app, "/logout")
    same(alive(old), False, "the session is alive:")
    same(visitor.get(app), {})
    visitor.write(app, a=1)
    holds(visitor.token and visitor.token != old, "the token is the same")


def everywhere(app):
    """one call ends all sessions of a user"""
    one, two = Visitor(), Visitor()
    user = one.post(app, "/login", user=f"cy@{app}")["user"]
    two.post(app, "/login", user=f"cy@{app}")
    same(Visitor().post(app, "/everywhere", user=user), {"kill": 2})
    same((one.get(app), two.get(app)), ({}, {}))


def unknown_tokens(app):
    """an unknown or malformed token is never adopted"""
    quoted = '"' + "C" * 64 + '"'
    for cookie in ("A" * 64, "short", "..%2F..%2Fkillall", "s:" + "B" * 64 + ".sig", "é" * 40, quoted, "D" * 65):
        visitor = Visitor(cookie.encode().decode("latin-1"))
        same(visitor.get(app), {})
        visitor.token = visitor.token or cookie.encode().decode("latin-1")
        visitor.write(app, a=1)
        holds(TOKEN.fullmatch(visitor.token) and visitor.token not in (cookie, cookie.strip('"')), "it was adopted")
        same(stored(visitor.token), {"a": 1})


def ended(app):
    """a session that is killed during a request stays dead, and the request fails"""
    visitor = Visitor()
    visitor.write(app, a=1)
    old = visitor.token
    go = visitor.hold(app, "ended", REFUSED, set={"b": 2})
    api("DELETE", f"/shop/kill/{old}")
    before = count()
    go()
    same((alive(old), count()), (False, before))


def bad_values(app):
    """a value that JSON cannot hold is an error, and nothing is stored"""
    visitor = Visitor()
    visitor.write(app, a=1, bad="as before")
    for kind in ("object", "nan"):
        visitor.post(app, "/bad", ERROR, kind=kind)
        holds(stored(visitor.token) in ({"a": 1, "bad": "as before"}, java_stores(app)), f"{kind}: the session has changed")


def java_stores(app):
    """The data after an error in a servlet, which stores attributes one by one, including those before the bad one."""
    return {"a": 1, "bad": "as before", "fine": 1} if app == "java" else None


def too_large(app):
    """more than 60000 bytes are an error, and the stored data stays"""
    visitor = Visitor()
    visitor.write(app, a=1)
    visitor.write(app, ERROR, big="x" * 60001)
    visitor.write(app, ERROR, big=["x" * 60001])
    same(stored(visitor.token), {"a": 1})
    before = count()
    fresh = Visitor()
    fresh.write(app, ERROR, big="x" * 60001)
    same((fresh.token, count()), (None, before))
    same(visitor.write(app, b="x" * 50000)["a"], 1)


def exact(app):
    """integers that another client stored stay exact, even after a login"""
    big = 9007199254740993
    visitor = Visitor(created({"big": big, "json:deep": json.dumps({"n": big}), "id": 3, "cookie": "c", "save": 1.0}))
    seen_in_app = visitor.get(app)
    if app != "express":
        same((seen_in_app["big"], seen_in_app["deep"]), (big, {"n": big}))
    visitor.write(app, a=1)
    visitor.post(app, "/write", set={"user_id": "dan"})
    d = stored(visitor.token)
    same((d["big"], json.loads(d["json:deep"]), d["id"], d["cookie"], d["save"]), (big, {"n": big}, 3, "c", 1.0))
    same((d["a"], d["user_id"]), (1, "dan"))


def outage(app):
    """during an outage, reads and writes return 5xx, and no stored data is lost"""
    visitor = Visitor()
    visitor.write(app, a=1, cart=[1])
    token = visitor.token
    go = visitor.hold(app, "outage", ERROR, set={"b": 2})
    fresh = Visitor()
    go_fresh = fresh.hold(app, "outage-new", ERROR, set={"b": 2})
    service.down()
    try:
        visitor.ask(app, "GET", "/read", status=503 if app in ("express", "php") else ERROR)
        visitor.write(app, ERROR, a=3)
        go()
        go_fresh()
        same((visitor.token, fresh.token), (token, None))
    finally:
        service.up()
    data = visitor.get(app)
    data.pop("b", None)  # a write that was in flight may have reached Redis
    data["a"] = 1 if data["a"] == 3 and service.redis else data["a"]
    same(data, {"a": 1, "cart": [1]})
    visitor.write(app, c=4)
    same(visitor.get(app)["c"], 4)


EACH = [
    readers, native, nested, numbered, nulls, push, removal, changes_only, concurrent, login, user_change, logout,
    everywhere, unknown_tokens, ended, bad_values, too_large, exact, outage,
]  # fmt: skip


## Checks of a single framework


def express_stream():
    """express: a streamed response waits for its cookie"""
    visitor = Visitor()
    same(visitor.ask("express", "POST", "/stream", {}), [1, 2])
    same(stored(visitor.token), {"streamed": True})


def express_saved():
    """express: a save by the app creates no second session"""
    before = count()
    visitor = Visitor()
    visitor.post("express", "/saved", 302)
    same((stored(visitor.token), count()), ({"first": 1, "second": 2}, before + 1))


def express_insecure():
    """express: a Secure cookie over plain http is an error and leaves no session"""
    before = count()
    text = json.dumps({"set": {"a": 1}}).encode()
    got, answer, answered = request(ports["express"], "POST", "/write", text, {"Content-Type": "application/json"})
    same((got, answered.get_all("Set-Cookie", []), count()), (500, [], before))


def express_store():
    """express: all, length and clear"""
    created({"mark": 1, "json:list": "[2]"})
    answer = Visitor().post("express", "/list")
    same(answer["length"], count())
    holds({"mark": 1, "list": [2]} in answer["all"], "all lacks a session")
    Visitor().post("express", "/clear")
    same(count(), 0)


def django_auth():
    """django: request.user is the logged-in user, asynchronous methods work, set_expiry sets the ttl"""
    visitor = Visitor()
    visitor.post("django", "/login", user="grace")
    same(visitor.get("django", "/whoami"), {"name": "grace"})
    old = visitor.token
    same(visitor.get("django", "/asynchronous"), {"key": True})
    same((alive(old), visitor.get("django", "/whoami")), (False, {"name": "grace"}))
    visitor.post("django", "/expiry", seconds=333)
    same(api("GET", f"/shop/get/{visitor.token}")["ttl"], 333)
    same(visitor.get("django", "/whoami"), {"name": "grace"})


def flask_permanent():
    """flask: making a session permanent keeps its token"""
    visitor = Visitor()
    visitor.write("flask", a=1)
    old = visitor.token
    visitor.post("flask", "/permanent")
    same((visitor.token, visitor.get("flask")), (old, {"a": 1, "_permanent": True}))


def php_twice():
    """php: closing and reopening the session in one request creates no second session"""
    before = count()
    visitor = Visitor()
    same(visitor.post("php", "/twice"), {"first": 1, "second": 2})
    same((stored(visitor.token), count()), ({"first": 1, "second": 2}, before + 1))


def java_late():
    """java: a long response has its cookie, and changes in the asynchronous part of a request are stored"""
    visitor = Visitor()
    same(len(visitor.post("java", "/long")["long"]), 100000)
    same(stored(visitor.token), {"long": True})
    visitor.post("java", "/late")
    same(stored(visitor.token), {"long": True, "late": True})
    visitor = Visitor()
    visitor.post("java", "/late")
    same(stored(visitor.token), {"late": True})


## Checks across languages


def shared(writer):
    """every app reads and changes this app's data, and this app reads the changes"""
    visitor = Visitor()
    wanted = {"cart": NESTED, **PLAIN}
    visitor.write(writer, **wanted)
    for app in ports:
        same(visitor.get(app), wanted, app)
        change = {f"by_{app}": {"from": [app, None, 0.5]}, f"plain_{app}": app}
        wanted |= change
        same(visitor.write(app, **change), wanted, app)
        same(visitor.get(writer), wanted, f"{writer} after {app}")
    same(len(visitor.tokens), 1, "tokens:")


def walk(first):
    """a login in this app is valid in all five, with one cookie, until a logout in any of them"""
    for last in ports:
        visitor = Visitor()
        visitor.write(first, cart=[1])
        user = visitor.post(first, "/login", user=f"walker-{first}-{last}")["user"]
        token = visitor.token
        for app in ports:
            data = visitor.write(app, **{f"seen_by_{app}": True})
            same(data.get("_auth_user_id" if first == "django" else "user_id"), user, app)
        if first == "django":
            same(visitor.get("django", "/whoami"), {"name": f"walker-{first}-{last}"})
        same((visitor.token, [session["id"] for session in sessions_of(user)]), (token, [user]))
        visitor.post(last, "/logout")
        same(alive(token), False, f"after a logout in {last} the session is alive:")
        visitor.token = token
        for app in ports:
            same(visitor.get(app), {}, app)


def expired():
    """in every app an expired session is empty, and the next write gets another token"""
    until(lambda: not sessions_of("expiring"), "sessions to expire")
    for app, token in expiring.items():
        visitor = Visitor(token)
        same(visitor.get(app), {}, app)
        visitor.token = token
        visitor.write(app, a=1)
        holds(visitor.token != token, f"{app} adopted an expired token")


def no_token_in_logs():
    """no log of an app or of the service contains a token"""
    for log in work.glob("*.log"):
        holds(not leaks(log.read_text(errors="replace")), f"{log.name} contains a token")


passed = failed = 0


def check(function, *arguments):
    global passed, failed
    name = " ".join([service.store, *arguments, "-", " ".join((function.__doc__ or "").split())])
    try:
        function(*arguments)
        passed += 1
        print("ok  ", name, flush=True)
    except Exception as error:
        failed += 1
        where = traceback.extract_tb(error.__traceback__)[1] if not isinstance(error, AssertionError) else ""
        print("FAIL", name, "\n     ", f"{type(error).__name__}: {error}"[:600], f"(line {where.lineno})", flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
try:
    for store in ("embedded", "redis"):
        with tempfile.TemporaryDirectory(prefix="adapters-") as folder:
            work = pathlib.Path(folder)
            seen = set()
            try:
                service = Service(sys.argv[1], work, store)
                ports = start_apps(work, service, *sys.argv[2:])
                expiring = {app: created({"a": 1}, "expiring", 10) for app in ports}
                for app in ports:
                    for function in EACH:
                        check(function, app)
                for function in (express_stream, express_saved, express_insecure, django_auth, flask_permanent, php_twice, java_late):
                    check(function)
                for function in (shared, walk):
                    for app in ports:
                        check(function, app)
                check(expired)
                check(express_store)
                check(no_token_in_logs)
            finally:
                processes.end()
except KeyboardInterrupt:
    sys.exit(130)
print(f"adapters: {passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
