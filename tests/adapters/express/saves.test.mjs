// Tests that one login has one session and one cookie, and that an ended session never comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gateway, serve, startService, until, visit } from "./support.mjs";

const service = await startService();
const options = { url: service.url, cookie: { secure: false } };
const fails = (next, call) => (error) => (error ? next(error) : call());

test("concurrent saves that the app does not await create one session, the one in the cookie", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/save", (req, res) => {
      req.session.user_id = req.query.u;
      req.session.save();
      res.redirect("/");
    });
    app.get("/twice", (req, res) => {
      req.session.user_id = req.query.u;
      req.session.save();
      req.session.more = 1;
      req.session.save();
      setTimeout(() => res.send("ok"), 50);
    });
    app.get("/regenerate", (req, res) => {
      req.session.regenerate(() => {
        req.session.user_id = req.query.u;
        req.session.save();
      });
      res.send("ok");
    });
  });
  for (const path of ["/save", "/twice", "/regenerate"]) {
    for (const old of [undefined, await service.create({ cart: 1 }, { user: "anonymous:1" })]) {
      const user = `${path}${Boolean(old)}`;
      const answer = await visit(port, `${path}?u=${user}`, { token: old });
      assert.deepEqual([answer.cookies.length, (await service.of(user)).length], [1, 1], user);
      assert.equal((await service.get(answer.cookies[0])).id, user);
      if (old) assert.deepEqual(await service.get(old), {});
    }
  }
});

test("the response waits for a destroy that the app does not await", async () => {
  let down = false;
  const between = await gateway(service, (req) => (down && req.method === "DELETE" ? 503 : undefined));
  for (const unset of [undefined, "destroy"]) {
    const { port } = await serve({ ...options, url: between.url, unset }, (app) => {
      app.get("/destroy", (req, res) => {
        req.session.destroy();
        res.send("out");
      });
      app.get("/null", (req, res) => {
        req.session = null;
        res.send("out");
      });
    });
    for (const path of unset ? ["/destroy", "/null"] : ["/destroy"]) {
      const token = await service.create({ a: 1 });
      down = true;
      assert.equal((await visit(port, path, { token })).status, 503, "a failed logout is an error");
      down = false;
      assert.equal((await visit(port, path, { token })).status, 200);
      assert.deepEqual(await service.get(token), {});
    }
  }
});

test("if the old session cannot be ended, the login fails and the visitor keeps the old session", async () => {
  let old;
  const between = await gateway(service, (req) => (req.url.endsWith(`kill/${old}`) ? 503 : undefined));
  const { port } = await serve({ ...options, url: between.url }, (app) => {
    app.get("/login", (req, res) => {
      req.session.user_id = "kim";
      res.send("in");
    });
    app.get("/saved", (req, res, next) => {
      req.session.user_id = "kim";
      req.session.save(fails(next, () => res.send("in")));
    });
    app.get("/ignored", (req, res) => {
      req.session.user_id = "kim";
      req.session.save(() => res.send("in"));
    });
    app.get("/regenerate", (req, res, next) => {
      req.session.regenerate(fails(next, () => res.send((req.session.user_id = "kim"))));
    });
  });
  for (const path of ["/login", "/saved", "/ignored", "/regenerate"]) {
    old = await service.create({ cart: 1 }, { user: "anonymous:1" });
    const answer = await visit(port, path, { token: old });
    assert.deepEqual([answer.status, answer.cookies, (await service.of("kim")).length], [503, [], 0], path);
    assert.deepEqual((await service.get(old)).d, { cart: 1 });
  }
});

test("a new session is ended if a later step of the response fails", async () => {
  const between = await gateway(service, (req) => (req.url.includes("/set/") ? 503 : undefined));
  const { port } = await serve({ ...options, url: between.url }, (app) => {
    app.get("/", (req, res, next) => {
      req.session.user_id = "lea";
      req.session.save(fails(next, () => res.send((req.session.more = "more"))));
    });
  });
  const answer = await visit(port, "/");
  assert.deepEqual([answer.status, answer.cookies, (await service.of("lea")).length], [503, [], 0]);
});

test("a create that may have succeeded is not retried", async () => {
  let creates = 0;
  const between = await gateway(service, (req) => (req.method === "PUT" ? (creates += 1) && "lose" : undefined));
  const { port } = await serve({ ...options, url: between.url }, (app) => {
    app.get("/", (req, res) => {
      req.session.user_id = "max";
      req.session.save(() => res.send("in"));
    });
  });
  assert.deepEqual([(await visit(port, "/")).status, creates], [503, 1]);
});

test("saving a session that was ended elsewhere fails, and its cookie is not sent again", async () => {
  let token;
  const routes = (app) => {
    app.use(async (req, res, next) => next(void (await service.kill(token))));
    app.get("/write", (req, res) => res.send((req.session.a = "written")));
    app.get("/save", (req, res, next) => req.session.save(fails(next, () => res.send("saved"))));
    app.get("/maxAge", (req, res) => res.send(String((req.session.cookie.maxAge = 99_000))));
    app.get("/logout", (req, res) => {
      delete req.session.user_id;
      res.send("out");
    });
    app.get("/read", (req, res) => res.send("read"));
  };
  const plain = await serve(options, routes);
  const rolling = await serve({ ...options, rolling: true }, routes);
  const resave = await serve({ ...options, resave: true }, routes);
  const asked = [[plain, "/write"], [plain, "/save"], [plain, "/maxAge"], [plain, "/logout"], [rolling, "/read"], [resave, "/read"]];
  for (const [{ port }, path] of asked) {
    token = await service.create({ user_id: "ann", cart: 1 });
    const before = (await service.sessions()).length;
    const answer = await visit(port, path, { token });
    assert.deepEqual([answer.status, answer.cookies], [409, []], path);
    assert.equal((await service.sessions()).length, before - 1);
  }
  token = await service.create({ a: 1 });
  assert.equal((await visit(plain.port, "/read", { token })).status, 200);
});

test("the token stays the same unless the user or the ttl changes", async () => {
  const { port } = await serve({ ...options, cookie: { secure: false, maxAge: 60_000 } }, (app) => {
    app.get("/write", (req, res) => res.send(String((req.session.n = (req.session.n ?? 0) + 1))));
    app.get("/same", (req, res) => res.send(String((req.session.cookie.maxAge = 60_000))));
    app.get("/other", (req, res) => res.send(String((req.session.cookie.maxAge = 120_000))));
  });
  const [token] = (await visit(port, "/write")).cookies;
  for (const path of ["/write", "/same", "/write"]) {
    for (const sent of (await visit(port, path, { token })).cookies) assert.equal(sent, token);
  }
  const parallel = await Promise.all(Array.from({ length: 5 }, () => visit(port, "/same", { token })));
  assert.ok(parallel.every(({ status, cookies }) => status === 200 && cookies.every((sent) => sent === token)));
  const moved = (await visit(port, "/other", { token })).cookies[0];
  assert.notEqual(moved, token);
  const { ttl, d } = await service.get(moved);
  assert.deepEqual([ttl, d.n, await service.get(token)], [120, 3, {}]);
  assert.deepEqual((await visit(port, "/other", { token: moved })).cookies, []);
});

test("the token stays with the same expiry time and changes with another expiry time", async () => {
  const end = Date.now() + 60_000;
  const moments = {
    "/expires": (cookie) => (cookie.expires = new Date(end)),
    "/maxAge": (cookie) => (cookie.maxAge = end - Date.now()),
    "/whole": (cookie) => (cookie.expires = new Date(Math.floor(Date.now() / 1000) * 1000 + 3_600_000)),
    "/soon": (cookie) => (cookie.maxAge = end - 20_000 - Date.now()),
  };
  const { port } = await serve({ ...options, cookie: { secure: false, maxAge: 7200_000 } }, (app) => {
    app.get("/login", (req, res) => res.send((req.session.user_id = "fixed")));
    app.use((req, res, next) => {
      moments[req.path]?.(req.session.cookie);
      next();
    });
    app.use((req, res) => res.send(String((req.session.n = req.query.n))));
  });
  for (const path of ["/expires", "/maxAge", "/whole"]) {
    const [login] = (await visit(port, "/login")).cookies;
    const [token] = (await visit(port, path, { token: login })).cookies;
    assert.notEqual(token, login, "another lifetime than the configured one");
    // Waits until the remaining time differs in whole seconds.
    for (let n = 0; n < 4; n += 1) {
      await sleep(1100);
      const all = await Promise.all([1, 2, 3, 4].map((i) => visit(port, `${path}?n=${n}${i}`, { token })));
      for (const { status, cookies } of all) assert.ok(status === 200 && cookies.every((sent) => sent === token), `${path} ${status}`);
    }
    assert.equal((await service.of("fixed")).length, 1, path);
    if (path !== "/whole") {
      const [moved] = (await visit(port, "/soon", { token })).cookies;
      assert.ok(moved && moved !== token, "another moment");
      const [back] = (await visit(port, path, { token: moved })).cookies;
      assert.ok(back && back !== moved, "the first moment again");
      assert.deepEqual([(await service.get(token)), (await service.get(moved))], [{}, {}]);
      assert.ok((await service.get(back)).ttl < 60, "no longer than the time that remains");
    }
    await service.ask("DELETE", "/shop/killsoid/fixed");
  }
});

test("an expiry in the past ends the session", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/expires", (req, res) => res.send(String((req.session.cookie.expires = new Date(Date.now() - 1000)))));
    app.get("/maxAge", (req, res) => res.send(String((req.session.cookie.maxAge = -1))));
    app.get("/new", (req, res) => {
      req.session.a = 1;
      req.session.cookie.maxAge = 0;
      res.send("ok");
    });
  });
  for (const path of ["/expires", "/maxAge"]) {
    const token = await service.create({ a: 1 });
    assert.equal((await visit(port, path, { token })).status, 200);
    assert.deepEqual(await service.get(token), {});
  }
  const before = (await service.sessions()).length;
  assert.deepEqual((await visit(port, "/new")).cookies, []);
  assert.equal((await service.sessions()).length, before);
});

test("req.session cannot be replaced by another object", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      req.session = { user_id: "ann" };
      res.send("in");
    });
  });
  const answer = await visit(port, "/", { token: await service.create({ a: 1 }) });
  assert.deepEqual([answer.status, answer.cookies], [500, []]);
  assert.match(answer.body, /req\.session was replaced/);
});

test("a request with a session gets a 503 during an outage and works after it", async () => {
  const token = await service.create({ a: 1 });
  const { port } = await serve(options, (app) => app.get("/", (req, res) => res.send(String(req.session.a))));
  assert.equal((await visit(port, "/", { token })).body, "1");
  await service.down();
  assert.equal((await visit(port, "/", { token })).status, 503);
  assert.equal((await visit(port, "/")).status, 200, "without a cookie nothing is asked");
  await service.up();
  await until(async () => (await visit(port, "/", { token })).body === "1", "the session after the outage");
});
