// Tests of connections over a faulty network. A server between the adapter, or the Node client of the example, and the
// service injects each fault.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import net from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { SessionClient } from "../../../examples/shared-login/node/session-client.mjs";
import { DEAD, ends, folder, gateway, RestSessionsStore, startService, until } from "./support.mjs";

const service = await startService();

// A TCP proxy in front of the service. `on` can intercept the bytes of a connection.
async function wire({ host = "127.0.0.1", on = () => {} } = {}) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    const onward = net.connect(service.port, "127.0.0.1");
    const state = { socket, onward, count: sockets.size + 1, silent: false };
    sockets.add(state);
    socket.on("data", (chunk) => on(state, chunk.toString()) || state.silent || onward.write(chunk));
    onward.on("data", (chunk) => state.silent || socket.write(chunk));
    for (const [one, other] of [[socket, onward], [onward, socket]]) one.on("error", () => {}).on("close", () => other.destroy());
  });
  server.listen(0, host);
  await once(server, "listening");
  ends.push(() => {
    for (const { socket } of sockets) socket.destroy();
    server.close();
  });
  return { sockets, port: server.address().port, url: `http://127.0.0.1:${server.address().port}` };
}

// Adapts the calls of both to one interface.
const clients = {
  adapter(url) {
    const store = new RestSessionsStore({ url, app: "shop" });
    const [get, set, kill] = ["get", "set", "destroy"].map((name) => promisify(store[name]).bind(store));
    return {
      get: async (token) => (await get(token))?.a,
      kill,
      killsoid: (user) => store.logoutEverywhere(user),
      set: async (token, a) => {
        const session = await get(token);
        session.a = a;
        return () => set(token, session);
      },
    };
  },
  example(url) {
    const client = new SessionClient(url, "shop");
    return {
      get: async (token) => (await client.get(token))?.d.a,
      kill: (token) => client.kill(token),
      killsoid: (user) => client.killsoid(user),
      set: async (token, a) => {
        await client.get(token);
        return () => client.set(token, { a });
      },
    };
  },
};
const unavailable = (error) => {
  assert.ok(error.status === 503 || error.constructor.name === "SessionOutage", String(error));
  assert.doesNotMatch(`${error.message} ${JSON.stringify(error)}`, /[A-Za-z0-9]{64}|\/shop/);
  return true;
};

for (const [name, make] of Object.entries(clients)) {
  test(`${name}: connections are reused, and each carries one call at a time`, async () => {
    const { url, sockets } = await wire();
    const client = make(url);
    const tokens = await Promise.all([1, 2, 3, 4].map((a) => service.create({ a })));
    for (let i = 0; i < 5; i += 1) assert.equal(await client.get(tokens[0]), 1);
    assert.equal(sockets.size, 1);
    for (let i = 0; i < 50; i += 1) assert.deepEqual(await Promise.all(tokens.map((token) => client.get(token))), [1, 2, 3, 4]);
    assert.ok(sockets.size <= 4, `${sockets.size}`);
  });

  test(`${name}: a connection that the service has closed causes no error`, async () => {
    const between = await wire();
    const client = make(between.url);
    const token = await service.create({ a: 1 });
    for (const close of [(socket) => socket.end(), (socket) => socket.resetAndDestroy(), (socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n")]) {
      assert.equal(await client.get(token), 1);
      const set = await client.set(token, 1);
      const closeAll = async () => {
        for (const { socket } of between.sockets) if (!socket.destroyed) close(socket);
        await until(() => [...between.sockets].every(({ socket }) => socket.destroyed), "the connections to end");
        await sleep(50); // until the other end has processed the close
      };
      await closeAll();
      await set();
      await closeAll();
      assert.equal(await client.get(token), 1);
    }
  });

  test(`${name}: an idempotent call is retried once on a new connection`, async () => {
    const between = await wire({ on: (state, text) => state.cut?.test(text) && state.socket.destroy() });
    const client = make(between.url);
    for (const [cut, call] of [[/^GET/, "get"], [/^DELETE .*kill\//, "kill"], [/^DELETE .*killsoid/, "killsoid"]]) {
      const token = await service.create({ a: 1 }, { user: `cut-${name}` });
      await client.get(token);
      for (const state of between.sockets) state.cut = cut;
      await client[call](call === "killsoid" ? `cut-${name}` : token);
      if (call !== "get") assert.deepEqual(await service.get(token), {});
    }
  });

  test(`${name}: a change that was sent is not retried`, async () => {
    let sets = 0;
    const lost = await gateway(service, (req) => (req.method === "POST" && (sets += 1) ? "lose" : undefined));
    const client = make(lost.url);
    const set = await client.set(await service.create({ a: 1 }), 2);
    await assert.rejects(set, unavailable);
    assert.equal(sets, 1);
  });

  test(`${name}: a silent connection causes one retry of a get`, async () => {
    const between = await wire();
    const client = make(between.url);
    const token = await service.create({ a: 1 });
    await client.get(token);
    for (const state of between.sockets) state.silent = true;
    assert.equal(await client.get(token), 1);
    assert.equal(between.sockets.size, 2);
  });

  test(`${name}: one deadline bounds the whole call`, async () => {
    const drip = await wire({
      on: ({ socket }) => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{");
        const timer = setInterval(() => socket.write(" "), 100);
        socket.on("close", () => clearInterval(timer));
        return true;
      },
    });
    const began = performance.now();
    await assert.rejects(make(drip.url).get(DEAD), unavailable);
    const took = performance.now() - began;
    assert.ok(took > 4000 && took < 15_000, `${took} ms`);
  });

  test(`${name}: an invalid response counts as an outage, and its connection is not reused`, async () => {
    const answers = [
      "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"secret\"", "nonsense\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\n{}",
      "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "",
    ];
    for (const answer of answers) {
      const between = await wire({ on: ({ socket, count }) => count === 1 && socket.end(answer) });
      const client = make(between.url);
      await assert.rejects(client.get(DEAD), (error) => {
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
      assert.equal(await client.get(await service.create({ a: 5 })), 5);
    }
  });

  test(`${name}: a refused connection is an outage without delay`, async () => {
    const closed = net.createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address();
    await new Promise((resolve) => closed.close(resolve));
    const client = make(`http://127.0.0.1:${port}`);
    await assert.rejects(client.get(DEAD), unavailable);
  });
}

// Resolves a name to two addresses by a hosts file that only the child process sees.
test("the client tries every address of a name", async (context) => {
  const token = await service.create({ a: 1 });
  writeFileSync(`${folder}/hosts`, "127.0.0.1 localhost\n127.0.0.1 sessions.test\n127.0.0.2 sessions.test\n");
  for (const host of ["127.0.0.1", "127.0.0.2"]) {
    const url = `http://sessions.test:${(await wire({ host })).port}`;
    const code = `
      const { RestSessionsStore } = await import("${folder}/rest-sessions-store.mjs");
      const { SessionClient } = await import("${new URL("../../../examples/shared-login/node/session-client.mjs", import.meta.url)}");
      console.log((await new SessionClient("${url}", "shop").get("${token}")).d.a);
      new RestSessionsStore({ url: "${url}", app: "shop" }).get("${token}", (error, data) => console.log(data.a));`;
    writeFileSync(`${folder}/names.mjs`, code);
    const command = `mount --bind ${folder}/hosts /etc/hosts || exit 77; exec "$0" ${folder}/names.mjs`;
    const child = spawn("unshare", ["--mount", "sh", "-c", command, process.execPath], { stdio: ["ignore", "pipe", "pipe"] });
    child.on("error", () => {});
    ends.push(() => void child.kill());
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    await new Promise((resolve) => child.on("close", resolve).on("error", resolve));
    if (child.exitCode === 77 || child.pid === undefined || /unshare failed/.test(text)) return context.skip(`needs root and mount namespaces: ${text}`);
    assert.equal(text, "1\n1\n", host);
  }
});

test("worker threads and the main thread do not share connections", async () => {
  const token = await service.create({ a: 1 });
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.adapter).then(({ RestSessionsStore }) => {
      const store = new RestSessionsStore({ url: workerData.url, app: "shop" });
      store.get(workerData.token, (error, data) => parentPort.postMessage(error ? error.message : data.a));
    });`;
  const data = { adapter: `${folder}/rest-sessions-store.mjs`, url: service.url, token };
  const answers = await Promise.all(
    [1, 2].map(async () => (await once(new Worker(code, { eval: true, workerData: data }), "message"))[0]),
  );
  assert.deepEqual(answers, [1, 1]);
});

test("an idle connection does not keep the process alive", async () => {
  const token = await service.create({ a: 1 });
  const code = `
    const { RestSessionsStore } = await import("${folder}/rest-sessions-store.mjs");
    new RestSessionsStore({ url: "${service.url}", app: "shop" }).get("${token}", (error, data) => console.log(data.a));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  ends.push(() => void child.kill());
  let text = "";
  child.stdout.on("data", (chunk) => (text += chunk));
  await until(() => child.exitCode === 0, "the process to end");
  assert.equal(text, "1\n");
  await sleep(0);
});
