//! Memberships in groups are announced, so that routers and switches send the group's packets here: IGMP (RFC 3376) and MLD (RFC 3810), or the
//! versions before (RFC 2236, RFC 2710) on a link where a router speaks them.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpCidr, IpProtocol, Ipv4Address, Ipv6Address};

use super::ether;
use super::link::{Link, solicited_node};
use super::packet::{self, IPV4_HEADER, Packet};
use super::stack::Base;

/// How often a change is told, for one message may be lost (the robustness variable).
const TIMES: u8 = 2;
/// Within which time it is told again (the unsolicited report interval).
const AGAIN: Duration = Duration::from_secs(1);
/// How long a router that speaks an older version is remembered (RFC 3376, 8.12: twice the query interval and an answer's time).
const OLD_ROUTER: Duration = Duration::from_secs(260);
/// Announcements of one link that wait at most.
const MOST: usize = 256;
/// The class of what routers must read (RFC 3376, 4).
const CLASS: u8 = 0xc0;

/// Where the reports of the newer versions go, and what leaves a group in the older ones.
const REPORTS4: Ipv4Address = Ipv4Address::new(224, 0, 0, 22);
const ROUTERS4: Ipv4Address = Ipv4Address::new(224, 0, 0, 2);
const REPORTS6: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const ROUTERS6: Ipv6Address = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Types of IGMP: a question, and of the older version that somebody is, or is no more, a member; the newer version's list.
const QUERY4: u8 = 0x11;
const OLD4: [u8; 2] = [0x16, 0x17];
const LIST4: u8 = 0x22;
/// The same of MLD.
pub const QUERY6: u8 = 130;
const OLD6: [u8; 2] = [131, 132];
const LIST6: u8 = 143;
/// Kinds of records in a list: a member is one, becomes one, is one no more.
const IS_MEMBER: u8 = 2;
const LEAVES: u8 = 3;
const JOINS: u8 = 4;

/// Something to be told.
#[derive(Clone, Copy, Debug)]
struct Announcement {
    group: IpAddress,
    /// The kind of its record.
    kind: u8,
    due: Instant,
    /// How often it is still to be told.
    left: u8,
}

/// What an interface has to tell of its groups.
#[derive(Default)]
pub struct Announcements {
    waiting: Vec<Announcement>,
    /// Until when routers of IPv4, and of IPv6, are held to speak the older version.
    old: [Option<Instant>; 2],
}

/// Whether routers want to know of members of a group: not of those that every host is in, and none that stay on the link of a host.
fn is_told(group: &IpAddress) -> bool {
    match group {
        IpAddress::Ipv4(group) => group.octets() != [224, 0, 0, 1],
        IpAddress::Ipv6(group) => {
            let [first, .., last] = group.segments();
            let all_nodes = first == 0xff02 && last == 1 && group.octets()[2..14] == [0; 12];
            first & 0xf >= 2 && !all_nodes
        }
    }
}

fn version(group: &IpAddress) -> usize {
    usize::from(matches!(group, IpAddress::Ipv6(_)))
}

/// A code of a time that is no plain number from a bound on: four bits of it, shifted by three others (RFC 3376, 4.1.1; RFC 3810, 5.1.3).
fn delay(code: u32, bits: u32) -> u32 {
    if code >> bits == 0 {
        return code;
    }
    let fraction = bits - 3;
    (code & ((1 << fraction) - 1) | 1 << fraction) << ((code >> fraction & 7) + 3)
}

impl Link {
    /// The groups that it is in, those by which its addresses are asked for included.
    fn memberships(&self) -> Vec<IpAddress> {
        let tried = self.tentative.iter().map(|tentative| &tentative.cidr);
        let nodes = self.addrs.iter().chain(tried).filter_map(|cidr| match cidr {
            IpCidr::Ipv6(cidr) => Some(solicited_node(&cidr.address()).into()),
            IpCidr::Ipv4(_) => None,
        });
        let mut all: Vec<IpAddress> = self.groups.iter().map(|(group, _)| *group).chain(nodes).collect();
        all.retain(is_told);
        all.sort();
        all.dedup();
        all
    }
}

impl Base {
    /// Somebody here begins to listen to a group on an interface.
    pub fn join_group(&mut self, at: usize, group: IpAddress) {
        if self.links[at].join(group) {
            self.tell_change(at, group, JOINS);
        }
    }

    /// Ends what [`Base::join_group`] began.
    pub fn leave_group(&mut self, at: usize, group: IpAddress) {
        if self.links[at].leave(group) {
            self.tell_change(at, group, LEAVES);
        }
    }

    /// An address of IPv6 is about to be the interface's: what asks for it goes to a group.
    pub(super) fn join_node(&mut self, at: usize, addr: &IpAddress) {
        if let IpAddress::Ipv6(addr) = addr {
            self.tell_change(at, solicited_node(addr).into(), JOINS);
        }
    }

    /// The address is the interface's no more.
    pub(super) fn leave_node(&mut self, at: usize, addr: &IpAddress) {
        let IpAddress::Ipv6(addr) = addr else { return };
        let group = solicited_node(addr).into();
        if !self.links[at].memberships().contains(&group) {
            self.tell_change(at, group, LEAVES);
        }
    }

    /// All memberships are told: the interface has come up.
    pub(super) fn tell_groups(&mut self, at: usize) {
        for group in self.links[at].memberships() {
            self.tell_change(at, group, JOINS);
        }
    }

    /// Tells routers at once, and once more after some time.
    fn tell_change(&mut self, at: usize, group: IpAddress, kind: u8) {
        let link = &mut self.links[at];
        if !is_told(&group) || !link.up || !link.is_ethernet() {
            return;
        }
        let waiting = &mut link.announcements.waiting;
        waiting.retain(|waiting| waiting.group != group);
        if waiting.len() < MOST {
            waiting.push(Announcement { group, kind, due: self.now, left: TIMES });
            self.note_due(self.now);
        }
    }

    /// Takes a message of IGMP in: a router asks who is a member.
    pub(super) fn igmp_input(&mut self, at: usize, packet: &Packet<'_>) -> Option<()> {
        let message = packet.payload;
        let (head, group) = (message.first_chunk::<8>()?, *message.get(4..8)?.first_chunk::<4>()?);
        if packet::checksum(message) != 0 || head[0] != QUERY4 || packet.hop_limit != 1 {
            return None;
        }
        // In the first version there was no time, and it was ten seconds.
        let (old, tenths) = match (message.len(), head[1]) {
            (8, 0) => (true, 100),
            (8, code) => (true, code.into()),
            (_, code) => (false, delay(code.into(), 7)),
        };
        let group = Some(Ipv4Address::from(group)).filter(|group| !group.is_unspecified()).map(IpAddress::Ipv4);
        self.asked(at, old, 0, Duration::from_millis(u64::from(tenths) * 100), group);
        Some(())
    }

    /// Takes a question of MLD in; its checksum is right.
    pub(super) fn mld_input(&mut self, at: usize, packet: &Packet<'_>) -> Option<()> {
        let message = packet.payload;
        let near = matches!(packet.from, IpAddress::Ipv6(from) if from.is_unicast_link_local());
        let group = Ipv6Address::from(*message.get(8..)?.first_chunk::<16>()?);
        if packet.hop_limit != 1 || !near {
            return None;
        }
        let code = u32::from(u16::from_be_bytes([message[4], message[5]]));
        let old = message.len() < 28;
        let millis = if old { code } else { delay(code, 15) };
        let group = Some(group).filter(|group| !group.is_unspecified()).map(IpAddress::Ipv6);
        self.asked(at, old, 1, Duration::from_millis(millis.into()), group);
        Some(())
    }

    /// A router asks for the members of a group, or of all: each is told within some time.
    fn asked(&mut self, at: usize, old: bool, version_at: usize, within: Duration, only: Option<IpAddress>) {
        let now = self.now;
        let groups = self.links[at].memberships();
        let wanted = |group: &IpAddress| version(group) == version_at && only.is_none_or(|only| only == *group);
        for group in groups.into_iter().filter(wanted) {
            let due = now + Duration::from_micros(self.random.draw() % within.total_micros().max(1));
            let waiting = &mut self.links[at].announcements.waiting;
            if let Some(waiting) = waiting.iter_mut().find(|waiting| waiting.group == group) {
                waiting.due = waiting.due.min(due);
            } else if waiting.len() < MOST {
                waiting.push(Announcement { group, kind: IS_MEMBER, due, left: 1 });
            }
            self.note_due(due);
        }
        if old {
            self.links[at].announcements.old[version_at] = Some(now + OLD_ROUTER);
        }
    }

    /// Tells what is due; returns when the next is.
    pub(super) fn run_announcements(&mut self) -> Option<Instant> {
        let now = self.now;
        let places: Vec<usize> = self.links.places().map(|(at, _)| at).collect();
        for &at in &places {
            let all = &mut self.links[at].announcements;
            let due: Vec<Announcement> = all.waiting.extract_if(.., |one| one.due <= now).collect();
            let old = all.old.map(|until| until.is_some_and(|until| until > now));
            for mut one in due {
                self.announce_group(at, &one, old[version(&one.group)]);
                if one.left > 1 {
                    one.left -= 1;
                    one.due = now + Duration::from_micros(1 + self.random.draw() % AGAIN.total_micros());
                    self.links[at].announcements.waiting.push(one);
                }
            }
        }
        let waiting = |at: &usize| self.links[*at].announcements.waiting.iter().map(|one| one.due).min();
        places.iter().filter_map(waiting).min()
    }

    fn announce_group(&mut self, at: usize, one: &Announcement, old: bool) {
        let leaves = one.kind == LEAVES;
        let (source, to, message) = match one.group {
            IpAddress::Ipv4(group) => {
                let own = self.links[at].source_for(&one.group).unwrap_or(Ipv4Address::UNSPECIFIED.into());
                if old {
                    let to = if leaves { ROUTERS4 } else { group };
                    (own, to.into(), [&[OLD4[usize::from(leaves)], 0, 0, 0][..], &group.octets()].concat())
                } else {
                    (own, REPORTS4.into(), list(LIST4, one.kind, &group.octets()))
                }
            }
            IpAddress::Ipv6(group) => {
                let own = self.links[at].link_local().unwrap_or(Ipv6Address::UNSPECIFIED);
                if old {
                    let to = if leaves { ROUTERS6 } else { group };
                    let head = [OLD6[usize::from(leaves)], 0, 0, 0, 0, 0, 0, 0];
                    (own.into(), to.into(), [&head[..], &group.octets()].concat())
                } else {
                    (own.into(), REPORTS6.into(), list(LIST6, one.kind, &group.octets()))
                }
            }
        };
        if let Some(mac) = ether::group(&to) {
            if matches!(to, IpAddress::Ipv6(_)) {
                self.counters.icmp_sent(1, &message);
            }
            let packet = alert(source, to, message);
            self.counters.sent(&packet);
            self.send_frame(at, mac, &packet);
        }
    }
}

/// Makes a list of one record.
fn list(kind: u8, record: u8, group: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 1, record, 0, 0, 0][..], group].concat()
}

/// Makes a packet that routers look at although it is not for them (RFC 2113, RFC 2711).
fn alert(from: IpAddress, to: IpAddress, mut message: Vec<u8>) -> Vec<u8> {
    if let (IpAddress::Ipv4(_), IpAddress::Ipv4(_)) = (from, to) {
        let sum = packet::checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let mut packet = packet::build(from, to, IpProtocol::Igmp, 1, &[&[0x94, 4, 0, 0], &message[..]].concat());
        // The option is a part of the header.
        packet[0] = 0x40 | (IPV4_HEADER / 4 + 1) as u8;
        packet[1] = CLASS;
        packet::fill_header_checksum(&mut packet);
        return packet;
    }
    let sum = packet::pseudo_checksum(&from, &to, IpProtocol::Icmpv6, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let option = [IpProtocol::Icmpv6.into(), 0, 5, 2, 0, 0, 1, 0];
    packet::build(from, to, IpProtocol::HopByHop, 1, &[&option, &message[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_or_one_with_an_exponent() {
        assert_eq!((delay(100, 7), delay(127, 7), delay(128, 7), delay(0xff, 7)), (100, 127, 128, 31744));
        assert_eq!((delay(32767, 15), delay(32768, 15)), (32767, 32768));
    }

    #[test]
    fn the_groups_of_every_host_are_not_told() {
        let v6 = |first, last| IpAddress::v6(first, 0, 0, 0, 0, 0, 0, last);
        assert!(is_told(&IpAddress::v4(224, 0, 0, 251)) && !is_told(&IpAddress::v4(224, 0, 0, 1)));
        assert!(is_told(&v6(0xff02, 0xfb)) && !is_told(&v6(0xff02, 1)) && !is_told(&v6(0xff01, 0xfb)));
        assert!(is_told(&v6(0xff05, 1)));
    }
}
