#!/usr/bin/env python3
"""Fills the embedded store with sessions, a million unless told, and starts the service on them.

Prints what that takes in time, memory and disk. Needs wrk and cargo.
"""

import argparse, os, pathlib, tempfile, time

import build, load, servers


def disk(folder):
    """What the files of a folder take, in MiB."""
    return sum(f.stat().st_blocks * 512 for f in pathlib.Path(folder).rglob("*") if f.is_file()) / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--option", action="append", default=[], help="a further flag of the service")
    parser.add_argument("--binary", help="the service, in the place of one that is built from here")
    options = parser.parse_args()
    build.tools("cargo", "wrk")
    binary = options.binary or build.service()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        with servers.Service(binary, f"{folder}/data", None, options.option) as service:
            made, start = 0, time.monotonic()
            while made < options.sessions:
                made += load.wrk(service.port, "create.lua", 64, 5)["count"]
            took = time.monotonic() - start
            ids = service.json("/made/activity?dt=86400")["activity"]
            print(f"{made:,} sessions of {ids:,} ids created in {took:.0f} s; RSS {service.rss():.0f} MiB")
            start = time.monotonic()
        size = disk(folder)
        print(f"ended in {time.monotonic() - start:.2f} s; {size:.0f} MiB on disk, "
              f"{size * 2**20 / made:.0f} bytes a session")
        start = time.monotonic()
        with servers.Service(binary, f"{folder}/data", None, options.option) as service:
            service.get("/readyz")
            print(f"started and ready in {time.monotonic() - start:.2f} s; RSS {service.rss():.0f} MiB")
            load.write_paths(folder, "get", load.in_use(service))
            target = servers.Target("embedded", service, None, folder)
            for verb in ("get", "create"):
                found = load.accounted(target, [service], lambda verb=verb: load.verb(verb, target, 64, 5))
                print(f"{verb}: {found['rate']:,.0f} requests/s, p99 {found['p99']:.1f} ms, "
                      f"{found['cpu'][0]:.1f} µs of CPU, RSS {found['rss']:.0f} MiB")


if __name__ == "__main__":
    main()
