// Tests of session values, users and addresses: stored, refused with the key's name, or kept unchanged.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gateway, listen, serve, startService, until, visit, warnings } from "./support.mjs";

const service = await startService();
const options = { url: service.url, cookie: { secure: false } };
const nested = (levels) => "[".repeat(levels) + "]".repeat(levels);
// Returns d with the exact digits of its numbers.
const raw = async (token) => (await visit(service.port, `/shop/get/${token}`)).body.replace(/^.*?"d":/, "").slice(0, -1);

test("stored values that JavaScript cannot read are hidden, stay stored, and end with the session", async () => {
  const said = warnings();
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      const { cookie, ...data } = req.session;
      res.json(data);
    });
    app.get("/write", (req, res) => res.send(String((req.session.w = 1))));
    app.get("/login", (req, res) => res.send((req.session.user_id = "poisoned")));
    app.get("/replace", (req, res) => res.send(String((req.session.n = 2))));
    app.get("/logout", (req, res, next) => req.session.destroy((error) => (error ? next(error) : res.send("out"))));
  });
  const poison = [
    `"json:n":${JSON.stringify(nested(101))}`, `"json:n":${JSON.stringify(nested(25_000))}`, `"json:n":"[1e400]"`,
    `"json:n":"[${"9".repeat(5000)}]"`, `"json:n":"[NaN]"`, `"json:n":"\\"\\\\ud800\\""`, `"json:n":"{\\"\\\\udfff\\":1}"`,
    `"json:n":"{oops"`, `"json:n":5`, `"json:n":true`, `"json:n":""`, `"n":${"9".repeat(5000)}`,
  ];
  for (const text of poison) {
    const what = text.slice(0, 40);
    const create = () => service.ask("PUT", "/shop/create/ann?ip=192.0.2.1", `{"who":"ann",${text}}`);
    const made = await create().catch((error) => {
      if (!text.startsWith('"n"') || !/400/.test(error.message)) throw error;
    });
    if (!made) continue; // the service refuses numbers beyond the range of a double
    const { token } = made;
    assert.equal((await visit(port, "/", { token })).body, '{"who":"ann"}', what);
    assert.equal((await visit(port, "/write", { token })).status, 200, what);
    assert.equal(await raw(token), `{"who":"ann",${text},"w":1}`, what);
    const [moved] = (await visit(port, "/login", { token })).cookies;
    assert.equal(await raw(moved), `{"who":"ann",${text},"w":1,"user_id":"poisoned"}`, what);
    await visit(port, "/replace", { token: moved });
    assert.deepEqual((await service.get(moved)).d, { who: "ann", w: 1, user_id: "poisoned", n: 2 }, what);
    const other = (await create()).token;
    assert.equal((await visit(port, "/logout", { token: other })).status, 200, what);
    assert.deepEqual(await service.get(other), {});
  }
  await until(() => said.length > 0, "a warning");
  assert.ok(said.length <= 2 && said.every((line) => /"(json:)?n" cannot be read/.test(line)), said.join());
});

test("a stored number that the service no longer accepts does not prevent a login", async () => {
  const refuses = await gateway(service, (req) => (req.method === "PUT" && Number(req.headers["content-length"]) > 5000 ? 400 : undefined));
  const { port } = await serve({ ...options, url: refuses.url }, (app) => app.get("/", (req, res) => res.send((req.session.user_id = "in"))));
  const made = await visit(service.port, "/shop/create/x?ip=192.0.2.1", { method: "PUT", body: `{"a":1,"n":${"9".repeat(5000)}}` });
  if (made.status === 400) return; // the service refuses such numbers, so none is stored
  const { cookies } = await visit(port, "/", { token: JSON.parse(made.body).token });
  assert.deepEqual((await service.get(cookies[0])).d, { a: 1, user_id: "in" });
});

test("unusual keys and numbers round-trip unchanged", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => res.send(String((req.session.w = req.session.who))));
  });
  for (const text of [
    '"__proto__":1,"json:__proto__":"{\\"x\\":1}"', '"":1,"json:":"[1]"', '"0":1,"json:1":"[1]"', '"a\\u0000b":1', '"a|b":1,"!c":2,"json:d|":"[1]"',
    '"n":-0', '"n":1E5,"m":1.0', '"n":9007199254740993', '"n":1e-400', '"json:n":"{\\"a\\":1,\\"a\\":2}"', '"constructor":1,"toString":"x","save":2,"id":3',
    `"json:n":"${nested(100)}"`, '"json:cookie":"{}","cookie":1,"json:req":"[]"',
  ]) {
    const token = (await service.ask("PUT", "/shop/create/ann?ip=192.0.2.1", `{"who":"ann",${text}}`)).token;
    const before = await raw(token);
    assert.equal((await visit(port, "/", { token })).body, "ann", text);
    assert.equal(await raw(token), before.replace(/}$/, ',"w":"ann"}'), text);
  }
});

test("a value that cannot be stored is refused with its key's name, and nothing is stored", async () => {
  const deep = (levels) => JSON.parse(nested(levels));
  const circular = {};
  circular.self = circular;
  const bad = [
    deep(101), deep(5000), { a: deep(100) }, circular, 10n, { a: 10n }, new Map([[1, 2]]), new Set([1]), /x/, new Error("x"), [undefined], NaN, -Infinity,
    2 ** 53, "half \ud800", { "half \ud800": 1 }, new Uint8Array(3), () => 1, Symbol("x"), new URLSearchParams("a=1"), Promise.resolve(1),
  ];
  const { port } = await serve(options, (app) => {
    app.get("/:n", (req, res) => {
      req.session.fine = 1;
      req.session.the_key = bad[req.params.n];
      res.send("ok");
    });
    app.get("/save/:n", (req, res, next) => {
      req.session.the_key = bad[req.params.n];
      req.session.save((error) => (error ? next(error) : res.send("ok")));
    });
    app.use((error, req, res, next) => (res.headersSent ? next(error) : res.status(500).send(error.message)));
  });
  const before = (await service.sessions()).length;
  const token = await service.create({ the_key: "as before" });
  for (const n of bad.keys()) {
    for (const [path, visitor] of [["", undefined], ["", token], ["/save", undefined], ["/save", token]]) {
      const answer = await visit(port, `${path}/${n}`, { token: visitor });
      assert.deepEqual([answer.status, answer.cookies], [500, []], `${n}`);
      assert.match(answer.body, /^req\.session\.the_key: /, `${n}`);
    }
  }
  assert.deepEqual((await service.get(token)).d, { the_key: "as before" });
  assert.equal((await service.sessions()).length, before + 1);
});

test("the adapter accepts every value that express-session's own stores serialise as JSON", async () => {
  class Cart {
    items = [1];
  }
  const given = {
    date: new Date(0), buffer: Buffer.from("a"), cart: new Cart(), url: new URL("http://x/"), text: new String("t"), none: null, bare: Object.create(null),
    skipped: undefined, inner: { skipped: undefined, deep: JSON.parse(nested(99)) }, "": 0, zero: -0,
  };
  const { port } = await serve(options, (app) => {
    app.get("/write", (req, res) => res.send(typeof Object.assign(req.session, given)));
    app.get("/read", (req, res) => {
      const { cookie, ...data } = req.session;
      res.json(data);
    });
  });
  const [token] = (await visit(port, "/write")).cookies;
  assert.deepEqual(JSON.parse((await visit(port, "/read", { token })).body), JSON.parse(JSON.stringify(given)));
  assert.equal((await service.get(token)).d.date, "1970-01-01T00:00:00.000Z");
});

test("an error shows only the status and the service's error name, on one line", async () => {
  let answered;
  const other = await listen((req, res) => {
    const { status, name, text } = answered(req.url);
    res.writeHead(status, { "Content-Type": "application/json" }).end(text ?? JSON.stringify({ name, message: `no route ${req.url}`, error: req.url }));
  });
  const { port } = await serve({ ...options, url: `http://127.0.0.1:${other.port}` }, (app) => {
    app.get("/", (req, res) => res.send("in"));
    app.get("/new", (req, res) => res.send((req.session.user_id = "the-user")));
    app.use((error, req, res, next) => (res.headersSent ? next(error) : res.status(500).send(error.message)));
  });
  const foreign = "with a body that is not from the service";
  for (const [answer, said] of [
    [() => ({ status: 404 }), `status 404 ${foreign}`], [(url) => ({ status: 404, name: url }), `status 404 ${foreign}`],
    [(url) => ({ status: 500, name: { url } }), `status 500 ${foreign}`], [(url) => ({ status: 400, name: `invalidFormat\r\n${url}` }), `status 400 ${foreign}`],
    [() => ({ status: 503, name: "storeUnavailable" }), "status 503 storeUnavailable"], [() => ({ status: 400, name: "invalidFormat" }), "status 400 invalidFormat"],
    [(url) => ({ status: 404, text: JSON.stringify(url) }), `status 404 ${foreign}`], [(url) => ({ status: 404, text: `[${JSON.stringify(url)}]` }), `status 404 ${foreign}`],
    [() => ({ status: 502, text: "null" }), `status 502 ${foreign}`], [(url) => ({ status: 200, text: url }), "status 200 with a body that is not JSON"],
  ]) {
    answered = answer;
    for (const visitor of [{ path: "/", token: "T".repeat(64) }, { path: "/new" }]) {
      assert.equal((await visit(port, visitor.path, visitor)).body, `rest-sessions: ${said}`);
    }
  }
  const odd = await serve(options, (app) => {
    app.get("/", (req, res) => res.send(String((req.session["a\nb\u001b[2J\u2028\u0085"] = NaN))));
    app.use((error, req, res, next) => (res.headersSent ? next(error) : res.status(500).send(error.message)));
  });
  assert.match((await visit(odd.port, "/")).body, /^req\.session\.a\?b\?\[2J\?\?: it is NaN/);
});

test("users with ids such as . and .. can log in and log out everywhere", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/login", (req, res) => res.send((req.session.user_id = req.query.u)));
    app.get("/everywhere", async (req, res) => res.send(String(await req.sessionStore.logoutEverywhere(req.query.u))));
  });
  for (const user of [".", "..", "...", "a/../b", "../..", "%2E", "ü ☕", "a:b", "?a#b", "anonymousx"]) {
    const query = `?u=${encodeURIComponent(user)}`;
    const [token] = (await visit(port, `/login${query}`)).cookies;
    assert.equal((await service.get(token)).id, user);
    assert.equal((await visit(port, `/everywhere${query}`)).body, "1", user);
    assert.deepEqual(await service.get(token), {});
  }
});

test("a value that is not a user id is refused at login, and an id counts in its stored form", async () => {
  class ObjectId {
    toJSON() {
      return "65f0aa";
    }
  }
  const user = (session) => session.passport?.user;
  const { port } = await serve({ ...options, user }, (app) => {
    app.get("/login", (req, res) => {
      req.session.passport = { user: req.query.u === "ObjectId" ? new ObjectId() : JSON.parse(req.query.u) };
      res.send("in");
    });
    app.get("/write", (req, res) => res.send(String((req.session.n = 1))));
    app.get("/logout", (req, res) => {
      delete req.session.passport;
      res.send("out");
    });
    app.use((error, req, res, next) => (res.headersSent ? next(error) : res.status(500).send(error.message)));
  });
  const before = (await service.sessions()).length;
  for (const [given, kind] of [['{"id":1,"name":"Ann Smith"}', "object"], ["[1]", "object"], ["true", "boolean"], ["false", "boolean"]]) {
    const answer = await visit(port, `/login?u=${encodeURIComponent(given)}`);
    assert.deepEqual([answer.status, answer.cookies], [500, []], given);
    assert.match(answer.body, new RegExp(`^rest-sessions: the option user returned ${kind}: `));
    assert.doesNotMatch(answer.body, /Ann/);
  }
  for (const answered of [() => NaN, () => Infinity, () => 5n, () => Symbol("x"), () => () => 1]) {
    const other = await serve({ ...options, user: answered }, (app) => app.get("/", (req, res) => res.send(String((req.session.n = 1)))));
    assert.deepEqual([(await visit(other.port, "/")).status, String(answered)], [500, String(answered)]);
  }
  assert.equal((await service.sessions()).length, before);
  // Earlier versions stored objects as users. Such sessions can be read, written and ended, but not taken over.
  const old = await service.create({ "json:passport": '{"user":{"id":1}}' }, { user: "[object Object]" });
  assert.deepEqual([(await visit(port, "/write", { token: old })).body, (await service.get(old)).d.n], ["1", 1]);
  assert.equal((await visit(port, `/login?u=${encodeURIComponent('{"id":2}')}`, { token: old })).status, 500);
  assert.equal((await visit(port, "/logout", { token: old })).status, 200);
  assert.deepEqual(await service.get(old), {});
  for (const [given, id] of [["ObjectId", "65f0aa"], ["7", "7"], ['"ann"', "ann"], ["0", "0"]]) {
    const [token] = (await visit(port, `/login?u=${given}`)).cookies;
    assert.equal((await service.get(token)).id, id);
    assert.deepEqual((await visit(port, "/write", { token })).cookies, [], "the same user after it was stored");
  }
  for (const none of ["null", '""']) {
    assert.match((await service.get((await visit(port, `/login?u=${none}`)).cookies[0])).id, /^anonymous:/);
  }
  const ours = await serve(options, (app) => app.get("/", (req, res) => res.send(typeof (req.session.user_id = new ObjectId()))));
  assert.equal((await service.get((await visit(ours.port, "/")).cookies[0])).id, "65f0aa");
});

test("each session without a user gets its own id, and no user can have such an id", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/write", (req, res) => res.send(String((req.session.n = Date.now()))));
    app.get("/login", (req, res) => res.send((req.session.user_id = req.query.u)));
    app.use((error, req, res, next) => (res.headersSent ? next(error) : res.status(500).send(error.message)));
  });
  const tokens = [];
  for (let i = 0; i < 2; i += 1) tokens.push((await visit(port, "/write")).cookies[0]);
  const ids = await Promise.all(tokens.map(async (token) => (await service.get(token)).id));
  for (const id of ids) assert.match(id, /^anonymous:[0-9a-f]{16}$/);
  assert.notEqual(ids[0], ids[1]);
  const old = await service.create({ n: 1 }, { user: "anonymous" });
  assert.deepEqual([(await visit(port, "/write", { token: old })).cookies, (await service.get(old)).id], [[], "anonymous"]);
  for (const user of ["anonymous", "anonymous:1"]) {
    for (const token of [undefined, old]) {
      const answer = await visit(port, `/login?u=${user}`, { token });
      assert.deepEqual([answer.status, answer.cookies], [500, []]);
      assert.match(answer.body, /the user ids anonymous/);
    }
  }
});

test("no client address makes a request fail", async () => {
  const { port } = await serve(options, (app) => app.get("/", (req, res) => res.send(String((req.session.a = 1)))));
  const cases = {
    "203.0.113.7": "203.0.113.7", "203.0.113.7:51234": "203.0.113.7", "[2001:db8::1]:51234": "2001:db8::1", "[2001:db8::1]": "2001:db8::1",
    "2a02:8109:8a40:1f4c:9d5b:37f2:aa0b:4c11": "2a02:8109:8a40:1f4c:9d5b:37f2:aa0b:4c11", "fe80::1%eth0": "fe80::1%eth0",
    [`fe80::1%${"z".repeat(64)}`]: `fe80::1%${"z".repeat(64)}`, [`fe80::1%${"z".repeat(65)}`]: "fe80::1", [`[fe80::1%${"z".repeat(70)}]:80`]: "fe80::1",
    unknown: "0.0.0.0",
    _hidden: "0.0.0.0", "": "127.0.0.1", "1.2.3.4.5": "0.0.0.0", "x\ty": "0.0.0.0", [`${"9".repeat(300)}`]: "0.0.0.0", "[": "0.0.0.0", "é": "0.0.0.0",
  };
  for (const [sent, stored] of Object.entries(cases)) {
    const answer = await visit(port, "/", { headers: { "X-Forwarded-For": sent } });
    assert.equal(answer.status, 200, sent);
    assert.equal((await service.get(answer.cookies[0])).ip, stored, sent);
  }
});
