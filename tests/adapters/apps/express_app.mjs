// The test app in Express. All apps here have the same routes; check.py describes them.

import { existsSync, writeFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import express from "express";
import { restSessions } from "./rest-sessions-store.mjs";

const app = express();
app.set("trust proxy", true);
app.use(express.json({ limit: "1mb" }));
app.use(restSessions({ cookie: { maxAge: 1_200_000 } }));

function data(req) {
  const { cookie, ...rest } = req.session;
  return rest;
}

app.get("/plain", (req, res) => res.json({}));
app.get("/read", (req, res) => res.json(data(req)));

app.post("/write", async (req, res) => {
  const { set = {}, remove = [], hold } = req.body;
  if (hold) {
    writeFileSync(`${hold}.waiting`, "");
    while (!existsSync(hold)) await setTimeout(20);
  }
  Object.assign(req.session, set);
  for (const key of remove) delete req.session[key];
  res.json(data(req));
});

app.post("/push", (req, res) => {
  req.session.cart.items.push(req.body.item);
  res.json(data(req));
});

app.post("/stream", (req, res) => {
  req.session.streamed = true;
  res.write("[1,");
  res.end("2]");
});

app.post("/saved", (req, res, next) => {
  req.session.first = 1;
  req.session.save((error) => {
    if (error) return next(error);
    req.session.second = 2;
    res.redirect("/read");
  });
});

app.post("/list", (req, res, next) => {
  req.sessionStore.all((error, all) => {
    if (error) return next(error);
    req.sessionStore.length((error, length) => (error ? next(error) : res.json({ all, length })));
  });
});

app.post("/clear", (req, res, next) => {
  req.sessionStore.clear((error) => (error ? next(error) : res.json({})));
});

app.post("/bad", (req, res) => {
  req.session.fine = 1;
  req.session.bad = { object: new Map([["a", 1]]), nan: Number.NaN }[req.body.kind];
  res.json({});
});

app.post("/login", (req, res, next) => {
  const kept = data(req);
  req.session.regenerate((error) => {
    if (error) return next(error);
    Object.assign(req.session, kept, { user_id: req.body.user });
    res.json({ user: req.body.user });
  });
});

app.post("/logout", (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});

app.post("/everywhere", async (req, res) => {
  res.json({ kill: await req.sessionStore.logoutEverywhere(req.body.user) });
});

app.listen(process.argv[2], "127.0.0.1");
