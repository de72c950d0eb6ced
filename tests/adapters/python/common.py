"""Shared by the tests of the Python adapters: calls to the service, and servers with faulty responses."""

import json
import os
import socket
import threading
import urllib.parse
import urllib.request

SERVICE = os.environ["REST_SESSIONS_URL"]
APP = os.environ["REST_SESSIONS_APP"]


def api(method, path, body=None):
    """Calls the service directly."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{SERVICE}/{APP}{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def create(d, user="anonymous", ttl=7200):
    return api("PUT", f"/create/{urllib.parse.quote(user, safe='')}?ip=192.0.2.1&ttl={ttl}", d)["token"]


def stored(token):
    """The data of a session, or None."""
    session = api("GET", f"/get/{token}")
    return session.get("d", {}) if session else None


def session(token):
    return api("GET", f"/get/{token}")


def kill(token):
    api("DELETE", f"/kill/{token}")


def users(user):
    return api("GET", f"/soid/{urllib.parse.quote(user, safe='')}")["sessions"]


def count():
    return len(api("GET", "/soapp?dt=2147483647")["sessions"])


def answer(body, head="HTTP/1.1 200 OK"):
    body = json.dumps(body).encode()
    return f"{head}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Server:
    """A TCP server that passes each connection to `serve(connection, number)` and records the requests."""

    def __init__(self, serve):
        self.serve = serve
        self.requests = []  # (number of the connection, method, path)
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(sock, self.connections), daemon=True).start()

    def _run(self, sock, number):
        try:
            self.serve(Connection(self, sock, number), number)
        except OSError:
            pass
        finally:
            sock.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self.listener.close()


class Connection:
    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.file = sock.makefile("rb")

    def read(self):
        """Reads the next request. Returns its path, or None at the end of the connection."""
        line = self.file.readline().decode()
        if not line:
            return None
        method, path, _ = line.split()
        length = 0
        while (header := self.file.readline().decode().strip()) != "":
            if header.lower().startswith("content-length:"):
                length = int(header.split(":")[1])
        self.file.read(length)
        self.server.requests.append((self.number, method, path))
        return path

    def send(self, data):
        self.sock.sendall(data)


def echo(connection):
    """Responds to each request with its path."""
    while path := connection.read():
        connection.send(answer({"d": {"path": path}, "token": "N" * 64, "kill": 1}))
