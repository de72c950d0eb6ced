#!/usr/bin/env bash
# Generates clients from openapi.yaml, builds them, and leads a session through its whole life with each: first on the
# embedded store, then on a private Redis. OpenAPI Generator makes one client per language; the other clients are named
# after their generators. Fails if any check fails, if the clients do not make the same checks, or if one of the other
# generators warns. The clients stay in TOOLS until their inputs change.
#
#   run.sh [BINARY]      BINARY   the program, default target/release/rest-sessions
#                        TOOLS    folder with venv/, made from requirements.txt, default .tools
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=$(realpath -m "${1:-$repo/target/release/rest-sessions}")
TOOLS=${TOOLS:-$repo/.tools}
clients=$TOOLS/clients
languages=(python php java typescript openapi-python-client openapi-fetch hey-api)

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: build it with cargo build --release"
generator=$TOOLS/venv/bin/openapi-generator-cli
tsc=$here/typescript/node_modules/typescript/bin/tsc
npm_tools=$here/typescript/node_modules/.bin
for file in "$generator" "$tsc" \
    "$TOOLS/venv/bin/openapi-python-client" "$npm_tools/openapi-typescript" "$npm_tools/openapi-ts" \
    /usr/share/java/jakarta-annotation-api.jar /usr/share/php/GuzzleHttp/autoload.php; do
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

# generate_with_LANGUAGE FOLDER: runs a generator other than OpenAPI Generator.
generate_with_openapi-python-client() {
    # It finds its formatter, ruff, in the PATH.
    PATH=$TOOLS/venv/bin:$PATH openapi-python-client generate --path "$repo/openapi.yaml" --output-path "$1" \
        --config "$here/openapi-python-client/config.yaml" --fail-on-warning
}
generate_with_openapi-fetch() {
    "$npm_tools/openapi-typescript" "$repo/openapi.yaml" --output "$1/schema.ts"
}
generate_with_hey-api() {
    INPUT=$repo/openapi.yaml OUTPUT=$1/generated \
        "$npm_tools/openapi-ts" --file "$here/hey-api/openapi-ts.config.mjs" --no-log-file
}

build_openapi-python-client() { :; }
# build_fetch CLIENT: compiles life.ts with the client in the current folder.
build_fetch() {
    cp "$here/life.ts" "$here/$1/client.ts" "$here/typescript/package.json" .
    ln -s "$here/typescript/node_modules" node_modules
    node "$tsc" --strict --module nodenext --target es2022 --lib es2022,dom,dom.iterable --types node \
        --skipLibCheck life.ts
}
build_openapi-fetch() { build_fetch openapi-fetch; }
build_hey-api() { build_fetch hey-api; }
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
    stamp=$({ cat "$repo/openapi.yaml" "$here/run.sh" "$here/requirements.txt" "$here/life.ts" "$here/$language"/*.* \
        "$here/typescript/package-lock.json"
        java -version 2>&1; } | sha256sum)
    [ "$stamp" != "$(cat "$folder/.stamp" 2>/dev/null)" ] || return 0
    rm -rf "$folder"
    mkdir -p "$clients"
    if [ -e "$here/$language/generator.yaml" ]; then
        "$generator" generate -i "$repo/openapi.yaml" -c "$here/$language/generator.yaml" -o "$folder"
    else
        "generate_with_$language" "$folder"
    fi >"$work/log" 2>&1 || fail "$language: the generator failed: $(cat "$work/log")"
    if [ ! -e "$here/$language/generator.yaml" ] && grep -i warning "$work/log"; then
        fail "$language: the generator warns"
    fi
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
        openapi-python-client)
            run=("PYTHONPATH=$clients/$language" PYTHONDONTWRITEBYTECODE=1
                "$TOOLS/venv/bin/python" "$here/$language/life.py")
            ;;
        openapi-fetch | hey-api) run=(node "$clients/$language/life.js") ;;
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
