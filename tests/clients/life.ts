/**
 * The life of a session, through openapi-fetch or the client of @hey-api/openapi-ts: client.ts makes the calls.
 *
 *     node life.js URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE
 */

import { deepStrictEqual } from "node:assert";
import { app, connect, type ErrorBody, type Session } from "./client.js";

const ip = "203.0.113.7";
const DATA = {
  name: "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
  empty: "",
  cart: 3,
  debt: -7,
  beyond: Number.MAX_SAFE_INTEGER, // JSON.parse would round what is beyond
  largest: 2 ** 62, // a power of 2 is exact
  ratio: 0.1,
  tiny: 1e-7,
  yes: true,
  no: false,
};
const IDS = ["a/b", "a:b", "a b", "100%", "a%2Fb", "a+b", "Zoë-東京"];

function fail(name: string): never {
  console.error(`FAILED: ${name}`);
  process.exit(1);
}

function check(name: string, passed: boolean): void {
  if (!passed) fail(name);
  console.log(name);
}

/** Whether values and types are equal. */
function same(value: unknown, expected: unknown): boolean {
  try {
    deepStrictEqual(value, expected);
    return true;
  } catch {
    return false;
  }
}

/** Some keys of some data. */
const only = (data: Session["d"], keys: string[]) => keys.map((key) => data?.[key]);

/** The ids of some sessions, in order. */
const ids = (sessions: Session[]) => sessions.map(({ id }) => id).sort();

type Answer<T> = { data?: T; error?: unknown; response?: Response };

/** The data of a call that succeeds. */
async function ok<T>(call: Promise<Answer<T>>): Promise<T> {
  const { data, response } = await call;
  if (data === undefined) fail(`an answer was expected, not status ${response?.status}`);
  return data;
}

/** The answer to a call that fails, with its body as the generated type. */
async function failure(
  call: Promise<{ error?: ErrorBody; response?: Response }>,
): Promise<[Response, ErrorBody]> {
  const { error, response } = await call;
  if (error === undefined || response === undefined) fail("an error was expected");
  return [response, error];
}

const [url, urlWithoutStore] = process.argv.slice(2);
if (!url || !urlWithoutStore) fail("two URLs are needed");
const api = connect(url);

check("ping says PONG", (await ok(api.ping())) === "PONG");

const { token } = await ok(api.create(app, "ann", ip, DATA, { ttl: 600 }));
check("create returns a token", token.length === 64);

let session = await ok(api.get(app, token));
check("get returns a session", session.id === "ann" && session.ip === ip);
check("get returns its counters", same([session.r, session.w, session.ttl], [1, 1, 600]) && Number(session.idle) < 60);
check("no_resave is absent by default", session.no_resave === undefined);
let d = session.d;
check("all keys are returned", same(Object.keys(d ?? {}), Object.keys(DATA)));
const kinds = {
  strings: ["name", "empty"],
  integers: ["cart", "debt"],
  "large integers": ["beyond", "largest"],
  doubles: ["ratio", "tiny"],
  booleans: ["yes", "no"],
};
for (const [kind, keys] of Object.entries(kinds)) {
  check(`${kind} come back`, same(only(d, keys), only(DATA, keys)));
}
check("a get increments r", (await ok(api.get(app, token))).r === 2);

session = await ok(api.set(app, token, { cart: 4, theme: "dark" }));
check("set adds and replaces keys", same(session.d, { ...DATA, cart: 4, theme: "dark" }));
check("a set increments w", session.w === 2);
({ d } = await ok(api.set(app, token, { theme: null })));
check("null removes a key", d !== undefined && !("theme" in d));
await ok(api.set(app, token, { "a&b=c": 1, "é+ %": 2, keep: 3 }));
({ d } = await ok(api.set(app, token, undefined, ["a&b=c", "é+ %", "absent"])));
check("unset removes keys", same(d, { ...DATA, cart: 4, keep: 3 }));
({ d } = await ok(api.set(app, token, { cart: 5 }, ["keep"])));
check("unset and changes work together", same(d, { ...DATA, cart: 5 }));

const authorized = (await api.auth(app, token, { d: ["name", "cart"] })).response;
if (!authorized) fail("auth answers");
const { headers, status } = authorized;
check("auth of a session is a 204", status === 204);
check("auth returns the id", headers.get("X-Session-Id") === "ann");
const told = [decodeURIComponent(headers.get("X-Session-Data-Name") ?? ""), headers.get("X-Session-Data-Cart")];
check("auth returns data", same(told, [DATA.name, "5"]));
const before = (await ok(api.get(app, token))).r;
await api.auth(app, token, { touch: 0 });
check("auth with touch 0 does not count", (await ok(api.get(app, token))).r === Number(before) + 1);
let [answer, error] = await failure(api.auth(app, "A".repeat(64)));
check("auth without a session is a 401", answer.status === 401 && error.name === "unauthorized");

const fixed = await ok(api.create(app, "ann", ip, undefined, { no_resave: true }));
session = await ok(api.get(app, fixed.token));
check("no_resave is returned", session.no_resave === true);
check("a session without data has no d", session.d === undefined);
const empty = await ok(api.create(app, "ann", ip, {}));
check("an empty map stores no data", (await ok(api.get(app, empty.token))).d === undefined);

let found = (await ok(api.soid(app, "ann"))).sessions;
check("soid lists the sessions of an id", same(ids(found), ["ann", "ann", "ann"]));
check("soid returns their data", same(found.flatMap(({ d }) => d ?? []), [{ ...DATA, cart: 5 }]));
await ok(api.create(app, "bob", ip));
found = (await ok(api.soapp(app, 600))).sessions;
check("soapp lists the sessions of an app", same(ids(found), ["ann", "ann", "ann", "bob"]));
check("activity counts ids", (await ok(api.activity(app, 600))).activity === 2);

for (const id of IDS) {
  const created = await ok(api.create(app, id, ip));
  const read = (await ok(api.get(app, created.token))).id === id;
  const listed = same(ids((await ok(api.soid(app, id))).sessions), [id]);
  check(`the id ${id} round-trips`, read && listed && (await ok(api.killsoid(app, id))).kill === 1);
}

check("kill ends a session", (await ok(api.kill(app, token))).kill === 1);
check("a second kill finds no session", (await ok(api.kill(app, token))).kill === 0);
session = await ok(api.get(app, token));
check("get of a killed session is empty", session.id === undefined && session.r === undefined && !session.d);
session = await ok(api.set(app, token, { cart: 1 }));
check("set of a killed session is empty", session.id === undefined);
check("killsoid ends the sessions of an id", (await ok(api.killsoid(app, "ann"))).kill === 2);
check("killall ends the sessions of an app", (await ok(api.killall(app))).kill === 1);
check("lists are empty after killall", same((await ok(api.soapp(app, 600))).sessions, []));

[answer, error] = await failure(api.create(app, "line\nbreak", ip));
check("a bad id is a 400", answer.status === 400 && error.name === "invalidFormat");
check("an error has a message", error.message === "Invalid id format");
[answer, error] = await failure(api.create(app, "ann", ip, { list: [1] }));
check("a bad value is a 400", answer.status === 400 && error.name === "invalidValue");
[answer, error] = await failure(api.create(app, "ann", ip, { large: "x".repeat(60000) }));
check("too much data is a 413", answer.status === 413 && error.name === "tooLarge");

const away = connect(urlWithoutStore);
[answer, error] = await failure(away.create(app, "ann", ip));
check("an unreachable store is a 503", answer.status === 503 && error.name === "storeUnavailable");
check("a 503 has Retry-After", /^\d+$/.test(answer.headers.get("Retry-After") ?? ""));
