#!/bin/sh
# Runs config/nginx.conf before a real service and asks both listeners. Run by hand, as root; needs nginx, iproute2, curl.
#
#   tests/container/nginx.sh [BINARY]       (default: target/release/rest-sessions)
#
# In network and mount namespaces of its own: the ports and addresses are free there, and nothing of it stays.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${INSIDE:-}" ]; then
    INSIDE=1 exec unshare --net --mount --pid --fork --kill-child "$0" "$@"
fi

binary=${1:-$here/../../target/release/rest-sessions}
config=$here/../../config/nginx.conf
public=http://127.0.0.1:8080
private=http://127.0.0.1:3000
address=$(sed -n 's/^ *server \([0-9.]*\):3000;$/\1/p' "$config")

failed=0
# is NAME WANTED FOUND
is() {
    if [ "$2" = "$3" ]; then echo "ok    $1"; else echo "WRONG $1: wanted '$2', found '$3'"; failed=1; fi
}
ask() { curl --silent --max-time 20 "$@" || true; }
status() { ask --output /dev/null --write-out '%{http_code}' "$@"; }
name() { ask "$@" | sed -n 's/^{"name":"\([A-Za-z]*\)".*/\1/p'; }
# until_ok COMMAND ...: waits at most ten seconds.
until_ok() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "gave up: $*" >&2; exit 1; }
        sleep 0.1
    done
}

mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log/nginx
mkdir /run/data
ip link set lo up
ip address add 203.0.113.9/32 dev lo # stands for a visitor from the internet

# The service behind a cable of its own, as in docker-compose.yml: both listen on port 3000.
ip netns add service
ip link add cable type veth peer name cable netns service
ip address add "${address%.*}.1/24" dev cable
ip link set cable up
ip -netns service address add "$address/24" dev cable
ip -netns service link set cable up
ip netns exec service env RS_HOST="$address" RS_PORT=3000 RS_DATA_DIR=/run/data "$binary" >/run/service.log 2>&1 &
service=$!
until_ok curl --silent --fail "http://$address:3000/readyz"
nginx -c "$config" -g 'daemon off;' &
until_ok curl --silent --fail "$private/nginx-health"

placeholder=$(ask "$public/")
for path in /ping /readyz /metrics /openapi.yaml /myapp/killall; do
    is "public: $path does not reach the service" "$placeholder" "$(ask "$public$path")"
done
is "public: no way through a path that leads back" "$placeholder" "$(ask --path-as-is "$public/x/..//ping")"
is "public: no way through a Host header" "$placeholder" "$(ask --header 'Host: sessions' "$public/ping")"

is "private: /ping" PONG "$(ask "$private/ping")"
is "private: closed to public addresses" 403 "$(status --interface 203.0.113.9 "$private/ping")"
token=$(ask --request PUT "$private/myapp/create/a%2Fb?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
is "private: create gives a token" 64 "${#token}"
is "private: %2F in an id stays" '"id":"a/b"' "$(ask "$private/myapp/get/$token" | grep -o '"id":"[^"]*"')"
is "private: the same id in a list" 1 "$(ask "$private/myapp/soid/a%2Fb" | grep -c '"id":"a/b"')"
is "private: errors are the service's" invalidFormat "$(name "$private/x/get/$token")"
head -c 70000 /dev/zero | tr '\0' ' ' >/run/large
is "private: a large body gets the service's answer" tooLarge \
    "$(name --header 'Content-Type: application/json' --data-binary @/run/large "$private/myapp/set/$token")"
is "private: connections are kept" yes \
    "$(ss --no-header --tcp state established dst "$address:3000" | grep -q . && echo yes)"

kill -TERM "$service"
wait "$service" || true
is "lost service: status" 503 "$(status "$private/myapp/get/$token")"
is "lost service: name" storeUnavailable "$(name "$private/myapp/get/$token")"
is "lost service: Retry-After" 1 "$(ask --include "$private/ping" | tr -d '\r' | sed -n 's/^Retry-After: //p')"
is "lost service: nginx is well" 204 "$(status "$private/nginx-health")"

is "no token in nginx's logs" 0 "$(cat /var/log/nginx/*.log | grep -c "$token")"
exit "$failed"
