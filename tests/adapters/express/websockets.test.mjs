// Tests of requests without a response: WebSocket upgrades, and the stubs that libraries pass to middleware.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { test } from "node:test";
import { promisify } from "node:util";
import { DEAD, gateway, listen, restSessions, startService, until, warnings } from "./support.mjs";

const service = await startService();
const options = { url: service.url, app: "shop", cookie: { secure: false } };

// Stubs that are passed instead of a response.
const STAND_INS = {
  nothing: () => undefined,
  "an empty object": () => ({}),
  "a ServerResponse": (req) => new http.ServerResponse(req),
  // The stub of socket.io's engine.
  "some methods": (req, socket) => ({ setHeader() {}, getHeader() {}, removeHeader() {}, write() {}, writeHead() {}, end: () => socket.destroy() }),
};

// Starts a server whose upgrades run the middleware and then `work`, whose result is sent to the client.
async function upgrades(middleware, work, standIn = STAND_INS["an empty object"]) {
  const { server, port } = await listen((req, res) => res.end());
  server.on("upgrade", (req, socket) => {
    socket.on("error", () => {});
    const say = (what) => socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${JSON.stringify(what) ?? ""}`);
    const res = standIn(req, socket);
    middleware(req, res, async (error) => {
      res?.writeHead?.(200); // as socket.io's engine does
      if (error) return say({ error: error.message });
      say(await work(req).catch(({ message }) => ({ error: message })));
    });
  });
  return async (token, cookie = token && `session=${token}`) => {
    const headers = { Connection: "Upgrade", Upgrade: "websocket", ...(cookie && { Cookie: cookie }) };
    const request = http.get({ port, host: "127.0.0.1", headers, agent: false });
    request.setTimeout(10_000, () => request.destroy(new Error("no response")));
    const [response] = await once(request, "response");
    let text = "";
    for await (const chunk of response) text += chunk;
    return text === "" ? undefined : JSON.parse(text);
  };
}

const save = (req) => promisify(req.session.save).call(req.session);

test("a WebSocket can read, change and end a session with any response stub", async () => {
  const work = {
    read: async (req) => req.session.a,
    save: async (req) => {
      req.session.b = 2;
      await save(req);
      req.session.b = 3;
      await save(req);
      return req.session.a;
    },
    reload: async (req) => {
      await promisify(req.session.reload).call(req.session);
      req.session.c = 4;
      await save(req);
      return req.session.a;
    },
    destroy: (req) => promisify(req.session.destroy).call(req.session).then(() => 1),
  };
  const kinds = [{}, { rolling: true, saveUninitialized: true, resave: true }, { unset: "destroy" }];
  for (const [name, standIn] of Object.entries(STAND_INS)) {
    for (const more of kinds) {
      const middleware = restSessions({ ...options, ...more });
      for (const [what, expected] of [["read", { a: 1 }], ["save", { a: 1, b: 3 }], ["reload", { a: 1, c: 4 }], ["destroy", undefined]]) {
        const open = await upgrades(middleware, work[what], standIn);
        const token = await service.create({ a: 1 });
        assert.equal(await open(token), 1, `${name} ${what}`);
        assert.deepEqual((await service.get(token)).d, expected, `${name} ${what}`);
        const second = await service.create({ a: 1 });
        assert.equal(await open(undefined, `session=${DEAD}; session=${second}`), 1, `${name} ${what} after a dead cookie`);
      }
    }
  }
});

test("a WebSocket creates no session, and a save that needs a new one fails", async () => {
  const change = {
    new: (session) => (session.a = 1),
    user: (session) => (session.user_id = "bob"),
    maxAge: (session) => (session.cookie.maxAge = 99_000),
  };
  for (const [name, standIn] of Object.entries(STAND_INS)) {
    const middleware = restSessions({ ...options, saveUninitialized: true });
    for (const [what, work] of Object.entries(change)) {
      const token = what === "new" ? undefined : await service.create({ user_id: "ann" });
      const before = (await service.sessions()).length;
      const open = await upgrades(middleware, async (req) => (work(req.session), await save(req), "saved"), standIn);
      assert.match((await open(token)).error, /a WebSocket upgrade has no response/, `${name} ${what}`);
      const loud = await upgrades(middleware, async (req) => (work(req.session), "not saved"), standIn);
      assert.equal(await loud(token), "not saved");
      const fresh = await upgrades(middleware, async (req) => {
        await promisify(req.session.regenerate).call(req.session);
        work(req.session);
        await save(req);
      }, standIn);
      assert.match((await fresh()).error, /a WebSocket upgrade has no response/);
      assert.equal((await service.sessions()).length, before, `${name} ${what}`);
      if (token) assert.equal((await service.get(token)).d.user_id, "ann");
    }
  }
});

test("an unsupported call on a WebSocket is reported and does not end the process", async () => {
  let down = false;
  const between = await gateway(service, () => (down ? 503 : undefined));
  const said = warnings();
  const middleware = restSessions({ ...options, url: between.url });
  const token = await service.create({ a: 1 });
  down = true;
  const open = await upgrades(middleware, async () => "open");
  assert.match((await open(token)).error, /503/);
  assert.match((await open(undefined, `session=${DEAD}; session=${token}`)).error, /503/);
  assert.equal(await open(), "open");
  down = false;
  for (const method of ["save", "destroy"]) {
    const unheard = await upgrades(middleware, async (req) => {
      down = true;
      req.session.a = 2;
      req.session[method]();
      return "open";
    });
    const before = said.length;
    assert.equal(await unheard(token), "open");
    await until(() => said.length > before, "a warning");
    assert.match(said.at(-1), /503/);
    down = false;
  }
  const failing = restSessions({ ...options, cookie: () => { throw new Error("no options"); } });
  assert.deepEqual(await (await upgrades(failing, async () => "open"))(token), { error: "no options" });
});

test("middleware that runs after the response has started creates no session", async () => {
  const middleware = restSessions(options);
  let error;
  const { port } = await listen((req, res) => {
    res.write("begun");
    middleware(req, res, () => {
      req.session.a = 1;
      req.session.save((failed) => res.end(String(Boolean((error = failed)))));
    });
  });
  const before = (await service.sessions()).length;
  const response = await fetch(`http://127.0.0.1:${port}/`);
  assert.equal(await response.text(), "beguntrue");
  assert.match(error.message, /the response had started/);
  assert.equal((await service.sessions()).length, before);
});
