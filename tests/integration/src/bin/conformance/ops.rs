//! Operations on one path, each with its name.

use super::prelude::*;

/// An operation on a path, and what it answers.
pub type Op = (&'static str, fn(&CStr) -> String);

/// What an opened descriptor is like: its flags, or the error.
pub fn opened(fd: c_int) -> String {
    if fd < 0 {
        return super::error();
    }
    unsafe {
        let flags = fcntl(fd, F_GETFL) & !O_LARGEFILE & !0o100000;
        let cloexec = if fcntl(fd, F_GETFD) & FD_CLOEXEC != 0 { "e" } else { "" };
        close(fd);
        format!("open {flags:o}{cloexec}")
    }
}

fn open_with(path: &CStr, flags: c_int) -> String {
    // A fifo must not be waited for.
    opened(unsafe { open(path.as_ptr(), flags | O_NONBLOCK, 0o640) })
}

fn set_times(path: &CStr, atime: i64, mtime: i64, flags: c_int) -> String {
    let times = [timespec { tv_sec: 5, tv_nsec: atime }, timespec { tv_sec: 6, tv_nsec: mtime }];
    said(unsafe { utimensat(AT_FDCWD, path.as_ptr(), times.as_ptr(), flags) })
}

fn target(path: &CStr, size: usize) -> String {
    let mut buf = [0u8; 64];
    let n = unsafe { readlink(path.as_ptr(), buf.as_mut_ptr().cast(), size) };
    if n < 0 { super::error() } else { format!("{n} {}", String::from_utf8_lossy(&buf[..n as usize])) }
}

/// Goes there and back.
fn visit(path: &CStr) -> String {
    unsafe {
        let answer = said(chdir(path.as_ptr()));
        assert_eq!(fchdir(home()), 0);
        answer
    }
}

fn list(path: &CStr) -> String {
    unsafe {
        let dir = opendir(path.as_ptr());
        if dir.is_null() {
            return super::error();
        }
        let mut count = 0;
        while !readdir(dir).is_null() {
            count += 1;
        }
        closedir(dir);
        format!("{count} entries")
    }
}

/// Operations that look only.
pub const LOOKING: &[Op] = &[
    ("stat", |path| unsafe {
        let mut st: stat = zeroed();
        let n = stat(path.as_ptr(), &mut st);
        if n < 0 { super::error() } else { format!("{:o}", st.st_mode & S_IFMT) }
    }),
    ("lstat", look),
    ("statx", |path| unsafe {
        let mut st: statx = zeroed();
        let n = statx(AT_FDCWD, path.as_ptr(), 0, STATX_BASIC_STATS, &mut st);
        if n < 0 { super::error() } else { format!("{:o}", u32::from(st.stx_mode) & S_IFMT) }
    }),
    ("access F", |path| said(unsafe { access(path.as_ptr(), F_OK) })),
    ("access R", |path| said(unsafe { access(path.as_ptr(), R_OK) })),
    ("access W", |path| said(unsafe { access(path.as_ptr(), W_OK) })),
    ("access X", |path| said(unsafe { access(path.as_ptr(), X_OK) })),
    ("access bad", |path| said(unsafe { access(path.as_ptr(), 8) })),
    ("eaccess W", |path| said(unsafe { faccessat(AT_FDCWD, path.as_ptr(), W_OK, AT_EACCESS) })),
    ("faccessat nofollow", |path| said(unsafe { faccessat(AT_FDCWD, path.as_ptr(), F_OK, AT_SYMLINK_NOFOLLOW) })),
    ("faccessat bad flag", |path| said(unsafe { faccessat(AT_FDCWD, path.as_ptr(), F_OK, 0x40) })),
    ("readlink", |path| target(path, 64)),
    ("readlink 1", |path| target(path, 1)),
    ("readlink 0", |path| target(path, 0)),
    ("chdir", visit),
    ("opendir", list),
    ("statfs", |path| unsafe {
        let mut st: statfs = zeroed();
        said(statfs(path.as_ptr(), &mut st))
    }),
    ("pathconf NAME_MAX", |path| said(unsafe { pathconf(path.as_ptr(), _PC_NAME_MAX) })),
    ("open r", |path| open_with(path, O_RDONLY)),
    ("open w", |path| open_with(path, O_WRONLY)),
    ("open rw", |path| open_with(path, O_RDWR)),
    ("open append", |path| open_with(path, O_WRONLY | O_APPEND)),
    ("open r sync", |path| open_with(path, O_RDONLY | O_SYNC | O_CLOEXEC)),
    ("open r dir", |path| open_with(path, O_RDONLY | O_DIRECTORY)),
    ("open r nofollow", |path| open_with(path, O_RDONLY | O_NOFOLLOW)),
    ("open path", |path| open_with(path, O_PATH)),
    ("open path nofollow", |path| open_with(path, O_PATH | O_NOFOLLOW)),
    ("open noatime", |path| open_with(path, O_RDONLY | O_NOATIME)),
];

/// Operations that may change something.
pub const CHANGING: &[Op] = &[
    ("open w trunc", |path| open_with(path, O_WRONLY | O_TRUNC)),
    ("open r trunc", |path| open_with(path, O_RDONLY | O_TRUNC)),
    ("open creat", |path| open_with(path, O_RDWR | O_CREAT)),
    ("open creat excl", |path| open_with(path, O_RDWR | O_CREAT | O_EXCL)),
    ("chmod", |path| said(unsafe { chmod(path.as_ptr(), 0o2750) })),
    ("fchmodat nofollow", |path| said(unsafe { fchmodat(AT_FDCWD, path.as_ptr(), 0o700, AT_SYMLINK_NOFOLLOW) })),
    ("chown", |path| said(unsafe { chown(path.as_ptr(), 7, 8) })),
    ("chown nothing", |path| said(unsafe { chown(path.as_ptr(), u32::MAX, u32::MAX) })),
    ("chown group", |path| said(unsafe { chown(path.as_ptr(), u32::MAX, GROUP) })),
    ("lchown", |path| said(unsafe { lchown(path.as_ptr(), 7, 8) })),
    ("fchownat nofollow", |path| said(unsafe { fchownat(AT_FDCWD, path.as_ptr(), 9, 9, AT_SYMLINK_NOFOLLOW) })),
    ("fchownat bad flag", |path| said(unsafe { fchownat(AT_FDCWD, path.as_ptr(), 9, 9, 0x40) })),
    ("truncate 3", |path| said(unsafe { truncate(path.as_ptr(), 3) })),
    ("truncate -1", |path| said(unsafe { truncate(path.as_ptr(), -1) })),
    ("utimensat now", |path| set_times(path, UTIME_NOW, UTIME_NOW, 0)),
    ("utimensat null", |path| said(unsafe { utimensat(AT_FDCWD, path.as_ptr(), null(), 0) })),
    ("utimensat omit", |path| set_times(path, UTIME_OMIT, UTIME_OMIT, 0)),
    ("utimensat half", |path| set_times(path, UTIME_OMIT, UTIME_NOW, 0)),
    ("utimensat set", |path| set_times(path, 7, 8, 0)),
    ("utimensat bad", |path| set_times(path, 1_000_000_000, 0, 0)),
    ("utimensat nofollow", |path| set_times(path, 7, 8, AT_SYMLINK_NOFOLLOW)),
    ("utimensat bad flag", |path| set_times(path, 7, 8, 0x40)),
    ("utimes", |path| said(unsafe { utimes(path.as_ptr(), null()) })),
    ("mkdir", |path| said(unsafe { mkdir(path.as_ptr(), 0o1777) })),
    ("mknod file", |path| said(unsafe { mknod(path.as_ptr(), S_IFREG | 0o666, 0) })),
    ("mknod 0", |path| said(unsafe { mknod(path.as_ptr(), 0o600, 0) })),
    ("mknod dir", |path| said(unsafe { mknod(path.as_ptr(), S_IFDIR | 0o666, 0) })),
    ("mknod link", |path| said(unsafe { mknod(path.as_ptr(), S_IFLNK | 0o666, 0) })),
    ("unlink", |path| said(unsafe { unlink(path.as_ptr()) })),
    ("rmdir", |path| said(unsafe { rmdir(path.as_ptr()) })),
    ("remove", |path| said(unsafe { remove(path.as_ptr()) })),
    ("unlinkat bad flag", |path| said(unsafe { unlinkat(AT_FDCWD, path.as_ptr(), 0x40) })),
    ("rename to made", |path| said(unsafe { rename(path.as_ptr(), c"made".as_ptr()) })),
    ("rename from file", |path| said(unsafe { rename(c"file".as_ptr(), path.as_ptr()) })),
    ("rename from dir", |path| said(unsafe { rename(c"dir".as_ptr(), path.as_ptr()) })),
];

/// Those that need what not every file system has.
const SPECIAL: &[(Has, Op)] = &[
    (Has::Linux, ("open tmpfile", |path| open_with(path, O_RDWR | O_TMPFILE))),
    (Has::Linux, ("open r tmpfile", |path| open_with(path, O_RDONLY | O_TMPFILE))),
    (Has::Specials, ("mkfifo", |path| said(unsafe { mkfifo(path.as_ptr(), 0o666) }))),
    (Has::Specials, ("mknod socket", |path| said(unsafe { mknod(path.as_ptr(), S_IFSOCK | 0o666, 0) }))),
    (Has::Devices, ("mknod device", |path| said(unsafe { mknod(path.as_ptr(), S_IFCHR | 0o666, makedev(240, 78)) }))),
    (Has::Symlinks, ("symlink", |path| said(unsafe { symlink(c"file".as_ptr(), path.as_ptr()) }))),
    (Has::Symlinks, ("symlink of nothing", |path| said(unsafe { symlink(c"".as_ptr(), path.as_ptr()) }))),
    (Has::Links, ("link to made", |path| said(unsafe { link(path.as_ptr(), c"made".as_ptr()) }))),
    (Has::Links, ("link from file", |path| said(unsafe { link(c"file".as_ptr(), path.as_ptr()) }))),
    (Has::Links, ("link from dir", |path| said(unsafe { link(c"dir".as_ptr(), path.as_ptr()) }))),
    (
        Has::Links,
        ("link followed", |path| unsafe {
            said(linkat(AT_FDCWD, path.as_ptr(), AT_FDCWD, c"made".as_ptr(), AT_SYMLINK_FOLLOW))
        }),
    ),
    (
        Has::Links,
        ("link bad flag", |path| unsafe { said(linkat(AT_FDCWD, path.as_ptr(), AT_FDCWD, c"made".as_ptr(), 0x40)) }),
    ),
];

/// The operations that the file system has, and whether each may change something.
pub fn operations() -> Vec<(Op, bool)> {
    let special = SPECIAL.iter().filter(|(has, _)| has.here()).map(|(_, op)| (*op, true));
    let owned = |op: &&Op| Has::Owners.here() || !op.0.contains("chown");
    let moded = |op: &&Op| Has::Modes.here() || !op.0.contains("chmod");
    let changing = CHANGING.iter().filter(owned).filter(moded).map(|op| (*op, true));
    LOOKING.iter().map(|op| (*op, false)).chain(changing).chain(special).collect()
}

/// Makes the things beside the path that operations name, and the folder as it was; removes what they have made.
pub fn bystanders() {
    unsafe {
        fchmod(home(), 0o755);
        fchown(home(), 0, 0);
    }
    wipe_name("made");
    Thing::File.renew("file");
    Thing::Empty.renew("dir");
}

/// What the bystanders look like now.
pub fn bystanders_now() -> String {
    format!("{} {} {}", look(c"made"), look(c"file"), look(c"dir"))
}
