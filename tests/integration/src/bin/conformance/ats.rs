//! Calls that begin at a directory's descriptor: each kind of descriptor, each kind of path.

use super::prelude::*;

type At = (&'static str, fn(c_int, &CStr) -> String);

const CALLS: &[At] = &[
    ("openat r", |fd, path| opened(unsafe { openat(fd, path.as_ptr(), O_RDONLY | O_NONBLOCK) })),
    ("openat creat", |fd, path| opened(unsafe { openat(fd, path.as_ptr(), O_RDWR | O_CREAT | O_NONBLOCK, 0o600) })),
    ("openat path", |fd, path| opened(unsafe { openat(fd, path.as_ptr(), O_PATH) })),
    ("fstatat", |fd, path| seen(fd, path, 0)),
    ("fstatat empty", |fd, path| seen(fd, path, AT_EMPTY_PATH)),
    ("fstatat nofollow", |fd, path| seen(fd, path, AT_SYMLINK_NOFOLLOW)),
    ("statx empty", |fd, path| unsafe {
        let mut st: statx = zeroed();
        said(statx(fd, path.as_ptr(), AT_EMPTY_PATH, STATX_BASIC_STATS, &mut st))
    }),
    ("faccessat", |fd, path| said(unsafe { faccessat(fd, path.as_ptr(), R_OK, 0) })),
    ("faccessat empty", |fd, path| said(unsafe { faccessat(fd, path.as_ptr(), W_OK, AT_EMPTY_PATH) })),
    ("fchmodat", |fd, path| said(unsafe { fchmodat(fd, path.as_ptr(), 0o755, 0) })),
    ("fchownat", |fd, path| said(unsafe { fchownat(fd, path.as_ptr(), 0, 0, 0) })),
    ("fchownat empty", |fd, path| said(unsafe { fchownat(fd, path.as_ptr(), 0, 0, AT_EMPTY_PATH) })),
    ("utimensat", |fd, path| said(unsafe { utimensat(fd, path.as_ptr(), null(), 0) })),
    ("utimensat empty", |fd, path| said(unsafe { utimensat(fd, path.as_ptr(), null(), AT_EMPTY_PATH) })),
    ("readlinkat", |fd, path| {
        let mut buf = [0u8; 64];
        said(unsafe { readlinkat(fd, path.as_ptr(), buf.as_mut_ptr().cast(), 64) } as i64)
    }),
    ("mkdirat", |fd, path| said(unsafe { mkdirat(fd, path.as_ptr(), 0o755) })),
    ("mknodat", |fd, path| said(unsafe { mknodat(fd, path.as_ptr(), S_IFREG | 0o644, 0) })),
    ("unlinkat", |fd, path| said(unsafe { unlinkat(fd, path.as_ptr(), 0) })),
    ("unlinkat dir", |fd, path| said(unsafe { unlinkat(fd, path.as_ptr(), AT_REMOVEDIR) })),
    ("renameat from", |fd, path| said(unsafe { renameat(fd, path.as_ptr(), home(), c"moved".as_ptr()) })),
    ("renameat to", |fd, path| said(unsafe { renameat(home(), c"file".as_ptr(), fd, path.as_ptr()) })),
    ("linkat from", |fd, path| {
        needs(Has::Links, || unsafe { linkat(fd, path.as_ptr(), home(), c"linked".as_ptr(), 0) })
    }),
    ("linkat empty", |fd, path| {
        needs(Has::Links, || unsafe { linkat(fd, path.as_ptr(), home(), c"linked".as_ptr(), AT_EMPTY_PATH) })
    }),
    ("linkat to", |fd, path| needs(Has::Links, || unsafe { linkat(home(), c"file".as_ptr(), fd, path.as_ptr(), 0) })),
    ("symlinkat", |fd, path| needs(Has::Symlinks, || unsafe { symlinkat(c"x".as_ptr(), fd, path.as_ptr()) })),
];

fn needs(has: Has, call: impl FnOnce() -> c_int) -> String {
    if has.here() { said(call()) } else { "-".into() }
}

fn seen(fd: c_int, path: &CStr, flags: c_int) -> String {
    unsafe {
        let mut st: stat = zeroed();
        let n = fstatat(fd, path.as_ptr(), &mut st, flags);
        if n < 0 { super::error() } else { format!("{:o}", st.st_mode & S_IFMT) }
    }
}

/// Makes the folder that the calls work in.
fn fresh() {
    for name in ["d", "gone", "moved", "linked", "d.to", "link"] {
        wipe_name(name);
    }
    bystanders();
    Thing::Full.make("d");
    write_file("d/file", b"12345");
    unsafe {
        mkdir(c"d/sub".as_ptr(), 0o755);
        mkdir(c"gone".as_ptr(), 0o755);
    }
    if Has::Symlinks.here() {
        Thing::ToFile.make("link");
    }
}

/// All of them.
pub fn all() {
    let kinds: &[(&str, &str, c_int)] = &[
        ("directory", "d", O_RDONLY | O_DIRECTORY),
        ("place of a directory", "d", O_PATH),
        ("file", "file", O_RDWR),
        ("place of a file", "file", O_PATH),
        ("place of a link", "link", O_PATH | O_NOFOLLOW),
        ("removed directory", "gone", O_RDONLY),
        ("removed file", "d/in", O_RDONLY),
    ];
    let paths = ["", ".", "..", "in", "file", "sub", "sub/", "no", "no/", "file/", "../file", "sub/../in", "./no/x"];
    for (kind, name, flags) in kinds.iter().filter(|(_, name, _)| *name != "link" || Has::Symlinks.here()) {
        let begin = || unsafe {
            fresh();
            let fd = open(c(name).as_ptr(), *flags);
            assert!(fd >= 0, "{name} {}", super::error());
            if kind.starts_with("removed") {
                assert_eq!(remove(c(name).as_ptr()), 0);
            }
            fd
        };
        for path in paths {
            let mut fd = begin();
            for (what, call) in CALLS {
                let answer = call(fd, &c(path));
                if answer.starts_with('E') {
                    line(format_args!("{kind}, {path:?}: {what} {answer}"));
                    continue;
                }
                let after = format!("{} {} {} {}", look(c"file"), look(c"moved"), look(c"linked"), look(c"d/no"));
                line(format_args!("{kind}, {path:?}: {what} {answer} | {after}"));
                unsafe {
                    close(fd);
                }
                fd = begin();
            }
            unsafe {
                close(fd);
            }
        }
    }
    // Descriptors that are none; an absolute path does not care.
    fresh();
    let whole = unsafe { CStr::from_ptr(getcwd(null_mut(), 0)) }.to_string_lossy().into_owned();
    for (kind, fd) in [("closed", 877), ("negative", -1), ("very negative", -4096)] {
        for path in ["", "in", &format!("{whole}/d/in"), &format!("{whole}/no")] {
            let shown = path.replace(&whole, "…");
            for (what, call) in CALLS {
                let answer = call(fd, &c(path));
                line(format_args!("{kind}, {shown:?}: {what} {answer}"));
                if !answer.starts_with('E') {
                    fresh();
                }
            }
        }
    }
    handles();
}

/// What a place, of which nothing is open, does and does not do (`O_PATH`).
fn handles() {
    fresh();
    unsafe {
        for name in ["file", "d", "link"] {
            if name == "link" && !Has::Symlinks.here() {
                continue;
            }
            let fd = open(c(name).as_ptr(), O_PATH | O_NOFOLLOW);
            let mut st: stat = zeroed();
            let mut vfs: statfs = zeroed();
            let mut byte = 0u8;
            let byte = (&raw mut byte).cast::<c_void>();
            line(format_args!("place of {name}: fstat {}", said(fstat(fd, &mut st))));
            line(format_args!("place of {name}: fstatfs {}", said(fstatfs(fd, &mut vfs))));
            line(format_args!("place of {name}: read {}", said(read(fd, byte, 1) as i64)));
            line(format_args!("place of {name}: write {}", said(write(fd, byte, 1) as i64)));
            line(format_args!("place of {name}: pread {}", said(pread(fd, byte, 1, 0) as i64)));
            line(format_args!("place of {name}: lseek {}", said(lseek(fd, 0, SEEK_SET))));
            line(format_args!("place of {name}: fchmod {}", said(fchmod(fd, 0o700))));
            line(format_args!("place of {name}: fchown {}", said(fchown(fd, 1, 1))));
            line(format_args!("place of {name}: ftruncate {}", said(ftruncate(fd, 1))));
            line(format_args!("place of {name}: fsync {}", said(fsync(fd))));
            line(format_args!("place of {name}: futimens {}", said(futimens(fd, null()))));
            line(format_args!("place of {name}: flock {}", said(flock(fd, LOCK_SH))));
            line(format_args!("place of {name}: getdents {}", said(syscall(SYS_getdents64, fd, byte, 1))));
            line(format_args!("place of {name}: F_GETFL {:o}", fcntl(fd, F_GETFL) & !0o100000));
            line(format_args!("place of {name}: F_SETFL {}", said(fcntl(fd, F_SETFL, O_NONBLOCK))));
            line(format_args!("place of {name}: F_GETLK {}", said(fcntl(fd, F_GETLK, null::<c_void>()))));
            line(format_args!("place of {name}: dup {}", opened(dup(fd))));
            line(format_args!("place of {name}: fchdir {}", said(fchdir(fd))));
            fchdir(home());
            close(fd);
        }
    }
    wipe(".");
}
