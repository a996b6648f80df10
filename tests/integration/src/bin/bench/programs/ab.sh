ab -q "$1" -c 32 -n "$(few 100 4000)" "http://127.0.0.1:$PORT/data" > report 2> "$HOST/errors" || { cat "$HOST/errors" >&2; exit 1; }
kill -QUIT $server
wait $server || true
grep -q '^Failed requests: *0$' report
sed -n 's/^Requests per second: *\([0-9.]*\).*/\1/p' report
