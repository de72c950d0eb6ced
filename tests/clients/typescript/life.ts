/**
 * Tests the life cycle of a session with the TypeScript client generated from openapi.yaml.
 *
 *     node life.js URL URL_OF_A_SERVICE_WITHOUT_ITS_STORE
 */

import { deepStrictEqual } from "node:assert";
import {
  Configuration, ErrorBodyFromJSON, ListsApi, ResponseError, ServiceApi, SessionsApi,
  type ErrorBody, type Session,
} from "./client/index.js";

const app = "typescript";
const ip = "203.0.113.7";
const DATA = {
  name: "Zoë \"Ada\" O'Neil \\ Łódź\n東京 🦀",
  empty: "",
  cart: 3,
  debt: -7,
  beyond: Number.MAX_SAFE_INTEGER, // JSON.parse rounds larger integers
  largest: 2 ** 62, // powers of 2 are exact
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

function connect(url: string): Configuration {
  // Without a signal, fetch has a timeout of minutes.
  const fetchApi: typeof fetch = (input, init) => fetch(input, { ...init, signal: AbortSignal.timeout(5000) });
  return new Configuration({ basePath: url, fetchApi });
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

/** Returns the given keys of the data. */
const only = (data: Session["d"], keys: string[]) => keys.map((key) => data?.[key]);

/** Returns the sorted ids of sessions. */
const ids = (sessions: Session[]) => sessions.map(({ id }) => id).sort();

/** Returns the response to a failing call, with its body as the generated type. */
async function failure(call: Promise<unknown>): Promise<[Response, ErrorBody]> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof ResponseError)) throw error;
    return [error.response, ErrorBodyFromJSON(await error.response.json())];
  }
  fail("an error was expected");
}

const [url, urlWithoutStore] = process.argv.slice(2);
if (!url || !urlWithoutStore) fail("two URLs are needed");
const sessions = new SessionsApi(connect(url));
const lists = new ListsApi(connect(url));

check("ping says PONG", (await new ServiceApi(connect(url)).ping()) === "PONG");

const { token } = await sessions.create({ app, id: "ann", ip, ttl: 600, data: DATA });
check("create returns a token", token.length === 64);

let session = await sessions.get({ app, token });
check("get returns a session", session.id === "ann" && session.ip === ip);
check("get returns its counters", same([session.r, session.w, session.ttl], [1, 1, 600]) && Number(session.idle) < 60);
check("no_resave is absent by default", session.noResave === undefined);
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
check("a get increments r", (await sessions.get({ app, token })).r === 2);

session = await sessions.set({ app, token, changes: { cart: 4, theme: "dark" } });
check("set adds and replaces keys", same(session.d, { ...DATA, cart: 4, theme: "dark" }));
check("a set increments w", session.w === 2);
({ d } = await sessions.set({ app, token, changes: { theme: null } }));
check("null removes a key", d !== undefined && !("theme" in d));
await sessions.set({ app, token, changes: { "a&b=c": 1, "é+ %": 2, keep: 3 } });
({ d } = await sessions.set({ app, token, unset: ["a&b=c", "é+ %", "absent"] }));
check("unset removes keys", same(d, { ...DATA, cart: 4, keep: 3 }));
({ d } = await sessions.set({ app, token, unset: ["keep"], changes: { cart: 5 } }));
check("unset and changes work together", same(d, { ...DATA, cart: 5 }));

const { headers, status } = (await sessions.authRaw({ app, d: ["name", "cart"], xSessionToken: token })).raw;
check("auth of a session is a 204", status === 204);
check("auth returns the id", headers.get("X-Session-Id") === "ann");
const told = [decodeURIComponent(headers.get("X-Session-Data-Name") ?? ""), headers.get("X-Session-Data-Cart")];
check("auth returns data", same(told, [DATA.name, "5"]));
const before = (await sessions.get({ app, token })).r;
await sessions.auth({ app, touch: 0, xSessionToken: token });
check("auth with touch 0 does not count", (await sessions.get({ app, token })).r === Number(before) + 1);
let [answer, error] = await failure(sessions.auth({ app, xSessionToken: "A".repeat(64) }));
check("auth without a session is a 401", answer.status === 401 && error.name === "unauthorized");

const fixed = await sessions.create({ app, id: "ann", ip, noResave: true });
session = await sessions.get({ app, token: fixed.token });
check("no_resave is returned", session.noResave === true);
check("a session without data has no d", session.d === undefined);
const empty = await sessions.create({ app, id: "ann", ip, data: {} });
check("an empty map stores no data", (await sessions.get({ app, token: empty.token })).d === undefined);

let found = (await lists.soid({ app, id: "ann" })).sessions;
check("soid lists the sessions of an id", same(ids(found), ["ann", "ann", "ann"]));
check("soid returns their data", same(found.flatMap(({ d }) => d ?? []), [{ ...DATA, cart: 5 }]));
await sessions.create({ app, id: "bob", ip });
found = (await lists.soapp({ app, dt: 600 })).sessions;
check("soapp lists the sessions of an app", same(ids(found), ["ann", "ann", "ann", "bob"]));
check("activity counts ids", (await lists.activity({ app, dt: 600 })).activity === 2);

for (const id of IDS) {
  const created = await sessions.create({ app, id, ip });
  const read = (await sessions.get({ app, token: created.token })).id === id;
  const listed = same(ids((await lists.soid({ app, id })).sessions), [id]);
  check(`the id ${id} round-trips`, read && listed && (await lists.killsoid({ app, id })).kill === 1);
}

check("kill ends a session", (await sessions.kill({ app, token })).kill === 1);
check("a second kill finds no session", (await sessions.kill({ app, token })).kill === 0);
session = await sessions.get({ app, token });
check("get of a killed session is empty", session.id === undefined && session.r === undefined && !session.d);
session = await sessions.set({ app, token, changes: { cart: 1 } });
check("set of a killed session is empty", session.id === undefined);
check("killsoid ends the sessions of an id", (await lists.killsoid({ app, id: "ann" })).kill === 2);
check("killall ends the sessions of an app", (await lists.killall({ app })).kill === 1);
check("lists are empty after killall", same((await lists.soapp({ app, dt: 600 })).sessions, []));

[answer, error] = await failure(sessions.create({ app, id: "line\nbreak", ip }));
check("a bad id is a 400", answer.status === 400 && error.name === "invalidFormat");
check("an error has a message", error.message === "Invalid id format");
[answer, error] = await failure(sessions.create({ app, id: "ann", ip, data: { list: [1] } }));
check("a bad value is a 400", answer.status === 400 && error.name === "invalidValue");
[answer, error] = await failure(sessions.create({ app, id: "ann", ip, data: { large: "x".repeat(60000) } }));
check("too much data is a 413", answer.status === 413 && error.name === "tooLarge");

[answer, error] = await failure(new SessionsApi(connect(urlWithoutStore)).create({ app, id: "ann", ip }));
check("an unreachable store is a 503", answer.status === 503 && error.name === "storeUnavailable");
check("a 503 has Retry-After", /^\d+$/.test(answer.headers.get("Retry-After") ?? ""));
