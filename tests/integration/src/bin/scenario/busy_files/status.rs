//! What is said of a file: times, attributes, names, numbers, flags.

use super::super::prelude::*;
use super::{busy, hear, hear_at, measure, piece, say, seek, status};

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_file_times", OneProcess, times),
    ("busy_file_attributes", OneProcess, attributes),
    ("busy_file_names", OneProcess, names),
    ("busy_file_numbers", OneProcess, numbers),
    ("busy_file_flags", OneProcess, flags),
];

/// Waits until the clock of files, which goes in ticks, has gone on.
unsafe fn tick() {
    unsafe {
        let now = || {
            let mut time: timespec = zeroed();
            clock_gettime(CLOCK_REALTIME_COARSE, &mut time);
            (time.tv_sec, time.tv_nsec)
        };
        // The tick that is under way may have stamped what was done last.
        for _ in 0..2 {
            let before = now();
            while now() == before {
                sched_yield();
            }
        }
    }
}

fn key(sec: i64, nsec: i64) -> (i64, i64) {
    (sec, nsec)
}

fn times(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let (mut buf, mut last) = ([0u8; 8], status(fd));
        let mut look = |what: &str| {
            let (now, mut named): (stat, stat) = (status(fd), zeroed());
            stat(path(folder, "f").as_ptr(), &mut named);
            let moved = |before: (i64, i64), after: (i64, i64)| match before.cmp(&after) {
                std::cmp::Ordering::Less => "later",
                std::cmp::Ordering::Equal => "same",
                std::cmp::Ordering::Greater => "earlier",
            };
            println!(
                "{what}: atime {} mtime {} ctime {} named {}",
                moved(key(last.st_atime, last.st_atime_nsec), key(now.st_atime, now.st_atime_nsec)),
                moved(key(last.st_mtime, last.st_mtime_nsec), key(now.st_mtime, now.st_mtime_nsec)),
                moved(key(last.st_ctime, last.st_ctime_nsec), key(now.st_ctime, now.st_ctime_nsec)),
                (named.st_atime, named.st_mtime_nsec, named.st_ctime_nsec)
                    == (now.st_atime, now.st_mtime_nsec, now.st_ctime_nsec)
            );
            last = now;
        };
        tick();
        look("nothing");
        pwrite(fd, c"x".as_ptr().cast(), 1, 0);
        look("written");
        tick();
        pread(fd, buf.as_mut_ptr().cast(), 8, 0);
        look("read");
        tick();
        pread(fd, buf.as_mut_ptr().cast(), 8, 0);
        look("read again");
        tick();
        lseek(fd, 0, SEEK_SET);
        write(fd, c"x".as_ptr().cast(), 1);
        look("written");
        tick();
        let old = [timespec { tv_sec: 1000, tv_nsec: 5 }, timespec { tv_sec: 2000, tv_nsec: 7 }];
        futimens(fd, old.as_ptr());
        look("set");
        println!("{:?}", (status(fd).st_atime, status(fd).st_mtime, status(fd).st_mtime_nsec));
        tick();
        pwrite(fd, c"x".as_ptr().cast(), 1, 0);
        look("written after it was set");
        tick();
        pread(fd, buf.as_mut_ptr().cast(), 8, 0);
        look("read after that");
        tick();
        let future = [timespec { tv_sec: 4_000_000_000, tv_nsec: 5 }, timespec { tv_sec: 4_000_000_000, tv_nsec: 7 }];
        futimens(fd, future.as_ptr());
        look("set to the future");
        tick();
        pread(fd, buf.as_mut_ptr().cast(), 8, 0);
        look("read");
        tick();
        pwrite(fd, c"x".as_ptr().cast(), 1, 0);
        look("written");
        tick();
        let old = [timespec { tv_sec: 1000, tv_nsec: 5 }, timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }];
        futimens(fd, old.as_ptr());
        look("set the one");
        pread(fd, buf.as_mut_ptr().cast(), 8, 0);
        look("read at once");
    }
}

fn attributes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        for mode in [0o600, 0o4755, 0o644] {
            show("fchmod", fchmod(fd, mode));
            println!("{:o}", status(fd).st_mode);
            say("write", fd, b"w");
            println!("{:o}", status(fd).st_mode);
        }
        show("by name", chmod(path(folder, "f").as_ptr(), 0o000));
        println!("{:o}", status(fd).st_mode);
        hear("still open", fd, 3);
        show("link", link(path(folder, "f").as_ptr(), path(folder, "g").as_ptr()));
        println!("{}", status(fd).st_nlink);
        show("unlink", unlink(path(folder, "f").as_ptr()));
        println!("{}", status(fd).st_nlink);
        let mut extended: statx = zeroed();
        show("statx", statx(fd, c"".as_ptr(), AT_EMPTY_PATH, STATX_BASIC_STATS, &mut extended));
        println!("{} {} {:o}", extended.stx_size, extended.stx_nlink, extended.stx_mode);
        let mut st: stat = zeroed();
        show("fstatat", fstatat(fd, c"".as_ptr(), &mut st, AT_EMPTY_PATH));
        println!("{} {} {}", st.st_size, st.st_nlink, st.st_blksize);
    }
}

fn names(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        show("rename", rename(path(folder, "f").as_ptr(), path(folder, "g").as_ptr()));
        say("write", fd, b"moved");
        measure("renamed", folder, "g", fd);
        let other = busy(folder, "h", O_RDWR);
        show("over it", rename(path(folder, "h").as_ptr(), path(folder, "g").as_ptr()));
        println!("{}", status(fd).st_nlink);
        hear("the old one", fd, 8);
        say("the old one", fd, b"old");
        hear_at("the old one", fd, 8, 8);
        hear_at("the new one", other, 8, 0);
        show("unlink", unlink(path(folder, "g").as_ptr()));
        for n in 0..2000 {
            assert_eq!(pwrite(other, piece(n).as_ptr().cast(), 8, (n * 8) as i64), 8);
        }
        println!("{} {}", status(other).st_size, status(other).st_nlink);
        hear_at("without a name", other, 8, 8 * 1999);
        show("link", i64::from(access(path(folder, "g").as_ptr(), F_OK)));
    }
}

fn numbers(folder: &str) {
    unsafe {
        let one = busy(folder, "one", O_RDWR);
        say("one", one, b"ONE");
        let two = busy(folder, "two", O_RDWR);
        seek("at", one, 8, SEEK_SET);
        seek("at", two, 16, SEEK_SET);
        show("dup2", i64::from(dup2(two, one) == one));
        hear("the other", one, 8);
        hear("the other", two, 8);
        close(two);
        hear("still", one, 8);
        let fd = open(path(folder, "one").as_ptr(), O_RDONLY);
        println!("{}", fd == two);
        hear("under the old number", fd, 8);
        close(fd);
        hear("closed", fd, 8);
        show("closed", lseek(fd, 0, SEEK_CUR));
        let mut ends = [0; 2];
        show("pipe", pipe(ends.as_mut_ptr()));
        say("through the pipe", ends[1], b"pipe");
        hear("through the pipe", ends[0], 8);
        show("close_range", close_range(one as c_uint, c_uint::MAX, 0));
        hear("closed", one, 8);
        let fd = open(path(folder, "two").as_ptr(), O_RDONLY);
        hear("opened after it", fd, 8);
    }
}

fn flags(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        for flags in [O_NONBLOCK, O_NOATIME, O_APPEND, 0] {
            show("F_SETFL", fcntl(fd, F_SETFL, flags));
            println!("{}", fcntl(fd, F_GETFL) & (O_NONBLOCK | O_NOATIME | O_APPEND) == flags);
            hear("read", fd, 8);
            say("write", fd, b"w");
            seek("at", fd, 0, SEEK_CUR);
        }
        let quiet = busy(folder, "g", O_RDONLY | O_NOATIME);
        let before = status(quiet);
        tick();
        let writer = open(path(folder, "g").as_ptr(), O_WRONLY);
        say("changed", writer, b"new");
        tick();
        hear("quietly", quiet, 8);
        println!(
            "{}",
            (status(quiet).st_atime_nsec, status(quiet).st_atime) == (before.st_atime_nsec, before.st_atime)
        );
        show("fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
        show("readahead", readahead(fd, 0, 100) as i64);
        show("F_SETFD", fcntl(fd, F_SETFD, FD_CLOEXEC));
        hear_at("read", fd, 8, 0);
    }
}
