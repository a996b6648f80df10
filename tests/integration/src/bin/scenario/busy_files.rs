//! Files on which much has been read and written, and then every call: what programs did by themselves until then comes together with
//! what the kernel does.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::forking::ended;
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("busy_file_calls", OneProcess, every_call),
    ("busy_file_positions", OneProcess, positions),
    ("busy_file_access", OneProcess, access_modes),
    ("busy_file_append", OneProcess, append),
    ("busy_file_sizes", OneProcess, sizes),
    ("busy_file_holes", OneProcess, holes),
    ("busy_file_times", OneProcess, times),
    ("busy_file_attributes", OneProcess, attributes),
    ("busy_file_names", OneProcess, names),
    ("busy_file_numbers", OneProcess, numbers),
    ("busy_file_bad_memory", OneProcess, bad_memory),
    ("busy_file_flags", OneProcess, flags),
    ("busy_file_transfers", OneProcess, transfers),
    ("busy_file_mapped", HandedOver, mapped),
    ("busy_file_locks", Processes, locks),
    ("busy_file_limit", Processes, limit),
    ("busy_file_over_fork", Processes, over_fork),
    ("busy_file_of_several", Processes, of_several),
    ("busy_file_of_threads", OneProcess, of_threads),
    ("busy_files_many", OneProcess, many),
    ("busy_file_full", SmallFileSystem, full),
];

const ROUNDS: usize = 40;

/// A piece that tells which it is.
fn piece(n: usize) -> [u8; 8] {
    format!("<{n:06}>").into_bytes().try_into().unwrap()
}

/// Opens a file that holds pieces, on which much was read and written, at its start.
unsafe fn busy(folder: &str, name: &str, flags: c_int) -> c_int {
    unsafe {
        let fd = open(path(folder, name).as_ptr(), O_RDWR | O_CREAT, 0o644);
        assert!(fd >= 0);
        for n in 0..ROUNDS {
            assert_eq!(write(fd, piece(n).as_ptr().cast(), 8), 8);
        }
        close(fd);
        let fd = open(path(folder, name).as_ptr(), flags);
        assert!(fd >= 0);
        rub(fd);
        lseek(fd, 0, SEEK_SET);
        fd
    }
}

/// Reads and writes much, and leaves the content as it is.
unsafe fn rub(fd: c_int) {
    unsafe {
        let mode = fcntl(fd, F_GETFL) & O_ACCMODE;
        let appends = fcntl(fd, F_GETFL) & O_APPEND != 0;
        let mut buf = [0u8; 8];
        for n in 0..ROUNDS {
            let at = (n * 8) as i64;
            if mode != O_WRONLY {
                pread(fd, buf.as_mut_ptr().cast(), 8, at);
            }
            if mode != O_RDONLY && !appends {
                pwrite(fd, piece(n).as_ptr().cast(), 8, at);
            }
        }
    }
}

unsafe fn say(what: &str, fd: c_int, data: &[u8]) {
    unsafe { show(what, write(fd, data.as_ptr().cast(), data.len()) as i64) };
}

unsafe fn hear(what: &str, fd: c_int, room: usize) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = read(fd, buf.as_mut_ptr().cast(), room);
        show(what, got as i64);
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
    }
}

unsafe fn hear_at(what: &str, fd: c_int, room: usize, at: i64) {
    unsafe {
        let mut buf = vec![0u8; room];
        let got = pread(fd, buf.as_mut_ptr().cast(), room, at);
        show(what, got as i64);
        println!("{}", buf[..got.max(0) as usize].escape_ascii());
    }
}

unsafe fn seek(what: &str, fd: c_int, at: i64, whence: c_int) {
    unsafe { show(what, lseek(fd, at, whence)) };
}

unsafe fn status(fd: c_int) -> stat {
    unsafe {
        let mut st: stat = zeroed();
        assert_eq!(fstat(fd, &mut st), 0);
        st
    }
}

/// Prints what fstat(2), lseek(2) and the name say of the length, and what is taken.
unsafe fn measure(what: &str, folder: &str, name: &str, fd: c_int) {
    unsafe {
        let (st, mut named): (stat, stat) = (status(fd), zeroed());
        let by_name = stat(path(folder, name).as_ptr(), &mut named);
        println!(
            "{what}: {} {} {} {} {by_name} {} {:?}",
            st.st_size,
            st.st_blocks,
            lseek(fd, 0, SEEK_CUR),
            st.st_nlink,
            named.st_size,
            (st.st_ino == named.st_ino, st.st_mtime == named.st_mtime, st.st_mode == named.st_mode)
        );
    }
}

/// Prints a sum of the whole file, read by somebody who just opened it.
unsafe fn whole(what: &str, folder: &str, name: &str) {
    let bytes = std::fs::read(std::path::Path::new(folder).join(name)).unwrap();
    let sum = bytes.iter().fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    println!("{what}: {} bytes, {sum:x}", bytes.len());
}

fn every_call(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let fresh = open(path(folder, "f").as_ptr(), O_RDWR);
        hear("read", fd, 11);
        say("write", fd, b"[middle]");
        hear("seen by another", fresh, 24);
        show("pwrite", pwrite(fresh, c"ANOTHER".as_ptr().cast(), 7, 40) as i64);
        hear("seen by the first", fd, 40);
        let mut parts = [[0u8; 3], [0u8; 3]];
        let vector = parts.each_mut().map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: 3 });
        show("readv", readv(fd, vector.as_ptr(), 2) as i64);
        println!("{}", parts.concat().escape_ascii());
        show("preadv", preadv(fd, vector.as_ptr(), 2, 42) as i64);
        println!("{}", parts.concat().escape_ascii());
        show("preadv2 at the position", preadv2(fd, vector.as_ptr(), 2, -1, 0) as i64);
        println!("{}", parts.concat().escape_ascii());
        let words = [&b"seven"[..], b"", b" eight"];
        let vector = words.map(|word| iovec { iov_base: word.as_ptr().cast_mut().cast(), iov_len: word.len() });
        show("writev", writev(fd, vector.as_ptr(), 3) as i64);
        show("pwritev", pwritev(fd, vector.as_ptr(), 3, 100) as i64);
        show("pwritev2 appends", pwritev2(fd, vector.as_ptr(), 3, -1, RWF_APPEND) as i64);
        show("and the position", lseek(fd, 0, SEEK_CUR));
        show("pwritev2", pwritev2(fd, vector.as_ptr(), 3, 5, RWF_DSYNC) as i64);
        show("nothing", write(fd, null(), 0) as i64);
        show("nothing", read(fd, null_mut(), 0) as i64);
        show("no vector", readv(fd, null(), 0) as i64);
        show("below the start", pread(fd, parts.as_mut_ptr().cast(), 3, -1) as i64);
        show("below the start", pwrite(fd, c"x".as_ptr().cast(), 1, -9) as i64);
        show("beyond the end", pread(fd, parts.as_mut_ptr().cast(), 3, 1 << 40) as i64);
        let mut left: c_int = -1;
        show("FIONREAD", i64::from(ioctl(fd, FIONREAD, &mut left)));
        println!("{left}");
        show("fsync", fsync(fd));
        show("fdatasync", fdatasync(fd));
        measure("at the end", folder, "f", fd);
        whole("all", folder, "f");
    }
}

fn positions(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        seek("end", fd, -5, SEEK_END);
        hear("rest", fd, 20);
        hear("no more", fd, 20);
        seek("back", fd, -8, SEEK_CUR);
        hear("again", fd, 4);
        seek("before the start", fd, -1, SEEK_SET);
        seek("before the start", fd, -1000, SEEK_CUR);
        seek("stays", fd, 0, SEEK_CUR);
        seek("far", fd, i64::MAX, SEEK_SET);
        seek("too far", fd, 1, SEEK_CUR);
        say("no room there", fd, b"x");
        seek("no such way", fd, 0, 17);
        seek("data", fd, 3, SEEK_DATA);
        seek("hole", fd, 3, SEEK_HOLE);
        seek("no data", fd, 1 << 30, SEEK_DATA);
        seek("stays", fd, 0, SEEK_CUR);
        let twin = dup(fd);
        seek("the duplicate moves", twin, 16, SEEK_SET);
        hear("both", fd, 8);
        hear("both", twin, 8);
        rub(twin);
        hear("busy under both numbers", twin, 8);
        hear("busy under both numbers", fd, 8);
        let other = open(path(folder, "f").as_ptr(), O_RDONLY);
        hear("another has its own", other, 8);
        let again = open(format!("/dev/fd/{fd}\0").as_ptr().cast(), O_RDONLY);
        hear("opened anew", again, 8);
    }
}

fn access_modes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDONLY);
        say("for reading", fd, b"x");
        show("for reading", pwrite(fd, c"x".as_ptr().cast(), 1, 0) as i64);
        show("cut", ftruncate(fd, 3));
        hear("read", fd, 8);
        let fd = busy(folder, "g", O_WRONLY);
        hear("for writing", fd, 8);
        hear_at("for writing", fd, 8, 0);
        say("write", fd, b"written");
        let mut st: stat = zeroed();
        show("fstat", fstat(fd, &mut st));
        println!("{} {:o}", st.st_size, st.st_mode);
        whole("all", folder, "g");
        let fd = open(path(folder, "g").as_ptr(), O_PATH);
        hear("a place", fd, 8);
    }
}

fn append(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR | O_APPEND);
        let plain = busy(folder, "f", O_RDWR);
        for n in 0..60 {
            let line = format!("line {n};");
            assert_eq!(write(fd, line.as_ptr().cast(), line.len()), line.len() as isize);
            if n % 20 == 0 {
                say("somebody else", plain, b"S");
            }
        }
        measure("appended", folder, "f", fd);
        show("pwrite appends too", pwrite(fd, c"!".as_ptr().cast(), 1, 0) as i64);
        seek("back", fd, 0, SEEK_SET);
        hear("reading goes on from there", fd, 8);
        say("and writing at the end", fd, b"END");
        measure("then", folder, "f", fd);
        show("F_SETFL", fcntl(fd, F_SETFL, 0));
        seek("back", fd, 4, SEEK_SET);
        say("no more", fd, b"here");
        show("F_SETFL", fcntl(plain, F_SETFL, O_APPEND));
        say("now the other", plain, b"OTHER");
        show("at the end too", pwrite(plain, c"?".as_ptr().cast(), 1, 0) as i64);
        measure("last", folder, "f", plain);
        whole("all", folder, "f");
    }
}

fn sizes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let other = busy(folder, "f", O_RDWR);
        let name = path(folder, "f");
        show("longer", ftruncate(other, 5000));
        measure("longer", folder, "f", fd);
        hear_at("zeros", fd, 4, 4000);
        show("shorter", ftruncate(other, 100));
        measure("shorter", folder, "f", fd);
        hear_at("the end", fd, 50, 90);
        seek("beyond the end", fd, 150, SEEK_SET);
        hear("nothing there", fd, 10);
        say("a gap", fd, b"after");
        hear_at("zeros in it", other, 60, 98);
        show("by name", truncate(name.as_ptr(), 10));
        measure("by name", folder, "f", fd);
        show("O_TRUNC", i64::from(open(name.as_ptr(), O_WRONLY | O_TRUNC) >= 0));
        measure("nothing left", folder, "f", fd);
        for n in 0..3000 {
            assert_eq!(pwrite(fd, piece(n).as_ptr().cast(), 8, (n * 8) as i64), 8);
        }
        measure("grown", folder, "f", other);
        whole("grown", folder, "f");
        let big = vec![b'b'; 3 << 20];
        seek("start", fd, 1000, SEEK_SET);
        say("much", fd, &big);
        measure("much", folder, "f", fd);
        whole("much", folder, "f");
        let mut back = vec![0u8; 4 << 20];
        show("much", pread(fd, back.as_mut_ptr().cast(), back.len(), 10) as i64);
        println!("{}", back.iter().filter(|byte| **byte == b'b').count());
        show("short again", ftruncate(fd, 1));
        show("long again", ftruncate(fd, 9000));
        println!(
            "{}",
            std::fs::read(std::path::Path::new(folder).join("f")).unwrap().iter().filter(|b| **b != 0).count()
        );
    }
}

fn holes(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        show("far", pwrite(fd, c"far".as_ptr().cast(), 3, 1 << 20) as i64);
        measure("a hole", folder, "f", fd);
        seek("data", fd, 4096, SEEK_DATA);
        seek("hole", fd, 0, SEEK_HOLE);
        rub(fd);
        for at in [8192, 8200, 12_000, 500_000] {
            show("into the hole", pwrite(fd, c"in".as_ptr().cast(), 2, at) as i64);
        }
        measure("less of it", folder, "f", fd);
        seek("data", fd, 4096, SEEK_DATA);
        show("reserved", fallocate(fd, 0, 65_536, 8192));
        measure("reserved", folder, "f", fd);
        show("reserved beyond the end", fallocate(fd, FALLOC_FL_KEEP_SIZE, 2 << 20, 8192));
        measure("reserved beyond the end", folder, "f", fd);
        show("punched", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 8192));
        measure("punched", folder, "f", fd);
        hear("zeros", fd, 4);
        show("written again", pwrite(fd, c"again".as_ptr().cast(), 5, 1) as i64);
        measure("written again", folder, "f", fd);
        whole("all", folder, "f");
        let fd = busy(folder, "g", O_RDWR);
        seek("beyond the end", fd, 20_000, SEEK_SET);
        say("in one go", fd, b"there");
        measure("in one go", folder, "g", fd);
        close(fd);
        let fd = open(path(folder, "g").as_ptr(), O_RDWR);
        measure("opened again", folder, "g", fd);
    }
}

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

fn bad_memory(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let bad = 8 as *mut c_void;
        show("read", read(fd, bad, 8) as i64);
        show("pread", pread(fd, bad, 8, 0) as i64);
        show("write", write(fd, bad, 8) as i64);
        show("pwrite", pwrite(fd, bad, 8, 0) as i64);
        show("no vector", readv(fd, bad.cast(), 2) as i64);
        let vector = [iovec { iov_base: bad, iov_len: 4 }; 2];
        show("bad parts", writev(fd, vector.as_ptr(), 2) as i64);
        show("too many", readv(fd, vector.as_ptr(), 2000) as i64);
        show("fstat", syscall(SYS_fstat, fd, bad));
        show("to the end of memory", pread(fd, usize::MAX as *mut c_void, 4, 0) as i64);
        whole("all", folder, "f");
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

fn transfers(folder: &str) {
    unsafe {
        let (from, to) = (busy(folder, "from", O_RDWR), busy(folder, "to", O_RDWR));
        seek("from", from, 16, SEEK_SET);
        show("sendfile", sendfile(to, from, null_mut(), 24) as i64);
        seek("from", from, 0, SEEK_CUR);
        seek("to", to, 0, SEEK_CUR);
        let mut at = 100i64;
        show("sendfile", sendfile(to, from, &mut at, 50) as i64);
        seek("from", from, 0, SEEK_CUR);
        println!("{at}");
        show("copy_file_range", copy_file_range(from, null_mut(), to, null_mut(), 32, 0) as i64);
        seek("from", from, 0, SEEK_CUR);
        seek("to", to, 0, SEEK_CUR);
        hear("on", from, 8);
        say("on", to, b"on");
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        show("splice", splice(from, null_mut(), ends[1], null_mut(), 16, 0) as i64);
        hear("spliced", ends[0], 32);
        seek("from", from, 0, SEEK_CUR);
        say("into the pipe", ends[1], b"from the pipe");
        show("splice", splice(ends[0], null_mut(), to, null_mut(), 32, 0) as i64);
        seek("to", to, 0, SEEK_CUR);
        whole("from", folder, "from");
        whole("to", folder, "to");
    }
}

fn mapped(folder: &str) {
    unsafe {
        let fd = busy(folder, "f", O_RDWR);
        let at = mmap(null_mut(), 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).cast::<u8>();
        let private = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0).cast::<u8>();
        let shown = |at: *const u8| println!("{}", std::slice::from_raw_parts(at, 12).escape_ascii());
        shown(at);
        pwrite(fd, c"written".as_ptr().cast(), 7, 2);
        shown(at);
        shown(private);
        std::ptr::copy_nonoverlapping(b"stored".as_ptr(), at.add(1), 6);
        std::ptr::copy_nonoverlapping(b"private".as_ptr(), private, 7);
        hear("stored", fd, 12);
        pwrite(fd, c"far".as_ptr().cast(), 3, 5000);
        shown(at.add(4998));
        measure("grown", folder, "f", fd);
        show("msync", msync(at.cast(), 8192, MS_SYNC));
        munmap(at.cast(), 8192);
        rub(fd);
        hear_at("after it", fd, 12, 0);
        // Mapped first, and busy then.
        let fd = open(path(folder, "g").as_ptr(), O_RDWR | O_CREAT, 0o644);
        ftruncate(fd, 4096);
        let at = mmap(null_mut(), 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0).cast::<u8>();
        rub(fd);
        rub(fd);
        shown(at);
        std::ptr::copy_nonoverlapping(b"stored".as_ptr(), at, 6);
        hear_at("stored", fd, 12, 0);
        measure("mapped", folder, "g", fd);
    }
}

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

fn full(folder: &str) {
    unsafe {
        let one = busy(folder, "one", O_RDWR);
        let two = busy(folder, "two", O_RDWR);
        let block = [b'1'; 4096];
        let mut written = 0i64;
        loop {
            let now = write(one, block.as_ptr().cast(), block.len());
            if now <= 0 {
                show("full", now as i64);
                break;
            }
            written += now as i64;
        }
        println!("{written}");
        measure("full", folder, "one", one);
        show("in place", pwrite(two, c"in place".as_ptr().cast(), 8, 16) as i64);
        show("no room", pwrite(two, block.as_ptr().cast(), 4096, 4096) as i64);
        show("cut", ftruncate(one, 8192));
        show("room again", pwrite(two, block.as_ptr().cast(), 4096, 4096) as i64);
        measure("then", folder, "two", two);
        let mut space: statvfs = zeroed();
        show("statvfs", statvfs(path(folder, "one").as_ptr(), &mut space));
        println!("{} of {}", space.f_bfree, space.f_blocks);
        close(one);
        close(two);
        show("statvfs", statvfs(path(folder, "one").as_ptr(), &mut space));
        println!("{} of {}", space.f_bfree, space.f_blocks);
    }
}
