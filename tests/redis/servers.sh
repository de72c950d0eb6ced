#!/usr/bin/env bash
# Runs the tests that depend on Redis on the further servers that docs/redis.md names: the oldest and the newest Redis, and
# Valkey. `cargo test` alone runs them on the redis-server in the PATH, Debian's.
#
#   tests/redis/servers.sh
#
# The servers are in TOOLS/redis (see tests/setup.sh). They are built without TLS, so the TLS tests run on Debian's
# server only. All three runs are concurrent, since these tests mostly wait.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
servers=${TOOLS:-$repo/.tools}/redis
cd "$repo"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

cargo test --quiet --locked --test it --no-run
folders="redis-6.2 redis-8.2 valkey-9.1"
runs=()
for folder in $folders; do
    server=$servers/$folder/redis-server
    [ -x "$server" ] || { echo "servers.sh: $server is missing: run tests/setup.sh" >&2; exit 1; }
    "$server" --version | grep -q "v=${folder#*-}\." || { echo "servers.sh: $folder is another version" >&2; exit 1; }
    excused=(--skip tls)
    # The options by which three tests make Redis fail to save, load slowly, or announce a proxy do not work in 6.2.
    [ "$folder" != redis-6.2 ] || excused+=(--skip a_redis_that_cannot_save_still_serves_reads
        --skip the_service_recovers_when_redis_has_loaded --skip an_unusable_redirect_is_logged_once)
    PATH=$servers/$folder:$PATH cargo test --quiet --locked --test it -- behaviour:: peers:: outage:: \
        check::redis check::cluster near:: "${excused[@]}" >"$logs/$folder" 2>&1 &
    runs+=($!)
done
failed=0
for folder in $folders; do
    wait "${runs[0]}" || { failed=1; cat "$logs/$folder"; }
    runs=("${runs[@]:1}")
    printf -- '-- %s\n' "$("$servers/$folder/redis-server" --version | cut -d ' ' -f 1-3)"
    grep '^test result' "$logs/$folder" || true
done
exit "$failed"
