# Each line goes to a listener of its own; a connection refused means that it is not there yet.
nc -l 127.0.0.1 4711 > tcp &
until echo over TCP | nc -N 127.0.0.1 4711 2> /dev/null; do :; done
wait
cat tcp
! nc -z 127.0.0.1 4711 || exit 1

nc -u -l 127.0.0.1 4712 > udp &
listener=$!
until test -s udp; do echo over UDP | nc -u -w 0 127.0.0.1 4712 || true; done
kill $listener
wait
head -n 1 udp
