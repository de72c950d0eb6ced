#!/usr/bin/env bash
# Tests both compose files under a private Docker engine, with the commands of the READMEs.
#
#   tests/compose/run.sh
#
# Engine, containers and networks run in new namespaces (network, mounts, processes), so all ports and addresses are
# free, and everything ends with this script. No image comes from a registry: debootstrap makes one system, and
# images.sh builds stand-ins from it. The service's image is built from the Dockerfile. The engine's data stays in
# TOOLS/docker, so that later runs are quick.
#
# Needs root, Debian's docker.io, docker-compose and debootstrap, and cargo. Where the kernel cannot run an engine, the
# script prints a notice and exits with 0; COMPOSE=required makes that a failure.
#
# Environment: TOOLS (default: .tools of this repository), COMPOSE.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
TOOLS=${TOOLS:-$repo/.tools}
cache=$TOOLS/docker
export TOOLS cache here repo
# Debian's client includes BuildKit; a newer one in /usr/local would need a plugin for it.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH

skip() {
    printf '\n!!! compose: SKIPPED: %s\n\n' "$*"
    [ "${COMPOSE:-}" != required ] || exit 1
    exit 0
}

if [ -z "${INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || skip "an engine needs root"
    for tool in dockerd docker-compose debootstrap; do
        command -v "$tool" >/dev/null || skip "$tool is missing: run tests/setup.sh"
    done
    mkdir -p "$cache"
    "$here/system.sh"
    unshare --net --mount --pid --fork true 2>/dev/null || skip "the kernel gives no namespaces"
    INSIDE=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mount -t tmpfs tmpfs /run
ip link set lo up
# iptables redirects published ports, so the kernel must forward packets between the engine's networks.
echo 1 >/proc/sys/net/ipv4/ip_forward 2>/dev/null || skip "the kernel does not let packets be forwarded"

export DOCKER_HOST=unix:///run/rest-sessions-docker.sock DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
dockerd --host "$DOCKER_HOST" --data-root "$cache/data" --exec-root /run/rest-sessions-docker \
    --pidfile /run/rest-sessions-docker.pid >"$work/dockerd.log" 2>&1 &
engine=$!
tries=0
until docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if ! kill -0 "$engine" 2>/dev/null || [ "$tries" = 300 ]; then
        tail -n 20 "$work/dockerd.log"
        skip "the engine does not run here"
    fi
    sleep 0.2
done
# Remove the leftovers of an interrupted run.
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
docker network prune --force >/dev/null
docker volume prune --force >/dev/null

"$here/images.sh"
# Check that the engine can run a container at all.
docker run --rm --network none rest-sessions-test/system true || {
    tail -n 20 "$work/dockerd.log"
    skip "the engine does not run containers here"
}

status=0
"$here/sidecar.sh" || status=$?
"$here/shared-login.sh" || status=$?

docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
kill "$engine"
wait "$engine" || true
exit "$status"
