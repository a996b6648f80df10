mkdir www
seq 1 50000 > www/data
echo hello from lighttpd > www/index.html
printf '%s\n' 'printf "Content-Type: text/plain\r\n\r\n"' 'echo "$QUERY_STRING: $(cat)"' > www/run.cgi
for handler in linux-sysepoll poll select; do
  cat > "$HOST/conf" << END
server.bind = "127.0.0.1"
server.port = 7001
server.document-root = "$D/www"
server.event-handler = "$handler"
server.network-backend = "$(test $handler = poll && echo writev || echo sendfile)"
server.errorlog = "$HOST/error"
server.upload-dirs = ( "$HOST" )
server.modules = ( "mod_cgi" )
index-file.names = ( "index.html" )
cgi.assign = ( ".cgi" => "/bin/sh" )
END
  lighttpd -D -f "$HOST/conf" & server=$!
  up 7001 $server
  url=http://127.0.0.1:7001
  curl -sS $url/
  curl -sS $url/data | cmp - www/data
  curl -sS --parallel -o one $url/data -o two $url/data -o three $url/data -o four $url/data 2> /dev/null
  cat one two three four | cksum
  curl -sS -d 'the body' "$url/run.cgi?$handler"
  curl -sS --data-binary @www/data "$url/run.cgi?big" | cksum
  curl -sS -o /dev/null -w '%{http_code}\n' $url/none
  kill -INT $server
  wait $server
done
