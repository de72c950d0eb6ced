// A client for rest-sessions in one file that you can copy. Node 20 or newer, no dependencies.
//
//     const sessions = new SessionClient("http://127.0.0.1:3000", "shop");
//     const token = await sessions.create("ann", { ip: "203.0.113.7", data: { name: "Ann" } });
//     const session = await sessions.get(token); // { id: "ann", ..., d: { name: "Ann" } }, or null: no such session
//     const found = await sessions.find(request.headers.cookie, "session"); // { token, session }, or null
//
// Each call has a connection to itself. The connection is reused only after a complete response. Limit: JavaScript
// rounds integers beyond Number.MAX_SAFE_INTEGER.

import { lookup } from "node:dns/promises";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";

/** The service or its store is unreachable or too slow. Respond with 503; the sessions still exist. */
export class SessionOutage extends Error {}

/** The service rejected the request. `code` is the stable name of the error, as in openapi.yaml. */
export class SessionRefused extends Error {
  constructor(code, message) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

export class SessionClient {
  #url;
  #path;
  #timeout;
  #connections;

  /** `timeout` in milliseconds. Keep it above the service's own timeout, 2 s by default, to get its error response. */
  constructor(url, app, { timeout = 5000 } = {}) {
    this.#url = new URL(url);
    this.#path = `${this.#url.pathname.replace(/\/+$/, "")}/${app}`;
    this.#timeout = timeout;
    this.#connections = new Connections(this.#url);
  }

  /** Creates a session and returns its token, a secret for the visitor's cookie. `ttl` in seconds. */
  async create(id, { ip, data = {}, ttl }) {
    const query = new URLSearchParams({ ip: address(ip), ...(ttl !== undefined && { ttl }) });
    const { token } = await this.#ask("PUT", `create/${segment(id)}?${query}`, data);
    return token;
  }

  /** Returns the session, or null. It always has `d`, its data. */
  async get(token) {
    return isToken(token) ? toSession(await this.#ask("GET", `get/${token}`)) : null;
  }

  /**
   * Returns the session for a request's Cookie header, as { token, session }, or null. A browser may send several
   * cookies of one name, for example with an old path. The first token with a live session counts.
   */
  async find(cookies, name) {
    for (const token of tokens(cookies, name)) {
      const session = await this.get(token);
      if (session) return { token, session };
    }
    return null;
  }

  /** Adds and replaces keys of `d`; null removes a key. Returns the changed session, or null. */
  async set(token, changes) {
    return isToken(token) ? toSession(await this.#ask("POST", `set/${token}`, changes)) : null;
  }

  /** Ends the session. Returns whether there was one. */
  async kill(token) {
    return isToken(token) && (await this.#ask("DELETE", `kill/${token}`)).kill === 1;
  }

  /** Returns all sessions of an id, the most recently used first. */
  async soid(id) {
    const { sessions } = await this.#ask("GET", `soid/${segment(id)}`);
    return sessions.map(toSession);
  }

  /** Ends all sessions of an id. Returns how many there were. */
  async killsoid(id) {
    const { kill } = await this.#ask("DELETE", `killsoid/${segment(id)}`);
    return kill;
  }

  async #ask(method, path, body) {
    const { status, text } = await this.#send(method, path, body === undefined ? undefined : JSON.stringify(body));
    const answer = parse(text);
    if (!answer) throw new SessionOutage(`status ${status} without JSON`);
    if (status === 200) return answer;
    if (status >= 500) throw new SessionOutage(`status ${status}, ${answer.name}`);
    throw new SessionRefused(answer.name, answer.message);
  }

  /** Retries once on a new connection if a reused one fails and the request is idempotent or was not sent. */
  async #send(method, path, body) {
    const deadline = performance.now() + this.#timeout;
    const repeatable = method === "GET" || method === "DELETE";
    // Lets Node process pending closes first, because a create or set must not be sent twice.
    if (!repeatable) await new Promise((resolve) => setImmediate(resolve));
    try {
      return await this.#exchange(method, path, body, deadline, repeatable);
    } catch (failure) {
      if (!failure.reused || (failure.sent && !repeatable)) throw failure.outage;
      this.#connections.drop(0);
    }
    try {
      return await this.#exchange(method, path, body, deadline, false);
    } catch (failure) {
      throw failure.outage;
    }
  }

  #exchange(method, path, body, deadline, repeatable) {
    this.#connections.drop(IDLE);
    const headers = { Host: this.#url.host };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      headers["Content-Length"] = Buffer.byteLength(body);
    }
    return new Promise((resolve, reject) => {
      const target = { method, path: `${this.#path}/${path}`, headers };
      const request = http.request({ agent: this.#connections, deadline, ...target });
      const timers = [];
      let sentBefore = 0;
      let open = true;
      const end = () => {
        open = false;
        timers.forEach(clearTimeout);
      };
      const fail = (why) => {
        if (!open) return;
        end();
        const sent = !request.socket || request.socket.bytesWritten !== sentBefore;
        request.destroy();
        reject({ outage: new SessionOutage(why), reused: request.reusedSocket, sent });
      };
      // Why setImmediate: if the process was busy, the timer is late, and a response that has arrived must win.
      const after = (ms, why) => timers.push(setTimeout(() => setImmediate(fail, why), Math.max(ms, 0)));
      after(deadline - performance.now(), "too slow");
      request.on("error", (error) => fail(error.code ?? error.name));
      request.on("socket", (socket) => {
        if (!request.reusedSocket) return;
        sentBefore = socket.bytesWritten;
        if (repeatable) after(SILENCE, "silent");
      });
      request.on("response", (response) => {
        clearTimeout(timers[1]);
        const chunks = [];
        let size = 0;
        response.on("data", (chunk) => {
          size += chunk.length;
          if (size > LIMIT) fail("too long");
          else chunks.push(chunk);
        });
        response.on("error", (error) => fail(error.code ?? error.name));
        response.on("close", () => fail("incomplete"));
        response.on("end", () => {
          if (!response.complete || !open) return;
          end();
          resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString() });
        });
      });
      request.end(body);
    });
  }
}

const SILENCE = 2000; // ms without a response after which a reused connection counts as dead (idempotent calls)
const IDLE = 15_000; // ms after which an idle connection is closed instead of reused
const LIMIT = 16 * 2 ** 20; // bytes: maximum size of a response body

/** Pool of idle connections. It closes one that was idle for too long or that received unsolicited bytes. */
class Connections extends http.Agent {
  #url;
  #idleSince = new WeakMap(); // socket => when it became idle
  #closeOnData = function () {
    this.destroy();
  };

  constructor(url) {
    super({ keepAlive: true, scheduling: "lifo", timeout: IDLE });
    this.#url = url;
  }

  drop(ms) {
    const now = performance.now();
    for (const socket of Object.values(this.freeSockets).flat()) {
      if (now - this.#idleSince.get(socket) >= ms) socket.destroy();
    }
  }

  createConnection({ deadline }, callback) {
    connect(this.#url, deadline).then(
      (socket) => setImmediate(callback, null, socket),
      (error) => setImmediate(callback, error),
    );
  }

  keepSocketAlive(socket) {
    if (!super.keepSocketAlive(socket)) return false;
    this.#idleSince.set(socket, performance.now());
    socket.on("data", this.#closeOnData);
    return true;
  }

  reuseSocket(socket, request) {
    socket.off("data", this.#closeOnData);
    super.reuseSocket(socket, request);
  }
}

/** Tries the addresses of a name in order. Each but the last gets half of the remaining time. */
async function connect({ protocol, hostname, port }, deadline) {
  const host = hostname.replace(/^\[|\]$/g, "");
  const secure = protocol === "https:";
  const target = { port: port || (secure ? 443 : 80) };
  if (secure && !net.isIP(host)) target.servername = host;
  const addresses = net.isIP(host) ? [{ address: host }] : await lookup(host, { all: true });
  let failed;
  for (const [index, { address }] of addresses.entries()) {
    const left = deadline - performance.now();
    if (left <= 0) break;
    const ms = index === addresses.length - 1 ? left : left / 2;
    try {
      return await open(secure ? tls : net, { ...target, host: address }, ms);
    } catch (error) {
      failed = error;
    }
  }
  throw failed ?? tooSlow();
}

function open(kind, target, ms) {
  return new Promise((resolve, reject) => {
    const socket = kind.connect(target);
    socket.setNoDelay(true);
    const timer = setTimeout(() => socket.destroy(tooSlow()), ms);
    const closed = () => {
      clearTimeout(timer);
      reject(Object.assign(new Error("closed"), { code: "ECONNRESET" }));
    };
    socket.once("error", reject);
    socket.once("close", closed);
    socket.once(kind === tls ? "secureConnect" : "connect", () => {
      clearTimeout(timer);
      socket.off("error", reject);
      socket.off("close", closed);
      resolve(socket);
    });
  });
}

function tooSlow() {
  return Object.assign(new Error("too slow"), { code: "ETIMEDOUT" });
}

/** Whether a text has the form of a token. Why: a cookie is untrusted input and must not get into a path. */
function isToken(text) {
  return /^[A-Za-z0-9]{64}$/.test(text ?? "");
}

/** Returns the first four tokens in the cookies of a name. Proxies and gateways join header lines by a comma. */
function tokens(cookies = "", name) {
  const found = new Set();
  for (const cookie of cookies.split(/[;,]/)) {
    const at = cookie.indexOf("=");
    if (at < 0 || cookie.slice(0, at).trim() !== name) continue;
    const value = cookie.slice(at + 1).trim().replace(/^"(.*)"$/, "$1");
    if (isToken(value)) found.add(value);
  }
  return [...found].slice(0, 4);
}

function toSession(answer) {
  return Object.keys(answer).length ? { d: {}, ...answer } : null;
}

/** Encodes an id as a path segment. Escapes . and .., which are dot segments; fetch would resolve even the escapes. */
function segment(id) {
  try {
    return encodeURIComponent(id).replace(/^\.{1,2}$/, (dots) => "%2E".repeat(dots.length));
  } catch {
    throw new SessionRefused("invalidFormat", "the id contains a lone surrogate");
  }
}

/** Converts a client address to the form that the service accepts. Proxies add ports and brackets. */
function address(text) {
  const ip = String(text ?? "").trim().replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1");
  return net.isIP(ip) ? ip : "0.0.0.0";
}

/** Parses JSON; null if it is invalid. Why: an error from JSON.parse would quote the text, which may hold a token. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
