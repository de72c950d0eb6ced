"""The load: sessions in use, requests of each verb, load generators, and CPU time per request."""

import csv, glob, json, os, re, subprocess, sys, time

from build import HERE
from lab import ask, settle

SESSIONS = 10_000  # sessions of as many ids, which get and set use in turn
TRIOS = 1_000  # ids with 3 sessions, for soid
DATA = '{"name":"Ada","role":"admin","cart":3}'
FILL = 64  # connections that create sessions for kill

# Method, path with a place for a token or an id, and body. create is in create.lua.
VERBS = {
    "get": ("GET", "/bench/get/{}", None),
    "create": None,
    "set": ("POST", "/bench/set/{}", '{"cart":4}'),
    "kill": ("DELETE", "/made/kill/{}", None),
    "soid": ("GET", "/trios/soid/{}", None),
    "activity": ("GET", "/bench/activity?dt=3600", None),
}


def create(client, app, user):
    """Creates a session; returns its token."""
    return json.loads(ask(client, "PUT", f"/{app}/create/{user}?ip=203.0.113.7&ttl=86400", DATA))["token"]


def create_sessions(server):
    """Creates the sessions in use; returns their tokens."""
    with server.client() as client:
        return [create(client, "bench", f"user-{n}") for n in range(SESSIONS)]


def write_paths(folder, verb, names):
    """Writes the file of paths for paths.lua and paced.rs."""
    path = VERBS[verb][1]
    with open(f"{folder}/{verb}", "w") as file:
        file.writelines(path.format(name) + "\n" for name in names)


def prepare(target, floor):
    """Creates a server's sessions and checks its answers. The bare server (`floor`) has no sessions and gets tokens of
    the same length."""
    tokens, trios = [f"{n:064}" for n in range(SESSIONS)], [f"trio-{n}" for n in range(TRIOS)]
    if floor:
        write_paths(target.folder, "kill", tokens)
    else:
        tokens = create_sessions(target.server)
        with target.server.client() as client:
            for user in trios * 3:
                create(client, "trios", user)
        check(target.server, tokens[0], trios[0])
    for verb, names in {"get": tokens, "set": tokens, "soid": trios, "activity": [""]}.items():
        write_paths(target.folder, verb, names)


def check(server, token, trio):
    found = [
        server.json(f"/bench/get/{token}")["id"] == "user-0",
        [session["id"] for session in server.json(f"/trios/soid/{trio}")["sessions"]] == [trio] * 3,
        server.json("/bench/activity?dt=3600") == {"activity": SESSIONS},
    ]
    if not all(found):
        sys.exit(f"wrong answers to get, soid, activity: {found}")


def wrk(port, script, connections, seconds, **env):
    """Runs wrk; returns requests per second, p50 and p99 in milliseconds, and the number of answers."""
    threads = min(2, connections)
    out = subprocess.run(
        ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / script),
         f"http://127.0.0.1:{port}/"],
        env=os.environ | env | {"THREADS": str(threads)}, capture_output=True, text=True, check=True).stdout
    if failed := re.search(r"Non-2xx or 3xx responses: \d+", out):
        sys.exit(failed[0])
    if errors := re.search(r"Socket errors: .*", out):
        print("some requests were not answered:", errors[0], file=sys.stderr)

    def ms(label):
        value, unit = re.search(label + r"%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    count = int(re.search(r"(\d+) requests in", out)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return {"rate": rate, "p50": ms("50"), "p99": ms("99"), "count": count}


def create_for_kill(target, seconds):
    """Creates sessions for kill; returns their number."""
    tokens = f"{target.folder}/tokens"
    wrk(target.server.port, "create.lua", FILL, seconds, TOKENS=tokens)
    doomed = [token for part in glob.glob(f"{tokens}.*") for token in open(part).read().split()]
    write_paths(target.folder, "kill", doomed)
    return len(doomed)


def verb(name, target, connections, seconds):
    """Sends requests of a verb as fast as the server answers."""
    if name == "create":
        return wrk(target.server.port, "create.lua", connections, seconds)
    method, _, body = VERBS[name]
    env = {"METHOD": method, "PATHS": f"{target.folder}/{name}"} | ({"BODY": body} if body else {})
    return wrk(target.server.port, "paths.lua", connections, seconds, **env)


def paced(program, target, connections, rate, seconds):
    """Gets at a fixed rate: see paced.rs."""
    command = [program, str(target.server.port), f"{target.folder}/get", str(connections), str(rate), str(seconds)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def with_cost(target, all_processes, load):
    """Runs a load after all processes are idle; adds CPU microseconds per request and resident memory to its result."""
    settle(all_processes)
    before = [p.cpu() for p in target.processes()]
    found = load()
    rss = target.server.rss()
    # Deferred work counts, too: buffered reads are flushed to Redis or to disk within a second.
    time.sleep(1.2)
    settle(all_processes)
    cpu = [(p.cpu() - b) * 1e6 / found["count"] for p, b in zip(target.processes(), before)]
    return found | {"cpu": cpu, "rss": rss}


HASHES, DEPTH, READS = 10_000, 64, 1_000_000
FIELDS = {"id": "user-12345", "r": "17", "w": "3", "ttl": "7200", "la": "1700000000", "ip": "203.0.113.7", "d": DATA}


def fill_hashes(redis):
    """Stores session hashes under keys that redis-benchmark can generate."""
    def encoded(*words):
        return f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    fields = [word for field in FIELDS.items() for word in field]
    text = "".join(encoded("HSET", f"bench:{n:012}", *fields) for n in range(HASHES))
    command = ["redis-cli", "-p", str(redis.port), "--pipe"]
    subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def hmget(redis):
    """Measures Redis alone: the HMGET of a get, on one connection with DEPTH requests in flight."""
    command = ["redis-benchmark", "-p", str(redis.port), "-c", "1", "-P", str(DEPTH), "-n", str(READS),
               "-r", str(HASHES), "--csv",
               "HMGET", "bench:__rand_int__", "id", "r", "w", "ttl", "la", "ip", "no_resave", "d"]
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    row = next(csv.DictReader(out.splitlines()))
    return {"rate": float(row["rps"]), "count": READS}
