// Keeps the sessions of express-session in rest-sessions. Copy this file; README.md beside it shows its use.
//
// restSessions() runs express-session with a RestSessionsStore and adds an Answer to each request, which holds the
// answer back until the session is stored: only then is its token known, and a failure can still become a 503. A
// WebSocket's request has no answer to hold back: its session can be read and changed, but no new one is created.

import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { lookup } from "node:dns/promises";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";
import session from "express-session";

const TOKEN = /^[A-Za-z0-9]{64}$/;
const NESTED = "json:"; // prefix of the key of a nested value, whose value is JSON text
const DEPTH = 100; // levels of nesting that a nested value may have: every language's parser reads them
const USER_KEYS = ["user_id", "_user_id", "_auth_user_id"]; // ours, Flask-Login's, Django's
const ANONYMOUS = "anonymous";
const UNUSABLE = "\0"; // begins what stands for a user that is no id
const COOKIE = { path: "/", httpOnly: true, secure: true, sameSite: "lax" };
const COOKIE_KEY = "_express_cookie"; // holds the cookie settings of a session for which the app changed them
const CANDIDATES = 4; // cookies of our name that are looked up

// The names of the service's errors (openapi.yaml).
const ERRORS = new Set(
  (
    "missingParameter invalidFormat invalidValue invalidJson invalidRequest unauthorized notFound methodNotAllowed " +
    "requestTimeout tooLarge uriTooLong headTooLarge unsupportedMediaType internalError storeUnavailable " +
    "notReplicated shuttingDown"
  ).split(" "),
);

const DEADLINE = 5000; // ms for one exchange with the service, all attempts and the whole body included
const SILENCE = 2000; // ms after which a reused connection counts as dead, for calls that may be repeated
const IDLE = 15_000; // ms after which an idle connection is not used any more
const LIMIT = 16 * 2 ** 20; // bytes of an answer
const EVER = 2147483647; // the largest number of seconds that the service takes
const ZONE = 64; // the most characters that the service takes as the zone id of an address
const SLACK = 60; // seconds by which a lifetime may differ without being another one
const PAGE = 100; // sessions in one answer of a list: about 6 MB if each is as large as it may be

// The middleware, in the place of session({ ... }). It takes the options of express-session, and those of the store.
export function restSessions(options = {}) {
  const { url, app, ttl, user, cookie = {}, proxy, unset, secret: _unused, ...others } = options;
  const { store = new RestSessionsStore({ url, app, ttl, user }), key, name = key ?? "session", ...rest } = others;
  const { resave = false, rolling = false, saveUninitialized = false, ...unknown } = rest;
  refuseOptions(options, unknown, name, store);

  // express-session insists on a signature. It is added to what comes in and taken off what goes out (see TokenCookie),
  // so the cookie holds the token alone, as in every other language, and the key need not outlive this process.
  const secret = randomBytes(32).toString("hex");
  const sign = (token) => createHmac("sha256", secret).update(token).digest("base64").replace(/=+$/, "");
  // Why no cookie options: Answer resolves them, with functions and "auto" alike on every version of express-session.
  const middleware = session({ resave, rolling, saveUninitialized, proxy, unset, name, secret, store, cookie: {} });
  delete store.generate; // express-session's own, which would hide the store's
  const cookieOptions = (req) => {
    const given = { ...COOKIE, ...(typeof cookie === "function" ? cookie(req) : cookie) };
    return resolved(given, isSecure(req, proxy));
  };
  if (typeof cookie !== "function") store.cookieOptions = { ...COOKIE, ...cookie };
  const settings = { cookieOptions, name, proxy, resave, rolling, saveUninitialized, unset };

  return function restSessions(req, res, next) {
    if (req.session) return next();
    let path;
    try {
      const options = cookieOptions(req);
      new TokenCookie(options); // Why: what it throws later, in a callback, would end the process
      path = options.path;
    } catch (error) {
      return next(error);
    }
    const pathname = (req.originalUrl ?? req.url).split(/[?#]/)[0] || "/";
    if (!pathname.startsWith(path || "/")) return next();
    const answer = new Answer(req, res, next, store, settings);

    const begin = (token, data) => {
      const cookies = req.headers.cookie;
      req.headers.cookie = token && `${name}=${encodeURIComponent(`s:${token}.${sign(token)}`)}`;
      const restore = () => (cookies === undefined ? delete req.headers.cookie : (req.headers.cookie = cookies));
      let restored = false;
      store.found(data, () => {
        middleware(req, answer.detached ? unsent() : res, (error) => {
          if (!restored) restore();
          restored = true;
          if (error) return next(error);
          if (req.session) answer.attach();
          next();
        });
      });
      if (!restored) restore();
      restored = true;
    };

    const tokens = findTokens(req.headers.cookie, name);
    if (tokens.length < 2) return begin(tokens[0]);
    // The promise ends in setImmediate, so that what a handler throws is not taken for a failure of the look-up.
    store.first(tokens).then(
      (data) => setImmediate(begin, data && store.tokenOf(data), data),
      (error) => setImmediate(next, error),
    );
  };
}

function refuseOptions(options, unknown, name, store) {
  const wrong = (what) => new TypeError(`restSessions: ${what}`);
  for (const option of Object.keys(unknown)) {
    if (unknown[option] === undefined) continue;
    const why = option === "genid" ? "only the service makes tokens" : "there is no such option";
    throw wrong(`${option}: ${why}`);
  }
  if (typeof name !== "string" || !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw wrong("name: not the name of a cookie");
  if (!(store instanceof RestSessionsStore)) throw wrong("store: only a RestSessionsStore, or none");
  for (const option of options.store ? ["url", "app", "ttl", "user"] : []) {
    if (options[option] !== undefined) throw wrong(`${option}: give it to the store`);
  }
  const { cookie } = options;
  if (!["function", "object", "undefined"].includes(typeof cookie)) throw wrong("cookie: not an object");
  const fault = typeof cookie !== "function" && optionsFault(name, { ...COOKIE, ...cookie });
  if (fault) throw wrong(`cookie: ${fault}`);
}

// Why no cookie with these options can be sent, whether by https or by http.
function optionsFault(name, options) {
  const { path } = options;
  if (path && !String(path).startsWith("/")) return "path: it does not begin with /";
  const faults = [true, false].map((https) => {
    try {
      const cookie = new TokenCookie(resolved(options, https));
      return isPast(cookie) ? "it would have expired when it is sent" : cookieFault(name, cookie);
    } catch (error) {
      return error.message;
    }
  });
  return faults[0] && faults[1];
}

// Cookie options without "auto".
function resolved(options, https) {
  const secure = options.secure === "auto" ? https : options.secure;
  const sameSite = options.sameSite === "auto" ? (https ? "none" : "lax") : options.sameSite;
  return { ...options, secure, sameSite };
}

// Holds an answer back until the session is stored. Meanwhile it looks sent to the app.
class Answer {
  #req;
  #res;
  #next;
  #store;
  #settings;
  #headers; // at the entry: what an error answer begins with
  #plain; // the methods of res at the entry
  #native; // the same with express-session's own in between
  #turn = 0;
  #state = "idle"; // then perhaps "held", then "sent"
  #queue = [];
  #ended = false;
  #failures = 0;
  #token; // which the visitor came with

  constructor(req, res, next, store, settings) {
    this.#req = req;
    this.#res = res;
    this.#next = next;
    this.#store = store;
    this.#settings = settings;
    // The request of a WebSocket, or a stand-in for an answer: apps and libraries pass {}, a ServerResponse without a
    // connection, or an object with only some of its methods.
    this.detached = req.upgrade === true || typeof res?.once !== "function" || typeof res.writeHead !== "function";
    store.answers.set(req, this);
    if (this.detached) return;
    if (res.headersSent) this.#state = "sent";
    this.#headers = { ...res.getHeaders?.() };
    this.#plain = methodsOf(res);
  }

  // Whether it is too late for a cookie.
  get begun() {
    return this.#state === "sent";
  }

  get gone() {
    return this.#res?.destroyed === true || this.#req.socket?.destroyed === true;
  }

  get cookieOptions() {
    return this.#settings.cookieOptions(this.#req);
  }

  // Whether the middleware is still at making the first session of the request, not a later one of regenerate().
  get entering() {
    return this.#token === undefined;
  }

  // Why a new session's cookie cannot reach the visitor, if it cannot.
  refusal(cookie) {
    if (this.detached) return failure(500, "a WebSocket has no answer that could carry a new session's cookie");
    if (this.begun) return failure(500, "the answer had begun before the session was changed: it is not stored");
    if (this.gone) return failure(499, "the visitor has gone, and nobody would have the session's cookie");
    if (cookie.secure && !isSecure(this.#req, this.#settings.proxy)) {
      const how = "see `trust proxy`, the option `proxy` and X-Forwarded-Proto";
      return failure(500, `the cookie is Secure and the request came by http: ${how}`);
    }
    return this.fault(cookie);
  }

  // Why browsers would not take a cookie, if they would not.
  fault(cookie) {
    const fault = cookieFault(this.#settings.name, cookie);
    return fault && failure(500, `the cookie cannot be sent: ${fault}`);
  }

  attach() {
    this.#token = TOKEN.test(this.#req.sessionID) ? this.#req.sessionID : null;
    this.guard(this.#req.session);
    if (this.detached) return;
    this.#native = methodsOf(this.#res);
    this.#install();
    this.#res.once("close", () => this.#closed());
  }

  // Replaces a session's save. express-session's makes a hash of the session first, and what that throws would not name
  // the key; and at the end of an answer it saves what is saved already. Where no answer waits for a save or an end,
  // and the app gives no callback, a warning tells of its failure.
  guard(saved) {
    const { save, destroy } = saved;
    const [answer, store] = [this, this.#store];
    const told = (callback) => callback ?? (answer.detached ? (error) => error && warn(error.message) : undefined);
    override(saved, "destroy", {
      writable: true,
      value(callback, ...args) {
        return destroy.call(this, told(callback), ...args);
      },
    });
    override(saved, "save", {
      writable: true,
      value(callback, ...args) {
        if (answer.begun && !answer.detached && store.isSaved(this)) {
          callback?.();
          return this;
        }
        return (store.isStorable(this) ? save : session.Session.prototype.save).call(this, told(callback), ...args);
      },
    });
  }

  // Replaces the methods of res. An error's answer gets new ones, apart from all that has wrapped the ones before:
  // compression, for example, would put the rest of the failed answer into it.
  #install() {
    const turn = (this.#turn += 1);
    for (const name of Object.keys(this.#native)) {
      this.#res[name] = (...args) => {
        if (turn === this.#turn) return this.#called(name, args);
        return name === "write" ? false : this.#res;
      };
    }
  }

  #called(name, args) {
    const res = this.#res;
    // Node would refuse it too, but only after the wait, outside of every try block.
    if ((name === "write" || name === "end") && !isChunk(args[0])) {
      const error = new TypeError('The "chunk" argument must be of type string or an instance of Buffer or Uint8Array');
      throw Object.assign(error, { code: "ERR_INVALID_ARG_TYPE" });
    }
    if (this.#state === "idle") {
      let work;
      try {
        work = this.#due() ? this.#settle() : null;
      } catch (error) {
        work = Promise.reject(error);
      }
      if (work) this.#wait(work);
      else this.#state = "sent";
    }
    if (this.#state === "sent") {
      // Why: the handler of an answer that failed may go on writing, into the error's answer that has ended.
      if (this.#failures > 0 && res.writableEnded) return name === "write" ? false : res;
      return this.#call(name, args);
    }
    if (name === "writeHead" && this.#queue.length > 0) throw headersSent("write");
    if (name === "end" && this.#ended) return false;
    if (name === "flushHeaders" && this.#queue.length > 0) return undefined;
    this.#queue.push([name, args]);
    if (name === "end") {
      this.#ended = true;
      // Not `finished`: a server that closes would take the connection for idle.
      override(res, "writableEnded", { get: () => true });
    }
    return name === "write" ? false : res;
  }

  // While the head is written, express-session must see no id but a token, since it sends what it sees.
  #call(name, args) {
    const req = this.#req;
    const id = req.sessionID;
    const hide = !this.#res.headersSent && !TOKEN.test(id);
    if (hide) req.sessionID = undefined;
    try {
      return this.#native[name].apply(this.#res, args);
    } finally {
      if (hide && req.sessionID === undefined) req.sessionID = id;
    }
  }

  #wait(work) {
    const res = this.#res;
    this.#state = "held";
    const { statusCode, statusMessage } = res;
    override(res, "headersSent", { get: () => true });
    for (const name of ["setHeader", "setHeaders", "appendHeader", "removeHeader"]) {
      const verb = name === "removeHeader" ? "remove" : name === "appendHeader" ? "append" : "set";
      if (res[name]) override(res, name, { value: () => { throw headersSent(verb); } });
    }
    const over = () => {
      for (const restore of Object.values(res[OVERRIDDEN])) restore();
      Object.assign(res, { statusCode, statusMessage });
    };
    // Outside of the promise, so that what is thrown is no unhandled rejection.
    work.then(
      () => setImmediate(() => (over(), this.#release())),
      async (error) => {
        await this.#store.abandon(this.#req);
        setImmediate(() => {
          over();
          const [name, args] = this.#queue[0];
          // An error page that the app has made, perhaps of this very error, is as good as another.
          if ((name === "writeHead" ? args[0] : statusCode) < 500) return this.#fail(error);
          warn(error.message);
          this.#release();
        });
      },
    );
  }

  #release() {
    this.#state = "sent";
    if (this.gone) this.#store.undelivered(this.#req);
    const queue = this.#queue.splice(0);
    let flows = true;
    try {
      for (const [name, args] of queue) {
        const result = this.#call(name, args);
        if (name === "write") flows = result;
      }
    } catch (error) {
      // What Node refuses of the answer, a bad header for example, would have been thrown to the app.
      this.#store.abandon(this.#req);
      this.#native = this.#plain; // express-session takes this answer for ended
      return this.#fail(error);
    }
    if (flows && !this.#ended) this.#res.emit("drain");
  }

  // Gives the request to the app's error handlers, with nothing left of the answer that they replace.
  #fail(error) {
    const [req, res] = [this.#req, this.#res];
    this.#queue.length = 0;
    this.#ended = false;
    this.#failures += 1;
    if (error.status === 499) {
      this.#state = "sent";
      return;
    }
    this.#state = "idle";
    this.#install();
    if (!res.headersSent) {
      const names = Object.keys({ ...res.getHeaders(), ...this.#headers });
      for (const name of names) {
        const value = this.#headers[name];
        if (value === undefined) res.removeHeader(name);
        else if (value !== res.getHeader(name)) res.setHeader(name, value);
      }
      res.statusCode = error.status ?? 500;
      res.statusMessage = undefined;
    }
    if (this.#failures === 1) return this.#next(error);
    this.#state = "sent"; // An error handler whose answer fails too has had its chance.
    if (!res.headersSent) this.#call("end", []);
  }

  // A session is stored although its visitor has gone, as long as no new cookie is needed.
  #closed() {
    if (this.#state !== "idle") return;
    Promise.resolve(this.#due() ? this.#settle() : undefined).then(
      () => this.#store.undelivered(this.#req),
      (error) => error.status === 499 || warn(error.message),
    );
  }

  // Whether there is something to wait for.
  #due() {
    const req = this.#req;
    if (this.#underway()) return true;
    if (!req.session) return this.#settings.unset === "destroy" && TOKEN.test(req.sessionID);
    if (typeof req.sessionID !== "string") return false; // as express-session
    return this.#store.isDue(req.session, this.#settings);
  }

  #underway() {
    return this.#store.underway(this.#req.session, this.#req.sessionID, this.#token);
  }

  async #settle() {
    const req = this.#req;
    // What the app did not wait for itself. It may have gone on to change req.session in a callback.
    for (let pending; (pending = this.#underway()); ) await pending;
    if (!this.#due()) return;
    if (!req.session) {
      await this.#store.end(req.sessionID);
      req.sessionID = undefined; // else express-session ends it again
      return;
    }
    if (!this.#store.has(req.session)) {
      throw failure(500, "req.session was replaced: change its keys instead, or use regenerate()");
    }
    // express-session's save, which remembers that it has saved, unless the app has put something else in its place.
    const { save } = typeof req.session.save === "function" ? req.session : session.Session.prototype;
    await new Promise((resolve, reject) => {
      save.call(req.session, (error) => (error ? reject(error) : resolve()));
    });
  }
}

function isChunk(chunk) {
  return chunk == null || ["string", "function"].includes(typeof chunk) || chunk instanceof Uint8Array;
}

function methodsOf({ writeHead, flushHeaders, write, end }) {
  return { writeHead, flushHeaders, write, end };
}

// Stands in for a response that does not exist: what express-session sends to it is dropped.
function unsent() {
  return { writeHead() {}, write() {}, end() {} };
}

const OVERRIDDEN = Symbol("what restores the overridden properties");

// Gives an object a property of its own until it is restored.
function override(object, name, property) {
  const before = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { configurable: true, ...property });
  if (!object[OVERRIDDEN]) Object.defineProperty(object, OVERRIDDEN, { value: {} });
  object[OVERRIDDEN][name] = () => {
    if (before) Object.defineProperty(object, name, before);
    else delete object[name];
    delete object[OVERRIDDEN][name];
  };
}

function headersSent(verb) {
  const error = new Error(`Cannot ${verb} headers after they are sent to the client`);
  return Object.assign(error, { code: "ERR_HTTP_HEADERS_SENT" });
}

export class RestSessionsStore extends session.Store {
  answers = new WeakMap(); // request => Answer
  cookieOptions = COOKIE; // where there is no request to resolve them for
  #service;
  #app;
  #ttl;
  #user;
  #found; // what the next get answers
  #ending = new Map(); // sid => the promise of its destroy
  // session => what the service has of it: { sid, names, ttl, stored, texts, user }, and for req.session also
  // { cookie, defaults, baseline }: the cookie and its settings, as configured and as at the beginning of the request.
  #known = new WeakMap();

  constructor({ url = process.env.REST_SESSIONS_URL, app = process.env.REST_SESSIONS_APP, ttl, user = userOf } = {}) {
    super();
    if (!app) throw new Error("rest-sessions: name the app, as an option or in REST_SESSIONS_APP");
    if (!/^[\w-]{3,20}$/.test(app)) throw new TypeError("rest-sessions: app: 3 to 20 letters, digits, _ and -");
    if (ttl !== undefined && !(ttl > 0)) throw new TypeError("rest-sessions: ttl: not a number of seconds above 0");
    if (typeof user !== "function") throw new TypeError("rest-sessions: user: not a function");
    this.#service = new Service(url || "http://127.0.0.1:3000");
    this.#app = app;
    this.#ttl = ttl;
    this.#user = (session) => userId(user(session));
  }

  // express-session's stores

  get(sid, callback) {
    const found = this.#found;
    this.#found = undefined;
    settle(found ? Promise.resolve(found) : this.#load(sid), callback);
  }

  set(sid, session, callback) {
    settle(this.#save(sid, session), callback);
  }

  destroy(sid, callback) {
    const done = settle(this.end(sid), callback);
    this.#ending.set(sid, done);
    const forget = () => this.#ending.get(sid) === done && this.#ending.delete(sid);
    done.then(forget, forget);
  }

  touch(sid, session, callback) {
    // In a request the get has renewed it.
    const renewed = !TOKEN.test(sid) || (this.#known.has(session) && session.req);
    settle(renewed ? Promise.resolve() : this.#ask("GET", `get/${sid}`).then(() => {}), callback);
  }

  // The sessions as an array. They have no ids, since the service lists no tokens.
  all(callback) {
    settle(this.#list(), callback);
  }

  length(callback) {
    settle(this.#list().then((sessions) => sessions.length), callback);
  }

  clear(callback) {
    settle(this.#ask("DELETE", "killall").then(() => {}), callback);
  }

  regenerate(req, callback) {
    this.destroy(req.sessionID, (error) => {
      // After a failure the old session lives on, and stays the one of the request.
      try {
        if (!error) this.generate(req);
      } catch (failed) {
        return callback(failed); // the app's function of cookie options
      }
      callback(error);
    });
  }

  // Gives a request a session without a token. Only the service makes those, when there is something to store.
  generate(req) {
    const answer = this.answers.get(req);
    const known = { sid: randomUUID(), names: new Set(), stored: new Map(), texts: new Map(), user: null };
    const later = answer?.entering === false;
    this.#adopt(req, { ...known, empty: later });
    if (later) answer.guard(req.session);
  }

  // Makes req.session of what get answered.
  createSession(req, data) {
    const known = this.#known.get(data);
    if (!known) {
      this.generate(req);
      const { cookie: _, ...plain } = data;
      return Object.assign(req.session, plain);
    }
    this.#adopt(req, { ...known, names: new Set() });
    const { cookie: _, ...plain } = data;
    Object.assign(req.session, plain);
    const answer = this.answers.get(req);
    if (answer?.entering === false) answer.guard(req.session);
    return req.session;
  }

  // Ends every session of a user: "log out everywhere".
  async logoutEverywhere(user) {
    return (await this.#ask("DELETE", `killsoid/${segment(user)}`)).kill;
  }

  // What Answer asks

  has(session) {
    return this.#known.has(session);
  }

  tokenOf(session) {
    return this.#known.get(session).sid;
  }

  // Calls a function whose get answers what is there already.
  found(data, call) {
    this.#found = data;
    try {
      call();
    } finally {
      this.#found = undefined;
    }
  }

  // The first of some tokens that has a session.
  async first(tokens) {
    for (const token of tokens) {
      const data = await this.#load(token);
      if (data) return data;
    }
    return null;
  }

  // A promise of what still goes on with a session.
  underway(session, ...sids) {
    return this.#known.get(session)?.saving ?? sids.map((sid) => this.#ending.get(sid)).find(Boolean);
  }

  isStorable(session) {
    try {
      return Boolean(this.#compare(this.#known.get(session), session));
    } catch {
      return false;
    }
  }

  isSaved(session) {
    return this.isStorable(session) && !this.isDue(session, {});
  }

  // Whether a session is to be saved before the answer begins.
  isDue(session, { resave, rolling, saveUninitialized }) {
    const known = this.#known.get(session);
    if (!known) return true; // for #settle to refuse
    if (known.over) return false;
    try {
      const { changed, user, moves, ends } = this.#compare(known, session);
      if (changed.size > 0 || user !== known.user || moves || ends) return true;
    } catch {
      return true; // for #save to refuse
    }
    if (TOKEN.test(known.sid)) return (resave || rolling) && !known.verified;
    // Without anything to store and without a way to send a cookie, there is neither a session nor an error.
    known.empty ||= saveUninitialized;
    return known.empty && !this.answers.get(session.req).refusal(known.cookie);
  }

  // Ends what a failed request has made, and keeps its session readable but out of every further save.
  async abandon(req) {
    const known = this.#known.get(req.session);
    if (!known) req.session = undefined;
    // With a cookie that express-session can touch, whatever the app has made of it.
    else Object.assign(known, { over: true, cookie: new TokenCookie({}) });
    req.sessionID = undefined;
    await this.undelivered(req);
  }

  // Ends a session that was made in a request and whose cookie was not sent.
  async undelivered(req) {
    const known = this.#known.get(req.session);
    if (!known?.made) return;
    known.over = true;
    await this.end(known.sid).catch(() => {}); // it expires
  }

  async end(sid) {
    if (TOKEN.test(sid)) await this.#ask("DELETE", `kill/${sid}`);
  }

  #adopt(req, known) {
    const options = this.answers.get(req)?.cookieOptions ?? this.cookieOptions;
    known.cookie = new TokenCookie(options);
    known.defaults = settingsOf(known.cookie);
    if (known.ttl !== undefined) setCookie(known.cookie, known.stored, known.ttl);
    known.baseline = { ...settingsOf(known.cookie), until: ownSettings(known.stored).until };
    const adopted = Object.create(session.Session.prototype, {
      req: { value: req },
      id: { get: () => known.sid },
      cookie: {
        configurable: true,
        enumerable: true,
        get: () => known.cookie,
        set: (cookie) => (known.cookie = tokenCookie(cookie)),
      },
    });
    this.#known.set(adopted, known);
    req.sessionID = known.sid;
    req.session = adopted;
  }

  async #load(sid) {
    if (!TOKEN.test(sid)) return null;
    const { id, ttl, d } = await this.#ask("GET", `get/${sid}`);
    if (id === undefined) return null;
    const { data, stored } = decode(d);
    const texts = new Map(Object.entries(data).map(([key, value]) => [key, JSON.stringify(value)]));
    data.cookie = new TokenCookie(this.cookieOptions);
    setCookie(data.cookie, stored, ttl);
    this.#known.set(data, { sid, names: new Set(), ttl, stored, texts, user: this.#user(data) });
    return data;
  }

  // Saves of one session run one after another, so that no two of them create it.
  #save(sid, session) {
    const known = this.#known.get(session);
    if (!known || (known.sid !== sid && !known.names.has(sid))) return this.#replace(sid, session);
    const run = () => this.#update(known, session);
    const saving = known.saving ? known.saving.then(run, run) : run();
    known.saving = saving;
    const done = () => known.saving === saving && (known.saving = undefined);
    saving.then(done, done);
    return saving;
  }

  // How a session differs from what the service has of it.
  #compare(known, session) {
    const { changed, texts } = changes(known, session);
    const user = this.#user(session);
    if (!known.cookie) return { changed, texts, user, ends: isPast(session.cookie) };
    const ends = isPast(known.cookie);
    const now = { ...settingsOf(known.cookie), until: endOf(known.cookie) };
    const { baseline, stored, defaults } = known;
    // Why: towards a fixed end, the time that remains differs in each request, and the lifetime is still the same.
    const sameAge = isNear(now.maxAge, baseline.maxAge, baseline) || isNear(now.until, baseline.until, baseline);
    const { maxAge, until } = sameAge ? baseline : now;
    const kept = { ...now, maxAge, until };
    const before = stored.get(NESTED + COOKIE_KEY) ?? "null";
    const marker = same(baseline, kept) ? before : markerOf(kept, defaults);
    if (marker !== before) changed.set(NESTED + COOKIE_KEY, marker);
    const ttl = this.#ttlOf(known, now);
    const moves = !sameAge && ttl !== undefined && ttl !== known.ttl;
    // A new token is stored with the time that remains.
    const fresh = { baseline: now, marker: markerOf(now, defaults) };
    const anew = same(baseline, now) ? { baseline, marker: before } : fresh;
    return { changed, texts, user, ends, moves, ttl, kept, anew };
  }

  // Sends what has changed. A session that is new, or whose user or ttl has changed, gets a new token.
  async #update(known, session) {
    if (known.over) return;
    const { changed, texts, user, ends, moves, ttl, kept, anew } = this.#compare(known, session);
    const exists = TOKEN.test(known.sid);
    const creates = exists ? moves || user !== known.user : changed.size > 0 || user !== known.user || known.empty;
    if (ends) {
      known.over = true;
      return this.end(known.sid);
    }
    const fault = changed.has(NESTED + COOKIE_KEY) && this.answers.get(session.req)?.fault(known.cookie);
    if (fault) throw fault;
    if (creates && anew) changed.set(NESTED + COOKIE_KEY, anew.marker);
    const stored = new Map([...known.stored, ...changed].filter(([, text]) => text !== "null"));
    if (creates) await this.#create(known, session, user, stored, ttl);
    else if (!exists) return;
    else if (changed.size > 0) this.#alive(await this.#ask("POST", `set/${known.sid}`, changed));
    else if (!known.verified && !this.answers.get(session.req)?.begun) {
      // Why: a save is told of an end elsewhere even if it changes nothing.
      this.#alive(await this.#ask("GET", `get/${known.sid}`));
    }
    Object.assign(known, { stored, texts, user, verified: true }, kept && { baseline: creates ? anew.baseline : kept });
  }

  async #create(known, { req, cookie }, user, stored, ttl) {
    const answer = this.answers.get(req);
    const refusal = answer ? answer.refusal(cookie) : failure(500, "a new token needs an answer to carry its cookie");
    if (refusal) {
      if (answer?.begun) warn(refusal.message); // a save without a callback tells nobody
      throw refusal;
    }
    if (user?.startsWith(UNUSABLE)) {
      const [, kind] = user.split(UNUSABLE);
      throw failure(500, `the option user answered: ${kind}, and not a string, a finite number or nothing`);
    }
    if (user === ANONYMOUS || user?.startsWith(`${ANONYMOUS}:`)) {
      throw failure(500, `the user id ${ANONYMOUS} and those that begin with ${ANONYMOUS}: mean no user`);
    }
    if (known.doubt) throw known.doubt; // the attempt before may have made a session after all
    const old = TOKEN.test(known.sid) ? known.sid : null;
    const query = new URLSearchParams({ ip: visitorAddress(req.ip ?? req.socket?.remoteAddress) });
    if (ttl !== undefined) query.set("ttl", ttl);
    const id = user ?? `${ANONYMOUS}:${randomBytes(8).toString("hex")}`;
    let token;
    try {
      const create = (d) => this.#ask("PUT", `create/${segment(id)}?${query}`, d);
      // A number beyond range, which nobody can read, may be stored but not be accepted again.
      const readable = new Map([...stored].filter(([, text]) => !/^-?\d/.test(text) || Number.isFinite(Number(text))));
      ({ token } = await create(stored).catch((error) => {
        if (!error.refused || readable.size === stored.size) throw error;
        return create(readable);
      }));
      if (!TOKEN.test(token)) throw failure(503, "an answer without a token");
      // One login, one session: without the end of the old one there is no new one.
      if (answer.gone) throw answer.refusal(cookie);
      if (old) {
        const { kill, repeated } = await this.#ask("DELETE", `kill/${old}`);
        // A login may follow an end. Anything else would bring the data of an ended session back.
        if (kill === 0 && !repeated && (known.user !== null || user === null)) throw ended();
      }
    } catch (error) {
      if (error.status === 503) known.doubt = error;
      if (TOKEN.test(token)) await this.end(token).catch(() => {}); // it expires
      throw error;
    }
    Object.assign(known, { sid: token, ttl, made: true });
    known.names.add(old);
    if (req.session && this.#known.get(req.session) === known) req.sessionID = token;
  }

  // Replaces the data of a session by that of an object that no get has answered.
  async #replace(sid, session) {
    const data = await this.#load(sid);
    if (!data) throw failure(409, "there is no such session, and only a request under restSessions() makes one");
    if (isPast(session.cookie)) return this.end(sid);
    const known = this.#known.get(data);
    if (this.#user(session) !== known.user) throw failure(500, "the user of a session changes only in its own request");
    const { changed } = changes(known, session);
    if (changed.size > 0) this.#alive(await this.#ask("POST", `set/${sid}`, changed));
  }

  #alive({ id }) {
    if (id === undefined) throw ended();
  }

  // The ttl in seconds for a cookie's settings, undefined for the service's own.
  #ttlOf(known, { maxAge }) {
    const ttl = maxAge > 0 ? maxAge : (this.#ttl ?? known.defaults?.maxAge ?? undefined);
    return ttl === undefined ? ttl : clamp(ttl);
  }

  async #list() {
    const all = [];
    let cursor;
    do {
      const answer = await this.#ask("GET", `soapp?dt=${EVER}&limit=${PAGE}${cursor ? `&cursor=${cursor}` : ""}`);
      for (const { d } of answer.sessions) all.push(decode(d).data);
      cursor = answer.cursor;
    } while (cursor);
    return all;
  }

  async #ask(method, path, entries) {
    const body = entries && `{${Array.from(entries, ([key, value]) => `${JSON.stringify(key)}:${value}`)}}`;
    const { status, text, repeated } = await this.#service.ask(method, `${this.#app}/${path}`, body);
    // No error names the path, since that holds a token, or quotes an answer that is no JSON.
    let answer;
    try {
      answer = JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, keepNumber));
    } catch {
      throw failure(503, `${status} and an answer that is not JSON`);
    }
    if (status === 200 && answer && typeof answer === "object") return repeated ? { ...answer, repeated } : answer;
    // What else an answer says may quote the path: it need not come from the service.
    const name = ERRORS.has(answer?.name) ? answer.name : "and an answer that is not the service's";
    const refusal = failure(status === 503 ? 503 : 500, `${status} ${name}`);
    throw Object.assign(refusal, { refused: status === 400 });
  }
}

// Exchanges with the service. Each has a connection for itself, which is kept for the next one only after a complete
// answer. Why not fetch: it takes the ids . and .. for steps in a path.
class Service {
  #url;
  #agent;
  #prefix;
  #headers;

  constructor(url) {
    this.#url = URL.canParse(url) ? new URL(url) : {};
    const { protocol, search, hash, pathname, host, username, password } = this.#url;
    if (!["http:", "https:"].includes(protocol) || search || hash) {
      throw new TypeError("rest-sessions: url: not an http:// or https:// address without a query");
    }
    this.#prefix = pathname.replace(/\/+$/, "");
    this.#headers = { Host: host };
    if (username || password) {
      const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
      this.#headers.Authorization = `Basic ${Buffer.from(login).toString("base64")}`;
    }
    this.#agent = new Connections(this.#url);
  }

  async ask(method, path, body) {
    const deadline = performance.now() + DEADLINE;
    const repeatable = method === "GET" || method === "DELETE";
    // A change must not be sent into a connection that is closed already: lets Node see that first.
    if (!repeatable) await new Promise((resolve) => setImmediate(resolve));
    try {
      return await this.#exchange(method, path, body, deadline, repeatable);
    } catch (error) {
      if (!error.reused || (error.sent && !repeatable)) throw error.failure;
      this.#agent.dropIdle(0); // they are probably as dead
      try {
        return { ...(await this.#exchange(method, path, body, deadline, false)), repeated: true };
      } catch (again) {
        throw again.failure;
      }
    }
  }

  #exchange(method, path, body, deadline, repeatable) {
    this.#agent.dropIdle(IDLE);
    const headers = { ...this.#headers };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      headers["Content-Length"] = Buffer.byteLength(body);
    }
    return new Promise((resolve, reject) => {
      const request = http.request({
        agent: this.#agent,
        method,
        path: `${this.#prefix}/${path}`,
        headers,
        deadline,
      });
      let sentBefore = 0;
      let open = true;
      const timers = [];
      const end = () => {
        open = false;
        timers.forEach(clearTimeout);
      };
      const fail = (why) => {
        if (!open) return;
        end();
        const reused = request.reusedSocket;
        const sent = !request.socket || request.socket.bytesWritten !== sentBefore;
        request.destroy();
        reject({ failure: failure(503, `no answer (${why})`), reused, sent });
      };
      // A timer that is late because the process was busy must not win over an answer that has arrived meanwhile.
      const after = (ms, why) => timers.push(setTimeout(() => setImmediate(fail, why), Math.max(ms, 0)));
      after(deadline - performance.now(), "too slow");
      request.on("socket", (socket) => {
        sentBefore = request.reusedSocket ? socket.bytesWritten : 0;
        if (repeatable && request.reusedSocket) after(SILENCE, "silent");
      });
      request.on("error", (error) => fail(error.code ?? error.name));
      request.on("response", (response) => {
        if (timers[1]) clearTimeout(timers[1]);
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

// Kept connections. One that was idle for too long, or on which something has arrived unasked, is not used again.
class Connections extends http.Agent {
  #url;
  #idle = new WeakMap(); // socket => since when
  #unasked = function () {
    this.destroy();
  };

  constructor(url) {
    super({ keepAlive: true, scheduling: "lifo", timeout: IDLE });
    this.#url = url;
  }

  dropIdle(ms) {
    const now = performance.now();
    for (const socket of Object.values(this.freeSockets).flat()) {
      if (now - this.#idle.get(socket) >= ms) socket.destroy();
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
    this.#idle.set(socket, performance.now());
    socket.on("data", this.#unasked);
    return true;
  }

  reuseSocket(socket, request) {
    socket.off("data", this.#unasked);
    super.reuseSocket(socket, request);
  }
}

// Tries the addresses of a name one after another, each but the last for half of the time that is left.
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
  throw failed ?? Object.assign(new Error("too slow"), { code: "ETIMEDOUT" });
}

function open(kind, target, ms) {
  return new Promise((resolve, reject) => {
    const socket = kind.connect(target);
    socket.setNoDelay(true);
    const timer = setTimeout(() => socket.destroy(Object.assign(new Error("too slow"), { code: "ETIMEDOUT" })), ms);
    const closed = () => reject(Object.assign(new Error("closed"), { code: "ECONNRESET" }));
    socket.once("error", reject);
    socket.once("close", closed);
    socket.once(kind === tls ? "secureConnect" : "connect", () => {
      clearTimeout(timer);
      socket.off("error", reject);
      socket.off("close", closed);
      resolve(socket);
    });
    socket.once("close", () => clearTimeout(timer));
  });
}

// A cookie that is sent as the bare token.
class TokenCookie extends session.Cookie {
  get data() {
    return { ...super.data, encode: unsign };
  }
}

function unsign(signed) {
  const token = signed.startsWith("s:") ? signed.slice(2, 66) : signed;
  if (!TOKEN.test(token)) throw failure(500, "the answer began before the session was saved");
  return token;
}

function tokenCookie(cookie) {
  if (!(cookie instanceof session.Cookie)) return new TokenCookie(cookie);
  return Object.setPrototypeOf(cookie, TokenCookie.prototype);
}

// The settings of a cookie that a session may have for itself. maxAge is in seconds: express-session's own loses
// milliseconds with each request.
function settingsOf({ originalMaxAge, ...cookie }) {
  const lasts = typeof originalMaxAge === "number";
  const settings = { maxAge: lasts ? Math.max(Math.round(originalMaxAge / 1000), 1) : null };
  for (const name of Object.keys(SETTINGS)) settings[name] = cookie[name] ?? null;
  return settings;
}

const text = (value) => typeof value === "string" && /^[\x20-\x3a\x3c-\x7e]*$/.test(value);
const flag = (value) => typeof value === "boolean";
const SETTINGS = {
  path: text,
  domain: text,
  httpOnly: flag,
  secure: flag,
  partitioned: flag,
  sameSite: (value) => flag(value) || (typeof value === "string" && /^(lax|strict|none)$/i.test(value)),
  priority: (value) => typeof value === "string" && /^(low|medium|high)$/i.test(value),
};

// The settings that a stored session has for itself, as they are stored: perhaps nonsense.
function ownSettings(stored) {
  try {
    return JSON.parse(JSON.parse(stored.get(NESTED + COOKIE_KEY))) ?? {};
  } catch {
    return {};
  }
}

// What stores the settings that differ from the configured ones, as the JSON text of a JSON text. `until` is there to
// compare with, for apps that set a fixed end in each request.
function markerOf({ until, ...settings }, defaults) {
  const own = Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== defaults[name]));
  if (own.maxAge) own.until = until;
  return Object.keys(own).length > 0 ? JSON.stringify(JSON.stringify(own)) : "null";
}

// When a cookie expires, in seconds since 1970, null if it does not.
function endOf({ expires }) {
  return expires instanceof Date ? Math.round(expires.getTime() / 1000) : null;
}

// Gives a cookie the settings that a stored session has for itself. Without any it lives as long as the session.
function setCookie(cookie, stored, ttl) {
  const own = ownSettings(stored);
  for (const [name, valid] of Object.entries(SETTINGS)) {
    if (Object.hasOwn(own, name) && own[name] === null) cookie[name] = undefined;
    else if (Object.hasOwn(own, name) && valid(own[name])) cookie[name] = own[name];
  }
  if (own.maxAge === null) cookie.expires = null;
  else if (typeof own.maxAge === "number" && own.maxAge > 0 && own.maxAge <= EVER) cookie.maxAge = own.maxAge * 1000;
  else if (typeof cookie.originalMaxAge === "number") {
    // A configured age that the service rounds up is left as it is.
    if (ttl !== clamp(settingsOf(cookie).maxAge)) cookie.maxAge = ttl * 1000;
  }
}

// Why browsers would not keep a cookie (RFC 6265bis, 5.7), if they would not.
function cookieFault(name, cookie) {
  const { secure, domain, path, sameSite, partitioned } = cookie;
  const prefix = /^__(host|secure)-/i.exec(name)?.[1].toLowerCase();
  if (!secure && String(sameSite).toLowerCase() === "none") return "SameSite=None needs Secure";
  if (!secure && partitioned) return "Partitioned needs Secure";
  if (!secure && prefix) return `a name with ${name.slice(0, prefix.length + 3)} needs Secure`;
  if (prefix === "host" && (domain || path !== "/")) return "a name with __Host- needs Path=/ and no Domain";
  // Old versions of express-session send what would be other attributes.
  if (path && !text(path)) return "option path is invalid";
  if (domain && !text(domain)) return "option domain is invalid";
  try {
    cookie.serialize(name, "A".repeat(64));
  } catch (error) {
    return error.message;
  }
}

// Seconds as the service takes them.
function clamp(ttl) {
  return Math.min(Math.max(Math.ceil(ttl), 10), EVER);
}

function isPast(cookie) {
  const expires = cookie?.expires;
  return (expires instanceof Date || typeof expires === "string") && new Date(expires).getTime() <= Date.now();
}

function same(one, other) {
  return ["maxAge", ...Object.keys(SETTINGS)].every((name) => one[name] === other[name]);
}

// Whether two lifetimes, or two ends, are the same but for clocks and rounding.
function isNear(one, other, { maxAge }) {
  if (typeof one !== "number" || typeof other !== "number") return one === other;
  return Math.abs(one - other) <= Math.min(Math.max(maxAge / 10, 2), SLACK);
}

// The tokens among the cookies of a name, in their order. Proxies and gateways join header lines by a comma. Why not
// trim(): it takes off a no-break space too, and then another cookie would count here than in other languages.
function findTokens(cookies = "", name) {
  const tokens = new Set();
  for (const cookie of cookies.split(/[;,]/)) {
    const at = cookie.indexOf("=");
    if (at < 0 || trimBlanks(cookie.slice(0, at)) !== name) continue;
    const value = trimBlanks(cookie.slice(at + 1)).replace(/^"(.*)"$/, "$1");
    if (TOKEN.test(value)) tokens.add(value);
  }
  return [...tokens].slice(0, CANDIDATES);
}

// Node lets no other ASCII whitespace into a header.
function trimBlanks(text) {
  const blank = (at) => text[at] === " " || text[at] === "\t";
  let [start, end] = [0, text.length];
  while (start < end && blank(start)) start += 1;
  while (end > start && blank(end - 1)) end -= 1;
  return text.slice(start, end);
}

// As express-session decides it.
function isSecure(req, proxy) {
  if (req.socket?.encrypted) return true;
  if (proxy === false) return false;
  if (proxy !== true) return req.secure === true;
  const header = req.headers?.["x-forwarded-proto"] ?? "";
  return header.split(",")[0].trim().toLowerCase() === "https";
}

// What the service takes as an address: proxies add ports and brackets, or say that they do not know it.
function visitorAddress(text = "") {
  const ip = text.trim().replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1");
  if (!net.isIP(ip)) return "0.0.0.0";
  const [address, zone = ""] = ip.split("%");
  return zone.length > ZONE ? address : ip;
}

// An id as a part of a path. The ids . and .. would be steps in it.
function segment(id) {
  try {
    return encodeURIComponent(id).replace(/^\.{1,2}$/, (dots) => "%2E".repeat(dots.length));
  } catch {
    throw failure(500, "the user id has half a character");
  }
}

// The keys of d that differ from what is known, each with its value as JSON text, "null" to remove it; and the JSON
// text of each value of the session.
function changes(known, session) {
  const changed = new Map();
  const texts = new Map();
  const put = (key, plain, nested) => {
    if (!key.startsWith(NESTED)) changed.set(key, plain); // else the plain key is another's nested one
    changed.set(NESTED + key, nested);
  };
  for (const [key, value] of Object.entries(session)) {
    if (hidden(key) || value === undefined) continue;
    let text = quickText(value);
    if (text === undefined || text !== known.texts.get(key)) {
      text = checkedText(key, value);
      if (text === undefined) continue;
      const plain = /^["\d-]|^true$|^false$/.test(text) && !key.startsWith(NESTED);
      put(key, plain ? text : "null", plain ? "null" : JSON.stringify(text));
    }
    texts.set(key, text);
  }
  for (const key of known.texts.keys()) if (!texts.has(key)) put(key, "null", "null");
  return { changed, texts };
}

function quickText(value) {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined; // for checkedText to explain
  }
}

// JSON text of a value. What JSON cannot hold, or others cannot read, is an error that names the key.
function checkedText(key, value) {
  const wrong = (what) => new TypeError(printable(`req.session.${key}: it ${what}`));
  if (!key.isWellFormed()) throw wrong("has half a character in its key");
  let text;
  try {
    text = JSON.stringify(value, refuse(key));
  } catch (error) {
    if (error instanceof RangeError) throw wrong(`is nested more than ${DEPTH} levels deep`);
    if (error.refused) throw error;
    throw wrong(error.message.startsWith("Converting circular") ? "contains itself" : `is not JSON: ${error.message}`);
  }
  if (text !== undefined && depthOf(text) > DEPTH) throw wrong(`is nested more than ${DEPTH} levels deep`);
  return text;
}

// The levels of nesting of a JSON text.
function depthOf(text) {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quoted) {
      if (c === "\\") at += 1;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "[" || c === "{") deepest = Math.max(deepest, (depth += 1));
    else if (c === "]" || c === "}") depth -= 1;
  }
  return deepest;
}

// d as an app sees it, and each of its values as JSON text. What cannot be read is not seen, and left as it is.
function decode(d = {}) {
  const data = {};
  const stored = new Map();
  for (const [key, value] of Object.entries(d)) {
    stored.set(key, value.number ?? JSON.stringify(value));
    const nested = key.startsWith(NESTED);
    const name = nested ? key.slice(NESTED.length) : key;
    if (hidden(name) || (nested && !name.startsWith(NESTED) && Object.hasOwn(d, name))) continue; // a plain one wins
    const read = nested ? parse(value) : value.number ? Number(value.number) : value;
    if (isReadable(read)) data[name] = read;
    else warnOfKey(key);
  }
  return { data, stored };
}

// The value of a JSON text, undefined if there is none.
function parse(text) {
  if (typeof text !== "string" || depthOf(text) > DEPTH) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Whether a value of JSON has no number beyond range and no half characters.
function isReadable(value) {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value === "string") return value.isWellFormed();
  if (value === null || typeof value !== "object") return value !== undefined;
  return Object.entries(value).every(([key, inner]) => key.isWellFormed() && isReadable(inner));
}

// Names that a session object has for itself. Other languages may use them as keys; here they are left as they are.
function hidden(key) {
  return key === "cookie" || key === "req" || key === "id" || key === COOKIE_KEY || key in session.Session.prototype;
}

// A number that JavaScript would round, such as 9007199254740993, as an object that holds its digits.
function keepNumber(text) {
  return text.startsWith('"') || String(Number(text)) === text ? text : `{"number":"${text}"}`;
}

// A replacer for JSON.stringify that refuses what JSON would drop or change.
function refuse(name) {
  return function (key, value) {
    const is = (what) => {
      const message = `req.session.${name}: ${key ? `${key} in it` : "it"} is ${what}, not JSON`;
      return Object.assign(new TypeError(printable(message)), { refused: true });
    };
    if (["function", "symbol", "bigint"].includes(typeof value)) throw is(`a ${typeof value}`);
    if (value === undefined && Array.isArray(this)) throw is("undefined");
    if (typeof value === "number" && !Number.isFinite(value)) throw is(value);
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) throw is("an integer beyond 2^53, which is inexact");
    if (typeof value === "string" && !value.isWellFormed()) throw is("a string with half a character");
    if (!key.isWellFormed()) throw is("under a key with half a character");
    if (value && typeof value === "object" && !Array.isArray(value)) {
      // Objects of the app's classes are stored as their fields. A Map has none, and would be stored as {}.
      const kind = Object.prototype.toString.call(value).slice(8, -1);
      if (!["Object", "String", "Number", "Boolean"].includes(kind)) throw is(`a ${kind}`);
    }
    return value;
  };
}

// What the option user answered, as the id of a user, null for none. What is no id becomes a text that no id can be: a
// session that has it already can be read and ended, but none is created.
function userId(answer) {
  const id = asStored(answer ?? "");
  if (typeof id === "string" && !id.startsWith(UNUSABLE)) return id || null;
  if (Number.isFinite(id)) return String(id);
  const kind = typeof id === "number" ? String(id) : typeof id;
  // The value tells whether it is still the same user. It is personal, so errors show its kind alone.
  return [UNUSABLE, kind, UNUSABLE, quickText(id)].join("");
}

// A value as it comes back from the service: an object id of a database as its text, for example.
function asStored(value) {
  return value && typeof value === "object" ? parse(quickText(value)) ?? value : value;
}

function userOf(session) {
  const ids = USER_KEYS.map((key) => asStored(session[key]));
  return ids.find((id) => (typeof id === "string" && id) || typeof id === "number")?.toString();
}

function failure(status, message) {
  return Object.assign(new Error(printable(`rest-sessions: ${message}`)), { status });
}

// A text for one line of a log.
function printable(text) {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, "?");
}

function ended() {
  return failure(409, "the session has ended while this request was served");
}

function warn(message) {
  process.emitWarning(printable(message), "RestSessions");
}

const warned = new Set();

function warnOfKey(key) {
  if (warned.has(key) || warned.size > 1000) return;
  warned.add(key);
  const name = JSON.stringify(key).slice(0, 100);
  warn(`rest-sessions: the stored value of ${name} cannot be read here, and stays as it is`);
}

// Calls back outside of the promise, so that what the callback throws is not taken for a failure of the store. The
// promise that it answers ends after the callback.
function settle(promise, callback = () => {}) {
  const called = promise.then(
    (value) => new Promise((resolve) => setImmediate(() => (resolve(), callback(null, value)))),
    (error) => new Promise((_, reject) => setImmediate(() => (reject(error), callback(error)))),
  );
  called.catch(() => {}); // the callback has heard it
  return called;
}
