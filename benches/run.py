#!/usr/bin/env python3
"""Measures the service: get, create, set and kill, on both stores, beside a bare axum server.

Builds what it needs, starts everything on free ports of 127.0.0.1, and prints a table. Every round measures everything in
turn, so that a machine whose speed drifts slows all of it; figures are medians over the rounds, ratios are taken within a
round. Needs wrk, redis-server and cargo.
"""

import argparse, contextlib, glob, http.client, json, os, pathlib, re, shutil, socket, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "benches"
TICK = os.sysconf("SC_CLK_TCK")
THREADS = 2  # of wrk
SESSIONS = 10_000  # in use: get and set ask for each of them in turn
DATA = '{"name":"Ada","role":"admin","cart":3}'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A server with its port, its CPU time and its memory as the operating system counts them."""

    def __init__(self, command, port, **options):
        self.port = port
        self.child = subprocess.Popen(command, **options)
        for _ in range(400):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit(f"{command[0]} does not listen")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def end(self):
        self.child.terminate()
        self.child.wait()


class Redis(Process):
    def __init__(self, folder):
        port = free_port()
        super().__init__(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder],
            port, stdout=subprocess.DEVNULL)


class Service(Process):
    def __init__(self, binary, folder, redis=None, extra=()):
        port = free_port()
        env = {k: v for k, v in os.environ.items() if not k.startswith("RS_")}
        command = [binary, "--port", str(port), "--data-dir", folder, "--loglevel", "warn", "--drain-delay", "0", *extra]
        if redis:
            command += ["--redis-url", f"redis://127.0.0.1:{redis.port}"]
        super().__init__(command, port, env=env)


class Bare(Process):
    def __init__(self, binary):
        child = subprocess.Popen([binary], stdout=subprocess.PIPE, text=True)
        self.child, self.port = child, int(child.stdout.readline().rsplit(":", 1)[1])


def wrk(port, script, connections, seconds, **env):
    """Requests per second, p50 and p99 in milliseconds, answers, and answers that were no success."""
    out = subprocess.run(
        ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / script), f"http://127.0.0.1:{port}/"],
        env=os.environ | env, capture_output=True, text=True, check=True).stdout
    def ms(label):
        value, unit = re.search(label + r"%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    count = int(re.search(r"(\d+) requests in", out)[1])
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    if failed or errors:
        print("not all requests were answered well:", (failed or errors)[0], file=sys.stderr)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), ms("50"), ms("99"), count


def measure(servers, target, script, connections, seconds, **env):
    before = [s.cpu() for s in servers]
    rate, p50, p99, count = wrk(target.port, script, connections, seconds, **env)
    cpu = [(s.cpu() - b) * 1e6 / count for s, b in zip(servers, before)]
    return {"rate": rate, "p50": p50, "p99": p99, "cpu": cpu, "rss": target.rss(), "count": count}


def build():
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "bench", "--no-run", "--quiet", "--bench", "bare"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    bare = max((p for p in (target / "deps").glob("bare-*") if os.access(p, os.X_OK)), key=lambda p: p.stat().st_mtime)
    return str(target / "rest-sessions"), str(bare)


VERBS = {
    "get": {"METHOD": "GET", "VERB": "get"},
    "create": {},
    "set": {"METHOD": "POST", "VERB": "set", "BODY": '{"cart":4}'},
    "kill": {"METHOD": "DELETE", "VERB": "kill"},
}


def one(verb, servers, target, folder, options, fresh=True):
    """Measures a verb. A kill needs fresh sessions, unless whoever answers does not care."""
    env = dict(VERBS[verb])
    if verb == "create":
        return measure(servers, target, "create.lua", options.connections, options.seconds)
    env["TOKENS"] = f"{folder}/tokens"
    if verb == "kill" and fresh:
        env["TOKENS"] = f"{folder}/doomed"
        wrk(target.port, "create.lua", options.connections, options.seconds * 2, TOKENS=env["TOKENS"])
    found = measure(servers, target, "tokens.lua", options.connections, options.seconds, **env)
    if verb == "kill" and fresh and found["count"] > sum(len(open(p).readlines()) for p in glob.glob(env["TOKENS"] + ".*")):
        print("there were fewer sessions than kills", file=sys.stderr)
    return found


def in_use(service, tokens):
    """Creates SESSIONS sessions, and writes their tokens to one file for each thread of wrk."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port)) as client:
        files = [open(f"{tokens}.{n + 1}", "w") for n in range(THREADS)]
        for n in range(SESSIONS):
            client.request("PUT", f"/bench/create/user-{n}?ip=203.0.113.7", DATA, {"Content-Type": "application/json"})
            files[n % THREADS].write(json.load(client.getresponse())["token"] + "\n")
        for file in files:
            file.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--only", help="one of " + ", ".join(VERBS))
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    parser.add_argument("--stores", default="embedded,redis")
    options = parser.parse_args()
    for tool in ("wrk", "redis-server", "cargo"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed")
    binary, bare_binary = build()
    results = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        redis, bare = Redis(folder), Bare(bare_binary)
        services = {
            "embedded": (Service(binary, f"{folder}/data", None, options.option), []),
            "redis": (Service(binary, f"{folder}/unused", redis, options.option), [redis]),
        }
        for name in set(services) - set(options.stores.split(",")):
            services.pop(name)[0].end()
        try:
            for service, _ in services.values():
                tokens = f"{folder}/{service.port}"
                os.makedirs(tokens)
                in_use(service, f"{tokens}/tokens")
            for n in range(options.rounds):
                print(f"round {n + 1} of {options.rounds}", file=sys.stderr)
                for verb in [options.only] if options.only else VERBS:
                    for name, (service, others) in services.items():
                        found = one(verb, [service, *others], service, f"{folder}/{service.port}", options)
                        # The floor right beside it, with the same requests.
                        floor = one(verb, [bare], bare, f"{folder}/{service.port}", options, fresh=False)
                        found["share"] = found["rate"] / floor["rate"]
                        found["floor"] = floor["rate"]
                        results.setdefault((verb, name), []).append(found)
        finally:
            for process in [redis, bare, *(s for s, _ in services.values())]:
                process.end()
    print(f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s; medians, least and most in brackets\n")
    print("| verb | store | requests/s | of bare axum | p50 ms | p99 ms | CPU µs, service | CPU µs, Redis | RSS MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (verb, name), rounds in results.items():
        def median(pick): return statistics.median(pick(r) for r in rounds)
        shares = sorted(r["share"] for r in rounds)
        redis_cpu = f"{median(lambda r: r['cpu'][1]):.1f}" if len(rounds[0]["cpu"]) > 1 else ""
        print(f"| {verb} | {name} | {median(lambda r: r['rate']):,.0f} | {statistics.median(shares):.0%} ({shares[0]:.0%}–{shares[-1]:.0%}) "
              f"| {median(lambda r: r['p50']):.2f} | {median(lambda r: r['p99']):.2f} | {median(lambda r: r['cpu'][0]):.1f} | {redis_cpu} | {median(lambda r: r['rss']):.0f} |")
    floors = [r["floor"] for rounds in results.values() for r in rounds]
    print(f"\nbare axum: {statistics.median(floors):,.0f} requests/s")


main()
