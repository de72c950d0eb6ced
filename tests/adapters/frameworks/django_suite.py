"""Runs Django's own tests of sessions, messages and logins with our adapter: django_suite.py TESTS REPORT.

TESTS is the folder tests/ of Django's source distribution. Writes {"passed": [...], "failed": {test: why}} to REPORT.
The adapter is in PYTHONPATH, the service in REST_SESSIONS_URL and REST_SESSIONS_APP.
"""

import json
import os
import sys
import tempfile
import types

folder, report = sys.argv[1:]
LABELS = ["sessions_tests", "auth_tests", "messages_tests", "csrf_tests", "test_client", "test_client_regress"]

sys.path.insert(0, folder)
os.chdir(folder)
sys.argv[1:] = []

settings = types.ModuleType("rest_sessions_settings")
exec("from test_sqlite import *", settings.__dict__)
settings.SESSION_ENGINE = "rest_sessions"
settings.TEST_RUNNER = "rest_sessions_settings.Runner"
sys.modules[settings.__name__] = settings
os.environ["DJANGO_SETTINGS_MODULE"] = settings.__name__

import runtests  # noqa: E402
from django.contrib.sessions import middleware  # noqa: E402
from django.test import SimpleTestCase  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402

import rest_sessions  # noqa: E402

# Replaces the middleware that runs in each test and the one that the tests import.
middleware.SessionMiddleware = rest_sessions.SessionMiddleware


def reasons(outcomes):
    """Returns the last line of each failure by test. A subtest counts for its test."""
    return {getattr(test, "test_case", test).id(): text.strip().splitlines()[-1][:300] for test, text in outcomes}


class Runner(DiscoverRunner):
    def build_suite(self, *arguments, **named):
        from sessions_tests import tests

        class RestSessionTests(tests.SessionTestsMixin, SimpleTestCase):
            backend = rest_sessions.SessionStore

        RestSessionTests.__module__, RestSessionTests.__qualname__ = "sessions_tests.tests", "RestSessionTests"
        tests.RestSessionTests = RestSessionTests
        return super().build_suite(*arguments, **named)

    def run_suite(self, suite, **named):
        tests = [test.id() for test in suite]
        result = super().run_suite(suite, **named)
        failed = reasons([*result.failures, *result.errors])
        left_out = {test.id() for test, _ in [*result.skipped, *result.expectedFailures]}
        passed = sorted({*tests} - {*failed} - left_out)
        with open(report, "w", encoding="utf-8") as file:
            json.dump({"passed": passed, "failed": failed}, file)
        return result


settings.Runner = Runner
with tempfile.TemporaryDirectory() as temporary:
    tempfile.tempdir = os.environ["TMPDIR"] = temporary
    runtests.django_tests(
        verbosity=0, interactive=False, failfast=False, keepdb=False, reverse=False, test_labels=LABELS,
        debug_sql=False, parallel=1, tags=None, exclude_tags=["selenium"],
        test_name_patterns=None, start_at=None, start_after=None,
        pdb=False, buffer=True, timing=False, shuffle=False,
    )  # fmt: skip
