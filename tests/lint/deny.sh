#!/bin/sh
# Checks the dependencies against deny.toml with cargo-deny: licences, bans, sources, and security advisories.
# Where the advisory database cannot be fetched, the script says so on stderr and checks the other three only.
#
#   tests/lint/deny.sh
#
# Environment: TOOLS (see tests/setup.sh).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
deny=${TOOLS:-$root/.tools}/venv/bin/cargo-deny

# Warnings fail too: they are how cargo-deny reports an exception that is no longer needed.
"$deny" --locked check --deny warnings licenses bans sources

# Fetching is a step of its own, because a failed fetch and a vulnerable crate end `check advisories` with the same code.
if timeout 60 "$deny" fetch db; then
    "$deny" --locked check --deny warnings advisories
else
    echo "deny.sh: ADVISORIES NOT CHECKED: the RustSec database could not be fetched. Run this script where it can." >&2
fi
