//! Permission bits: umask, chmod, and the bits that inheriting, writing and giving away change.

use super::prelude::*;

/// All of it.
pub fn all() {
    masks();
    chmods();
    if Has::Owners.here() && Has::Users.here() {
        inherited();
        cleared();
        groups();
    }
}

/// Every way to make something under every mask.
fn masks() {
    for mask in [0o000, 0o022, 0o027, 0o077, 0o777, 0o111, 0o1022, 0o7777] {
        unsafe {
            line(format_args!("umask {mask:o}: was {:o}", umask(mask)));
            for mode in [0o000, 0o644, 0o666, 0o777, 0o1777, 0o2755, 0o4755, 0o7777, 0o10644] {
                let made = |what: &str, result: c_int| {
                    line(format_args!("umask {mask:o}: {what} {mode:o}: {} {}", said(result.min(0)), look(c"t")));
                    wipe_name("t");
                };
                let fd = open(c"t".as_ptr(), O_RDWR | O_CREAT, mode);
                close(fd);
                made("open", fd);
                let fd = creat(c"t".as_ptr(), mode);
                close(fd);
                made("creat", fd);
                made("mkdir", mkdir(c"t".as_ptr(), mode));
                made("mknod", mknod(c"t".as_ptr(), S_IFREG | (mode & 0o7777), 0));
                if Has::Specials.here() {
                    made("mkfifo", mkfifo(c"t".as_ptr(), mode));
                }
                if Has::Symlinks.here() {
                    made("symlink", symlink(c"x".as_ptr(), c"t".as_ptr()));
                }
                if Has::Linux.here() {
                    let fd = open(c".".as_ptr(), O_TMPFILE | O_RDWR, mode);
                    let mut st: stat = zeroed();
                    fstat(fd, &mut st);
                    line(format_args!("umask {mask:o}: tmpfile {mode:o}: {:o}", st.st_mode));
                    close(fd);
                }
            }
            umask(0o022);
        }
    }
}

/// Every bit of chmod(2), by name and by descriptor, for owner, member of the group and stranger.
fn chmods() {
    for thing in Thing::all() {
        for mode in (0..12).map(|bit| 1 << bit).chain([0, 0o7777, 0o170644, 0o10000]) {
            thing.renew("t");
            let answer = said(unsafe { chmod(c"t".as_ptr(), mode) });
            line(format_args!("chmod {thing:?} {mode:o}: {answer} {}", thing.look("t")));
        }
    }
    if !Has::Owners.here() || !Has::Users.here() {
        return;
    }
    for thing in [Thing::File, Thing::Empty] {
        for (owner, group) in [(USER, USER), (USER, GROUP), (USER, OTHER), (OTHER, USER), (0, 0)] {
            for mode in [0o644, 0o1644, 0o2644, 0o2654, 0o4755, 0o6755, 0o7777] {
                thing.renew("t");
                unsafe {
                    assert_eq!(chown(c"t".as_ptr(), owner, group), 0);
                    let fd = open(c"t".as_ptr(), O_RDONLY);
                    let (by_name, by_fd) = as_user(|| {
                        let by_name = format!("{} {}", said(chmod(c"t".as_ptr(), mode)), look(c"t"));
                        (by_name, said(fchmod(fd, mode & 0o5777)))
                    });
                    close(fd);
                    line(format_args!(
                        "chmod of {thing:?} of {owner}.{group} {mode:o}: {by_name}, {by_fd} {}",
                        look(c"t")
                    ));
                }
            }
        }
    }
}

/// What is made in a directory with the set-group-ID bit.
fn inherited() {
    for group in [0, USER, GROUP, OTHER] {
        for parent in [0o777, 0o2777, 0o3777] {
            unsafe {
                mkdir(c"p".as_ptr(), 0o755);
                chown(c"p".as_ptr(), 0, group);
                chmod(c"p".as_ptr(), parent);
                for mode in [0o644, 0o755, 0o2755, 0o2745, 0o6755] {
                    let make = || {
                        let mut told = Vec::new();
                        let mut tell = |result: c_int| {
                            told.push(format!("{} {}", said(result.min(0)), look(c"p/t")));
                            wipe_name("p/t");
                        };
                        let fd = open(c"p/t".as_ptr(), O_RDWR | O_CREAT, mode);
                        close(fd);
                        tell(fd);
                        tell(mkdir(c"p/t".as_ptr(), mode));
                        tell(mknod(c"p/t".as_ptr(), S_IFREG | mode, 0));
                        if Has::Symlinks.here() {
                            tell(symlink(c"x".as_ptr(), c"p/t".as_ptr()));
                        }
                        told.join(", ")
                    };
                    line(format_args!("in {parent:o} of {group}: {mode:o} by root: {}", make()));
                    line(format_args!("in {parent:o} of {group}: {mode:o} by a user: {}", as_user(make)));
                }
            }
            wipe_name("p");
        }
    }
}

type Change = (&'static str, fn(c_int) -> i64);

/// What takes set-user-ID and set-group-ID away.
fn cleared() {
    let changes: &[Change] = &[
        ("write", |fd| unsafe { write(fd, c"x".as_ptr().cast(), 1) as i64 }),
        ("write nothing", |fd| unsafe { write(fd, c"x".as_ptr().cast(), 0) as i64 }),
        ("pwrite", |fd| unsafe { pwrite(fd, c"x".as_ptr().cast(), 1, 9) as i64 }),
        ("ftruncate", |fd| unsafe { ftruncate(fd, 1).into() }),
        ("ftruncate same", |fd| unsafe { ftruncate(fd, 5).into() }),
        ("truncate", |_| unsafe { truncate(c"t".as_ptr(), 1).into() }),
        ("open trunc", |_| unsafe { close(open(c"t".as_ptr(), O_WRONLY | O_TRUNC)).into() }),
        ("fallocate", |fd| unsafe { fallocate(fd, 0, 0, 10).into() }),
        ("chmod", |_| unsafe { chmod(c"t".as_ptr(), 0o6777).into() }),
        ("chown nothing", |_| unsafe { chown(c"t".as_ptr(), u32::MAX, u32::MAX).into() }),
        ("chown same", |_| unsafe { chown(c"t".as_ptr(), USER, USER).into() }),
        ("chown group", |_| unsafe { chown(c"t".as_ptr(), u32::MAX, GROUP).into() }),
        ("fchown", |fd| unsafe { fchown(fd, USER, u32::MAX).into() }),
        ("utimes", |_| unsafe { utimes(c"t".as_ptr(), null()).into() }),
        ("rename", |_| unsafe {
            rename(c"t".as_ptr(), c"u".as_ptr());
            rename(c"u".as_ptr(), c"t".as_ptr()).into()
        }),
    ];
    for (what, change) in changes {
        for mode in [0o4755, 0o2755, 0o6755, 0o2745, 0o6745, 0o6777, 0o6666, 0o1755] {
            for root in [true, false] {
                Thing::File.renew("t");
                unsafe {
                    chown(c"t".as_ptr(), USER, USER);
                    chmod(c"t".as_ptr(), mode);
                    let fd = open(c"t".as_ptr(), O_RDWR);
                    let run = || said(change(fd));
                    chmod(c".".as_ptr(), 0o777);
                    let answer = if root { run() } else { as_user(run) };
                    close(fd);
                    let who = if root { "root" } else { "the owner" };
                    line(format_args!("{what} of {mode:o} by {who}: {answer} {}", look(c"t")));
                }
            }
        }
    }
    for mode in [0o6755, 0o2745, 0o7777] {
        Thing::Empty.renew("t");
        unsafe {
            chmod(c"t".as_ptr(), mode);
            line(format_args!("chown of a directory of {mode:o}: {} {}", said(chown(c"t".as_ptr(), 3, 4)), look(c"t")));
        }
    }
}

/// A group that one belongs to, or not, and the bits of the group.
fn groups() {
    for (mode, group) in [(0o070, USER), (0o070, GROUP), (0o070, OTHER), (0o007, OTHER), (0o707, GROUP), (0o077, USER)]
    {
        Thing::File.renew("t");
        unsafe {
            chown(c"t".as_ptr(), OTHER, group);
            chmod(c"t".as_ptr(), mode);
            let told = as_user(|| {
                let real: Vec<String> = [R_OK, W_OK, X_OK]
                    .iter()
                    .map(|mode| said(faccessat(AT_FDCWD, c"t".as_ptr(), *mode, AT_EACCESS)))
                    .collect();
                let by_real_ids: Vec<String> =
                    [R_OK, W_OK, X_OK].iter().map(|mode| said(access(c"t".as_ptr(), *mode))).collect();
                format!(
                    "{} as root: {} {}",
                    real.join(" "),
                    by_real_ids.join(" "),
                    opened(open(c"t".as_ptr(), O_RDONLY))
                )
            });
            line(format_args!("{mode:o} of group {group}: {told}"));
        }
    }
}
