//! Connections and pipes whose bytes programs move themselves, through memory that they share.

use std::process::{Command, Stdio};

use integration::{Rump, Transport, output, stdout, until};

/// A connection inside this process on which much went to and fro.
const BUSY: &str = "
import ctypes, os, random, signal, socket, sys
def pair():
    listener = socket.create_server(('127.0.0.1', 0))
    one = socket.create_connection(listener.getsockname())
    return one, listener.accept()[0]
def rounds(one, two, count):
    for n in range(count):
        for a, b in ((one, two), (two, one)):
            a.sendall(b'%d' % n)
            assert b.recv(100) == b'%d' % n
def busy():
    one, two = pair()
    rounds(one, two, 50)
    return one, two
def paths():
    shown = os.popen('rumpctl sockstat -v').read().splitlines()[1:]
    print(*sorted(line.split()[8] for line in shown if 'ESTABLISHED' in line), flush=True)
class Pipe:
    # Looks like one end of a connection, through a fifo for each direction.
    def __init__(self, reads, writes): self.reads, self.writes = reads, writes
    def sendall(self, data):
        while data: data = data[os.write(self.writes, data):]
    def recv(self, room): return os.read(self.reads, room)
    def close(self): os.close(self.reads); os.close(self.writes)
def pipes(name):
    ends = []
    for way in 'ab':
        path = '/rump/tmp/%s.%s' % (name, way)
        os.mkfifo(path)
        reads = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        ends += [reads, os.open(path, os.O_WRONLY)]
        os.set_blocking(reads, True)
        os.unlink(path)
    return Pipe(ends[0], ends[3]), Pipe(ends[2], ends[1])
def memory():
    lines = [line for line in open('/proc/self/maps') if 'rump-stream' in line]
    return [[int(word, 16) for word in line.split()[0].split('-')] for line in lines]
";

fn python(rump: &Rump, script: &str) -> Command {
    python_with(rump, "path=/rump,socket=inet", script)
}

fn python_with(rump: &Rump, config: &str, script: &str) -> Command {
    let mut command = rump.launch(&["--config", config], "python3");
    let tools = integration::built("rumpctl");
    let path = std::env::join_paths(
        [tools.parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    command.args(["-c", &format!("{BUSY}\n{script}")]).env("PATH", path.unwrap()).stdin(Stdio::null());
    command
}

/// What a script prints that must succeed.
fn printed(rump: &Rump, script: &str) -> String {
    let done = output(&mut python(rump, script));
    assert!(done.status.success(), "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_busy_connection_is_shared_as_long_as_it_is_plain() {
    let script = "
one, two = pair()
paths()
rounds(one, two, 50)
paths()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
paths()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
rounds(one, two, 200)
paths()
two.send(b'!', socket.MSG_OOB)
paths()
assert one.recv(1, socket.MSG_OOB) == b'!'
";
    let rump = Rump::start(Transport::Unix);
    assert_eq!(printed(&rump, script), "joined joined\nshared shared\njoined joined\nshared shared\njoined joined\n");
    rump.ctl(&["sysctl", "net.inet.tcp.fastloop=0"]);
    assert_eq!(printed(&rump, "one, two = busy()\npaths()"), "segments segments\n");
}

#[test]
fn the_trace_says_which_way_bytes_go() {
    let rump = Rump::start(Transport::Unix);
    let trace = rump.folder().join("trace");
    let script = "
one, two = busy()
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
one.send(b'!')
print(one.fileno())
";
    let number: u32 = stdout(python(&rump, script).env("RUMPHIJACK_TRACE", &trace)).trim().parse().unwrap();
    let lines = std::fs::read_to_string(&trace).unwrap();
    let ways: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.strip_prefix(&format!("rump {number:#x}: bytes go through ")))
        .collect();
    assert_eq!(ways, ["shared memory", "calls"], "{lines}");
}

#[test]
fn pipes_and_local_streams_are_shared_as_long_as_they_are_plain() {
    let script = "
def maps(): print(len(memory()), flush=True)
one, two = pipes('p')
maps()
rounds(one, two, 50)
maps()
one.close(); two.close()
maps()
one, two = socket.socketpair(socket.AF_UNIX)
rounds(one, two, 50)
maps()
os.system('LD_PRELOAD= rumpctl sockstat -v | grep -c shared')
one.send(b'x'); two.recv(1, socket.MSG_PEEK); two.recv(1)
os.system('LD_PRELOAD= rumpctl sockstat -v | grep -c shared')
";
    let rump = Rump::start(Transport::Unix);
    let done = output(&mut python_with(&rump, "path=/rump,socket=all", script));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // Each end is mapped by itself; the one who looked without taking has the bytes of one direction brought back.
    assert_eq!(String::from_utf8_lossy(&done.stdout), "0\n4\n0\n2\n2\n1\n");
}

/// The server stands still: whatever asked it would wait for ever.
#[test]
fn bytes_and_looks_in_vain_need_no_server() {
    let rump = Rump::start(Transport::Unix);
    let script = format!(
        "
import select
SERVER = {}
def vain(ask):
    try:
        ask()
    except BlockingIOError:
        return
    raise AssertionError
quiet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
quiet.bind(('127.0.0.1', 0))
quiet.setblocking(False)
listener = socket.create_server(('127.0.0.1', 0))
listener.setblocking(False)
looks = select.poll()
for asked in (quiet, listener): looks.register(asked, select.POLLIN)
set = select.epoll()
host, waker = os.pipe()
for asked in (quiet, listener, host): set.register(asked, select.EPOLLIN)
def ask():
    vain(lambda: quiet.recv(10))
    vain(listener.accept)
    assert looks.poll(0) == []
    assert set.poll(0) == []
    os.write(waker, b'x')
    assert set.poll(0) == set.poll(-1) == [(host, select.EPOLLIN)]
    os.read(host, 1)
for turn in range(60): ask()
pairs = [pair(), socket.socketpair(socket.AF_UNIX), pipes('still')]
for one, two in pairs: rounds(one, two, 60)
one, two = pair()
rounds(one, two, 60)
two.setblocking(False)
edges = select.epoll()
edges.register(two, select.EPOLLIN | select.EPOLLET)
for turn in range(60): vain(lambda: two.recv(10))
os.kill(SERVER, signal.SIGSTOP)
try:
    for turn in range(300):
        ask()
        vain(lambda: two.recv(10))
        one.send(b'edge')
        assert two.recv(10) == b'edge'
    for ends in pairs: rounds(*ends, 100)
finally:
    os.kill(SERVER, signal.SIGCONT)
print(edges.poll(0))
one.send(b'last')
print(edges.poll(20) == [(two.fileno(), select.EPOLLIN)])
quiet.sendto(b'x', quiet.getsockname())
print(looks.poll(0) == set.poll(0) == [(quiet.fileno(), select.POLLIN)], quiet.recv(10))
",
        rump.pid()
    );
    let done = output(&mut python_with(&rump, "path=/rump,socket=all", &script));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "[]\nTrue\nTrue b'x'\n");
}

/// A watcher of edges does not end the sharing, hears of every arrival, and finds all that came, whatever the two do at the same time.
#[test]
fn a_watcher_of_edges_misses_nothing_of_a_shared_connection() {
    let script = "
import select, time
random.seed(5)
one, two = busy()
two.setblocking(False)
watch = select.epoll()
watch.register(two, select.EPOLLIN | select.EPOLLET)
TOTAL = 3_000_000
child = os.fork()
if child == 0:
    sent = 0
    while sent < TOTAL:
        size = min(TOTAL - sent, random.choice([1, 100, 5000, 400_000]))
        one.sendall(b'z' * size)
        sent += size
        if random.random() < 0.1: time.sleep(random.random() / 1000)
    os._exit(0)
got = 0
paths()
while got < TOTAL:
    assert watch.poll(20), got
    try:
        while True:
            got += len(two.recv(random.choice([1000, 70_000])))
    except BlockingIOError:
        pass
os.waitpid(child, 0)
# In small portions: to the last byte of what was there, and no further.
import fcntl, termios, struct
for turn in range(20):
    one.setblocking(False)
    left = 0
    try:
        while True: left += one.send(b'y' * 50_000)
    except BlockingIOError:
        pass
    while left:
        assert watch.poll(20), left
        there = struct.unpack('i', fcntl.ioctl(two, termios.FIONREAD, b'    '))[0]
        while there:
            got = len(two.recv(min(there, 60_000)))
            there -= got; left -= got
    try:
        two.recv(1); assert False
    except BlockingIOError:
        pass
print('well')
";
    let rump = Rump::start(Transport::Unix);
    assert_eq!(printed(&rump, script), "shared shared shared shared\nwell\n");
}

#[test]
fn who_spoils_the_memory_spoils_his_own_connection() {
    let rump = Rump::start(Transport::Unix);
    // Rubbish all over the words and the bytes, again and again, while both ends go on.
    let script = "
random.seed(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
good = busy()
for turn in range(60):
    known = memory()
    one, two = socket.socketpair(socket.AF_UNIX) if turn % 2 else pair()
    rounds(one, two, 50)
    for fd in (one, two):
        fd.settimeout(0.02)
    # Each end has its own mapping, as long as it has not found out.
    while places := [place for place in memory() if place not in known]:
        start, end = places[0]
        for _ in range(8):
            at = random.randrange(1152)
            ctypes.memset(start + (at if random.random() < 0.8 else random.randrange(end - start)), random.randrange(256), 1)
        for fd in (one, two):
            try:
                fd.send(b'x' * random.randrange(1, 5000))
                fd.recv(random.randrange(1, 5000))
            except OSError:
                pass
    one.close(); two.close()
    rounds(*good, 10)
print('well')
";
    assert_eq!(printed(&rump, script), "well\n");
    assert_eq!(printed(&rump, "rounds(*busy(), 100)\nprint('well')"), "well\n");
}

#[test]
fn who_is_killed_in_the_middle_of_a_transfer_harms_nobody() {
    let rump = Rump::start(Transport::Unix);
    let descriptors = || {
        let pid = std::fs::read_to_string(rump.folder().join("pid")).unwrap();
        std::fs::read_dir(format!("/proc/{}/fd", pid.trim())).unwrap().count()
    };
    let script = "
random.seed(2)
for turn in range(30):
    one, two = busy()
    child = os.fork()
    if child == 0:
        one.close()
        while True:
            two.sendall(b'abcdefgh' * random.randrange(1, 9000))
    two.close()
    got = 0
    while got < random.randrange(1, 4 << 20):
        got += len(one.recv(70000))
    os.kill(child, signal.SIGKILL)
    rest = 0
    try:
        while data := one.recv(70000):
            assert not data.strip(b'abcdefgh')
            rest += len(data)
    except ConnectionResetError:
        pass
    os.waitpid(child, 0)
    one.close()
print('well')
";
    let first = printed(&rump, script);
    let before = descriptors();
    assert_eq!((first.as_str(), printed(&rump, script).as_str()), ("well\n", "well\n"));
    until("the server lets go of what the dead had", || descriptors() <= before);
}
