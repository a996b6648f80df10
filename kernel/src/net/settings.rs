//! What sysctl(7) sets and shows of the network: `net.inet`, `net.inet6`, and `vendor.rump.sockets`.

use abi::sysctl::{CTL_NET, CTL_VENDOR};
use abi::{Errno, Result};

use super::stack::Settings;
use crate::Kernel;
use crate::sysctl::{Row, Value};

const PF_INET: i32 = 2;
const PF_INET6: i32 = 24;
const IPPROTO_IP: i32 = 0;
const IPPROTO_IPV6: i32 = 41;
/// `vendor.rump`: a number of our own, far from what others would take.
const RUMP: i32 = 1000;

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
    Row::new(&[CTL_NET, PF_INET, IPPROTO_IP, 23], "stats", "IP and ICMP statistics", Value::Table(statistics)),
    Row::new(&[CTL_NET, PF_INET6], "inet6", "PF_INET6 related settings", Value::Node),
    Row::new(&[CTL_NET, PF_INET6, IPPROTO_IPV6], "ip6", "IPv6 related settings", Value::Node),
    Row::new(
        &[CTL_NET, PF_INET6, IPPROTO_IPV6, 1],
        "forwarding",
        "Enable forwarding of IPv6 datagrams",
        Value::IntRw(|k| get(k, |s| i32::from(s.forward6)), |k, on| set(k, |s| s.forward6 = on != 0)),
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
    Row::new(&[CTL_VENDOR, RUMP], "rump", "What NetBSD has no name for", Value::Node),
    Row::new(&[CTL_VENDOR, RUMP, 1], "sockets", "Sockets and who has them", Value::Table(super::sockets::table)),
];

/// What is counted, 64 bits each: in our order, since NetBSD counts other things.
fn statistics(kernel: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    let seen = kernel.net.inet.look(|stack| stack.base.statistics);
    let all = [
        seen.received,
        seen.bad,
        seen.not_ours,
        seen.forwarded,
        seen.delivered,
        seen.sent,
        seen.no_route,
        seen.pieces,
        seen.assembled,
        seen.fragments,
        seen.icmp_in,
        seen.icmp_out,
    ];
    Ok(all.iter().flat_map(|count| count.to_ne_bytes()).collect())
}

fn get(kernel: &Kernel, what: impl FnOnce(&Settings) -> i32) -> i32 {
    kernel.net.inet.look(|stack| what(&stack.base.settings))
}

fn set(kernel: &Kernel, what: impl FnOnce(&mut Settings)) -> Result<()> {
    kernel.net.inet.with(|stack| what(&mut stack.base.settings));
    Ok(())
}

fn set_dad_count(kernel: &Kernel, count: i32) -> Result<()> {
    let count = u8::try_from(count).ok().filter(|count| *count <= 15).ok_or(Errno::EINVAL)?;
    set(kernel, |settings| settings.dad_count = count)
}
