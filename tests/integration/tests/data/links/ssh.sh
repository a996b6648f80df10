# A file there and back through a login, and a forwarded port.
ssh-keygen -q -t ed25519 -N '' -f server
ssh-keygen -q -t ed25519 -N '' -f user
mkdir -p /run/sshd
for side in left right; do
  four=${side}4 six=${side}6
  printf '%s\n' "ListenAddress ${!four}" "ListenAddress ${!six}" "HostKey $PWD/server" "AuthorizedKeysFile $PWD/user.pub" 'PidFile none' 'UsePAM no' \
    'StrictModes no' 'PermitRootLogin yes' > $side.sshd
  $side /usr/sbin/sshd -D -e -f "$PWD/$side.sshd" 2> $side.log &
  mkdir $side.root
  ln -f file $side.root/file
  $side python3 -m http.server 8080 --bind 127.0.0.1 --directory $side.root > /dev/null 2>&1 &
done
options="-F none -i user -o ConnectTimeout=30 -o LogLevel=ERROR -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
login() {
  until $1 ssh $options "$(id -un)@$2" "cat > $PWD/there; cksum < $PWD/there; cat $PWD/there" < file > back 2> error; do grep -q refused error || cat error; sleep 0.1; done
  [ "$(head -n 1 back)" = "$(cksum < file)" ] && tail -n +2 back | cmp - file && echo "ssh: $1 at $2: same"
}
each login
tunnel() {
  $1 ssh $options -N -o ExitOnForwardFailure=yes -L 127.0.0.1:7003:127.0.0.1:8080 "$(id -un)@$2" & tunnel=$!
  until $1 curl -sS -o through http://127.0.0.1:7003/file 2> error; do kill -0 $tunnel; sleep 0.1; done
  cmp through file && echo "ssh: $1 through a port forwarded to $2: same"
  kill $tunnel
}
tunnel left $right4
tunnel right $left6
