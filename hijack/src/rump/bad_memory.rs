//! Calls whose memory is bad, or good at first and bad later: as much of it is moved as Linux moves for the kind of object, and nothing
//! is taken off an object for which there is no room.
//!
//! A file moves what is good, to the byte. A stream of bytes moves whole pieces: for what would fall into bad memory it is `EFAULT`, and
//! the bytes stay where they are. Of a message nothing is left. All that is found out here, before the call, so that it is so with
//! any server; a call on good memory costs a look at the pages that are known ([`reach`]).

use abi::ioctl::{FIONREAD, TIOCGETA};
use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, PollFd};
use abi::socket::{IoVec, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC, SO_TYPE, SOCK_STREAM, SOL_SOCKET};
use abi::stat::{S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK};
use abi::{Errno, In, InOut, Out, Pad, Result, fcntl};
use client::{Remote, stubs};
use core::time::Duration;

use super::attr::status;
use super::file::Vector;
use super::kernel;
use crate::fds::RumpFd;
use crate::reach::{self, Use};

/// Pieces in which Linux takes the bytes of a pipe, and puts some into it.
const PIPE_PIECE: usize = 4096;
/// Pieces in which it takes what is written to a stream socket, about.
const STREAM_PIECE: usize = 32 * 1024;
/// Pieces in which it takes what is written to a terminal.
const TERMINAL_PIECE: usize = 2048;
/// What it takes from a terminal before it looks at the memory.
const TERMINAL_TAKEN: usize = 64;
/// Most bytes that our own kernel moves at once.
const AT_ONCE: usize = 1 << 20;

/// Where a call moves bytes.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Where the object is.
    Next,
    /// At an offset.
    At(i64),
    /// As a call of sockets with these flags, in NetBSD's numbers.
    Socket(i32),
}

/// What a descriptor is, as far as it makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A regular file, a directory, a disk, a device: all that has no pieces.
    File,
    /// A pipe or FIFO.
    Pipe,
    /// A socket whose bytes are a stream.
    Stream,
    /// Any other socket.
    Messages,
    /// A terminal.
    Terminal,
    /// Another device.
    Device,
}

impl Kind {
    fn of(fd: RumpFd) -> Result<Self> {
        let kernel = kernel()?;
        Ok(match status(fd)?.st_mode & S_IFMT {
            S_IFIFO => Kind::Pipe,
            S_IFSOCK => {
                let (mut kind, mut len) = (0i32, size_of::<i32>() as u32);
                let (value, length) = (Out::new(&mut kind), InOut::new(&mut len));
                stubs::getsockopt(kernel, fd.fd(), SOL_SOCKET, SO_TYPE, value, length)?;
                if kind == SOCK_STREAM { Kind::Stream } else { Kind::Messages }
            }
            S_IFCHR => {
                let mut modes = [0u8; abi::ioctl::iocparm_len(TIOCGETA)];
                let answer = stubs::ioctl(kernel, fd.fd(), TIOCGETA, InOut::new(&mut modes));
                if answer.is_ok() { Kind::Terminal } else { Kind::Device }
            }
            _ => Kind::File,
        })
    }

    /// `ENOTSOCK` for a call of sockets on what is none.
    fn suits(self, way: Way) -> Result<()> {
        let socket = matches!(self, Kind::Stream | Kind::Messages);
        if matches!(way, Way::Socket(_)) && !socket { Err(Errno::ENOTSOCK) } else { Ok(()) }
    }

    /// The pieces in which what is written is taken.
    fn piece(self) -> usize {
        match self {
            Kind::File | Kind::Device => 1,
            Kind::Pipe => PIPE_PIECE,
            Kind::Stream => STREAM_PIECE,
            Kind::Terminal => TERMINAL_PIECE,
            Kind::Messages => usize::MAX,
        }
    }
}

/// Tells how many of `len` bytes at `buf` a call is to fill: all, if the memory is good.
#[inline]
pub fn to_fill(fd: RumpFd, buf: usize, len: usize, way: Way) -> Result<usize> {
    if reach::is_fillable(buf, len) { Ok(len) } else { room_in(fd, reach::good(buf, len, Use::Fill), len, way) }
}

/// The same for a vector, which is made shorter.
pub fn vector_to_fill(fd: RumpFd, vector: &mut Vector, way: Way) -> Result<()> {
    if vector.parts().iter().all(|part| reach::is_fillable(part.iov_base as usize, part.iov_len as usize)) {
        return Ok(());
    }
    vector.cut(room_in(fd, good(vector, Use::Fill), vector.len(), way)?);
    Ok(())
}

/// How many bytes of a vector are good before the first that is not.
fn good(vector: &Vector, how: Use) -> usize {
    let mut sum = 0;
    for IoVec { iov_base, iov_len } in vector.parts() {
        let good = if *iov_len == 0 { 0 } else { reach::good(*iov_base as usize, *iov_len as usize, how) };
        sum += good;
        if good < *iov_len as usize {
            break;
        }
    }
    sum
}

/// Tells how many bytes a call is to fill that has named `len`, of which the first `good` are good.
///
/// `EFAULT` if it can fill none of them, or only a part of a piece; or what is wrong before that. Waits until there is something, as the call
/// would.
#[cold]
#[inline(never)]
fn room_in(fd: RumpFd, good: usize, len: usize, way: Way) -> Result<usize> {
    let kernel = kernel()?;
    let flags = stubs::fcntl(kernel, fd.fd(), fcntl::F_GETFL, InOut::NULL)?;
    if flags & fcntl::O_ACCMODE == fcntl::O_WRONLY {
        return Err(Errno::EBADF);
    }
    let quick = flags & fcntl::O_NONBLOCK != 0;
    let kind = Kind::of(fd)?;
    kind.suits(way)?;
    match (kind, way) {
        (Kind::File, _) | (_, Way::At(_)) if good > 0 => Ok(good),
        (Kind::Terminal | Kind::Device, _) if good > 0 => Ok(good),
        (Kind::File, _) | (_, Way::At(_)) => {
            let mut byte = [0u8; 1];
            let offset = match way {
                Way::At(offset) => offset,
                _ => stubs::lseek(kernel, fd.fd(), Pad, 0, fcntl::SEEK_CUR)?,
            };
            let read = stubs::pread(kernel, fd.fd(), Out::new(&mut byte), byte.len(), Pad, offset)?;
            if read == 0 { Ok(0) } else { Err(Errno::EFAULT) }
        }
        (Kind::Pipe, _) => room_for_pipe(fd, good, quick),
        (Kind::Stream, Way::Socket(flags)) if flags & (MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE) != 0 => Ok(len),
        (Kind::Stream, Way::Socket(flags)) => room_for_stream(fd, good, flags & MSG_DONTWAIT),
        (Kind::Stream, Way::Next) => room_for_stream(fd, good, 0),
        (Kind::Terminal, _) => {
            let mut taken = [0u8; TERMINAL_TAKEN];
            let taken = taken.get_mut(..len.min(TERMINAL_TAKEN)).unwrap_or_default();
            let read = stubs::read(kernel, fd.fd(), Out::new(taken), taken.len())?;
            if read == 0 { Ok(0) } else { Err(Errno::EFAULT) }
        }
        // The message is lost, as on Linux.
        (Kind::Messages | Kind::Device, _) => Ok(len),
    }
}

/// The bytes of a pipe cannot be looked at, but counted.
fn room_for_pipe(fd: RumpFd, good: usize, quick: bool) -> Result<usize> {
    let kernel = kernel()?;
    let mut ended = false;
    loop {
        let mut there = 0i32;
        stubs::ioctl(kernel, fd.fd(), FIONREAD, InOut::new(&mut there))?;
        match usize::try_from(there).unwrap_or(0) {
            0 if ended => return Ok(0),
            0 => {}
            there if there <= good => return Ok(there),
            _ if good >= PIPE_PIECE => return Ok(good - good % PIPE_PIECE),
            _ => return Err(Errno::EFAULT),
        }
        let mut polled = [PollFd { fd: fd.0, events: POLLIN, revents: 0 }];
        let ready = kernel.poll_mixed(&mut polled, &mut [], quick.then_some(Duration::ZERO))?;
        if ready == (0, 0) && quick {
            return Err(Errno::EAGAIN);
        }
        ended = polled.iter().any(|polled| polled.revents & POLLHUP != 0);
    }
}

fn room_for_stream(fd: RumpFd, good: usize, flags: i32) -> Result<usize> {
    if good >= AT_ONCE {
        return Ok(good);
    }
    let mut bytes = vec![0u8; good + 1];
    let (to, len) = (Out::new(bytes.as_mut_slice()), good + 1);
    let there = stubs::recvfrom(kernel()?, fd.fd(), to, len, flags | MSG_PEEK, Out::NULL, InOut::NULL)?;
    if there <= good { Ok(there) } else { Err(Errno::EFAULT) }
}

/// Whether a call that takes so many bytes can only be made when it is known how many are good: it goes to a server that is never told of bad
/// memory, and would write zeros; or it is so large that it is done in pieces, of which the first have gone when a later one is bad.
fn is_looked_at_first(len: usize) -> bool {
    len > AT_ONCE || is_never_told()
}

fn is_never_told() -> bool {
    Remote::knows_foreign_server()
}

/// Makes a call that takes `len` bytes at `buf`, with fewer if they are not all good.
#[inline]
pub fn taking(fd: RumpFd, buf: usize, len: usize, way: Way, call: impl Fn(usize) -> Result<usize>) -> Result<usize> {
    if len > 0 && is_looked_at_first(len) {
        let good = reach::good(buf, len, Use::Take);
        return if good == len { call(len) } else { call(taken(fd, good, way)?) };
    }
    match call(len) {
        Err(Errno::EFAULT) => again(fd, reach::good(buf, len, Use::Take), len, way, call),
        done => done,
    }
}

/// The same for a vector, which is made shorter.
pub fn taking_vector(
    fd: RumpFd,
    vector: &mut Vector,
    way: Way,
    call: impl Fn(&Vector) -> Result<usize>,
) -> Result<usize> {
    let first = is_looked_at_first(vector.len());
    if first && good(vector, Use::Take) == vector.len() {
        return call(vector);
    }
    match if first { Err(Errno::EFAULT) } else { call(vector) } {
        Err(Errno::EFAULT) => again(fd, good(vector, Use::Take), vector.len(), way, |len| {
            vector.cut(len);
            call(vector)
        }),
        done => done,
    }
}

/// Makes a call once more that was `EFAULT`, with the bytes that are good.
#[cold]
#[inline(never)]
fn again(fd: RumpFd, good: usize, len: usize, way: Way, call: impl FnOnce(usize) -> Result<usize>) -> Result<usize> {
    if good == len { Err(Errno::EFAULT) } else { call(taken(fd, good, way)?) }
}

/// Tells how many of `good` bytes, behind which there are bad ones, a call takes; `EFAULT` if none.
#[cold]
#[inline(never)]
fn taken(fd: RumpFd, good: usize, way: Way) -> Result<usize> {
    let flags = stubs::fcntl(kernel()?, fd.fd(), fcntl::F_GETFL, InOut::NULL)?;
    if flags & fcntl::O_ACCMODE == fcntl::O_RDONLY {
        return Err(Errno::EBADF);
    }
    let kind = if let Way::At(_) = way { Kind::File } else { Kind::of(fd)? };
    kind.suits(way)?;
    let taken = good - good % kind.piece();
    if taken == 0 {
        if is_never_told() {
            let quick =
                flags & fcntl::O_NONBLOCK != 0 || matches!(way, Way::Socket(flags) if flags & MSG_DONTWAIT != 0);
            until_writable(fd, kind, quick)?;
        }
        return Err(Errno::EFAULT);
    }
    Ok(taken)
}

/// Waits until a pipe or stream would take something, as our own server does before it looks at the memory.
///
/// `EAGAIN` if it takes nothing now; `EPIPE`, with its signal, if it never will.
fn until_writable(fd: RumpFd, kind: Kind, quick: bool) -> Result<()> {
    let kernel = kernel()?;
    let nothing = [0u8; 1];
    match kind {
        Kind::Stream => drop(stubs::sendto(kernel, fd.fd(), In::new(&nothing), 0, 0, In::NULL, 0)?),
        Kind::Pipe => {}
        _ => return Ok(()),
    }
    let mut polled = [PollFd { fd: fd.0, events: POLLOUT, revents: 0 }];
    let ready = kernel.poll_mixed(&mut polled, &mut [], quick.then_some(Duration::ZERO))?;
    let ended = polled.iter().any(|polled| polled.revents & (POLLERR | POLLHUP) != 0);
    match kind {
        // Nobody will read it.
        Kind::Pipe if ended => stubs::write(kernel, fd.fd(), In::new(&nothing), nothing.len()).map(drop),
        _ if ready == (0, 0) && quick => Err(Errno::EAGAIN),
        _ => Ok(()),
    }
}
