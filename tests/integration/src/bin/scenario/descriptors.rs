//! Descriptors: numbers, duplicates, flags, locks.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("descriptors", OneProcess, descriptors)];

fn descriptors(folder: &str) {
    let file = create(folder, "file", b"0123456789");
    unsafe {
        let a = open(file.as_ptr(), O_RDWR | O_CLOEXEC);
        println!("lowest: {}", a == 3);
        show("cloexec", fcntl(a, F_GETFD));
        let b = dup(a);
        println!("next: {}", b == a + 1);
        show("dup has no cloexec", fcntl(b, F_GETFD));
        lseek(a, 4, SEEK_SET);
        show("shared offset", lseek(b, 0, SEEK_CUR));
        show("dup2", dup2(a, 50));
        show("dup2 onto itself", dup2(50, 50));
        show("dup2 of nothing", dup2(49, 51));
        show("dup3 onto itself", dup3(50, 50, 0));
        show("F_DUPFD", fcntl(a, F_DUPFD, 60));
        show("F_DUPFD_CLOEXEC", fcntl(a, F_DUPFD_CLOEXEC, 60));
        show("its flag", fcntl(61, F_GETFD));
        show("F_GETFL", fcntl(a, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
        show("F_SETFL", fcntl(a, F_SETFL, O_APPEND | O_NONBLOCK));
        show("on the copy", fcntl(b, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
        show("close", close(a));
        show("copy lives", lseek(b, 0, SEEK_CUR));
        let host = open(c"/dev/null".as_ptr(), O_RDWR);
        println!("freed number again: {}", host == a);
        show("host over rump", dup2(host, 60));
        show("writes to null", write(60, b"x".as_ptr().cast(), 1) as i64);
        show("rump over host", dup2(b, host));
        show("reads the file", lseek(host, 0, SEEK_END));
        show("close_range", close_range(50, 61, 0));
        show("gone", fcntl(50, F_GETFD));
        let mut lock: flock = zeroed();
        lock.l_type = F_WRLCK as i16;
        show("F_SETLK", fcntl(b, F_SETLK, &lock));
        show("flock", flock(b, LOCK_EX | LOCK_NB));
        show("isatty", if isatty(b) == 1 { 1 } else { -1 });
        show("FIONBIO", ioctl(b, FIONBIO, &1i32));
        show("not a socket", listen(b, 1));
    }
}
