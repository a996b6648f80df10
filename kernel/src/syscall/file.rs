//! Open files of a file system: positions, reading and writing at an offset, attributes, locks, directories.

use std::sync::Arc;

use abi::fcntl::{RWF_ANYWAY, RWF_APPEND, RWF_NOAPPEND, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use abi::stat::*;
use abi::time::{Timespec, Timeval, UTIME_NOW, UTIME_OMIT};
use abi::{Errno, Fd, In, Out, Pad, Result};

use super::descriptor::{Segment, gather, readable, scatter, segments, single, total, unit, writable};
use crate::Cx;
use crate::file::OpenFile;
use crate::scratch::Scratch;
use crate::vfs::attr::Time;
use crate::vfs::dirents::DIRENTS_MAX;
use crate::vfs::{self, Kind, NAME_MAX, View, VnodeFile};

/// The most that one operation on a file moves.
const CHUNK_BYTES: usize = 1 << 20;

/// Returns the open file behind a descriptor; `error` if it is not one of a file system.
pub(super) fn vnode(open: &OpenFile, error: Errno) -> Result<&VnodeFile> {
    open.file.as_vnode().ok_or(error)
}

/// lseek(2).
pub fn lseek(cx: &Cx<'_>, fd: Fd, _pad: Pad, offset: i64, whence: i32) -> Result<i64> {
    let open = cx.proc.file(fd)?;
    if !matches!(whence, SEEK_SET | SEEK_CUR | SEEK_END | SEEK_DATA | SEEK_HOLE) {
        return Err(Errno::EINVAL);
    }
    vnode(&open, Errno::ESPIPE)?.seek(offset, whence)
}

/// pread(2).
pub fn pread(cx: &Cx<'_>, fd: Fd, buf: Out, nbyte: usize, _pad: Pad, offset: i64) -> Result<usize> {
    let open = readable(cx, fd)?;
    read_segments_at(cx, &open, &single(buf.addr, nbyte)?, offset)
}

/// pwrite(2).
pub fn pwrite(cx: &Cx<'_>, fd: Fd, buf: In, nbyte: usize, _pad: Pad, offset: i64) -> Result<usize> {
    let open = writable(cx, fd)?;
    write_segments_at(cx, &open, &single(buf.addr, nbyte)?, Some(offset), 0)
}

/// preadv(2).
pub fn preadv(cx: &Cx<'_>, fd: Fd, iovp: In, iovcnt: i32, _pad: Pad, offset: i64) -> Result<usize> {
    let open = readable(cx, fd)?;
    read_segments_at(cx, &open, &segments(cx, iovp, iovcnt)?, offset)
}

/// pwritev(2).
pub fn pwritev(cx: &Cx<'_>, fd: Fd, iovp: In, iovcnt: i32, _pad: Pad, offset: i64) -> Result<usize> {
    let open = writable(cx, fd)?;
    write_segments_at(cx, &open, &segments(cx, iovp, iovcnt)?, Some(offset), 0)
}

/// pwritev2(2), an extension: pwritev(2) with `RWF_APPEND` or `RWF_NOAPPEND`; offset -1 is the position. `RWF_ANYWAY` stands alone, and
/// at the position.
///
/// `ESPIPE` for what is no file; `EINVAL` for other flags, which the library deals with, and for both of these.
pub fn pwritev2(cx: &Cx<'_>, fd: Fd, iovp: In, iovcnt: i32, offset: i64, flags: u32) -> Result<usize> {
    let open = writable(cx, fd)?;
    if flags == RWF_ANYWAY && offset == -1 {
        return super::descriptor::write_anyway(cx, &open, &segments(cx, iovp, iovcnt)?);
    }
    if flags & !(RWF_APPEND | RWF_NOAPPEND) != 0 || flags == RWF_APPEND | RWF_NOAPPEND {
        return Err(Errno::EINVAL);
    }
    write_segments_at(cx, &open, &segments(cx, iovp, iovcnt)?, Some(offset).filter(|offset| *offset != -1), flags)
}

#[inline(never)]
fn read_segments_at(cx: &Cx<'_>, open: &OpenFile, to: &[Segment], offset: i64) -> Result<usize> {
    let file = vnode(open, Errno::ESPIPE)?;
    let total = total(to);
    let offset = within(offset, total)?;
    let mut buf = Scratch::new(total.min(CHUNK_BYTES));
    let mut done = 0;
    loop {
        let want = (total - done).min(CHUNK_BYTES);
        let at = offset.saturating_add(done as u64);
        let got = match file.read_at(at, &mut buf[..want]) {
            Err(_) if done > 0 => return Ok(done),
            got => got?,
        };
        scatter(cx, to, done, &buf[..got], unit(cx, open), at)?;
        done += got;
        if got < want || done == total {
            return Ok(done);
        }
    }
}

#[inline(never)]
fn write_segments_at(cx: &Cx<'_>, open: &OpenFile, from: &[Segment], offset: Option<i64>, flags: u32) -> Result<usize> {
    let file = vnode(open, Errno::ESPIPE)?;
    let total = total(from);
    let offset = offset.map(|offset| within(offset, total)).transpose()?;
    about_to_write(cx, open, total)?;
    let mut buf = Scratch::new(total.min(CHUNK_BYTES));
    let mut done = 0;
    loop {
        let chunk = &mut buf[..(total - done).min(CHUNK_BYTES)];
        let at = offset.map(|offset| offset.saturating_add(done as u64));
        let copied = gather(cx, from, done, chunk, unit(cx, open), at.unwrap_or_default());
        let took = match copied.and_then(|()| file.write_flagged(at, chunk, flags)) {
            Err(_) if done > 0 => return Ok(done),
            took => took?,
        };
        done += took;
        if took < chunk.len() || done == total {
            return Ok(done);
        }
    }
}

/// An offset at which `len` bytes can be; `EINVAL` for a negative one, or if it comes to lie beyond the largest.
fn within(offset: i64, len: usize) -> Result<u64> {
    let end = i64::try_from(len).ok().and_then(|len| offset.checked_add(len));
    if end.is_none() { Err(Errno::EINVAL) } else { u64::try_from(offset).map_err(|_| Errno::EINVAL) }
}

/// fsync(2): nothing is ever kept back, but the file system is asked.
pub fn fsync(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    let open = cx.proc.file(fd)?;
    vnode(&open, Errno::EINVAL)?.sync()
}

/// fdatasync(2).
pub fn fdatasync(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    fsync(cx, fd)
}

/// fsync_range(2); the range must make sense, the whole file is synced.
pub fn fsync_range(cx: &Cx<'_>, fd: Fd, _flags: i32, start: i64, length: i64) -> Result<()> {
    if start < 0 || length < 0 || start.checked_add(length).is_none() {
        return Err(Errno::EINVAL);
    }
    fsync(cx, fd)
}

/// ftruncate(2); `EINVAL` for what is not open for writing, as POSIX has it.
pub fn ftruncate(cx: &Cx<'_>, fd: Fd, _pad: Pad, length: i64) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = vnode(&open, Errno::EINVAL)?;
    if !open.writable() {
        return Err(Errno::EINVAL);
    }
    file.truncate(&View::of(cx)?, length)
}

/// fchmod(2).
pub fn fchmod(cx: &Cx<'_>, fd: Fd, mode: u32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    View::of(cx)?.chmod(&vnode(&open, Errno::EINVAL)?.at, mode)
}

/// fchown(2).
pub fn fchown(cx: &Cx<'_>, fd: Fd, uid: u32, gid: u32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    View::of(cx)?.chown(&vnode(&open, Errno::EINVAL)?.at, id(uid), id(gid))
}

/// The POSIX variant of fchown(2), which is ours anyhow.
pub fn posix_fchown(cx: &Cx<'_>, fd: Fd, uid: u32, gid: u32) -> Result<()> {
    fchown(cx, fd, uid, gid)
}

/// An id of chown(2); -1 leaves the old one.
pub(super) fn id(id: u32) -> Option<u32> {
    Some(id).filter(|id| *id != u32::MAX)
}

/// futimes(2).
pub fn futimes(cx: &Cx<'_>, fd: Fd, tptr: In) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let (atime, mtime) = timevals(cx, tptr)?;
    View::of(cx)?.utimes(&vnode(&open, Errno::EINVAL)?.at, atime, mtime)
}

/// futimens(2).
pub fn futimens(cx: &Cx<'_>, fd: Fd, tptr: In) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let (atime, mtime) = timespecs(cx, tptr)?;
    View::of(cx)?.utimes(&vnode(&open, Errno::EINVAL)?.at, atime, mtime)
}

/// Reads two timevals; a null pointer means the present.
pub(super) fn timevals(cx: &Cx<'_>, tptr: In) -> Result<(Time, Time)> {
    if tptr.is_null() {
        return Ok((Time::Now, Time::Now));
    }
    let [atime, mtime] = cx.mem.read::<[Timeval; 2]>(tptr)?;
    let time = |time: Timeval| match time.tv_usec {
        0..1_000_000 => Ok(Time::At(Timespec { tv_sec: time.tv_sec, tv_nsec: i64::from(time.tv_usec) * 1000 })),
        _ => Err(Errno::EINVAL),
    };
    Ok((time(atime)?, time(mtime)?))
}

/// Reads two timespecs of utimensat(2), which may be no times; a null pointer means the present.
pub(super) fn timespecs(cx: &Cx<'_>, tptr: In) -> Result<(Time, Time)> {
    if tptr.is_null() {
        return Ok((Time::Now, Time::Now));
    }
    let [atime, mtime] = cx.mem.read::<[Timespec; 2]>(tptr)?;
    let time = |time: Timespec| match time.tv_nsec {
        UTIME_NOW => Time::Now,
        UTIME_OMIT => Time::Omit,
        _ => Time::At(time),
    };
    Ok((time(atime), time(mtime)))
}

/// flock(2).
pub fn flock(cx: &Cx<'_>, fd: Fd, how: i32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    vfs::lock::flock(cx, &open, how)
}

/// fpathconf(2).
pub fn fpathconf(cx: &Cx<'_>, fd: Fd, name: i32) -> Result<i64> {
    let open = cx.proc.file(fd)?;
    let fifo = open.file.stat()?.st_mode & S_IFMT == S_IFIFO;
    limit(name, open.file.as_vnode().map(|file| file.at.node.vnode().kind).or(fifo.then_some(Kind::Fifo)))
}

/// The value of a pathconf(2) name for an object, which is no node of a file system if `kind` is `None`.
pub(super) fn limit(name: i32, kind: Option<Kind>) -> Result<i64> {
    Ok(match name {
        _PC_PIPE_BUF if matches!(kind, Some(Kind::Fifo | Kind::Directory)) => vfs::pipe::PIPE_BUF as i64,
        _ if kind.is_none() => return Err(Errno::EINVAL),
        _PC_LINK_MAX => 32767,
        _PC_MAX_CANON | _PC_MAX_INPUT => 255,
        _PC_NAME_MAX => NAME_MAX as i64,
        _PC_PATH_MAX => crate::usermem::PATH_MAX as i64,
        _PC_CHOWN_RESTRICTED | _PC_NO_TRUNC | _PC_SYNC_IO | _PC_2_SYMLINKS => 1,
        _PC_VDISABLE => 0,
        _PC_FILESIZEBITS => 64,
        _PC_SYMLINK_MAX => crate::usermem::PATH_MAX as i64 - 1,
        _PC_MIN_HOLE_SIZE => 4096,
        _ => return Err(Errno::EINVAL),
    })
}

/// getdents(2): as many whole records as fit, in one copyout.
pub fn getdents(cx: &Cx<'_>, fd: Fd, buf: Out, count: usize) -> Result<usize> {
    let open = readable(cx, fd)?;
    let file = vnode(&open, Errno::ENOTDIR)?;
    let records = file.getdents(&View::of(cx)?, count.min(DIRENTS_MAX as usize))?;
    cx.mem.store(buf.addr, &records)?;
    Ok(records.len())
}

/// fstatvfs(2).
pub fn fstatvfs1(cx: &Cx<'_>, fd: Fd, buf: Out, _flags: i32) -> Result<()> {
    let open = cx.proc.place(fd)?;
    let answer = vnode(&open, Errno::EINVAL)?.at.mount.statvfs();
    cx.mem.write(buf, &answer)
}

/// statvfs(2).
pub fn statvfs1(cx: &Cx<'_>, path: abi::UserStr, buf: Out, _flags: i32) -> Result<()> {
    let path = cx.mem.path(path)?;
    let view = View::of(cx)?;
    let answer = view.namei(&view.cwd, &path, vfs::namei::Follow::Always)?.mount.statvfs();
    cx.mem.write(buf, &answer)
}

/// posix_fallocate(3): the error's number is the result.
pub fn posix_fallocate(cx: &Cx<'_>, fd: Fd, _pad: Pad, pos: i64, len: i64) -> Result<i32> {
    Ok(number(allocate(cx, fd, pos, len)))
}

fn allocate(cx: &Cx<'_>, fd: Fd, pos: i64, len: i64) -> Result<()> {
    let open: Arc<OpenFile> = writable(cx, fd)?;
    if pos < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    about_to_write(cx, &open, 1)?;
    vnode(&open, Errno::ESPIPE)?.allocate(pos as u64, len as u64, 0)
}

/// Does what a write of `len` bytes to a file begins with: set-user-ID goes, unless the superuser writes.
pub(super) fn about_to_write(cx: &Cx<'_>, open: &OpenFile, len: usize) -> Result<()> {
    match open.file.as_vnode() {
        Some(file) if len > 0 && vfs::attr::has_setid(&*file.at.node) => View::of(cx)?.strip_setid(&file.at),
        _ => Ok(()),
    }
}

/// posix_fadvise(2): checked and otherwise without effect; the error's number is the result.
pub fn fadvise(cx: &Cx<'_>, fd: Fd, _pad: Pad, _offset: i64, len: i64, advice: i32) -> Result<i32> {
    Ok(number(advise(cx, fd, len, advice)))
}

fn advise(cx: &Cx<'_>, fd: Fd, len: i64, advice: i32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    if open.file.stat()?.st_mode & S_IFMT == S_IFIFO {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || !(0..=5).contains(&advice) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The number of an error, 0 for none.
fn number(result: Result<()>) -> i32 {
    result.err().map_or(0, Errno::raw)
}
