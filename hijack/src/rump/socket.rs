//! Sockets: socket(2), bind(2), connect(2), accept(2), send(2), recv(2) and the names of both ends.
//!
//! Addresses are translated both ways. An address that does not fit is cut, and its full length told, as on Linux. A path that
//! the program would open under the prefix names the same file here: `bind("/rump/tmp/s")` is the rump
//! kernel's `/tmp/s` (the original takes it literally), and is told with the prefix.

use abi::socket::{self, AF_INET6, AddressBytes, SOCK_CLOEXEC, SOCK_MAXADDRLEN, Sockaddr};
use abi::{Errno, Fd, In, InOut, Out, Result};
use client::stubs;
use spec::PathClass;

use super::bad_memory::{Way, taking, to_fill};
use super::file::MAX_TRANSFER;
use super::kernel;
use crate::config;
use crate::fds::{NewFd, RumpFd};
use crate::{process, user};

pub use super::message::{recvmmsg, recvmsg, sendmmsg, sendmsg};
pub use super::option::{getsockopt, setsockopt};

/// Longest address that Linux takes.
const LINUX_ADDRESS: usize = 128;

/// See socket(2).
///
/// `EAFNOSUPPORT` for a family that the rump kernel lacks (packet sockets, and netlink on an original server), `EINVAL` for unknown flags.
pub fn socket(domain: i32, kind: i32, protocol: i32) -> Result<NewFd> {
    let family = socket::family_from_linux(domain).ok_or(Errno::EAFNOSUPPORT)?;
    let kind = socket::socket_type_from_linux(kind)?;
    let kernel = kernel()?;
    let fd = stubs::socket(kernel, family, kind, protocol).map_err(|error| unsupported(error, protocol))?;
    if family == AF_INET6 {
        // Linux's default; NetBSD's is the opposite, and a raw socket has no such option.
        let off = 0i32;
        let _ = stubs::setsockopt(kernel, fd, socket::IPPROTO_IPV6, socket::IPV6_V6ONLY, In::new(&off), 4);
    }
    Ok(new(fd, kind))
}

/// Linux's word for a type or protocol that does not fit: NetBSD has one for both.
fn unsupported(error: Errno, protocol: i32) -> Errno {
    match (error, protocol) {
        (Errno::EPROTOTYPE, 0) => Errno::ESOCKTNOSUPPORT,
        (Errno::EPROTOTYPE, _) => Errno::EPROTONOSUPPORT,
        _ => error,
    }
}

fn new(Fd(fd): Fd, kind: i32) -> NewFd {
    NewFd { fd: RumpFd(fd), cloexec: kind & SOCK_CLOEXEC != 0 }
}

/// See socketpair(2); the caller stores the two numbers.
pub fn socketpair(domain: i32, kind: i32, protocol: i32) -> Result<[NewFd; 2]> {
    let family = socket::family_from_linux(domain).ok_or(Errno::EAFNOSUPPORT)?;
    let kind = socket::socket_type_from_linux(kind)?;
    let mut pair = [0i32; 2];
    let made = stubs::socketpair(kernel()?, family, kind, protocol, Out::new(&mut pair));
    made.map_err(|error| unsupported(error, protocol))?;
    Ok(pair.map(|fd| new(Fd(fd), kind)))
}

/// Reads an address of the program and makes NetBSD's of it.
///
/// `EINVAL` for a length that no address has, `EFAULT` for one that cannot be read.
pub(super) fn address_in(addr: usize, len: i32) -> Result<AddressBytes> {
    let mut bytes = [0; LINUX_ADDRESS];
    let bytes = usize::try_from(len).ok().and_then(|len| bytes.get_mut(..len)).ok_or(Errno::EINVAL)?;
    user::read_bytes(addr, bytes)?;
    Ok(below_prefix(Sockaddr::from_linux(bytes)?).encode())
}

/// As [`address_in`], for a socket: `EAFNOSUPPORT` for an address of another family that is as long as the socket's own must be.
fn address_for(fd: RumpFd, addr: usize, len: i32) -> Result<AddressBytes> {
    address_in(addr, len).map_err(|error| refused(fd, addr, len, error))
}

/// Linux's word for an address that was refused: it looks at the length first, as its own family has it, then at the family.
fn refused(fd: RumpFd, addr: usize, len: i32, error: Errno) -> Errno {
    let Ok(own) = super::option::family(fd) else { return error };
    let (shortest, other) = match own {
        socket::AF_INET => (INET_LEN, Errno::EAFNOSUPPORT),
        AF_INET6 => (INET6_LEN, Errno::EAFNOSUPPORT),
        _ => (size_of::<u16>() as i32, Errno::EINVAL),
    };
    let given = user::read::<u16>(addr).map(|family| socket::family_from_linux(family.into()));
    match (error, given) {
        (Errno::EINVAL | Errno::EAFNOSUPPORT, _) if !(shortest..=LINUX_ADDRESS as i32).contains(&len) => Errno::EINVAL,
        (Errno::EINVAL | Errno::EAFNOSUPPORT, Ok(given)) if given != Some(own) => other,
        _ => error,
    }
}

/// Length of the shortest IPv4 address.
const INET_LEN: i32 = 16;
/// Length of the shortest IPv6 address, which is one without a scope (RFC 2133).
const INET6_LEN: i32 = 24;

/// Takes the prefix off the path of a local address.
fn below_prefix(address: Sockaddr) -> Sockaddr {
    let (Sockaddr::Local(path), Some(spec)) = (&address, config()) else { return address };
    match spec.classify(path, true) {
        PathClass::Rump(prefix @ 1..) => {
            let rest = path.get(prefix..).filter(|rest| !rest.is_empty());
            Sockaddr::Local(rest.unwrap_or(b"/").to_vec())
        }
        _ => address,
    }
}

/// Puts the prefix before the path of a local address, so that it names for the program what it names for the kernel.
fn above_prefix(address: Sockaddr) -> Sockaddr {
    match (&address, config()) {
        (Sockaddr::Local(path), Some(spec)) if path.first() == Some(&b'/') => Sockaddr::Local(spec.visible_cwd(path)),
        _ => address,
    }
}

/// Room for an address that the kernel gives.
pub(super) struct AddressOut {
    bytes: [u8; SOCK_MAXADDRLEN],
    len: u32,
}

impl AddressOut {
    /// Makes the room.
    pub fn new() -> Self {
        Self { bytes: [0; SOCK_MAXADDRLEN], len: SOCK_MAXADDRLEN as u32 }
    }

    /// The arguments of a call that fills it.
    pub fn args(&mut self) -> (Out, InOut) {
        (Out::new(&mut self.bytes), InOut::new(&mut self.len))
    }

    /// The address of `len` bytes in Linux's layout; empty if the kernel gave none.
    pub fn given(&self, len: u32) -> AddressBytes {
        let given = self.bytes.get(..len as usize).unwrap_or_default();
        Sockaddr::parse(given).map(|address| above_prefix(address).to_linux()).unwrap_or_default()
    }

    /// The family of the address, NetBSD's number.
    pub fn family(&self) -> i32 {
        let [_, family, ..] = self.bytes;
        family.into()
    }

    /// Stores the address and its length as Linux does; `room` is what [`room`] read.
    fn store(&self, addr: usize, len_addr: usize, room: usize) -> Result<()> {
        let bytes = self.given(self.len);
        user::write_bytes(addr, bytes.get(..room).unwrap_or(&bytes))?;
        user::write(len_addr, &(bytes.len() as u32))
    }
}

/// Reads how much room the program has for an address; `EINVAL` if it says a negative length.
fn room(len_addr: usize) -> Result<usize> {
    usize::try_from(user::read::<i32>(len_addr)?).map_err(|_| Errno::EINVAL)
}

/// See bind(2).
pub fn bind(fd: RumpFd, addr: usize, len: i32) -> Result<usize> {
    let mut address = address_for(fd, addr, len)?;
    if any_of_no_family(fd, addr, len) {
        address = Sockaddr::from_linux(&inet_any(addr)?)?.encode();
    }
    let bound = stubs::bind(kernel()?, fd.fd(), In::new(address.as_slice()), address.len() as u32);
    bound.map_err(|error| refused(fd, addr, len, error))?;
    Ok(0)
}

/// Whether an address is 0.0.0.0 without a family, which bind(2) of an IPv4 socket takes on Linux since programs of old give it.
fn any_of_no_family(fd: RumpFd, addr: usize, len: i32) -> bool {
    let given = user::read::<[u16; 4]>(addr);
    len >= INET_LEN
        && matches!(given, Ok([0, _, 0, 0]))
        && super::option::family(fd).is_ok_and(|family| family == socket::AF_INET)
}

/// The address to send to; one without a family is IPv4's to a socket of IPv4, as on Linux.
pub(super) fn destination(fd: RumpFd, addr: usize, len: i32) -> Result<AddressBytes> {
    let address = address_for(fd, addr, len)?;
    let no_family = len >= INET_LEN && user::read::<u16>(addr) == Ok(0);
    if no_family && super::option::family(fd) == Ok(socket::AF_INET) {
        return Ok(Sockaddr::from_linux(&inet_any(addr)?)?.encode());
    }
    Ok(address)
}

/// The address at `addr` with its family put right.
fn inet_any(addr: usize) -> Result<[u8; INET_LEN as usize]> {
    let mut bytes: [u8; INET_LEN as usize] = user::read(addr)?;
    let family = (libc::AF_INET as u16).to_ne_bytes();
    bytes.iter_mut().zip(family).for_each(|(to, from)| *to = from);
    Ok(bytes)
}

/// See connect(2).
pub fn connect(fd: RumpFd, addr: usize, len: i32) -> Result<usize> {
    let address = address_for(fd, addr, len)?;
    let done = stubs::connect(kernel()?, fd.fd(), In::new(address.as_slice()), address.len() as u32);
    done.map_err(|error| refused(fd, addr, len, error))?;
    Ok(0)
}

/// See listen(2).
pub fn listen(fd: RumpFd, backlog: i32) -> Result<usize> {
    stubs::listen(kernel()?, fd.fd(), backlog)?;
    Ok(0)
}

/// See accept4(2).
pub fn accept4(fd: RumpFd, addr: usize, len_addr: usize, flags: i32) -> Result<NewFd> {
    let flags = socket::sock_flags_from_linux(flags)?;
    let kernel = kernel()?;
    let mut peer = AddressOut::new();
    let (name, len) = peer.args();
    let fd = stubs::paccept(kernel, fd.fd(), name, len, In::NULL, flags)?;
    if addr != 0
        && let Err(error) = room(len_addr).and_then(|room| peer.store(addr, len_addr, room))
    {
        // As on Linux: the connection is lost with the bad address.
        stubs::close(kernel, fd)?;
        return Err(error);
    }
    Ok(new(fd, flags))
}

/// See getsockname(2).
pub fn getsockname(fd: RumpFd, addr: usize, len_addr: usize) -> Result<usize> {
    let room = room(len_addr)?;
    let mut own = AddressOut::new();
    let (name, len) = own.args();
    stubs::getsockname(kernel()?, fd.fd(), name, len)?;
    own.store(addr, len_addr, room)?;
    Ok(0)
}

/// See getpeername(2).
pub fn getpeername(fd: RumpFd, addr: usize, len_addr: usize) -> Result<usize> {
    let room = room(len_addr)?;
    let mut peer = AddressOut::new();
    let (name, len) = peer.args();
    stubs::getpeername(kernel()?, fd.fd(), name, len)?;
    peer.store(addr, len_addr, room)?;
    Ok(0)
}

/// See shutdown(2); the ways are the same on both.
pub fn shutdown(fd: RumpFd, how: i32) -> Result<usize> {
    stubs::shutdown(kernel()?, fd.fd(), how)?;
    Ok(0)
}

/// The flags of a call that sends. A NetBSD server knows no `MSG_MORE`: it sends at once.
pub fn send_flags(flags: i32) -> Result<i32> {
    let flags = socket::msg_flags_from_linux(flags)?;
    match process::remote() {
        Some(remote) if flags & socket::MSG_MORE != 0 && !remote.extended() => Ok(flags & !socket::MSG_MORE),
        _ => Ok(flags),
    }
}

/// The flags of a call that receives. A NetBSD server has no queue of errors: it is empty.
pub fn receive_flags(flags: i32) -> Result<i32> {
    let flags = socket::msg_flags_from_linux(flags)?;
    match process::remote() {
        Some(remote) if flags & socket::MSG_ERRQUEUE != 0 && !remote.extended() => Err(Errno::EAGAIN),
        _ => Ok(flags),
    }
}

/// See sendto(2).
pub fn sendto(fd: RumpFd, buf: usize, len: usize, flags: i32, addr: usize, addr_len: i32) -> Result<usize> {
    let flags = send_flags(flags)?;
    let len = len.min(MAX_TRANSFER);
    let address = if addr == 0 { AddressBytes::new() } else { destination(fd, addr, addr_len)? };
    let (to, to_len) = (In::new(address.as_slice()), address.len() as u32);
    let to = if addr == 0 { In::NULL } else { to };
    let sent = taking(fd, buf, len, Way::Socket(flags), |len| {
        stubs::sendto(kernel()?, fd.fd(), In::at(buf as u64, len), len, flags, to, to_len)
    });
    sent.map_err(|error| if addr == 0 { error } else { refused(fd, addr, addr_len, error) })
}

/// See recvfrom(2).
pub fn recvfrom(fd: RumpFd, buf: usize, len: usize, flags: i32, addr: usize, len_addr: usize) -> Result<usize> {
    let flags = receive_flags(flags)?;
    let len = to_fill(fd, buf, len.min(MAX_TRANSFER), Way::Socket(flags))?;
    let data = Out::at(buf as u64, len);
    if addr == 0 {
        return stubs::recvfrom(kernel()?, fd.fd(), data, len, flags, Out::NULL, InOut::NULL);
    }
    let mut from = AddressOut::new();
    let (name, name_len) = from.args();
    let received = stubs::recvfrom(kernel()?, fd.fd(), data, len, flags, name, name_len)?;
    // As on Linux: what was received is lost with a bad address.
    from.store(addr, len_addr, room(len_addr)?)?;
    Ok(received)
}
