#!/bin/sh
# Tests config/nginx.conf in front of a real service, on both listeners. Run as root; needs nginx, iproute2 and curl.
#
#   tests/container/nginx.sh [BINARY]       (default: target/release/rest-sessions)
#
# Runs in new network and mount namespaces: ports and addresses are free, and nothing stays behind.
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
ip address add 203.0.113.9/32 dev lo # the address of a visitor from the internet

# The service runs in a network namespace of its own, as in docker-compose.yml, since both listen on port 3000.
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

anonymous='id= ttl= name= role='
for path in / /ping /readyz /metrics /openapi.yaml /myapp/killall /shop/auth; do
    is "public: $path does not reach the service" "$anonymous" "$(ask "$public$path")"
done
is "public: a path with .. does not reach the service" "$anonymous" "$(ask --path-as-is "$public/x/..//ping")"
is "public: a Host header does not reach the service" "$anonymous" "$(ask --header 'Host: sessions' "$public/ping")"
is "public: the internal auth location is hidden" 404 "$(status "$public/_session")"
is "public: the internal auth location is hidden from a path with .." 404 "$(status --path-as-is "$public/account/../_session")"

is "private: /ping" PONG "$(ask "$private/ping")"
is "private: closed to public addresses" 403 "$(status --interface 203.0.113.9 "$private/ping")"
token=$(ask --request PUT "$private/myapp/create/a%2Fb?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
is "private: create returns a token" 64 "${#token}"
is "private: nginx keeps %2F in an id" '"id":"a/b"' "$(ask "$private/myapp/get/$token" | grep -o '"id":"[^"]*"')"
is "private: the same id in a list" 1 "$(ask "$private/myapp/soid/a%2Fb" | grep -c '"id":"a/b"')"
is "private: the service's errors pass unchanged" invalidFormat "$(name "$private/x/get/$token")"
head -c 70000 /dev/zero | tr '\0' ' ' >/run/large
is "private: the service refuses a large body, not nginx" tooLarge \
    "$(name --header 'Content-Type: application/json' --data-binary @/run/large "$private/myapp/set/$token")"
is "private: nginx reuses connections" yes \
    "$(ss --no-header --tcp state established dst "$address:3000" | grep -q . && echo yes)"

data='{"name":"Jürgen \"J\" Ä","role":"admin\r\nX-Session-Id: root"}'
visitor=$(ask --request PUT --header 'Content-Type: application/json' --data "$data" \
    "$private/shop/create/j%40example.com?ip=10.0.0.1&ttl=100" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
known='id=j%40example.com ttl=100 name=J%C3%BCrgen%20%22J%22%20%C3%84 role=admin%0D%0AX-Session-Id%3A%20root'
redirect() { ask --output /dev/null --write-out '%{http_code} %{redirect_url}' "$@"; }
account=$public/account/
is "auth: a visitor with a session cookie is recognized" "$known" "$(ask --cookie "a=b; session=$visitor" "$account")"
is "auth: a visitor with the header is recognized" "$known" "$(ask --header "X-Session-Token: $visitor" "$account")"
is "auth: a visitor who posts is recognized" "$known" "$(ask --cookie "session=$visitor" --data 'a=b' "$account")"
is "auth: a visitor who posts in chunks is recognized" "$known" \
    "$(ask --cookie "session=$visitor" --header 'Transfer-Encoding: chunked' --data 'a=b' "$account")"
is "auth: forged headers are replaced" "$known" "$(ask --cookie "session=$visitor" --header 'X-Session-Id: root' \
    --header 'X-Session-Data-Role: root' --header 'x-session-data-name: root' --header 'X-Session-Ttl: 9' "$account")"
is "auth: forged headers with underscores are replaced" "$known" "$(ask --cookie "session=$visitor" --header 'X_Session_Id: root' \
    --header 'X_Session_Data_Role: root' "$account")"
is "public: nginx removes forged headers" "$anonymous" "$(ask --header 'X-Session-Id: root' \
    --header 'X-Session-Data-Role: root' --header 'X-Session-Data-Name: root' --header 'X-Session-Ttl: 9' "$public/")"
is "auth: a visitor without a session is redirected to the login" "302 $public/login" "$(redirect "$account")"
is "auth: a visitor with forged headers is redirected to the login" "302 $public/login" "$(redirect --header 'X-Session-Id: root' "$account")"
is "auth: a token of another app is redirected to the login" "302 $public/login" "$(redirect --cookie "session=$token" "$account")"
is "auth: an invalid token is redirected to the login" "302 $public/login" "$(redirect --cookie 'session=../../killall' "$account")"
guest=$(ask --request PUT "$private/shop/create/anonymous?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
is "auth: a guest with an anonymous session is redirected to the login" "302 $public/login" "$(redirect --cookie "session=$guest" "$account")"
is "auth: the redirect does not reveal the app" '' "$(ask --include "$account" | grep -i shop)"
bob=$(ask --request PUT "$private/shop/create/bob?ip=10.0.0.1" | sed 's/.*"token":"\([A-Za-z0-9]*\)".*/\1/')
is "auth: headers of missing keys are empty" 'id=bob ttl=7200 name= role=' "$(ask --cookie "session=$bob" "$account")"
is "auth: an auth request counts as a read" '"r":2' "$(ask "$private/shop/get/$bob" | grep -o '"r":[0-9]*')"
large=$(head -c 4000 /dev/zero | tr '\0' 'x')
ask --header 'Content-Type: application/json' --data "{\"name\":\"$large\"}" "$private/shop/set/$bob" >/dev/null
is "auth: a long value passes" "id=bob ttl=7200 name=$large role=" "$(ask --cookie "session=$bob" "$account")"
ask --request DELETE "$private/shop/kill/$bob" >/dev/null
is "auth: a killed session is redirected to the login" "302 $public/login" "$(redirect --cookie "session=$bob" "$account")"

# The auth request itself, received by a server that logs it.
cat >/run/recorder.conf <<CONF
error_log /run/recorder.log; pid /run/recorder.pid;
events {}
http {
    log_format asked '\$request_method \$uri length=\$http_content_length coding=\$http_transfer_encoding body=\$request_length';
    server { listen 127.0.0.1:8099; access_log /run/asked.log asked; location / { return 204; } }
}
CONF
nginx -c /run/recorder.conf
sed -e "s|server $address:3000;|server 127.0.0.1:8099;|" -e 's|listen 8080 default_server|listen 8090 default_server|' \
    -e 's|listen 3000;|listen 3009;|' -e 's|listen 127.0.0.1:8081;|listen 127.0.0.1:8082;|' -e 's|pid .*;|pid /run/second.pid;|' \
    "$config" >/run/second.conf
nginx -c /run/second.conf
ask --data "$large" http://127.0.0.1:8090/account/ >/dev/null
is "auth: the auth request carries no body" 'GET /shop/auth length=- coding=-' "$(sed 's/ body=.*//' /run/asked.log)"
is "auth: the auth request carries no body without a length" yes "$([ "$(sed 's/.*body=//' /run/asked.log)" -lt 1000 ] && echo yes)"
nginx -c /run/second.conf -s stop 2>/dev/null
nginx -c /run/recorder.conf -s stop 2>/dev/null

# The short configuration in docs/http-api.md.
{
    echo 'error_log /run/short.log; pid /run/short.pid; events {} http { access_log off;'
    echo "upstream sessions { server $address:3000; } upstream backend { server 127.0.0.1:8081; }"
    echo 'server { listen 8070; location @login { return 302 /login; } location @later { return 503; }'
    awk '/^```nginx$/ { on = 1; next } /^```$/ { on = 0 } on' "$here/../../docs/http-api.md"
    echo '} }'
} >/run/short.conf
nginx -c /run/short.conf
is "docs/http-api.md: forged headers are replaced" 'id=j%40example.com role=admin%0D%0AX-Session-Id%3A%20root' \
    "$(ask --cookie "session=$visitor" --header 'X-Session-Id: root' --header 'X-Session-Data-Role: root' \
        http://127.0.0.1:8070/account/ | sed 's/ ttl=[0-9]* name=//')"
nginx -c /run/short.conf -s stop 2>/dev/null

kill -TERM "$service"
wait "$service" || true
is "service down: status" 503 "$(status "$private/myapp/get/$token")"
is "service down: error name" storeUnavailable "$(name "$private/myapp/get/$token")"
is "service down: Retry-After" 1 "$(ask --include "$private/ping" | tr -d '\r' | sed -n 's/^Retry-After: //p')"
is "service down: a visitor with a session is not redirected to the login" 503 "$(status --cookie "session=$visitor" "$account")"
is "service down: a visitor without a session gets no access" 503 "$(status "$account")"
is "service down: public pages are served" "$anonymous" "$(ask "$public/")"
is "service down: nginx is healthy" 204 "$(status "$private/nginx-health")"


# The service without its store answers auth with 503. nginx must neither grant access nor redirect to the login.
ip netns exec service env RS_HOST="$address" RS_PORT=3000 RS_REDIS_URL=redis://127.0.0.1:1 RS_TIMEOUT=0.5 "$binary" \
    >/run/service.log 2>&1 &
until_ok curl --silent --fail "http://$address:3000/livez"
is "store unavailable: the service answers 503" 503 "$(status "$private/shop/get/$visitor")"
is "store unavailable: nginx answers 503" 503 "$(status --cookie "session=$visitor" "$account")"
is "store unavailable: a visitor without a session is redirected to the login" "302 $public/login" "$(redirect "$account")"

# The same configuration over a Unix socket. nginx's workers run as another user than the service.
nginx -c "$config" -s stop
sed 's|server [0-9.]*:3000;|server unix:/run/http.sock;|' "$config" >/run/socket.conf
over_socket() {
    env RS_HOST=none RS_SOCKET=/run/http.sock RS_SOCKET_MODE="$1" RS_DATA_DIR=/run/data "$binary" >/run/service.log 2>&1 &
    service=$!
    until_ok curl --silent --fail --unix-socket /run/http.sock http://localhost/readyz
}
over_socket 0666
until_ok test ! -e /run/nginx.pid
nginx -c /run/socket.conf -g 'daemon off;' &
until_ok curl --silent --fail "$private/nginx-health"
is "socket: /ping" PONG "$(ask "$private/ping")"
is "socket: a visitor is recognized" "$known" "$(ask --cookie "session=$visitor" "$account")"
kill -TERM "$service"
wait "$service" || true
over_socket 0600
is "socket: mode 0600 excludes nginx" 503 "$(status "$private/ping")"

is "no token in nginx's logs" 0 "$(cat /var/log/nginx/*.log | grep -c -e "$token" -e "$visitor" -e "$bob")"
exit "$failed"
