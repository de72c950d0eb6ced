#!/usr/bin/env bash
# Runs examples/shared-login and tests it with a real browser: one login for parts in four languages.
#
#   run.sh [BINARY]      BINARY   the program, default target/release/rest-sessions
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath -m "${1:-$here/../../target/release/rest-sessions}")
PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: build it with cargo build --release"
for tool in chromium java javac nginx node php python3 redis-server setpriv; do
    command -v "$tool" >/dev/null || fail "$tool is not in the PATH: tests/setup.sh installs it"
done
compgen -G '/usr/sbin/php-fpm*' >/dev/null || command -v php-fpm >/dev/null || fail "php-fpm is missing"
[ -d "$here/node_modules/playwright-core" ] || fail "playwright-core is missing: run npm ci in $here"

work=$(mktemp -d)
test=''
# Signals the test and waits, because it stops the processes that it started.
finish() {
    [ -z "$test" ] || kill "$test" 2>/dev/null || true
    [ -z "$test" ] || wait "$test" || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# HOME and TMPDIR: so that the clean-up removes all files of the browser and others.
chmod 755 "$work"
mkdir -m 1777 "$work/tmp"
HOME=$work TMPDIR=$work/tmp WORK=$work BINARY=$binary CHROMIUM=$(command -v chromium) \
    node --test-reporter=spec "$here/shared-login.test.mjs" &
test=$!
wait "$test"
test=''
