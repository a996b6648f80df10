mkdir www
seq 1 50000 > www/data
echo small > www/small
python3 -m http.server --bind 127.0.0.1 --directory www 7001 > log 2>&1 & server=$!
up 7001 $server
url=http://127.0.0.1:7001
curl -sS $url/data | cmp - www/data
curl -sS -o file -w '%{http_code} %{size_download} bytes of %{content_type} from %{remote_ip}\n' http://localhost:7001/data
cmp file www/data
curl -sS --parallel $url/small $url/small $url/small
curl -sS -I $url/small | grep -i content-length
curl -sS --data-binary @www/data -o post -w '%{http_code}\n' $url/
curl -sSf $url/none 2> /dev/null || echo status $?
curl -sS http://127.0.0.1:7002/ 2> /dev/null || echo status $?
curl -sS --connect-timeout 5 telnet://127.0.0.1:7002 2> /dev/null || echo status $?
curl -sS "file://$D/www/small"
kill $server
