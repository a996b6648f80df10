//! Calls that move data without the client, or hand it the data's memory: what Linux has and NetBSD lacks.

use abi::fcntl::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_APPEND, O_NONBLOCK, SEEK_SET, SPLICE_F_NONBLOCK};
use abi::socket::MSG_PEEK;
use abi::stat::{S_IFDIR, S_IFIFO, S_IFMT, S_IFREG};
use abi::{Errno, Fd, InOut, Out, Result};

use super::descriptor::{broken_pipe, readable, writable};
use super::file::{about_to_write, vnode};
use crate::file::OpenFile;
use crate::proc::lock;
use crate::vfs::VnodeFile;
use crate::{Cx, wait};

/// Bytes moved at a time between files.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes moved at a time where an end may block.
const PIECE_BYTES: usize = 64 * 1024;

/// fallocate(2), an extension. `EOPNOTSUPP` for all but the two modes that a memory file system has, as on Linux.
pub fn fallocate(cx: &Cx<'_>, fd: Fd, mode: u32, offset: i64, len: i64) -> Result<()> {
    let open = cx.proc.file(fd)?;
    if offset < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    let punches_only = mode & FALLOC_FL_PUNCH_HOLE != 0 && mode & FALLOC_FL_KEEP_SIZE == 0;
    if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 || punches_only {
        return Err(Errno::EOPNOTSUPP);
    }
    if !open.writable() {
        return Err(Errno::EBADF);
    }
    about_to_write(cx, &open, 1)?;
    let other = if kind(&open)? == S_IFIFO { Errno::ESPIPE } else { Errno::ENODEV };
    vnode(&open, other)?.allocate(offset as u64, len as u64, mode)
}

/// The bits of `S_IFMT` of an open file.
fn kind(open: &OpenFile) -> Result<u32> {
    Ok(open.file.stat()?.st_mode & S_IFMT)
}

/// Where one end of a transfer is.
#[derive(Clone, Copy)]
enum At {
    /// At the position of the open file, which moves.
    Position,
    /// At an offset of the caller, which moves instead.
    Offset(u64),
}

impl At {
    /// Reads the offset of the caller, if there is one; `ESPIPE` for what has no offsets.
    fn read(cx: &Cx<'_>, pointer: InOut, open: &OpenFile) -> Result<Self> {
        if pointer.is_null() {
            return Ok(At::Position);
        }
        let offset: i64 = cx.mem.read_inout(pointer)?;
        if open.file.as_vnode().is_none_or(|file| file.seek(0, abi::fcntl::SEEK_CUR).is_err()) {
            return Err(Errno::ESPIPE);
        }
        u64::try_from(offset).map(At::Offset).map_err(|_| Errno::EINVAL)
    }

    /// Stores how far the caller's offset has come.
    fn store(self, cx: &Cx<'_>, pointer: InOut) -> Result<()> {
        match self {
            At::Position => Ok(()),
            At::Offset(offset) => cx.mem.write_inout(pointer, &(offset as i64)),
        }
    }
}

/// copy_file_range(2), an extension; without flags, of which Linux has none.
///
/// `EISDIR`, `EINVAL` for what is no file or overlaps, `EBADF` by the access modes and for `O_APPEND`.
pub fn copy_file_range(cx: &Cx<'_>, from: Fd, from_at: InOut, to: Fd, to_at: InOut, len: usize) -> Result<usize> {
    let (input, output) = (cx.proc.file(from)?, cx.proc.file(to)?);
    let place = |pointer, open| {
        At::read(cx, pointer, open).map_err(|error| match error {
            // A negative offset, which other calls refuse as such.
            Errno::EINVAL => Errno::EOVERFLOW,
            error => error,
        })
    };
    let (here, there) = (place(from_at, &input)?, place(to_at, &output)?);
    let kinds = [kind(&input)?, kind(&output)?];
    if kinds.contains(&S_IFDIR) {
        return Err(Errno::EISDIR);
    }
    if kinds != [S_IFREG; 2] {
        return Err(Errno::EINVAL);
    }
    if !input.readable() || !output.writable() || output.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let (source, target) = (vnode(&input, Errno::EINVAL)?, vnode(&output, Errno::EINVAL)?);
    let start = |file: &VnodeFile, at: At| if let At::Offset(at) = at { at } else { file.position() };
    let (mut read_at, mut write_at) = (start(source, here), start(target, there));
    let len = (len as u64).min(source.at.node.attr().size.saturating_sub(read_at)) as usize;
    if source.at.same(&target.at) && read_at < write_at + len as u64 && write_at < read_at + len as u64 {
        return Err(Errno::EINVAL);
    }
    about_to_write(cx, &output, len)?;
    let mut buf = vec![0; len.min(CHUNK_BYTES)];
    let mut moved = 0;
    while moved < len {
        let want = (len - moved).min(CHUNK_BYTES);
        let step = source.read_at(read_at, &mut buf[..want]).and_then(|got| target.write_at(write_at, &buf[..got]));
        match step {
            Ok(0) => break,
            Ok(n) => {
                moved += n;
                read_at += n as u64;
                write_at += n as u64;
            }
            Err(_) if moved > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    for (file, at, pointer, end) in [(source, here, from_at, read_at), (target, there, to_at, write_at)] {
        match at {
            At::Position => drop(file.seek(end as i64, SEEK_SET)?),
            At::Offset(_) => At::Offset(end).store(cx, pointer)?,
        }
    }
    Ok(moved)
}

/// One end that gives, one that takes.
struct Transfer<'a> {
    cx: &'a Cx<'a>,
    from: &'a OpenFile,
    from_at: At,
    to: &'a OpenFile,
    to_at: At,
    /// Whether an empty source, or a full target, ends it.
    nonblocking: [bool; 2],
}

/// Which end has to be waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocked {
    Source,
    Target,
}

impl Transfer<'_> {
    /// Moves at most `max` bytes once; 0 at the end of the source. What the target does not take stays in the source.
    fn step(&mut self, max: usize) -> Result<core::result::Result<usize, Blocked>> {
        let mut buf = vec![0; max.min(PIECE_BYTES)];
        // One transfer at a time looks at its source and then takes from it.
        let _splicing = lock(&self.cx.kernel.vfs.splicing);
        let there = match (self.from_at, self.from.file.as_vnode(), self.from.file.as_socket()) {
            (At::Offset(at), Some(file), _) => file.read_at(at, &mut buf),
            (_, _, Some(socket)) => socket.recv(self.cx, &mut buf, MSG_PEEK).map(|received| received.len),
            _ => self.from.file.peek(&mut buf),
        };
        let there = match there {
            Err(Errno::EAGAIN) => return Ok(Err(Blocked::Source)),
            there => there?,
        };
        let data = &buf[..there];
        if data.is_empty() {
            return Ok(Ok(0));
        }
        about_to_write(self.cx, self.to, data.len())?;
        let taken = match (self.to_at, self.to.file.as_vnode()) {
            (At::Offset(at), Some(file)) => file.write_at(at, data),
            _ => self.to.file.write(data),
        };
        let taken = match taken {
            Err(Errno::EAGAIN) => return Ok(Err(Blocked::Target)),
            Err(Errno::EPIPE) => return Err(broken_pipe(self.cx, self.to)),
            taken => taken?,
        };
        if let At::Offset(at) = &mut self.to_at {
            *at += taken as u64;
        }
        match &mut self.from_at {
            At::Offset(at) => *at += taken as u64,
            At::Position => drop(self.from.file.read(&mut buf[..taken])?),
        }
        Ok(Ok(taken))
    }

    /// Moves up to `len` bytes; `all` waits until everything is moved or the source ends, else for the first bytes only.
    fn run(&mut self, len: usize, all: bool) -> Result<usize> {
        let cx = self.cx;
        let queues = [self.from.file.wait_queue(), self.to.file.wait_queue()];
        let mut moved = 0;
        while moved < len {
            let left = len - moved;
            let step = wait::until(cx, &queues, None, || match self.step(left)? {
                Err(Blocked::Source) if self.nonblocking[0] || moved > 0 => Ok(None),
                Err(Blocked::Target) if self.nonblocking[1] || (moved > 0 && !all) => Ok(None),
                Err(_) => Err(Errno::EAGAIN),
                Ok(n) => Ok(Some(n)),
            });
            match step {
                Ok(Some(0)) => break,
                Ok(Some(n)) => moved += n,
                Ok(None) if moved == 0 => return Err(Errno::EAGAIN),
                Err(errno) if moved == 0 => return Err(errno),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(moved)
    }
}

/// splice(2), an extension: one end must be a pipe.
///
/// `EINVAL` if none is, if both are the same one, for `O_APPEND`, for a source that cannot be looked into, and for an offset of what has none, or
/// `ESPIPE` if that is the pipe.
pub fn splice(cx: &Cx<'_>, from: Fd, from_at: InOut, to: Fd, to_at: InOut, len: usize, flags: u32) -> Result<usize> {
    let (input, output) = (readable(cx, from)?, writable(cx, to)?);
    let pipes = [kind(&input)? == S_IFIFO, kind(&output)? == S_IFIFO];
    if pipes == [false; 2] || (pipes == [true; 2] && same_pipe(&input, &output)?) {
        return Err(Errno::EINVAL);
    }
    if (pipes[0] && !from_at.is_null()) || (pipes[1] && !to_at.is_null()) {
        return Err(Errno::ESPIPE);
    }
    if kind(&input)? == S_IFDIR || (output.flags() & O_APPEND != 0 && !pipes[1]) {
        return Err(Errno::EINVAL);
    }
    // A pipe that does not block makes the whole call so.
    let quick = |open: &OpenFile, pipe: bool| pipe && open.flags() & O_NONBLOCK != 0;
    let quick = flags & SPLICE_F_NONBLOCK != 0 || quick(&input, pipes[0]) || quick(&output, pipes[1]);
    let nonblocking =
        [if pipes[0] { quick } else { input.nonblocking() }, if pipes[1] { quick } else { output.nonblocking() }];
    // Of a socket, too, which has none.
    let place = |at, open: &OpenFile| {
        At::read(cx, at, open).map_err(|error| if error == Errno::ESPIPE { Errno::EINVAL } else { error })
    };
    let (from_place, to_place) = (place(from_at, &input)?, place(to_at, &output)?);
    let mut transfer = Transfer { cx, from: &input, from_at: from_place, to: &output, to_at: to_place, nonblocking };
    let moved = transfer.run(len, false)?;
    transfer.from_at.store(cx, from_at)?;
    transfer.to_at.store(cx, to_at)?;
    Ok(moved)
}

fn same_pipe(one: &OpenFile, other: &OpenFile) -> Result<bool> {
    let (one, other) = (one.stat()?, other.stat()?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// sendfile(2), an extension: from a file to anything.
///
/// `EINVAL` if the source has no position, or for `O_APPEND`.
pub fn sendfile(cx: &Cx<'_>, to: Fd, from: Fd, from_at: InOut, len: usize) -> Result<usize> {
    let (input, output) = (readable(cx, from)?, writable(cx, to)?);
    let place = At::read(cx, from_at, &input)?;
    if kind(&input)? != S_IFREG || output.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let nonblocking = [true, output.nonblocking()];
    let mut transfer = Transfer { cx, from: &input, from_at: place, to: &output, to_at: At::Position, nonblocking };
    let moved = transfer.run(len, true)?;
    transfer.from_at.store(cx, from_at)?;
    Ok(moved)
}

/// Shows what read(2) would read next, an extension: for tee(2), and for transfers to the client's own host.
pub fn peek(cx: &Cx<'_>, fd: Fd, buf: Out, len: usize) -> Result<usize> {
    let open = readable(cx, fd)?;
    let mut data = vec![0; len.min(CHUNK_BYTES)];
    let there = open.wait(cx, || match open.file.as_socket() {
        Some(socket) => socket.recv(cx, &mut data, MSG_PEEK).map(|received| received.len),
        None => open.file.peek(&mut data),
    })?;
    cx.mem.store(buf.addr, &data[..there])?;
    Ok(there)
}

/// Hands the client the memory of a file, an extension: what mmap(2) is made of.
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, or a file system that cannot share; `ENODEV` for what is no file.
pub fn mapfile(cx: &Cx<'_>, fd: Fd) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let file = vnode(&open, Errno::ENODEV)?;
    if !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    cx.mem.hand_over(cx.lwp.request, file.share(open.flags())?)
}
