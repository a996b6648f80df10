//! What the options of a mount change, and in what order with the other errors. And what a file system does not have.

use super::prelude::*;

/// Each operation on a file system that was made read-only, and what else options do.
pub fn all() {
    unsafe {
        mkdir(c"m".as_ptr(), 0o755);
        assert_eq!(mount(c"none".as_ptr(), c"m".as_ptr(), c"tmpfs".as_ptr(), 0, null()), 0, "{}", super::error());
        chmod(c"m".as_ptr(), 0o777);
    }
    for thing in Thing::all() {
        thing.make(&format!("m/{thing:?}"));
    }
    unsafe {
        let held = open(c"m/File".as_ptr(), O_RDWR);
        line(format_args!("read-only while a file is open for writing: {}", remounted(MS_RDONLY)));
        close(held);
        line(format_args!("read-only: {}", remounted(MS_RDONLY)));
    }
    read_only();
    marks();
    unsafe {
        line(format_args!("writable again: {}", remounted(0)));
        line(format_args!("makes files: {}", write_file("m/late", b"x")));
        let busy = open(c"m/late".as_ptr(), O_RDONLY);
        line(format_args!("busy: umount {}", said(umount2(c"m".as_ptr(), 0))));
        close(busy);
        line(format_args!("rmdir of a mount point: {}", said(rmdir(c"m".as_ptr()))));
        line(format_args!("rename of a mount point: {}", said(rename(c"m".as_ptr(), c"n".as_ptr()))));
        line(format_args!("rename across: {}", said(rename(c"m/late".as_ptr(), c"late".as_ptr()))));
        line(format_args!("link across: {}", said(link(c"m/late".as_ptr(), c"late".as_ptr()))));
        line(format_args!("rename across, nothing there: {}", said(rename(c"m/no".as_ptr(), c"late".as_ptr()))));
        line(format_args!("umount: {}", said(umount2(c"m".as_ptr(), 0))));
        line(format_args!("umount again: {}", said(umount2(c"m".as_ptr(), 0))));
        line(format_args!("umount of nothing: {}", said(umount2(c"no".as_ptr(), 0))));
        line(format_args!("what was below: {}", look(c"m/late")));
        line(format_args!(
            "an unknown type: {}",
            said(mount(c"none".as_ptr(), c"m".as_ptr(), c"nosuchfs".as_ptr(), 0, null()))
        ));
        line(format_args!("on a file: {}", {
            Thing::File.make("f");
            said(mount(c"none".as_ptr(), c"f".as_ptr(), c"tmpfs".as_ptr(), 0, null()))
        }));
        line(format_args!(
            "on nothing: {}",
            said(mount(c"none".as_ptr(), c"no".as_ptr(), c"tmpfs".as_ptr(), 0, null()))
        ));
        if !Has::Users.here() {
            return;
        }
        line(format_args!(
            "by a user: {} {}",
            as_user(|| said(mount(c"none".as_ptr(), c"m".as_ptr(), c"tmpfs".as_ptr(), 0, null()))),
            as_user(|| said(umount2(c"m".as_ptr(), 0)))
        ));
    }
}

/// Changes the options of the mount.
fn remounted(flags: c_ulong) -> String {
    said(unsafe { mount(c"none".as_ptr(), c"m".as_ptr(), c"tmpfs".as_ptr(), MS_REMOUNT | flags, null()) })
}

/// Whether the kernel answers: some versions of libc refuse to change the mode of a symbolic link by themselves.
fn of_the_kernel(thing: Thing, op: &Op) -> bool {
    let link = matches!(thing, Thing::ToFile | Thing::ToDir | Thing::Broken | Thing::Loop);
    !(link && op.0 == "fchmodat nofollow")
}

fn read_only() {
    for thing in Thing::all() {
        for after in ["", "/", "/in", "/new"] {
            let path = c(&format!("m/{thing:?}{after}"));
            bystanders();
            let shown = path.to_string_lossy();
            let operations: Vec<Op> =
                operations().into_iter().map(|(op, _)| op).filter(|op| of_the_kernel(thing, op)).collect();
            for (what, op) in &operations {
                line(format_args!("{shown} by root: {what} {}", op(&path)));
                wipe_name("made");
            }
            bystanders();
            if !Has::Users.here() {
                continue;
            }
            let answers: Vec<String> = as_user(|| operations.iter().map(|(_, op)| op(&path)).collect());
            for ((what, _), answer) in operations.iter().zip(answers) {
                line(format_args!("{shown} by a user: {what} {answer}"));
            }
        }
    }
    unsafe {
        let fd = open(c"m/File".as_ptr(), O_RDONLY);
        line(format_args!("fchmod {}", said(fchmod(fd, 0o600))));
        line(format_args!("fchown {}", said(fchown(fd, 1, 1))));
        line(format_args!("futimens {}", said(futimens(fd, null()))));
        line(format_args!("flock {}", said(flock(fd, LOCK_EX | LOCK_NB))));
        close(fd);
        for flags in 0..8 {
            let flags = if flags & 1 != 0 { O_CREAT } else { 0 }
                | if flags & 2 != 0 { O_EXCL } else { 0 }
                | if flags & 4 != 0 { O_TRUNC } else { 0 };
            for mode in [O_RDONLY, O_WRONLY, O_RDWR] {
                for name in ["m/File", "m/new", "m/Empty", "m/Fifo", "m/Broken"] {
                    let answer = opened(open(c(name).as_ptr(), flags | mode | O_NONBLOCK, 0o600));
                    line(format_args!("open {name} {:o}: {answer}", flags | mode));
                }
            }
        }
    }
}

/// What statvfs(2) says of the options.
fn marks() {
    for (what, flags) in [
        ("nosuid", MS_NOSUID),
        ("nodev", MS_NODEV),
        ("noexec", MS_NOEXEC),
        ("noatime", MS_NOATIME),
        ("read-only", MS_RDONLY),
    ] {
        let answer = remounted(flags);
        unsafe {
            let mut st: statvfs = zeroed();
            statvfs(c"m".as_ptr(), &mut st);
            let shown = st.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME);
            line(format_args!("{what}: {answer} {shown:x}"));
            if Has::Devices.here() {
                line(format_args!("{what}: a device {}", opened(open(c"m/Char".as_ptr(), O_RDONLY | O_NONBLOCK))));
            }
            chmod(c"m/File".as_ptr(), 0o755);
            line(format_args!("{what}: may execute {}", said(access(c"m/File".as_ptr(), X_OK))));
        }
    }
}

/// What refuses the operations that the file system does not have.
pub fn missing() {
    Thing::File.renew("t");
    unsafe {
        if !Has::Links.here() {
            line(format_args!("link: {}", said(link(c"t".as_ptr(), c"u".as_ptr()))));
        }
        if !Has::Symlinks.here() {
            line(format_args!("symlink: {}", said(symlink(c"t".as_ptr(), c"u".as_ptr()))));
        }
        if !Has::Specials.here() {
            line(format_args!("mkfifo: {}", said(mkfifo(c"u".as_ptr(), 0o600))));
            line(format_args!("mknod socket: {}", said(mknod(c"u".as_ptr(), S_IFSOCK | 0o600, 0))));
        }
        if !Has::Devices.here() {
            line(format_args!("mknod device: {}", said(mknod(c"u".as_ptr(), S_IFCHR | 0o600, makedev(240, 77)))));
            unlink(c"u".as_ptr());
        }
        if !Has::Modes.here() {
            chmods_that_cannot_be();
        }
        if !Has::Times.here() {
            times_that_cannot_be();
        }
        if !Has::Owners.here() {
            line(format_args!("chown: {}", said(chown(c"t".as_ptr(), 5, 5))));
            line(format_args!("chown to the same: {}", said(chown(c"t".as_ptr(), 0, 0))));
        }
        if !Has::Linux.here() {
            line(format_args!("tmpfile: {}", opened(open(c".".as_ptr(), O_TMPFILE | O_RDWR, 0o600))));
        }
        if !Has::Holes.here() {
            let fd = open(c"t".as_ptr(), O_RDWR);
            line(format_args!("punch: {}", said(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096))));
            close(fd);
        }
    }
}

/// Modes that the file system may not be able to keep.
fn chmods_that_cannot_be() {
    let mut st: stat = unsafe { zeroed() };
    for thing in [Thing::File, Thing::Empty] {
        for mode in [0o644, 0o755, 0o777, 0o555, 0o444, 0o600, 0o700, 0o000, 0o1755, 0o4755, 0o2755] {
            thing.renew("t");
            unsafe {
                let answer = said(chmod(c"t".as_ptr(), mode));
                stat(c"t".as_ptr(), &mut st);
                line(format_args!("chmod {thing:?} {mode:o}: {answer} {:o}", st.st_mode & 0o7777));
                line(format_args!("then open for writing: {}", opened(open(c"t".as_ptr(), O_WRONLY))));
                line(format_args!("then remove: {}", said(remove(c"t".as_ptr()))));
            }
        }
    }
    Thing::File.renew("t");
}

/// Times that the file system may have to round.
fn times_that_cannot_be() {
    let mut st: stat = unsafe { zeroed() };
    for (seconds, nanos) in
        [(1_000_000_000, 0), (1_000_000_001, 500_000_000), (1, 0), (315_532_801, 9), (5_000_000_000, 0)]
    {
        let times = [timespec { tv_sec: seconds, tv_nsec: nanos }; 2];
        unsafe {
            let answer = said(utimensat(AT_FDCWD, c"t".as_ptr(), times.as_ptr(), 0));
            stat(c"t".as_ptr(), &mut st);
            let (access, change) = ((st.st_atime, st.st_atime_nsec), (st.st_mtime, st.st_mtime_nsec));
            line(format_args!("utimensat {seconds}.{nanos}: {answer} {access:?} {change:?}"));
        }
    }
}
