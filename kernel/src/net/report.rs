//! Tables of the network as Linux shows them under `/proc/net` (proc_net(5)).

use std::fmt::Write;

mod sockets;

use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, Ipv4Address};

use super::counters::{Ip, TcpStat, Udp};
use super::neighbour::State;
use super::route::Via;

use crate::{Kernel, Report};

/// The tables by their names.
pub fn tables() -> impl Iterator<Item = (&'static str, Report)> {
    let own: [(&str, Report); 5] =
        [("arp", arp), ("dev", dev), ("if_inet6", if_inet6), ("route", route), ("snmp", snmp)];
    own.into_iter().chain(sockets::TABLE.iter().copied())
}

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

/// The neighbours of IPv4.
fn arp(kernel: &Kernel) -> Vec<u8> {
    let mut text = "IP address       HW type     Flags       HW address            Mask     Device\n".to_owned();
    kernel.net.inet.look(|stack| {
        let mut all: Vec<_> = stack.base.neighbours.all().collect();
        all.sort_by_key(|(key, _)| **key);
        for ((link, addr), neighbour) in all {
            let IpAddress::Ipv4(addr) = addr else { continue };
            let (flags, mac) = match neighbour.state {
                State::Incomplete | State::Failed => (0, EthernetAddress([0; 6])),
                State::Permanent => (6, neighbour.mac),
                _ => (2, neighbour.mac),
            };
            let mac = mac.to_string().replace('-', ":");
            let name = &stack.base.links[*link].name;
            let _ = writeln!(
                text,
                "{:<16} 0x1         {:<11} {mac}     *        {name}",
                addr.to_string(),
                format!("0x{flags:x}")
            );
        }
    });
    text.into_bytes()
}

/// The IPv4 routes; those of the loopback are not in the table, as on Linux.
fn route(kernel: &Kernel) -> Vec<u8> {
    let mut text =
        format!("{:<127}\n", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    kernel.net.inet.look(|stack| {
        for route in stack.base.routes.all() {
            let IpCidr::Ipv4(to) = route.to else { continue };
            let hex = |addr: Ipv4Address| u32::from(addr).swap_bytes();
            let host = if to.prefix_len() == 32 { 4 } else { 0 };
            let (name, gateway, flags) = match route.via {
                Via::Link => (stack.base.links[route.link].name.as_str(), 0, 1),
                Via::Gateway(IpAddress::Ipv4(gateway)) => (stack.base.links[route.link].name.as_str(), hex(gateway), 3),
                Via::Gateway(_) => continue,
                Via::Reject | Via::Blackhole => ("*", 0, 0x201),
            };
            let (network, mask) = (hex(to.network().address()), hex(to.netmask()));
            let flags = flags | host;
            let row = format!(
                "{name}\t{network:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{}\t{mask:08X}\t0\t0\t0",
                route.metric
            );
            let _ = writeln!(text, "{row:<127}");
        }
    });
    text.into_bytes()
}

/// What is counted of IPv4 and of TCP, which counts both versions.
fn snmp(kernel: &Kernel) -> Vec<u8> {
    let (seen, tcp, forwarding) = kernel.net.inet.look(|stack| {
        let tcp = stack.tcp.counted().with(&stack.base.counters.tcp);
        (stack.base.counters.clone(), tcp, stack.base.settings.forward4)
    });
    let ip = |what| seen.of_ip(0, what);
    let udp = |what| seen.of_udp(0, what);
    let (icmp_in, icmp_out) = seen.of_icmp(0);
    let wrong = udp(Udp::HDROPS) + udp(Udp::BADLEN) + udp(Udp::BADSUM);
    format!(
        "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards \
         OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates\n\
         Ip: {} 64 {} {} {} {} {} 0 {} {} 0 {} 0 {} {} 0 {} {} {}\n\
         Icmp: InMsgs OutMsgs\nIcmp: {icmp_in} {icmp_out}\n\
         Tcp: ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n\
         Tcp: {} {} {} {} {} {} {} {} {} {} {}\n\
         Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors InCsumErrors\n\
         Udp: {} {} {} {} {} {}\n",
        if forwarding { 1 } else { 2 },
        ip(Ip::TOTAL),
        seen.of_senseless(0),
        ip(Ip::CANTFORWARD) + ip(Ip::BADADDR),
        ip(Ip::FORWARD),
        seen.of_unserved(),
        ip(Ip::DELIVERED),
        ip(Ip::LOCALOUT),
        ip(Ip::NOROUTE),
        ip(Ip::FRAGMENTS),
        ip(Ip::REASSEMBLED),
        ip(Ip::FRAGMENTED),
        ip(Ip::CANTFRAG),
        ip(Ip::OFRAGMENTS),
        tcp.of(TcpStat::CONNATTEMPT),
        tcp.of(TcpStat::ACCEPTS),
        tcp.of(TcpStat::CONNDROPS),
        tcp.of(TcpStat::DROPS),
        sockets::established(kernel),
        tcp.of(TcpStat::RCVTOTAL),
        tcp.of(TcpStat::SNDTOTAL),
        tcp.of(TcpStat::SNDREXMITPACK),
        tcp.of(TcpStat::RCVBADSUM) + tcp.of(TcpStat::RCVSHORT),
        tcp.of(TcpStat::RESETS),
        tcp.of(TcpStat::RCVBADSUM),
        udp(Udp::IPACKETS) - wrong - udp(Udp::NOPORT) - udp(Udp::NOPORTBCAST) - udp(Udp::FULLSOCK),
        udp(Udp::NOPORT),
        wrong + udp(Udp::FULLSOCK),
        udp(Udp::OPACKETS),
        udp(Udp::FULLSOCK),
        udp(Udp::BADSUM),
    )
    .into_bytes()
}
