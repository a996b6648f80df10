//! Descriptors: read and write, close and dup, fcntl, ioctl, fstat, pipes.

use std::sync::Arc;
use std::time::Duration;

use abi::fcntl::*;
use abi::ioctl::{self, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, IOC_ANYWAY, JPTPEER, JREOPEN};
use abi::poll::{POLLERR, POLLHUP, POLLOUT};
use abi::socket::{IoVec, SOCK_STREAM};
use abi::stat::{S_IFIFO, S_IFMT, Stat};
use abi::{Errno, Fd, In, InOut, Out, Result};

use crate::Cx;
use crate::fdtable::Entry;
use crate::file::OpenFile;
use crate::net::Waits;
use crate::proc::lock;
use crate::scratch::Scratch;
use crate::tty;
use crate::vfs;

/// The most that one operation of an object moves.
const CHUNK_BYTES: usize = 1 << 20;
/// Entries of an iovec at most.
const IOV_MAX: i32 = 1024;

/// A piece of the caller's memory.
#[derive(Clone, Copy)]
pub struct Segment {
    /// Where it begins.
    pub addr: u64,
    /// How long it is.
    pub len: usize,
}

/// read(2).
pub fn read(cx: &Cx<'_>, fd: Fd, buf: Out, nbyte: usize) -> Result<usize> {
    let file = readable(cx, fd)?;
    read_segments(cx, &file, &single(buf.addr, nbyte)?)
}

/// write(2).
pub fn write(cx: &Cx<'_>, fd: Fd, buf: In, nbyte: usize) -> Result<usize> {
    let file = writable(cx, fd)?;
    write_segments(cx, &file, &single(buf.addr, nbyte)?)
}

/// readv(2).
pub fn readv(cx: &Cx<'_>, fd: Fd, iovp: In, iovcnt: i32) -> Result<usize> {
    let file = readable(cx, fd)?;
    read_segments(cx, &file, &segments(cx, iovp, iovcnt)?)
}

/// writev(2).
pub fn writev(cx: &Cx<'_>, fd: Fd, iovp: In, iovcnt: i32) -> Result<usize> {
    let file = writable(cx, fd)?;
    write_segments(cx, &file, &segments(cx, iovp, iovcnt)?)
}

pub(super) fn readable(cx: &Cx<'_>, fd: Fd) -> Result<Arc<OpenFile>> {
    Some(cx.proc.file(fd)?).filter(|file| file.readable()).ok_or(Errno::EBADF)
}

pub(super) fn writable(cx: &Cx<'_>, fd: Fd) -> Result<Arc<OpenFile>> {
    Some(cx.proc.file(fd)?).filter(|file| file.writable()).ok_or(Errno::EBADF)
}

pub(super) fn single(addr: u64, len: usize) -> Result<[Segment; 1]> {
    if len > isize::MAX as usize { Err(Errno::EINVAL) } else { Ok([Segment { addr, len }]) }
}

/// Reads an iovec; `EINVAL` for no or too many entries, or for more bytes than a result can count.
pub fn segments(cx: &Cx<'_>, iovp: In, iovcnt: i32) -> Result<Vec<Segment>> {
    if !(1..=IOV_MAX).contains(&iovcnt) {
        return Err(Errno::EINVAL);
    }
    let entries: Vec<IoVec> = cx.mem.read_array(iovp.addr, iovcnt as usize)?;
    let total = entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.iov_len));
    if total.is_none_or(|total| total > isize::MAX as u64) {
        return Err(Errno::EINVAL);
    }
    Ok(entries.iter().map(|entry| Segment { addr: entry.iov_base, len: entry.iov_len as usize }).collect())
}

pub(super) fn total(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.len).sum()
}

/// Returns what calls on a socket wait for; anything else has no limits.
fn waits(file: &OpenFile) -> Waits {
    file.file.as_socket().map(|socket| socket.waits()).unwrap_or_default()
}

/// Reads into `segments`: files until they are full, anything else once.
#[inline(never)]
fn read_segments(cx: &Cx<'_>, file: &OpenFile, segments: &[Segment]) -> Result<usize> {
    if let Some(end) = file.file.as_terminal() {
        return super::terminal::read(cx, file, end, segments);
    }
    let total = total(segments);
    if total == 0 && file.file.as_socket().is_some() {
        // Not even an error, as System V has it, and Linux; recv(2) is another matter.
        return Ok(0);
    }
    let waits = waits(file);
    if waits.enough > 1 {
        return super::socket::recv(cx, file, segments, 0).map(|received| received.len);
    }
    let limit = super::socket::deadline(cx, waits.receive);
    let mut buf = Scratch::new(total.min(CHUNK_BYTES));
    let mut done = 0;
    loop {
        let position = position(file);
        let want = (total - done).min(CHUNK_BYTES);
        let chunk = &mut buf[..want];
        let read = || match file.file.as_socket() {
            Some(socket) => super::socket::or_end(cx, socket, file.nonblocking(), file.file.read(chunk)),
            None => file.file.read(chunk),
        };
        let got = match file.wait_until(cx, file.nonblocking(), limit, read) {
            Err(_) if done > 0 => return Ok(done),
            got => got?,
        };
        scatter(cx, segments, done, &chunk[..got], unit(cx, file), position)?;
        done += got;
        if got < want || done == total || file.file.as_vnode().is_none() {
            return Ok(done);
        }
    }
}

/// Writes `segments`; what a later piece fails with does not show when earlier ones went through.
fn write_segments(cx: &Cx<'_>, file: &OpenFile, segments: &[Segment]) -> Result<usize> {
    if let Some(end) = file.file.as_terminal() {
        end.may(cx.into(), tty::Use::Write)?;
    }
    write_anyway(cx, file, segments)
}

/// The same, to a terminal from its background too.
#[inline(never)]
pub(super) fn write_anyway(cx: &Cx<'_>, file: &OpenFile, segments: &[Segment]) -> Result<usize> {
    if let Some(socket) = file.file.as_socket() {
        super::socket::can_send(cx, file, socket, 0)?;
    }
    let total = total(segments);
    super::file::about_to_write(cx, file, total)?;
    let limit = super::socket::deadline(cx, waits(file).send);
    let mut buf = Scratch::new(total.min(CHUNK_BYTES));
    let mut done = 0;
    loop {
        let want = (total - done).min(CHUNK_BYTES);
        let chunk = &mut buf[..want];
        match gather(cx, segments, done, chunk, unit(cx, file), position(file)) {
            Err(_) if done > 0 => return Ok(done),
            Err(error) => {
                until_writable(cx, file, file.nonblocking(), limit)?;
                return Err(error);
            }
            Ok(()) => {}
        }
        let mut rest = &*chunk;
        loop {
            let took = match file.wait_until(cx, file.nonblocking(), limit, || file.file.write(rest)) {
                Err(_) if done > 0 => return Ok(done),
                Err(Errno::EPIPE) => return Err(broken_pipe(cx, file)),
                took => took?,
            };
            done += took;
            rest = &rest[took.min(rest.len())..];
            if rest.is_empty() {
                break;
            }
            if took == 0 {
                return Ok(done);
            }
        }
        if done >= total {
            return Ok(done);
        }
    }
}

/// Waits until a pipe or stream would take something: before that nobody looks at the caller's memory, which is found to be bad here.
///
/// `EAGAIN` if it takes nothing now, `EPIPE` if it never will, `ENOTCONN` if it leads nowhere.
#[cold]
pub(super) fn until_writable(cx: &Cx<'_>, file: &OpenFile, nonblocking: bool, limit: Option<Duration>) -> Result<()> {
    match file.file.as_socket() {
        Some(socket) if socket.domain().1 == SOCK_STREAM => drop(socket.peer()?),
        None if file.stat()?.st_mode & S_IFMT == S_IFIFO => {}
        _ => return Ok(()),
    }
    let ready = file.wait_until(cx, nonblocking, limit, || match file.file.ready() {
        ready if ready & (POLLERR | POLLHUP) != 0 => Err(Errno::EPIPE),
        ready if ready & POLLOUT != 0 => Ok(()),
        _ => Err(Errno::EAGAIN),
    });
    ready.map_err(|error| if error == Errno::EPIPE { broken_pipe(cx, file) } else { error })
}

/// Raises SIGPIPE, unless the descriptor or the socket does not want it.
pub(super) fn broken_pipe(cx: &Cx<'_>, file: &OpenFile) -> Errno {
    if let Some(socket) = file.file.as_socket() {
        return super::socket::broken_pipe(cx, file, socket, 0);
    }
    if file.flags() & O_NOSIGPIPE == 0 {
        cx.mem.raise(abi::signal::SIGPIPE);
    }
    Errno::EPIPE
}

/// The pieces in which the original moves data: pages of a file, mbuf clusters of a socket.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Whole,
    Page,
    Fixed(usize),
}

pub(super) fn unit(cx: &Cx<'_>, file: &OpenFile) -> Unit {
    match () {
        () if cx.mem.extended() => Unit::Whole,
        () if file.file.as_vnode().is_some() => Unit::Page,
        () if file.file.as_socket().is_some() => Unit::Fixed(2048),
        () if file.file.stat().is_ok_and(|stat| stat.st_mode & S_IFMT == abi::stat::S_IFIFO) => Unit::Fixed(16384),
        () => Unit::Fixed(4096),
    }
}

impl Unit {
    /// The length of the piece at `position` of the file.
    fn piece(self, position: u64) -> usize {
        match self {
            Unit::Whole => usize::MAX,
            Unit::Page => 4096 - (position % 4096) as usize,
            Unit::Fixed(len) => len,
        }
    }
}

/// Where the next read or write of a file begins.
fn position(file: &OpenFile) -> u64 {
    match file.file.as_vnode() {
        Some(_) if file.flags() & O_APPEND != 0 => file.file.stat().map_or(0, |stat| stat.st_size as u64),
        Some(vnode) => vnode.position(),
        None => 0,
    }
}

/// Cuts the bytes from `skip` on, `len` of them, into pieces of the caller's memory; `body` gets address and range.
fn pieces(
    segments: &[Segment],
    skip: usize,
    len: usize,
    unit: Unit,
    position: u64,
    mut body: impl FnMut(u64, std::ops::Range<usize>) -> Result<()>,
) -> Result<()> {
    let (mut before, mut done) = (0, 0);
    for segment in segments {
        while done < len && skip + done < before + segment.len {
            let inside = skip + done - before;
            let piece = (segment.len - inside).min(len - done).min(unit.piece(position + done as u64));
            let addr = if segment.addr == 0 { 0 } else { segment.addr.wrapping_add(inside as u64) };
            body(addr, done..done + piece)?;
            done += piece;
        }
        before += segment.len;
    }
    Ok(())
}

pub(super) fn scatter(cx: &Cx<'_>, to: &[Segment], skip: usize, data: &[u8], unit: Unit, position: u64) -> Result<()> {
    pieces(to, skip, data.len(), unit, position, |addr, range| cx.mem.store(addr, &data[range]))
}

pub(super) fn gather(
    cx: &Cx<'_>,
    from: &[Segment],
    skip: usize,
    buf: &mut [u8],
    unit: Unit,
    position: u64,
) -> Result<()> {
    pieces(from, skip, buf.len(), unit, position, |addr, range| cx.mem.fill(addr, &mut buf[range]))
}

/// close(2).
pub fn close(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    cx.proc.close(fd)
}

/// dup(2).
pub fn dup(cx: &Cx<'_>, fd: Fd) -> Result<Fd> {
    cx.proc.install(cx.proc.place(fd)?, false)
}

/// dup2(2).
pub fn dup2(cx: &Cx<'_>, from: Fd, to: Fd) -> Result<Fd> {
    dup3(cx, from, to, 0)
}

/// dup3(2); the same number twice succeeds and ignores the flags.
pub fn dup3(cx: &Cx<'_>, from: Fd, to: Fd, flags: i32) -> Result<Fd> {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_NOSIGPIPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let limit = lock(&cx.proc.nofile).0;
    let file = cx.proc.place(from)?;
    if from == to {
        return Ok(to);
    }
    let entry = Entry { file: file.clone(), close_on_exec: flags & O_CLOEXEC != 0, quiet: false };
    let replaced = lock(&cx.proc.fds).replace(to, entry, limit)?;
    if flags & (O_NONBLOCK | O_NOSIGPIPE) != 0 {
        file.set_flags(flags & (O_NONBLOCK | O_NOSIGPIPE), flags);
    }
    cx.proc.dropped(replaced);
    Ok(to)
}

/// fcntl(2); `arg` is a value or an address, by command.
pub fn fcntl(cx: &Cx<'_>, fd: Fd, cmd: i32, arg: InOut) -> Result<i32> {
    let value = arg.addr as i32;
    match cmd {
        F_DUPFD | F_DUPFD_CLOEXEC => duplicate(cx, fd, value, cmd == F_DUPFD_CLOEXEC),
        F_DUPFD_QUIET => duplicate_quietly(cx, fd, value),
        F_GETFD => Ok(if lock(&cx.proc.fds).entry(fd)?.close_on_exec { FD_CLOEXEC } else { 0 }),
        F_SETFD => set_close_on_exec(cx, fd, value & FD_CLOEXEC != 0).map(|()| 0),
        F_GETFL => {
            let lasting = if cx.mem.extended() { LASTING_FLAGS } else { 0 };
            Ok(cx.proc.place(fd)?.flags() & (O_ACCMODE | STATUS_FLAGS | lasting))
        }
        F_SETFL => {
            // Linux leaves the flags of writing through as open(2) has set them.
            let linux = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
            let file = cx.proc.file(fd)?;
            if value & !file.flags() & O_NOATIME != 0
                && let Some(file) = file.file.as_vnode()
            {
                vfs::perm::owner(&file.at.node.attr(), &cx.proc.credentials())?;
            }
            file.set_flags(if cx.mem.extended() { linux } else { STATUS_FLAGS }, value);
            Ok(0)
        }
        F_GETOWN => cx.proc.file(fd).map(|file| file.owner()),
        F_SETOWN => cx.proc.file(fd).map(|file| file.set_owner(value)).map(|()| 0),
        F_GETLK | F_SETLK | F_SETLKW | F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => record_lock(cx, fd, cmd, arg),
        F_CLOSEM => close_from(cx, fd),
        F_MAXFD => Ok(lock(&cx.proc.fds).highest().map_or(-1, |fd| fd.0)),
        F_GETNOSIGPIPE => Ok(i32::from(cx.proc.file(fd)?.flags() & O_NOSIGPIPE != 0)),
        F_SETNOSIGPIPE => {
            cx.proc.file(fd)?.set_flags(O_NOSIGPIPE, if value != 0 { O_NOSIGPIPE } else { 0 });
            Ok(0)
        }
        _ => cx.proc.file(fd).and(Err(Errno::EINVAL)),
    }
}

fn duplicate(cx: &Cx<'_>, fd: Fd, from: i32, close_on_exec: bool) -> Result<i32> {
    let file = cx.proc.place(fd)?;
    let limit = lock(&cx.proc.nofile).0;
    let from = usize::try_from(from).ok().filter(|from| *from < limit).ok_or(Errno::EINVAL)?;
    lock(&cx.proc.fds).insert(file, close_on_exec, from, limit).map(|fd| fd.0)
}

fn duplicate_quietly(cx: &Cx<'_>, fd: Fd, from: i32) -> Result<i32> {
    let made = duplicate(cx, fd, from, true)?;
    lock(&cx.proc.fds).entry_mut(Fd(made))?.quiet = true;
    Ok(made)
}

fn set_close_on_exec(cx: &Cx<'_>, fd: Fd, close_on_exec: bool) -> Result<()> {
    lock(&cx.proc.fds).entry_mut(fd)?.close_on_exec = close_on_exec;
    Ok(())
}

fn close_from(cx: &Cx<'_>, first: Fd) -> Result<i32> {
    if first.0 < 0 {
        return Err(Errno::EBADF);
    }
    let closed = lock(&cx.proc.fds).drain(|fd, _| fd >= first);
    cx.proc.dropped(closed);
    Ok(0)
}

fn record_lock(cx: &Cx<'_>, fd: Fd, cmd: i32, arg: InOut) -> Result<i32> {
    let file = cx.proc.file(fd)?;
    let mut flock: Flock = cx.mem.read_inout(arg)?;
    vfs::lock::record_lock(cx, &file, cmd, &mut flock)?;
    if matches!(cmd, F_GETLK | F_OFD_GETLK) {
        cx.mem.write_inout(arg, &flock)?;
    }
    Ok(0)
}

/// ioctl(2): moves as many bytes as the command encodes; OUT data is stored on success only.
pub fn ioctl(cx: &Cx<'_>, fd: Fd, com: u64, data: InOut) -> Result<()> {
    let (anyway, com) = (com & IOC_ANYWAY != 0, com & 0xffff_ffff);
    if com == JREOPEN {
        return open_again(cx, &cx.proc.place(fd)?, data);
    }
    let file = cx.proc.file(fd)?;
    if let Some(end) = file.file.as_terminal().filter(|_| !anyway && tty::ioctl::changes(com)) {
        end.may(cx.into(), tty::Use::Change)?;
    }
    match com {
        JPTPEER => return super::terminal::open_peer(cx, &file, data),
        FIOCLEX => return set_close_on_exec(cx, fd, true),
        FIONCLEX => return set_close_on_exec(cx, fd, false),
        FIONBIO => return set_status(cx, &file, O_NONBLOCK, data),
        FIOASYNC => return set_status(cx, &file, O_ASYNC, data),
        _ => {}
    }
    let len = ioctl::iocparm_len(com);
    if len > ioctl::IOCPARM_MAX {
        return Err(Errno::ENOTTY);
    }
    let (incoming, outgoing) = (com & ioctl::IOC_IN != 0, com & ioctl::IOC_OUT != 0);
    let mut buf = match len {
        0 => data.addr.to_le_bytes().to_vec(),
        _ => vec![0; len],
    };
    if incoming && len > 0 {
        cx.mem.fill(data.addr, &mut buf)?;
    }
    let done = file.file.ioctl(cx, com, &mut buf);
    file.changed();
    done?;
    if outgoing && len > 0 {
        cx.mem.store(data.addr, &buf)?;
    }
    Ok(())
}

/// Opens what `file` has open once more, with a position and flags of its own (`JREOPEN`).
///
/// `EEXIST` and `ELOOP` for `O_EXCL` and `O_NOFOLLOW`, since Linux's name of a descriptor is a symbolic link; `ENXIO` for a socket. A
/// pipe is another descriptor for the same end.
fn open_again(cx: &Cx<'_>, file: &Arc<OpenFile>, data: InOut) -> Result<()> {
    let flags: i32 = cx.mem.read_inout(data)?;
    if flags & O_CREAT != 0 && flags & O_EXCL != 0 {
        return Err(Errno::EEXIST);
    }
    if flags & O_NOFOLLOW != 0 {
        return Err(Errno::ELOOP);
    }
    let open = match file.file.as_vnode() {
        Some(vnode) => {
            let again = vfs::View::of(cx)?.open_again(vnode, flags)?;
            again.meet(cx, flags & O_NONBLOCK != 0)?;
            OpenFile::new(again, flags)
        }
        None if file.file.as_socket().is_some() => return Err(Errno::ENXIO),
        None => file.clone(),
    };
    let fd = cx.proc.install(open, flags & O_CLOEXEC != 0)?;
    cx.mem.write_inout(data, &fd.0).inspect_err(|_| {
        let _ = cx.proc.close(fd);
    })
}

fn set_status(cx: &Cx<'_>, file: &OpenFile, flag: i32, data: InOut) -> Result<()> {
    let mut value = [0; 4];
    cx.mem.fill(data.addr, &mut value)?;
    file.set_flags(flag, if value == [0; 4] { 0 } else { flag });
    Ok(())
}

/// fstat(2).
pub fn fstat(cx: &Cx<'_>, fd: Fd, sb: Out) -> Result<()> {
    let stat: Stat = cx.proc.place(fd)?.stat()?;
    cx.mem.write(sb, &stat)
}

/// pipe(2): read end and write end.
pub fn pipe(cx: &Cx<'_>) -> Result<(Fd, Fd)> {
    make_pipe(cx, 0)
}

/// pipe2(2).
pub fn pipe2(cx: &Cx<'_>, fds: Out, flags: i32) -> Result<()> {
    if flags & !(O_CLOEXEC | O_NONBLOCK | O_NOSIGPIPE) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = make_pipe(cx, flags)?;
    let stored = cx.mem.write(fds, &[reader.0, writer.0]);
    if stored.is_err() {
        // Nobody has learnt the numbers.
        let _ = (cx.proc.close(reader), cx.proc.close(writer));
    }
    stored
}

fn make_pipe(cx: &Cx<'_>, flags: i32) -> Result<(Fd, Fd)> {
    let (reader, writer) = vfs::pipe::pair();
    let (status, close_on_exec) = (flags & (O_NONBLOCK | O_NOSIGPIPE), flags & O_CLOEXEC != 0);
    let reader = cx.proc.install(OpenFile::new(reader, O_RDONLY | status), close_on_exec)?;
    let writer = cx.proc.install(OpenFile::new(writer, O_WRONLY | status), close_on_exec);
    if writer.is_err() {
        let _ = cx.proc.close(reader);
    }
    Ok((reader, writer?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(segments: &[Segment], skip: usize, len: usize, unit: Unit, position: u64) -> Vec<(u64, usize)> {
        let mut cut = Vec::new();
        let body = |addr, range: std::ops::Range<usize>| {
            cut.push((addr, range.len()));
            Ok(())
        };
        pieces(segments, skip, len, unit, position, body).unwrap();
        cut
    }

    #[test]
    fn data_of_a_file_moves_by_pages_of_the_file() {
        let segments = [Segment { addr: 0x1000, len: 70000 }];
        let pieces = cut(&segments, 0, 70000, Unit::Page, 12);
        assert_eq!(&pieces[..2], [(0x1000, 4084), (0x1000 + 4084, 4096)]);
        assert_eq!((pieces.len(), pieces.last()), (18, Some(&(0x1000 + 69620, 380))));
        assert_eq!(cut(&segments, 0, 70000, Unit::Whole, 12), [(0x1000, 70000)]);
    }

    #[test]
    fn segments_are_never_joined() {
        let segments = [Segment { addr: 100, len: 2 }, Segment { addr: 0, len: 0 }, Segment { addr: 200, len: 3 }];
        assert_eq!(cut(&segments, 0, 5, Unit::Whole, 0), [(100, 2), (200, 3)]);
        assert_eq!(cut(&segments, 1, 3, Unit::Fixed(1), 0), [(101, 1), (200, 1), (201, 1)]);
    }
}
