//! Waiting: poll, select, epoll over descriptors of both kernels.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("poll_mixed", Processes, poll_mixed), ("select_bits", OneProcess, select_bits)];

fn poll_mixed(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let mut fds = [
            pollfd { fd: a, events: POLLIN, revents: 0 },
            pollfd { fd: ends[0], events: POLLIN, revents: 0 },
            pollfd { fd: c, events: POLLOUT, revents: 0 },
        ];
        let mut round = |what: &str, count: nfds_t, limit: c_int| {
            show(what, poll(fds.as_mut_ptr(), count, limit));
            println!("{:#x} {:#x}", fds[0].revents, fds[1].revents);
        };
        round("nothing", 2, 20);
        round("at once", 2, 0);
        write(ends[1], b"x".as_ptr().cast(), 1);
        round("host", 2, -1);
        send(c, b"x".as_ptr().cast(), 1, 0);
        round("both", 2, -1);
        let mut byte = 0u8;
        read(ends[0], (&raw mut byte).cast(), 1);
        round("rump", 2, -1);
        round("three", 3, -1);
        recv(a, (&raw mut byte).cast(), 1, 0);
        let child = fork();
        if child == 0 {
            usleep(20_000);
            write(ends[1], b"y".as_ptr().cast(), 1);
            _exit(0);
        }
        round("host later", 2, -1);
        waitpid(child, null_mut(), 0);
        read(ends[0], (&raw mut byte).cast(), 1);
        let child = fork();
        if child == 0 {
            usleep(20_000);
            send(c, b"y".as_ptr().cast(), 1, 0);
            _exit(0);
        }
        round("rump later", 2, -1);
        waitpid(child, null_mut(), 0);
        close(c);
        recv(a, (&raw mut byte).cast(), 1, 0);
        round("closed", 1, -1);
        close(a);
        round("invalid", 1, -1);
        show("sleep", poll(null_mut(), 0, 10));
    }
}

fn select_bits(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        let mut readable: fd_set = zeroed();
        FD_SET(a, &mut readable);
        FD_SET(ends[0], &mut readable);
        let mut writable: fd_set = zeroed();
        FD_SET(c, &mut writable);
        let top = [a, c, ends[0]].into_iter().max().unwrap() + 1;
        let mut limit = timeval { tv_sec: 5, tv_usec: 0 };
        show("writable", select(top, &mut readable, &mut writable, null_mut(), &mut limit));
        println!("{} {} {}", FD_ISSET(a, &readable), FD_ISSET(ends[0], &readable), FD_ISSET(c, &writable));
        FD_SET(a, &mut readable);
        let mut limit = timeval { tv_sec: 0, tv_usec: 10_000 };
        show("timeout", select(top, &mut readable, null_mut(), null_mut(), &mut limit));
        println!("{}", FD_ISSET(a, &readable));
        send(c, b"x".as_ptr().cast(), 1, 0);
        FD_SET(a, &mut readable);
        FD_SET(ends[0], &mut readable);
        show("readable", select(top, &mut readable, null_mut(), null_mut(), null_mut()));
        println!("{} {}", FD_ISSET(a, &readable), FD_ISSET(ends[0], &readable));
        close(a);
        FD_SET(a, &mut readable);
        show("closed", select(top, &mut readable, null_mut(), null_mut(), null_mut()));
    }
}
