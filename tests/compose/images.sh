#!/usr/bin/env bash
# Builds stand-ins for the images that the compose files and the Dockerfile name, from one Debian system. Each matches
# the official image in everything that these files rely on: user, folders, volumes, entry point.
set -euo pipefail
: "${repo:?run.sh calls this}" "${here:?}" "${cache:?}"

# The stamp covers all inputs of the stand-ins; the toolchain and node are this machine's.
stamp=$(cat "$here/images.sh" "$cache/system.stamp" "$cache/vendor.stamp" <(rustc --version) <(node --version) | sha256sum | cut -c 1-16)
[ "$(cat "$cache/images.stamp" 2>/dev/null)" != "$stamp" ] || [ -z "$(docker images --quiet rest-sessions-test/system)" ] || exit 0
rm -f "$cache/images.stamp"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
system=rest-sessions-test/system

echo "compose: stand-ins for the images"
docker import "$cache/system.tar" "$system" >/dev/null

# image NAME: builds an image of the Dockerfile on standard input.
image() { docker build --quiet --network none --tag "$1" --file - "$context" >/dev/null; }
# named NAME: the full image name in the compose files, so that files and stand-ins cannot disagree.
named() { awk -v name="$1" '$1 == "image:" && index($2, name ":") == 1 { print $2; exit }' "$repo"/docker-compose.yml \
    "$repo"/examples/shared-login/docker-compose.yml; }
base() { awk '$1 == "FROM"' "$repo/Dockerfile" | awk -v n="$1" 'NR == n { print $2 }'; }

cat >"$context/nginx.conf" <<'CONF'
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;
events {}
http {
    include /etc/nginx/mime.types;
    access_log /var/log/nginx/access.log;
    include /etc/nginx/conf.d/*.conf;
}
CONF
cat >"$context/nginx-entrypoint" <<'SH'
#!/bin/sh
# Like the official image: substitutes environment variables in the templates, then runs nginx.
set -eu
names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p' | tr '\n' ' ')
for template in /etc/nginx/templates/*.template; do
    [ -e "$template" ] || continue
    name=${template##*/}
    envsubst "$names" <"$template" >"/etc/nginx/conf.d/${name%.template}"
done
exec "$@"
SH
image "$(named nginx)" <<DOCKER
FROM $system
COPY nginx.conf /etc/nginx/nginx.conf
COPY --chmod=755 nginx-entrypoint /nginx-entrypoint
RUN groupadd --gid 101 nginx-image 2>/dev/null; rm -rf /etc/nginx/conf.d /var/lib/nginx \
    && mkdir -p /etc/nginx/conf.d /var/cache/nginx && chown 101:101 /var/cache/nginx /etc/nginx/conf.d \
    && ln -s /var/cache/nginx /var/lib/nginx \
    && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
ENTRYPOINT ["/nginx-entrypoint"]
CMD ["nginx", "-g", "daemon off;"]
DOCKER

# The official image disables protected mode.
printf '#!/bin/sh\nexec /usr/bin/redis-server "$@" --protected-mode no\n' >"$context/redis-server"
image "$(named redis)" <<DOCKER
FROM $system
COPY --chmod=755 redis-server /usr/local/bin/redis-server
RUN mkdir /data && chown 999:1000 /data
VOLUME /data
WORKDIR /data
DOCKER

image "$(named eclipse-temurin)" <<DOCKER
FROM $system
DOCKER
image "$(named python)" <<DOCKER
FROM $system
RUN ln -s python3 /usr/bin/python
DOCKER
cp "$(node --print process.execPath)" "$context/node"
image "$(named node)" <<DOCKER
FROM $system
COPY node /usr/local/bin/node
DOCKER
cat >"$context/php-fpm.conf" <<'CONF'
[global]
error_log = /proc/self/fd/2
daemonize = no
[www]
listen = 9000
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
CONF
image "$(named php)" <<DOCKER
FROM $system
COPY php-fpm.conf /usr/local/etc/php-fpm.conf
RUN ln -s /usr/sbin/php-fpm8* /usr/local/bin/php-fpm && mkdir -p /var/www/html
WORKDIR /var/www/html
CMD ["php-fpm", "--fpm-config", "/usr/local/etc/php-fpm.conf"]
DOCKER

# The Dockerfile's two base images: this machine's toolchain with vendored crates, and the runtime libraries.
mkdir "$context/toolchain"
sysroot=$(rustc --print sysroot)
cp -a --reflink=auto "$sysroot/bin" "$sysroot/lib" "$context/toolchain/"
tar --extract --file "$cache/vendor.tar" --directory "$context"
cat >"$context/config.toml" <<'CONF'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "/usr/local/vendor"
[net]
offline = true
# Quicker to build than the profile of the published image: the tests try the image, not its speed.
[profile.dist]
codegen-units = 16
lto = "off"
opt-level = 1
[profile.dist.package]
clap_builder = { opt-level = 1 }
clap_complete = { opt-level = 1 }
rustls = { opt-level = 1 }
rustls-webpki = { opt-level = 1 }
tikv-jemalloc-sys = { opt-level = 1 }
CONF
image "$(base 1)" <<DOCKER
FROM $system
COPY toolchain /usr/local
COPY vendor /usr/local/vendor
COPY config.toml /usr/local/cargo/config.toml
ENV CARGO_HOME=/usr/local/cargo
DOCKER
image "$(base 2)" <<DOCKER
FROM $system AS packages
RUN mkdir -p /out/etc/ssl/certs /out/home/nonroot /out/tmp && chmod 1777 /out/tmp && chown 65532:65532 /out/home/nonroot \
    && for name in base-files netbase ca-certificates libc6 libssl3 libgcc-s1 libstdc++6 gcc-12-base; do \
        for deb in /var/cache/apt/archives/\${name}_*.deb; do [ ! -e "\$deb" ] || dpkg-deb -x "\$deb" /out; done; done \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
    && echo 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >/out/etc/passwd
FROM scratch
COPY --from=packages /out /
USER 65532
WORKDIR /home/nonroot
DOCKER
echo "$stamp" >"$cache/images.stamp"
