// Keeps the sessions of express-session in rest-sessions. Copy this file; README.md beside it shows its use.

import { createHmac, randomBytes, randomUUID } from "node:crypto";
import session from "express-session";

const TOKEN = /^[A-Za-z0-9]{64}$/;
const NESTED = "json:"; // what the key of a nested value begins with; the value is then JSON text
const USER_KEYS = ["user_id", "_user_id", "_auth_user_id"]; // ours, Flask-Login's, Django's
const ANONYMOUS = "anonymous";
const COOKIE = { path: "/", httpOnly: true, secure: true, sameSite: "lax" };

// The middleware, in the place of session({ ... }). It takes the options of express-session, and those of the store.
export function restSessions({ url, app, ttl, user, name = "session", cookie, ...options } = {}) {
  const store = new RestSessionsStore({ url, app, ttl, user });
  // express-session insists on a signature. It is added to what comes in and taken off what goes out (see Cookie), so
  // the cookie holds the token alone, as in every other language, and the key need not outlive this process.
  const secret = randomBytes(32).toString("hex");
  const sign = (token) => createHmac("sha256", secret).update(token).digest("base64").replace(/=+$/, "");
  const middleware = session({
    resave: false,
    saveUninitialized: false,
    ...options,
    name,
    secret,
    store,
    cookie: typeof cookie === "function" ? (req) => ({ ...COOKIE, ...cookie(req) }) : { ...COOKIE, ...cookie },
    genid: () => randomUUID(), // no token: only the service makes those, when there is something to store
  });
  const generate = store.generate; // which express-session has just set
  store.generate = (req) => {
    generate(req);
    store.adopt(req);
  };

  return (req, res, next) => {
    const cookies = req.headers.cookie;
    const token = findToken(cookies, name);
    if (token) req.headers.cookie = `${name}=${encodeURIComponent(`s:${token}.${sign(token)}`)}`;
    const restore = () => token && (req.headers.cookie = cookies);
    middleware(req, res, (error) => {
      restore();
      if (error) return next(error);
      holdAnswer(req, res, next, store);
      next();
    });
    restore();
  };
}

export class RestSessionsStore extends session.Store {
  #url;
  #ttl;
  #user;
  #known = new WeakMap(); // session => { sid, stored, texts, user }: what the service has of it

  constructor({ url = process.env.REST_SESSIONS_URL, app = process.env.REST_SESSIONS_APP, ttl, user = userOf } = {}) {
    super();
    if (!app) throw new Error("rest-sessions: name the app, as an option or in REST_SESSIONS_APP");
    this.#url = `${(url || "http://127.0.0.1:3000").replace(/\/+$/, "")}/${app}`;
    this.#ttl = ttl;
    this.#user = (session) => String(user(session) ?? ANONYMOUS);
  }

  get(sid, callback) {
    settle(this.#load(sid), callback);
  }

  set(sid, session, callback) {
    settle(this.#save(sid, session), callback);
  }

  destroy(sid, callback) {
    settle(TOKEN.test(sid) ? this.#ask("DELETE", `kill/${sid}`) : Promise.resolve(), callback);
  }

  touch(sid, session, callback) {
    settle(Promise.resolve(), callback); // the get of this request has renewed it
  }

  all(callback) {
    settle(this.#list(), callback);
  }

  length(callback) {
    settle(this.#list().then((sessions) => sessions.length), callback);
  }

  clear(callback) {
    settle(this.#ask("DELETE", "killall"), callback);
  }

  // Ends every session of a user: "log out everywhere".
  async logoutEverywhere(user) {
    return (await this.#ask("DELETE", `killsoid/${encodeURIComponent(user)}`)).kill;
  }

  // Makes req.session of what get answered.
  createSession(req, data) {
    const known = this.#known.get(data);
    this.generate(req);
    req.sessionID = known.sid;
    Object.assign(req.session, data);
    if (req.session.cookie.originalMaxAge != null) req.session.cookie.maxAge = known.ttl * 1000;
    Object.assign(this.#known.get(req.session), known);
    return req.session;
  }

  // Replaces the new req.session by one whose id becomes the token once there is one.
  adopt(req) {
    const known = { sid: req.sessionID, stored: new Map(), texts: new Map(), user: ANONYMOUS };
    const adopted = Object.create(session.Session.prototype, {
      req: { value: req },
      id: { get: () => known.sid },
    });
    req.session = Object.assign(adopted, req.session);
    Object.setPrototypeOf(adopted.cookie, Cookie.prototype);
    this.#known.set(adopted, known);
  }

  // Whether a session has something to store. What cannot be stored is for #save to refuse.
  isChanged(session) {
    if (!session) return false;
    try {
      return changes(this.#known.get(session), session).size > 0;
    } catch {
      return true;
    }
  }

  async #load(sid) {
    if (!TOKEN.test(sid)) return null;
    const { id, ttl, d } = await this.#ask("GET", `get/${sid}`);
    if (id === undefined) return null;
    const { data, stored } = decode(d);
    const texts = new Map(Object.entries(data).map(([key, value]) => [key, JSON.stringify(value)]));
    this.#known.set(data, { sid, ttl, stored, texts, user: this.#user(data) });
    return data;
  }

  // Sends the keys that have changed. A session that is new, or whose user has changed, gets a new token.
  async #save(sid, session) {
    const known = this.#known.get(session) ?? { sid, stored: new Map(), texts: new Map(), user: this.#user(session) };
    const changed = changes(known, session);
    const texts = textsOf(session);
    const user = this.#user(session);
    const old = TOKEN.test(known.sid) ? known.sid : null;
    if (changed.size === 0 && user === known.user) return;
    const stored = new Map([...known.stored, ...changed].filter(([, text]) => text !== "null"));
    if (old && user === known.user) {
      const { id } = await this.#ask("POST", `set/${old}`, changed);
      if (id === undefined) throw failure(409, "the session has ended while this request was served");
    } else {
      known.sid = await this.#create(user, session, stored);
      if (session.req) session.req.sessionID = known.sid;
      if (old) await this.#ask("DELETE", `kill/${old}`);
    }
    Object.assign(known, { stored, texts, user });
  }

  async #create(user, { req, cookie }, stored) {
    // express-session would not send the cookie, without a word: each write would then leave a session that nobody has.
    if (cookie?.secure && req && !(req.secure ?? req.socket.encrypted)) {
      throw failure(500, "the cookie is Secure and the request came by http: see `trust proxy` and X-Forwarded-Proto");
    }
    const query = new URLSearchParams({ ip: req?.ip ?? req?.socket?.remoteAddress ?? "0.0.0.0" });
    const ttl = cookie?.originalMaxAge > 0 ? cookie.originalMaxAge / 1000 : this.#ttl;
    if (ttl !== undefined) query.set("ttl", Math.min(Math.max(Math.ceil(ttl), 10), 2147483647));
    return (await this.#ask("PUT", `create/${encodeURIComponent(user)}?${query}`, stored)).token;
  }

  async #list() {
    const { sessions } = await this.#ask("GET", "soapp?dt=2147483647");
    return sessions.map(({ d }) => decode(d).data);
  }

  // No error names the path, since that holds a token.
  async #ask(method, path, entries) {
    let answer, text;
    try {
      answer = await fetch(`${this.#url}/${path}`, {
        method,
        headers: entries && { "Content-Type": "application/json" },
        body: entries && `{${Array.from(entries, ([key, value]) => `${JSON.stringify(key)}:${value}`)}}`,
        signal: AbortSignal.timeout(5000),
      });
      text = await answer.text();
    } catch (cause) {
      throw failure(503, "no answer", cause);
    }
    if (!answer.ok) throw failure(answer.status === 503 ? 503 : 500, `${answer.status} ${text.slice(0, 200)}`);
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, keepNumber));
  }
}

class Cookie extends session.Cookie {
  get data() {
    return { ...super.data, encode: unsign };
  }
}

function unsign(signed) {
  const token = signed.slice("s:".length, "s:".length + 64);
  if (!TOKEN.test(token)) throw failure(500, "the answer began before the session was saved");
  return token;
}

// express-session sends the answer and saves the session at the same time. Here the answer waits: only then can it have
// the new token in its cookie, and say that a session could not be saved.
function holdAnswer(req, res, next, store) {
  let state = "untouched"; // then perhaps "saving", then "open"
  const waiting = [];
  const open = (error) => {
    state = "open";
    if (error) {
      req.session = req.sessionID = undefined;
      return next(error);
    }
    for (const call of waiting) call();
    if (waiting.length > 0) res.emit("drain");
  };
  for (const name of ["writeHead", "flushHeaders", "write", "end"]) {
    const call = res[name];
    res[name] = (...args) => {
      if (state === "untouched") {
        state = store.isChanged(req.session) ? "saving" : "open";
        if (state === "saving") store.set(req.sessionID, req.session, open);
      }
      if (state === "open") return call.apply(res, args);
      waiting.push(() => call.apply(res, args));
      return name === "write" ? false : res;
    };
  }
}

// The keys of d that differ from what is known, each with its value as JSON text, "null" to remove it.
function changes({ texts }, session) {
  const changed = new Map();
  const put = (key, plain, nested) => {
    if (!key.startsWith(NESTED)) changed.set(key, plain); // else the plain key is another's nested one
    changed.set(NESTED + key, nested);
  };
  for (const [key, value] of Object.entries(session)) {
    if (hidden(key) || value === undefined) continue;
    const text = JSON.stringify(value);
    if (text !== undefined && text === texts.get(key)) continue;
    const checked = JSON.stringify(value, refuse(key));
    const plain = /^["\d-]|^true$|^false$/.test(checked) && !key.startsWith(NESTED);
    put(key, plain ? checked : "null", plain ? "null" : JSON.stringify(checked));
  }
  for (const key of texts.keys()) if (session[key] === undefined) put(key, "null", "null");
  return changed;
}

function textsOf(session) {
  const visible = Object.entries(session).filter(([key, value]) => !hidden(key) && value !== undefined);
  return new Map(visible.map(([key, value]) => [key, JSON.stringify(value)]));
}

// d as an app sees it, and each of its values as JSON text.
function decode(d = {}) {
  const data = {};
  const stored = new Map();
  for (const [key, value] of Object.entries(d)) {
    stored.set(key, value.number ?? JSON.stringify(value));
    const nested = key.startsWith(NESTED);
    const name = nested ? key.slice(NESTED.length) : key;
    if (hidden(name) || (nested && !name.startsWith(NESTED) && Object.hasOwn(d, name))) continue; // a plain one wins
    data[name] = nested ? JSON.parse(value) : value.number ? Number(value.number) : value;
  }
  return { data, stored };
}

// Names that a session object has for itself. Other languages may use them as keys; here they are left as they are.
function hidden(key) {
  return key === "cookie" || key === "req" || key === "id" || key in session.Session.prototype;
}

// A number that JavaScript would round, such as 9007199254740993, as an object that holds its digits.
function keepNumber(text) {
  return text.startsWith('"') || String(Number(text)) === text ? text : `{"number":"${text}"}`;
}

// A replacer for JSON.stringify that refuses what JSON would drop or change.
function refuse(name) {
  return function (key, value) {
    const is = (what) => new TypeError(`req.session.${name}: ${key ? `${key} in it` : "it"} is ${what}, not JSON`);
    if (["function", "symbol", "bigint"].includes(typeof value)) throw is(`a ${typeof value}`);
    if (value === undefined && Array.isArray(this)) throw is("undefined");
    if (typeof value === "number" && !Number.isFinite(value)) throw is(value);
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw is("an integer beyond 2^53, which is inexact");
    if (typeof value === "string" && !value.isWellFormed()) throw is("a string with half a character");
    if (value && typeof value === "object" && !Array.isArray(value)) {
      const prototype = Object.getPrototypeOf(value);
      if (prototype && Object.getPrototypeOf(prototype)) throw is(`a ${prototype.constructor.name}`);
    }
    return value;
  };
}

function userOf(session) {
  const ids = USER_KEYS.map((key) => session[key]);
  return ids.find((id) => (typeof id === "string" && id) || typeof id === "number")?.toString();
}

function findToken(cookies = "", name) {
  const values = cookies.split(";").map((cookie) => cookie.trim().split("="));
  return values.find(([key, value]) => key === name && TOKEN.test(value))?.[1];
}

function failure(status, message, cause) {
  return Object.assign(new Error(`rest-sessions: ${message}`, { cause }), { status });
}

// Calls back outside of the promise, so that what the callback throws is not taken for a failure of the store.
function settle(promise, callback = () => {}) {
  promise.then((value) => setImmediate(callback, null, value), (error) => setImmediate(callback, error));
}
