//! Socket calls: socket, bind, listen, connect, accept, names, options, sendto, recvfrom, shutdown.

use std::sync::Arc;
use std::time::Duration;

use abi::fcntl::{O_NONBLOCK, O_NOSIGPIPE, O_RDWR};
use abi::signal::SIGPIPE;
use abi::socket::*;
use abi::{Errno, Fd, In, InOut, Out, Result};

use super::descriptor::Segment;
use crate::Cx;
use crate::file::{File, OpenFile};
use crate::net::{Control, Received, Socket};

/// The most that one operation of a socket moves.
const CHUNK: usize = 1 << 20;
/// What the original moves at a time (an mbuf cluster).
const CLUSTER: usize = 2048;
/// The longest option value.
const OPTION_MAX: u32 = 2048;

/// socket(2).
pub fn socket(cx: &Cx<'_>, domain: i32, kind: i32, protocol: i32) -> Result<Fd> {
    let file = cx.kernel.net.socket(domain, kind & !SOCK_FLAGS_MASK, protocol)?;
    install(cx, file, kind)
}

/// socketpair(2).
pub fn socketpair(cx: &Cx<'_>, domain: i32, kind: i32, protocol: i32, rsv: Out) -> Result<()> {
    let [a, b] = cx.kernel.net.pair(cx, domain, kind & !SOCK_FLAGS_MASK, protocol)?;
    let a = install(cx, a, kind)?;
    let b = install(cx, b, kind).inspect_err(|_| {
        let _ = cx.proc.close(a);
    })?;
    cx.mem.write(rsv, &[a.0, b.0]).inspect_err(|_| {
        let _ = (cx.proc.close(a), cx.proc.close(b));
    })
}

/// Gives a socket a descriptor; `flags` are those of `SOCK_`.
fn install(cx: &Cx<'_>, file: Arc<dyn File>, flags: i32) -> Result<Fd> {
    let nonblocking = if flags & SOCK_NONBLOCK != 0 { O_NONBLOCK } else { 0 };
    let quiet = if flags & SOCK_NOSIGPIPE != 0 { O_NOSIGPIPE } else { 0 };
    cx.proc.install(OpenFile::new(file, O_RDWR | nonblocking | quiet), flags & SOCK_CLOEXEC != 0)
}

/// bind(2).
pub fn bind(cx: &Cx<'_>, s: Fd, name: In, namelen: u32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    socket.bind(cx, &address(cx, name.addr, namelen)?)
}

/// listen(2).
pub fn listen(cx: &Cx<'_>, s: Fd, backlog: i32) -> Result<()> {
    cx.proc.file(s)?.socket()?.listen(cx, backlog)
}

/// connect(2).
pub fn connect(cx: &Cx<'_>, s: Fd, name: In, namelen: u32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    let to = address(cx, name.addr, namelen)?;
    let limit = deadline(cx, socket.time_limits().1);
    let started = match socket.connect(cx, &to) {
        // A full listen queue of a local socket: Linux waits for room.
        Err(Errno::EAGAIN) => file.wait_until(cx, file.nonblocking(), limit, || socket.connect(cx, &to)),
        // Another thread's, or an interrupted one's, connect goes on.
        Err(Errno::EALREADY) if !file.nonblocking() => Err(Errno::EINPROGRESS),
        started => started,
    };
    match started {
        Err(Errno::EINPROGRESS) if !file.nonblocking() => {
            let done = file.wait_until(cx, false, limit, || socket.connected());
            // The time limit is over, the connect is not: EINPROGRESS, as on Linux.
            done.map_err(|error| if error == Errno::EAGAIN { Errno::EINPROGRESS } else { error })
        }
        done => done,
    }
}

/// accept(2).
pub fn accept(cx: &Cx<'_>, s: Fd, name: Out, anamelen: InOut) -> Result<Fd> {
    take_connection(cx, s, name, anamelen, 0)
}

/// paccept(2). A signal mask is taken and has no effect: signals wait until the call is over anyway.
pub fn paccept(cx: &Cx<'_>, s: Fd, name: Out, anamelen: InOut, mask: In, flags: i32) -> Result<Fd> {
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK | SOCK_NOSIGPIPE) != 0 {
        return Err(Errno::EINVAL);
    }
    if !mask.is_null() {
        cx.mem.read::<[u32; 4]>(mask)?;
    }
    take_connection(cx, s, name, anamelen, flags)
}

fn take_connection(cx: &Cx<'_>, s: Fd, name: Out, anamelen: InOut, flags: i32) -> Result<Fd> {
    let room = name_room(cx, name, anamelen)?;
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    let limit = deadline(cx, socket.time_limits().0);
    let (accepted, peer) = file.wait_until(cx, file.nonblocking(), limit, || socket.accept(cx))?;
    let fd = install(cx, accepted, flags)?;
    let stored = room.map_or(Ok(()), |room| store_name(cx, name, anamelen, room, &peer.encode()));
    stored.inspect_err(|_| {
        let _ = cx.proc.close(fd);
    })?;
    Ok(fd)
}

/// getpeername(2).
pub fn getpeername(cx: &Cx<'_>, fdes: Fd, asa: Out, alen: InOut) -> Result<()> {
    let peer = cx.proc.file(fdes)?.socket()?.peer()?;
    give_name(cx, asa, alen, &peer)
}

/// getsockname(2).
pub fn getsockname(cx: &Cx<'_>, fdes: Fd, asa: Out, alen: InOut) -> Result<()> {
    let local = cx.proc.file(fdes)?.socket()?.local()?;
    give_name(cx, asa, alen, &local)
}

fn give_name(cx: &Cx<'_>, name: Out, len: InOut, addr: &Sockaddr) -> Result<()> {
    match name_room(cx, name, len)? {
        Some(room) => store_name(cx, name, len, room, &addr.encode()),
        None => Ok(()),
    }
}

/// Reads how much room the caller has for an address; `None` if it wants none.
pub(super) fn name_room(cx: &Cx<'_>, name: Out, len: InOut) -> Result<Option<usize>> {
    if name.is_null() {
        return Ok(None);
    }
    let room: u32 = cx.mem.read_inout(len)?;
    if room > i32::MAX as u32 { Err(Errno::EINVAL) } else { Ok(Some(room as usize)) }
}

/// Stores an address and how much of it was stored.
fn store_name(cx: &Cx<'_>, name: Out, len: InOut, room: usize, addr: &[u8]) -> Result<()> {
    // An extended client is told the full length, as Linux does it; NetBSD tells the copied one.
    let copied = addr.len().min(room);
    cx.mem.store(name.addr, &addr[..copied])?;
    let told = if cx.mem.extended() { addr.len() } else { copied };
    cx.mem.write_inout(len, &(told as u32))
}

/// Reads an address; `EINVAL` if its length is out of range.
pub(super) fn address(cx: &Cx<'_>, addr: u64, len: u32) -> Result<Sockaddr> {
    if !(3..=SOCK_MAXADDRLEN as u32).contains(&len) && !(len == 2 && cx.mem.extended()) {
        return Err(Errno::EINVAL);
    }
    Sockaddr::parse(&cx.mem.read_bytes(addr, len as usize)?)
}

/// setsockopt(2).
pub fn setsockopt(cx: &Cx<'_>, s: Fd, level: i32, name: i32, val: In, valsize: u32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    if valsize > OPTION_MAX {
        return Err(Errno::EINVAL);
    }
    let value = cx.mem.read_bytes(val.addr, valsize as usize)?;
    socket.set_option(cx, level, name, &value)
}

/// getsockopt(2).
pub fn getsockopt(cx: &Cx<'_>, s: Fd, level: i32, name: i32, val: Out, avalsize: InOut) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    let room = if val.is_null() { 0 } else { cx.mem.read_inout::<u32>(avalsize)? as usize };
    let (domain, kind, protocol) = socket.domain();
    let mut value = match (level, name) {
        (SOL_SOCKET_EXT, SO_DOMAIN) => domain.to_le_bytes().to_vec(),
        (SOL_SOCKET_EXT, SO_PROTOCOL) => protocol.to_le_bytes().to_vec(),
        (SOL_SOCKET, SO_TYPE) => kind.to_le_bytes().to_vec(),
        _ => socket.option(level, name, room)?,
    };
    if val.is_null() {
        return Ok(());
    }
    value.truncate(room);
    cx.mem.store(val.addr, &value)?;
    cx.mem.write_inout(avalsize, &(value.len() as u32))
}

/// shutdown(2).
pub fn shutdown(cx: &Cx<'_>, s: Fd, how: i32) -> Result<()> {
    cx.proc.file(s)?.socket()?.shutdown(how)
}

/// sendto(2).
pub fn sendto(cx: &Cx<'_>, s: Fd, buf: In, len: usize, flags: i32, to: In, tolen: u32) -> Result<usize> {
    let file = cx.proc.file(s)?;
    let to = if to.is_null() { None } else { Some(address(cx, to.addr, tolen)?) };
    if len > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    send(cx, &file, &[Segment { addr: buf.addr, len }], flags, to.as_ref(), Vec::new())
}

/// recvfrom(2).
pub fn recvfrom(cx: &Cx<'_>, s: Fd, buf: Out, len: usize, flags: i32, from: Out, fromlenaddr: InOut) -> Result<usize> {
    let file = cx.proc.file(s)?;
    if len > isize::MAX as usize {
        return Err(Errno::EINVAL);
    }
    let received = recv(cx, &file, &[Segment { addr: buf.addr, len }], flags)?;
    if let Some(room) = name_room(cx, from, fromlenaddr)? {
        match &received.from {
            Some(addr) => store_name(cx, from, fromlenaddr, room, &addr.encode())?,
            None => cx.mem.write_inout(fromlenaddr, &0u32)?,
        }
    }
    Ok(received.len)
}

/// Sends from `segments`: streams in pieces, anything else as one message.
pub(super) fn send(
    cx: &Cx<'_>,
    file: &OpenFile,
    segments: &[Segment],
    flags: i32,
    to: Option<&Sockaddr>,
    mut control: Vec<Control>,
) -> Result<usize> {
    let socket = file.socket()?;
    let total = total(segments)?;
    let stream = socket.domain().1 == SOCK_STREAM;
    if !stream && total > CHUNK {
        return Err(Errno::EMSGSIZE);
    }
    let nonblocking = file.nonblocking() || flags & MSG_DONTWAIT != 0;
    let limit = deadline(cx, socket.time_limits().1);
    let mut sent = 0;
    loop {
        let mut data = vec![0; (total - sent).min(CHUNK)];
        match gather(cx, segments, sent, &mut data) {
            Err(_) if sent > 0 => return Ok(sent),
            copied => copied?,
        }
        let mut rest = &data[..];
        loop {
            let mut riders = Some(std::mem::take(&mut control));
            let took = file.wait_until(cx, nonblocking, limit, || {
                let copies = riders.as_ref().map_or_else(Vec::new, |riders| riders.to_vec());
                let took = socket.send(cx, rest, flags, to, copies)?;
                riders = None;
                Ok(took)
            });
            let took = match took {
                Err(_) if sent > 0 => return Ok(sent),
                Err(Errno::EPIPE) => return Err(broken_pipe(cx, file, socket, flags)),
                took => took?,
            };
            sent += took;
            rest = &rest[took.min(rest.len())..];
            if rest.is_empty() || !stream {
                break;
            }
        }
        if !stream || sent >= total {
            return Ok(sent);
        }
    }
}

/// Raises SIGPIPE, unless somebody said not to; only streams do.
fn broken_pipe(cx: &Cx<'_>, file: &OpenFile, socket: &dyn Socket, flags: i32) -> Errno {
    let option = socket.option(SOL_SOCKET, SO_NOSIGPIPE, 4).unwrap_or_default();
    let quiet = flags & MSG_NOSIGNAL != 0 || file.flags() & O_NOSIGPIPE != 0 || option.iter().any(|byte| *byte != 0);
    if !quiet && socket.domain().1 == SOCK_STREAM {
        cx.mem.raise(SIGPIPE);
    }
    Errno::EPIPE
}

/// Receives into `segments`: with `MSG_WAITALL` until they are full, otherwise once.
pub(super) fn recv(cx: &Cx<'_>, file: &OpenFile, segments: &[Segment], flags: i32) -> Result<Received> {
    let socket = file.socket()?;
    let total = total(segments)?;
    let stream = socket.domain().1 == SOCK_STREAM;
    let nonblocking = file.nonblocking() || flags & MSG_DONTWAIT != 0;
    let limit = deadline(cx, socket.time_limits().0);
    let all = stream && flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0;
    let mut buf = vec![0; total.min(CHUNK)];
    let mut whole = Received::default();
    loop {
        let want = (total - whole.len).min(CHUNK);
        let got = file.wait_until(cx, nonblocking, limit, || socket.recv(cx, &mut buf[..want], flags));
        let got = match got {
            Err(_) if whole.len > 0 => return Ok(whole),
            got => got?,
        };
        scatter(cx, segments, whole.len, &buf[..got.len])?;
        let ended = got.len == 0;
        // `MSG_TRUNC` asks for the length of the whole message, as on Linux; NetBSD takes no notice.
        let len = if flags & MSG_TRUNC != 0 && !stream { got.full.max(got.len) } else { got.len };
        whole = Received { len: whole.len + len, full: got.full, control: whole.control, ..got };
        whole.control.extend(got.control);
        if !all || ended || whole.len >= total || !whole.control.is_empty() {
            return Ok(whole);
        }
    }
}

/// Returns the time at which a limit of `SO_RCVTIMEO` or `SO_SNDTIMEO` is over.
fn deadline(cx: &Cx<'_>, limit: Option<Duration>) -> Option<Duration> {
    limit.map(|limit| cx.kernel.clock.uptime() + limit)
}

/// Counts the bytes of `segments`; `EINVAL` if there are too many to count.
fn total(segments: &[Segment]) -> Result<usize> {
    let sum = segments.iter().try_fold(0usize, |sum, segment| sum.checked_add(segment.len));
    sum.filter(|sum| *sum <= isize::MAX as usize).ok_or(Errno::EINVAL)
}

/// Copies from the caller, beginning `skip` bytes into `segments`.
fn gather(cx: &Cx<'_>, segments: &[Segment], skip: usize, data: &mut [u8]) -> Result<()> {
    let mut rest = data;
    pieces(cx, segments, skip, rest.len(), |addr, len| {
        let (piece, behind) = std::mem::take(&mut rest).split_at_mut(len);
        rest = behind;
        cx.mem.fill(addr, piece)
    })
}

/// Copies to the caller, beginning `skip` bytes into `segments`.
fn scatter(cx: &Cx<'_>, segments: &[Segment], skip: usize, data: &[u8]) -> Result<()> {
    let mut rest = data;
    pieces(cx, segments, skip, rest.len(), |addr, len| {
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        cx.mem.store(addr, piece)
    })
}

/// Cuts a range of `segments` into the pieces that are copied at a time.
fn pieces(
    cx: &Cx<'_>,
    segments: &[Segment],
    mut skip: usize,
    mut len: usize,
    mut copy: impl FnMut(u64, usize) -> Result<()>,
) -> Result<()> {
    let unit = if cx.mem.extended() { CHUNK } else { CLUSTER };
    for segment in segments {
        let mut at = skip.min(segment.len);
        skip -= at;
        while at < segment.len && len > 0 {
            let piece = (segment.len - at).min(len).min(unit);
            let addr = if segment.addr == 0 { 0 } else { segment.addr.wrapping_add(at as u64) };
            copy(addr, piece)?;
            at += piece;
            len -= piece;
        }
    }
    Ok(())
}
