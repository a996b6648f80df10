//! `netstat`: sockets, routes, interfaces and what was counted, in the shapes of netstat(1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::ensure;
use client::Caller;
use serde_json::json;

use super::{array, route, said, sockstat};
use crate::net;

mod counted;

/// Shows sockets, routes, interfaces, or what was counted.
#[derive(clap::Args)]
pub struct Netstat {
    /// Show all sockets of the internet, those that listen too
    #[arg(short = 'a', conflicts_with_all = ["routes", "interfaces", "statistics"])]
    all: bool,
    /// Show the routes
    #[arg(short = 'r')]
    routes: bool,
    /// Show the interfaces and what passed them
    #[arg(short = 'i')]
    interfaces: bool,
    /// Show what was counted of each protocol
    #[arg(short = 's', conflicts_with_all = ["routes", "interfaces"])]
    statistics: bool,
    /// Only those of a family: inet, inet6
    #[arg(short = 'f', value_name = "FAMILY", value_parser = ["inet", "inet6"])]
    family: Option<String>,
    /// Only this interface
    #[arg(short = 'I', value_name = "INTERFACE", conflicts_with_all = ["all", "routes", "statistics"])]
    interface: Option<String>,
    /// Only sockets of a protocol: tcp, udp, raw, ping; with -s only what was counted of it, of ip, icmp, ip6, icmp6, udp6 too
    #[arg(short = 'p', value_name = "PROTOCOL", value_parser = ["tcp", "udp", "raw", "ping", "ip", "icmp", "ip6", "icmp6", "udp6"], conflicts_with_all = ["routes", "interfaces"])]
    protocol: Option<String>,
    /// Addresses as numbers, as always
    #[arg(short = 'n')]
    numeric: bool,
}

impl Netstat {
    /// Shows it; without options the connections.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        if self.routes {
            return route::show(kernel, self.family.as_deref(), json);
        }
        if self.statistics {
            return counted::show(kernel, [self.family.as_deref(), self.protocol.as_deref()], json);
        }
        if self.interfaces || self.interface.is_some() {
            return interfaces(kernel, self.interface.as_deref(), json);
        }
        let only = [self.family.as_deref(), self.protocol.as_deref()];
        sockstat::active(kernel, self.all, only, json)
    }
}

/// The network that an address is in.
fn network(addr: IpAddr, prefix: u32) -> String {
    let ones = |bits: u32| u128::MAX.checked_shl(bits - prefix.min(bits)).unwrap_or(0);
    match addr {
        IpAddr::V4(addr) => format!("{}/{prefix}", Ipv4Addr::from_bits(addr.to_bits() & ones(32) as u32)),
        IpAddr::V6(addr) => format!("{}/{prefix}", Ipv6Addr::from_bits(addr.to_bits() & ones(128))),
    }
}

fn interfaces(kernel: &dyn Caller, only: Option<&str>, json: bool) -> anyhow::Result<Vec<String>> {
    let mut all = net::interfaces(kernel).map_err(said("interfaces"))?;
    if let Some(name) = only {
        all.retain(|interface| interface.name == name);
        ensure!(!all.is_empty(), "{name}: {}", abi::Errno::ENXIO);
    }
    if json {
        return Ok(array(all.iter().map(|i| {
            let [packets_in, packets_out, bytes_in, bytes_out, drops_in, drops_out] = i.counters;
            json!({
                "name": i.name, "mtu": i.mtu, "packets_in": packets_in, "packets_out": packets_out, "bytes_in": bytes_in,
                "bytes_out": bytes_out, "drops_in": drops_in, "drops_out": drops_out,
            })
        })));
    }
    let head = format!(
        "{:<8} {:>5} {:<18} {:<39} {:>9} {:>5} {:>9} {:>5}",
        "Name", "Mtu", "Network", "Address", "Ipkts", "Idrop", "Opkts", "Odrop"
    );
    let mut lines = vec![head];
    for i in &all {
        let [packets_in, packets_out, _, _, drops_in, drops_out] = i.counters;
        let row = |network: &str, address: &str| {
            format!(
                "{:<8} {:>5} {network:<18} {address:<39} {packets_in:>9} {drops_in:>5} {packets_out:>9} {drops_out:>5}",
                i.name, i.mtu
            )
        };
        lines.push(row(&format!("<Link#{}>", i.index), i.mac.as_deref().unwrap_or("")));
        lines.extend(i.addresses.iter().map(|a| row(&network(a.addr, a.prefix), &a.addr.to_string())));
    }
    Ok(lines)
}
