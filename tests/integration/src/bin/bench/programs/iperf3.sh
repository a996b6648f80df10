iperf3 -s -B 127.0.0.1 -p "$PORT" > log 2>&1 & server=$!
# Not before it listens.
# shellcheck disable=SC2086
until iperf3 --json -c 127.0.0.1 -p "$PORT" -t 1 $1 > report && ! grep -q '"error"' report; do kill -0 $server; done
kill $server
python3 -c 'import json; print(json.load(open("report"))["end"]["sum_received"]["bits_per_second"] / 8)'
