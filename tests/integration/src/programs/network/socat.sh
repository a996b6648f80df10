socat TCP-LISTEN:7001,bind=127.0.0.1,reuseaddr,fork SYSTEM:'tr a-z A-Z' & server=$!
up 7001 $server
for word in one two three; do echo $word | socat - TCP:127.0.0.1:7001; done
seq 1 20000 > in
socat UNIX-LISTEN:"$HOST/socket",fork TCP:127.0.0.1:7001 & relay=$!
until socat - UNIX-CONNECT:"$HOST/socket" < in > out 2> /dev/null; do kill -0 $relay; done
cksum < out
kill $relay $server

socat UDP-RECVFROM:7002,bind=127.0.0.1,fork EXEC:cat & server=$!
until echo echoed datagram | socat -t 1 - UDP:127.0.0.1:7002 2> /dev/null | grep .; do kill -0 $server; done
kill $server

socat 'TCP6-LISTEN:7003,bind=[::1]' OPEN:six,creat & server=$!
until echo over IPv6 | socat - 'TCP6:[::1]:7003' 2> /dev/null; do kill -0 $server; done
wait $server
cat six

socat TCP-LISTEN:7004,bind=127.0.0.1,reuseaddr,fork SYSTEM:'test -t 0 && stty -a | grep -o isig && echo a terminal',pty,stderr & server=$!
up 7004 $server
socat -T 5 TCP:127.0.0.1:7004 - | tr -d '\r'
kill $server
