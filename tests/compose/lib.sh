# shellcheck shell=bash
# Functions for the scripts that test the compose files: checks, and waiting for health.
# shellcheck disable=SC2034 # the scripts read `failed`

failed=0
# is NAME WANTED FOUND
is() {
    if [ "$2" = "$3" ]; then echo "ok    $1"; else echo "WRONG $1: wanted '$2', found '$3'"; failed=1; fi
}
ask() { curl --silent --max-time 20 "$@" || true; }
status() { ask --output /dev/null --write-out '%{http_code}' "$@"; }

# commands FILE: the lines of its first shell block with a `docker compose` command, rewritten for docker-compose.
commands() {
    awk '/^```sh( |$)/ { on = 1; block = ""; next } /^```$/ { if (on && block ~ /(^|\n)docker compose /) { printf "%s", block; exit } on = 0 } on { block = block $0 "\n" }' "$1" |
        sed 's/^docker compose /docker-compose --no-ansi /'
}
compose() { docker-compose --no-ansi "$@"; }

# healthy SERVICE ...: waits until the engine reports each of them healthy.
healthy() {
    local service tries state
    for service in "$@"; do
        tries=0
        until state=$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps --quiet "$service" 2>/dev/null)" 2>/dev/null) && [ "$state" = healthy ]; do
            tries=$((tries + 1))
            if [ "$tries" -ge 240 ]; then
                echo "WRONG $service does not become healthy: ${state:-no container}"
                compose logs --tail 30 "$service" 2>&1 | tail -n 30
                failed=1
                return
            fi
            sleep 0.5
        done
        echo "ok    $service is healthy"
    done
}
