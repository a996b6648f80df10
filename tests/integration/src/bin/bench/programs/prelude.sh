# Ends what is left running.
trap 'for left in $(jobs -p); do kill "$left" 2> /dev/null || true; done' EXIT
mkdir "$D"
cd "$D"

# Waits until something answers at TCP port $1 of 127.0.0.1; fails when process $2 is gone.
up() { until (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; do kill -0 "$2" || return 1; done; }

# Prints the first number if it is enough that the row works, else the second.
few() { if [ "$QUICK" ]; then echo "$1"; else echo "$2"; fi; }

# Looks at the clock; prints the seconds that have gone since.
start() { began=${EPOCHREALTIME/[.,]/}; }
took() { local now=${EPOCHREALTIME/[.,]/}; printf '%d.%06d\n' $(((now - began) / 1000000)) $(((now - began) % 1000000)); }

# Makes $2 files of some kilobytes in five folders of $1.
tree() {
  local text letters=(a b c d e) n
  text=$(printf 'line %s of a file that somebody has written\n' {1..100})
  mkdir -p "$1"/{a,b,c,d,e}
  for ((n = 0; n < $2; n++)); do printf '%s\n%d\n' "$text" "$n" > "$1/${letters[n % 5]}/file$n"; done
}
