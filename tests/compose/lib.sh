# shellcheck shell=bash
# Functions of the two scripts that bring a compose file up: checks, and waiting for health.
# shellcheck disable=SC2034 # they read `failed`

failed=0
# is NAME WANTED FOUND
is() {
    if [ "$2" = "$3" ]; then echo "ok    $1"; else echo "WRONG $1: wanted '$2', found '$3'"; failed=1; fi
}
ask() { curl --silent --max-time 20 "$@" || true; }
status() { ask --output /dev/null --write-out '%{http_code}' "$@"; }

# commands FILE: the lines of its first block of shell commands that begins with `docker compose`, with the command that this
# machine has for it.
commands() {
    awk '/^```sh$/ { on = 1; block = ""; next } /^```$/ { if (on && block ~ /(^|\n)docker compose /) { printf "%s", block; exit } on = 0 } on { block = block $0 "\n" }' "$1" |
        sed 's/^docker compose /docker-compose --no-ansi /'
}
compose() { docker-compose --no-ansi "$@"; }

# healthy SERVICE ...: waits until the engine calls each of them healthy.
healthy() {
    local service tries state
    for service in "$@"; do
        tries=0
        until state=$(docker inspect --format '{{.State.Health.Status}}' "$(compose ps --quiet "$service" 2>/dev/null)" 2>/dev/null) && [ "$state" = healthy ]; do
            tries=$((tries + 1))
            if [ "$tries" -ge 240 ]; then
                echo "WRONG $service does not get healthy: ${state:-no container}"
                compose logs --tail 30 "$service" 2>&1 | tail -n 30
                failed=1
                return
            fi
            sleep 0.5
        done
        echo "ok    $service is healthy"
    done
}
