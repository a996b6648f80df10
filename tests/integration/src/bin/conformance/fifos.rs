//! Fifos (fifo(7)): who waits for whom, and what an end sees when the other goes. The other end is a thread.

use super::prelude::*;
use std::sync::mpsc;

/// All of it.
pub fn all() {
    unsafe {
        assert_eq!(mkfifo(c"p".as_ptr(), 0o666), 0);
    }
    alone();
    meeting();
    data();
    wipe(".");
}

fn shut(fd: c_int) {
    unsafe {
        close(fd);
    }
}

/// What opens at once.
fn alone() {
    for (what, flags) in [
        ("r nonblock", O_RDONLY | O_NONBLOCK),
        ("w nonblock", O_WRONLY | O_NONBLOCK),
        ("rw", O_RDWR),
        ("rw nonblock", O_RDWR | O_NONBLOCK),
        ("r nonblock trunc", O_RDONLY | O_NONBLOCK | O_TRUNC),
        ("r nonblock creat", O_RDONLY | O_NONBLOCK | O_CREAT),
        ("r nonblock append", O_RDONLY | O_NONBLOCK | O_APPEND),
        ("r nonblock dir", O_RDONLY | O_NONBLOCK | O_DIRECTORY),
        ("creat excl", O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL),
        ("path", O_PATH),
    ] {
        line(format_args!("alone, {what}: {}", opened(unsafe { open(c"p".as_ptr(), flags, 0o600) })));
    }
    unsafe {
        let reader = open(c"p".as_ptr(), O_RDONLY | O_NONBLOCK);
        line(format_args!("read, nobody writes: {}", said(read(reader, [0u8; 4].as_mut_ptr().cast(), 4) as i64)));
        let writer = open(c"p".as_ptr(), O_WRONLY | O_NONBLOCK);
        line(format_args!("w nonblock, somebody reads: {}", said(writer.min(0))));
        line(format_args!("read, nothing there: {}", said(read(reader, [0u8; 4].as_mut_ptr().cast(), 4) as i64)));
        line(format_args!("write: {}", said(write(writer, c"abc".as_ptr().cast(), 3) as i64)));
        line(format_args!("stat: {}", look(c"p")));
        shut(writer);
        line(format_args!("read what is left: {}", said(read(reader, [0u8; 8].as_mut_ptr().cast(), 8) as i64)));
        line(format_args!("read at the end: {}", said(read(reader, [0u8; 8].as_mut_ptr().cast(), 8) as i64)));
        let writer = open(c"p".as_ptr(), O_WRONLY | O_NONBLOCK);
        shut(reader);
        line(format_args!("write, nobody reads: {}", said(write(writer, c"abc".as_ptr().cast(), 3) as i64)));
        line(format_args!("write nothing, nobody reads: {}", said(write(writer, c"abc".as_ptr().cast(), 0) as i64)));
        shut(writer);
        // What nobody reads goes with the last end.
        let both = open(c"p".as_ptr(), O_RDWR | O_NONBLOCK);
        write(both, c"lost".as_ptr().cast(), 4);
        shut(both);
        let both = open(c"p".as_ptr(), O_RDWR | O_NONBLOCK);
        line(format_args!(
            "what was left when all had closed: {}",
            said(read(both, [0u8; 8].as_mut_ptr().cast(), 8) as i64)
        ));
        line(format_args!("lseek: {}", said(lseek(both, 0, SEEK_CUR))));
        shut(both);
    }
}

/// An open that waits goes on when the other end comes.
fn meeting() {
    for (what, first, second) in [("reader", O_RDONLY, O_WRONLY), ("writer", O_WRONLY, O_RDONLY)] {
        let (tell, told) = mpsc::channel();
        let waiter = std::thread::spawn(move || unsafe {
            let fd = open(c"p".as_ptr(), first);
            tell.send(fd).unwrap();
            fd
        });
        unsafe {
            // It is there as soon as the other way does not find nobody.
            if first == O_RDONLY {
                let mut fd = open(c"p".as_ptr(), O_WRONLY | O_NONBLOCK);
                while fd < 0 && *__errno_location() == ENXIO {
                    fd = open(c"p".as_ptr(), O_WRONLY | O_NONBLOCK);
                }
                line(format_args!("a waiting {what} is met without waiting: {}", said(fd.min(0))));
                let theirs = told.recv().unwrap();
                line(format_args!("and goes on: {}", said(theirs.min(0))));
                line(format_args!(
                    "data passes: {} {}",
                    said(write(fd, c"hello".as_ptr().cast(), 5) as i64),
                    said(read(theirs, [0u8; 9].as_mut_ptr().cast(), 9) as i64)
                ));
                shut(fd);
                line(format_args!("and ends: {}", said(read(theirs, [0u8; 9].as_mut_ptr().cast(), 9) as i64)));
            } else {
                let fd = open(c"p".as_ptr(), second);
                let theirs = told.recv().unwrap();
                line(format_args!("a waiting {what} and its reader meet: {} {}", said(fd.min(0)), said(theirs.min(0))));
                line(format_args!(
                    "data passes: {} {}",
                    said(write(theirs, c"hello".as_ptr().cast(), 5) as i64),
                    said(read(fd, [0u8; 9].as_mut_ptr().cast(), 9) as i64)
                ));
                shut(fd);
                line(format_args!("nobody reads: {}", said(write(theirs, c"x".as_ptr().cast(), 1) as i64)));
            }
        }
        shut(waiter.join().unwrap());
    }
}

/// Writes that are never split, and those that are.
fn data() {
    unsafe {
        let both = open(c"p".as_ptr(), O_RDWR | O_NONBLOCK);
        let piece = vec![1u8; 4096];
        let mut written = 0;
        while let n @ 1.. = write(both, piece.as_ptr().cast(), 4096) {
            written += n;
        }
        line(format_args!("full after {written}: {}", super::error()));
        line(format_args!("one byte more: {}", said(write(both, piece.as_ptr().cast(), 1) as i64)));
        let mut buf = vec![0u8; 100_000];
        line(format_args!("one page out: {}", said(read(both, buf.as_mut_ptr().cast(), 4096) as i64)));
        line(format_args!("more than a page fits in part: {}", said(write(both, buf.as_ptr().cast(), 9000) as i64)));
        line(format_args!("all out: {}", said(read(both, buf.as_mut_ptr().cast(), 100_000) as i64)));
        let mut waiting: pollfd = zeroed();
        waiting.fd = both;
        waiting.events = POLLIN | POLLOUT;
        line(format_args!("poll: {} {:x}", poll(&mut waiting, 1, 0), waiting.revents));
        // The name may go, or be moved, while it is open.
        rename(c"p".as_ptr(), c"q".as_ptr());
        let other = open(c"q".as_ptr(), O_WRONLY | O_NONBLOCK);
        write(other, c"moved".as_ptr().cast(), 5);
        line(format_args!("by its new name: {}", said(read(both, buf.as_mut_ptr().cast(), 9) as i64)));
        unlink(c"q".as_ptr());
        write(other, c"gone".as_ptr().cast(), 4);
        line(format_args!("without a name: {}", said(read(both, buf.as_mut_ptr().cast(), 9) as i64)));
        mkfifo(c"q".as_ptr(), 0o600);
        line(format_args!(
            "another of that name is another: {}",
            said(open(c"q".as_ptr(), O_WRONLY | O_NONBLOCK).min(0))
        ));
        shut(both);
        shut(other);
    }
}
