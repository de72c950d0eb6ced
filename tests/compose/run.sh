#!/usr/bin/env bash
# Brings both compose files up under a Docker engine of its own and asks them, by the commands of the READMEs.
#
#   tests/compose/run.sh
#
# The engine, its containers and its networks live in namespaces of their own (network, mounts, processes), so ports and
# addresses are free there, and everything ends with this script. Images come from no registry: debootstrap makes one
# system, and images.sh gives parts of it the names that the compose files use. The service's own image is built from the
# Dockerfile. The engine's data stays in TOOLS/docker, so that later runs are quick.
#
# Needs root, Debian's docker.io, docker-compose and debootstrap, and cargo. Where the kernel does not let an engine run,
# the script says so and ends with 0: COMPOSE=required makes that a failure.
#
# Environment: TOOLS (default: .tools of this repository), COMPOSE.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
TOOLS=${TOOLS:-$repo/.tools}
cache=$TOOLS/docker
export TOOLS cache here repo
# Debian's client builds with BuildKit by itself; a newer one in /usr/local wants a plugin for that.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH

left_out() {
    printf '\n!!! compose: LEFT OUT: %s\n\n' "$*"
    [ "${COMPOSE:-}" != required ] || exit 1
    exit 0
}

if [ -z "${INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || left_out "an engine needs root"
    for tool in dockerd docker-compose debootstrap; do
        command -v "$tool" >/dev/null || left_out "$tool is missing: run tests/setup.sh"
    done
    mkdir -p "$cache"
    "$here/system.sh"
    unshare --net --mount --pid --fork true 2>/dev/null || left_out "the kernel gives no namespaces"
    INSIDE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs tmpfs /run
ip link set lo up
# Published ports are redirected by iptables; the kernel must let packets from one network of the engine into another.
echo 1 >/proc/sys/net/ipv4/ip_forward 2>/dev/null || left_out "the kernel does not let packets be forwarded"

export DOCKER_HOST=unix:///run/rest-sessions-docker.sock DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
dockerd --host "$DOCKER_HOST" --data-root "$cache/data" --exec-root /run/rest-sessions-docker \
    --pidfile /run/rest-sessions-docker.pid >"$work/dockerd.log" 2>&1 &
engine=$!
tries=0
until docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if ! kill -0 "$engine" 2>/dev/null || [ "$tries" = 300 ]; then
        tail -n 20 "$work/dockerd.log"
        left_out "the engine does not run here"
    fi
    sleep 0.2
done
# What an interrupted run left behind.
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
docker network prune --force >/dev/null
docker volume prune --force >/dev/null

"$here/images.sh"
# A container without an image of its own runs this one, to check that the engine runs anything at all.
docker run --rm --network none rest-sessions-test/system true || {
    tail -n 20 "$work/dockerd.log"
    left_out "the engine does not run containers here"
}

status=0
"$here/sidecar.sh" || status=$?
"$here/shared-login.sh" || status=$?

docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
kill "$engine"
wait "$engine" || true
exit "$status"
