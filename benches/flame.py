#!/usr/bin/env python3
"""Draws flame graphs of get on both stores: docs/get-embedded.svg and docs/get-redis.svg.

Builds the service with frame pointers and symbols, sends gets on 64 connections and samples it with perf. Prints the
frames with more than 3 % of the samples, callees included. Needs cargo, wrk, redis-server, redis-cli, perf (Debian:
linux-perf) and inferno (cargo install inferno), and the right to sample the kernel (root).
"""

import argparse, collections, contextlib, os, re, subprocess, tempfile, time

import build, load, servers

SECONDS = 8
SHARE = 0.03


def binary():
    """Builds the service with frame pointers and symbols; returns its path."""
    env = {"CARGO_PROFILE_DIST_DEBUG": "1", "CARGO_PROFILE_DIST_STRIP": "none",
           "RUSTFLAGS": "-C force-frame-pointers=yes"}
    target = f"{build.ROOT}/target/flame"
    command = ["cargo", "build", "--locked", "--profile", "dist", "--quiet", "--bin", "rest-sessions",
               "--target-dir", target]
    subprocess.run(command, cwd=build.ROOT, env=os.environ | env, check=True)
    return f"{target}/dist/rest-sessions"


def stacks(program, store):
    """Samples the service while it answers gets; returns a line per stack with its number of samples."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        target = servers.start(store, stack, folder, {"rest-sessions": program}, [])
        load.prepare(target, floor=False)
        data = f"{folder}/perf.data"
        record = subprocess.Popen(
            ["perf", "record", "-q", "-F", "997", "-g", "-p", str(target.server.child.pid), "-o", data, "--",
             "sleep", str(SECONDS)])
        time.sleep(0.3)
        load.verb("get", target, 64, SECONDS + 1)
        record.wait()
        script = subprocess.run(["perf", "script", "-i", data], capture_output=True, check=True).stdout
        return subprocess.run(["inferno-collapse-perf"], input=script, capture_output=True, check=True).stdout.decode()


def plain(frame):
    """The name of a frame without its hash and type parameters."""
    frame = re.sub(r"::h[0-9a-f]{16}$", "", frame)
    while (shorter := re.sub(r"<[^<>]*>", "", frame)) != frame:
        frame = shorter
    return frame.replace("::{{closure}}", "").strip(":") or "?"


def shares(text):
    """The share of samples that contain each frame, largest first."""
    found, total = collections.Counter(), 0
    for line in text.splitlines():
        frames, count = line.rsplit(" ", 1)
        total += int(count)
        for frame in {plain(frame) for frame in frames.split(";")[1:]}:
            found[frame] += int(count)
    return [(frame, count / total) for frame, count in found.most_common() if count / total > SHARE]


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    build.require("cargo", "wrk", "redis-server", "redis-cli", "perf", "inferno-collapse-perf", "inferno-flamegraph")
    program = binary()
    for store in ("embedded", "redis"):
        text = stacks(program, store)
        drawing = subprocess.run(
            ["inferno-flamegraph", "--title", f"get, {servers.NAMES[store]}", "--minwidth", "0.4", "--deterministic"],
            input=text.encode(), capture_output=True, check=True).stdout
        with open(f"{build.ROOT}/docs/get-{store}.svg", "wb") as file:
            file.write(drawing)
        print(f"\n{servers.NAMES[store]}\n")
        for frame, share in shares(text):
            print(f"{share:6.1%}  {frame}")


if __name__ == "__main__":
    main()
