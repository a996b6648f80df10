//! AF_UNIX: pairs, paths of either kernel, names without a path, credentials.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("local_pairs", LocalSockets, pairs),
    ("local_streams", LocalSockets, streams),
    ("local_datagrams", LocalSockets, datagrams),
    ("local_packets", LocalSockets, packets),
    ("local_paths", LocalSockets, paths),
    ("local_abstract", LocalSockets, abstract_names),
    ("local_errors", LocalSockets, failures),
    ("local_credentials", LocalSockets, credentials),
    ("local_waiting", LocalSockets, waiting),
];

/// An address of the given path, and its length.
fn named(path: &CStr) -> (sockaddr_un, socklen_t) {
    let mut addr: sockaddr_un = unsafe { zeroed() };
    addr.sun_family = AF_UNIX as u16;
    let bytes = path.to_bytes_with_nul();
    addr.sun_path.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as c_char);
    (addr, (2 + bytes.len()) as socklen_t)
}

/// A name without a path, of this process alone.
fn unnamed_by_path(name: &str) -> (sockaddr_un, socklen_t) {
    let text = format!("\0scenario-{}-{name}", unsafe { getpid() });
    let mut addr: sockaddr_un = unsafe { zeroed() };
    addr.sun_family = AF_UNIX as u16;
    addr.sun_path.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from as c_char);
    (addr, (2 + text.len()) as socklen_t)
}

fn pairs(_: &str) {
    unsafe {
        for (what, kind) in [("stream", SOCK_STREAM), ("datagram", SOCK_DGRAM), ("packet", SOCK_SEQPACKET)] {
            println!("{what}");
            let mut ends = [0; 2];
            show("socketpair", socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, ends.as_mut_ptr()));
            let [a, b] = ends;
            println!("{} {}", fcntl(a, F_GETFD), fcntl(b, F_GETFL) & O_NONBLOCK);
            let mut buf = [0u8; 32];
            show("send", send(a, b"hello".as_ptr().cast(), 5, 0) as i64);
            show("write", write(a, b" world".as_ptr().cast(), 6) as i64);
            show("peek", recv(b, buf.as_mut_ptr().cast(), 32, MSG_PEEK) as i64);
            show("recv", recv(b, buf.as_mut_ptr().cast(), 3, 0) as i64);
            show("read", read(b, buf.as_mut_ptr().cast(), 32) as i64);
            show("nothing", recv(b, buf.as_mut_ptr().cast(), 32, MSG_DONTWAIT).min(0) as i64);
            let mut n: c_int = 0;
            send(b, b"back".as_ptr().cast(), 4, 0);
            show("FIONREAD", ioctl(a, FIONREAD, &mut n));
            println!("{n}");
            show("empty", send(b, null(), 0, 0) as i64);
            show("half close", shutdown(b, SHUT_WR));
            show("what was sent", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
            show("end", recv(a, buf.as_mut_ptr().cast(), 32, MSG_DONTWAIT) as i64);
            show("no more", send(b, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
            println!("{:#x}", ready(a, POLLIN | POLLOUT | POLLRDHUP));
            close(b);
            println!("{:#x}", ready(a, POLLIN | POLLOUT | POLLRDHUP));
            show("to nobody", send(a, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
            close(a);
        }
        let mut ends = [0; 2];
        show("unknown type", socketpair(AF_UNIX, 77, 0, ends.as_mut_ptr()));
        show("unknown protocol", socketpair(AF_UNIX, SOCK_STREAM, 77, ends.as_mut_ptr()));
    }
}

fn streams(folder: &str) {
    unsafe {
        let (addr, len) = named(&path(folder, "stream"));
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        show("bind", bind(s, ptr(&addr), len));
        let mut st: stat = zeroed();
        show("stat", stat(path(folder, "stream").as_ptr(), &mut st));
        println!("{}", st.st_mode & S_IFMT == S_IFSOCK);
        let c = socket(AF_UNIX, SOCK_STREAM, 0);
        show("nobody listens", connect(c, ptr(&addr), len));
        show("listen", listen(s, 3));
        show("connect", connect(c, ptr(&addr), len));
        let (mut peer, mut peer_len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        let a = accept(s, (&raw mut peer).cast(), &mut peer_len);
        println!("{} {} {peer_len}", a >= 0, peer.sun_family);
        let (mut own, mut own_len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        show("own name of the accepted", getsockname(a, (&raw mut own).cast(), &mut own_len));
        println!("{}", own_len == len);
        show("name of the peer", {
            own_len = 110;
            getpeername(c, (&raw mut own).cast(), &mut own_len)
        });
        println!("{}", own_len == len);
        let data = vec![9u8; 300_000];
        let writer = std::thread::spawn(move || {
            let n = send(c, data.as_ptr().cast(), data.len(), 0);
            shutdown(c, SHUT_WR);
            (n, c)
        });
        let mut buf = vec![0u8; 400_000];
        show("all", recv(a, buf.as_mut_ptr().cast(), buf.len(), MSG_WAITALL) as i64);
        let (n, c) = writer.join().unwrap();
        show("sent", n as i64);
        show("back", send(a, b"back".as_ptr().cast(), 4, 0) as i64);
        close(a);
        show("arrives", recv(c, buf.as_mut_ptr().cast(), 10, 0) as i64);
        show("end", recv(c, buf.as_mut_ptr().cast(), 10, 0) as i64);
        close(s);
        show("the listener is gone", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len));
        show("its name is not", bind(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len));
        show("unlink", unlink(path(folder, "stream").as_ptr()));
        show("free again", bind(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len));
    }
}

fn datagrams(folder: &str) {
    unsafe {
        let ((to_a, len_a), (to_b, len_b)) = (named(&path(folder, "a")), named(&path(folder, "b")));
        let (a, b) = (socket(AF_UNIX, SOCK_DGRAM, 0), socket(AF_UNIX, SOCK_DGRAM, 0));
        show("bind", bind(a, ptr(&to_a), len_a));
        show("bind", bind(b, ptr(&to_b), len_b));
        show("sendto", sendto(a, b"datagram".as_ptr().cast(), 8, 0, ptr(&to_b), len_b) as i64);
        let (mut from, mut len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        let mut buf = [0u8; 32];
        show("recvfrom", recvfrom(b, buf.as_mut_ptr().cast(), 32, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{}", len == len_a);
        let c = socket(AF_UNIX, SOCK_DGRAM, 0);
        show("unbound", sendto(c, b"x".as_ptr().cast(), 1, 0, ptr(&to_b), len_b) as i64);
        len = 110;
        show("recvfrom", recvfrom(b, buf.as_mut_ptr().cast(), 32, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{len}");
        show("connect", connect(c, ptr(&to_b), len_b));
        show("send", send(c, b"connected".as_ptr().cast(), 9, 0) as i64);
        show("cut", recv(b, buf.as_mut_ptr().cast(), 4, MSG_TRUNC) as i64);
        let (none, len_none) = named(&path(folder, "none"));
        show("to none", sendto(a, b"x".as_ptr().cast(), 1, 0, ptr(&none), len_none) as i64);
        close(b);
        show("to one that is gone", send(c, b"x".as_ptr().cast(), 1, 0) as i64);
        show("by its name", sendto(a, b"x".as_ptr().cast(), 1, 0, ptr(&to_b), len_b) as i64);
        show("no destination", send(a, b"x".as_ptr().cast(), 1, 0) as i64);
        let stream = socket(AF_UNIX, SOCK_STREAM, 0);
        show("of another type", connect(stream, ptr(&to_a), len_a));
        show("listen", listen(a, 5));
    }
}

fn packets(folder: &str) {
    unsafe {
        let (addr, len) = named(&path(folder, "packets"));
        let s = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        show("bind", bind(s, ptr(&addr), len));
        show("listen", listen(s, 3));
        let c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        show("connect", connect(c, ptr(&addr), len));
        let a = accept(s, null_mut(), null_mut());
        let mut buf = [0u8; 32];
        for text in [&b"first"[..], b"the second"] {
            show("send", send(c, text.as_ptr().cast(), text.len(), 0) as i64);
        }
        show("cut", recv(a, buf.as_mut_ptr().cast(), 3, 0) as i64);
        show("whole", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("too big", send(c, vec![0u8; 4 << 20].as_ptr().cast(), 4 << 20, 0) as i64);
        close(c);
        show("end", recv(a, buf.as_mut_ptr().cast(), 32, 0) as i64);
        show("no more", send(a, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
    }
}

fn paths(folder: &str) {
    unsafe {
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        let (addr, len) = named(&path(folder, "one"));
        // Without its NUL, and with more than the path.
        show("without NUL", bind(s, ptr(&addr), len - 1));
        let (mut own, mut own_len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        getsockname(s, (&raw mut own).cast(), &mut own_len);
        println!("{}", own_len == len);
        show("again", bind(s, ptr(&addr), len));
        let t = socket(AF_UNIX, SOCK_STREAM, 0);
        show("with all the room", bind(t, ptr(&named(&path(folder, "two")).0), 110));
        show("in no folder", bind(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "no/x")).0), 110));
        create(folder, "file", b"");
        show("over a file", bind(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "file")).0), 110));
        show("connect to a file", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "file")).0), 110));
        show("to none", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "none")).0), 110));
        show("open", open(path(folder, "one").as_ptr(), O_RDWR));
        // By a link, after a new name, and from inside the folder.
        listen(s, 5);
        symlink(c"one".as_ptr(), path(folder, "link").as_ptr());
        show("by a link", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "link")).0), 110));
        rename(path(folder, "one").as_ptr(), path(folder, "moved").as_ptr());
        show("by a new name", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&named(&path(folder, "moved")).0), 110));
        chdir(CString::new(folder).unwrap().as_ptr());
        let umask_before = umask(0o077);
        println!("mask was {umask_before:o}");
        let r = socket(AF_UNIX, SOCK_STREAM, 0);
        let mut long = path(folder, &"n".repeat(200)).into_bytes_with_nul();
        long.truncate(110);
        let mut addr: sockaddr_un = zeroed();
        addr.sun_family = AF_UNIX as u16;
        addr.sun_path.fill(b'x' as c_char);
        show("longest, no NUL", bind(r, ptr(&addr), 110).min(0));
    }
}

fn abstract_names(_: &str) {
    unsafe {
        let (addr, len) = unnamed_by_path("one");
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        show("bind", bind(s, ptr(&addr), len));
        show("listen", listen(s, 3));
        let (mut own, mut own_len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        getsockname(s, (&raw mut own).cast(), &mut own_len);
        println!("{} {}", own_len == len, own.sun_path[0]);
        show("taken", bind(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len));
        show("a longer one is another", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len + 1));
        let c = socket(AF_UNIX, SOCK_STREAM, 0);
        show("connect", connect(c, ptr(&addr), len));
        let mut byte = 0u8;
        let a = accept(s, null_mut(), null_mut());
        send(c, b"x".as_ptr().cast(), 1, 0);
        show("arrives", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        close(s);
        show("gone with the socket", connect(socket(AF_UNIX, SOCK_STREAM, 0), ptr(&addr), len));
        // One that the kernel chooses.
        let auto = socket(AF_UNIX, SOCK_DGRAM, 0);
        show("chosen", bind(auto, ptr(&addr), 2));
        own_len = 110;
        getsockname(auto, (&raw mut own).cast(), &mut own_len);
        println!("{own_len} {}", own.sun_path[0]);
        show("to it", sendto(socket(AF_UNIX, SOCK_DGRAM, 0), b"x".as_ptr().cast(), 1, 0, ptr(&own), own_len) as i64);
        show("arrives", recv(auto, (&raw mut byte).cast(), 1, MSG_DONTWAIT) as i64);
    }
}

fn failures(folder: &str) {
    unsafe {
        let mut byte = 0u8;
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        let internet = loopback(9);
        show("an internet address", bind(s, ptr(&internet), LEN));
        show("connect to one", connect(s, ptr(&internet), LEN));
        show("not bound", listen(s, 1));
        show("not connected", recv(s, (&raw mut byte).cast(), 1, 0) as i64);
        show("send", send(s, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("shutdown", shutdown(s, SHUT_RD));
        show("accept", accept(s, null_mut(), null_mut()));
        let (mut addr, mut len): (sockaddr_un, socklen_t) = (zeroed(), 110);
        show("no peer", getpeername(s, (&raw mut addr).cast(), &mut len));
        println!("{:#x}", ready(s, POLLIN | POLLOUT));
        show("protocol", socket(AF_UNIX, SOCK_STREAM, 7));
        show("type", socket(AF_UNIX, SOCK_RDM, 0));
        let (addr, len) = named(&path(folder, "s"));
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(s, ptr(&addr), len);
        listen(s, 0);
        let mut made = 0;
        let mut last = 0;
        for _ in 0..10 {
            let c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
            last = connect(c, ptr(&addr), len);
            if last < 0 {
                break;
            }
            made += 1;
        }
        show("the queue is full", last);
        println!("after {made}");
        let c = socket(AF_UNIX, SOCK_STREAM, 0);
        listen(s, 5);
        show("connect", connect(c, ptr(&addr), len));
        show("again", connect(c, ptr(&addr), len));
        show("connected, listen", listen(c, 1));
        let mut value: c_int = -1;
        let mut four = 4;
        show("SO_TYPE", getsockopt(c, SOL_SOCKET, SO_TYPE, (&raw mut value).cast(), &mut four));
        println!("{value}");
        show("SO_DOMAIN", getsockopt(c, SOL_SOCKET, SO_DOMAIN, (&raw mut value).cast(), &mut four));
        println!("{value}");
        show("SO_PROTOCOL", getsockopt(c, SOL_SOCKET, SO_PROTOCOL, (&raw mut value).cast(), &mut four));
        println!("{value}");
        show("of TCP", getsockopt(c, IPPROTO_TCP, TCP_NODELAY, (&raw mut value).cast(), &mut four));
        show("set of TCP", setsockopt(c, IPPROTO_TCP, TCP_NODELAY, (&raw const value).cast(), 4));
        show("of IP", getsockopt(c, IPPROTO_IP, IP_TTL, (&raw mut value).cast(), &mut four));
    }
}

fn credentials(folder: &str) {
    unsafe {
        let (addr, len) = named(&path(folder, "s"));
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(s, ptr(&addr), len);
        listen(s, 5);
        let child = fork();
        if child == 0 {
            let c = socket(AF_UNIX, SOCK_STREAM, 0);
            connect(c, ptr(&addr), len);
            let mut byte = 0u8;
            recv(c, (&raw mut byte).cast(), 1, 0);
            _exit(0);
        }
        let a = accept(s, null_mut(), null_mut());
        let (mut who, mut room): (ucred, socklen_t) = (ucred { pid: -1, uid: 77, gid: 77 }, 12);
        show("SO_PEERCRED", getsockopt(a, SOL_SOCKET, SO_PEERCRED, (&raw mut who).cast(), &mut room));
        println!("{} {} {room}", who.uid, who.gid);
        println!("somebody else: {}", who.pid > 0 && who.pid != getpid());
        send(a, b"x".as_ptr().cast(), 1, 0);
        waitpid(child, null_mut(), 0);
        show("of a listener", getsockopt(s, SOL_SOCKET, SO_PEERCRED, (&raw mut who).cast(), &mut room));
        let lonely = socket(AF_UNIX, SOCK_STREAM, 0);
        show("of nobody", getsockopt(lonely, SOL_SOCKET, SO_PEERCRED, (&raw mut who).cast(), &mut room));
        println!("{} {} {}", who.pid, who.uid as i32, who.gid as i32);
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr());
        show("of a pair", getsockopt(ends[0], SOL_SOCKET, SO_PEERCRED, (&raw mut who).cast(), &mut room));
        println!("{}", who.pid == getpid());
    }
}

fn waiting(folder: &str) {
    unsafe {
        let (addr, len) = named(&path(folder, "s"));
        let s = socket(AF_UNIX, SOCK_STREAM, 0);
        bind(s, ptr(&addr), len);
        listen(s, 5);
        let waiter = std::thread::spawn(move || {
            let a = accept(s, null_mut(), null_mut());
            let mut buf = [0u8; 16];
            let n = recv(a, buf.as_mut_ptr().cast(), 16, 0);
            (a, n)
        });
        let c = socket(AF_UNIX, SOCK_STREAM, 0);
        show("connect", connect(c, ptr(&addr), len));
        show("send", send(c, b"hello".as_ptr().cast(), 5, 0) as i64);
        let (a, n) = waiter.join().unwrap();
        show("received", n as i64);
        let limit = timeval { tv_sec: 0, tv_usec: 50_000 };
        setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16);
        let mut byte = 0u8;
        show("a limit", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        show("of read", read(a, (&raw mut byte).cast(), 1) as i64);
        fcntl(c, F_SETFL, O_NONBLOCK);
        let block = [0u8; 4096];
        let mut total = 0;
        loop {
            let n = send(c, block.as_ptr().cast(), 4096, 0);
            if n < 0 {
                show("full", n as i64);
                break;
            }
            total += n;
        }
        println!("{}", total >= 4096);
        let mut fds = [pollfd { fd: c, events: POLLOUT, revents: 0 }];
        show("not writable", poll(fds.as_mut_ptr(), 1, 0));
        let mut left = total;
        let mut buf = vec![0u8; 65536];
        while left > 0 {
            left -= recv(a, buf.as_mut_ptr().cast(), buf.len(), 0);
        }
        println!("{:#x}", ready(c, POLLOUT));
        close(a);
        println!("{:#x}", ready(c, POLLIN | POLLOUT | POLLRDHUP));
    }
}
