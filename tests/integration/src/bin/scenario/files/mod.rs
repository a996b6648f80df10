//! Files: opening, reading, writing, attributes.

pub mod content;

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("open_errors", OneProcess, open_errors),
    ("read_write", OneProcess, read_write),
    ("stat_fields", OneProcess, stat_fields),
    ("bad_pointers", OneProcess, bad_pointers),
    ("devices", OneProcess, devices),
];

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
