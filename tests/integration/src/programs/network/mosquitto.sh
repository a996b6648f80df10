printf 'listener 7001 127.0.0.1\nlistener 7001 ::1\nallow_anonymous true\npersistence true\npersistence_location %s/\nuser root\n' "$D" > settings
serve() { mosquitto -c settings 2> "$HOST/log" & server=$!; up 7001 $server; }
serve

# A message that is kept is given to who comes later.
mosquitto_pub -h 127.0.0.1 -p 7001 -t news/kept -r -q 1 -m kept
mosquitto_sub -h ::1 -p 7001 -t 'news/#' -C 1 -v

# Three listeners; each says that it is there by a message kept for it, which comes first.
listeners=
for n in 1 2 3; do : > "heard$n"; mosquitto_sub -h 127.0.0.1 -p 7001 -t 'news/#' -q 2 -C 11 > "heard$n" & listeners="$listeners $!"; done
for n in 1 2 3; do until grep -q kept "heard$n"; do kill -0 $server; done; done
seq 1 10 | mosquitto_pub -h ::1 -p 7001 -t news/line -q 2 -l
wait $listeners
cat heard1
cmp heard1 heard2
cmp heard1 heard3

# What was kept is there after a restart.
kill $server
wait $server
test -s mosquitto.db
serve
mosquitto_sub -h 127.0.0.1 -p 7001 -t 'news/#' -C 1 -v
kill $server
wait $server
