"""Tests of the Flask adapter: cookies, settings, logins, sessions that end during a request, failures."""

import datetime
import json
import logging
import os
import pathlib
import threading
import unittest

import common
import flask
from common import Server, answer, api, count, create, echo, kill, session, stored, users
from flask import Flask, flash, get_flashed_messages
from markupsafe import Markup
from rest_sessions import RestSessionInterface

TABLE = json.loads(pathlib.Path(os.environ["COOKIES"]).read_text(encoding="utf-8"))
DEAD = "D" * 64


def make(**config):
    app = Flask(__name__, static_folder=os.path.dirname(__file__), static_url_path="/static")
    app.config.update({"PROPAGATE_EXCEPTIONS": False, **config})
    app.session_interface = RestSessionInterface(app)

    @app.get("/who")
    def who():
        return {"who": flask.session.get("who")}

    @app.get("/plain")
    def plain():
        return "ok"

    app.add_url_rule("/view", "view", lambda: app.extensions["view"]())
    return app


def token_in(response):
    """Returns the tokens in a response's cookies."""
    cookies = [cookie for cookie in response.headers.getlist("Set-Cookie") if cookie.startswith("session=")]
    return [cookie.split(";")[0].split("=")[1] for cookie in cookies]


def cookie(token):
    return {"Cookie": f"session={token}"}


class FlaskTests(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)  # silences the failures that these tests provoke
        self.addCleanup(logging.disable, logging.NOTSET)

    def ask(self, app, view, token=None, status=200, **named):
        """Runs a view once, in a request with this token."""
        app.extensions["view"] = view
        client = app.test_client(use_cookies=False)
        response = client.get("/view", headers=cookie(token) if token else {}, **named)
        self.assertEqual(response.status_code, status)
        return response

    def test_the_table_of_cookies(self):
        client = make().test_client(use_cookies=False)
        tokens = {"ann": create({"who": "ann"}), "bob": create({"who": "bob"}), "dead": DEAD}
        for case in TABLE:
            # WSGI servers join header lines with commas.
            lines = [line.format(**tokens) for line in case["lines"]]
            with self.subTest(case["name"]):
                got = client.get("/who", environ_overrides={"HTTP_COOKIE": ",".join(lines)})
                self.assertEqual(got.json, {"who": case["who"]})

    def test_a_request_without_the_session_makes_no_call(self):
        token = create({"who": "ann"})
        server = Server(lambda connection, number: echo(connection))
        self.addCleanup(server.close)
        client = make(REST_SESSIONS_URL=server.url).test_client(use_cookies=False)
        for path in ("/plain", "/static/test_flask.py"):
            response = client.get(path, headers=cookie(token))
            self.assertEqual((response.status_code, response.headers.get("Vary")), (200, None))
            response.close()
        self.assertEqual(server.connections, 0)
        server.close()
        self.assertEqual(client.get("/plain", headers=cookie(token)).status_code, 200)
        self.assertEqual(client.get("/who", headers=cookie(token)).status_code, 500)

    def test_reading_varies_by_cookie(self):
        client = make().test_client()
        self.assertEqual(client.get("/who").headers["Vary"], "Cookie")

    def test_each_session_without_a_user_gets_its_own_id(self):
        app = make()

        def view():
            flask.session["a"] = 1
            return "ok"

        ids = {session(token_in(self.ask(app, view))[0])["id"] for _ in range(2)}
        self.assertEqual(len(ids), 2)
        for id in ids:
            self.assertRegex(id, r"^anonymous:[0-9a-f]{16}$")

    def test_a_session_with_the_plain_anonymous_id_stays_valid(self):
        token = create({"who": "ann"}, "anonymous")

        def view():
            flask.session["a"] = 1
            return "ok"

        self.assertEqual(token_in(self.ask(make(), view, token)), [])
        self.assertEqual(stored(token), {"who": "ann", "a": 1})

    def test_a_reserved_user_is_refused(self):
        def view():
            flask.session["user_id"] = "anonymous:0123456789abcdef"
            return "ok"

        before = count()
        self.assertEqual(token_in(self.ask(make(), view, status=500)), [])
        self.assertEqual(count(), before)

    def test_a_session_that_ends_during_a_request(self):
        """A view that writes fails; the response of one that reads has no cookie."""
        app = make()

        def changes():
            kill(token)
            flask.session["a"] = 1
            return "ok"

        def nothing_new():
            flask.session["who"] = "ann"
            kill(token)
            return "ok"

        def reads():
            who = flask.session["who"]
            kill(token)
            return who

        for view, status in ((changes, 500), (nothing_new, 500), (reads, 200)):
            token = create({"who": "ann", "_permanent": True})
            with self.subTest(view.__name__):
                # Loads the session before the kill.
                view_ = lambda view=view: (flask.session.get("who"), view())[1]
                self.assertEqual(token_in(self.ask(app, view_, token, status=status)), [])
                self.assertIsNone(stored(token))

    def test_an_ended_session_does_not_return_under_a_new_token(self):
        app = make()

        def regenerates():
            flask.session.regenerate()

        def changes_the_user():
            flask.session["user_id"] = "mallory"

        for view in (regenerates, changes_the_user):
            token = create({"user_id": "back"}, "back")

            def held(view=view):
                flask.session.get("user_id")
                app.session_interface.logout_everywhere("back")
                view()
                return "ok"

            with self.subTest(view.__name__):
                before = count() - 1
                self.assertEqual(token_in(self.ask(app, held, token, status=500)), [])
                self.assertEqual((users("back"), count()), ([], before))

    def test_concurrent_regenerations_leave_one_session(self):
        app = make()
        for d, user in (({"user_id": "twice"}, "twice"), ({"a": 1}, "anonymous")):
            token = create(d, user)
            inner = []

            def regenerate():
                flask.session.regenerate()
                return "ok"

            def held(token=token, inner=inner, view=regenerate):
                flask.session.get("a")
                inner.extend(token_in(self.ask(app, view, token)))
                return view()

            before = count()
            self.assertEqual(token_in(self.ask(app, held, token, status=500)), [])
            self.assertEqual((stored(inner[0]), count()), (d, before))

    def test_two_clicks_on_a_login_form_both_log_in(self):
        app = make()
        token = create({"cart": 1})

        def login():
            flask.session.regenerate()
            flask.session["user_id"] = "clicker"
            return "ok"

        def held():
            flask.session.get("cart")
            self.ask(app, login, token)
            return login()

        new = token_in(self.ask(app, held, token))
        self.assertEqual(stored(new[0]), {"cart": 1, "user_id": "clicker"})
        self.assertIsNone(stored(token))

    def test_permanent_can_be_reset(self):
        app = make(PERMANENT_SESSION_LIFETIME=1200)

        def permanent(value):
            def view():
                flask.session["a"] = 1
                flask.session.permanent = value
                return "ok"

            return view

        first = self.ask(app, permanent(True))
        self.assertIn("Expires=", first.headers["Set-Cookie"])
        token = token_in(first)[0]
        second = self.ask(app, permanent(False), token)
        self.assertEqual(token_in(second), [token])
        self.assertNotIn("Expires=", second.headers["Set-Cookie"])
        third = self.ask(app, permanent(True), token)
        self.assertIn("Expires=", third.headers["Set-Cookie"])

    def test_cookie_settings(self):
        def view():
            flask.session["a"] = 1
            return "ok"

        settings = {"DOMAIN": "example.com", "PATH": "/shop", "SAMESITE": "Strict", "HTTPONLY": False, "SECURE": True}
        app = make(**{f"SESSION_COOKIE_{name}": value for name, value in settings.items()})
        got = {part.strip().lower() for part in self.ask(app, view).headers["Set-Cookie"].split(";")[1:]}
        self.assertEqual(got, {"domain=example.com", "path=/shop", "samesite=strict", "secure"})
        partitioned = {"SESSION_COOKIE_PARTITIONED": True, "SESSION_COOKIE_SAMESITE": "None"}
        app = make(SESSION_COOKIE_DOMAIN="b\u00fccher.example", SESSION_COOKIE_PATH="/\u00e9")
        self.assertIn("Domain=xn--bcher-kva.example", self.ask(app, view).headers["Set-Cookie"])
        if hasattr(app.session_interface, "get_cookie_partitioned"):
            self.assertIn("Secure", self.ask(make(**partitioned), view).headers["Set-Cookie"])

    def test_cookies_that_browsers_reject_are_refused_at_the_start_and_later(self):
        def view():
            flask.session["a"] = 1
            return "ok"

        before = count()
        for name, value in (
            ("NAME", "my session"),
            ("NAME", "__Host-session"),
            ("DOMAIN", "ex\nample"),
            ("SAMESITE", "sometimes"),
            ("SAMESITE", "None"),
        ):
            with self.subTest(name, value=value):
                with self.assertRaisesRegex(ValueError, "SESSION_COOKIE_"):
                    make(**{f"SESSION_COOKIE_{name}": value})
                app = make()
                app.config[f"SESSION_COOKIE_{name}"] = value
                self.ask(app, view, status=500)
        self.assertEqual(count(), before)

    def test_a_lifetime_of_zero_ends_the_session(self):
        token = create({"who": "ann"})

        def view():
            flask.session["a"] = 1
            return "ok"

        before = count() - 1
        response = self.ask(make(PERMANENT_SESSION_LIFETIME=datetime.timedelta(0)), view, token)
        self.assertEqual((token_in(response), stored(token), count()), ([""], None, before))

    def test_a_login_whose_old_session_cannot_be_ended(self):
        """The new session ends too, and the response has no cookie."""
        asked = []

        def serve(connection, number):
            while path := connection.read():
                asked.append(path)
                good = answer({"d": {"who": "ann"}, "token": "N" * 64, "kill": 1})
                connection.send(answer({}, "HTTP/1.1 503 Out") if path.endswith(f"/kill/{DEAD}") else good)

        server = Server(serve)
        self.addCleanup(server.close)

        def view():
            flask.session.regenerate()
            flask.session["user_id"] = "bob"
            return "ok"

        response = self.ask(make(REST_SESSIONS_URL=server.url), view, DEAD, status=500)
        self.assertEqual(token_in(response), [])
        paths = [path.split("/", 2)[2].split("?")[0] for path in asked]
        self.assertEqual(paths, [f"get/{DEAD}", "create/bob", f"kill/{DEAD}", f"kill/{'N' * 64}"])

    def test_the_response_that_is_sent_has_the_cookie(self):
        app = make()

        def view():
            flask.session["a"] = 1
            first = flask.make_response("dropped")
            app.session_interface.save_session(app, flask.session._get_current_object(), first)
            return "sent"

        before = count()
        tokens = token_in(self.ask(app, view))
        self.assertEqual((len(tokens), count()), (1, before + 1))
        self.assertEqual(stored(tokens[0]), {"a": 1})

    def test_a_change_after_the_response_has_started_is_logged_and_creates_nothing(self):
        logging.disable(logging.NOTSET)
        app = make()

        def view():
            def pieces():
                yield "a"
                flask.session["late"] = 1
                flask.session["later"] = 1
                yield "b"

            return flask.Response(flask.stream_with_context(pieces()))

        before = count()
        with self.assertLogs("rest_sessions", "ERROR") as logs:
            response = self.ask(app, view)
            self.assertEqual(response.get_data(), b"ab")
        self.assertEqual((len(logs.output), token_in(response), count()), (1, [], before))

    def test_a_view_that_throws(self):
        def view():
            flask.session["a"] = 1
            raise RuntimeError("boom")

        self.assertEqual(stored(token_in(self.ask(make(), view, status=500))[0]), {"a": 1})

    def test_flashed_messages_round_trip(self):
        app = make()

        def view():
            flash("plain <b>")
            flash(Markup("<b>x</b>"), "warning")
            return "ok"

        token = token_in(self.ask(app, view))[0]
        got = []

        def later():
            got.extend(get_flashed_messages(with_categories=True))
            return "ok"

        self.ask(app, later, token)
        self.assertEqual(got, [("message", "plain <b>"), ("warning", Markup("<b>x</b>"))])
        self.assertEqual([type(text) for _, text in got], [str, Markup])

    def test_invalid_flashed_messages_stay_until_flash_replaces_them(self):
        app = make()
        got = []

        def shows():
            got.extend(get_flashed_messages(with_categories=True))
            return "ok"

        def flashes():
            flash("hi")
            return "ok"

        for d in (
            {"_flashes": "abc"},
            {"_flashes": 5},
            {"json:_flashes": '{"a":1}'},
            {"json:_flashes": "[[1]]"},
            {"json:_flashes": '["ab"]'},
        ):
            with self.subTest(d):
                token = create({"who": "ann", **d})
                self.ask(app, shows, token)
                self.assertEqual((got, stored(token)), ([], {"who": "ann", **d}))
                self.ask(app, flashes, token)
                self.assertEqual(stored(token), {"who": "ann", "json:_flashes": '[["message","hi"]]'})
        token = create({"json:_flashes": '[["message",{" m":[]}]]'})
        self.ask(app, shows, token)
        self.assertEqual(got, [("message", {" m": []})])

    def test_the_test_clients_session_transaction(self):
        client = make().test_client()
        with client.session_transaction() as transaction:
            transaction["who"] = "ann"
            self.assertTrue(transaction.new)
        self.assertEqual(client.get("/who").json, {"who": "ann"})
        with client.session_transaction() as transaction:
            self.assertEqual(dict(transaction), {"who": "ann"})
            transaction.clear()
        self.assertEqual(client.get("/who").json, {"who": None})

    def test_a_session_is_a_dict(self):
        token = create({"a": 1, "json:b": "[2]"})
        got = {}

        def view():
            real = flask.session._get_current_object()
            got.update(
                dict(real), merged={**real}, either=real | {}, text=repr(real), size=len(real), copied=real.copy()
            )
            return "ok"

        self.ask(make(), view, token)
        data = {"a": 1, "b": [2]}
        self.assertEqual(got, {**data, "merged": data, "either": data, "text": repr(data), "size": 2, "copied": data})

    def test_unreadable_values_survive_writes_and_logins(self):
        body = b'{"who":"ann","json:n":"{oops","json:m":5}'
        app = make()

        def write():
            flask.session["a"] = 1
            return flask.session["who"]

        def login():
            flask.session["user_id"] = "ann"
            return "ok"

        token = api("PUT", "/create/ann?ip=192.0.2.1", body)["token"]
        self.ask(app, write, token)
        self.assertEqual(stored(token), {**json.loads(body), "a": 1})
        token = token_in(self.ask(app, login, token))[0]
        self.assertEqual(stored(token), {**json.loads(body), "a": 1, "user_id": "ann"})

        def logout():
            flask.session.clear()
            return "ok"

        self.assertEqual(token_in(self.ask(app, logout, token)), [""])
        self.assertIsNone(stored(token))

    def test_addresses_with_ports(self):
        def view():
            flask.session["a"] = 1
            return "ok"

        for given, kept in (
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("192.0.2.7:9", "192.0.2.7"),
            ("junk", "0.0.0.0"),
            ("", "0.0.0.0"),
        ):
            response = self.ask(make(), view, environ_overrides={"REMOTE_ADDR": given})
            self.assertEqual(session(token_in(response)[0])["ip"], kept)

    def test_concurrent_requests_preserve_each_others_keys(self):
        token = create({"who": "ann"})
        app = make()

        def view():
            key = flask.request.args["key"]
            flask.session[key] = 1
            return "ok"

        app.extensions["view"] = view
        run = lambda key: app.test_client(use_cookies=False).get(f"/view?key={key}", headers=cookie(token))  # noqa: E731
        threads = [threading.Thread(target=run, args=(f"key{number}",)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(stored(token)), 11)

    def test_the_user_ids_dot_and_dot_dot(self):
        app = make()
        for user in (".", ".."):

            def view(user=user):
                flask.session["user_id"] = user
                return "ok"

            token = token_in(self.ask(app, view))[0]
            self.assertEqual(session(token)["id"], user)
            self.assertEqual(app.session_interface.logout_everywhere(user), 1)
            self.assertIsNone(common.stored(token))


if __name__ == "__main__":
    unittest.main()
