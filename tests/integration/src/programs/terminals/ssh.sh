# sshd makes the terminals: a command, an interactive shell with signals from the keyboard, the size, and its end.
ssh-keygen -q -t ed25519 -N '' -f "$HOST/server"
ssh-keygen -q -t ed25519 -N '' -f "$HOST/user"
# The session's environment is the server's choice: with these it stays on the rump kernel.
cat > "$HOST/sshd_config" << END
ListenAddress 127.0.0.1:7001
HostKey $HOST/server
AuthorizedKeysFile $HOST/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
${LD_PRELOAD:+SetEnv LD_PRELOAD=$LD_PRELOAD RUMP_SERVER=$RUMP_SERVER RUMPHIJACK=$RUMPHIJACK}
END
cat > "$HOST/ssh_config" << END
Host there
HostName 127.0.0.1
Port 7001
User $(id -un)
IdentityFile $HOST/user
UserKnownHostsFile $HOST/known
StrictHostKeyChecking accept-new
LogLevel ERROR
END
mkdir -p /run/sshd
/usr/sbin/sshd -D -e -f "$HOST/sshd_config" 2> "$HOST/log" & daemon=$!
up 7001 $daemon
ssh -F "$HOST/ssh_config" -tt there "cd $D; tty | sed 's/[0-9]*\$/N/'; test -t 0 -a -t 1 && echo terminal; echo kept > made; exit 5" < /dev/null | tr -d '\r' || true
cat made
cat > drive <<'X'
log_user 0
set timeout 30
proc see {pattern} { expect -re $pattern; puts "seen: [string trim $expect_out(0,string)]" }
set stty_init "rows 20 columns 60"
set env(TERM) dumb
spawn -noecho ssh -F $env(HOST)/ssh_config -tt there "exec env PS1='ready> ' bash --norc --noprofile --noediting -i"
expect_after timeout { puts "nothing more came"; exit 1 } eof { puts "ended early"; exit 1 }
expect "ready> "
send "stty size\r"; see {20 60}; expect "ready> "
send "sh -c 'echo started; exec sleep 100'\r"; see {\nstarted}; send "\003"; expect "ready> "; send "echo status \$?\r"; see {status 130}; expect "ready> "
send "sh -c 'echo reading; exec cat'\r"; see {\nreading}; send "\032"; see {Stopped}; expect "ready> "; send "fg\r"; see {exec cat'\r\n}; send "typed\r"; see {typed\r\ntyped}; send "\004"; expect "ready> "
send "trap 'echo resized' WINCH\r"; expect "ready> "
stty rows 11 columns 22 < $spawn_out(slave,name)
send "\r"; see {resized}; expect "ready> "; send "stty size\r"; see {11 22}; expect "ready> "
send "seq 3000 | md5sum; seq 3000\r"; see {[0-9a-f]{32}}; see {\n3000\r}; expect "ready> "
send "exit 6\r"; expect_after; expect eof
puts "status [lindex [wait] 3]"
X
set -o pipefail; expect -f drive | tr -d '\r'
kill $daemon; wait $daemon 2> /dev/null || true
