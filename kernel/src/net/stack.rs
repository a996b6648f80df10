//! The internet stack: interfaces, packets, timers. TCP and datagram sockets sit on top, in [`super::tcp`] and [`super::dgram`].
//!
//! One mutex guards the whole stack ([`Inet`]); it is never held across a copy from or to a client. Every operation goes
//! through [`Inet::with`], which takes the time, runs the operation, delivers all packets that it caused and wakes whoever
//! sleeps on a socket that changed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::{Errno, Result};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Instant;
use smoltcp::wire::{
    IpAddress, IpEndpoint, IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use super::checksum::Sum;
use super::dgram::{Arrival, Dgrams, Flavour, set_class};
use super::icmp::{self, Report};
use super::link::Link;
use super::tcp::Tcp;
use crate::dev;
use crate::file::Events;
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::wait::WaitQueue;

/// Called when the next timer is due earlier than was known.
pub type Kick = Box<dyn Fn() + Send + Sync>;

/// Pseudo-random numbers from a seed (SplitMix64): ports only, so they need not be secret.
pub struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The way to an address.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The interface, by its place in [`Base::links`].
    pub link: usize,
    /// The address to speak from.
    pub source: IpAddress,
    /// The longest packet.
    pub mtu: usize,
}

/// What all protocols share.
pub struct Base {
    /// The time of the operation in progress.
    pub now: Instant,
    /// Interfaces, `lo0` first.
    pub links: Vec<Link>,
    /// For ports.
    pub random: Random,
    /// Whom to ask for the memory of buffers.
    pub host: Arc<dyn Rumpuser>,
    /// What the spreading of flows over sockets is mixed with.
    pub spice: u64,
    /// Queues to wake when the stack's lock is gone, and what is new to each.
    pub woken: Vec<(Arc<WaitQueue>, Events)>,
}

impl Base {
    /// Whether `addr` is one of this host.
    pub fn is_ours(&self, addr: &IpAddress) -> bool {
        self.links.iter().any(|link| link.is_ours(addr))
    }

    /// Whether a socket may be bound to `addr`: one of this host, or a group's, as on Linux.
    pub fn may_bind(&self, addr: &IpAddress) -> bool {
        self.is_ours(addr) || addr.is_multicast() || self.is_broadcast(addr)
    }

    /// Returns the interface towards `to` and the address to speak from; `ENETUNREACH` without a route.
    pub fn route(&self, to: &IpAddress) -> Result<(usize, IpAddress)> {
        // A packet to one of our own addresses stays inside.
        let at = if self.is_ours(to) {
            Some(0)
        } else if let Some(at) = self.links.iter().position(|link| link.is_directed_broadcast(to)) {
            Some(at)
        } else {
            self.links
                .iter()
                .position(|link| !link.device.is_loopback() && link.addrs.iter().any(|cidr| cidr.contains_addr(to)))
        };
        let at = at.ok_or(Errno::ENETUNREACH)?;
        let own = self.links.iter().find(|link| link.is_ours(to)).map(|link| link.source_for(to));
        let source = own.unwrap_or_else(|| self.links[at].source_for(to));
        Ok((at, source.ok_or(Errno::EADDRNOTAVAIL)?))
    }

    /// Returns the way to `to`, through the interface at `only` if one is given.
    ///
    /// `ENETUNREACH` without a route.
    pub fn route_by(&self, to: &IpAddress, only: Option<usize>) -> Result<Way> {
        let (link, source) = match only {
            None => self.route(to)?,
            Some(link) => {
                let source = self.links.get(link).and_then(|link| link.source_for(to));
                (link, source.ok_or(Errno::ENETUNREACH)?)
            }
        };
        Ok(Way { link, source, mtu: self.links[link].device.mtu() })
    }

    /// Whether `addr` means all hosts of a network.
    pub fn is_broadcast(&self, addr: &IpAddress) -> bool {
        self.links.iter().any(|link| link.is_broadcast(addr))
    }

    /// Whether a packet to `addr` that came through an interface is for this host.
    pub fn accepts(&self, at: usize, addr: &IpAddress) -> bool {
        let link = &self.links[at];
        self.is_ours(addr) || link.is_broadcast(addr) || link.groups.iter().any(|(group, _)| group == addr)
    }

    /// Spreads flows over `count` sockets, a flow always to the same.
    pub fn spread(&self, local: IpEndpoint, remote: IpEndpoint, count: usize) -> usize {
        let mut mixed = self.spice;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                mixed = Random::new(mixed ^ u64::from(*byte)).draw();
            }
        };
        for end in [local, remote] {
            match end.addr {
                IpAddress::Ipv4(addr) => mix(&addr.octets()),
                IpAddress::Ipv6(addr) => mix(&addr.octets()),
            }
            mix(&end.port.to_le_bytes());
        }
        (mixed % count.max(1) as u64) as usize
    }

    /// Sends an IP packet, complete with all headers, on the way that [`Base::route`] has found.
    pub fn output(&mut self, link: usize, packet: Vec<u8>) {
        self.links[link].device.transmit(packet);
    }

    /// Returns a buffer for a packet to be sent through an interface; its contents are arbitrary.
    pub fn buffer(&mut self, link: usize, len: usize) -> Vec<u8> {
        self.links[link].device.buffer(len)
    }

    /// Which checksums packets through an interface must bear.
    pub fn checksums(&self, link: usize) -> ChecksumCapabilities {
        if self.links[link].device.is_loopback() {
            ChecksumCapabilities::ignored()
        } else {
            ChecksumCapabilities::default()
        }
    }

    /// Where the interface of a number stands in [`Base::links`].
    pub fn link_by_index(&self, index: u32) -> Option<usize> {
        self.links.iter().position(|link| link.index == index)
    }

    /// Where the interface of a name stands in [`Base::links`].
    pub fn link_by_name(&self, name: &[u8]) -> Option<usize> {
        self.links.iter().position(|link| link.name.as_bytes() == name)
    }

    /// Remembers a queue to be woken; see [`WaitQueue::wake_for`].
    pub fn wake(&mut self, queue: &Arc<WaitQueue>, news: Events) {
        match self.woken.last_mut().filter(|(last, _)| Arc::ptr_eq(last, queue)) {
            Some((_, all)) => *all |= news,
            None => self.woken.push((queue.clone(), news)),
        }
    }
}

/// The stack.
pub struct Stack {
    /// What TCP and UDP share.
    pub base: Base,
    /// TCP sockets.
    pub tcp: Tcp,
    /// UDP sockets.
    pub udp: Dgrams,
    /// Sockets for ICMP echoes.
    pub ping: Dgrams,
    /// Raw sockets.
    pub raw: Dgrams,
}

impl Stack {
    /// Makes a stack with `lo0`.
    pub fn new(host: Arc<dyn Rumpuser>, now: Instant, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let device = dev::net::KINDS.iter().find(|(kind, _)| *kind == "lo").map(|(_, open)| open());
        let links = device.map(|device| Link::loopback(device, now, random.draw())).into_iter().collect();
        let spice = random.draw();
        let base = Base { now, links, random, host, spice, woken: Vec::new() };
        let [udp, ping, raw] = [Flavour::Udp, Flavour::Ping, Flavour::Raw].map(Dgrams::new);
        Self { base, tcp: Tcp::default(), udp, ping, raw }
    }

    /// Returns the table of a flavour of datagram sockets, and what it shares with the others.
    pub fn dgrams(&mut self, flavour: Flavour) -> (&mut Dgrams, &mut Base) {
        let table = match flavour {
            Flavour::Udp => &mut self.udp,
            Flavour::Ping => &mut self.ping,
            Flavour::Raw => &mut self.raw,
        };
        (table, &mut self.base)
    }

    /// Returns the table of a flavour, for looking.
    pub fn dgrams_of(&self, flavour: Flavour) -> &Dgrams {
        match flavour {
            Flavour::Udp => &self.udp,
            Flavour::Ping => &self.ping,
            Flavour::Raw => &self.raw,
        }
    }

    /// Delivers packets until all is quiet, and runs the timers that are due.
    pub fn pump(&mut self) {
        loop {
            while let Some((at, frame)) = self.next_frame() {
                self.input(at, &frame);
                self.base.links[at].device.recycle(frame);
            }
            if !self.tcp.run_timer(&mut self.base) {
                return;
            }
        }
    }

    fn next_frame(&mut self) -> Option<(usize, Vec<u8>)> {
        let links = self.base.links.iter_mut().enumerate();
        links.into_iter().find_map(|(at, link)| Some((at, link.device.receive()?)))
    }

    /// Parses a frame once and hands it to the socket that it belongs to.
    fn input(&mut self, at: usize, frame: &[u8]) {
        let Some(packet) = Packet::parse(frame) else { return };
        if !self.base.accepts(at, &packet.to) {
            return;
        }
        let wanted = self.raw_input(at, frame, &packet);
        match packet.protocol {
            IpProtocol::Tcp => self.tcp_input(at, frame, &packet),
            IpProtocol::Udp => self.udp_input(at, &packet),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.echo(at, &packet),
            _ if wanted => {}
            _ => self.base.links[at].refuse(self.base.now, frame),
        }
    }

    fn tcp_input(&mut self, at: usize, frame: &[u8], packet: &Packet<'_>) {
        let Ok(segment) = TcpPacket::new_checked(packet.payload) else { return };
        let local = IpEndpoint::new(packet.to, segment.dst_port());
        let remote = IpEndpoint::new(packet.from, segment.src_port());
        let flags = super::tcp::Flags { syn: segment.syn() && !segment.ack(), rst: segment.rst() };
        if !self.tcp.input(&mut self.base, at, frame, local, remote, flags) {
            self.base.links[at].refuse(self.base.now, frame);
        }
    }

    /// Shows a packet to the raw sockets, and an echo's answer to the one that asked; whether any took it.
    fn raw_input(&mut self, at: usize, frame: &[u8], packet: &Packet<'_>) -> bool {
        let arrival = packet.arrival(self.base.links[at].index);
        let (ends, protocol) = ((packet.from, packet.to), u8::from(packet.protocol));
        if matches!(packet.protocol, IpProtocol::Icmp | IpProtocol::Icmpv6) {
            self.ping.echo_input(&mut self.base, &arrival, packet.to, packet.from, packet.payload);
        }
        self.raw.raw_input(&mut self.base, &arrival, ends, protocol, frame, packet.payload)
    }

    /// Answers an echo request that is for this host alone, with its type of service, as Linux does.
    fn echo(&mut self, at: usize, packet: &Packet<'_>) {
        const REQUESTS: [u8; 2] = [8, 128];
        const REPLIES: [u8; 2] = [0, 129];
        let v6 = usize::from(packet.to.version() == IpVersion::Ipv6);
        if packet.payload.first() != Some(&REQUESTS[v6]) || packet.payload.len() < 8 || !self.base.is_ours(&packet.to) {
            return;
        }
        let ip = IpRepr::new(packet.to, packet.from, packet.protocol, packet.payload.len(), 64);
        let mut frame = self.base.buffer(at, ip.header_len() + packet.payload.len());
        ip.emit(&mut frame[..], &ChecksumCapabilities::default());
        let message = &mut frame[ip.header_len()..];
        message.copy_from_slice(packet.payload);
        message[..4].copy_from_slice(&[REPLIES[v6], 0, 0, 0]);
        let sum = match packet.protocol {
            IpProtocol::Icmp => Sum::default(),
            protocol => Sum::default().pseudo_header(&packet.to, &packet.from, protocol, message.len()),
        };
        let sum = sum.with(message).finish();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        set_class(&mut frame, packet.class);
        self.base.output(at, frame);
    }

    fn udp_input(&mut self, at: usize, packet: &Packet<'_>) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else { return };
        let local = IpEndpoint::new(packet.to, datagram.dst_port());
        let remote = IpEndpoint::new(packet.from, datagram.src_port());
        let arrival = packet.arrival(self.base.links[at].index);
        let taken = self.udp.input(&mut self.base, &arrival, local, remote, datagram.payload());
        let for_one = !packet.to.is_multicast() && !self.base.is_broadcast(&packet.to);
        if !taken && for_one && self.base.is_ours(&packet.from) {
            // The port unreachable that ICMP would carry; both ends are here.
            self.icmp_error(&Report {
                local: remote,
                remote: local,
                protocol: IpProtocol::Udp,
                kind: icmp::Kind::Refused,
                from: packet.to,
                number: if packet.to.version() == IpVersion::Ipv4 { (3, 3) } else { (1, 4) },
                quoted: datagram.payload().to_vec(),
            });
        }
    }

    /// Tells the socket that has sent a packet what became of it.
    pub fn icmp_error(&mut self, report: &Report) {
        match report.protocol {
            IpProtocol::Tcp => self.tcp.icmp_error(&mut self.base, report),
            IpProtocol::Udp => self.udp.icmp_error(&mut self.base, report),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.ping.icmp_error(&mut self.base, report),
            _ => {}
        }
        self.raw.icmp_error(&mut self.base, report);
    }
}

/// An IP packet taken apart.
struct Packet<'a> {
    from: IpAddress,
    to: IpAddress,
    protocol: IpProtocol,
    hop_limit: u8,
    class: u8,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn arrival(&self, link: u32) -> Arrival {
        Arrival { link, hop_limit: self.hop_limit, class: self.class }
    }

    fn parse(frame: &'a [u8]) -> Option<Self> {
        match IpVersion::of_packet(frame).ok()? {
            IpVersion::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame).ok()?;
                Some(Self {
                    class: packet.dscp() << 2 | packet.ecn(),
                    from: packet.src_addr().into(),
                    to: packet.dst_addr().into(),
                    protocol: packet.next_header(),
                    hop_limit: packet.hop_limit(),
                    payload: packet.payload(),
                })
            }
            IpVersion::Ipv6 => {
                let packet = Ipv6Packet::new_checked(frame).ok()?;
                Some(Self {
                    class: packet.traffic_class(),
                    from: packet.src_addr().into(),
                    to: packet.dst_addr().into(),
                    protocol: packet.next_header(),
                    hop_limit: packet.hop_limit(),
                    payload: packet.payload(),
                })
            }
        }
    }
}

/// The stack behind its lock.
pub struct Inet {
    stack: Mutex<Stack>,
    host: Arc<dyn Rumpuser>,
    kick: Mutex<Option<Kick>>,
}

impl Inet {
    /// Makes the stack; its only random input is one seed of the host.
    pub fn new(host: Arc<dyn Rumpuser>) -> Self {
        let mut seed = [0; 8];
        host.random(&mut seed);
        let stack = Stack::new(host.clone(), instant(host.monotonic()), u64::from_le_bytes(seed));
        Self { stack: Mutex::new(stack), host, kick: Mutex::new(None) }
    }

    /// The host, for memory.
    pub fn host(&self) -> &Arc<dyn Rumpuser> {
        &self.host
    }

    /// Runs `operation` now, delivers what it caused, and wakes the sleepers.
    pub fn with<T>(&self, operation: impl FnOnce(&mut Stack) -> T) -> T {
        self.at(self.host.monotonic(), operation).0
    }

    /// Runs the timers that are due, and returns when the next one is.
    pub fn run_timers(&self, now: Duration) -> Option<Duration> {
        self.at(now, |_| ()).1
    }

    /// Only looks: nothing is delivered and nobody woken.
    pub fn look<T>(&self, operation: impl FnOnce(&Stack) -> T) -> T {
        operation(&lock(&self.stack))
    }

    fn at<T>(&self, now: Duration, operation: impl FnOnce(&mut Stack) -> T) -> (T, Option<Duration>) {
        let mut stack = lock(&self.stack);
        let before = stack.tcp.deadline();
        stack.base.now = stack.base.now.max(instant(now));
        let result = operation(&mut stack);
        stack.pump();
        let after = stack.tcp.deadline();
        let woken = std::mem::take(&mut stack.base.woken);
        drop(stack);
        woken.iter().for_each(|(queue, news)| queue.wake_for(*news));
        if after.is_some_and(|after| before.is_none_or(|before| after < before))
            && let Some(kick) = &*lock(&self.kick)
        {
            kick();
        }
        (result, after.map(|after| Duration::from_micros(after.total_micros().max(0) as u64)))
    }

    /// Sets what is called when a timer is due earlier than was known.
    pub fn set_kick(&self, kick: Kick) {
        *lock(&self.kick) = Some(kick);
    }
}

fn instant(time: Duration) -> Instant {
    Instant::from_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}
