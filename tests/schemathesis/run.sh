#!/usr/bin/env bash
# Tries what openapi.yaml allows, and what it does not, on the program: first on the embedded store, then on a Redis of
# its own. Fails if any answer is not as declared.
#
#   run.sh [BINARY]      BINARY   the program, default target/release/rest-sessions
#                        TOOLS    folder with venv/, made from requirements.txt, default .tools
#                        SEED     repeats a run that printed it
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
binary=$(realpath -m "${1:-$repo/target/release/rest-sessions}")
venv=${TOOLS:-$repo/.tools}/venv/bin
seed=${SEED:-$RANDOM}
examples=50 # for each operation, in each way of trying

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
    # On a socket in our own folder: nobody else can have that address.
    redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" &
    redis=$!
    until_true test -S "$work/redis.sock" || fail "redis-server did not start: $(cat "$work/redis.log")"
}

# Tries the program on a store; further arguments are variables that name it.
try() {
    local store=$1 log=$work/$1.log
    shift
    echo "== $store store, SEED=$seed"
    env -i PATH="$PATH" RS_PORT=0 RS_DRAIN_DELAY=0 "$@" "$binary" 2>"$log" &
    server=$!
    until_true grep -q 'listening on http://' "$log" || fail "the program did not start: $(cat "$log")"
    local url
    url=$(grep -o 'http://[0-9.:]*' "$log" | head -n 1)
    "$venv/python" - "$url/openapi.yaml" <<'PYTHON' | cmp - "$repo/openapi.yaml" || fail "$binary is not of this openapi.yaml: build it again"
import sys, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.buffer.write(direct.open(sys.argv[1]).read())
PYTHON
    # One worker: several of them make CPython 3.11 fail now and then. A request that hangs is a failure, not a wait.
    SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$repo/tests/schemathesis PYTHONDONTWRITEBYTECODE=1 NO_PROXY='*' \
        "$venv/schemathesis" run "$repo/openapi.yaml" --url "$url" --checks all --max-examples $examples \
        --seed "$seed" --workers 1 --request-timeout 10 --continue-on-failure --no-color
    kill "$server"
    wait "$server" || fail "the program did not end well: $(cat "$log")"
    server=''
    if grep -E ' (WARN|ERROR) |panicked' "$log"; then
        fail "the program had something to complain about"
    fi
}

cd "$work" # where Schemathesis leaves its own files
"$venv/openapi-spec-validator" --schema 3.0 "$repo/openapi.yaml"
try embedded RS_DATA_DIR="$work/data"
start_redis
try Redis RS_REDIS_URL="redis+unix://$work/redis.sock"
echo "== every answer was as declared"
