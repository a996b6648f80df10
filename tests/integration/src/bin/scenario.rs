//! Plain libc code, run natively and hijacked; both must print the same.
//!
//! `scenario NAME FOLDER`: the folder is on the host natively and below /rump hijacked. Every line names a call and what came
//! back. Values that may differ (device and inode numbers, ports, times) are not printed.

#![expect(unsafe_code, reason = "these programs are C in all but name")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each line is one libc call with valid arguments, or deliberately bad ones"
)]

use std::ffi::{CStr, CString};
use std::mem::{size_of, zeroed};
use std::ptr::{null, null_mut};

use libc::*;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let name = args.get(1).map(String::as_str).unwrap_or_default();
    let folder = args.get(2).cloned().unwrap_or_else(|| "/tmp".into());
    let Some((_, run)) = SCENARIOS.iter().find(|(known, _)| *known == name) else {
        for (known, _) in SCENARIOS {
            println!("{known}");
        }
        return;
    };
    run(&folder);
}

/// A scenario: what it does in the folder of this name.
type Scenario = fn(&str);

/// Every scenario by its name.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("open_errors", open_errors),
    ("read_write", read_write),
    ("names", names),
    ("directories", directories),
    ("stat_fields", stat_fields),
    ("descriptors", descriptors),
    ("stdio", stdio),
    ("pipes_and_fork", pipes_and_fork),
    ("tcp", tcp),
    ("tcp_errors", tcp_errors),
    ("udp", udp),
    ("options", options),
    ("poll_mixed", poll_mixed),
    ("select_bits", select_bits),
    ("signals", signals),
    ("threads", threads),
    ("bad_pointers", bad_pointers),
    ("devices", devices),
];

fn errno() -> i32 {
    unsafe { *__errno_location() }
}

/// Prints the outcome of a call and returns its value.
fn show(what: &str, value: impl Into<i64>) -> i64 {
    let (value, error) = (value.into(), errno());
    if value < 0 {
        println!("{what}: {}", unsafe { CStr::from_ptr(strerror(error)) }.to_string_lossy());
    } else {
        println!("{what}: {value}");
    }
    value
}

/// Prints only whether a call worked.
fn works(what: &str, value: impl Into<i64>) -> i32 {
    let value = value.into();
    show(what, if value < 0 { -1 } else { 0i64 });
    value as i32
}

fn path(folder: &str, name: &str) -> CString {
    CString::new(format!("{folder}/{name}")).unwrap()
}

fn create(folder: &str, name: &str, content: &[u8]) -> CString {
    let path = path(folder, name);
    unsafe {
        let fd = open(path.as_ptr(), O_WRONLY | O_CREAT | O_TRUNC, 0o644);
        assert_eq!(write(fd, content.as_ptr().cast(), content.len()), content.len() as isize);
        close(fd);
    }
    path
}

fn open_errors(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        show("missing", open(path(folder, "missing").as_ptr(), O_RDONLY));
        show("below a file", open(path(folder, "file/x").as_ptr(), O_RDONLY));
        show("exclusive", open(file.as_ptr(), O_CREAT | O_EXCL | O_RDWR, 0o600));
        show("directory for writing", open(CString::new(folder).unwrap().as_ptr(), O_RDWR));
        show("O_DIRECTORY of a file", open(file.as_ptr(), O_DIRECTORY));
        show("trailing slash", open(path(folder, "file/").as_ptr(), O_RDONLY));
        show("symlink", symlink(c"loop".as_ptr(), path(folder, "loop").as_ptr()));
        show("loop", open(path(folder, "loop").as_ptr(), O_RDONLY));
        show("O_NOFOLLOW", open(path(folder, "loop").as_ptr(), O_RDONLY | O_NOFOLLOW));
        show("empty", open(c"".as_ptr(), O_RDONLY));
        show("long name", open(path(folder, &"n".repeat(256)).as_ptr(), O_RDONLY));
        show("name of 255", open(path(folder, &"n".repeat(255)).as_ptr(), O_RDONLY));
        let fd = open(file.as_ptr(), O_RDONLY);
        show("write to read-only", write(fd, b"x".as_ptr().cast(), 1) as i64);
        close(fd);
        show("closed", read(fd, null_mut(), 0) as i64);
        show("bad descriptor", close(-1));
    }
}

fn read_write(folder: &str) {
    unsafe {
        let fd = open(path(folder, "rw").as_ptr(), O_RDWR | O_CREAT, 0o640);
        let mut buf = [0u8; 64];
        show("write", write(fd, b"hello, world".as_ptr().cast(), 12) as i64);
        show("seek", lseek(fd, 7, SEEK_SET));
        show("read", read(fd, buf.as_mut_ptr().cast(), 64) as i64);
        println!("{:?}", &buf[..5]);
        show("end", read(fd, buf.as_mut_ptr().cast(), 64) as i64);
        show("pread", pread(fd, buf.as_mut_ptr().cast(), 5, 0) as i64);
        show("pwrite", pwrite(fd, b"J".as_ptr().cast(), 1, 0) as i64);
        show("where", lseek(fd, 0, SEEK_CUR));
        show("negative seek", lseek(fd, -1, SEEK_SET));
        show("bad whence", lseek(fd, 0, 99));
        show("beyond the end", lseek(fd, 5_000_000_000, SEEK_SET));
        show("sparse write", write(fd, b"!".as_ptr().cast(), 1) as i64);
        show("size", lseek(fd, 0, SEEK_END));
        show("hole", pread(fd, buf.as_mut_ptr().cast(), 4, 4_000_000_000) as i64);
        println!("{:?}", &buf[..4]);
        show("truncate", ftruncate(fd, 5));
        show("size", lseek(fd, 0, SEEK_END));
        show("negative truncate", ftruncate(fd, -1));
        let vector = [
            iovec { iov_base: c"ab".as_ptr() as *mut _, iov_len: 2 },
            iovec { iov_base: c"cde".as_ptr() as *mut _, iov_len: 3 },
        ];
        show("writev", writev(fd, vector.as_ptr(), 2) as i64);
        show("writev of none", writev(fd, vector.as_ptr(), 0) as i64);
        show("writev of too many", writev(fd, vector.as_ptr(), -1) as i64);
        lseek(fd, 0, SEEK_SET);
        let into = [
            iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 4 },
            iovec { iov_base: buf.as_mut_ptr().add(4).cast(), iov_len: 60 },
        ];
        show("readv", readv(fd, into.as_ptr(), 2) as i64);
        println!("{:?}", std::str::from_utf8(&buf[..10]));
        let append = open(path(folder, "rw").as_ptr(), O_WRONLY | O_APPEND);
        show("append", write(append, b"end".as_ptr().cast(), 3) as i64);
        show("size", lseek(fd, 0, SEEK_END));
        let big: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        lseek(fd, 0, SEEK_SET);
        show("large write", write(fd, big.as_ptr().cast(), big.len()) as i64);
        let mut back = vec![0u8; big.len()];
        show("large read", pread(fd, back.as_mut_ptr().cast(), back.len(), 0) as i64);
        println!("same: {}", back == big);
        show("fsync", fsync(fd));
        show("fdatasync", fdatasync(fd));
        show("fallocate", posix_fallocate(fd, 0, 400_000));
        show("size", lseek(fd, 0, SEEK_END));
    }
}

fn names(folder: &str) {
    let (a, b) = (create(folder, "a", b"a"), path(folder, "b"));
    unsafe {
        show("link", link(a.as_ptr(), b.as_ptr()));
        show("link again", link(a.as_ptr(), b.as_ptr()));
        show("rename", rename(b.as_ptr(), path(folder, "c").as_ptr()));
        show("rename missing", rename(b.as_ptr(), a.as_ptr()));
        show("mkdir", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("mkdir again", mkdir(path(folder, "d").as_ptr(), 0o755));
        show("file over directory", rename(a.as_ptr(), path(folder, "d").as_ptr()));
        show("directory over file", rename(path(folder, "d").as_ptr(), a.as_ptr()));
        show("into itself", rename(path(folder, "d").as_ptr(), path(folder, "d/e").as_ptr()));
        create(folder, "d/f", b"");
        show("rmdir of a full one", rmdir(path(folder, "d").as_ptr()));
        show("rmdir of a file", rmdir(a.as_ptr()));
        show("unlink of a directory", unlink(path(folder, "d").as_ptr()));
        show("unlink", unlink(path(folder, "d/f").as_ptr()));
        show("rmdir", rmdir(path(folder, "d").as_ptr()));
        show("rmdir of dot", rmdir(path(folder, ".").as_ptr()));
        show("unlink missing", unlink(path(folder, "d/f").as_ptr()));
        show("symlink", symlink(c"a".as_ptr(), path(folder, "s").as_ptr()));
        let mut buf = [0u8; 16];
        show("readlink", readlink(path(folder, "s").as_ptr(), buf.as_mut_ptr().cast(), 16) as i64);
        show("readlink of a file", readlink(a.as_ptr(), buf.as_mut_ptr().cast(), 16) as i64);
        show("access", access(path(folder, "s").as_ptr(), R_OK | W_OK));
        show("access missing", access(path(folder, "x").as_ptr(), F_OK));
        let real = realpath(path(folder, "s").as_ptr(), null_mut());
        println!("realpath ends: {}", CStr::from_ptr(real).to_string_lossy().ends_with("/a"));
        show("truncate", truncate(a.as_ptr(), 10));
        show("chmod", chmod(a.as_ptr(), 0o604));
        let mut name = path(folder, "tmpXXXXXX").into_bytes_with_nul();
        works("mkstemp", mkstemp(name.as_mut_ptr().cast()));
        show(
            "across kernels",
            if folder.starts_with("/rump") {
                rename(a.as_ptr(), c"/tmp/never".as_ptr())
            } else {
                *__errno_location() = EXDEV;
                -1
            },
        );
    }
}

fn directories(folder: &str) {
    unsafe {
        for i in 0..300 {
            create(folder, &format!("entry-{i:03}"), b"");
        }
        let mut seen = Vec::new();
        let dir = opendir(CString::new(folder).unwrap().as_ptr());
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            seen.push(CStr::from_ptr((*entry).d_name.as_ptr()).to_string_lossy().into_owned());
        }
        println!("{} with dots", seen.len());
        rewinddir(dir);
        let mut removed = 0;
        loop {
            let entry = readdir(dir);
            if entry.is_null() {
                break;
            }
            if *(*entry).d_name.as_ptr() != b'.' as i8 {
                removed += 1 + unlinkat(dirfd(dir), (*entry).d_name.as_ptr(), 0);
            }
        }
        println!("{removed} removed while reading");
        closedir(dir);
        show("mkdir", mkdir(path(folder, "sub").as_ptr(), 0o700));
        let fd = open(path(folder, "sub").as_ptr(), O_RDONLY | O_DIRECTORY);
        works("openat", openat(fd, c"file".as_ptr(), O_CREAT | O_WRONLY, 0o644));
        show("faccessat", faccessat(fd, c"file".as_ptr(), F_OK, 0));
        show("mkdirat", mkdirat(fd, c"deep".as_ptr(), 0o755));
        show("read of a directory", read(fd, null_mut(), 0) as i64);
        show("fchdir", fchdir(fd));
        show("relative", access(c"file".as_ptr(), F_OK));
        show("chdir up", chdir(c"..".as_ptr()));
        let mut buf = [0u8; 4096];
        let cwd = getcwd(buf.as_mut_ptr().cast(), buf.len());
        println!("cwd is the folder: {}", !cwd.is_null() && CStr::from_ptr(cwd).to_string_lossy() == folder);
        show("small buffer", if getcwd(buf.as_mut_ptr().cast(), 2).is_null() { -1 } else { 0 });
        show("chdir to a file", chdir(c"sub/file".as_ptr()));
        show("chdir to nothing", chdir(c"nothing".as_ptr()));
        show("unlinkat of a directory", unlinkat(fd, c"deep".as_ptr(), AT_REMOVEDIR));
        show("renameat", renameat(fd, c"file".as_ptr(), AT_FDCWD, c"moved".as_ptr()));
        show("moved", access(path(folder, "moved").as_ptr(), F_OK));
    }
}

fn stat_fields(folder: &str) {
    let file = create(folder, "file", &[7; 5000]);
    unsafe {
        let mut st: stat = zeroed();
        show("stat", stat(file.as_ptr(), &mut st));
        println!("{:o} {} {} {} {} {}", st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, st.st_blksize);
        println!("blocks {}", st.st_blocks > 0);
        umask(0o027);
        mkdir(path(folder, "d").as_ptr(), 0o777);
        lstat(path(folder, "d").as_ptr(), &mut st);
        println!("{:o} {}", st.st_mode, st.st_nlink);
        symlink(c"file".as_ptr(), path(folder, "s").as_ptr());
        lstat(path(folder, "s").as_ptr(), &mut st);
        println!("{:o} {}", st.st_mode & S_IFMT, st.st_size);
        fstatat(AT_FDCWD, path(folder, "s").as_ptr(), &mut st, 0);
        println!("{:o} {}", st.st_mode & S_IFMT, st.st_size);
        show("mkfifo", mkfifo(path(folder, "p").as_ptr(), 0o644));
        lstat(path(folder, "p").as_ptr(), &mut st);
        println!("{:o}", st.st_mode);
        let times = [timespec { tv_sec: 1_000_000, tv_nsec: 5 }, timespec { tv_sec: 2_000_000, tv_nsec: 999_999_999 }];
        show("utimensat", utimensat(AT_FDCWD, file.as_ptr(), times.as_ptr(), 0));
        stat(file.as_ptr(), &mut st);
        println!("{} {} {} {}", st.st_atime, st.st_atime_nsec, st.st_mtime, st.st_mtime_nsec);
        let mut stx: statx = zeroed();
        show("statx", statx(AT_FDCWD, file.as_ptr(), 0, STATX_BASIC_STATS, &mut stx));
        println!("{} {:o} {}", stx.stx_size, stx.stx_mode, stx.stx_mtime.tv_nsec);
        show("stat missing", stat(path(folder, "x").as_ptr(), &mut st));
        let fd = open(file.as_ptr(), O_RDONLY);
        show("fstat", fstat(fd, &mut st));
        println!("{}", st.st_size);
        show("fchmod", fchmod(fd, 0o400));
        show("chown", chown(file.as_ptr(), 1, 2));
        fstat(fd, &mut st);
        println!("{:o} {} {}", st.st_mode, st.st_uid, st.st_gid);
        let mut vfs: statvfs = zeroed();
        show("statvfs", statvfs(file.as_ptr(), &mut vfs));
        println!("{} {}", vfs.f_namemax, vfs.f_bsize);
        unlink(file.as_ptr());
        fstat(fd, &mut st);
        println!("links after unlink {}", st.st_nlink);
    }
}

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

fn stdio(folder: &str) {
    let name = path(folder, "stream");
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        println!("fopen: {}", !file.is_null());
        for i in 0..1000 {
            fprintf(file, c"line %d\n".as_ptr(), i as c_int);
        }
        show("fflush", fflush(file));
        show("ftell", ftell(file));
        rewind(file);
        let mut buf = [0u8; 64];
        let mut lines = 0;
        while !fgets(buf.as_mut_ptr().cast(), 64, file).is_null() {
            lines += 1;
        }
        println!("{lines} lines");
        show("fclose", fclose(file));
        let file = fopen(name.as_ptr(), c"a".as_ptr());
        fputs(c"appended\n".as_ptr(), file);
        fclose(file);
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("{}", st.st_size);
        println!("missing: {}", fopen(path(folder, "missing").as_ptr(), c"r".as_ptr()).is_null());
        let out = freopen(path(folder, "out").as_ptr(), c"w".as_ptr(), fopen(name.as_ptr(), c"r".as_ptr()));
        fputs(c"reopened".as_ptr(), out);
        fclose(out);
        stat(path(folder, "out").as_ptr(), &mut st);
        println!("{}", st.st_size);
        let pipe = popen(CString::new(format!("cat {folder}/out")).unwrap().as_ptr(), c"r".as_ptr());
        println!("popen: {}", fread(buf.as_mut_ptr().cast(), 1, 64, pipe));
        show("pclose", pclose(pipe));
        show("system", system(CString::new(format!("test -s {folder}/out")).unwrap().as_ptr()));
        show("remove", remove(name.as_ptr()));
    }
}

fn pipes_and_fork(folder: &str) {
    unsafe {
        let fd = open(path(folder, "shared").as_ptr(), O_RDWR | O_CREAT, 0o644);
        let mut ends = [0; 2];
        show("pipe", pipe(ends.as_mut_ptr()));
        let child = fork();
        if child == 0 {
            write(fd, b"child".as_ptr().cast(), 5);
            write(ends[1], b"!".as_ptr().cast(), 1);
            _exit(3);
        }
        let mut byte = 0u8;
        show("from the child", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        show("status", WEXITSTATUS(status));
        show("offset moved by the child", lseek(fd, 0, SEEK_CUR));
        close(ends[1]);
        show("end of file", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        // A pipeline of three with redirections onto the file, as a shell makes it.
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            close(fd);
            execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"from".as_ptr(), c"exec".as_ptr(), null::<c_char>());
            _exit(127);
        }
        waitpid(child, &mut status, 0);
        show("echo", WEXITSTATUS(status));
        show("size", lseek(fd, 0, SEEK_END));
        for _ in 0..20 {
            let child = fork();
            if child == 0 {
                let grandchild = fork();
                if grandchild == 0 {
                    _exit(i32::from(write(fd, b".".as_ptr().cast(), 1) != 1));
                }
                waitpid(grandchild, &mut status, 0);
                _exit(WEXITSTATUS(status));
            }
            waitpid(child, &mut status, 0);
            assert_eq!(WEXITSTATUS(status), 0);
        }
        show("size", lseek(fd, 0, SEEK_END));
        show("exec of nothing", execl(c"/no/such".as_ptr(), c"x".as_ptr(), null::<c_char>()));
        show("still works", lseek(fd, 0, SEEK_END));
    }
}

unsafe fn loopback(port: u16) -> sockaddr_in {
    let mut addr: sockaddr_in = unsafe { zeroed() };
    addr.sin_family = AF_INET as u16;
    addr.sin_port = port.to_be();
    addr.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    addr
}

const LEN: socklen_t = size_of::<sockaddr_in>() as socklen_t;

/// A listener on the loopback and its address.
unsafe fn listener() -> (c_int, sockaddr_in) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let mut addr = loopback(0);
        assert_eq!(bind(s, (&raw const addr).cast(), LEN), 0);
        assert_eq!(listen(s, 8), 0);
        let mut len = LEN;
        assert_eq!(getsockname(s, (&raw mut addr).cast(), &mut len), 0);
        (s, addr)
    }
}

/// A connected pair of TCP sockets.
unsafe fn connected() -> (c_int, c_int) {
    unsafe {
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM, 0);
        assert_eq!(connect(c, (&raw const addr).cast(), LEN), 0);
        let a = accept(s, null_mut(), null_mut());
        close(s);
        (c, a)
    }
}

fn tcp(_: &str) {
    unsafe {
        let (s, addr) = listener();
        let c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        show("connect", connect(c, (&raw const addr).cast(), LEN));
        let mut peer: sockaddr_in = zeroed();
        let mut len = LEN;
        let a = accept4(s, (&raw mut peer).cast(), &mut len, SOCK_NONBLOCK);
        println!("accept: {} {} {}", a >= 0, len, peer.sin_family);
        show("nonblocking", fcntl(a, F_GETFL) & O_NONBLOCK);
        let mut local: sockaddr_in = zeroed();
        getsockname(c, (&raw mut local).cast(), &mut len);
        println!(
            "the peer is the client: {}",
            local.sin_port == peer.sin_port && local.sin_addr.s_addr == peer.sin_addr.s_addr
        );
        let mut buf = [0u8; 100];
        show("would block", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        fcntl(a, F_SETFL, 0);
        show("send", send(c, b"hello".as_ptr().cast(), 5, 0) as i64);
        show("peek", recv(a, buf.as_mut_ptr().cast(), 2, MSG_PEEK) as i64);
        let mut n: c_int = 0;
        show("FIONREAD", ioctl(a, FIONREAD, &mut n));
        println!("{n}");
        show("recv", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("dontwait", recv(a, buf.as_mut_ptr().cast(), 100, MSG_DONTWAIT) as i64);
        show("write", write(a, b"back".as_ptr().cast(), 4) as i64);
        show("read", read(c, buf.as_mut_ptr().cast(), 100) as i64);
        show("half close", shutdown(c, SHUT_WR));
        show("end", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("other way", send(a, b"more".as_ptr().cast(), 4, 0) as i64);
        show("arrives", recv(c, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("send after shutdown", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        close(a);
        show("end", recv(c, buf.as_mut_ptr().cast(), 100, 0) as i64);
        close(c);
        close(s);
        let (c, a) = connected();
        let child = fork();
        if child == 0 {
            close(a);
            let data = vec![5u8; 1 << 20];
            let mut sent = 0;
            while sent < data.len() {
                sent += write(c, data.as_ptr().add(sent).cast(), data.len() - sent) as usize;
            }
            _exit(0);
        }
        close(c);
        let (mut total, mut chunk) = (0, vec![0u8; 65536]);
        loop {
            let n = read(a, chunk.as_mut_ptr().cast(), chunk.len());
            if n <= 0 {
                break;
            }
            total += n;
        }
        println!("{total} bytes from another process");
        waitpid(child, null_mut(), 0);
    }
}

fn tcp_errors(_: &str) {
    unsafe {
        let (s, addr) = listener();
        let t = socket(AF_INET, SOCK_STREAM, 0);
        show("in use", bind(t, (&raw const addr).cast(), LEN));
        close(s);
        show("refused", connect(t, (&raw const addr).cast(), LEN));
        let mut peer: sockaddr_in = zeroed();
        let mut len = LEN;
        let u = socket(AF_INET, SOCK_STREAM, 0);
        show("no peer", getpeername(u, (&raw mut peer).cast(), &mut len));
        show("not connected", recv(u, null_mut(), 0, 0) as i64);
        show("pipe", send(u, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        show("accept of no listener", accept(u, null_mut(), null_mut()));
        show("shutdown of unconnected", shutdown(u, SHUT_RDWR));
        let far = sockaddr_in { sin_addr: in_addr { s_addr: u32::from_ne_bytes([1, 2, 3, 4]) }, ..loopback(0) };
        show("foreign address", bind(u, (&raw const far).cast(), LEN));
        show("short address", bind(u, (&raw const far).cast(), 4));
        show("unknown family", socket(77, SOCK_STREAM, 0));
        show("unknown type", socket(AF_INET, 77, 0));
        show("wrong protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
        let (c, a) = connected();
        show("again", connect(c, (&raw const addr).cast(), LEN));
        let linger = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(a, SOL_SOCKET, SO_LINGER, (&raw const linger).cast(), 8);
        close(a);
        let mut byte = 0u8;
        let mut fds = [pollfd { fd: c, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        show("reset", recv(c, (&raw mut byte).cast(), 1, 0) as i64);
        let (c, a) = connected();
        close(a);
        show("first send", send(c, b"x".as_ptr().cast(), 1, MSG_NOSIGNAL) as i64);
        let (s, addr) = listener();
        let n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        let r = connect(n, (&raw const addr).cast(), LEN);
        println!("nonblocking connect: {}", r == 0 || errno() == EINPROGRESS);
        let mut fds = [pollfd { fd: n, events: POLLOUT, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        println!("{:#x}", fds[0].revents);
        let mut error: c_int = 77;
        let mut len = 4;
        show("SO_ERROR", getsockopt(n, SOL_SOCKET, SO_ERROR, (&raw mut error).cast(), &mut len));
        println!("{error}");
        close(s);
    }
}

fn udp(_: &str) {
    unsafe {
        let a = socket(AF_INET, SOCK_DGRAM, 0);
        let mut addr = loopback(0);
        show("bind", bind(a, (&raw const addr).cast(), LEN));
        let mut len = LEN;
        getsockname(a, (&raw mut addr).cast(), &mut len);
        let b = socket(AF_INET, SOCK_DGRAM, 0);
        show("sendto", sendto(b, b"datagram".as_ptr().cast(), 8, 0, (&raw const addr).cast(), LEN) as i64);
        show("empty", sendto(b, null(), 0, 0, (&raw const addr).cast(), LEN) as i64);
        let mut buf = [0u8; 100];
        let mut from: sockaddr_in = zeroed();
        show("short", recvfrom(a, buf.as_mut_ptr().cast(), 4, 0, (&raw mut from).cast(), &mut len) as i64);
        println!("{} {}", len, from.sin_family);
        show("empty", recv(a, buf.as_mut_ptr().cast(), 100, 0) as i64);
        show("nothing", recv(a, buf.as_mut_ptr().cast(), 100, MSG_DONTWAIT) as i64);
        show("no destination", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        show("connect", connect(b, (&raw const addr).cast(), LEN));
        show("send", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        show("too long", send(b, vec![0u8; 70_000].as_ptr().cast(), 70_000, 0) as i64);
        close(a);
        show("to nobody", send(b, b"x".as_ptr().cast(), 1, 0) as i64);
        let mut fds = [pollfd { fd: b, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, 10_000));
        show("refused", recv(b, buf.as_mut_ptr().cast(), 100, 0) as i64);
        let s6 = socket(AF_INET6, SOCK_DGRAM, 0);
        let mut addr6: sockaddr_in6 = zeroed();
        addr6.sin6_family = AF_INET6 as u16;
        show("bind v6", bind(s6, (&raw const addr6).cast(), 28));
        let mut len6 = 28;
        getsockname(s6, (&raw mut addr6).cast(), &mut len6);
        let v4 = loopback(u16::from_be(addr6.sin6_port));
        let c = socket(AF_INET, SOCK_DGRAM, 0);
        show("v4 to v6", sendto(c, b"x".as_ptr().cast(), 1, 0, (&raw const v4).cast(), LEN) as i64);
        show("arrives", recvfrom(s6, buf.as_mut_ptr().cast(), 100, 0, (&raw mut addr6).cast(), &mut len6) as i64);
        println!("{:?} {}", addr6.sin6_addr.s6_addr, len6);
    }
}

fn options(_: &str) {
    unsafe {
        let s = socket(AF_INET, SOCK_STREAM, 0);
        let get = |what: &str, level: c_int, name: c_int| {
            let (mut value, mut len): (c_int, socklen_t) = (-7, 4);
            show(what, getsockopt(s, level, name, (&raw mut value).cast(), &mut len));
            println!("{value} {len}");
        };
        let set = |what: &str, level: c_int, name: c_int, value: c_int| {
            show(what, setsockopt(s, level, name, (&raw const value).cast(), 4));
        };
        get("SO_TYPE", SOL_SOCKET, SO_TYPE);
        get("SO_DOMAIN", SOL_SOCKET, SO_DOMAIN);
        get("SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
        get("SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
        set("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1);
        get("SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR);
        set("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
        get("SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE);
        set("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
        get("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY);
        get("SO_ERROR", SOL_SOCKET, SO_ERROR);
        set("IP_TTL", IPPROTO_IP, IP_TTL, 33);
        get("IP_TTL", IPPROTO_IP, IP_TTL);
        let limit = timeval { tv_sec: 0, tv_usec: 50_000 };
        show("SO_RCVTIMEO", setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16));
        set("unknown", SOL_SOCKET, 9999, 1);
        let (c, _a) = connected();
        setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, (&raw const limit).cast(), 16);
        let mut byte = 0u8;
        show("times out", recv(c, (&raw mut byte).cast(), 1, 0) as i64);
        show("bad value", setsockopt(s, SOL_SOCKET, SO_REUSEADDR, null(), 4));
    }
}

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

static HANDLED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn handler(_: c_int) {
    HANDLED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
}

fn signals(_: &str) {
    unsafe {
        let (c, a) = connected();
        let mut action: sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        sigaction(SIGALRM, &action, null_mut());
        let timer = itimerval { it_interval: zeroed(), it_value: timeval { tv_sec: 0, tv_usec: 30_000 } };
        setitimer(ITIMER_REAL, &timer, null_mut());
        let mut byte = 0u8;
        show("interrupted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
        setitimer(ITIMER_REAL, &timer, null_mut());
        let mut fds = [pollfd { fd: a, events: POLLIN, revents: 0 }];
        show("poll", poll(fds.as_mut_ptr(), 1, -1));
        action.sa_flags = SA_RESTART;
        sigaction(SIGALRM, &action, null_mut());
        let child = fork();
        if child == 0 {
            usleep(120_000);
            send(c, b"x".as_ptr().cast(), 1, 0);
            _exit(0);
        }
        setitimer(ITIMER_REAL, &timer, null_mut());
        show("restarted", recv(a, (&raw mut byte).cast(), 1, 0) as i64);
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
        waitpid(child, null_mut(), 0);
        action.sa_flags = 0;
        sigaction(SIGPIPE, &action, null_mut());
        shutdown(c, SHUT_WR);
        show("broken pipe", write(c, b"x".as_ptr().cast(), 1) as i64);
        println!("handled {}", HANDLED.load(std::sync::atomic::Ordering::SeqCst));
        let child = fork();
        if child == 0 {
            signal(SIGTERM, SIG_DFL);
            recv(a, (&raw mut byte).cast(), 1, 0);
            recv(a, (&raw mut byte).cast(), 1, 0);
            let (_c, b) = connected();
            recv(b, (&raw mut byte).cast(), 1, 0);
            _exit(0);
        }
        usleep(50_000);
        kill(child, SIGTERM);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        println!("killed by {}", WTERMSIG(status));
    }
}

fn threads(folder: &str) {
    let workers: Vec<_> = (0..8)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let name = path(&folder, &format!("thread-{i}"));
                for round in 0..50u8 {
                    let fd = open(name.as_ptr(), O_RDWR | O_CREAT, 0o644);
                    assert!(fd >= 0);
                    let data = [round; 100];
                    assert_eq!(pwrite(fd, data.as_ptr().cast(), 100, i64::from(round) * 100), 100);
                    assert_eq!(close(fd), 0);
                }
                let (c, a) = connected();
                let mut byte = [0u8];
                for round in 0..50 {
                    assert_eq!(send(c, [round].as_ptr().cast(), 1, 0), 1);
                    assert_eq!(recv(a, byte.as_mut_ptr().cast(), 1, 0), 1);
                    assert_eq!(byte[0], round);
                }
                close(c);
                close(a);
                let mut st: stat = zeroed();
                stat(name.as_ptr(), &mut st);
                st.st_size
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
}

fn bad_pointers(folder: &str) {
    let file = create(folder, "file", &[1; 100]);
    let bad = 8 as *mut c_void;
    unsafe {
        show("path", open(bad.cast(), O_RDONLY));
        show("null path", open(null(), O_RDONLY));
        let fd = open(file.as_ptr(), O_RDWR);
        show("read", read(fd, bad, 10) as i64);
        show("write", write(fd, bad, 10) as i64);
        show("stat", syscall(SYS_newfstatat, AT_FDCWD, file.as_ptr(), bad, 0));
        let s = socket(AF_INET, SOCK_DGRAM, 0);
        show("bind", bind(s, bad.cast(), LEN));
        show("getsockname", syscall(SYS_getsockname, s, bad, bad));
        show("still open", lseek(fd, 0, SEEK_END));
    }
}

fn devices(folder: &str) {
    // The devices of the host natively, those of the rump kernel below the prefix.
    let dev = if folder.starts_with("/rump") { "/rump/dev" } else { "/dev" };
    unsafe {
        let mut buf = [1u8; 8];
        let null = open(path(dev, "null").as_ptr(), O_RDWR);
        show("null write", write(null, buf.as_ptr().cast(), 8) as i64);
        show("null read", read(null, buf.as_mut_ptr().cast(), 8) as i64);
        let zero = open(path(dev, "zero").as_ptr(), O_RDWR);
        show("zero read", read(zero, buf.as_mut_ptr().cast(), 8) as i64);
        println!("{buf:?}");
        let full = open(path(dev, "full").as_ptr(), O_RDWR);
        show("full write", write(full, buf.as_ptr().cast(), 8) as i64);
        show("full read", read(full, buf.as_mut_ptr().cast(), 8) as i64);
        let random = open(path(dev, "urandom").as_ptr(), O_RDONLY);
        show("urandom", read(random, buf.as_mut_ptr().cast(), 8) as i64);
        println!("{}", buf != [0; 8]);
        let mut st: stat = zeroed();
        fstat(null, &mut st);
        println!("{:o}", st.st_mode);
        show("missing", open(path(dev, "no-such-device").as_ptr(), O_RDONLY));
    }
}
