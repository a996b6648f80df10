//! Memory that is bad, or good at first and bad later: what a call on each kind of object does then, and what is left there afterwards.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("bad_memory_and_files", OneProcess, files),
    ("bad_memory_and_busy_files", OneProcess, busy_files),
    ("bad_memory_and_directories", OneProcess, directories),
    ("bad_memory_and_pipes", OneProcess, pipes),
    ("bad_memory_and_busy_pipes", OneProcess, busy_pipes),
    ("bad_memory_and_full_pipes", OneProcess, full_pipes),
    ("bad_memory_and_tcp", OneProcess, tcp),
    ("bad_memory_and_busy_tcp", OneProcess, busy_tcp),
    ("bad_memory_and_datagrams", OneProcess, datagrams),
    ("bad_memory_and_local_streams", LocalSockets, local_streams),
    ("bad_memory_and_local_messages", LocalSockets, local_messages),
    ("bad_memory_and_passed_descriptors", LocalSockets, passed_descriptors),
    ("bad_memory_and_terminals", OneProcess, terminals),
    ("bad_memory_and_sleepers", OneProcess, sleepers),
    ("bad_memory_of_large_calls", OneProcess, large_calls),
];

const PAGE: usize = 4096;

/// An address that no program has mapped.
const BAD: *mut c_void = 16 as *mut c_void;

/// How memory is bad behind its good pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// Nothing is there.
    Hole,
    /// What may not be touched.
    Guard,
    /// What may only be read.
    ReadOnly,
}

use Behind::{Guard, Hole, ReadOnly};

/// Some good pages, and a bad one.
struct Memory {
    start: *mut u8,
    pages: usize,
}

impl Memory {
    fn new(pages: usize, behind: Behind) -> Self {
        unsafe {
            let len = (pages + 1) * PAGE;
            let start = mmap(null_mut(), len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            assert_ne!(start, MAP_FAILED);
            let start = start.cast::<u8>();
            let last = start.add(pages * PAGE).cast();
            let done = match behind {
                Hole => munmap(last, PAGE),
                Guard => mprotect(last, PAGE, PROT_NONE),
                ReadOnly => mprotect(last, PAGE, PROT_READ),
            };
            assert_eq!(done, 0);
            Self { start, pages }
        }
    }

    /// Memory of which the first `good` bytes are good.
    fn with(&self, good: usize) -> *mut c_void {
        assert!(good <= self.pages * PAGE);
        unsafe { self.start.add(self.pages * PAGE - good).cast() }
    }

    /// So many of the good bytes, as text.
    fn text(&self, len: usize, good: usize) -> String {
        let bytes = unsafe { std::slice::from_raw_parts(self.with(good).cast::<u8>(), len) };
        String::from_utf8_lossy(bytes).replace('\0', ".")
    }

    fn fill(&self, byte: u8) {
        unsafe { std::ptr::write_bytes(self.start, byte, self.pages * PAGE) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // The bad page is gone, or goes with the others.
        unsafe { munmap(self.start.cast(), (self.pages + 1) * PAGE) };
    }
}

fn part(base: *mut c_void, len: usize) -> iovec {
    iovec { iov_base: base, iov_len: len }
}

/// Shows what can be read of a descriptor that does not wait, by calls on good memory.
unsafe fn left(fd: c_int) {
    let mut buf = [0u8; 100];
    let got = unsafe { read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    let text = String::from_utf8_lossy(&buf[..got.max(0) as usize]).into_owned();
    if got < 0 {
        println!("  left: ({})", errno());
    } else {
        println!("  left: {got} {text:?}");
    }
}

/// Puts `text` there and reads it with bad memory, in each way that read(2) has, and shows what is left each time.
unsafe fn reads(fd: c_int, put: &dyn Fn(&[u8]), keeps: bool) {
    unsafe {
        for behind in [Hole, Guard, ReadOnly] {
            let memory = Memory::new(1, behind);
            let rest = || {
                if keeps {
                    left(fd)
                }
            };
            put(b"0123456789");
            show("read", read(fd, BAD, 4) as i64);
            rest();
            put(b"0123456789");
            let got = show("read, the second page is bad", read(fd, memory.with(5), 10) as i64);
            println!("  {}", memory.text(got.max(0) as usize, 5));
            rest();
            put(b"0123");
            let got = show("read of less than is good", read(fd, memory.with(5), 10) as i64);
            println!("  {}", memory.text(got.max(0) as usize, 5));
            rest();
            memory.fill(0);
            put(b"0123456789");
            show("readv, the first is bad", readv(fd, [part(BAD, 4), part(memory.with(5), 5)].as_ptr(), 2) as i64);
            rest();
            put(b"0123456789");
            let mut good = [0u8; 3];
            let parts = [part(good.as_mut_ptr().cast(), 3), part(BAD, 4)];
            show("readv, the second is bad", readv(fd, parts.as_ptr(), 2) as i64);
            rest();
            put(b"01");
            show("readv that ends before", readv(fd, parts.as_ptr(), 2) as i64);
            rest();
            put(b"0123456789");
            show("readv, a bad one of nothing", readv(fd, [part(BAD, 0), part(memory.with(5), 5)].as_ptr(), 2) as i64);
            rest();
            show("readv of a bad array", readv(fd, BAD.cast(), 2) as i64);
            show("read nothing", read(fd, BAD, 0) as i64);
            rest();
        }
    }
}

/// Writes from bad memory in each way that write(2) has; `arrived` shows what came of it.
unsafe fn writes(fd: c_int, arrived: &dyn Fn()) {
    unsafe {
        for behind in [Hole, Guard] {
            let memory = Memory::new(1, behind);
            memory.fill(b'm');
            show("write", write(fd, BAD, 4) as i64);
            arrived();
            show("write, the second page is bad", write(fd, memory.with(5), 10) as i64);
            arrived();
            show("writev, the first is bad", writev(fd, [part(BAD, 4), part(memory.with(5), 5)].as_ptr(), 2) as i64);
            arrived();
            show("writev, the second is bad", writev(fd, [part(memory.with(5), 3), part(BAD, 4)].as_ptr(), 2) as i64);
            arrived();
            show(
                "writev, a bad one of nothing",
                writev(fd, [part(BAD, 0), part(memory.with(2), 2)].as_ptr(), 2) as i64,
            );
            arrived();
            show("writev of a bad array", writev(fd, BAD.cast(), 2) as i64);
            show("write nothing", write(fd, BAD, 0) as i64);
            arrived();
        }
    }
}

/// The calls of sockets: recv(2), recvfrom(2), recvmsg(2).
unsafe fn receives(fd: c_int, put: &dyn Fn(&[u8])) {
    unsafe {
        let memory = Memory::new(1, Hole);
        let mut good = [0u8; 16];
        put(b"0123456789");
        show("recv", recv(fd, BAD, 4, 0) as i64);
        left(fd);
        put(b"0123456789");
        show("recv, the second page is bad", recv(fd, memory.with(5), 10, 0) as i64);
        left(fd);
        put(b"0123");
        show("recv of less than is good", recv(fd, memory.with(5), 10, 0) as i64);
        left(fd);
        put(b"0123456789");
        show("peek", recv(fd, BAD, 4, MSG_PEEK) as i64);
        left(fd);
        put(b"0123456789");
        show("wait for all", recv(fd, memory.with(5), 10, MSG_WAITALL) as i64);
        left(fd);
        let mut name: sockaddr_storage = zeroed();
        let mut len = size_of::<sockaddr_storage>() as socklen_t;
        put(b"0123456789");
        show("recvfrom, bad data", recvfrom(fd, BAD, 4, 0, (&raw mut name).cast(), &mut len) as i64);
        left(fd);
        put(b"0123456789");
        let room = good.as_mut_ptr().cast();
        let got = recvfrom(fd, room, 16, 0, (&raw mut name).cast(), BAD.cast());
        show("recvfrom, bad length", got as i64);
        left(fd);
        let mut parts = [part(good.as_mut_ptr().cast(), 3), part(BAD, 4)];
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), 2);
        put(b"0123456789");
        show("recvmsg, the second is bad", recvmsg(fd, &mut message, 0) as i64);
        left(fd);
        put(b"01");
        show("recvmsg that ends before", recvmsg(fd, &mut message, 0) as i64);
        left(fd);
        put(b"0123456789");
        message.msg_iov = BAD.cast();
        show("recvmsg of a bad array", recvmsg(fd, &mut message, 0) as i64);
        show("recvmsg of nothing good", recvmsg(fd, BAD.cast(), 0) as i64);
        left(fd);
        parts = [part(good.as_mut_ptr().cast(), 16), part(BAD, 0)];
        (message.msg_iov, message.msg_control, message.msg_controllen) = (parts.as_mut_ptr(), BAD, 64);
        put(b"0123456789");
        show("recvmsg with bad room for control messages", recvmsg(fd, &mut message, 0) as i64);
        println!("  {} {}", message.msg_controllen, message.msg_flags);
        left(fd);
    }
}

/// The calls of sockets that send.
unsafe fn sends(fd: c_int, arrived: &dyn Fn()) {
    unsafe {
        let memory = Memory::new(1, Hole);
        memory.fill(b's');
        show("send", send(fd, BAD, 4, 0) as i64);
        arrived();
        show("send, the second page is bad", send(fd, memory.with(5), 10, 0) as i64);
        arrived();
        let good = b"good";
        let sent = sendto(fd, good.as_ptr().cast(), 4, 0, BAD.cast(), LEN);
        show("sendto, a bad address", sent as i64);
        let mut parts = [part(memory.with(5), 3), part(BAD, 4)];
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), 2);
        show("sendmsg, the second is bad", sendmsg(fd, &message, 0) as i64);
        arrived();
        message.msg_iov = BAD.cast();
        show("sendmsg of a bad array", sendmsg(fd, &message, 0) as i64);
        show("sendmsg of nothing good", sendmsg(fd, BAD.cast(), 0) as i64);
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), 1);
        (message.msg_control, message.msg_controllen) = (BAD, 64);
        show("sendmsg with bad control messages", sendmsg(fd, &message, 0) as i64);
        (message.msg_control, message.msg_controllen) = (null_mut(), 0);
        (message.msg_name, message.msg_namelen) = (BAD, LEN);
        show("sendmsg to a bad address", sendmsg(fd, &message, 0) as i64);
        arrived();
    }
}

fn files(folder: &str) {
    use_file(folder, false);
}

fn busy_files(folder: &str) {
    use_file(folder, true);
}

fn use_file(folder: &str, busy: bool) {
    unsafe {
        let name = path(folder, "file");
        let fd = open(name.as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644);
        if busy {
            // So that the library moves its data by itself.
            let block = [b'x'; 65_536];
            for _ in 0..64 {
                assert_eq!(pwrite(fd, block.as_ptr().cast(), block.len(), 0), 65_536);
            }
            ftruncate(fd, 0);
        }
        let put = |text: &[u8]| {
            ftruncate(fd, 0);
            pwrite(fd, text.as_ptr().cast(), text.len(), 0);
            lseek(fd, 0, SEEK_SET);
        };
        reads(fd, &put, true);
        show("at the end", read(fd, BAD, 4) as i64);
        put(b"0123456789");
        let memory = Memory::new(1, Hole);
        show("pread", pread(fd, BAD, 4, 0) as i64);
        show("pread, the second page is bad", pread(fd, memory.with(5), 10, 2) as i64);
        println!("  {}", memory.text(5, 5));
        show("pread at the end", pread(fd, BAD, 4, 10) as i64);
        show("pread before the beginning", pread(fd, BAD, 4, -1) as i64);
        let parts = [part(memory.with(5), 3), part(BAD, 4)];
        show("preadv", preadv(fd, parts.as_ptr(), 2, 0) as i64);
        show("where", lseek(fd, 0, SEEK_CUR));
        ftruncate(fd, 0);
        writes(fd, &|| {
            println!("  at {} of {}", lseek(fd, 0, SEEK_CUR), contents(&name));
        });
        memory.fill(b'p');
        show("pwrite", pwrite(fd, BAD, 4, 0) as i64);
        show("pwrite, the second page is bad", pwrite(fd, memory.with(5), 10, 2) as i64);
        show("pwritev", pwritev(fd, parts.as_ptr(), 2, 8) as i64);
        println!("  {}", contents(&name));
        let writer = open(name.as_ptr(), O_WRONLY | O_APPEND);
        show("read of one for writing", read(writer, BAD, 4) as i64);
        show("append", write(writer, memory.with(3), 10) as i64);
        let reader = open(name.as_ptr(), O_RDONLY);
        show("write to one for reading", write(reader, BAD, 4) as i64);
        println!("  {}", contents(&name));
        let folder = open(path(folder, ".").as_ptr(), O_RDONLY);
        show("read of a directory", read(folder, BAD, 4) as i64);
        show("read of no descriptor", read(-1, BAD, 4) as i64);
        [fd, writer, reader, folder].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

fn directories(folder: &str) {
    unsafe {
        let own = path(folder, "own");
        mkdir(own.as_ptr(), 0o755);
        for name in ["a", "b", "c"] {
            create(folder, &format!("own/{name}"), b"");
        }
        let fd = open(own.as_ptr(), O_RDONLY | O_DIRECTORY);
        let count = |buf: *const c_void, got: i64| {
            let (mut at, mut count) = (0, 0);
            while at < got as usize {
                at += usize::from(buf.cast::<u8>().add(at + 16).cast::<u16>().read_unaligned());
                count += 1;
            }
            count
        };
        let memory = Memory::new(1, Hole);
        show("getdents", syscall(SYS_getdents64, fd, BAD, 1000));
        show("getdents, too little", syscall(SYS_getdents64, fd, BAD, 8));
        // Each is 24 bytes long.
        let got = syscall(SYS_getdents64, fd, memory.with(60), 1000);
        println!("  {got}: {} of them", count(memory.with(60), got));
        show("getdents, the next does not fit", syscall(SYS_getdents64, fd, memory.with(10), 1000));
        let mut buf = [0u64; 128];
        let got = syscall(SYS_getdents64, fd, buf.as_mut_ptr(), 1000);
        println!("  {got}: {} left", count(buf.as_ptr().cast(), got));
        show("getdents at the end", syscall(SYS_getdents64, fd, BAD, 1000));
        close(fd);
    }
}

unsafe fn put_into(fd: c_int) -> impl Fn(&[u8]) {
    move |text: &[u8]| unsafe { assert_eq!(write(fd, text.as_ptr().cast(), text.len()), text.len() as isize) }
}

/// Moves some bytes, so that the library moves the next by itself.
unsafe fn warm(from: c_int, to: c_int) {
    let mut buf = [0u8; 64];
    for _ in 0..100 {
        unsafe {
            assert_eq!(write(from, buf.as_ptr().cast(), 64), 64);
            assert_eq!(read(to, buf.as_mut_ptr().cast(), 64), 64);
        }
    }
}

unsafe fn use_pipe(reader: c_int, writer: c_int) {
    unsafe {
        fcntl(reader, F_SETFL, O_NONBLOCK);
        show("nothing there", read(reader, BAD, 4) as i64);
        reads(reader, &put_into(writer), true);
        show("pread", pread(reader, BAD, 4, 0) as i64);
        writes(writer, &|| left(reader));
        let two = [b'2'; 2 * PAGE];
        let memory = Memory::new(1, Hole);
        put_into(writer)(&two);
        show("two pages, one is good", read(reader, memory.with(PAGE), 2 * PAGE) as i64);
        show("the other", read(reader, memory.with(PAGE), PAGE) as i64);
        memory.fill(b'w');
        show("write of two pages, one is good", write(writer, memory.with(PAGE), 2 * PAGE) as i64);
        let mut buf = [0u8; 2 * PAGE];
        show("  came", read(reader, buf.as_mut_ptr().cast(), buf.len()) as i64);
        close(writer);
        show("at the end", read(reader, BAD, 4) as i64);
        show("at the end, the second page is bad", read(reader, memory.with(5), 10) as i64);
        close(reader);
    }
}

/// A pair of descriptors of one pipe below the folder's kernel.
unsafe fn fifo(folder: &str) -> (c_int, c_int) {
    unsafe {
        let name = path(folder, "fifo");
        unlink(name.as_ptr());
        assert_eq!(mkfifo(name.as_ptr(), 0o600), 0);
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        (reader, open(name.as_ptr(), O_WRONLY))
    }
}

fn pipes(folder: &str) {
    unsafe {
        let (reader, writer) = fifo(folder);
        use_pipe(reader, writer);
    }
}

fn busy_pipes(folder: &str) {
    unsafe {
        let (reader, writer) = fifo(folder);
        warm(writer, reader);
        use_pipe(reader, writer);
    }
}

fn full_pipes(folder: &str) {
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        let (reader, writer) = fifo(folder);
        fcntl(writer, F_SETFL, O_NONBLOCK);
        let block = [0u8; PAGE];
        while write(writer, block.as_ptr().cast(), PAGE) > 0 {}
        show("full", write(writer, BAD, PAGE) as i64);
        close(reader);
        show("no reader", write(writer, BAD, 4) as i64);
        close(writer);
    }
}

fn tcp(_: &str) {
    unsafe { use_tcp(false) }
}

fn busy_tcp(_: &str) {
    unsafe { use_tcp(true) }
}

unsafe fn use_tcp(busy: bool) {
    unsafe {
        signal(SIGPIPE, SIG_IGN);
        let (a, b) = connected();
        if busy {
            warm(a, b);
        }
        let put = |text: &[u8]| {
            put_into(a)(text);
            ready(b, POLLIN);
        };
        show("nothing there", recv(b, BAD, 4, MSG_DONTWAIT) as i64);
        fcntl(b, F_SETFL, O_NONBLOCK);
        reads(b, &put, true);
        receives(b, &put);
        put(b"0123456789");
        show("thrown away", recv(b, BAD, 4, MSG_TRUNC) as i64);
        left(b);
        // Whether the first part goes is the place's in Linux's buffers to say.
        for behind in [Hole, Guard] {
            let memory = Memory::new(1, behind);
            show("write", write(a, BAD, 4) as i64);
            show("write nothing", write(a, BAD, 0) as i64);
            show("writev, the first is bad", writev(a, [part(BAD, 4), part(memory.with(5), 5)].as_ptr(), 2) as i64);
            left(b);
        }
        shutdown(a, SHUT_WR);
        ready(b, POLLIN);
        show("at the end", read(b, BAD, 4) as i64);
        show("write after the end", write(a, BAD, 4) as i64);
        let lone = socket(AF_INET, SOCK_STREAM, 0);
        show("not connected", read(lone, BAD, 4) as i64);
        [a, b, lone].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

fn datagrams(_: &str) {
    unsafe {
        let bound = || {
            let fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
            let mut addr = loopback(0);
            let mut len = LEN;
            assert_eq!(bind(fd, ptr(&addr), LEN), 0);
            getsockname(fd, (&raw mut addr).cast(), &mut len);
            (fd, addr)
        };
        let ((a, own), (b, other)) = (bound(), bound());
        assert_eq!((connect(a, ptr(&other), LEN), connect(b, ptr(&own), LEN)), (0, 0));
        let put = |text: &[u8]| {
            put_into(a)(text);
            ready(b, POLLIN);
        };
        show("nothing there", read(b, BAD, 4) as i64);
        reads(b, &put, true);
        receives(b, &put);
        writes(a, &|| left(b));
        sends(a, &|| left(b));
        [a, b].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

unsafe fn local_pair(kind: c_int) -> [c_int; 2] {
    let mut pair = [-1; 2];
    unsafe { assert_eq!(socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, pair.as_mut_ptr()), 0) };
    pair
}

fn local_streams(_: &str) {
    for busy in [false, true] {
        unsafe {
            signal(SIGPIPE, SIG_IGN);
            let [a, b] = local_pair(SOCK_STREAM);
            if busy {
                warm(a, b);
            }
            show("nothing there", read(b, BAD, 4) as i64);
            reads(b, &put_into(a), true);
            receives(b, &put_into(a));
            writes(a, &|| left(b));
            sends(a, &|| left(b));
            shutdown(a, SHUT_WR);
            show("at the end", read(b, BAD, 4) as i64);
            close(b);
            show("nobody there", write(a, BAD, 4) as i64);
            close(a);
        }
    }
}

fn local_messages(_: &str) {
    for kind in [SOCK_DGRAM, SOCK_SEQPACKET] {
        unsafe {
            let [a, b] = local_pair(kind);
            show("nothing there", read(b, BAD, 4) as i64);
            reads(b, &put_into(a), true);
            receives(b, &put_into(a));
            writes(a, &|| left(b));
            sends(a, &|| left(b));
            [a, b].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
        }
    }
}

fn passed_descriptors(_: &str) {
    unsafe {
        let [a, b] = local_pair(SOCK_STREAM);
        let mut control = [0u64; 4];
        let mut byte = *b"x";
        let mut parts = [part(byte.as_mut_ptr().cast(), 1)];
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), 1);
        let mut give = || {
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), CMSG_SPACE(4) as usize);
            let header = CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = SOL_SOCKET;
            (*header).cmsg_type = SCM_RIGHTS;
            (*header).cmsg_len = CMSG_LEN(4) as usize;
            CMSG_DATA(header).cast::<c_int>().write_unaligned(a);
            show("sendmsg", sendmsg(a, &message, 0) as i64);
        };
        let free = || {
            let fd = dup(0);
            close(fd);
            fd
        };
        give();
        let before = free();
        let mut taken: msghdr = zeroed();
        (taken.msg_iov, taken.msg_iovlen) = (parts.as_mut_ptr(), 1);
        (taken.msg_control, taken.msg_controllen) = (BAD, 64);
        show("bad room for a descriptor", recvmsg(b, &mut taken, 0) as i64);
        println!("  {} {}, no number is used up: {}", taken.msg_controllen, taken.msg_flags, free() == before);
        give();
        let mut nowhere = [part(BAD, 1)];
        (taken.msg_iov, taken.msg_control, taken.msg_controllen) =
            (nowhere.as_mut_ptr(), control.as_mut_ptr().cast(), 32);
        show("bad room for the data", recvmsg(b, &mut taken, 0) as i64);
        (taken.msg_iov, taken.msg_controllen) = (parts.as_mut_ptr(), 32);
        show("again", recvmsg(b, &mut taken, 0) as i64);
        println!("  {} {}", taken.msg_controllen, taken.msg_flags);
        [a, b].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

fn terminals(folder: &str) {
    unsafe {
        let devices = devices_of(folder);
        let master = open(path(devices, "ptmx").as_ptr(), O_RDWR | O_NOCTTY | O_NONBLOCK);
        let unlocked: c_int = 0;
        assert_eq!(ioctl(master, TIOCSPTLCK, &unlocked), 0);
        let slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
        let mut modes: termios = zeroed();
        tcgetattr(slave, &mut modes);
        cfmakeraw(&mut modes);
        tcsetattr(slave, TCSANOW, &modes);
        for (from, to) in [(master, slave), (slave, master)] {
            show("nothing there", read(to, BAD, 4) as i64);
            let put = |text: &[u8]| {
                while read(to, [0u8; 64].as_mut_ptr().cast(), 64) > 0 {}
                put_into(from)(text);
                ready(to, POLLIN);
            };
            reads(to, &put, false);
            while read(to, [0u8; 64].as_mut_ptr().cast(), 64) > 0 {}
            // Linux takes 64 bytes before it looks at the memory.
            put(b"0123456789");
            show("read", read(to, BAD, 4) as i64);
            left(to);
            writes(from, &|| {
                if ready_now(to) {
                    left(to);
                }
            });
        }
        [master, slave].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

unsafe fn ready_now(fd: c_int) -> bool {
    let mut fds = [pollfd { fd, events: POLLIN, revents: 0 }];
    unsafe { poll(fds.as_mut_ptr(), 1, 0) == 1 }
}

/// Who reads into bad memory sleeps until there is something, and leaves it there.
fn sleepers(folder: &str) {
    unsafe {
        let (reader, writer) = fifo(folder);
        let (a, b) = connected();
        fcntl(reader, F_SETFL, 0);
        for (from, to) in [(writer, reader), (a, b)] {
            let sleeper = asleep(move || (read(to, BAD, 4), errno()));
            put_into(from)(b"0123456789");
            let (got, error) = sleeper.join().unwrap();
            println!("{got} {}", error == EFAULT);
            left(to);
        }
        [a, b, reader, writer].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}

/// Bad pages far behind the beginning.
fn large_calls(folder: &str) {
    unsafe {
        let name = path(folder, "file");
        let fd = open(name.as_ptr(), O_RDWR | O_CREAT | O_TRUNC, 0o644);
        let block = vec![b'b'; 600 * PAGE];
        show("write", write(fd, block.as_ptr().cast(), block.len()) as i64);
        for behind in [Hole, Guard, ReadOnly] {
            for good in [20 * PAGE + 7, 300 * PAGE + 9] {
                let memory = Memory::new(400, behind);
                lseek(fd, 0, SEEK_SET);
                let got = read(fd, memory.with(good), 600 * PAGE);
                println!("{} of {good} read, at {}", got, lseek(fd, 0, SEEK_CUR));
                if behind != ReadOnly {
                    lseek(fd, 0, SEEK_SET);
                    let put = write(fd, memory.with(good), 600 * PAGE);
                    println!("{} of {good} written, at {}", put, lseek(fd, 0, SEEK_CUR));
                }
            }
        }
        let (reader, writer) = fifo(folder);
        for behind in [Hole, Guard, ReadOnly] {
            let memory = Memory::new(20, behind);
            show("put", write(writer, block.as_ptr().cast(), 12 * PAGE) as i64);
            show("read, the eleventh page is bad", read(reader, memory.with(10 * PAGE), 100 * PAGE) as i64);
            show("read, the second page is bad", read(reader, memory.with(PAGE), 100 * PAGE) as i64);
            show("the rest", read(reader, memory.with(20 * PAGE), 20 * PAGE) as i64);
        }
        [fd, reader, writer].into_iter().for_each(|fd| assert_eq!(close(fd), 0));
    }
}
