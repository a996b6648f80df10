seq 1 20000 > in
ncat -l 127.0.0.1 7001 > out & listener=$!
until ncat --send-only 127.0.0.1 7001 < in 2> /dev/null; do kill -0 $listener; done
wait $listener
cmp in out
cksum < out

ncat -k -l 127.0.0.1 7002 -c 'read -r word; echo "you said $word"' & server=$!
up 7002 $server
for word in one two three; do echo $word | ncat --no-shutdown 127.0.0.1 7002; done
kill $server

ncat --ssl -k -l 127.0.0.1 7003 -c 'read -r word; echo "secret $word"' 2> /dev/null & server=$!
up 7003 $server
echo word | ncat --no-shutdown --ssl 127.0.0.1 7003
kill $server

ncat -u -l 127.0.0.1 7004 > udp & listener=$!
until test -s udp; do echo datagram | ncat -u --send-only 127.0.0.1 7004 2> /dev/null || kill -0 $listener; done
kill $listener
head -n 1 udp

ncat -k -l 127.0.0.1 7005 --proxy-type http & proxy=$!
python3 -m http.server --bind 127.0.0.1 7006 > log 2>&1 & server=$!
up 7005 $proxy
up 7006 $server
curl -sS -p -x http://127.0.0.1:7005 http://127.0.0.1:7006/in | cksum
kill $proxy $server
