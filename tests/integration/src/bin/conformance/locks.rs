//! flock(2) and the record locks of fcntl(2): who is in whose way, what ends a lock, and deadlocks. Other processes are children.

use super::prelude::*;

/// All of it.
pub fn all() {
    Thing::File.renew("t");
    whole();
    records();
    ends();
    open_files();
    deadlock();
    wipe(".");
}

/// Runs something in a child; what it says comes back over a pipe of the host.
fn child(body: impl FnOnce() -> String) -> String {
    unsafe {
        let mut ends = [0; 2];
        assert_eq!(pipe(ends.as_mut_ptr()), 0);
        let pid = fork();
        if pid == 0 {
            let text = body();
            write(ends[1], text.as_ptr().cast(), text.len());
            _exit(0);
        }
        close(ends[1]);
        let mut text = Vec::new();
        let mut piece = [0u8; 512];
        while let n @ 1.. = read(ends[0], piece.as_mut_ptr().cast(), piece.len()) {
            text.extend_from_slice(&piece[..n as usize]);
        }
        close(ends[0]);
        waitpid(pid, null_mut(), 0);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn open_file() -> c_int {
    unsafe { open(c"t".as_ptr(), O_RDWR) }
}

fn region(kind: c_int, start: i64, len: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: len, l_pid: 0 }
}

fn set(fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) -> String {
    said(unsafe { fcntl(fd, command, &region(kind, start, len)) })
}

/// What is in the way; whose, as far as it can be told.
fn asked(fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) -> String {
    let mut wanted = region(kind, start, len);
    let answer = unsafe { fcntl(fd, command, &mut wanted) };
    if answer < 0 {
        return super::error();
    }
    let whose = match wanted.l_pid {
        0 => "nobody",
        -1 => "an open file",
        pid if pid == unsafe { getppid() } => "the parent",
        _ => "a process",
    };
    format!("{} {} {} {} of {whose}", wanted.l_type, wanted.l_whence, wanted.l_start, wanted.l_len)
}

fn whole() {
    unsafe {
        let (one, two) = (open_file(), open_file());
        for (first, second) in [(LOCK_SH, LOCK_SH), (LOCK_SH, LOCK_EX), (LOCK_EX, LOCK_SH), (LOCK_EX, LOCK_EX)] {
            line(format_args!(
                "flock {first} then {second}: {} {}",
                said(flock(one, first | LOCK_NB)),
                said(flock(two, second | LOCK_NB))
            ));
            flock(one, LOCK_UN);
            flock(two, LOCK_UN);
        }
        line(format_args!(
            "flock odd: {} {} {}",
            said(flock(one, 0)),
            said(flock(one, LOCK_SH | LOCK_EX)),
            said(flock(one, 64))
        ));
        line(format_args!("unlock what is free: {}", said(flock(one, LOCK_UN))));
        let copy = dup(one);
        line(format_args!(
            "a duplicate shares it: {} {}",
            said(flock(one, LOCK_EX)),
            said(flock(copy, LOCK_EX | LOCK_NB))
        ));
        line(format_args!(
            "a child shares it: {}",
            child(|| format!("{} {}", said(flock(one, LOCK_EX | LOCK_NB)), said(flock(two, LOCK_SH | LOCK_NB))))
        ));
        close(one);
        line(format_args!("one of two closed: {}", said(flock(two, LOCK_SH | LOCK_NB))));
        close(copy);
        line(format_args!("both closed: {}", said(flock(two, LOCK_EX | LOCK_NB))));
        line(format_args!("a child's end does not end it: {} {}", child(|| said(close(two))), {
            let one = open_file();
            let refused = said(flock(one, LOCK_EX | LOCK_NB));
            close(one);
            refused
        }));
        line(format_args!(
            "to shared and back: {} {}",
            said(flock(two, LOCK_SH | LOCK_NB)),
            said(flock(two, LOCK_EX | LOCK_NB))
        ));
        let reader = open(c"t".as_ptr(), O_RDONLY);
        flock(two, LOCK_UN);
        line(format_args!("exclusive on what is open for reading: {}", said(flock(reader, LOCK_EX | LOCK_NB))));
        line(format_args!("records do not see it: {}", set(two, F_SETLK, F_WRLCK, 0, 0)));
        close(two);
        close(reader);
        let dir = open(c".".as_ptr(), O_RDONLY);
        line(format_args!("a directory: {}", said(flock(dir, LOCK_EX | LOCK_NB))));
        close(dir);
    }
}

fn records() {
    let fd = open_file();
    let mine: &[(c_int, i64, i64)] = &[(F_WRLCK, 10, 10), (F_RDLCK, 30, 10), (F_WRLCK, 50, 0), (F_RDLCK, 5, 5)];
    for (kind, start, len) in mine {
        line(format_args!("set {kind} {start}+{len}: {}", set(fd, F_SETLK, *kind, *start, *len)));
    }
    line(format_args!("own are not in the way: {}", asked(fd, F_GETLK, F_WRLCK, 0, 0)));
    for (kind, start, len) in [
        (F_RDLCK, 0, 5),
        (F_WRLCK, 0, 5),
        (F_RDLCK, 5, 5),
        (F_WRLCK, 5, 5),
        (F_RDLCK, 0, 11),
        (F_WRLCK, 19, 1),
        (F_WRLCK, 20, 10),
        (F_RDLCK, 30, 1),
        (F_WRLCK, 39, 1),
        (F_RDLCK, 40, 10),
        (F_RDLCK, 1000, 1),
        (F_RDLCK, 0, 0),
        (F_WRLCK, 45, -5),
        (F_UNLCK, 0, 0),
    ] {
        let told = child(|| {
            let own = open_file();
            let told =
                format!("{}, set {}", asked(own, F_GETLK, kind, start, len), set(own, F_SETLK, kind, start, len));
            // Through the parent's descriptor it is the child's all the same.
            format!("{told}, {}", set(fd, F_SETLK, kind, start, len))
        });
        line(format_args!("another wants {kind} {start}+{len}: {told}"));
    }
    for (command, kind, start, len) in [
        (F_SETLK, 7, 0, 0),
        (F_SETLK, F_WRLCK, -1, 0),
        (F_SETLK, F_WRLCK, 0, -1),
        (F_SETLK, F_WRLCK, 5, -6),
        (F_SETLK, F_WRLCK, i64::MAX, 1),
        (F_SETLK, F_WRLCK, i64::MAX, 2),
        (F_SETLK, F_WRLCK, 1, i64::MAX),
        (F_GETLK, F_UNLCK, 0, 0),
        (F_GETLK, 9, 0, 0),
    ] {
        line(format_args!("odd {command} {kind} {start}+{len}: {}", set(fd, command, kind, start, len)));
    }
    unsafe {
        for (whence, start) in [(SEEK_CUR, 0), (SEEK_CUR, -1), (SEEK_END, 0), (SEEK_END, -5), (SEEK_END, -6), (7, 0)] {
            lseek(fd, 3, SEEK_SET);
            set(fd, F_SETLK, F_UNLCK, 0, 0);
            let wanted =
                libc::flock { l_type: F_WRLCK as i16, l_whence: whence as i16, l_start: start, l_len: 1, l_pid: 0 };
            let answer = said(fcntl(fd, F_SETLK, &wanted));
            let seen = child(|| asked(open_file(), F_GETLK, F_WRLCK, 0, 0));
            line(format_args!("from {whence} {start}: {answer}, seen as {seen}"));
        }
        // The middle of a lock is given up, or turned into another kind.
        set(fd, F_SETLK, F_UNLCK, 0, 0);
        set(fd, F_SETLK, F_WRLCK, 0, 100);
        set(fd, F_SETLK, F_UNLCK, 40, 20);
        set(fd, F_SETLK, F_RDLCK, 70, 10);
        let seen = child(|| {
            let own = open_file();
            [(0, 0), (40, 20), (45, 0), (70, 10), (75, 1)]
                .map(|(start, len)| asked(own, F_GETLK, F_WRLCK, start, len))
                .join(", ")
        });
        line(format_args!("cut: {seen}"));
        let (reader, writer) = (open(c"t".as_ptr(), O_RDONLY), open(c"t".as_ptr(), O_WRONLY));
        line(format_args!(
            "a reader's: {} {}",
            set(reader, F_SETLK, F_RDLCK, 0, 1),
            set(reader, F_SETLK, F_WRLCK, 0, 1)
        ));
        line(format_args!(
            "a writer's: {} {}",
            set(writer, F_SETLK, F_RDLCK, 0, 1),
            set(writer, F_SETLK, F_WRLCK, 0, 1)
        ));
        close(reader);
        close(writer);
        close(fd);
    }
}

/// What ends record locks: closing any descriptor of the file, and the end of the process.
fn ends() {
    unsafe {
        let (one, two) = (open_file(), open_file());
        let free = || child(|| set(open_file(), F_SETLK, F_WRLCK, 0, 1));
        set(one, F_SETLK, F_WRLCK, 0, 0);
        line(format_args!("held: {}", free()));
        line(format_args!("a child's close does not end it: {} {}", child(|| said(close(one))), free()));
        close(two);
        line(format_args!("another descriptor closed: {}", free()));
        set(one, F_SETLK, F_WRLCK, 0, 0);
        close(dup(one));
        line(format_args!("a duplicate closed: {}", free()));
        set(one, F_SETLK, F_WRLCK, 0, 0);
        close(open(c"t".as_ptr(), O_PATH));
        line(format_args!("a place closed: {}", free()));
        Thing::File.make("other");
        set(one, F_SETLK, F_WRLCK, 0, 0);
        close(open(c"other".as_ptr(), O_RDWR));
        line(format_args!("another file closed: {}", free()));
        let other = open(c"other".as_ptr(), O_RDWR);
        dup2(other, one);
        line(format_args!("replaced by dup2: {}", free()));
        close(other);
        close(one);
        line(format_args!("a child that ends: {} {}", child(|| set(open_file(), F_SETLK, F_WRLCK, 0, 0)), free()));
        line(format_args!("a child does not inherit: {}", {
            let one = open_file();
            set(one, F_SETLK, F_WRLCK, 0, 0);
            let told = child(|| set(one, F_SETLK, F_WRLCK, 0, 0));
            close(one);
            told
        }));
        unlink(c"other".as_ptr());
    }
}

/// Locks of open files (`F_OFD_SETLK`).
fn open_files() {
    unsafe {
        let (one, two) = (open_file(), open_file());
        line(format_args!(
            "of open files: {} {}",
            set(one, F_OFD_SETLK, F_WRLCK, 0, 10),
            set(two, F_OFD_SETLK, F_RDLCK, 5, 10)
        ));
        line(format_args!("seen: {}", asked(two, F_OFD_GETLK, F_RDLCK, 5, 10)));
        line(format_args!(
            "against the process's own: {} {}",
            set(one, F_SETLK, F_WRLCK, 0, 10),
            asked(one, F_GETLK, F_WRLCK, 0, 1)
        ));
        let mut with_pid = region(F_WRLCK, 0, 1);
        with_pid.l_pid = 5;
        line(format_args!("with a pid: {}", said(fcntl(one, F_OFD_SETLK, &with_pid))));
        let copy = dup(one);
        close(one);
        line(format_args!("one of two closed: {}", set(two, F_OFD_SETLK, F_WRLCK, 0, 1)));
        close(copy);
        line(format_args!("both closed: {}", set(two, F_OFD_SETLK, F_WRLCK, 0, 1)));
        close(two);
    }
}

/// Two processes that would wait for each other: the one that comes second is told.
fn deadlock() {
    unsafe {
        let fd = open_file();
        set(fd, F_SETLK, F_WRLCK, 0, 1);
        let mut ready = [0; 2];
        assert_eq!(pipe(ready.as_mut_ptr()), 0);
        let pid = fork();
        if pid == 0 {
            set(fd, F_SETLK, F_WRLCK, 1, 1);
            write(ready[1], c"x".as_ptr().cast(), 1);
            let answer = fcntl(fd, F_SETLKW, &region(F_WRLCK, 0, 1));
            _exit(if answer == 0 { 7 } else { 8 });
        }
        let mut byte = 0u8;
        read(ready[0], (&raw mut byte).cast(), 1);
        // Whether the child waits already cannot be seen; the one that comes second is refused, and it ends the same.
        let answer = fcntl(fd, F_SETLKW, &region(F_WRLCK, 1, 1));
        let refused = answer < 0 && *__errno_location() == EDEADLK;
        set(fd, F_SETLK, F_UNLCK, 0, 0);
        let mut status = 0;
        waitpid(pid, &mut status, 0);
        let theirs = WEXITSTATUS(status);
        line(format_args!("one of the two is told of the deadlock: {}", refused != (theirs == 8)));
        close(ready[0]);
        close(ready[1]);
        // A waiter goes on when the holder lets go, or ends.
        for what in ["unlock", "close", "end"] {
            set(fd, F_SETLK, F_UNLCK, 0, 0);
            let mut ready = [0; 2];
            assert_eq!(pipe(ready.as_mut_ptr()), 0);
            let holder = fork();
            if holder == 0 {
                let own = open_file();
                set(own, F_SETLK, F_WRLCK, 0, 1);
                write(ready[1], c"x".as_ptr().cast(), 1);
                let mut wait = 0u8;
                // Until somebody is in the way of nobody: the parent has begun to wait, or is about to.
                sched_yield();
                match what {
                    "unlock" => drop(set(own, F_SETLK, F_UNLCK, 0, 1)),
                    "close" => drop(close(own)),
                    _ => {}
                }
                let _ = &mut wait;
                _exit(0);
            }
            read(ready[0], (&raw mut byte).cast(), 1);
            line(format_args!("a waiter goes on at {what}: {}", set(fd, F_SETLKW, F_WRLCK, 0, 1)));
            waitpid(holder, null_mut(), 0);
            close(ready[0]);
            close(ready[1]);
        }
        close(fd);
    }
}
