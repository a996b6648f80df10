//! `route monitor`: tells of every change of routes, addresses and interfaces as it comes, in the words of route(8).

use std::io::Write;
use std::net::IpAddr;

use abi::route::*;
use abi::socket::{AF_LINK, AF_ROUTE, SOCK_RAW, Sockaddr};
use abi::{Fd, InOut, Out};
use client::{Caller, stubs};
use jiff::Zoned;
use serde_json::{Value, json};
use zerocopy::FromBytes;

use super::super::said;
use super::get::{FLAGS, addresses};

/// The longest message that is read at a time.
const LONGEST: usize = 2048;

/// What the messages are called, by name and in words.
const MESSAGES: [(u8, &str, &str); 13] = [
    (RTM_ADD, "RTM_ADD", "Add Route"),
    (RTM_DELETE, "RTM_DELETE", "Delete Route"),
    (RTM_CHANGE, "RTM_CHANGE", "Change Metrics, Flags or Gateway"),
    (RTM_GET, "RTM_GET", "Report Metrics"),
    (RTM_LOSING, "RTM_LOSING", "Kernel Suspects Partitioning"),
    (RTM_REDIRECT, "RTM_REDIRECT", "Told to use different route"),
    (RTM_MISS, "RTM_MISS", "Lookup failed on this address"),
    (RTM_LOCK, "RTM_LOCK", "fix specified metrics"),
    (RTM_NEWADDR, "RTM_NEWADDR", "address being added to iface"),
    (RTM_DELADDR, "RTM_DELADDR", "address being removed from iface"),
    (RTM_IFANNOUNCE, "RTM_IFANNOUNCE", "iface arrival/departure"),
    (RTM_IFINFO, "RTM_IFINFO", "iface status change"),
    (RTM_CHGADDR, "RTM_CHGADDR", "address being changed on iface"),
];

/// What the addresses of a message are, by their places.
const PLACES: [&str; RTAX_MAX] = ["DST", "GATEWAY", "NETMASK", "GENMASK", "IFP", "IFA", "AUTHOR", "BRD", "TAG"];

/// The metrics, by the bits of those that are locked or set.
const METRICS: [(i32, &str); 8] = [
    (RTV_MTU, "mtu"),
    (RTV_HOPCOUNT, "hopcount"),
    (RTV_EXPIRE, "expire"),
    (RTV_RPIPE, "rpipe"),
    (RTV_SPIPE, "spipe"),
    (RTV_SSTHRESH, "ssthresh"),
    (RTV_RTT, "rtt"),
    (RTV_RTTVAR, "rttvar"),
];

/// The flags of an interface, lowest bit first (`<net/if.h>`).
const INTERFACE: [&str; 16] = [
    "UP",
    "BROADCAST",
    "DEBUG",
    "LOOPBACK",
    "PTP",
    "NOTRAILERS",
    "RUNNING",
    "NOARP",
    "PROMISC",
    "ALLMULTI",
    "OACTIVE",
    "SIMPLEX",
    "LINK0",
    "LINK1",
    "LINK2",
    "MULTICAST",
];

/// Prints messages until nobody reads any more, or the kernel ends.
pub fn monitor(kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
    let socket = stubs::socket(kernel, AF_ROUTE, SOCK_RAW, 0).map_err(said("routing socket"))?;
    let mut out = std::io::stdout().lock();
    loop {
        let message = receive(kernel, socket)?;
        let shown = if json { as_json(&message).to_string() } else { as_text(&message).join("\n") };
        if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() {
            return Ok(Vec::new());
        }
    }
}

fn receive(kernel: &dyn Caller, socket: Fd) -> anyhow::Result<Vec<u8>> {
    let mut buffer = vec![0; LONGEST];
    let out = Out::new(buffer.as_mut_slice());
    let len = stubs::recvfrom(kernel, socket, out, LONGEST, 0, Out::NULL, InOut::NULL);
    buffer.truncate(len.map_err(said("reading from routing socket"))?);
    Ok(buffer)
}

/// Words between angle brackets, as BSD prints bits.
fn bits(words: &[&str]) -> String {
    if words.is_empty() { String::new() } else { format!("<{}>", words.join(",")) }
}

fn named<'a>(value: i32, names: &[(i32, &'a str)]) -> Vec<&'a str> {
    names.iter().filter(|(bit, _)| value & bit != 0).map(|(_, name)| *name).collect()
}

fn interface_flags(value: i32) -> Vec<&'static str> {
    INTERFACE.iter().enumerate().filter(|(at, _)| value & 1 << at != 0).map(|(_, name)| *name).collect()
}

/// An address as route(8) shows it: that of an interface by its name and hardware address.
fn shown(bytes: &[u8]) -> String {
    if bytes.get(1).is_some_and(|family| i32::from(*family) == AF_LINK) {
        let index = u16::from_ne_bytes([bytes.get(2).copied().unwrap_or(0), bytes.get(3).copied().unwrap_or(0)]);
        let (name_len, mac_len) =
            (bytes.get(5).map_or(0, |len| usize::from(*len)), bytes.get(6).map_or(0, |len| usize::from(*len)));
        let name = bytes.get(8..8 + name_len).map(String::from_utf8_lossy).unwrap_or_default();
        let mac = bytes.get(8 + name_len..8 + name_len + mac_len).unwrap_or_default();
        let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        return match (name.is_empty(), mac.is_empty()) {
            (true, true) => format!("link#{index}"),
            (false, true) => name.into_owned(),
            (true, false) => mac.join(":"),
            (false, false) => format!("{name}:{}", mac.join(":")),
        };
    }
    let addr: IpAddr = match Sockaddr::parse(bytes) {
        Ok(Sockaddr::Inet { addr, .. }) => addr.into(),
        Ok(Sockaddr::Inet6 { addr, .. }) => addr.into(),
        // A mask of no bits has no bytes.
        _ => return "default".to_owned(),
    };
    if addr.is_unspecified() { "default".to_owned() } else { addr.to_string() }
}

/// What a message says.
enum About {
    Route(RtMsghdr),
    Interface(IfMsghdr),
    Address(IfaMsghdr),
    Announcement(IfAnnouncemsghdr),
}

/// Takes a message apart: what it says, and the addresses behind it.
fn parse(message: &[u8]) -> Option<(About, [Option<Vec<u8>>; RTAX_MAX])> {
    let kind = *message.get(3)?;
    let (about, present, rest) = match kind {
        RTM_IFINFO => {
            let (header, rest) = IfMsghdr::read_from_prefix(message).ok()?;
            (About::Interface(header), header.ifm_addrs, rest)
        }
        RTM_NEWADDR | RTM_DELADDR | RTM_CHGADDR => {
            let (header, rest) = IfaMsghdr::read_from_prefix(message).ok()?;
            (About::Address(header), header.ifam_addrs, rest)
        }
        RTM_IFANNOUNCE => {
            let (header, rest) = IfAnnouncemsghdr::read_from_prefix(message).ok()?;
            (About::Announcement(header), 0, rest)
        }
        _ => {
            let (header, rest) = RtMsghdr::read_from_prefix(message).ok()?;
            (About::Route(header), header.rtm_addrs, rest)
        }
    };
    Some((about, addresses(rest, present)?))
}

/// The name of a message and what it means.
fn called(message: &[u8]) -> (&'static str, &'static str) {
    let kind = message.get(3).copied().unwrap_or_default();
    MESSAGES.iter().find(|known| known.0 == kind).map_or(("unknown", "message"), |known| (known.1, known.2))
}

fn as_text(message: &[u8]) -> Vec<String> {
    let now = Zoned::now().strftime("%a %b %e %H:%M:%S %Y");
    let mut lines = vec![format!("got message of size {} on {now}", message.len())];
    let (name, words) = called(message);
    let Some((about, addrs)) = parse(message) else {
        lines.push(format!("{name}: {words}: cut off\n"));
        return lines;
    };
    let head = format!("{name}: {words}: len {}, ", message.len());
    match about {
        About::Route(about) => {
            let (pid, seq, errno) = (about.rtm_pid, about.rtm_seq, about.rtm_errno);
            let flags = bits(&named(about.rtm_flags, &FLAGS));
            lines.push(format!("{head}pid {pid}, seq {seq}, errno {errno}, flags:{flags}"));
            let locks = bits(&named(about.rtm_rmx.rmx_locks as i32, &METRICS));
            lines.push(format!("locks: {locks} inits: {}", bits(&named(about.rtm_inits, &METRICS))));
        }
        About::Interface(about) => {
            lines.push(format!("{head}if# {}, flags:{}", about.ifm_index, bits(&interface_flags(about.ifm_flags))));
        }
        About::Address(about) => {
            let flags = bits(&named(about.ifam_flags, &FLAGS));
            lines.push(format!("{head}metric {}, flags:{flags}", about.ifam_metric));
        }
        About::Announcement(about) => {
            let what = if about.ifan_what == IFAN_ARRIVAL { "arrival" } else { "departure" };
            lines.push(format!("{head}if# {}, what: {what}", about.ifan_index));
        }
    }
    let present: Vec<&str> =
        PLACES.iter().zip(&addrs).filter(|(_, addr)| addr.is_some()).map(|(name, _)| *name).collect();
    if !present.is_empty() {
        lines.push(format!("sockaddrs: {}", bits(&present)));
        lines.push(addrs.iter().flatten().map(|addr| format!(" {}", shown(addr))).collect());
    }
    lines.push(String::new());
    lines
}

fn as_json(message: &[u8]) -> Value {
    let (name, _) = called(message);
    let Some((about, addrs)) = parse(message) else { return json!({"type": name}) };
    let addrs: serde_json::Map<_, _> = PLACES
        .iter()
        .zip(&addrs)
        .filter_map(|(name, addr)| Some((name.to_ascii_lowercase(), shown(addr.as_deref()?).into())))
        .collect();
    match about {
        About::Route(about) => json!({
            "type": name, "pid": about.rtm_pid, "seq": about.rtm_seq, "errno": about.rtm_errno,
            "flags": named(about.rtm_flags, &FLAGS), "addresses": addrs,
        }),
        About::Interface(about) => json!({
            "type": name, "index": about.ifm_index, "flags": interface_flags(about.ifm_flags), "addresses": addrs,
        }),
        About::Address(about) => json!({"type": name, "index": about.ifam_index, "addresses": addrs}),
        About::Announcement(about) => {
            let end = about.ifan_name.iter().position(|byte| *byte == 0).unwrap_or(about.ifan_name.len());
            let interface = String::from_utf8_lossy(&about.ifan_name[..end]).into_owned();
            let what = if about.ifan_what == IFAN_ARRIVAL { "arrival" } else { "departure" };
            json!({"type": name, "index": about.ifan_index, "interface": interface, "what": what})
        }
    }
}
