redis-server --bind 127.0.0.1 --port "$PORT" --dir "$D" --save '' --appendonly no --logfile "$D/log" & server=$!
up "$PORT" $server
# shellcheck disable=SC2086
redis-benchmark -p "$PORT" --csv -c 50 $1 $(few "-n 2000" "") > report 2> "$HOST/errors" || { cat "$HOST/errors" >&2; exit 1; }
kill $server
wait $server || true
tail -n 1 report | cut -d , -f 2 | tr -d '"'
