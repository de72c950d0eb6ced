"""The processes of a test: a service, its Redis and the apps. end() stops all of them."""

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
running = []


def start(command, log, folder=None, **environment):
    """Starts a process in its own group. It inherits only PATH from the environment."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder or pathlib.Path(log).parent,
            start_new_session=True,
        )
    running.append(process)
    return process


def stop(process):
    """Stops a process and its children. Resumes a suspended one first, so that it shuts down cleanly."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    running.remove(process)


def end():
    for process in list(running):
        stop(process)


def until(condition, what, seconds=30):
    """Waits until a condition is true and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"adapters: timed out waiting for {what() if callable(what) else what}")
        time.sleep(0.02)
    return value


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(port, method, path, body=None, headers=()):
    """Sends one request on a new connection. Returns the status, the body and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def listens(port, path):
    def asked():
        try:
            return request(port, "GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    return asked


class Service:
    """rest-sessions with one of its stores."""

    def __init__(self, binary, work, store):
        self.binary, self.work, self.store = binary, work, store
        self.port = free_port()
        self.redis = None
        if store == "redis":
            path = work / "redis.sock"
            command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
            self.redis = start(command, work / "redis.log")
            until(path.exists, "redis-server")
            self.place = {"RS_REDIS_URL": f"redis+unix://{path}", "RS_TOUCH": "0"}
        else:
            self.place = {"RS_DATA_DIR": str(work / "data")}
        self.process = None
        self.up()

    def up(self):
        """Starts the service, or ends its outage."""
        if self.process and self.redis:
            os.killpg(self.redis.pid, signal.SIGCONT)
        else:
            where = {"RS_PORT": str(self.port), "RS_DRAIN_DELAY": "0", "RS_TIMEOUT": "1", **self.place}
            self.process = start([self.binary], self.work / "service.log", **where)
        until(listens(self.port, "/readyz"), "rest-sessions")

    def down(self):
        """Starts an outage: suspends Redis, or stops the service if its store is embedded."""
        if self.redis:
            os.killpg(self.redis.pid, signal.SIGSTOP)
        else:
            stop(self.process)


def start_apps(work, service, interpreter, jars):
    """Starts every app and returns the ports by name. `interpreter` runs the Python apps; `jars` contain Tomcat."""
    environment = {"REST_SESSIONS_URL": f"http://127.0.0.1:{service.port}", "REST_SESSIONS_APP": "shop"}
    python = {**environment, "PYTHONDONTWRITEBYTECODE": "1"}
    ports = {name: free_port() for name in ("express", "django", "flask", "php", "java")}
    adapters = HERE.parent.parent / "adapters"
    serve = [interpreter, HERE / "apps/serve.py"]
    paths = {name: f"{adapters / name}:{HERE / 'apps'}" for name in ("django", "flask")}
    log = {name: work / f"{name}.log" for name in ports}

    # Each app is a folder with a copy of the adapter, as users do it.
    for name, files in {
        "express": (adapters / "express/rest-sessions-store.mjs", HERE / "apps/express_app.mjs"),
        "php": (adapters / "php/RestSessionHandler.php", HERE / "apps/app.php"),
    }.items():
        (work / name).mkdir()
        for file in files:
            (work / name / file.name).write_bytes(file.read_bytes())
    (work / "express/node_modules").symlink_to(HERE / "node_modules")

    start(["node", work / "express/express_app.mjs", ports["express"]], log["express"], **environment)
    database = {"DJANGO_DATABASE": str(work / "django.sqlite")}
    start([*serve, "django_app", ports["django"]], log["django"], PYTHONPATH=paths["django"], **python, **database)
    start([*serve, "flask_app", ports["flask"]], log["flask"], PYTHONPATH=paths["flask"], **python)
    # With the most detailed error output that PHP has, to check that it contains no token.
    traces = {"zend.exception_ignore_args": 0, "zend.exception_string_param_max_len": 100}
    settings = {"session.gc_maxlifetime": 1200, "display_errors": 1, "log_errors": 1, **traces}
    flags = [word for key, value in settings.items() for word in ("-d", f"{key}={value}")]
    php = ["php", *flags, "-S", f"127.0.0.1:{ports['php']}", work / "php/app.php"]
    start(php, log["php"], PHP_CLI_SERVER_WORKERS="4", **environment)
    sources = [adapters / "java/RestSessionsFilter.java", HERE / "apps/App.java"]
    (work / "tomcat").mkdir()
    compiler = ["javac", "-Xlint:-deprecation", "-XDsuppressNotes", "-d", work / "java", "-cp", jars]
    subprocess.run([*compiler, *sources], check=True)
    java = ["java", "-cp", f"{work / 'java'}:{jars}", "App", ports["java"], work / "tomcat"]
    start(java, log["java"], **environment)
    for name, port in ports.items():
        until(listens(port, "/plain"), lambda name=name: f"{name}: {log[name].read_text()}")
    return ports
