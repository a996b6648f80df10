//! Files whose memory programs have, and read and write by themselves.

use std::process::Stdio;

use integration::{Rump, Transport, built, output, until};

/// A file on which much was read and written.
const BUSY: &str = "
import ctypes, mmap, os, random, signal, subprocess, sys
def rub(fd, count=60):
    for n in range(count):
        os.pread(fd, 10, n)
def busy(name, flags=os.O_RDWR | os.O_CREAT, content=b'0123456789' * 100):
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, content, 0)
    os.close(fd)
    fd = os.open(name, flags)
    rub(fd)
    return fd
def ways():
    shown = subprocess.run(['rumpctl', 'sockstat', '-v'], stdout=subprocess.PIPE).stdout.decode().splitlines()
    rows = [line.split() for line in shown if ' file ' in line]
    return sorted({(row[4], row[8]) for row in rows if row[0] == 'python3'})
def pages():
    lines = [line for line in open('/proc/self/maps') if 'rump-pages' in line]
    return [[int(word, 16) for word in line.split()[0].split('-')] for line in lines]
";

/// What a script prints that must succeed.
fn printed(rump: &Rump, script: &str) -> String {
    let mut command = rump.launch(&[], "python3");
    let tools = built("rumpctl");
    let tools = tools.parent().unwrap().to_owned();
    let path = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let path = std::env::join_paths(std::iter::once(tools).chain(path)).unwrap();
    let script = format!("{BUSY}\n{script}");
    let done = output(command.args(["-c", &script]).env("PATH", path).stdin(Stdio::null()));
    assert!(done.status.success(), "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn descriptors(rump: &Rump) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", rump.pid())).unwrap().count()
}

#[test]
fn a_busy_file_is_lent_until_it_is_closed() {
    let rump = Rump::start(Transport::Unix);
    let script = "
quiet = os.open('/rump/tmp/quiet', os.O_RDWR | os.O_CREAT)
fd = busy('/rump/tmp/busy')
print(*ways(), len(pages()))
os.close(fd)
print(*ways(), len(pages()))
";
    let shown = "('/tmp/busy', 'shared') ('/tmp/quiet', 'kernel') 1\n('/tmp/quiet', 'kernel') 0\n";
    assert_eq!(printed(&rump, script), shown);
    let before = descriptors(&rump);
    // More than are lent at a time, and all of them go back.
    let script = "
files = [busy(f'/rump/tmp/{n}') for n in range(200)]
assert 10 < len(pages()) <= 64, len(pages())
for fd in files: os.close(fd)
assert not pages()
print('well')
";
    assert_eq!(printed(&rump, script), "well\n");
    until("the server closes what it has lent", || descriptors(&rump) <= before + 4);
}

/// As Linux does it: what comes before the bad memory counts, and the position moves by that.
#[test]
fn bad_memory_is_found_out_where_it_begins() {
    let rump = Rump::start(Transport::Unix);
    let script = "
fd = busy('/rump/tmp/busy')
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
start = libc.mmap(None, ctypes.c_size_t(8192), 3, 0x22, -1, ctypes.c_long(0))
libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(4096))
ctypes.memmove(start + 4092, b'edge', 4)
def call(name, *words):
    done = getattr(libc, name)(fd, *words)
    return done if done >= 0 else -ctypes.get_errno(), os.lseek(fd, 0, os.SEEK_CUR)
edge, size = ctypes.c_void_p(start + 4092), ctypes.c_size_t(8)
print(*call('read', ctypes.c_void_p(8), size), *call('write', ctypes.c_void_p(8), size))
print(*call('pwrite', edge, size, ctypes.c_long(0)), os.pread(fd, 8, 0))
print(*call('write', edge, size), *call('read', edge, size), ctypes.string_at(start + 4092, 4))
parts = (ctypes.c_size_t * 6)(start, 3, 8, 4, start, 4)
print(*call('readv', parts, 3), ctypes.string_at(start, 5))
print(len(pages()))
";
    let shown = "-14 0 -14 0\n4 0 b'edge4567'\n4 4 4 8 b'4567'\n3 11 b'890\\x00\\x00'\n1\n";
    assert_eq!(printed(&rump, script), shown);
}

#[test]
fn over_tcp_nothing_is_lent() {
    let rump = Rump::start(Transport::Tcp);
    assert_eq!(printed(&rump, "fd = busy('/rump/tmp/busy')\nprint(len(pages()))"), "0\n");
}

#[test]
fn what_one_process_does_the_others_see_at_once() {
    let rump = Rump::start(Transport::Unix);
    // Two programs, each by itself, tell each other through pipes of the host what to look at.
    let script = "
down, up = os.pipe(), os.pipe()
child = os.fork()
fd = busy('/rump/tmp/f')
random.seed(7)
if child == 0:
    os.close(down[1])
    # What it wrote to begin with is written.
    os.write(up[1], b'.')
    while command := os.read(down[0], 1):
        assert os.fstat(fd).st_size == os.lseek(fd, 0, os.SEEK_END)
        size = os.fstat(fd).st_size
        data = os.pread(fd, size + 10, 0)
        assert len(data) == size
        if command == b'w':
            os.pwrite(fd, b'child', random.randrange(size + 1))
        os.write(up[1], b'%20d' % (sum(data) * 7 + size))
    os._exit(0)
os.close(down[0])
os.read(up[0], 1)
for turn in range(2000):
    what = random.randrange(8)
    size = os.fstat(fd).st_size
    at = random.randrange(size + 50)
    if what == 0: os.ftruncate(fd, at)
    elif what == 1: os.posix_fallocate(fd, at, random.randrange(1, 5000))
    elif what == 2: os.truncate('/rump/tmp/f', at)
    else: os.pwrite(fd, random.randbytes(random.randrange(1, 3000)), at)
    if os.fstat(fd).st_size > 1 << 17: os.ftruncate(fd, 10)
    before = os.pread(fd, 1 << 20, 0)
    os.write(down[1], b'w' if turn % 2 else b'r')
    assert int(os.read(up[0], 20)) == sum(before) * 7 + len(before), turn
    assert turn % 2 == 0 or b'child' in os.pread(fd, 1 << 20, 0)
    assert os.stat('/rump/tmp/f').st_size == os.fstat(fd).st_size
assert len(pages()) >= 1
os.close(down[1])
assert os.waitpid(child, 0)[1] == 0
print('well')
";
    assert_eq!(printed(&rump, script), "well\n");
}

#[test]
fn who_spoils_what_he_may_write_harms_nobody_else() {
    let rump = Rump::start(Transport::Unix);
    // All that the program has of the kernel: a page that it cannot write, and the open file, which it cuts, grows and fills.
    let script = "
random.seed(3)
good = busy('/rump/tmp/good', content=b'good' * 5000)
own = os.getpid()
libc = ctypes.CDLL(None, use_errno=True)
def links():
    found = {}
    for fd in range(3, 1024):
        try: found[fd] = os.readlink(b'/proc/self/fd/%d' % fd)
        except OSError: pass
    return found
for start, end in pages():
    assert libc.mprotect(ctypes.c_void_p(start), 4096, mmap.PROT_READ | mmap.PROT_WRITE) == -1
# The library hides its own descriptors: a process that is not hijacked has them by the number of this one.
spoil = '''
import os, random, sys
random.seed(5)
pid = sys.argv[1]
for fd in os.listdir(f'/proc/{pid}/fd'):
    try: where = os.readlink(f'/proc/{pid}/fd/{fd}')
    except OSError: continue
    if 'rump-file' not in where: continue
    try: file = os.open(f'/proc/{pid}/fd/{fd}', os.O_RDWR)
    except OSError: continue
    for n in range(200):
        what, at = random.randrange(3), random.randrange(1 << 40)
        try:
            if what == 0: os.ftruncate(file, at)
            elif what == 1: os.pwrite(file, b'rubbish', at)
            else: os.pwrite(file, random.randbytes(9000), at % 100000)
        except OSError: pass
    print(fd)
'''
child = os.fork()
if child == 0:
    os.close(good)
    fd = busy('/rump/tmp/bad')
    for turn in range(20):
        shown = subprocess.run(['env', '-u', 'LD_PRELOAD', 'python3', '-c', spoil, str(os.getpid())], stdout=subprocess.PIPE).stdout
        assert shown, 'nothing found'
        size = os.fstat(fd).st_size
        for call in (lambda: os.read(fd, 100), lambda: os.write(fd, b'x'), lambda: os.lseek(fd, -1, os.SEEK_END),
                     lambda: os.ftruncate(fd, 100), lambda: os.stat('/rump/tmp/bad'), lambda: rub(fd)):
            try: call()
            except OSError: pass
    os._exit(0)
for turn in range(300):
    assert os.pread(good, 30000, 0) == b'good' * 5000
    os.pwrite(good, b'good', random.randrange(5000) * 4)
    assert os.fstat(good).st_size == 20000
assert os.waitpid(child, 0)[1] == 0
assert os.pread(good, 30000, 0) == b'good' * 5000
with open('/rump/tmp/bad', 'r+b') as bad:
    bad.truncate(0)
    bad.write(b'well again')
print(open('/rump/tmp/bad').read())
";
    assert_eq!(printed(&rump, script), "well again\n");
    assert_eq!(printed(&rump, "rub(busy('/rump/tmp/next'))\nprint('well')"), "well\n");
}

#[test]
fn who_is_killed_in_the_middle_of_it_harms_nobody() {
    let rump = Rump::start(Transport::Unix);
    let script = "
random.seed(2)
for turn in range(20):
    fd = busy('/rump/tmp/f')
    os.ftruncate(fd, 0); os.lseek(fd, 0, os.SEEK_SET)
    down, up = os.pipe()
    child = os.fork()
    if child == 0:
        while True:
            os.write(fd, b'abcdefgh' * 512)
            os.write(up, b'.')
    for n in range(random.randrange(1, 400)):
        os.read(down, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(down); os.close(up)
    # What the server was doing for it may come to its end only now.
    os.write(fd, b'parent')
    while True:
        data = os.pread(fd, os.fstat(fd).st_size + 1, 0)
        if len(data) == os.lseek(fd, 0, os.SEEK_CUR) == os.fstat(fd).st_size: break
    assert data.count(b'parent') == 1
    data = data.replace(b'parent', b'')
    assert len(data) % 4096 == 0 and data == b'abcdefgh' * (len(data) // 8), len(data)
    os.close(fd)
print('well')
";
    let first = printed(&rump, script);
    let before = descriptors(&rump);
    assert_eq!((first.as_str(), printed(&rump, script).as_str()), ("well\n", "well\n"));
    until("the server lets go of what the dead had", || descriptors(&rump) <= before);
}
