//! Tables of the network as Linux shows them under `/proc/net` (proc_net(5)).

use std::fmt::Write;

use smoltcp::wire::{IpAddress, IpCidr};

use crate::{Kernel, Report};

/// The tables by their names.
pub const TABLE: &[(&str, Report)] = &[
    ("arp", |_| "IP address       HW type     Flags       HW address            Mask     Device\n".into()),
    ("dev", dev),
    ("if_inet6", if_inet6),
    ("route", route),
    ("snmp", snmp),
];

/// Counters of the interfaces; the names are those of the rump kernel.
fn dev(kernel: &Kernel) -> Vec<u8> {
    let mut text = concat!(
        "Inter-|   Receive                                                |  Transmit\n",
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
    )
    .to_owned();
    kernel.net.inet.look(|stack| {
        for link in &stack.base.links {
            let seen = link.device.counters();
            let _ = writeln!(
                text,
                "{:>6}: {:7} {:7}    0    0    0     0          0         0 {:8} {:7}    0    0    0     0       0          0",
                link.name, seen.bytes_in, seen.packets_in, seen.bytes_out, seen.packets_out
            );
        }
    });
    text.into_bytes()
}

/// The IPv6 addresses: in hexadecimal, interface, length of the prefix, scope, flags, name.
fn if_inet6(kernel: &Kernel) -> Vec<u8> {
    let mut text = String::new();
    kernel.net.inet.look(|stack| {
        for link in &stack.base.links {
            for cidr in &link.addrs {
                let IpCidr::Ipv6(cidr) = cidr else { continue };
                let octets = cidr.address().octets();
                let hex: String = octets.iter().map(|byte| format!("{byte:02x}")).collect();
                let scope = match () {
                    () if cidr.address().is_loopback() => 0x10,
                    () if cidr.address().is_unicast_link_local() => 0x20,
                    () => 0,
                };
                let _ = writeln!(
                    text,
                    "{hex} {:02x} {:02x} {scope:02x} 80 {:>8}",
                    link.index,
                    cidr.prefix_len(),
                    link.name
                );
            }
        }
    });
    text.into_bytes()
}

/// The IPv4 networks of the interfaces; the loopback's is not in the table, as on Linux.
fn route(kernel: &Kernel) -> Vec<u8> {
    let mut text =
        format!("{:<127}\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    kernel.net.inet.look(|stack| {
        for link in stack.base.links.iter().filter(|link| !link.device.is_loopback()) {
            for cidr in &link.addrs {
                let IpAddress::Ipv4(address) = cidr.address() else { continue };
                let mask = u32::MAX.checked_shl(32 - u32::from(cidr.prefix_len())).unwrap_or(0);
                let network = (u32::from(address) & mask).swap_bytes();
                let row = format!(
                    "{}\t{network:08X}\t00000000\t0001\t0\t0\t0\t{:08X}\t0\t0\t0",
                    link.name,
                    mask.swap_bytes()
                );
                let _ = writeln!(text, "{row:<127}");
            }
        }
    });
    text.into_bytes()
}

/// What is counted per protocol: packets of the interfaces.
fn snmp(kernel: &Kernel) -> Vec<u8> {
    let (received, sent) = kernel.net.inet.look(|stack| {
        let all = stack.base.links.iter().map(|link| link.device.counters());
        all.fold((0, 0), |sum, seen| (sum.0 + seen.packets_in, sum.1 + seen.packets_out))
    });
    format!(
        "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests\n\
         Ip: 2 64 {received} 0 0 0 0 0 {received} {sent}\n"
    )
    .into_bytes()
}
