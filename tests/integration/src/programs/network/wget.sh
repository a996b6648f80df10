mkdir -p www/sub
seq 1 50000 > www/data
echo small > www/sub/small
python3 -m http.server --bind 127.0.0.1 --directory www 7001 > log 2>&1 & server=$!
up 7001 $server
url=http://127.0.0.1:7001
wget -q -O - $url/data | cmp - www/data
wget -q $url/data
cmp data www/data
wget -q -r -np -nH -P tree http://localhost:7001/
(cd tree; find . -type f ! -name 'index.html*' -exec cksum {} + | sort)
wget -nv $url/none 2>&1 | grep -o 'ERROR 404.*'
wget -q -t 1 http://127.0.0.1:7002/ || echo status $?
kill $server
