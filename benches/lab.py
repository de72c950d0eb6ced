"""What the benchmarks stand on: servers on free ports, a load generator, and the operating system's accounts."""

import contextlib, http.client, json, os, pathlib, re, socket, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "benches"
TICK = os.sysconf("SC_CLK_TCK")
THREADS = 2  # of wrk
SESSIONS = 10_000  # in use: get and set ask for each of them in turn
DATA = '{"name":"Ada","role":"admin","cart":3}'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A server with its port, its CPU time and its memory as the operating system counts them."""

    def __init__(self, command, port, **options):
        self.port = port
        self.child = subprocess.Popen(command, **options)
        for _ in range(400):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit(f"{command[0]} does not listen")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def get(self, path):
        """The body of a successful answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as client:
            client.request("GET", path)
            answer = client.getresponse()
            body = answer.read()
            if answer.status != 200:
                sys.exit(f"{path}: {answer.status} {body.decode()}")
            return body

    def json(self, path):
        return json.loads(self.get(path))

    def end(self):
        self.child.terminate()
        self.child.wait()


class Redis(Process):
    def __init__(self, folder):
        port = free_port()
        super().__init__(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder],
            port, stdout=subprocess.DEVNULL)


class Service(Process):
    def __init__(self, binary, folder, redis=None, extra=()):
        port = free_port()
        env = {k: v for k, v in os.environ.items() if not k.startswith("RS_")}
        command = [binary, "--port", str(port), "--data-dir", folder, "--loglevel", "warn", "--drain-delay", "0", *extra]
        if redis:
            command += ["--redis-url", f"redis://127.0.0.1:{redis.port}"]
        super().__init__(command, port, env=env)


class Bare(Process):
    def __init__(self, binary):
        child = subprocess.Popen([binary], stdout=subprocess.PIPE, text=True)
        self.child, self.port = child, int(child.stdout.readline().rsplit(":", 1)[1])


def wrk(port, script, connections, seconds, **env):
    """Requests per second, p50 and p99 in milliseconds, answers, and answers that were no success."""
    out = subprocess.run(
        ["wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / script), f"http://127.0.0.1:{port}/"],
        env=os.environ | env, capture_output=True, text=True, check=True).stdout
    def ms(label):
        value, unit = re.search(label + r"%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    count = int(re.search(r"(\d+) requests in", out)[1])
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    if failed or errors:
        print("not all requests were answered well:", (failed or errors)[0], file=sys.stderr)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), ms("50"), ms("99"), count


def settle(servers):
    """Waits until the work that the last measurement left behind is done."""
    for _ in range(40):
        before = sum(s.cpu() for s in servers)
        time.sleep(0.25)
        if sum(s.cpu() for s in servers) - before <= 0.02:
            return


def measure(servers, target, script, connections, seconds, **env):
    settle(servers)
    before = [s.cpu() for s in servers]
    rate, p50, p99, count = wrk(target.port, script, connections, seconds, **env)
    cpu = [(s.cpu() - b) * 1e6 / count for s, b in zip(servers, before)]
    return {"rate": rate, "p50": p50, "p99": p99, "cpu": cpu, "rss": target.rss(), "count": count}


def build():
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "bench", "--no-run", "--quiet", "--bench", "bare"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    bare = max((p for p in (target / "deps").glob("bare-*") if os.access(p, os.X_OK)), key=lambda p: p.stat().st_mtime)
    return str(target / "rest-sessions"), str(bare)


def in_use(service, tokens):
    """Creates SESSIONS sessions, and writes their tokens to one file for each thread of wrk."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port)) as client:
        files = [open(f"{tokens}.{n + 1}", "w") for n in range(THREADS)]
        for n in range(SESSIONS):
            client.request("PUT", f"/bench/create/user-{n}?ip=203.0.113.7", DATA, {"Content-Type": "application/json"})
            files[n % THREADS].write(json.load(client.getresponse())["token"] + "\n")
        for file in files:
            file.close()
