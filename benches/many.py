#!/usr/bin/env python3
"""Compares get, set and create on a store with few and with many sessions: by default 10 million on the embedded store
and 3 million on Redis.

Also prints the time, memory and disk space that the sessions take, and how long the service takes to restart on them.
Needs wrk, cargo, redis-server and redis-cli.
"""

import argparse, contextlib, glob, os, pathlib, random, re, statistics, subprocess, tempfile, time

import build, load, servers

USED = 10_000  # sessions that get and set use, a uniform sample of all
SECONDS = 3  # of each measurement
ROUNDS = 5
VERBS = {"get": ("GET", None), "set": ("POST", '{"cart":4}'), "create": None}


def disk(folder):
    """The bytes that the files of a folder take on disk."""
    return sum(f.stat().st_blocks * 512 for f in pathlib.Path(folder).rglob("*") if f.is_file())


def memory(redis):
    """The `used_memory` of Redis, in bytes."""
    out = subprocess.run(["redis-cli", "-p", str(redis.port), "info", "memory"],
                         capture_output=True, text=True, check=True).stdout
    return int(re.search(r"used_memory:(\d+)", out)[1])


def created(server):
    return int(re.search(rb"^rest_sessions_created_total (\d+)", server.get("/metrics"), re.M)[1])


def fill(target, sessions):
    """Creates at least this many sessions; returns their number and a sample of their tokens."""
    made, chosen = 0, []
    while made < sessions:
        tokens = f"{target.folder}/tokens"
        load.wrk(target.server.port, "create.lua", 64, 5, TOKENS=tokens)
        found = [token for part in glob.glob(f"{tokens}.*") for token in open(part).read().split()]
        made += len(found)
        chosen += random.sample(found, min(len(found), max(USED * len(found) // sessions, 1)))
    return made, random.sample(chosen, min(USED, len(chosen)))


def ask(verb, target, tokens):
    if verb == "create":
        return load.wrk(target.server.port, "create.lua", 64, SECONDS)
    method, body = VERBS[verb]
    paths = f"{target.folder}/{verb}"
    with open(paths, "w") as file:
        file.writelines(f"/made/{verb}/{token}\n" for token in tokens)
    env = {"METHOD": method, "PATHS": paths} | ({"BODY": body} if body else {})
    return load.wrk(target.server.port, "paths.lua", 64, SECONDS, **env)


def cost(target, tokens):
    """For each verb the medians over all rounds of CPU time per request (service and Redis), rate and p99. The first
    round does not count: meanwhile the store may still merge the data of newly created sessions."""
    costs = {}
    for verb in VERBS:
        rounds = []
        load.with_cost(target, target.processes(), lambda: ask(verb, target, tokens))
        for _ in range(ROUNDS):
            found = load.with_cost(target, target.processes(), lambda verb=verb: ask(verb, target, tokens))
            rounds.append((sum(found["cpu"]), found["rate"], found["p99"]))
        costs[verb] = [statistics.median(column) for column in zip(*rounds)]
    return costs


def measure(name, sessions, binary, extra):
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, contextlib.ExitStack() as stack:
        programs = {"rest-sessions": binary}
        target = servers.start(name, stack, folder, programs, extra)
        empty = target.redis and memory(target.redis)
        with target.server.client() as client:
            tokens = [load.create(client, "made", f"user-{n}") for n in range(USED)]
        before = cost(target, tokens)
        began = time.monotonic()
        made, tokens = fill(target, sessions)
        print(f"{servers.NAMES[name]}: {made:,} sessions created in {time.monotonic() - began:.0f} s, "
              f"RSS of the service {target.server.rss():.0f} MiB", flush=True)
        # Includes the sessions that the measurements before have created.
        there = created(target.server)
        began = time.monotonic()
        target.server.end()
        ended = time.monotonic() - began
        if target.redis:
            taken = (memory(target.redis) - empty) / there
            print(f"{taken:.0f} bytes of Redis' memory for each session")
        else:
            print(f"ended in {ended:.2f} s; {disk(f'{target.folder}/data') / there:.0f} bytes on disk for each session")
        began = time.monotonic()
        data = f"{target.folder}/data"
        target.server = stack.enter_context(servers.Service(binary, data, target.redis, extra))
        target.server.get("/readyz")
        print(f"started and ready in {time.monotonic() - began:.2f} s, RSS {target.server.rss():.0f} MiB")
        after = cost(target, tokens)
        print(f"\n| verb | CPU µs with {USED:,} sessions | with {there:,} | times "
              "| requests/s | with many | p99 ms | with many |")
        print("|---|---|---|---|---|---|---|---|")
        for verb in VERBS:
            (cpu, rate, p99), (cpu2, rate2, p992) = before[verb], after[verb]
            print(f"| {verb} | {cpu:.1f} | {cpu2:.1f} | {cpu2 / cpu:.2f} | {rate:,.0f} | {rate2:,.0f} "
                  f"| {p99:.1f} | {p992:.1f} |")
        print(f"\nRSS at the end {target.server.rss():.0f} MiB\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedded", type=int, default=10_000_000, metavar="SESSIONS")
    parser.add_argument("--redis", type=int, default=3_000_000, metavar="SESSIONS", help="0 skips a store")
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    parser.add_argument("--binary", help="path of the service; by default it is built")
    options = parser.parse_args()
    build.require("cargo", "wrk", "redis-server", "redis-cli")
    binary = options.binary or build.service()
    for name in ("embedded", "redis"):
        if sessions := getattr(options, name):
            measure(name, sessions, binary, options.option)


if __name__ == "__main__":
    main()
