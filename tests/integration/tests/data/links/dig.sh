# An answer that fits one datagram, one that comes in pieces, one by TCP.
for n in $(seq 150); do echo "10.77.0.$n many.test"; done > hosts
for side in left right; do
  four=${side}4 six=${side}6
  $side dnsmasq -k --no-resolv --no-hosts --addn-hosts="$PWD/hosts" --user="$(id -un)" --edns-packet-max=4096 --address=/one.test/10.1.2.3 \
    --listen-address="${!four}" --listen-address="${!six}" --bind-interfaces --pid-file= 2> $side.dns &
done
answer() {
  local side=$1; shift
  until $side dig +tries=20 +time=1 +short "$@" > answer 2> error && ! grep -q '^;;' answer; do sleep 0.05; done
  echo "dig: $side $*: $(sort answer | cksum)"
}
all() {
  answer $1 @$2 one.test
  answer $1 @$2 +bufsize=4096 +ignore many.test
  answer $1 @$2 +tcp many.test
}
each all
