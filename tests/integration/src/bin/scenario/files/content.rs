//! What is in a file: positions, appending, cutting, sharing between descriptors.

use super::super::linux::{content, opened, put, take};
use super::super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("append", OneProcess, append),
    ("truncation", OneProcess, truncation),
    ("shared_position", OneProcess, shared_position),
    ("open_after_unlink", OneProcess, open_after_unlink),
    ("vectors", OneProcess, vectors),
    ("empty_transfers", OneProcess, empty_transfers),
    ("direct_io", OneProcess, direct_io),
    ("status_flags", OneProcess, status_flags),
    ("access_modes", OneProcess, access_modes),
    ("open_flags_combined", OneProcess, open_flags_combined),
    ("times_change", OneProcess, times_change),
    ("modes_and_umask", OneProcess, modes_and_umask),
    ("owners", OneProcess, owners),
    ("nodes", OneProcess, nodes),
    ("hard_links", OneProcess, hard_links),
    ("symbolic_links", OneProcess, symbolic_links),
    ("long_names", OneProcess, long_names),
    ("long_transfers", OneProcess, long_transfers),
    ("file_ioctls", OneProcess, file_ioctls),
    ("mounting", OneProcess, mounting),
];

fn append(folder: &str) {
    create(folder, "file", b"start");
    let (one, two) = (opened(folder, "file", O_RDWR | O_APPEND), opened(folder, "file", O_RDWR));
    unsafe {
        show("append", put(one, b"-one"));
        show("elsewhere", put(two, b"S"));
        lseek(one, 0, SEEK_SET);
        take("reading starts where it is", one, 3);
        show("append", put(one, b"-two"));
        println!("position {}", lseek(one, 0, SEEK_CUR));
        show("pwrite appends too", pwrite(one, c"!".as_ptr().cast(), 1, 0) as i64);
        println!("position {}", lseek(one, 0, SEEK_CUR));
        show("F_SETFL", fcntl(one, F_SETFL, 0));
        show("now at the offset", pwrite(one, c"?".as_ptr().cast(), 1, 0) as i64);
    }
    content("file", two);
}

fn truncation(folder: &str) {
    let name = create(folder, "file", b"0123456789");
    unsafe {
        show("shorter", truncate(name.as_ptr(), 4));
        show("longer", truncate(name.as_ptr(), 12));
        let fd = opened(folder, "file", O_RDWR);
        content("zeros", fd);
        lseek(fd, 8, SEEK_SET);
        show("ftruncate", ftruncate(fd, 2));
        println!("position stays {}", lseek(fd, 0, SEEK_CUR));
        show("write behind the end", put(fd, b"x"));
        content("a gap", fd);
        show("negative", truncate(name.as_ptr(), -1));
        show("missing", truncate(path(folder, "missing").as_ptr(), 1));
        show("fifo", {
            mkfifo(path(folder, "fifo").as_ptr(), 0o600);
            truncate(path(folder, "fifo").as_ptr(), 1)
        });
        works("O_TRUNC", opened(folder, "file", O_WRONLY | O_TRUNC));
        content("nothing", fd);
    }
}

fn shared_position(folder: &str) {
    create(folder, "file", b"0123456789");
    unsafe {
        let one = opened(folder, "file", O_RDONLY);
        let two = dup(one);
        let other = opened(folder, "file", O_RDONLY);
        take("one", one, 3);
        take("its duplicate", two, 3);
        take("another", other, 3);
        lseek(two, 9, SEEK_SET);
        take("moved for both", one, 3);
        close(one);
        take("outlives it", two, 3);
    }
}

fn open_after_unlink(folder: &str) {
    let name = create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        show("unlink", unlink(name.as_ptr()));
        take("still there", fd, 20);
        show("write", put(fd, b" more"));
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{} links, {} bytes", st.st_nlink, st.st_size);
        show("gone by name", access(name.as_ptr(), F_OK));
        create(folder, "file", b"another");
        content("the old one", fd);
        show("fchmod", fchmod(fd, 0o600));
        let other = create(folder, "other", b"replacing");
        let held = opened(folder, "file", O_RDONLY);
        show("rename over it", rename(other.as_ptr(), name.as_ptr()));
        content("the replaced one", held);
    }
}

fn vectors(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    let piece = |text: &'static [u8]| iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let pieces = [piece(b"one"), piece(b""), piece(b"three"), iovec { iov_base: null_mut(), iov_len: 0 }];
    unsafe {
        show("writev", writev(fd, pieces.as_ptr(), 4) as i64);
        show("pwritev", pwritev(fd, pieces.as_ptr(), 1, 20) as i64);
        content("file", fd);
        let (mut a, mut b) = ([0u8; 5], [0u8; 100]);
        let room = [
            iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 5 },
            iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 100 },
        ];
        lseek(fd, 0, SEEK_SET);
        show("readv", readv(fd, room.as_ptr(), 2) as i64);
        println!("{:?} {:?}", String::from_utf8_lossy(&a), String::from_utf8_lossy(&b[..4]));
        show("preadv", preadv(fd, room.as_ptr(), 2, 2) as i64);
        show("negative count", readv(fd, room.as_ptr(), -1) as i64);
        show("too many", readv(fd, room.as_ptr(), 1025) as i64);
        let huge = [iovec { iov_base: a.as_mut_ptr().cast(), iov_len: usize::MAX / 2 + 1 }];
        show("too long", readv(fd, huge.as_ptr(), 1) as i64);
        let bad = [piece(b"good"), iovec { iov_base: 8 as *mut c_void, iov_len: 4 }];
        lseek(fd, 0, SEEK_SET);
        let wrote = writev(fd, bad.as_ptr(), 2);
        println!("a bad piece fails it or ends it: {}", wrote == 4 || (wrote < 0 && errno() == EFAULT));
        show("pwritev, negative", pwritev(fd, pieces.as_ptr(), 1, -5) as i64);
    }
}

fn empty_transfers(folder: &str) {
    create(folder, "file", b"content");
    let (fd, read_only) = (opened(folder, "file", O_RDWR), opened(folder, "file", O_RDONLY));
    unsafe {
        show("read nothing", read(fd, null_mut(), 0) as i64);
        show("write nothing", write(fd, null(), 0) as i64);
        show("write nothing to one for reading", write(read_only, null(), 0) as i64);
        show("pread nothing at a bad offset", pread(fd, null_mut(), 0, -1) as i64);
        lseek(fd, 1000, SEEK_SET);
        show("read behind the end", read(fd, [0u8; 4].as_mut_ptr().cast(), 4) as i64);
        show("write nothing behind the end", write(fd, null(), 0) as i64);
        let mut st: stat = zeroed();
        fstat(fd, &mut st);
        println!("{}", st.st_size);
    }
}

fn direct_io(folder: &str) {
    create(folder, "file", b"content");
    let fd = opened(folder, "file", O_RDWR | O_DIRECT);
    works("open", fd);
    unsafe { println!("shown: {}", fcntl(fd, F_GETFL) & O_DIRECT != 0) };
    take("any length, any address", fd, 5);
    show("write", put(fd, b"x"));
}

fn status_flags(folder: &str) {
    create(folder, "file", b"content");
    let shown = O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_PATH;
    for (what, flags) in [
        ("plain", O_RDONLY),
        ("both", O_RDWR),
        ("append", O_WRONLY | O_APPEND),
        ("non-blocking", O_RDWR | O_NONBLOCK),
        ("sync", O_RDWR | O_SYNC),
        ("dsync", O_RDWR | O_DSYNC),
        ("creating", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC),
        ("place", O_PATH | O_RDWR | O_APPEND),
    ] {
        let fd = opened(folder, "file", flags);
        unsafe {
            println!("{what}: {:o} {}", fcntl(fd, F_GETFL) & shown, fcntl(fd, F_GETFD));
            close(fd);
        }
    }
    let fd = opened(folder, "file", O_RDONLY);
    unsafe {
        show("F_SETFL", fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_WRONLY | O_SYNC));
        println!("{:o}", fcntl(fd, F_GETFL) & shown);
        show("F_SETFD", fcntl(fd, F_SETFD, FD_CLOEXEC));
        show("F_GETFD", fcntl(fd, F_GETFD));
        show("F_DUPFD negative", fcntl(fd, F_DUPFD, -1));
        show("unknown", fcntl(fd, 9999));
    }
}

fn access_modes(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let write_only = opened(folder, "file", O_WRONLY);
        let mut buf = [0u8; 4];
        show("read", read(write_only, buf.as_mut_ptr().cast(), 4) as i64);
        show("pread", pread(write_only, buf.as_mut_ptr().cast(), 4, 0) as i64);
        show("write", put(opened(folder, "file", O_RDONLY), b"x"));
        works("no mode", opened(folder, "file", O_ACCMODE));
        show("read of a directory", read(opened(folder, ".", O_RDONLY), buf.as_mut_ptr().cast(), 4) as i64);
        show("getdents of a file", syscall(SYS_getdents64, opened(folder, "file", O_RDONLY), buf.as_mut_ptr(), 4));
        show("fchdir to a file", fchdir(opened(folder, "file", O_RDONLY)));
        show("fsync of a closed one", fsync(900));
    }
}

fn open_flags_combined(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        symlink(c"file".as_ptr(), path(folder, "s").as_ptr());
        symlink(c"new".as_ptr(), path(folder, "dangling").as_ptr());
    }
    for (what, name, flags) in [
        ("O_CREAT of a directory", "d", O_CREAT | O_RDONLY),
        ("O_CREAT | O_DIRECTORY", "none", O_CREAT | O_DIRECTORY | O_RDONLY),
        ("O_CREAT with a slash", "none/", O_CREAT | O_WRONLY),
        ("O_CREAT of dot", ".", O_CREAT | O_RDONLY),
        ("O_EXCL without O_CREAT", "file", O_EXCL | O_RDONLY),
        ("O_EXCL of a link", "s", O_CREAT | O_EXCL | O_WRONLY),
        ("O_EXCL of a dangling link", "dangling", O_CREAT | O_EXCL | O_WRONLY),
        ("O_CREAT through a dangling link", "dangling", O_CREAT | O_WRONLY),
        ("O_NOFOLLOW | O_CREAT of a link", "s", O_CREAT | O_NOFOLLOW | O_WRONLY),
        ("O_TRUNC | O_RDONLY", "file", O_TRUNC | O_RDONLY),
        ("O_TRUNC of a directory", "d", O_TRUNC | O_RDONLY),
        ("O_NOFOLLOW in the middle", "s/x", O_NOFOLLOW | O_RDONLY),
        ("a slash after a directory", "d/", O_RDONLY),
        ("dots", "d/./../d/../file", O_RDONLY),
        ("many slashes", "d////..//file", O_RDONLY),
        ("O_NOATIME", "file", O_NOATIME | O_RDONLY),
    ] {
        works(what, opened(folder, name, flags));
    }
    show("new was made", unsafe { access(path(folder, "new").as_ptr(), F_OK) });
    content("O_TRUNC has cut", opened(folder, "file", O_RDONLY));
}

/// Sets both times of a file long ago, does `change`, and tells which of the two are new.
fn changed<T>(what: &str, folder: &str, name: &str, change: impl FnOnce() -> T) {
    let file = path(folder, name);
    unsafe {
        utimensat(AT_FDCWD, file.as_ptr(), [timespec { tv_sec: 100, tv_nsec: 0 }; 2].as_ptr(), AT_SYMLINK_NOFOLLOW);
        change();
        let mut st: stat = zeroed();
        lstat(file.as_ptr(), &mut st);
        println!("{what}: read {} written {}", st.st_atime > 1000, st.st_mtime > 1000);
    }
}

fn times_change(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        symlink(c"file".as_ptr(), path(folder, "s").as_ptr());
        let fd = opened(folder, "file", O_RDWR);
        changed("nothing", folder, "file", || ());
        changed("read", folder, "file", || take("read", fd, 3));
        changed("write", folder, "file", || put(fd, b"x"));
        changed("write nothing", folder, "file", || put(fd, b""));
        changed("ftruncate", folder, "file", || ftruncate(fd, 5));
        changed("ftruncate to the same", folder, "file", || ftruncate(fd, 5));
        changed("truncate", folder, "file", || truncate(file.as_ptr(), 5));
        changed("O_TRUNC", folder, "file", || opened(folder, "file", O_WRONLY | O_TRUNC));
        changed("O_TRUNC of nothing", folder, "file", || opened(folder, "file", O_WRONLY | O_TRUNC));
        changed("chmod", folder, "file", || chmod(file.as_ptr(), 0o600));
        changed("link", folder, "file", || link(file.as_ptr(), path(folder, "second").as_ptr()));
        changed("creating in a directory", folder, "d", || create(folder, "d/inner", b""));
        changed("opening what is there", folder, "d", || create(folder, "d/inner", b""));
        changed("renaming in a directory", folder, "d", || {
            rename(path(folder, "d/inner").as_ptr(), path(folder, "d/other").as_ptr())
        });
        changed("reading a directory", folder, "d", || {
            let dir = opendir(path(folder, "d").as_ptr());
            while !readdir(dir).is_null() {}
        });
        changed("removing in a directory", folder, "d", || unlink(path(folder, "d/other").as_ptr()));
        changed("reading a link", folder, "s", || {
            let mut buf = [0u8; 8];
            readlink(path(folder, "s").as_ptr(), buf.as_mut_ptr().cast(), 8);
        });
    }
}

fn mode_of(folder: &str, name: &str) -> String {
    unsafe {
        let mut st: stat = zeroed();
        match lstat(path(folder, name).as_ptr(), &mut st) {
            0 => format!("{:o}", st.st_mode),
            _ => "-".into(),
        }
    }
}

fn modes_and_umask(folder: &str) {
    unsafe {
        let before = umask(0o027);
        println!("umask {:o}", umask(0o027));
        close(open(path(folder, "file").as_ptr(), O_CREAT | O_WRONLY, 0o777));
        mkdir(path(folder, "d").as_ptr(), 0o777);
        mkfifo(path(folder, "fifo").as_ptr(), 0o666);
        symlink(c"x".as_ptr(), path(folder, "s").as_ptr());
        close(open(path(folder, "special").as_ptr(), O_CREAT | O_WRONLY, 0o6755));
        close(open(path(folder, "sticky").as_ptr(), O_CREAT | O_WRONLY, 0o1755));
        mkdir(path(folder, "t").as_ptr(), 0o1777);
        mkdir(path(folder, "g").as_ptr(), 0o7777);
        for name in ["file", "d", "fifo", "s", "special", "sticky", "t", "g"] {
            println!("{name} {}", mode_of(folder, name));
        }
        umask(before);
        show("chmod", chmod(path(folder, "file").as_ptr(), 0o7755));
        println!("{}", mode_of(folder, "file"));
        show("more bits", chmod(path(folder, "file").as_ptr(), 0o170_644));
        println!("{}", mode_of(folder, "file"));
        chmod(path(folder, "d").as_ptr(), 0o2755);
        mkdir(path(folder, "d/sub").as_ptr(), 0o755);
        println!("inherited {}", mode_of(folder, "d/sub"));
    }
}

fn owners(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        let mut st: stat = zeroed();
        chmod(file.as_ptr(), 0o6755);
        show("chown", chown(file.as_ptr(), 1000, 1001));
        stat(file.as_ptr(), &mut st);
        println!("{} {} {:o}", st.st_uid, st.st_gid, st.st_mode);
        show("only the group", chown(file.as_ptr(), u32::MAX, 7));
        show("nobody", chown(file.as_ptr(), u32::MAX, u32::MAX));
        stat(file.as_ptr(), &mut st);
        println!("{} {}", st.st_uid, st.st_gid);
        symlink(c"file".as_ptr(), path(folder, "s").as_ptr());
        show("lchown", lchown(path(folder, "s").as_ptr(), 5, 6));
        lstat(path(folder, "s").as_ptr(), &mut st);
        println!("{} {}", st.st_uid, st.st_gid);
        show("fchown", fchown(opened(folder, "file", O_RDONLY), 0, 0));
        show("missing", chown(path(folder, "missing").as_ptr(), 0, 0));
        show("unknown flag", fchownat(AT_FDCWD, file.as_ptr(), 0, 0, 0x8000));
    }
}

fn nodes(folder: &str) {
    unsafe {
        for (what, mode, dev) in [
            ("file", S_IFREG | 0o640, 0),
            ("no type", 0o640, 0),
            ("fifo", S_IFIFO | 0o640, 0),
            ("socket", S_IFSOCK | 0o640, 0),
            ("character", S_IFCHR | 0o640, makedev(1, 3)),
            ("block", S_IFBLK | 0o640, makedev(7, 0)),
            ("directory", S_IFDIR | 0o755, 0),
            ("link", S_IFLNK | 0o777, 0),
            ("unknown", 0o170_000, 0),
        ] {
            let name = path(folder, what);
            if what != "socket" {
                show(what, mknod(name.as_ptr(), mode, dev));
                let mut st: stat = zeroed();
                if lstat(name.as_ptr(), &mut st) == 0 {
                    println!("  {:o} {} {}", st.st_mode, major(st.st_rdev), minor(st.st_rdev));
                }
            }
        }
        show("again", mknod(path(folder, "file").as_ptr(), S_IFREG | 0o640, 0));
        show("below nothing", mknod(path(folder, "x/y").as_ptr(), S_IFREG | 0o640, 0));
    }
}

fn hard_links(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        symlink(c"file".as_ptr(), path(folder, "s").as_ptr());
        show("link", link(file.as_ptr(), path(folder, "d/second").as_ptr()));
        show("of a directory", link(path(folder, "d").as_ptr(), path(folder, "e").as_ptr()));
        show("of a link", link(path(folder, "s").as_ptr(), path(folder, "t").as_ptr()));
        println!("{}", mode_of(folder, "t"));
        let (s, u) = (path(folder, "s"), path(folder, "u"));
        show("of what it leads to", linkat(AT_FDCWD, s.as_ptr(), AT_FDCWD, u.as_ptr(), AT_SYMLINK_FOLLOW));
        println!("{}", mode_of(folder, "u"));
        let mut st: stat = zeroed();
        stat(file.as_ptr(), &mut st);
        println!("{} links", st.st_nlink);
        show("two names of one file", rename(file.as_ptr(), u.as_ptr()));
        show("both stay", access(file.as_ptr(), F_OK));
        show("missing", link(path(folder, "none").as_ptr(), path(folder, "x").as_ptr()));
        show("to a slash", link(file.as_ptr(), path(folder, "x/").as_ptr()));
        unlink(file.as_ptr());
        take("the other name", opened(folder, "d/second", O_RDONLY), 20);
    }
}

fn symbolic_links(folder: &str) {
    unsafe {
        let make = |what: &str, target: &str, name: &str| {
            show(what, symlink(CString::new(target).unwrap().as_ptr(), path(folder, name).as_ptr()));
        };
        make("plain", "file", "s");
        make("again", "file", "s");
        make("empty", "", "e");
        make("long", &"x".repeat(1000), "l");
        make("into nothing", "file", "no/s");
        let mut buf = [0u8; 2000];
        show("readlink", readlink(path(folder, "l").as_ptr(), buf.as_mut_ptr().cast(), 2000) as i64);
        show("cut", readlink(path(folder, "l").as_ptr(), buf.as_mut_ptr().cast(), 7) as i64);
        show("no room", readlink(path(folder, "l").as_ptr(), buf.as_mut_ptr().cast(), 0) as i64);
        show("dangling", access(path(folder, "s").as_ptr(), F_OK));
        let mut st: stat = zeroed();
        show("lstat", lstat(path(folder, "s").as_ptr(), &mut st));
        println!("{:o} {}", st.st_mode, st.st_size);
        show("lstat with a slash", lstat(path(folder, "s/").as_ptr(), &mut st));
        show("unlink", unlink(path(folder, "s").as_ptr()));
        mkdir(path(folder, "d").as_ptr(), 0o755);
        make("to a directory", "d", "to-d");
        show("rmdir of a link", rmdir(path(folder, "to-d").as_ptr()));
        show("unlink with a slash", unlink(path(folder, "to-d/").as_ptr()));
        lstat(path(folder, "to-d/").as_ptr(), &mut st);
        println!("followed {:o}", st.st_mode & S_IFMT);
    }
}

fn long_names(folder: &str) {
    unsafe {
        let longest = "n".repeat(255);
        works("255", open(path(folder, &longest).as_ptr(), O_CREAT | O_WRONLY, 0o600));
        works("256", open(path(folder, &(longest.clone() + "n")).as_ptr(), O_CREAT | O_WRONLY, 0o600));
        show("mkdir", mkdir(path(folder, &"d".repeat(256)).as_ptr(), 0o755));
        show("rename", rename(path(folder, &longest).as_ptr(), path(folder, &"m".repeat(256)).as_ptr()));
        show("below one", access(path(folder, &format!("{}/x", "d".repeat(256))).as_ptr(), F_OK));
        show("many dots", access(path(folder, &"./".repeat(200)).as_ptr(), F_OK));
        show("odd bytes", mkdir(path(folder, "\u{1}\n\u{ff} \"'").as_ptr(), 0o755));
    }
}

fn long_transfers(folder: &str) {
    let fd = opened(folder, "file", O_RDWR | O_CREAT);
    let data: Vec<u8> = (0..5_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    show("write", put(fd, &data));
    let mut back = vec![0u8; 6_000_000];
    unsafe {
        show("pread", pread(fd, back.as_mut_ptr().cast(), back.len(), 0) as i64);
        println!("the same: {}", back[..data.len()] == data[..]);
        show("across the end", pread(fd, back.as_mut_ptr().cast(), 100, 4_999_990) as i64);
    }
}

fn file_ioctls(folder: &str) {
    create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        let mut left = 0;
        lseek(fd, 3, SEEK_SET);
        show("FIONREAD", ioctl(fd, FIONREAD, &mut left));
        println!("{left}");
        let mut size: winsize = zeroed();
        show("TIOCGWINSZ", ioctl(fd, TIOCGWINSZ, &mut size));
        println!("isatty {}", isatty(fd));
        show("FIOCLEX", ioctl(fd, FIOCLEX));
        show("F_GETFD", fcntl(fd, F_GETFD));
        show("FICLONE", ioctl(fd, 0x4004_9409, fd));
        show("unknown", ioctl(fd, 0x1234, &mut left));
    }
}

fn mounting(folder: &str) {
    unsafe {
        let here = CString::new(folder).unwrap();
        show("umount2 of no mount", umount2(here.as_ptr(), 0));
        show("missing", umount2(path(folder, "missing").as_ptr(), 0));
        let kind = c"no-such-file-system";
        show("mount", mount(c"none".as_ptr(), here.as_ptr(), kind.as_ptr(), 0, null()));
    }
}
