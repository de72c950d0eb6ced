"""Gives every app of Flask's own tests our sessions: pytest -p flask_plugin. Writes the outcomes to the file REPORT.

The adapter is in PYTHONPATH, the service in REST_SESSIONS_URL and REST_SESSIONS_APP.
"""

import json
import os
import types

import flask

import rest_sessions

flask.Flask.session_interface = rest_sessions.RestSessionInterface(types.SimpleNamespace(config=flask.Flask.default_config))
passed, failed = set(), {}


def pytest_runtest_logreport(report):
    if report.failed:
        failed[report.nodeid] = str(report.longrepr).strip().splitlines()[-1][:300]
    elif report.when == "call" and report.passed:
        passed.add(report.nodeid)


def pytest_sessionfinish():
    with open(os.environ["REPORT"], "w", encoding="utf-8") as file:
        json.dump({"passed": sorted(passed - {*failed}), "failed": failed}, file)
