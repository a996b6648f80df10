//! What sysctl(7) sets and shows of the network: `net.inet`, `net.inet6`, and `vendor.rump.sockets`.

use abi::socket::PF_ROUTE;
use abi::sysctl::{CTL_NET, CTL_VENDOR};
use abi::{Errno, Result};

use super::conn::Congestion;
use super::stack::{Settings, Stack};
use crate::Kernel;
use crate::sysctl::{Row, Value};

const PF_INET: i32 = 2;
const PF_INET6: i32 = 24;
const IPPROTO_IP: i32 = 0;
const IPPROTO_ICMP: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_IPV6: i32 = 41;
const IPPROTO_ICMPV6: i32 = 58;
/// `vendor.rump`: a number of our own, far from what others would take.
const RUMP: i32 = 1000;
/// `net.inet.tcp.fastloop`: one of our own too.
const FASTLOOP: i32 = 1000;
/// `net.inet.tcp.congctl`, whose number changes from boot to boot in NetBSD.
const CONGESTION: i32 = 1001;

/// The rows, parents before children.
pub const ROWS: &[Row] = &[
    Row::new(&[CTL_NET, PF_INET], "inet", "PF_INET related settings", Value::Node),
    Row::new(&[CTL_NET, PF_INET, IPPROTO_IP], "ip", "IPv4 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_IP, 1],
        "forwarding",
        "Enable forwarding of IPv4 datagrams",
        Value::IntRw(|k| get(k, |s| i32::from(s.forward4)), |k, on| set(k, |s| s.forward4 = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_IP, 2],
        "redirect",
        "Enable sending of ICMP redirect messages",
        Value::IntRw(|k| get(k, |s| i32::from(s.send_redirects4)), |k, on| set(k, |s| s.send_redirects4 = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_IP, 10],
        "anonportmin",
        "Lowest ephemeral port number to assign",
        Value::IntRw(first_port, set_first_port),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_IP, 11],
        "anonportmax",
        "Highest ephemeral port number to assign",
        Value::IntRw(last_port, set_last_port),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_IP, 24],
        "stats",
        "IPv4 statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.ip_table(0).to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET, IPPROTO_ICMP], "icmp", "ICMPv4 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_ICMP, 3],
        "rediraccept",
        "Accept ICMP redirect messages",
        Value::IntRw(|k| get(k, |s| i32::from(s.accept_redirects4)), |k, on| set(k, |s| s.accept_redirects4 = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_ICMP, 7],
        "stats",
        "ICMP statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.icmp_table(0).to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET, IPPROTO_UDP], "udp", "UDPv4 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_UDP, 5],
        "stats",
        "UDPv4 statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.udp_table(0).to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET, IPPROTO_TCP], "tcp", "TCP related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_TCP, FASTLOOP],
        "fastloop",
        "Join local connections without segments",
        Value::IntRw(
            |k| k.net.inet.look(|stack| i32::from(!stack.tcp.slow_loop)),
            |k, on| {
                k.net.inet.with(|stack| stack.tcp.slow_loop = on == 0);
                Ok(())
            },
        ),
    ),
    Row::new(&[CTL_NET, PF_INET, IPPROTO_TCP, CONGESTION], "congctl", "Congestion control", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_TCP, CONGESTION, 1],
        "available",
        "Available congestion control mechanisms",
        Value::Text(|_| Congestion::names()),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_TCP, CONGESTION, 2],
        "selected",
        "Selected congestion control mechanism",
        Value::TextRw(
            |k| k.net.inet.look(|stack| stack.tcp.congestion.name().to_owned()),
            |k, name| {
                let congestion = Congestion::parse(name.as_bytes())?;
                k.net.inet.with(|stack| stack.tcp.congestion = congestion);
                Ok(())
            },
        ),
    ),
    Row::new(
        &[CTL_NET, PF_INET, IPPROTO_TCP, 30],
        "stats",
        "TCP statistics",
        Value::Table(|k, _| counted(k, |stack| stack.tcp.counted().with(&stack.base.counters.tcp).all().to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET6], "inet6", "PF_INET6 related settings", Value::Node),
    Row::new(&[CTL_NET, PF_INET6, IPPROTO_IPV6], "ip6", "IPv6 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 1],
        "forwarding",
        "Enable forwarding of IPv6 datagrams",
        Value::IntRw(|k| get(k, |s| i32::from(s.forward6)), |k, on| set(k, |s| s.forward6 = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 2],
        "redirect",
        "Enable sending of ICMPv6 redirect messages",
        Value::IntRw(|k| get(k, |s| i32::from(s.send_redirects6)), |k, on| set(k, |s| s.send_redirects6 = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 12],
        "accept_rtadv",
        "Accept router advertisements",
        Value::IntRw(|k| get(k, |s| i32::from(s.accept_routers)), |k, on| set(k, |s| s.accept_routers = on != 0)),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 16],
        "dad_count",
        "Number of Duplicate Address Detection probes to send",
        Value::IntRw(|k| get(k, |s| i32::from(s.dad_count)), set_dad_count),
    ),
    // There is one range for both versions: a port of a socket of IPv6 may be one of IPv4 too.
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 28],
        "anonportmin",
        "Lowest ephemeral port number to assign",
        Value::IntRw(first_port, set_first_port),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 29],
        "anonportmax",
        "Highest ephemeral port number to assign",
        Value::IntRw(last_port, set_last_port),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 6],
        "stats",
        "IPv6 statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.ip_table(1).to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET6, IPPROTO_UDP], "udp6", "UDPv6 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_UDP, 5],
        "stats",
        "UDPv6 statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.udp_table(1).to_vec())),
    ),
    Row::new(&[CTL_NET, PF_INET6, IPPROTO_ICMPV6], "icmp6", "ICMPv6 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_ICMPV6, 1],
        "stats",
        "ICMPv6 statistics",
        Value::Table(|k, _| counted(k, |stack| stack.base.counters.icmp_table(1).to_vec())),
    ),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_ICMPV6, 2],
        "rediraccept",
        "Accept ICMPv6 redirect messages",
        Value::IntRw(|k| get(k, |s| i32::from(s.accept_redirects6)), |k, on| set(k, |s| s.accept_redirects6 = on != 0)),
    ),
    Row::new(&[CTL_NET, PF_ROUTE], "route", "PF_ROUTE information", Value::Node),
    Row::new(
        &[CTL_NET, PF_ROUTE, 0],
        "rtable",
        "Routing table information",
        Value::Table(|k, rest| k.net.inet.look(|stack| super::routing::table(&stack.base, rest))),
    ),
    Row::new(&[CTL_VENDOR, RUMP], "rump", "What NetBSD has no name for", Value::Node),
    Row::new(&[CTL_VENDOR, RUMP, 1], "sockets", "Sockets and who has them", Value::Table(super::sockets::table)),
];

/// A table of what is counted.
fn counted(kernel: &Kernel, table: impl FnOnce(&Stack) -> Vec<u64>) -> Result<Vec<u8>> {
    Ok(kernel.net.inet.look(table).iter().flat_map(|count| count.to_ne_bytes()).collect())
}

fn get(kernel: &Kernel, what: impl FnOnce(&Settings) -> i32) -> i32 {
    kernel.net.inet.look(|stack| what(&stack.base.settings))
}

fn set(kernel: &Kernel, what: impl FnOnce(&mut Settings)) -> Result<()> {
    kernel.net.inet.with(|stack| what(&mut stack.base.settings));
    Ok(())
}

fn first_port(kernel: &Kernel) -> i32 {
    get(kernel, |settings| settings.ports.0.into())
}

fn last_port(kernel: &Kernel) -> i32 {
    get(kernel, |settings| settings.ports.1.into())
}

/// `EINVAL` for one behind the last.
fn set_first_port(kernel: &Kernel, first: i32) -> Result<()> {
    change_ports(kernel, |ports| Some((u16::try_from(first).ok()?, ports.1)))
}

/// `EINVAL` for one before the first.
fn set_last_port(kernel: &Kernel, last: i32) -> Result<()> {
    change_ports(kernel, |ports| Some((ports.0, u16::try_from(last).ok()?)))
}

fn change_ports(kernel: &Kernel, change: impl FnOnce((u16, u16)) -> Option<(u16, u16)>) -> Result<()> {
    kernel.net.inet.with(|stack| {
        let ports = &mut stack.base.settings.ports;
        *ports = change(*ports).filter(|(first, last)| (1..=*last).contains(first)).ok_or(Errno::EINVAL)?;
        Ok(())
    })
}

fn set_dad_count(kernel: &Kernel, count: i32) -> Result<()> {
    let count = u8::try_from(count).ok().filter(|count| *count <= 15).ok_or(Errno::EINVAL)?;
    set(kernel, |settings| settings.dad_count = count)
}
