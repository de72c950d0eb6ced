"""Tests of the Python part of examples/shared-login: its client, and its WSGI program."""

import io
import json
import os
import pathlib
import unittest

from common import SERVICE, Server, answer, create, session, stored
from session_client import SessionClient, SessionOutage, SessionRefused

os.environ["SESSIONS_URL"] = SERVICE
import app  # noqa: E402

app.sessions = SessionClient(SERVICE, os.environ["REST_SESSIONS_APP"])
FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent.parent
TABLE = json.loads(pathlib.Path(os.environ["COOKIES"]).read_text(encoding="utf-8"))
SHARED = FOLDER / "adapters/flask/rest_sessions.py", FOLDER / "adapters/django/rest_sessions.py"
CLIENT = FOLDER / "examples/shared-login/python/session_client.py"
DEAD = "D" * 64


def part(text, begin, end):
    return text[text.index(begin) :].split(end)[0].strip()


class SameTextTests(unittest.TestCase):
    def test_the_adapters_have_identical_clients(self):
        texts = [part(file.read_text(), "\nTOKEN = ", "# Up to here") for file in SHARED]
        self.assertEqual(*texts)
        self.assertGreater(len(texts[0]), 10000)

    def test_the_example_has_an_identical_connection_pool(self):
        example, adapter = CLIENT.read_text(), SHARED[0].read_text()
        self.assertEqual(part(example, "## Connections", "## Routes"), part(adapter, "## Connections", "## Routes"))
        for name in ("tokens_of", "address_of", "segment"):
            self.assertEqual(part(example, f"def {name}(", "\n\n\n"), part(adapter, f"def {name}(", "\n\n\n"))


class ExampleTests(unittest.TestCase):
    def ask(self, method, path, cookie=None, form=b"", address="192.0.2.9"):
        request = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_X_REAL_IP": address, "HTTP_ORIGIN": "https://site",
            "HTTP_X_FORWARDED_PROTO": "https", "HTTP_HOST": "site", "CONTENT_LENGTH": str(len(form)),
            "wsgi.input": io.BytesIO(form),
        }  # fmt: skip
        if cookie is not None:
            request["HTTP_COOKIE"] = cookie
        status, headers, body = app.answer(request)
        return int(status[:3]), dict(headers).get("Set-Cookie"), body.decode()

    def visitor(self, name):
        return create({"name": name, "role": "reader", "visits": 0, "who": name}, name)

    def test_the_table_of_cookies(self):
        tokens = {"ann": self.visitor("ann"), "bob": self.visitor("bob"), "dead": DEAD}
        for case in TABLE:
            with self.subTest(case["name"]):
                _, _, body = self.ask("GET", "/python/", ",".join(line.format(**tokens) for line in case["lines"]))
                self.assertIn(f"Hello, {case['who']}" if case["who"] else "not logged in", body)

    def test_login_and_logout(self):
        old = self.visitor("eve")
        form = b"name=ann&role=reader&password=demo"
        cookie = f"session={DEAD}; session={old}"
        status, set_cookie, _ = self.ask("POST", "/python/login", cookie, form, "[2001:db8::1]:443")
        token = set_cookie.split(";")[0].removeprefix("session=")
        self.assertEqual((status, session(token)["ip"], stored(old)), (303, "2001:db8::1", None))
        self.ask("POST", "/python/logout", f"session={DEAD}; session={token}")
        self.assertIsNone(stored(token))

    def test_a_login_whose_old_session_cannot_be_ended(self):
        asked = []

        def serve(connection, number):
            while path := connection.read():
                asked.append(path.split("/", 2)[2].split("?")[0])
                bad = answer({"name": "storeUnavailable", "message": ""}, "HTTP/1.1 503 Out")
                connection.send(bad if DEAD in path else answer({"token": "N" * 64, "kill": 1}))

        server = Server(serve)
        self.addCleanup(server.close)
        sessions = app.sessions
        self.addCleanup(setattr, app, "sessions", sessions)
        app.sessions = SessionClient(server.url, "site")
        form = b"name=ann&role=reader&password=demo"
        status, set_cookie, _ = self.ask("POST", "/python/login", f"session={DEAD}", form)
        self.assertEqual((status, set_cookie), (503, None))
        self.assertEqual(asked, ["create/ann", f"kill/{DEAD}", f"kill/{'N' * 64}"])

    def test_the_client_after_a_fork(self):
        client = SessionClient(SERVICE, os.environ["REST_SESSIONS_APP"])
        tokens = [self.visitor(name) for name in ("ann", "bob")]
        client.get(tokens[0])
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(any(client.get(tokens[1])["id"] != "bob" for _ in range(200)))
            finally:
                os._exit(2)
        for _ in range(200):
            self.assertEqual(client.get(tokens[0])["id"], "ann")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_the_routes_of_the_client(self):
        client = SessionClient(SERVICE, os.environ["REST_SESSIONS_APP"])
        for user in ("ann", ".", ".."):
            client.killsoid(user)
            token = client.create(user, "192.0.2.1", {"a": 1}, 60)
            self.assertEqual(client.set(token, {"b": 2})["d"], {"a": 1, "b": 2})
            self.assertEqual([entry["id"] for entry in client.soid(user)], [user])
            self.assertEqual(client.killsoid(user), 1)
            self.assertIsNone(client.get(token))
            self.assertFalse(client.kill(token))
        with self.assertRaises(SessionRefused):
            client.create("line\nbreak", "192.0.2.1")
        with self.assertRaises(SessionOutage):
            SessionClient("http://127.0.0.1:9", "site").get(DEAD)


if __name__ == "__main__":
    unittest.main()
