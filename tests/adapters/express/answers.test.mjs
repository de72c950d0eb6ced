// Tests that the response is buffered until the session is stored, and that an error response replaces it completely.

import assert from "node:assert/strict";
import { createReadStream, writeFileSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { compression, express, folder, gateway, leave, passport, serve, startService, TOKEN, until, visit, warnings } from "./support.mjs";

const service = await startService();
const options = { url: service.url, cookie: { secure: false } };
const LONG = "hello, visitor ".repeat(2000);

test("saveUninitialized: a request without a write gets a session, its cookie and the complete response", async () => {
  const { port } = await serve({ ...options, saveUninitialized: true }, (app) => {
    app.get("/send", (req, res) => res.send(LONG));
    app.get("/redirect", (req, res) => res.redirect("/send"));
    app.get("/stream", (req, res) => {
      res.write("a");
      setTimeout(() => res.end("b"), 20);
    });
  });
  for (const [path, status, body] of [["/send", 200, LONG], ["/redirect", 302], ["/stream", 200, "ab"]]) {
    for (const token of [undefined, "A".repeat(64)]) {
      const answer = await visit(port, path, { token });
      assert.equal(answer.status, status);
      if (body) assert.equal(answer.body, body);
      assert.equal(answer.cookies.length, 1);
      assert.match((await service.get(answer.cookies[0])).id, /^anonymous:[0-9a-f]{16}$/);
    }
  }
});

test("saveUninitialized: over plain http no session is created and no error is raised", async () => {
  const { port } = await serve({ url: service.url, saveUninitialized: true }, (app) => {
    app.get("/", (req, res) => res.send("hello"));
    app.get("/regenerate", (req, res, next) => req.session.regenerate((error) => (error ? next(error) : res.send("new"))));
    app.get("/write", (req, res) => {
      req.session.a = 1;
      res.send("written");
    });
  });
  const before = (await service.sessions()).length;
  for (const [path, status] of [["/", 200], ["/regenerate", 200], ["/write", 500]]) {
    const answer = await visit(port, path);
    assert.deepEqual([answer.status, answer.cookies], [status, []], path);
  }
  assert.equal((await service.sessions()).length, before);
});

test("regenerate() without a later write ends the old session and sends the complete response", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res, next) => req.session.regenerate((error) => (error ? next(error) : res.send(LONG))));
  });
  for (const token of [undefined, "A".repeat(64), await service.create({ user_id: "ann" })]) {
    const answer = await visit(port, "/", { token });
    assert.deepEqual([answer.status, answer.body], [200, LONG]);
    assert.match(answer.cookies[0], TOKEN);
    assert.equal((await service.get(answer.cookies[0])).d, undefined);
    if (token) assert.deepEqual(await service.get(token), {});
  }
});

test("passport: login creates one session for the user, logout ends it", async () => {
  const auth = new passport.Passport();
  auth.serializeUser((user, done) => done(null, user.id));
  auth.deserializeUser((id, done) => done(null, { id }));
  const user = (session) => session.passport?.user;
  const { port } = await serve({ ...options, user }, (app) => {
    app.use(auth.initialize(), auth.session());
    app.get("/login", (req, res, next) => req.login({ id: "ann@passport" }, (e) => (e ? next(e) : res.redirect("/"))));
    app.get("/logout", (req, res, next) => req.logout((e) => (e ? next(e) : res.redirect("/"))));
    app.get("/", (req, res) => res.json(req.user ?? null));
  });
  const login = await visit(port, "/login");
  assert.deepEqual([login.status, login.cookies.length], [302, 1]);
  const [token] = login.cookies;
  assert.equal((await visit(port, "/", { token })).body, '{"id":"ann@passport"}');
  const again = await visit(port, "/login", { token });
  assert.deepEqual([(await service.of("ann@passport")).length, await service.get(token)], [1, {}]);
  const logout = await visit(port, "/logout", { token: again.cookies[0] });
  assert.equal(logout.status, 302);
  assert.equal((await service.of("ann@passport")).length, 0);
  assert.equal((await visit(port, "/", { token: logout.cookies.at(-1) })).body, "null");
});

test("the app sees a buffered response as sent", async () => {
  const seen = [];
  const { port } = await serve(options, (app) => {
    app.get("/end", (req, res) => {
      req.session.a = 1;
      res.statusCode = 201;
      res.end("one");
      seen.push(res.headersSent, res.writableEnded, res.end("two"));
      assert.throws(() => res.setHeader("X-Late", "1"), { code: "ERR_HTTP_HEADERS_SENT" });
      assert.throws(() => res.removeHeader("Date"), { code: "ERR_HTTP_HEADERS_SENT" });
      res.statusCode = 500;
      res.on("finish", () => seen.push(res.headersSent, res.writableEnded));
    });
    app.get("/head", (req, res) => {
      req.session.a = 1;
      res.writeHead(202, { "Content-Type": "text/plain", "Set-Cookie": "mine=1" });
      seen.push(res.headersSent, res.writableEnded);
      assert.throws(() => res.writeHead(200), { code: "ERR_HTTP_HEADERS_SENT" });
      res.end("head");
    });
    app.get("/untouched", (req, res) => {
      res.end("one");
      res.end("two");
    });
  });
  const answer = await visit(port, "/end");
  assert.deepEqual([answer.status, answer.body, answer.cookies.length], [201, "one", 1]);
  assert.deepEqual(seen.splice(0), [true, true, false, true, true]);
  const head = await visit(port, "/head");
  assert.deepEqual([head.status, head.body, head.cookies.length, head.headers["set-cookie"].length], [202, "head", 1, 2]);
  assert.deepEqual(seen, [true, false]);
  assert.equal((await visit(port, "/untouched")).body, "one");
});

test("a closing server sends the buffered responses", async () => {
  const { port, server } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      req.session.a = 1;
      res.send("sent");
      server.close();
    });
  });
  const answer = await visit(port, "/", { headers: { Connection: "keep-alive" } });
  assert.deepEqual([answer.body, answer.cookies.length], ["sent", 1]);
});

test("a response that Node rejects becomes an error and does not end the process", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      req.session.a = 1;
      res.writeHead(200, { "X-Bad": "a\nb" }).end("fine");
    });
    app.get("/body", (req, res) => {
      req.session.a = 1;
      res.end(123);
    });
  });
  const header = await visit(port, "/");
  assert.deepEqual([header.status, header.cookies], [500, []]);
  const body = await visit(port, "/body"); // thrown to the handler, as in Node: its write is stored
  assert.deepEqual([body.status, body.cookies.length], [500, 1]);
});

test("a 503 that replaces a response contains nothing of it", async () => {
  const away = await gateway(service, (req) => (req.method === "GET" ? undefined : 503));
  let late;
  const { port } = await serve({ ...options, url: away.url }, (app) => {
    app.use(compression({ threshold: 0 }));
    app.get("/", (req, res) => {
      req.session.a = 1;
      res.cookie("flash", "saved").set({ ETag: '"x"', "Cache-Control": "public, max-age=60", "X-Mine": "1" });
      res.status(201).json({ saved: true });
    });
    app.get("/stream", async (req, res) => {
      req.session.a = 1;
      res.writeHead(200, { "Content-Length": "4", "X-Mine": "1" });
      res.write("on");
      late = sleep(300).then(() => {
        res.write("e");
        res.end("!");
      });
    });
    app.get("/pipe", (req, res) => {
      req.session.a = 1;
      createReadStream(`${folder}/big`).pipe(res);
    });
  }, { before: (app) => app.use((req, res, next) => next(void res.set("X-Before", "1"))) });
  writeFileSync(`${folder}/big`, "x".repeat(300_000));
  for (const path of ["/", "/stream", "/pipe"]) {
    for (const token of [undefined, await service.create({ b: 1 })]) {
      const answer = await visit(port, path, { token, headers: { "Accept-Encoding": "gzip" } });
      assert.equal(answer.status, 503, `${path} ${answer.body}`);
      for (const name of ["etag", "x-mine", "set-cookie", "cache-control"]) assert.equal(answer.headers[name], undefined, name);
      assert.equal(answer.headers["x-before"], "1");
      assert.doesNotMatch(answer.body, /saved|xxx/);
    }
  }
  await late;
});

test("an app's error handler can read the session, and its response has no cookie", async () => {
  const away = await gateway(service, (req) => (req.method === "GET" ? undefined : 503));
  const { port } = await serve({ ...options, url: away.url, rolling: true }, (app) => {
    app.get("/", (req, res) => {
      req.session.a = 1;
      res.send("fine");
    });
    app.use((error, req, res, next) => {
      if (res.headersSent) return next(error);
      res.status(error.status).json({ who: req.session.who });
    });
  });
  const answer = await visit(port, "/", { token: await service.create({ who: "ann" }) });
  assert.deepEqual([answer.status, answer.body, answer.cookies], [503, '{"who":"ann"}', []]);
});

test("compressed, streamed and piped responses arrive complete and with their cookie", async () => {
  writeFileSync(`${folder}/big`, "x".repeat(300_000));
  const { port } = await serve(options, (app) => {
    app.use("/zip", compression({ threshold: 0 }));
    app.use((req, res, next) => next((req.session.a = 1) && undefined));
    app.get(["/file", "/zip/file"], (req, res) => res.sendFile("big", { root: folder }));
    app.get(["/pipe", "/zip/pipe"], (req, res) => createReadStream(`${folder}/big`).pipe(res));
    app.get("/events", async (req, res) => {
      res.writeHead(200, { "Content-Type": "text/event-stream" }).flushHeaders();
      for (let i = 0; i < 3; i += 1) {
        res.write(`data: ${i}\n\n`);
        await sleep(10);
      }
      res.end();
    });
  });
  for (const path of ["/file", "/pipe", "/zip/file", "/zip/pipe"]) {
    const answer = await visit(port, path);
    assert.deepEqual([answer.status, answer.body.length, answer.cookies.length], [200, 300_000, 1], path);
  }
  const events = await visit(port, "/events");
  assert.deepEqual([events.body.match(/data/g).length, events.cookies.length], [3, 1]);
});

test("a write after the response has started logs an error and creates no session", async () => {
  const said = warnings();
  const errors = [];
  const { port } = await serve(options, (app) => {
    app.get("/write", (req, res) => {
      res.write("head");
      req.session.cart = 1;
      res.end("tail");
    });
    app.get("/login", (req, res) => {
      res.write("head");
      req.session.user_id = "late";
      res.end("tail");
    });
    app.get("/after", (req, res) => {
      res.end("all");
      req.session.cart = 1;
      req.session.save((error) => errors.push(error));
    });
    app.use((error, req, res, next) => next(errors.push(error) && error));
  });
  const before = (await service.sessions()).length;
  for (const path of ["/write", "/after", "/login"]) await visit(port, path).catch(() => {});
  const token = await service.create({ cart: 1 }, { user: "anonymous:1" });
  await visit(port, "/login", { token }).catch(() => {});
  await until(() => errors.length === 4 && said.length === 4, "four errors");
  for (const error of errors) assert.match(error.message, /the response had started before the session was changed/);
  assert.equal((await service.sessions()).length, before + 1);
  assert.equal((await service.get(token)).d.user_id, undefined);
  // A late write that needs no new cookie is stored.
  await visit(port, "/write", { token });
  assert.equal((await service.get(token)).d.cart, 1);
});

test("the writes of a handler that throws are stored", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/throw", (req) => {
      req.session.n = 1;
      throw new Error("boom");
    });
    app.get("/next", (req, res, next) => {
      req.session.n = 1;
      next(new Error("boom"));
    });
    app.get("/regenerate", (req, res, next) => {
      req.session.regenerate(() => {
        req.session.n = 1;
        next(new Error("boom"));
      });
    });
  });
  for (const path of ["/throw", "/next", "/regenerate"]) {
    for (const token of [undefined, await service.create({ cart: 1 })]) {
      const answer = await visit(port, path, { token });
      assert.equal(answer.status, 500);
      assert.equal((await service.get(answer.cookies[0] ?? token)).d.n, 1);
    }
  }
});

test("after a disconnect an existing session is stored, and no session is created", async () => {
  let began = 0;
  let ended = 0;
  const { port } = await serve(options, (app) => {
    app.use((req, res, next) => {
      began += 1;
      res.on("close", () => (ended += 1));
      next();
    });
    const gone = (call) => (req, res) => res.on("close", () => setTimeout(call, 20, req, res));
    app.get("/send", gone((req, res) => res.send(String((req.session.n = 1)))));
    app.get("/login", gone((req, res) => res.send((req.session.user_id = "gone"))));
    app.get("/saved", (req) => {
      req.session.n = 1;
      req.session.save(() => (began += 1));
    });
    app.get("/pipe", async (req, res) => {
      req.session.n = 1;
      await new Promise((resolve) => res.on("close", resolve));
      await pipeline(Readable.from(["a", "b"]), res).catch(() => {});
    });
  });
  const before = (await service.sessions()).length;
  for (const path of ["/send", "/pipe"]) {
    const token = await service.create({ cart: 1 });
    const count = began;
    await leave(port, path, token, () => began > count);
    await until(async () => (await service.get(token)).d.n === 1, `${path} to be stored`);
  }
  for (const path of ["/send", "/pipe", "/login", "/saved"]) {
    const [count, over] = [began, ended];
    await leave(port, path, undefined, () => began > count + (path === "/saved"));
    await until(() => ended > over, "the request to end");
  }
  await sleep(300);
  await until(async () => (await service.sessions()).length === before + 2, "the sessions without a cookie to end");
  assert.equal((await service.of("gone")).length, 0);
});
