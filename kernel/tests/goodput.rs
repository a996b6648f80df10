//! What a bulk transfer reaches over a link that loses packets, against what Reno's theory allows: 1.22·MSS/(RTT·√p) (Mathis and others, 1997).
//!
//! Two stacks, joined by a link of a given delay; the time is an argument, so that the table is the same on every machine. It measures the
//! engine, so that another one can be judged: `make goodput` prints it.

#[path = "packets/device.rs"]
mod device;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::Errno;
use abi::socket::Sockaddr;
use device::{TestDevice, Wire};
use kernel::net::addr::Family;
use kernel::net::conn::Congestion;
use kernel::net::link::Link;
use kernel::net::stack::{Inet, Random};
use kernel::net::tcp::TcpSocket;
use kernel::proc::lock;
use kernel::rumpuser::Rumpuser;
use kernel::rumpuser::sim::SimHost;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpCidr};

/// Round trip.
const RTT: Duration = Duration::from_millis(10);
/// Data in a segment of 1500 bytes.
const MSS: usize = 1460;
/// How long a transfer is looked at.
const LENGTH: Duration = Duration::from_secs(60);
/// Packets of a million that are lost.
const LOSSES: [u64; 4] = [100, 1_000, 10_000, 30_000];

/// A host with its end of the wire.
struct Side {
    inet: Arc<Inet>,
    wire: Arc<Mutex<Wire>>,
}

impl Side {
    fn new(host: &Arc<SimHost>, last: u8) -> Side {
        let inet = Arc::new(Inet::new(host.clone()));
        let wire = Arc::<Mutex<Wire>>::default();
        let device = Box::new(TestDevice(wire.clone(), None));
        inet.with(|stack| {
            let at = stack.base.links.add(Link::new("tst0", 2, device, Instant::ZERO, u64::from(last)));
            stack.base.add_address(at, IpCidr::new(IpAddress::v4(192, 0, 2, last), 24)).unwrap();
        });
        lock(&wire).leaving.clear();
        Side { inet, wire }
    }
}

/// When a packet arrives, which was first, at which side, and its bytes.
type Packet = (Duration, u64, usize, Vec<u8>);

/// Two hosts and the link between them.
struct World {
    host: Arc<SimHost>,
    sides: [Side; 2],
    /// Packets on the link.
    on_way: BinaryHeap<Reverse<Packet>>,
    sent: u64,
    random: Random,
    /// Packets of a million that are lost.
    loss: u64,
}

impl World {
    fn new(loss: u64, seed: u64) -> World {
        let host = SimHost::new(seed);
        let sides = [Side::new(&host, 1), Side::new(&host, 2)];
        World { host, sides, on_way: BinaryHeap::new(), sent: 0, random: Random::new(seed), loss }
    }

    /// Takes what has left a host onto the link.
    fn collect(&mut self) {
        let now = self.host.monotonic();
        for (at, side) in self.sides.iter().enumerate() {
            for packet in lock(&side.wire).leaving.drain(..) {
                self.sent += 1;
                if self.random.draw() % 1_000_000 >= self.loss {
                    self.on_way.push(Reverse((now + RTT / 2, self.sent, 1 - at, packet)));
                }
            }
        }
    }

    /// Lets time pass until a packet arrives or a timer is due, but not beyond `end`.
    fn step(&mut self, end: Duration) {
        self.collect();
        let now = self.host.monotonic();
        let timers = self.sides.iter().filter_map(|side| side.inet.run_timers(now)).min();
        self.collect();
        let packet = self.on_way.peek().map(|Reverse((at, ..))| *at);
        let next = [timers, packet].into_iter().flatten().min().unwrap_or(end).min(end);
        self.host.advance(next.saturating_sub(now).max(Duration::from_micros(1)));
        let now = self.host.monotonic();
        while let Some(Reverse((at, ..))) = self.on_way.peek()
            && *at <= now
        {
            let Some(Reverse((_, _, side, packet))) = self.on_way.pop() else { return };
            lock(&self.sides[side].wire).arriving.push_back(packet);
            self.sides[side].inet.with(|_| ());
        }
    }
}

/// Transfers for [`LENGTH`] by an algorithm; returns the bytes that arrived.
fn transfer(loss: u64, seed: u64, congestion: Congestion) -> u64 {
    let mut world = World::new(loss, seed);
    world.sides.iter().for_each(|side| side.inet.with(|stack| stack.tcp.congestion = congestion));
    let [client, server] = [0, 1].map(|at: usize| TcpSocket::open(&world.sides[at].inet, Family::V4));
    let at = Sockaddr::Inet { addr: [192, 0, 2, 2], port: 80 };
    server.bind_to(&at).unwrap();
    server.listen_with(1).unwrap();
    assert_eq!(client.connect_to(&at), Err(Errno::EINPROGRESS));
    let accepted = loop {
        match server.accept_one() {
            Ok((socket, _)) => break socket,
            Err(_) => world.step(Duration::MAX),
        }
    };
    let (begin, mut sent, mut received) = (world.host.monotonic(), 0u64, 0u64);
    let end = begin + LENGTH;
    let mut buf = vec![0; 1 << 17];
    while world.host.monotonic() < end {
        // Each byte is known by its place.
        let data: Vec<u8> = (sent..sent + 65536).map(|at| (at % 251) as u8).collect();
        sent += client.send_bytes(&data).unwrap_or(0) as u64;
        world.step(end);
        while let Ok(len @ 1..) = accepted.recv_bytes(&mut buf, false) {
            assert!(buf[..len].iter().zip(received..).all(|(byte, at)| *byte == (at % 251) as u8), "at {received}");
            received += len as u64;
        }
    }
    received
}

/// Bytes in a second by the theory.
fn reno(loss: u64) -> f64 {
    1.22 * MSS as f64 / (RTT.as_secs_f64() * (loss as f64 / 1e6).sqrt())
}

#[test]
fn goodput_against_the_theory() {
    println!("RTT {RTT:?}, MSS {MSS}, {LENGTH:?} each; MB/s");
    println!("{:>10} {:>8} {:>10} {:>10} {:>8}", "congestion", "loss", "reached", "Reno", "share");
    for congestion in [Congestion::None, Congestion::Reno, Congestion::Cubic] {
        let mut before = f64::INFINITY;
        for loss in LOSSES {
            let received = transfer(loss, 1, congestion);
            let (reached, theory) = (received as f64 / LENGTH.as_secs_f64(), reno(loss));
            let (percent, share) = (loss as f64 / 1e4, reached / theory);
            let (reached_mb, theory_mb, name) = (reached / 1e6, theory / 1e6, congestion.name());
            println!("{name:>10} {percent:>7}% {reached_mb:>10.3} {theory_mb:>10.3} {:>7.0}%", share * 100.0);
            assert!(share > 0.02, "next to nothing arrives: {received} bytes");
            assert!(reached < before, "more loss cannot be better");
            before = reached;
        }
    }
    let again = || transfer(10_000, 1, Congestion::default());
    assert_eq!(again(), again(), "the same seed, the same run");
}
