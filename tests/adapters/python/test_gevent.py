"""Tests of green threads: a call that is killed or times out leaves no response for the next call."""

from gevent import monkey

monkey.patch_all()

import time  # noqa: E402
import unittest  # noqa: E402

import gevent  # noqa: E402
from common import APP, Server, answer, echo  # noqa: E402
from rest_sessions import Client  # noqa: E402


class GeventTests(unittest.TestCase):
    def test_killed_and_timed_out_calls(self):
        def serve(connection, number):
            if number == 1:
                echo_one(connection)
                path = connection.read()
                time.sleep(0.5)
                connection.send(answer({"d": {"path": path}}))
            echo(connection)

        def echo_one(connection):
            connection.send(answer({"d": {"path": connection.read()}}))

        def killed():
            call = gevent.spawn(client.get, "K" * 64)
            gevent.sleep(0.2)
            call.kill()

        def timed_out():
            with gevent.Timeout(0.2, False):
                client.get("K" * 64)

        for interrupt in (killed, timed_out):
            server = Server(serve)
            self.addCleanup(server.close)
            client = Client(server.url, APP)
            client.get("A" * 64)
            interrupt()
            gevent.sleep(0.5)
            self.assertEqual(client.get("B" * 64), {"path": f"/{APP}/get/{'B' * 64}"})
            self.assertEqual(server.connections, 2)

    def test_concurrent_calls_get_their_own_responses(self):
        def serve(connection, number):
            while path := connection.read():
                gevent.sleep(0.01)
                connection.send(answer({"d": {"path": path}}))

        server = Server(serve)
        self.addCleanup(server.close)
        client = Client(server.url, APP)
        tokens = [f"{number:064}" for number in range(60)]
        calls = [gevent.spawn(client.get, token) for token in tokens]
        gevent.joinall(calls, raise_error=True)
        self.assertEqual([call.value for call in calls], [{"path": f"/{APP}/get/{token}"} for token in tokens])


if __name__ == "__main__":
    unittest.main()
