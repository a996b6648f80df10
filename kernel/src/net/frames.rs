//! Tests of the stack by frames: hand-made ones go in, and what comes out is looked at, with time as an argument.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use abi::Errno;
use smoltcp::phy::Medium;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpProtocol, Ipv6Address};

use super::link::{Link, solicited_node};
use super::member::Announcements;
use super::neighbour::State;
use super::packet::{self, Packet};
use super::route::Via;
use super::stack::{Random, Stack};
use super::{ether, frag, ndp};
use crate::dev::net::{Counters, NetDevice};
use crate::proc::lock;
use crate::rumpuser::sim::SimHost;

const OWN: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const PEER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

/// The other end of a device: what was sent, and what is to arrive.
#[derive(Clone, Default)]
struct End(Arc<Mutex<Frames>>);

/// What was sent, and what is to arrive.
type Frames = (Vec<Vec<u8>>, VecDeque<Vec<u8>>);

impl NetDevice for End {
    fn medium(&self) -> Medium {
        Medium::Ethernet
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn mac(&self) -> Option<EthernetAddress> {
        Some(OWN)
    }
    fn transmit(&mut self, _now: Instant, frame: Vec<u8>) {
        lock(&self.0).0.push(frame);
    }
    fn receive(&mut self, _now: Instant) -> Option<Vec<u8>> {
        lock(&self.0).1.pop_front()
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A stack with interfaces, 10.0.N.1/24 and fdNN::1/64 each.
struct Host {
    stack: Stack,
    ends: Vec<End>,
}

impl Host {
    fn new(interfaces: u8) -> Host {
        let mut stack = Stack::new(SimHost::new(1), Instant::ZERO, 1);
        stack.base.settings.dad_count = 0;
        let mut ends = Vec::new();
        for number in 1..=interfaces {
            let end = End::default();
            ends.push(end.clone());
            let link = Link::new(&format!("test{number}"), u32::from(number) + 1, Box::new(end), Instant::ZERO, 1);
            let at = stack.base.links.add(link);
            stack.base.add_address(at, IpCidr::new(v4(number, 1), 24)).unwrap();
            stack.base.add_address(at, IpCidr::new(v6(number, 1), 64)).unwrap();
        }
        let mut host = Host { stack, ends };
        host.pump(0);
        for at in 1..=usize::from(interfaces) {
            // That the groups of its addresses were told once is enough.
            host.stack.base.links[at].announcements = Announcements::default();
        }
        host.sent(1);
        host
    }

    fn pump(&mut self, ms: i64) {
        self.stack.base.now = self.stack.base.now.max(Instant::from_millis(ms));
        self.stack.pump();
    }

    /// Lets a frame arrive on an interface now.
    fn arrive(&mut self, interface: u8, frame: Vec<u8>) {
        lock(&self.ends[usize::from(interface) - 1].0).1.push_back(frame);
        self.stack.pump();
    }

    /// What was sent since the last time.
    fn sent(&mut self, interface: u8) -> Vec<Vec<u8>> {
        std::mem::take(&mut lock(&self.ends[usize::from(interface) - 1].0).0)
    }

    /// Lets a neighbour be known.
    fn know(&mut self, interface: u8, addr: IpAddress) {
        self.stack.base.set_neighbour(usize::from(interface), addr, PEER).unwrap();
    }
}

fn v4(network: u8, host: u8) -> IpAddress {
    IpAddress::v4(10, 0, network, host)
}

fn v6(network: u8, host: u16) -> IpAddress {
    IpAddress::v6(0xfd00 + u16::from(network), 0, 0, 0, 0, 0, 0, host)
}

fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
    [OWN.as_bytes(), PEER.as_bytes(), &kind.to_be_bytes(), payload].concat()
}

fn ip(packet: &[u8]) -> Vec<u8> {
    frame(if packet[0] >> 4 == 4 { 0x800 } else { 0x86dd }, packet)
}

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    frame(0x806, &[&head[..], PEER.as_bytes(), &sender, &[0; 6], &target].concat())
}

/// A message of ICMP, with its checksum.
fn icmp(from: IpAddress, to: IpAddress, hops: u8, mut message: Vec<u8>) -> Vec<u8> {
    let v4 = matches!(to, IpAddress::Ipv4(_));
    let protocol = if v4 { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    message[2..4].fill(0);
    let sum = if v4 { packet::checksum(&message) } else { packet::pseudo_checksum(&from, &to, protocol, &message) };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet::build(from, to, protocol, hops, &message)
}

fn echo(from: IpAddress, to: IpAddress, hops: u8, len: usize) -> Vec<u8> {
    let kind = if matches!(to, IpAddress::Ipv4(_)) { 8 } else { 128 };
    icmp(from, to, hops, [&[kind, 0, 0, 0, 0, 7, 0, 1][..], &vec![b'x'; len]].concat())
}

/// The packet in a frame, whose checksums must be right; its ICMP type and code.
fn inside(frame: &[u8]) -> (Packet<'_>, (u8, u8)) {
    let packet = Packet::parse(&frame[ether::HEADER..], false).expect("a packet");
    let sum = match packet.protocol {
        IpProtocol::Icmp if packet.piece.is_none() => packet::checksum(packet.payload),
        IpProtocol::Icmpv6 => packet::pseudo_checksum(&packet.from, &packet.to, IpProtocol::Icmpv6, packet.payload),
        _ => 0,
    };
    assert_eq!(sum, 0, "the checksum of {packet:?}");
    (packet, (packet.payload[0], packet.payload[1]))
}

#[test]
fn who_asks_for_our_address_is_answered_and_remembered() {
    let mut host = Host::new(1);
    host.arrive(1, arp(1, [10, 0, 1, 2], [10, 0, 1, 1]));
    let sent = host.sent(1);
    assert_eq!((sent.len(), &sent[0][..6], sent[0][21]), (1, PEER.as_bytes(), 2));
    assert_eq!(&sent[0][22..32], [OWN.as_bytes(), &[10, 0, 1, 1]].concat());
    let known = host.stack.base.neighbours.all().find(|(key, _)| **key == (1, v4(1, 2))).map(|(_, known)| known.state);
    assert_eq!(known, Some(State::Stale));
    // Others' affairs are neither answered nor remembered.
    host.arrive(1, arp(1, [10, 0, 1, 3], [10, 0, 1, 4]));
    host.arrive(1, arp(2, [10, 0, 1, 5], [10, 0, 1, 4]));
    assert_eq!((host.sent(1).len(), host.stack.base.neighbours.all().count()), (0, 1));
}

#[test]
fn a_packet_waits_for_its_neighbour_and_its_socket_hears_that_nobody_came() {
    let mut host = Host::new(1);
    let hello = |to| packet::build(v4(1, 1), to, IpProtocol::Udp, 64, &[0, 7, 0, 9, 0, 8, 0, 0]);
    host.stack.base.output(1, hello(v4(1, 2)));
    assert_eq!(host.sent(1)[0][21], 1);
    host.arrive(1, arp(2, [10, 0, 1, 2], [10, 0, 1, 1]));
    assert_eq!(host.sent(1)[0][ether::HEADER..], hello(v4(1, 2)));
    host.stack.base.output(1, hello(v4(1, 3)));
    for (second, asked) in [(1, 2), (2, 1), (3, 0)] {
        // One question was asked at once.
        host.stack.base.now = Instant::from_secs(second);
        host.stack.base.run_timers();
        assert_eq!(host.sent(1).len(), asked, "after {second} s");
    }
    let report = host.stack.base.reports.pop().expect("a report");
    assert_eq!((report.kind.errno(), report.local.port, report.remote.port), (Errno::EHOSTUNREACH, 7, 9));
    assert_eq!(report.remote.addr, v4(1, 3));
}

/// Asks for an address of IPv6.
fn solicit(from: IpAddress, target: Ipv6Address, hops: u8) -> Vec<u8> {
    let mut body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    if !from.is_unspecified() {
        body.extend_from_slice(&[1, 1]);
        body.extend_from_slice(PEER.as_bytes());
    }
    ip(&icmp(from, solicited_node(&target).into(), hops, body))
}

#[test]
fn neighbour_discovery_answers_what_comes_from_the_link_itself() {
    let mut host = Host::new(1);
    let IpAddress::Ipv6(own) = v6(1, 1) else { panic!() };
    let mut ask = solicit(v6(1, 2), own, 255);
    ask[..6].copy_from_slice(&[0x33, 0x33, 0xff, 0, 0, 1]);
    host.arrive(1, ask.clone());
    let sent = host.sent(1);
    let (answer, kind) = inside(&sent[0]);
    assert_eq!((kind, answer.hop_limit, answer.payload[4], answer.to), ((136, 0), 255, 0x60, v6(1, 2)));
    assert_eq!(&answer.payload[8..24], own.octets());
    let mut far = solicit(v6(1, 2), own, 254);
    far[..6].copy_from_slice(&ask[..6]);
    host.arrive(1, far);
    assert_eq!(host.sent(1).len(), 0);
}

#[test]
fn an_address_that_somebody_else_has_is_not_taken() {
    let mut host = Host::new(1);
    host.stack.base.settings.dad_count = 1;
    for (number, disturbed) in [(5, true), (6, false)] {
        let IpAddress::Ipv6(wanted) = v6(1, number) else { panic!() };
        host.stack.base.add_address(1, IpCidr::new(wanted.into(), 64)).unwrap();
        let sent = host.sent(1);
        let questions = sent.iter().map(|frame| inside(frame)).filter(|(_, kind)| *kind == (135, 0));
        assert_eq!(questions.map(|(question, _)| question.from.is_unspecified()).collect::<Vec<_>>(), [true]);
        if disturbed {
            host.arrive(1, solicit(Ipv6Address::UNSPECIFIED.into(), wanted, 255));
        }
        host.pump(i64::from(number) * 10_000);
        assert_eq!(host.stack.base.is_ours(&wanted.into()), !disturbed);
        assert_eq!(host.stack.base.links[1].duplicated.contains(&wanted.into()), disturbed);
    }
}

#[test]
fn a_router_lends_an_address_and_a_way_until_they_end() {
    let mut host = Host::new(1);
    let router = IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    let prefix = Ipv6Address::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
    let advert = |router_life: u16, life: u32| {
        let mut body = [&[134, 0, 0, 0, 64, 0][..], &router_life.to_be_bytes(), &[0; 8]].concat();
        body.extend_from_slice(&[3, 4, 64, 0xc0]);
        body.extend_from_slice(&[life.to_be_bytes(), life.to_be_bytes(), [0; 4]].concat());
        body.extend_from_slice(&prefix.octets());
        ip(&icmp(router, IpAddress::v6(0xff02, 0, 0, 0, 0, 0, 0, 1), 255, body))
    };
    host.arrive(1, advert(60, 100));
    let own = IpAddress::Ipv6(ndp::by_mac(prefix, OWN));
    assert!(host.stack.base.is_ours(&own));
    let far = IpAddress::v6(0x2001, 0xdb9, 0, 0, 0, 0, 0, 1);
    assert_eq!(host.stack.base.route_for(&far, None).map(|route| route.via), Some(Via::Gateway(router)));
    assert_eq!(host.stack.base.route(&far), Ok((1, own)));
    host.pump(61_000);
    assert_eq!(host.stack.base.route(&far), Err(Errno::ENETUNREACH));
    assert!(host.stack.base.is_ours(&own));
    host.arrive(1, advert(0, 100));
    host.pump(150_000);
    assert!(host.stack.base.is_ours(&own), "lent for longer");
    host.pump(162_000);
    assert!(!host.stack.base.is_ours(&own));
}

#[test]
fn packets_pass_through_with_one_hop_less_or_their_sender_is_told_why_not() {
    for (from, to, nowhere) in [(v4(1, 2), v4(2, 2), v4(9, 9)), (v6(1, 2), v6(2, 2), v6(9, 9))] {
        let mut host = Host::new(2);
        host.sent(2);
        let v4 = matches!(from, IpAddress::Ipv4(_));
        host.know(1, from);
        host.know(2, to);
        host.arrive(1, ip(&echo(from, to, 64, 20)));
        assert_eq!((host.sent(1).len(), host.sent(2).len()), (0, 0), "not without being told to");
        host.stack.base.settings.forward4 = true;
        host.stack.base.settings.forward6 = true;
        host.arrive(1, ip(&echo(from, to, 64, 20)));
        let sent = host.sent(2);
        let (passed, _) = inside(&sent[0]);
        assert_eq!((passed.hop_limit, passed.from, passed.to), (63, from, to));
        let told = |host: &mut Host, packet: &[u8]| {
            host.arrive(1, ip(packet));
            let sent = host.sent(1);
            let (error, kind) = inside(&sent[0]);
            assert_eq!((error.to, &error.payload[8..28]), (from, &packet[..20]));
            (kind, u32::from_be_bytes([error.payload[4], error.payload[5], error.payload[6], error.payload[7]]))
        };
        assert_eq!(told(&mut host, &echo(from, to, 1, 20)).0, if v4 { (11, 0) } else { (3, 0) });
        assert_eq!(told(&mut host, &echo(from, nowhere, 64, 20)).0, if v4 { (3, 0) } else { (1, 0) });
        host.stack.base.learn_path_mtu(to, 1300);
        assert_eq!(told(&mut host, &echo(from, to, 64, 1400)), if v4 { ((3, 4), 1300) } else { ((2, 0), 1300) });
        host.stack
            .base
            .add_route(IpCidr::new(nowhere, if v4 { 32 } else { 128 }), Via::Blackhole, None, 0, None)
            .unwrap();
        host.arrive(1, ip(&echo(from, nowhere, 64, 20)));
        assert_eq!((host.sent(1).len(), host.sent(2).len()), (0, 0));
    }
}

#[test]
fn a_long_echo_comes_and_goes_in_pieces() {
    for (peer, own) in [(v4(1, 2), v4(1, 1)), (v6(1, 2), v6(1, 1))] {
        let mut host = Host::new(1);
        host.know(1, peer);
        let request = echo(peer, own, 64, 5000);
        for piece in frag::fragment(&request, 1400, 3).iter().rev() {
            host.arrive(1, ip(piece));
        }
        let mut all = frag::Reassembly::default();
        let pieces: Vec<Vec<u8>> = host.sent(1);
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= 1500 + ether::HEADER));
        let whole = pieces
            .iter()
            .filter_map(|piece| all.add(Instant::ZERO, &Packet::parse(&piece[ether::HEADER..], false).unwrap()));
        let whole: Vec<Vec<u8>> = whole.collect();
        assert_eq!((whole.len(), whole[0].len()), (1, request.len()));
    }
}

#[test]
fn errors_do_not_answer_errors_and_are_limited() {
    let mut host = Host::new(1);
    host.know(1, v4(1, 2));
    let to_nobody = |to| packet::build(v4(1, 2), to, IpProtocol::Unknown(253), 64, b"hello");
    host.arrive(1, ip(&to_nobody(v4(1, 1))));
    assert_eq!(inside(&host.sent(1)[0]).1, (3, 2));
    host.arrive(1, ip(&to_nobody(IpAddress::v4(10, 0, 1, 255))));
    host.arrive(1, ip(&icmp(v4(1, 2), v4(1, 1), 64, [&[3, 2, 0, 0, 0, 0, 0, 0][..], &to_nobody(v4(1, 1))].concat())));
    assert_eq!(host.sent(1).len(), 0);
    for _ in 0..200 {
        host.arrive(1, ip(&to_nobody(v4(1, 1))));
    }
    assert!(host.sent(1).len() <= 50);
    host.stack.base.now += Duration::from_secs(1);
    host.arrive(1, ip(&to_nobody(v4(1, 1))));
    assert_eq!(host.sent(1).len(), 1);
}

/// A redirect for what goes from `own` to `far`.
fn redirect(from: IpAddress, own: IpAddress, gateway: IpAddress, far: IpAddress) -> Vec<u8> {
    let quoted = echo(own, far, 64, 8);
    let (hops, message) = match (gateway, far) {
        (IpAddress::Ipv6(gateway), IpAddress::Ipv6(far)) => {
            (255, [&[137, 0, 0, 0, 0, 0, 0, 0][..], &gateway.octets(), &far.octets()].concat())
        }
        (IpAddress::Ipv4(gateway), _) => (64, [&[5, 1, 0, 0][..], &gateway.octets(), &quoted].concat()),
        _ => panic!("of one version"),
    };
    ip(&icmp(from, own, hops, message))
}

#[test]
fn only_the_router_itself_is_believed_that_another_one_is_better() {
    let near = |host| IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, host);
    let far6 = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    for (own, router, better, far) in
        [(v4(1, 1), v4(1, 254), v4(1, 253), IpAddress::v4(192, 0, 2, 7)), (v6(1, 1), near(254), near(253), far6)]
    {
        let mut host = Host::new(1);
        let everything = IpCidr::new(if own == v4(1, 1) { IpAddress::v4(0, 0, 0, 0) } else { near(0) }, 0);
        host.stack.base.add_route(everything, Via::Gateway(router), Some(1), 0, None).unwrap();
        let via = |host: &Host| host.stack.base.route_for(&far, None).map(|route| route.via);
        host.arrive(1, redirect(better, own, better, far));
        assert_eq!(via(&host), Some(Via::Gateway(router)), "not by the one who wants it");
        host.arrive(1, redirect(router, own, own, far));
        assert_eq!(via(&host), Some(Via::Gateway(router)), "not by this host");
        let elsewhere = if own == v4(1, 1) { v4(7, 7) } else { v6(7, 7) };
        host.arrive(1, redirect(router, own, elsewhere, far));
        assert_eq!(via(&host), Some(Via::Gateway(router)), "not by one that is not on the link");
        host.arrive(1, redirect(router, own, better, far));
        assert_eq!(via(&host), Some(Via::Gateway(better)));
        // The better one knows an even better one, and not the first any more.
        host.arrive(1, redirect(router, own, router, far));
        assert_eq!(via(&host), Some(Via::Gateway(better)));
        host.pump(601_000);
        assert_eq!(via(&host), Some(Via::Gateway(router)));
        (host.stack.base.settings.accept_redirects4, host.stack.base.settings.accept_redirects6) = (false, false);
        host.arrive(1, redirect(router, own, better, far));
        assert_eq!(via(&host), Some(Via::Gateway(router)), "not without being allowed to");
    }
}

#[test]
fn who_could_send_to_a_nearer_router_is_told_and_the_packet_is_passed_on() {
    let near = IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 253);
    let far6 = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    for (peer, router, far, kind) in
        [(v4(1, 2), v4(1, 253), IpAddress::v4(192, 0, 2, 7), (5, 1)), (v6(1, 2), near, far6, (137, 0))]
    {
        let mut host = Host::new(1);
        (host.stack.base.settings.forward4, host.stack.base.settings.forward6) = (true, true);
        host.know(1, peer);
        host.know(1, router);
        host.stack.base.add_route(IpCidr::new(far, 24), Via::Gateway(router), Some(1), 0, None).unwrap();
        host.arrive(1, ip(&echo(peer, far, 64, 20)));
        let sent = host.sent(1);
        let (told, told_kind) = inside(&sent[0]);
        assert_eq!((sent.len(), told.to, told_kind), (2, peer, kind));
        match router {
            IpAddress::Ipv4(router) => assert_eq!(told.payload[4..8], router.octets()),
            IpAddress::Ipv6(router) => {
                assert_eq!((&told.payload[8..24], told.hop_limit), (&router.octets()[..], 255));
                assert_eq!(told.payload[40..48], [2, 1, 2, 0, 0, 0, 0, 9], "its hardware address");
                assert_eq!(told.payload.len() % 8, 0);
            }
        }
        assert_eq!((inside(&sent[1]).0.to, inside(&sent[1]).0.hop_limit), (far, 63));
        // A router that sends here what goes by itself is not told to do so.
        if far != far6 {
            host.arrive(1, ip(&echo(router, far, 64, 20)));
            assert_eq!(host.sent(1).len(), 1);
        }
    }
}

/// What was told of groups: where to, the type of the message, and the group that stands at its end.
fn told(host: &mut Host) -> Vec<(IpAddress, u8, Vec<u8>)> {
    let sent = host.sent(1);
    let about = |frame: &Vec<u8>| {
        let packet = Packet::parse(&frame[ether::HEADER..], false).unwrap();
        assert!(packet.hop_limit == 1 && packet.has_options());
        assert_eq!(frame[..6], ether::group(&packet.to).unwrap().0);
        let sum = match packet.to {
            IpAddress::Ipv4(_) => packet::checksum(packet.payload),
            _ => packet::pseudo_checksum(&packet.from, &packet.to, IpProtocol::Icmpv6, packet.payload),
        };
        assert_eq!(sum, 0);
        let (kind, length) = (packet.payload[0], if packet.protocol == IpProtocol::Igmp { 4 } else { 16 });
        (packet.to, kind, packet.payload[packet.payload.len() - length - 4..].to_vec())
    };
    // Routers are looked for beside.
    let discovery = |frame: &&Vec<u8>| frame[12] == 0x86 && frame[ether::HEADER + 7] == 255;
    sent.iter().filter(|frame| !discovery(frame)).map(about).collect()
}

#[test]
fn members_of_groups_are_told_of_to_routers_of_every_version() {
    let mut host = Host::new(1);
    let group = IpAddress::v4(239, 5, 6, 7);
    let (reports, routers) = (IpAddress::v4(224, 0, 0, 22), IpAddress::v4(224, 0, 0, 2));
    let record = |kind| [&[kind, 0, 0, 0][..], &[239, 5, 6, 7]].concat();
    host.stack.base.join_group(1, group);
    host.stack.base.join_group(1, group);
    host.pump(0);
    assert_eq!(told(&mut host), [(reports, 0x22, record(4))]);
    host.pump(1000);
    assert_eq!(told(&mut host), [(reports, 0x22, record(4))], "once more, for the first may be lost");
    host.pump(9000);
    assert_eq!(told(&mut host), []);
    let query = |message: &[u8]| {
        let mut message = message.to_vec();
        let sum = packet::checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        ip(&packet::build(v4(1, 254), IpAddress::v4(224, 0, 0, 1), IpProtocol::Igmp, 1, &message))
    };
    host.arrive(1, query(&[0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0]));
    host.pump(10_000);
    assert_eq!(told(&mut host), [(reports, 0x22, record(2))]);
    host.arrive(1, query(&[0x11, 10, 0, 0, 239, 5, 6, 8]));
    host.pump(11_000);
    assert_eq!(told(&mut host), [], "of another group");
    host.arrive(1, query(&[0x11, 10, 0, 0, 0, 0, 0, 0]));
    host.pump(12_000);
    let [(to, 0x16, message)] = &told(&mut host)[..] else { panic!("the older version") };
    assert_eq!((*to, &message[4..]), (group, &[239, 5, 6, 7][..]));
    host.stack.base.leave_group(1, group);
    host.pump(13_000);
    assert_eq!(told(&mut host), [], "one is left");
    host.stack.base.leave_group(1, group);
    host.pump(13_000);
    let [(to, 0x17, _)] = told(&mut host)[..] else { panic!("the older version") };
    assert_eq!(to, routers);
}

#[test]
fn members_of_groups_of_ipv6_are_told_of_with_those_that_ask_for_addresses() {
    let mut host = Host::new(1);
    let group = IpAddress::v6(0xff05, 0, 0, 0, 0, 0, 0, 0x99);
    let reports = IpAddress::v6(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    let own = v6(1, 0x77);
    host.stack.base.add_address(1, IpCidr::new(own, 64)).unwrap();
    host.pump(0);
    let [(_, 143, record)] = &told(&mut host)[..] else { panic!("the group that asks for the address") };
    assert_eq!(record[16..], [0xff, 0, 0, 0x77]);
    host.stack.base.join_group(1, group);
    host.pump(0);
    let [(to, 143, record)] = &told(&mut host)[..] else { panic!("one message") };
    assert_eq!((*to, record[..4].to_vec(), record[19]), (reports, vec![4, 0, 0, 0], 0x99));
    host.pump(9000);
    assert_eq!(told(&mut host).len(), 2);
    let query = |from, length| {
        let mut message = vec![130, 0, 0, 0, 3, 232, 0, 0];
        message.resize(length, 0);
        ip(&icmp(from, IpAddress::v6(0xff02, 0, 0, 0, 0, 0, 0, 1), 1, message))
    };
    host.arrive(1, query(v6(1, 254), 28));
    host.pump(11_000);
    assert_eq!(told(&mut host), [], "from beyond the link");
    let router = IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 254);
    host.arrive(1, query(router, 28));
    host.pump(12_000);
    // The group, that of the address, and that of the others, which end alike.
    let all = told(&mut host);
    assert!(all.len() == 3 && all.iter().all(|(_, kind, record)| (*kind, record[0]) == (143, 2)), "{all:?}");
    host.arrive(1, query(router, 24));
    host.pump(13_000);
    let all = told(&mut host);
    assert!(all.len() == 3 && all.iter().all(|(to, kind, _)| *kind == 131 && *to != reports), "{all:?}");
    host.stack.base.remove_address(1, &own).unwrap();
    host.pump(13_000);
    let [(_, 132, left)] = &told(&mut host)[..] else { panic!("the address's group was left") };
    assert_eq!(left[left.len() - 4..], [0xff, 0, 0, 0x77]);
}

#[test]
fn no_frame_does_harm() {
    let mut host = Host::new(2);
    (host.stack.base.settings.forward4, host.stack.base.settings.forward6) = (true, true);
    let IpAddress::Ipv6(own) = v6(1, 1) else { panic!() };
    let tcp = packet::build(v4(1, 2), v4(1, 1), IpProtocol::Tcp, 64, &[[0, 80, 0, 80].as_slice(), &[0; 16]].concat());
    let mut seeds = vec![
        arp(1, [10, 0, 1, 2], [10, 0, 1, 1]),
        solicit(v6(1, 2), own, 255),
        ip(&echo(v4(1, 2), v4(1, 1), 64, 40)),
        ip(&echo(v6(1, 2), v6(2, 2), 64, 40)),
        ip(&icmp(v4(1, 2), v4(1, 1), 64, [&[3, 4, 0, 0, 0, 0, 2, 0][..], &tcp].concat())),
        ip(&tcp),
        redirect(v4(1, 2), v4(1, 1), v4(1, 3), v4(9, 9)),
        redirect(v6(1, 2), v6(1, 1), v6(1, 3), v6(9, 9)),
        ip(&packet::build(
            v4(1, 2),
            IpAddress::v4(224, 0, 0, 1),
            IpProtocol::Igmp,
            1,
            &[0x11, 9, 0xee, 0xf6, 0, 0, 0, 0],
        )),
    ];
    seeds.extend(frag::fragment(&echo(v4(1, 2), v4(1, 1), 64, 3000), 1400, 3).iter().map(|piece| ip(piece)));
    seeds.extend(frag::fragment(&echo(v6(1, 2), v6(1, 1), 64, 3000), 1400, 3).iter().map(|piece| ip(piece)));
    let mut random = Random::new(11);
    for step in 0..60_000u32 {
        let mut frame = seeds[(random.draw() % seeds.len() as u64) as usize].clone();
        for _ in 0..random.draw() % 4 {
            let at = (random.draw() % frame.len().min(80) as u64) as usize;
            frame[at] = random.draw() as u8;
        }
        if random.draw().is_multiple_of(8) {
            frame.truncate((random.draw() % frame.len() as u64) as usize);
        }
        if random.draw().is_multiple_of(2) && frame.len() > 34 {
            packet::fill_header_checksum(&mut frame[ether::HEADER..]);
        }
        host.arrive(1, frame);
        if step.is_multiple_of(100) {
            host.stack.base.now += Duration::from_millis(300);
            drop((host.sent(1), host.sent(2)));
        }
    }
    // It still works.
    host.stack.base.now += Duration::from_secs(100);
    host.know(1, v4(1, 200));
    host.sent(1);
    host.arrive(1, ip(&echo(v4(1, 200), v4(1, 1), 64, 8)));
    assert!(host.sent(1).iter().any(|frame| frame[12..14] == [8, 0] && inside(frame).1 == (0, 0)));
}
