mkdir www
seq 1 50000 > www/data
echo hello from nginx > www/index.html
cat > "$HOST/nginx.conf" << END
daemon off; worker_processes 3; pid $HOST/pid; error_log $HOST/error; user $(id -un);
events { worker_connections 500; }
http {
  access_log $D/access;
  client_body_temp_path $HOST/b; proxy_temp_path $HOST/p; fastcgi_temp_path $HOST/f; uwsgi_temp_path $HOST/u; scgi_temp_path $HOST/s;
  sendfile on; tcp_nopush on; keepalive_timeout 5;
  upstream behind { server 127.0.0.1:7002; keepalive 4; }
  server {
    listen 127.0.0.1:7001 reuseport; listen [::1]:7001; root $D/www;
    location /behind/ { proxy_pass http://behind/; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
  server { listen 127.0.0.1:7002; root $D/www; location /who { return 200 "the one behind\n"; } }
}
END
nginx -c "$HOST/nginx.conf" -e "$HOST/error" & server=$!
up 7001 $server
url=http://127.0.0.1:7001
curl -sS $url/ 'http://[::1]:7001/'
curl -sS $url/data | cmp - www/data
curl -sS -r 1000-1999 $url/data | cksum
curl -sS $url/behind/who
curl -sS $url/behind/data | cmp - www/data
curl -sS -o /dev/null -w '%{http_code}\n' $url/none

# A hundred at once, each complete.
for n in $(seq 1 100); do printf 'url = %s/data\noutput = "got.%d"\n' $url $n; done > "$HOST/urls"
curl -sS --parallel --parallel-max 100 -K "$HOST/urls" 2> /dev/null
cat got.* | cksum
rm got.*

# New workers take over, and all end in order.
kill -HUP $server
curl -sS --retry 3 --retry-all-errors $url/
kill -QUIT $server
wait $server
grep -c ' 200 288894 ' access
grep -E 'emerg|alert|crit' "$HOST/error" || echo nothing critical
