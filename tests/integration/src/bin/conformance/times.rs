//! Which times each operation changes, of the file, of its directory and of another one (POSIX, each page's DESCRIPTION).

use super::prelude::*;

/// The times of a file: access, modification, change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Times([(i64, i64); 3]);

fn times(path: &CStr) -> Option<Times> {
    unsafe {
        let mut st: stat = zeroed();
        (lstat(path.as_ptr(), &mut st) == 0).then_some(Times([
            (st.st_atime, st.st_atime_nsec),
            (st.st_mtime, st.st_mtime_nsec),
            (st.st_ctime, st.st_ctime_nsec),
        ]))
    }
}

/// Sets access and modification to long ago, and waits until the clock of the file system shows another time than the last change did.
fn age(paths: &[&CStr]) {
    unsafe {
        let old = [timespec { tv_sec: 1_000_000, tv_nsec: 1 }, timespec { tv_sec: 2_000_000, tv_nsec: 2 }];
        for path in paths {
            utimensat(AT_FDCWD, path.as_ptr(), old.as_ptr(), AT_SYMLINK_NOFOLLOW);
        }
        let last = paths.iter().filter_map(|path| times(path)).map(|times| times.0[2]).max();
        loop {
            close(open(c"clock".as_ptr(), O_WRONLY | O_CREAT, 0o644));
            unlink(c"clock".as_ptr());
            close(open(c"clock".as_ptr(), O_WRONLY | O_CREAT, 0o644));
            if times(c"clock").map(|times| times.0[2]) > last {
                break;
            }
        }
        unlink(c"clock".as_ptr());
    }
}

type Change = (&'static str, fn() -> i64);

fn on_fd(flags: c_int, body: impl FnOnce(c_int) -> i64) -> i64 {
    unsafe {
        let fd = open(c"p/f".as_ptr(), flags);
        let answer = body(fd);
        close(fd);
        answer
    }
}

const CHANGES: &[Change] = &[
    ("nothing", || 0),
    ("stat", || unsafe { chmod(c"none".as_ptr(), 0).into() }),
    ("open r", || on_fd(O_RDONLY, |_| 0)),
    ("open w", || on_fd(O_WRONLY, |_| 0)),
    ("open w creat", || on_fd(O_WRONLY | O_CREAT, |_| 0)),
    ("open trunc", || on_fd(O_WRONLY | O_TRUNC, |_| 0)),
    ("read", || on_fd(O_RDONLY, |fd| unsafe { read(fd, [0u8; 3].as_mut_ptr().cast(), 3) as i64 })),
    ("read 0", || on_fd(O_RDONLY, |fd| unsafe { read(fd, [0u8; 3].as_mut_ptr().cast(), 0) as i64 })),
    ("read at the end", || on_fd(O_RDONLY, |fd| unsafe { pread(fd, [0u8; 3].as_mut_ptr().cast(), 3, 100) as i64 })),
    ("read noatime", || on_fd(O_RDONLY | O_NOATIME, |fd| unsafe { read(fd, [0u8; 3].as_mut_ptr().cast(), 3) as i64 })),
    ("write", || on_fd(O_WRONLY, |fd| unsafe { write(fd, c"xyz".as_ptr().cast(), 3) as i64 })),
    ("write 0", || on_fd(O_WRONLY, |fd| unsafe { write(fd, c"xyz".as_ptr().cast(), 0) as i64 })),
    ("append", || on_fd(O_WRONLY | O_APPEND, |fd| unsafe { write(fd, c"xyz".as_ptr().cast(), 3) as i64 })),
    ("pwrite beyond", || on_fd(O_WRONLY, |fd| unsafe { pwrite(fd, c"xyz".as_ptr().cast(), 3, 9000) as i64 })),
    ("ftruncate less", || on_fd(O_WRONLY, |fd| unsafe { ftruncate(fd, 2).into() })),
    ("ftruncate same", || on_fd(O_WRONLY, |fd| unsafe { ftruncate(fd, 5).into() })),
    ("ftruncate more", || on_fd(O_WRONLY, |fd| unsafe { ftruncate(fd, 50).into() })),
    ("truncate less", || unsafe { truncate(c"p/f".as_ptr(), 2).into() }),
    ("truncate same", || unsafe { truncate(c"p/f".as_ptr(), 5).into() }),
    ("truncate -1", || unsafe { truncate(c"p/f".as_ptr(), -1).into() }),
    ("fallocate", || on_fd(O_WRONLY, |fd| unsafe { fallocate(fd, 0, 0, 100).into() })),
    ("fallocate keep", || on_fd(O_WRONLY, |fd| unsafe { fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100).into() })),
    ("punch", || {
        on_fd(O_WRONLY, |fd| unsafe { fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 5).into() })
    }),
    ("fsync", || on_fd(O_WRONLY, |fd| unsafe { fsync(fd).into() })),
    ("chmod", || unsafe { chmod(c"p/f".as_ptr(), 0o600).into() }),
    ("chmod same", || unsafe { chmod(c"p/f".as_ptr(), 0o644).into() }),
    ("chown", || unsafe { chown(c"p/f".as_ptr(), 1, 1).into() }),
    ("chown same", || unsafe { chown(c"p/f".as_ptr(), 0, 0).into() }),
    ("chown nothing", || unsafe { chown(c"p/f".as_ptr(), u32::MAX, u32::MAX).into() }),
    ("utimensat now", || unsafe { utimensat(AT_FDCWD, c"p/f".as_ptr(), null(), 0).into() }),
    ("utimensat omit", || set(UTIME_OMIT, UTIME_OMIT)),
    ("utimensat atime", || set(UTIME_NOW, UTIME_OMIT)),
    ("utimensat mtime", || set(UTIME_OMIT, UTIME_NOW)),
    ("utimensat exact", || set(999_999_999, 123_456_789)),
    ("creat new", || unsafe { close(open(c"p/new".as_ptr(), O_WRONLY | O_CREAT, 0o644)).into() }),
    ("mkdir", || unsafe { mkdir(c"p/new".as_ptr(), 0o755).into() }),
    ("mkdir there", || unsafe { mkdir(c"p/f".as_ptr(), 0o755).into() }),
    ("mknod", || unsafe { mknod(c"p/new".as_ptr(), S_IFREG | 0o644, 0).into() }),
    ("mkfifo", || unsafe { mkfifo(c"p/new".as_ptr(), 0o644).into() }),
    ("symlink", || unsafe { symlink(c"f".as_ptr(), c"p/new".as_ptr()).into() }),
    ("link", || unsafe { link(c"p/f".as_ptr(), c"p/new".as_ptr()).into() }),
    ("link elsewhere", || unsafe { link(c"p/f".as_ptr(), c"q/new".as_ptr()).into() }),
    ("unlink", || unsafe { unlink(c"p/f".as_ptr()).into() }),
    ("unlink second name", || unsafe { unlink(c"p/g".as_ptr()).into() }),
    ("rmdir", || unsafe { rmdir(c"p/d".as_ptr()).into() }),
    ("rename", || unsafe { rename(c"p/f".as_ptr(), c"p/new".as_ptr()).into() }),
    ("rename elsewhere", || unsafe { rename(c"p/f".as_ptr(), c"q/new".as_ptr()).into() }),
    ("rename over", || unsafe { rename(c"p/f".as_ptr(), c"q/o".as_ptr()).into() }),
    ("rename of directory", || unsafe { rename(c"p/d".as_ptr(), c"q/d".as_ptr()).into() }),
    ("rename to itself", || unsafe { rename(c"p/f".as_ptr(), c"p/g".as_ptr()).into() }),
    ("exchange", || unsafe { renameat2(AT_FDCWD, c"p/f".as_ptr(), AT_FDCWD, c"q/o".as_ptr(), RENAME_EXCHANGE).into() }),
    ("readdir", || unsafe {
        let dir = opendir(c"p".as_ptr());
        while !readdir(dir).is_null() {}
        closedir(dir).into()
    }),
    ("readlink", || unsafe { readlink(c"p/l".as_ptr(), [0u8; 9].as_mut_ptr().cast(), 9) as i64 }),
    ("stat through link", || unsafe { access(c"p/l".as_ptr(), F_OK).into() }),
    ("chdir", || unsafe { (chdir(c"p".as_ptr()) | fchdir(home())).into() }),
    ("failing rename", || unsafe { rename(c"p/f".as_ptr(), c"p/d".as_ptr()).into() }),
    ("failing rmdir", || unsafe { rmdir(c"q".as_ptr()).into() }),
    ("lock", || on_fd(O_RDWR, |fd| unsafe { flock(fd, LOCK_EX).into() })),
];

fn set(atime: i64, mtime: i64) -> i64 {
    let times = [timespec { tv_sec: 3, tv_nsec: atime }, timespec { tv_sec: 4, tv_nsec: mtime }];
    unsafe { utimensat(AT_FDCWD, c"p/f".as_ptr(), times.as_ptr(), 0).into() }
}

/// All of them.
pub fn all() {
    let watched = [c"p/f", c"p/g", c"p/d", c"p/l", c"p", c"q/o", c"q/new", c"p/new", c"q"];
    for (what, change) in CHANGES {
        wipe(".");
        unsafe {
            mkdir(c"p".as_ptr(), 0o755);
            mkdir(c"q".as_ptr(), 0o755);
            mkdir(c"p/d".as_ptr(), 0o755);
            write_file("p/f", b"12345");
            write_file("q/o", b"12345");
            if Has::Links.here() {
                link(c"p/f".as_ptr(), c"p/g".as_ptr());
            }
            if Has::Symlinks.here() {
                symlink(c"f".as_ptr(), c"p/l".as_ptr());
            }
        }
        age(&watched);
        let before = watched.map(times);
        let answer = said(change());
        let after = watched.map(times);
        let told: Vec<String> = watched
            .iter()
            .zip(before.iter().zip(&after))
            .filter_map(|(path, (before, after))| {
                let path = path.to_string_lossy();
                match (before, after) {
                    (Some(before), Some(after)) => {
                        let changed = ["a", "m", "c"].into_iter().zip(before.0.iter().zip(&after.0));
                        let changed: String =
                            changed.filter(|(_, (before, after))| before != after).map(|(name, _)| name).collect();
                        (!changed.is_empty()).then(|| format!("{path} {changed}"))
                    }
                    (Some(_), None) => Some(format!("{path} gone")),
                    (None, Some(_)) => Some(format!("{path} made")),
                    (None, None) => None,
                }
            })
            .collect();
        let told = if told.is_empty() { "nothing".into() } else { told.join(", ") };
        line(format_args!("{what}: {answer}: {told}"));
    }
    order();
    exact();
}

/// The times of what was just made agree with each other and with the clock.
fn order() {
    write_file("n", b"");
    let made = times(c"n").unwrap();
    line(format_args!("new file: all the same {}", made.0[0] == made.0[1] && made.0[1] == made.0[2]));
    unsafe {
        let mut now: timespec = zeroed();
        clock_gettime(CLOCK_REALTIME, &mut now);
        line(format_args!("new file: of this minute {}", now.tv_sec - made.0[0].0 < 60 && made.0[0].0 <= now.tv_sec));
        let mut st: statx = zeroed();
        statx(AT_FDCWD, c"n".as_ptr(), 0, STATX_ALL, &mut st);
        line(format_args!("new file: has a time of birth {}", st.stx_mask & STATX_BTIME != 0));
        line(format_args!(
            "new file: born when changed {}",
            (st.stx_btime.tv_sec, i64::from(st.stx_btime.tv_nsec)) == made.0[2]
        ));
    }
}

/// Times are kept as they were given, before 1970 and after 2038 too.
fn exact() {
    for (seconds, nanoseconds) in
        [(0, 0), (1, 1), (-1, 999_999_999), (-2_000_000_000, 5), (1 << 31, 7), (4_102_444_800, 123_456_789)]
    {
        let given = [
            timespec { tv_sec: seconds, tv_nsec: nanoseconds },
            timespec { tv_sec: seconds + 1, tv_nsec: nanoseconds },
        ];
        unsafe {
            let answer = said(utimensat(AT_FDCWD, c"n".as_ptr(), given.as_ptr(), 0));
            let kept = times(c"n").unwrap().0;
            line(format_args!("set to {seconds}.{nanoseconds}: {answer} {:?} {:?}", kept[0], kept[1]));
        }
    }
    for nanoseconds in [-1, 1_000_000_000, UTIME_NOW - 1, UTIME_OMIT + 1, i64::MAX] {
        for (atime, mtime) in [(nanoseconds, 0), (0, nanoseconds), (UTIME_OMIT, nanoseconds)] {
            line(format_args!(
                "nanoseconds {atime} and {mtime}: {}",
                said(unsafe {
                    let given = [timespec { tv_sec: 0, tv_nsec: atime }, timespec { tv_sec: 0, tv_nsec: mtime }];
                    utimensat(AT_FDCWD, c"n".as_ptr(), given.as_ptr(), 0)
                })
            ));
        }
    }
    // A user needs to own it, or to be able to write it and mean the present.
    if !Has::Owners.here() || !Has::Users.here() {
        return;
    }
    for (owner, mode) in [(USER, 0o644), (USER, 0o000), (OTHER, 0o666), (OTHER, 0o644), (OTHER, 0o222), (OTHER, 0o444)]
    {
        for (what, atime, mtime) in [
            ("now", UTIME_NOW, UTIME_NOW),
            ("omit", UTIME_OMIT, UTIME_OMIT),
            ("set", 1, 2),
            ("half now", UTIME_NOW, UTIME_OMIT),
            ("other half now", UTIME_OMIT, UTIME_NOW),
            ("now and set", UTIME_NOW, 5),
        ] {
            unsafe {
                chown(c"n".as_ptr(), owner, owner);
                chmod(c"n".as_ptr(), mode);
                let fd = open(c"n".as_ptr(), O_RDONLY);
                let given = [timespec { tv_sec: 0, tv_nsec: atime }, timespec { tv_sec: 0, tv_nsec: mtime }];
                let (by_name, by_fd, null) = as_user(|| {
                    (
                        said(utimensat(AT_FDCWD, c"n".as_ptr(), given.as_ptr(), 0)),
                        said(futimens(fd, given.as_ptr())),
                        said(futimens(fd, null())),
                    )
                });
                close(fd);
                line(format_args!("{what} of a file of {owner} {mode:o}: {by_name}, {by_fd}, null {null}"));
            }
        }
    }
}
