#!/usr/bin/env bash
# Tests examples/shared-login/docker-compose.yml: up by its README's command, one login in four languages, down.
set -euo pipefail
: "${repo:?run.sh calls this}" "${here:?}" "${cache:?}"
# shellcheck source=tests/compose/lib.sh
. "$here/lib.sh"
cd "$repo/examples/shared-login"
site=http://127.0.0.1:8080

echo "compose: examples/shared-login/docker-compose.yml"
# The README runs its command in this folder, too.
command=$(grep -o 'docker compose up[^`]*' README.md)
eval "${command/docker compose/compose}"
healthy rest-sessions nginx
for part in python php java node; do
    tries=0
    until [ "$(status "$site/$part/")" = 200 ] || [ "$tries" -ge 120 ]; do
        tries=$((tries + 1))
        sleep 0.5
    done
    is "$part: answers" 200 "$(status "$site/$part/")"
done
jar=$(mktemp)
trap 'rm -f "$jar"' EXIT
# curl sends a Secure cookie over http only as an explicit header.
login=$(ask --include --header "Origin: $site" --data 'name=ann&role=reader&password=demo' "$site/python/login")
token=$(sed -n 's/^[Ss]et-[Cc]ookie: session=\([A-Za-z0-9]*\);.*/\1/p' <<<"$login")
is "python: the login returns a token" 64 "${#token}"
for part in python php java node; do
    is "$part: recognizes the visitor" yes "$(ask --header "Cookie: session=$token" "$site/$part/" | grep -q ann && echo yes)"
done
compose restart rest-sessions >/dev/null 2>&1
healthy rest-sessions
is "the login survives a restart of the service" yes "$(ask --header "Cookie: session=$token" "$site/php/" | grep -q ann && echo yes)"
ask --header "Origin: $site" --header "Cookie: session=$token" --request POST "$site/java/logout" >/dev/null
is "a logout ends the session everywhere" no "$(ask --header "Cookie: session=$token" "$site/node/" | grep -q ann && echo yes || echo no)"
compose down --volumes >/dev/null 2>&1
is "no container is left" "" "$(docker ps --all --quiet)"
exit "$failed"
