#!/usr/bin/env python3
"""Measures long operations on a million sessions, and the latency of gets meanwhile, on both stores.

The operations: soapp, soid and killsoid of one id with a tenth of all sessions, killall, and the wiper after as many
have expired. Prints a Markdown table. Needs cargo, wrk, redis-server and redis-cli.
"""

import argparse, contextlib, json, os, re, statistics, subprocess, sys, tempfile, threading, time

import build, load, servers

IDS = 100_000
SLICE = 2  # seconds of each measurement of gets
QUIET = 5  # slices that measure gets alone
SLOW = 10_000  # microseconds: the threshold of Redis' slowlog
WIPE = 30  # seconds between rounds of the wiper
TTL = 10  # seconds: the minimum


def fill(target, sessions, ids, ttl):
    """Creates at least this many sessions of the app `large`, for the ids in turn; returns their number."""
    paths, made = f"{target.folder}/fill", 0
    with open(paths, "w") as file:
        file.writelines(f"/large/create/{user}?ip=203.0.113.7&ttl={ttl}\n" for user in ids)
    while made < sessions:
        env = {"METHOD": "PUT", "PATHS": paths, "BODY": load.DATA}
        made += load.wrk(target.server.port, "paths.lua", 64, 2, **env)["count"]
    return made


def gets(program, target, rate):
    return load.paced(program, target, 64, rate, SLICE)["p99"]


def slow(target):
    """The number of commands in Redis' slowlog."""
    out = subprocess.run(["redis-cli", "-p", str(target.redis.port), "slowlog", "len"],
                         capture_output=True, text=True, check=True).stdout
    return int(out)


def expired(server):
    return int(re.search(rb"^rest_sessions_expired_total (\d+)", server.get("/metrics"), re.M)[1])


def count_listed(server, path):
    """Reads a list without keeping it; returns its number of sessions."""
    with server.client() as client:
        client.request("GET", path)
        answer, found, rest = client.getresponse(), 0, b""
        while part := answer.read(65536):
            rest += part
            found += rest.count(b'"idle":')
            rest = rest[-6:]  # shorter than the pattern, so that nothing is counted twice
        return found


def await_wiped(server, sessions):
    """Waits until the wiper has counted this many removed sessions, which it does at the end of a round."""
    while (found := expired(server)) < sessions:
        time.sleep(0.1)
    return found


class Large:
    """Measures the operations on one store, one after the other."""

    def __init__(self, program, target, rate):
        self.program, self.target, self.rate, self.rows = program, target, rate, []

    def measure(self, title, operation, begun=lambda: None):
        """`begun` waits for the start of an operation that no request triggers."""
        target = self.target
        load.settle(target.processes())
        quiet = statistics.median(gets(self.program, target, self.rate) for _ in range(QUIET))
        if target.redis:
            subprocess.run(["redis-cli", "-p", str(target.redis.port), "slowlog", "reset"],
                           check=True, stdout=subprocess.DEVNULL)
        begun()
        before, results, times = target.server.rss(), [], []
        start = time.monotonic()

        def run():
            results.append(operation())
            times.append(time.monotonic() - start)
        thread = threading.Thread(target=run)
        thread.start()
        meanwhile, most = [], before
        while thread.is_alive() or not meanwhile:
            meanwhile.append(gets(self.program, target, self.rate))
            most = max(most, target.server.rss())
        thread.join()
        if not results:
            sys.exit(f"{title} failed")
        p99 = statistics.median(meanwhile)
        cells = [target.name, title, f"{results[0]:,}", f"{times[0]:.1f}",
                 f"{quiet:.2f}", f"{p99:.2f}", f"{p99 / quiet:.1f}", f"{max(meanwhile):.2f}",
                 str(slow(target)) if target.redis else "", f"{before:.0f}", f"{most:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def measure_all(large, target, sessions):
    server = target.server
    fill(target, sessions, (f"user-{n}" for n in range(IDS)), 86400)
    large.measure("soapp", lambda: count_listed(server, "/large/soapp?dt=86400"))
    fill(target, sessions // 10, ["anonymous"], 86400)
    large.measure("soid", lambda: count_listed(server, "/large/soid/anonymous"))
    large.measure("killsoid", lambda: kill(server, "/large/killsoid/anonymous"))
    large.measure("killall", lambda: kill(server, "/large/killall"))


def kill(server, path):
    with server.client() as client:
        return json.loads(load.ask(client, "DELETE", path))["kill"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=4_000, help="gets per second meanwhile")
    parser.add_argument("--stores", default="redis,embedded")
    parser.add_argument("--binary", help="path of the service; by default it is built")
    options = parser.parse_args()
    build.require("cargo", "wrk", "redis-server", "redis-cli")
    program = build.bench("paced")
    programs = {"rest-sessions": options.binary or build.service()}
    head = ["store", "operation", "sessions", "took s", "p99 of get, quiet", "p99 meanwhile", "times", "worst 2 s",
            f"slower than {SLOW // 1000} ms in Redis", "RSS MiB before", "RSS MiB at most"]
    print("| " + " | ".join(head) + " |\n" + "|" + "---|" * len(head), flush=True)
    for name in options.stores.split(","):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, contextlib.ExitStack() as stack:
            target = servers.start(name, stack, folder, programs, ["--wipe", "0"])
            load.prepare(target, floor=False)
            large = Large(program, target, options.rate)
            measure_all(large, target, options.sessions)
            made = fill(target, options.sessions, (f"user-{n}" for n in range(IDS)), TTL)
            time.sleep(TTL)
            target.server.end()
            binary = programs["rest-sessions"]
            # The wiper's first round begins WIPE seconds after the start.
            target.server = stack.enter_context(
                servers.Service(binary, f"{target.folder}/data", target.redis, ["--wipe", str(WIPE)]))
            begins = time.monotonic() + WIPE - 0.1
            large.measure(
                "wiper", lambda: await_wiped(target.server, made), lambda: time.sleep(begins - time.monotonic()))


if __name__ == "__main__":
    main()
