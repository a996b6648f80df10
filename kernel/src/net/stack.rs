//! The internet stack: interfaces, packets, timers. TCP and datagram sockets sit on top, in [`super::tcp`] and [`super::dgram`].
//!
//! One mutex guards the whole stack ([`Inet`]); it is never held across a copy from or to a client. Every operation goes
//! through [`Inet::with`], which takes the time, runs the operation, delivers all packets that it caused and wakes whoever
//! sleeps on a socket that changed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpEndpoint, IpProtocol, IpVersion, TcpPacket, UdpPacket};

use super::counters::{Counters, Ip, TcpStat, Udp, version};
use super::dgram::{Arrival, Dgrams, Flavour};
use super::icmp::{self, Report};
use super::link::{Link, Links};
use super::packet::Packet;
use super::tcp::Tcp;
use super::{frag, neighbour, packet, route};
use crate::dev::loopback::Loopback;
use crate::file::Events;
use crate::proc::lock;
use crate::rumpuser::Rumpuser;
use crate::wait::{WaitQueue, Wakes};

/// Frames from outside that one operation takes at most.
const FRAMES: usize = 256;

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
    /// Whether no router is in between.
    pub direct: bool,
}

/// Values of sysctl(7) that the stack goes by.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `net.inet.ip.forwarding`.
    pub forward4: bool,
    /// `net.inet6.ip6.forwarding`.
    pub forward6: bool,
    /// `net.inet6.ip6.accept_rtadv`: believe routers.
    pub accept_routers: bool,
    /// `net.inet6.ip6.dad_count`: questions whether anybody has an address; 0 is not to ask.
    pub dad_count: u8,
    /// `net.inet.icmp.rediraccept`: believe a router that knows a better one.
    pub accept_redirects4: bool,
    /// `net.inet6.icmp6.rediraccept`: the same.
    pub accept_redirects6: bool,
    /// `net.inet.ip.redirect`: tell hosts of better routers than this one.
    pub send_redirects4: bool,
    /// `net.inet6.ip6.redirect`: the same.
    pub send_redirects6: bool,
    /// `net.inet.ip.anonportmin` and `net.inet.ip.anonportmax`: the ports that are handed out.
    pub ports: (u16, u16),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            forward4: false,
            forward6: false,
            accept_routers: true,
            dad_count: 1,
            accept_redirects4: true,
            accept_redirects6: true,
            send_redirects4: true,
            send_redirects6: true,
            ports: super::port::EPHEMERAL,
        }
    }
}

/// What all protocols share.
pub struct Base {
    /// The time of the operation in progress.
    pub now: Instant,
    /// Interfaces, `lo0` first.
    pub links: Links,
    /// Which way packets go.
    pub routes: route::Table,
    /// Who is on the links.
    pub neighbours: neighbour::Cache,
    /// Packets of which parts have come.
    pub pieces: frag::Reassembly,
    /// How long packets to some hosts may be, and until when that is believed.
    pub path_mtus: HashMap<IpAddress, (usize, Instant)>,
    /// Values that can be set.
    pub settings: Settings,
    /// What is counted.
    pub counters: Counters,
    /// What became of packets, to be told to sockets.
    pub reports: Vec<Report>,
    /// Packets that this host has sent to everybody on a link, itself included: the interface's place, and the packet.
    pub(super) looped: VecDeque<(usize, Vec<u8>)>,
    /// How many error messages may be sent at the moment, and since when that was counted.
    pub(super) errors_left: (u32, Instant),
    /// For ports.
    pub random: Random,
    /// Whom to ask for the memory of buffers.
    pub host: Arc<dyn Rumpuser>,
    /// What the spreading of flows over sockets is mixed with.
    pub spice: u64,
    /// Queues to wake when the stack's lock is gone, and what is new to each.
    pub woken: Wakes,
    /// Not later than what is due first of all that is not TCP's.
    pub(super) due: Option<Instant>,
    /// Who hears of changes.
    pub(super) watch: super::routing::Watch,
    /// The number of the interface that was made last.
    pub(super) last_index: u32,
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

    /// Whether `addr` means all hosts of a network.
    pub fn is_broadcast(&self, addr: &IpAddress) -> bool {
        self.links.iter().any(|link| link.is_broadcast(addr))
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
        self.links.places().find(|(_, link)| link.index == index).map(|(at, _)| at)
    }

    /// The same for one that packets to `to` are to leave by; without such an interface `ENODEV`, for IPv6 `ENETUNREACH`, as on Linux.
    pub fn named_link(&self, index: u32, to: &IpAddress) -> abi::Result<usize> {
        let missing = if matches!(to, IpAddress::Ipv4(_)) { abi::Errno::ENODEV } else { abi::Errno::ENETUNREACH };
        self.link_by_index(index).ok_or(missing)
    }

    /// Where the interface of a name stands in [`Base::links`].
    pub fn link_by_name(&self, name: &[u8]) -> Option<usize> {
        self.links.places().find(|(_, link)| link.name.as_bytes() == name).map(|(at, _)| at)
    }

    /// Remembers a queue to be woken; see [`WaitQueue::wake_for`].
    pub fn wake(&mut self, queue: &Arc<WaitQueue>, news: Events) {
        self.woken.add(queue, news);
    }
}

/// The stack.
pub struct Stack {
    /// What all protocols share.
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
        let lo = Link::loopback(Box::new(Loopback::default()), now, random.draw());
        let spice = random.draw();
        let base = Base {
            now,
            spice,
            links: Links::new([lo]),
            routes: route::Table::default(),
            neighbours: neighbour::Cache::default(),
            pieces: frag::Reassembly::default(),
            path_mtus: HashMap::new(),
            settings: Settings::default(),
            counters: Counters::default(),
            reports: Vec::new(),
            looped: VecDeque::new(),
            errors_left: (50, now),
            random,
            host,
            woken: Wakes::default(),
            due: None,
            watch: super::routing::Watch::default(),
            last_index: 1,
        };
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

    /// Delivers packets until all is quiet, and runs the timers that are due. Of what comes from outside only so much is taken at once:
    /// the devices ask for the rest.
    pub fn pump(&mut self) {
        let mut from_outside = FRAMES;
        loop {
            self.base.run_timers();
            while let Some((at, packet)) = self.base.looped.pop_front() {
                self.input(at, &packet);
                self.tell();
            }
            while let Some((at, frame)) = self.next_frame(&mut from_outside) {
                self.frame(at, &frame);
                self.base.links[at].device.recycle(frame);
                self.tell();
            }
            self.tell();
            if !self.tcp.run_timer(&mut self.base) && self.base.looped.is_empty() {
                break;
            }
        }
        let now = self.base.now;
        self.base.links.iter_mut().for_each(|(_, link)| link.device.flush(now));
    }

    /// When [`Stack::pump`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        [self.tcp.deadline(), self.base.deadline()].into_iter().flatten().min()
    }

    /// Sends what the engines have made, and tells sockets what became of their packets.
    fn tell(&mut self) {
        self.base.flush();
        while let Some(report) = self.base.reports.pop() {
            self.icmp_error(&report);
            self.base.flush();
        }
    }

    fn next_frame(&mut self, from_outside: &mut usize) -> Option<(usize, Vec<u8>)> {
        let now = self.base.now;
        for (at, link) in self.base.links.iter_mut() {
            if link.device.is_loopback() {
                if let Some(frame) = link.device.receive(now) {
                    return Some((at, frame));
                }
            } else if *from_outside > 0
                && let Some(frame) = link.device.receive(now)
            {
                *from_outside -= 1;
                return Some((at, frame));
            }
        }
        None
    }

    /// Takes a frame in.
    fn frame(&mut self, at: usize, frame: &[u8]) {
        if !self.base.links[at].is_ethernet() {
            return self.input(at, frame);
        }
        if let Some(packet) = self.base.ethernet_input(at, frame) {
            self.input(at, packet);
        }
    }

    /// Parses a packet once and hands it to the socket that it belongs to.
    pub fn input(&mut self, at: usize, bytes: &[u8]) {
        let trusted = self.base.links[at].device.is_loopback();
        self.base.counters.ip(usize::from(bytes.first().is_some_and(|head| head >> 4 == 6)), Ip::TOTAL);
        if trusted {
            // What the loopback brings was sent here, some of it by engines that know no other way.
            self.base.counters.sent(bytes);
        }
        let Some(packet) = Packet::parse(bytes, trusted).filter(|packet| self.base.is_credible(at, packet)) else {
            return self.base.counters.senseless(bytes);
        };
        if !self.base.accepts(at, &packet.to) {
            return self.base.forward(at, &packet);
        }
        if packet.piece.is_none() {
            return self.deliver(at, &packet);
        }
        self.base.counters.ip(version(&packet.to), Ip::FRAGMENTS);
        let whole = self.base.pieces.add(self.base.now, &packet);
        self.base.note_due(self.base.now + frag::PATIENCE);
        if let Some(whole) = whole {
            self.base.counters.ip(version(&packet.to), Ip::REASSEMBLED);
            if let Some(packet) = Packet::parse(&whole, true) {
                self.deliver(at, &packet);
            }
        }
    }

    fn deliver(&mut self, at: usize, packet: &Packet<'_>) {
        self.base.counters.ip(version(&packet.to), Ip::DELIVERED);
        let wanted = self.raw_input(at, packet);
        match packet.protocol {
            IpProtocol::Tcp => self.tcp_input(at, packet),
            IpProtocol::Udp => self.udp_input(at, packet),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.base.icmp_input(at, packet),
            IpProtocol::Igmp => {
                let _ = self.base.igmp_input(at, packet);
            }
            IpProtocol::Ipv6NoNxt => {}
            _ if wanted => {}
            _ => {
                self.base.counters.unserved(version(&packet.to));
                self.base.refuse(at, packet, icmp::Problem::Protocol);
            }
        }
    }

    /// Shows a packet to the raw sockets, and an echo's answer to the one that asked; whether any took it.
    fn raw_input(&mut self, at: usize, packet: &Packet<'_>) -> bool {
        let arrival = self.arrival(at, packet);
        let (ends, protocol) = ((packet.from, packet.to), u8::from(packet.protocol));
        if matches!(packet.protocol, IpProtocol::Icmp | IpProtocol::Icmpv6) {
            self.ping.echo_input(&mut self.base, &arrival, packet.to, packet.from, packet.payload);
        }
        self.raw.raw_input(&mut self.base, &arrival, ends, protocol, packet.bytes, packet.payload)
    }

    fn arrival(&self, at: usize, packet: &Packet<'_>) -> Arrival {
        Arrival { link: self.base.arrived_by(at, &packet.to), hop_limit: packet.hop_limit, class: packet.class }
    }

    fn tcp_input(&mut self, at: usize, packet: &Packet<'_>) {
        self.base.counters.tcp.count(TcpStat::RCVTOTAL);
        let Ok(segment) = TcpPacket::new_checked(packet.payload) else {
            return self.base.counters.tcp.count(TcpStat::RCVSHORT);
        };
        if !packet.to.is_unicast() || self.base.links[at].is_broadcast(&packet.to) {
            return;
        }
        let trusted = self.base.links[at].device.is_loopback();
        let local = IpEndpoint::new(packet.to, segment.dst_port());
        let remote = IpEndpoint::new(packet.from, segment.src_port());
        let plain = packet.has_options().then(|| packet.plain());
        let bytes = plain.as_deref().unwrap_or(packet.bytes);
        if !trusted && !segment.verify_checksum(&packet.from, &packet.to) {
            return self.base.counters.tcp.count(TcpStat::RCVBADSUM);
        }
        if self.tcp.input(&mut self.base, at, bytes, local, remote, &segment) {
            return;
        }
        self.base.counters.tcp.count(TcpStat::NOPORT);
        if let Some(reset) = super::edge::reset(packet, &segment) {
            self.base.links[at].leave_packet(self.base.now, reset);
        }
    }

    fn udp_input(&mut self, at: usize, packet: &Packet<'_>) {
        let version = version(&packet.to);
        self.base.counters.udp(version, Udp::IPACKETS);
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else {
            let what = if packet.payload.len() < 8 { Udp::HDROPS } else { Udp::BADLEN };
            return self.base.counters.udp(version, what);
        };
        let trusted = self.base.links[at].device.is_loopback();
        if !trusted && !datagram.verify_checksum(&packet.from, &packet.to) {
            return self.base.counters.udp(version, Udp::BADSUM);
        }
        let local = IpEndpoint::new(packet.to, datagram.dst_port());
        let remote = IpEndpoint::new(packet.from, datagram.src_port());
        let arrival = self.arrival(at, packet);
        let taken = self.udp.input(&mut self.base, &arrival, local, remote, datagram.payload());
        if taken {
            return;
        }
        if packet.to.is_multicast() || self.base.is_broadcast(&packet.to) {
            return self.base.counters.udp(version, Udp::NOPORTBCAST);
        }
        self.base.counters.udp(version, Udp::NOPORT);
        if !self.base.is_ours(&packet.from) {
            return self.base.refuse(at, packet, icmp::Problem::Port);
        }
        if !self.raw.is_empty() {
            let mut body = icmp::Problem::Port.about(packet);
            let protocol = icmp::fill_checksum(&packet.to, &packet.from, &mut body);
            let message = packet::build(packet.to, packet.from, protocol, packet.hop_limit, &body);
            if let Some(message) = Packet::parse(&message, true) {
                self.raw_input(at, &message);
            }
        }
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

    /// Tells the socket that has sent a packet what became of it.
    pub fn icmp_error(&mut self, report: &Report) {
        // Nobody is believed about connections that are not there (RFC 5927, 7.2).
        let known = report.protocol != IpProtocol::Tcp || self.tcp.knows(report.local, report.remote);
        if let icmp::Kind::TooBig { mtu } = report.kind
            && known
        {
            self.base.learn_path_mtu(report.remote.addr, mtu);
        }
        match report.protocol {
            IpProtocol::Tcp => self.tcp.icmp_error(&mut self.base, report),
            IpProtocol::Udp => self.udp.icmp_error(&mut self.base, report),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.ping.icmp_error(&mut self.base, report),
            _ => {}
        }
        self.raw.icmp_error(&mut self.base, report);
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
        let before = stack.deadline();
        stack.base.now = stack.base.now.max(instant(now));
        let result = operation(&mut stack);
        stack.pump();
        stack.base.tell_watchers();
        let after = stack.deadline();
        let woken = std::mem::take(&mut stack.base.woken);
        drop(stack);
        woken.wake();
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
