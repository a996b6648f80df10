# Ends what a failed script leaves running.
trap 'for left in $(jobs -p); do kill "$left" 2> /dev/null || true; done' EXIT

# Waits until something answers at TCP port $1 of 127.0.0.1; fails when process $2 is gone.
up() { until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do kill -0 "$2" || return 1; done; }

