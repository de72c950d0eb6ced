// Tests which cookie counts, when one is set, and with which attributes.

import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { cookieCases, DEAD, restSessions, RestSessionsStore, serve, startService, visit } from "./support.mjs";

const service = await startService();
const options = { url: service.url, cookie: { secure: false } };
const HTTPS = { "X-Forwarded-Proto": "https" };
const write = (app) => app.get("/", (req, res) => res.send(String((req.session.a = "ok"))));

// Sends raw Cookie header lines.
function send(port, lines) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      const cookies = lines.map((line) => `Cookie: ${line}\r\n`).join("");
      socket.write(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${cookies}\r\n`, "latin1");
    });
    let text = "";
    socket.on("data", (chunk) => (text += chunk)).on("error", reject).on("end", () => resolve(text.split("\r\n\r\n")[1]));
  });
}

test("the table of cookies", async () => {
  const { port } = await serve(options, (app) => app.get("/", (req, res) => res.send(req.session.who ?? "nobody")));
  const tokens = { ann: await service.create({ who: "ann" }), bob: await service.create({ who: "bob" }), dead: DEAD };
  for (const { name, lines, who } of cookieCases) {
    const sent = lines.map((line) => line.replace(/\{(\w+)\}/g, (_, key) => tokens[key]));
    assert.equal(await send(port, sent), who ?? "nobody", name);
  }
  const dead = [1, 2, 3, 4].map((n) => `session=${String(n).repeat(64)}; `).join("");
  assert.equal(await send(port, [`${dead}session=${tokens.ann}`]), "nobody", "four are looked up");
  assert.equal(await send(port, [`${dead.slice(0, 3 * 74)}session=${tokens.ann}`]), "ann");
});

test("only spaces and tabs are trimmed", async () => {
  const { port } = await serve(options, (app) => app.get("/", (req, res) => res.send(req.session.who ?? "nobody")));
  const ann = await service.create({ who: "ann" });
  const bob = await service.create({ who: "bob" });
  for (const [line, who] of [
    [`session=${ann}\xa0`, "nobody"], [`session=\xa0${ann}`, "nobody"], [`session\xa0=${ann}`, "nobody"], [`\xa0session=${ann}`, "nobody"],
    [`session=${ann}\x85`, "nobody"], [`session=${ann}\xa0; session=${bob}`, "bob"], [`session="${ann}\xa0"`, "nobody"],
    [`session=${ann}\t`, "ann"], [`session\t=\t${ann} \t; a=b`, "ann"], [`a=1;\tsession=${ann}`, "ann"],
    [`a=${" ".repeat(12_000)}b; session=${ann}`, "ann"],
  ]) {
    assert.equal(await send(port, [line]), who, JSON.stringify(line.replace(ann, "{ann}").replace(bob, "{bob}").slice(0, 60)));
  }
});

test("the app sees the Cookie header unchanged", async () => {
  const { port } = await serve({ ...options, cookie: (req) => ({ secure: false, path: req.headers.cookie.includes("x=1") ? "/" : "/no" }) }, (app) => {
    app.get("/", (req, res) => res.send(`${req.headers.cookie} ${req.session.a}`));
  });
  const token = await service.create({ a: 1 });
  const cookie = `x=1; session=${DEAD}; session=${token}`;
  assert.equal((await visit(port, "/", { headers: { Cookie: cookie } })).body, `${cookie} 1`);
});

test("a Secure cookie needs https, by express-session's own decision", async () => {
  const cases = [
    [{}, true, HTTPS, 200], [{}, true, {}, 500], [{}, false, HTTPS, 500],
    [{ proxy: true }, false, HTTPS, 200], [{ proxy: true }, false, { "X-Forwarded-Proto": "https, http" }, 200],
    [{ proxy: true }, true, {}, 500], [{ proxy: false }, true, HTTPS, 500], [{ proxy: undefined }, true, HTTPS, 200],
    [{ cookie: { secure: "auto" } }, true, {}, 200], [{ cookie: { secure: false } }, false, {}, 200],
    [{ cookie: () => ({ secure: "auto" }) }, true, HTTPS, 200],
  ];
  for (const [more, trust, headers, status] of cases) {
    const { port } = await serve({ url: service.url, ...more }, write, { trust });
    const before = (await service.sessions()).length;
    const answer = await visit(port, "/", { headers });
    const sessions = (await service.sessions()).length - before;
    const made = status === 200 ? 1 : 0;
    assert.deepEqual([answer.status, answer.cookies.length, sessions], [status, made, made], JSON.stringify([more, trust, headers]));
    if (made) assert.equal(/; Secure/.test(answer.lines[0]), more.cookie ? headers === HTTPS : true);
  }
});

test("no session is created if its cookie cannot be sent", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      Object.assign(req.session.cookie, JSON.parse(req.query.set));
      res.send((req.session.a = "ok"));
    });
  });
  for (const set of [{ sameSite: "sometimes" }, { domain: "a\nb" }, { priority: "urgent" }, { expires: "tomorrow" }]) {
    const before = (await service.sessions()).length;
    const answer = await visit(port, `/?set=${encodeURIComponent(JSON.stringify(set))}`);
    assert.deepEqual([answer.status, answer.cookies], [500, []], JSON.stringify(set));
    assert.equal((await service.sessions()).length, before);
  }
});

test("a cookie that browsers reject is refused at the start, or before a session is created", async () => {
  const host = { name: "__Host-s" };
  const bad = [
    [{ sameSite: "none" }], [{ sameSite: "None" }], [{ partitioned: true }], [{ sameSite: "bogus" }], [{ priority: "urgent" }], [{ path: "/a;b" }],
    [{ path: "app" }], [{ maxAge: "3600000" }], [{ maxAge: NaN }], [{ maxAge: -1 }], [{ maxAge: 0 }], [{ maxAge: 1e20 }], [{ expires: "2030-01-01" }],
    [{ expires: new Date(0) }], [{ domain: "b\u00fc" }], [{ domain: "a\nb" }],
    [{}, host], [{}, { name: "__host-s" }], [{ secure: true, path: "/app" }, host], [{ secure: true, domain: "example.com" }, host],
    [{ secure: true, path: "" }, host], [{}, { name: "__Secure-s" }], [{}, { name: "__secure-s" }],
  ];
  for (const [cookie, more] of bad) {
    const given = { url: service.url, app: "shop", cookie: { secure: false, ...cookie }, ...more };
    assert.throws(() => restSessions(given), /^TypeError: restSessions: cookie: [^\n]+$/, JSON.stringify(given));
  }
  for (const name of ["a b", "a;b", "a=b", "a,b", "a\n", "", "\u00fc", "a\0", '"a"', 5]) {
    assert.throws(() => restSessions({ url: service.url, app: "shop", name }), /restSessions: name/, JSON.stringify(name));
  }
  const good = [
    [{ sameSite: "none", secure: true }], [{ secure: true }, host], [{ secure: "auto" }, host], [{ secure: "auto", sameSite: "auto" }],
    [{ sameSite: "auto" }], [{ secure: true, domain: "example.com", path: "/app" }, { name: "__Secure-s" }], [{ expires: new Date(Date.now() + 1e6) }],
  ];
  for (const [cookie, more] of good) restSessions({ app: "shop", cookie: { secure: false, ...cookie }, ...more });

  // Options that are resolved per request.
  const before = (await service.sessions()).length;
  const set = (cookie) => (app) => {
    app.get("/", (req, res) => {
      Object.assign(req.session.cookie, cookie);
      res.send((req.session.a = "ok"));
    });
    app.get("/regenerate", (req, res, next) => req.session.regenerate((error) => (error ? next(error) : res.send((req.session.a = "ok")))));
  };
  for (const [cookie, more] of bad) {
    if (cookie.path === "app" || cookie.maxAge <= 0 || cookie.expires instanceof Date || more?.name === "__Secure-s") continue;
    const whole = { secure: false, ...cookie };
    if (whole.path && whole.path !== "/a;b") whole.path = "/"; // other paths would not match the request
    if (more && whole.path && !whole.domain) continue;
    const { port } = await serve({ url: service.url, cookie: () => whole, ...more }, set({}));
    for (const path of whole.path === "/a;b" ? [] : ["/", "/regenerate"]) {
      const answer = await visit(port, path, { headers: HTTPS });
      assert.deepEqual([answer.status, answer.headers["set-cookie"]], [500, undefined], JSON.stringify([whole, more, path]));
    }
  }
  for (const [cookie, headers] of [[{ secure: "auto", sameSite: "none" }, {}], [{ secure: false, sameSite: "auto" }, HTTPS]]) {
    const { port } = await serve({ url: service.url, cookie }, set({}));
    assert.deepEqual([(await visit(port, "/", { headers })).status, cookie], [500, cookie]);
  }
  let age = 1000_000;
  const changing = await serve({ url: service.url, cookie: () => ({ secure: false, maxAge: age }) }, (app) => {
    app.get("/", (req, res, next) => {
      age = "soon";
      req.session.regenerate((error) => (error ? next(error) : res.send("ok")));
    });
  });
  assert.equal((await visit(changing.port, "/")).status, 500, "a function of options may fail later");
  assert.equal((await service.sessions()).length, before);

  // An existing session keeps its cookie.
  const { port } = await serve(options, set({ sameSite: "none" }));
  const token = await service.create({ a: 1 });
  assert.deepEqual([(await visit(port, "/", { token })).status, (await service.get(token)).d], [500, { a: 1 }]);
});

test("cookie attributes apply in every place where they can be set", async () => {
  const wanted = [
    [{ sameSite: "none", secure: true, partitioned: true, priority: "high" }, ["Secure", "SameSite=None", "Partitioned", "Priority=High"]],
    [{ sameSite: true, secure: false }, ["SameSite=Strict"]],
    [{ sameSite: "strict", secure: false, domain: "example.com", httpOnly: false }, ["SameSite=Strict", "Domain=example.com"]],
    [{ sameSite: "auto", secure: "auto" }, ["Secure", "SameSite=None"]],
  ];
  for (const [cookie, attributes] of wanted) {
    for (const how of ["option", "function", "session"]) {
      if (how === "session" && cookie.secure === "auto") continue;
      const given = { option: cookie, function: () => cookie, session: { secure: false } }[how];
      const { port } = await serve({ url: service.url, cookie: given, rolling: true }, (app) => {
        app.get("/", (req, res) => {
          if (how === "session") Object.assign(req.session.cookie, cookie);
          res.send((req.session.a = "ok"));
        });
        app.get("/next", (req, res) => res.send("ok"));
      });
      const first = await visit(port, "/", { headers: HTTPS });
      const next = await visit(port, "/next", { headers: HTTPS, token: first.cookies[0] });
      for (const { lines, cookies } of [first, next]) {
        assert.equal(cookies[0], first.cookies[0]);
        const parts = lines[0].split("; ").slice(1).filter((part) => part !== "Path=/");
        assert.deepEqual(parts.sort(), [...attributes, ...(cookie.httpOnly === false ? [] : ["HttpOnly"])].sort(), `${how} ${lines}`);
      }
    }
  }
});

test("a cookie lifetime set for one session persists and is the session's ttl", async () => {
  const days = (line) => {
    const expires = /Expires=([^;]+)/.exec(line)?.[1];
    return expires && Math.round((new Date(expires) - Date.now()) / 864_000) / 100;
  };
  const routes = (app) => {
    app.get("/long", (req, res) => res.send(String(Object.assign(req.session, { a: 1 }).cookie.maxAge = 30 * 86_400_000)));
    app.get("/browser", (req, res) => res.send(String(Object.assign(req.session, { a: 1 }).cookie.expires = false)));
    app.get("/page", (req, res) => res.send(String((req.session.n = (req.session.n ?? 0) + 1))));
    app.get("/login", (req, res) => res.send((req.session.user_id = "ann")));
  };
  const browser = await serve({ ...options, rolling: true }, routes);
  const lasting = await serve({ ...options, rolling: true, cookie: { secure: false, maxAge: 2 * 86_400_000 } }, routes);
  for (const [{ port }, path, age, ttl] of [
    [browser, "/long", 30, 2_592_000], [browser, "/page", undefined, 7200],
    [lasting, "/page", 2, 172_800], [lasting, "/browser", undefined, 172_800], [lasting, "/long", 30, 2_592_000],
  ]) {
    const first = await visit(port, path);
    assert.equal(days(first.lines[0]), age, path);
    let [token] = first.cookies;
    for (const then of ["/page", "/page", "/login", "/page"]) {
      const next = await visit(port, then, { token });
      assert.equal(days(next.lines[0]), age, `${path} ${then}`);
      [token] = next.cookies;
      assert.equal((await service.get(token)).ttl, ttl);
    }
  }
});

test("a cookie's lifetime may be shorter than the minimum ttl", async () => {
  const { port } = await serve({ ...options, rolling: true, cookie: { secure: false, maxAge: 2000 } }, (app) => {
    app.get("/", (req, res) => res.send(String((req.session.a = req.session.cookie.originalMaxAge))));
  });
  const [token] = (await visit(port, "/")).cookies;
  const { body, cookies } = await visit(port, "/", { token });
  assert.ok(body > 1000 && body <= 2000, body);
  assert.deepEqual([cookies, (await service.get(token)).ttl], [[token], 10]);
});

test("invalid cookie settings in a session are ignored and stay stored", async () => {
  const { port } = await serve({ ...options, rolling: true }, (app) => app.get("/", (req, res) => res.send("ok")));
  for (const own of ['"x"', "{oops", "null", "[]", '{"path":5,"sameSite":"x;y","domain":"a;b","maxAge":"1","secure":"no"}', '{"maxAge":1e400}']) {
    const token = await service.create({ a: 1, "json:_express_cookie": own });
    const answer = await visit(port, "/", { token });
    assert.deepEqual([answer.status, answer.lines], [200, [`session=${token}; Path=/; HttpOnly; SameSite=Lax`]], own);
    assert.equal((await service.get(token)).d["json:_express_cookie"], own);
  }
});

test("req.session.cookie may be replaced", async () => {
  const { port } = await serve(options, (app) => {
    app.get("/", (req, res) => {
      req.session.cookie = { secure: false, sameSite: "strict" };
      res.send((req.session.a = "ok"));
    });
  });
  const { lines, cookies } = await visit(port, "/");
  assert.deepEqual(lines, [`session=${cookies[0]}; Path=/; HttpOnly; SameSite=Strict`]);
});

test("requests outside of the cookie's path have no session", async () => {
  for (const cookie of [{ path: "/app" }, () => ({ path: "/app" })]) {
    const { port } = await serve({ ...options, cookie }, (app) => app.use((req, res) => res.send(typeof req.session)));
    assert.equal((await visit(port, "/other")).body, "undefined");
    assert.equal((await visit(port, "/app/x?y")).body, "object");
  }
});

test("unsupported options are refused, and the error names them", () => {
  const store = new RestSessionsStore({ app: "shop" });
  for (const [wrong, name] of [
    [{ genid: () => "x" }, /genid/], [{ store: {} }, /store/], [{ store, ttl: 5 }, /ttl/], [{ name: "a b" }, /name/],
    [{ unset: "never" }, /unset/], [{ cookies: {} }, /cookies/], [{ ttl: -1 }, /ttl/], [{ app: "a/b" }, /app/], [{ url: "ftp://x" }, /url/],
    [{ url: "localhost:3000" }, /url/], [{ user: "ann" }, /user/], [{ cookie: "x" }, /cookie/],
  ]) {
    assert.throws(() => restSessions({ app: wrong.store ? undefined : "shop", ...wrong }), name);
  }
  assert.throws(() => restSessions({}), /REST_SESSIONS_APP/);
  restSessions({ app: "shop", secret: "of no use", key: "sid", proxy: undefined, genid: undefined });
});

test("the option key is an alias of name, and a __Host- cookie works", async () => {
  for (const name of ["sid", "__Host-session"]) {
    const { port } = await serve({ url: service.url, [name === "sid" ? "key" : "name"]: name }, write);
    const answer = await visit(port, "/", { headers: HTTPS });
    assert.match(answer.headers["set-cookie"][0], new RegExp(`^${name}=[A-Za-z0-9]{64}; Path=/; HttpOnly; Secure; SameSite=Lax$`));
  }
});
