//! The line discipline and the two sides of a terminal, without any process.

use std::sync::Arc;

use abi::Errno;
use abi::ioctl::termios::*;
use abi::poll::{POLLHUP, POLLIN, POLLOUT};

use super::Terminals;
use super::line::{Line, PKT_DOSTOP, PKT_FLUSHREAD, PKT_FLUSHWRITE, PKT_NOSTOP};
use super::pty::{End, Owner};
use crate::file::File;
use crate::rumpuser::sim::SimHost;

/// What a line gives to its reader, reads joined by `|`, and what it echoes.
fn typed(change: impl Fn(&mut abi::ioctl::Termios), text: &[u8]) -> (String, String) {
    let mut line = Line::new();
    let mut termios = line.termios();
    change(&mut termios);
    line.set_termios(&termios);
    line.feed(text);
    let mut buf = [0; 64];
    let mut got = Vec::new();
    while let Some(len) = line.read(&mut buf) {
        got.push(buf[..len].escape_ascii().to_string());
    }
    let echoed = line.take_output(&mut buf);
    (got.join("|"), buf[..echoed].escape_ascii().to_string())
}

fn pair(got: &str, echoed: &str) -> (String, String) {
    (got.to_owned(), echoed.to_owned())
}

#[test]
fn a_line_can_be_edited_until_it_ends() {
    let as_it_is = |_: &mut abi::ioctl::Termios| ();
    assert_eq!(typed(as_it_is, b"ab\x7fc\r"), pair("ac\\n", "ab\\x08 \\x08c\\r\\n"));
    assert_eq!(typed(as_it_is, b"gone\x15x\n"), pair("x\\n", &["gone", &"\\x08 \\x08".repeat(4), "x\\r\\n"].concat()));
    assert_eq!(typed(as_it_is, b"a\x16\x03\x04"), pair("a\\x03", "a^\\x08^C"));
    assert_eq!(typed(as_it_is, b"not yet"), pair("", "not yet"));
    assert_eq!(typed(as_it_is, b"\x04"), pair("", ""));
    assert_eq!(typed(|t| t.c_lflag &= !(ECHO as u32), b"one two\x17\n"), pair("one \\n", ""));
}

#[test]
fn signals_wait_for_the_foreground_and_throw_the_line_away() {
    let mut line = Line::new();
    line.packet = true;
    line.feed(b"gone\x03kept");
    assert_eq!(line.signals, [abi::signal::SIGINT]);
    assert_eq!(line.status, PKT_FLUSHREAD | PKT_FLUSHWRITE);
    line.feed(b"\n");
    let mut buf = [0; 16];
    assert_eq!((line.read(&mut buf), &buf[..5]), (Some(5), &b"kept\n"[..]));
}

#[test]
fn packet_mode_tells_of_flow_control() {
    let mut line = Line::new();
    line.packet = true;
    let mut termios = line.termios();
    termios.c_iflag &= !(IXON as u32);
    line.set_termios(&termios);
    assert_eq!(line.status, PKT_NOSTOP);
    termios.c_iflag |= IXON as u32;
    line.set_termios(&termios);
    assert_eq!(line.status, PKT_DOSTOP);
}

#[test]
fn a_line_has_its_limit_and_raw_input_waits() {
    let mut line = Line::new();
    assert_eq!(line.feed(&[b'x'; 5000]), 5000);
    line.feed(b"\n");
    let mut buf = vec![0; 8192];
    assert_eq!((line.read(&mut buf), buf[4094], buf[4095]), (Some(4096), b'x', b'\n'));
    let mut termios = line.termios();
    termios.c_lflag = 0;
    line.set_termios(&termios);
    let mut taken = 0;
    loop {
        match line.feed(&[b'y'; 1000]) {
            0 => break,
            len => taken += len,
        }
    }
    let mut got = 0;
    while let Some(len) = line.read(&mut buf) {
        got += len;
    }
    assert_eq!(got, taken);
}

fn terminal() -> (Arc<Terminals>, End, End) {
    let terminals = Arc::new(Terminals::default());
    let owner = Owner { host: SimHost::new(1), uid: 0, gid: 5 };
    let master = terminals.open_master(owner).unwrap();
    assert_eq!(master.pty.open_slave(true).err(), Some(Errno::EIO));
    super::lock(&master.pty.state).locked = false;
    let slave = master.pty.open_slave(false).unwrap();
    (terminals, master, slave)
}

#[test]
fn each_side_notices_the_other_going() {
    let (terminals, master, slave) = terminal();
    let mut buf = [0; 16];
    assert_eq!(slave.read(&mut buf), Err(Errno::EAGAIN));
    assert_eq!(slave.write(b"hi\n"), Ok(3));
    drop(slave);
    assert_eq!(master.ready() & (POLLIN | POLLHUP), POLLIN | POLLHUP);
    assert_eq!((master.read(&mut buf), &buf[..4]), (Ok(4), &b"hi\r\n"[..]));
    assert_eq!(master.read(&mut buf), Err(Errno::EIO));
    let slave = master.pty.open_slave(false).unwrap();
    assert_eq!((master.read(&mut buf), master.ready() & POLLHUP), (Err(Errno::EAGAIN), 0));
    drop(master);
    assert_eq!((slave.read(&mut buf), slave.write(b"x")), (Ok(0), Err(Errno::EIO)));
    assert_eq!(slave.ready() & (POLLIN | POLLOUT | POLLHUP), POLLIN | POLLOUT | POLLHUP);
    assert!(terminals.get(0).is_err() && terminals.list().is_empty());
}

#[test]
fn a_number_is_free_when_nobody_has_the_terminal() {
    let (terminals, master, slave) = terminal();
    let owner = master.pty.owner.clone();
    assert_eq!(terminals.open_master(owner.clone()).unwrap().pty.index, 1);
    drop(master);
    assert_eq!(terminals.open_master(owner.clone()).unwrap().pty.index, 1);
    drop(slave);
    assert_eq!(terminals.open_master(owner).unwrap().pty.index, 0);
}
