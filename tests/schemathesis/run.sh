#!/usr/bin/env bash
# Sends requests that openapi.yaml allows, and requests that it forbids, to the service: first on the embedded store,
# then on a private Redis. Fails if an answer is not as declared.
#
#   run.sh [BINARY]      BINARY   the service, default target/release/rest-sessions
#                        TOOLS    folder with venv/, made from requirements.txt, default .tools
#                        SEED     repeats the run that printed this seed
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
binary=$(realpath -m "${1:-$repo/target/release/rest-sessions}")
venv=${TOOLS:-$repo/.tools}/venv/bin
seed=${SEED:-$RANDOM}
examples=50 # per operation and phase

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: build it with cargo build --release"
for tool in "$venv/python" "$venv/schemathesis" "$venv/openapi-spec-validator"; do
    [ -x "$tool" ] || fail "$tool is missing: install tests/schemathesis/requirements.txt into that venv"
done
command -v redis-server >/dev/null || fail "redis-server is not in the PATH: install Redis"

work=$(mktemp -d)
server='' redis=''
finish() {
    for process in $server $redis; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Waits until a command succeeds.
until_true() {
    for _ in $(seq 200); do
        "$@" && return
        sleep 0.1
    done
    return 1
}

start_redis() {
    # A socket in our own folder cannot collide with another process.
    redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" &
    redis=$!
    until_true test -S "$work/redis.sock" || fail "redis-server did not start: $(cat "$work/redis.log")"
}

# try STORE VARIABLE=VALUE ...: tests the service on a store that the variables configure.
try() {
    local store=$1 log=$work/$1.log
    shift
    echo "== $store store, SEED=$seed"
    env -i PATH="$PATH" RS_PORT=0 RS_DRAIN_DELAY=0 "$@" "$binary" 2>"$log" &
    server=$!
    until_true grep -q 'listening on http://' "$log" || fail "the service did not start: $(cat "$log")"
    local url
    url=$(grep -o 'http://[0-9.:]*' "$log" | head -n 1)
    "$venv/python" - "$url/openapi.yaml" <<'PYTHON' | cmp - "$repo/openapi.yaml" || fail "$binary has another openapi.yaml: build it again"
import sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.buffer.write(direct.open(sys.argv[1]).read())
PYTHON
    # One worker, since CPython 3.11 sometimes crashes with several. A hanging request fails after ten seconds.
    SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$repo/tests/schemathesis PYTHONDONTWRITEBYTECODE=1 NO_PROXY='*' \
        "$venv/schemathesis" run "$repo/openapi.yaml" --url "$url" --checks all --max-examples $examples \
        --seed "$seed" --workers 1 --request-timeout 10 --continue-on-failure --no-color
    for place in header cookie; do
        grep -qx "$place" authorized || fail "auth never answered 204 to a token in the $place"
    done
    rm authorized
    kill "$server"
    wait "$server" || fail "the service did not shut down cleanly: $(cat "$log")"
    server=''
    if grep -E ' (WARN|ERROR) |panicked' "$log"; then
        fail "the service logged a warning, an error or a panic"
    fi
}

cd "$work" # Schemathesis writes files into the working directory
"$venv/openapi-spec-validator" --schema 3.0 "$repo/openapi.yaml"
try embedded RS_DATA_DIR="$work/data"
start_redis
try Redis RS_REDIS_URL="redis+unix://$work/redis.sock"
echo "== every answer was as declared"
