# In one packet, and in pieces. Some may be lost.
ask() { for size in 56 4000; do $1 ping -n -q -c 10 -i 0.05 -W 5 -s $size $2 | awk -v what="$1 asks $2, $size" '/received/ { print "ping: " what ": " ($4 >= '${LEAST:-10}') }'; done; }
each ask
