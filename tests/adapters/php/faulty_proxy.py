"""A TCP proxy in front of the service that simulates network faults: see Proxy.mode."""

import socket
import threading


class Proxy:
    """Listens on a free port. Records the number of `connections` and the first lines of `requests`."""

    # pass: forwards. close: closes each connection after a response, as a proxy does with an idle one. deaf: never
    # responds to the second request of a connection. lose: forwards the second request, but closes the connection
    # instead of returning the response. drip: sends the response at one byte per second. cut: omits the last bytes of
    # the response. silent: never responds.
    def __init__(self, port, mode="pass", context=None, host="127.0.0.1"):
        self.target, self.mode, self.context = port, mode, context
        self.connections, self.requests = 0, []
        self.refuse = None  # closes the connection for requests that begin with this
        self.listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self.listener.getsockname()[1]
        self.closed = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.closed.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while not self.closed.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self.target)) as service:
                number = 0
                while request := message(client):
                    number += 1
                    self.requests.append(request.split(b"\r\n")[0].decode())
                    if self.refuse and request.startswith(self.refuse.encode()):
                        return
                    if self.mode == "silent" or self.mode == "deaf" and number > 1:
                        self.closed.wait(30)
                        return
                    service.sendall(request)
                    answer = message(service)
                    if self.mode == "lose" and number > 1:
                        return
                    self.send(client, answer)
                    if self.mode in ("close", "cut"):
                        return
        except OSError:
            pass

    def send(self, client, answer):
        if self.mode == "cut":
            client.sendall(answer[: len(answer) - 3])
        elif self.mode == "drip":
            head, body = answer.split(b"\r\n\r\n", 1)
            client.sendall(head + b"\r\n\r\n")
            for byte in body:
                client.sendall(bytes([byte]))
                if self.closed.wait(1):
                    return
        else:
            client.sendall(answer)


def message(sock):
    """Reads one request or response with a Content-Length. Returns b"" at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := sock.recv(65536)):
            return b""
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    length = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while length and len(body) < length[0]:
        if not (more := sock.recv(65536)):
            break
        body += more
    return head + b"\r\n\r\n" + body
