# What looks at processes, sockets, memory and mounts through /proc, which is the rump kernel's in its run.
if test -n "${RUMP_SERVER:-}"; then mkdir -p /rump/proc; mount -t procfs proc /rump/proc; fi
python3 -c '
import os, signal, socket
server = socket.create_server(("127.0.0.1", 8080)); client = socket.create_connection(("127.0.0.1", 8080)); accepted = server.accept()[0]; datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(("127.0.0.1", 8081)); waiting = socket.create_connection(("127.0.0.1", 8080)); waiting.sendall(bytes(1000))
print(len({os.fstat(one.fileno()).st_ino for one in (server, client, accepted, datagrams)}), "numbers"); file = open("held", "w"); open("ready", "w").close()
while not os.path.exists("enough"): sum(range(100000))
signal.pause()' & pid=$!
until test -e ready; do :; done
ps -o comm=,nlwp= -p $pid; test "$(ps -o ppid= -p $pid | tr -d ' ')" = $$ && echo child of the shell; test "$(pgrep -P $$ -x python3)" = $pid && echo found by its parent; ps -e -o pid=,comm= | awk -v pid=$pid '$1 == pid { print "listed", $2 }'; pstree -p $$ | grep -c "python3($pid)"
test "$(ps -o etimes= -p $pid)" -lt 600 && echo began just now; test "$(date -d "$(ps -o lstart= -p $pid)" +%s)" -ge $(($(date +%s) - 600)) && echo and not long ago
tr '\0' ' ' < /proc/$pid/cmdline | head -c 10; echo; grep -c '^Name:.python3$' /proc/$pid/status; readlink /proc/$pid/cwd | sed 's,^/rump,,; s,.*/,,'; ls -l /proc/$pid/fd | grep -c 'socket:'; ls -l /proc/$pid/fd | grep -c '/held$'; stat -L -c %F /proc/$pid/fd/* | grep -c socket
netstat -tlnp | awk -v pid=$pid '$4 ~ /:8080/ { print $4, $6, ($7 == pid "/python3") }'; netstat -tn | grep -c ESTABLISHED; netstat -ulnp | awk -v pid=$pid '$4 ~ /:8081/ { print $4, ($6 == pid "/python3") }'; ss -tlnp 2> /dev/null | grep -c "127.0.0.1:8080 .*pid=$pid"
until netstat -tn | awk '$4 ~ /:8080$/ { print $2, $6 }' | grep -x '1000 ESTABLISHED'; do :; done; awk '$2 ~ /:1F90$/ { print $4, $5, ($10 == 0) }' /proc/net/tcp | sort; ss -s | sed -n 's/.*(estab \([0-9]*\),.*/\1 are open/p'
lsof -w -a -p $pid -i -n -P | awk 'NR > 1 { print $1, $5, $(NF - 1), $NF }' | sed -E 's,127.0.0.1:[0-9]{5},port,'; lsof -w -t held | grep -cx $pid || true
until test "$(awk '{ print ($14 > 2) }' /proc/$pid/stat)" = 1; do :; done; echo has used time; top -b -n 1 -p $pid | awk -v pid=$pid '$1 == pid { print "top shows", $NF }'
busy() { awk '$1 == "cpu" { print $2 + $4 }' /proc/stat; }; before=$(busy); until test "$(busy)" -gt "$before"; do :; done; echo the CPUs were busy; : > enough
python3 -c '
import os, threading
def tell():
    print(sorted(os.listdir("/proc/self/task")) == sorted(str(one.native_id) for one in threading.enumerate()), open("/proc/self/task/%d/comm" % threading.get_native_id()).read().strip())
one = threading.Thread(target=tell); one.start(); one.join()
file = open("held", "w+b", 0); file.write(b"12345"); file.seek(3); lines = dict(line.split() for line in open("/proc/self/fdinfo/%d" % file.fileno())); print(lines["pos:"], int(lines["flags:"], 8) & (os.O_ACCMODE | os.O_APPEND | os.O_CLOEXEC) == os.O_RDWR | os.O_CLOEXEC)'
python3 -c '
import os
ours = os.open("held", os.O_RDONLY); os.dup2(ours, 50); os.close(ours); os.lseek(50, 2, os.SEEK_SET); theirs = os.open("/etc/passwd", os.O_RDONLY); os.dup2(theirs, 51)
print({"50", "51"} <= set(os.listdir("/proc/self/fd")), {"50", "51"} <= set(os.listdir("/proc/self/fdinfo")), open("/proc/self/fd/51").read() == open("/etc/passwd").read(), os.readlink("/proc/self/fd/51"))
print(os.read(os.open("/proc/self/fd/50", os.O_RDONLY), 9), os.path.basename(os.readlink("/proc/self/fd/50")), open("/proc/self/fdinfo/50").readline().split(), os.path.exists("/proc/self/fd/49"))'
free | awk '/^Mem:/ { print ($2 > 0 && $3 + $4 <= $2) }'; awk '{ print ($1 > 0 && NF == 2) }' /proc/uptime; awk '{ print NF, ($1 >= 0) }' /proc/loadavg; uptime | grep -c 'load average'; vmstat | wc -l; grep -c ' /proc ' /proc/mounts; findmnt -n -o TARGET --mountpoint /proc | sort -u; mount | grep -c ' on /proc '; df -a | grep -c ' /proc$'; w -h | wc -l > /dev/null; pidof python3 | tr ' ' '\n' | grep -cx $pid
kill $pid; wait $pid || true; test ! -e /proc/$pid/stat && echo gone; ps -p $pid > /dev/null || echo not listed
