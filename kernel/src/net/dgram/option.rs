//! The options of datagram sockets that concern more than the socket itself: interfaces, groups, filters, queues.

use abi::socket::*;
use abi::{Errno, Result};
use smoltcp::wire::IpAddress;

use super::{Flavour, Pcb, group};
use crate::net::device;
use crate::net::option::{int, longest, mtu_info};
use crate::net::stack::Base;

impl Pcb {
    /// getsockopt(2).
    pub(super) fn option(&self, base: &Base, level: i32, name: i32, room: usize) -> Result<Vec<u8>> {
        let value = match (level, name) {
            (SOL_SOCKET_EXT, SO_BINDTODEVICE) => return device::name(base, self.options.device, room),
            (IPPROTO_RAW_EXT, ICMP_FILTER) if self.is_raw(IPPROTO_ICMP) => {
                return Ok(self.filter.v4().to_le_bytes().to_vec());
            }
            (IPPROTO_ICMPV6, ICMP6_FILTER) if self.is_raw(IPPROTO_ICMPV6) => return Ok(self.filter.v6()),
            (IPPROTO_IP, IP_MULTICAST_IF) => return Ok(self.options.multicast_addr.to_vec()),
            (IPPROTO_IPV6, IPV6_MULTICAST_IF) if self.options.is_ipv6() => {
                self.options.multicast_link.map_or(0, |link| link as i32)
            }
            (IPPROTO_IP_EXT, IP_MTU) => self.path_mtu(base, true)?,
            (IPPROTO_IPV6_EXT, IPV6_MTU) if self.options.is_ipv6() => self.path_mtu(base, false)?,
            (IPPROTO_IPV6, IPV6_PATHMTU) if self.options.is_ipv6() => {
                mtu_info(None, 0, room)?;
                return mtu_info(None, self.path_mtu(base, false)? as usize, room);
            }
            _ => return self.options.get(level, name),
        };
        Ok(value.to_le_bytes().to_vec())
    }

    /// The MTU on the way to the peer; `ENOTCONN` without one.
    fn path_mtu(&self, base: &Base, ipv4: bool) -> Result<i32> {
        let remote = self.remote.filter(|to| matches!(to.addr, IpAddress::Ipv4(_)) == ipv4).ok_or(Errno::ENOTCONN)?;
        Ok(longest(&remote.addr).min(self.way(base, &remote.addr)?.mtu) as i32)
    }

    fn is_raw(&self, protocol: i32) -> bool {
        self.options.kind() == Flavour::Raw.kind() && i32::from(self.protocol) == protocol
    }

    /// setsockopt(2).
    pub(super) fn set_option(&mut self, base: &mut Base, level: i32, name: i32, value: &[u8]) -> Result<()> {
        let ipv6 = self.options.is_ipv6();
        match (level, name) {
            (SOL_SOCKET_EXT, SO_BINDTODEVICE) => self.options.device = device::by_name(base, value)?,
            (IPPROTO_RAW_EXT, ICMP_FILTER) if self.is_raw(IPPROTO_ICMP) => {
                self.filter.set_v4(int(value)? as u32);
            }
            (IPPROTO_ICMPV6, ICMP6_FILTER) if self.is_raw(IPPROTO_ICMPV6) => self.filter.set_v6(value),
            (IPPROTO_RAW_EXT, ICMP_FILTER) if self.options.kind() == Flavour::Raw.kind() => {
                return Err(Errno::EOPNOTSUPP);
            }
            (IPPROTO_IPV6, IPV6_CHECKSUM) if self.is_raw(IPPROTO_ICMPV6) && int(value)? != 2 => {
                return Err(Errno::EINVAL);
            }
            (IPPROTO_IP, IP_MULTICAST_IF) => self.choose_interface(base, value)?,
            (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
                let group = *value.first_chunk().ok_or(Errno::EINVAL)?;
                let interface = value.get(4..).and_then(|rest| rest.first_chunk()).copied().ok_or(Errno::EINVAL)?;
                match name {
                    IP_ADD_MEMBERSHIP => self.join_v4(base, group, interface)?,
                    _ => self.leave_v4(base, group, interface)?,
                }
            }
            (IPPROTO_IPV6, IPV6_MULTICAST_IF) if ipv6 => {
                let link = u32::try_from(int(value)?).map_err(|_| Errno::ENODEV)?;
                if link != 0 && !base.links.iter().any(|known| known.index == link) {
                    return Err(Errno::ENODEV);
                }
                self.options.multicast_link = Some(link).filter(|link| *link != 0);
            }
            (IPPROTO_IPV6, IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP) if ipv6 => {
                let group = *value.first_chunk().ok_or(Errno::EINVAL)?;
                let link = int(value.get(16..).unwrap_or_default())? as u32;
                match name {
                    IPV6_JOIN_GROUP => self.join_v6(base, group, link)?,
                    _ => self.leave_v6(base, group, link)?,
                }
            }
            _ => {
                self.options.set(level, name, value)?;
                if matches!((level, name), (IPPROTO_IP_EXT, IP_RECVERR) | (IPPROTO_IPV6_EXT, IPV6_RECVERR))
                    && int(value)? == 0
                {
                    self.forget_troubles();
                }
            }
        }
        Ok(())
    }

    /// `IP_MULTICAST_IF`: by an address of the interface, or by its number, which comes as 0.x.x.x. `EADDRNOTAVAIL` if there is none.
    fn choose_interface(&mut self, base: &Base, value: &[u8]) -> Result<()> {
        let interface: [u8; 4] = *value.first_chunk().ok_or(Errno::EINVAL)?;
        let link = match interface {
            [0, 0, 0, 0] => None,
            _ => Some(group::link_of(base, interface, None).ok_or(Errno::EADDRNOTAVAIL)?),
        };
        self.options.multicast_link = link;
        self.options.multicast_addr = if interface[0] == 0 { [0; 4] } else { interface };
        Ok(())
    }
}
