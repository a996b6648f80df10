//! openat2(2), O_PATH, O_TMPFILE, AT_EMPTY_PATH, names of descriptors.

use super::super::prelude::*;
use super::{content, opened, put, take};

/// The family.
pub const TABLE: &[Row] = &[
    ("openat2_arguments", OneProcess, openat2_arguments),
    ("openat2_resolve", OneProcess, openat2_resolve),
    ("openat2_in_root", OneProcess, openat2_in_root),
    ("o_path_file", OneProcess, o_path_file),
    ("o_path_directory", OneProcess, o_path_directory),
    ("o_path_symlink", OneProcess, o_path_symlink),
    ("o_path_fifo", OneProcess, o_path_fifo),
    ("o_path_changes", OneProcess, o_path_changes),
    ("o_tmpfile", OneProcess, o_tmpfile),
    ("o_tmpfile_errors", OneProcess, o_tmpfile_errors),
    ("link_by_descriptor", OneProcess, link_by_descriptor),
    ("reopened_by_name", OneProcess, reopened_by_name),
    ("no_number_left", OneProcess, no_number_left),
    ("many_links", OneProcess, many_links),
];

fn open2(dir: c_int, name: &CStr, flags: c_int, mode: u64, resolve: u64) -> i64 {
    let how = [flags as u32 as u64, mode, resolve];
    unsafe { syscall(SYS_openat2, dir, name.as_ptr(), how.as_ptr(), 24) }
}

fn openat2_arguments(folder: &str) {
    let file = create(folder, "file", b"content");
    let how =
        |words: &[u64], size: usize| unsafe { syscall(SYS_openat2, AT_FDCWD, file.as_ptr(), words.as_ptr(), size) };
    works("plain", how(&[0, 0, 0], 24));
    works("short", how(&[0, 0, 0], 16));
    works("longer, zeros", how(&[0, 0, 0, 0], 32));
    works("longer, not zeros", how(&[0, 0, 0, 1], 32));
    works("too long", how(&[0; 1024], 8192));
    works("null", unsafe { syscall(SYS_openat2, AT_FDCWD, file.as_ptr(), 0usize, 24) });
    works("unknown flag", how(&[1 << 40, 0, 0], 24));
    works("mode without O_CREAT", how(&[0, 0o644, 0], 24));
    works("mode too large", how(&[(O_CREAT | O_WRONLY) as u64, 0o10644, 0], 24));
    works("O_CREAT", open2(AT_FDCWD, &path(folder, "made"), O_CREAT | O_WRONLY, 0o600, 0));
    works("O_PATH with O_TRUNC", how(&[(O_PATH | O_TRUNC) as u64, 0, 0], 24));
    works("O_PATH with O_NOFOLLOW", how(&[(O_PATH | O_NOFOLLOW) as u64, 0, 0], 24));
    works("unknown restriction", how(&[0, 0, 64], 24));
    works("beneath and in root", how(&[0, 0, 8 | 16], 24));
    works("cached", open2(AT_FDCWD, &file, O_RDONLY, 0, 32));
    works("cached, creating", open2(AT_FDCWD, &file, O_CREAT | O_RDWR, 0o600, 32));
    works("missing", open2(AT_FDCWD, &path(folder, "missing"), O_RDONLY, 0, 0));
}

fn openat2_resolve(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        create(folder, "d/inner", b"inner");
        symlink(c"../file".as_ptr(), path(folder, "d/up").as_ptr());
        symlink(c"inner".as_ptr(), path(folder, "d/same").as_ptr());
        symlink(c"/etc".as_ptr(), path(folder, "d/absolute").as_ptr());
    }
    let dir = opened(folder, "d", O_RDONLY | O_DIRECTORY);
    for (rule, resolve) in
        [("none", 0), ("no xdev", 1), ("no magic", 2), ("no links", 4), ("beneath", 8), ("in root", 16)]
    {
        for name in [c"inner", c"up", c"same", c"absolute", c"..", c"../file", c"./inner", c"missing", c"inner/"] {
            if (rule, name) != ("none", c"absolute")
                && (rule, name) != ("no xdev", c"absolute")
                && (rule, name) != ("no magic", c"absolute")
            {
                works(&format!("{rule} {name:?}"), open2(dir, name, O_RDONLY, 0, resolve));
            }
        }
    }
    works("beneath, creating", open2(dir, c"new", O_CREAT | O_WRONLY, 0o644, 8));
    works("beneath, creating above", open2(dir, c"../new", O_CREAT | O_WRONLY, 0o644, 8));
    works("beneath, absolute", open2(dir, &path(folder, "file"), O_RDONLY, 0, 8));
    works("a link, not followed", open2(dir, c"same", O_RDONLY | O_NOFOLLOW, 0, 4));
    works("a link as a place", open2(dir, c"same", O_PATH | O_NOFOLLOW, 0, 4));
}

fn openat2_in_root(folder: &str) {
    unsafe {
        mkdir(path(folder, "root").as_ptr(), 0o755);
        mkdir(path(folder, "root/etc").as_ptr(), 0o755);
        create(folder, "root/etc/name", b"inside");
        symlink(c"/etc/name".as_ptr(), path(folder, "root/link").as_ptr());
        symlink(c"../../../../etc/name".as_ptr(), path(folder, "root/etc/high").as_ptr());
    }
    let root = opened(folder, "root", O_PATH | O_DIRECTORY);
    for name in [c"/etc/name", c"link", c"etc/high", c"../../etc/name", c"/", c"/etc/../../etc/name", c"/missing"] {
        let fd = open2(root, name, O_RDONLY, 0, 16);
        works(&format!("{name:?}"), fd);
        if fd >= 0 {
            take("reads", fd as c_int, 20);
        }
    }
    works("creating", open2(root, c"/etc/made", O_CREAT | O_WRONLY, 0o644, 16));
    works("made inside", i64::from(unsafe { access(path(folder, "root/etc/made").as_ptr(), F_OK) }));
}

fn o_path_file(folder: &str) {
    create(folder, "file", b"content");
    let fd = opened(folder, "file", O_PATH);
    works("open", fd);
    let mut byte = [0u8; 4];
    unsafe {
        let mut st: stat = zeroed();
        show("read", read(fd, byte.as_mut_ptr().cast(), 1) as i64);
        show("pread", pread(fd, byte.as_mut_ptr().cast(), 1, 0) as i64);
        show("write", write(fd, byte.as_ptr().cast(), 1) as i64);
        show("lseek", lseek(fd, 0, SEEK_SET));
        show("ftruncate", ftruncate(fd, 0));
        show("fsync", fsync(fd));
        show("fchmod", fchmod(fd, 0o600));
        show("fchown", fchown(fd, 0, 0));
        show("futimens", futimens(fd, null()));
        show("flock", flock(fd, LOCK_SH));
        show("ioctl", ioctl(fd, FIONREAD, &mut st));
        show("fallocate", fallocate(fd, 0, 0, 10));
        show("fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_NORMAL));
        let map = mmap(null_mut(), 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        show("mmap", if map == MAP_FAILED { -1i64 } else { 0 });
        show("fstat", fstat(fd, &mut st));
        println!("{:o} {}", st.st_mode, st.st_size);
        let mut fs: statfs = zeroed();
        show("fstatfs", fstatfs(fd, &mut fs));
        println!("F_GETFL {:o}", fcntl(fd, F_GETFL) & !O_LARGEFILE);
        show("F_SETFL", fcntl(fd, F_SETFL, O_APPEND));
        show("F_GETFD", fcntl(fd, F_GETFD));
        works("F_DUPFD", fcntl(fd, F_DUPFD, 100));
        let second = dup(fd);
        works("dup", second);
        show("fstat of the second", fstat(second, &mut st));
        let mut watched = pollfd { fd, events: POLLIN, revents: 0 };
        show("poll", poll(&mut watched, 1, 0));
        println!("revents {:x}", watched.revents);
        show("fchdir", fchdir(fd));
        show("getdents", syscall(SYS_getdents64, fd, byte.as_mut_ptr(), 4));
        show("close", close(fd));
        show("close again", close(fd));
    }
}

fn o_path_directory(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let dir = open(CString::new(folder).unwrap().as_ptr(), O_PATH);
        works("openat", openat(dir, c"file".as_ptr(), O_RDONLY));
        works("creating", openat(dir, c"made".as_ptr(), O_CREAT | O_WRONLY, 0o644));
        show("mkdirat", mkdirat(dir, c"sub".as_ptr(), 0o755));
        show("renameat", renameat(dir, c"made".as_ptr(), dir, c"moved".as_ptr()));
        show("unlinkat", unlinkat(dir, c"moved".as_ptr(), 0));
        show("fchdir", fchdir(dir));
        show("relative", access(c"file".as_ptr(), R_OK));
        let mut buf = [0u8; 256];
        show("getdents", syscall(SYS_getdents64, dir, buf.as_mut_ptr(), buf.len()));
        works("O_DIRECTORY of a file", opened(folder, "file", O_PATH | O_DIRECTORY));
        works("O_WRONLY is ignored", open(c".".as_ptr(), O_PATH | O_WRONLY));
        works("O_CREAT is ignored", open(c"none".as_ptr(), O_PATH | O_CREAT, 0o644));
    }
}

fn o_path_symlink(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        let link = opened(folder, "link", O_PATH | O_NOFOLLOW);
        works("the link itself", link);
        let mut st: stat = zeroed();
        show("fstat", fstat(link, &mut st));
        println!("{:o}", st.st_mode);
        let mut buf = [0u8; 16];
        let got = readlinkat(link, c"".as_ptr(), buf.as_mut_ptr().cast(), 16);
        show("readlinkat", got as i64);
        println!("{:?}", String::from_utf8_lossy(&buf[..4]));
        show("fstatat of nothing", fstatat(link, c"".as_ptr(), &mut st, AT_EMPTY_PATH));
        println!("{:o}", st.st_mode);
        show("fchownat", fchownat(link, c"".as_ptr(), getuid(), getgid(), AT_EMPTY_PATH));
        show("openat below it", openat(link, c"x".as_ptr(), O_RDONLY));
        let file = opened(folder, "link", O_PATH);
        fstat(file, &mut st);
        println!("followed {:o}", st.st_mode);
        show("readlinkat of a file", readlinkat(file, c"".as_ptr(), buf.as_mut_ptr().cast(), 16) as i64);
        works("O_NOFOLLOW without O_PATH", opened(folder, "link", O_RDONLY | O_NOFOLLOW));
        works("O_NOFOLLOW | O_DIRECTORY", opened(folder, "link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
    }
}

fn o_path_fifo(folder: &str) {
    unsafe {
        mkfifo(path(folder, "fifo").as_ptr(), 0);
        works("nobody is waited for", opened(folder, "fifo", O_PATH));
        create(folder, "secret", b"x");
        chmod(path(folder, "secret").as_ptr(), 0);
        works("no permission needed", opened(folder, "secret", O_PATH));
    }
}

fn o_path_changes(folder: &str) {
    create(folder, "file", b"content");
    let fd = opened(folder, "file", O_PATH);
    unsafe {
        let times = [timespec { tv_sec: 100, tv_nsec: 5 }, timespec { tv_sec: 200, tv_nsec: 6 }];
        show("utimensat", utimensat(fd, c"".as_ptr(), times.as_ptr(), AT_EMPTY_PATH));
        show("fchownat", fchownat(fd, c"".as_ptr(), u32::MAX, u32::MAX, AT_EMPTY_PATH));
        show("fchmodat2", syscall(SYS_fchmodat2, fd, c"".as_ptr(), 0o640, AT_EMPTY_PATH));
        show("faccessat2", syscall(SYS_faccessat2, fd, c"".as_ptr(), R_OK | W_OK, AT_EMPTY_PATH));
        show("faccessat2, execution", syscall(SYS_faccessat2, fd, c"".as_ptr(), X_OK, AT_EMPTY_PATH));
        show("faccessat2, bad mode", syscall(SYS_faccessat2, fd, c"".as_ptr(), 8, AT_EMPTY_PATH));
        show("without AT_EMPTY_PATH", syscall(SYS_fchmodat2, fd, c"".as_ptr(), 0o640, 0));
        show("unknown flag", syscall(SYS_fchmodat2, fd, c"".as_ptr(), 0o640, 0x8000));
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{:o} {} {}", st.st_mode, st.st_atime, st.st_mtime);
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        let link = path(folder, "link");
        show("fchmodat2 of a link", syscall(SYS_fchmodat2, AT_FDCWD, link.as_ptr(), 0o600, AT_SYMLINK_NOFOLLOW));
    }
}

fn o_tmpfile(folder: &str) {
    let dir = CString::new(folder).unwrap();
    unsafe {
        let fd = open(dir.as_ptr(), O_TMPFILE | O_RDWR, 0o640);
        works("open", fd);
        show("write", put(fd, b"unnamed"));
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{:o} {} {}", st.st_mode & 0o777777, st.st_nlink, st.st_size);
        let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
        let to = path(folder, "named");
        show("linkat", linkat(AT_FDCWD, name.as_ptr(), AT_FDCWD, to.as_ptr(), AT_SYMLINK_FOLLOW));
        show("linkat again", linkat(AT_FDCWD, name.as_ptr(), AT_FDCWD, to.as_ptr(), AT_SYMLINK_FOLLOW));
        fstat(fd, &mut st);
        println!("links {}", st.st_nlink);
        take("named", opened(folder, "named", O_RDONLY), 20);
        let fd = open(dir.as_ptr(), O_TMPFILE | O_RDWR | O_EXCL, 0o600);
        show("with O_EXCL", linkat(fd, c"".as_ptr(), AT_FDCWD, path(folder, "never").as_ptr(), AT_EMPTY_PATH));
        let fd = open(dir.as_ptr(), O_TMPFILE | O_WRONLY, 0o600);
        show("by AT_EMPTY_PATH", linkat(fd, c"".as_ptr(), AT_FDCWD, path(folder, "other").as_ptr(), AT_EMPTY_PATH));
        show("there", access(path(folder, "other").as_ptr(), F_OK));
    }
}

fn o_tmpfile_errors(folder: &str) {
    create(folder, "file", b"");
    let dir = CString::new(folder).unwrap();
    unsafe {
        works("read only", open(dir.as_ptr(), O_TMPFILE | O_RDONLY, 0o600));
        works("with O_CREAT", open(dir.as_ptr(), O_TMPFILE | O_RDWR | O_CREAT, 0o600));
        works("of a file", open(path(folder, "file").as_ptr(), O_TMPFILE | O_RDWR, 0o600));
        works("missing", open(path(folder, "missing").as_ptr(), O_TMPFILE | O_RDWR, 0o600));
        let mut count = 0;
        let list = opendir(dir.as_ptr());
        while !readdir(list).is_null() {
            count += 1;
        }
        println!("{count} entries");
    }
}

fn link_by_descriptor(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDONLY);
        show("linkat", linkat(fd, c"".as_ptr(), AT_FDCWD, path(folder, "second").as_ptr(), AT_EMPTY_PATH));
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("links {}", st.st_nlink);
        show("without the flag", linkat(fd, c"".as_ptr(), AT_FDCWD, path(folder, "third").as_ptr(), 0));
        unlink(path(folder, "file").as_ptr());
        unlink(path(folder, "second").as_ptr());
        show("of a removed file", linkat(fd, c"".as_ptr(), AT_FDCWD, path(folder, "third").as_ptr(), AT_EMPTY_PATH));
        show("unknown flag", linkat(AT_FDCWD, path(folder, "a").as_ptr(), AT_FDCWD, path(folder, "b").as_ptr(), 1));
    }
}

fn reopened_by_name(folder: &str) {
    create(folder, "file", b"content");
    let fd = opened(folder, "file", O_PATH);
    let name = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
    unsafe {
        let again = open(name.as_ptr(), O_RDWR);
        works("for reading and writing", again);
        take("reads", again, 20);
        show("write", put(again, b" more"));
        let third = open(CString::new(format!("/dev/fd/{again}")).unwrap().as_ptr(), O_RDONLY);
        take("from the start", third, 20);
        show("its writing", put(third, b"x"));
        works("exclusive", open(name.as_ptr(), O_CREAT | O_EXCL | O_RDWR, 0o600));
        works("O_TRUNC", open(name.as_ptr(), O_WRONLY | O_TRUNC));
        content("empty", third);
        works("O_DIRECTORY", open(name.as_ptr(), O_RDONLY | O_DIRECTORY));
    }
}

fn no_number_left(folder: &str) {
    unsafe {
        let mut limit: rlimit = zeroed();
        getrlimit(RLIMIT_NOFILE, &mut limit);
        let first = opened(folder, ".", O_PATH);
        let low = rlimit { rlim_cur: first as u64 + 1, ..limit };
        setrlimit(RLIMIT_NOFILE, &low);
        works("O_CREAT", opened(folder, "never", O_CREAT | O_WRONLY));
        works("O_RDONLY", opened(folder, ".", O_RDONLY));
        works("dup", dup(first));
        setrlimit(RLIMIT_NOFILE, &limit);
        show("no file was made", access(path(folder, "never").as_ptr(), F_OK));
    }
}

fn many_links(folder: &str) {
    create(folder, "l0", b"content");
    unsafe {
        for at in 1..=42 {
            let target = CString::new(format!("l{}", at - 1)).unwrap();
            symlink(target.as_ptr(), path(folder, &format!("l{at}")).as_ptr());
        }
        works("40", opened(folder, "l40", O_RDONLY));
        works("41", opened(folder, "l41", O_RDONLY));
    }
}
