iperf3 -s -B 127.0.0.1 -p 7001 > log 2>&1 & server=$!
up 7001 $server
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
