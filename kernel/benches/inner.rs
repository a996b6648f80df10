//! Inner parts of the kernel: paths, descriptors, routes, segments.

#[path = "../tests/packets/device.rs"]
mod device;

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use abi::socket::Sockaddr;
use abi::{Errno, Fd};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{TestDevice, Wire};
use kernel::config::Config;
use kernel::fdtable::FdTable;
use kernel::file::OpenFile;
use kernel::net::addr::Family;
use kernel::net::link::Link;
use kernel::net::route::{Origin, Route, Table, Via};
use kernel::net::stack::Inet;
use kernel::net::tcp::TcpSocket;
use kernel::proc::lock;
use kernel::rumpuser::sim::SimHost;
use kernel::vfs::Vfs;
use kernel::vfs::namei::Follow;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpCidr};

fn namei(c: &mut Criterion) {
    let vfs = Vfs::boot(SimHost::new(1), &Config::default()).expect("it boots");
    let view = vfs.root_view().expect("it has files");
    let mut path = Vec::new();
    for name in ["/tmp", "/a", "/b", "/c", "/d", "/e"] {
        path.extend_from_slice(name.as_bytes());
        if name != "/tmp" {
            view.mkdir(&view.root, &path, 0o755).expect("there is room");
        }
    }
    (0..10_000).for_each(|n| {
        view.mkdir(&view.root, format!("/tmp/a/{n}").as_bytes(), 0o755).expect("there is room");
    });
    let mut group = c.benchmark_group("namei");
    for (what, path) in [
        ("a name in the root", &b"/tmp"[..]),
        ("six names", &path),
        ("one of 10,000", b"/tmp/a/7654"),
        ("a name that is not there", b"/tmp/a/b/x"),
        ("by ..", b"/tmp/a/b/../b/../b/c"),
    ] {
        group.bench_function(what, |b| b.iter(|| view.namei(&view.root, black_box(path), Follow::Always).is_ok()));
    }
}

fn descriptors(c: &mut Criterion) {
    let (read, _) = kernel::vfs::pipe::pair();
    let open = OpenFile::new(read, 0);
    let mut table = FdTable::default();
    (0..10_000).for_each(|_| _ = table.insert(open.clone(), false, 0, 65_536));
    let mut group = c.benchmark_group("descriptors");
    group.bench_function("look one of 10,000 up", |b| b.iter(|| table.get(black_box(Fd(7_777))).is_ok()));
    group.bench_function("close the first and open it again", |b| {
        b.iter(|| {
            table.take(Fd(0)).expect("it is open");
            table.insert(open.clone(), false, 0, 65_536)
        });
    });
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    for count in [4usize, 256, 4000] {
        let mut table = Table::default();
        let network = |n: usize| IpCidr::new(IpAddress::v4(10, (n >> 8) as u8, n as u8, 0), 24);
        let route =
            |to| Route { to, via: Via::Link, link: 0, source: None, origin: Origin::Static, metric: 0, expires: None };
        (1..count).for_each(|n| table.add(route(network(n))).expect("there is room"));
        table.add(route(IpCidr::new(IpAddress::v4(0, 0, 0, 0), 0))).expect("there is room");
        group.bench_function(format!("the default of {count}"), |b| {
            b.iter(|| table.lookup(black_box(&IpAddress::v4(192, 0, 2, 1)), |_| true).is_some());
        });
    }
}

/// A stack with a link, and the link's end.
fn stack(host: &Arc<SimHost>, last: u8) -> (Arc<Inet>, Arc<Mutex<Wire>>) {
    let inet = Arc::new(Inet::new(host.clone()));
    let wire = Arc::<Mutex<Wire>>::default();
    let device = Box::new(TestDevice(wire.clone(), None));
    inet.with(|stack| {
        let at = stack.base.links.add(Link::new("tst0", 2, device, Instant::ZERO, u64::from(last)));
        stack.base.add_address(at, IpCidr::new(IpAddress::v4(192, 0, 2, last), 24)).expect("the address is free");
    });
    (inet, wire)
}

fn segments(c: &mut Criterion) {
    let host = SimHost::new(1);
    let sides = [stack(&host, 1), stack(&host, 2)];
    // What has left the one arrives at the other, until nothing leaves any more.
    let carry = || {
        loop {
            let mut moved = false;
            for (from, to) in [(0, 1), (1, 0)] {
                let frames: Vec<_> = lock(&sides[from].1).leaving.drain(..).collect();
                if !frames.is_empty() {
                    moved = true;
                    lock(&sides[to].1).arriving.extend(frames);
                    sides[to].0.with(|_| ());
                }
            }
            if !moved {
                return;
            }
        }
    };
    let [client, server] = [0, 1].map(|at: usize| TcpSocket::open(&sides[at].0, Family::V4));
    let at = Sockaddr::Inet { addr: [192, 0, 2, 2], port: 80 };
    server.bind_to(&at).expect("the port is free");
    server.listen_with(1).expect("it is bound");
    assert_eq!(client.connect_to(&at), Err(Errno::EINPROGRESS));
    carry();
    let (accepted, _) = server.accept_one().expect("it has connected");

    // Every second segment is acknowledged at once.
    const DATA: usize = 2 * 1460;
    let mut group = c.benchmark_group("tcp");
    group.throughput(Throughput::Bytes(DATA as u64));
    group.bench_function("two segments and their acknowledgement", |b| {
        let (data, mut room) = (vec![b'd'; DATA], vec![0; 2 * DATA]);
        b.iter(|| {
            assert_eq!(client.send_bytes(&data), Ok(DATA));
            carry();
            assert_eq!(accepted.recv_bytes(&mut room, false), Ok(DATA));
            carry();
        });
    });
}

criterion_group!(benches, namei, descriptors, routes, segments);
criterion_main!(benches);
