#!/usr/bin/env python3
"""Fills the embedded store with sessions, a million unless told, and starts the service on them.

Prints what that takes in time, memory and disk. Needs wrk and cargo.
"""

import argparse, os, pathlib, tempfile, time

from lab import Service, build, in_use, measure, wrk


def disk(folder):
    """What the files of a folder take, in MiB."""
    return sum(f.stat().st_blocks * 512 for f in pathlib.Path(folder).rglob("*") if f.is_file()) / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    options = parser.parse_args()
    binary, _ = build()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        service = Service(binary, f"{folder}/data", None, options.option)
        made, start = 0, time.monotonic()
        while made < options.sessions:
            made += wrk(service.port, "create.lua", 64, 5)[3]
        took = time.monotonic() - start
        ids = service.json("/bench/activity?dt=86400")["activity"]
        print(f"{made:,} sessions of {ids:,} ids created in {took:.0f} s; RSS {service.rss():.0f} MiB")
        start = time.monotonic()
        service.end()
        print(f"ended in {time.monotonic() - start:.2f} s; {disk(folder):.0f} MiB on disk, {disk(folder) * 2**20 / made:.0f} bytes a session")
        start = time.monotonic()
        service = Service(binary, f"{folder}/data", None, options.option)
        service.get("/readyz")
        print(f"started and ready in {time.monotonic() - start:.2f} s; RSS {service.rss():.0f} MiB")
        in_use(service, f"{folder}/tokens")
        for verb, script, env in [
            ("get", "tokens.lua", {"METHOD": "GET", "VERB": "get", "TOKENS": f"{folder}/tokens"}),
            ("create", "create.lua", {}),
        ]:
            found = measure([service], service, script, 64, 5, **env)
            print(f"{verb}: {found['rate']:,.0f} requests/s, p99 {found['p99']:.1f} ms, {found['cpu'][0]:.1f} µs of CPU, RSS {found['rss']:.0f} MiB")
        service.end()


main()
