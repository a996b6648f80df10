//! Errors of the network that concern a datagram sent before: as `SO_ERROR`, and in the error queue (`IP_RECVERR`, ip(7)).

use abi::poll::POLLERR;
use abi::socket::{IP_RECVERR, IPPROTO_IP_EXT, IPPROTO_IPV6_EXT, IPV6_RECVERR, MSG_ERRQUEUE, MSG_TRUNC};
use abi::{Errno, Result};
use smoltcp::wire::{IpAddress, IpEndpoint, IpVersion};

use super::{Dgrams, Flavour, Pcb};
use crate::net::addr::Family;
use crate::net::icmp::{Kind, Report};
use crate::net::port::Id;
use crate::net::stack::Base;
use crate::net::{Control, Received};

/// What an error came from: this host (`SO_EE_ORIGIN_LOCAL`).
const ORIGIN_LOCAL: u8 = 1;
/// ICMP.
const ORIGIN_ICMP: u8 = 2;
/// ICMPv6.
const ORIGIN_ICMP6: u8 = 3;
/// Errors that wait at most; the oldest stay.
const MOST: usize = 128;

/// An entry of the error queue.
#[derive(Clone, Debug)]
pub struct Trouble {
    errno: Errno,
    origin: u8,
    /// Type and code of the message.
    number: (u8, u8),
    /// What was too narrow, if that was it.
    mtu: u32,
    /// Who reported it.
    offender: Option<IpAddress>,
    /// Where the datagram was sent to.
    to: IpEndpoint,
    /// What it held, as far as it is known.
    data: Vec<u8>,
}

impl Dgrams {
    /// Tells the socket that has sent a datagram what became of it. One that asked for errors hears all, a connected one the fatal
    /// ones, as on Linux.
    pub fn icmp_error(&mut self, base: &mut Base, report: &Report) {
        let ids: Vec<Id> = match self.flavour {
            Flavour::Udp => self.ports.at(report.local.port).iter().map(|claim| claim.id).collect(),
            Flavour::Ping => {
                let port = report.quoted.get(4..6).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
                self.ports.at(port).iter().map(|claim| claim.id).collect()
            }
            Flavour::Raw => self.pcbs.keys().copied().collect(),
        };
        let raw = self.flavour == Flavour::Raw;
        for id in ids {
            let Some(pcb) = self.pcbs.get_mut(&id) else { continue };
            let sender = pcb.binding.map_or(raw, |binding| binding.covers(&report.local.addr));
            let same = pcb.protocol == u8::from(report.protocol);
            let to = report.remote;
            // A connected socket hears of nobody but its peer.
            let aimed =
                |peer: IpEndpoint| peer.addr == to.addr && (self.flavour != Flavour::Udp || peer.port == to.port);
            if sender && same && pcb.remote.is_none_or(aimed) {
                pcb.hear(base, report);
            }
        }
    }
}

impl Pcb {
    fn hear(&mut self, base: &mut Base, report: &Report) {
        let ipv4 = report.remote.addr.version() == IpVersion::Ipv4;
        let errno = report.kind.errno();
        if self.options.wants_errors(ipv4) {
            let origin = if ipv4 { ORIGIN_ICMP } else { ORIGIN_ICMP6 };
            let (number, offender, to) = (report.number, Some(report.from), report.remote);
            let mtu = if let Kind::TooBig { mtu } = report.kind { mtu as u32 } else { 0 };
            self.queue_trouble(Trouble { errno, origin, number, mtu, offender, to, data: report.quoted.clone() });
        } else if self.remote.is_none() || !report.kind.is_fatal() {
            return;
        }
        self.error = Some(errno);
        base.wake(&self.queue, POLLERR);
    }

    /// Takes note of a datagram that was refused because of its length: who asked for errors learns the MTU.
    pub(super) fn too_long(&mut self, base: &mut Base, to: IpEndpoint, mtu: usize) {
        let ipv4 = matches!(to.addr, IpAddress::Ipv4(_));
        if self.options.wants_errors(ipv4) {
            let (errno, origin, mtu) = (Errno::EMSGSIZE, ORIGIN_LOCAL, mtu as u32);
            let number = (0, 0);
            self.queue_trouble(Trouble { errno, origin, number, mtu, offender: None, to, data: Vec::new() });
            base.wake(&self.queue, POLLERR);
        }
    }

    fn queue_trouble(&mut self, trouble: Trouble) {
        if self.troubles.len() < MOST {
            self.troubles.push_back(trouble);
        }
    }

    /// Forgets what is queued: `IP_RECVERR` was switched off.
    pub(super) fn forget_troubles(&mut self) {
        self.troubles.clear();
    }

    /// Takes the oldest entry of the error queue (`MSG_ERRQUEUE`); `EAGAIN` if it is empty. `SO_ERROR` is then that of the next.
    pub(super) fn take_trouble(&mut self, buf: &mut [u8]) -> Result<Received> {
        let trouble = self.troubles.pop_front().ok_or(Errno::EAGAIN)?;
        let next = self.troubles.front().filter(|next| next.origin != ORIGIN_LOCAL);
        if next.is_some() || trouble.origin != ORIGIN_LOCAL {
            self.error = next.map(|next| next.errno);
        }
        let len = trouble.data.len().min(buf.len());
        buf[..len].copy_from_slice(&trouble.data[..len]);
        let cut = if len < trouble.data.len() { MSG_TRUNC } else { 0 };
        Ok(Received {
            len,
            full: trouble.data.len(),
            from: Some(self.family.sockaddr(trouble.to)),
            flags: MSG_ERRQUEUE | cut,
            control: vec![self.report(&trouble)],
            at_mark: false,
        })
    }

    /// Lays out `struct sock_extended_err` with the offender's address behind it; errno and address are NetBSD's.
    fn report(&self, trouble: &Trouble) -> Control {
        let Trouble { errno, origin, number: (kind, code), mtu, offender, .. } = trouble;
        let mut data = errno.raw().to_le_bytes().to_vec();
        data.extend([*origin, *kind, *code, 0]);
        data.extend(mtu.to_le_bytes());
        data.extend([0; 4]);
        let offender = offender.map(|addr| self.family.sockaddr(IpEndpoint::new(addr, 0)));
        data.extend(offender.map(|addr| addr.encode()).unwrap_or_default());
        match self.family {
            Family::V4 => Control::Other { level: IPPROTO_IP_EXT, kind: IP_RECVERR, data },
            Family::V6 { .. } => Control::Other { level: IPPROTO_IPV6_EXT, kind: IPV6_RECVERR, data },
        }
    }
}
