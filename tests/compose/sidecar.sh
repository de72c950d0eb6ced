#!/usr/bin/env bash
# Tests docker-compose.yml: up by the README's commands, requests through nginx, restarts of Redis and the service,
# down.
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
# The first command is `up`; the others send requests once all services are healthy.
eval "$(sed -n 1p <<<"$lines")"
healthy redis rest-sessions nginx
answer=$(eval "$(sed 1d <<<"$lines")" 2>/dev/null || true)
is "README: create returns a token" yes "$([[ $answer =~ ^\{\"token\":\"[A-Za-z0-9]{64}\" ]] && echo yes)"

token=$(ask --request PUT "$private/shop/create/ann?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
has() { ask "$private/shop/get/$token" | grep -o '"id":"[^"]*"'; }
is "the session exists" '"id":"ann"' "$(has)"
# nginx's example backend echoes the session headers that nginx has set.
is "nginx recognizes the visitor" yes "$(ask --cookie "session=$token" "$public/account/" | grep -q 'id=ann' && echo yes)"
for path in /ping /readyz /metrics /shop/killall "/shop/get/$token"; do
    is "the public side does not reach the service: ${path%%"$token"}" no \
        "$(ask "$public$path" | grep -qE '^PONG|^ok|rest_sessions|"id"|"kill"|"name"' && echo yes || echo no)"
done
network=$(docker network ls --filter name=_front --quiet)
is "a container on the public network does not reach the service" no "$(docker run --rm --network "$network" rest-sessions-test/system \
    curl --silent --max-time 3 http://10.231.57.10:3000/ping >/dev/null && echo yes || echo no)"

compose restart redis >/dev/null 2>&1
healthy redis rest-sessions
is "the session survives a restart of Redis" '"id":"ann"' "$(has)"
before=$(docker inspect --format '{{.State.StartedAt}}' "$(compose ps --quiet rest-sessions)")
# Kill the process itself: after a kill by an engine command the engine would not restart the container.
kill -KILL "$(docker inspect --format '{{.State.Pid}}' "$(compose ps --quiet rest-sessions)")"
sleep 1
healthy rest-sessions nginx
is "the engine restarted the service" yes "$([ "$before" != "$(docker inspect --format '{{.State.StartedAt}}' "$(compose ps --quiet rest-sessions)")" ] && echo yes)"
is "the session survives a crash of the service" '"id":"ann"' "$(has)"
is "no token in the logs" 0 "$(compose logs 2>&1 | grep -v 'GET /shop/get/' | grep -c "$token" || true)"
compose down --volumes >/dev/null 2>&1
is "no container is left" "" "$(docker ps --all --quiet)"
exit "$failed"
