"""Checks the Flask and Django adapters: python_checks.py BINARY TOOLS, called by run.sh.

First it runs the tests of python/ with the oldest and the newest versions of both frameworks. Then it runs the
frameworks' own tests with our sessions instead of theirs. A failure that frameworks/FRAMEWORK-excused.json does not
list fails the run, and so does a listed test that passes.
"""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import processes
from processes import Service

HERE = processes.HERE
REPO = HERE.parent.parent
ADAPTERS = {name: str(REPO / "adapters" / name) for name in ("flask", "django")}
OUR_PATH = f"{REPO / 'examples/shared-login/python'}:{HERE / 'python'}"
SHARED = ["test_connections", "test_values", "test_example"]
# The folder of the interpreter in TOOLS, the framework, the tests.
OURS = [
    ("flask-oldest", "flask", [*SHARED, "test_flask"]),
    ("flask-newest", "flask", ["test_values", "test_flask"]),
    ("flask-newest", "flask", ["test_gevent"]),
    ("django-oldest", "django", [*SHARED, "test_django"]),
    ("venv", "django", ["test_values", "test_django"]),
    ("django-newest", "django", [*SHARED, "test_django"]),
]

passed = failed = 0


def record(fine, name, text=""):
    global passed, failed
    passed, failed = passed + fine, failed + (not fine)
    print("ok  " if fine else "FAIL", name, *(["\n     ", text] if text and not fine else []), flush=True)


def run(command, log, folder, **environment):
    """Runs a program to its end. Returns its exit code and its output."""
    process = processes.start(command, log, folder=folder, **environment)
    try:
        code = process.wait(1200)
    except subprocess.TimeoutExpired:
        code = "timed out"
    processes.stop(process)
    return code, log.read_text(errors="replace")


VERSIONS = """
import importlib.metadata, platform
found = ["Python " + platform.python_version()]
for name in ("Django", "Flask"):
    try:
        found.append(name + " " + importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass
print(", ".join(found))
"""


def versions(python):
    return subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout.strip()


def ours(tools, work, environment):
    for folder, framework, tests in OURS:
        python = tools / folder / "bin/python"
        if not python.exists():
            print(f"SKIPPED: no Python for {folder}.txt on this machine; see tests/setup.sh", flush=True)
            continue
        name = f"python - {framework}, {versions(python)}"
        command = [python, "-W", "error::ResourceWarning", "-m", "unittest", "--verbose", *tests]
        code, text = run(
            command,
            work / f"{folder}-{tests[-1]}.log",
            HERE / "python",
            PYTHONPATH=f"{ADAPTERS[framework]}:{OUR_PATH}",
            **environment,
        )
        ran = re.search(r"^Ran (\d+) tests?", text, re.M)
        record(
            code == 0 and bool(ran) and int(ran[1]) > 0,
            f"{name}: {', '.join(tests)}: {ran[1] if ran else 'no'} tests",
            text[-6000:],
        )


def theirs(name, report, output):
    """Compares the failures of a framework's own tests with the excused ones."""
    excused = json.loads((HERE / f"frameworks/{name}-excused.json").read_text())
    if not report.exists():
        return record(False, f"{name}'s own tests", output[-3000:])
    outcome = json.loads(report.read_text())
    for test in sorted({*outcome["failed"]} - {*excused}):
        record(False, f"{name}'s own {test}", outcome["failed"][test])
    for test in sorted({*excused} - {*outcome["failed"]}):
        record(False, f"{name}'s own {test}", f"is excused, but did not fail: {excused[test]}")
    enough = len(outcome["passed"]) > 400
    record(enough, f"{name}'s own tests: {len(outcome['passed'])} passed, {len(outcome['failed'])} failed", "too few ran")


def django(tools, work, environment):
    (tests,) = (tools / "sdists").glob("[Dd]jango-*/tests")
    command = [tools / "venv/bin/python", HERE / "frameworks/django_suite.py", tests, work / "django.json"]
    _, text = run(command, work / "django-suite.log", work, PYTHONPATH=ADAPTERS["django"], **environment)
    theirs("django", work / "django.json", text)


def flask(tools, work, environment):
    (source,) = (tools / "sdists").glob("[Ff]lask-*/tests")
    command = [
        tools / "flask-newest/bin/python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "flask_plugin",
        "tests",
    ]
    paths = f"{ADAPTERS['flask']}:{HERE / 'frameworks'}"
    report = work / "flask.json"
    _, text = run(command, work / "flask-suite.log", source.parent, PYTHONPATH=paths, REPORT=str(report), **environment)
    theirs("flask", report, text)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
try:
    with tempfile.TemporaryDirectory(prefix="adapters-") as folder:
        work = pathlib.Path(folder)
        try:
            service = Service(sys.argv[1], work, "embedded")
            environment = {
                "REST_SESSIONS_URL": f"http://127.0.0.1:{service.port}",
                "REST_SESSIONS_APP": "shop",
                "COOKIES": str(REPO / "tests/cookies.json"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(work),
                "TMPDIR": str(work),
            }
            for part in (ours, flask, django):
                part(pathlib.Path(sys.argv[2]), work, environment)
        finally:
            processes.end()
except KeyboardInterrupt:
    sys.exit(130)
print(f"python adapters: {passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
