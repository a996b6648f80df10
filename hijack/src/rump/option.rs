//! getsockopt(2) and setsockopt(2).
//!
//! `abi` says which option is which and what its value looks like; here stands what takes more than a translation.
//! An option that Linux has and the rump kernel lacks is `ENOPROTOOPT`, except for the hints of [`HINTS`], which change no result.

use abi::socket::{self, Kind, Sockaddr, SocketOption, Unpcbid};
use abi::{Errno, In, InOut, Out, Result};
use client::stubs;
use zerocopy::IntoBytes;

use super::kernel;
use super::socket::AddressOut;
use crate::fds::RumpFd;
use crate::user;

/// Length of Linux's struct sockaddr_storage.
const LINUX_ADDRESS: usize = 128;
/// Longest value of an option.
const VALUE: usize = 2048;

/// Buffer sizes that any kernel grants (`kern.sbmax`).
const BUFFER: i32 = 256 * 1024;

/// Options of Linux that a program may believe set although the rump kernel has no such thing, and why that is harmless.
/// The number is the highest value of which that is true.
const HINTS: &[(&str, i32)] = &[
    // The order of packets in a queue of a device.
    ("SO_PRIORITY", i32::MAX),
    // Which CPU works for the socket.
    ("SO_INCOMING_CPU", i32::MAX),
    // 1 (want) and 0 (do not) leave fragmentation to the kernel; 2 and 3 promise the program errors that would not come.
    ("IP_MTU_DISCOVER", 1),
    ("IPV6_MTU_DISCOVER", 1),
    // Into how many packets a datagram is cut; it arrives whole.
    ("IPV6_MTU", i32::MAX),
    // The queue of errors is always empty; a connected socket reports them as it does without. glibc's resolver insists on it.
    ("IP_RECVERR", i32::MAX),
    ("IPV6_RECVERR", i32::MAX),
    // When the port is chosen.
    ("IP_BIND_ADDRESS_NO_PORT", i32::MAX),
    // 0 is how BSD always does it.
    ("IP_MULTICAST_ALL", 0),
    ("IPV6_MULTICAST_ALL", 0),
    // When segments and acknowledgements leave; all the data does leave.
    ("TCP_CORK", i32::MAX),
    ("TCP_QUICKACK", i32::MAX),
    ("TCP_NOTSENT_LOWAT", i32::MAX),
    ("TCP_WINDOW_CLAMP", i32::MAX),
    // accept(2) returns before the first data, as Linux too may.
    ("TCP_DEFER_ACCEPT", i32::MAX),
    // The ordinary handshake serves the same peers.
    ("TCP_FASTOPEN", i32::MAX),
    ("TCP_FASTOPEN_CONNECT", i32::MAX),
];

/// See setsockopt(2).
pub fn setsockopt(fd: RumpFd, level: i32, name: i32, addr: usize, len: i32) -> Result<usize> {
    let len = usize::try_from(len).ok().filter(|len| *len <= VALUE).ok_or(Errno::EINVAL)?;
    if let (libc::IPPROTO_IP | libc::IPPROTO_IPV6, libc::MCAST_JOIN_GROUP | libc::MCAST_LEAVE_GROUP) = (level, name) {
        return group_request(fd, level, name == libc::MCAST_JOIN_GROUP, addr, len);
    }
    let option = socket::socket_option_from_linux(level, name).ok_or(Errno::ENOPROTOOPT)?;
    let mut value = vec![0; len];
    user::read_bytes(addr, &mut value)?;
    let value = socket::value_from_linux(option.kind, &value)?;
    if of_local_sockets(option) && !is_local(fd)? {
        // The number would mean something else there.
        return Err(Errno::EOPNOTSUPP);
    }
    if option.netbsd == (socket::SOL_SOCKET, socket::SO_SNDLOWAT) {
        return Err(Errno::ENOPROTOOPT);
    }
    if of_ip(option) && is_local(fd)? {
        return Err(Errno::EOPNOTSUPP);
    }
    match (set(fd, option.netbsd, &value), option.name) {
        (Ok(()), _) => Ok(0),
        (Err(Errno::ENOPROTOOPT), "SO_SNDBUFFORCE") => buffer(fd, socket::SO_SNDBUF, &value),
        (Err(Errno::ENOPROTOOPT), "SO_RCVBUFFORCE") => buffer(fd, socket::SO_RCVBUF, &value),
        (Err(Errno::ENOBUFS), "SO_SNDBUF") => buffer(fd, socket::SO_SNDBUF, &value),
        (Err(Errno::ENOBUFS), "SO_RCVBUF") => buffer(fd, socket::SO_RCVBUF, &value),
        (Err(Errno::ENOPROTOOPT), name) if is_hint(name, int(&value)) && applies(fd, level)? => Ok(0),
        (Err(error), _) => Err(unsettable(fd, level, error)),
    }
}

/// Joins or leaves a group by the interface of RFC 3678, which NetBSD lacks: by the older one, which says the same.
/// `EINVAL` for a value that is too short; for a group of another family than the level's `EINVAL` (IPv4) or `EADDRNOTAVAIL` (IPv6).
fn group_request(fd: RumpFd, level: i32, join: bool, addr: usize, len: usize) -> Result<usize> {
    /// Where the address begins in struct group_req.
    const GROUP: usize = 8;
    let mut value = vec![0; len];
    user::read_bytes(addr, &mut value)?;
    let interface: [u8; 4] = *value.first_chunk().ok_or(Errno::EINVAL)?;
    let group = value.get(GROUP..).filter(|group| group.len() >= LINUX_ADDRESS).ok_or(Errno::EINVAL)?;
    let (option, request) = match Sockaddr::from_linux(group.get(..LINUX_ADDRESS).unwrap_or(group))? {
        Sockaddr::Inet { addr, .. } if level == libc::IPPROTO_IP => {
            // NetBSD takes 0.x.x.x for the number of an interface.
            let [_, b, c, d] = u32::from_ne_bytes(interface).to_be_bytes();
            let name = if join { socket::IP_ADD_MEMBERSHIP } else { socket::IP_DROP_MEMBERSHIP };
            ((socket::IPPROTO_IP, name), [addr, [0, b, c, d]].concat())
        }
        Sockaddr::Inet6 { addr, .. } if level == libc::IPPROTO_IPV6 => {
            let name = if join { socket::IPV6_JOIN_GROUP } else { socket::IPV6_LEAVE_GROUP };
            ((socket::IPPROTO_IPV6, name), [&addr[..], &interface].concat())
        }
        _ if level == libc::IPPROTO_IP => return Err(Errno::EINVAL),
        _ => return Err(Errno::EADDRNOTAVAIL),
    };
    set(fd, option, &request)?;
    Ok(0)
}

/// Linux's word for an option that cannot be set: local sockets support no level but that of all sockets.
fn unsettable(fd: RumpFd, level: i32, error: Errno) -> Errno {
    match error {
        Errno::ENOPROTOOPT if level != libc::SOL_SOCKET && is_local(fd) == Ok(true) => Errno::EOPNOTSUPP,
        _ => error,
    }
}

/// Whether options of Linux's `level` are for a socket of this kind.
fn applies(fd: RumpFd, level: i32) -> Result<bool> {
    Ok(match level {
        libc::SOL_SOCKET => true,
        libc::IPPROTO_IP => !is_local(fd)?,
        libc::IPPROTO_IPV6 => family(fd)? == socket::AF_INET6,
        _ => protocol(fd)? == level,
    })
}

/// Linux's word for an option that cannot be read: IPv4 and local sockets say of a level that is not theirs at all that they do
/// not support it.
fn unreadable(fd: RumpFd, level: i32, error: Errno) -> Errno {
    let of_ipv6 = || family(fd).is_ok_and(|family| family == socket::AF_INET6);
    match error {
        Errno::ENOPROTOOPT if !applies(fd, level).unwrap_or(true) && !of_ipv6() => Errno::EOPNOTSUPP,
        _ => error,
    }
}

fn is_hint(name: &str, value: i32) -> bool {
    HINTS.iter().any(|(hint, most)| *hint == name && value <= *most)
}

/// Asks for a buffer of at most what every kernel grants: Linux cuts such a wish silently.
fn buffer(fd: RumpFd, name: i32, value: &[u8]) -> Result<usize> {
    let size = int(value).min(BUFFER);
    set(fd, (socket::SOL_SOCKET, name), &size.to_ne_bytes())?;
    Ok(0)
}

fn set(fd: RumpFd, (level, name): (i32, i32), value: &[u8]) -> Result<()> {
    stubs::setsockopt(kernel()?, fd.fd(), level, name, In::new(value), value.len() as u32)
}

/// Whether receiving or sending on a socket ends after some time (`SO_RCVTIMEO`, `SO_SNDTIMEO`); no for what is not a socket.
pub fn has_time_limit(fd: RumpFd) -> bool {
    [socket::SO_RCVTIMEO, socket::SO_SNDTIMEO].into_iter().any(|name| {
        let (mut limit, mut len) = ([0u8; 16], 16u32);
        let (value, room) = (Out::new(&mut limit), InOut::new(&mut len));
        let asked =
            kernel().and_then(|kernel| stubs::getsockopt(kernel, fd.fd(), socket::SOL_SOCKET, name, value, room));
        asked.is_ok() && limit != [0; 16]
    })
}

/// See getsockopt(2).
pub fn getsockopt(fd: RumpFd, level: i32, name: i32, addr: usize, len_addr: usize) -> Result<usize> {
    let room = usize::try_from(user::read::<i32>(len_addr)?).map_err(|_| Errno::EINVAL)?;
    let option = socket::socket_option_from_linux(level, name);
    let value = option.ok_or(Errno::ENOPROTOOPT).and_then(|option| value_of(fd, option, room.min(VALUE)));
    let mut value = value.map_err(|error| unreadable(fd, level, error))?;
    if level == libc::IPPROTO_IP && (1..size_of::<i32>()).contains(&room) && (0..=255).contains(&int(&value)) {
        // Of a small number Linux tells the byte to a caller who has no room for an int.
        value.truncate(1);
    }
    user::write_bytes(addr, value.get(..room).unwrap_or(&value))?;
    user::write(len_addr, &(value.len().min(room) as i32))?;
    Ok(0)
}

/// Whether the option is one of AF_LOCAL alone, whose level has NetBSD's number of `IPPROTO_IP`.
fn of_local_sockets(option: &SocketOption) -> bool {
    option.netbsd.0 == socket::SOL_LOCAL && option.linux.is_some_and(|(level, _)| level == libc::SOL_SOCKET)
}

/// Whether the option is one of IP, whose level has NetBSD's number of `SOL_LOCAL`.
fn of_ip(option: &SocketOption) -> bool {
    option.netbsd.0 == socket::IPPROTO_IP && option.linux.is_some_and(|(level, _)| level == libc::IPPROTO_IP)
}

/// Returns an option's value in Linux's layout.
fn value_of(fd: RumpFd, option: &SocketOption, room: usize) -> Result<Vec<u8>> {
    if of_local_sockets(option) {
        return local(fd, option, room);
    }
    if of_ip(option) && is_local(fd)? {
        return Err(Errno::EOPNOTSUPP);
    }
    if option.netbsd == (socket::SOL_SOCKET, socket::SO_SNDLOWAT) {
        // Linux has no such threshold, and says so by this number.
        return Ok(1i32.to_ne_bytes().to_vec());
    }
    let value = match (get(fd, option.netbsd, option.kind, room), option.name) {
        (Ok(value), _) => value,
        (Err(Errno::ENOPROTOOPT), "SO_DOMAIN") => family(fd)?.to_ne_bytes().to_vec(),
        (Err(Errno::ENOPROTOOPT), "SO_PROTOCOL") => protocol(fd)?.to_ne_bytes().to_vec(),
        // No socket is bound to one interface.
        (Err(Errno::ENOPROTOOPT), "SO_BINDTODEVICE") => Vec::new(),
        (Err(Errno::ENOPROTOOPT), name)
            if is_hint(name, 0) && option.linux.is_some_and(|(level, _)| applies(fd, level) == Ok(true)) =>
        {
            0i32.to_ne_bytes().to_vec()
        }
        (Err(error), _) => return Err(error),
    };
    let value = socket::value_to_linux(option.kind, &value);
    Ok(match (option.netbsd, option.kind) {
        // Linux counts the bookkeeping in and tells twice what was asked for.
        ((socket::SOL_SOCKET, socket::SO_SNDBUF | socket::SO_RCVBUF), _) => doubled(&value),
        // NetBSD tells a switch as its bit.
        ((socket::SOL_SOCKET, 0..=0xfff | socket::SO_TIMESTAMP), Kind::Int) => truth(&value),
        ((socket::IPPROTO_TCP, socket::TCP_NODELAY), _) => truth(&value),
        _ => value,
    })
}

fn doubled(value: &[u8]) -> Vec<u8> {
    int(value).saturating_mul(2).to_ne_bytes().to_vec()
}

fn truth(value: &[u8]) -> Vec<u8> {
    i32::from(int(value) != 0).to_ne_bytes().to_vec()
}

/// Reads a value's first four bytes; 0 if there are fewer.
fn int(value: &[u8]) -> i32 {
    value.first_chunk().map_or(0, |int| i32::from_ne_bytes(*int))
}

fn get(fd: RumpFd, (level, name): (i32, i32), kind: Kind, room: usize) -> Result<Vec<u8>> {
    let mut value = vec![0u8; socket::value_room(kind, room)];
    let mut len = value.len() as u32;
    let (out, out_len) = (Out::new(value.as_mut_slice()), InOut::new(&mut len));
    stubs::getsockopt(kernel()?, fd.fd(), level, name, out, out_len)?;
    value.truncate(len as usize);
    Ok(value)
}

/// Options of local sockets; on any other, and on one without a peer, Linux tells of nobody.
fn local(fd: RumpFd, option: &SocketOption, room: usize) -> Result<Vec<u8>> {
    let nobody = Unpcbid { unp_pid: 0, unp_euid: u32::MAX, unp_egid: u32::MAX };
    let peer = option.netbsd.1 == socket::LOCAL_PEEREID;
    if !is_local(fd)? {
        return Ok(if peer { nobody.as_bytes().to_vec() } else { 0i32.to_ne_bytes().to_vec() });
    }
    let room = if peer { size_of::<Unpcbid>() } else { room };
    match get(fd, option.netbsd, option.kind, room) {
        Ok(value) if peer => Ok(value),
        Ok(value) => Ok(truth(&value)),
        Err(Errno::ENOTCONN | Errno::EINVAL) if peer => Ok(nobody.as_bytes().to_vec()),
        Err(error) => Err(error),
    }
}

fn is_local(fd: RumpFd) -> Result<bool> {
    Ok(family(fd)? == socket::AF_LOCAL)
}

/// Returns a socket's family, which its own name begins with.
pub(super) fn family(fd: RumpFd) -> Result<i32> {
    let mut own = AddressOut::new();
    let (name, len) = own.args();
    stubs::getsockname(kernel()?, fd.fd(), name, len)?;
    Ok(own.family())
}

/// Returns the protocol that a socket's family and type have.
fn protocol(fd: RumpFd) -> Result<i32> {
    let family = family(fd)?;
    let kind = int(&get(fd, (socket::SOL_SOCKET, socket::SO_TYPE), Kind::Int, 4)?);
    Ok(match (family, kind) {
        (socket::AF_INET | socket::AF_INET6, socket::SOCK_STREAM) => socket::IPPROTO_TCP,
        (socket::AF_INET | socket::AF_INET6, socket::SOCK_DGRAM) => socket::IPPROTO_UDP,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_is_an_option_of_the_table() {
        for (hint, _) in HINTS {
            assert!(socket::OPTIONS.iter().any(|option| option.name == *hint), "{hint}");
        }
    }

    #[test]
    fn a_hint_is_one_up_to_its_value() {
        assert!(is_hint("IP_MTU_DISCOVER", 1));
        assert!(!is_hint("IP_MTU_DISCOVER", 2));
        assert!(!is_hint("TCP_USER_TIMEOUT", 1));
    }

    #[test]
    fn switches_are_one_and_buffers_double() {
        assert_eq!(truth(&4i32.to_ne_bytes()), 1i32.to_ne_bytes());
        assert_eq!(doubled(&1024i32.to_ne_bytes()), 2048i32.to_ne_bytes());
        assert_eq!(int(&[1]), 0);
    }
}
