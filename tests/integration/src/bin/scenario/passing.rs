//! Descriptors in messages: SCM_RIGHTS over local sockets, between threads, forks and programs.

use super::forking::{ended, fresh, print_file, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("pass_to_oneself", OneProcess, pass_to_oneself),
    ("pass_to_a_child", Processes, pass_to_a_child),
    ("pass_to_the_parent", Processes, pass_to_the_parent),
    ("pass_several", Processes, pass_several),
    ("pass_and_close", Processes, pass_and_close),
    ("pass_and_never_receive", Processes, pass_and_never_receive),
    ("pass_with_no_room", OneProcess, pass_with_no_room),
    ("pass_close_on_exec", OneProcess, pass_close_on_exec),
    ("pass_by_sendmmsg", OneProcess, pass_by_sendmmsg),
    ("pass_peeked", OneProcess, pass_peeked),
    ("pass_a_listener", Processes, pass_a_listener),
    ("pass_errors", OneProcess, pass_errors),
];

/// Room for eight descriptors, aligned as a header of a control message asks.
type Control = [u64; 8];

/// Sends bytes and descriptors.
unsafe fn pass(to: c_int, text: &[u8], fds: &[c_int]) -> isize {
    unsafe {
        let mut control: Control = [0; 8];
        let mut vector = iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        fill(&mut message, &mut control, fds);
        sendmsg(to, &message, 0)
    }
}

unsafe fn fill(message: &mut msghdr, control: &mut Control, fds: &[c_int]) {
    unsafe {
        let bytes = size_of_val(fds) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CMSG_SPACE(bytes) as usize;
        let header = CMSG_FIRSTHDR(message);
        (*header).cmsg_level = SOL_SOCKET;
        (*header).cmsg_type = SCM_RIGHTS;
        (*header).cmsg_len = CMSG_LEN(bytes) as usize;
        std::ptr::copy_nonoverlapping(fds.as_ptr(), CMSG_DATA(header).cast(), fds.len());
    }
}

/// Receives bytes and descriptors, with room for so many of them.
unsafe fn take(from: c_int, room: usize, flags: c_int) -> (isize, Vec<c_int>, c_int) {
    unsafe {
        let mut control: Control = [0; 8];
        let mut text = [0u8; 64];
        let mut vector = iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 64 };
        let mut message: msghdr = zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = if room == 0 { 0 } else { CMSG_SPACE(4 * room as u32) as usize };
        let got = recvmsg(from, &mut message, flags);
        let mut fds = Vec::new();
        let header = CMSG_FIRSTHDR(&message);
        if got >= 0 && !header.is_null() && (*header).cmsg_type == SCM_RIGHTS {
            let count = ((*header).cmsg_len - CMSG_LEN(0) as usize) / 4;
            fds.extend((0..count).map(|at| CMSG_DATA(header).cast::<c_int>().add(at).read()));
        }
        (got, fds, message.msg_flags & MSG_CTRUNC)
    }
}

unsafe fn pair() -> (c_int, c_int) {
    let mut pair = [0; 2];
    assert_eq!(unsafe { socketpair(AF_UNIX, SOCK_STREAM, 0, pair.as_mut_ptr()) }, 0);
    (pair[0], pair[1])
}

fn pass_to_oneself(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        put(fd, b"before ");
        show("sent", pass(one, b"x", &[fd]) as i64);
        let (got, fds, cut) = take(other, 4, 0);
        println!("{got} {} {cut}", fds.len());
        println!("lowest: {}", fds[0] == fd + 1);
        put(fds[0], b"by the copy");
        show("shared offset", lseek(fd, 0, SEEK_CUR));
        print_file(fds[0]);
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        pass(one, b"x", &[null]);
        let (_, fds, _) = take(other, 4, 0);
        let mut st: stat = zeroed();
        fstat(fds[0], &mut st);
        println!("a device: {}", st.st_mode & S_IFMT == S_IFCHR);
    }
}

fn pass_to_a_child(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let child = fork();
        if child == 0 {
            close(one);
            let (_, fds, _) = take(other, 4, 0);
            _exit(i32::from(!put(fds[0], b"from the child")));
        }
        let fd = fresh(folder, "f");
        pass(one, b"x", &[fd]);
        ended("child", child);
        print_file(fd);
    }
}

fn pass_to_the_parent(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let child = fork();
        if child == 0 {
            let fd = fresh(folder, "f");
            put(fd, b"made by the child");
            pass(one, b"x", &[fd]);
            _exit(0);
        }
        ended("child", child);
        let (_, fds, _) = take(other, 4, 0);
        print_file(fds[0]);
        println!("mine now: {}", put(fds[0], b"!"));
    }
}

fn pass_several(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let null = open(c"/dev/zero".as_ptr(), O_RDWR);
        let child = fork();
        if child == 0 {
            let (f, g) = (fresh(folder, "f"), fresh(folder, "g"));
            put(f, b"f");
            put(g, b"g");
            pass(one, b"abc", &[f, null, g, f]);
            _exit(0);
        }
        let (got, fds, _) = take(other, 8, 0);
        println!("{got} {}", fds.len());
        for fd in fds {
            let mut byte = 0u8;
            println!("{} {byte}", pread(fd, (&raw mut byte).cast(), 1, 0));
        }
        ended("child", child);
    }
}

fn pass_and_close(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let writer = open(name.as_ptr(), O_WRONLY);
        pass(one, b"x", &[writer]);
        close(writer);
        let mut byte = 0u8;
        show("in flight it lives", read(reader, (&raw mut byte).cast(), 1) as i64);
        let (_, fds, _) = take(other, 1, 0);
        println!("writes: {}", put(fds[0], b"y"));
        show("reads", read(reader, (&raw mut byte).cast(), 1) as i64);
        close(fds[0]);
        show("end", read(reader, (&raw mut byte).cast(), 1) as i64);
    }
}

fn pass_and_never_receive(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let reader = open(name.as_ptr(), O_RDONLY | O_NONBLOCK);
        let child = fork();
        if child == 0 {
            let writer = open(name.as_ptr(), O_WRONLY);
            pass(one, b"x", &[writer]);
            _exit(0);
        }
        ended("child", child);
        let mut byte = 0u8;
        let (got, fds, _) = take(other, 1, 0);
        println!("{got} {}", fds.len());
        println!("writes: {}", put(fds[0], b"y"));
        show("reads", read(reader, (&raw mut byte).cast(), 1) as i64);
    }
}

fn pass_with_no_room(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        pass(one, b"x", &[fd, fd]);
        let (got, fds, cut) = take(other, 0, 0);
        println!("{got} {} {}", fds.len(), cut != 0);
        pass(one, b"x", &[fd, fd, fd]);
        let (got, fds, cut) = take(other, 1, 0);
        // One number fits, or two where the padding holds one more.
        println!("{got} {} {}", fds.len(), cut != 0);
        println!("good: {}", fds.iter().all(|fd| put(*fd, b".")));
        pass(one, b"x", &[fd]);
        let mut byte = 0u8;
        show("by read", read(other, (&raw mut byte).cast(), 1) as i64);
        println!("nothing stays open: {}", dup(fd) == fds.iter().copied().max().unwrap_or(0) + 1);
    }
}

fn pass_close_on_exec(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        pass(one, b"x", &[fd]);
        let (_, fds, _) = take(other, 1, MSG_CMSG_CLOEXEC);
        show("with", fcntl(fds[0], F_GETFD));
        pass(one, b"x", &[fds[0]]);
        let (_, fds, _) = take(other, 1, 0);
        show("without", fcntl(fds[0], F_GETFD));
    }
}

fn pass_by_sendmmsg(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        let mut controls: [Control; 2] = [[0; 8]; 2];
        let mut vectors = [0, 1].map(|_| iovec { iov_base: c"m".as_ptr().cast_mut().cast(), iov_len: 1 });
        let mut messages: [mmsghdr; 2] = zeroed();
        for at in 0..2 {
            (messages[at].msg_hdr.msg_iov, messages[at].msg_hdr.msg_iovlen) = (&mut vectors[at], 1);
            fill(&mut messages[at].msg_hdr, &mut controls[at], &[fd]);
        }
        show("sendmmsg", sendmmsg(one, messages.as_mut_ptr(), 2, 0));
        for _ in 0..2 {
            let (got, fds, _) = take(other, 2, 0);
            println!("{got} {} {}", fds.len(), put(fds[0], b"."));
        }
        show("sendmmsg", sendmmsg(one, messages.as_mut_ptr(), 2, 0));
        let mut bytes = [0u8; 2];
        let mut into = [0, 1].map(|at| iovec { iov_base: bytes.as_mut_ptr().wrapping_add(at).cast(), iov_len: 1 });
        for at in 0..2 {
            messages[at].msg_hdr.msg_iov = &mut into[at];
            messages[at].msg_hdr.msg_controllen = size_of::<Control>();
        }
        show("recvmmsg", recvmmsg(other, messages.as_mut_ptr(), 2, 0, null_mut()));
        for message in &messages {
            let header = CMSG_FIRSTHDR(&message.msg_hdr);
            println!("{}", put(CMSG_DATA(header).cast::<c_int>().read(), b"!"));
        }
        print_file(fd);
    }
}

fn pass_peeked(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        pass(one, b"x", &[fd]);
        let (got, first, _) = take(other, 1, MSG_PEEK);
        println!("{got} {}", put(first[0], b"peeked "));
        let (got, second, _) = take(other, 1, 0);
        println!("{got} {}", put(second[0], b"taken"));
        println!("two numbers: {}", first != second);
        print_file(fd);
    }
}

fn pass_a_listener(folder: &str) {
    unsafe {
        let _ = folder;
        let (one, other) = pair();
        let child = fork();
        if child == 0 {
            let (_, fds, _) = take(other, 1, 0);
            let a = accept(fds[0], null_mut(), null_mut());
            let mut bytes = [0u8; 8];
            let got = recv(a, bytes.as_mut_ptr().cast(), 8, 0);
            send(a, bytes.as_ptr().cast(), got as usize, 0);
            _exit(0);
        }
        let (s, addr) = listener();
        pass(one, b"x", &[s]);
        close(s);
        let c = socket(AF_INET, SOCK_STREAM, 0);
        show("connect", connect(c, (&raw const addr).cast(), LEN));
        put(c, b"echo");
        let mut bytes = [0u8; 8];
        show("echo", recv(c, bytes.as_mut_ptr().cast(), 8, 0) as i64);
        ended("child", child);
    }
}

fn pass_errors(folder: &str) {
    unsafe {
        let (one, other) = pair();
        let fd = fresh(folder, "f");
        show("closed", pass(one, b"x", &[99]) as i64);
        show("negative", pass(one, b"x", &[-1]) as i64);
        show("one of two closed", pass(one, b"x", &[fd, 99]) as i64);
        show("nothing was sent", recv(other, null_mut(), 0, MSG_DONTWAIT | MSG_PEEK) as i64);
        show("over TCP", {
            let (c, _a) = connected();
            pass(c, b"x", &[fd]).min(0) as i64
        });
        close(other);
        signal(SIGPIPE, SIG_IGN);
        show("to nobody", pass(one, b"x", &[fd]) as i64);
        println!("still mine: {}", put(fd, b"x"));
    }
}
