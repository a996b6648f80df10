//! `route`: adds, deletes and shows routes, in the words of route(8) and the shape of `netstat -r`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::netlink::*;
use anyhow::{Context, bail, ensure};
use client::Caller;
use serde_json::json;

use super::{array, said};
use crate::net::{self, Message};

mod get;
mod monitor;

/// Adds, deletes and shows routes.
#[derive(clap::Args)]
pub struct Route {
    /// show | get ADDR | add|delete|change [-net|-host] [-inet|-inet6] default|ADDR[/LEN] [GATEWAY] [-netmask MASK]
    /// [-ifp INTERFACE] [-blackhole] [-reject] | flush | monitor
    #[arg(allow_hyphen_values = true, trailing_var_arg = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// What a change is about.
#[derive(Default)]
struct Wish {
    to: Option<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
    interface: Option<String>,
    kind: Option<u8>,
    metric: Option<u32>,
}

impl Route {
    /// Does what the words say.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).filter(|word| *word != "-n").collect();
        match words[..] {
            [] | ["show"] => show(kernel, None, json),
            ["show", "-inet"] => show(kernel, Some("inet"), json),
            ["show", "-inet6"] => show(kernel, Some("inet6"), json),
            ["get", ref rest @ ..] => get::get(kernel, rest, json),
            ["flush"] => flush(kernel),
            ["monitor"] => monitor::monitor(kernel, json),
            [verb @ ("add" | "delete" | "change"), ref rest @ ..] => change(kernel, verb, rest),
            [word, ..] => bail!("{word}: unknown word; add, delete, change, get, show, flush or monitor"),
        }
    }
}

/// Names of the interfaces by their numbers.
pub fn names(kernel: &dyn Caller) -> anyhow::Result<HashMap<u32, String>> {
    let all = net::ask(kernel, RTM_GETLINK, NLM_F_DUMP, &Ifinfomsg::default(), &[]).map_err(said("interfaces"))?;
    let name = |message: &Message| {
        let name = message.attribute::<Ifinfomsg>(IFLA_IFNAME)?;
        let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
        Some((message.read::<Ifinfomsg>().ifi_index as u32, name))
    };
    Ok(all.iter().filter_map(name).collect())
}

/// The number of an interface.
pub fn index(kernel: &dyn Caller, name: &str) -> anyhow::Result<u32> {
    let names = names(kernel)?;
    names
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(index, _)| *index)
        .with_context(|| format!("{name}: no such interface"))
}

fn address(text: &str, v6: bool) -> anyhow::Result<(IpAddr, u8)> {
    if text == "default" {
        return Ok(if v6 { (Ipv6Addr::UNSPECIFIED.into(), 0) } else { (Ipv4Addr::UNSPECIFIED.into(), 0) });
    }
    let (addr, length) = text.split_once('/').map_or((text, None), |(addr, length)| (addr, Some(length)));
    let addr: IpAddr = addr.parse().with_context(|| format!("{text}: no address"))?;
    let whole = if addr.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(whole), str::parse).with_context(|| text.to_owned())?;
    Ok((addr, length))
}

fn parse(words: &[&str]) -> anyhow::Result<Wish> {
    let v6 = words.contains(&"-inet6") || words.iter().any(|word| word.contains(':'));
    let mut wish = Wish::default();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word}: what?"));
        match word {
            "-net" | "-host" | "-inet" | "-inet6" | "-static" => {}
            "-blackhole" => wish.kind = Some(RTN_BLACKHOLE),
            "-reject" => wish.kind = Some(RTN_UNREACHABLE),
            "-ifp" | "-interface" | "-iface" => wish.interface = Some(value()?.to_owned()),
            "-metric" => wish.metric = Some(value()?.parse().context("-metric")?),
            "-netmask" | "-prefixlen" => {
                let text = value()?;
                let length = match text.parse::<IpAddr>() {
                    Ok(mask) => net::octets(&mask).0.iter().map(|byte| byte.count_ones()).sum::<u32>() as u8,
                    Err(_) => text.parse().with_context(|| text.to_owned())?,
                };
                let (addr, _) = wish.to.context("-netmask: of which network?")?;
                wish.to = Some((addr, length));
            }
            text if wish.to.is_none() => wish.to = Some(address(text, v6)?),
            text if wish.gateway.is_none() => {
                wish.gateway = Some(text.parse().with_context(|| format!("{text}: no address"))?);
            }
            _ => bail!("{word}: unknown word"),
        }
    }
    Ok(wish)
}

fn change(kernel: &dyn Caller, verb: &str, words: &[&str]) -> anyhow::Result<Vec<String>> {
    let wish = parse(words)?;
    let (addr, length) = wish.to.context("which network?")?;
    let (octets, family) = net::octets(&addr);
    let about = Rtmsg {
        rtm_family: family,
        rtm_dst_len: length,
        rtm_table: RT_TABLE_MAIN,
        rtm_protocol: RTPROT_STATIC,
        rtm_type: wish.kind.unwrap_or(RTN_UNICAST),
        ..Rtmsg::default()
    };
    let mut attributes = vec![(RTA_DST, octets)];
    // BSD names a gateway for these too; it does not matter.
    if let Some(gateway) = wish.gateway.filter(|_| wish.kind.is_none()) {
        attributes.push((RTA_GATEWAY, net::octets(&gateway).0));
    }
    if let Some(interface) = &wish.interface {
        attributes.push((RTA_OIF, index(kernel, interface)?.to_ne_bytes().to_vec()));
    }
    if let Some(metric) = wish.metric {
        attributes.push((RTA_PRIORITY, metric.to_ne_bytes().to_vec()));
    }
    ensure!(verb == "delete" || attributes.len() > 1 || wish.kind.is_some(), "by which gateway or interface (-ifp)?");
    let (kind, flags, done) = match verb {
        "add" => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "add"),
        "change" => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, "change"),
        _ => (RTM_DELROUTE, 0, "delete"),
    };
    let network = if length == 0 { "default".to_owned() } else { format!("{addr}/{length}") };
    net::ask(kernel, kind, flags, &about, &attributes).map_err(said(&network))?;
    let what = if addr.is_ipv4() && length == 32 || length == 128 { "host" } else { "net" };
    let by = wish.gateway.map_or(String::new(), |gateway| format!(": gateway {gateway}"));
    Ok(vec![format!("{done} {what} {network}{by}")])
}

fn flush(kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
    let all = net::ask(kernel, RTM_GETROUTE, NLM_F_DUMP, &Rtmsg::default(), &[]).map_err(said("routes"))?;
    for message in all {
        let about = message.read::<Rtmsg>();
        if about.rtm_table != RT_TABLE_MAIN || about.rtm_protocol == RTPROT_KERNEL {
            continue;
        }
        let to = message.attribute::<Rtmsg>(RTA_DST).map(<[u8]>::to_vec);
        let attributes: Vec<_> = to.map(|to| (RTA_DST, to)).into_iter().collect();
        net::ask(kernel, RTM_DELROUTE, 0, &about, &attributes).map_err(said("flush"))?;
    }
    Ok(Vec::new())
}

/// A route as it is shown.
struct Shown {
    to: String,
    gateway: String,
    flags: String,
    interface: String,
    v4: bool,
    /// The default route is first, then networks by their addresses.
    order: (bool, IpAddr, u8),
}

fn shown(message: &Message, names: &HashMap<u32, String>) -> Option<Shown> {
    let about = message.read::<Rtmsg>();
    let v4 = about.rtm_family == 2;
    let to = message.attribute::<Rtmsg>(RTA_DST).and_then(net::ip);
    let index =
        message.attribute::<Rtmsg>(RTA_OIF).and_then(|index| index.first_chunk()).map(|i| u32::from_ne_bytes(*i));
    let whole = if v4 { 32 } else { 128 };
    let gateway = message.attribute::<Rtmsg>(RTA_GATEWAY).and_then(net::ip);
    let host = about.rtm_dst_len == whole;
    let mut flags = "U".to_owned();
    for (holds, letter) in [
        (gateway.is_some(), 'G'),
        (host, 'H'),
        (about.rtm_protocol != RTPROT_KERNEL && about.rtm_protocol != RTPROT_RA, 'S'),
        (about.rtm_protocol == RTPROT_RA, 'D'),
        (about.rtm_type == RTN_BLACKHOLE, 'B'),
        (about.rtm_type == RTN_UNREACHABLE, 'R'),
        (about.rtm_type == RTN_LOCAL, 'l'),
    ] {
        flags.extend(holds.then_some(letter));
    }
    let interface = index.and_then(|index| names.get(&index).cloned()).unwrap_or_else(|| "lo0".to_owned());
    let order = (to.is_some(), to.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), about.rtm_dst_len);
    let to = match to {
        None => "default".to_owned(),
        Some(to) if host => to.to_string(),
        Some(to) => format!("{to}/{}", about.rtm_dst_len),
    };
    let gateway = gateway.map_or_else(|| format!("link#{}", index.unwrap_or(1)), |gateway| gateway.to_string());
    Some(Shown { to, gateway, flags, interface, v4, order })
}

/// Shows the table as `netstat -rn` does, of one family if it is given.
pub fn show(kernel: &dyn Caller, family: Option<&str>, json: bool) -> anyhow::Result<Vec<String>> {
    let names = names(kernel)?;
    let all = net::ask(kernel, RTM_GETROUTE, NLM_F_DUMP, &Rtmsg::default(), &[]).map_err(said("routes"))?;
    let mut all: Vec<Shown> = all.iter().filter_map(|message| shown(message, &names)).collect();
    all.retain(|route| family.is_none_or(|family| (family == "inet") == route.v4));
    all.sort_by_key(|route| route.order);
    if json {
        return Ok(array(all.iter().map(|route| {
            json!({
                "destination": route.to, "gateway": route.gateway, "flags": route.flags, "interface": route.interface,
                "family": if route.v4 { "inet" } else { "inet6" },
            })
        })));
    }
    let mut lines = vec!["Routing tables".to_owned()];
    for (v4, title, wide) in [(true, "Internet", 18), (false, "Internet6", 39)] {
        if family.is_some_and(|family| (family == "inet") != v4) {
            continue;
        }
        lines.push(String::new());
        lines.push(format!("{title}:"));
        lines.push(format!("{:<wide$} {:<wide$} {:<6} {}", "Destination", "Gateway", "Flags", "Interface"));
        let rows = all.iter().filter(|route| route.v4 == v4);
        lines.extend(rows.map(|r| format!("{:<wide$} {:<wide$} {:<6} {}", r.to, r.gateway, r.flags, r.interface)));
    }
    Ok(lines)
}
