//! Sockets that send and receive whole packets: UDP, ICMP echoes ("ping" sockets), and raw IP.
//!
//! They differ in what stands between IP's header and the data, and in how an arriving packet finds its socket; the rest is one
//! code. Each of the three has a table of its own ([`Dgrams`]), with ports of its own: a ping socket's port is the identifier of its
//! echoes, a raw socket has none. How they send stands in [`send`], how packets come in in [`input`], what control messages ask and
//! tell in [`told`], multicast groups in [`group`].

mod errors;
mod filter;
mod group;
mod input;
mod option;
mod send;
mod socket;
mod told;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM};
use abi::socket::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP, SO_BROADCAST, SO_REUSEADDR, SO_REUSEPORT};
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address};

use crate::file::Events;
use crate::net::addr::{Binding, Family};
use crate::net::option::{Kind, Options};
use crate::net::port::{Claim, Id, Ports};
use crate::net::stack::{Base, Way};
use crate::net::tcp::destination;
use crate::wait::{NOTHING_NEW, WaitQueue};

pub use self::input::Arrival;
pub use self::send::set_class;
pub use self::socket::DgramSocket;
pub use self::told::Wish;

/// What a queued datagram counts beside its bytes, so that empty ones are limited too.
const OVERHEAD: usize = 256;

/// What stands behind IP's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// UDP's header.
    #[default]
    Udp,
    /// An ICMP echo, whose identifier is the socket's port (icmp(7)).
    Ping,
    /// What the program puts there (raw(7)).
    Raw,
}

impl Flavour {
    /// The kind, as far as options differ.
    fn kind(self) -> Kind {
        match self {
            Self::Udp => Kind::Udp,
            Self::Ping => Kind::Ping,
            Self::Raw => Kind::Raw,
        }
    }

    /// The protocol of a socket that asked for none.
    pub fn protocol(self, family: Family) -> u8 {
        match (self, family) {
            (Self::Udp, _) => IPPROTO_UDP as u8,
            (Self::Ping, Family::V4) => IPPROTO_ICMP as u8,
            (Self::Ping, Family::V6 { .. }) => IPPROTO_ICMPV6 as u8,
            (Self::Raw, _) => 0,
        }
    }
}

/// Buffers of a socket that are kept for the datagrams to come.
const SPARE: usize = 4;

/// The largest that is.
const SPARE_BYTES: usize = 2048;

/// A datagram that arrived.
pub struct Datagram {
    /// Who sent it.
    pub from: IpEndpoint,
    /// The address it was sent to.
    pub to: IpAddress,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type of service or traffic class.
    pub class: u8,
    /// Number of the interface that it came through.
    pub link: u32,
    /// The address to answer from, if it was sent to many.
    pub answer_from: Option<Ipv4Address>,
    /// When it came (time of day), if the socket wants to know.
    pub at: Option<std::time::Duration>,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// A socket.
pub struct Pcb {
    /// Address family.
    pub family: Family,
    /// The protocol in IP's header.
    pub protocol: u8,
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
    /// The error queue (`MSG_ERRQUEUE`); empty without `IP_RECVERR`.
    troubles: VecDeque<errors::Trouble>,
    /// What arrived.
    pub inbox: VecDeque<Datagram>,
    inbox_bytes: usize,
    /// Empty buffers for what arrives.
    spare: Vec<Vec<u8>>,
    /// Whether reading was shut down.
    pub shut_read: bool,
    /// Whether writing was shut down.
    pub shut_write: bool,
    /// A datagram that waits for more.
    corked: Option<send::Corked>,
    /// Where something did not go that must not be cut, and how long it may be (`IPV6_RECVPATHMTU`).
    narrow: Option<(IpAddress, usize)>,
    /// Groups that it has joined, each on an interface.
    groups: Vec<group::Membership>,
    /// Types of ICMP messages that a raw socket does not want.
    filter: filter::Filter,
}

/// All sockets of one flavour.
#[derive(Default)]
pub struct Dgrams {
    flavour: Flavour,
    pcbs: HashMap<Id, Pcb>,
    next: Id,
    /// Ports.
    pub ports: Ports,
}

impl Dgrams {
    /// Makes the table of a flavour.
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, ..Self::default() }
    }

    /// Makes a socket of a protocol.
    pub fn open(&mut self, family: Family, protocol: u8) -> Id {
        self.next += 1;
        let mut options = Options::new(self.flavour.kind(), family != Family::V4);
        if self.flavour == Flavour::Raw && i32::from(protocol) == abi::socket::IPPROTO_RAW {
            options.header_included = true;
        }
        let pcb = Pcb {
            family,
            protocol,
            queue: Arc::default(),
            options,
            binding: None,
            bound_explicitly: false,
            remote: None,
            error: None,
            troubles: VecDeque::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            spare: Vec::new(),
            shut_read: false,
            shut_write: false,
            corked: None,
            narrow: None,
            groups: Vec::new(),
            filter: filter::Filter::default(),
        };
        self.pcbs.insert(self.next, pcb);
        self.next
    }

    /// Removes a socket.
    pub fn close(&mut self, base: &mut Base, id: Id) {
        let Some(pcb) = self.pcbs.remove(&id) else { return };
        pcb.groups.iter().for_each(|membership| membership.end(base));
        if let Some(binding) = pcb.binding {
            self.ports.release(id, binding.port);
        }
    }

    /// Whether there is no socket.
    pub fn is_empty(&self) -> bool {
        self.pcbs.is_empty()
    }

    /// Returns a socket.
    pub fn pcb(&self, id: Id) -> Result<&Pcb> {
        self.pcbs.get(&id).ok_or(Errno::EBADF)
    }

    /// Returns a socket for changing.
    pub fn pcb_mut(&mut self, id: Id) -> Result<&mut Pcb> {
        self.pcbs.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// bind(2); port 0 is any free one. A raw socket has no port, and may be bound again, as on Linux.
    pub fn bind(&mut self, base: &mut Base, id: Id, mut binding: Binding, explicitly: bool) -> Result<()> {
        let pcb = self.pcbs.get_mut(&id).ok_or(Errno::EBADF)?;
        if self.flavour == Flavour::Raw {
            binding.port = pcb.protocol.into();
            (pcb.binding, pcb.bound_explicitly) = (Some(binding), explicitly);
            return Ok(());
        }
        if pcb.binding.is_some() {
            return Err(Errno::EINVAL);
        }
        if binding.port == 0 {
            binding.port =
                self.ports.ephemeral(&mut base.random, base.settings.ports, |_| false).ok_or(Errno::EADDRINUSE)?;
        }
        let (reuse_addr, reuse_port) = (pcb.options.has(SO_REUSEADDR), pcb.options.has(SO_REUSEPORT));
        self.ports.claim(Claim { id, binding, reuse_addr, reuse_port, exclusive: false })?;
        pcb.binding = Some(binding);
        pcb.bound_explicitly = explicitly;
        Ok(())
    }

    /// connect(2): from now on the socket speaks with one peer only. `EACCES` for a broadcast address without `SO_BROADCAST`.
    pub fn connect(&mut self, base: &mut Base, id: Id, remote: IpEndpoint) -> Result<()> {
        let remote = destination(remote);
        let pcb = self.pcb(id)?;
        let source = pcb.way(base, &remote.addr)?.source;
        if base.is_broadcast(&remote.addr) && !pcb.options.has(SO_BROADCAST) {
            return Err(Errno::EACCES);
        }
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

    /// Dissolves what [`Dgrams::connect`] made.
    pub fn disconnect(&mut self, id: Id) -> Result<()> {
        let pcb = self.pcb_mut(id)?;
        pcb.remote = None;
        if let Some(binding) = pcb.binding.take_if(|_| !pcb.bound_explicitly) {
            self.ports.release(id, binding.port);
        }
        Ok(())
    }

    /// Takes the oldest datagram, or with `peek` only shows it; `EAGAIN` if there is none.
    pub fn recv<T>(&mut self, id: Id, peek: bool, show: impl FnOnce(&Pcb, &Datagram) -> T) -> Result<T> {
        let pcb = self.pcb_mut(id)?;
        if let Some(error) = pcb.error.take() {
            return Err(error);
        }
        let Some(datagram) = pcb.inbox.front() else {
            return Err(Errno::EAGAIN);
        };
        let shown = show(pcb, datagram);
        if !peek && let Some(mut datagram) = pcb.inbox.pop_front() {
            pcb.inbox_bytes -= datagram.data.len() + OVERHEAD;
            if pcb.spare.len() < SPARE && datagram.data.capacity() <= SPARE_BYTES {
                datagram.data.clear();
                pcb.spare.push(datagram.data);
            }
        }
        Ok(shown)
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
        if pcb.shut_read && pcb.shut_write {
            events |= POLLHUP;
        }
        if pcb.error.is_some() || !pcb.troubles.is_empty() {
            events |= POLLERR;
        }
        events
    }
}

impl Pcb {
    /// Returns the way to `to`, by `SO_BINDTODEVICE`, by `IP_MULTICAST_IF` for a group, in IPv4 for a group and for everybody by the interface
    /// of the address that it is bound to, or by the routes.
    fn way(&self, base: &Base, to: &IpAddress) -> Result<Way> {
        let by_group = if to.is_multicast() { self.options.multicast_link } else { None };
        let to_many = matches!(to, IpAddress::Ipv4(to) if to.is_multicast() || to.is_broadcast());
        let source = self.binding.and_then(|binding| binding.source()).filter(|_| to_many);
        let by_source = source.and_then(|own| base.links.iter().find(|link| link.is_ours(&own))).map(|link| link.index);
        let only = self.options.device.or(by_group).or(by_source).map(|index| base.named_link(index, to));
        base.route_by(to, only.transpose()?)
    }
}
