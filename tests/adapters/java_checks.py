"""Checks edge cases of the servlet adapter in every container that its README names: java_checks.py BINARY TOOLS JARS.

TOOLS/servlets has the containers of java/pom.xml, JARS is Debian's Tomcat. It also checks the Java part of the example.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from urllib.parse import quote

import processes
from java_faults import Faults
from processes import HERE, Service, free_port, listens, request, start, until

REPO = HERE.parent.parent
EXAMPLE = REPO / "examples/shared-login/java"
ADAPTER = REPO / "adapters/java/RestSessionsFilter.java"


class Failed(Exception):
    pass


def same(got, wanted, what=""):
    if got != wanted:
        raise Failed(f"{what} {got!r} is not {wanted!r}".strip())


def holds(condition, what):
    if not condition:
        raise Failed(what)


## Direct calls to the service


def api(method, path, body=None):
    status, answer, _ = request(service.port, method, path, body if body is None or isinstance(body, str) else json.dumps(body))
    holds(status == 200, f"the service returned {status} {answer[:200]}")
    return json.loads(answer)


def create(d, user="ann", ttl=7200):
    return api("PUT", f"/shop/create/{user}?ip=192.0.2.1&ttl={ttl}", d)["token"]


def get(token):
    return api("GET", f"/shop/get/{token}")


def raw(token):
    """Returns the stored data, each value as JSON text."""
    text = request(service.port, "GET", f"/shop/get/{token}")[1].decode()
    found = json.loads(text, parse_int=lambda digits: f"number {digits}", parse_float=lambda digits: f"number {digits}")
    return found.get("d", {})


def count():
    return len(api("GET", "/shop/soapp?dt=2147483647")["sessions"])


def sessions_of(user):
    return api("GET", f"/shop/soid/{quote(user, safe='').replace('.', '%2E')}")["sessions"]


## Requests to the container, as from a browser


def visit(path, token=None, status=200, context="", **headers):
    """Returns the text of the response and the tokens in its session cookies."""
    cookie = {"Cookie": f"session={token}"} if token else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    got, body, answered = request(port, "GET", context + path, headers={**cookie, **named})
    holds(got == status, f"{path}: {got} {body[:300]}")
    lines = answered.get_all("Set-Cookie", [])
    holds(not any("JSESSIONID" in line for line in lines), f"{path}: a cookie from the container's own session: {lines}")
    return body.decode(), [re.match('session="?([A-Za-z0-9]*)', line)[1] for line in lines if line.startswith("session=")]


def one_session(path, wanted, status=200, context=""):
    """Checks that a new visitor's request creates one session with this data and sends one cookie."""
    before = count()
    _, cookies = visit(path, status=status, context=context)
    same(len(cookies), 1, "cookies:")
    until(lambda: get(cookies[0]).get("d") == wanted, lambda: f"{path}: {get(cookies[0]).get('d')} to be {wanted}", 5)
    same(count() - before, 1, "new sessions:")
    return cookies[0]


def dispatches():
    """error pages, forwards, includes and asynchronous parts share one session with one cookie"""
    both = {"a": 1, "b": 2}
    for context in ("", "/all"):
        for path in ("/fails", "/throws", "/async-timeout"):
            one_session(path, both, 500, context)
        for path in ("/forward", "/include", "/async", "/async-dispatch"):
            one_session(path, both, 200, context)
        one_session("/async-in-place", {"json:list": "[1,2]"}, 200, context)
        user = f"thrown-{context}"
        old = create({"cart": 1}, "anonymous")
        _, cookies = visit("/login-throws", old, 500, context)
        same((len(cookies), get(old), get(cookies[0])["d"]["user_id"]), (1, {}, "thrown"), user)
        same(len(sessions_of("thrown")), 1)
        api("DELETE", "/shop/killsoid/thrown")


def thrown():
    """changes that a request made before it threw are stored"""
    token = create({"cart": 1})
    visit("/throws", token, 500)
    same(get(token)["d"], {"cart": 1, "a": 1, "b": 2})


def resets():
    """a response that is reset, or whose cookies are replaced, still has the cookie of its new session"""
    for path in ("/reset", "/reset-buffer", "/set-header", "/twice", "/redirect", "/redirect-303"):
        status = {"/redirect": 302, "/redirect-303": 303 if "11" in container else 302}.get(path, 200)
        one_session(path, {"a": 1}, status)


def too_late():
    """a new session after the response has started is refused, and no session is left"""
    before = count()
    body, cookies = visit("/too-late")
    same((body, cookies, count()), ("begun refused", [], before))


def links():
    """links contain no token"""
    same(visit("/links")[0], "/x?y /z")


def intervals():
    """setting the current interval changes nothing; no interval is negative; a short one is read back"""
    for n, shown in (("-1", "-1"), ("0", "-1"), ("5", "5"), ("10", "10"), ("1800", "1800")):
        _, cookies = visit(f"/interval?n={n}")
        for _ in range(3):
            same(visit(f"/interval?n={n}", cookies[0]), (shown, []), n)
        same(visit("/show-interval", cookies[0]), (shown, []), n)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = list(pool.map(lambda _: visit(f"/interval?n={n}", cookies[0]), range(5)))
        same(answers, [(shown, [])] * 5, n)
    same(get(visit("/interval?n=0")[1][0])["ttl"], 2147483647)
    same(get(visit("/interval?n=5")[1][0])["ttl"], 10)


def changed_interval():
    """concurrent requests that set another interval leave one session, and none of them fails"""
    token = create({"a": 1, "user_id": "ivan"}, "ivan", 1200)
    together = threading.Barrier(5)  # all requests read the session before one replaces it
    faults.fault = lambda method, path, nth: together.wait(30) and None if method == "PUT" else None
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: visit("/interval?n=1800", token), range(5)))
    faults.clear()
    cookies = [cookie for _, named in answers for cookie in named]
    same((len(cookies), len(sessions_of("ivan")), get(token)), (1, 1, {}))
    same(get(cookies[0])["d"], {"a": 1, "user_id": "ivan"})


def unkillable():
    """if the old session cannot be ended, a login fails without a new cookie and leaves no new session"""
    old = create({"cart": 1}, "anonymous")
    faults.fault = lambda method, path, nth: "refuse" if path.endswith(f"/kill/{old}") else None
    _, cookies = visit("/login?user=uma", old, 500)
    faults.clear()
    same((cookies, sessions_of("uma"), get(old)["d"]), ([], [], {"cart": 1}))
    _, cookies = visit("/login?user=uma", old)
    same((len(cookies), len(sessions_of("uma")), get(old)), (1, 1, {}))


def renewed_while_killed():
    """a renewal never restores a session that was ended elsewhere"""
    old = create({"user_id": "kim"}, "kim")

    def logged_out(method, path, nth):
        if method == "PUT":
            api("DELETE", f"/shop/kill/{old}")

    faults.fault = logged_out
    before = count()
    _, cookies = visit("/renew", old)
    faults.clear()
    same((cookies, sessions_of("kim"), count()), ([], [], before - 1))


def again():
    """ending a session and starting another in one request leaves one session and one cookie"""
    old = create({"x": 1})
    _, cookies = visit("/again", old)
    same((len(cookies), get(old), get(cookies[0])["d"]), (1, {}, {"again": 1}))


def which_cookie():
    """several cookies of one name follow the shared table"""
    for case in json.loads((REPO / "tests/cookies.json").read_text()):
        tokens = {name: create({"who": name}, name) for name in ("ann", "bob")}
        lines = [line.format(dead="A" * 64, **tokens) for line in case["lines"]]
        head = "".join(f"Cookie: {line}\r\n" for line in lines)
        with socket.create_connection(("127.0.0.1", port), 30) as visitor:
            visitor.sendall(f"GET {WHO} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}Connection: close\r\n\r\n".encode())
            answer = b""
            while piece := visitor.recv(65536):
                answer += piece
        found = re.search(SHOWN, answer.decode(errors="replace"))
        same(found[1] if found and found[1] != "null" else None, case["who"], case["name"])


def shaped():
    """the cookie takes its name, domain, path, age and SameSite from the container's settings"""
    for context, wanted in {
        "/shaped": {"mine", "domain=example.com", "path=/shaped", "max-age=3600", "samesite=strict", "secure", "httponly"},
        "/outside": {"theirs", "domain=example.org", "path=/outside", "samesite=lax", "httponly"},
    }.items():
        if context == "/outside" and "tomcat" not in container:
            continue
        lines = request(port, "GET", f"{context}/write")[2].get_all("Set-Cookie", [])
        same(len(lines), 1, "cookies:")
        parts = {part.strip().lower() for part in lines[0].split(";")}
        parts = {re.sub("=[a-z0-9]{64}", "", part) for part in parts if not part.startswith("expires")}
        same(parts, wanted)
        token = re.search("[A-Za-z0-9]{64}", lines[0])[0]
        name = (wanted & {"mine", "theirs"}).pop()
        request(port, "GET", f"{context}/replace?key=x", headers={"Cookie": f"{name}={token}"})
        same(get(token)["d"], {"w": 1, "x": "replaced"})


def refused_settings():
    """unsupported settings prevent the start, and the log names them"""
    log = (work / f"{container}.log").read_text()
    for context, what in {"/unknown": "cokie", "/host": "__Host-", "/no-cookies": "tracking-mode", "/at-once": "max-age"}.items():
        holds(request(port, "GET", f"{context}/plain")[0] != 200, f"{context} runs")
        holds(re.search(f"rest-sessions: .*{what}", log), f"the log does not say {what}")


def insecure():
    """a Secure cookie over plain http is an error and leaves no session"""
    before = count()
    _, cookies = visit("/write", status=500, Host="shop.example")
    same((cookies, count()), ([], before))
    for headers in ({"X_Forwarded_Proto": "https"}, {"Forwarded": "for=192.0.2.1;proto=https"}):
        _, cookies = visit("/write", Host="shop.example", **headers)
        same(len(cookies), 1)
    same(len(visit("/write", Host="localhost")[1]), 1)


def addresses():
    """client addresses from proxies are stored without a port, or as 0.0.0.0"""
    zone = "fe80:0:0:0:a202:b3ff:fe1e:8329%enp0s31f6"
    for given, wanted in {
        "203.0.113.7": "203.0.113.7", "203.0.113.7:51234": "203.0.113.7", "2001:db8::7": "2001:db8::7",
        "[2001:db8::7]:51234": "2001:db8::7", "[2001:db8::7]": "2001:db8::7", zone: zone, "::ffff:192.0.2.1": "::ffff:192.0.2.1",
        "": "0.0.0.0", "unknown": "0.0.0.0", "_hidden": "0.0.0.0", "300.1.1.1": "0.0.0.0", "1:2": "0.0.0.0", ":::": "0.0.0.0",
        "fe80::1%" + "e" * 64: f"fe80:0:0:0:0:0:0:1%{'e' * 64}", "fe80::1%" + "e" * 65: "0.0.0.0", "0" * 40 + "::1": "0:0:0:0:0:0:0:1",
        "0000:0000:0000:0000:0000:ffff:192.168.100.200": "192.168.100.200", "0" * 40 + "::ffff:192.0.2.1%eth0": "192.0.2.1", ".:": "0.0.0.0",
        "192.0.2.1, 192.0.2.2": "0.0.0.0", "x" * 400: "0.0.0.0", "a\nb": "0.0.0.0", "2001:db8::7%a b": "0.0.0.0",
    }.items():
        same(visit(f"/address?a={quote(given, safe='')}")[0], wanted, given)
        token = api("PUT", f"/shop/create/ann?ip={quote(wanted, safe='')}", {})["token"]
        same(get(token)["ip"], wanted, f"the service stores {given}:")
    same(get(visit("/write")[1][0])["ip"], "127.0.0.1")


POISON = [
    '"json:n":"{oops"', '"json:n":5', '"json:n":true', '"json:n":""', '"json:n":"[NaN]"', '"json:n":"[1e400]"',
    '"json:n":"\\"\\\\ud800\\""', '"json:n":"[' + "9" * 5000 + ']"', '"json:n":"' + "[" * 5000 + "]" * 5000 + '"',
    '"json:n":"[1] x"', '"json:n":"[01]"', '"json:n":"[1,]"', '"n":' + "9" * 5000, '"n":1e400', '"n":-1e400',
]
ODD = [
    '"__proto__":1,"json:__proto__":"{\\"x\\":1}"', '"":1,"json:":"[1]"', '"0":1,"json:1":"[1]"', '"a|b":1,"!c":2',
    '"a\\u0000b":1,"c\\nd":2', '"n":1E5,"m":1.0,"o":-0,"p":1e-400,"q":12345678901234567890', '"json:n":"[1.10,1E2]"',
    '"n":1,"json:n":"[2]"', '"json:n":"' + "[" * 300 + "]" * 300 + '"',
]


def poison():
    """unreadable values are hidden, stay stored unchanged through writes and logins, and never make a request fail"""
    tried = 0
    for odd in POISON + ODD:
        body = '{"who":"ann",' + odd + "}"
        status, answer, _ = request(service.port, "PUT", "/shop/create/ann?ip=192.0.2.1", body.encode())
        if status != 200:
            continue  # the service refuses this value
        tried += 1
        token = json.loads(answer)["token"]
        before = raw(token)
        same(visit("/who", token)[0], "ann", odd[:60])
        visit("/write", token)
        same(raw(token), {**before, "w": "number 1"}, odd[:60])
        _, cookies = visit("/login?user=paul", token)
        same(raw(cookies[0]), {**before, "w": "number 1", "user_id": "paul"}, odd[:60])
        if odd in POISON:
            same(visit("/raw", cookies[0])[0], "[who, w, user_id]", odd[:60])
            visit("/replace?key=n", cookies[0])
            same(raw(cookies[0]), {"who": "ann", "w": "number 1", "user_id": "paul", "n": "replaced"}, odd[:60])
        visit("/logout", cookies[0])
        same(get(cookies[0]), {}, odd[:60])
    holds(tried >= 15, f"the service accepted only {tried} of the values")
    log = (work / f"{container}.log").read_text(errors="replace")
    holds("value of json:n cannot be read" in log and "oops" not in log, "the log does not name the key alone")


def too_deep():
    """values that other languages cannot read are refused with the key's name"""
    token = create({"who": "ann"})
    visit("/nest?n=100", token)
    same(len(re.findall(r"[\[{]", get(token)["d"]["json:tree"])), 100)
    for path, key in (("/nest?n=101", "tree"), *((f"/bad?kind={kind}", "bad-key") for kind in ("cycle", "huge", "half", "half-key", "nan"))):
        before = raw(token)
        visit(path, token, 500)
        after = raw(token)
        after.pop("b", None), before.pop("b", None), after.pop("a", None), before.pop("a", None)  # the error page writes these
        same(after, before, path)
        log = (work / f"{container}.log").read_text(errors="replace")
        holds(f"the attribute {key} cannot be stored" in log, f"{path}: the log does not name the key")


def users():
    """users with unusual ids can log in and log out everywhere; reserved ids are refused"""
    for user in (".", "..", "...", "a/../b", "a:b", "ü☕", "%2E", "a b+c?d#e"):
        visit(f"/login?user={quote(user, safe='')}")
        same([session["id"] for session in sessions_of(user)], [user])
        same(visit(f"/everywhere?user={quote(user, safe='')}")[0], "1", user)
    for user in ("anonymous", "anonymous:1"):
        before = count()
        _, cookies = visit(f"/login?user={user}", status=500)
        same((cookies, count()), ([], before), user)
    ids = [get(visit("/write")[1][0])["id"] for _ in range(2)]
    holds(all(re.fullmatch("anonymous:[0-9a-f]{16}", one) for one in ids) and ids[0] != ids[1], f"ids: {ids}")
    token = create({"user_id": "otto"}, "otto")
    _, cookies = visit("/replace?key=who", token)
    same((cookies, get(token)["id"]), ([], "otto"))


def untouched():
    """a request that does not use the session makes no call and works during an outage; one that uses it fails"""
    token = create({"who": "ann"})
    faults.clear()
    visit("/plain", token)
    same(faults.asked, [])
    faults.fault = lambda method, path, nth: "refuse"
    visit("/plain", token)
    visit("/who", token, 500)
    faults.clear()
    same(visit("/who", token)[0], "ann")


## Connections


def others():
    """stray bytes never reach another visitor"""
    victim = create({"who": "victim"})
    faults.other = json.dumps(get(victim)).encode()
    faults.fault = lambda method, path, nth: "stray"
    for user in ("one", "two", "three"):
        same(visit("/who", create({"who": user}))[0], user)
    faults.clear()


def reused():
    """connections are reused, and a dead one causes no error"""
    token = create({"who": "ann"})
    visit("/who", token)
    before = faults.connections
    for _ in range(5):
        visit("/who", token)
    same(faults.connections, before, "connections:")
    faults.fault = lambda method, path, nth: "close"
    for _ in range(3):
        same(visit("/who", token)[0], "ann")
        one_session("/write", {"w": 1})
    faults.fault = lambda method, path, nth: "silent" if nth > 1 else None
    visit("/who", token)
    same(visit("/who", token)[0], "ann", "through a connection that has become silent:")
    faults.clear()


def never_twice():
    """a create whose response is lost is not retried"""
    faults.clear()
    faults.fault = lambda method, path, nth: "drop" if method == "PUT" else None
    before = count()
    _, cookies = visit("/write", status=500)
    asked = [method for method, _ in faults.asked]
    faults.clear()
    same((cookies, count() - before, asked.count("PUT")), ([], 1, 1))


def deadline():
    """an endless response is an error at the deadline"""
    token = create({"who": "ann"})
    visit("/who", token)
    for what in ("drip", "silent"):
        faults.fault = lambda method, path, nth, what=what: what
        visit("/who", token, 500)
    faults.clear()
    same(visit("/who", token)[0], "ann")


def interrupts():
    """an interrupted call fails and keeps the thread's flag, and its connection is not reused"""
    victim, token = create({"who": "victim"}), create({"who": "ann"})
    faults.other = json.dumps(get(victim)).encode()
    late = iter(["late"])
    faults.fault = lambda method, path, nth: next(late, None)
    same(visit("/interrupt", token)[0], "failed=true flag=true then ann")
    faults.clear()


def threads():
    """threads of one request share one session"""
    one_session("/threads", {f"json:t{i}": f'["t{i}"]' for i in range(8)})


def many_visitors():
    """concurrent visitors each get their own session"""
    tokens = {f"user{i}": create({"who": f"user{i}"}) for i in range(16)}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for user, answers in zip(tokens, pool.map(lambda one: [visit("/who", one)[0] for _ in range(15)], tokens.values())):
            same(answers, [user] * 15)


def secret():
    """the log contains no token"""
    found = set(re.findall("(?<![A-Za-z0-9])[A-Za-z0-9]{64}(?![A-Za-z0-9])", (work / f"{container}.log").read_text(errors="replace")))
    same(found, set())


EDGES = [
    dispatches, thrown, resets, too_late, links, intervals, changed_interval, unkillable, renewed_while_killed, again, which_cookie,
    shaped, insecure, addresses, poison, too_deep, users, untouched, others, reused, never_twice, deadline, interrupts, threads,
    many_visitors,
]


## A service with several addresses


def two_addresses():
    """if the first addresses of a name are dead, the client connects to the last"""
    for token in (create({"who": "ann"}), create({"who": "ben"})):
        holds(visit("/who", token)[0] in ("ann", "ben"), "no session")


def untrusted():
    """a certificate for another name is refused"""
    global host
    host = "127.0.0.1"
    run_container("tls-other", debian, "OnTomcat", oldest, *trust(work / "trust.p12"))
    visit("/who", create({"who": "ann"}), 500)


## The example


def page(path, form=None, cookie=None):
    headers = {"X-Forwarded-Proto": "http", "Host": "site", "Origin": "http://site"}
    headers |= {"Cookie": cookie} if cookie else {}
    method = "POST" if form is not None else "GET"
    status, body, answered = request(port, method, path, form, headers)
    return status, body.decode(), answered.get_all("Set-Cookie", [])


def site_logins():
    """example: unusual addresses, reserved names and several cookies work, and no orphaned session is left"""
    form = "name={}&role=editor&password=demo"
    status, _, cookies = page("/java/login", form.format("zoe"))
    same((status, len(cookies)), (303, 1))
    token = re.search("session=([A-Za-z0-9]{64})", cookies[0])[1]
    same(api("GET", f"/site/get/{token}")["ip"], "0.0.0.0")
    same(page("/java/login", form.format("anonymous"))[0], 400)
    holds("Hello, zoe" in page("/java/", cookie=f"session={'A' * 64}; session \t= {token}")[1], "the live one of two cookies was ignored")
    faults.fault = lambda method, path, nth: "refuse" if path.endswith(f"/kill/{token}") else None
    status, _, cookies = page("/java/login", form.format("yve"), f"session={token}")
    faults.clear()
    same((status, cookies, api("GET", "/site/soid/yve")["sessions"]), (503, [], []))
    page("/java/logout", "", f"session={'A' * 64}; session={token}")
    same(api("GET", f"/site/get/{token}"), {})


def site_deadline():
    """example: an endless response is a 503 at the deadline"""
    faults.fault = lambda method, path, nth: "drip"
    status = page("/java/", cookie="session=" + "B" * 64)[0]
    faults.clear()
    same(status, 503)


def same_http():
    """the adapter and the example have identical Http classes and address functions"""
    for part in (r"\n    /\*\*\n     \* HTTP/1\.1 client for one server.*?\n    }\n", r"static String address\(.*?\n    }\n"):
        blocks = [re.search(part, file.read_text(), re.S) for file in (ADAPTER, EXAMPLE / "SessionClient.java")]
        holds(all(blocks) and blocks[0].group() == blocks[1].group(), "they differ")


## The run

passed = failed = 0


def check(function):
    global passed, failed
    name = f"{container} - {' '.join(function.__doc__.split())}"
    try:
        function()
        passed += 1
        print("ok  ", name, flush=True)
    except Exception as error:
        failed += 1
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == __file__]
        print("FAIL", name, "\n     ", f"{type(error).__name__}: {error}"[:700], f"(line {lines[1:]})", flush=True)
        faults.clear()


def java_homes():
    """Returns JDK 17 and the newest other JDK, if there is one."""
    homes = {}
    for home in sorted(pathlib.Path("/usr/lib/jvm").glob("*/release")):
        version = int(re.search(r'JAVA_VERSION="(\d+)', home.read_text())[1])
        homes[version] = home.parent / "bin/java"
    oldest = homes.get(17, "java")
    newest = homes[max(homes)] if homes and max(homes) > 17 else None
    if not newest:
        print("SKIPPED: no JDK newer than 17 in /usr/lib/jvm; all containers run on 17", flush=True)
    return oldest, newest or oldest, max(homes, default=17)


def compile_for(jars, main, folder, replace=("", "")):
    folder.mkdir()
    source = folder / f"{main}.java"
    source.write_text((HERE / f"java/{main}.java").read_text().replace(*replace) if replace[0] else (HERE / f"java/{main}.java").read_text())
    lint = "-Xlint:all,-processing,-classfile,-deprecation"
    compiler = ["javac", "--release", "17", lint, "-XDsuppressNotes", "-Werror", "-d", folder, "-cp", jars]
    subprocess.run([*compiler, ADAPTER, HERE / "java/Edges.java", source], check=True)


def certificate():
    """Creates a certificate for localhost, and a Java trust store that contains it."""
    key, certificate, store = (work / name for name in ("key.pem", "certificate.pem", "trust.p12"))
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*new, "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    store_it = ["keytool", "-importcert", "-noprompt", "-alias", "a", "-storepass", "changeit", "-file", certificate]
    subprocess.run([*store_it, "-keystore", store], check=True, capture_output=True)
    return certificate, key, store


def trust(store):
    return f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"


def run_container(name, jars, main, java, *flags, arguments=(), replace=("", "")):
    """Compiles and starts the application in a container, in front of `faults`."""
    global port
    folder = work / name
    compile_for(jars, main, folder, replace)
    port = free_port()
    where = [f"{folder}:{jars}", main, port, *([folder] if main == "OnTomcat" else []), *arguments]
    scheme = "https" if faults.tls else "http"
    environment = {"REST_SESSIONS_APP": "shop", "REST_SESSIONS_URL": f"{scheme}://{host}:{faults.port}"}
    process = start([java, *flags, "-Xmx256m", "-XX:+UseSerialGC", "-cp", *where], work / f"{name}.log", **environment)
    until(lambda: process.poll() is not None or listens(port, "/plain")(), lambda: (work / f"{name}.log").read_text()[-2000:], 90)
    holds(process.poll() is None, (work / f"{name}.log").read_text()[-2000:])
    return process


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
binary, tools, debian = sys.argv[1], pathlib.Path(sys.argv[2]) / "servlets", sys.argv[3]
only = os.environ.get("ONLY", "")  # part of a container's name
oldest, newest, version = java_homes()
virtual = ("virtual",) if version >= 21 else ()
CONTAINERS = [
    ("tomcat-10.1.0", f"{tools}/tomcat-10.1-oldest/*", "OnTomcat", oldest, (), ("", "")),
    ("tomcat-10.1-debian", debian, "OnTomcat", oldest, (), ("", "")),
    ("tomcat-11", f"{tools}/tomcat-11/*", "OnTomcat", newest, virtual, ("", "")),
    ("jetty-12.1-ee10", f"{tools}/jetty-12.1-ee10/*", "OnJetty", oldest, (), ("", "")),
    ("jetty-12.1-ee11", f"{tools}/jetty-12.1-ee11/*", "OnJetty", newest, (), ("ee10", "ee11")),
]
WHO, SHOWN = "/who", r"\r\n\r\n(?:[0-9a-f]+\r\n)?(\w+)"
host = "127.0.0.1"
faults = None
try:
    with tempfile.TemporaryDirectory(prefix="java-checks-") as directory:
        work = pathlib.Path(directory)
        try:
            service = Service(binary, work, "embedded")
            faults = Faults(service.port)
            for container, jars, main, java, arguments, replace in CONTAINERS:
                if only not in container:
                    continue
                process = run_container(container, jars, main, java, arguments=arguments, replace=replace)
                for function in [*EDGES, *([refused_settings] if main == "OnTomcat" else []), secret]:
                    check(function)
                processes.stop(process)
                api("DELETE", "/shop/killall")

            if only in "two-addresses":
                container, host = "two-addresses", "sessions.test"
                (work / "hosts").write_text("".join(f"127.0.0.{n} {host}\n" for n in (3, 2, 1)))
                with socket.create_server(("127.0.0.3", faults.port), backlog=0) as deaf:
                    # Its full backlog neither accepts nor refuses connections; 127.0.0.2 refuses them.
                    fill = [socket.socket() for _ in range(4)]
                    for one in fill:
                        one.setblocking(False)
                        one.connect_ex(deaf.getsockname())
                    run_container(container, debian, "OnTomcat", oldest, f"-Djdk.net.hosts.file={work / 'hosts'}")
                    check(two_addresses)

            if only in "tls":
                container, host = "tls", "localhost"
                *pair, store = certificate()
                plain, faults = faults, Faults(service.port, pair)
                run_container(container, debian, "OnTomcat", oldest, *trust(store))
                known = {"Cookie": "session=" + create({"who": "ann"})}
                until(lambda: request(port, "GET", "/who", headers=known)[0] == 200, "TLS", 90)  # Java's first handshake is slow
                for function in (reused, others, never_twice, deadline, interrupts, many_visitors, untrusted):
                    check(function)
                faults.close()
                faults = plain

            if only in "example":
                container, host = "example", "127.0.0.1"
                subprocess.run(["javac", "-d", work / "site", *EXAMPLE.glob("*.java")], check=True)
                port = free_port()
                environment = {"SESSIONS_URL": f"http://127.0.0.1:{faults.port}", "PORT": str(port)}
                start([oldest, "-cp", work / "site", "App"], work / "example.log", **environment)
                until(listens(port, "/java/"), lambda: (work / "example.log").read_text())
                for function in (site_logins, site_deadline, same_http, secret):
                    check(function)
        finally:
            processes.end()
            if faults:
                faults.close()
except KeyboardInterrupt:
    sys.exit(130)
print(f"java: {passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
