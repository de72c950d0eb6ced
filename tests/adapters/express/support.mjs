// Shared by the tests of the Express adapter: starts the service and apps, and sends requests.
//
// Environment: BINARY, the program; EXPRESS and EXPRESS_SESSION, the packages in ../node_modules to test with.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const repo = path.resolve(here, "../../..");
const modules = path.resolve(here, "../node_modules");

export const folder = mkdtempSync(path.join(tmpdir(), "express-"));
export const ends = []; // clean-up functions, called in reverse order
after(async () => {
  for (const end of ends.reverse()) await end();
  rmSync(folder, { recursive: true, force: true });
});

// Copies the adapter into its own folder, as users do, and links the packages under their usual names.
mkdirSync(`${folder}/node_modules`);
const packages = { express: process.env.EXPRESS, "express-session": process.env.EXPRESS_SESSION };
for (const name of ["express", "express-session", "passport", "compression"]) {
  symlinkSync(path.join(modules, packages[name] || name), `${folder}/node_modules/${name}`);
}
copyFileSync(`${repo}/adapters/express/rest-sessions-store.mjs`, `${folder}/rest-sessions-store.mjs`);
export const { restSessions, RestSessionsStore } = await import(`${folder}/rest-sessions-store.mjs`);
const require = createRequire(`${folder}/`);
export const express = require("express");
export const session = require("express-session");
export const passport = require("passport");
export const compression = require("compression");
export const cookieCases = JSON.parse(readFileSync(`${repo}/tests/cookies.json`, "utf8"));

export const TOKEN = /^[A-Za-z0-9]{64}$/;
export const DEAD = "D".repeat(64);

// Starts the service. Returns functions that call, stop and restart it.
export async function startService() {
  const port = await freePort();
  const data = mkdtempSync(path.join(folder, "data-"));
  const env = { PATH: process.env.PATH, RS_PORT: String(port), RS_DATA_DIR: data, RS_DRAIN_DELAY: "0", RS_THREADS: "1" };
  let process_;
  const service = {
    port,
    url: `http://127.0.0.1:${port}`,
    async up() {
      process_ = spawn(process.env.BINARY, { env, stdio: "ignore" });
      await until(async () => (await visit(port, "/readyz")).status === 200, "the service");
    },
    async down() {
      if (process_?.exitCode !== null) return;
      process_.kill();
      await once(process_, "exit");
    },
    async ask(method, path, body) {
      const text = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
      const answer = await visit(port, path, { method, body: text });
      if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${answer.body}`);
      return JSON.parse(answer.body);
    },
    async create(d, { user = "ann", ttl = 7200 } = {}) {
      return (await service.ask("PUT", `/shop/create/${encodeURIComponent(user)}?ip=192.0.2.1&ttl=${ttl}`, d)).token;
    },
    get: (token) => service.ask("GET", `/shop/get/${token}`),
    kill: (token) => service.ask("DELETE", `/shop/kill/${token}`),
    sessions: async () => (await service.ask("GET", "/shop/soapp?dt=2147483647")).sessions,
    of: async (user) => (await service.ask("GET", `/shop/soid/${encodeURIComponent(user)}`)).sessions,
  };
  ends.push(service.down);
  await service.up();
  return service;
}

// Starts an app with these options and the handlers that `routes` adds. Errors become the body {error, status}.
export async function serve(options, routes, { before, trust = true, middleware } = {}) {
  const app = express();
  app.set("env", "test"); // keeps Express from logging errors
  if (trust) app.set("trust proxy", true);
  before?.(app);
  app.use(middleware ?? restSessions({ app: "shop", ...options }));
  routes(app);
  return listen(app);
}

export async function listen(handler) {
  const server = http.createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { server, port: server.address().port };
}

// Sends one request on a new connection.
export function visit(port, path, { method = "GET", token, body, headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const cookie = token ? { Cookie: `session=${token}` } : {};
    const type = body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const options = { port, host: "127.0.0.1", method, path, agent: false };
    const request = http.request({ ...options, headers: { ...type, ...cookie, ...headers } }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const lines = (response.headers["set-cookie"] ?? []).filter((line) => line.startsWith("session="));
        const tokens = lines.map((line) => /^session=([^;]*)/.exec(line)[1]);
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode, headers: response.headers, body: text, cookies: tokens, lines });
      });
    });
    request.on("error", reject);
    request.setTimeout(5_000, () => request.destroy(new Error(`${path}: no response`)));
    request.end(body);
  });
}

// A proxy in front of the service. It forwards requests unless `decide` returns a status, "cut" to close the
// connection before the request is forwarded, or "lose" to close it after that, without a response.
export async function gateway(service, decide) {
  const { server, port } = await listen((req, res) => {
    const verdict = decide(req);
    if (verdict === "cut") return req.socket.destroy();
    if (typeof verdict === "number") return res.writeHead(verdict, { "Content-Type": "application/json" }).end('{"name":"x","message":"y"}');
    const { method, url, headers } = req;
    const onward = http.request({ port: service.port, host: "127.0.0.1", method, path: url, headers, agent: false }, (answer) => {
      if (verdict === "lose") return answer.on("end", () => req.socket.destroy()).resume();
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    onward.on("error", () => req.socket.destroy());
    req.pipe(onward);
  });
  return { server, port, url: `http://127.0.0.1:${port}` };
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function until(condition, what) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await Promise.resolve().then(condition).catch(() => false);
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(20);
  }
}

// Sends a request and disconnects as soon as `gone` is true.
export async function leave(port, path, token, gone) {
  const socket = net.connect(port, "127.0.0.1");
  const cookie = token ? `Cookie: session=${token}\r\n` : "";
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${cookie}\r\n`);
  await until(gone, "the request to begin");
  socket.destroy();
}

// Collects the adapter's process warnings from now on.
export function warnings() {
  const said = [];
  process.on("warning", (warning) => warning.name === "RestSessions" && said.push(warning.message));
  return said;
}
