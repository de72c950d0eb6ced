#!/bin/sh
# Serves APP.PHP with php-fpm behind nginx: fpm.sh PORT APP.PHP LOG. Stop it by its process group.
set -eu

port=$1 app=$2 log=$3
folder=$(dirname "$app")/fpm
mkdir "$folder"
PATH=$PATH:/usr/sbin:/sbin
fpm=$(command -v php-fpm || { set -- /usr/sbin/php-fpm*; echo "$1"; })

cat >"$folder/fpm.conf" <<END
[global]
error_log = $folder/fpm.log
daemonize = no
[www]
user = $(id -un)
group = $(id -gn)
listen = $folder/fpm.sock
pm = static
pm.max_children = 2
env[REST_SESSIONS_URL] = $REST_SESSIONS_URL
env[REST_SESSIONS_APP] = $REST_SESSIONS_APP
php_admin_value[error_log] = $log
php_admin_value[log_errors] = 1
php_admin_value[display_errors] = 0
php_admin_value[output_buffering] = 0
php_admin_value[session.gc_maxlifetime] = 1200
php_admin_value[zend.exception_ignore_args] = 0
php_admin_value[zend.exception_string_param_max_len] = 100
END
cat >"$folder/nginx.conf" <<END
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
user $(id -un) $(id -gn);
events {}
http {
    access_log off;
    client_body_temp_path $folder;
    fastcgi_temp_path $folder;
    proxy_temp_path $folder;
    uwsgi_temp_path $folder;
    scgi_temp_path $folder;
    server {
        listen 127.0.0.1:$port;
        location / {
            fastcgi_pass unix:$folder/fpm.sock;
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $app;
            # nginx before 1.23 passes only the last of several Cookie lines, but this variable joins them.
            fastcgi_param HTTP_COOKIE \$http_cookie;
            fastcgi_buffering off;
        }
    }
}
END
"$fpm" --nodaemonize --allow-to-run-as-root --fpm-config "$folder/fpm.conf" &
exec nginx -c "$folder/nginx.conf"
