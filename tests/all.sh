#!/bin/sh
# The test command: installs missing tools, lints, builds and tests everything. Stops at the first failure.
#
#   tests/all.sh
#
# Run as root, because tests/container/nginx.sh creates network namespaces. Environment: TOOLS (see tests/setup.sh).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
TOOLS=${TOOLS:-$root/.tools}
PATH=$TOOLS/bin:$PATH:/usr/sbin:/sbin
export TOOLS PATH
# The caller's RS_* variables must not configure a service under test.
for name in $(env | sed -n 's/^\(RS_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done

began=$(date +%s)
steps=0
# step NAME COMMAND ...
step() {
    name=$1
    shift
    steps=$((steps + 1))
    printf '\n== %s\n' "$name"
    started=$(date +%s)
    if "$@"; then
        printf '== %s: %s s\n' "$name" "$(($(date +%s) - started))"
    else
        status=$?
        printf 'tests/all.sh: FAILED in "%s" after %s s\n' "$name" "$(($(date +%s) - began))"
        exit "$status"
    fi
}

# files PATTERN: the project's own files of a kind.
files() { find . \( -name target -o -name .tools -o -name node_modules \) -prune -o -type f -name "$1" -print; }

python_syntax() {
    python3 -c 'import ast, sys; [ast.parse(open(name, encoding="utf-8").read(), name) for name in sys.argv[1:]]' "$@"
}

nginx() {
    if [ "$(id -u)" != 0 ]; then
        echo "tests/container/nginx.sh needs root to create network namespaces" >&2
        return 1
    fi
    tests/container/nginx.sh "$1"
}

binary=${CARGO_TARGET_DIR:-$root/target}/release/rest-sessions

# No file name in the repository contains a space.
# shellcheck disable=SC2046
{
    step "set-up" tests/setup.sh
    step "format" cargo fmt --check
    step "shell scripts" "$TOOLS/venv/bin/shellcheck" .ci/run $(files '*.sh')
    step "Python scripts" python_syntax $(files '*.py')
    step "Dockerfile" "$TOOLS/venv/bin/hadolint" Dockerfile
    step "docker-compose.yml" tests/lint/node_modules/.bin/dclint --max-warnings 0 $(files docker-compose.yml)
    step "openapi.yaml and its reference" tests/openapi/run.sh
    step "dependencies" tests/lint/deny.sh
    step "clippy" cargo clippy --locked --all-targets -- --deny warnings
    step "tests" cargo test --locked
    step "the Redis servers that docs/redis.md names" tests/redis/servers.sh
    step "documentation" env RUSTDOCFLAGS='--deny warnings' cargo doc --locked --no-deps
    step "package" tests/lint/package.sh
    step "release build" cargo build --locked --release
    step "requests made from openapi.yaml" tests/schemathesis/run.sh "$binary"
    step "generated clients" tests/clients/run.sh "$binary"
    step "adapters" tests/adapters/run.sh "$binary"
    step "nginx" nginx "$binary"
    step "one login for four languages, in a browser" tests/browser/run.sh "$binary"
    step "docker compose" tests/compose/run.sh
}

seconds=$(($(date +%s) - began))
printf '\ntests/all.sh: all %s steps passed in %s min %s s\n' "$steps" "$((seconds / 60))" "$((seconds % 60))"
