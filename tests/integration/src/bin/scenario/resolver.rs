//! A little server of names for the scenarios: a thread with a UDP and a TCP socket on the loopback, and libc's resolver told to ask it.

use std::thread::JoinHandle;

use super::prelude::*;

/// The begin of struct __res_state of resolv.h, which programs may change.
#[repr(C)]
struct ResolverState {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    nscount: c_int,
    servers: [sockaddr_in; 3],
    id: u16,
    search: [*mut c_char; 7],
    default_domain: [c_char; 256],
}

unsafe extern "C" {
    fn __res_state() -> *mut ResolverState;
    fn __res_init() -> c_int;
}

/// What was asked: the way, the type and the name.
type Asked = Vec<String>;

/// A running server.
pub struct Server {
    thread: JoinHandle<Asked>,
    port: u16,
}

/// Makes the resolver of this thread ask the server at `port`.
pub fn ask_at(port: u16) {
    unsafe {
        __res_init();
        let state = &mut *__res_state();
        state.nscount = 1;
        state.servers[0] = loopback(port);
        (state.retrans, state.retry) = (5, 2);
        state.search[0] = null_mut();
    }
}

impl Server {
    /// Starts it, and has this thread ask it.
    pub fn start() -> Server {
        unsafe {
            // One number for both protocols.
            let (udp, tcp, port) = loop {
                let (tcp, own) = listener();
                let udp = socket(AF_INET, SOCK_DGRAM, 0);
                if bind(udp, ptr(&own), LEN) == 0 {
                    break (udp, tcp, u16::from_be(own.sin_port));
                }
                close(tcp);
                close(udp);
            };
            let thread = std::thread::spawn(move || serve(udp, tcp));
            ask_at(port);
            Server { thread, port }
        }
    }

    /// The port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sets how many seconds the resolver waits, and how often it asks.
    pub fn patience(&self, seconds: c_int, tries: c_int) {
        unsafe {
            let state = &mut *__res_state();
            (state.retrans, state.retry) = (seconds, tries);
        }
    }

    /// Makes the resolver ask where nobody is.
    pub fn nobody(&self) {
        unsafe {
            let (gone, own) = listener();
            close(gone);
            (*__res_state()).servers[0] = own;
        }
    }

    /// Makes names without a dot be looked for below `domain`.
    pub fn search(&self, domain: &CStr) {
        unsafe {
            let state = &mut *__res_state();
            for (to, from) in state.default_domain.iter_mut().zip(domain.to_bytes_with_nul()) {
                *to = *from as c_char;
            }
            state.search[0] = state.default_domain.as_mut_ptr();
            state.search[1] = null_mut();
        }
    }

    /// Stops it, and returns what it was asked.
    pub fn stop(self) -> Asked {
        unsafe {
            let s = socket(AF_INET, SOCK_DGRAM, 0);
            sendto(s, b"stop".as_ptr().cast(), 4, 0, ptr(&loopback(self.port)), LEN);
            close(s);
        }
        let mut asked = self.thread.join().unwrap();
        asked.sort();
        asked
    }
}

/// Answers until a datagram says to stop.
fn serve(udp: c_int, tcp: c_int) -> Asked {
    let mut asked = Vec::new();
    let mut slow = 0;
    unsafe {
        loop {
            let mut fds =
                [pollfd { fd: udp, events: POLLIN, revents: 0 }, pollfd { fd: tcp, events: POLLIN, revents: 0 }];
            poll(fds.as_mut_ptr(), 2, -1);
            if fds[0].revents != 0 {
                let (mut bytes, mut from, mut len) = ([0u8; 1000], loopback(0), LEN);
                let n = recvfrom(udp, bytes.as_mut_ptr().cast(), 1000, 0, (&raw mut from).cast(), &mut len);
                let query = &bytes[..n.max(0) as usize];
                if query == b"stop" {
                    close(udp);
                    close(tcp);
                    return asked;
                }
                let (name, kind) = question(query);
                asked.push(format!("udp {kind} {name}"));
                slow += i32::from(name == "slow.test");
                if name == "slow.test" && slow == 1 {
                    continue;
                }
                let answer = answer(query, true);
                sendto(udp, answer.as_ptr().cast(), answer.len(), 0, ptr(&from), len);
            }
            if fds[1].revents != 0 {
                let a = accept(tcp, null_mut(), null_mut());
                let mut length = [0u8; 2];
                while recv(a, length.as_mut_ptr().cast(), 2, MSG_WAITALL) == 2 {
                    let mut query = vec![0u8; u16::from_be_bytes(length).into()];
                    recv(a, query.as_mut_ptr().cast(), query.len(), MSG_WAITALL);
                    let (name, kind) = question(&query);
                    asked.push(format!("tcp {kind} {name}"));
                    let answer = answer(&query, false);
                    let whole = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                    send(a, whole.as_ptr().cast(), whole.len(), MSG_NOSIGNAL);
                }
                close(a);
            }
        }
    }
}

/// The name and the type of a query.
fn question(query: &[u8]) -> (String, u16) {
    let mut labels = Vec::new();
    let mut at = 12;
    while let Some(&len) = query.get(at).filter(|len| **len > 0) {
        let label = query.get(at + 1..at + 1 + usize::from(len)).unwrap_or_default();
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + usize::from(len);
    }
    let kind = query.get(at + 1..at + 3).map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
    (labels.join("."), kind)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// What is known: name, type, data.
fn records(name: &str, kind: u16) -> Vec<(String, u16, Vec<u8>)> {
    let own = |data: Vec<u8>| (name.to_owned(), kind, data);
    match (name, kind) {
        ("host.test" | "slow.test", A) => vec![own(vec![10, 1, 2, 3])],
        ("host.test", AAAA) => vec![own(vec![0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
        ("four.test", A) => vec![own(vec![10, 4, 4, 4])],
        ("host.test", TXT) => vec![own(b"\x05words".to_vec())],
        ("several.test", A) => (1..=5).map(|i| own(vec![10, 2, 2, i])).collect(),
        ("big.test", A) => (0..200).map(|i| own(vec![10, 3, 3, i])).collect(),
        ("alias.test", A | AAAA) => {
            let mut all = vec![(name.to_owned(), CNAME, encoded("host.test"))];
            all.extend(records("host.test", kind));
            all
        }
        ("3.2.1.10.in-addr.arpa", PTR) => vec![own(encoded("host.test"))],
        (name, PTR) if name.starts_with("1.0.0.0.") && name.ends_with("0.0.d.f.ip6.arpa") => {
            vec![own(encoded("six.test"))]
        }
        _ => Vec::new(),
    }
}

/// Makes an answer; over UDP one that is too long is cut, and says so.
fn answer(query: &[u8], udp: bool) -> Vec<u8> {
    let (name, kind) = question(query);
    let records = records(&name, kind);
    let code = match name.as_str() {
        "broken.test" => 2,
        "refused.test" => 5,
        "host.test" | "four.test" | "empty.test" | "several.test" | "big.test" | "alias.test" | "slow.test" => 0,
        _ if !records.is_empty() => 0,
        _ => 3,
    };
    let cut = udp && records.len() > 20;
    let count = if cut { 0 } else { records.len() as u16 };
    let flags: u16 = 0x8180 | code | if cut { 0x200 } else { 0 };
    let end = 12 + encoded(&name).len() + 4;
    let mut bytes = query.get(..2).unwrap_or_default().to_vec();
    for word in [flags, 1, count, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(query.get(12..end).unwrap_or_default());
    for (name, kind, data) in records.iter().take(count.into()) {
        bytes.extend_from_slice(&encoded(name));
        for word in [*kind, 1, 0, 60, data.len() as u16] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(data);
    }
    bytes
}

/// Says what an answer is: its code, how many records there are, and its length.
pub fn message_of(answer: &[u8]) -> String {
    match answer.first_chunk::<12>() {
        None => "no message".into(),
        Some(header) => format!("code {} records {} of {} bytes", header[3] & 15, header[7], answer.len()),
    }
}
