//! The arguments of commands, both ways.

use zerocopy::{FromBytes, IntoBytes};

use super::{Argument, INTERFACE_FLAGS, Ifreq, Termios};
use crate::socket::{AF_INET, Sockaddr};
use crate::{Errno, Result, linux};

/// Translates the argument of a command of Linux. `EINVAL` when it is too short; `EAFNOSUPPORT` for an address of a family
/// that NetBSD lacks. An [`Argument::Ifconf`] stays as it is: see [`ifconf_to_linux`].
pub fn argument_from_linux(argument: Argument, value: &[u8]) -> Result<Vec<u8>> {
    match argument {
        Argument::Nothing => Ok(Vec::new()),
        Argument::Int => Ok(value.first_chunk::<4>().ok_or(Errno::EINVAL)?.to_vec()),
        Argument::Bytes | Argument::Ifconf => Ok(value.to_vec()),
        Argument::Termios => {
            let (termios, _) = linux::Termios::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
            Ok(Termios::from_linux(&termios).as_bytes().to_vec())
        }
        Argument::IfreqAddress | Argument::IfreqFlags | Argument::IfreqInt | Argument::IfreqBytes => {
            let (request, _) = linux::Ifreq::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
            Ok(ifreq_from_linux(argument, &request)?.as_bytes().to_vec())
        }
    }
}

/// Translates the argument that a command gave; one too short for its kind stays as it is.
pub fn argument_to_linux(argument: Argument, value: &[u8]) -> Vec<u8> {
    let translated = match argument {
        Argument::Nothing | Argument::Int | Argument::Bytes | Argument::Ifconf => None,
        Argument::Termios => {
            Termios::read_from_prefix(value).ok().map(|(termios, _)| termios.to_linux().as_bytes().to_vec())
        }
        Argument::IfreqAddress | Argument::IfreqFlags | Argument::IfreqInt | Argument::IfreqBytes => {
            let request = Ifreq::read_from_prefix(value).ok();
            request.map(|(request, _)| ifreq_to_linux(argument, &request).as_bytes().to_vec())
        }
    };
    translated.unwrap_or_else(|| value.to_vec())
}

/// Returns the length of the argument on Linux, whose old numbers do not tell; `len` is NetBSD's.
pub const fn linux_argument_len(argument: Argument, len: usize) -> usize {
    match argument {
        Argument::Termios => size_of::<linux::Termios>(),
        Argument::IfreqAddress | Argument::IfreqFlags | Argument::IfreqInt | Argument::IfreqBytes => {
            size_of::<linux::Ifreq>()
        }
        Argument::Nothing | Argument::Int | Argument::Bytes | Argument::Ifconf => len,
    }
}

fn ifreq_from_linux(argument: Argument, linux: &linux::Ifreq) -> Result<Ifreq> {
    let mut request = Ifreq { ifr_name: linux.ifr_name, ..Default::default() };
    match argument {
        Argument::IfreqAddress => request.set_bytes(&Sockaddr::from_linux(&linux.ifr_ifru)?.encode()),
        Argument::IfreqFlags => {
            let flags = linux.ifr_ifru.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes));
            request.set_flags(INTERFACE_FLAGS.flags_from_linux(i32::from(flags)).0);
        }
        _ => request.set_bytes(&linux.ifr_ifru),
    }
    Ok(request)
}

fn ifreq_to_linux(argument: Argument, request: &Ifreq) -> linux::Ifreq {
    let mut linux = linux::Ifreq { ifr_name: request.ifr_name, ..Default::default() };
    let mut store = |bytes: &[u8]| linux.ifr_ifru.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    match argument {
        Argument::IfreqAddress => {
            let address = Sockaddr::parse(&request.ifr_ifru).unwrap_or(Sockaddr::Unspec);
            store(&address.to_linux());
        }
        Argument::IfreqFlags => store(&(INTERFACE_FLAGS.flags_to_linux(request.flags()) as u16).to_ne_bytes()),
        _ => store(&request.ifr_ifru),
    }
    linux
}

/// Makes Linux's list of `SIOCGIFCONF` of NetBSD's: only IPv4 addresses, in entries of 40 bytes.
pub fn ifconf_to_linux(entries: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for entry in entries.chunks_exact(size_of::<Ifreq>()) {
        let Ok(request) = Ifreq::read_from_bytes(entry) else { continue };
        if Sockaddr::parse(&request.ifr_ifru).is_ok_and(|address| address.family() == AF_INET) {
            list.extend_from_slice(ifreq_to_linux(Argument::IfreqAddress, &request).as_bytes());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &[u8]) -> [u8; 16] {
        let mut array = [0; 16];
        crate::stat::store_cstr(&mut array, name);
        array
    }

    #[test]
    fn an_address_changes_its_head() {
        let address = Sockaddr::Inet { addr: [10, 0, 0, 2], port: 0 };
        let mut request = linux::Ifreq { ifr_name: named(b"virt0"), ..Default::default() };
        request.ifr_ifru[..16].copy_from_slice(&address.to_linux());
        let netbsd = argument_from_linux(Argument::IfreqAddress, request.as_bytes()).unwrap();
        assert_eq!(netbsd.len(), 144);
        assert_eq!(netbsd[..6], *b"virt0\0");
        assert_eq!(netbsd[16..32], address.encode()[..]);
        assert_eq!(argument_to_linux(Argument::IfreqAddress, &netbsd), request.as_bytes());
    }

    #[test]
    fn multicast_is_another_flag() {
        let mut request = Ifreq { ifr_name: named(b"lo0"), ..Default::default() };
        request.set_flags(0x8049);
        let linux = argument_to_linux(Argument::IfreqFlags, request.as_bytes());
        assert_eq!(linux[16..18], 0x1049u16.to_ne_bytes());
    }

    #[test]
    fn the_list_of_addresses_has_ipv4_only() {
        let mut entries = Vec::new();
        for address in [Sockaddr::Other { family: 18, data: vec![0; 18] }, Sockaddr::Inet { addr: [1; 4], port: 0 }] {
            let mut request = Ifreq { ifr_name: named(b"virt0"), ..Default::default() };
            request.set_bytes(&address.encode());
            entries.extend_from_slice(request.as_bytes());
        }
        assert_eq!(ifconf_to_linux(&entries).len(), 40);
    }
}
