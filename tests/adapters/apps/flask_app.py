"""The test app in Flask. All apps here have the same routes; check.py describes them."""

import datetime
import os
import time

from flask import Flask, jsonify, request, session

from rest_sessions import RestSessionInterface

app = Flask(__name__)
app.config.update(SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax", PERMANENT_SESSION_LIFETIME=1200)
app.session_interface = RestSessionInterface(app)


@app.get("/plain")
def plain():
    return {}


@app.get("/read")
def read():
    return jsonify(dict(session))


@app.post("/write")
def write():
    session.get("")  # loads the session
    if hold := request.json.get("hold"):
        open(f"{hold}.waiting", "w").close()
        while not os.path.exists(hold):
            time.sleep(0.02)
    session.update(request.json.get("set", {}))
    for key in request.json.get("remove", []):
        session.pop(key, None)
    return jsonify(dict(session))


@app.post("/push")
def push():
    session["cart"]["items"].append(request.json["item"])
    return jsonify(dict(session))


@app.post("/bad")
def bad():
    session["fine"] = 1
    session["bad"] = {"object": datetime.datetime.now(), "nan": float("nan")}[request.json["kind"]]
    return {}


@app.post("/login")
def login():
    session.regenerate()
    session["user_id"] = request.json["user"]
    return {"user": request.json["user"]}


@app.post("/logout")
def logout():
    session.clear()
    return {}


@app.post("/everywhere")
def everywhere():
    return {"kill": app.session_interface.logout_everywhere(request.json["user"])}


@app.post("/permanent")
def permanent():
    session.permanent = True
    return {}
