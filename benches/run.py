#!/usr/bin/env python3
"""Measures the service on both stores, a bare axum server, and the original: redis-sessions behind Express.

Builds and installs its programs, starts all servers on free ports of 127.0.0.1, and prints Markdown tables. Every round
measures all servers in turn, every other round in reverse order, so that a drift of the machine's speed affects all
alike. Figures are medians over the rounds; ratios are taken within a round.

Needs cargo, node, npm, wrk and redis-server.
"""

import argparse, json, signal, sys

import build, load, plot, table
from rounds import Rounds


def words(text):
    return [word for word in text.split(",") if word]


def numbers(text):
    return [int(word) for word in words(text)]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, help="per measurement; default: 3 with 64 connections, else 2")
    parser.add_argument("--connections", type=numbers, default=[1, 64, 512])
    parser.add_argument("--only", type=words, default=[*load.VERBS, "hmget"], metavar="VERB,…",
                        help="of " + ", ".join(load.VERBS) + " and hmget, which measures Redis alone")
    parser.add_argument("--half", action="store_true", help="also get at half of its maximum rate, with 64 connections")
    parser.add_argument("--stores", type=words, default=["embedded", "redis"])
    parser.add_argument("--node", type=words, default=["4", "3"], help="versions of redis-sessions; empty for none")
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    parser.add_argument("--binary", help="path of the service; by default it is built")
    parser.add_argument("--json", metavar="FILE", help="writes the results of all rounds, for table.py and plot.py")
    parser.add_argument("--svg", metavar="FILE", help="draws requests/s and CPU with 64 connections")
    options = parser.parse_args()
    for name in ("only", "stores", "node"):
        if unknown := [word for word in getattr(options, name) if word not in parser.get_default(name)]:
            parser.error(f"unknown: {unknown[0]}")
    if options.svg and plot.CONNECTIONS not in options.connections:
        parser.error(f"--svg needs {plot.CONNECTIONS} connections")
    return options


def main():
    options = arguments()
    # SIGTERM unwinds the stack, so that all started servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build.require("cargo", "wrk", "redis-server", "redis-benchmark", "redis-cli")
    programs = {name: build.bench(name) for name in ("bare", "paced")}
    programs["rest-sessions"] = options.binary or build.service()
    if options.node:
        build.require("node", "npm")
        build.npm()
    rounds = Rounds(options, programs)
    for n in range(options.rounds):
        print(f"round {n + 1} of {options.rounds}", file=sys.stderr)
        rounds.run(n)
        # After each round, so that an interrupted run keeps its results.
        if options.json:
            with open(options.json, "w") as file:
                json.dump(rounds.results(), file, indent=1)
    results = rounds.results()
    print(table.markdown(results))
    if options.svg:
        with open(options.svg, "w") as file:
            file.write(plot.svg(results))


if __name__ == "__main__":
    main()
