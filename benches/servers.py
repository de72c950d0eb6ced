"""The measured servers, each with a Redis of its own if it needs one."""

import dataclasses, os

from build import HERE
from lab import Process, free_port

NAMES = {
    "bare": "bare axum",
    "embedded": "embedded store",
    "redis": "Redis store",
    "node4": "Node, redis-sessions 4.0.0",
    "node3": "Node, redis-sessions 3.0.0",
}
FLOOR, ORIGINAL = "bare", "node3"  # rest-sessions 2.0.1 uses redis-sessions 3.0.0


class Redis(Process):
    def __init__(self, folder):
        port = free_port()
        super().__init__(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder,
             "--save", "", "--appendonly", "no"], port)


class Service(Process):
    def __init__(self, binary, folder, redis=None, extra=()):
        port = free_port()
        env = {k: v for k, v in os.environ.items() if not k.startswith("RS_")}
        command = [binary, "--port", str(port), "--data-dir", folder, "--loglevel", "warn", "--drain-delay", "0"]
        command += extra
        if redis:
            command += ["--redis-url", f"redis://127.0.0.1:{redis.port}"]
        super().__init__(command, port, env=env)


class Node(Process):
    """A single process, like the original."""

    def __init__(self, version, redis):
        port = free_port()
        command = ["node", str(HERE / "node/server.js"), version, str(port), str(redis.port)]
        super().__init__(command, port, env=os.environ | {"NODE_ENV": "production"})


@dataclasses.dataclass
class Target:
    name: str
    server: Process
    redis: Redis | None
    folder: str  # holds the files of paths for the load generators

    def processes(self):
        return [self.server, self.redis] if self.redis else [self.server]


def start(name, stack, folder, programs, extra):
    """Starts a server and its Redis. `stack` stops both."""
    folder = f"{folder}/{name}"
    os.makedirs(folder)
    redis = stack.enter_context(Redis(folder)) if name not in ("bare", "embedded") else None
    if name == "bare":
        server = Process([programs["bare"]])
    elif name.startswith("node"):
        server = Node(name.removeprefix("node"), redis)
    else:
        server = Service(programs["rest-sessions"], f"{folder}/data", redis, extra)
    return Target(name, stack.enter_context(server), redis, folder)
