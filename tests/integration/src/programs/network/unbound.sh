cat > "$HOST/unbound.conf" << END
server:
  interface: 127.0.0.1@7001
  interface: ::1@7001
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "$HOST"
  pidfile: ""
  use-syslog: no
  num-threads: 2
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "test." static
  local-data: "one.test. 3600 IN A 10.0.0.1"
  local-data: "one.test. 3600 IN AAAA fd00::1"
remote-control:
  control-enable: no
forward-zone:
  name: "there.example"
  forward-addr: 127.0.0.1@7002
END
dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --pid-file --user="$(id -un)" --no-resolv --no-hosts \
  --port=7002 --listen-address=127.0.0.1 --bind-interfaces --address=/there.example/10.0.0.9 2> log & upstream=$!
unbound -d -c "$HOST/unbound.conf" 2> "$HOST/log" & server=$!
up 7001 $server
up 7002 $upstream
ask() { dig +time=5 +tries=2 -p 7001 "$@"; }
ask @127.0.0.1 +short one.test A
ask @::1 +short one.test AAAA
ask @127.0.0.1 +tcp +short one.test A
ask @127.0.0.1 none.test A | grep -o 'status: [A-Z]*'
# Asked of the other server, once over UDP and once over TCP.
ask @127.0.0.1 +short one.there.example A
ask @::1 +tcp +short two.there.example A
kill $server $upstream
