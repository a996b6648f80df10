//! Clients that come through shared memory, honest and not.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use abi::syscalls::nr;
use sysproxy::frame::{Class, Kind};
use sysproxy::host::{self, IoSlice};
use sysproxy::link::Link;
use sysproxy::message::{self, ClientRequest, Refusal, RingStep, ServerRequest};
use sysproxy::ring::{Memory, Reader, Way, Writer};
use sysproxy::{Frame, FrameReader, HostFd};

mod common;
use common::{Client, Running};

/// How long a hostile client goes on.
fn for_how_long() -> Duration {
    Duration::from_secs(std::env::var("SOAK_SECONDS").map_or(1, |text| text.parse().expect("a number")))
}

/// The client's end of the memory, read as a link.
struct Down {
    reader: Mutex<Reader>,
    /// Wakes the server.
    bell: Arc<host::Owned>,
}

impl Link for Down {
    fn fd(&self) -> HostFd {
        HostFd(-1)
    }
    fn send(&self, _: &[IoSlice<'_>]) -> host::Result<usize> {
        Err(host::Error::AGAIN)
    }
    fn recv(&self, buf: &mut [u8]) -> host::Result<usize> {
        let (got, tell) = self.reader.lock().unwrap().read(buf)?;
        if tell {
            host::signal_eventfd(self.bell.fd());
        }
        Ok(got)
    }
    fn shutdown(&self) {}
    fn go_by(&mut self, _: &'static std::sync::atomic::AtomicI32) {}
}

/// A client with memory.
struct Shared {
    client: Client,
    up: Writer,
    down: Down,
    frames: FrameReader,
    bell: Arc<host::Owned>,
}

impl Shared {
    fn enter(mut client: Client) -> Self {
        let (file, bell) = client.ask_for_memory(2);
        let (memory, bell) = (Memory::attach(file.fd()).unwrap(), Arc::new(bell));
        client.send(&ClientRequest::Ring(RingStep::On).encode(3));
        assert_eq!(client.next(), message::ring_done(3, RingStep::On));
        let up = Writer::new(memory.clone(), Way::Up);
        let down = Down { reader: Reader::new(memory, Way::Down).into(), bell: bell.clone() };
        Self { client, up, down, frames: FrameReader::new(), bell }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.up.write(&[IoSlice::new(bytes)]).unwrap();
        if self.up.reader_sleeps() {
            host::signal_eventfd(self.bell.fd());
        }
    }

    /// Sends what may be more than there is room for.
    fn send_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.up.write(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => assert_eq!(error, host::Error::AGAIN),
            }
            if self.up.reader_sleeps() {
                host::signal_eventfd(self.bell.fd());
            }
        }
    }

    fn next(&mut self) -> Frame {
        let begun = Instant::now();
        loop {
            if let Some(frame) = self.frames.next(&self.down).unwrap() {
                return frame;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no frame comes");
            std::hint::spin_loop();
        }
    }

    /// Calls getpid(2), and returns what it answers.
    fn getpid(&mut self, reqno: u64) -> i64 {
        self.send(&ClientRequest::Syscall { number: nr::getpid, args: &[] }.encode(reqno).encode());
        let frame = self.next();
        assert_eq!((frame.header.class(), frame.header.reqno), (Some(Class::Resp), reqno));
        message::SyscallResult::decode(&frame.body).unwrap().result().unwrap()[0]
    }
}

#[test]
fn a_client_comes_through_memory_and_goes_back_to_its_socket() {
    let server = Running::start();
    let mut shared = Shared::enter(server.guest(b"shares"));
    (10..2000).for_each(|reqno| assert_eq!(shared.getpid(reqno), 2));
    shared.send(&ClientRequest::Ring(RingStep::Off).encode(5).encode());
    assert_eq!(shared.next(), message::ring_done(5, RingStep::Off));
    let Shared { mut client, .. } = shared;
    assert_eq!(client.simple(6, nr::getpid, &[]), Ok([2, 1]));
    // And once more.
    let mut shared = Shared::enter(client);
    assert_eq!(shared.getpid(7), 2);
}

#[test]
fn data_longer_than_the_memory_goes_through_it() {
    const LONG: usize = 1 << 20;
    let server = Running::start();
    let mut shared = Shared::enter(server.guest(b"long"));
    shared.send(&ClientRequest::Syscall { number: nr::getcwd, args: &0x1000u64.to_le_bytes() }.encode(10).encode());
    assert_eq!(shared.next().header.kind(), Some(Kind::Syscall));
    let zeros = [0x2000u64, 0x602, 0o600].map(u64::to_le_bytes).concat();
    shared.send(&ClientRequest::Syscall { number: nr::open, args: &zeros }.encode(11).encode());
    let asked = shared.next();
    shared.send(&message::copied_in(asked.header.reqno, b"/tmp/long\0".to_vec()).encode());
    let opened = message::SyscallResult::decode(&shared.next().body).unwrap().result().unwrap()[0] as u64;
    let args = [opened, 0x3000, LONG as u64].map(u64::to_le_bytes).concat();
    shared.send(&ClientRequest::Syscall { number: nr::write, args: &args }.encode(12).encode());
    let mut given = 0;
    let answer = loop {
        let asked = shared.next();
        let Ok(ServerRequest::CopyIn { len, .. }) = ServerRequest::decode(&asked.header, &asked.body) else {
            break asked;
        };
        let data = (given..given + len as usize).map(|at| (at >> 3) as u8).collect();
        shared.send_all(&message::copied_in(asked.header.reqno, data).encode());
        given += len as usize;
    };
    assert_eq!(message::SyscallResult::decode(&answer.body).unwrap().result().unwrap()[0], LONG as i64);
    let args = [opened, 0x3000, LONG as u64, 0, 0].map(u64::to_le_bytes).concat();
    shared.send(&ClientRequest::Syscall { number: nr::pread, args: &args }.encode(13).encode());
    let mut seen = 0;
    loop {
        let frame = shared.next();
        if frame.header.class() == Some(Class::Resp) {
            break;
        }
        assert!(frame.body[16..].iter().enumerate().all(|(at, byte)| *byte == ((seen + at) >> 3) as u8));
        seen += frame.body.len() - 16;
    }
    assert_eq!(seen, LONG);
}

#[test]
fn steps_out_of_order_are_malformed() {
    let server = Running::start();
    let mut client = server.guest(b"hasty");
    for step in [RingStep::On, RingStep::Off] {
        client.send(&ClientRequest::Ring(step).encode(2));
        assert_eq!(client.next(), Refusal::Malformed.encode(2));
    }
    let _kept = client.ask_for_memory(3);
    client.send(&ClientRequest::Ring(RingStep::Ask).encode(4));
    assert_eq!(client.next(), Refusal::Malformed.encode(4));
    assert_eq!(client.simple(5, nr::getpid, &[]), Ok([2, 1]));
}

#[test]
fn who_speaks_beside_the_memory_is_dropped() {
    let server = Running::start();
    let mut shared = Shared::enter(server.guest(b"beside"));
    assert_eq!(shared.getpid(10), 2);
    shared.client.call(11, nr::getpid, &[]);
    assert_eq!(shared.client.try_next(), None);
}

/// Rewrites the memory at random, as fast as it can: what the server makes of it concerns this client only.
#[test]
fn a_client_that_rewrites_everything_at_random_harms_nobody() {
    let server = Running::start();
    let mut good = Shared::enter(server.guest(b"good"));
    let (mut seed, begun, mut reqno, mut rounds) = (0x9e37_79b9_7f4a_7c15_u64, Instant::now(), 10, 0);
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    while begun.elapsed() < for_how_long() {
        let mut client = server.guest(b"bad");
        let (file, bell) = client.ask_for_memory(2);
        let length = host::shared::sealed_length(file.fd()).unwrap();
        client.send(&ClientRequest::Ring(RingStep::On).encode(3));
        assert_eq!(client.next(), message::ring_done(3, RingStep::On));
        // Nonsense, or frames that are nearly right, and positions that may be.
        for _ in 0..1 + random() % 200 {
            let mut junk: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
            if random() % 2 == 0 {
                let args: Vec<u8> = (0..random() % 64).map(|_| random() as u8 % 3).collect();
                let number = random() as u32 % 500;
                // Not those that end the kernel.
                if number != nr::reboot {
                    junk = ClientRequest::Carrying { number, args: &args, memory: &junk }.encode(random() % 9).encode();
                }
            }
            let at = if random() % 2 == 0 { 4096 + random() % 2048 } else { random() % length };
            let _ = host::shared::pwrite(file.fd(), &junk, at.min(length - junk.len() as u64));
            let word = (random() % 10) * 64;
            let value = if random() % 4 == 0 { random() as u32 } else { random() as u32 % 2000 };
            let _ = host::shared::pwrite(file.fd(), &value.to_le_bytes(), word);
            host::signal_eventfd(bell.fd());
        }
        assert_eq!(good.getpid(reqno), 2);
        (reqno, rounds) = (reqno + 1, rounds + 1);
    }
    assert!(rounds > 0);
    drop(good);
}
