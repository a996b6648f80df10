//! Socket calls: socket, bind, listen, connect, accept, names, options, sendto, recvfrom, shutdown.

use std::sync::Arc;
use std::time::Duration;

use abi::fcntl::{O_NONBLOCK, O_NOSIGPIPE, O_RDWR};
use abi::signal::SIGPIPE;
use abi::socket::*;
use abi::{Errno, Fd, In, InOut, Out, Result};

use super::descriptor::{Segment, until_writable};
use crate::Cx;
use crate::file::{File, OpenFile};
use crate::net::{Control, Received, Socket};
use crate::scratch::Scratch;

/// The most that one operation of a socket moves.
const CHUNK: usize = 1 << 20;
/// What the original moves at a time (an mbuf cluster).
const CLUSTER: usize = 2048;
/// The longest option value.
const OPTION_MAX: u32 = 2048;

/// socket(2). `EPERM` for a raw socket of anybody but the superuser.
pub fn socket(cx: &Cx<'_>, domain: i32, kind: i32, protocol: i32) -> Result<Fd> {
    let raw = kind & !SOCK_FLAGS_MASK == SOCK_RAW && matches!(domain, AF_INET | AF_INET6);
    if raw && cx.proc.credentials().euid != 0 {
        return Err(Errno::EPERM);
    }
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
    let bound = socket.bind(cx, &address(cx, name.addr, namelen)?);
    file.changed();
    bound
}

/// listen(2).
pub fn listen(cx: &Cx<'_>, s: Fd, backlog: i32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let listens = file.socket()?.listen(cx, backlog);
    file.changed();
    listens
}

/// connect(2).
pub fn connect(cx: &Cx<'_>, s: Fd, name: In, namelen: u32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    let to = address(cx, name.addr, namelen)?;
    let limit = deadline(cx, socket.waits().send);
    let started = match socket.connect(cx, &to) {
        // A full listen queue of a local socket: Linux waits for room.
        Err(Errno::EAGAIN) => file.wait_until(cx, file.nonblocking(), limit, || socket.connect(cx, &to)),
        // Another thread's, or an interrupted one's, connect goes on.
        Err(Errno::EALREADY) if !file.nonblocking() => Err(Errno::EINPROGRESS),
        started => started,
    };
    file.changed();
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
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    let limit = deadline(cx, socket.waits().receive);
    let (accepted, peer) = file.wait_until(cx, file.nonblocking(), limit, || socket.accept(cx))?;
    let fd = install(cx, accepted, flags)?;
    match give_name(cx, name, anamelen, &peer) {
        Ok(()) => Ok(fd),
        Err(error) => {
            let _ = cx.proc.close(fd);
            Err(error)
        }
    }
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
    // Our own client may send a bare family: Linux's connect(2) to AF_UNSPEC, an unnamed local address.
    let shortest = if cx.mem.extended() { 2 } else { 3 };
    if !(shortest..=SOCK_MAXADDRLEN as u32).contains(&len) {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; SOCK_MAXADDRLEN];
    let bytes = &mut bytes[..len as usize];
    cx.mem.fill(addr, bytes)?;
    Sockaddr::parse(bytes)
}

/// setsockopt(2).
pub fn setsockopt(cx: &Cx<'_>, s: Fd, level: i32, name: i32, val: In, valsize: u32) -> Result<()> {
    let file = cx.proc.file(s)?;
    let socket = file.socket()?;
    if valsize > OPTION_MAX {
        return Err(Errno::EINVAL);
    }
    let value = cx.mem.read_bytes(val.addr, valsize as usize)?;
    let set = socket.set_option(cx, level, name, &value);
    if (level, name) == (SOL_SOCKET, SO_RCVTIMEO) {
        // Programs at shared streams are to know that a time limit has come into play, or has gone.
        file.file.status_changed(file.flags());
    }
    file.changed();
    set
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
    let file = cx.proc.file(s)?;
    let shut = file.socket()?.shutdown(how);
    file.changed();
    shut
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
#[inline(never)]
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
    let limit = deadline(cx, socket.waits().send);
    can_send(cx, file, socket, flags)?;
    let mut sent = 0;
    loop {
        let mut data = Scratch::new((total - sent).min(CHUNK));
        match gather(cx, segments, sent, &mut data) {
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => {
                until_writable(cx, file, nonblocking, limit)?;
                return Err(error);
            }
            Ok(()) => {}
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

/// Fails early on an internet stream that can send no more: before the caller's memory is asked for, as the original.
pub(super) fn can_send(cx: &Cx<'_>, file: &OpenFile, socket: &dyn Socket, flags: i32) -> Result<()> {
    if !matches!(socket.domain(), (AF_INET | AF_INET6, SOCK_STREAM, _)) {
        return Ok(());
    }
    match socket.send(cx, &[], flags, None, Vec::new()) {
        Ok(_) | Err(Errno::EAGAIN) => Ok(()),
        Err(Errno::EPIPE) => Err(broken_pipe(cx, file, socket, flags)),
        Err(errno) => Err(errno),
    }
}

/// Raises SIGPIPE, unless somebody said not to; only streams do.
pub(super) fn broken_pipe(cx: &Cx<'_>, file: &OpenFile, socket: &dyn Socket, flags: i32) -> Errno {
    let option = socket.option(SOL_SOCKET, SO_NOSIGPIPE, 4).unwrap_or_default();
    let quiet = flags & MSG_NOSIGNAL != 0 || file.flags() & O_NOSIGPIPE != 0 || option.iter().any(|byte| *byte != 0);
    if !quiet && socket.domain().1 == SOCK_STREAM {
        cx.mem.raise(SIGPIPE);
    }
    Errno::EPIPE
}

/// What a socket says that has nothing and gets nothing more: who would wait is told of the end, and who would not that there is nothing, as on
/// Linux. NetBSD tells both of the end.
pub(super) fn or_end<T: Default>(cx: &Cx<'_>, socket: &dyn Socket, nonblocking: bool, got: Result<T>) -> Result<T> {
    match got {
        Err(Errno::EAGAIN) if socket.is_ended() && !(nonblocking && cx.mem.extended()) => Ok(T::default()),
        got => got,
    }
}

/// Receives into `segments`: with `MSG_WAITALL` until they are full, who waits until there are so many as `SO_RCVLOWAT` says, otherwise once.
#[inline(never)]
pub(super) fn recv(cx: &Cx<'_>, file: &OpenFile, segments: &[Segment], flags: i32) -> Result<Received> {
    let socket = file.socket()?;
    let total = total(segments)?;
    let stream = socket.domain().1 == SOCK_STREAM;
    // Nobody waits for an error.
    let nonblocking = file.nonblocking() || flags & (MSG_DONTWAIT | MSG_ERRQUEUE) != 0;
    let waits = socket.waits();
    let limit = deadline(cx, waits.receive);
    let all = stream && flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0;
    let enough = match () {
        () if all => total,
        () if !stream || nonblocking || flags & (MSG_PEEK | MSG_OOB) != 0 => 0,
        () => waits.enough.min(total),
    };
    // What Linux's TCP takes it for; NetBSD takes no notice.
    let internet = matches!(socket.domain().0, AF_INET | AF_INET6);
    let thrown_away = stream && internet && flags & MSG_TRUNC != 0 && cx.mem.extended();
    let mut buf = Scratch::new(total.min(CHUNK));
    let mut whole = Received::default();
    loop {
        let want = (total - whole.len).min(CHUNK);
        let receive = || or_end(cx, socket, nonblocking, socket.recv(cx, &mut buf[..want], flags));
        let got = file.wait_until(cx, nonblocking, limit, receive);
        let got = match got {
            Err(_) if whole.len > 0 => return Ok(whole),
            // Who waits for no bytes waits for some to be there, but in vain is no failure: Linux's TCP.
            Err(Errno::EAGAIN) if total == 0 && internet && stream && !nonblocking => return Ok(whole),
            got => got?,
        };
        if !thrown_away {
            scatter(cx, segments, whole.len, &buf[..got.len])?;
        }
        let ended = got.len == 0 || got.at_mark;
        // `MSG_TRUNC` asks for the length of the whole message, as on Linux; NetBSD takes no notice.
        let len = if flags & MSG_TRUNC != 0 && !stream { got.full.max(got.len) } else { got.len };
        whole = Received { len: whole.len + len, full: got.full, control: whole.control, ..got };
        whole.control.extend(got.control);
        if ended || whole.len >= enough || !whole.control.is_empty() {
            return Ok(whole);
        }
    }
}

/// Returns the time at which a limit of `SO_RCVTIMEO` or `SO_SNDTIMEO` is over.
pub(super) fn deadline(cx: &Cx<'_>, limit: Option<Duration>) -> Option<Duration> {
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use abi::syscalls::nr;

    use super::*;
    use crate::Kernel;
    use crate::config::Config;
    use crate::proc::{Lwp, Proc, lock};
    use crate::rumpuser::Rumpuser;
    use crate::rumpuser::sim::SimHost;
    use crate::usermem::UserMem;

    /// A client whose memory begins at address 4096, and what was done to it.
    struct Client {
        kernel: Arc<Kernel>,
        proc: Arc<Proc>,
        memory: Mutex<Vec<u8>>,
        log: Mutex<Vec<(char, u64, usize)>>,
        extended: bool,
    }

    const BASE: u64 = 4096;

    impl UserMem for Client {
        fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
            lock(&self.log).push(('<', addr - BASE, buf.len()));
            let at = (addr - BASE) as usize;
            buf.copy_from_slice(lock(&self.memory).get(at..at + buf.len()).ok_or(Errno::EFAULT)?);
            Ok(())
        }
        fn copyinstr(&self, _addr: u64, _max: usize) -> Result<Vec<u8>> {
            Err(Errno::EFAULT)
        }
        fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
            lock(&self.log).push(('>', addr - BASE, data.len()));
            let at = (addr - BASE) as usize;
            lock(&self.memory).get_mut(at..at + data.len()).ok_or(Errno::EFAULT)?.copy_from_slice(data);
            Ok(())
        }
        fn raise(&self, signal: i32) {
            lock(&self.log).push(('!', signal as u64, 0));
        }
        fn extended(&self) -> bool {
            self.extended
        }
    }

    impl Client {
        fn new(extended: bool) -> Self {
            let config = Config { threads: false, ..Config::default() };
            let kernel = Kernel::boot(SimHost::new(1), config).unwrap();
            let proc = kernel.spawn(b"test").unwrap();
            let memory = Mutex::new(vec![0; 1 << 20]);
            Self { kernel, proc, memory, log: Mutex::default(), extended }
        }

        fn call(&self, nr: u32, args: &[u64]) -> Result<i64> {
            lock(&self.log).clear();
            let host: &dyn Rumpuser = &*self.kernel.rumpuser;
            let lwp = Lwp::new(host, 0);
            crate::syscall::syscall(&self.kernel, &self.proc, &lwp, nr, args, self).map(|ret| ret[0])
        }

        fn poke(&self, at: usize, bytes: &[u8]) {
            lock(&self.memory)[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn peek(&self, at: usize, len: usize) -> Vec<u8> {
            lock(&self.memory)[at..at + len].to_vec()
        }

        fn log(&self) -> Vec<(char, u64, usize)> {
            lock(&self.log).clone()
        }
    }

    const STREAM: u64 = SOCK_STREAM as u64;
    const INET: u64 = AF_INET as u64;
    const LOCAL: u64 = AF_LOCAL as u64;

    #[test]
    fn a_session_of_the_original_touches_the_same_memory() {
        let client = Client::new(false);
        assert_eq!(client.call(nr::socket, &[INET, STREAM, 0]), Ok(3));
        client.poke(0, &[2, 0, 0x10, 0x92, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        client.call(nr::bind, &[3, BASE, 16]).unwrap();
        client.call(nr::listen, &[3, 5]).unwrap();
        client.poke(100, &16u32.to_le_bytes());
        client.call(nr::getsockname, &[3, BASE, BASE + 100]).unwrap();
        assert_eq!(client.log(), [('<', 100, 4), ('>', 0, 16), ('>', 100, 4)]);
        assert_eq!(client.peek(0, 8), [16, 2, 0x10, 0x92, 127, 0, 0, 1]);
        assert_eq!(client.call(nr::socket, &[INET, STREAM, 0]), Ok(4));
        client.call(nr::connect, &[4, BASE, 16]).unwrap();
        assert_eq!(client.call(nr::accept, &[3, BASE, BASE + 100]), Ok(5));
        assert_eq!(client.log(), [('<', 100, 4), ('>', 0, 16), ('>', 100, 4)]);
        assert_eq!(client.call(nr::sendto, &[4, BASE + 200, 5000, 0, 0, 0]), Ok(5000));
        assert_eq!(client.log(), [('<', 200, 2048), ('<', 2248, 2048), ('<', 4296, 904)]);
        assert_eq!(client.call(nr::recvfrom, &[5, BASE + 200, 9000, 0, 0, 0]), Ok(5000));
        assert_eq!(client.log(), [('>', 200, 2048), ('>', 2248, 2048), ('>', 4296, 904)]);
        client.call(nr::close, &[5]).unwrap();
        assert_eq!(client.call(nr::sendto, &[4, BASE, 1, 0, 0, 0]), Ok(1));
        assert_eq!(client.call(nr::sendto, &[4, BASE, 1, 0, 0, 0]), Err(Errno::EPIPE));
        assert_eq!(client.log(), [('!', 13, 0)]);
        assert_eq!(client.call(nr::sendto, &[4, BASE, 1, MSG_NOSIGNAL as u64, 0, 0]), Err(Errno::EPIPE));
        assert_eq!(client.log(), []);
    }

    #[test]
    fn a_connect_is_refused_and_a_cut_datagram_tells_its_length() {
        let client = Client::new(true);
        assert_eq!(client.call(nr::socket, &[INET, STREAM, 0]), Ok(3));
        client.poke(0, &[16, 2, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(client.call(nr::connect, &[3, BASE, 16]), Err(Errno::ECONNREFUSED));
        assert_eq!(client.call(nr::socket, &[INET, SOCK_DGRAM as u64, 0]), Ok(4));
        client.poke(0, &[16, 2, 0, 53, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        client.call(nr::bind, &[4, BASE, 16]).unwrap();
        let flags = MSG_DONTWAIT as u64;
        assert_eq!(client.call(nr::recvfrom, &[4, BASE, 9, flags, 0, 0]), Err(Errno::EAGAIN));
        assert_eq!(client.call(nr::sendto, &[4, BASE, 3, 0, BASE, 16]), Ok(3));
        client.poke(100, &128u32.to_le_bytes());
        let trunc = MSG_TRUNC as u64;
        assert_eq!(client.call(nr::recvfrom, &[4, BASE + 500, 1, trunc, BASE + 200, BASE + 100]), Ok(3));
        assert_eq!(client.peek(100, 4), 16u32.to_le_bytes());
        assert_eq!(client.peek(200, 8), [16, 2, 0, 53, 127, 0, 0, 1]);
    }

    #[test]
    fn a_descriptor_travels_over_a_local_pair() {
        let client = Client::new(true);
        client.call(nr::socketpair, &[LOCAL, STREAM, 0, BASE]).unwrap();
        assert_eq!(client.peek(0, 8), [3, 0, 0, 0, 4, 0, 0, 0]);
        let iov = |base: u64, len: u64| [base.to_le_bytes(), len.to_le_bytes()].concat();
        client.poke(100, &iov(BASE + 200, 2));
        let mut control = Vec::new();
        Cmsg { level: SOL_SOCKET, kind: SCM_RIGHTS, data: &3i32.to_le_bytes() }.write(&mut control);
        client.poke(300, &control);
        let header = MsgHdr {
            msg_iov: BASE + 100,
            msg_iovlen: 1,
            msg_control: BASE + 300,
            msg_controllen: control.len() as u32,
            ..MsgHdr::default()
        };
        client.poke(400, zerocopy::IntoBytes::as_bytes(&header));
        client.poke(200, b"hi");
        assert_eq!(client.call(nr::sendmsg, &[3, BASE + 400, 0]), Ok(2));
        client.poke(300, &[0; 24]);
        assert_eq!(client.call(nr::recvmsg, &[4, BASE + 400, 0]), Ok(2));
        assert_eq!(client.peek(316, 4), 5i32.to_le_bytes());
        assert_eq!(client.peek(200, 2), b"hi");
        client.poke(200, b"by");
        assert_eq!(client.call(nr::write, &[5, BASE + 200, 2]), Ok(2));
        assert_eq!(client.call(nr::read, &[4, BASE + 600, 10]), Ok(2));
        assert_eq!(client.peek(600, 2), b"by");
    }

    #[test]
    fn a_name_in_the_file_name_space_leads_to_its_socket() {
        let client = Client::new(true);
        assert_eq!(client.call(nr::socket, &[LOCAL, STREAM, 0]), Ok(3));
        client.poke(0, b"\x0b\x01/tmp/sock");
        client.call(nr::bind, &[3, BASE, 11]).unwrap();
        assert_eq!(client.call(nr::socket, &[LOCAL, STREAM, 0]), Ok(4));
        assert_eq!(client.call(nr::bind, &[4, BASE, 11]), Err(Errno::EADDRINUSE));
        assert_eq!(client.call(nr::connect, &[4, BASE, 11]), Err(Errno::ECONNREFUSED));
        client.call(nr::listen, &[3, 1]).unwrap();
        client.call(nr::connect, &[4, BASE, 11]).unwrap();
        assert_eq!(client.call(nr::accept, &[3, 0, 0]), Ok(5));
        client.poke(100, &128u32.to_le_bytes());
        client.call(nr::getpeername, &[4, BASE + 200, BASE + 100]).unwrap();
        assert_eq!(client.peek(200, 12), b"\x0c\x01/tmp/sock\0");
        client.call(nr::close, &[5]).unwrap();
        assert_eq!(client.call(nr::read, &[4, BASE, 1]), Ok(0));
    }

    #[test]
    fn interfaces_are_listed_one_request_an_address() {
        let client = Client::new(true);
        assert_eq!(client.call(nr::socket, &[INET, SOCK_DGRAM as u64, 0]), Ok(3));
        client.poke(0, &[&4096u64.to_le_bytes()[..], &(BASE + 1000).to_le_bytes()].concat());
        client.call(nr::ioctl, &[3, abi::ioctl::SIOCGIFCONF, BASE]).unwrap();
        assert_eq!(client.peek(0, 4), (4 * 144u32).to_le_bytes());
        assert_eq!(client.peek(1144, 24), b"lo0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\x02\0\0\x7f\0\0\x01");
        client.call(nr::ioctl, &[3, abi::ioctl::SIOCGIFFLAGS, BASE + 1000]).unwrap();
        assert_eq!(client.peek(1016, 2), [0x49, 0x80]);
    }
}
