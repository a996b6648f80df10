//! Control messages: the 12-byte header of NetBSD, the 16-byte header of Linux; data starts at 16 on both.

use linux_raw_sys::net as host;
use zerocopy::{FromBytes, IntoBytes};

use super::{IP_PKTINFO, IP_RECVDSTADDR, IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6};
use super::{
    IP_RECVERR, IPPROTO_IP_EXT, IPPROTO_IPV6_EXT, IPV6_HOPLIMIT, IPV6_PATHMTU, IPV6_PKTINFO, IPV6_RECVERR, IPV6_TCLASS,
    SO_TIMESTAMPNS, SOL_SOCKET, SOL_SOCKET_EXT, Sockaddr,
};
use crate::pairs::plain;
use crate::time::Timeval;
use crate::{Errno, Result, linux};

plain! {
    /// The header of a control message.
    pub struct CmsgHdr {
        pub cmsg_len: u32,
        pub cmsg_level: i32,
        pub cmsg_type: i32,
    }

    /// Credentials of a sender (struct sockcred), here with one group.
    pub struct Sockcred {
        pub sc_pid: i32,
        pub sc_uid: u32,
        pub sc_euid: u32,
        pub sc_gid: u32,
        pub sc_egid: u32,
        pub sc_ngroups: i32,
        pub sc_groups: [u32; 1],
    }

    /// Credentials of a peer (`LOCAL_PEEREID`); Linux's struct ucred has the same layout.
    pub struct Unpcbid {
        pub unp_pid: i32,
        pub unp_euid: u32,
        pub unp_egid: u32,
    }

    /// Where an IPv4 datagram arrived.
    pub struct InPktinfo {
        pub ipi_addr: [u8; 4],
        pub ipi_ifindex: u32,
    }

    /// Where an IPv6 datagram arrived, the same layout on both.
    pub struct In6Pktinfo {
        pub ipi6_addr: [u8; 16],
        pub ipi6_ifindex: u32,
    }
}

/// Descriptors; of the process on the rump side.
pub const SCM_RIGHTS: i32 = 1;
/// Time of arrival: a timeval.
pub const SCM_TIMESTAMP: i32 = 8;
/// Credentials of the sender: [`Sockcred`].
pub const SCM_CREDS: i32 = 16;
/// Linux's level of its `SCM_` messages.
pub const LINUX_SOL_SOCKET: i32 = host::SOL_SOCKET as i32;
/// Linux's `SCM_CREDENTIALS`.
pub const LINUX_SCM_CREDENTIALS: i32 = 2;

/// Length of struct sock_extended_err.
const EXTENDED_ERROR: usize = 16;
/// Length of Linux's struct sockaddr_in.
const SOCKADDR_IN: usize = 16;
/// Length of struct sockaddr_in6, on both.
const SOCKADDR_IN6: usize = 28;
/// Offset of the data of a control message.
const DATA_AT: usize = 16;
/// Control messages start at multiples of this.
const ALIGN: usize = 8;

/// Returns the `cmsg_len` of a message with `len` bytes of data, on both systems.
pub const fn cmsg_len(len: usize) -> usize {
    DATA_AT + len
}

/// Returns the room that a message with `len` bytes of data takes, on both systems.
pub const fn cmsg_space(len: usize) -> usize {
    DATA_AT + len.next_multiple_of(ALIGN)
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cmsg<'a> {
    /// Its level.
    pub level: i32,
    /// Its type.
    pub kind: i32,
    /// Its data.
    pub data: &'a [u8],
}

impl Cmsg<'_> {
    /// Appends the message in NetBSD's layout; what stood before is padded, the end is not.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        let header =
            CmsgHdr { cmsg_len: cmsg_len(self.data.len()) as u32, cmsg_level: self.level, cmsg_type: self.kind };
        out.extend_from_slice(header.as_bytes());
        out.resize(out.len() + DATA_AT - size_of::<CmsgHdr>(), 0);
        out.extend_from_slice(self.data);
    }

    /// Appends the message in Linux's layout; what stood before is padded, the end is not.
    pub fn write_linux(&self, out: &mut Vec<u8>) {
        out.resize(out.len().next_multiple_of(ALIGN), 0);
        let header =
            linux::CmsgHdr { cmsg_len: cmsg_len(self.data.len()) as u64, cmsg_level: self.level, cmsg_type: self.kind };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(self.data);
    }
}

/// The control messages in a buffer; yields `EINVAL` once, and ends, at a header whose length is wrong.
#[derive(Clone, Debug)]
pub struct Cmsgs<'a> {
    rest: &'a [u8],
    read: fn(&'a [u8]) -> Option<(Cmsg<'a>, usize)>,
    header: usize,
}

impl<'a> Cmsgs<'a> {
    /// Walks a buffer in NetBSD's layout.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: read_netbsd, header: size_of::<CmsgHdr>() }
    }

    /// Walks a buffer in Linux's layout.
    pub const fn linux(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: read_linux, header: size_of::<linux::CmsgHdr>() }
    }
}

impl<'a> Iterator for Cmsgs<'a> {
    type Item = Result<Cmsg<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < self.header {
            return None;
        }
        let Some((message, length)) = (self.read)(self.rest) else {
            self.rest = &[];
            return Some(Err(Errno::EINVAL));
        };
        self.rest = self.rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(Ok(message))
    }
}

fn read_netbsd(bytes: &[u8]) -> Option<(Cmsg<'_>, usize)> {
    let (header, _) = CmsgHdr::read_from_prefix(bytes).ok()?;
    message(bytes, u64::from(header.cmsg_len), header.cmsg_level, header.cmsg_type)
}

fn read_linux(bytes: &[u8]) -> Option<(Cmsg<'_>, usize)> {
    let (header, _) = linux::CmsgHdr::read_from_prefix(bytes).ok()?;
    message(bytes, header.cmsg_len, header.cmsg_level, header.cmsg_type)
}

fn message(bytes: &[u8], length: u64, level: i32, kind: i32) -> Option<(Cmsg<'_>, usize)> {
    let length = usize::try_from(length).ok()?;
    let data = bytes.get(DATA_AT..length)?;
    Some((Cmsg { level, kind, data }, length))
}

/// What the data of a control message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// The same bytes on both.
    Bytes,
    /// Microseconds of 4 bytes against 8.
    Timeval,
    /// [`Sockcred`] against struct ucred.
    Credentials,
    /// Another order of fields.
    Pktinfo,
    /// A byte here, an int on Linux.
    Byte,
    /// An address here, a whole in_pktinfo on Linux.
    Destination,
    /// struct ip6_mtuinfo, whose address is NetBSD's here.
    PathMtu,
    /// struct sock_extended_err and the address of who reported it; errno and address are NetBSD's here.
    ExtendedError,
}

/// A kind of control message: level and type on NetBSD and on Linux.
struct Row {
    netbsd: (i32, i32),
    linux: (u32, u32),
    content: Content,
    /// Whether Linux's pair means this row; otherwise it is used towards Linux only.
    twin: bool,
}

const fn row(netbsd: (i32, i32), linux: (u32, u32), content: Content) -> Row {
    Row { netbsd, linux, content, twin: true }
}

const fn received(netbsd: (i32, i32), linux: (u32, u32), content: Content) -> Row {
    Row { netbsd, linux, content, twin: false }
}

const IP: u32 = IPPROTO_IP as u32;
const IPV6: u32 = IPPROTO_IPV6 as u32;

const ROWS: &[Row] = &[
    row((SOL_SOCKET, SCM_RIGHTS), (host::SOL_SOCKET, 1), Content::Bytes),
    row((SOL_SOCKET, SCM_CREDS), (host::SOL_SOCKET, LINUX_SCM_CREDENTIALS as u32), Content::Credentials),
    row((SOL_SOCKET, SCM_TIMESTAMP), (host::SOL_SOCKET, host::SCM_TIMESTAMP), Content::Timeval),
    row((SOL_SOCKET_EXT, SO_TIMESTAMPNS), (host::SOL_SOCKET, host::SCM_TIMESTAMPNS), Content::Bytes),
    received((IPPROTO_IP_EXT, IP_RECVERR), (IP, host::IP_RECVERR), Content::ExtendedError),
    received((IPPROTO_IPV6_EXT, IPV6_RECVERR), (IPV6, host::IPV6_RECVERR), Content::ExtendedError),
    row((IPPROTO_IP, IP_PKTINFO), (IP, host::IP_PKTINFO), Content::Pktinfo),
    row((IPPROTO_IP, IP_TTL), (IP, host::IP_TTL), Content::Bytes),
    row((IPPROTO_IP, IP_TOS), (IP, host::IP_TOS), Content::Bytes),
    received((IPPROTO_IP, IP_RECVTTL), (IP, host::IP_TTL), Content::Byte),
    received((IPPROTO_IP, IP_RECVDSTADDR), (IP, host::IP_PKTINFO), Content::Destination),
    row((IPPROTO_IPV6, IPV6_PKTINFO), (IPV6, host::IPV6_PKTINFO), Content::Bytes),
    received((IPPROTO_IPV6, IPV6_PATHMTU), (IPV6, host::IPV6_PATHMTU), Content::PathMtu),
    row((IPPROTO_IPV6, IPV6_HOPLIMIT), (IPV6, host::IPV6_HOPLIMIT), Content::Bytes),
    row((IPPROTO_IPV6, IPV6_TCLASS), (IPV6, host::IPV6_TCLASS), Content::Bytes),
];

/// A control message that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmsgBuf {
    /// Its level.
    pub level: i32,
    /// Its type.
    pub kind: i32,
    /// Its data.
    pub data: Vec<u8>,
}

impl CmsgBuf {
    /// Borrows the message.
    pub fn as_cmsg(&self) -> Cmsg<'_> {
        Cmsg { level: self.level, kind: self.kind, data: &self.data }
    }
}

/// Translates a control message of Linux. The descriptors of `SCM_RIGHTS` stay as they are. `EINVAL` for a kind that
/// NetBSD lacks, or data of the wrong length.
pub fn cmsg_from_linux(message: &Cmsg<'_>) -> Result<CmsgBuf> {
    let pair = (message.level as u32, message.kind as u32);
    let row = ROWS.iter().find(|row| row.twin && row.linux == pair).ok_or(Errno::EINVAL)?;
    let data = content_from_linux(row.content, message.data).ok_or(Errno::EINVAL)?;
    Ok(CmsgBuf { level: row.netbsd.0, kind: row.netbsd.1, data })
}

fn content_from_linux(content: Content, data: &[u8]) -> Option<Vec<u8>> {
    Some(match content {
        Content::Bytes | Content::Byte | Content::Destination => data.to_vec(),
        Content::ExtendedError | Content::PathMtu => data.to_vec(),
        Content::Timeval => {
            let (time, _) = linux::Timeval::read_from_prefix(data).ok()?;
            Timeval::from_linux(&time).ok()?.as_bytes().to_vec()
        }
        Content::Credentials => {
            let (cred, _) = linux::Ucred::read_from_prefix(data).ok()?;
            let (uid, gid) = (cred.uid, cred.gid);
            let sockcred = Sockcred {
                sc_pid: cred.pid,
                sc_uid: uid,
                sc_euid: uid,
                sc_gid: gid,
                sc_egid: gid,
                ..Default::default()
            };
            sockcred.as_bytes().to_vec()
        }
        Content::Pktinfo => {
            let (info, _) = linux::InPktinfo::read_from_prefix(data).ok()?;
            // What is sent names its source in ipi_spec_dst.
            InPktinfo { ipi_addr: info.ipi_spec_dst, ipi_ifindex: info.ipi_ifindex as u32 }.as_bytes().to_vec()
        }
    })
}

/// Translates a control message to Linux; `None` for a kind that Linux lacks, or data of the wrong length.
pub fn cmsg_to_linux(message: &Cmsg<'_>) -> Option<CmsgBuf> {
    let row = ROWS.iter().find(|row| row.netbsd == (message.level, message.kind))?;
    let data = content_to_linux(row.content, message.data)?;
    Some(CmsgBuf { level: row.linux.0 as i32, kind: row.linux.1 as i32, data })
}

fn content_to_linux(content: Content, data: &[u8]) -> Option<Vec<u8>> {
    Some(match content {
        Content::Bytes => data.to_vec(),
        Content::Byte => i32::from(*data.first()?).to_ne_bytes().to_vec(),
        Content::Timeval => Timeval::read_from_prefix(data).ok()?.0.to_linux().as_bytes().to_vec(),
        Content::Credentials => {
            // A server of NetBSD 8 sends more groups than one; only the fields before them count.
            let head: &[u8; size_of::<Sockcred>() - 8] = data.first_chunk()?;
            let mut whole = [0; size_of::<Sockcred>()];
            whole.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            let cred = Sockcred::read_from_bytes(&whole).ok()?;
            linux::Ucred { pid: cred.sc_pid, uid: cred.sc_euid, gid: cred.sc_egid }.as_bytes().to_vec()
        }
        Content::Pktinfo => {
            let (info, rest) = InPktinfo::read_from_prefix(data).ok()?;
            linux::InPktinfo {
                ipi_ifindex: info.ipi_ifindex as i32,
                // Our server tells what to answer from where that is not what was sent to.
                ipi_spec_dst: rest.first_chunk().copied().unwrap_or(info.ipi_addr),
                ipi_addr: info.ipi_addr,
            }
            .as_bytes()
            .to_vec()
        }
        Content::ExtendedError => {
            let (errno, rest) = data.split_first_chunk()?;
            let (cause, offender) = rest.split_at_checked(EXTENDED_ERROR - size_of::<i32>())?;
            let errno = Errno::from_raw(i32::from_ne_bytes(*errno)).to_linux();
            let offender = match offender {
                // Linux leaves room for an address and says that there is none.
                [] => vec![0; SOCKADDR_IN],
                given => Sockaddr::parse(given).ok()?.to_linux().to_vec(),
            };
            [&errno.to_ne_bytes()[..], cause, &offender].concat()
        }
        Content::PathMtu => {
            let (to, mtu) = data.split_at_checked(SOCKADDR_IN6)?;
            [&Sockaddr::parse(to).ok()?.to_linux()[..], mtu].concat()
        }
        Content::Destination => {
            let addr = *data.first_chunk()?;
            linux::InPktinfo { ipi_ifindex: 0, ipi_spec_dst: addr, ipi_addr: addr }.as_bytes().to_vec()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_descriptor_has_the_documented_layout() {
        let mut out = Vec::new();
        Cmsg { level: SOL_SOCKET, kind: SCM_RIGHTS, data: &7i32.to_ne_bytes() }.write(&mut out);
        assert_eq!(out, [20, 0, 0, 0, 255, 255, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!((cmsg_len(4), cmsg_space(4)), (20, 24));
    }

    #[test]
    fn two_messages_are_padded_between() {
        let messages =
            [Cmsg { level: 1, kind: 2, data: &[1, 2, 3] }, Cmsg { level: 3, kind: 4, data: &[5, 6, 7, 8, 9] }];
        let (mut netbsd, mut host) = (Vec::new(), Vec::new());
        for message in &messages {
            message.write(&mut netbsd);
            message.write_linux(&mut host);
        }
        assert_eq!((netbsd.len(), host.len()), (24 + 21, 24 + 21));
        assert!(Cmsgs::new(&netbsd).eq(messages.map(Ok)));
        assert!(Cmsgs::linux(&host).eq(messages.map(Ok)));
    }

    #[test]
    fn a_wrong_length_ends_the_walk() {
        let mut bytes = vec![200, 0, 0, 0];
        bytes.resize(24, 0);
        assert_eq!(Cmsgs::new(&bytes).collect::<Vec<_>>(), [Err(Errno::EINVAL)]);
        assert_eq!(Cmsgs::new(&[4; 8]).count(), 0);
        assert_eq!(Cmsgs::new(&[0; 16]).collect::<Vec<_>>(), [Err(Errno::EINVAL)]);
    }

    #[test]
    fn contents_translate() {
        let ttl = cmsg_to_linux(&Cmsg { level: IPPROTO_IP, kind: IP_RECVTTL, data: &[64] }).unwrap();
        assert_eq!((ttl.kind, ttl.data), (2, 64i32.to_ne_bytes().to_vec()));
        let cred = linux::Ucred { pid: 5, uid: 6, gid: 7 };
        let sent = cmsg_from_linux(&Cmsg { level: 1, kind: 2, data: cred.as_bytes() }).unwrap();
        assert_eq!((sent.level, sent.kind, sent.data.len()), (SOL_SOCKET, SCM_CREDS, 28));
        assert_eq!(cmsg_to_linux(&sent.as_cmsg()).unwrap().data, cred.as_bytes());
        assert_eq!(cmsg_from_linux(&Cmsg { level: 99, kind: 2, data: &[] }), Err(Errno::EINVAL));
    }
}
