//! RLIMIT_FSIZE: how long a file a process may write (setrlimit(2)), and the signal that says so.

use std::sync::atomic::{AtomicU32, Ordering};

use super::forking::{ended, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("file_sizes_limited", OneProcess, limited),
    ("file_sizes_limited_at_the_end", OneProcess, appended),
    ("file_sizes_limited_in_lengths", OneProcess, lengths),
    ("file_sizes_limited_for_children", Processes, children),
];

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

unsafe fn limit(soft: rlim_t) {
    unsafe {
        let mut limits: rlimit = zeroed();
        getrlimit(RLIMIT_FSIZE, &mut limits);
        limits.rlim_cur = soft;
        show("setrlimit", setrlimit(RLIMIT_FSIZE, &limits));
    }
}

unsafe fn caught() {
    unsafe {
        let mut action: sigaction = zeroed();
        action.sa_sigaction = count as *const () as usize;
        sigaction(SIGXFSZ, &action, null_mut());
    }
}

/// The result of a call, and how many signals came with it.
fn told(what: &str, result: i64) {
    show(what, result);
    println!("  signals {}", SIGNALS.swap(0, Ordering::Relaxed));
}

unsafe fn put_at(fd: c_int, len: usize, offset: off_t) -> i64 {
    let bytes = vec![b'x'; len];
    unsafe { pwrite(fd, bytes.as_ptr().cast(), len, offset) as i64 }
}

fn limited(folder: &str) {
    unsafe {
        caught();
        let fd = open(path(folder, "f").as_ptr(), O_CREAT | O_RDWR, 0o644);
        limit(10);
        told("below", put_at(fd, 9, 0));
        told("across", put_at(fd, 9, 9));
        told("at", put_at(fd, 1, 10));
        told("beyond", put_at(fd, 1, 11));
        told("nothing beyond", put_at(fd, 0, 11));
        told("inside", put_at(fd, 4, 2));
        let pieces = [iovec { iov_base: c"abcdef".as_ptr() as *mut c_void, iov_len: 6 }; 2];
        lseek(fd, 0, SEEK_SET);
        told("in pieces", writev(fd, pieces.as_ptr(), 2) as i64);
        told("in pieces, at the end", writev(fd, pieces.as_ptr(), 2) as i64);
        show("where", lseek(fd, 0, SEEK_CUR));
        limit(12);
        told("raised", put_at(fd, 9, 10));
        limit(RLIM_INFINITY);
        told("lifted", put_at(fd, 9, 12));
        limit(5);
        told("lower than the file", put_at(fd, 1, 5));
        told("inside a file that is longer", put_at(fd, 5, 0));
        signal(SIGXFSZ, SIG_IGN);
        told("ignored", put_at(fd, 1, 5));
        let null = open(c"/dev/null".as_ptr(), O_WRONLY);
        told("a device", put_at(null, 100, 100));
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        told("a pipe", put(ends[1], b"more than five") as i64);
    }
}

fn appended(folder: &str) {
    unsafe {
        caught();
        let fd = open(path(folder, "f").as_ptr(), O_CREAT | O_WRONLY | O_APPEND, 0o644);
        limit(8);
        for round in 0..4 {
            told(&format!("round {round}"), write(fd, b"abc".as_ptr().cast(), 3) as i64);
        }
        show("size", lseek(fd, 0, SEEK_END));
    }
}

fn lengths(folder: &str) {
    unsafe {
        caught();
        let name = create(folder, "f", b"0123456789");
        let fd = open(name.as_ptr(), O_RDWR);
        limit(20);
        told("truncate to it", truncate(name.as_ptr(), 20).into());
        told("truncate beyond", truncate(name.as_ptr(), 21).into());
        told("ftruncate beyond", ftruncate(fd, 1 << 30).into());
        limit(5);
        told("ftruncate as long as it is", ftruncate(fd, 20).into());
        told("ftruncate shorter, but longer than the limit", ftruncate(fd, 15).into());
        told("ftruncate longer", ftruncate(fd, 16).into());
        told("posix_fallocate", posix_fallocate(fd, 0, 30).into());
        told("fallocate", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 30).into());
        told("fallocate inside", fallocate(fd, 0, 0, 15).into());
        let other = open(path(folder, "g").as_ptr(), O_CREAT | O_RDWR, 0o644);
        told("copy_file_range", copy_file_range(fd, &mut 0, other, null_mut(), 15, 0) as i64);
        told("copy_file_range at it", copy_file_range(fd, &mut 0, other, null_mut(), 15, 0) as i64);
        told("sendfile", sendfile(other, fd, &mut 0, 15) as i64);
        show("size", lseek(other, 0, SEEK_END));
    }
}

fn children(folder: &str) {
    unsafe {
        let name = path(folder, "f");
        let fd = open(name.as_ptr(), O_CREAT | O_RDWR, 0o644);
        limit(4);
        let child = fork();
        if child == 0 {
            put(fd, b"1234");
            put(fd, b"5");
            _exit(0);
        }
        ended("a child is killed", child);
        let child = fork();
        if child == 0 {
            let script = format!("trap '' XFSZ; printf 123456 > {}/g; echo status $?", folder);
            let script = CString::new(script).unwrap();
            dup2(1, 2);
            execl(c"/bin/bash".as_ptr(), c"bash".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("an image", child);
        limit(RLIM_INFINITY);
        show("lifted", put_at(fd, 9, 0));
        let mut st: stat = zeroed();
        stat(path(folder, "g").as_ptr(), &mut st);
        show("what the image wrote", st.st_size);
    }
}
