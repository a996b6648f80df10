//! `route get`: asks the routing socket (route(4)) which way packets to an address go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::route::*;
use abi::socket::{AF_ROUTE, MSG_DONTWAIT, SOCK_RAW, Sockaddr, SockaddrDl};
use abi::{Errno, Fd, In, InOut, Out};
use anyhow::{Context, bail};
use client::{Caller, stubs};
use serde_json::json;
use zerocopy::{FromBytes, IntoBytes};

use super::super::said;

/// The flags in the words of route(8).
pub const FLAGS: [(i32, &str); 14] = [
    (RTF_UP, "UP"),
    (RTF_GATEWAY, "GATEWAY"),
    (RTF_HOST, "HOST"),
    (RTF_REJECT, "REJECT"),
    (RTF_DYNAMIC, "DYNAMIC"),
    (RTF_MODIFIED, "MODIFIED"),
    (RTF_DONE, "DONE"),
    (RTF_CONNECTED, "CONNECTED"),
    (RTF_LLDATA, "LLINFO"),
    (RTF_STATIC, "STATIC"),
    (RTF_BLACKHOLE, "BLACKHOLE"),
    (RTF_LOCAL, "LOCAL"),
    (RTF_BROADCAST, "BROADCAST"),
    (RTF_PROTO1, "PROTO1"),
];

/// Reads the addresses behind the header of a message, by the bits of those that are there; `None` if one is cut off.
pub fn addresses(mut bytes: &[u8], present: i32) -> Option<[Option<Vec<u8>>; RTAX_MAX]> {
    let mut addrs = [const { None }; RTAX_MAX];
    for (_, addr) in addrs.iter_mut().enumerate().filter(|(place, _)| present & 1 << place != 0) {
        let length = usize::from(*bytes.first()?);
        *addr = Some(bytes.get(..length)?.to_vec());
        bytes = bytes.get(rt_roundup(length)..).unwrap_or_default();
    }
    Some(addrs)
}

/// What the kernel tells of a route.
struct Told {
    header: RtMsghdr,
    addrs: [Option<Vec<u8>>; RTAX_MAX],
}

impl Told {
    fn parse(message: &[u8]) -> Option<Self> {
        let (header, rest) = RtMsghdr::read_from_prefix(message).ok()?;
        Some(Self { header, addrs: addresses(rest, header.rtm_addrs)? })
    }

    fn ip(&self, place: usize) -> Option<IpAddr> {
        match Sockaddr::parse(self.addrs[place].as_deref()?).ok()? {
            Sockaddr::Inet { addr, .. } => Some(addr.into()),
            Sockaddr::Inet6 { addr, .. } => Some(addr.into()),
            _ => None,
        }
    }

    /// The name of the interface.
    fn interface(&self) -> Option<String> {
        let addr = self.addrs[RTAX_IFP].as_deref()?;
        let name = addr.get(8..8 + usize::from(*addr.get(5)?))?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    fn flags(&self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(bit, _)| self.header.rtm_flags & bit != 0).map(|(_, word)| *word).collect()
    }
}

/// Asks for the route to an address.
fn ask(kernel: &dyn Caller, socket: Fd, to: IpAddr) -> anyhow::Result<Told> {
    const SEQ: i32 = 1;
    let addr = match to {
        IpAddr::V4(addr) => Sockaddr::Inet { addr: addr.octets(), port: 0 },
        IpAddr::V6(addr) => Sockaddr::Inet6 { addr: addr.octets(), port: 0, flowinfo: 0, scope_id: 0 },
    };
    let mut body = addr.encode().to_vec();
    body.resize(rt_roundup(body.len()), 0);
    // An empty address of an interface asks for it.
    let wanted = SockaddrDl { sdl_len: 20, sdl_family: 18, ..SockaddrDl::default() };
    body.extend_from_slice(wanted.as_bytes());
    body.resize(body.len().next_multiple_of(8), 0);
    let header = RtMsghdr {
        rtm_msglen: (size_of::<RtMsghdr>() + body.len()) as u16,
        rtm_version: RTM_VERSION,
        rtm_type: RTM_GET,
        rtm_flags: RTF_UP | RTF_GATEWAY | RTF_HOST,
        rtm_addrs: RTA_DST | RTA_IFP,
        rtm_seq: SEQ,
        ..RtMsghdr::default()
    };
    let message = [header.as_bytes(), &body].concat();
    match stubs::write(kernel, socket, In::new(message.as_slice()), message.len()) {
        Err(Errno::ESRCH) => bail!("{to}: not in table"),
        sent => sent.map_err(said("writing to routing socket"))?,
    };
    let mut buffer = vec![0; 2048];
    loop {
        let out = Out::new(buffer.as_mut_slice());
        let len = stubs::recvfrom(kernel, socket, out, 2048, MSG_DONTWAIT, Out::NULL, InOut::NULL);
        let told = Told::parse(&buffer[..len.map_err(said("reading from routing socket"))?]).context("no answer")?;
        // Others are told of too.
        if (told.header.rtm_type, told.header.rtm_seq) == (RTM_GET, SEQ) {
            return Ok(told);
        }
    }
}

/// Shows the route to an address, or the default route.
pub fn get(kernel: &dyn Caller, words: &[&str], json: bool) -> anyhow::Result<Vec<String>> {
    let text = words.last().context("which address?")?;
    let v6 = words.contains(&"-inet6");
    let to: IpAddr = match *text {
        "default" if v6 => Ipv6Addr::UNSPECIFIED.into(),
        "default" => Ipv4Addr::UNSPECIFIED.into(),
        text => text.parse().with_context(|| format!("{text}: no address"))?,
    };
    let socket = stubs::socket(kernel, AF_ROUTE, SOCK_RAW, 0).map_err(said("routing socket"))?;
    let told = ask(kernel, socket, to);
    stubs::close(kernel, socket).map_err(said("close"))?;
    let told = told?;
    let gateway = told.ip(RTAX_GATEWAY).filter(|_| told.header.rtm_flags & RTF_GATEWAY != 0);
    let (destination, mask) = (told.ip(RTAX_DST), told.ip(RTAX_NETMASK));
    let (local, interface) = (told.ip(RTAX_IFA), told.interface());
    let metrics = told.header.rtm_rmx;
    let string = |addr: Option<IpAddr>| addr.map(|addr| addr.to_string());
    if json {
        let all = json!({
            "route_to": to.to_string(), "destination": string(destination), "mask": string(mask), "gateway": string(gateway),
            "local": string(local), "interface": interface, "flags": told.flags(), "mtu": metrics.rmx_mtu,
        });
        return Ok(vec![all.to_string()]);
    }
    let everything = destination.is_some_and(|addr| addr.is_unspecified());
    let word = |addr: Option<IpAddr>| string(addr).map(|addr| if everything { "default".to_owned() } else { addr });
    let rows = [
        ("   route to: ", Some(to.to_string())),
        ("destination: ", word(destination)),
        ("       mask: ", word(mask)),
        ("    gateway: ", string(gateway)),
        (" local addr: ", string(local)),
        ("  interface: ", interface),
        ("      flags: ", Some(format!("<{}>", told.flags().join(",")))),
    ];
    let mut lines: Vec<String> =
        rows.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}{value}"))).collect();
    lines.push(" recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire".to_owned());
    lines.push(format!(
        "{:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8} ",
        metrics.rmx_recvpipe,
        metrics.rmx_sendpipe,
        metrics.rmx_ssthresh,
        metrics.rmx_rtt,
        metrics.rmx_rttvar,
        metrics.rmx_hopcount,
        metrics.rmx_mtu,
        metrics.rmx_expire
    ));
    Ok(lines)
}
