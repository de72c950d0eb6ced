// A client of rest-sessions in one file, to be copied. Node 18 or newer, nothing else.
//
//     const sessions = new SessionClient("http://127.0.0.1:3000", "shop");
//     const token = await sessions.create("ann", { ip: "203.0.113.7", data: { name: "Ann" } });
//     const session = await sessions.get(token); // { id: "ann", ..., d: { name: "Ann" } }, or null: no such session
//
// fetch keeps connections by itself. JavaScript rounds integers beyond Number.MAX_SAFE_INTEGER.

/** The service or its store is away or too slow. Answer 503; it does not mean that anyone is logged out. */
export class SessionOutage extends Error {}

/** The service takes no such request. `code` is the stable name of the reason, as in openapi.yaml. */
export class SessionRefused extends Error {
  constructor(code, message) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

export class SessionClient {
  #base;
  #timeout;

  /** `timeout` in milliseconds. Keep it above the service's own, 2 s by default, so that the service can explain. */
  constructor(url, app, { timeout = 5000 } = {}) {
    this.#base = `${url}/${app}`;
    this.#timeout = timeout;
  }

  /** Creates a session and returns its token, a secret for the visitor's cookie. `ttl` in seconds. */
  async create(id, { ip, data = {}, ttl }) {
    const query = new URLSearchParams(ttl === undefined ? { ip } : { ip, ttl });
    const { token } = await this.#ask("PUT", `create/${segment(id)}?${query}`, data);
    return token;
  }

  /** The session, or null. Its data is in `d`, which is always there. */
  async get(token) {
    return isToken(token) ? toSession(await this.#ask("GET", `get/${token}`)) : null;
  }

  /** Adds and replaces keys of `d`; null removes one. Returns the session after that, or null. */
  async set(token, changes) {
    return isToken(token) ? toSession(await this.#ask("POST", `set/${token}`, changes)) : null;
  }

  /** Ends the session. Returns whether there was one. */
  async kill(token) {
    return isToken(token) && (await this.#ask("DELETE", `kill/${token}`)).kill === 1;
  }

  /** All sessions of an id, the last active first. */
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
    const request = { method, signal: AbortSignal.timeout(this.#timeout) };
    if (body !== undefined) {
      request.headers = { "Content-Type": "application/json" };
      request.body = JSON.stringify(body);
    }
    let status, text;
    try {
      const answer = await fetch(`${this.#base}/${path}`, request);
      status = answer.status;
      text = await answer.text();
    } catch (error) {
      throw new SessionOutage(error.cause?.code ?? error.name);
    }
    const answer = parse(text);
    if (!answer) throw new SessionOutage(`status ${status} without JSON`);
    if (status === 200) return answer;
    if (status >= 500) throw new SessionOutage(`status ${status}, ${answer.name}`);
    throw new SessionRefused(answer.name, answer.message);
  }
}

/** A cookie is the visitor's text. What is not of a token's form names no session, and never enters a path. */
function isToken(text) {
  return /^[A-Za-z0-9]{64}$/.test(text ?? "");
}

function toSession(answer) {
  return Object.keys(answer).length ? { d: {}, ...answer } : null;
}

/** An id as a part of a path. */
function segment(id) {
  // URLs take these two for steps in the folder, also when encoded.
  if (id === "." || id === "..") throw new SessionRefused("invalidFormat", "fetch cannot send this id");
  return encodeURIComponent(id);
}

/** The object, or null. The error of JSON.parse would quote the text, and with it perhaps a token. */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
