for side in left right; do
  mkdir -p $side.www
  ln -f file $side.www/file
  addresses=$side; four=${side}4 six=${side}6
  cat > $side.conf << END
daemon off; worker_processes 2; pid $PWD/$side.pid; error_log $PWD/$side.error; user $(id -un);
events { worker_connections 500; }
http {
  access_log off; sendfile on;
  client_body_temp_path $PWD/$side.b; proxy_temp_path $PWD/$side.p; fastcgi_temp_path $PWD/$side.f; uwsgi_temp_path $PWD/$side.u; scgi_temp_path $PWD/$side.s;
  server { listen ${!four}:80; listen [${!six}]:80; root $PWD/$side.www; }
}
END
  $side nginx -c "$PWD/$side.conf" -e "$PWD/$side.error" &
done
# Nobody listens yet (7), or the way there is still being found out.
fetch() {
  until $1 curl -gsS --connect-timeout 20 -o $1.got "http://$(url $2)/file" 2> $1.error; do [ $? = 7 ] || { cat $1.error; return 1; }; sleep 0.05; done
  cmp $1.got file && echo "curl: $1 from $2: same"
}
each fetch
