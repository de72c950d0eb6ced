#!/usr/bin/env python3
"""Starts the whole site: rest-sessions, four programs that share its sessions, and nginx in front of them.

Runs until Ctrl-C, SIGTERM or the exit of any part, and then stops all parts. Needs nginx, php-fpm with curl, a JDK and
Node, but neither root nor a fixed port: everything listens on 127.0.0.1. All state is in one temporary folder.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
PATIENCE = 60  # seconds that a part may take to start

NGINX = string.Template("""
${user}daemon off;
pid "${folder}/nginx.pid";
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path "${folder}/nginx-body";
    proxy_temp_path "${folder}/nginx-proxy";
    fastcgi_temp_path "${folder}/nginx-fastcgi";
    uwsgi_temp_path "${folder}/nginx-uwsgi";
    scgi_temp_path "${folder}/nginx-scgi";
    include "${folder}/site.conf";
}
""")

PHP_FPM = string.Template("""
[global]
daemonize = no
error_log = /dev/stderr
[site]
${user}listen = "${folder}/php.sock"
pm = static
pm.max_children = 4
clear_env = no
catch_workers_output = yes
""")


class Ended(Exception):
    """Raised to stop the site. The message is the reason; empty after a signal."""


class Site:
    """The processes of the site, each the leader of its own process group, and their folder."""

    def __init__(self, folder):
        self.folder = folder
        self.parts = {}
        self.signal = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._record_signal)

    def _record_signal(self, number, _frame):
        self.signal = number

    def start(self, name, command, shown=False, **variables):
        """Starts a part. Its output goes to a log in the folder, or to the terminal if `shown`."""
        # The service must not inherit the caller's own configuration.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RS_")}
        with open(self.folder / f"{name}.log", "ab") as log:
            self.parts[name] = subprocess.Popen(
                list(map(str, command)), cwd=self.folder, env=inherited | variables, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=None if shown else log, stderr=None if shown else subprocess.STDOUT)

    def run(self, name, command, shown=False):
        """Runs a command and waits for it."""
        self.start(name, command, shown)
        while self.parts[name].poll() is None:
            self._pause()
        if self.parts.pop(name).returncode != 0:
            raise Ended(f"{name} failed\n{self.log(name)}")

    def wait(self, what, ready):
        """Waits until `ready()` is true and returns its value."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.check()
            result = ready()
            if result:
                return result
            self._pause()
        raise Ended(f"{what} is not ready after {PATIENCE} s")

    def address(self, name):
        """Returns the address that a part has printed."""
        found = self.wait(name, lambda: re.search(r"listening on http://([\w.:\[\]]+)", self.log(name)))
        return found[1]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def check(self):
        for name, part in self.parts.items():
            if part.poll() is not None:
                raise Ended(f"{name} ended with {part.returncode}\n{self.log(name)}")

    def watch(self):
        """Never returns: raises Ended after a signal or when a part exits."""
        while True:
            self.check()
            self._pause()

    def _pause(self):
        if self.signal:
            raise Ended("")
        time.sleep(0.1)

    def end(self):
        """Stops all parts in reverse order of their start, nginx first."""
        for part in reversed(self.parts.values()):
            self._kill(part, signal.SIGTERM)
            try:
                part.wait(10)
            except subprocess.TimeoutExpired:
                pass
            # Kills the whole group, because workers may outlive their master.
            self._kill(part, signal.SIGKILL)
            part.wait()

    @staticmethod
    def _kill(part, number):
        try:
            os.killpg(part.pid, number)
        except ProcessLookupError:
            pass


def program(name, *others):
    """Finds a program in the PATH or in Debian's folders for administrators."""
    for candidate in (name, *others):
        found = shutil.which(candidate, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if found:
            return found
    raise Ended(f"{name} is missing: please install it")


def php_fpm():
    """Finds php-fpm, or the newest php-fpm8.x: Debian has the version in the name."""
    versions = (f"php-fpm8.{minor}" for minor in range(9, 0, -1))
    return program("php-fpm", *versions)


def service_binary(site, chosen):
    if chosen:
        return Path(chosen).resolve()
    if shutil.which("cargo"):
        manifest = REPO / "Cargo.toml"
        site.run("build", ["cargo", "build", "--release", "--locked", "--manifest-path", manifest], shown=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")).resolve() / "release" / "rest-sessions"


def free_port():
    """Finds a free port, because nginx cannot choose one. If another program takes it first, nginx fails to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def start(site, options):
    """Starts all parts; returns the addresses of the site and of the service."""
    folder = site.folder
    root = os.geteuid() == 0  # if so, everything runs as root, because other users could not read the folder

    if options.service:
        service = options.service.rstrip("/")
    else:
        store = {"RS_REDIS_URL": options.redis} if options.redis else {"RS_DATA_DIR": str(folder / "data")}
        site.start("service", [service_binary(site, options.binary)], RS_PORT="0", RS_DRAIN_DELAY="0", **store)
        service = f"http://{site.address('service')}"

    (folder / "php-fpm.conf").write_text(PHP_FPM.substitute(
        folder=folder, user="user = root\ngroup = root\n" if root else ""))
    site.run("javac", [program("javac"), "-J-XX:-UsePerfData", "-d", folder / "java", *(HERE / "java").glob("*.java")])
    for name, command in {
        "python": [sys.executable, "-B", HERE / "python" / "app.py"],
        "node": [program("node"), HERE / "node" / "app.mjs"],
        "java": [program("java"), "-XX:-UsePerfData", "-cp", folder / "java", "App"],
        "php": [php_fpm(), "--fpm-config", folder / "php-fpm.conf", *(["--allow-to-run-as-root"] if root else [])],
    }.items():
        site.start(name, command, SESSIONS_URL=service, PORT="0")

    address = f"127.0.0.1:{options.port or free_port()}"
    (folder / "site.conf").write_text(string.Template((HERE / "site.conf.template").read_text()).safe_substitute(
        LISTEN=address, SITE=HERE / "site", PYTHON=site.address("python"), JAVA=site.address("java"),
        NODE=site.address("node"), PHP=f"unix:{folder}/php.sock", PHP_FOLDER=HERE / "php"))
    (folder / "nginx.conf").write_text(NGINX.substitute(folder=folder, user="user root;\n" if root else ""))
    site.start("nginx", [program("nginx"), "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"])
    for path in ("", "python/", "php/", "java/", "node/"):
        site.wait(f"/{path}", lambda: answers(f"http://{address}/{path}"))
    return f"http://{address}/", service


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="port of the site; default: a free one")
    parser.add_argument("--binary", metavar="PATH", help="the rest-sessions program; default: build it with cargo")
    parser.add_argument("--redis", metavar="URL", help="store the sessions in this Redis instead of the folder")
    parser.add_argument("--service", metavar="URL", help="use a running rest-sessions instead of starting one")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="shared-login-") as folder:
        site = Site(Path(folder))
        try:
            address, service = start(site, options)
            print(f"{address} is the site; Ctrl-C stops it")
            own = site.parts.get("service")
            if own:
                print(f"{own.pid} is the process of rest-sessions")
            print(f"{service} is rest-sessions, for the programs only; the logs are in {folder}", flush=True)
            site.watch()
        except Ended as reason:
            message = str(reason)
        finally:
            site.end()
    if message:
        sys.exit(f"start.py: {message}")


if __name__ == "__main__":
    main()
