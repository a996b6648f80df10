#!/bin/sh
# A short tour: unmodified programs on a private rump kernel. Run it with `make run`.
set -e
say() { printf '\n\033[1m$ %s\033[0m\n' "$1"; }
show() { say "rumphijack -- $*"; rumphijack -- "$@"; }

echo 'Every command below runs an unmodified Debian program on a rump kernel of its own,'
echo 'with a file system and a TCP/IP stack that the host does not know.'

show ls -la /rump /rump/dev

say "rumphijack -- bash   (a shell session on one kernel)"
rumphijack -- bash -ec '
PS4="  + "; set -x
mkdir -p /rump/home/u && cd /rump/home/u && pwd
echo hello > f && cat < f | tr a-z A-Z >> g && cat g
cp /etc/passwd . && wc -l passwd && ls -l
'

if command -v nc > /dev/null; then
	say "rumphijack -- sh   (netcat over the rump TCP stack)"
	rumphijack -- sh -ec '
	nc -l 127.0.0.1 7777 > /rump/got &
	until echo over the rump stack | nc -N 127.0.0.1 7777 2> /dev/null; do :; done
	wait
	cat /rump/got'
	if nc -z 127.0.0.1 7777 2> /dev/null; then echo 'the host listens on 7777?'; else echo '(the host has no listener on port 7777)'; fi
fi

if command -v python3 > /dev/null; then
	say "rumphijack -- python3   (60000 bytes through a rump TCP connection)"
	rumphijack -- python3 -c 'import os, socket
s = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept()
c.sendall(b"x" * 60000); c.close(); n = 0
while (d := a.recv(65536)): n += len(d)
print(n, os.listdir("/rump"))'
fi

say "a shared kernel: rump_server, two programs, rumpctl"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
RUMP_SERVER=unix://$dir/sock
export RUMP_SERVER
rump_server "$RUMP_SERVER"
rumphijack --server "$RUMP_SERVER" -- sh -c 'echo "left by one program" > /rump/tmp/note'
rumphijack --server "$RUMP_SERVER" -- cat /rump/tmp/note
rumpctl ifconfig
rumpctl mount
rumpctl ps
rumpctl halt
