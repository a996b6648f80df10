serve() { redis-server --bind 127.0.0.1 ::1 --port 7001 --dir "$D" --save '' --appendonly yes --appendfsync no --logfile "$D/log" & server=$!; up 7001 $server; }
ask() { redis-cli -p 7001 "$@"; }
serve
ask ping
ask -h ::1 set key value
ask get key
ask incr n
ask rpush list a b c
ask lrange list 0 -1
seq 1 1000 | sed 's/.*/SET k& v&/' | redis-cli -p 7001 --pipe 2>&1 | tail -n 1

: > news
ask subscribe news > news & listener=$!
until grep -q '^1$' news; do kill -0 $listener; done
ask publish news hello
until grep -q hello news; do kill -0 $listener; done
kill $listener
cat news

redis-benchmark -p 7001 -q -c 50 -n 4000 -P 16 -t set,get,incr,lpush 2>&1 | tr '\r' '\n' | grep 'per second' | cut -d : -f 1
ask get counter:__rand_int__
ask llen mylist
ask save
ask shutdown nosave
wait $server
test -s dump.rdb

# What was written to the log on the way is there again.
serve
until test "$(ask get k1000)" = v1000; do kill -0 $server; done
ask dbsize
ask shutdown nosave
wait $server
