"""Servers on free ports of 127.0.0.1, with their CPU time and memory as the operating system counts them."""

import contextlib, http.client, json, pathlib, re, socket, subprocess, sys, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A server that listens on a port. Leaving its context stops it."""

    def __init__(self, command, port=None, **options):
        """Without a port, the server chooses one and prints its address as the first line."""
        stdout = subprocess.DEVNULL if port else subprocess.PIPE
        self.child = subprocess.Popen(command, text=True, stdout=stdout, **options)
        self.port = port or int(self.child.stdout.readline().rsplit(":", 1)[1])
        for _ in range(400):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.child.poll() is not None:
                break
            time.sleep(0.05)
        self.end()
        sys.exit(f"{command[0]} does not listen")

    def cpu(self):
        """The CPU time of all its threads in seconds, from Linux' clock of the process, whose id is computed here. The
        resolution of /proc is only 10 ms."""
        return time.clock_gettime(~self.child.pid << 3 | 2)

    def rss(self):
        """The resident memory in MiB."""
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def client(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port))

    def get(self, path):
        """The body of a successful answer."""
        with self.client() as client:
            return ask(client, "GET", path)

    def json(self, path):
        return json.loads(self.get(path))

    def end(self):
        self.child.terminate()
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def ask(client, method, path, body=None):
    """Sends a request on a connection; returns the body, or exits unless the status is 200."""
    client.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = client.getresponse()
    text = answer.read()
    if answer.status != 200:
        # Without the path, which may contain a token.
        sys.exit(f"{method}: {answer.status} {text.decode()}")
    return text


def settle(processes):
    """Waits until background work of the last measurement is done."""
    for _ in range(40):
        before = sum(p.cpu() for p in processes)
        time.sleep(0.25)
        if sum(p.cpu() for p in processes) - before <= 0.02:
            return
