//! Where a process stands.

use abi::{Errno, Fd, Out, Result, UserStr};

use super::file::vnode;
use crate::Cx;
use crate::proc::lock;
use crate::vfs::namei::Follow;
use crate::vfs::{Dir, View, perm};

/// chdir(2).
pub fn chdir(cx: &Cx<'_>, path: UserStr) -> Result<()> {
    let dir = directory_at(cx, path)?;
    lock(&cx.proc.cwd).dir = Some(dir);
    Ok(())
}

/// fchdir(2).
pub fn fchdir(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    let dir = directory_of(cx, fd)?;
    lock(&cx.proc.cwd).dir = Some(dir);
    Ok(())
}

/// chroot(2): the working directory stays, as on Linux.
pub fn chroot(cx: &Cx<'_>, path: UserStr) -> Result<()> {
    View::of(cx)?.superuser()?;
    let dir = directory_at(cx, path)?;
    lock(&cx.proc.cwd).root = Some(dir);
    Ok(())
}

/// fchroot(2).
pub fn fchroot(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    View::of(cx)?.superuser()?;
    let dir = directory_of(cx, fd)?;
    lock(&cx.proc.cwd).root = Some(dir);
    Ok(())
}

fn directory_at(cx: &Cx<'_>, path: UserStr) -> Result<Dir> {
    let path = cx.mem.path(path)?;
    let view = View::of(cx)?;
    may_enter(&view, view.namei(&view.cwd, &path, Follow::Always)?)
}

fn directory_of(cx: &Cx<'_>, fd: Fd) -> Result<Dir> {
    let open = cx.proc.place(fd)?;
    may_enter(&View::of(cx)?, vnode(&open, Errno::ENOTDIR)?.at.clone())
}

fn may_enter(view: &View<'_>, at: Dir) -> Result<Dir> {
    let dir = at.directory()?;
    perm::access(&*dir.node, &view.cred, perm::EXEC)?;
    Ok(dir)
}

/// getcwd(3): returns the length with the NUL; `ERANGE` if the buffer is too short.
pub fn getcwd(cx: &Cx<'_>, bufp: Out, length: usize) -> Result<usize> {
    let view = View::of(cx)?;
    let mut path = view.path_of(&view.cwd)?;
    path.push(0);
    if path.len() > length {
        return Err(Errno::ERANGE);
    }
    cx.mem.store(bufp.addr, &path)?;
    Ok(path.len())
}

/// umask(2): returns the old mask.
pub fn umask(cx: &Cx<'_>, newmask: u32) -> Result<u32> {
    Ok(std::mem::replace(&mut lock(&cx.proc.cwd).umask, newmask & 0o777))
}

/// sync(2).
pub fn sync(cx: &Cx<'_>) -> Result<()> {
    cx.kernel.vfs.sync();
    Ok(())
}
