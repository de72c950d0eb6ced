#!/usr/bin/env python3
"""Measures the service: get, create, set and kill, on both stores, beside a bare axum server.

Builds what it needs, starts everything on free ports of 127.0.0.1, and prints a table. Every round measures everything in
turn, so that a machine whose speed drifts slows all of it; figures are medians over the rounds, ratios are taken within a
round. Needs wrk, redis-server and cargo.
"""

import argparse, glob, os, shutil, statistics, sys, tempfile

from lab import Bare, Redis, Service, build, in_use, measure, wrk

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
