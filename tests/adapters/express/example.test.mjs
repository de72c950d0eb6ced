// Tests that the Node part of examples/shared-login behaves like the adapters and leaves no orphaned session.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { cookieCases, DEAD, ends, freePort, gateway, startService, until, visit } from "./support.mjs";

const service = await startService();
let fails = () => false;
const between = await gateway(service, (req) => (fails(req) ? 503 : undefined));
const port = await freePort();
const program = fileURLToPath(new URL("../../../examples/shared-login/node/app.mjs", import.meta.url));
const child = spawn(process.execPath, [program], { env: { PATH: process.env.PATH, SESSIONS_URL: between.url, PORT: String(port) }, stdio: "ignore" });
ends.push(() => void child.kill());
await until(async () => (await visit(port, "/none")).status === 404, "the program");

const session = (name) => service.ask("PUT", `/site/create/${name}?ip=192.0.2.1`, { name, role: "reader", visits: 0 });
const post = (path, form = {}, { token, ip = "203.0.113.7" } = {}) => {
  const headers = { Origin: "https://x", Host: "x", "X-Forwarded-Proto": "https", "X-Real-IP": ip, "Content-Type": "application/x-www-form-urlencoded" };
  return visit(port, path, { method: "POST", body: new URLSearchParams(form).toString(), token, headers });
};
const login = (options) => post("/node/login", { name: "eve", role: "reader", password: "demo" }, options);
const sessions = async () => (await service.ask("GET", "/site/soapp?dt=2147483647")).sessions;
const alive = async (token) => "id" in (await service.ask("GET", `/site/get/${token}`));

test("the table of cookies", async () => {
  const tokens = { ann: (await session("ann")).token, bob: (await session("bob")).token, dead: DEAD };
  for (const { name, lines, who } of cookieCases) {
    const sent = lines.map((line) => line.replace(/\{(\w+)\}/g, (_, key) => tokens[key])).join("; ");
    const { body } = await visit(port, "/node/", { headers: { Cookie: sent } });
    assert.equal(/Hello, (\w+)/.exec(body)?.[1] ?? null, who, name);
  }
});

test("login from any address", async () => {
  for (const [ip, stored] of [["[2001:db8::1]:443", "2001:db8::1"], ["198.51.100.7:1234", "198.51.100.7"], ["unknown", "0.0.0.0"]]) {
    const [token] = (await login({ ip })).cookies;
    assert.equal((await service.ask("GET", `/site/get/${token}`)).ip, stored);
  }
});

test("a login that cannot end the old session leaves no new one", async () => {
  const { token } = await session("old");
  const before = (await sessions()).length;
  fails = (req) => req.url.endsWith(`/kill/${token}`);
  const refused = await login({ token });
  fails = () => false;
  assert.deepEqual([refused.status, refused.cookies, (await sessions()).length], [503, [], before]);
  const accepted = await login({ token });
  assert.deepEqual([accepted.status, await alive(token), (await sessions()).length], [303, false, before]);
});

test("logout ends the live session, even if a dead cookie comes first", async () => {
  const { token } = await session("ann");
  const headers = { Origin: "https://x", Host: "x", "X-Forwarded-Proto": "https", Cookie: `session=${DEAD}; session="${token}"` };
  assert.equal((await visit(port, "/node/logout", { method: "POST", headers })).status, 303);
  assert.equal(await alive(token), false);
});
