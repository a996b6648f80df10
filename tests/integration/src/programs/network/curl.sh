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
curl -sS -X POST -o post -w '%{http_code}\n' $url/
# One that answers before it has read everything would end the connection under curl.
cat > posts.py << 'end'
import http.server, zlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers['Content-Length']))
        answer = b'%d bytes, %d\n' % (len(data), zlib.crc32(data))
        self.send_response(200)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
http.server.HTTPServer(('127.0.0.1', 7003), Handler).serve_forever()
end
python3 posts.py > log2 2>&1 & posts=$!
up 7003 $posts
curl -sS --data-binary @www/data -w '%{http_code}\n' http://127.0.0.1:7003/; curl -sS -T www/data -X POST -H 'Expect: 100-continue' http://127.0.0.1:7003/
curl -sSf $url/none 2> /dev/null || echo status $?
curl -sS http://127.0.0.1:7002/ 2> /dev/null || echo status $?
curl -sS --connect-timeout 5 telnet://127.0.0.1:7002 2> /dev/null || echo status $?
curl -sS "file://$D/www/small"
kill $server $posts
