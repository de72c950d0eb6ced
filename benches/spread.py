#!/usr/bin/env python3
"""Fills a cluster of three masters with sessions of one app through the service, a million by default.

Prints the sessions and the memory of each master. Needs wrk, redis-server, redis-cli and cargo.
"""

import argparse, contextlib, os, subprocess, tempfile, time

import build, load
from lab import Process, free_port
from servers import Service

SHARDS = 256  # the service's default


class Master(Process):
    def __init__(self, folder):
        port = free_port()
        os.mkdir(f"{folder}/{port}")
        super().__init__(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--dir", f"{folder}/{port}"], port)

    def ask(self, *commands):
        """Sends commands; returns the lines of their answers."""
        out = subprocess.run(
            ["redis-cli", "-p", str(self.port)], input="\n".join(commands), capture_output=True, text=True, check=True)
        return [line for line in out.stdout.splitlines() if line]

    def memory(self):
        return next(int(line.split(":")[1]) for line in self.ask("INFO memory") if line.startswith("used_memory:"))

    def sessions(self):
        """The number of sessions in each shard on this master. The answer for a shard elsewhere is an error."""
        answers = self.ask(*(f"ZCARD {{rs:{shard:02x}}}:SESSIONS" for shard in range(SHARDS)))
        return [int(answer) for answer in answers if answer.isdigit()]


def join(masters):
    addresses = [f"127.0.0.1:{master.port}" for master in masters]
    create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
    subprocess.run(create, stdout=subprocess.DEVNULL, check=True)
    while not all("cluster_state:ok" in master.ask("CLUSTER INFO") for master in masters):
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--binary", help="path of the service; by default it is built")
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    options = parser.parse_args()
    build.require("cargo", "wrk", "redis-server", "redis-cli")
    binary = options.binary or build.service()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, contextlib.ExitStack() as stack:
        masters = [stack.enter_context(Master(folder)) for _ in range(3)]
        join(masters)
        empty = [master.memory() for master in masters]
        url = f"redis://127.0.0.1:{masters[0].port}"
        extra = ["--redis-mode", "cluster", "--redis-url", url, *options.option]
        service = stack.enter_context(Service(binary, folder, None, extra))
        made, start = 0, time.monotonic()
        while made < options.sessions:
            made += load.wrk(service.port, "create.lua", 64, 5)["count"]
        took = time.monotonic() - start
        ids = service.json("/made/activity?dt=86400")["activity"]
        held = [master.sessions() for master in masters]
        total = sum(map(sum, held))
        rss = service.rss()
        print(f"{total:,} sessions of {ids:,} ids created in {took:.0f} s; RSS of the service {rss:.0f} MiB\n")
        print("| master | shards | sessions | share | memory, MiB | bytes a session |")
        print("|---|---|---|---|---|---|")
        for number, (master, shards, before) in enumerate(zip(masters, held, empty), 1):
            sessions, memory = sum(shards), master.memory() - before
            print(f"| {number} | {len(shards)} | {sessions:,} | {sessions / total:.1%} | {memory / 2**20:,.0f} "
                  f"| {memory / sessions:,.0f} |")


main()
