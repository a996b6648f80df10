//! `arp` and `ndp`: the hardware addresses of neighbours, in the words of arp(8) and ndp(8).

use std::net::IpAddr;

use abi::netlink::*;
use anyhow::{Context, bail};
use client::Caller;
use serde_json::json;

use super::route::{index, names};
use super::{array, said};
use crate::net::{self, Message};

/// Shows and changes the hardware addresses of IPv4 neighbours.
#[derive(clap::Args)]
pub struct Arp {
    /// [-a] | -s ADDR MAC [INTERFACE] | -d ADDR | -d -a | ADDR
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// Shows and changes the hardware addresses of IPv6 neighbours.
#[derive(clap::Args)]
pub struct Ndp {
    /// [-a] | -s ADDR MAC INTERFACE | -d ADDR | -d -a | ADDR
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, value_name = "WORDS")]
    words: Vec<String>,
}

impl Arp {
    /// Does what the words say.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        run(kernel, &self.words, true, json)
    }
}

impl Ndp {
    /// Does what the words say.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        run(kernel, &self.words, false, json)
    }
}

/// A neighbour as it is shown.
struct Shown {
    addr: IpAddr,
    mac: Option<String>,
    interface: String,
    index: i32,
    state: &'static str,
    router: bool,
}

const STATES: [(u16, &str); 7] = [
    (NUD_INCOMPLETE, "incomplete"),
    (NUD_REACHABLE, "reachable"),
    (NUD_STALE, "stale"),
    (NUD_DELAY, "delay"),
    (NUD_PROBE, "probe"),
    (NUD_FAILED, "failed"),
    (NUD_PERMANENT, "permanent"),
];

fn all(kernel: &dyn Caller, v4: bool) -> anyhow::Result<Vec<Shown>> {
    let names = names(kernel)?;
    let about = Ndmsg { ndm_family: if v4 { 2 } else { 10 }, ..Ndmsg::default() };
    let messages = net::ask(kernel, RTM_GETNEIGH, NLM_F_DUMP, &about, &[]).map_err(said("neighbours"))?;
    let shown = |message: &Message| {
        let about = message.read::<Ndmsg>();
        let mac = message.attribute::<Ndmsg>(NDA_LLADDR);
        let mac = mac.map(|mac| mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
        Some(Shown {
            addr: message.attribute::<Ndmsg>(NDA_DST).and_then(net::ip)?,
            mac,
            interface: names.get(&(about.ndm_ifindex as u32)).cloned()?,
            index: about.ndm_ifindex,
            state: STATES.iter().find(|(state, _)| *state == about.ndm_state).map_or("", |(_, word)| word),
            router: about.ndm_flags & NTF_ROUTER != 0,
        })
    };
    Ok(messages.iter().filter_map(shown).collect())
}

fn mac(text: &str) -> anyhow::Result<Vec<u8>> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    bytes.ok().filter(|bytes| bytes.len() == 6).with_context(|| format!("{text}: no hardware address"))
}

fn delete(kernel: &dyn Caller, known: &Shown) -> anyhow::Result<()> {
    let (octets, family) = net::octets(&known.addr);
    let about = Ndmsg { ndm_family: family, ndm_ifindex: known.index, ..Ndmsg::default() };
    net::ask(kernel, RTM_DELNEIGH, 0, &about, &[(NDA_DST, octets)]).map(drop).map_err(said(&known.addr.to_string()))
}

fn run(kernel: &dyn Caller, words: &[String], v4: bool, json: bool) -> anyhow::Result<Vec<String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "-n").collect();
    let parse = |text: &str| {
        let addr: IpAddr =
            text.split('%').next().unwrap_or_default().parse().with_context(|| format!("{text}: no address"))?;
        anyhow::ensure!(addr.is_ipv4() == v4, "{text}: of the other version");
        Ok(addr)
    };
    match words[..] {
        [] | ["-a" | "-an"] => show(&all(kernel, v4)?, json),
        ["-d", "-a"] | ["-a", "-d"] | ["-ad" | "-da"] => {
            for known in all(kernel, v4)? {
                delete(kernel, &known)?;
            }
            Ok(Vec::new())
        }
        ["-d", text] => {
            let addr = parse(text)?;
            let known = all(kernel, v4)?.into_iter().find(|shown| shown.addr == addr);
            let known = known.with_context(|| format!("{addr}: no such neighbour"))?;
            delete(kernel, &known)?;
            Ok(vec![format!("{addr} deleted")])
        }
        ["-s", text, hardware, ref rest @ ..] => {
            let addr = parse(text)?;
            let (octets, family) = net::octets(&addr);
            let number = match rest {
                [] | ["permanent" | "temp"] => {
                    let route = Rtmsg { rtm_family: family, ..Rtmsg::default() };
                    let way =
                        net::ask(kernel, RTM_GETROUTE, 0, &route, &[(RTA_DST, octets.clone())]).map_err(said(text))?;
                    let index = way.first().and_then(|way| way.attribute::<Rtmsg>(RTA_OIF)?.first_chunk().copied());
                    u32::from_ne_bytes(index.context("on which interface?")?)
                }
                [name, ..] => index(kernel, name)?,
            };
            let about =
                Ndmsg { ndm_family: family, ndm_ifindex: number as i32, ndm_state: NUD_PERMANENT, ..Ndmsg::default() };
            let attributes = [(NDA_DST, octets), (NDA_LLADDR, mac(hardware)?)];
            net::ask(kernel, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &about, &attributes).map_err(said(text))?;
            Ok(Vec::new())
        }
        [text] if !text.starts_with('-') => {
            let addr = parse(text)?;
            let mut found = all(kernel, v4)?;
            found.retain(|shown| shown.addr == addr);
            anyhow::ensure!(!found.is_empty(), "{addr} -- no entry");
            show(&found, json)
        }
        _ => bail!("unknown words; -a, -s ADDR MAC [INTERFACE], -d ADDR or ADDR"),
    }
}

fn show(all: &[Shown], json: bool) -> anyhow::Result<Vec<String>> {
    if json {
        return Ok(array(all.iter().map(|n| {
            json!({
                "address": n.addr.to_string(), "mac": n.mac, "interface": n.interface, "state": n.state, "router": n.router,
            })
        })));
    }
    let line = |n: &Shown| {
        let mac = n.mac.as_deref().unwrap_or("(incomplete)");
        match n.addr {
            IpAddr::V4(addr) => {
                let tail = if n.state == "permanent" { " permanent" } else { "" };
                format!("? ({addr}) at {mac} on {}{tail}", n.interface)
            }
            IpAddr::V6(addr) => {
                let state = n.state.chars().next().unwrap_or('?').to_ascii_uppercase();
                format!("{addr:<39} {mac:<17} {:>7} {state}{}", n.interface, if n.router { " R" } else { "" })
            }
        }
    };
    let head = all.first().filter(|n| n.addr.is_ipv6());
    let head = head.map(|_| format!("{:<39} {:<17} {:>7} S Flags", "Neighbor", "Linklayer Address", "Netif"));
    Ok(head.into_iter().chain(all.iter().map(line)).collect())
}
