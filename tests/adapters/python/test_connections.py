"""Tests of the adapters' connections: fork, interrupts, deadlines, dead connections. The servers are real sockets."""

import os
import signal
import socket
import threading
import time
import unittest

from common import APP, SERVICE, Server, answer, create, echo
from rest_sessions import Client, Connections, SessionEnded, SessionsError

A, B = "A" * 64, "B" * 64


class Interrupted(BaseException):
    pass


class ConnectionTests(unittest.TestCase):
    def server(self, serve):
        server = Server(serve)
        self.addCleanup(server.close)
        return server, Client(server.url, APP)

    def test_a_child_process_opens_its_own_connection(self):
        """After a fork, no process reads a response to another process."""
        client = Client(SERVICE, APP)
        tokens = {f"user{number}": create({"who": f"user{number}"}) for number in range(3)}
        client.get(tokens["user0"])
        children = []
        for who in ("user1", "user2"):
            pid = os.fork()
            if pid == 0:
                try:
                    os._exit(any(client.get(tokens[who]) != {"who": who} for _ in range(300)))
                finally:
                    os._exit(2)
            children.append(pid)
        for _ in range(300):
            self.assertEqual(client.get(tokens["user0"]), {"who": "user0"})
        self.assertEqual([os.waitpid(pid, 0)[1] for pid in children], [0, 0])

    def test_a_child_process_leaves_the_parents_connection_open(self):
        server, client = self.server(lambda connection, number: echo(connection))
        client.get(A)
        pid = os.fork()
        if pid == 0:
            try:
                client.get(A)
                os._exit(0)
            finally:
                os._exit(2)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        client.get(A)
        self.assertEqual([number for number, _, _ in server.requests], [1, 2, 1])

    def test_an_interrupted_call_leaves_no_response_behind(self):
        """A signal handler raises the framework's timeout in the middle of a call."""

        def serve(connection, number):
            path = connection.read()
            if number == 1:
                connection.send(answer({"d": {"path": path}})[:40])
                time.sleep(1)
            connection.send(answer({"d": {"path": path}}))
            echo(connection)

        server, client = self.server(serve)

        def interrupt(*_):
            raise Interrupted

        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with self.assertRaises(Interrupted):
            client.get(A)
        time.sleep(1)
        self.assertEqual(client.get(B), {"path": f"/{APP}/get/{B}"})
        self.assertEqual(server.connections, 2)

    def test_one_deadline_bounds_the_whole_response(self):
        def serve(connection, number):
            connection.read()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            while True:
                time.sleep(0.1)
                connection.send(b" ")

        server, _ = self.server(serve)
        began = time.monotonic()
        with self.assertRaises(OSError):
            Connections(server.url, 1).ask("GET", "/")
        self.assertLess(time.monotonic() - began, 20)

    def test_the_deadline_bounds_an_endless_head(self):
        def serve(connection, number):
            connection.read()
            while True:
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                time.sleep(0.05)

        server, _ = self.server(serve)
        with self.assertRaises(OSError):
            Connections(server.url, 1).ask("GET", "/")

    def test_sequential_threads_share_a_connection(self):
        server, client = self.server(lambda connection, number: echo(connection))
        for _ in range(20):
            thread = threading.Thread(target=client.get, args=(A,))
            thread.start()
            thread.join()
        self.assertEqual((server.connections, len(server.requests)), (1, 20))

    def test_concurrent_threads_get_their_own_responses(self):
        server, client = self.server(lambda connection, number: echo(connection))
        wrong = []

        def run(token):
            for _ in range(20):
                if client.get(token) != {"path": f"/{APP}/get/{token}"}:
                    wrong.append(token)

        threads = [threading.Thread(target=run, args=(f"{number:064}",)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(client._connections._pool[1]), 32)

    def test_a_closed_connection_is_replaced_before_a_create_is_sent(self):
        def serve(connection, number):
            connection.read()
            connection.send(answer({"token": "N" * 64}))

        server, client = self.server(serve)
        client.create("ann", "192.0.2.1", 60, {})
        time.sleep(0.3)
        client.create("bob", "192.0.2.1", 60, {})
        self.assertEqual(
            [path.split("?")[0] for _, _, path in server.requests], [f"/{APP}/create/ann", f"/{APP}/create/bob"]
        )

    def test_only_idempotent_calls_are_retried_once(self):
        """The server closes the connection after the second request was sent."""

        def serve(connection, number):
            connection.read()
            connection.send(answer({"d": {}, "token": "N" * 64, "kill": 1}))
            connection.read()

        for call, requests, works in (
            (lambda client: client.get(A), 3, True),
            (lambda client: client.kill(A), 3, True),
            (lambda client: client.kill_user("ann"), 3, True),
            (lambda client: client.set(A, {"a": 1}), 2, False),
            (lambda client: client.create("ann", "192.0.2.1", 60, {}), 2, False),
        ):
            server, client = self.server(serve)
            client.get(A)
            if works:
                call(client)
            else:
                with self.assertRaises(SessionsError):
                    call(client)
            self.assertEqual(len(server.requests), requests)

    def test_a_retried_kill_counts_as_successful(self):
        """The service ends the session, but the response is lost, so the retry finds no session."""

        def serve(connection, number):
            while path := connection.read():
                if number == 1 and "/kill/" in path:
                    return
                connection.send(answer({"token": "N" * 64, "kill": 0}))

        server, client = self.server(serve)
        self.assertEqual(client.replace(A, "ann", "ann", "192.0.2.1", 60, {}), "N" * 64)
        kills = [(number, path) for number, _, path in server.requests if "/kill/" in path]
        self.assertEqual(kills, [(1, f"/{APP}/kill/{A}"), (2, f"/{APP}/kill/{A}")])
        with self.assertRaises(SessionEnded):
            client.replace(A, "ann", "ann", "192.0.2.1", 60, {})
        self.assertEqual(server.requests[-1][2], f"/{APP}/kill/{'N' * 64}")

    def test_a_failure_on_a_new_connection_is_not_retried(self):
        server, client = self.server(lambda connection, number: connection.read())
        with self.assertRaises(SessionsError):
            client.get(A)
        self.assertEqual(len(server.requests), 1)

    def test_a_silent_connection_causes_one_retry(self):
        def serve(connection, number):
            connection.read()
            connection.send(answer({"d": {"number": number}}))
            connection.read()
            time.sleep(20)

        _, client = self.server(serve)
        self.assertEqual(client.get(A), {"number": 1})
        self.assertEqual(client.get(A), {"number": 2})

    def test_stray_bytes_after_a_response_are_discarded(self):
        def serve(connection, number):
            while path := connection.read():
                connection.send(answer({"d": {"path": path}}) + answer({"d": {"who": "another"}}))

        _, client = self.server(serve)
        for token in (A, B, A):
            self.assertEqual(client.get(token), {"path": f"/{APP}/get/{token}"})

    def test_stray_bytes_on_an_idle_connection_are_discarded(self):
        def serve(connection, number):
            while path := connection.read():
                connection.send(answer({"d": {"path": path}}))
                time.sleep(0.1)
                connection.send(answer({"d": {"who": "another"}}))

        _, client = self.server(serve)
        for token in (A, B):
            self.assertEqual(client.get(token), {"path": f"/{APP}/get/{token}"})
            time.sleep(0.5)

    def test_incomplete_and_invalid_responses_are_errors(self):
        for text in (
            b"",
            b"nonsense\r\n\r\n",
            answer({"d": {"a": 1}})[:-3],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{oo",
            b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            answer({"d": [1]}),
            answer({}, "HTTP/1.1 500 Internal Server Error"),
        ):
            with self.subTest(text):
                _, client = self.server(
                    lambda connection, number, text=text: (connection.read(), connection.send(text))
                )
                with self.assertRaises(SessionsError):
                    client.get(A)

    def test_errors_contain_no_token_and_no_path(self):
        page = f"<h1>404</h1>/{APP}/get/{A} is not here".encode()
        bodies = (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(page) + page,
            answer({"name": "odd", "message": f"token {A}\n"}, "HTTP/1.1 400 Bad Request"),
            f"HTTP/9.9 {A}\r\n\r\n".encode(),
        )
        for text in bodies:
            _, client = self.server(lambda connection, number, text=text: (connection.read(), connection.send(text)))
            with self.assertRaises(SessionsError) as caught:
                client.get(A)
            shown = str(caught.exception) + str(caught.exception.__cause__ or "")
            self.assertNotIn(A[:10], shown)
            self.assertNotIn("/get/", shown)
            self.assertNotIn("\n", shown)

    def test_all_addresses_of_a_name_are_tried_within_the_deadline(self):
        """The first address never completes a connection: its backlog is full."""
        full = socket.socket()
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        self.addCleanup(full.close)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            self.addCleanup(filler.close)
        server, _ = self.server(lambda connection, number: echo(connection))
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
            for address in (full.getsockname(), ("127.0.0.1", server.port))
        ]
        resolve = socket.getaddrinfo
        self.addCleanup(setattr, socket, "getaddrinfo", resolve)
        socket.getaddrinfo = lambda *arguments, **named: addresses
        self.assertEqual(Connections(server.url, 4).ask("GET", "/")[0], 200)

    def test_bad_settings_are_refused(self):
        for url, app in (
            ("ftp://127.0.0.1", "shop"), ("127.0.0.1:3000", "shop"), ("http://", "shop"),
            ("http://user:pw@host", "shop"), ("http://host/?a=1", "shop"),
            ("http://ho st", "shop"), (SERVICE, ""), (SERVICE, None), (SERVICE, "a/b"),
        ):  # fmt: skip
            with self.subTest(url=url, app=app), self.assertRaises(ValueError):
                Client(url, app)

    def test_user_ids_of_any_form(self):
        client = Client(SERVICE, APP)
        for user in (".", "..", "...", "a/../b", "ключ:☕ %2F", "%2E"):
            token = client.create(user, "192.0.2.1", 60, {})
            self.assertIsNotNone(client.get(token), user)
            self.assertEqual(client.kill_user(user), 1, user)
            self.assertIsNone(client.get(token), user)

    def test_reserved_users_are_refused(self):
        client = Client(SERVICE, APP)
        for user in ("anonymous", "anonymous:x", "anonymous:"):
            with self.assertRaisesRegex(ValueError, "anonymous"):
                client.create(user, "192.0.2.1", 60, {})


if __name__ == "__main__":
    unittest.main()
