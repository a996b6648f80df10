# Two sides with a link between them, each of which serves the other: `left` and `right` run a command there; $left4, $left6, $right4 and
# $right6 are their addresses. $LINK says what lies between them:
#   tap         a tap interface: the left side is Linux itself, in a network namespace of its own, the right one a rump kernel
#   tap-routed  the same with a second rump kernel between them, which forwards
#   bus         a shmif bus between two rump kernels
#   bus-routed  the same with a third rump kernel between two buses
# $WORSE are netem's words for what the one that forwards sends to either side.
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
ctl() { local kernel=$1; shift; "$CTL" -s "unix://$PWD/$kernel" "$@" > /dev/null; }
boot() {
  "$SERVER" -s "unix://$PWD/$1" > "$1.log" 2>&1 &
  until [ -S "$1" ]; do sleep 0.02; done
  ctl "$1" sysctl net.inet6.ip6.dad_count=0
}
# interface KERNEL NAME NETWORK HOST [BUS]
interface() { ctl "$1" ifconfig "$2" create ${5:+linkstr "$PWD/$5"} inet "10.$3.0.$4/24" inet6 "fd0$3::$4/64"; }

left4=10.1.0.1 left6=fd01::1 net=1
[ "${LINK%-routed}" = "$LINK" ] || net=2
right4=10.$net.0.2 right6=fd0$net::2
kernel_of() { local kernel=$1; shift; exec "$HIJACK" --server "unix://$PWD/$kernel" -- "$@"; }
boot right
case $LINK in
  tap*) left() { (exec "$@"); } ;;
  *) boot left; left() { (kernel_of left "$@"); }; interface left shmif0 1 1 bus1 ;;
esac
right() { (kernel_of right "$@"); }
case $LINK in
  tap) interface right tap0 1 2 ;;
  bus) interface right shmif0 1 2 bus1 ;;
  *)
    boot between
    if [ $LINK = tap-routed ]; then near=tap0; interface between tap0 1 3; else near=shmif1; interface between shmif1 1 3 bus1; fi
    interface between shmif0 2 3 bus2
    interface right shmif0 2 2 bus2
    ctl between sysctl net.inet.ip.forwarding=1 net.inet6.ip6.forwarding=1
    ctl right route add default 10.2.0.3
    ctl right route add -inet6 default fd02::3
    if [ -n "$WORSE" ]; then
      ctl between netem shmif0 $WORSE seed 12
      ctl between netem $near $WORSE seed 11
    fi ;;
esac
case $LINK in
  tap*)
    ip link set lo up
    ip link set tap0 up
    ip addr add $left4/24 dev tap0
    ip -6 addr add $left6/64 dev tap0 nodad ;;
esac
case $LINK in
  tap-routed)
    ip route add 10.2.0.0/24 via 10.1.0.3
    ip -6 route add fd02::/64 via fd01::3 ;;
  bus-routed)
    ctl left route add default 10.1.0.3
    ctl left route add -inet6 default fd01::3 ;;
esac
if [ $LINK = tap ]; then wire=tap0; else wire=shmif0; fi
ctl right pcap $wire "$PWD/capture.pcapng"

# Each side asks the other, by both versions: `each ask` calls `ask SIDE ADDRESS OTHER-SIDE`.
each() { "$1" left $right4 right; "$1" left $right6 right; "$1" right $left4 left; "$1" right $left6 left; }
# An address as it stands in a URL.
url() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }
# Repeats a command until it succeeds; the test has a time limit.
until_it_works() { until "$@"; do sleep 0.1; done; }
head -c "$BYTES" /dev/urandom > file
