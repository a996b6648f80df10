//! What a mount changes: a read-only one refuses changes, in the right order. And what a file system does not have.

use super::prelude::*;

/// The folder beside the one to work in that is mounted read-only, with the things of [`things`](super::things) in it.
const READ_ONLY: &str = "../../readonly";

/// Each operation on a read-only mount, if there is one.
pub fn all() {
    if look(&c(READ_ONLY)) == "ENOENT" {
        return;
    }
    for name in ["none", "file", "empty", "full", "link", "broken", "fifo"] {
        for after in ["", "/", "/x"] {
            let path = c(&format!("{READ_ONLY}/{name}{after}"));
            for as_root in [true, false] {
                for ((what, op), _) in operations() {
                    bystanders();
                    let answer = if as_root { op(&path) } else { as_user(|| op(&path)) };
                    let who = if as_root { "root" } else { "user" };
                    line(format_args!("{name}{after} by {who}: {what} {answer}"));
                }
            }
        }
    }
    unsafe {
        let fd = open(c(&format!("{READ_ONLY}/file")).as_ptr(), O_RDONLY);
        line(format_args!("fchmod {}", said(fchmod(fd, 0o600))));
        line(format_args!("fchown {}", said(fchown(fd, 1, 1))));
        line(format_args!("futimens {}", said(futimens(fd, null()))));
        line(format_args!("flock {}", said(flock(fd, LOCK_EX | LOCK_NB))));
        close(fd);
        let mut st: statvfs = zeroed();
        statvfs(c(READ_ONLY).as_ptr(), &mut st);
        line(format_args!("statvfs says read-only {}", st.f_flag & ST_RDONLY != 0));
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
        }
        if !Has::Owners.here() {
            line(format_args!("chown: {}", said(chown(c"t".as_ptr(), 5, 5))));
            line(format_args!("chown to the same: {}", said(chown(c"t".as_ptr(), 0, 0))));
        }
        if !Has::Linux.here() {
            line(format_args!("tmpfile: {}", opened(open(c".".as_ptr(), O_TMPFILE | O_RDWR, 0o600))));
            line(format_args!(
                "exchange: {}",
                said(renameat2(AT_FDCWD, c"t".as_ptr(), AT_FDCWD, c"t".as_ptr(), RENAME_EXCHANGE))
            ));
        }
        if !Has::Holes.here() {
            let fd = open(c"t".as_ptr(), O_RDWR);
            line(format_args!("punch: {}", said(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4096))));
            close(fd);
        }
        line(format_args!(
            "link of nothing: {}",
            if Has::Links.here() { said(link(c"no".as_ptr(), c"u".as_ptr())) } else { "-".into() }
        ));
    }
}
