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
Subsystem sftp /usr/lib/openssh/sftp-server
${LD_PRELOAD:+SetEnv LD_PRELOAD=$LD_PRELOAD RUMP_SERVER=$RUMP_SERVER}
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
ssh="ssh -F $HOST/ssh_config"

# A command, its status, a terminal, files by pipe, scp and sftp.
$ssh there 'echo logged in from ${SSH_CONNECTION%% *}; exit 3' || echo status $?
$ssh -tt there 'test -t 0 && echo a terminal' | tr -d '\r'
seq 1 100000 > big
$ssh there "cat > $D/piped; cksum < $D/piped" < big
cmp big piped
scp -q -F "$HOST/ssh_config" big there:"$D/copied"
cmp big copied
scp -q -O -F "$HOST/ssh_config" there:"$D/big" recopied
cmp big recopied
printf '%s\n' "get $D/copied fetched" "rename $D/copied $D/renamed" "ls -1 $D" | sftp -q -b - -F "$HOST/ssh_config" there | grep -v '^sftp>'
cmp big fetched

# Forwarded ports, one in each direction.
socat TCP-LISTEN:7002,bind=127.0.0.1,reuseaddr,fork SYSTEM:'tr a-z A-Z' & echo=$!
up 7002 $echo
$ssh -N -o ExitOnForwardFailure=yes -L 127.0.0.1:7003:127.0.0.1:7002 -R 127.0.0.1:7004:127.0.0.1:7002 there & forward=$!
up 7003 $forward
up 7004 $forward
echo through the tunnel | socat - TCP:127.0.0.1:7003
echo and back | socat - TCP:127.0.0.1:7004
kill $forward $echo $daemon
