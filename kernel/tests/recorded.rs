//! The server answers the recorded client frames as the original server did.
//!
//! Left out of the comparison: the padding of answers, tokens, the numbers of RAISE frames, ports that the kernel chose.

use std::collections::HashMap;
use std::time::Duration;

use sysproxy::frame::{Class, Frame, Kind};
use sysproxy::golden::{self, Item};
use sysproxy::message::{ClientRequest, Token};

mod common;
use common::{Client, Running};

/// A session between a recorded client and our server.
struct Replay<'a> {
    server: &'a Running,
    clients: HashMap<u32, Client>,
    /// Recorded tokens and what ours were.
    tokens: Vec<(Token, Token)>,
    step: String,
    /// The last call of each connection.
    last_call: HashMap<u32, u32>,
}

impl Replay<'_> {
    fn play(&mut self, item: Item) {
        match item {
            Item::Step(step) => self.step = step,
            Item::Banner(conn, _) => {
                self.clients.insert(conn, self.server.connect());
            }
            Item::Exec(_) => {}
            Item::FromClient(conn, frame) => self.client_says(conn, frame),
            Item::FromServer(conn, frame) => self.server_says(conn, frame),
        }
    }

    fn client_says(&mut self, conn: u32, mut frame: Frame) {
        if frame.header.kind() == Some(Kind::Syscall) {
            self.last_call.insert(conn, frame.header.u);
            // The program took its time too: packets on the way (a reset, say) have arrived.
            std::thread::sleep(Duration::from_millis(5));
        }
        for (recorded, ours) in &self.tokens {
            if frame.body.starts_with(recorded) {
                frame.body[..16].copy_from_slice(ours);
            }
        }
        self.client(conn).send(&frame);
    }

    fn server_says(&mut self, conn: u32, mut want: Frame) {
        let mut got = self.client(conn).next();
        if got.header.kind() == Some(Kind::Prefork) && want.header.kind() == Some(Kind::Prefork) {
            let token = |frame: &Frame| *frame.body.first_chunk::<16>().unwrap();
            self.tokens.push((token(&want), token(&got)));
            want.body.clone_from(&got.body);
        }
        // accept: the peer's port was chosen by the kernel.
        let accept = self.last_call.get(&conn) == Some(&abi::syscalls::nr::accept);
        for frame in [&mut want, &mut got] {
            golden::normalize(frame);
            if accept && frame.header.kind() == Some(Kind::CopyOut) && frame.body.len() == 32 {
                frame.body[18..20].fill(0);
            }
        }
        assert_eq!(brief(&got), brief(&want), "after {:?}", self.step);
        assert_eq!(got, want, "after {:?}", self.step);
    }

    fn client(&mut self, conn: u32) -> &mut Client {
        self.clients.get_mut(&conn).expect("the recording names its connections")
    }
}

/// What a frame is, short enough for a message.
fn brief(frame: &Frame) -> String {
    let body = &frame.body[..frame.body.len().min(32)];
    format!("{:?} {body:02x?}", frame.header)
}

/// The connection that an item is about.
fn conn(item: &Item) -> Option<u32> {
    match item {
        Item::FromClient(conn, _) | Item::FromServer(conn, _) => Some(*conn),
        _ => None,
    }
}

fn replay(text: &str) {
    let server = Running::start();
    let mut replay = Replay {
        server: &server,
        clients: HashMap::new(),
        tokens: Vec::new(),
        step: String::new(),
        last_call: HashMap::new(),
    };
    let items = golden::parse(text).unwrap();
    let last: HashMap<u32, usize> = items.iter().enumerate().filter_map(|(at, item)| Some((conn(item)?, at))).collect();
    for (at, item) in items.into_iter().enumerate() {
        let conn = conn(&item);
        replay.play(item);
        // A program ends with its last frame.
        if let Some(conn) = conn.filter(|conn| last.get(conn) == Some(&at)) {
            replay.clients.remove(&conn);
        }
    }
}

#[test]
fn the_recorded_session() {
    replay(golden::RECORDED);
}

#[test]
fn the_worked_examples() {
    replay(golden::WORKED);
}

/// Sends a frame with any header fields.
fn odd(client: &mut Client, class: u16, kind: u16, u: u32, body: &[u8], reqno: u64) {
    let mut frame = Frame::new(reqno, Class::Req, Kind::Syscall, u, body.to_vec());
    (frame.header.class, frame.header.kind) = (class, kind);
    client.send(&frame);
}

/// The next frame is an ERROR with this code.
#[track_caller]
fn refused(client: &mut Client, reqno: u64, code: u32) {
    let header = client.next().header;
    assert_eq!((header.len, header.reqno, header.class, header.kind, header.u), (24, reqno, 2, 0, code));
}

#[track_caller]
fn ended(client: &mut Client) {
    assert_eq!(client.try_next(), None);
}

#[test]
fn calls_that_do_not_exist_are_enosys() {
    let server = Running::start();
    let mut client = server.guest(b"probe");
    assert_eq!(client.simple(2, 20, &[]), Ok([2, 1]));
    assert_eq!(client.simple(2, 20, &[]), Ok([2, 1]));
    for number in [9999, 1, 0, u32::MAX] {
        assert_eq!(client.simple(2, number, &[]), Err(78), "{number}");
    }
    assert_eq!(client.simple(2, 6, &[77]), Err(9));
    client.call(3, 7, &[]);
    let raise = client.next().header;
    assert_eq!((raise.class, raise.kind, raise.u), (0, 8, 12));
    assert_eq!(client.result(3), Err(78));
}

#[test]
fn requests_that_make_no_sense_are_malformed_and_change_nothing() {
    let server = Running::start();
    let mut client = server.guest(b"probe");
    for (class, kind) in [(0, 6), (0, 77), (5, 0), (2, 2)] {
        odd(&mut client, class, kind, 0, &[], 9);
        refused(&mut client, 9, 7);
    }
    odd(&mut client, 1, 2, 0, b"nobody asked", 33);
    assert_eq!(client.simple(2, 20, &[]), Ok([2, 1]));
    odd(&mut client, 0, 0, 0, b"again\0", 3);
    refused(&mut client, 3, 7);
    ended(&mut client);
}

#[test]
fn a_connection_begins_with_a_handshake() {
    let server = Running::start();
    let rows: [(u16, u32, &[u8], u32); 7] = [
        (1, 20, b"", 2),
        (0, 1, b"", 2),
        (0, 3, b"name\0", 2),
        (0, 9, b"", 2),
        (0, 2, &[7; 20], 3),
        (0, 2, &[7; 19], 7),
        // The original crashed here.
        (0, 0, b"", 7),
    ];
    for (kind, u, body, code) in rows {
        let mut client = server.connect();
        odd(&mut client, 0, kind, u, body, 1);
        refused(&mut client, 1, code);
        ended(&mut client);
    }
    let mut client = server.connect();
    client.send_bytes(&[10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ended(&mut client);
    let mut client = server.connect();
    client.send_bytes(&[0xff; 24]);
    ended(&mut client);
    server.guest(&[b'x'; 300]);
    let mut client = server.connect();
    odd(&mut client, 0, 0, 0, b"no NUL", 1);
    assert_eq!(client.next(), sysproxy::message::handshake_done(1));
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let server = Running::start();
    let mut client = server.guest(b"slow");
    let frame = ClientRequest::Syscall { number: 20, args: &[] }.encode(2);
    for byte in frame.encode() {
        client.send_bytes(&[byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.result(2), Ok([2, 1]));
}

#[test]
fn a_fork_is_claimed_once_and_is_a_child_of_process_one() {
    let server = Running::start();
    let mut parent = server.guest(b"parent");
    let token = parent.prefork(2);
    let mut body = [&token[..], &[0; 4]].concat();
    let mut child = server.connect();
    odd(&mut child, 0, 0, 2, &body, 1);
    assert_eq!(child.next(), sysproxy::message::handshake_done(1));
    assert_eq!(child.simple(2, 20, &[]), Ok([4, 1]));
    assert_eq!(parent.simple(3, 20, &[]), Ok([2, 1]));
    let mut again = server.connect();
    odd(&mut again, 0, 0, 2, &body, 1);
    refused(&mut again, 1, 3);
    ended(&mut again);
    body[..16].copy_from_slice(&parent.prefork(4));
    body[16] = 1;
    let mut cancelled = server.connect();
    odd(&mut cancelled, 0, 0, 2, &body, 1);
    ended(&mut cancelled);
    odd(&mut parent, 0, 0, 3, b"next\0", 5);
    assert_eq!(parent.next(), sysproxy::message::handshake_done(5));
    assert_eq!(parent.simple(6, 20, &[]), Ok([2, 1]));
}

#[test]
fn answers_to_copyinstr_are_taken_whatever_their_type() {
    let server = Running::start();
    let mut client = server.guest(b"probe");
    let mut open = |reqno: u64, kind: u16, class: u16, u: u32, answer: &[u8]| {
        client.call(reqno, 5, &[0x1000, 0, 0]);
        let asked = client.next();
        assert_eq!((asked.header.len, asked.header.kind), (40, 3));
        assert_eq!(asked.body, [1024u64.to_le_bytes(), 0x1000u64.to_le_bytes()].concat());
        odd(&mut client, class, kind, u, answer, asked.header.reqno);
        if class == 2 {
            refused(&mut client, asked.header.reqno, 7);
            odd(&mut client, 1, 2, 0, answer, asked.header.reqno);
        }
        client.result(reqno)
    };
    assert_eq!(open(6, 2, 1, 0, b"/tmp\0"), Ok([3, 0]));
    assert_eq!(open(7, 2, 1, 0, b"/tmp"), Err(63));
    assert_eq!(open(8, 2, 2, 7, b"/none\0"), Err(2));
    assert_eq!(open(9, 3, 1, 0, b"/tmp\0"), Ok([4, 0]));
    assert_eq!(open(10, 1, 1, 0, b"/tmp\0"), Ok([5, 0]));
    // Longer than asked for: the original overflowed.
    assert_eq!(open(11, 2, 1, 0, &[b'a'; 2000]), Err(14));
}

#[test]
fn a_null_pointer_is_a_bad_address_without_asking() {
    let server = Running::start();
    let mut client = server.guest(b"probe");
    assert_eq!(client.simple(2, 5, &[0, 0, 0]), Err(14));
    assert_eq!(client.simple(3, 4, &[1, 0, 5]), Err(14));
    // Shorter than asked for: the original read past its end.
    client.call(4, 4, &[1, 0x1000, 5]);
    client.give(Kind::CopyIn, b"abc");
    assert_eq!(client.result(4), Err(14));
}
