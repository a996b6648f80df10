//! `ping` and `traceroute`: whether a host answers, and which way packets go there, by the rump kernel's own sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use abi::socket::*;
use abi::{Errno, Fd, In, InOut, Out};
use anyhow::{Context, ensure};
use client::{Caller, stubs};
use serde_json::json;

use super::said;

/// Asks a host for echoes.
#[derive(clap::Args)]
pub struct Ping {
    /// So many questions
    #[arg(short = 'c', value_name = "COUNT", default_value_t = 4)]
    count: u32,
    /// Seconds between two questions
    #[arg(short = 'i', value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// Bytes of data in a question
    #[arg(short = 's', value_name = "BYTES", default_value_t = 56)]
    size: usize,
    /// Seconds that an answer is waited for
    #[arg(short = 'w', value_name = "SECONDS", default_value_t = 10.0)]
    wait: f64,
    /// End with the first answer
    #[arg(short = 'o')]
    once: bool,
    /// Addresses as numbers, as always
    #[arg(short = 'n')]
    numeric: bool,
    /// The host's address
    host: IpAddr,
}

/// Shows the hosts on the way to another one.
#[derive(clap::Args)]
pub struct Traceroute {
    /// Hops at most
    #[arg(short = 'm', value_name = "HOPS", default_value_t = 30)]
    most: u8,
    /// Questions per hop
    #[arg(short = 'q', value_name = "COUNT", default_value_t = 3)]
    probes: u32,
    /// Seconds that an answer is waited for
    #[arg(short = 'w', value_name = "SECONDS", default_value_t = 2.0)]
    wait: f64,
    /// Addresses as numbers, as always
    #[arg(short = 'n')]
    numeric: bool,
    /// The host's address
    host: IpAddr,
}

/// The port that nobody listens at (traceroute(8)).
const PORT: u16 = 33434;
/// Length of an echo's header.
const HEADER: usize = 8;

/// A socket of the rump kernel, closed with the value.
struct Socket<'a> {
    kernel: &'a dyn Caller,
    fd: Fd,
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        let _ = stubs::close(self.kernel, self.fd);
    }
}

fn sockaddr(addr: IpAddr, port: u16) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => Sockaddr::Inet { addr: addr.octets(), port },
        IpAddr::V6(addr) => Sockaddr::Inet6 { addr: addr.octets(), port, flowinfo: 0, scope_id: 0 },
    }
    .encode()
    .to_vec()
}

impl<'a> Socket<'a> {
    fn open(kernel: &'a dyn Caller, host: IpAddr, kind: i32, protocol: i32) -> anyhow::Result<Self> {
        let family = if host.is_ipv4() { AF_INET } else { AF_INET6 };
        Ok(Self { kernel, fd: stubs::socket(kernel, family, kind, protocol).map_err(said("socket"))? })
    }

    /// The one for ICMP, in whose answers the headers of IPv4 stand.
    fn icmp(kernel: &'a dyn Caller, host: IpAddr) -> anyhow::Result<Self> {
        Self::open(kernel, host, SOCK_RAW, if host.is_ipv4() { IPPROTO_ICMP } else { IPPROTO_ICMPV6 })
    }

    fn option(&self, level: i32, name: i32, value: &[u8]) -> anyhow::Result<()> {
        stubs::setsockopt(self.kernel, self.fd, level, name, In::new(value), value.len() as u32)
            .map_err(said("setsockopt"))
    }

    fn send(&self, data: &[u8], to: &[u8]) -> abi::Result<usize> {
        stubs::sendto(self.kernel, self.fd, In::new(data), data.len(), 0, In::new(to), to.len() as u32)
    }

    /// Takes a packet and who sent it; `EAGAIN` when the time is over.
    fn receive(&self, until: Instant) -> anyhow::Result<Option<(Vec<u8>, IpAddr)>> {
        let left = until.saturating_duration_since(Instant::now());
        // No time at all would be for ever.
        let left = left.max(Duration::from_micros(1));
        let mut limit = [0; 16];
        limit[..8].copy_from_slice(&left.as_secs().to_ne_bytes());
        limit[8..12].copy_from_slice(&left.subsec_micros().max(1).to_ne_bytes());
        self.option(SOL_SOCKET, SO_RCVTIMEO, &limit)?;
        let (mut data, mut from, mut length) = (vec![0; 65536], [0u8; 128], 128u32);
        let (out, who) = (Out::new(data.as_mut_slice()), Out::new(&mut from));
        match stubs::recvfrom(self.kernel, self.fd, out, 65536, 0, who, InOut::new(&mut length)) {
            Ok(len) => {
                data.truncate(len);
                let from = match Sockaddr::parse(&from[..(length as usize).min(from.len())]) {
                    Ok(Sockaddr::Inet { addr, .. }) => Ipv4Addr::from(addr).into(),
                    Ok(Sockaddr::Inet6 { addr, .. }) => Ipv6Addr::from(addr).into(),
                    _ => return Ok(None),
                };
                Ok(Some((data, from)))
            }
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(said("recvfrom")(error)),
        }
    }
}

/// TTL, and the ICMP message, of what a raw socket got; IPv6's has no header before it.
fn message(data: &[u8], v4: bool) -> Option<(Option<u8>, &[u8])> {
    if !v4 {
        return Some((None, data));
    }
    let header = usize::from(data.first()? & 15) * 4;
    Some((data.get(8).copied(), data.get(header..)?))
}

fn checksum(data: &[u8]) -> [u8; 2] {
    let words = data.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

fn seconds(value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value).with_context(|| format!("{value}: no time"))
}

impl Ping {
    /// Asks, and shows what came; fails if nobody answered.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let (v4, to) = (self.host.is_ipv4(), sockaddr(self.host, 0));
        ensure!(self.size <= 65507, "{}: too long", self.size);
        let (interval, wait) = (seconds(self.interval)?, seconds(self.wait)?);
        let socket = Socket::icmp(kernel, self.host)?;
        let (request, reply) = if v4 { (8, 0) } else { (128, 129) };
        let identifier = (std::process::id() as u16).to_be_bytes();
        let mut lines = vec![format!("PING {0} ({0}): {1} data bytes", self.host, self.size)];
        let (mut times, mut sent) = (Vec::new(), 0u32);
        for number in 0..self.count {
            let sequence = (number as u16).to_be_bytes();
            let head = [request, 0, 0, 0, identifier[0], identifier[1], sequence[0], sequence[1]];
            let mut packet = [&head[..], &(0..self.size).map(|at| at as u8).collect::<Vec<_>>()].concat();
            if v4 {
                let sum = checksum(&packet);
                packet[2..4].copy_from_slice(&sum);
            }
            let begin = Instant::now();
            sent += 1;
            if let Err(error) = socket.send(&packet, &to) {
                lines.push(format!("ping: sendto: {error}"));
            } else if let Some((line, time)) = self.answer(&socket, &packet, reply, begin, begin + wait)? {
                lines.push(line);
                times.push(time);
                if self.once {
                    break;
                }
            }
            if number + 1 < self.count {
                std::thread::sleep((begin + interval).saturating_duration_since(Instant::now()));
            }
        }
        let millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        let received = millis.len() as u32;
        let lost = f64::from(sent - received) * 100.0 / f64::from(sent.max(1));
        if json {
            lines = vec![
                json!({"host": self.host.to_string(), "sent": sent, "received": received, "ms": millis}).to_string(),
            ];
        } else {
            lines.push(String::new());
            lines.push(format!("----{} PING Statistics----", self.host));
            lines.push(format!("{sent} packets transmitted, {received} packets received, {lost:.1}% packet loss"));
            if received > 0 {
                let mean = millis.iter().sum::<f64>() / f64::from(received);
                let deviation = (millis.iter().map(|ms| (ms - mean).powi(2)).sum::<f64>() / f64::from(received)).sqrt();
                let (least, most) = millis.iter().fold((f64::MAX, 0.0f64), |(a, b), ms| (a.min(*ms), b.max(*ms)));
                lines.push(format!("round-trip min/avg/max/stddev = {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms"));
            }
        }
        ensure!(received > 0 || sent == 0, "no answer\n{}", lines.join("\n"));
        Ok(lines)
    }

    /// Waits for the answer to one question.
    fn answer(
        &self,
        socket: &Socket<'_>,
        asked: &[u8],
        reply: u8,
        begin: Instant,
        until: Instant,
    ) -> anyhow::Result<Option<(String, Duration)>> {
        while Instant::now() < until {
            let Some((data, from)) = socket.receive(until)? else { break };
            let Some((ttl, message)) = message(&data, self.host.is_ipv4()) else { continue };
            if message.first() != Some(&reply) || message.get(4..) != asked.get(4..) {
                continue;
            }
            let time = begin.elapsed();
            let ttl = ttl.map_or(String::new(), |ttl| format!(" ttl={ttl}"));
            let sequence = u16::from_be_bytes([asked[6], asked[7]]);
            let bytes = message.len();
            let line =
                format!("{bytes} bytes from {from}: icmp_seq={sequence}{ttl} time={:.3} ms", time.as_secs_f64() * 1e3);
            return Ok(Some((line, time)));
        }
        Ok(None)
    }
}

impl Traceroute {
    /// Asks host after host on the way.
    pub fn run(&self, kernel: &dyn Caller, json: bool) -> anyhow::Result<Vec<String>> {
        let v4 = self.host.is_ipv4();
        let (wait, icmp) = (seconds(self.wait)?, Socket::icmp(kernel, self.host)?);
        let probe = Socket::open(kernel, self.host, SOCK_DGRAM, IPPROTO_UDP)?;
        let (level, name) = if v4 { (IPPROTO_IP, IP_TTL) } else { (IPPROTO_IPV6, IPV6_UNICAST_HOPS) };
        let mut lines = vec![format!("traceroute to {0} ({0}), {1} hops max, 40 byte packets", self.host, self.most)];
        let (mut hops, mut port) = (Vec::new(), PORT);
        for hop in 1..=self.most {
            probe.option(level, name, &i32::from(hop).to_ne_bytes())?;
            let (mut line, mut last, mut there) = (format!("{hop:2} "), None, false);
            let mut times = Vec::new();
            for _ in 0..self.probes {
                let begin = Instant::now();
                probe.send(&[0; 12], &sockaddr(self.host, port)).map_err(said("sendto"))?;
                match self.heard(&icmp, port, begin + wait)? {
                    None => line.push_str(" *"),
                    Some((from, end)) => {
                        if last != Some(from) {
                            line.push_str(&format!(" {from}"));
                        }
                        let ms = begin.elapsed().as_secs_f64() * 1e3;
                        line.push_str(&format!("  {ms:.3} ms"));
                        times.push(ms);
                        (last, there) = (Some(from), there || end);
                    }
                }
                port = port.wrapping_add(1).max(PORT);
            }
            hops.push(json!({"hop": hop, "host": last.map(|host| host.to_string()), "ms": times}));
            lines.push(line);
            if there {
                break;
            }
        }
        Ok(if json { vec![serde_json::Value::Array(hops).to_string()] } else { lines })
    }

    /// Waits for what is said of the packet to a port: who says so, and whether the way ends there.
    fn heard(&self, icmp: &Socket<'_>, port: u16, until: Instant) -> anyhow::Result<Option<(IpAddr, bool)>> {
        let v4 = self.host.is_ipv4();
        let (over, unreachable) = if v4 { (11, 3) } else { (3, 1) };
        while Instant::now() < until {
            let Some((data, from)) = icmp.receive(until)? else { break };
            let Some((_, message)) = message(&data, v4) else { continue };
            let Some(&kind) = message.first().filter(|kind| [over, unreachable].contains(*kind)) else { continue };
            let quoted = message.get(HEADER..).unwrap_or_default();
            let header = if v4 { usize::from(quoted.first().copied().unwrap_or(0) & 15) * 4 } else { 40 };
            if quoted.get(header + 2..header + 4) == Some(&port.to_be_bytes()[..]) {
                return Ok(Some((from, kind == unreachable)));
            }
        }
        Ok(None)
    }
}
