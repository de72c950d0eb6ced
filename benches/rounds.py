"""The rounds: what is measured in which order, and what they have found."""

import contextlib, os, platform, re, shutil, subprocess, sys, tempfile

import load, servers


def machine():
    """What the figures depend on, as the system and the programs tell it."""
    def version(*command):
        return re.search(r"\d+[\d.]+", subprocess.run(command, capture_output=True, text=True).stdout)[0]
    with open("/proc/cpuinfo") as cpus:
        models = [line.partition(": ")[2].strip() for line in cpus if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    programs = ["rustc", "redis-server", *(["node"] if shutil.which("node") else [])]
    versions = {name: version(name, "--version") for name in programs}
    return {"processors": os.cpu_count(), "model": model, "Linux": platform.release()} | versions


class Rounds:
    """What the rounds have found. Each has servers of its own, so that all begin alike."""

    def __init__(self, options, programs):
        self.options, self.programs, self.found = options, programs, {}
        self.names = [servers.FLOOR, *options.stores, *(f"node{version}" for version in options.node)]

    def run(self, n):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, contextlib.ExitStack() as stack:
            self.raw = stack.enter_context(servers.Redis(folder))
            load.fill_hashes(self.raw)
            targets = [servers.start(name, stack, folder, self.programs, self.options.option) for name in self.names]
            for target in targets:
                load.prepare(target, floor=target.name == servers.FLOOR)
            self.everything = [p for target in targets for p in target.processes()] + [self.raw]
            self.measure(targets if n % 2 == 0 else targets[::-1])

    def measure(self, targets):
        for connections in self.options.connections:
            for verb in self.options.only:
                for target in targets if verb != "hmget" else []:
                    self.note(verb, target.name, connections, self.one(verb, target, connections))
        if "hmget" in self.options.only:
            raw = servers.Target("hmget", self.raw, None, "")
            self.note("hmget", "hmget", 1, load.accounted(raw, self.everything, lambda: load.hmget(self.raw)))
        for target in targets if self.options.half else []:
            if target.name in self.options.stores:
                self.note("half", target.name, 64, self.half(target))

    def note(self, kind, name, connections, found):
        self.found.setdefault((kind, name, connections), []).append(found)

    def seconds(self, connections):
        return self.options.seconds or (3 if connections == 64 else 2)

    def one(self, verb, target, connections):
        seconds = self.seconds(connections)
        # A kill needs fresh sessions, unless whoever answers does not care.
        doomed = load.doom(target, seconds * 2) if verb == "kill" and target.name != servers.FLOOR else None
        found = load.accounted(target, self.everything, lambda: load.verb(verb, target, connections, seconds))
        if doomed is not None and found["count"] > doomed:
            print(f"{target.name}: there were fewer sessions than kills", file=sys.stderr)
        return found

    def half(self, target):
        seconds = self.seconds(64)
        full = self.one("get", target, 64)["rate"]
        found = load.accounted(
            target, self.everything, lambda: load.paced(self.programs["paced"], target, 64, full / 2, seconds))
        return found | {"full": full}

    def results(self):
        results = [
            {"verb": verb, "server": name, "connections": count, "seconds": self.seconds(count), "rounds": rounds}
            for (verb, name, count), rounds in self.found.items()]
        return {"machine": machine(), "options": self.options.option, "results": results}
