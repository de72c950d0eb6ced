"""Tests of the code that both Python adapters share: values, cookies and addresses."""

import logging
import unittest

import rest_sessions
from rest_sessions import address_of, carried, changes, check_cookie, decode, encode, tokens_of, user_of


def nested(depth):
    return "[" * depth + "]" * depth


class Html:
    def __html__(self):
        return "<b>hi</b>"


class ValueTests(unittest.TestCase):
    def setUp(self):
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_values_that_json_cannot_hold_are_refused_with_their_key(self):
        deep = []
        for _ in range(100):
            deep = [deep]
        circle = {}
        circle["self"] = circle
        for value in (
            object(), b"x", {1, 2}, float("nan"), float("inf"), [float("nan")], {"a": object()}, 10**400,
            [10**400], "\ud800", ["\ud800"], deep, circle, {(1, 2): 3},
        ):  # fmt: skip
            with self.subTest(type(value)), self.assertRaisesRegex((TypeError, ValueError), "'bad'"):
                encode({"fine": 1, "bad": value}, {})
        for key in (1, None, "\ud800"):
            with self.subTest(key), self.assertRaises((TypeError, ValueError)):
                encode({key: 1}, {})

    def test_cookies_that_browsers_reject_are_refused(self):
        fine = {"name": "session", "domain": None, "path": "/", "secure": False, "samesite": None}
        for wrong, setting in (
            ({"name": ""}, "NAME"), ({"name": "my session"}, "NAME"), ({"name": "a=b"}, "NAME"),
            ({"name": "a;b"}, "NAME"), ({"name": "s\u00e9ance"}, "NAME"), ({"name": "a\n"}, "NAME"),
            ({"domain": "ex\nample"}, "DOMAIN"), ({"domain": "a.example; Secure"}, "DOMAIN"),
            ({"domain": "http://a.example"}, "DOMAIN"), ({"domain": "a.example:8000"}, "DOMAIN"),
            ({"path": "/a\nb"}, "PATH"), ({"path": "/; Secure"}, "PATH"),
            ({"samesite": "bogus"}, "SAMESITE"), ({"samesite": True}, "SAMESITE"),
            ({"samesite": "None"}, "SECURE"), ({"samesite": "none"}, "SECURE"),
            ({"name": "__Secure-s"}, "SECURE"), ({"name": "__host-s"}, "SECURE"),
            ({"name": "__Host-s", "secure": True, "domain": "a.example"}, "DOMAIN"),
            ({"name": "__Host-s", "secure": True, "path": "/shop"}, "PATH"),
            ({"name": "__Host-s", "secure": True, "path": None}, "PATH"),
        ):  # fmt: skip
            with self.subTest(wrong), self.assertRaisesRegex(ValueError, f"SESSION_COOKIE_{setting} "):
                check_cookie(**{**fine, **wrong})
        for right in (
            {}, {"domain": ".a.example", "path": "/shop", "samesite": "lax"}, {"path": None}, {"domain": "[::1]"},
            {"name": "__Host-s", "secure": True, "samesite": "None"},
            {"name": "__Secure-s", "secure": True, "domain": "a.example", "path": "/shop"},
            {"name": "!#$%&'*+-.^_`|~"},
        ):  # fmt: skip
            with self.subTest(right):
                check_cookie(**{**fine, **right})

    def test_objects_with_html_are_stored_as_text(self):
        self.assertEqual(encode({"a": Html(), "b": [Html()]}, {}), {"a": "<b>hi</b>", "json:b": '["<b>hi</b>"]'})

    def test_subclasses_are_stored_as_their_json_types(self):
        class Text(str):
            pass

        class Number(int):
            pass

        d = encode({"user_id": Text("ann"), "n": Number(5), "yes": True}, {})
        self.assertEqual(d, {"user_id": "ann", "n": 5, "yes": True})
        self.assertEqual([type(value) for value in d.values()], [str, int, bool])
        self.assertEqual(user_of(d), "ann")

    def test_100_levels_are_written_and_101_are_not(self):
        for depth, fine in ((100, True), (101, False)):
            value = []
            for _ in range(depth - 1):
                value = [value]
            if fine:
                self.assertEqual(encode({"tree": value}, {}), {"json:tree": nested(depth)})
            else:
                with self.assertRaisesRegex(ValueError, "tree.*100 levels"):
                    encode({"tree": value}, {})
        brackets = encode({"text": ["[" * 500, '"[{' * 200]}, {})
        self.assertEqual(decode(brackets)[0], {"text": ["[" * 500, '"[{' * 200]})

    def test_unreadable_values_are_hidden_and_stay(self):
        for key, value in (
            ("json:n", "{oops"), ("json:n", ""), ("json:n", 5), ("json:n", True), ("json:n", nested(513)),
            ("json:n", nested(50000)), ("json:n", "[NaN]"), ("json:n", "[1e400]"),
            ("json:n", "[" + "9" * 5000 + "]"), ("json:n", '"\\ud800"'),
            ("n", rest_sessions.BEYOND), ("n", "\ud800"), ("json:n", '"' + '\\"' * 30000), ("\ud800", 1),
        ):  # fmt: skip
            with self.subTest(key=key, value=str(value)[:20]):
                session, known, kept = decode({"who": "ann", key: value})
                self.assertEqual((session, known, kept), ({"who": "ann"}, {"who": "ann"}, {key: value}))
                self.assertEqual(changes(known, encode(session, known)), {})
                self.assertEqual(
                    changes(known, encode({"n": 1}, known)), {"who": None, "json:who": None, "n": 1, "json:n": None}
                )

    def test_deep_but_readable_values_can_be_kept_and_moved(self):
        session, known, kept = decode({"json:tree": nested(400)})
        self.assertEqual((kept, encode(session, known)), ({}, {"json:tree": nested(400)}))
        session["tree"].append(1)
        with self.assertRaises(ValueError):
            encode(session, known)

    def test_unreadable_values_are_copied_to_a_new_token(self):
        kept = {"json:a": "{oops", "json:b": 5, "c": rest_sessions.BEYOND, "json:d": "NaN", "json:json:e": "{oops"}
        self.assertEqual(
            carried(kept, {"d": 1, "json:e": "[]"}), {"json:a": "{oops", "json:b": 5, "json:json:e": "{oops"}
        )

    def test_a_plain_value_wins(self):
        self.assertEqual(
            decode({"a": 1, "json:a": "[2]", "json:b": "[3]"}), ({"a": 1, "b": [3]}, {"a": 1, "json:b": "[3]"}, {})
        )

    def test_keys_of_any_kind(self):
        session = {
            "": 1,
            "0": 2,
            "__proto__": {"x": 1},
            "a|b": 3,
            "!c": [1],
            "a\0b": 4,
            "a\nb": 5,
            "json:x": 6,
            "json:json:x": 7,
        }
        d = encode(session, {})
        self.assertEqual(decode(d), (session, d, {}))

    def test_the_warning_contains_the_key_and_not_the_value(self):
        logging.disable(logging.NOTSET)
        with self.assertLogs("rest_sessions", "WARNING") as logs:
            decode({"json:a\nb": "{secret"})
        self.assertEqual(len(logs.output), 1)
        self.assertIn("json:a\\nb", logs.output[0])
        self.assertNotIn("secret", logs.output[0])
        self.assertNotIn("\n", logs.output[0])

    def test_addresses(self):
        long_zone = "fe80:0:0:0:a202:b3ff:fe1e:8329%enp0s31f6"
        for given, sent in (
            ("203.0.113.7", "203.0.113.7"), ("203.0.113.7:51234", "203.0.113.7"), ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1"), (long_zone, long_zone),
            (" 192.0.2.1 ", "192.0.2.1"), ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("fe80::1%a b", "fe80::1"),
        ):  # fmt: skip
            self.assertEqual(address_of(given), sent)
        for given in (
            "",
            None,
            "unknown",
            "_hidden",
            "x" * 1000,
            "192.0.2.1, 198.51.100.1",
            "1.2.3",
            "192.0.2.1\r\nX: y",
            "unix:",
            "[::1",
        ):
            self.assertEqual(address_of(given), "0.0.0.0")

    def test_four_tokens_are_looked_up(self):
        header = "; ".join(f"session={str(number) * 64}" for number in (1, 1, 2, 3, 4, 5))
        self.assertEqual(tokens_of(header, "session"), [str(number) * 64 for number in (1, 2, 3, 4)])
        self.assertEqual(tokens_of(None, "session"), [])


if __name__ == "__main__":
    unittest.main()
