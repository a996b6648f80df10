wrk -t 1 -c 32 -d 1 "http://127.0.0.1:$PORT/data" > report
kill -QUIT $server
wait $server || true
sed -n 's/^Requests\/sec: *//p' report
