"""The programs that the benchmarks run: Debian packages, builds by cargo, installations by npm."""

import hashlib, json, os, pathlib, shutil, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "benches"
# tests/setup.sh installs a newer Node there if the machine's own is too old.
os.environ["PATH"] = f"{os.environ.get('TOOLS', ROOT / '.tools')}/bin:{os.environ['PATH']}"
PACKAGES = {"wrk": "wrk", "redis-server": "redis-server", "redis-benchmark": "redis-tools", "redis-cli": "redis-tools"}


def require(*names):
    """Ends the benchmark if a program is missing."""
    for name in names:
        if not shutil.which(name):
            sys.exit(f"{name} is missing" + (f": apt-get install {PACKAGES[name]}" if name in PACKAGES else ""))


def service():
    """Builds the service as it is published; returns its path."""
    subprocess.run(["cargo", "build", "--locked", "--profile", "dist", "--quiet"], cwd=ROOT, check=True)
    return str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dist/rest-sessions")


def bench(name):
    """Builds a program of this folder with the profile of the service. Returns its path."""
    command = ["cargo", "bench", "--locked", "--profile", "dist", "--no-run", "--quiet", "--message-format", "json",
               "--bench", name]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    made = [line for line in map(json.loads, out.splitlines()) if line.get("executable")]
    return next(line["executable"] for line in made if line["target"]["name"] == name)


def npm():
    """Installs the npm packages of the original, unless the same versions are already installed."""
    folder = HERE / "node"
    lists = b"".join((folder / name).read_bytes() for name in ("package.json", "package-lock.json"))
    stamp, digest = folder / "node_modules/.stamp", hashlib.sha256(lists).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
        stamp.write_text(digest)
