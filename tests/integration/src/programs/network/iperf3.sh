iperf3 -s -B 127.0.0.1 -p 7001 > log 2>&1 & server=$!
# A connection that says nothing, as `up` makes it, would confuse the server for a while.
until iperf3 -c 127.0.0.1 -p 7001 -n 1K > /dev/null 2>&1; do kill -0 $server; done
measure() {
  iperf3 --json -c 127.0.0.1 -p 7001 "$@" > report
  python3 - "$*" << 'END'
import json, sys
report = json.load(open("report"))
assert "error" not in report, report["error"]
end, streams = report["end"], len(report["end"]["streams"])
if "sum_sent" in end and "-u" not in sys.argv[1]:
    sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
    assert sent >= 40_000_000 and received <= sent <= received + 40_000_000, end
else:
    assert end["sum"]["packets"] > 100 and end["sum"]["lost_percent"] < 50, end["sum"]
print(sys.argv[1], "moved its data on", streams, "streams")
END
}
measure -n 40M
measure -n 40M -R
measure -n 40M -P 8
measure -u -l 1400 -b 10M -t 1
measure -u -l 1400 -b 10M -t 1 -P 2 -R
kill $server
