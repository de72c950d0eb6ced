"""The programs that the benchmarks run: what Debian has, what cargo builds, what npm installs."""

import hashlib, os, pathlib, shutil, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "benches"
PACKAGES = {"wrk": "wrk", "redis-server": "redis-server", "redis-benchmark": "redis-tools", "redis-cli": "redis-tools"}


def tools(*names):
    """Ends the benchmark if a program is missing."""
    # tests/setup.sh puts a newer Node there if a machine needs one.
    os.environ["PATH"] = f"{os.environ.get('TOOLS', ROOT / '.tools')}/bin:{os.environ['PATH']}"
    for name in names:
        if not shutil.which(name):
            sys.exit(f"{name} is missing" + (f": apt-get install {PACKAGES[name]}" if name in PACKAGES else ""))


def cargo(service=True):
    """Builds the service, unless it is there already, and what the benchmarks need. Gives their paths by name."""
    if service:
        subprocess.run(["cargo", "build", "--locked", "--release", "--quiet"], cwd=ROOT, check=True)
    benches = ["bare", "paced"]
    flags = [word for name in benches for word in ("--bench", name)]
    subprocess.run(["cargo", "bench", "--locked", "--no-run", "--quiet", *flags], cwd=ROOT, check=True)
    release = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"

    def newest(name):
        return str(max((p for p in (release / "deps").glob(f"{name}-*") if os.access(p, os.X_OK)), key=lambda p: p.stat().st_mtime))
    return {"rest-sessions": str(release / "rest-sessions")} | {name: newest(name) for name in benches}


def npm():
    """Installs what the original is made of, unless it is there for the same lists."""
    folder = HERE / "node"
    lists = b"".join((folder / name).read_bytes() for name in ("package.json", "package-lock.json"))
    stamp, digest = folder / "node_modules/.stamp", hashlib.sha256(lists).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
        stamp.write_text(digest)
