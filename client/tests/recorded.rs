//! Our client against recorded server frames: it must send the frames that the original sent.
//!
//! A server thread plays the server's side of a recording and notes what the client sends; the test makes
//! the recorded calls. Client addresses are those of this process, so each recorded area of memory gets an arena
//! here, and addresses are translated between the two.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use abi::Region;
use abi::slot::Direction;
use client::{Adopted, Caller, Handshake, Remote, Retry};
use sysproxy::frame::{Class, Frame, HEADER_LEN, Header, Kind};
use sysproxy::golden::{self, Item};
use sysproxy::host;
use sysproxy::message::{ClientRequest, Handshake as Hello, ServerRequest, SyscallResult};
use zerocopy::FromBytes;

/// Recorded addresses that are further apart belong to different areas.
const GAP: u64 = 1 << 20;

/// Recorded memory and where it is in this process.
struct Memory {
    arenas: Vec<(u64, Vec<u8>)>,
}

impl Memory {
    fn of(items: &[Item]) -> Self {
        let mut touched: BTreeMap<u64, u64> = BTreeMap::new();
        for item in items {
            if let Item::FromServer(_, frame) = item
                && frame.header.class() == Some(Class::Req)
                && let Some((addr, len, _)) = touch(frame)
            {
                let longest = touched.entry(addr).or_default();
                *longest = len.max(*longest);
            }
        }
        let mut arenas: Vec<(u64, u64)> = Vec::new();
        for (addr, len) in touched {
            match arenas.last_mut() {
                Some((_, end)) if addr < *end + GAP => *end = (*end).max(addr + len),
                _ => arenas.push((addr, addr + len)),
            }
        }
        Self { arenas: arenas.into_iter().map(|(from, to)| (from, vec![0; (to - from) as usize])).collect() }
    }

    /// A recorded address, or any other argument, as it is in this process.
    fn here(&self, value: u64) -> u64 {
        let arena = self.arenas.iter().find(|(base, bytes)| (*base..base + bytes.len() as u64).contains(&value));
        arena.map_or(value, |(base, bytes)| bytes.as_ptr() as u64 + (value - base))
    }

    fn at(&mut self, addr: u64, len: usize) -> &mut [u8] {
        let arena = self.arenas.iter_mut().find(|(base, bytes)| (*base..base + bytes.len() as u64).contains(&addr));
        let (base, bytes) = arena.unwrap();
        let from = (addr - *base) as usize;
        &mut bytes[from..from + len]
    }

    fn translate(&self, frame: &Frame) -> Frame {
        let mut frame = frame.clone();
        let words = match (frame.header.class(), frame.header.kind()) {
            (Some(Class::Req), Some(Kind::Syscall)) => 0..frame.body.len() / 8,
            (Some(Class::Req), Some(Kind::CopyIn | Kind::CopyInStr | Kind::CopyOut)) => 1..2,
            _ => 0..0,
        };
        for word in words {
            let bytes = &mut frame.body[word * 8..][..8];
            let here = self.here(u64::from_ne_bytes(bytes.try_into().unwrap()));
            bytes.copy_from_slice(&here.to_ne_bytes());
        }
        frame
    }
}

/// What a request of the server touches.
fn touch(frame: &Frame) -> Option<(u64, u64, Direction)> {
    match ServerRequest::decode(&frame.header, &frame.body).unwrap() {
        ServerRequest::CopyIn { len, addr } => Some((addr, len, Direction::In)),
        ServerRequest::CopyInStr { max, addr } => Some((addr, max, Direction::In)),
        ServerRequest::CopyOut { addr, data } => Some((addr, data.len() as u64, Direction::Out)),
        _ => None,
    }
}

/// What is to happen on the server's side of one connection.
enum Play {
    Say(Vec<u8>),
    Hear(Frame),
}

fn read_frame(stream: &mut UnixStream) -> Frame {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header).unwrap();
    let header = Header::read_from_bytes(&header).unwrap();
    let mut body = vec![0; header.body_len().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Frame { header, body }
}

fn play(mut stream: UnixStream, script: Vec<Play>) {
    for step in script {
        match step {
            Play::Say(bytes) => stream.write_all(&bytes).unwrap(),
            Play::Hear(expected) => assert_eq!(read_frame(&mut stream), expected),
        }
    }
}

/// The requests of the client in their order, each with what the server does until it has answered.
fn requests(items: &[Item]) -> Vec<(u32, Frame, Vec<Item>)> {
    let mut found: Vec<(u32, Frame, Vec<Item>)> = Vec::new();
    for item in items {
        match item {
            Item::FromClient(conn, frame) if frame.header.class() == Some(Class::Req) => {
                found.push((*conn, frame.clone(), Vec::new()));
            }
            Item::FromClient(..) | Item::FromServer(..) => found.last_mut().unwrap().2.push(item.clone()),
            _ => {}
        }
    }
    found
}

fn replay(name: &str, text: &str) {
    let items = golden::parse(text).unwrap();
    let mut memory = Memory::of(&items);
    let mut scripts: BTreeMap<u32, Vec<Play>> = BTreeMap::new();
    for item in &items {
        match item {
            Item::Banner(conn, line) => {
                scripts.entry(*conn).or_default().push(Play::Say(format!("{line}\n").into_bytes()));
            }
            Item::FromClient(conn, frame) => {
                scripts.entry(*conn).or_default().push(Play::Hear(memory.translate(frame)));
            }
            Item::FromServer(conn, frame) => {
                scripts.entry(*conn).or_default().push(Play::Say(memory.translate(frame).encode()));
            }
            _ => {}
        }
    }
    let path = std::env::temp_dir().join(format!("client-{name}-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        thread::scope(|scope| {
            // Connections come in the order of their numbers.
            for script in scripts.into_values() {
                let stream = listener.accept().unwrap().0;
                scope.spawn(move || play(stream, script));
            }
        });
    });
    let url = format!("unix://{}", path.display());
    drive(&url, &items, &mut memory);
    std::fs::remove_file(&path).unwrap();
    server.join().unwrap();
}

/// Makes the recorded calls.
fn drive(url: &str, items: &[Item], memory: &mut Memory) {
    let mut remotes: BTreeMap<u32, Remote> = BTreeMap::new();
    for (conn, frame, events) in requests(items) {
        let answer = events.iter().rev().find_map(|event| match event {
            Item::FromServer(_, frame) if frame.header.class() != Some(Class::Req) => Some(frame.clone()),
            _ => None,
        });
        let answer = answer.unwrap();
        match ClientRequest::decode(&frame.header, &frame.body).unwrap() {
            ClientRequest::Handshake(Hello::Guest(name)) => {
                let hello = Handshake::Guest(name.to_vec());
                remotes.insert(conn, Remote::connect(url, hello, Retry::Never).unwrap());
            }
            ClientRequest::Handshake(Hello::Fork { token, .. }) => {
                let remote = Remote::connect(url, Handshake::Fork(token), Retry::Never);
                match answer.header.class() {
                    Some(Class::Error) => assert_eq!(remote.err().unwrap().errno, abi::Errno::ESRCH),
                    _ => drop(remotes.insert(conn, remote.unwrap())),
                }
            }
            ClientRequest::Handshake(Hello::Exec(name)) => {
                let old = remotes.remove(&conn).unwrap();
                let fd = host::dup_from(old.socket_fd(), 3).unwrap().into_fd();
                drop(old);
                let adopted = Adopted { fd, url: Some(url), extended: false };
                remotes.insert(conn, Remote::adopt(adopted, name, Retry::Never).unwrap());
            }
            ClientRequest::Prefork { .. } => {
                assert_eq!(&remotes[&conn].prefork(false).unwrap().token()[..], &answer.body[..])
            }
            ClientRequest::Syscall { number, args } => {
                let regions = prepare(memory, &events);
                let args: Vec<u64> =
                    args.chunks(8).map(|slot| memory.here(u64::from_ne_bytes(slot.try_into().unwrap()))).collect();
                let result = remotes[&conn].call(number, &args, &regions);
                assert_eq!(result, SyscallResult::decode(&answer.body).unwrap().result());
                check(memory, &events);
            }
            other => panic!("nobody records {other:?}"),
        }
    }
}

/// Puts what the client answered into memory, and returns what the call names.
fn prepare(memory: &mut Memory, events: &[Item]) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut asked = None;
    for event in events {
        match event {
            Item::FromServer(_, frame) if frame.header.class() == Some(Class::Req) => {
                asked = touch(frame);
                if let Some((addr, len, direction @ Direction::Out)) = asked {
                    regions.push(Region { addr: memory.here(addr), len: len as usize, direction, own: false });
                }
            }
            Item::FromClient(_, answer) => {
                let (addr, _, direction) = asked.take().unwrap();
                memory.at(addr, answer.body.len()).copy_from_slice(&answer.body);
                regions.push(Region { addr: memory.here(addr), len: answer.body.len(), direction, own: false });
            }
            _ => {}
        }
    }
    regions
}

/// Compares memory with what the server stored last.
fn check(memory: &mut Memory, events: &[Item]) {
    for event in events {
        let Item::FromServer(_, frame) = event else { continue };
        if frame.header.class() == Some(Class::Req)
            && let ServerRequest::CopyOut { addr, data } = ServerRequest::decode(&frame.header, &frame.body).unwrap()
        {
            assert_eq!(memory.at(addr, data.len()), data);
        }
    }
}

#[test]
fn the_recorded_session_is_spoken_byte_for_byte() {
    replay("recorded", golden::RECORDED);
}

#[test]
fn the_worked_examples_are_spoken_byte_for_byte() {
    replay("worked", golden::WORKED);
}
