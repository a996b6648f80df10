//! sendfile(2), splice(2), tee(2), vmsplice(2): between files, pipes and sockets, and between the kernels.

use super::super::prelude::*;
use super::{content, opened, put, take};

/// The family.
pub const TABLE: &[Row] = &[
    ("sendfile_to_file", OneProcess, sendfile_to_file),
    ("sendfile_to_pipes", OneProcess, sendfile_to_pipes),
    ("sendfile_to_socket", OneProcess, sendfile_to_socket),
    ("sendfile_errors", OneProcess, sendfile_errors),
    ("sendfile_full", OneProcess, sendfile_full),
    ("splice_file_to_pipe", OneProcess, splice_file_to_pipe),
    ("splice_pipe_to_file", OneProcess, splice_pipe_to_file),
    ("splice_pipes", OneProcess, splice_pipes),
    ("splice_sockets", OneProcess, splice_sockets),
    ("splice_errors", OneProcess, splice_errors),
    ("splice_loses_nothing", OneProcess, splice_loses_nothing),
    ("tee_keeps", OneProcess, tee_keeps),
    ("vmsplice", OneProcess, memory_into_pipes),
];

/// Two pipes: one of the folder's kernel (a fifo), one of the host.
fn pipes(folder: &str) -> [(&'static str, [c_int; 2]); 2] {
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0o600);
        let reader = opened(folder, "fifo", O_RDONLY | O_NONBLOCK);
        let writer = opened(folder, "fifo", O_WRONLY);
        fcntl(reader, F_SETFL, 0);
        let mut host = [0; 2];
        pipe(host.as_mut_ptr());
        [("fifo", [reader, writer]), ("pipe", host)]
    }
}

fn host_file(text: &[u8]) -> c_int {
    unsafe {
        let fd = memfd_create(c"scenario".as_ptr(), 0);
        put(fd, text);
        lseek(fd, 0, SEEK_SET);
        fd
    }
}

fn sendfile_to_file(folder: &str) {
    create(folder, "from", b"0123456789");
    let from = opened(folder, "from", O_RDONLY);
    let to = opened(folder, "to", O_RDWR | O_CREAT);
    let host = host_file(b"of the host");
    unsafe {
        show("within", sendfile(to, from, null_mut(), 4) as i64);
        let mut at = 8i64;
        show("with an offset", sendfile(to, from, &mut at, 10) as i64);
        println!("offset {at}, position {}", lseek(from, 0, SEEK_CUR));
        show("from the host", sendfile(to, host, null_mut(), 100) as i64);
        content("to", to);
        println!("host position {}", lseek(host, 0, SEEK_CUR));
        lseek(host, 0, SEEK_SET);
        let mut at = 2i64;
        show("to the host", sendfile(host, from, &mut at, 3) as i64);
        content("host", host);
        show("at the end", sendfile(to, from, &mut 10i64, 5) as i64);
        show("nothing", sendfile(to, from, null_mut(), 0) as i64);
    }
}

fn sendfile_to_pipes(folder: &str) {
    create(folder, "from", b"0123456789");
    for (what, [reader, writer]) in pipes(folder) {
        let from = opened(folder, "from", O_RDONLY);
        show(what, unsafe { sendfile(writer, from, null_mut(), 7) as i64 });
        take(what, reader, 100);
        show("from the host", unsafe { sendfile(writer, host_file(b"memory"), null_mut(), 100) as i64 });
        take(what, reader, 100);
    }
}

fn sendfile_to_socket(folder: &str) {
    let data: Vec<u8> = (0..50_000u32).map(|at| (at % 251) as u8).collect();
    create(folder, "from", &data);
    let from = opened(folder, "from", O_RDONLY);
    let (client, server) = connected();
    unsafe {
        let mut sent = 0;
        while sent < data.len() {
            let step = sendfile(client, from, null_mut(), data.len() - sent);
            if step <= 0 {
                show("sendfile", step as i64);
                break;
            }
            sent += step as usize;
            let mut got = vec![0u8; step as usize];
            let received = recv(server, got.as_mut_ptr().cast(), got.len(), MSG_WAITALL);
            let same = got[..] == data[sent - step as usize..sent];
            assert!(received == step && same, "{received} of {step}");
        }
        println!("{sent} sent");
        show("the end", sendfile(client, from, null_mut(), 10) as i64);
    }
}

/// A connected pair of TCP sockets of the folder's kernel.
fn connected() -> (c_int, c_int) {
    unsafe {
        let listener = socket(AF_INET, SOCK_STREAM, 0);
        let mut address: sockaddr_in = zeroed();
        address.sin_family = AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = size_of::<sockaddr_in>() as socklen_t;
        assert_eq!(bind(listener, (&raw const address).cast(), len), 0);
        assert_eq!(listen(listener, 1), 0);
        getsockname(listener, (&raw mut address).cast(), &mut len);
        let client = socket(AF_INET, SOCK_STREAM, 0);
        assert_eq!(connect(client, (&raw const address).cast(), len), 0);
        let server = accept(listener, null_mut(), null_mut());
        close(listener);
        (client, server)
    }
}

fn sendfile_errors(folder: &str) {
    create(folder, "from", b"0123456789");
    let (read_only, write_only) = (opened(folder, "from", O_RDONLY), opened(folder, "to", O_WRONLY | O_CREAT));
    let [(_, fifo), _] = pipes(folder);
    unsafe {
        let send = |what: &str, to, from| show(what, sendfile(to, from, null_mut(), 4) as i64);
        send("to one for reading", read_only, read_only);
        send("from one for writing", write_only, write_only);
        send("appending", opened(folder, "to", O_WRONLY | O_APPEND), read_only);
        send("from a directory", write_only, opened(folder, ".", O_RDONLY));
        send("closed source", write_only, 900);
        send("closed target", 900, read_only);
        let mut negative = -1i64;
        show("negative", sendfile(write_only, read_only, &mut negative, 4) as i64);
        close(fifo[0]);
        signal(SIGPIPE, SIG_IGN);
        send("to a pipe without a reader", fifo[1], read_only);
        send("bad offset", write_only, read_only);
        show("bad pointer", sendfile(write_only, read_only, null_mut::<i64>().wrapping_byte_add(8), 4) as i64);
    }
}

fn sendfile_full(folder: &str) {
    create(folder, "from", &vec![b'x'; 200_000]);
    for (what, [reader, writer]) in pipes(folder) {
        unsafe {
            fcntl(writer, F_SETFL, O_NONBLOCK);
            fcntl(reader, F_SETFL, O_NONBLOCK);
            let from = opened(folder, "from", O_RDONLY);
            let mut sent = 0;
            loop {
                let step = sendfile(writer, from, null_mut(), 200_000);
                if step < 0 {
                    show(what, step as i64);
                    break;
                }
                sent += step;
            }
            println!("position is what was sent: {}", lseek(from, 0, SEEK_CUR) == sent as i64);
            let (mut buf, mut got) = (vec![0u8; 200_000], 0);
            loop {
                let step = read(reader, buf.as_mut_ptr().cast(), buf.len());
                if step <= 0 {
                    break;
                }
                got += step;
            }
            println!("all came: {}", got == sent);
        }
    }
}

fn splice_file_to_pipe(folder: &str) {
    create(folder, "from", b"0123456789");
    for (what, [reader, writer]) in pipes(folder) {
        let from = opened(folder, "from", O_RDONLY);
        unsafe {
            show(what, splice(from, null_mut(), writer, null_mut(), 4, 0) as i64);
            let mut at = 6i64;
            show(what, splice(from, &mut at, writer, null_mut(), 100, 0) as i64);
            println!("offset {at}, position {}", lseek(from, 0, SEEK_CUR));
            show("at the end", splice(from, &mut at, writer, null_mut(), 100, 0) as i64);
            take(what, reader, 100);
            show("from the host", splice(host_file(b"memory"), null_mut(), writer, null_mut(), 100, 0) as i64);
            take(what, reader, 100);
        }
    }
}

fn splice_pipe_to_file(folder: &str) {
    let to = opened(folder, "to", O_RDWR | O_CREAT);
    for (what, [reader, writer]) in pipes(folder) {
        unsafe {
            put(writer, b"through the pipe");
            show(what, splice(reader, null_mut(), to, null_mut(), 7, 0) as i64);
            let mut at = 30i64;
            show(what, splice(reader, null_mut(), to, &mut at, 100, 0) as i64);
            println!("offset {at}, position {}", lseek(to, 0, SEEK_CUR));
            put(writer, b"for the host");
            let host = host_file(b"");
            show(what, splice(reader, null_mut(), host, null_mut(), 100, 0) as i64);
            content("host", host);
            close(writer);
            show("no writer", splice(reader, null_mut(), to, null_mut(), 100, 0) as i64);
        }
        content("to", to);
    }
}

fn splice_pipes(folder: &str) {
    let [(_, fifo), (_, host)] = pipes(folder);
    for (what, from, to) in [("fifo to pipe", fifo, host), ("pipe to fifo", host, fifo)] {
        unsafe {
            put(from[1], b"between pipes");
            show(what, splice(from[0], null_mut(), to[1], null_mut(), 7, 0) as i64);
            take(what, to[0], 100);
            take("rest", from[0], 100);
            show("empty", splice(from[0], null_mut(), to[1], null_mut(), 7, SPLICE_F_NONBLOCK) as i64);
        }
    }
    show("itself", unsafe { splice(fifo[0], null_mut(), fifo[1], null_mut(), 7, 0) as i64 });
}

fn splice_sockets(folder: &str) {
    let [(_, fifo), (_, host)] = pipes(folder);
    let (client, server) = connected();
    for (what, ends) in [("fifo", fifo), ("pipe", host)] {
        unsafe {
            put(ends[1], b"to the net");
            // Nothing of it may be lost on the way to a place that is none.
            let mut at = 2i64;
            show("at a place", splice(ends[0], null_mut(), client, &mut at, 3, 0) as i64);
            show("from a place", splice(client, &mut at, ends[1], null_mut(), 3, 0) as i64);
            show(what, splice(ends[0], null_mut(), client, null_mut(), 100, SPLICE_F_MOVE) as i64);
            take("from the net", server, 100);
            put(server, b"and back");
            let mut watched = pollfd { fd: client, events: POLLIN, revents: 0 };
            poll(&mut watched, 1, -1);
            show(what, splice(client, null_mut(), ends[1], null_mut(), 100, SPLICE_F_MORE) as i64);
            take("out of the pipe", ends[0], 100);
        }
    }
    unsafe {
        fcntl(client, F_SETFL, O_NONBLOCK);
        show("nothing there", splice(client, null_mut(), fifo[1], null_mut(), 100, 0) as i64);
        close(server);
        let mut watched = pollfd { fd: client, events: POLLIN, revents: 0 };
        poll(&mut watched, 1, -1);
        show("the end", splice(client, null_mut(), fifo[1], null_mut(), 100, 0) as i64);
    }
}

fn splice_errors(folder: &str) {
    create(folder, "file", b"content");
    let file = opened(folder, "file", O_RDWR);
    let [(_, fifo), _] = pipes(folder);
    unsafe {
        let mut at = 0i64;
        show("no pipe", splice(file, null_mut(), opened(folder, "to", O_WRONLY | O_CREAT), null_mut(), 5, 0) as i64);
        show("offset into a pipe", splice(fifo[0], &mut at, file, null_mut(), 5, 0) as i64);
        show("offset into a pipe to write", splice(file, null_mut(), fifo[1], &mut at, 5, 0) as i64);
        show("unknown flag", splice(file, null_mut(), fifo[1], null_mut(), 5, 0x100) as i64);
        show("the end to write", splice(fifo[1], null_mut(), file, null_mut(), 5, 0) as i64);
        show("the end to read", splice(file, null_mut(), fifo[0], null_mut(), 5, 0) as i64);
        put(fifo[1], b"x");
        show(
            "appending",
            splice(fifo[0], null_mut(), opened(folder, "file", O_WRONLY | O_APPEND), null_mut(), 5, 0) as i64,
        );
        show("directory", splice(opened(folder, ".", O_RDONLY), null_mut(), fifo[1], null_mut(), 5, 0) as i64);
        show("closed", splice(900, null_mut(), fifo[1], null_mut(), 5, 0) as i64);
        show("nothing", splice(file, null_mut(), fifo[1], null_mut(), 0, 0) as i64);
    }
}

fn splice_loses_nothing(folder: &str) {
    let [(_, fifo), (_, host)] = pipes(folder);
    for (what, from, to) in [("fifo to pipe", fifo, host), ("pipe to fifo", host, fifo)] {
        unsafe {
            for end in from.iter().chain(&to) {
                fcntl(*end, F_SETFL, O_NONBLOCK);
            }
            // The target is nearly full; all that was put into the source must come out of the two.
            let filling = put(to[1], &vec![b'f'; 60_000]);
            let given = put(from[1], &vec![b'g'; 30_000]);
            while splice(from[0], null_mut(), to[1], null_mut(), 30_000, SPLICE_F_NONBLOCK) > 0 {}
            let (mut left, mut counts) = (vec![0u8; 200_000], [0i64; 2]);
            for (end, count) in [to[0], from[0]].into_iter().zip(&mut counts) {
                loop {
                    let got = read(end, left.as_mut_ptr().cast(), left.len());
                    if got <= 0 {
                        break;
                    }
                    *count += left[..got as usize].iter().map(|byte| i64::from(*byte == b'g')).sum::<i64>();
                }
            }
            println!("{what}: {filling} {given}, all there: {}", counts.iter().sum::<i64>() == given);
            println!("some moved: {}", counts[0] > 0);
        }
    }
}

fn tee_keeps(folder: &str) {
    let [(_, fifo), (_, host)] = pipes(folder);
    for (what, from, to) in [("fifo to pipe", fifo, host), ("pipe to fifo", host, fifo)] {
        unsafe {
            put(from[1], b"seen twice");
            show(what, tee(from[0], to[1], 4, 0) as i64);
            show(what, tee(from[0], to[1], 100, 0) as i64);
            take("target", to[0], 100);
            take("source", from[0], 100);
            show("empty", tee(from[0], to[1], 100, SPLICE_F_NONBLOCK) as i64);
        }
    }
    unsafe {
        create(folder, "file", b"content");
        show("itself", tee(fifo[0], fifo[1], 5, 0) as i64);
        show("no pipe", tee(opened(folder, "file", O_RDONLY), fifo[1], 5, 0) as i64);
    }
}

fn memory_into_pipes(folder: &str) {
    for (what, [reader, writer]) in pipes(folder) {
        let mut text = *b"from memory";
        let vector = iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        unsafe {
            show(what, vmsplice(writer, &vector, 1, 0) as i64);
            take(what, reader, 4);
            show("back", vmsplice(reader, &vector, 1, 0) as i64);
            println!("{:?}", String::from_utf8_lossy(&text));
            show("empty", vmsplice(reader, &vector, 1, SPLICE_F_NONBLOCK) as i64);
        }
    }
    let file = create(folder, "file", b"content");
    let fd = unsafe { open(file.as_ptr(), O_RDWR) };
    for (what, iov_len) in [("no pipe", 4), ("nothing", 0)] {
        let mut text = *b"text";
        let vector = iovec { iov_base: text.as_mut_ptr().cast(), iov_len };
        show(what, unsafe { vmsplice(fd, &vector, 1, 0) as i64 });
    }
}
