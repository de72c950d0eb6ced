"""The life of a session, through the client that openapi-python-client makes from openapi.yaml.

    life.py URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE
"""

import sys
from urllib.parse import unquote

from rest_sessions_client import Client
from rest_sessions_client.api.lists import activity, killall, killsoid, soapp, soid
from rest_sessions_client.api.service import ping
from rest_sessions_client.api.sessions import auth, create, get, kill, set_
from rest_sessions_client.models import AuthTouch, Changes, ErrorBody, NewDataType0, Session
from rest_sessions_client.types import UNSET

APP = "python-client"
IP = "203.0.113.7"
DATA = {
    "name": "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
    "empty": "",
    "cart": 3,
    "debt": -7,
    "beyond": 9007199254740993,  # 2^53 + 1, which a double cannot hold
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


def ok(operation, *arguments, **options):
    """The body of an answer that is no error."""
    answer = operation.sync(*arguments, **options)
    if answer is None or isinstance(answer, ErrorBody):
        sys.exit(f"FAILED: an answer was expected, not {answer}")
    return answer


def data_of(session):
    """The data of a session as a plain map, or None."""
    return session.d.to_dict() if session.d else None


def same(values, expected):
    """Whether values and types are equal: to Python, 1 is True and 1.0."""
    return values == expected and [type(v) for v in values] == [type(v) for v in expected]


def failure(operation, *arguments, **options):
    """The answer to a call that fails, with its body as the generated type."""
    answer = operation.sync_detailed(*arguments, **options)
    if not isinstance(answer.parsed, ErrorBody):
        sys.exit("FAILED: an error was expected")
    return answer


def main(url, url_without_store):
    client = Client(url, timeout=5)
    new, changes = NewDataType0.from_dict, Changes.from_dict

    check("ping says PONG", ok(ping, client=client) == "PONG")

    token = ok(create, APP, "ann", client=client, ip=IP, ttl=600, body=new(DATA)).token
    check("create returns a token", len(token) == 64)

    session = ok(get, APP, token, client=client)
    check("get returns a session", isinstance(session, Session) and session.id == "ann" and session.ip == IP)
    numbers = same([session.r, session.w, session.ttl], [1, 1, 600]) and session.idle in range(60)
    check("get returns its counters", numbers)
    check("no_resave is absent by default", session.no_resave is UNSET)
    d = data_of(session)
    check("all keys are returned", d.keys() == DATA.keys())
    for kind, keys in {
        "strings": ["name", "empty"],
        "integers": ["cart", "debt"],
        "large integers": ["beyond", "largest"],
        "doubles": ["ratio", "tiny"],
        "booleans": ["yes", "no"],
    }.items():
        check(f"{kind} come back", same([d[key] for key in keys], [DATA[key] for key in keys]))
    check("a get increments r", ok(get, APP, token, client=client).r == 2)

    session = ok(set_, APP, token, client=client, body=changes({"cart": 4, "theme": "dark"}))
    check("set adds and replaces keys", data_of(session) == DATA | {"cart": 4, "theme": "dark"})
    check("a set increments w", session.w == 2)
    session = ok(set_, APP, token, client=client, body=changes({"theme": None}))
    check("null removes a key", "theme" not in data_of(session))
    ok(set_, APP, token, client=client, body=changes({"a&b=c": 1, "é+ %": 2, "keep": 3}))
    session = ok(set_, APP, token, client=client, unset=["a&b=c", "é+ %", "absent"])
    check("unset removes keys", data_of(session) == DATA | {"cart": 4, "keep": 3})
    session = ok(set_, APP, token, client=client, unset=["keep"], body=changes({"cart": 5}))
    check("unset and changes work together", data_of(session) == DATA | {"cart": 5})

    # The generated client repeats the parameter d for each key, so only one key can be told.
    answer = auth.sync_detailed(APP, client=client, d=["name"], x_session_token=token)
    check("auth of a session is a 204", answer.status_code == 204)
    check("auth returns the id", answer.headers["X-Session-Id"] == "ann")
    cart = auth.sync_detailed(APP, client=client, d=["cart"], x_session_token=token).headers
    told = [unquote(answer.headers["X-Session-Data-Name"]), cart["X-Session-Data-Cart"]]
    check("auth returns data", told == [DATA["name"], "5"])
    before = ok(get, APP, token, client=client).r
    auth.sync_detailed(APP, client=client, touch=AuthTouch.VALUE_0, x_session_token=token)
    check("auth with touch 0 does not count", ok(get, APP, token, client=client).r == before + 1)
    error = failure(auth, APP, client=client, x_session_token="A" * 64)
    check("auth without a session is a 401", error.status_code == 401 and error.parsed.name == "unauthorized")

    # The body of create may be null. Without a body, the generated client fails.
    fixed = ok(create, APP, "ann", client=client, ip=IP, no_resave=True, body=None).token
    session = ok(get, APP, fixed, client=client)
    check("no_resave is returned", session.no_resave is True)
    check("a session without data has no d", session.d is UNSET)
    empty = ok(create, APP, "ann", client=client, ip=IP, body=new({})).token
    check("an empty map stores no data", ok(get, APP, empty, client=client).d is UNSET)

    found = ok(soid, APP, "ann", client=client).sessions
    check("soid lists the sessions of an id", [each.id for each in found] == ["ann"] * 3)
    check("soid returns their data", [data_of(each) for each in found if each.d] == [DATA | {"cart": 5}])
    ok(create, APP, "bob", client=client, ip=IP, body=None)
    found = ok(soapp, APP, client=client, dt=600).sessions
    check("soapp lists the sessions of an app", sorted(each.id for each in found) == ["ann", "ann", "ann", "bob"])
    check("activity counts ids", ok(activity, APP, client=client, dt=600).activity == 2)

    for user in IDS:
        token_of_user = ok(create, APP, user, client=client, ip=IP, body=None).token
        read = ok(get, APP, token_of_user, client=client).id == user
        listed = [each.id for each in ok(soid, APP, user, client=client).sessions] == [user]
        check(f"the id {user} round-trips", read and listed and ok(killsoid, APP, user, client=client).kill == 1)

    check("kill ends a session", ok(kill, APP, token, client=client).kill == 1)
    check("a second kill finds no session", ok(kill, APP, token, client=client).kill == 0)
    session = ok(get, APP, token, client=client)
    check("get of a killed session is empty", session.id is UNSET and session.r is UNSET and not session.d)
    session = ok(set_, APP, token, client=client, body=changes({"cart": 1}))
    check("set of a killed session is empty", session.id is UNSET)
    check("killsoid ends the sessions of an id", ok(killsoid, APP, "ann", client=client).kill == 2)
    check("killall ends the sessions of an app", ok(killall, APP, client=client).kill == 1)
    check("lists are empty after killall", ok(soapp, APP, client=client, dt=600).sessions == [])

    error = failure(create, APP, "line\nbreak", client=client, ip=IP, body=None)
    check("a bad id is a 400", error.status_code == 400 and error.parsed.name == "invalidFormat")
    check("an error has a message", error.parsed.message == "Invalid id format")
    error = failure(create, APP, "ann", client=client, ip=IP, body=new({"list": [1]}))
    check("a bad value is a 400", error.status_code == 400 and error.parsed.name == "invalidValue")
    error = failure(create, APP, "ann", client=client, ip=IP, body=new({"large": "x" * 60000}))
    check("too much data is a 413", error.status_code == 413 and error.parsed.name == "tooLarge")

    error = failure(create, APP, "ann", client=Client(url_without_store, timeout=5), ip=IP, body=None)
    check("an unreachable store is a 503", error.status_code == 503 and error.parsed.name == "storeUnavailable")
    check("a 503 has Retry-After", error.headers["Retry-After"].isdecimal())


main(*sys.argv[1:])
