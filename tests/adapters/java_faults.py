"""A proxy in front of the service that injects faults of networks and crashing servers."""

import http.client
import socket
import ssl
import threading
import time


class Faults:
    """`fault(method, path, nth)` chooses the fault for the nth request of a connection, or returns None.

    drop: forwards the request and closes the connection without a response. refuse: responds with 503. silent: never
    responds. late: responds after 1.5 s. drip: sends an endless body byte by byte. close: closes the connection after
    the response, without `Connection: close`. stray: sends a second, unsolicited response.
    """

    def __init__(self, service_port, tls=None):
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.service = service_port
        self.fault = lambda method, path, nth: None
        self.asked = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.over = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def close(self):
        self.over.set()
        self.listener.close()

    def clear(self):
        self.fault = lambda method, path, nth: None
        self.asked.clear()

    def serve(self, connection):
        try:
            connection = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
        except OSError:
            return
        with connection, connection.makefile("rb") as lines:
            try:
                nth = 1
                while self.one(connection, lines, nth):
                    nth += 1
            except OSError:
                pass

    def one(self, connection, lines, nth):
        words = lines.readline().split()
        if len(words) != 3:
            return False
        method, path = words[0].decode(), words[1].decode()
        headers = {}
        while (line := lines.readline().strip()):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = lines.read(int(headers.get("content-length", 0)))
        self.asked.append((method, path))
        what = self.fault(method, path, nth)
        if what == "silent":
            self.over.wait()
            return False
        status, answer = (503, b"{}") if what == "refuse" else self.forward(method, path, headers, body)
        if what == "drop":
            return False
        if what == "late":
            time.sleep(1.5)
        head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: "
        if what == "drip":
            connection.sendall(f"{head}100000\r\n\r\n".encode())
            while not self.over.wait(0.2):
                connection.sendall(b" ")
            return False
        whole = f"{head}{len(answer)}\r\n\r\n".encode() + answer
        if what == "stray":
            whole += f"{head}{len(self.other)}\r\n\r\n".encode() + self.other
        connection.sendall(whole)
        return what != "close"

    def forward(self, method, path, headers, body):
        service = http.client.HTTPConnection("127.0.0.1", self.service, timeout=30)
        try:
            kind = {"Content-Type": headers["content-type"]} if "content-type" in headers else {}
            service.request(method, path, body or None, kind)
            answer = service.getresponse()
            return answer.status, answer.read()
        finally:
            service.close()
