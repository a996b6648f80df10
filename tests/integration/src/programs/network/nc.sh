# A refused connection means that the listener is not there yet.
seq 1 20000 > in
nc.openbsd -l 127.0.0.1 7001 > out & listener=$!
until nc.openbsd -N 127.0.0.1 7001 < in 2> /dev/null; do kill -0 $listener; done
wait $listener
cmp in out
cksum < out
! nc.openbsd -z 127.0.0.1 7001 || exit 1

nc.openbsd -6 -l ::1 7001 > six & listener=$!
until echo over IPv6 | nc.openbsd -6 -N ::1 7001 2> /dev/null; do kill -0 $listener; done
wait $listener
cat six

nc.openbsd -lU "$HOST/socket" > local & listener=$!
until echo over a local socket | nc.openbsd -NU "$HOST/socket" 2> /dev/null; do kill -0 $listener; done
wait $listener
cat local

nc.openbsd -u -l 127.0.0.1 7002 > udp & listener=$!
until test -s udp; do echo over UDP | nc.openbsd -u -w 0 127.0.0.1 7002 || kill -0 $listener; done
kill $listener
wait $listener || true
head -n 1 udp
