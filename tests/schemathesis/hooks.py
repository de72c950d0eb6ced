"""Filters out cases that openapi.yaml covers in words only, and gives auth tokens of live sessions.

create and set accept slightly more than the schemas declare: schemas for it would make awkward types in generated
clients and recommend what is merely tolerated. And a cursor must come from a page, which no schema can express.
"""

import itertools
import re
from urllib.parse import quote

import requests
import schemathesis
from schemathesis.core import NOT_SET

CREATE = "/{app}/create/{id}"
SET = "/{app}/set/{token}"
AUTH = "/{app}/auth"
CURSOR = re.compile("[0-9a-f]{40}")
PLACES = itertools.cycle(["header", "cookie", None])


@schemathesis.hook
def filter_body(context, body):
    # PHP encodes an empty map as [], so the service accepts it as a session without data.
    return context.operation.path != CREATE or body != []


@schemathesis.hook
def filter_query(context, query):
    # As in the original, any other value of no_resave counts as false, so none is refused.
    return context.operation.path != CREATE or not query or isinstance(query.get("no_resave", False), bool)


@schemathesis.hook
def filter_case(context, case):
    # A well-formed cursor that no page has returned is refused.
    cursor = (case.query or {}).get("cursor")
    if isinstance(cursor, str) and CURSOR.fullmatch(cursor):
        return False
    # Which bodies set accepts depends on its query, which OpenAPI cannot express.
    if case.operation.path != SET:
        return True
    keys = (case.query or {}).get("unset") or []
    keys = [key for key in (keys if isinstance(keys, list) else [keys]) if key != ""]
    names = [key for key in keys if isinstance(key, str)]
    if case.body is NOT_SET:
        return bool(keys)
    if not keys:
        return True
    changes = case.body if isinstance(case.body, dict) else {}
    return case.body not in ({}, [], None) and all(changes.get(key) is None for key in names)


@schemathesis.hook
def before_call(context, case, **kwargs):
    # No generated token is that of a live session, so auth would never answer 204. Two of three valid requests bring the
    # token of a new session of their app: one in the header, one in the cookie.
    if case.operation.path != AUTH or case.meta.generation.mode.name != "POSITIVE":
        return
    place = next(PLACES)
    if place is None:
        return
    app = quote(str(case.path_parameters["app"]), safe="")
    url = f"{case.operation.schema.config.base_url}/{app}/create/ann?ip=203.0.113.7&ttl=600"
    answer = requests.put(url, json={"name": "Ada"}, timeout=10)
    if answer.status_code != 200:
        return
    token = answer.json()["token"]
    case.headers = {name: value for name, value in (case.headers or {}).items() if name.lower() != "x-session-token"}
    if place == "header":
        case.headers["X-Session-Token"] = token
    else:
        case.headers["Cookie"] = f"session={token}"


@schemathesis.hook
def after_call(context, case, response):
    # run.sh fails unless auth has answered 204 to a token in the header and to one in the cookie.
    if case.operation.path == AUTH and response.status_code == 204:
        sent = {name.lower() for name in response.request.headers}
        with open("authorized", "a", encoding="ascii") as file:
            file.write("header\n" if "x-session-token" in sent else "cookie\n")
