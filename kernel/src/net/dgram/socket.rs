//! A datagram socket as descriptors see it.

use std::sync::Arc;

use abi::socket::*;
use abi::stat::Stat;
use abi::{Errno, Result};
use smoltcp::wire::{IpEndpoint, Ipv6Address};

use super::{Dgrams, Flavour, Pcb, Wish};
use crate::Cx;
use crate::file::{Events, File};
use crate::net::addr::{Binding, Family, is_of_a_link, scope};
use crate::net::port::Id;
use crate::net::stack::{Base, Inet};
use crate::net::{Control, Received, Socket, Waits, ioctl};
use crate::wait::{EVERYTHING, WaitQueue};

/// A UDP, ping or raw socket.
pub struct DgramSocket {
    inet: Arc<Inet>,
    flavour: Flavour,
    id: Id,
    ipv6: bool,
    protocol: u8,
    queue: Arc<WaitQueue>,
}

impl DgramSocket {
    /// Makes a socket; `protocol` matters to a raw one only.
    pub fn open(inet: &Arc<Inet>, flavour: Flavour, family: Family, protocol: u8) -> Arc<Self> {
        let protocol = if flavour == Flavour::Raw { protocol } else { flavour.protocol(family) };
        let (id, queue) = inet.with(|stack| {
            let table = stack.dgrams(flavour).0;
            let id = table.open(family, protocol);
            (id, table.pcb(id).map(|pcb| pcb.queue.clone()).unwrap_or_default())
        });
        Arc::new(Self { inet: inet.clone(), flavour, id, ipv6: family != Family::V4, protocol, queue })
    }

    /// Makes a UDP socket.
    pub fn udp(inet: &Arc<Inet>, family: Family) -> Arc<Self> {
        Self::open(inet, Flavour::Udp, family, 0)
    }

    /// Does something with the table of this flavour and what it shares with the others.
    fn with<T>(&self, operation: impl FnOnce(&mut Dgrams, &mut Base) -> T) -> T {
        self.inet.with(|stack| {
            let (table, base) = stack.dgrams(self.flavour);
            operation(table, base)
        })
    }

    /// Looks at the socket.
    fn look<T>(&self, operation: impl FnOnce(&Pcb) -> T) -> Result<T> {
        self.inet.look(|stack| stack.dgrams_of(self.flavour).pcb(self.id).map(operation))
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
        self.with(|table, base| {
            let pcb = table.pcb_mut(self.id)?;
            let family = pcb.family;
            let endpoint = family.endpoint(addr)?;
            if pcb.remote.is_some() && self.flavour == Flavour::Raw
                || pcb.binding.is_some() && self.flavour != Flavour::Raw
            {
                return Err(Errno::EINVAL);
            }
            scope(addr, &mut pcb.options.device, pcb.options.multicast_link)?;
            if pcb.options.device.is_some_and(|device| base.link_by_index(device).is_none()) {
                return Err(Errno::ENODEV);
            }
            let free = pcb.options.may_bind_anything(self.ipv6);
            let addr = Some(endpoint.addr).filter(|addr| !addr.is_unspecified());
            if addr.is_some_and(|addr| !base.may_bind(&addr) && !free) {
                return Err(Errno::EADDRNOTAVAIL);
            }
            table.bind(base, self.id, Binding { family, addr, port: endpoint.port }, true)
        })
    }

    /// connect(2) without the client.
    pub fn connect_to(&self, addr: &Sockaddr) -> Result<()> {
        self.with(|table, base| {
            if *addr == Sockaddr::Unspec {
                return table.disconnect(self.id);
            }
            let pcb = table.pcb_mut(self.id)?;
            let remote = Self::endpoint(pcb.family, addr)?;
            scope(addr, &mut pcb.options.device, pcb.options.multicast_link)?;
            table.connect(base, self.id, remote)
        })
    }

    /// Sends a datagram.
    pub fn send_bytes(&self, data: &[u8], to: Option<&Sockaddr>) -> Result<usize> {
        self.send_as(data, to, Wish::default(), false)
    }

    fn send_as(&self, data: &[u8], to: Option<&Sockaddr>, mut wish: Wish, more: bool) -> Result<usize> {
        self.with(|table, base| {
            let family = table.pcb(self.id)?.family;
            if let Some(Sockaddr::Inet6 { scope_id: 1.., addr, .. }) = to
                && is_of_a_link(addr)
                && let Some(Sockaddr::Inet6 { scope_id, .. }) = to
            {
                base.named_link(*scope_id, &Ipv6Address::from(*addr).into())?;
                wish.link = wish.link.or(Some(*scope_id));
            }
            let to = to.map(|to| Self::endpoint(family, to)).transpose()?;
            let port_says = |to: &IpEndpoint| self.ipv6 && to.port != 0 && to.port != u16::from(self.protocol);
            if self.flavour == Flavour::Raw && to.as_ref().is_some_and(port_says) {
                return Err(Errno::EINVAL);
            }
            table.send_part(base, self.id, data, to, wish, more)
        })
    }

    /// Receives a datagram; what does not fit is lost.
    pub fn recv_bytes(&self, buf: &mut [u8], peek: bool) -> Result<Received> {
        if let Some(narrow) = self.with(|table, _| table.pcb_mut(self.id).ok()?.told_narrow()) {
            return Ok(narrow);
        }
        let host = self.inet.host().clone();
        self.with(|table, _| {
            table.recv(self.id, peek, |pcb, datagram| {
                let len = datagram.data.len().min(buf.len());
                buf[..len].copy_from_slice(&datagram.data[..len]);
                let control = pcb.control(datagram, || host.wall_clock());
                let flags = if len < datagram.data.len() { MSG_TRUNC } else { 0 };
                let full = datagram.data.len();
                let mut from = pcb.family.sockaddr(datagram.from);
                if let Sockaddr::Inet6 { addr, scope_id, .. } = &mut from {
                    *scope_id = if is_of_a_link(addr) { datagram.link } else { 0 };
                }
                Received { len, full, from: Some(from), flags, control, at_mark: false }
            })
        })
    }
}

impl Drop for DgramSocket {
    fn drop(&mut self) {
        self.with(|table, base| table.close(base, self.id));
    }
}

impl File for DgramSocket {
    fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.recv_bytes(buf, false).map(|received| received.len)
    }

    fn write(&self, buf: &[u8]) -> Result<usize> {
        self.send_bytes(buf, None)
    }

    fn ready(&self) -> Events {
        self.inet.look(|stack| stack.dgrams_of(self.flavour).ready(self.id))
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn stat(&self) -> Result<Stat> {
        Ok(crate::net::socket_stat())
    }

    fn ioctl(&self, cx: &Cx<'_>, command: u64, data: &mut [u8]) -> Result<()> {
        let fill =
            self.look(|pcb| (pcb.inbox.front().map_or(0, |datagram| datagram.data.len()), pcb.options.send_buffer));
        let (next, room) = fill.unwrap_or_default();
        ioctl::socket(
            cx,
            &self.inet,
            command,
            data,
            ioctl::Fill { readable: || Ok(next), unsent: 0, room, at_mark: None },
        )
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for DgramSocket {
    fn domain(&self) -> (i32, i32, i32) {
        let kind = if self.flavour == Flavour::Raw { SOCK_RAW } else { SOCK_DGRAM };
        (if self.ipv6 { AF_INET6 } else { AF_INET }, kind, self.protocol.into())
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
        let wish = Wish { direct: flags & MSG_DONTROUTE != 0, ..Wish::read(&control)? };
        self.send_as(data, to, wish, flags & MSG_MORE != 0)
    }

    fn recv(&self, _cx: &Cx<'_>, buf: &mut [u8], flags: i32) -> Result<Received> {
        if flags & MSG_ERRQUEUE != 0 {
            return self.with(|table, _| table.pcb_mut(self.id)?.take_trouble(buf));
        }
        self.recv_bytes(buf, flags & MSG_PEEK != 0)
    }

    fn is_ended(&self) -> bool {
        self.look(|pcb| pcb.shut_read).unwrap_or(false)
    }

    fn shutdown(&self, how: i32) -> Result<()> {
        self.with(|table, base| {
            let pcb = table.pcb_mut(self.id)?;
            if !matches!(how, SHUT_RD | SHUT_WR | SHUT_RDWR) {
                return Err(Errno::EINVAL);
            }
            if pcb.remote.is_none() {
                return Err(Errno::ENOTCONN);
            }
            pcb.shut_read |= how != SHUT_WR;
            pcb.shut_write |= how != SHUT_RD;
            base.wake(&pcb.queue, EVERYTHING);
            Ok(())
        })
    }

    fn local(&self) -> Result<Sockaddr> {
        self.look(|pcb| {
            let port = if self.flavour == Flavour::Raw { pcb.protocol.into() } else { 0 };
            let any = IpEndpoint::new(pcb.family.any(), port);
            let own = pcb.binding.map_or(any, |binding| binding.endpoint());
            pcb.family.sockaddr_on(own, pcb.options.device)
        })
    }

    fn peer(&self) -> Result<Sockaddr> {
        self.look(|pcb| {
            let remote = pcb.remote.ok_or(Errno::ENOTCONN)?;
            Ok(pcb.family.sockaddr_on(remote, pcb.options.device))
        })?
    }

    fn queued(&self) -> (usize, usize) {
        let readable = self.look(|pcb| pcb.inbox.iter().map(|datagram| datagram.data.len()).sum());
        (readable.unwrap_or(0), 0)
    }

    fn option(&self, level: i32, name: i32, max: usize) -> Result<Vec<u8>> {
        self.with(|table, base| {
            let pcb = table.pcb_mut(self.id)?;
            let value = match (level, name) {
                (SOL_SOCKET, SO_TYPE) => self.domain().1,
                (SOL_SOCKET, SO_ERROR) => pcb.error.take().map_or(0, Errno::raw),
                (SOL_SOCKET, SO_ACCEPTCONN) => 0,
                _ => return pcb.option(base, level, name, max),
            };
            Ok(value.to_le_bytes().to_vec())
        })
    }

    fn set_option(&self, _cx: &Cx<'_>, level: i32, name: i32, value: &[u8]) -> Result<()> {
        self.with(|table, base| {
            let pcb = table.pcb_mut(self.id)?;
            if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY) && self.ipv6 && pcb.binding.is_some() {
                return Err(Errno::EINVAL);
            }
            pcb.set_option(base, level, name, value)?;
            if self.ipv6 && self.flavour == Flavour::Udp {
                pcb.family = Family::V6 { v6only: pcb.options.v6only };
            }
            let corked = pcb.options.is_corked();
            if let Some(binding) = pcb.binding {
                let (addr, port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
                table.ports.agree(self.id, binding.port, addr, port);
            }
            if (level, name) == (IPPROTO_UDP_EXT, UDP_CORK) && !corked {
                table.uncork(base, self.id);
            }
            Ok(())
        })
    }

    fn waits(&self) -> Waits {
        self.look(|pcb| pcb.options.waits()).unwrap_or_default()
    }
}
