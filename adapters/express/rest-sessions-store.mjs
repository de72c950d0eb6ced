// Stores the sessions of express-session in rest-sessions. Copy this file; README.md beside it shows its use.
//
// restSessions() runs express-session with a RestSessionsStore and adds a HeldResponse to each request. It buffers the
// response until the session is stored: only then is the token known, and only until then can a failure become a 503.
// Limit: a WebSocket upgrade has no response to buffer. Its session can be read and changed, but not created.

import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { lookup } from "node:dns/promises";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";
import session from "express-session";

const TOKEN = /^[A-Za-z0-9]{64}$/;
const NESTED = "json:"; // key prefix of nested values, which are stored as JSON text
const DEPTH = 100; // levels of nesting that a value may have: the JSON parser of every language reads this many
const USER_KEYS = ["user_id", "_user_id", "_auth_user_id"]; // ours, Flask-Login's, Django's
const ANONYMOUS = "anonymous";
const UNUSABLE = "\0"; // first character of the stand-in for a user value that is not a valid id
const COOKIE = { path: "/", httpOnly: true, secure: true, sameSite: "lax" };
const COOKIE_KEY = "_express_cookie"; // key for the cookie settings that the app changed for one session
const CANDIDATES = 4; // at most this many cookies with the configured name are looked up

// The names of the service's errors (openapi.yaml).
const ERRORS = new Set(
  (
    "missingParameter invalidFormat invalidValue invalidJson invalidRequest unauthorized notFound methodNotAllowed " +
    "requestTimeout tooLarge uriTooLong headTooLarge unsupportedMediaType internalError storeUnavailable " +
    "notReplicated shuttingDown"
  ).split(" "),
);

const DEADLINE = 5000; // ms for one call to the service, including its retry and the whole response body
const SILENCE = 2000; // ms without a response after which a reused connection counts as dead (idempotent calls only)
const IDLE = 15_000; // ms after which an idle connection is closed instead of reused
const LIMIT = 16 * 2 ** 20; // bytes: maximum size of a response body
const EVER = 2147483647; // seconds: the largest ttl that the service accepts
const ZONE = 64; // characters: the longest zone id of an IPv6 address that the service accepts
const SLACK = 60; // seconds: lifetimes that differ by less count as equal
const PAGE = 100; // sessions per page of a list: about 6 MB if each has the maximum size

// The middleware; it replaces session({ ... }). It takes the options of express-session and those of the store.
export function restSessions(options = {}) {
  const { url, app, ttl, user, cookie = {}, proxy, unset, secret: _unused, ...others } = options;
  const { store = new RestSessionsStore({ url, app, ttl, user }), key, name = key ?? "session", ...rest } = others;
  const { resave = false, rolling = false, saveUninitialized = false, ...unknown } = rest;
  refuseOptions(options, unknown, name, store);

  // express-session requires signed cookies. The middleware signs the incoming token, and TokenCookie strips the
  // signature from the outgoing one. So the cookie holds the bare token, as in every other language, and the signing
  // key is random for each process.
  const secret = randomBytes(32).toString("hex");
  const sign = (token) => createHmac("sha256", secret).update(token).digest("base64").replace(/=+$/, "");
  // Why no cookie options: HeldResponse resolves them, so functions and "auto" work on all versions of express-session.
  const middleware = session({ resave, rolling, saveUninitialized, proxy, unset, name, secret, store, cookie: {} });
  delete store.generate; // express-session's own method would hide the one of the store
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
      new TokenCookie(options); // Why: thrown later, in a callback, the same error would end the process
      path = options.path;
    } catch (error) {
      return next(error);
    }
    const pathname = (req.originalUrl ?? req.url).split(/[?#]/)[0] || "/";
    if (!pathname.startsWith(path || "/")) return next();
    const answer = new HeldResponse(req, res, next, store, settings);

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
    // setImmediate leaves the promise: an exception from a handler must not count as a failed look-up.
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
    const why = option === "genid" ? "not supported: only the service creates tokens" : "unknown option";
    throw wrong(`${option}: ${why}`);
  }
  if (typeof name !== "string" || !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw wrong("name: not a valid cookie name");
  if (!(store instanceof RestSessionsStore)) throw wrong("store: must be a RestSessionsStore");
  for (const option of options.store ? ["url", "app", "ttl", "user"] : []) {
    if (options[option] !== undefined) throw wrong(`${option}: pass it to the store instead`);
  }
  const { cookie } = options;
  if (!["function", "object", "undefined"].includes(typeof cookie)) throw wrong("cookie: must be an object");
  const fault = typeof cookie !== "function" && optionsFault(name, { ...COOKIE, ...cookie });
  if (fault) throw wrong(`cookie: ${fault}`);
}

// The reason why browsers reject a cookie with these options over both https and http; falsy if one works.
function optionsFault(name, options) {
  const { path } = options;
  if (path && !String(path).startsWith("/")) return "path: must begin with /";
  const faults = [true, false].map((https) => {
    try {
      const cookie = new TokenCookie(resolved(options, https));
      return isPast(cookie) ? "it has already expired when it is sent" : cookieFault(name, cookie);
    } catch (error) {
      return error.message;
    }
  });
  return faults[0] && faults[1];
}

// Replaces "auto" in cookie options by the value for this request.
function resolved(options, https) {
  const secure = options.secure === "auto" ? https : options.secure;
  const sameSite = options.sameSite === "auto" ? (https ? "none" : "lax") : options.sameSite;
  return { ...options, secure, sameSite };
}

// Buffers the response until the session is stored. Meanwhile the app sees it as sent.
class HeldResponse {
  #req;
  #res;
  #next;
  #store;
  #settings;
  #headers; // when the middleware was entered: an error response starts from these
  #plain; // methods of res when the middleware was entered
  #native; // methods of res after express-session has wrapped them
  #generation = 0;
  #state = "idle"; // idle → sent, or idle → held → sent
  #queue = [];
  #ended = false;
  #failures = 0;
  #token; // the token in the request's cookie

  constructor(req, res, next, store, settings) {
    this.#req = req;
    this.#res = res;
    this.#next = next;
    this.#store = store;
    this.#settings = settings;
    // True for a WebSocket upgrade and for a stub response: apps and libraries pass {}, a ServerResponse without a
    // connection, or an object with only some of its methods.
    this.detached = req.upgrade === true || typeof res?.once !== "function" || typeof res.writeHead !== "function";
    store.answers.set(req, this);
    if (this.detached) return;
    if (res.headersSent) this.#state = "sent";
    this.#headers = { ...res.getHeaders?.() };
    this.#plain = methodsOf(res);
  }

  // Whether the headers are sent, so that no cookie can be added.
  get begun() {
    return this.#state === "sent";
  }

  get gone() {
    return this.#res?.destroyed === true || this.#req.socket?.destroyed === true;
  }

  get cookieOptions() {
    return this.#settings.cookieOptions(this.#req);
  }

  // Whether the middleware is still making the request's first session (later ones come from regenerate()).
  get entering() {
    return this.#token === undefined;
  }

  // The error that explains why the cookie of a new session cannot reach the browser; undefined if it can.
  refusal(cookie) {
    if (this.detached) return failure(500, "a WebSocket upgrade has no response to carry a new session's cookie");
    if (this.begun) return failure(500, "the response had started before the session was changed: it is not stored");
    if (this.gone) return failure(499, "the client disconnected before it received the session's cookie");
    if (cookie.secure && !isSecure(this.#req, this.#settings.proxy)) {
      const how = "see `trust proxy`, the option `proxy` and X-Forwarded-Proto";
      return failure(500, `the cookie is Secure but the request came over http: ${how}`);
    }
    return this.fault(cookie);
  }

  // The error that explains why browsers reject a cookie; falsy if they accept it.
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

  // Replaces a session's save and destroy. Why: express-session's save hashes the session first, and an error from that
  // does not name the key. At the end of the response it also saves a session that is already saved. On a WebSocket no
  // response waits for them, so without a callback from the app, a failure is logged as a warning.
  guard(saved) {
    const { save, destroy } = saved;
    const [answer, store] = [this, this.#store];
    const orWarn = (callback) => callback ?? (answer.detached ? (error) => error && warn(error.message) : undefined);
    override(saved, "destroy", {
      writable: true,
      value(callback, ...args) {
        return destroy.call(this, orWarn(callback), ...args);
      },
    });
    override(saved, "save", {
      writable: true,
      value(callback, ...args) {
        if (answer.begun && !answer.detached && store.isSaved(this)) {
          callback?.();
          return this;
        }
        return (store.isStorable(this) ? save : session.Session.prototype.save).call(this, orWarn(callback), ...args);
      },
    });
  }

  // Replaces the methods of res. An error response gets new ones, without the wrappers around the earlier ones:
  // compression, for example, would write the rest of the failed response into it.
  #install() {
    const generation = (this.#generation += 1);
    for (const name of Object.keys(this.#native)) {
      this.#res[name] = (...args) => {
        if (generation === this.#generation) return this.#called(name, args);
        return name === "write" ? false : this.#res;
      };
    }
  }

  #called(name, args) {
    const res = this.#res;
    // Why: Node would throw the same error, but only after the wait, outside of the app's try block.
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
      // Why: the handler of a failed response may continue to write, but the error response has already ended.
      if (this.#failures > 0 && res.writableEnded) return name === "write" ? false : res;
      return this.#call(name, args);
    }
    if (name === "writeHead" && this.#queue.length > 0) throw headersSent("write");
    if (name === "end" && this.#ended) return false;
    if (name === "flushHeaders" && this.#queue.length > 0) return undefined;
    this.#queue.push([name, args]);
    if (name === "end") {
      this.#ended = true;
      // Why not `finished`: server.close() would then treat the connection as idle and close it.
      override(res, "writableEnded", { get: () => true });
    }
    return name === "write" ? false : res;
  }

  // Hides an id that is not a token while the head is written: express-session would send it as the cookie.
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
    // setImmediate leaves the promise, so that an exception does not become an unhandled rejection.
    work.then(
      () => setImmediate(() => (over(), this.#release())),
      async (error) => {
        await this.#store.abandon(this.#req);
        setImmediate(() => {
          over();
          const [name, args] = this.#queue[0];
          // The app has already rendered an error page, perhaps for this same error: it is sent unchanged.
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
      // Node rejects part of the response, for example a bad header. Unbuffered, the app would have got the exception.
      this.#store.abandon(this.#req);
      this.#native = this.#plain; // express-session considers this response ended
      return this.#fail(error);
    }
    if (flows && !this.#ended) this.#res.emit("drain");
  }

  // Passes the request to the app's error handlers and discards the response that they replace.
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
    this.#state = "sent"; // The error handler's response failed too: end it without a body.
    if (!res.headersSent) this.#call("end", []);
  }

  // Stores the session even if the client has disconnected, unless that needs a new cookie.
  #closed() {
    if (this.#state !== "idle") return;
    Promise.resolve(this.#due() ? this.#settle() : undefined).then(
      () => this.#store.undelivered(this.#req),
      (error) => error.status === 499 || warn(error.message),
    );
  }

  // Whether the response must wait for the store.
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
    // Waits for saves that the app did not await. Their callbacks may change req.session again, hence the loop.
    for (let pending; (pending = this.#underway()); ) await pending;
    if (!this.#due()) return;
    if (!req.session) {
      await this.#store.end(req.sessionID);
      req.sessionID = undefined; // otherwise express-session would end it again
      return;
    }
    if (!this.#store.has(req.session)) {
      throw failure(500, "req.session was replaced: change its keys instead, or use regenerate()");
    }
    // Calls express-session's save, which records that it has saved, unless the app has replaced it.
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

// A stub for a response that does not exist. It drops everything that express-session writes.
function unsent() {
  return { writeHead() {}, write() {}, end() {} };
}

const OVERRIDDEN = Symbol("functions that restore the overridden properties");

// Overrides a property of an object until the function in object[OVERRIDDEN] restores it.
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
  answers = new WeakMap(); // request => HeldResponse
  cookieOptions = COOKIE; // used when there is no request to resolve them for
  #service;
  #app;
  #ttl;
  #user;
  #found; // result for the next get, which then asks no service
  #ending = new Map(); // sid => the promise of its destroy
  // session => its state in the service: { sid, names, ttl, stored, texts, user }, and for req.session also
  // { cookie, defaults, baseline }: the cookie, its configured settings, and its settings when the request began.
  #known = new WeakMap();

  constructor({ url = process.env.REST_SESSIONS_URL, app = process.env.REST_SESSIONS_APP, ttl, user = userOf } = {}) {
    super();
    if (!app) throw new Error("rest-sessions: set the option app or the environment variable REST_SESSIONS_APP");
    if (!/^[\w-]{3,20}$/.test(app)) throw new TypeError("rest-sessions: app: must be 3 to 20 letters, digits, _ or -");
    if (ttl !== undefined && !(ttl > 0)) throw new TypeError("rest-sessions: ttl: must be a number of seconds above 0");
    if (typeof user !== "function") throw new TypeError("rest-sessions: user: must be a function");
    this.#service = new Service(url || "http://127.0.0.1:3000");
    this.#app = app;
    this.#ttl = ttl;
    this.#user = (session) => userId(user(session));
  }

  // The store interface of express-session

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
    // Within a request, its get has already renewed the session.
    const renewed = !TOKEN.test(sid) || (this.#known.has(session) && session.req);
    settle(renewed ? Promise.resolve() : this.#ask("GET", `get/${sid}`).then(() => {}), callback);
  }

  // Calls back with an array of sessions. They have no ids, because the service does not list tokens.
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
      // After a failure the old session continues to exist and remains the request's session.
      try {
        if (!error) this.generate(req);
      } catch (failed) {
        return callback(failed); // thrown by the app's function for cookie options
      }
      callback(error);
    });
  }

  // Gives a request a new session without a token. The service assigns the token when the session is first stored.
  generate(req) {
    const answer = this.answers.get(req);
    const known = { sid: randomUUID(), names: new Set(), stored: new Map(), texts: new Map(), user: null };
    const later = answer?.entering === false;
    this.#adopt(req, { ...known, empty: later });
    if (later) answer.guard(req.session);
  }

  // Makes req.session from the result of get.
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

  // Ends every session of a user ("log out everywhere"). Returns how many there were.
  async logoutEverywhere(user) {
    return (await this.#ask("DELETE", `killsoid/${segment(user)}`)).kill;
  }

  // Methods for HeldResponse

  has(session) {
    return this.#known.has(session);
  }

  tokenOf(session) {
    return this.#known.get(session).sid;
  }

  // Calls a function; the first get within it returns `data` without a call to the service.
  found(data, call) {
    this.#found = data;
    try {
      call();
    } finally {
      this.#found = undefined;
    }
  }

  // The session of the first token that has one, or null.
  async first(tokens) {
    for (const token of tokens) {
      const data = await this.#load(token);
      if (data) return data;
    }
    return null;
  }

  // The promise of a save or destroy that is still in flight for a session, if any.
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

  // Whether a session must be saved before the response starts.
  isDue(session, { resave, rolling, saveUninitialized }) {
    const known = this.#known.get(session);
    if (!known) return true; // #settle throws the error
    if (known.over) return false;
    try {
      const { changed, user, moves, ends } = this.#compare(known, session);
      if (changed.size > 0 || user !== known.user || moves || ends) return true;
    } catch {
      return true; // #save throws the error
    }
    if (TOKEN.test(known.sid)) return (resave || rolling) && !known.verified;
    // With nothing to store and no way to send a cookie, no session is created and no error is raised.
    known.empty ||= saveUninitialized;
    return known.empty && !this.answers.get(session.req).refusal(known.cookie);
  }

  // Ends a session that a failed request created. The app can still read req.session, but it is never saved again.
  async abandon(req) {
    const known = this.#known.get(req.session);
    if (!known) req.session = undefined;
    // Why a new cookie: express-session touches it, and the app may have replaced it by something that cannot be.
    else Object.assign(known, { over: true, cookie: new TokenCookie({}) });
    req.sessionID = undefined;
    await this.undelivered(req);
  }

  // Ends a session that the request created if its cookie was not sent.
  async undelivered(req) {
    const known = this.#known.get(req.session);
    if (!known?.made) return;
    known.over = true;
    await this.end(known.sid).catch(() => {}); // on failure it expires by itself
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

  // Compares a session with its stored state.
  #compare(known, session) {
    const { changed, texts } = changes(known, session);
    const user = this.#user(session);
    if (!known.cookie) return { changed, texts, user, ends: isPast(session.cookie) };
    const ends = isPast(known.cookie);
    const now = { ...settingsOf(known.cookie), until: endOf(known.cookie) };
    const { baseline, stored, defaults } = known;
    // Why `until`: with a fixed expiry, the remaining time shrinks with each request, but the lifetime has not changed.
    const sameAge = isNear(now.maxAge, baseline.maxAge, baseline) || isNear(now.until, baseline.until, baseline);
    const { maxAge, until } = sameAge ? baseline : now;
    const kept = { ...now, maxAge, until };
    const before = stored.get(NESTED + COOKIE_KEY) ?? "null";
    const marker = same(baseline, kept) ? before : markerOf(kept, defaults);
    if (marker !== before) changed.set(NESTED + COOKIE_KEY, marker);
    const ttl = this.#ttlOf(known, now);
    const moves = !sameAge && ttl !== undefined && ttl !== known.ttl;
    // A new token is stored with the remaining time.
    const fresh = { baseline: now, marker: markerOf(now, defaults) };
    const anew = same(baseline, now) ? { baseline, marker: before } : fresh;
    return { changed, texts, user, ends, moves, ttl, kept, anew };
  }

  // Sends the changes. A session that is new, or whose user or ttl has changed, gets a new token.
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
      // Why: a save must fail if the session was ended elsewhere, even if the save changes nothing.
      this.#alive(await this.#ask("GET", `get/${known.sid}`));
    }
    Object.assign(known, { stored, texts, user, verified: true }, kept && { baseline: creates ? anew.baseline : kept });
  }

  async #create(known, { req, cookie }, user, stored, ttl) {
    const answer = this.answers.get(req);
    const refusal = answer ? answer.refusal(cookie) : failure(500, "a new token needs a response to carry its cookie");
    if (refusal) {
      if (answer?.begun) warn(refusal.message); // a save without a callback would not report the error
      throw refusal;
    }
    if (user?.startsWith(UNUSABLE)) {
      const [, kind] = user.split(UNUSABLE);
      throw failure(500, `the option user returned ${kind}: it must return a string, a finite number or nothing`);
    }
    if (user === ANONYMOUS || user?.startsWith(`${ANONYMOUS}:`)) {
      throw failure(500, `the user ids ${ANONYMOUS} and ${ANONYMOUS}:… are reserved for sessions without a user`);
    }
    if (known.doubt) throw known.doubt; // the previous attempt may have created a session: do not create a second one
    const old = TOKEN.test(known.sid) ? known.sid : null;
    const query = new URLSearchParams({ ip: visitorAddress(req.ip ?? req.socket?.remoteAddress) });
    if (ttl !== undefined) query.set("ttl", ttl);
    const id = user ?? `${ANONYMOUS}:${randomBytes(8).toString("hex")}`;
    let token;
    try {
      const create = (d) => this.#ask("PUT", `create/${segment(id)}?${query}`, d);
      // The service may refuse a stored number beyond the range of a double. Then create goes again without it.
      const readable = new Map([...stored].filter(([, text]) => !/^-?\d/.test(text) || Number.isFinite(Number(text))));
      ({ token } = await create(stored).catch((error) => {
        if (!error.refused || readable.size === stored.size) throw error;
        return create(readable);
      }));
      if (!TOKEN.test(token)) throw failure(503, "the service returned no token");
      // Invariant: one login has one session. If the old one cannot be ended, the new one is ended again.
      if (answer.gone) throw answer.refusal(cookie);
      if (old) {
        const { kill, repeated } = await this.#ask("DELETE", `kill/${old}`);
        // Only a login may replace a session that was ended elsewhere. Any other save would restore its data.
        if (kill === 0 && !repeated && (known.user !== null || user === null)) throw ended();
      }
    } catch (error) {
      if (error.status === 503) known.doubt = error;
      if (TOKEN.test(token)) await this.end(token).catch(() => {}); // on failure it expires by itself
      throw error;
    }
    Object.assign(known, { sid: token, ttl, made: true });
    known.names.add(old);
    if (req.session && this.#known.get(req.session) === known) req.sessionID = token;
  }

  // Replaces the data of a session by that of an object that did not come from get.
  async #replace(sid, session) {
    const data = await this.#load(sid);
    if (!data) throw failure(409, "there is no such session; only a request under restSessions() can create one");
    if (isPast(session.cookie)) return this.end(sid);
    const known = this.#known.get(data);
    if (this.#user(session) !== known.user) throw failure(500, "only a session's own request can change its user");
    const { changed } = changes(known, session);
    if (changed.size > 0) this.#alive(await this.#ask("POST", `set/${sid}`, changed));
  }

  #alive({ id }) {
    if (id === undefined) throw ended();
  }

  // The ttl in seconds for a cookie's settings; undefined for the default of the service.
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
    // Errors never contain the path, because it holds a token, nor a response that is not JSON.
    let answer;
    try {
      answer = JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, keepNumber));
    } catch {
      throw failure(503, `status ${status} with a body that is not JSON`);
    }
    if (status === 200 && answer && typeof answer === "object") return repeated ? { ...answer, repeated } : answer;
    // Any other text of the response may contain the path: a proxy may have sent it.
    const name = ERRORS.has(answer?.name) ? answer.name : "with a body that is not from the service";
    const refusal = failure(status === 503 ? 503 : 500, `status ${status} ${name}`);
    throw Object.assign(refusal, { refused: status === 400 });
  }
}

// The HTTP client for the service. Each call has a connection to itself. The connection is reused only after a complete
// response. Why not fetch: it normalises the user ids . and .. away as dot segments of the path.
class Service {
  #url;
  #agent;
  #prefix;
  #headers;

  constructor(url) {
    this.#url = URL.canParse(url) ? new URL(url) : {};
    const { protocol, search, hash, pathname, host, username, password } = this.#url;
    if (!["http:", "https:"].includes(protocol) || search || hash) {
      throw new TypeError("rest-sessions: url: must be an http:// or https:// address without a query");
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
    // Why: a create or set must not be sent on a closed connection. This lets Node process the close first.
    if (!repeatable) await new Promise((resolve) => setImmediate(resolve));
    try {
      return await this.#exchange(method, path, body, deadline, repeatable);
    } catch (error) {
      if (!error.reused || (error.sent && !repeatable)) throw error.failure;
      this.#agent.dropIdle(0); // the other idle connections are probably dead too
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
        reject({ failure: failure(503, `the service did not answer (${why})`), reused, sent });
      };
      // Why setImmediate: if the process was busy, the timer is late, and a response that has arrived must win.
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

// Pool of idle connections. It closes one that was idle for too long or that received unsolicited bytes.
class Connections extends http.Agent {
  #url;
  #idle = new WeakMap(); // socket => time at which it became idle
  #closeOnData = function () {
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
    socket.on("data", this.#closeOnData);
    return true;
  }

  reuseSocket(socket, request) {
    socket.off("data", this.#closeOnData);
    super.reuseSocket(socket, request);
  }
}

// Tries the addresses of a name in order. Each but the last gets half of the remaining time.
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
  if (!TOKEN.test(token)) throw failure(500, "the response started before the session was saved");
  return token;
}

function tokenCookie(cookie) {
  if (!(cookie instanceof session.Cookie)) return new TokenCookie(cookie);
  return Object.setPrototypeOf(cookie, TokenCookie.prototype);
}

// The cookie settings that a session can override. maxAge is in whole seconds, because express-session's own value
// loses milliseconds with each request.
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

// The cookie settings that a stored session overrides. They are not validated.
function ownSettings(stored) {
  try {
    return JSON.parse(JSON.parse(stored.get(NESTED + COOKIE_KEY))) ?? {};
  } catch {
    return {};
  }
}

// Encodes the settings that differ from the configured ones, as the JSON text of a JSON text. Later requests compare
// with `until`, for apps that set a fixed expiry in each request.
function markerOf({ until, ...settings }, defaults) {
  const own = Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== defaults[name]));
  if (own.maxAge) own.until = until;
  return Object.keys(own).length > 0 ? JSON.stringify(JSON.stringify(own)) : "null";
}

// When a cookie expires, in seconds since 1970; null if it does not.
function endOf({ expires }) {
  return expires instanceof Date ? Math.round(expires.getTime() / 1000) : null;
}

// Applies the settings that a stored session overrides. Without any, the cookie lives as long as the session.
function setCookie(cookie, stored, ttl) {
  const own = ownSettings(stored);
  for (const [name, valid] of Object.entries(SETTINGS)) {
    if (Object.hasOwn(own, name) && own[name] === null) cookie[name] = undefined;
    else if (Object.hasOwn(own, name) && valid(own[name])) cookie[name] = own[name];
  }
  if (own.maxAge === null) cookie.expires = null;
  else if (typeof own.maxAge === "number" && own.maxAge > 0 && own.maxAge <= EVER) cookie.maxAge = own.maxAge * 1000;
  else if (typeof cookie.originalMaxAge === "number") {
    // A configured age that the service rounds up stays unchanged.
    if (ttl !== clamp(settingsOf(cookie).maxAge)) cookie.maxAge = ttl * 1000;
  }
}

// The reason why browsers reject a cookie (RFC 6265bis, 5.7); undefined if they accept it.
function cookieFault(name, cookie) {
  const { secure, domain, path, sameSite, partitioned } = cookie;
  const prefix = /^__(host|secure)-/i.exec(name)?.[1].toLowerCase();
  if (!secure && String(sameSite).toLowerCase() === "none") return "SameSite=None needs Secure";
  if (!secure && partitioned) return "Partitioned needs Secure";
  if (!secure && prefix) return `a name with ${name.slice(0, prefix.length + 3)} needs Secure`;
  if (prefix === "host" && (domain || path !== "/")) return "a name with __Host- needs Path=/ and no Domain";
  // Why: old versions of express-session do not escape these, so that they could inject other attributes.
  if (path && !text(path)) return "option path is invalid";
  if (domain && !text(domain)) return "option domain is invalid";
  try {
    cookie.serialize(name, "A".repeat(64));
  } catch (error) {
    return error.message;
  }
}

// Rounds a ttl to whole seconds within the range that the service accepts.
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

// Whether two lifetimes, or two expiry times, are equal apart from clock differences and rounding.
function isNear(one, other, { maxAge }) {
  if (typeof one !== "number" || typeof other !== "number") return one === other;
  return Math.abs(one - other) <= Math.min(Math.max(maxAge / 10, 2), SLACK);
}

// The tokens in the cookies of a name, in order. Proxies and gateways join header lines by a comma. Why not trim(): it
// also strips a no-break space, so this adapter would choose another cookie than those in other languages.
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

// Strips spaces and tabs. Node admits no other ASCII whitespace in a header.
function trimBlanks(text) {
  const blank = (at) => text[at] === " " || text[at] === "\t";
  let [start, end] = [0, text.length];
  while (start < end && blank(start)) start += 1;
  while (end > start && blank(end - 1)) end -= 1;
  return text.slice(start, end);
}

// Follows express-session's own decision.
function isSecure(req, proxy) {
  if (req.socket?.encrypted) return true;
  if (proxy === false) return false;
  if (proxy !== true) return req.secure === true;
  const header = req.headers?.["x-forwarded-proto"] ?? "";
  return header.split(",")[0].trim().toLowerCase() === "https";
}

// Converts a client address to the form that the service accepts. Proxies add ports and brackets, or send "unknown".
function visitorAddress(text = "") {
  const ip = text.trim().replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1");
  if (!net.isIP(ip)) return "0.0.0.0";
  const [address, zone = ""] = ip.split("%");
  return zone.length > ZONE ? address : ip;
}

// Encodes an id as a path segment. The ids . and .. would otherwise be dot segments.
function segment(id) {
  try {
    return encodeURIComponent(id).replace(/^\.{1,2}$/, (dots) => "%2E".repeat(dots.length));
  } catch {
    throw failure(500, "the user id contains a lone surrogate");
  }
}

// Returns `changed`: the keys of d that differ from the stored ones, with their values as JSON text ("null" removes the
// key); and `texts`: the JSON text of each value of the session.
function changes(known, session) {
  const changed = new Map();
  const texts = new Map();
  const put = (key, plain, nested) => {
    if (!key.startsWith(NESTED)) changed.set(key, plain); // with the prefix it would be another key's nested form
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
    return undefined; // checkedText throws the error
  }
}

// The JSON text of a value. Throws an error that names the key if JSON, or another language's parser, cannot hold it.
function checkedText(key, value) {
  const wrong = (what) => new TypeError(printable(`req.session.${key}: it ${what}`));
  if (!key.isWellFormed()) throw wrong("has a lone surrogate in its key");
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

// The depth of nesting of a JSON text.
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

// Decodes d into the values that the app sees, and the JSON text of each stored value. The app does not see unreadable
// values; they stay stored unchanged.
function decode(d = {}) {
  const data = {};
  const stored = new Map();
  for (const [key, value] of Object.entries(d)) {
    stored.set(key, value.number ?? JSON.stringify(value));
    const nested = key.startsWith(NESTED);
    const name = nested ? key.slice(NESTED.length) : key;
    if (hidden(name) || (nested && !name.startsWith(NESTED) && Object.hasOwn(d, name))) continue; // the plain key wins
    const read = nested ? parse(value) : value.number ? Number(value.number) : value;
    if (isReadable(read)) data[name] = read;
    else warnOfKey(key);
  }
  return { data, stored };
}

// The value of a JSON text; undefined if the text is invalid or nested too deep.
function parse(text) {
  if (typeof text !== "string" || depthOf(text) > DEPTH) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// Whether a JSON value contains only finite numbers and well-formed strings.
function isReadable(value) {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value === "string") return value.isWellFormed();
  if (value === null || typeof value !== "object") return value !== undefined;
  return Object.entries(value).every(([key, inner]) => key.isWellFormed() && isReadable(inner));
}

// Whether express-session uses a name on its session object. Keys with such names stay stored but invisible here.
function hidden(key) {
  return key === "cookie" || key === "req" || key === "id" || key === COOKIE_KEY || key in session.Session.prototype;
}

// Wraps a number that JavaScript would round, such as 9007199254740993, in an object that holds its digits.
function keepNumber(text) {
  return text.startsWith('"') || String(Number(text)) === text ? text : `{"number":"${text}"}`;
}

// A replacer for JSON.stringify that throws for values that JSON would drop or change.
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
    if (typeof value === "string" && !value.isWellFormed()) throw is("a string with a lone surrogate");
    if (!key.isWellFormed()) throw is("under a key with a lone surrogate");
    if (value && typeof value === "object" && !Array.isArray(value)) {
      // Instances of the app's classes are stored as their fields. A Map has none and would be stored as {}.
      const kind = Object.prototype.toString.call(value).slice(8, -1);
      if (!["Object", "String", "Number", "Boolean"].includes(kind)) throw is(`a ${kind}`);
    }
    return value;
  };
}

// Converts the result of the option `user` to a user id; null for none. A value that is not an id becomes a text that
// no id can equal: existing sessions with it can be read and ended, but none is created.
function userId(answer) {
  const id = asStored(answer ?? "");
  if (typeof id === "string" && !id.startsWith(UNUSABLE)) return id || null;
  if (Number.isFinite(id)) return String(id);
  const kind = typeof id === "number" ? String(id) : typeof id;
  // The value is kept to detect a change of user. It is personal data, so errors show only its type.
  return [UNUSABLE, kind, UNUSABLE, quickText(id)].join("");
}

// A value as the service would return it; for example, a database's object id as its text.
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

// Replaces control characters and line breaks, so that the text fits on one log line.
function printable(text) {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, "?");
}

function ended() {
  return failure(409, "the session was ended elsewhere during this request");
}

function warn(message) {
  process.emitWarning(printable(message), "RestSessions");
}

const warned = new Set();

function warnOfKey(key) {
  if (warned.has(key) || warned.size > 1000) return;
  warned.add(key);
  const name = JSON.stringify(key).slice(0, 100);
  warn(`rest-sessions: the stored value of ${name} cannot be read in JavaScript; it stays stored unchanged`);
}

// Calls back outside of the promise, so that an exception from the callback does not count as a failure of the store.
// The returned promise settles before the callback runs.
function settle(promise, callback = () => {}) {
  const called = promise.then(
    (value) => new Promise((resolve) => setImmediate(() => (resolve(), callback(null, value)))),
    (error) => new Promise((_, reject) => setImmediate(() => (reject(error), callback(error)))),
  );
  called.catch(() => {}); // the callback receives the error
  return called;
}
