#!/usr/bin/env bash
# Tests each adapter of adapters/ in its framework, and one login across all of them, on the embedded store and on its
# own Redis. Before that, it runs the tests of each single adapter.
#
#   run.sh [BINARY]      BINARY   the program, default target/release/rest-sessions
#                        TOOLS    folder with venv/, made from requirements.txt, default .tools
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
binary=$(realpath -m "${1:-$repo/target/release/rest-sessions}")
python=${TOOLS:-$repo/.tools}/venv/bin/python

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

[ -x "$binary" ] || fail "$binary is missing: build it with cargo build --release"
"$python" -c 'import django, flask' 2>/dev/null || fail "Django or Flask is missing: run tests/setup.sh"
[ -d "$here/node_modules/express-session" ] || fail "express-session is missing: run tests/setup.sh"
for tool in node php java javac redis-server; do
    command -v "$tool" >/dev/null || fail "$tool is not in the PATH: run tests/setup.sh"
done
jars=/usr/share/java/tomcat10-embed-core.jar:/usr/share/java/jakarta-annotation-api.jar
for jar in ${jars//:/ }; do
    [ -e "$jar" ] || fail "$jar is missing: run tests/setup.sh"
done

export PYTHONDONTWRITEBYTECODE=1
python3 "$here/python_checks.py" "$binary" "${TOOLS:-$repo/.tools}"
TOOLS=${TOOLS:-$repo/.tools} python3 "$here/php_checks.py" "$binary"
"$here/express.sh" "$binary"
python3 "$here/java_checks.py" "$binary" "${TOOLS:-$repo/.tools}" "$jars"
exec python3 "$here/check.py" "$binary" "$python" "$jars"
