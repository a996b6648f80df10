for side in left right; do $side iperf3 -s > $side.iperf3 2>&1 & done
# A server takes one test after the other; over a bad link the question that begins a UDP test may be lost.
measure() {
  local side=$1 address=$2 what=$3; shift 3
  until $side iperf3 --json -c $address "$@" > report 2> error && ! grep -q '"error"' report; do sleep 0.1; done
  python3 - "$side to $address, $what" << 'END'
import json, sys
end = json.load(open("report"))["end"]
udp = "-u" in sys.argv[1]
moved = end["sum" if udp else "sum_sent"]["bytes"]
assert moved > 0 and (not udp or end["sum"]["lost_percent"] < 30), end
print("iperf3:", sys.argv[1] + ": moved on", len(end["streams"]))
END
}
all() {
  measure $1 $2 -n -n $BYTES
  measure $1 $2 "-n -R" -n $BYTES -R
  measure $1 $2 "-n -P 4" -n $BYTES -P 4
  measure $1 $2 -u -u -l 1200 -b 20M -n 200K
  measure $1 $2 "-u -R" -u -l 1200 -b 20M -n 200K -R
}
each all
