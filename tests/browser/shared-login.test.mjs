// Tests in a real browser, on each store, that a login on one part of the site is valid on all.
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { endAll, logs, processesIn, startRedis, startService, startSite, until } from "./processes.mjs";
import { endBrowser, PARTS, startBrowser, Visitor } from "./visitor.mjs";

const { WORK, BINARY } = process.env;
const EXAMPLE = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../../examples/shared-login");
const NOBODY = 65534;

async function end() {
  await endBrowser();
  await endAll();
}
for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
  process.on(signal, () => end().finally(() => process.exit(code)));
}
before(startBrowser);
after(end);

/** Sends a raw request, with headers that a browser would not send. Returns status, headers and body. */
function raw(url, path, { method = "GET", headers = {}, form } = {}) {
  const body = form && new URLSearchParams(form).toString();
  const type = "application/x-www-form-urlencoded";
  if (body) headers = { ...headers, "Content-Type": type, "Content-Length": body.length };
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    request({ hostname, port, path, method, headers }, async (answer) => {
      let text = "";
      for await (const chunk of answer) text += chunk;
      resolve({ status: answer.statusCode, headers: answer.headers, body: text });
    }).on("error", reject).end(body);
  });
}

/** Calls the service directly, as the parts of the site do. */
async function sessions({ service }, method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${service}/site/${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200);
  return answer.json();
}

async function assertKnown(visitor, name) {
  for (const part of PARTS) {
    const { status, title, loginForm } = await visitor.visit(part);
    assert.deepEqual({ part, status, title, loginForm },
      { part, status: 200, title: `Hello, ${name}`, loginForm: false });
  }
}

async function assertStranger(visitor) {
  for (const part of PARTS) {
    const { status, title, loginForm } = await visitor.visit(part);
    assert.deepEqual({ part, status, title, loginForm },
      { part, status: 200, title: "You are not logged in", loginForm: true });
  }
}

/** The main behaviour of the site. `site` is set when the tests run. */
function sharedLogin(site) {
  it("a visitor without a login sees the login form on every part", async () => {
    const visitor = await Visitor.arrive(site.url);
    await assertStranger(visitor);
    await visitor.leave();
  });

  it("a login on the Python part is valid on all, they share one counter, and a logout on one part ends it on all", async () => {
    const [first, second] = [await Visitor.arrive(site.url), await Visitor.arrive(site.url)];
    const greeted = await first.logIn("python", "Ann", { role: "editor" });
    assert.deepEqual(greeted, {
      status: 200, path: "/python/", title: "Hello, Ann", role: "editor", visits: "1", loginForm: false,
    });
    let visits = 1;
    for (const part of ["php", "java", "node", "python", "node", "java", "php"]) {
      const seen = await first.visit(part);
      visits += 1;
      assert.deepEqual({ part, ...seen },
        { part, status: 200, title: "Hello, Ann", role: "editor", visits: String(visits), loginForm: false });
    }

    await second.logIn("node", "Ann");
    const token = await first.token();
    for (const part of PARTS) {
      const devices = await first.devices(part);
      assert.equal(devices.length, 2, `two devices on ${part}`);
      for (const [address, idle, lastUse] of devices) {
        assert.equal(address, "127.0.0.1");
        const seconds = Number(/^(\d+) s$/.exec(idle)[1]);
        const used = Date.parse(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/.exec(lastUse)[0]);
        assert.ok(seconds < 600 && Math.abs(Date.now() - used) < 600_000, `${part}: ${idle}, ${lastUse}`);
      }
    }

    const left = await first.logOut("java");
    assert.deepEqual([left.status, left.path, left.title], [200, "/java/", "You are not logged in"]);
    assert.equal(await first.token(), undefined, "the cookie is deleted");
    assert.deepEqual(await sessions(site, "GET", `get/${token}`), {}, "the session has ended");
    await assertStranger(first);
    await assertKnown(second, "Ann");
    assert.equal((await second.devices("php")).length, 1);
    for (const secret of [token, await second.token()]) {
      assert.ok(!logs(site.state).includes(secret), "no log contains a token");
    }
    await Promise.all([first.leave(), second.leave()]);
  });
}

/** Behaviour that does not depend on the store. */
function safety(site) {
  const visitors = [];
  const arrive = async () => {
    const visitor = await Visitor.arrive(site.url);
    visitors.push(visitor);
    return visitor;
  };
  afterEach(() => Promise.all(visitors.splice(0).map((visitor) => visitor.leave())));

  for (const part of PARTS) {
    it(`a login on ${part} replaces a planted cookie and sets the right attributes`, async () => {
      const visitor = await arrive();
      const name = `Vic of ${part}`;
      const data = { name: "Mallory", role: "reader" };
      const { token: planted } = await sessions(site, "PUT", "create/mallory?ip=192.0.2.1", data);
      await visitor.visit(part);
      await visitor.plant(planted);
      await visitor.submitLogin(name);

      const cookies = await visitor.cookies();
      assert.equal(cookies.length, 1);
      const { value, ...cookie } = cookies[0];
      assert.match(value, /^[A-Za-z0-9]{64}$/);
      assert.notEqual(value, planted);
      assert.deepEqual(await sessions(site, "GET", `get/${planted}`), {}, "the planted session has ended");
      assert.equal((await sessions(site, "GET", `get/${value}`)).id, name);
      const { httpOnly, secure, sameSite, path, expires, domain } = cookie;
      assert.deepEqual({ httpOnly, secure, sameSite, path, expires, domain },
        { httpOnly: true, secure: true, sameSite: "Lax", path: "/", expires: -1, domain: "127.0.0.1" });
      // Checks the header itself, because browsers default to Lax.
      const sent = await raw(site.url, `/${part}/login`,
        { method: "POST", headers: { Origin: site.url }, form: { name, role: "reader", password: "demo" } });
      const attributes = sent.headers["set-cookie"][0].toLowerCase().split("; ").slice(1);
      assert.deepEqual(attributes.sort(), ["httponly", "path=/", "samesite=lax", "secure"]);
      const readable = await visitor.page.evaluate(() => {
        document.cookie = "probe=1";
        return document.cookie;
      });
      assert.equal(readable, "probe=1", "scripts see their own cookie, and not the session's");
    });

    it(`a logout on ${part} ends the session itself, not only the cookie`, async () => {
      const visitor = await arrive();
      await visitor.logIn(part, `Quin of ${part}`);
      const [{ value }] = await visitor.cookies();
      assert.equal((await sessions(site, "GET", `get/${value}`)).id, `Quin of ${part}`);
      await visitor.logOut(part);
      assert.deepEqual(await sessions(site, "GET", `get/${value}`), {}, "a copy of the cookie is worthless");
      assert.deepEqual(await visitor.cookies(), []);
    });

    it(`a name with markup, entered on ${part}, is escaped on all parts`, async () => {
      const visitor = await arrive();
      const name = `Zoë ${part}/../?#%2F+<img src="x" onerror='alert(1)'>&amp;\\u0041`;
      await visitor.logIn(part, name);
      await assertKnown(visitor, name);
      for (const shown of PARTS) {
        assert.equal((await visitor.devices(shown)).length, 1, `one device on ${shown}`);
        await visitor.visit(shown);
        assert.equal(await visitor.page.locator("img").count(), 0);
      }
    });

    it(`${part} rejects a wrong password`, async () => {
      const visitor = await arrive();
      const { status, title, loginForm } = await visitor.logIn(part, "Eve", { password: "guess" });
      assert.deepEqual({ status, title, loginForm }, { status: 403, title: "Wrong password", loginForm: true });
      assert.deepEqual(await visitor.cookies(), []);
      for (const [name, role] of [["", "reader"], ["..", "reader"], ["E\nve", "reader"], ["Eve", "king"]]) {
        const answer = await raw(site.url, `/${part}/login`,
          { method: "POST", headers: { Origin: site.url }, form: { name, role, password: "demo" } });
        assert.deepEqual([answer.status, answer.headers["set-cookie"]], [400, undefined], `${name}, ${role}`);
      }
    });

    it(`${part} rejects forms from other sites`, async () => {
      const visitor = await arrive();
      await visitor.logIn(part, "Ann");
      const token = await visitor.token();
      const cookie = { Cookie: `session=${token}` };
      const form = { name: "Mallory", role: "reader", password: "demo" };
      const { host } = new URL(site.url);
      for (const Origin of [undefined, "null", "http://evil.example", `https://${host}`, `${site.url}.evil.example`]) {
        for (const action of ["login", "logout", "logout-everywhere"]) {
          const headers = Origin === undefined ? cookie : { ...cookie, Origin };
          const answer = await raw(site.url, `/${part}/${action}`, { method: "POST", headers, form });
          assert.deepEqual([answer.status, answer.headers["set-cookie"]], [403, undefined], `${action} from ${Origin}`);
        }
      }
      // A page of another origin in the same browser.
      await visitor.page.goto("about:blank");
      const action = `${site.url}/${part}/logout`;
      await visitor.page.setContent(`<form method="post" action="${action}"><button>Log out</button></form>`);
      assert.equal((await visitor.press("Log out")).status, 403);
      assert.equal(await visitor.token(), token);
      await assertKnown(visitor, "Ann");
    });

    it(`${part} ignores forged client addresses`, async () => {
      const name = `Forger of ${part}`;
      const headers = { Origin: site.url, "X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66" };
      const form = { name, role: "reader", password: "demo" };
      const answer = await raw(site.url, `/${part}/login`, { method: "POST", headers, form });
      assert.equal(answer.status, 303);
      const found = await sessions(site, "GET", `soid/${encodeURIComponent(name)}`);
      assert.deepEqual(found.sessions.map(({ ip }) => ip), ["127.0.0.1"]);
    });

    it(`${part} ignores malformed cookies, and finds the session's cookie among others`, async () => {
      const unknown = "A".repeat(64);
      for (const nonsense of ["", "x", "..%2F..%2Fping", "../../ping", unknown, `${unknown}A`, "\u00e9", "%00"]) {
        const answer = await raw(site.url, `/${part}/`, { headers: { Cookie: `session=${nonsense}` } });
        assert.equal(answer.status, 200, nonsense);
        assert.match(answer.body, /You are not logged in/);
      }
      const { token } = await sessions(site, "PUT", "create/ann?ip=192.0.2.1", { name: "Ann", role: "reader" });
      const others = `odd{name=1; xsession=no; session=${token}; theme="a b"`;
      assert.match((await raw(site.url, `/${part}/`, { headers: { Cookie: others } })).body, /Hello, Ann/);
    });

    it(`"log out everywhere" on ${part} ends all sessions of the user and no others`, async () => {
      const [first, second, other] = [await arrive(), await arrive(), await arrive()];
      await first.logIn(part, "Bea");
      await second.logIn("python", "Bea");
      await other.logIn("python", "Cid");
      await first.open(`${part}/devices`);
      const left = await first.press("Log out everywhere");
      assert.deepEqual([left.status, left.path, left.title], [200, `/${part}/`, "You are not logged in"]);
      await assertStranger(second);
      await assertKnown(other, "Cid");
      assert.deepEqual((await sessions(site, "GET", "soid/Bea")).sessions, []);
    });
  }

  it("nginx has no route to the service", async () => {
    const { token } = await sessions(site, "PUT", "create/ann?ip=192.0.2.1");
    const routes = [["GET", "/ping"], ["GET", "/livez"], ["GET", "/readyz"], ["GET", "/metrics"],
      ["GET", "/openapi.yaml"], ["GET", `/site/get/${token}`], ["GET", "/site/soapp?dt=600"], ["GET", "/site/soid/ann"],
      ["PUT", "/site/create/ann?ip=192.0.2.1"], ["DELETE", "/site/killsoid/nobody"], ["DELETE", `/site/kill/${token}`]];
    const headers = { Host: new URL(site.service).host, Origin: site.url };
    for (const [method, path] of routes) {
      for (const way of [path, `/python/..${path}`, `//${path}`, ...PARTS.map((part) => `/${part}${path}`)]) {
        const { status } = await raw(site.url, way, { method, headers });
        assert.ok([403, 404, 405].includes(status), `${method} ${way}: ${status}`);
      }
    }
    assert.equal((await sessions(site, "GET", `get/${token}`)).id, "ann", "the session has not changed");
    for (const [method, path] of routes) {
      assert.equal((await raw(site.service, path, { method })).status, 200, `the service accepts ${method} ${path}`);
    }
  });
}

/** During an outage every part asks visitors to try again, and no visitor is logged out. */
function outage(site, { begin, end: endOutage, forms }) {
  it("an outage is a 503 on every part, and no logout", async () => {
    const visitors = await Promise.all(PARTS.map(() => Visitor.arrive(site.url)));
    await Promise.all(visitors.map((visitor) => visitor.logIn("python", "Ann")));
    const before = await Promise.all(visitors.map((visitor) => visitor.cookies()));
    const newVisitors = forms ? await Promise.all(PARTS.map(() => Visitor.arrive(site.url))) : [];
    await Promise.all(newVisitors.map((newVisitor, index) => newVisitor.visit(PARTS[index])));
    if (forms) await Promise.all(visitors.map((visitor, index) => visitor.visit(PARTS[index])));
    const unavailable = { status: 503, title: "Please try again in a moment", loginForm: false };
    const summaryOf = ({ status, title, loginForm }) => ({ status, title, loginForm });

    await begin();
    if (forms) {
      for (const visitor of visitors) assert.deepEqual(summaryOf(await visitor.press("Log out")), unavailable);
      for (const newVisitor of newVisitors) {
        assert.deepEqual(summaryOf(await newVisitor.submitLogin("Dan")), unavailable);
        assert.deepEqual(await newVisitor.cookies(), []);
      }
    }
    for (const path of forms ? ["", "devices"] : [""]) {
      const seen = await Promise.all(visitors.map((visitor, index) => visitor.open(`${PARTS[index]}/${path}`)));
      for (const [index, page] of seen.entries()) assert.deepEqual(summaryOf(page), unavailable, PARTS[index]);
    }
    const answer = await raw(site.url, "/php/", { headers: { Cookie: `session=${before[0][0].value}` } });
    assert.deepEqual([answer.status, answer.headers["retry-after"]], [503, "1"]);
    assert.deepEqual(await Promise.all(visitors.map((visitor) => visitor.cookies())), before);
    assert.match(logs(site.state), /sessions: /);
    await endOutage();

    await until("the service is back", async () => (await fetch(`${site.service}/readyz`)).ok);
    for (const visitor of visitors) await assertKnown(visitor, "Ann");
    await Promise.all([...visitors, ...newVisitors].map((visitor) => visitor.leave()));
  });
}

/** However the site stops, no process and no file of it is left. `finish` returns the exit code of start.py. */
function ending(site, name, expected, finish, own = ["rest-sessions"]) {
  it(name, async () => {
    const programs = processesIn(site.state).map(({ program }) => program.replace(/[\d.]+$/, ""));
    const wanted = [...own, "java", "nginx", "nginx", "node", ...Array(5).fill("php-fpm"), "python"];
    assert.deepEqual(programs.sort(), wanted.sort());
    assert.equal(await finish(), expected);
    assert.deepEqual(processesIn(site.state), []);
    assert.ok(!existsSync(site.state));
    assert.deepEqual(readdirSync(join(WORK, "tmp")).filter((entry) => entry.startsWith("shared-login")), []);
  });
}

function pidOf(site, program) {
  return processesIn(site.state).find((found) => found.program === program).pid;
}

describe("the embedded store", () => {
  const site = {};
  before(async () => Object.assign(site, await startSite("site", EXAMPLE, ["--binary", BINARY])));
  sharedLogin(site);
  safety(site);
  outage(site, { // the service hangs
    begin: () => process.kill(pidOf(site, "rest-sessions"), "SIGSTOP"),
    end: () => process.kill(pidOf(site, "rest-sessions"), "SIGCONT"),
  });
  ending(site, "when one part dies, all end", 1, async () => {
    process.kill(pidOf(site, "nginx"), "SIGKILL");
    const code = await site.part.ended;
    assert.match(site.part.printed, /nginx ended with -9/);
    return code;
  });
});

describe("Redis", () => {
  const site = {};
  let redis;
  before(async () => {
    redis = await startRedis("redis");
    Object.assign(site, await startSite("site on Redis", EXAMPLE, ["--binary", BINARY, "--redis", redis.url]));
  });
  after(() => redis.part.end());
  sharedLogin(site);
  outage(site, { // the service responds, its store does not
    begin: () => redis.part.end("SIGKILL"),
    end: async () => {
      redis = await startRedis("redis");
    },
  });
  ending(site, "SIGTERM ends all", 0, () => site.part.end("SIGTERM"));
});

describe("a service of its own, and a site that does not run as root", () => {
  const site = {};
  let service;
  before(async () => {
    service = await startService("service");
    const example = join(WORK, "example"); // readable by every user
    cpSync(EXAMPLE, example, { recursive: true });
    const user = process.getuid() === 0 ? NOBODY : undefined;
    Object.assign(site, await startSite("site as nobody", example, ["--service", service.url], user));
  });
  after(() => service.part.end());
  sharedLogin(site);
  outage(site, { // the service has exited
    forms: true,
    begin: () => service.part.end("SIGKILL"),
    end: async () => {
      service = await startService("service", new URL(service.url).port);
    },
  });
  ending(site, "Ctrl-C ends all", 0, () => site.part.end("SIGINT"), []);
});
