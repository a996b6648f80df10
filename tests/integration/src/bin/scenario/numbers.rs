//! Descriptor numbers: limits, duplicates onto any number, ranges, thousands of them, flags and fcntl.

use super::forking::{ended, fresh, print_file, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("numbers_and_limits", OneProcess, numbers_and_limits),
    ("no_more_numbers", OneProcess, no_more_numbers),
    ("thousands_of_numbers", OneProcess, thousands_of_numbers),
    ("thousands_and_fork", Processes, thousands_and_fork),
    ("thousands_in_one_kernel", OneProcess, thousands_in_one_kernel),
    ("numbers_grow_under_threads", OneProcess, numbers_grow_under_threads),
    ("numbers_taken_under_a_sleeper", OneProcess, numbers_taken_under_a_sleeper),
    ("dup_onto_anything", OneProcess, dup_onto_anything),
    ("dup_errors", OneProcess, dup_errors),
    ("ranges", OneProcess, ranges),
    ("closing_from", OneProcess, closing_from),
    ("standard_streams_replaced", OneProcess, standard_streams_replaced),
    ("close_on_exec_everywhere", OneProcess, close_on_exec_everywhere),
    ("fcntl_owner", OneProcess, fcntl_owner),
    ("fcntl_pipe_size", OneProcess, fcntl_pipe_size),
    ("fcntl_odd_commands", OneProcess, fcntl_odd_commands),
    ("record_locks_between_processes", Processes, record_locks_between_processes),
    ("record_locks_waited_for", Processes, record_locks_waited_for),
    ("two_threads_swap_numbers", OneProcess, two_threads_swap_numbers),
    ("every_number_closed", OneProcess, every_number_closed),
    ("lists_of_numbers", OneProcess, lists_of_numbers),
];

unsafe fn limit(soft: rlim_t) {
    unsafe {
        let mut limit: rlimit = zeroed();
        getrlimit(RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = soft;
        show("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
    }
}

fn numbers_and_limits(folder: &str) {
    unsafe {
        limit(256);
        let fd = fresh(folder, "f");
        show("F_DUPFD at the limit", fcntl(fd, F_DUPFD, 256));
        show("F_DUPFD below it", fcntl(fd, F_DUPFD, 255));
        show("F_DUPFD, none left", fcntl(fd, F_DUPFD, 255));
        show("F_DUPFD negative", fcntl(fd, F_DUPFD, -1));
        show("F_DUPFD_CLOEXEC far away", fcntl(fd, F_DUPFD_CLOEXEC, 1 << 30));
        show("dup2 at the limit", dup2(fd, 256));
        show("dup2 below it", dup2(fd, 254));
        show("dup3 at the limit", dup3(fd, 256, O_CLOEXEC));
        show("dup2 negative", dup2(fd, -1));
        limit(100);
        println!("beyond the limit still open: {}", put(255, b"x"));
        show("dup2 onto it", dup2(fd, 255));
        show("close", close(255));
        show("dup2 onto itself beyond", dup2(254, 254));
        let mut now: rlimit = zeroed();
        show("prlimit", prlimit(0, RLIMIT_NOFILE, null(), &mut now));
        println!("{}", now.rlim_cur);
    }
}

fn no_more_numbers(folder: &str) {
    unsafe {
        limit(64);
        let name = create(folder, "f", b"x");
        let fd = open(name.as_ptr(), O_RDONLY);
        while dup(fd) >= 0 {}
        show("open", open(name.as_ptr(), O_RDONLY));
        show("dup", dup(fd));
        show("socket", socket(AF_INET, SOCK_STREAM, 0));
        show("creates nothing", open(path(folder, "new").as_ptr(), O_CREAT | O_WRONLY, 0o644));
        show("opendir", if opendir(path(folder, "").as_ptr()).is_null() { -1 } else { 0 });
        close(63);
        show("open again", open(name.as_ptr(), O_RDONLY));
        show("none left", open(name.as_ptr(), O_RDONLY));
        let mut pair = [7; 2];
        show("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair.as_mut_ptr()));
        println!("{pair:?}");
        let mut byte = 0u8;
        show("reads", read(63, (&raw mut byte).cast(), 1) as i64);
    }
}

/// Opens `count` numbers on the file and as many on the host, in turns, and says whether all are good.
unsafe fn open_both(name: &CStr, count: usize) -> bool {
    unsafe {
        limit(12_000);
        open_all(&[name, c"/dev/null"], 2 * count)
    }
}

/// Opens the names in turns; whether each got the lowest free number.
unsafe fn open_all(names: &[&CStr], count: usize) -> bool {
    for (next, at) in (3..).zip(0..count) {
        let fd = unsafe { open(names[at % names.len()].as_ptr(), O_RDWR | O_APPEND) };
        if fd != next {
            println!("number {at}: {fd} {}", errno());
            return false;
        }
    }
    true
}

fn thousands_of_numbers(folder: &str) {
    unsafe {
        let name = create(folder, "f", b"");
        assert!(open_both(&name, 5000));
        println!("written: {}", (3..10_003).all(|fd| put(fd, b".")));
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("size: {}", st.st_size);
        show("close_range", close_range(100, 9_000, 0));
        println!("closed: {}", (100..9_001).all(|fd| fcntl(fd, F_GETFD) == -1));
        println!("others: {}", (3..100).chain(9_001..10_003).all(|fd| fcntl(fd, F_GETFD) == 0));
        println!("lowest: {}", open(name.as_ptr(), O_RDONLY));
        show("mark the rest", close_range(3, !0, CLOSE_RANGE_CLOEXEC as i32));
        println!("marked: {}", (3..101).chain(9_001..10_003).all(|fd| fcntl(fd, F_GETFD) == FD_CLOEXEC));
    }
}

fn thousands_and_fork(folder: &str) {
    unsafe {
        let name = create(folder, "f", b"");
        assert!(open_both(&name, 5000));
        let child = fork();
        if child == 0 {
            let good = (3..10_003).all(|fd| put(fd, b"."));
            close_range(3, !0, 0);
            _exit(i32::from(!good));
        }
        ended("fork", child);
        let child = fork();
        if child == 0 {
            let script = c"echo odd >&10001; echo even >&10002; echo -n x >&5";
            execl(c"/bin/bash".as_ptr(), c"bash".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("exec", child);
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("size: {}", st.st_size);
        println!("still written: {}", (3..10_003).all(|fd| put(fd, b".")));
    }
}

/// Nothing is done with them but opening them.
fn thousands_in_one_kernel(folder: &str) {
    unsafe {
        let name = create(folder, "f", b"x");
        limit(12_000);
        assert!(open_all(&[c"/dev/null"], 4000));
        show("close_range", close_range(3, !0, 0));
        assert!(open_all(&[&name], 4000));
        println!("written: {}", (3..4003).all(|fd| put(fd, b".")));
        show("close_range", close_range(3, !0, 0));
        // libc's own openings.
        let mode = c"r".as_ptr();
        let streams: Vec<_> = (0..2500).map(|_| fopen(c"/dev/zero".as_ptr(), mode)).collect();
        println!("streams: {}", streams.iter().all(|stream| !stream.is_null() && fgetc(*stream) == 0));
        println!("last: {}", fileno(streams[2499]));
        println!("closed: {}", streams.iter().all(|stream| fclose(*stream) == 0));
        show("lowest", open(name.as_ptr(), O_RDONLY));
    }
}

/// A byte to and fro, `count` times.
unsafe fn echo(a: c_int, b: c_int, count: usize) -> bool {
    let mut byte = 0u8;
    (0..count).all(|at| unsafe {
        let sent = at as u8;
        let there = put(a, &[sent]) && recv(b, (&raw mut byte).cast(), 1, 0) == 1 && byte == sent;
        there && put(b, &[!sent]) && recv(a, (&raw mut byte).cast(), 1, 0) == 1 && byte == !sent
    })
}

fn numbers_grow_under_threads(_: &str) {
    unsafe {
        limit(12_000);
        let talk: Vec<_> = (0..4).map(|_| connected()).collect();
        let (to_sleeper, sleeper) = connected();
        let asleep = std::thread::spawn(move || {
            let mut byte = 0u8;
            recv(sleeper, (&raw mut byte).cast(), 1, 0) == 1 && byte == b'w'
        });
        let talkers: Vec<_> = talk.into_iter().map(|(a, b)| std::thread::spawn(move || echo(a, b, 200))).collect();
        let first = open(c"/dev/null".as_ptr(), O_RDWR);
        println!("all in a row: {}", (first + 1..first + 6000).all(|next| dup(first) == next));
        println!("talked: {}", talkers.into_iter().all(|thread| thread.join().unwrap()));
        println!("wake: {}", put(to_sleeper, b"w"));
        println!("woken: {}", asleep.join().unwrap());
    }
}

fn numbers_taken_under_a_sleeper(folder: &str) {
    unsafe {
        limit(2000);
        let fd = fresh(folder, "f");
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        let zero = open(c"/dev/zero".as_ptr(), O_RDWR);
        let pairs: Vec<_> = (0..3).map(|_| connected()).collect();
        let sleepers = pairs.iter().map(|(_, sleeper)| *sleeper);
        let asleep: Vec<_> = sleepers
            .map(|sleeper| {
                std::thread::spawn(move || {
                    let mut byte = 0u8;
                    (0..30u8).all(|at| recv(sleeper, (&raw mut byte).cast(), 1, 0) == 1 && byte == at)
                })
            })
            .collect();
        // Among these are the library's own numbers: of what the sleepers sleep on, too.
        let taken = (0..30u8).all(|at| {
            let all = [fd, null, zero].iter().all(|from| (930..1080).all(|to| dup2(*from, to) == to));
            // What they are now is always ready, or never.
            all && pairs.iter().all(|(to, _)| put(*to, &[at]))
        });
        println!("taken: {taken}");
        println!("heard: {}", asleep.into_iter().all(|thread| thread.join().unwrap()));
        println!("closed: {}", (930..1080).all(|to| close(to) == 0));
        println!("gone: {}", (930..1080).all(|to| fcntl(to, F_GETFD) == -1));
    }
}

fn dup_onto_anything(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        // Among these are the numbers that the library itself may use.
        let range = 900..1024;
        println!("file onto all: {}", range.clone().all(|to| dup2(fd, to) == to && put(to, b".")));
        println!("host onto all: {}", range.clone().all(|to| dup2(null, to) == to && put(to, b".")));
        println!("file again: {}", range.clone().all(|to| dup3(fd, to, O_CLOEXEC) == to && put(to, b".")));
        println!("flags: {}", range.clone().all(|to| fcntl(to, F_GETFD) == FD_CLOEXEC));
        println!("closed: {}", range.clone().all(|to| close(to) == 0));
        println!("gone: {}", range.clone().all(|to| close(to) == -1 && errno() == EBADF));
        show("size", lseek(fd, 0, SEEK_END));
        let (c, a) = connected();
        println!("still connected: {}", put(c, b"x"));
        let mut byte = 0u8;
        show("recv", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
    }
}

fn dup_errors(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        show("dup of closed", dup(99));
        show("dup of negative", dup(-5));
        show("dup2 of closed", dup2(99, fd));
        println!("target lives: {}", put(fd, b"x"));
        show("dup2 of closed onto itself", dup2(99, 99));
        show("dup3 onto itself", dup3(fd, fd, 0));
        show("dup3 unknown flag", dup3(fd, 50, O_NONBLOCK));
        show("dup3 of closed", dup3(99, 50, 0));
        show("close negative", close(-1));
        show("close twice", close(fd) + close(fd));
        show("read of closed", read(fd, null_mut(), 0) as i64);
        show("fcntl of closed", fcntl(fd, F_GETFL));
    }
}

fn ranges(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        for to in 20..40 {
            dup2(if to % 2 == 0 { fd } else { 2 }, to);
        }
        show("backwards", close_range(30, 20, 0));
        show("unknown flag", close_range(20, 30, 64));
        show("some", close_range(25, 30, 0));
        let open =
            || (20..40).filter(|fd| fcntl(*fd, F_GETFD) >= 0).map(|fd| fd.to_string()).collect::<Vec<_>>().join(" ");
        println!("{}", open());
        show("marked", close_range(31, 34, CLOSE_RANGE_CLOEXEC as i32));
        println!("{:?}", (31..36).map(|fd| fcntl(fd, F_GETFD)).collect::<Vec<_>>());
        show("own table", close_range(35, 36, CLOSE_RANGE_UNSHARE as i32));
        show("both", close_range(37, 38, (CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) as i32));
        println!("{}", open());
        show("the rest", close_range(20, !0, 0));
        println!("[{}]", open());
        println!("lives: {}", put(fd, b"x"));
    }
}

fn closing_from(folder: &str) {
    unsafe extern "C" {
        fn closefrom(from: c_int);
    }
    unsafe {
        let fd = fresh(folder, "f");
        for to in 10..20 {
            dup2(fd, to);
        }
        closefrom(15);
        println!("{:?}", (10..20).map(|fd| fcntl(fd, F_GETFD)).collect::<Vec<_>>());
        println!("lives: {}", put(14, b"x"));
        closefrom(3);
        println!("{:?}", (3..20).map(|fd| fcntl(fd, F_GETFD)).max());
        println!("lowest: {}", open(path(folder, "f").as_ptr(), O_RDONLY));
        closefrom(-1);
        let first = open(path(folder, "f").as_ptr(), O_RDWR);
        let second = open(path(folder, "f").as_ptr(), O_RDWR | O_APPEND);
        put(second, format!("first {first} second {second}").as_bytes());
        let out = open(c"/dev/tty".as_ptr(), O_RDWR);
        exit(if first == 0 && second == 1 && out <= 2 { 0 } else { 1 });
    }
}

fn standard_streams_replaced(folder: &str) {
    unsafe {
        let name = create(folder, "in", b"line one\nline two\n");
        let saved = [dup(0), dup(1), dup(2)];
        close(0);
        show("stdin", open(name.as_ptr(), O_RDONLY));
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        let out = fresh(folder, "out");
        dup2(out, 1);
        dup2(1, 2);
        println!("to the file: {}", line.trim());
        eprintln!("error too");
        printf(c"by stdio %d\n".as_ptr(), 7);
        fflush(null_mut());
        perror(c"perror".as_ptr());
        dup2(saved[0], 0);
        dup2(saved[1], 1);
        dup2(saved[2], 2);
        show("same numbers", dup2(0, 0) + dup2(1, 1) + dup2(2, 2));
        print_file(out);
    }
}

fn close_on_exec_everywhere(folder: &str) {
    unsafe {
        let name = create(folder, "f", b"");
        let flag = |what: &str, fd: c_int| {
            show(what, fcntl(fd, F_GETFD));
        };
        flag("open", open(name.as_ptr(), O_RDONLY | O_CLOEXEC));
        flag("open without", open(name.as_ptr(), O_RDONLY));
        flag("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        flag("dup", dup(open(name.as_ptr(), O_RDONLY | O_CLOEXEC)));
        flag("dup2", dup2(open(name.as_ptr(), O_RDONLY | O_CLOEXEC), 50));
        flag("dup3", dup3(3, 51, O_CLOEXEC));
        flag("F_DUPFD", fcntl(3, F_DUPFD, 60));
        flag("F_DUPFD_CLOEXEC", fcntl(3, F_DUPFD_CLOEXEC, 60));
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        connect(c, (&raw const addr).cast(), LEN);
        flag("accept4", accept4(s, null_mut(), null_mut(), SOCK_CLOEXEC));
        fcntl(c, F_SETFD, FD_CLOEXEC);
        flag("F_SETFD", c);
        flag("other bits", {
            fcntl(c, F_SETFD, 0x7ffe);
            c
        });
        ioctl(c, FIOCLEX);
        flag("FIOCLEX", c);
        ioctl(c, FIONCLEX);
        flag("FIONCLEX", c);
        let directory = opendir(path(folder, "").as_ptr());
        flag("opendir", dirfd(directory));
        let file = fopen(name.as_ptr(), c"re".as_ptr());
        flag("fopen e", fileno(file));
        let mut template = path(folder, "XXXXXX").into_bytes_with_nul();
        flag("mkostemp", mkostemp(template.as_mut_ptr().cast(), O_CLOEXEC));
    }
}

fn fcntl_owner(folder: &str) {
    unsafe {
        let (c, _a) = connected();
        show("nobody", fcntl(c, F_GETOWN));
        show("F_SETOWN", fcntl(c, F_SETOWN, getpid()));
        println!("mine: {}", fcntl(c, F_GETOWN) == getpid());
        let copy = dup(c);
        println!("on the copy: {}", fcntl(copy, F_GETOWN) == getpid());
        #[repr(C)]
        struct Owner {
            kind: c_int,
            pid: c_int,
        }
        const F_SETOWN_EX: c_int = 15;
        const F_GETOWN_EX: c_int = 16;
        const F_GETSIG: c_int = 11;
        const F_SETSIG: c_int = 10;
        let mut owner = Owner { kind: 7, pid: 7 };
        show("F_GETOWN_EX", fcntl(c, F_GETOWN_EX, &mut owner));
        println!("{} {}", owner.kind, owner.pid == getpid());
        owner = Owner { kind: 2, pid: getpgrp() };
        show("F_SETOWN_EX", fcntl(c, F_SETOWN_EX, &owner));
        show("F_GETOWN_EX", fcntl(c, F_GETOWN_EX, &mut owner));
        println!("group: {}", owner.kind == 2 && owner.pid == getpgrp());
        owner.kind = 9;
        show("bad kind", fcntl(c, F_SETOWN_EX, &owner));
        show("F_GETSIG", fcntl(c, F_GETSIG));
        show("F_SETSIG 0", fcntl(c, F_SETSIG, 0));
        show("F_SETSIG bad", fcntl(c, F_SETSIG, 65));
        show("F_SETOWN 0", fcntl(c, F_SETOWN, 0));
        show("nobody again", fcntl(c, F_GETOWN));
        let fd = fresh(folder, "f");
        show("a file's owner", fcntl(fd, F_GETOWN));
    }
}

fn fcntl_pipe_size(folder: &str) {
    unsafe {
        let name = path(folder, "fifo");
        mkfifo(name.as_ptr(), 0o600);
        let fd = open(name.as_ptr(), O_RDWR);
        show("F_GETPIPE_SZ", fcntl(fd, F_GETPIPE_SZ));
        println!("enough: {}", fcntl(fd, F_SETPIPE_SZ, 5000) >= 5000);
        let file = fresh(folder, "f");
        show("of a file", fcntl(file, F_GETPIPE_SZ));
        show("set of a file", fcntl(file, F_SETPIPE_SZ, 4096));
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        println!("pipe: {}", fcntl(ends[0], F_SETPIPE_SZ, 1 << 17) >= 1 << 17);
    }
}

fn fcntl_odd_commands(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        show("unknown", fcntl(fd, 9999));
        show("F_GETLEASE", fcntl(fd, F_GETLEASE));
        show("F_NOTIFY of a file", fcntl(fd, F_NOTIFY, 1));
        show("bad lease", fcntl(fd, F_SETLEASE, 77));
        let (c, _a) = connected();
        show("seals of a socket", fcntl(c, F_GET_SEALS));
        show("seal a socket", fcntl(c, F_ADD_SEALS, F_SEAL_WRITE));
        show("lease of a socket", fcntl(c, F_SETLEASE, F_RDLCK as c_int));
        show("O_APPEND", fcntl(fd, F_SETFL, O_APPEND));
        show("mode is kept", fcntl(fd, F_SETFL, O_RDONLY));
        show("F_GETFL", fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
        show("bad pointer", fcntl(fd, F_GETLK, 8));
        let mut lock: flock = zeroed();
        lock.l_type = 77;
        show("bad kind of lock", fcntl(fd, F_SETLK, &lock));
        lock = zeroed();
        lock.l_type = F_WRLCK as i16;
        show("lock of a socket", fcntl(c, F_SETLK, &lock));
        let reader = open(path(folder, "f").as_ptr(), O_RDONLY);
        show("write lock on a reader", fcntl(reader, F_SETLK, &lock));
        lock.l_whence = 9;
        show("bad whence", fcntl(fd, F_SETLK, &lock));
        lock.l_whence = 0;
        lock.l_start = -5;
        show("before the start", fcntl(fd, F_SETLK, &lock));
    }
}

unsafe fn lock_at(fd: c_int, command: c_int, kind: c_int, start: i64, len: i64) -> (c_int, flock) {
    unsafe {
        let mut lock: flock = zeroed();
        (lock.l_type, lock.l_start, lock.l_len) = (kind as i16, start, len);
        (fcntl(fd, command, &mut lock), lock)
    }
}

fn record_locks_between_processes(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        show("lock", lock_at(fd, F_SETLK, F_WRLCK, 10, 10).0);
        show("read lock", lock_at(fd, F_SETLK, F_RDLCK, 30, 10).0);
        let parent = getpid();
        let child = fork();
        if child == 0 {
            let (got, lock) = lock_at(fd, F_GETLK, F_WRLCK, 0, 0);
            println!("{got} {} {} {} {}", lock.l_type, lock.l_start, lock.l_len, lock.l_pid != 0 && parent != 0);
            show("held", lock_at(fd, F_SETLK, F_RDLCK, 15, 1).0);
            show("beside", lock_at(fd, F_SETLK, F_WRLCK, 20, 10).0);
            show("shared", lock_at(fd, F_SETLK, F_RDLCK, 30, 10).0);
            show("not for writing", lock_at(fd, F_SETLK, F_WRLCK, 30, 10).0);
            exit(0);
        }
        ended("child", child);
        show("gone with the child", lock_at(fd, F_SETLK, F_WRLCK, 0, 0).0);
        let copy = dup(fd);
        close(copy);
        let child = fork();
        if child == 0 {
            _exit(lock_at(fd, F_SETLK, F_WRLCK, 0, 0).0 + 1);
        }
        ended("any close drops them", child);
    }
}

fn record_locks_waited_for(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        show("lock", lock_at(fd, F_SETLKW, F_WRLCK, 0, 0).0);
        let child = fork();
        if child == 0 {
            let got = lock_at(fd, F_SETLKW, F_WRLCK, 0, 0).0;
            put(fd, b" child");
            _exit(got);
        }
        put(fd, b"parent");
        show("unlock", lock_at(fd, F_SETLK, F_UNLCK, 0, 0).0);
        ended("child", child);
        print_file(fd);
        lock_at(fd, F_SETLKW, F_WRLCK, 0, 0);
        let child = fork();
        if child == 0 {
            lock_at(fd, F_SETLKW, F_WRLCK, 0, 0);
            _exit(0);
        }
        kill(child, SIGKILL);
        ended("killed while it waits or before", child);
        show("still mine", lock_at(fd, F_SETLK, F_WRLCK, 0, 0).0);
    }
}

fn two_threads_swap_numbers(folder: &str) {
    let name = create(folder, "f", b"0123456789");
    unsafe {
        let other = create(folder, "g", b"abc");
        let (a, b) = (open(name.as_ptr(), O_RDONLY), open(other.as_ptr(), O_RDONLY));
        // They are open from the start.
        dup2(a, 80);
        dup2(b, 81);
        let swap = move |from: c_int, to: c_int| {
            for _ in 0..500 {
                assert_eq!(dup2(from, 80), 80);
                assert_eq!(dup2(to, 81), 81);
                let mut byte = 7u8;
                for fd in [80, 81] {
                    let got = pread(fd, (&raw mut byte).cast(), 1, 0);
                    assert!(got == 1 && (byte == b'a' || byte == b'0'));
                }
            }
        };
        let threads = [std::thread::spawn(move || swap(a, b)), std::thread::spawn(move || swap(b, a))];
        for thread in threads {
            println!("{}", thread.join().is_ok());
        }
        println!("open: {}", (80..82).all(|fd| fcntl(fd, F_GETFD) == 0));
    }
}

fn every_number_closed(folder: &str) {
    unsafe {
        let name = create(folder, "f", b"x");
        let closed = (3..2000).filter(|fd| close(*fd) == 0).count();
        println!("closed: {closed}");
        println!("lowest: {}", open(name.as_ptr(), O_RDONLY));
        let mut byte = 0u8;
        show("reads", read(3, (&raw mut byte).cast(), 1) as i64);
    }
}

/// What getdents64 finds under a number, in pieces of so many bytes.
unsafe fn listed(fd: c_int, piece: usize) -> Vec<String> {
    unsafe {
        let (mut names, mut records) = (Vec::new(), vec![0u8; piece]);
        loop {
            let got = syscall(SYS_getdents64, fd, records.as_mut_ptr(), records.len());
            assert!(got >= 0, "{}", errno());
            let mut rest = &records[..got as usize];
            if rest.is_empty() {
                names.sort();
                return names;
            }
            while !rest.is_empty() {
                let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
                let name = rest[19..length].split(|byte| *byte == 0).next().unwrap();
                names.push(String::from_utf8_lossy(name).into_owned());
                rest = &rest[length..];
            }
        }
    }
}

/// The lists of a process's own numbers hold what the program has, and nothing else.
fn lists_of_numbers(folder: &str) {
    unsafe {
        let names = || ["/proc/self/fd".to_owned(), format!("/proc/{}/fd", getpid()), "/proc/self/fdinfo".to_owned()];
        let open_list = |name: &str| open(CString::new(name).unwrap().as_ptr(), O_RDONLY | O_DIRECTORY);
        for name in names().iter().chain(["/dev/fd/".to_owned(), "/proc/thread-self/fd".to_owned()].iter()) {
            let list = open_list(name);
            println!("before: {:?}", listed(list, 4096));
            close(list);
        }
        let fd = fresh(folder, "f");
        dup2(fd, 40);
        let list = open_list("/proc/self/fd");
        println!("in small pieces: {:?}", listed(list, 24));
        println!("at its end: {:?}", listed(list, 24));
        let other = dup(list);
        let [third, fourth] = [fcntl(list, F_DUPFD_CLOEXEC, 50), dup2(list, 60)];
        for number in [other, third, fourth] {
            lseek(number, 0, SEEK_SET);
            println!("{number}: {:?}", listed(number, 4096));
        }
        println!("by libc: {:?}", {
            let mut names: Vec<_> =
                std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        });
        // A folder that takes the list's number has files with all names.
        let mut template = *b"/tmp/lists-XXXXXX\0";
        let place = CStr::from_ptr(mkdtemp(template.as_mut_ptr().cast())).to_str().unwrap().to_owned();
        (958..966).for_each(|number| std::fs::write(format!("{place}/{number}"), "").unwrap());
        let plain = open_list(&place);
        show("dup2 onto the list", dup2(plain, list));
        println!("{:?}", listed(list, 4096));
        show("dup2 onto another", syscall(SYS_dup2, plain, other) as c_int);
        println!("{:?}", listed(other, 4096));
        std::fs::remove_dir_all(place).unwrap();
        // Its children's are theirs.
        let pid = fork();
        if pid == 0 {
            for name in names() {
                let list = open_list(&name);
                println!("in a child: {:?}", listed(list, 4096));
                close(list);
            }
            std::io::Write::flush(&mut std::io::stdout()).unwrap();
            _exit(0);
        }
        ended("the child", pid);
    }
}
