#!/usr/bin/env bash
# Creates TOOLS/docker/system.tar, the Debian system of all stand-in images, and TOOLS/docker/vendor.tar, the sources of
# all crates. Both are kept until their inputs change. Only this script of the folder needs the network.
set -euo pipefail
: "${repo:?run.sh calls this}" "${here:?}" "${cache:?}"

packages=ca-certificates,curl,default-jdk-headless,gcc,gettext-base,libc6-dev,make,nginx-light,php-curl,php-fpm
packages=$packages,php-mbstring,python3,redis-server,wget

stamp=$(sha256sum "$here/system.sh" | cut -c 1-16)
if [ "$(cat "$cache/system.stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "compose: a Debian system for the images"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include="$packages" bookworm "$root" >"$cache/debootstrap.log" 2>&1 ||
        { tail -n 20 "$cache/debootstrap.log"; exit 1; }
    # Keep the packages: the image without a package manager is made of them. Drop lists and documents.
    rm -rf "$root"/var/lib/apt/lists/* "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
    : >"$root/etc/apt/sources.list" # there is no network inside, and all needed packages are installed
    tar --create --file "$cache/system.tar" --directory "$root" .
    echo "$stamp" >"$cache/system.stamp"
fi

stamp=$(sha256sum "$repo/Cargo.lock" | cut -c 1-16)
if [ "$(cat "$cache/vendor.stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "compose: the sources of all crates"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder" "${root:-}"' EXIT
    (cd "$repo" && cargo vendor --quiet --locked --versioned-dirs "$folder/vendor" >/dev/null)
    tar --create --file "$cache/vendor.tar" --directory "$folder" vendor
    echo "$stamp" >"$cache/vendor.stamp"
fi
