//! Netlink messages: taken apart and put together.

use abi::netlink::{Nlmsghdr, Rtattr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Length of a message's header.
pub const HEADER: usize = size_of::<Nlmsghdr>();

/// A request: its header and what follows.
pub struct Request<'a> {
    /// The header.
    pub header: Nlmsghdr,
    /// What stands behind it.
    pub body: &'a [u8],
}

/// The requests of a datagram; the first malformed one ends them, as on Linux.
pub fn requests(mut bytes: &[u8]) -> impl Iterator<Item = Request<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = Nlmsghdr::read_from_prefix(bytes).ok()?;
        let length = header.nlmsg_len as usize;
        let body = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Request { header, body })
    })
}

impl Request<'_> {
    /// Reads the structure that the body begins with; what a short body lacks is zero.
    pub fn read<T: FromBytes + IntoBytes + Immutable + Default>(&self) -> T {
        let mut value = T::default();
        let bytes = value.as_mut_bytes();
        let length = bytes.len().min(self.body.len());
        bytes[..length].copy_from_slice(&self.body[..length]);
        value
    }

    /// Returns the value of an attribute behind a structure `T`.
    pub fn attribute<T>(&self, kind: u16) -> Option<&[u8]> {
        let mut rest = self.body.get(size_of::<T>().next_multiple_of(4)..)?;
        loop {
            let (head, _) = Rtattr::read_from_prefix(rest).ok()?;
            let length = usize::from(head.rta_len);
            let value = rest.get(size_of::<Rtattr>()..length)?;
            // The two highest bits are flags.
            if head.rta_type & 0x3fff == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// Begins a message; [`attribute`] adds to it and [`finish`] ends it.
pub fn begin(header: Nlmsghdr, body: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    [header.as_bytes(), body.as_bytes()].concat()
}

/// Adds an attribute.
pub fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let head = Rtattr { rta_len: (size_of::<Rtattr>() + value.len()) as u16, rta_type: kind };
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Writes the length into the header.
pub fn finish(mut message: Vec<u8>) -> Vec<u8> {
    let length = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&length);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::netlink::{IFLA_IFNAME, IFLA_MTU, Ifinfomsg, RTM_GETLINK};

    #[test]
    fn what_was_put_together_comes_apart() {
        let header = Nlmsghdr { nlmsg_type: RTM_GETLINK, nlmsg_seq: 7, ..Nlmsghdr::default() };
        let mut message = begin(header, &Ifinfomsg { ifi_index: 3, ..Ifinfomsg::default() });
        attribute(&mut message, IFLA_MTU, &1500u32.to_ne_bytes());
        attribute(&mut message, IFLA_IFNAME, b"lo0\0");
        let bytes = [finish(message.clone()), finish(message)].concat();
        let all: Vec<_> = requests(&bytes).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].header.nlmsg_seq, all[1].read::<Ifinfomsg>().ifi_index), (7, 3));
        assert_eq!(all[1].attribute::<Ifinfomsg>(IFLA_IFNAME), Some(&b"lo0\0"[..]));
        assert_eq!(all[1].attribute::<Ifinfomsg>(99), None);
    }

    #[test]
    fn a_lying_length_ends_the_requests() {
        let header = |length| Nlmsghdr { nlmsg_len: length, ..Nlmsghdr::default() };
        for length in [0, 15, 17, u32::MAX] {
            assert_eq!(requests(header(length).as_bytes()).count(), 0, "{length}");
        }
        let short = [header(17).as_bytes(), &[2]].concat();
        let all: Vec<_> = requests(&short).collect();
        assert_eq!(all[0].read::<Ifinfomsg>().ifi_family, 2);
        let attribute = [header(40).as_bytes(), &[0; 16], &[3, 0, 3, 0], &[0; 4]].concat();
        assert_eq!(requests(&attribute).next().unwrap().attribute::<Ifinfomsg>(3), None);
    }
}
