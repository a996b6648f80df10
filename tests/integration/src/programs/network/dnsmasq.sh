dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --pid-file --user="$(id -un)" --no-resolv --no-hosts \
  --port=7001 --listen-address=127.0.0.1 --listen-address=::1 --bind-interfaces \
  --address=/one.test/10.0.0.1 --address=/one.test/fd00::1 --txt-record=txt.test,"some text" --mx-host=test,mail.test,10 2> log & server=$!
up 7001 $server
ask() { dig +time=5 +tries=2 -p 7001 "$@"; }
ask @127.0.0.1 +short one.test A
ask @127.0.0.1 +short one.test AAAA
ask @::1 +short txt.test TXT
ask @127.0.0.1 +short test MX
ask @127.0.0.1 +tcp +short one.test A
ask @127.0.0.1 elsewhere.test | grep -o 'status: [A-Z]*'
ask @127.0.0.1 +time=1 +tries=1 -p 7002 one.test | grep -o 'connection refused' | head -n 1
kill $server
