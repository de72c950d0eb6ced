#!/usr/bin/env bash
# Tests adapters/express, and the Node client of examples/shared-login, with the oldest and the newest versions of
# express-session, Express and Node that their READMEs name.
#
#   express.sh BINARY      BINARY   the program
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
newest=$here/node_modules/node-newest/bin/node
BINARY=$(realpath "$1")
export BINARY

# try NODE EXPRESS EXPRESS_SESSION: the packages by their names in package.json.
try() {
    version() { sed -n 's/^  "version": "\(.*\)",$/\1/p' "$here/node_modules/$1/package.json"; }
    echo "express: Node $("$1" --version), Express $(version "$2"), express-session $(version "$3")"
    EXPRESS=$2 EXPRESS_SESSION=$3 "$1" --test --test-concurrency=1 --test-reporter=dot "$here"/express/*.test.mjs
}

try node express-oldest express-session-oldest
if [ -x "$newest" ]; then
    try "$newest" express express-session
else
    echo "SKIPPED: the newest Node of npm does not run on this machine; testing only with $(node --version)"
    try node express express-session
fi
