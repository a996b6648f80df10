seq 1 20000 > in
nc.traditional -l -s 127.0.0.1 -p 7001 > out & listener=$!
until nc.traditional -q 0 127.0.0.1 7001 < in 2> /dev/null; do kill -0 $listener; done
wait $listener
cmp in out
cksum < out
! nc.traditional -z 127.0.0.1 7001 || exit 1

# The program behind -e has the connection as its standard input and output.
nc.traditional -l -s 127.0.0.1 -p 7002 -e /usr/bin/rev & listener=$!
until echo backwards | nc.traditional -q 1 127.0.0.1 7002 2> /dev/null | grep .; do kill -0 $listener; done
wait $listener
