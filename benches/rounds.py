"""The rounds of measurements, their order and their results."""

import contextlib, os, platform, re, shutil, subprocess, sys, tempfile

import load, servers


def machine():
    """Processors, kernel and versions of the programs, on which the figures depend."""
    def version(*command):
        return re.search(r"\d+[\d.]+", subprocess.run(command, capture_output=True, text=True).stdout)[0]
    with open("/proc/cpuinfo") as cpus:
        models = [line.partition(": ")[2].strip() for line in cpus if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    programs = ["rustc", "redis-server", *(["node"] if shutil.which("node") else [])]
    versions = {name: version(name, "--version") for name in programs}
    return {"processors": os.cpu_count(), "model": model, "Linux": platform.release()} | versions


class Rounds:
    """Runs rounds and collects their results. Each round starts fresh servers, so that all start alike."""

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
            self.all_processes = [p for target in targets for p in target.processes()] + [self.raw]
            self.measure(targets if n % 2 == 0 else targets[::-1])

    def measure(self, targets):
        for connections in self.options.connections:
            for verb in self.options.only:
                for target in targets if verb != "hmget" else []:
                    self.record(verb, target.name, connections, self.measure_verb(verb, target, connections))
        if "hmget" in self.options.only:
            raw = servers.Target("hmget", self.raw, None, "")
            self.record("hmget", "hmget", 1, load.with_cost(raw, self.all_processes, lambda: load.hmget(self.raw)))
        for target in targets if self.options.half else []:
            if target.name in self.options.stores:
                self.record("half", target.name, 64, self.at_half_rate(target))

    def record(self, kind, name, connections, found):
        self.found.setdefault((kind, name, connections), []).append(found)

    def seconds(self, connections):
        return self.options.seconds or (3 if connections == 64 else 2)

    def measure_verb(self, verb, target, connections):
        seconds = self.seconds(connections)
        # A kill needs fresh sessions, except on the bare server.
        doomed = load.create_for_kill(target, seconds * 2) if verb == "kill" and target.name != servers.FLOOR else None
        found = load.with_cost(target, self.all_processes, lambda: load.verb(verb, target, connections, seconds))
        if doomed is not None and found["count"] > doomed:
            print(f"{target.name}: more kills than sessions", file=sys.stderr)
        return found

    def at_half_rate(self, target):
        seconds = self.seconds(64)
        full = self.measure_verb("get", target, 64)["rate"]
        found = load.with_cost(
            target, self.all_processes, lambda: load.paced(self.programs["paced"], target, 64, full / 2, seconds))
        return found | {"full": full}

    def results(self):
        results = [
            {"verb": verb, "server": name, "connections": count, "seconds": self.seconds(count), "rounds": rounds}
            for (verb, name, count), rounds in self.found.items()]
        return {"machine": machine(), "options": self.options.option, "results": results}
