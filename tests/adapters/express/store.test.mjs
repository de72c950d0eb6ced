// Tests of the store when apps call it directly.

import assert from "node:assert/strict";
import { test } from "node:test";
import { promisify } from "node:util";
import { DEAD, listen, restSessions, RestSessionsStore, serve, session, startService, visit } from "./support.mjs";

const service = await startService();
const store = new RestSessionsStore({ url: service.url, app: "shop", ttl: 600 });
const call = (method, ...args) => promisify(store[method]).apply(store, args);
const plain = ({ cookie, ...data }) => data;

test("get returns the data and a cookie, or nothing", async () => {
  const token = await service.create({ a: 1, "json:b": "[2]" });
  const got = await call("get", token);
  assert.deepEqual(plain(got), { a: 1, b: [2] });
  assert.ok(got.cookie instanceof session.Cookie);
  for (const none of [DEAD, "x", "", "../killall"]) assert.equal(await call("get", none), null);
});

test("set with a plain object replaces the stored data", async () => {
  const token = await service.create({ a: 1, "json:b": "[2]", "json:bad": "{oops", id: 7, user_id: "ann" });
  await call("set", token, { c: { d: 1 }, a: 2, user_id: "ann", cookie: {} });
  assert.deepEqual((await service.get(token)).d, { "json:bad": "{oops", id: 7, user_id: "ann", a: 2, "json:c": '{"d":1}' });
  await call("set", token, { user_id: "ann" });
  assert.deepEqual(plain(await call("get", token)), { user_id: "ann" });
});

test("set with the object from get sends only the changes", async () => {
  const token = await service.create({ a: 1, b: 2 });
  const got = await call("get", token);
  await service.ask("POST", `/shop/set/${token}`, { other: 1 });
  delete got.a;
  got.b = 3;
  await call("set", token, got);
  assert.deepEqual((await service.get(token)).d, { b: 3, other: 1 });
  const second = await service.create({ x: 1 });
  await call("set", second, got);
  assert.deepEqual((await service.get(second)).d, { b: 3 }, "another session is replaced");
});

test("set creates no orphaned session and changes no user", async () => {
  const before = (await service.sessions()).length;
  for (const sid of ["abc", DEAD]) {
    await assert.rejects(call("set", sid, { a: 1, cookie: {} }), /there is no such session/);
  }
  const token = await service.create({ user_id: "ann" });
  await assert.rejects(call("set", token, { user_id: "bob" }), /can change its user/);
  const got = await call("get", token);
  got.user_id = "bob";
  await assert.rejects(call("set", token, got), /a new token/);
  assert.deepEqual([(await service.sessions()).length, (await service.get(token)).d.user_id], [before + 1, "ann"]);
});

test("set with an expiry in the past ends the session", async () => {
  for (const expires of [new Date(0), new Date(0).toISOString()]) {
    const token = await service.create({ a: 1 });
    await call("set", token, { a: 2, cookie: { expires } });
    assert.deepEqual(await service.get(token), {});
  }
  const token = await service.create({ a: 1 });
  const got = await call("get", token);
  got.cookie.expires = new Date(0);
  await call("set", token, got);
  assert.deepEqual(await service.get(token), {});
});

test("touch renews, destroy ends, and both accept an id that is not a token", async () => {
  const token = await service.create({ a: 1 });
  const { r } = await service.get(token);
  await call("touch", token, { a: 1, cookie: {} });
  assert.equal((await service.get(token)).r, r + 2);
  await call("touch", "x", {});
  await call("destroy", "x");
  await call("destroy", token);
  await call("destroy", token);
  assert.deepEqual(await service.get(token), {});
  store.destroy(DEAD);
  store.touch(DEAD, {});
});

test("load returns a session that can be saved", async () => {
  const token = await service.create({ a: 1 });
  const loaded = await call("load", token);
  assert.deepEqual([loaded.id, loaded.a, loaded instanceof session.Session], [token, 1, true]);
  loaded.a = 2;
  await promisify(loaded.save).call(loaded);
  assert.equal((await service.get(token)).d.a, 2);
  await promisify(loaded.reload).call(loaded);
  assert.equal(await call("load", DEAD), undefined);
});

test("all, length and clear", async () => {
  await call("clear");
  for (let i = 0; i < 1100; i += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => service.create({ n: i + j }, { user: `u${i + j}` })));
  }
  const all = await call("all");
  assert.deepEqual([all.length, await call("length")], [1100, 1100]);
  assert.equal(new Set(all.map(({ n }) => n)).size, 1100);
  await call("clear");
  assert.deepEqual([await call("all"), await call("length")], [[], 0]);
});

test("all and length work with many sessions of the maximum size", async () => {
  const large = new RestSessionsStore({ url: service.url, app: "large" });
  const blob = "x".repeat(59_900);
  for (let i = 0; i < 320; i += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, j) => service.ask("PUT", `/large/create/u${i + j}?ip=192.0.2.1`, { blob })));
  }
  const all = await promisify(large.all).call(large);
  assert.deepEqual([all.length, all.every((one) => one.blob === blob), await promisify(large.length).call(large)], [320, true, 320]);
});

test("a store can be passed to the middleware, and requests can call its methods", async () => {
  const { port } = await serve(
    { app: undefined, store, cookie: { secure: false } },
    (app) => {
      app.get("/regenerate", (req, res, next) => {
        req.sessionStore.regenerate(req, (error) => (error ? next(error) : res.send(String((req.session.a = 2)))));
      });
      app.get("/reload", (req, res, next) => {
        req.session.a = 3;
        req.session.save((error) => (error ? next(error) : req.session.reload((e) => (e ? next(e) : res.send(String(req.session.a))))));
      });
      app.get("/destroy", (req, res, next) => req.sessionStore.destroy(req.sessionID, (error) => (error ? next(error) : res.send("out"))));
      app.get("/touch", (req, res) => res.send(typeof req.session.touch().cookie));
    },
  );
  const token = await service.create({ a: 1 });
  const [second] = (await visit(port, "/regenerate", { token })).cookies;
  assert.deepEqual([await service.get(token), (await service.get(second)).d, (await service.get(second)).ttl], [{}, { a: 2 }, 600]);
  const reload = await visit(port, "/reload");
  assert.deepEqual([reload.body, (await service.get(reload.cookies[0])).d], ["3", { a: 3 }]);
  assert.deepEqual([(await visit(port, "/touch", { token: second })).status, (await call("get", second)).a], [200, 2]);
  assert.equal((await visit(port, "/destroy", { token: second })).status, 200);
  assert.deepEqual(await service.get(second), {});
});

test("a response saves a session once", async () => {
  for (const path of ["/", "/regenerate"]) {
    const counted = new RestSessionsStore({ url: service.url, app: "shop" });
    let sets = 0;
    counted.set = (...args) => ((sets += 1), store.set.apply(counted, args));
    const { port } = await serve({ app: undefined, store: counted, cookie: { secure: false } }, (app) => {
      app.get("/", (req, res) => res.send(String((req.session.a = 1))));
      app.get("/regenerate", (req, res) => req.session.regenerate(() => res.send(String((req.session.a = 1)))));
    });
    const [token] = (await visit(port, path)).cookies;
    assert.deepEqual([sets, (await visit(port, "/", { token })).status, sets], [1, 200, 1], path);
  }
});

test("requests without a path, without sessionID, and without Express work", async () => {
  const middleware = restSessions({ url: service.url, app: "shop", cookie: { secure: false } });
  const { port } = await listen((req, res) => {
    const { url } = req;
    req.url = "";
    middleware(req, res, () => {
      req.session.a = 1;
      if (url === "/bogus") req.sessionID = () => {};
      res.end("ok");
    });
  });
  assert.equal((await visit(port, "/")).cookies.length, 1);
  const bogus = await visit(port, "/bogus");
  assert.deepEqual([bogus.status, bogus.cookies], [200, []]);
});

test("express-session without the adapter's middleware gets a clear error", async () => {
  const middleware = session({ store: new RestSessionsStore({ url: service.url, app: "shop" }), secret: "x", resave: false, saveUninitialized: false });
  const before = (await service.sessions()).length;
  const { port } = await serve({}, (app) => app.get("/", (req, res) => res.send(String((req.session.a = 1)))), { middleware });
  await visit(port, "/").catch(() => {});
  assert.equal((await service.sessions()).length, before);
});
