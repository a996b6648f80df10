//! statx(2), statfs(2), renameat2(2), extended attributes, handles, times.

use super::super::prelude::*;
use super::opened;

/// The family.
pub const TABLE: &[Row] = &[
    ("statx_fields", OneProcess, statx_fields),
    ("statx_arguments", OneProcess, statx_arguments),
    ("statfs_figures", OneProcess, statfs_figures),
    ("renameat2_noreplace", OneProcess, noreplace),
    ("renameat2_exchange", OneProcess, exchange),
    ("renameat2_exchange_directories", OneProcess, exchange_directories),
    ("renameat2_whiteout", OneProcess, whiteout),
    ("extended_attributes", OneProcess, attributes),
    ("watches_and_handles", OneProcess, watches_and_handles),
    ("utimensat_values", OneProcess, utimensat_values),
    ("utime_family", OneProcess, utime_family),
    ("faccessat_flags", OneProcess, faccessat_flags),
    ("accept_and_closes", OneProcess, accept_and_closes),
    ("message_vectors", OneProcess, message_vectors),
];

fn statx_fields(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        chmod(file.as_ptr(), 0o640);
        let basic = STATX_BASIC_STATS | STATX_BTIME;
        let mut stx: statx = zeroed();
        let mut see = |what: &str, dir: c_int, name: &CStr, flags: c_int, mask: u32| {
            show(what, statx(dir, name.as_ptr(), flags, mask, &mut stx));
            println!(
                "  {:x} {:o} {} {} {} blocks {} {}",
                stx.stx_mask & basic,
                stx.stx_mode,
                stx.stx_nlink,
                stx.stx_size,
                stx.stx_blksize,
                stx.stx_blocks,
                stx.stx_attributes
            );
            println!("  times in order: {}", stx.stx_btime.tv_sec <= stx.stx_mtime.tv_sec);
        };
        see("file", AT_FDCWD, &file, 0, basic);
        see("mask 0", AT_FDCWD, &file, 0, 0);
        see("link", AT_FDCWD, &path(folder, "link"), AT_SYMLINK_NOFOLLOW, basic);
        see("through the link", AT_FDCWD, &path(folder, "link"), AT_STATX_FORCE_SYNC, basic);
        see("descriptor", opened(folder, "file", O_RDONLY), c"", AT_EMPTY_PATH, basic);
        see("automount", AT_FDCWD, &file, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, basic);
    }
}

fn statx_arguments(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        let mut stx: statx = zeroed();
        let fd = opened(folder, "file", O_RDONLY);
        for (what, dir, name, flags, mask) in [
            ("reserved mask", AT_FDCWD, &*file, 0, 0x8000_0000),
            ("both ways", AT_FDCWD, &*file, AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0),
            ("unknown flag", AT_FDCWD, &*file, 0x8000, 0),
            ("reserved mask of a descriptor", fd, c"", AT_EMPTY_PATH, 0x8000_0000),
            ("unknown flag of a descriptor", fd, c"", AT_EMPTY_PATH | 0x8000, 0),
            ("empty without the flag", fd, c"", 0, 0),
            ("below a file", fd, c"x", 0, 0),
            ("missing", AT_FDCWD, c"/no/such/file", 0, 0),
        ] {
            show(what, statx(dir, name.as_ptr(), flags, mask, &mut stx));
        }
        show("null path of a descriptor", syscall(SYS_statx, fd, 0usize, AT_EMPTY_PATH, 0, &raw mut stx));
    }
}

fn statfs_figures(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        let mut fs: statfs = zeroed();
        show("statfs", statfs(file.as_ptr(), &mut fs));
        println!("{:x} {} {} {}", fs.f_type, fs.f_bsize, fs.f_frsize, fs.f_namelen);
        println!("sound: {}", fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree && fs.f_ffree < fs.f_files);
        let free = fs.f_bfree;
        let fd = opened(folder, "file", O_RDWR);
        posix_fallocate(fd, 0, 40 << 20);
        show("fstatfs", fstatfs(fd, &mut fs));
        println!("40 MiB less: {}", free.saturating_sub(fs.f_bfree) >= 5_000);
        ftruncate(fd, 0);
        fstatfs(fd, &mut fs);
        println!("and back: {}", free.abs_diff(fs.f_bfree) < 5_000);
        let mut vfs: statvfs = zeroed();
        show("statvfs", statvfs(file.as_ptr(), &mut vfs));
        println!("{} {} {}", vfs.f_bsize, vfs.f_frsize, vfs.f_namemax);
        show("fstatvfs", fstatvfs(fd, &mut vfs));
        let mut ends = [0; 2];
        pipe(ends.as_mut_ptr());
        show("missing", statfs(path(folder, "missing").as_ptr(), &mut fs));
        show("bad pointer", statfs(file.as_ptr(), null_mut::<statfs>().wrapping_byte_add(8)));
    }
}

fn rename(what: &str, folder: &str, from: &str, to: &str, flags: u32) {
    let (from, to) = (path(folder, from), path(folder, to));
    show(what, unsafe { renameat2(AT_FDCWD, from.as_ptr(), AT_FDCWD, to.as_ptr(), flags) });
}

fn noreplace(folder: &str) {
    create(folder, "a", b"a");
    create(folder, "b", b"b");
    unsafe { mkdir(path(folder, "d").as_ptr(), 0o755) };
    rename("there", folder, "a", "b", RENAME_NOREPLACE);
    rename("itself", folder, "a", "a", RENAME_NOREPLACE);
    rename("a directory there", folder, "a", "d", RENAME_NOREPLACE);
    rename("dot", folder, "a", ".", RENAME_NOREPLACE);
    rename("free", folder, "a", "c", RENAME_NOREPLACE);
    rename("missing", folder, "a", "e", RENAME_NOREPLACE);
    rename("unknown flag", folder, "c", "e", 1 << 10);
    rename("both", folder, "c", "b", RENAME_NOREPLACE | RENAME_EXCHANGE);
    rename("whiteout and exchange", folder, "c", "b", RENAME_WHITEOUT | RENAME_EXCHANGE);
    for name in ["a", "b", "c", "e"] {
        show(name, unsafe { access(path(folder, name).as_ptr(), F_OK) });
    }
}

fn inode(folder: &str, name: &str) -> u64 {
    unsafe {
        let mut st: stat = zeroed();
        if lstat(path(folder, name).as_ptr(), &mut st) == 0 { st.st_ino } else { 0 }
    }
}

fn exchange(folder: &str) {
    create(folder, "a", b"a");
    create(folder, "b", b"b");
    let (a, b) = (inode(folder, "a"), inode(folder, "b"));
    rename("files", folder, "a", "b", RENAME_EXCHANGE);
    println!("swapped: {}", inode(folder, "a") == b && inode(folder, "b") == a);
    rename("missing target", folder, "a", "c", RENAME_EXCHANGE);
    rename("missing source", folder, "c", "a", RENAME_EXCHANGE);
    rename("itself", folder, "a", "a", RENAME_EXCHANGE);
    unsafe {
        mkdir(path(folder, "d").as_ptr(), 0o755);
        symlink(c"a".as_ptr(), path(folder, "s").as_ptr());
    }
    create(folder, "d/inner", b"x");
    let (d, s) = (inode(folder, "d"), inode(folder, "s"));
    rename("a directory and a link", folder, "d", "s", RENAME_EXCHANGE);
    println!("swapped: {}", inode(folder, "d") == s && inode(folder, "s") == d);
    rename("into itself", folder, "s", "s/inner", RENAME_EXCHANGE);
    rename("out of itself", folder, "s/inner", "s", RENAME_EXCHANGE);
}

fn links(folder: &str, name: &str) -> u64 {
    unsafe {
        let mut st: stat = zeroed();
        stat(path(folder, name).as_ptr(), &mut st);
        st.st_nlink
    }
}

fn exchange_directories(folder: &str) {
    unsafe {
        for name in ["x", "y", "x/sub"] {
            mkdir(path(folder, name).as_ptr(), 0o755);
        }
        create(folder, "y/file", b"f");
        rename("across directories", folder, "x/sub", "y/file", RENAME_EXCHANGE);
        println!("links {} {}", links(folder, "x"), links(folder, "y"));
        show("the directory's `..`", access(path(folder, "y/file/../file/.").as_ptr(), F_OK));
        println!("leads to y: {}", inode(folder, "y/file/..") == inode(folder, "y"));
        rename("two directories", folder, "x", "y", RENAME_EXCHANGE);
        println!("links {} {}", links(folder, "x"), links(folder, "y"));
    }
}

fn whiteout(folder: &str) {
    create(folder, "a", b"a");
    create(folder, "b", b"b");
    rename("whiteout", folder, "a", "c", RENAME_WHITEOUT);
    unsafe {
        let mut st: stat = zeroed();
        show("lstat", lstat(path(folder, "a").as_ptr(), &mut st));
        println!("{:o} {} {}", st.st_mode & S_IFMT, st.st_rdev, st.st_nlink);
        rename("no replacing", folder, "b", "c", RENAME_WHITEOUT | RENAME_NOREPLACE);
        show("unlink", unlink(path(folder, "a").as_ptr()));
    }
}

fn attributes(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        let fd = opened(folder, "file", O_RDWR);
        let name = c"trusted.none";
        let mut buf = [0u8; 64];
        // Where there are attributes there is none of this name; where there are none the errno is another, and programs take both.
        let absent = |what: &str, value: isize| {
            println!("{what}: {}", value < 0 && matches!(errno(), ENODATA | EOPNOTSUPP));
        };
        absent("getxattr", getxattr(file.as_ptr(), name.as_ptr(), buf.as_mut_ptr().cast(), 64));
        absent("lgetxattr", lgetxattr(file.as_ptr(), name.as_ptr(), buf.as_mut_ptr().cast(), 64));
        absent("fgetxattr", fgetxattr(fd, name.as_ptr(), buf.as_mut_ptr().cast(), 64));
        absent("removexattr", removexattr(file.as_ptr(), name.as_ptr()) as isize);
        absent("fremovexattr", fremovexattr(fd, name.as_ptr()) as isize);
        let empty =
            |what: &str, value: isize| println!("{what}: {}", value == 0 || (value < 0 && errno() == EOPNOTSUPP));
        empty("listxattr", listxattr(file.as_ptr(), buf.as_mut_ptr().cast(), 64));
        empty("llistxattr", llistxattr(file.as_ptr(), buf.as_mut_ptr().cast(), 64));
        empty("flistxattr", flistxattr(fd, buf.as_mut_ptr().cast(), 64));
        let missing = path(folder, "missing");
        println!("missing: {}", listxattr(missing.as_ptr(), buf.as_mut_ptr().cast(), 64) < 0);
        // What is neither file nor directory has none of the user's anywhere.
        let (link, fifo, own) = (path(folder, "link"), path(folder, "fifo"), c"user.own");
        symlink(c"file".as_ptr(), link.as_ptr());
        mkfifo(fifo.as_ptr(), 0o600);
        show("of a link", lsetxattr(link.as_ptr(), own.as_ptr(), c"x".as_ptr().cast(), 1, 0));
        show("of a link", lgetxattr(link.as_ptr(), own.as_ptr(), buf.as_mut_ptr().cast(), 64) as i64);
        show("of a link", lremovexattr(link.as_ptr(), own.as_ptr()));
        show("of a fifo", setxattr(fifo.as_ptr(), own.as_ptr(), c"x".as_ptr().cast(), 1, 0));
        show("of an open fifo", fremovexattr(opened(folder, "fifo", O_RDWR), own.as_ptr()));
        let long = CString::new(format!("user.{}", "n".repeat(251))).unwrap();
        for name in [c"", &long] {
            show("a name that is none", setxattr(file.as_ptr(), name.as_ptr(), c"x".as_ptr().cast(), 1, 0));
            show("of nothing", getxattr(missing.as_ptr(), name.as_ptr(), buf.as_mut_ptr().cast(), 64) as i64);
        }
        show("a fault", fgetxattr(fd, null(), buf.as_mut_ptr().cast(), 64) as i64);
    }
}

fn watches_and_handles(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        let mut handle = [0u8; 200];
        handle[0] = 128;
        let mut mount = 0;
        let made = syscall(SYS_name_to_handle_at, AT_FDCWD, file.as_ptr(), handle.as_mut_ptr(), &raw mut mount, 0);
        println!("a handle, or none can be had: {}", made == 0 || errno() == EOPNOTSUPP);
        let missing = path(folder, "x");
        show(
            "a handle of nothing",
            syscall(SYS_name_to_handle_at, AT_FDCWD, missing.as_ptr(), handle.as_mut_ptr(), &raw mut mount, 0),
        );
    }
}

fn seen(what: &str, folder: &str) {
    unsafe {
        let mut st: stat = zeroed();
        lstat(path(folder, "file").as_ptr(), &mut st);
        let time = |sec: i64, nsec: i64| if sec > 1_000_000_000 { "now".to_owned() } else { format!("{sec}.{nsec}") };
        println!("{what}: {} {}", time(st.st_atime, st.st_atime_nsec), time(st.st_mtime, st.st_mtime_nsec));
    }
}

fn utimensat_values(folder: &str) {
    let file = create(folder, "file", b"content");
    let at = |sec, nsec| timespec { tv_sec: sec, tv_nsec: nsec };
    for (what, times) in [
        ("both", [at(100, 1), at(200, 999_999_999)]),
        ("omit the first", [at(1, UTIME_OMIT), at(300, 0)]),
        ("omit the second", [at(400, 0), at(1, UTIME_OMIT)]),
        ("omit both", [at(1, UTIME_OMIT), at(1, UTIME_OMIT)]),
        ("now and a time", [at(0, UTIME_NOW), at(500, 0)]),
        ("a time and now", [at(600, 0), at(0, UTIME_NOW)]),
        ("before 1970", [at(-5, 0), at(-6, 7)]),
        ("too many nanoseconds", [at(1, 1_000_000_000), at(1, 0)]),
        ("negative nanoseconds", [at(1, 0), at(1, -1)]),
    ] {
        show(what, unsafe { utimensat(AT_FDCWD, file.as_ptr(), times.as_ptr(), 0) });
        seen(what, folder);
    }
    unsafe {
        let omit = [at(1, UTIME_OMIT), at(1, UTIME_OMIT)];
        show("omitting of nothing", utimensat(AT_FDCWD, path(folder, "missing").as_ptr(), omit.as_ptr(), 0));
        show("null times", utimensat(AT_FDCWD, file.as_ptr(), null(), 0));
        seen("null times", folder);
        show("unknown flag", utimensat(AT_FDCWD, file.as_ptr(), null(), 0x8000));
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        let times = [at(700, 0), at(800, 0)];
        show("a link", utimensat(AT_FDCWD, path(folder, "link").as_ptr(), times.as_ptr(), AT_SYMLINK_NOFOLLOW));
        seen("the file stays", folder);
        let fd = opened(folder, "file", O_RDONLY);
        show("futimens", futimens(fd, times.as_ptr()));
        seen("futimens", folder);
        show("no path, a flag", syscall(SYS_utimensat, fd, 0usize, times.as_ptr(), AT_SYMLINK_NOFOLLOW));
        show("no path, no descriptor", syscall(SYS_utimensat, AT_FDCWD, 0usize, times.as_ptr(), 0));
    }
}

fn utime_family(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        symlink(c"file".as_ptr(), path(folder, "link").as_ptr());
        let link = path(folder, "link");
        let times = |one, two| [timeval { tv_sec: one, tv_usec: 5 }, timeval { tv_sec: two, tv_usec: 999_999 }];
        show("utimes", utimes(file.as_ptr(), times(100, 200).as_ptr()));
        seen("utimes", folder);
        show("utimes through a link", utimes(link.as_ptr(), times(300, 400).as_ptr()));
        seen("utimes through a link", folder);
        show("lutimes", lutimes(link.as_ptr(), times(500, 600).as_ptr()));
        seen("lutimes", folder);
        let fd = opened(folder, "file", O_RDONLY);
        show("futimes", futimes(fd, times(700, 800).as_ptr()));
        seen("futimes", folder);
        show("utime", utime(file.as_ptr(), &utimbuf { actime: 10, modtime: 20 }));
        seen("utime", folder);
        show("utime null", utime(file.as_ptr(), null()));
        seen("utime null", folder);
        let dir = opened(folder, ".", O_RDONLY);
        show("futimesat", syscall(SYS_futimesat, dir, c"file".as_ptr(), times(900, 1000).as_ptr()));
        seen("futimesat", folder);
        show("bad", utimes(file.as_ptr(), [timeval { tv_sec: 1, tv_usec: 1_000_000 }; 2].as_ptr()));
        show("missing", utimes(path(folder, "missing").as_ptr(), null()));
    }
}

fn faccessat_flags(folder: &str) {
    let file = create(folder, "file", b"content");
    unsafe {
        symlink(c"nowhere".as_ptr(), path(folder, "link").as_ptr());
        let link = path(folder, "link");
        chmod(file.as_ptr(), 0o644);
        for (what, name, mode, flags) in [
            ("exists", &file, F_OK, 0),
            ("executes", &file, X_OK, 0),
            ("effective", &file, R_OK, AT_EACCESS),
            ("dangling", &link, F_OK, 0),
            ("the link", &link, F_OK, AT_SYMLINK_NOFOLLOW),
            ("bad mode", &file, 8, 0),
            ("bad flag", &file, F_OK, 0x8000),
        ] {
            show(what, syscall(SYS_faccessat2, AT_FDCWD, name.as_ptr(), mode, flags));
        }
        chmod(file.as_ptr(), 0o100);
        show("executes now", syscall(SYS_faccessat2, AT_FDCWD, file.as_ptr(), X_OK, 0));
    }
}

fn accept_and_closes(_: &str) {
    unsafe {
        let listener = socket(AF_INET, SOCK_STREAM, 0);
        let mut address: sockaddr_in = zeroed();
        address.sin_family = AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = size_of::<sockaddr_in>() as socklen_t;
        bind(listener, (&raw const address).cast(), len);
        listen(listener, 4);
        getsockname(listener, (&raw mut address).cast(), &mut len);
        let client = socket(AF_INET, SOCK_STREAM, 0);
        show("connect", connect(client, (&raw const address).cast(), len));
        show("unknown flag", accept4(listener, null_mut(), null_mut(), 1));
        let mut peer: sockaddr_in = zeroed();
        let mut peer_len = size_of::<sockaddr_in>() as socklen_t;
        let fd = accept4(listener, (&raw mut peer).cast(), &mut peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        works("accept4", fd);
        println!("{peer_len} {} {:o} {}", peer.sin_family, fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
        let high = fcntl(fd, F_DUPFD, 200);
        show("close_range, bad", syscall(SYS_close_range, 300, 200, 0));
        show("close_range, unknown flag", syscall(SYS_close_range, 200, 300, 64));
        show("marking", syscall(SYS_close_range, 200, 300, CLOSE_RANGE_CLOEXEC));
        println!("marked {}", fcntl(high, F_GETFD));
        show("closing", syscall(SYS_close_range, 200, 300, 0));
        show("closed", fcntl(high, F_GETFD));
        show("the other is open", fcntl(fd, F_GETFD));
    }
}

fn message_vectors(folder: &str) {
    unsafe {
        let (one, two) = (socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET, SOCK_DGRAM, 0));
        let mut address: sockaddr_in = zeroed();
        address.sin_family = AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = size_of::<sockaddr_in>() as socklen_t;
        bind(two, (&raw const address).cast(), len);
        getsockname(two, (&raw mut address).cast(), &mut len);
        connect(one, (&raw const address).cast(), len);
        let texts = [&b"first"[..], b"second", b"third"];
        let mut vectors: Vec<iovec> =
            texts.iter().map(|text| iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() }).collect();
        let mut messages: Vec<mmsghdr> = Vec::new();
        for vector in &mut vectors {
            let mut message: mmsghdr = zeroed();
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
            messages.push(message);
        }
        show("sendmmsg", sendmmsg(one, messages.as_mut_ptr(), 3, 0));
        println!("{:?}", messages.iter().map(|message| message.msg_len).collect::<Vec<_>>());
        let mut room = [[0u8; 16]; 5];
        let mut vectors: Vec<iovec> =
            room.iter_mut().map(|buf| iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 16 }).collect();
        let mut messages: Vec<mmsghdr> = Vec::new();
        for vector in &mut vectors {
            let mut message: mmsghdr = zeroed();
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (vector, 1);
            messages.push(message);
        }
        show("two of them", recvmmsg(two, messages.as_mut_ptr(), 2, 0, null_mut()));
        println!("{:?}", messages.iter().map(|message| message.msg_len).collect::<Vec<_>>());
        show("at least one", recvmmsg(two, messages.as_mut_ptr(), 5, MSG_WAITFORONE, null_mut()));
        show("none", recvmmsg(two, messages.as_mut_ptr(), 5, MSG_DONTWAIT, null_mut()));
        show("no room", recvmmsg(two, messages.as_mut_ptr(), 0, MSG_DONTWAIT, null_mut()));
        let mut bad = timespec { tv_sec: 0, tv_nsec: -1 };
        show("bad time", recvmmsg(two, messages.as_mut_ptr(), 5, 0, &mut bad));
        let mut short = timespec { tv_sec: 0, tv_nsec: 1 };
        sendmmsg(one, messages.as_mut_ptr(), 1, 0);
        show("the time is looked at between", recvmmsg(two, messages.as_mut_ptr(), 5, 0, &mut short));
        let file = create(folder, "file", b"");
        show("no socket", recvmmsg(open(file.as_ptr(), O_RDWR), messages.as_mut_ptr(), 5, 0, null_mut()));
    }
}
