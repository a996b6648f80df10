//! A UDP socket as descriptors see it.

use std::sync::Arc;
use std::time::Duration;

use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

use crate::Cx;
use crate::file::{Events, File};
use crate::net::addr::{Binding, Family};
use crate::net::option::timeval;
use crate::net::port::Id;
use crate::net::stack::Inet;
use crate::net::udp::Wish;
use crate::net::{Control, Received, Socket, ioctl};
use crate::wait::{EVERYTHING, WaitQueue};

/// A UDP socket.
pub struct UdpSocket {
    inet: Arc<Inet>,
    id: Id,
    ipv6: bool,
    queue: Arc<WaitQueue>,
}

impl UdpSocket {
    /// Makes a socket.
    pub fn open(inet: &Arc<Inet>, family: Family) -> Arc<Self> {
        let (id, queue) = inet.with(|stack| {
            let id = stack.udp.open(family);
            (id, stack.udp.pcb(id).map(|pcb| pcb.queue.clone()).unwrap_or_default())
        });
        Arc::new(Self { inet: inet.clone(), id, ipv6: family != Family::V4, queue })
    }

    /// Returns the endpoint that `addr` names; a dual-stack socket also takes IPv4 addresses.
    fn endpoint(family: Family, addr: &Sockaddr) -> Result<IpEndpoint> {
        match (family, addr) {
            (Family::V6 { v6only: false }, Sockaddr::Inet { .. }) => Family::V4.endpoint(addr),
            _ => family.endpoint(addr),
        }
    }

    /// bind(2) without the client.
    pub fn bind_to(&self, addr: &Sockaddr) -> Result<()> {
        self.inet.with(|stack| {
            let family = stack.udp.pcb(self.id)?.family;
            let endpoint = family.endpoint(addr)?;
            let addr = Some(endpoint.addr).filter(|addr| !addr.is_unspecified());
            if addr.is_some_and(|addr| !stack.base.may_bind(&addr)) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            stack.udp.bind(&mut stack.base, self.id, Binding { family, addr, port: endpoint.port }, true)
        })
    }

    /// connect(2) without the client.
    pub fn connect_to(&self, addr: &Sockaddr) -> Result<()> {
        self.inet.with(|stack| {
            if *addr == Sockaddr::Unspec {
                return stack.udp.disconnect(self.id);
            }
            let remote = Self::endpoint(stack.udp.pcb(self.id)?.family, addr)?;
            stack.udp.connect(&mut stack.base, self.id, remote)
        })
    }

    /// Sends a datagram.
    pub fn send_bytes(&self, data: &[u8], to: Option<&Sockaddr>) -> Result<usize> {
        self.send_as(data, to, Wish::default(), false)
    }

    fn send_as(&self, data: &[u8], to: Option<&Sockaddr>, wish: Wish, more: bool) -> Result<usize> {
        self.inet.with(|stack| {
            let family = stack.udp.pcb(self.id)?.family;
            let to = to.map(|to| Self::endpoint(family, to)).transpose()?;
            stack.udp.send_part(&mut stack.base, self.id, data, to, wish, more)
        })
    }

    /// Receives a datagram; what does not fit is lost.
    pub fn recv_bytes(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        let host = self.inet.host().clone();
        let received = self.inet.with(|stack| {
            stack.udp.recv(self.id, peek, |pcb, datagram| {
                let len = datagram.data.len().min(buf.len());
                buf[..len].copy_from_slice(&datagram.data[..len]);
                let mut control = Vec::new();
                // The time comes first, as on Linux.
                if pcb.options.has(SO_TIMESTAMP) {
                    let data = timeval(Some(host.wall_clock()));
                    control.push(Control::Other { level: SOL_SOCKET, kind: SCM_TIMESTAMP, data });
                }
                let told = pcb.control(datagram).into_iter();
                control.extend(told.map(|(level, kind, data)| Control::Other { level, kind, data }));
                let flags = if len < datagram.data.len() { MSG_TRUNC } else { 0 };
                let full = datagram.data.len();
                Received { len, full, from: Some(pcb.family.sockaddr(datagram.from)), flags, control }
            })
        })?;
        Ok(received.unwrap_or_default())
    }
}

/// Reads what control messages ask for a datagram; `EINVAL` for one that is unknown, too short or out of range.
fn wish(control: &[Control]) -> Result<Wish> {
    let mut wish = Wish::default();
    for message in control {
        let Control::Other { level, kind, data } = message else { continue };
        let int = || data.first_chunk().map(|int| i32::from_le_bytes(*int)).ok_or(Errno::EINVAL);
        match (*level, *kind) {
            (IPPROTO_IP, IP_PKTINFO) => {
                let addr: [u8; 4] = *data.first_chunk().ok_or(Errno::EINVAL)?;
                wish.source = Some(addr).filter(|addr| *addr != [0; 4]).map(|addr| Ipv4Address::from(addr).into());
            }
            (IPPROTO_IPV6, IPV6_PKTINFO) => {
                let addr = Ipv6Address::from(*data.first_chunk::<16>().ok_or(Errno::EINVAL)?);
                let addr = addr.to_ipv4_mapped().map_or(IpAddress::from(addr), IpAddress::from);
                wish.source = Some(addr).filter(|addr| !addr.is_unspecified());
            }
            (IPPROTO_IP, IP_TTL) => {
                wish.hop_limit = Some(u8::try_from(int()?).ok().filter(|hops| *hops > 0).ok_or(Errno::EINVAL)?)
            }
            (IPPROTO_IPV6, IPV6_HOPLIMIT) if int()? == -1 => wish.hop_limit = None,
            (IPPROTO_IPV6, IPV6_HOPLIMIT) => wish.hop_limit = Some(u8::try_from(int()?).map_err(|_| Errno::EINVAL)?),
            // The traffic class is not sent: neither is the socket's own.
            (IPPROTO_IP, IP_TOS) | (IPPROTO_IPV6, IPV6_TCLASS) => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(wish)
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.inet.with(|stack| stack.udp.close(self.id));
    }
}

impl File for UdpSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.recv_bytes(buf, false).map(|received| received.len)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.send_bytes(buf, None)
    }

    fn ready(&self) -> Events {
        self.inet.look(|stack| stack.udp.ready(self.id))
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        let (next, room) = self.inet.look(|stack| {
            let pcb = stack.udp.pcb(self.id).ok();
            let next = pcb.and_then(|pcb| Some(pcb.inbox.front()?.data.len()));
            (next.unwrap_or(0), pcb.map_or(0, |pcb| pcb.options.send_buffer))
        });
        ioctl::socket(cx, &self.inet, command, data, ioctl::Fill { readable: || Ok(next), unsent: 0, room })
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for UdpSocket {
    fn domain(&self) -> (i32, i32, i32) {
        (if self.ipv6 { AF_INET6 } else { AF_INET }, SOCK_DGRAM, IPPROTO_UDP)
    }

    fn bind(&self, _cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        self.bind_to(addr)
    }

    fn connect(&self, _cx: &Cx<'_>, addr: &Sockaddr) -> Result<()> {
        self.connect_to(addr)
    }

    fn send(
        &self,
        _cx: &Cx<'_>,
        data: &[u8],
        flags: i32,
        to: Option<&Sockaddr>,
        control: Vec<Control>,
    ) -> Result<usize> {
        if flags & MSG_OOB != 0 || control.iter().any(|control| matches!(control, Control::Rights(_))) {
            return Err(Errno::EOPNOTSUPP);
        }
        self.send_as(data, to, wish(&control)?, flags & MSG_MORE != 0)
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        self.recv_bytes(buf, flags & MSG_PEEK != 0)
    }

    fn shutdown(&self, how: i32) -> Result<()> {
        self.inet.with(|stack| {
            let pcb = stack.udp.pcb_mut(self.id)?;
            if !matches!(how, SHUT_RD | SHUT_WR | SHUT_RDWR) {
                return Err(Errno::EINVAL);
            }
            if pcb.remote.is_none() {
                return Err(Errno::ENOTCONN);
            }
            pcb.shut_read |= how != SHUT_WR;
            pcb.shut_write |= how != SHUT_RD;
            stack.base.wake(&pcb.queue, EVERYTHING);
            Ok(())
        })
    }

    fn local(&self) -> Result<Sockaddr> {
        self.inet.look(|stack| {
            let pcb = stack.udp.pcb(self.id)?;
            let any = IpEndpoint::new(pcb.family.any(), 0);
            Ok(pcb.family.sockaddr(pcb.binding.map_or(any, |binding| binding.endpoint())))
        })
    }

    fn peer(&self) -> Result<Sockaddr> {
        self.inet.look(|stack| {
            let pcb = stack.udp.pcb(self.id)?;
            pcb.remote.map(|remote| pcb.family.sockaddr(remote)).ok_or(Errno::ENOTCONN)
        })
    }

    fn option(&self, level: i32, name: i32, _max: usize) -> Result<Vec<u8>> {
        self.inet.with(|stack| {
            let pcb = stack.udp.pcb_mut(self.id)?;
            let value = match (level, name) {
                (SOL_SOCKET, SO_TYPE) => SOCK_DGRAM,
                (SOL_SOCKET, SO_ERROR) => pcb.error.take().map_or(0, Errno::raw),
                (SOL_SOCKET, SO_ACCEPTCONN) => 0,
                _ => return pcb.options.get(level, name),
            };
            Ok(value.to_le_bytes().to_vec())
        })
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.inet.with(|stack| {
            let pcb = stack.udp.pcb_mut(self.id)?;
            if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) && self.ipv6 && pcb.binding.is_some() {
                return Err(Errno::EINVAL);
            }
            pcb.options.set(level, name, value)?;
            if self.ipv6 {
                pcb.family = Family::V6 { v6only: pcb.options.v6only };
            }
            let corked = pcb.options.is_corked();
            if let Some(binding) = pcb.binding {
                let (addr, port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
                stack.udp.ports.agree(self.id, binding.port, addr, port);
            }
            if (level, name) == (IPPROTO_UDP_EXT, UDP_CORK) && !corked {
                stack.udp.uncork(&mut stack.base, self.id);
            }
            Ok(())
        })
    }

    fn time_limits(&self) -> (Option<Duration>, Option<Duration>) {
        let limits = self.inet.look(|stack| {
            let options = &stack.udp.pcb(self.id)?.options;
            Ok::<_, Errno>((options.receive_timeout, options.send_timeout))
        });
        limits.unwrap_or_default()
    }
}
