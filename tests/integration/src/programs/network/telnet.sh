socat TCP-LISTEN:7001,bind=127.0.0.1,reuseaddr,fork SYSTEM:'read -r line; echo "you said $line"' & server=$!
up 7001 $server
# telnet stops at the end of its input, so the input lasts until the answer is there.
(echo hello; until grep -q said seen; do kill -0 $server; done) | telnet 127.0.0.1 7001 > seen || true
kill $server
cat seen
telnet 127.0.0.1 7002 2>&1 || echo status $?
