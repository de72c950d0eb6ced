#!/usr/bin/env bash
# Generates a client in each of four languages from openapi.yaml, builds it, and tests a session's whole life cycle with
# it, on the embedded store and on its own Redis. Fails if any check fails, or if the languages do not make the same
# checks. The clients stay in TOOLS until their sources change.
#
#   run.sh [BINARY]      BINARY   the program, default target/release/rest-sessions
#                        TOOLS    folder with venv/, made from requirements.txt, default .tools
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=$(realpath -m "${1:-$repo/target/release/rest-sessions}")
TOOLS=${TOOLS:-$repo/.tools}
clients=$TOOLS/clients
languages=(python php java typescript)

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: build it with cargo build --release"
generator=$TOOLS/venv/bin/openapi-generator-cli
tsc=$here/typescript/node_modules/typescript/bin/tsc
for file in "$generator" "$tsc" /usr/share/java/jakarta-annotation-api.jar /usr/share/php/GuzzleHttp/autoload.php; do
    [ -e "$file" ] || fail "$file is missing: run tests/setup.sh"
done
for tool in curl redis-server php java javac node; do
    command -v "$tool" >/dev/null || fail "$tool is not in the PATH: run tests/setup.sh"
done
# The Java client needs Jackson with its module for java.time. Debian lacks the module; the generator's jar has both.
jars=$(echo "$TOOLS"/venv/lib/python3*/site-packages/openapi_generator_cli/openapi-generator.jar)
[ -e "$jars" ] || fail "the generator's jar is missing: run tests/setup.sh"
jars=$jars:/usr/share/java/jakarta-annotation-api.jar

work=$(mktemp -d)
processes=()
finish() {
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

## The clients

build_python() { :; }
build_php() { :; }
build_java() {
    find src/main/java -name '*.java' -exec \
        javac -nowarn -encoding UTF-8 -cp "$jars" -d classes "$here/java/Life.java" {} +
}
build_typescript() {
    mkdir client &&
        mv apis models index.ts runtime.ts client &&
        cp "$here/typescript/life.ts" "$here/typescript/package.json" . &&
        node "$tsc" --strict --module nodenext --target es2022 --lib es2022,dom --types node \
            --typeRoots "$here/typescript/node_modules/@types" life.ts
}

# Generates and builds a client, unless the one in TOOLS is from the same files.
make_client() {
    local language=$1 folder=$clients/$1 stamp
    stamp=$({ cat "$repo/openapi.yaml" "$here/run.sh" "$here/requirements.txt" "$here/$language"/*.*
        java -version 2>&1; } | sha256sum)
    [ "$stamp" != "$(cat "$folder/.stamp" 2>/dev/null)" ] || return 0
    rm -rf "$folder"
    mkdir -p "$clients"
    "$generator" generate -i "$repo/openapi.yaml" -c "$here/$language/generator.yaml" -o "$folder" >"$work/log" 2>&1 ||
        fail "$language: the generator failed: $(cat "$work/log")"
    (cd "$folder" && "build_$language") >"$work/log" 2>&1 || fail "$language: the build failed: $(cat "$work/log")"
    echo "$stamp" >"$folder/.stamp"
}

# life LANGUAGE URL ...: runs the program of a language, which prints the name of each check that passed.
life() {
    local language=$1 run
    shift
    case $language in
        python)
            run=("PYTHONPATH=$clients/python" PYTHONDONTWRITEBYTECODE=1
                "$TOOLS/venv/bin/python" "$here/python/life.py")
            ;;
        php) run=("CLIENT=$clients/php" php "$here/php/life.php") ;;
        java) run=(java -Dfile.encoding=UTF-8 -cp "$clients/java/classes:$jars" Life) ;;
        typescript) run=(node "$clients/typescript/life.js") ;;
    esac
    env -i PATH="$PATH" LC_ALL=C.UTF-8 "${run[@]}" "$@"
}

## The services

# Waits until a command succeeds.
until_true() {
    for _ in $(seq 200); do
        "$@" && return
        sleep 0.1
    done
    return 1
}

# start NAME VARIABLE=VALUE ...: starts a service; sets url.
start() {
    local log=$work/$1.log
    shift
    env -i PATH="$PATH" RS_PORT=0 RS_DRAIN_DELAY=0 "$@" "$binary" 2>"$log" &
    processes+=($!)
    until_true grep -q 'listening on http://' "$log" || fail "the program did not start: $(cat "$log")"
    url=$(grep -o 'http://[0-9.:]*' "$log" | head -n 1)
    curl --silent --noproxy '*' "$url/openapi.yaml" | cmp - "$repo/openapi.yaml" ||
        fail "$binary serves another openapi.yaml: build it again"
}

## The checks

declare -A passed
# try STORE URL: runs the program of each language.
try() {
    local store=$1 language
    for language in "${languages[@]}"; do
        life "$language" "$2" "$no_store" >"$work/$language" || fail "$store store, $language: see above"
        sed "s/^/$store store, $language: /" "$work/$language"
        # Each program must make the same checks as the first one, so that none can end early unnoticed.
        diff "$work/${languages[0]}" "$work/$language" || fail "$language makes other checks than ${languages[0]}"
        passed[$language]=$((${passed[$language]:-0} + $(wc -l <"$work/$language")))
    done
    if grep -E ' (WARN|ERROR) |panicked' "$work/$store.log"; then
        fail "the program logged warnings or errors"
    fi
}

for language in "${languages[@]}"; do
    make_client "$language"
done

# On a socket in our own folder, so that the address cannot collide with another Redis.
redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no --dir "$work" >"$work/redis.log" &
processes+=($!)
until_true test -S "$work/redis.sock" || fail "redis-server did not start: $(cat "$work/redis.log")"

start no-store RS_REDIS_URL="redis+unix://$work/nothing.sock"
no_store=$url
start embedded RS_DATA_DIR="$work/data"
try embedded "$url"
start Redis RS_REDIS_URL="redis+unix://$work/redis.sock"
try Redis "$url"

summary=
for language in "${languages[@]}"; do
    summary+=", $language ${passed[$language]}"
done
echo "clients: ${summary#, } checks passed"
