memcached -l 127.0.0.1 -p 7001 -U 0 -t 4 -u "$(id -un)" & server=$!
up 7001 $server
cat > clients.py << 'END'
import socket, threading

def connect():
    return socket.create_connection(("127.0.0.1", 7001)).makefile("rwb")

def client(n):
    f = connect()
    for i in range(200):
        value = b"%d:%d" % (n, i) * 200
        f.write(b"set k%d-%d 0 0 %d\r\n%s\r\n" % (n, i, len(value), value)); f.flush()
        assert f.readline() == b"STORED\r\n"
        f.write(b"get k%d-%d\r\n" % (n, i)); f.flush()
        assert f.readline().startswith(b"VALUE") and f.readline().strip() == value and f.readline() == b"END\r\n"
    done.append(n)

done = []
threads = [threading.Thread(target=client, args=(n,)) for n in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(done), "clients done")
f = connect()
f.write(b"incr none 1\r\nset n 0 0 1\r\n5\r\nincr n 7\r\ndelete n\r\nget n\r\nstats\r\nquit\r\n"); f.flush()
for line in f.read().decode().splitlines():
    if not line.startswith("STAT") or line.split()[1] in ("cmd_set", "cmd_get", "curr_items", "threads"): print(line)
END
python3 clients.py
kill $server
wait $server
