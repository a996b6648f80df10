//! flock(2) and record locks of processes and of open files.

use super::super::prelude::*;
use super::opened;

/// The family.
pub const TABLE: &[Row] = &[
    ("flock_modes", OneProcess, flock_modes),
    ("flock_forked", Processes, flock_forked),
    ("record_locks", Processes, record_locks),
    ("record_lock_arguments", OneProcess, record_lock_arguments),
    ("record_locks_go_with_any_close", Processes, any_close),
    ("record_lock_waits", Processes, waits),
    ("record_lock_deadlock", Processes, deadlock),
    ("record_lock_crowd", Processes, crowd),
    ("ofd_locks", OneProcess, ofd_locks),
    ("ofd_locks_live_with_the_open_file", Processes, ofd_life),
];

fn flock_modes(folder: &str) {
    create(folder, "file", b"");
    let (one, two) = (opened(folder, "file", O_RDONLY), opened(folder, "file", O_RDONLY));
    for (what, fd, how) in [
        ("shared", one, LOCK_SH),
        ("shared too", two, LOCK_SH),
        ("exclusive", one, LOCK_EX | LOCK_NB),
        ("unlock", two, LOCK_UN),
        ("exclusive now", one, LOCK_EX | LOCK_NB),
        ("shared meets it", two, LOCK_SH | LOCK_NB),
        ("downgrade", one, LOCK_SH),
        ("shared", two, LOCK_SH | LOCK_NB),
        ("unknown", one, 77),
    ] {
        show(what, unsafe { flock(fd, how) });
    }
    unsafe {
        let third = dup(one);
        show("unlock by a duplicate", flock(third, LOCK_UN));
        show("exclusive", flock(two, LOCK_EX | LOCK_NB));
        close(two);
        show("after its close", flock(one, LOCK_EX | LOCK_NB));
        show("directory", flock(opened(folder, ".", O_RDONLY), LOCK_EX));
    }
}

/// Runs `body` in a child and returns its exit status.
fn in_child(body: impl FnOnce() -> c_int) -> c_int {
    unsafe {
        let child = fork();
        if child == 0 {
            _exit(body());
        }
        let mut status = 0;
        waitpid(child, &mut status, 0);
        WEXITSTATUS(status)
    }
}

fn flock_forked(folder: &str) {
    create(folder, "file", b"");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        show("lock", flock(fd, LOCK_EX));
        let other = in_child(|| flock(opened(folder, "file", O_RDWR), LOCK_EX | LOCK_NB) + 10);
        println!("another open file in a child: {other}");
        println!("the same open file in a child: {}", in_child(|| flock(fd, LOCK_EX | LOCK_NB) + 10));
        show("the child's unlock", in_child(|| flock(fd, LOCK_UN)));
        show("is ours", flock(opened(folder, "file", O_RDWR), LOCK_EX | LOCK_NB));
    }
}

fn region(kind: c_int, whence: c_int, start: i64, len: i64) -> flock {
    let mut lock: flock = unsafe { zeroed() };
    (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) = (kind as i16, whence as i16, start, len);
    lock
}

fn set(fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) -> c_int {
    unsafe { fcntl(fd, command, &region(kind, SEEK_SET, start, len)) }
}

fn asked(what: &str, fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) {
    let mut lock = region(kind, SEEK_SET, start, len);
    let done = unsafe { fcntl(fd, command, &mut lock) };
    show(what, done);
    let owner = match lock.l_pid {
        pid if pid == unsafe { getpid() } => "myself",
        pid if pid == unsafe { getppid() } => "the parent",
        ..0 => "an open file",
        0 => "nobody",
        _ => "another",
    };
    println!("  {} {} {} {} {owner}", lock.l_type, lock.l_whence, lock.l_start, lock.l_len);
}

fn record_locks(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    show("write lock", set(fd, F_SETLK, F_WRLCK, 0, 10));
    show("read lock inside", set(fd, F_SETLK, F_RDLCK, 3, 2));
    asked("own locks do not count", fd, F_GETLK, F_WRLCK, 0, 100);
    in_child(|| {
        let fd = opened(folder, "file", O_RDWR);
        asked("first", fd, F_GETLK, F_WRLCK, 0, 100);
        asked("middle", fd, F_GETLK, F_WRLCK, 3, 2);
        asked("middle for reading", fd, F_GETLK, F_RDLCK, 3, 2);
        asked("behind", fd, F_GETLK, F_WRLCK, 10, 0);
        show("read lock there", set(fd, F_SETLK, F_RDLCK, 3, 2));
        show("write lock there", set(fd, F_SETLK, F_WRLCK, 3, 2));
        show("write lock behind", set(fd, F_SETLK, F_WRLCK, 10, 0));
        0
    });
    show("the child's are gone", set(fd, F_SETLK, F_WRLCK, 0, 0));
    show("unlock", set(fd, F_SETLK, F_UNLCK, 0, 0));
    println!("free for a child: {}", in_child(|| set(opened(folder, "file", O_RDWR), F_SETLK, F_WRLCK, 0, 0)));
    unsafe { lseek(fd, 4, SEEK_SET) };
    show("from the position", unsafe { fcntl(fd, F_SETLK, &region(F_WRLCK, SEEK_CUR, -1, 2)) });
    show("from the end", unsafe { fcntl(fd, F_SETLK, &region(F_WRLCK, SEEK_END, -2, 0)) });
    in_child(|| {
        let fd = opened(folder, "file", O_RDWR);
        asked("first", fd, F_GETLK, F_WRLCK, 0, 0);
        asked("second", fd, F_GETLK, F_WRLCK, 6, 0);
        0
    });
}

fn record_lock_arguments(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    show("bad type", set(fd, F_SETLK, 9, 0, 0));
    show("negative start", set(fd, F_SETLK, F_WRLCK, -1, 1));
    show("negative length", set(fd, F_SETLK, F_WRLCK, 5, -3));
    show("negative length too long", set(fd, F_SETLK, F_WRLCK, 2, -3));
    show("bad whence", unsafe { fcntl(fd, F_SETLK, &region(F_WRLCK, 9, 0, 0)) });
    show("write lock on one for reading", set(opened(folder, "file", O_RDONLY), F_SETLK, F_WRLCK, 0, 0));
    show("read lock on one for writing", set(opened(folder, "file", O_WRONLY), F_SETLK, F_RDLCK, 0, 0));
    show("null", unsafe { fcntl(fd, F_SETLK, null::<flock>()) });
    asked("asking for no lock", fd, F_GETLK, F_UNLCK, 0, 0);
}

fn any_close(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    let child = || in_child(|| set(opened(folder, "file", O_RDWR), F_SETLK, F_WRLCK, 0, 0) + 10);
    show("lock", set(fd, F_SETLK, F_WRLCK, 0, 0));
    println!("held: {}", child());
    unsafe { close(opened(folder, "file", O_PATH)) };
    println!("closing a mere place changes nothing: {}", child());
    unsafe { close(opened(folder, "file", O_RDONLY)) };
    println!("gone: {}", child());
    set(fd, F_SETLK, F_WRLCK, 0, 0);
    println!("a child does not inherit it: {}", in_child(|| set(fd, F_SETLK, F_WRLCK, 0, 0) + 10));
}

fn waits(folder: &str) {
    create(folder, "file", b"0123456789");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        let (mut ready, mut done) = ([0; 2], [0; 2]);
        pipe(ready.as_mut_ptr());
        pipe(done.as_mut_ptr());
        let mut byte = 0u8;
        let child = fork();
        if child == 0 {
            let fd = opened(folder, "file", O_RDWR);
            set(fd, F_SETLK, F_WRLCK, 0, 0);
            write(ready[1], c"x".as_ptr().cast(), 1);
            until_asleep(getppid(), getppid());
            set(fd, F_SETLK, F_UNLCK, 0, 0);
            // Not its end gives the lock back.
            read(done[0], (&raw mut byte).cast(), 1);
            _exit(0);
        }
        read(ready[0], (&raw mut byte).cast(), 1);
        show("F_SETLKW", set(fd, F_SETLKW, F_WRLCK, 0, 0));
        write(done[1], c"x".as_ptr().cast(), 1);
        waitpid(child, null_mut(), 0);
    }
}

fn deadlock(folder: &str) {
    create(folder, "file", b"0123456789");
    unsafe {
        let (mut mine, mut theirs) = ([0; 2], [0; 2]);
        pipe(mine.as_mut_ptr());
        pipe(theirs.as_mut_ptr());
        let fd = opened(folder, "file", O_RDWR);
        set(fd, F_SETLK, F_WRLCK, 0, 1);
        let child = fork();
        if child == 0 {
            set(fd, F_SETLK, F_WRLCK, 1, 1);
            write(theirs[1], c"x".as_ptr().cast(), 1);
            let waited = set(fd, F_SETLKW, F_WRLCK, 0, 1);
            _exit(if waited == 0 { 0 } else { errno() });
        }
        let mut byte = 0u8;
        read(theirs[0], (&raw mut byte).cast(), 1);
        let waited = set(fd, F_SETLKW, F_WRLCK, 1, 1);
        let ours = if waited == 0 { 0 } else { errno() };
        set(fd, F_SETLK, F_UNLCK, 0, 0);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        // Whoever comes second is told.
        let mut told = [ours, WEXITSTATUS(status)];
        told.sort_unstable();
        println!("one waits, one is told: {}", told == [0, EDEADLK]);
    }
}

/// Some who take the same two locks time and again, always in the same order: nobody can be in a deadlock.
fn crowd(folder: &str) {
    create(folder, "file", b"0123456789");
    unsafe {
        for _ in 0..4 {
            if fork() == 0 {
                let fd = opened(folder, "file", O_RDWR);
                for _ in 0..200 {
                    let refused = [0, 1].into_iter().find(|at| set(fd, F_SETLKW, F_WRLCK, *at, 1) != 0);
                    if refused.is_some() {
                        _exit(errno());
                    }
                    set(fd, F_SETLK, F_UNLCK, 0, 0);
                }
                _exit(0);
            }
        }
        for _ in 0..4 {
            let mut status = 0;
            waitpid(-1, &mut status, 0);
            show("refused", WEXITSTATUS(status));
        }
    }
}

fn ofd_locks(folder: &str) {
    create(folder, "file", b"0123456789");
    let (one, two) = (opened(folder, "file", O_RDWR), opened(folder, "file", O_RDWR));
    show("write lock", set(one, F_OFD_SETLK, F_WRLCK, 0, 5));
    show("another open file", set(two, F_OFD_SETLK, F_RDLCK, 4, 5));
    asked("who", two, F_OFD_GETLK, F_RDLCK, 0, 0);
    show("elsewhere", set(two, F_OFD_SETLK, F_WRLCK, 5, 5));
    show("a process's lock meets it", set(two, F_SETLK, F_WRLCK, 0, 1));
    show("the same open file", set(unsafe { dup(one) }, F_OFD_SETLK, F_RDLCK, 0, 5));
    show("shared", set(two, F_OFD_SETLK, F_RDLCK, 0, 5));
    let mut lock = region(F_WRLCK, SEEK_SET, 0, 1);
    lock.l_pid = 5;
    show("a pid", unsafe { fcntl(one, F_OFD_SETLK, &lock) });
    unsafe { close(two) };
    show("after a close", set(one, F_OFD_SETLKW, F_WRLCK, 0, 0));
    show("one for reading", set(opened(folder, "file", O_RDONLY), F_OFD_SETLK, F_WRLCK, 0, 0));
}

fn ofd_life(folder: &str) {
    create(folder, "file", b"0123456789");
    let fd = opened(folder, "file", O_RDWR);
    show("lock", set(fd, F_OFD_SETLK, F_WRLCK, 0, 0));
    unsafe { close(opened(folder, "file", O_RDWR)) };
    let other = || in_child(|| set(opened(folder, "file", O_RDWR), F_OFD_SETLK, F_WRLCK, 0, 0) + 10);
    println!("another close changes nothing: {}", other());
    println!("a child has the same open file: {}", in_child(|| set(fd, F_OFD_SETLK, F_RDLCK, 0, 0) + 10));
    println!("still there: {}", other());
    println!("a child's close changes nothing: {}", in_child(|| unsafe { close(fd) }));
    println!("still there: {}", other());
    unsafe { close(fd) };
    println!("gone: {}", other());
}
