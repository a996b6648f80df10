//! UDP in the stack: sockets, delivery, the datagrams themselves.

mod socket;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use abi::poll::{POLLERR, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM};
use abi::socket::{IPPROTO_IP, IPPROTO_IPV6, SO_BROADCAST, SO_REUSEADDR, SO_REUSEPORT};
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol, IpRepr, UdpPacket, UdpRepr};

use crate::file::Events;
use crate::net::addr::{Binding, Family};
use crate::net::icmp::Report;
use crate::net::option::{Kind, Options};
use crate::net::port::{Claim, Id, Ports};
use crate::net::stack::Base;
use crate::net::tcp::destination;
use crate::wait::{NOTHING_NEW, WaitQueue};

pub use self::socket::UdpSocket;

/// The most that fits an IPv4 datagram.
const MAX_V4: usize = 65535 - 20 - 8;
/// The most that fits an IPv6 datagram.
const MAX_V6: usize = 65535 - 8;
/// What a queued datagram counts beside its bytes, so that empty ones are limited too.
const OVERHEAD: usize = 256;

/// A datagram that arrived.
pub struct Datagram {
    /// Who sent it.
    pub from: IpEndpoint,
    /// The address it was sent to.
    pub to: IpAddress,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// A UDP socket.
pub struct Pcb {
    /// Address family.
    pub family: Family,
    /// Woken when something changed.
    pub queue: Arc<WaitQueue>,
    /// Options.
    pub options: Options,
    /// What it is bound to.
    pub binding: Option<Binding>,
    bound_explicitly: bool,
    /// Where it is connected to.
    pub remote: Option<IpEndpoint>,
    /// `SO_ERROR`.
    pub error: Option<Errno>,
    /// What arrived.
    pub inbox: VecDeque<Datagram>,
    inbox_bytes: usize,
    /// Whether reading was shut down.
    pub shut_read: bool,
    /// Whether writing was shut down.
    pub shut_write: bool,
    /// A datagram that waits for more.
    corked: Option<Corked>,
}

/// The beginning of a datagram (`MSG_MORE`, `UDP_CORK`): where it goes is what its first part said.
#[derive(Debug)]
struct Corked {
    data: Vec<u8>,
    to: Option<IpEndpoint>,
    wish: Wish,
}

/// What control messages ask for one datagram, whatever the socket's options say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// The address to send from (`IP_PKTINFO`, `IPV6_PKTINFO`).
    pub source: Option<IpAddress>,
    /// TTL or hop limit (`IP_TTL`, `IPV6_HOPLIMIT`).
    pub hop_limit: Option<u8>,
}

/// The way that a datagram goes.
struct Route {
    link: usize,
    from: IpEndpoint,
    to: IpEndpoint,
    hop_limit: u8,
}

/// All of UDP.
#[derive(Default)]
pub struct Udp {
    pcbs: HashMap<Id, Pcb>,
    next: Id,
    /// Ports.
    pub ports: Ports,
}

impl Udp {
    /// Makes a socket.
    pub fn open(&mut self, family: Family) -> Id {
        self.next += 1;
        let pcb = Pcb {
            family,
            queue: Arc::default(),
            options: Options::new(Kind::Udp, family != Family::V4),
            binding: None,
            bound_explicitly: false,
            remote: None,
            error: None,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            shut_read: false,
            shut_write: false,
            corked: None,
        };
        self.pcbs.insert(self.next, pcb);
        self.next
    }

    /// Removes a socket.
    pub fn close(&mut self, id: Id) {
        if let Some(Pcb { binding: Some(binding), .. }) = self.pcbs.remove(&id) {
            self.ports.release(id, binding.port);
        }
    }

    /// Returns a socket.
    pub fn pcb(&self, id: Id) -> Result<&Pcb> {
        self.pcbs.get(&id).ok_or(Errno::EBADF)
    }

    /// Returns a socket for changing.
    pub fn pcb_mut(&mut self, id: Id) -> Result<&mut Pcb> {
        self.pcbs.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// bind(2); port 0 is any free one.
    pub fn bind(&mut self, base: &mut Base, id: Id, mut binding: Binding, explicitly: bool) -> Result<()> {
        let pcb = self.pcbs.get_mut(&id).ok_or(Errno::EBADF)?;
        if pcb.binding.is_some() {
            return Err(Errno::EINVAL);
        }
        if binding.port == 0 {
            binding.port = self.ports.ephemeral(&mut base.random, |_| false).ok_or(Errno::EADDRINUSE)?;
        }
        let (reuse_addr, reuse_port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
        self.ports.claim(Claim { id, binding, reuse_addr, reuse_port, exclusive: false })?;
        pcb.binding = Some(binding);
        pcb.bound_explicitly = explicitly;
        Ok(())
    }

    /// connect(2): from now on the socket speaks with one peer only.
    pub fn connect(&mut self, base: &mut Base, id: Id, remote: IpEndpoint) -> Result<()> {
        let remote = destination(remote);
        let (_, source) = base.route(&remote.addr)?;
        let pcb = self.pcb(id)?;
        let family = pcb.family;
        match pcb.binding {
            None => self.bind(base, id, Binding { family, addr: Some(source), port: 0 }, false)?,
            Some(Binding { addr: None, port, .. }) => {
                let binding = Binding { family, addr: Some(source), port };
                self.ports.narrow(id, binding);
                self.pcb_mut(id)?.binding = Some(binding);
            }
            Some(Binding { addr: Some(addr), .. }) if addr.version() != remote.addr.version() => {
                return Err(Errno::ENETUNREACH);
            }
            Some(_) => {}
        }
        let pcb = self.pcb_mut(id)?;
        pcb.remote = Some(remote);
        base.wake(&pcb.queue, NOTHING_NEW);
        Ok(())
    }

    /// Dissolves what [`Udp::connect`] made.
    pub fn disconnect(&mut self, id: Id) -> Result<()> {
        let pcb = self.pcb_mut(id)?;
        pcb.remote = None;
        if let Some(binding) = pcb.binding.take_if(|_| !pcb.bound_explicitly) {
            self.ports.release(id, binding.port);
        }
        Ok(())
    }

    /// Sends one datagram, or a part of one if there is `more` to come. As on Linux, a datagram that does not become one is lost whole,
    /// and the parts behind its first go where that goes.
    pub fn send_part(
        &mut self,
        base: &mut Base,
        id: Id,
        data: &[u8],
        to: Option<IpEndpoint>,
        wish: Wish,
        more: bool,
    ) -> Result<usize> {
        let pcb = self.pcb_mut(id)?;
        let more = more || pcb.options.is_corked();
        match pcb.corked.take() {
            None if more => {
                self.prepare(base, id, data, to, wish)?;
                let remote = to.or(self.pcb(id)?.remote);
                self.pcb_mut(id)?.corked = Some(Corked { data: data.to_vec(), to: remote, wish });
            }
            None => return self.send(base, id, data, to, wish),
            Some(mut corked) => {
                corked.data.extend_from_slice(data);
                match more {
                    true => {
                        self.prepare(base, id, &corked.data, corked.to, corked.wish)?;
                        self.pcb_mut(id)?.corked = Some(corked);
                    }
                    false => drop(self.send(base, id, &corked.data, corked.to, corked.wish)?),
                }
            }
        }
        Ok(data.len())
    }

    /// Sends what waits for more, which will not come.
    pub fn uncork(&mut self, base: &mut Base, id: Id) {
        let corked = self.pcb_mut(id).ok().and_then(|pcb| pcb.corked.take());
        if let Some(Corked { data, to, wish }) = corked {
            // Who sets an option is not told.
            let _ = self.send(base, id, &data, to, wish);
        }
    }

    /// Sends one datagram.
    fn send(&mut self, base: &mut Base, id: Id, data: &[u8], to: Option<IpEndpoint>, wish: Wish) -> Result<usize> {
        let Route { link, from, to, hop_limit } = self.prepare(base, id, data, to, wish)?;
        let frame = frame(base, link, from, to, hop_limit, data);
        base.output(link, frame);
        Ok(data.len())
    }

    /// Finds the way of a datagram. `EINVAL` for a source that is not of this host.
    fn prepare(&mut self, base: &mut Base, id: Id, data: &[u8], to: Option<IpEndpoint>, wish: Wish) -> Result<Route> {
        let pcb = self.pcb_mut(id)?;
        if let Some(error) = pcb.error.take() {
            return Err(error);
        }
        if pcb.shut_write {
            return Err(Errno::EPIPE);
        }
        let remote = destination(to.or(pcb.remote).ok_or(Errno::EDESTADDRREQ)?);
        let max = if remote.addr.version() == smoltcp::wire::IpVersion::Ipv4 { MAX_V4 } else { MAX_V6 };
        if data.len() > max.min(pcb.options.send_buffer) {
            return Err(Errno::EMSGSIZE);
        }
        if remote.port == 0 {
            return Err(Errno::EINVAL);
        }
        if remote.addr.is_broadcast() && !pcb.options.has(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
        let (link, source) = base.route(&remote.addr)?;
        if wish.source.is_some_and(|source| !base.is_ours(&source)) {
            return Err(Errno::EINVAL);
        }
        let (family, hop_limit) = (pcb.family, wish.hop_limit.or(pcb.options.hop_limit).unwrap_or(64));
        if pcb.binding.is_none() {
            self.bind(base, id, Binding { family, addr: None, port: 0 }, true)?;
        }
        let binding = self.pcb(id)?.binding.ok_or(Errno::EINVAL)?;
        let source = wish.source.or(binding.source()).unwrap_or(source);
        if source.version() != remote.addr.version() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(Route { link, from: IpEndpoint::new(source, binding.port), to: remote, hop_limit })
    }

    /// Delivers a datagram to the socket that fits best; whether there was one.
    pub fn input(
        &mut self,
        base: &mut Base,
        local: IpEndpoint,
        remote: IpEndpoint,
        hop_limit: u8,
        data: &[u8],
    ) -> bool {
        let fit = |claim: &Claim| {
            let pcb = self.pcbs.get(&claim.id)?;
            let connected = pcb.remote.is_some();
            let wanted = pcb.binding?.covers(&local.addr) && pcb.remote.is_none_or(|only| only == remote);
            let same_family = pcb.family.any().version() == local.addr.version();
            wanted.then_some((connected, pcb.binding?.addr.is_some(), same_family))
        };
        let fitting = self.ports.at(local.port).iter().filter_map(|claim| Some((fit(claim)?, claim.id)));
        let Some((_, id)) = fitting.max() else { return false };
        let Some(pcb) = self.pcbs.get_mut(&id) else { return false };
        let cost = data.len() + OVERHEAD;
        let room = pcb.inbox.is_empty() || pcb.inbox_bytes + cost <= pcb.options.receive_buffer;
        if room && !pcb.shut_read {
            pcb.inbox_bytes += cost;
            pcb.inbox.push_back(Datagram { from: remote, to: local.addr, hop_limit, data: data.to_vec() });
            base.wake(&pcb.queue, POLLIN | POLLRDNORM);
        }
        true
    }

    /// Tells the socket that has sent a datagram what became of it; only a connected one hears it.
    pub fn icmp_error(&mut self, base: &mut Base, report: &Report) {
        let claims = self.ports.at(report.local.port).iter().map(|claim| claim.id);
        for id in claims {
            let Some(pcb) = self.pcbs.get_mut(&id) else { continue };
            let sender = pcb.binding.is_some_and(|binding| binding.covers(&report.local.addr));
            if sender && pcb.remote == Some(report.remote) {
                pcb.error = Some(report.kind.errno());
                base.wake(&pcb.queue, POLLERR);
            }
        }
    }

    /// Takes the oldest datagram, or with `peek` only shows it; `Ok(None)` after shutdown, `EAGAIN` if there is none.
    pub fn recv<T>(&mut self, id: Id, peek: bool, show: impl FnOnce(&Pcb, &Datagram) -> T) -> Result<Option<T>> {
        let pcb = self.pcb_mut(id)?;
        if let Some(error) = pcb.error.take() {
            return Err(error);
        }
        let Some(datagram) = pcb.inbox.front() else {
            return if pcb.shut_read { Ok(None) } else { Err(Errno::EAGAIN) };
        };
        let shown = show(pcb, datagram);
        if !peek && let Some(datagram) = pcb.inbox.pop_front() {
            pcb.inbox_bytes -= datagram.data.len() + OVERHEAD;
        }
        Ok(Some(shown))
    }

    /// Returns the events of poll(2) that hold now, as Linux has them.
    pub fn ready(&self, id: Id) -> Events {
        let Ok(pcb) = self.pcb(id) else { return 0 };
        let mut events = POLLOUT;
        if !pcb.inbox.is_empty() {
            events |= POLLIN | POLLRDNORM;
        }
        if pcb.shut_read {
            events |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if pcb.error.is_some() {
            events |= POLLERR;
        }
        events
    }
}

impl Pcb {
    /// Returns what the options ask to be told of a datagram, as control messages: level, type, data.
    pub fn control(&self, datagram: &Datagram) -> Vec<(i32, i32, Vec<u8>)> {
        use abi::socket::{IP_PKTINFO, IP_RECVDSTADDR, IP_RECVTTL, IPV6_HOPLIMIT, IPV6_PKTINFO};
        let index = 1u32.to_le_bytes();
        let hops = datagram.hop_limit;
        let mut control = Vec::new();
        match (datagram.to, self.family) {
            (IpAddress::Ipv4(to), Family::V4) => {
                let to = to.octets().to_vec();
                if self.options.want_destination {
                    control.push((IPPROTO_IP, IP_RECVDSTADDR, to.clone()));
                }
                if self.options.want_packet_info {
                    control.push((IPPROTO_IP, IP_PKTINFO, [to, index.to_vec()].concat()));
                }
                if self.options.want_hop_limit {
                    control.push((IPPROTO_IP, IP_RECVTTL, vec![hops]));
                }
            }
            (to, _) => {
                let to = match to {
                    IpAddress::Ipv4(to) => to.to_ipv6_mapped().octets(),
                    IpAddress::Ipv6(to) => to.octets(),
                };
                if self.options.want_packet_info {
                    control.push((IPPROTO_IPV6, IPV6_PKTINFO, [&to[..], &index].concat()));
                }
                if self.options.want_hop_limit {
                    control.push((IPPROTO_IPV6, IPV6_HOPLIMIT, i32::from(hops).to_le_bytes().to_vec()));
                }
            }
        }
        control
    }
}

/// Makes the IP packet of a datagram.
fn frame(base: &mut Base, link: usize, from: IpEndpoint, to: IpEndpoint, hop_limit: u8, data: &[u8]) -> Vec<u8> {
    let checksums = base.checksums(link);
    let udp = UdpRepr { src_port: from.port, dst_port: to.port };
    let length = udp.header_len() + data.len();
    let ip = IpRepr::new(from.addr, to.addr, IpProtocol::Udp, length, hop_limit);
    let mut frame = base.buffer(link, ip.header_len() + length);
    ip.emit(&mut frame[..], &checksums);
    let mut packet = UdpPacket::new_unchecked(&mut frame[ip.header_len()..]);
    udp.emit(&mut packet, &from.addr, &to.addr, data.len(), |buf| buf.copy_from_slice(data), &checksums);
    frame
}
