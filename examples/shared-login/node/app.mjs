// The Node part of the site. session-client.mjs is the file to copy.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { SessionClient, SessionOutage, SessionRefused } from "./session-client.mjs";

const sessions = new SessionClient(process.env.SESSIONS_URL, "site");

const PASSWORD = "demo"; // Demo only: all users share one password. A real site stores a hash of each user's password.
const ROLES = ["reader", "editor"];

// Lax: browsers omit the cookie in POSTs from other sites. No Max-Age: the service's ttl ends a session.
const cookieFor = (token) => `session=${token}; Path=/; HttpOnly; Secure; SameSite=Lax`;
const NO_COOKIE = `${cookieFor("")}; Max-Age=0`;

const LOGIN = `<form method="post" action="/node/login">
<label>Name <input name="name" required maxlength="64" autocomplete="username"></label>
<label>Role <select name="role"><option>reader<option>editor</select></label>
<label>Password <input name="password" type="password" required autocomplete="current-password"></label>
<button>Log in</button>
<p>This is a demo: any name will do, and the password is <code>demo</code>.</p>
</form>`;

async function home(request) {
  const found = await find(request);
  let session = found?.session;
  // Two concurrent visits may count as one: both read the same number.
  if (found) session = await sessions.set(found.token, { visits: (session.d.visits ?? 0) + 1 });
  if (!session) return page(200, "You are not logged in", LOGIN);
  const { name, role, visits } = session.d;
  return page(200, `Hello, ${escape(name)}`, `<p>Your role: <b id="role">${escape(role)}</b>.
Your visits to the four parts: <b id="visits">${escape(visits)}</b>.</p>
<p><a href="/node/devices">Your devices</a></p>
<form method="post" action="/node/logout"><button>Log out</button></form>`);
}

async function login(request) {
  const form = await readForm(request);
  const [name, role, password] = ["name", "role", "password"].map((field) => form.get(field) ?? "");
  if (password !== PASSWORD) return page(403, "Wrong password", LOGIN);
  if (!/^[\p{L}\p{N}].{0,63}$/su.test(name) || !ROLES.includes(role)) {
    return page(400, "Choose a name that begins with a letter or a digit", LOGIN);
  }
  let token;
  try {
    token = await sessions.create(name, { ip: visitorIp(request), data: { name, role, visits: 0 } });
  } catch (error) {
    if (!(error instanceof SessionRefused)) throw error;
    return page(400, "Choose another name", LOGIN); // a line break in the name, for example
  }
  // Always a new token, and the old session ends. Why: an attacker may have planted the old token. If ending it fails,
  // the login fails: the visitor keeps the old cookie, and the new session ends because no cookie names it.
  try {
    const old = await find(request);
    if (old) await sessions.kill(old.token);
  } catch (error) {
    await sessions.kill(token).catch(() => {});
    throw error;
  }
  return redirect(cookieFor(token));
}

async function devices(request) {
  const found = await find(request);
  if (!found) return redirect();
  const rows = (await sessions.soid(found.session.id)).map(({ ip, idle }) => {
    const lastUse = new Date(Date.now() - idle * 1000).toISOString().slice(0, 19).replace("T", " ");
    return `<tr><td>${escape(ip)}<td>${idle} s<td>${lastUse} UTC`;
  });
  return page(200, "Your devices", `<table><tr><th>Address<th>Idle<th>Last use${rows.join("")}</table>
<form method="post" action="/node/logout-everywhere"><button>Log out everywhere</button></form>
<p><a href="/node/">Back</a></p>`);
}

async function logout(request) {
  const found = await find(request);
  if (found) await sessions.kill(found.token); // first: if it fails, the visitor keeps the cookie and can try again
  return redirect(NO_COOKIE);
}

async function logoutEverywhere(request) {
  const found = await find(request);
  if (found) await sessions.killsoid(found.session.id);
  return redirect(NO_COOKIE);
}

const ROUTES = {
  "GET /node/": home,
  "GET /node/devices": devices,
  "POST /node/login": login,
  "POST /node/logout": logout,
  "POST /node/logout-everywhere": logoutEverywhere,
};

async function answer(request) {
  const handler = ROUTES[`${request.method} ${request.url.split("?")[0]}`];
  if (!handler) return page(404, "No such page");
  if (request.method === "POST" && !fromThisSite(request)) return page(403, "This form was sent from another site");
  try {
    return await handler(request);
  } catch (error) {
    if (!(error instanceof SessionOutage)) throw error;
    console.error(`sessions: ${error.message}`);
    const outage = page(503, "Please try again in a moment",
      "<p>The session service does not answer. You have not been logged out.</p>");
    return { ...outage, headers: { ...outage.headers, "Retry-After": "1" } };
  }
}

/**
 * Protects against CSRF. Browsers send Origin with each POST, so this covers the login too, which has no session yet
 * that could hold a CSRF token.
 */
function fromThisSite({ headers }) {
  return headers.origin === `${headers["x-forwarded-proto"]}://${headers.host}`;
}

function visitorIp(request) {
  return request.headers["x-real-ip"]; // nginx overwrites what the client sent
}

function find(request) {
  return sessions.find(request.headers.cookie, "session");
}

async function readForm(request) {
  return new URLSearchParams(await text(request)); // nginx limits the size
}

function escape(value) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return String(value).replace(/[&<>"']/g, (character) => entities[character]);
}

/** `title` and `content` are HTML. */
function page(status, title, content = "") {
  const headers = { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" };
  return { status, headers, body: `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Node</title>
<link rel="stylesheet" href="/style.css">
<nav><a href="/python/">Python</a> <a href="/php/">PHP</a> <a href="/java/">Java</a> <b>Node</b></nav>
<main>
<h1>${title}</h1>
${content}
</main>
` };
}

function redirect(setCookie) {
  const headers = { Location: "/node/", "Cache-Control": "no-store" };
  if (setCookie) headers["Set-Cookie"] = setCookie;
  return { status: 303, headers, body: "" };
}

const server = createServer(async (request, response) => {
  let result;
  try {
    result = await answer(request);
  } catch (error) {
    console.error(error);
    result = page(500, "Something went wrong");
  }
  response.writeHead(result.status, result.headers).end(result.body);
});

const host = process.env.HOST ?? "127.0.0.1";
server.listen(Number(process.env.PORT ?? 8000), host, () => {
  console.log(`listening on http://${host}:${server.address().port}`);
});
