# Linux's own stack on one side of a tap interface, a rump kernel on the other. Runs in a network namespace of its own.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
export RUMP_SERVER=unix://$PWD/socket
"$SERVER" -s "$RUMP_SERVER" >log 2>&1 &
until [ -S socket ]; do sleep 0.02; done
"$CTL" sysctl net.inet6.ip6.dad_count=0 >/dev/null
"$CTL" ifconfig tap0 create inet 10.9.0.2/24 inet6 fd09::2/64
ip link set lo up
ip link set tap0 up
ip addr add 10.9.0.1/24 dev tap0
ip -6 addr add fd09::1/64 dev tap0 nodad
rump() { "$HIJACK" --server "$RUMP_SERVER" -- "$@"; }

echo_request='
import socket, struct, sys
def sum16(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
six = ":" in sys.argv[1]
link = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
link.settimeout(10)
lengths = []
for number, size in enumerate(map(int, sys.argv[2:])):
    packet = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 7, number) + b"x" * size
    if not six:
        packet = packet[:2] + struct.pack("!H", sum16(packet)) + packet[4:]
    link.sendto(packet, (sys.argv[1], 0))
    while True:
        answer = link.recv(9000)
        answer = answer if six else answer[20:]
        if answer[0] == (129 if six else 0) and answer[4:8] == packet[4:8] and answer[8:] == packet[8:]:
            lengths.append(len(answer))
            break
print(*lengths)'
echo "echo 4: $(python3 -c "$echo_request" 10.9.0.2 56 4000)"
echo "echo 6: $(python3 -c "$echo_request" fd09::2 56)"

# A file in both directions, by both versions.
serve() { "$1" python3 -m http.server 80 --bind "$2" >/dev/null 2>&1 & }
fetch() { until "$1" curl -gsS -o got "http://$2/file" 2>error; do [ $? = 7 ] && sleep 0.05 || { cat error; exit 1; }; done; cmp got file && echo same; }
here() { "$@"; }
serve rump 10.9.0.2; serve rump fd09::2; serve here 10.9.0.1; serve here fd09::1
echo "to rump 4: $(fetch here 10.9.0.2)"
echo "to rump 6: $(fetch here '[fd09::2]')"
echo "to linux 4: $(fetch rump 10.9.0.1)"
echo "to linux 6: $(fetch rump '[fd09::1]')"

# Errors as Linux has them: nobody listens, nobody is there.
connect='
import socket, sys
print(socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET).connect_ex((sys.argv[1], 9)))'
echo "refused: $(rump python3 -c "$connect" 10.9.0.1) $(rump python3 -c "$connect" fd09::1)"
echo "nobody: $(rump python3 -c "$connect" 10.9.0.77)"

pong='
import socket, sys
end = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
end.bind((sys.argv[1], 5300))
print("ready", flush=True)
while True:
    data, peer = end.recvfrom(9000)
    end.sendto(data.replace(b"ping", b"pong"), peer)'
ping='
import socket, sys
end = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
end.settimeout(10)
end.connect((sys.argv[1], 5300))
end.send(b"ping" if len(sys.argv) < 3 else b"x" * int(sys.argv[2]))
data = end.recv(9000)
print(len(data) if len(sys.argv) > 2 else data.decode())'
start() { mkfifo "$1"; shift_name=$1; shift; "$@" >"$shift_name" 2>/dev/null & read -r _ <"$shift_name"; }
start one rump python3 -c "$pong" 10.9.0.2
start other here python3 -c "$pong" fd09::1
echo "udp: $(python3 -c "$ping" 10.9.0.2) $(rump python3 -c "$ping" fd09::1)"
echo "datagram of 5000 bytes: $(rump python3 -c "$ping" fd09::1 5000)"

# A port that nobody has: the refusal reaches Linux's socket.
echo "linux asks: $(python3 -c '
import socket
end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end.settimeout(10)
end.connect(("10.9.0.2", 5301))
end.send(b"?")
try:
    end.recv(1)
except ConnectionRefusedError:
    print("refused")')"
