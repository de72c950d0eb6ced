"""Tests the life cycle of a session with the Python client generated from openapi.yaml.

    life.py URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE
"""

import sys
from urllib.parse import unquote

from rest_sessions import ApiClient, ApiException, Configuration, ErrorBody, ListsApi, ServiceApi, Session, SessionsApi

APP = "python"
IP = "203.0.113.7"
DATA = {
    "name": "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
    "empty": "",
    "cart": 3,
    "debt": -7,
    "beyond": 9007199254740993,  # 2^53 + 1, beyond the exact integers of a double
    "largest": 9223372036854775807,
    "ratio": 0.1,
    "tiny": 1e-7,
    "yes": True,
    "no": False,
}
IDS = ["a/b", "a:b", "a b", "100%", "a%2Fb", "a+b", "Zoë-東京"]


def check(name, passed):
    if not passed:
        sys.exit(f"FAILED: {name}")
    print(name)


def connect(url):
    # Why: by default, urllib3 retries after a 503 up to three times, each time after Retry-After. If it cannot connect,
    # its error and its log contain the path, and so the token.
    return ApiClient(Configuration(host=url, retries=False))


def same(values, expected):
    """Whether values and types are equal. Why: in Python, 1 == True == 1.0."""
    return values == expected and [type(v) for v in values] == [type(v) for v in expected]


def failure(call, *arguments, **options):
    """Returns the error that a call raises, with its body as the generated type."""
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert isinstance(error.data, ErrorBody), error
        return error
    sys.exit("FAILED: an error was expected")


def main(url, url_without_store):
    client = connect(url)
    sessions, lists, service = SessionsApi(client), ListsApi(client), ServiceApi(client)

    check("ping says PONG", service.ping() == "PONG")

    token = sessions.create(APP, "ann", IP, ttl=600, data=DATA, _request_timeout=5).token
    check("create returns a token", len(token) == 64)

    session = sessions.get(APP, token)
    check("get returns a session", isinstance(session, Session) and session.id == "ann" and session.ip == IP)
    numbers = same([session.r, session.w, session.ttl], [1, 1, 600]) and session.idle in range(60)
    check("get returns its counters", numbers)
    check("no_resave is absent by default", session.no_resave is None)
    d = session.d
    check("all keys are returned", d.keys() == DATA.keys())
    for kind, keys in {
        "strings": ["name", "empty"],
        "integers": ["cart", "debt"],
        "large integers": ["beyond", "largest"],
        "doubles": ["ratio", "tiny"],
        "booleans": ["yes", "no"],
    }.items():
        check(f"{kind} come back", same([d[key] for key in keys], [DATA[key] for key in keys]))
    check("a get increments r", sessions.get(APP, token).r == 2)

    session = sessions.set(APP, token, changes={"cart": 4, "theme": "dark"})
    check("set adds and replaces keys", session.d == DATA | {"cart": 4, "theme": "dark"})
    check("a set increments w", session.w == 2)
    check("null removes a key", "theme" not in sessions.set(APP, token, changes={"theme": None}).d)
    sessions.set(APP, token, changes={"a&b=c": 1, "é+ %": 2, "keep": 3})
    d = sessions.set(APP, token, unset=["a&b=c", "é+ %", "absent"]).d
    check("unset removes keys", d == DATA | {"cart": 4, "keep": 3})
    d = sessions.set(APP, token, unset=["keep"], changes={"cart": 5}).d
    check("unset and changes work together", d == DATA | {"cart": 5})

    answer = sessions.auth_with_http_info(APP, d=["name", "cart"], x_session_token=token)
    headers = answer.headers  # names in lower case
    check("auth of a session is a 204", answer.status_code == 204)
    check("auth returns the id", headers["x-session-id"] == "ann")
    told = [unquote(headers["x-session-data-name"]), headers["x-session-data-cart"]]
    check("auth returns data", told == [DATA["name"], "5"])
    before = sessions.get(APP, token).r
    sessions.auth(APP, touch=0, x_session_token=token)
    check("auth with touch 0 does not count", sessions.get(APP, token).r == before + 1)
    error = failure(sessions.auth, APP, x_session_token="A" * 64)
    check("auth without a session is a 401", error.status == 401 and error.data.name == "unauthorized")

    fixed = sessions.create(APP, "ann", IP, no_resave=True).token
    session = sessions.get(APP, fixed)
    check("no_resave is returned", session.no_resave is True)
    check("a session without data has no d", not session.d)
    empty = sessions.create(APP, "ann", IP, data={}).token
    check("an empty map stores no data", not sessions.get(APP, empty).d)

    found = lists.soid(APP, "ann").sessions
    check("soid lists the sessions of an id", [each.id for each in found] == ["ann"] * 3)
    check("soid returns their data", [each.d for each in found if each.d] == [DATA | {"cart": 5}])
    sessions.create(APP, "bob", IP)
    found = lists.soapp(APP, 600).sessions
    check("soapp lists the sessions of an app", sorted(each.id for each in found) == ["ann", "ann", "ann", "bob"])
    check("activity counts ids", lists.activity(APP, 600).activity == 2)

    for user in IDS:
        token_of_user = sessions.create(APP, user, IP).token
        read = sessions.get(APP, token_of_user).id == user
        listed = [each.id for each in lists.soid(APP, user).sessions] == [user]
        check(f"the id {user} round-trips", read and listed and lists.killsoid(APP, user).kill == 1)

    check("kill ends a session", sessions.kill(APP, token).kill == 1)
    check("a second kill finds no session", sessions.kill(APP, token).kill == 0)
    session = sessions.get(APP, token)
    check("get of a killed session is empty", session.id is None and session.r is None and not session.d)
    check("set of a killed session is empty", sessions.set(APP, token, changes={"cart": 1}).id is None)
    check("killsoid ends the sessions of an id", lists.killsoid(APP, "ann").kill == 2)
    check("killall ends the sessions of an app", lists.killall(APP).kill == 1)
    check("lists are empty after killall", lists.soapp(APP, 600).sessions == [])

    error = failure(sessions.create, APP, "line\nbreak", IP)
    check("a bad id is a 400", error.status == 400 and error.data.name == "invalidFormat")
    check("an error has a message", error.data.message == "Invalid id format")
    error = failure(sessions.create, APP, "ann", IP, data={"list": [1]})
    check("a bad value is a 400", error.status == 400 and error.data.name == "invalidValue")
    error = failure(sessions.create, APP, "ann", IP, data={"large": "x" * 60000})
    check("too much data is a 413", error.status == 413 and error.data.name == "tooLarge")

    error = failure(SessionsApi(connect(url_without_store)).create, APP, "ann", IP)
    check("an unreachable store is a 503", error.status == 503 and error.data.name == "storeUnavailable")
    check("a 503 has Retry-After", error.headers["Retry-After"].isdecimal())


main(*sys.argv[1:])
