//! The values of socket options, both ways.

use core::mem::offset_of;

use zerocopy::{FromBytes, IntoBytes};

use super::{Kind, family_to_linux};
use crate::pairs::plain;
use crate::time::Timeval;
use crate::{Errno, Result, linux};

plain! {
    /// struct linger, the same layout on both.
    pub struct Linger {
        pub l_onoff: i32,
        pub l_linger: i32,
    }

    /// struct ip_mreq, the same layout on both. An interface 0.x.x.x is an index.
    pub struct IpMreq {
        pub imr_multiaddr: [u8; 4],
        pub imr_interface: [u8; 4],
    }

    /// struct ipv6_mreq, the same layout on both.
    pub struct Ipv6Mreq {
        pub ipv6mr_multiaddr: [u8; 16],
        pub ipv6mr_interface: u32,
    }

    /// struct tcp_info. Up to `tcpi_rcv_space` it is Linux's; there `tcpi_total_retrans` follows.
    pub struct TcpInfo {
        pub tcpi_state: u8,
        pub tcpi_ca_state: u8,
        pub tcpi_retransmits: u8,
        pub tcpi_probes: u8,
        pub tcpi_backoff: u8,
        pub tcpi_options: u8,
        pub tcpi_wscales: u8,
        pub pad0: u8,
        pub tcpi_rto: u32,
        pub tcpi_ato: u32,
        pub tcpi_snd_mss: u32,
        pub tcpi_rcv_mss: u32,
        pub tcpi_unacked: u32,
        pub tcpi_sacked: u32,
        pub tcpi_lost: u32,
        pub tcpi_retrans: u32,
        pub tcpi_fackets: u32,
        pub tcpi_last_data_sent: u32,
        pub tcpi_last_ack_sent: u32,
        pub tcpi_last_data_recv: u32,
        pub tcpi_last_ack_recv: u32,
        pub tcpi_pmtu: u32,
        pub tcpi_rcv_ssthresh: u32,
        pub tcpi_rtt: u32,
        pub tcpi_rttvar: u32,
        pub tcpi_snd_ssthresh: u32,
        pub tcpi_snd_cwnd: u32,
        pub tcpi_advmss: u32,
        pub tcpi_reordering: u32,
        pub tcpi_rcv_rtt: u32,
        pub tcpi_rcv_space: u32,
        pub tcpi_snd_wnd: u32,
        pub tcpi_snd_bwnd: u32,
        pub tcpi_snd_nxt: u32,
        pub tcpi_rcv_nxt: u32,
        pub tcpi_toe_tid: u32,
        pub tcpi_snd_rexmitpack: u32,
        pub tcpi_rcv_ooopack: u32,
        pub tcpi_snd_zerowin: u32,
        pub pad1: [u32; 26],
    }
}

/// Length of NetBSD's struct tcp_info.
pub const TCP_INFO_LEN: usize = size_of::<TcpInfo>();

/// Where struct tcp_info stops being the same on both.
const TCP_INFO_COMMON: usize = offset_of!(TcpInfo, tcpi_snd_wnd);

/// Linux's state of a connection, by BSD's (`TCPS_CLOSED` 0 to `TCPS_TIME_WAIT` 10).
const TCP_STATES: [u8; 11] = [7, 10, 2, 3, 1, 8, 4, 11, 9, 5, 6];

/// Translates a value for setsockopt(2). `EINVAL` when it is too short for its kind, `EDOM` for a time out of range.
pub fn value_from_linux(kind: Kind, value: &[u8]) -> Result<Vec<u8>> {
    match kind {
        Kind::Bytes | Kind::TcpInfo | Kind::Family => Ok(value.to_vec()),
        Kind::Int | Kind::Error => Ok(int(value).ok_or(Errno::EINVAL)?.to_vec()),
        Kind::Byte => {
            let byte = || value.first().map(|byte| i32::from(*byte).to_ne_bytes());
            Ok(int(value).or_else(byte).ok_or(Errno::EINVAL)?.to_vec())
        }
        Kind::Timeval => {
            let (time, _) = linux::Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
            Ok(Timeval::from_linux(&time).map_err(|_| Errno::EDOM)?.as_bytes().to_vec())
        }
        Kind::Linger => Ok(value.first_chunk::<{ size_of::<Linger>() }>().ok_or(Errno::EINVAL)?.to_vec()),
        Kind::Interface => interface(value).map(|interface| interface.to_vec()).ok_or(Errno::EINVAL),
        Kind::Membership => membership(value).map(|request| request.as_bytes().to_vec()).ok_or(Errno::EINVAL),
        Kind::Icmp6Filter => Ok(value.iter().map(|byte| !byte).collect()),
    }
}

/// Translates a value that getsockopt(2) gave; a value too short for its kind stays as it is.
pub fn value_to_linux(kind: Kind, value: &[u8]) -> Vec<u8> {
    let translated = match kind {
        Kind::Int | Kind::Bytes | Kind::Linger | Kind::Interface | Kind::Membership => None,
        Kind::Byte if value.len() == 1 => value.first().map(|byte| i32::from(*byte).to_ne_bytes().to_vec()),
        Kind::Byte => None,
        Kind::Error => int(value).map(|raw| match i32::from_ne_bytes(raw) {
            0 => raw.to_vec(),
            number => Errno::from_raw(number).to_linux().to_ne_bytes().to_vec(),
        }),
        Kind::Family => {
            int(value).map(|raw| family_to_linux(i32::from_ne_bytes(raw)).unwrap_or_default().to_ne_bytes().to_vec())
        }
        Kind::Timeval => Timeval::read_from_prefix(value).ok().map(|(time, _)| time.to_linux().as_bytes().to_vec()),
        Kind::TcpInfo => TcpInfo::read_from_prefix(value).ok().map(|(mut info, _)| {
            info.tcpi_state = TCP_STATES.get(usize::from(info.tcpi_state)).copied().unwrap_or_default();
            let mut linux = info.as_bytes().iter().copied().take(TCP_INFO_COMMON).collect::<Vec<u8>>();
            linux.extend_from_slice(&info.tcpi_snd_rexmitpack.to_ne_bytes());
            linux
        }),
        Kind::Icmp6Filter => Some(value.iter().map(|byte| !byte).collect()),
    };
    translated.unwrap_or_else(|| value.to_vec())
}

/// Returns how long a value NetBSD's getsockopt(2) may give, when Linux's may be `len` bytes long.
pub const fn value_room(kind: Kind, len: usize) -> usize {
    match kind {
        Kind::TcpInfo => TCP_INFO_LEN,
        Kind::Timeval => size_of::<Timeval>(),
        Kind::Int | Kind::Byte | Kind::Error | Kind::Family => size_of::<i32>(),
        _ => len,
    }
}

fn int(value: &[u8]) -> Option<[u8; 4]> {
    value.first_chunk().copied()
}

/// Reads the interface of `IP_MULTICAST_IF`: Linux takes an address, ip_mreq or ip_mreqn.
fn interface(value: &[u8]) -> Option<[u8; 4]> {
    match membership(value) {
        Some(request) => Some(request.imr_interface),
        None => int(value),
    }
}

/// Reads ip_mreq or ip_mreqn; an interface index becomes the address 0.x.x.x.
fn membership(value: &[u8]) -> Option<IpMreq> {
    if let Ok((request, _)) = linux::IpMreqn::read_from_prefix(value)
        && request.imr_ifindex != 0
    {
        let [_, b, c, d] = request.imr_ifindex.to_be_bytes();
        return Some(IpMreq { imr_multiaddr: request.imr_multiaddr, imr_interface: [0, b, c, d] });
    }
    IpMreq::read_from_prefix(value).ok().map(|(request, _)| request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_and_bytes() {
        assert_eq!(value_from_linux(Kind::Int, &[1, 0]), Err(Errno::EINVAL));
        assert_eq!(value_from_linux(Kind::Int, &[1, 0, 0, 0, 9]), Ok(vec![1, 0, 0, 0]));
        assert_eq!(value_from_linux(Kind::Byte, &[7]), Ok(vec![7, 0, 0, 0]));
        assert_eq!(value_to_linux(Kind::Byte, &[7]), [7, 0, 0, 0]);
    }

    #[test]
    fn errors_are_translated() {
        assert_eq!(value_to_linux(Kind::Error, &61i32.to_ne_bytes()), 111i32.to_ne_bytes());
        assert_eq!(value_to_linux(Kind::Error, &[0; 4]), [0; 4]);
    }

    #[test]
    fn times_are_checked() {
        let time = linux::Timeval { tv_sec: 3, tv_usec: 4 };
        let value = value_from_linux(Kind::Timeval, time.as_bytes()).unwrap();
        assert_eq!(value_to_linux(Kind::Timeval, &value), time.as_bytes());
        let wrong = linux::Timeval { tv_sec: 3, tv_usec: -4 };
        assert_eq!(value_from_linux(Kind::Timeval, wrong.as_bytes()), Err(Errno::EDOM));
    }

    #[test]
    fn an_interface_index_becomes_an_address() {
        let request = linux::IpMreqn { imr_multiaddr: [224, 0, 0, 1], imr_address: [0; 4], imr_ifindex: 258 };
        assert_eq!(value_from_linux(Kind::Membership, request.as_bytes()), Ok(vec![224, 0, 0, 1, 0, 0, 1, 2]));
        assert_eq!(value_from_linux(Kind::Interface, request.as_bytes()), Ok(vec![0, 0, 1, 2]));
        assert_eq!(value_from_linux(Kind::Interface, &[10, 0, 0, 1]), Ok(vec![10, 0, 0, 1]));
    }

    #[test]
    fn a_connections_state_is_translated() {
        let mut info = vec![0; TCP_INFO_LEN];
        info[0] = 4;
        info[120] = 5;
        let linux = value_to_linux(Kind::TcpInfo, &info);
        assert_eq!((linux.len(), linux[0], linux[100]), (104, 1, 5));
    }
}
