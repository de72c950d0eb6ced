#!/usr/bin/env bash
# docker-compose.yml: up by the README's commands, asked through nginx, through restarts of Redis and of the service, down.
set -euo pipefail
: "${repo:?run.sh calls this}" "${here:?}" "${cache:?}"
# shellcheck source=tests/compose/lib.sh
. "$here/lib.sh"
cd "$repo"
public=http://127.0.0.1:8080
private=http://127.0.0.1:3000

echo "compose: docker-compose.yml"
lines=$(commands README.md)
[ -n "$lines" ] || { echo "README.md has no commands for docker compose"; exit 1; }
# Up is the first command; the others ask, once all are healthy.
eval "$(sed -n 1p <<<"$lines")"
healthy redis rest-sessions nginx
answer=$(eval "$(sed 1d <<<"$lines")" 2>/dev/null || true)
is "README: the create answers a token" yes "$([[ $answer =~ ^\{\"token\":\"[A-Za-z0-9]{64}\" ]] && echo yes)"

token=$(ask --request PUT "$private/shop/create/ann?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
has() { ask "$private/shop/get/$token" | grep -o '"id":"[^"]*"'; }
is "a session is there" '"id":"ann"' "$(has)"
# The stand-in of a backend greets the visitor with what nginx has learnt.
is "nginx knows the visitor" yes "$(ask --cookie "session=$token" "$public/account/" | grep -q 'id=ann' && echo yes)"
for path in /ping /readyz /metrics /shop/killall "/shop/get/$token"; do
    is "the public side does not reach the service: ${path%%"$token"}" no \
        "$(ask "$public$path" | grep -qE '^PONG|^ok|rest_sessions|"id"|"kill"|"name"' && echo yes || echo no)"
done
network=$(docker network ls --filter name=_front --quiet)
is "nor does a container on the public network" no "$(docker run --rm --network "$network" rest-sessions-test/system \
    curl --silent --max-time 3 http://10.231.57.10:3000/ping >/dev/null && echo yes || echo no)"

compose restart redis >/dev/null 2>&1
healthy redis rest-sessions
is "the session outlives a restart of Redis" '"id":"ann"' "$(has)"
before=$(docker inspect --format '{{.State.StartedAt}}' "$(compose ps --quiet rest-sessions)")
# As a crash, not as a command of the engine's, which would not start it again.
kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$(compose ps --quiet rest-sessions)")"
sleep 1
healthy rest-sessions nginx
is "the service was started again" yes "$([ "$before" != "$(docker inspect --format '{{.State.StartedAt}}' "$(compose ps --quiet rest-sessions)")" ] && echo yes)"
is "the session outlives a crash of the service" '"id":"ann"' "$(has)"
is "no token in the logs" 0 "$(compose logs 2>&1 | grep -v 'GET /shop/get/' | grep -c "$token" || true)"
compose down --volumes >/dev/null 2>&1
is "nothing is left" "" "$(docker ps --all --quiet)"
exit "$failed"
