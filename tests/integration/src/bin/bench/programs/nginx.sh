mkdir www
seq 1 200 > www/data
cat > "$HOST/nginx.conf" << END
daemon off; worker_processes 1; pid $HOST/pid; error_log $HOST/error; user $(id -un);
events { worker_connections 500; }
http {
  access_log off;
  client_body_temp_path $HOST/b; proxy_temp_path $HOST/p; fastcgi_temp_path $HOST/f; uwsgi_temp_path $HOST/u; scgi_temp_path $HOST/s;
  sendfile on; keepalive_requests 100000;
  server { listen 127.0.0.1:$PORT; root $D/www; }
}
END
nginx -c "$HOST/nginx.conf" -e "$HOST/error" & server=$!
up "$PORT" $server
