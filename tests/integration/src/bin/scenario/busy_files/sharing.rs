//! Files that several have: processes, threads, locks; and limits.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::forking::ended;
use super::super::prelude::*;
use super::{busy, hear, hear_at, measure, piece, rub, say, seek, status, whole};

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_file_locks", Processes, locks),
    ("busy_file_limit", Processes, limit),
    ("busy_file_over_fork", Processes, over_fork),
    ("busy_file_of_several", Processes, of_several),
    ("busy_file_of_threads", OneProcess, of_threads),
    ("busy_files_many", OneProcess, many),
];

fn locks(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let mut range = flock { l_type: F_WRLCK as i16, l_whence: SEEK_CUR as i16, l_start: 2, l_len: 4, l_pid: 0 };
        seek("at", fd, 10, SEEK_SET);
        show("from the position", fcntl(fd, F_SETLK, &range));
        let child = fork();
        if child == 0 {
            let other = open(path(folder, "f").as_ptr(), O_RDWR);
            rub(other);
            (range.l_whence, range.l_start) = (SEEK_SET as i16, 0);
            fcntl(other, F_GETLK, &mut range);
            println!("{} {} {}", range.l_type == F_WRLCK as i16, range.l_start, range.l_len);
            // Locks of this kind are in nobody's way.
            hear_at("reads", other, 8, 8);
            show("writes", pwrite(other, c"through".as_ptr().cast(), 7, 10) as i64);
            _exit(0);
        }
        ended("child", child);
        hear_at("what it wrote", fd, 10, 9);
        show("flock", flock(fd, LOCK_EX));
        hear("locked", fd, 8);
    }
}

fn limit(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let child = fork();
        if child == 0 {
            signal(SIGXFSZ, SIG_IGN);
            rub(fd);
            let small = rlimit { rlim_cur: 100, rlim_max: RLIM_INFINITY };
            show("setrlimit", setrlimit(RLIMIT_FSIZE, &small));
            show("below", pwrite(fd, c"below".as_ptr().cast(), 5, 10) as i64);
            show("across", pwrite(fd, c"across".as_ptr().cast(), 6, 97) as i64);
            show("beyond", pwrite(fd, c"beyond".as_ptr().cast(), 6, 100) as i64);
            seek("end", fd, 0, SEEK_END);
            say("beyond", fd, b"beyond");
            let none = rlimit { rlim_cur: RLIM_INFINITY, rlim_max: RLIM_INFINITY };
            show("setrlimit", setrlimit(RLIMIT_FSIZE, &none));
            say("no more", fd, b"within");
            signal(SIGXFSZ, SIG_DFL);
            setrlimit(RLIMIT_FSIZE, &small);
            pwrite(fd, c"ends".as_ptr().cast(), 4, 300);
            _exit(0);
        }
        ended("child", child);
        say("the parent is not limited", fd, b"parent");
        whole("all", folder, "f");
    }
}

fn over_fork(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        seek("at", fd, 8, SEEK_SET);
        for round in 0..3 {
            let child = fork();
            if child == 0 {
                hear("the child goes on", fd, 8);
                rub(fd);
                hear("and on", fd, 8);
                say("and writes", fd, b"CHILD");
                _exit(round);
            }
            ended("child", child);
            hear("the parent goes on from there", fd, 8);
            say("and writes", fd, b"PARENT");
            measure("then", folder, "f", fd);
        }
        // By its number only, after exec.
        let child = fork();
        if child == 0 {
            dup2(fd, 0);
            lseek(0, 0, SEEK_SET);
            execlp(c"head".as_ptr(), c"head".as_ptr(), c"-c".as_ptr(), c"24".as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("head", child);
        println!();
        whole("all", folder, "f");
    }
}

fn of_several(folder: &str) {
    const EACH: usize = 300;
    unsafe {
        // Several processes on one position: nothing is read twice, nor written over.
        let fd = busy(folder, "f", O_RDWR);
        let log = open(path(folder, "log").as_ptr(), O_RDWR | O_CREAT, 0o644);
        let ends = open(path(folder, "ends").as_ptr(), O_RDWR | O_CREAT | O_APPEND, 0o644);
        ftruncate(fd, 0);
        for n in 0..4 * EACH {
            assert_eq!(write(fd, piece(n).as_ptr().cast(), 8), 8);
        }
        lseek(fd, 0, SEEK_SET);
        let children: Vec<pid_t> = (0..4)
            .map(|_| {
                let child = fork();
                if child == 0 {
                    let mut buf = [0u8; 8];
                    while read(fd, buf.as_mut_ptr().cast(), 8) == 8 {
                        if write(log, buf.as_ptr().cast(), 8) != 8 || write(ends, buf.as_ptr().cast(), 8) != 8 {
                            _exit(1);
                        }
                    }
                    _exit(0);
                }
                child
            })
            .collect();
        children.iter().for_each(|child| ended("child", *child));
        for name in ["log", "ends"] {
            let text = std::fs::read(std::path::Path::new(folder).join(name)).unwrap();
            let mut found: Vec<&[u8]> = text.chunks(8).collect();
            found.sort_unstable();
            let all = found.iter().enumerate().filter(|(n, found)| **found == piece(*n)).count();
            println!("{name}: {} pieces, {all} of them right", found.len());
        }
    }
}

fn of_threads(folder: &str) {
    const EACH: usize = 400;
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        ftruncate(fd, 0);
        lseek(fd, 0, SEEK_SET);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..EACH {
                        assert_eq!(write(fd, piece(thread * EACH + n).as_ptr().cast(), 8), 8);
                        if n % 100 == 0 {
                            // Somebody who looks at everything meanwhile.
                            status(fd);
                            fcntl(fd, F_GETFL);
                        }
                    }
                });
            }
        });
        let text = std::fs::read(std::path::Path::new(folder).join("f")).unwrap();
        let mut found: Vec<&[u8]> = text.chunks(8).collect();
        found.sort_unstable();
        let all = found.iter().enumerate().filter(|(n, found)| **found == piece(*n)).count();
        println!("{} pieces, {all} of them right", found.len());
        // One closes it while others are in the middle of it.
        for _ in 0..20 {
            let fd = busy(folder, "g", O_RDWR);
            let done = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut buf = [0u8; 8];
                    while pread(fd, buf.as_mut_ptr().cast(), 8, 0) == 8 {
                        assert_eq!(buf, piece(0));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(errno(), EBADF);
                });
                while done.load(Ordering::Relaxed) < 100 {
                    std::thread::yield_now();
                }
                close(fd);
            });
        }
    }
}

fn many(folder: &str) {
    unsafe {
        // More than are lent at a time, all of them busy.
        let files: Vec<c_int> = (0..100).map(|n| busy(folder, &format!("f{n}"), O_RDWR)).collect();
        for round in 0..3 {
            for (n, fd) in files.iter().enumerate() {
                rub(*fd);
                assert_eq!(pwrite(*fd, piece(n + round).as_ptr().cast(), 8, 8), 8);
            }
        }
        let mut buf = [0u8; 8];
        let right = files.iter().enumerate().filter(|(n, fd)| {
            pread(**fd, buf.as_mut_ptr().cast(), 8, 8);
            buf == piece(n + 2)
        });
        println!("{}", right.count());
        files.iter().for_each(|fd| assert_eq!(close(*fd), 0));
        whole("one of them", folder, "f77");
    }
}
