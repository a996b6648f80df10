//! Control messages of datagrams: what a program asks for one that it sends, and what it is told of one that it receives.

use abi::socket::*;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

use super::{Datagram, Pcb};
use crate::net::addr::Family;
use crate::net::option::{mtu_info, timespec, timeval};
use crate::net::{Control, Received};

/// What control messages ask for one datagram, whatever the socket's options say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// The address to send from (`IP_PKTINFO`, `IPV6_PKTINFO`).
    pub source: Option<IpAddress>,
    /// The interface to send through (the same).
    pub link: Option<u32>,
    /// TTL or hop limit (`IP_TTL`, `IPV6_HOPLIMIT`).
    pub hop_limit: Option<u8>,
    /// Type of service or traffic class (`IP_TOS`, `IPV6_TCLASS`).
    pub class: Option<u8>,
    /// Only to hosts on the link (`MSG_DONTROUTE`).
    pub direct: bool,
}

impl Wish {
    /// Reads what control messages ask; `EINVAL` for one that is unknown, too short or out of range.
    pub fn read(control: &[Control]) -> Result<Self> {
        let mut wish = Self::default();
        for message in control {
            let Control::Other { level, kind, data } = message else { continue };
            let int = || data.first_chunk().map(|int| i32::from_le_bytes(*int)).ok_or(Errno::EINVAL);
            let class = || match data.len() {
                1 => Ok(data[0]),
                _ => int().map(|class| class as u8),
            };
            match (*level, *kind) {
                (IPPROTO_IP, IP_PKTINFO) => {
                    let addr: [u8; 4] = *data.first_chunk().ok_or(Errno::EINVAL)?;
                    wish.source = Some(addr).filter(|addr| *addr != [0; 4]).map(|addr| Ipv4Address::from(addr).into());
                    wish.link = number(data.get(4..));
                }
                (IPPROTO_IPV6, IPV6_PKTINFO) => {
                    let addr = Ipv6Address::from(*data.first_chunk::<16>().ok_or(Errno::EINVAL)?);
                    let addr = addr.to_ipv4_mapped().map_or(IpAddress::from(addr), IpAddress::from);
                    wish.source = Some(addr).filter(|addr| !addr.is_unspecified());
                    wish.link = number(data.get(16..));
                }
                (IPPROTO_IP, IP_TTL) => {
                    wish.hop_limit = Some(u8::try_from(int()?).ok().filter(|hops| *hops > 0).ok_or(Errno::EINVAL)?)
                }
                (IPPROTO_IPV6, IPV6_HOPLIMIT) if int()? == -1 => wish.hop_limit = None,
                (IPPROTO_IPV6, IPV6_HOPLIMIT) => {
                    wish.hop_limit = Some(u8::try_from(int()?).map_err(|_| Errno::EINVAL)?)
                }
                (IPPROTO_IP, IP_TOS) => wish.class = Some(class()?),
                (IPPROTO_IPV6, IPV6_TCLASS) => match int()? {
                    -1 => wish.class = None,
                    class => wish.class = Some(u8::try_from(class).map_err(|_| Errno::EINVAL)?),
                },
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(wish)
    }
}

/// Reads the number of an interface; 0 is none.
fn number(data: Option<&[u8]>) -> Option<u32> {
    data.and_then(|data| data.first_chunk()).map(|number| u32::from_le_bytes(*number)).filter(|number| *number != 0)
}

impl Pcb {
    /// Tells once of a way that is too narrow for what was to be sent, in a message without data, which no event announces: as Linux does,
    /// and whether it peeks or not (RFC 3542, 11.3).
    pub(super) fn told_narrow(&mut self) -> Option<Received> {
        let (to, mtu) = self.narrow.take().filter(|_| self.options.want_path_mtu)?;
        let to = self.family.sockaddr(IpEndpoint::new(to, 0));
        let data = mtu_info(Some(&to), mtu, usize::MAX).ok()?;
        let control = vec![Control::Other { level: IPPROTO_IPV6, kind: IPV6_PATHMTU, data }];
        Some(Received { from: Some(to), control, ..Received::default() })
    }

    /// Returns what the options ask to be told of a datagram, in the order of Linux. `now` is the time of day, for one that came
    /// before anybody wanted to know.
    pub fn control(&self, datagram: &Datagram, now: impl FnOnce() -> std::time::Duration) -> Vec<Control> {
        let mut control = Vec::new();
        let mut tell = |level, kind, data| control.push(Control::Other { level, kind, data });
        if self.options.timestamp_ns {
            tell(SOL_SOCKET_EXT, SO_TIMESTAMPNS, timespec(datagram.at.unwrap_or_else(now)));
        } else if self.options.has(SO_TIMESTAMP) {
            tell(SOL_SOCKET, SCM_TIMESTAMP, timeval(Some(datagram.at.unwrap_or_else(now))));
        }
        let options = &self.options;
        let index = datagram.link.to_le_bytes();
        let (hops, class) = (datagram.hop_limit, datagram.class);
        let (to, ipv4) = match datagram.to {
            IpAddress::Ipv4(to) => (to.to_ipv6_mapped().octets(), Some(to.octets())),
            IpAddress::Ipv6(to) => (to.octets(), None),
        };
        if options.want_packet_info && self.family != Family::V4 {
            tell(IPPROTO_IPV6, IPV6_PKTINFO, [&to[..], &index].concat());
        }
        match ipv4 {
            Some(to) => {
                if options.want_destination && self.family == Family::V4 {
                    tell(IPPROTO_IP, IP_RECVDSTADDR, to.to_vec());
                }
                if options.want_packet_info_v4 {
                    // Behind NetBSD's structure: the address to answer from, where that is not the one sent to.
                    let source = datagram.answer_from.map(|addr| addr.octets().to_vec()).unwrap_or_default();
                    tell(IPPROTO_IP, IP_PKTINFO, [&to[..], &index, &source].concat());
                }
                if options.want_hop_limit_v4 {
                    tell(IPPROTO_IP, IP_RECVTTL, vec![hops]);
                }
                if options.want_class_v4 {
                    tell(IPPROTO_IP, IP_TOS, vec![class]);
                }
            }
            None => {
                if options.want_hop_limit {
                    tell(IPPROTO_IPV6, IPV6_HOPLIMIT, i32::from(hops).to_le_bytes().to_vec());
                }
                if options.want_class {
                    tell(IPPROTO_IPV6, IPV6_TCLASS, i32::from(class).to_le_bytes().to_vec());
                }
            }
        }
        control
    }
}
