mkdir www
seq 1 20000 > www/data
cat > server.py << 'END'
import http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_GET(self):
        if self.path != "/who": return super().do_GET()
        self.send_response(200); self.end_headers(); self.wfile.write(b"server %s\n" % sys.argv[1].encode())
http.server.ThreadingHTTPServer(("127.0.0.1", 7010 + int(sys.argv[1])), Handler).serve_forever()
END
cd www
python3 ../server.py 1 & one=$!
python3 ../server.py 2 & two=$!
cd ..
cat > "$HOST/haproxy.cfg" << END
global
  nbthread 2
  stats socket ipv4@127.0.0.1:7003 level admin
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
frontend web
  bind 127.0.0.1:7001
  bind [::1]:7001
  default_backend back
backend back
  balance roundrobin
  server one 127.0.0.1:7011
  server two 127.0.0.1:7012
listen raw
  mode tcp
  bind 127.0.0.1:7002
  server one 127.0.0.1:7011
END
up 7011 $one
up 7012 $two
haproxy -db -f "$HOST/haproxy.cfg" 2> "$HOST/log" & server=$!
up 7001 $server
who() { for request in 1 2 3 4; do curl -sS http://127.0.0.1:7001/who; done | sort | uniq -c; }
who
curl -sS 'http://[::1]:7001/data' | cmp - www/data
curl -sS http://127.0.0.1:7002/data | cmp - www/data
echo 'disable server back/two' | socat - TCP:127.0.0.1:7003
who
echo 'show stat' | socat - TCP:127.0.0.1:7003 | cut -d , -f 1,2,18 | grep back,
kill $server $one $two
wait $server || echo status $?
