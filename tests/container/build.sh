#!/bin/sh
# Builds the image with buildah, runs it once with requests and health checks, and stops it. Run by hand, as root; needs
# buildah, curl and iproute2.
#
#   tests/container/build.sh [--stand-ins] [FURTHER ARGUMENTS OF buildah bud]
#
# --stand-ins first builds the two base images on this machine under the names in the Dockerfile, for machines without
# an image registry. They have the packages of the real ones and the local toolchain. Needs debootstrap, a Debian
# mirror, and a rustc of the version in the Dockerfile. The images stay until `buildah rmi` removes them.
#
# Environment: CONTEXT (folder to build, default: this repository), IMAGE, DEBIAN_MIRROR.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
context=${CONTEXT:-$here/../..}
image=${IMAGE:-localhost/rest-sessions:test}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
# `chroot` needs neither a container runtime nor user namespaces, so it works inside other containers too.
export BUILDAH_ISOLATION=chroot

say() { printf '== %s\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "needs root"
work=$(mktemp -d)
containers=
network=
service=
cleanup() {
    [ -z "$service" ] || kill -KILL "$service" 2>/dev/null || true
    [ -z "$network" ] || ip netns delete "$network" || true
    for container in $containers; do
        buildah umount "$container" >/dev/null 2>&1 || true
        buildah rm "$container" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# new_container IMAGE: creates a container; sets $container and its root folder $root.
new_container() {
    container=$(buildah from --pull-never "$1")
    containers="$containers $container"
    root=$(buildah mount "$container")
}

# The name in the n-th FROM line of the Dockerfile.
base_image() { awk '$1 == "FROM"' "$context/Dockerfile" | awk -v n="$1" 'NR == n { print $2 }'; }

stand_ins() {
    rust_image=$(base_image 1)
    case $rust_image in rust:*) rust_image=docker.io/library/$rust_image ;; esac
    say "stand-in for $rust_image"
    new_container scratch
    debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$root" "$mirror" \
        >"$work/log" 2>&1 || { cat "$work/log" >&2; die "debootstrap failed"; }

    # Unpack packages without running their scripts, as distroless images do.
    mkdir -p "$root/tmp/debs" "$work/runtime"
    chroot "$root" sh -c 'cd /tmp/debs && apt-get -qq download \
        base-files netbase tzdata media-types ca-certificates libc6 libssl3 libgcc-s1 libgomp1 libstdc++6 gcc-12-base'
    for deb in "$root"/tmp/debs/*.deb; do dpkg-deb -x "$deb" "$work/runtime"; done
    rm -r "$root/tmp/debs"

    sysroot=$(rustc --print sysroot)
    cp -a "$sysroot/bin" "$sysroot/lib" "$root/usr/local/"
    mkdir -p "$root/usr/local/cargo"
    buildah config --env CARGO_HOME=/usr/local/cargo "$container"
    buildah commit --quiet --format docker "$container" "$rust_image" >/dev/null

    runtime_image=$(base_image 2)
    say "stand-in for $runtime_image"
    ( cd "$work/runtime" && mkdir -p etc/ssl/certs home/nonroot tmp && chmod 1777 tmp && chown 65532:65532 home/nonroot
      cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt
      echo 'root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >etc/passwd
      echo 'root:x:0:
nobody:x:65534:
nonroot:x:65532:' >etc/group )
    new_container scratch
    cp -a "$work/runtime/." "$root/"
    buildah config --user 65532 --workingdir /home/nonroot --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        "$container"
    buildah commit --quiet --format docker "$container" "$runtime_image" >/dev/null
}

if [ "${1:-}" = --stand-ins ]; then
    shift
    stand_ins
fi

say "build $image"
started=$(date +%s)
buildah bud --format docker --tag "$image" --file "$context/Dockerfile" "$@" "$context"
say "built in $(($(date +%s) - started)) s, $(buildah images --format '{{.Size}}' "$image")"

# Run with the image's user, environment and entry point, and a read-only root as in docker-compose.yml. Not with
# `buildah run`, which under `chroot` isolation turns SIGTERM into SIGKILL.
say "run it"
new_container "$image"
config() { buildah inspect --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$container"; }
user=$(buildah inspect --format '{{.Docker.Config.User}}' "$container")
binary=$(config Entrypoint)
environment=$(config Env)
[ "$(stat --format %u:%g "$root/data")" = "$user" ] || die "/data does not belong to $user"
buildah inspect --format '{{.Docker.Config.Healthcheck.Test}}' "$container" | grep -q healthcheck || die "no HEALTHCHECK"
cp -a "$root/data" "$work/data" # a new volume starts as a copy, too

# In a new network namespace the image's port is free, and 0.0.0.0 is not reachable from outside.
network=rest-sessions-$$
ip netns add "$network"
ip -netns "$network" link set lo up

# in_image ARGUMENTS: replaces this process by the service in the image; its mounts end with the process.
in_image() {
    # shellcheck disable=SC2016,SC2086 # the inner shell expands the script; the environment is split on purpose
    exec ip netns exec "$network" env -i $environment unshare --mount sh -euc '
        root=$1 data=$2 user=$3; shift 3
        mount --bind "$root" "$root"
        mount --options remount,bind,ro "$root"
        mount --bind "$data" "$root/data"
        exec chroot --userspec="$user" "$root" "$@"' sh "$root" "$work/data" "$user" "$binary" "$@"
}

if (in_image healthcheck); then die "healthcheck passes without a service"; fi
in_image & service=$!
tries=0
until ip netns exec "$network" curl --silent --fail --output /dev/null http://127.0.0.1:3000/livez; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || die "no answer from /livez"
    kill -0 "$service" 2>/dev/null || die "the service ended"
    sleep 0.1
done
(in_image healthcheck) || die "healthcheck fails"
say "/livez answers, healthcheck passes, resident memory $(awk '/^VmRSS/ { print $2, $3 }' "/proc/$service/status")"
kill -TERM "$service"
wait "$service" && status=0 || status=$?
service=
[ "$status" = 0 ] || die "SIGTERM ended it with exit code $status"
say "SIGTERM ended it with exit code 0"
