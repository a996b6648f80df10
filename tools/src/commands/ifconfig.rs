//! `ifconfig`: shows interfaces, makes them and changes them, in the words of ifconfig(8).

use std::net::IpAddr;
use std::path::Path;

use abi::ioctl::*;
use abi::socket::Sockaddr;
use anyhow::{Context, bail, ensure};
use client::Caller;
use serde_json::json;

use super::{array, said};
use crate::net::{self, Control, Interface};

/// The flags in the words of ifconfig(8).
const FLAGS: [(u32, &str); 9] = [
    (0x1, "UP"),
    (0x2, "BROADCAST"),
    (0x4, "DEBUG"),
    (0x8, "LOOPBACK"),
    (0x10, "POINTOPOINT"),
    (0x40, "RUNNING"),
    (0x100, "PROMISC"),
    (0x800, "SIMPLEX"),
    (0x8000, "MULTICAST"),
];

/// `SIOCSLINKSTR`: to take the string away.
const LINKSTR_UNSET: u64 = 2;

/// Shows, makes and changes network interfaces.
#[derive(clap::Args)]
pub struct Ifconfig {
    /// [-a | -l | -C | INTERFACE [create] [destroy] [up] [down] [mtu N] [linkstr FILE] [-linkstr]
    /// [inet ADDR[/LEN] [netmask MASK] [alias|delete]] [inet6 ADDR[/LEN] [prefixlen LEN] [alias|delete]]]
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, value_name = "WORDS")]
    words: Vec<String>,
}

impl Ifconfig {
    /// Does what the words say.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words[..] {
            [] | ["-a"] => show(kernel, None, json),
            ["-l"] => {
                let all = net::interfaces(kernel).map_err(said("ifconfig"))?;
                Ok(vec![all.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(" ")])
            }
            ["-C"] => Ok(vec![Control::open(kernel)?.cloners().map_err(said("SIOCIFGCLONERS"))?.join(" ")]),
            [name] => show(kernel, Some(name), json),
            [name, ref rest @ ..] => {
                change(&Control::open(kernel)?, name, rest)?;
                Ok(Vec::new())
            }
        }
    }
}

/// The length of a prefix, as such or as a mask.
fn prefix(text: &str) -> anyhow::Result<u8> {
    let mask = match text.parse() {
        Ok(mask) => mask,
        Err(_) => match text.strip_prefix("0x").map(|digits| u32::from_str_radix(digits, 16)) {
            Some(Ok(bits)) => IpAddr::from(bits.to_be_bytes()),
            _ => return text.parse().with_context(|| format!("{text}: no length of a prefix, and no mask")),
        },
    };
    let (octets, _) = net::octets(&mask);
    Ok(octets.iter().map(|byte| byte.count_ones()).sum::<u32>() as u8)
}

fn mask(addr: IpAddr, prefix: u8) -> anyhow::Result<Vec<u8>> {
    let (octets, _) = net::octets(&addr);
    let bits = octets.len() * 8;
    ensure!(usize::from(prefix) <= bits, "/{prefix}: longer than an address");
    let bytes = (0..octets.len()).map(|at| {
        let left = usize::from(prefix).saturating_sub(at * 8).min(8);
        (0xff00u16 >> left) as u8
    });
    Ok(bytes.collect())
}

fn sockaddr(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => Sockaddr::Inet { addr: addr.octets(), port: 0 },
        IpAddr::V6(addr) => Sockaddr::Inet6 { addr: addr.octets(), port: 0, flowinfo: 0, scope_id: 0 },
    }
    .encode()
    .to_vec()
}

/// An address with the length of its prefix, if that was said.
fn parse(text: &str) -> anyhow::Result<(IpAddr, Option<u8>)> {
    let (addr, length) = text.split_once('/').map_or((text, None), |(addr, length)| (addr, Some(length)));
    let addr = addr.split('%').next().unwrap_or_default();
    let addr = addr.parse().with_context(|| format!("{text}: no address"))?;
    Ok((addr, length.map(prefix).transpose()?))
}

fn change(control: &Control<'_>, name: &str, words: &[&str]) -> anyhow::Result<()> {
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let context = |errno: abi::Errno| anyhow::anyhow!("{name}: {word}: {errno}");
        let mut value = || words.next().with_context(|| format!("{word}: what?"));
        let ifreq = |command, payload: &[u8]| control.ifreq(command, name, payload).map(drop).map_err(context);
        match word {
            "create" => ifreq(SIOCIFCREATE, &[])?,
            "destroy" => ifreq(SIOCIFDESTROY, &[])?,
            "up" | "down" => {
                let flags = control.ifreq(SIOCGIFFLAGS, name, &[]).map_err(context)?;
                let flags = u16::from_ne_bytes([flags[16], flags[17]]);
                let flags = if word == "up" { flags | IFF_UP as u16 } else { flags & !(IFF_UP as u16) };
                ifreq(SIOCSIFFLAGS, &flags.to_ne_bytes())?;
            }
            "mtu" => {
                let mtu: i32 = value()?.parse().context("mtu")?;
                ifreq(SIOCSIFMTU, &mtu.to_ne_bytes())?;
            }
            "linkstr" => {
                let text = value()?;
                // The server may stand elsewhere.
                let path = match text.contains("://") {
                    true => text.into(),
                    false => std::path::absolute(Path::new(text)).context("linkstr")?,
                };
                let path =
                    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{path:?}: not UTF-8"))?;
                control
                    .give(SIOCSLINKSTR, name, 0, &path)
                    .map_err(|errno| anyhow::anyhow!("{name}: {path}: {errno}"))?;
            }
            "-linkstr" => control.give(SIOCSLINKSTR, name, LINKSTR_UNSET, "").map_err(context)?,
            "inet" | "inet6" => {
                let text = value()?;
                let (addr, length) = parse(text)?;
                ensure!(addr.is_ipv4() == (word == "inet"), "{text}: no address of {word}");
                change_address(control, name, addr, length, &mut words)?;
            }
            _ => match parse(word) {
                Ok((addr, length)) => change_address(control, name, addr, length, &mut words)?,
                Err(_) => bail!("{word}: unknown word; see rumpctl(1)"),
            },
        }
    }
    Ok(())
}

fn change_address<'a>(
    control: &Control<'_>,
    name: &str,
    addr: IpAddr,
    mut length: Option<u8>,
    words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> anyhow::Result<()> {
    let mut delete = false;
    while let Some(word) = words.next_if(|word| {
        matches!(*word, "netmask" | "prefixlen" | "alias" | "delete" | "-alias" | "remove" | "broadcast")
    }) {
        match word {
            "netmask" | "prefixlen" => {
                length = Some(prefix(words.next().with_context(|| format!("{word}: what?"))?)?);
            }
            // It follows from the mask.
            "broadcast" => drop(words.next()),
            "alias" => {}
            _ => delete = true,
        }
    }
    let context = |errno: abi::Errno| anyhow::anyhow!("{name}: {addr}: {errno}");
    let own = sockaddr(addr);
    if delete {
        let (command, len) = if addr.is_ipv4() { (SIOCDIFADDR, 144) } else { (SIOCDIFADDR_IN6, 288) };
        control.request(command, name, &own, len).map_err(context)?;
        return Ok(());
    }
    let mask = length.map(|length| mask(addr, length)).transpose()?;
    match addr {
        IpAddr::V4(_) => {
            let mask = mask.and_then(|mask| mask.first_chunk::<4>().copied()).map(|mask| sockaddr(mask.into()));
            let payload = [own, vec![0; 16], mask.unwrap_or(vec![0; 16])].concat();
            control.request(SIOCAIFADDR, name, &payload, 64).map_err(context)?;
        }
        IpAddr::V6(_) => {
            let mask = mask.and_then(|mask| mask.first_chunk::<16>().copied()).map(|mask| sockaddr(mask.into()));
            let payload = [own, vec![0; 28], mask.unwrap_or(vec![0; 28])].concat();
            control.request(SIOCAIFADDR_IN6, name, &payload, 128).map_err(context)?;
        }
    }
    Ok(())
}

fn words(bits: u32) -> Vec<&'static str> {
    FLAGS.iter().filter(move |(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// Shows all interfaces, or one.
fn show(kernel: &dyn Caller, only: Option<&str>, json: bool) -> anyhow::Result<Vec<String>> {
    let mut all = net::interfaces(kernel).map_err(said("ifconfig"))?;
    if let Some(name) = only {
        all.retain(|interface| interface.name == name);
        ensure!(!all.is_empty(), "{name}: {}", abi::Errno::ENXIO);
    }
    if json {
        return Ok(array(all.iter().map(|i| {
            let addresses = i.addresses.iter().map(
                |a| json!({"address": a.addr.to_string(), "prefixlen": a.prefix, "flags": a.flags, "scope": a.scope}),
            );
            let [packets_in, packets_out, bytes_in, bytes_out, drops_in, drops_out] = i.counters;
            json!({
                "name": i.name, "index": i.index, "flags": words(i.flags), "mtu": i.mtu, "mac": i.mac,
                "linkstr": i.link_string, "wrappers": i.wrappers, "addresses": addresses.collect::<Vec<_>>(),
                "packets_in": packets_in, "packets_out": packets_out, "bytes_in": bytes_in, "bytes_out": bytes_out,
                "drops_in": drops_in, "drops_out": drops_out,
            })
        })));
    }
    Ok(all.iter().flat_map(lines).collect())
}

fn lines(i: &Interface) -> Vec<String> {
    let mut lines = vec![format!("{}: flags={:#x}<{}> mtu {}", i.name, i.flags, words(i.flags).join(","), i.mtu)];
    lines.extend(i.link_string.iter().map(|path| format!("\tlinkstr: {path}")));
    lines.extend(i.wrappers.iter().map(|wrapper| format!("\t{wrapper}")));
    lines.extend(i.mac.iter().map(|mac| format!("\taddress: {mac}")));
    lines.extend(i.addresses.iter().map(|a| match a.addr {
        IpAddr::V4(addr) => {
            let mask = u32::MAX.checked_shl(32 - a.prefix).unwrap_or(0);
            let broadcast = a.broadcast.map_or(String::new(), |broadcast| format!(" broadcast {broadcast}"));
            format!("\tinet {addr} netmask {mask:#010x}{broadcast}")
        }
        IpAddr::V6(addr) => {
            let zone = if a.scope.is_some() { format!("%{}", i.name) } else { String::new() };
            let flags: String = a.flags.iter().map(|flag| format!(" {flag}")).collect();
            let scope = a.scope.map_or(String::new(), |scope| format!(" scopeid {scope:#x}"));
            format!("\tinet6 {addr}{zone} prefixlen {}{flags}{scope}", a.prefix)
        }
    }));
    lines
}
