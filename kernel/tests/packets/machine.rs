//! Runs a script against a stack with a test device and simulated time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::Errno;
use abi::socket::*;
use kernel::net::Socket;
use kernel::net::addr::Family;
use kernel::net::conn::Congestion;
use kernel::net::dgram::DgramSocket;
use kernel::net::link::Link;
use kernel::net::stack::Inet;
use kernel::net::tcp::TcpSocket;
use kernel::proc::lock;
use kernel::rumpuser::Rumpuser;
use kernel::rumpuser::sim::SimHost;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, IpAddress, IpCidr, IpProtocol, IpRepr, Ipv4Address, Ipv4Packet, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};
use zerocopy::FromBytes;

use crate::device::{TestDevice, Wire};
use crate::frames;
use crate::script::{Action, Line, Segment};

/// The kernel's address.
const OURS: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);
/// Who the segments come from.
const PEER: Ipv4Address = Ipv4Address::new(192, 0, 2, 2);
/// The port of the peer unless a line says otherwise.
const PEER_PORT: u16 = 5000;
/// The peer's first sequence number.
const PEER_ISS: u32 = 1_000_000;
/// How exactly times are looked at.
const TOLERANCE: Duration = Duration::from_millis(10);

/// The state of a run.
struct Machine {
    host: Arc<SimHost>,
    inet: Arc<Inet>,
    wire: Arc<Mutex<Wire>>,
    sockets: HashMap<String, Arc<TcpSocket>>,
    datagrams: HashMap<String, Arc<DgramSocket>>,
    /// The packet that has left last.
    last: Vec<u8>,
    ethernet: bool,
    /// Our first sequence number, by the peer's port.
    iss: HashMap<u16, u32>,
    /// The port that segments arrive at.
    port: u16,
    /// How much later than the script says it is.
    ahead: Duration,
}

/// Runs a script; the error says which line was not kept.
pub fn run(lines: &[Line]) -> Result<(), String> {
    let host = SimHost::new(7);
    let inet = Arc::new(Inet::new(host.clone()));
    let wire = Arc::<Mutex<Wire>>::default();
    let ethernet = lines.iter().any(|line| matches!(&line.action, Action::Call(words, _) if words[0] == "ethernet"));
    let device = Box::new(TestDevice(wire.clone(), ethernet.then_some(EthernetAddress(frames::OUR_MAC))));
    let base = |error: Errno| format!("the device: {error:?}");
    inet.with(|stack| {
        // Scripts about windows want them filled.
        stack.tcp.congestion = Congestion::None;
        let at = stack.base.links.add(Link::new("tst0", 2, device, Instant::ZERO, 99));
        stack.base.settings.dad_count = 0;
        stack.base.add_address(at, IpCidr::new(frames::OURS6, 64))?;
        stack.base.add_address(at, IpCidr::new(OURS.into(), 24))?;
        stack.base.settings.dad_count = 1;
        Ok(())
    })
    .map_err(base)?;
    lock(&wire).leaving.clear();
    let (datagrams, last) = (HashMap::new(), Vec::new());
    let mut machine = Machine {
        datagrams,
        last,
        ethernet,
        host,
        inet,
        wire,
        sockets: HashMap::new(),
        iss: HashMap::new(),
        port: 0,
        ahead: Duration::ZERO,
    };
    lines.iter().try_for_each(|line| machine.step(line).map_err(|error| format!("line {}: {error}", line.number)))
}

impl Machine {
    fn step(&mut self, line: &Line) -> Result<(), String> {
        // Who looked for a segment has looked a little beyond the line's time.
        let after = line.after.saturating_sub(self.ahead);
        self.ahead = self.ahead.saturating_sub(line.after);
        if matches!(line.action, Action::Leaves(_) | Action::FrameLeaves(_)) && after > TOLERANCE {
            self.advance(after - TOLERANCE);
            if let Some(early) = lock(&self.wire).leaving.front() {
                return Err(format!("too early: {}", self.show(early)));
            }
            self.advance(2 * TOLERANCE);
            self.ahead = TOLERANCE;
        } else {
            self.advance(after);
        }
        match &line.action {
            Action::Call(words, result) => self.call(words, result.as_deref()),
            Action::Arrives(segment) => {
                self.arrive(segment);
                Ok(())
            }
            Action::Leaves(segment) => self.leave(segment),
            Action::FrameArrives(words) => {
                let frame = frames::make(words, &self.last, self.ethernet).ok_or("no such frame")?;
                lock(&self.wire).arriving.push_back(frame);
                self.inet.with(|_| ());
                Ok(())
            }
            Action::FrameLeaves(words) => {
                let frame = lock(&self.wire).leaving.pop_front().ok_or("nothing has left")?;
                self.last = frames::bare(&frame, self.ethernet).to_vec();
                let shown = frames::show(&frame, self.ethernet);
                let words: Vec<&str> = words.split_whitespace().collect();
                let right =
                    shown.split_whitespace().zip(&words).filter(|(is, wanted)| is == *wanted).count() == words.len();
                if right { Ok(()) } else { Err(format!("it is > {shown}")) }
            }
            Action::Nothing => match lock(&self.wire).leaving.front() {
                None => Ok(()),
                Some(frame) => Err(format!("there is {}", self.show(frame))),
            },
        }
    }

    /// Lets time pass, timer after timer.
    fn advance(&self, time: Duration) {
        let end = self.host.monotonic() + time;
        loop {
            let now = self.host.monotonic();
            let next = self.inet.run_timers(now).unwrap_or(end);
            if now >= end {
                return;
            }
            self.host.advance(next.max(now + Duration::from_millis(1)).min(end) - now);
        }
    }

    fn socket(&self, name: &str) -> Result<Arc<TcpSocket>, String> {
        self.sockets.get(name).cloned().ok_or(format!("no socket {name}"))
    }

    fn call(&mut self, words: &[String], expected: Option<&str>) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("no number: {text}"));
        let done: abi::Result<usize> = match words[..] {
            ["socket", name] => {
                self.sockets.insert(name.into(), TcpSocket::open(&self.inet, Family::V4));
                Ok(0)
            }
            ["bind", name, port] => {
                self.port = number(port)? as u16;
                self.socket(name)?.bind_to(&Sockaddr::Inet { addr: OURS.octets(), port: self.port }).map(|()| 0)
            }
            ["listen", name, backlog] => self.socket(name)?.listen_with(number(backlog)? as i32).map(|()| 0),
            ["connect", name, port] => {
                let to = Sockaddr::Inet { addr: PEER.octets(), port: number(port)? as u16 };
                let done = self.socket(name)?.connect_to(&to).map(|()| 0);
                if let Ok(Sockaddr::Inet { port, .. }) = self.socket(name)?.local() {
                    self.port = port;
                }
                done
            }
            ["connected", name] => self.socket(name)?.connected().map(|()| 0),
            ["accept", name, new] => self.socket(name)?.accept_one().map(|(socket, _)| {
                self.sockets.insert(new.into(), socket);
                0
            }),
            ["ethernet"] => Ok(0),
            ["address", addr] => {
                let addr: std::net::IpAddr = addr.parse().map_err(|_| "no address")?;
                let (addr, prefix) = (IpAddress::from(addr), if addr.is_ipv4() { 24 } else { 64 });
                let at = self.inet.look(|stack| stack.base.link_by_index(2)).unwrap_or(1);
                self.inet.with(|stack| stack.base.add_address(at, IpCidr::new(addr, prefix))).map(|()| 0)
            }
            ["sendoob", name, len] => self.socket(name)?.send_all(&vec![b'u'; number(len)?], false, true),
            ["recvoob", name] => self.socket(name)?.recv_oob().map(usize::from),
            ["mark", name] => self.socket(name)?.at_mark().map(usize::from),
            ["udp" | "udp6", name, port] => {
                let four = words[0] == "udp";
                let socket = DgramSocket::udp(&self.inet, if four { Family::V4 } else { Family::V6 { v6only: true } });
                let port = number(port)? as u16;
                let done = socket.bind_to(&self.end(four, true, port));
                self.datagrams.insert(name.into(), socket);
                done.map(|()| 0)
            }
            ["sendto", name, port, len] => {
                let socket = self.datagrams.get(name).cloned().ok_or("no such socket")?;
                let to = self.end(socket.domain().0 == AF_INET, false, number(port)? as u16);
                socket.send_bytes(&vec![b'd'; number(len)?], Some(&to))
            }
            ["recvfrom", name] => {
                let socket = self.datagrams.get(name).cloned().ok_or("no such socket")?;
                let mut buf = vec![0; 65536];
                let got = socket.recv_bytes(&mut buf, false).map(|received| received.len);
                if let Ok(len) = got
                    && buf[..len].iter().enumerate().any(|(at, byte)| *byte != (at % 251) as u8)
                {
                    return Err("it is not what was sent".into());
                }
                got
            }
            ["error", name] if self.datagrams.contains_key(name) => {
                let value = self.datagrams[name].option(SOL_SOCKET, SO_ERROR, 4).unwrap_or_default();
                match value.first_chunk().map_or(0, |error| i32::from_le_bytes(*error)) {
                    0 => Ok(0),
                    error => Err(Errno::from_raw(error)),
                }
            }
            ["send", name, len] => self.socket(name)?.send_bytes(&vec![b'x'; number(len)?]),
            ["recv", name, len] => self.socket(name)?.recv_bytes(&mut vec![0; number(len)?], false),
            ["shutdown", name, how] => {
                let how = ["rd", "wr", "rdwr"].iter().position(|known| *known == how).ok_or("no such way")?;
                self.socket(name)?.shutdown(how as i32).map(|()| 0)
            }
            ["close", name] => {
                self.sockets.remove(name).ok_or(format!("no socket {name}"))?;
                Ok(0)
            }
            ["set", name, option, ref values @ ..] => {
                let socket = self.socket(name)?;
                self.set(&socket, option, values)?
            }
            ["error", name] => {
                let value = self.socket(name)?.option(SOL_SOCKET, SO_ERROR, 4).unwrap_or_default();
                match value.first_chunk().map_or(0, |error| i32::from_le_bytes(*error)) {
                    0 => Ok(0),
                    error => Err(Errno::from_raw(error)),
                }
            }
            ["state", name] => {
                let info = self.socket(name)?.option(IPPROTO_TCP, TCP_INFO, 256);
                info.map(|info| info.first().copied().unwrap_or_default().into())
            }
            ["info", name, field] => {
                let info = self.socket(name)?.option(IPPROTO_TCP, TCP_INFO, 256);
                let info = info.map_err(|error| format!("{error:?}"))?;
                let (info, _) = TcpInfo::read_from_prefix(&info).map_err(|_| "too short")?;
                let value = match field {
                    "rtt" => info.tcpi_rtt / 1000,
                    "repeated" => info.tcpi_snd_rexmitpack,
                    "unacked" => info.tcpi_unacked,
                    _ => return Err(format!("no such field: {field}")),
                };
                Ok(value as usize)
            }
            _ => return Err(format!("no such call: {words:?}")),
        };
        let got = match done {
            Ok(value) => value.to_string(),
            Err(error) => format!("{error:?}"),
        };
        match expected {
            Some(expected) if expected != got => Err(format!("{} = {got}, not {expected}", words.join(" "))),
            None if done.is_err() => Err(format!("{} = {got}", words.join(" "))),
            _ => Ok(()),
        }
    }

    fn set(&self, socket: &TcpSocket, option: &str, values: &[&str]) -> Result<abi::Result<usize>, String> {
        let (level, name) = match option {
            "nodelay" => (IPPROTO_TCP, TCP_NODELAY),
            "keepalive" => (SOL_SOCKET, SO_KEEPALIVE),
            "keepidle" => (IPPROTO_TCP, TCP_KEEPIDLE),
            "keepintvl" => (IPPROTO_TCP, TCP_KEEPINTVL),
            "keepcnt" => (IPPROTO_TCP, TCP_KEEPCNT),
            "rcvbuf" => (SOL_SOCKET, SO_RCVBUF),
            "linger" => (SOL_SOCKET, SO_LINGER),
            "tos" => (IPPROTO_IP, IP_TOS),
            "oobinline" => (SOL_SOCKET, SO_OOBINLINE),
            "maxseg" => (IPPROTO_TCP, TCP_MAXSEG),
            "cork" => (IPPROTO_TCP_EXT, TCP_CORK),
            "usertimeout" => (IPPROTO_TCP_EXT, TCP_USER_TIMEOUT),
            "deferaccept" => (IPPROTO_TCP_EXT, TCP_DEFER_ACCEPT),
            _ => return Err(format!("no option {option}")),
        };
        let mut value = Vec::new();
        for number in values {
            value.extend(number.parse::<i32>().map_err(|_| format!("no number: {number}"))?.to_le_bytes());
        }
        Ok(socket.set(level, name, &value).map(|()| 0))
    }

    /// Puts a segment on the wire.
    fn arrive(&mut self, segment: &Segment) {
        let field = |name: &str| segment.fields.get(name).copied();
        let port = field("port").map_or(PEER_PORT, |port| port as u16);
        let iss = self.iss.get(&port).copied().unwrap_or(0);
        let has = |flag| segment.flags.contains(flag);
        let payload = vec![b'y'; field("len").unwrap_or(0) as usize];
        let control = match () {
            () if has('R') => TcpControl::Rst,
            () if has('S') => TcpControl::Syn,
            () if has('F') => TcpControl::Fin,
            () if has('P') => TcpControl::Psh,
            () => TcpControl::None,
        };
        let tcp = TcpRepr {
            src_port: port,
            dst_port: field("to").map_or(self.port, |port| port as u16),
            control,
            seq_number: TcpSeqNumber(PEER_ISS.wrapping_add(field("seq").unwrap_or(0) as u32) as i32),
            ack_number: has('A').then(|| TcpSeqNumber(iss.wrapping_add(field("ack").unwrap_or(0) as u32) as i32)),
            window_len: field("win").unwrap_or(65535) as u16,
            window_scale: None,
            max_seg_size: field("mss").map(|mss| mss as u16),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &payload,
        };
        let ip = IpRepr::new(PEER.into(), OURS.into(), IpProtocol::Tcp, tcp.buffer_len(), 64);
        let mut frame = vec![0; ip.buffer_len()];
        let checksums = ChecksumCapabilities::default();
        ip.emit(&mut frame[..], &checksums);
        let mut packet = TcpPacket::new_unchecked(&mut frame[ip.header_len()..]);
        tcp.emit(&mut packet, &PEER.into(), &OURS.into(), &checksums);
        // What the representation has no word for.
        if has('S') && has('F') {
            packet.set_fin(true);
        }
        if let Some(urgent) = field("urg") {
            packet.set_urg(true);
            packet.set_urgent_at(urgent as u16);
        }
        packet.fill_checksum(&PEER.into(), &OURS.into());
        let frame = frames::framed(frame, self.ethernet);
        lock(&self.wire).arriving.push_back(frame);
        self.inet.with(|_| ());
    }

    /// Takes the next segment off the wire and compares.
    fn leave(&mut self, segment: &Segment) -> Result<(), String> {
        let frame = lock(&self.wire).leaving.pop_front().ok_or("nothing has left")?;
        let frame = frames::bare(&frame, self.ethernet).to_vec();
        self.last.clone_from(&frame);
        let ip = Ipv4Packet::new_checked(&frame[..]).map_err(|error| error.to_string())?;
        let tcp = TcpPacket::new_checked(ip.payload()).map_err(|error| error.to_string())?;
        if !tcp.verify_checksum(&OURS.into(), &PEER.into()) || !ip.verify_checksum() {
            return Err("a wrong checksum".into());
        }
        if tcp.syn() {
            self.iss.insert(tcp.dst_port(), tcp.seq_number().0 as u32);
            self.port = tcp.src_port();
        }
        let shown = self.fields(&frame);
        let same = |name: &str, wanted: i64| shown.fields.get(name).copied().unwrap_or(0) == wanted;
        // PSH says nothing that matters.
        let letters = |flags: &str| {
            let mut letters: Vec<char> = flags.chars().filter(|flag| *flag != 'P').collect();
            letters.sort_unstable();
            letters
        };
        let right = letters(&segment.flags) == letters(&shown.flags)
            && segment.fields.iter().all(|(name, wanted)| same(name, *wanted));
        if right { Ok(()) } else { Err(format!("it is {}", self.show(&frame))) }
    }

    /// What a script could say of a segment that left.
    fn fields(&self, frame: &[u8]) -> Segment {
        let mut fields = HashMap::new();
        let Ok(ip) = Ipv4Packet::new_checked(frame) else { return Segment::default() };
        let Ok(tcp) = TcpPacket::new_checked(ip.payload()) else { return Segment::default() };
        let iss = self.iss.get(&tcp.dst_port()).copied().unwrap_or(0);
        let flags = [('S', tcp.syn()), ('A', tcp.ack()), ('F', tcp.fin()), ('R', tcp.rst()), ('U', tcp.urg())];
        let relative = |number: TcpSeqNumber, from: u32| i64::from((number.0 as u32).wrapping_sub(from) as i32);
        fields.insert("seq".into(), relative(tcp.seq_number(), iss));
        if tcp.ack() {
            fields.insert("ack".into(), relative(tcp.ack_number(), PEER_ISS));
        }
        fields.insert("len".into(), tcp.payload().len() as i64);
        fields.insert("win".into(), tcp.window_len().into());
        fields.insert("from".into(), tcp.src_port().into());
        fields.insert("port".into(), tcp.dst_port().into());
        if tcp.urg() {
            fields.insert("urg".into(), tcp.urgent_at().into());
        }
        fields.insert("tos".into(), i64::from(ip.dscp() << 2 | ip.ecn()));
        let repr = TcpRepr::parse(&tcp, &OURS.into(), &PEER.into(), &ChecksumCapabilities::default());
        if let Ok(TcpRepr { max_seg_size: Some(mss), .. }) = repr {
            fields.insert("mss".into(), mss.into());
        }
        Segment { flags: flags.iter().filter(|(_, on)| *on).map(|(flag, _)| *flag).collect(), fields }
    }

    /// An end of a datagram.
    fn end(&self, four: bool, ours: bool, port: u16) -> Sockaddr {
        match four {
            true => Sockaddr::Inet { addr: if ours { OURS } else { PEER }.octets(), port },
            false => {
                let addr = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, if ours { 1 } else { 2 });
                Sockaddr::Inet6 { addr: addr.octets(), port, flowinfo: 0, scope_id: 0 }
            }
        }
    }

    fn show(&self, frame: &[u8]) -> String {
        let bytes = frames::bare(frame, self.ethernet);
        if bytes.get(9) != Some(&6) || bytes[0] >> 4 != 4 {
            return format!("> {}", frames::show(frame, self.ethernet));
        }
        let Segment { flags, fields } = self.fields(frames::bare(frame, self.ethernet));
        let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        fields.sort();
        format!("> {flags} {}", fields.join(" "))
    }
}
