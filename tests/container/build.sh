#!/bin/sh
# Builds the image with buildah, starts it once, asks it, stops it. Run by hand, as root; needs buildah and curl.
#
#   tests/container/build.sh [--stand-ins] [FURTHER ARGUMENTS OF buildah bud]
#
# --stand-ins first makes the two base images on this machine and gives them the names that the Dockerfile uses, for
# places without an image registry. They have the packages of the real ones; the toolchain is the local one. Needs
# debootstrap, a Debian mirror, and a rustc of the version in the Dockerfile. They stay until `buildah rmi` removes them.
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
service=
cleanup() {
    [ -z "$service" ] || kill -KILL "$service" 2>/dev/null || true
    for container in $containers; do
        buildah umount "$container" >/dev/null 2>&1 || true
        buildah rm "$container" >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# new_container IMAGE: makes a container, sets $container and its root folder $root.
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
    debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$root" "$mirror" >"$work/log" 2>&1 \
        || { cat "$work/log" >&2; die "debootstrap failed"; }

    # Packages unpacked without their scripts: how distroless images are made.
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
    buildah config --user 65532 --workingdir /home/nonroot --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$container"
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

# Run as the image says: its user, its environment, its entry point, and with a read-only root as in docker-compose.yml.
# Not with `buildah run`: under `chroot` isolation that ends the process by SIGKILL when it is told to end by SIGTERM.
# The network is this machine's, hence loopback and a port that is likely free.
say "run it"
port=${PORT:-39173}
new_container "$image"
config() { buildah inspect --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$container"; }
user=$(buildah inspect --format '{{.Docker.Config.User}}' "$container")
binary=$(config Entrypoint)
environment=$(config Env | grep -v '^RS_HOST=\|^RS_PORT=')
[ "$(stat --format %u:%g "$root/data")" = "$user" ] || die "/data does not belong to $user"
[ -n "$(config Healthcheck.Test)" ] || die "the image has no HEALTHCHECK"

# inside COMMAND ...: replaces the current process by the command in the image. The mounts end with it.
inside() {
    # shellcheck disable=SC2016,SC2086 # the inner shell expands the first; the second is split on purpose
    exec unshare --mount sh -euc '
        root=$1 user=$2; shift 2
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount --bind "$root/../data" "$root/data"
        exec chroot --userspec="$user" "$root" "$@"' \
        sh "$root" "$user" /usr/bin/env -i $environment RS_HOST=127.0.0.1 RS_PORT="$port" "$@"
}
