//! ioctl(2) that changes interfaces: what ifconfig(8) does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use abi::ioctl::*;
use abi::socket::Sockaddr;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address, Ipv6Address};

use super::{UNION, put};
use crate::Cx;
use crate::dev::net::{KINDS, WRAPPERS};
use crate::net::stack::{Base, Inet};

/// Where the members of `struct ifaliasreq` begin: the address, the broadcast address, the mask.
const ALIAS: [usize; 3] = [16, 32, 48];
/// Where those of `struct in6_aliasreq` begin: the address, the mask.
const ALIAS6: [usize; 2] = [16, 72];
/// Where those of `struct ifdrv` begin: the command, the length, the address.
const DRIVER: [usize; 3] = [16, 24, 32];
/// Commands of the link string: to ask for its length, and to take it away.
const LINKSTR_QUERY: u64 = 1;
const LINKSTR_UNSET: u64 = 2;
/// The longest text that a driver takes (`E2BIG` beyond).
const TEXT: u64 = 4096;
/// Length of a struct sockaddr_in6.
const SOCKADDR6: usize = 28;

/// The commands that change something, or tell what only a change needs to know.
const CHANGES: [u64; 15] = [
    SIOCIFCREATE,
    SIOCIFDESTROY,
    SIOCIFGCLONERS,
    SIOCSIFFLAGS,
    SIOCSIFMTU,
    SIOCSIFADDR,
    SIOCAIFADDR,
    SIOCDIFADDR,
    SIOCSIFNETMASK,
    SIOCAIFADDR_IN6,
    SIOCDIFADDR_IN6,
    SIOCGLINKSTR,
    SIOCSLINKSTR,
    SIOCGDRVSPEC,
    SIOCSDRVSPEC,
];

/// Whether a command is served here.
pub fn is_change(command: u64) -> bool {
    CHANGES.contains(&command)
}

/// Serves such a command. `EPERM` for who may not, `ENXIO` without the interface.
pub fn change(cx: &Cx<'_>, inet: &Arc<Inet>, command: u64, data: &mut [u8]) -> Result<()> {
    let asks = matches!(command, SIOCIFGCLONERS | SIOCGLINKSTR | SIOCGDRVSPEC);
    if !asks && !cx.proc.credentials().privileged() {
        return Err(Errno::EPERM);
    }
    if command == SIOCIFGCLONERS {
        return cloners(cx, data);
    }
    let name = name(data)?;
    match command {
        SIOCIFCREATE => return inet.create(&name),
        SIOCIFDESTROY => return inet.destroy(&name),
        SIOCGLINKSTR => return link_string(cx, inet, &name, data),
        SIOCSLINKSTR => return set_link_string(cx, inet, &name, data),
        SIOCGDRVSPEC => return wrappers(cx, inet, &name, data),
        SIOCSDRVSPEC => return set_wrapper(cx, inet, &name, data),
        _ => {}
    }
    inet.with(|stack| {
        let base = &mut stack.base;
        let at = base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
        match command {
            SIOCSIFFLAGS => {
                let flags = data.get(UNION..).and_then(|data| data.first_chunk()).ok_or(Errno::EINVAL)?;
                base.set_up(at, i32::from(u16::from_le_bytes(*flags)) & IFF_UP != 0)
            }
            SIOCSIFMTU => {
                let mtu = data.get(UNION..).and_then(|data| data.first_chunk()).ok_or(Errno::EINVAL)?;
                let mtu = usize::try_from(i32::from_le_bytes(*mtu)).map_err(|_| Errno::EINVAL)?;
                base.links[at].set_mtu(base.now, mtu)
            }
            SIOCSIFADDR => {
                let addr = v4(data, UNION)?;
                replace(base, at, IpCidr::new(addr.into(), class_prefix(addr)))
            }
            SIOCSIFNETMASK => {
                let prefix = prefix(&v4(data, UNION)?.octets())?;
                let first = base.links[at].addrs.iter().find(|cidr| matches!(cidr, IpCidr::Ipv4(_)));
                let addr = first.ok_or(Errno::EADDRNOTAVAIL)?.address();
                replace(base, at, IpCidr::new(addr, prefix))
            }
            SIOCAIFADDR => {
                let addr = v4(data, ALIAS[0])?;
                let prefix = match v4(data, ALIAS[2]) {
                    Ok(mask) => prefix(&mask.octets())?,
                    Err(_) => class_prefix(addr),
                };
                base.add_address(at, IpCidr::new(addr.into(), prefix))
            }
            SIOCDIFADDR => {
                let addr = v4(data, UNION).map(IpAddress::from)?;
                base.remove_address(at, &addr)
            }
            SIOCAIFADDR_IN6 => {
                let prefix = v6(data, ALIAS6[1]).map_or(Ok(64), |mask| prefix(&mask.octets()))?;
                base.add_address(at, IpCidr::new(v6(data, ALIAS6[0])?.into(), prefix))
            }
            SIOCDIFADDR_IN6 => base.remove_address(at, &v6(data, UNION)?.into()),
            _ => Err(Errno::ENOTTY),
        }
    })
}

/// The name that a request begins with.
fn name(data: &[u8]) -> Result<String> {
    let field = data.get(..IFNAMSIZ).ok_or(Errno::ENOTTY)?;
    let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(name.to_vec()).map_err(|_| Errno::EINVAL)
}

fn v4(data: &[u8], at: usize) -> Result<Ipv4Address> {
    match Sockaddr::parse(data.get(at..at + 16).ok_or(Errno::EINVAL)?) {
        Ok(Sockaddr::Inet { addr, .. }) => Ok(addr.into()),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

fn v6(data: &[u8], at: usize) -> Result<Ipv6Address> {
    match Sockaddr::parse(data.get(at..at + SOCKADDR6).ok_or(Errno::EINVAL)?) {
        Ok(Sockaddr::Inet6 { addr, .. }) => Ok(addr.into()),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The length of the prefix that a mask is; `EINVAL` for one with holes.
fn prefix(mask: &[u8]) -> Result<u8> {
    let bits = |byte: &u8| (0..8).rev().map(move |bit| byte >> bit & 1 != 0).collect::<Vec<_>>();
    let bits: Vec<bool> = mask.iter().flat_map(bits).collect();
    let ones = bits.iter().take_while(|bit| **bit).count();
    if bits[ones..].contains(&true) { Err(Errno::EINVAL) } else { Ok(ones as u8) }
}

/// The prefix of an address without a mask, by its class.
fn class_prefix(addr: Ipv4Address) -> u8 {
    match addr.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// Sets the first IPv4 address of an interface.
fn replace(base: &mut Base, at: usize, cidr: IpCidr) -> Result<()> {
    let first = base.links[at].addrs.iter().find(|cidr| matches!(cidr, IpCidr::Ipv4(_))).copied();
    if let Some(first) = first.filter(|first| *first != cidr) {
        base.remove_address(at, &first.address())?;
    }
    base.add_address(at, cidr)
}

/// Lists what can be created (`ifconfig -C`).
fn cloners(cx: &Cx<'_>, data: &mut [u8]) -> Result<()> {
    let word = |at: usize| data.get(at..).and_then(|data| data.first_chunk()).map(|word| i32::from_le_bytes(*word));
    let room = usize::try_from(word(4).ok_or(Errno::EINVAL)?).map_err(|_| Errno::EINVAL)?;
    let buffer = data.get(8..).and_then(|data| data.first_chunk()).ok_or(Errno::EINVAL)?;
    let buffer = u64::from_le_bytes(*buffer);
    let kinds: Vec<_> = KINDS.iter().map(|(kind, _)| *kind).filter(|kind| *kind != "lo").collect();
    if buffer != 0 {
        for (at, kind) in kinds.iter().take(room).enumerate() {
            let mut field = [0; IFNAMSIZ];
            put(&mut field, 0, kind.as_bytes());
            cx.mem.store(buffer + (at * IFNAMSIZ) as u64, &field)?;
        }
    }
    put(data, 0, &(kinds.len() as i32).to_le_bytes());
    put(data, 4, &(kinds.len().min(room) as i32).to_le_bytes());
    Ok(())
}

/// Command, length and address of a `struct ifdrv`.
fn driver(data: &[u8]) -> Result<[u64; 3]> {
    let mut fields = [0; 3];
    for (field, at) in fields.iter_mut().zip(DRIVER) {
        *field = u64::from_le_bytes(*data.get(at..).and_then(|data| data.first_chunk()).ok_or(Errno::EINVAL)?);
    }
    Ok(fields)
}

/// Gives a text to who asks, with its NUL; `ENAMETOOLONG` if there is no room.
fn give(cx: &Cx<'_>, data: &mut [u8], mut text: Vec<u8>) -> Result<()> {
    let [command, room, buffer] = driver(data)?;
    text.push(0);
    if command == LINKSTR_QUERY {
        put(data, DRIVER[1], &(text.len() as u64).to_le_bytes());
        return Ok(());
    }
    if room < text.len() as u64 {
        return Err(Errno::ENAMETOOLONG);
    }
    cx.mem.store(buffer, &text)
}

/// Takes a text that ends with a NUL.
fn take(cx: &Cx<'_>, data: &[u8]) -> Result<Vec<u8>> {
    let [_, len, buffer] = driver(data)?;
    match len {
        0 => return Err(Errno::EINVAL),
        1..=TEXT => {}
        _ => return Err(Errno::E2BIG),
    }
    let mut text = vec![0; len as usize];
    cx.mem.copyin(buffer, &mut text)?;
    let end = text.iter().position(|byte| *byte == 0).ok_or(Errno::EINVAL)?;
    text.truncate(end);
    Ok(text)
}

fn link_string(cx: &Cx<'_>, inet: &Inet, name: &str, data: &mut [u8]) -> Result<()> {
    let text = inet.look(|stack| {
        let at = stack.base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
        stack.base.links[at].device.link_string()
    })?;
    give(cx, data, text)
}

/// Files of the host may be named only by who is on it.
fn set_link_string(cx: &Cx<'_>, inet: &Arc<Inet>, name: &str, data: &[u8]) -> Result<()> {
    match driver(data)?[0] {
        0 => {
            let text = take(cx, data)?;
            if !cx.mem.on_host() {
                return Err(Errno::EPERM);
            }
            inet.set_link_string(name, Some(Path::new(OsStr::from_bytes(&text))))
        }
        LINKSTR_UNSET => inet.set_link_string(name, None),
        _ => Err(Errno::EINVAL),
    }
}

/// Tells which wrappers are around a device: a line each, its kind and how it is set.
fn wrappers(cx: &Cx<'_>, inet: &Inet, name: &str, data: &mut [u8]) -> Result<()> {
    let text = inet.with(|stack| {
        let at = stack.base.link_by_name(name.as_bytes()).ok_or(Errno::ENXIO)?;
        let mut device = &mut stack.base.links[at].device;
        let mut lines = Vec::new();
        while let Some((kind, words)) = device.wrapper() {
            lines.push(format!("{kind} {words}"));
            match device.inner() {
                Some(inner) => device = inner,
                None => break,
            }
        }
        Ok(lines.join("\n"))
    })?;
    give(cx, data, text.into_bytes())
}

/// Puts a wrapper around a device, or changes it: an extension, by the name of the kind of wrapper and words for it.
fn set_wrapper(cx: &Cx<'_>, inet: &Inet, name: &str, data: &[u8]) -> Result<()> {
    let text = String::from_utf8(take(cx, data)?).map_err(|_| Errno::EINVAL)?;
    let (kind, words) = text.split_once(' ').unwrap_or((&text, ""));
    let to_host = WRAPPERS.iter().any(|(known, _)| *known == kind && kind == "pcap") && words != "off";
    if to_host && !cx.mem.on_host() {
        return Err(Errno::EPERM);
    }
    inet.wrap(name, kind, words)
}
