//! Calls that name a file by a path.

use std::sync::Arc;

use abi::fcntl::{
    AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, EXTENDED_FLAGS, LOCK_EX,
    LOCK_NB, LOCK_SH, O_ACCMODE, O_CLOEXEC, O_EXLOCK, O_NONBLOCK, O_SHLOCK, R_OK, RESOLVE_BENEATH, RESOLVE_FLAGS,
    RESOLVE_IN_ROOT, RESOLVE_NO_XDEV, W_OK, X_OK, check_rename,
};
use abi::mount::MNT_NOEXEC;
use abi::stat::S_ISVTX;
use abi::{Errno, Fd, In, Out, Pad, Result, UserStr};

use super::file::{id, limit, timespecs, timevals, vnode};
use crate::Cx;
use crate::file::OpenFile;
use crate::vfs::namei::{Follow, Target};
use crate::vfs::{self, Dir, Kind, View, VnodeFile, perm};

const CWD: Fd = Fd(AT_FDCWD);

/// A path of a call: where it starts and what it says, in the view of the caller.
struct Path<'a> {
    view: View<'a>,
    at: Dir,
    path: Vec<u8>,
    /// The path is empty and means `at` itself (`AT_EMPTY_PATH`).
    itself: bool,
}

impl<'a> Path<'a> {
    /// Reads a path that starts at the directory `fd`: `EBADF`, `ENOTDIR`, unless the path is absolute; `ENOENT` if it is empty.
    fn new(cx: &'a Cx<'_>, fd: Fd, path: UserStr) -> Result<Self> {
        Self::flagged(cx, fd, path, 0)
    }

    /// Reads the path of an *at call that takes `AT_EMPTY_PATH`.
    fn flagged(cx: &'a Cx<'_>, fd: Fd, path: UserStr, flag: i32) -> Result<Self> {
        let path = cx.mem.path(path)?;
        let view = View::of(cx)?;
        let itself = flag & AT_EMPTY_PATH != 0 && path.is_empty();
        if path.is_empty() && !itself {
            return Err(Errno::ENOENT);
        }
        let at = if itself { place(cx, &view, fd)? } else { start(cx, &view, fd, &path)? };
        Ok(Self { view, at, path, itself })
    }

    /// The same under the restrictions of openat2(2); within a directory, an absolute path starts there as well.
    fn resolving(cx: &'a Cx<'_>, fd: Fd, path: UserStr, resolve: u32) -> Result<Self> {
        let mut path = Self::new(cx, fd, path)?;
        if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV) != 0 {
            path.at = start(cx, &path.view, fd, b"")?;
        }
        if resolve & RESOLVE_IN_ROOT != 0 {
            path.view.root = path.at.clone();
            path.view.prefix = None;
        }
        path.view.resolve = resolve;
        Ok(path)
    }

    fn namei(&self, follow: Follow) -> Result<Dir> {
        if self.itself { Ok(self.at.clone()) } else { self.view.namei(&self.at, &self.path, follow) }
    }

    /// The directory of its last component.
    fn parent(&self) -> Result<Target> {
        self.view.parent(&self.at, &self.path)
    }

    /// What an *at call with `flag` means by the path.
    fn at(&self, flag: i32, allowed: i32) -> Result<Dir> {
        if flag & !(allowed | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
            return Err(Errno::EINVAL);
        }
        self.namei(if flag & AT_SYMLINK_NOFOLLOW == 0 { Follow::Always } else { Follow::WithSlash })
    }
}

/// Where a path starts.
fn start(cx: &Cx<'_>, view: &View<'_>, fd: Fd, path: &[u8]) -> Result<Dir> {
    if fd == CWD || path.starts_with(b"/") {
        return Ok(view.cwd.clone());
    }
    let open = cx.proc.place(fd)?;
    vnode(&open, Errno::ENOTDIR)?.at.clone().directory()
}

/// The place of a descriptor, which need not be a directory; `EINVAL` for what has none.
fn place(cx: &Cx<'_>, view: &View<'_>, fd: Fd) -> Result<Dir> {
    if fd == CWD {
        return Ok(view.cwd.clone());
    }
    let open = cx.proc.place(fd)?;
    Ok(vnode(&open, Errno::EINVAL)?.at.clone())
}

/// open(2).
pub fn open(cx: &Cx<'_>, path: UserStr, flags: i32, mode: u32) -> Result<Fd> {
    openat(cx, CWD, path, flags, mode)
}

/// openat(2).
pub fn openat(cx: &Cx<'_>, fd: Fd, path: UserStr, oflags: i32, mode: u32) -> Result<Fd> {
    let path = Path::new(cx, fd, path)?;
    cx.proc.has_room()?;
    let oflags = oflags & !EXTENDED_FLAGS;
    if oflags & O_ACCMODE == O_ACCMODE {
        return Err(Errno::EINVAL);
    }
    // NetBSD makes no sticky files; Linux does.
    let mode = if cx.mem.extended() { mode } else { mode & !S_ISVTX };
    let file = path.view.open(&path.at, &path.path, oflags, mode)?;
    opened(cx, file, oflags)
}

/// Stores the path of an open file, an extension: what Linux shows in `/proc/PID/fd`.
///
/// `EINVAL` for what is of no file system, `ERANGE` if it does not fit, `ENOENT` if neither the file nor its directory has a name any more.
pub fn fdpath(cx: &Cx<'_>, fd: Fd, buf: Out, len: usize) -> Result<usize> {
    let open = cx.proc.place(fd)?;
    let path = View::of(cx)?.path_of_open(vnode(&open, Errno::EINVAL)?)?;
    if path.len() > len {
        return Err(Errno::ERANGE);
    }
    cx.mem.store(buf.addr, &path)?;
    Ok(path.len())
}

/// openat2(2), an extension: `RESOLVE_*`, `O_PATH`, `O_TMPFILE` and the access mode 3 (for neither reading nor writing).
///
/// `EINVAL` for an unknown restriction.
pub fn openat2(cx: &Cx<'_>, fd: Fd, path: UserStr, oflags: i32, mode: u32, resolve: u32) -> Result<Fd> {
    if resolve & !RESOLVE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    cx.proc.has_room()?;
    let path = Path::resolving(cx, fd, path, resolve)?;
    let file = path.view.open(&path.at, &path.path, oflags, mode & 0o7777)?;
    opened(cx, file, oflags)
}

/// Waits for a fifo's partner, takes the lock that open(2) was asked for, and gives the file a descriptor.
fn opened(cx: &Cx<'_>, file: Arc<VnodeFile>, oflags: i32) -> Result<Fd> {
    file.meet(cx, oflags & O_NONBLOCK != 0)?;
    let open = OpenFile::new(file, oflags);
    let wait = if oflags & O_NONBLOCK != 0 { LOCK_NB } else { 0 };
    match oflags & (O_EXLOCK | O_SHLOCK) {
        0 => {}
        O_SHLOCK => vfs::lock::flock(cx, &open, LOCK_SH | wait)?,
        O_EXLOCK => vfs::lock::flock(cx, &open, LOCK_EX | wait)?,
        _ => return Err(Errno::EINVAL),
    }
    cx.proc.install(open, oflags & O_CLOEXEC != 0)
}

/// stat(2).
pub fn stat(cx: &Cx<'_>, path: UserStr, ub: Out) -> Result<()> {
    fstatat(cx, CWD, path, ub, 0)
}

/// lstat(2).
pub fn lstat(cx: &Cx<'_>, path: UserStr, ub: Out) -> Result<()> {
    fstatat(cx, CWD, path, ub, AT_SYMLINK_NOFOLLOW)
}

/// fstatat(2).
pub fn fstatat(cx: &Cx<'_>, fd: Fd, path: UserStr, buf: Out, flag: i32) -> Result<()> {
    let found = Path::flagged(cx, fd, path, flag)?.at(flag, 0)?;
    cx.mem.write(buf, &found.node.stat(found.mount.id))
}

/// access(2).
pub fn access(cx: &Cx<'_>, path: UserStr, flags: i32) -> Result<()> {
    faccessat(cx, CWD, path, flags, 0)
}

/// faccessat(2): judged by the real ids unless `AT_EACCESS` is set.
pub fn faccessat(cx: &Cx<'_>, fd: Fd, path: UserStr, amode: i32, flag: i32) -> Result<()> {
    if amode & !(R_OK | W_OK | X_OK) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut path = Path::flagged(cx, fd, path, flag)?;
    if flag & AT_EACCESS == 0 {
        path.view.cred.euid = path.view.cred.uid;
        path.view.cred.egid = path.view.cred.gid;
    }
    let found = path.at(flag, AT_EACCESS)?;
    if amode & W_OK != 0 && matches!(found.node.vnode().kind, Kind::Regular | Kind::Directory | Kind::Symlink) {
        found.mount.writable()?;
    }
    if amode & X_OK != 0 && found.node.vnode().kind == Kind::Regular && found.mount.flags() & MNT_NOEXEC != 0 {
        return Err(Errno::EACCES);
    }
    perm::access(&*found.node, &path.view.cred, amode as u32)
}

/// chmod(2).
pub fn chmod(cx: &Cx<'_>, path: UserStr, mode: u32) -> Result<()> {
    fchmodat(cx, CWD, path, mode, 0)
}

/// lchmod(2).
pub fn lchmod(cx: &Cx<'_>, path: UserStr, mode: u32) -> Result<()> {
    fchmodat(cx, CWD, path, mode, AT_SYMLINK_NOFOLLOW)
}

/// fchmodat(2).
pub fn fchmodat(cx: &Cx<'_>, fd: Fd, path: UserStr, mode: u32, flag: i32) -> Result<()> {
    let path = Path::flagged(cx, fd, path, flag)?;
    path.view.chmod(&path.at(flag, 0)?, mode)
}

/// chown(2).
pub fn chown(cx: &Cx<'_>, path: UserStr, uid: u32, gid: u32) -> Result<()> {
    fchownat(cx, CWD, path, uid, gid, 0)
}

/// lchown(2).
pub fn lchown(cx: &Cx<'_>, path: UserStr, uid: u32, gid: u32) -> Result<()> {
    fchownat(cx, CWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)
}

/// The POSIX variant of chown(2), which is ours anyhow.
pub fn posix_chown(cx: &Cx<'_>, path: UserStr, uid: u32, gid: u32) -> Result<()> {
    chown(cx, path, uid, gid)
}

/// The POSIX variant of lchown(2), which is ours anyhow.
pub fn posix_lchown(cx: &Cx<'_>, path: UserStr, uid: u32, gid: u32) -> Result<()> {
    lchown(cx, path, uid, gid)
}

/// fchownat(2).
pub fn fchownat(cx: &Cx<'_>, fd: Fd, path: UserStr, owner: u32, group: u32, flag: i32) -> Result<()> {
    let path = Path::flagged(cx, fd, path, flag)?;
    path.view.chown(&path.at(flag, 0)?, id(owner), id(group))
}

/// link(2): a symbolic link is itself linked, as on Linux.
pub fn link(cx: &Cx<'_>, path: UserStr, link: UserStr) -> Result<()> {
    linkat(cx, CWD, path, CWD, link, 0)
}

/// linkat(2).
pub fn linkat(cx: &Cx<'_>, fd1: Fd, name1: UserStr, fd2: Fd, name2: UserStr, flags: i32) -> Result<()> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = if flags & AT_SYMLINK_FOLLOW == 0 { Follow::WithSlash } else { Follow::Always };
    // As on Linux, the second path is not looked at before the first has led somewhere.
    let old = Path::flagged(cx, fd1, name1, flags)?.namei(follow)?;
    let new = Path::new(cx, fd2, name2)?;
    new.view.link(&old, &new.at, &new.path)
}

/// unlink(2).
pub fn unlink(cx: &Cx<'_>, path: UserStr) -> Result<()> {
    unlinkat(cx, CWD, path, 0)
}

/// rmdir(2).
pub fn rmdir(cx: &Cx<'_>, path: UserStr) -> Result<()> {
    unlinkat(cx, CWD, path, AT_REMOVEDIR)
}

/// unlinkat(2).
pub fn unlinkat(cx: &Cx<'_>, fd: Fd, path: UserStr, flag: i32) -> Result<()> {
    let remove = match flag {
        0 => View::unlink,
        AT_REMOVEDIR => View::rmdir,
        _ => return Err(Errno::EINVAL),
    };
    let path = Path::new(cx, fd, path)?;
    remove(&path.view, &path.at, &path.path)
}

/// rename(2).
pub fn rename(cx: &Cx<'_>, from: UserStr, to: UserStr) -> Result<()> {
    renameat(cx, CWD, from, CWD, to)
}

/// The POSIX variant of rename(2), which is ours anyhow.
pub fn posix_rename(cx: &Cx<'_>, from: UserStr, to: UserStr) -> Result<()> {
    rename(cx, from, to)
}

/// renameat(2).
pub fn renameat(cx: &Cx<'_>, fromfd: Fd, from: UserStr, tofd: Fd, to: UserStr) -> Result<()> {
    renameat2(cx, fromfd, from, tofd, to, 0)
}

/// renameat2(2), an extension; `flags` are `RENAME_*`.
pub fn renameat2(cx: &Cx<'_>, fromfd: Fd, from: UserStr, tofd: Fd, to: UserStr, flags: u32) -> Result<()> {
    check_rename(flags)?;
    let from = Path::new(cx, fromfd, from)?.parent()?;
    // As on Linux, not looked at before the first path has led into a directory.
    let to = Path::new(cx, tofd, to)?;
    to.view.rename_found(from, to.parent()?, flags)
}

/// symlink(2).
pub fn symlink(cx: &Cx<'_>, path: UserStr, link: UserStr) -> Result<()> {
    symlinkat(cx, path, CWD, link)
}

/// symlinkat(2).
pub fn symlinkat(cx: &Cx<'_>, path1: UserStr, fd: Fd, path2: UserStr) -> Result<()> {
    let contents = cx.mem.path(path1)?;
    if contents.is_empty() {
        // As on Linux, whatever is wrong with the second path.
        return Err(Errno::ENOENT);
    }
    let path = Path::new(cx, fd, path2)?;
    path.view.symlink(&contents, &path.at, &path.path)
}

/// readlink(2).
pub fn readlink(cx: &Cx<'_>, path: UserStr, buf: Out, count: usize) -> Result<usize> {
    readlinkat(cx, CWD, path, buf, count)
}

/// readlinkat(2): cut to the buffer, without a NUL.
pub fn readlinkat(cx: &Cx<'_>, fd: Fd, path: UserStr, buf: Out, bufsize: usize) -> Result<usize> {
    if bufsize == 0 {
        return Err(Errno::EINVAL);
    }
    // An empty path means the symbolic link that an O_PATH descriptor stands for.
    let path = Path::flagged(cx, fd, path, AT_EMPTY_PATH)?;
    let contents = match path.itself {
        true if path.at.node.vnode().kind != Kind::Symlink => return Err(Errno::ENOENT),
        true => path.at.node.read_link()?,
        false => path.view.read_link(&path.at, &path.path)?,
    };
    let len = contents.len().min(bufsize);
    cx.mem.store(buf.addr, &contents[..len])?;
    Ok(len)
}

/// mkdir(2).
pub fn mkdir(cx: &Cx<'_>, path: UserStr, mode: u32) -> Result<()> {
    mkdirat(cx, CWD, path, mode)
}

/// mkdirat(2).
pub fn mkdirat(cx: &Cx<'_>, fd: Fd, path: UserStr, mode: u32) -> Result<()> {
    let path = Path::new(cx, fd, path)?;
    path.view.mkdir(&path.at, &path.path, mode)
}

/// mknod(2).
pub fn mknod(cx: &Cx<'_>, path: UserStr, mode: u32, dev: u64) -> Result<()> {
    mknodat(cx, CWD, path, mode, Pad, dev)
}

/// mknodat(2): files, fifos, sockets and devices; `EPERM` for a directory, `EINVAL` for a symbolic link.
pub fn mknodat(cx: &Cx<'_>, fd: Fd, path: UserStr, mode: u32, _pad: Pad, dev: u64) -> Result<()> {
    let path = Path::new(cx, fd, path)?;
    let kind = match Kind::from_mode(mode).ok_or(Errno::EINVAL)? {
        Kind::Directory => return Err(Errno::EPERM),
        Kind::Symlink => return Err(Errno::EINVAL),
        kind => kind,
    };
    path.view.mknod(&path.at, &path.path, kind, mode, dev).map(drop)
}

/// mkfifo(2).
pub fn mkfifo(cx: &Cx<'_>, path: UserStr, mode: u32) -> Result<()> {
    mkfifoat(cx, CWD, path, mode)
}

/// mkfifoat(2).
pub fn mkfifoat(cx: &Cx<'_>, fd: Fd, path: UserStr, mode: u32) -> Result<()> {
    let path = Path::new(cx, fd, path)?;
    path.view.mknod(&path.at, &path.path, Kind::Fifo, mode, 0).map(drop)
}

/// utimes(2).
pub fn utimes(cx: &Cx<'_>, path: UserStr, tptr: In) -> Result<()> {
    set_timevals(cx, path, tptr, Follow::Always)
}

/// lutimes(2).
pub fn lutimes(cx: &Cx<'_>, path: UserStr, tptr: In) -> Result<()> {
    set_timevals(cx, path, tptr, Follow::WithSlash)
}

fn set_timevals(cx: &Cx<'_>, path: UserStr, tptr: In, follow: Follow) -> Result<()> {
    let (atime, mtime) = timevals(cx, tptr)?;
    let path = Path::new(cx, CWD, path)?;
    path.view.utimes(&path.namei(follow)?, atime, mtime)
}

/// utimensat(2).
pub fn utimensat(cx: &Cx<'_>, fd: Fd, path: UserStr, tptr: In, flag: i32) -> Result<()> {
    let (atime, mtime) = timespecs(cx, tptr)?;
    let path = Path::flagged(cx, fd, path, flag)?;
    path.view.utimes(&path.at(flag, 0)?, atime, mtime)
}

/// truncate(2).
pub fn truncate(cx: &Cx<'_>, path: UserStr, _pad: Pad, length: i64) -> Result<()> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let path = Path::new(cx, CWD, path)?;
    path.view.truncate(&path.namei(Follow::Always)?, length)
}

/// pathconf(2).
pub fn pathconf(cx: &Cx<'_>, path: UserStr, name: i32) -> Result<i64> {
    let found = Path::new(cx, CWD, path)?.namei(Follow::Always)?;
    limit(name, Some(found.node.vnode().kind))
}
