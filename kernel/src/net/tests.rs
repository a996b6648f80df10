//! Sockets of one kernel against each other, without system calls.

use std::sync::Arc;
use std::time::Duration;

use abi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM};
use abi::socket::*;
use abi::{Errno, Result};

use super::addr::Family;
use super::dgram::DgramSocket;
use super::local::LocalSocket;
use super::stack::Inet;
use super::tcp::TcpSocket;
use super::{DUAL_STACK, Socket};
use crate::file::File;
use crate::rumpuser::sim::SimHost;

fn inet() -> (Arc<SimHost>, Arc<Inet>) {
    let host = SimHost::new(1);
    (host.clone(), Arc::new(Inet::new(host)))
}

fn v4(last: u8, port: u16) -> Sockaddr {
    Sockaddr::Inet { addr: [127, 0, 0, last], port }
}

fn v6(port: u16) -> Sockaddr {
    let mut addr = [0; 16];
    addr[15] = 1;
    Sockaddr::Inet6 { addr, port, flowinfo: 0, scope_id: 0 }
}

fn connect(socket: &TcpSocket, to: &Sockaddr) -> Result<()> {
    match socket.connect_to(to) {
        Err(Errno::EINPROGRESS) => socket.connected(),
        done => done,
    }
}

fn listener(inet: &Arc<Inet>, family: Family, at: &Sockaddr, backlog: i32) -> Arc<TcpSocket> {
    let socket = TcpSocket::open(inet, family);
    socket.bind_to(at).unwrap();
    socket.listen_with(backlog).unwrap();
    socket
}

/// A client, the server's end, and the listener.
fn pair(inet: &Arc<Inet>) -> (Arc<TcpSocket>, Arc<TcpSocket>, Arc<TcpSocket>) {
    let listener = listener(inet, Family::V4, &v4(1, 7), 5);
    let client = TcpSocket::open(inet, Family::V4);
    connect(&client, &v4(1, 7)).unwrap();
    let (server, peer) = listener.accept_one().unwrap();
    assert_eq!(peer, client.local().unwrap());
    (client, server, listener)
}

fn transfer(from: &TcpSocket, to: &TcpSocket, total: usize) {
    let pattern: Vec<u8> = (0..1_000_003u32).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut got, mut buf) = (0, 0, vec![0; 300_000]);
    while got < total {
        let begin = sent % pattern.len();
        let chunk = &pattern[begin..(begin + total - sent).min(pattern.len())];
        match from.send_bytes(chunk) {
            Ok(len) => sent += len,
            Err(error) => assert_eq!(error, Errno::EAGAIN),
        }
        while let Ok(len @ 1..) = to.recv_bytes(&mut buf, false) {
            for (at, byte) in buf[..len].iter().enumerate() {
                assert_eq!(*byte, pattern[(got + at) % pattern.len()]);
            }
            got += len;
        }
    }
    assert_eq!(sent, total);
}

#[test]
fn ten_megabytes_go_both_ways() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    transfer(&client, &server, 10 << 20);
    transfer(&server, &client, 10 << 20);
}

#[test]
fn nobody_listening_is_a_refusal() {
    let (_host, inet) = inet();
    let client = TcpSocket::open(&inet, Family::V4);
    assert_eq!(client.connect_to(&v4(1, 9)), Err(Errno::EINPROGRESS));
    assert_eq!(client.ready() & (POLLERR | POLLHUP), POLLERR | POLLHUP);
    assert_eq!(client.connected(), Err(Errno::ECONNREFUSED));
    assert_eq!(connect(&client, &v4(1, 9)), Err(Errno::ECONNREFUSED));
    let far = Sockaddr::Inet { addr: [10, 0, 0, 1], port: 80 };
    assert_eq!(client.connect_to(&far), Err(Errno::ENETUNREACH));
}

#[test]
fn the_backlog_limits_and_a_late_accept_makes_room() {
    let (host, inet) = inet();
    let listener = listener(&inet, Family::V4, &v4(1, 80), 1);
    let clients: Vec<_> = (0..3).map(|_| TcpSocket::open(&inet, Family::V4)).collect();
    assert_eq!(connect(&clients[0], &v4(1, 80)), Ok(()));
    assert_eq!(connect(&clients[1], &v4(1, 80)), Ok(()));
    assert_eq!(connect(&clients[2], &v4(1, 80)), Err(Errno::EAGAIN));
    assert_eq!(clients[2].connect_to(&v4(1, 80)), Err(Errno::EALREADY));
    listener.accept_one().unwrap();
    host.advance(Duration::from_millis(1100));
    inet.with(|_| ());
    assert_eq!(clients[2].connected(), Ok(()));
    assert_eq!(clients[2].connect_to(&v4(1, 80)), Err(Errno::EISCONN));
}

#[test]
fn closing_ends_the_stream_for_the_peer_and_half_close_does_not() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    client.send_bytes(b"last").unwrap();
    client.shutdown(SHUT_WR).unwrap();
    assert_eq!(client.send_bytes(b"x"), Err(Errno::EPIPE));
    let mut buf = [0; 16];
    assert_eq!(server.recv_bytes(&mut buf, true), Ok(4));
    assert_eq!(server.recv_bytes(&mut buf, false), Ok(4));
    assert_eq!(server.recv_bytes(&mut buf, false), Ok(0));
    assert_eq!(server.send_bytes(b"still"), Ok(5));
    drop(server);
    assert_eq!(client.recv_bytes(&mut buf, false), Ok(5));
    assert_eq!(client.recv_bytes(&mut buf, false), Ok(0));
    assert_eq!(client.ready() & (POLLIN | POLLOUT | POLLHUP), POLLIN | POLLOUT | POLLHUP);
}

#[test]
fn writing_to_a_closed_peer_is_epipe_the_second_time() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    drop(server);
    assert_eq!(client.send_bytes(b"a"), Ok(1));
    assert_eq!(client.send_bytes(b"b"), Err(Errno::EPIPE));
}

#[test]
fn closing_with_unread_data_is_a_reset() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    client.send_bytes(b"unread").unwrap();
    drop(server);
    assert_eq!(client.recv_bytes(&mut [0; 4], false), Err(Errno::ECONNRESET));
    assert_eq!(client.recv_bytes(&mut [0; 4], false), Ok(0));
    assert_eq!(client.send_bytes(b"b"), Err(Errno::EPIPE));
}

#[test]
fn what_was_written_arrives_after_the_writer_has_closed() {
    let (host, inet) = inet();
    let (client, server, listener) = pair(&inet);
    let mut sent = 0;
    while let Ok(len) = client.send_bytes(&[7; 50_000]) {
        sent += len;
    }
    drop(client);
    let (mut got, mut buf) = (0, vec![0; 10_000]);
    loop {
        match server.recv_bytes(&mut buf, false) {
            Ok(0) => break,
            Ok(len) => got += len,
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                host.advance(Duration::from_millis(500));
            }
        }
    }
    assert_eq!((got, sent > 150_000), (sent, true));
    drop((server, listener));
    host.advance(Duration::from_secs(90));
    inet.with(|_| ());
    assert!(inet.look(|stack| stack.tcp.count() == 0));
}

#[test]
fn time_wait_does_not_keep_a_port_from_reuseaddr() {
    let (host, inet) = inet();
    let (client, server, listener) = pair(&inet);
    // Whichever of the three the connection is: it agrees, as one does that was made by a listener with the option.
    inet.with(|stack| (1..=3).for_each(|id| stack.tcp.ports.agree(id, 7, true, false)));
    drop(server);
    drop(client);
    drop(listener);
    let again = TcpSocket::open(&inet, Family::V4);
    assert_eq!(again.bind_to(&v4(1, 7)), Err(Errno::EADDRINUSE));
    inet.with(|stack| {
        let id = stack.tcp.open(Family::V4);
        let pcb = stack.tcp.pcb_mut(id).unwrap();
        pcb.options.set(SOL_SOCKET, SO_REUSEADDR, &1i32.to_le_bytes()).unwrap();
        let binding = super::addr::Binding { family: Family::V4, addr: None, port: 7 };
        stack.tcp.bind(&mut stack.base, id, binding, true).unwrap();
        stack.tcp.close(&mut stack.base, id);
    });
    host.advance(Duration::from_secs(61));
    inet.with(|_| ());
    assert_eq!(again.bind_to(&v4(1, 7)), Ok(()));
}

#[test]
fn a_port_holds_many_connections_one_after_another() {
    let (host, inet) = inet();
    let listener = listener(&inet, Family::V4, &v4(1, 80), 5);
    for _ in 0..20_000 {
        let client = TcpSocket::open(&inet, Family::V4);
        connect(&client, &v4(1, 80)).unwrap();
        drop(client);
        drop(listener.accept_one().unwrap());
    }
    host.advance(Duration::from_secs(61));
    inet.with(|_| ());
    assert_eq!(inet.look(|stack| stack.tcp.count()), 1);
}

#[test]
fn an_ipv4_client_reaches_a_dual_stack_listener() {
    let (_host, inet) = inet();
    let listener = listener(&inet, DUAL_STACK, &Sockaddr::INET6_ANY, 5);
    let Ok(Sockaddr::Inet6 { port, .. }) = listener.local() else { panic!("no IPv6 name") };
    let (four, six) = (TcpSocket::open(&inet, Family::V4), TcpSocket::open(&inet, DUAL_STACK));
    connect(&four, &v4(2, port)).unwrap();
    connect(&six, &v6(port)).unwrap();
    let (_, from_four) = listener.accept_one().unwrap();
    let (server, from_six) = listener.accept_one().unwrap();
    let Sockaddr::Inet6 { addr, .. } = from_four else { panic!("no IPv6 name") };
    assert_eq!(&addr[10..], &[0xff, 0xff, 127, 0, 0, 1]);
    assert_eq!(Ok(from_six), six.local());
    transfer(&six, &server, 1 << 20);
    assert_eq!(four.connect_to(&v6(port)), Err(Errno::EAFNOSUPPORT));
}

#[test]
fn an_unused_socket_is_hung_up_and_not_connected() {
    let (_host, inet) = inet();
    let socket = TcpSocket::open(&inet, Family::V4);
    assert_eq!(socket.ready(), POLLOUT | POLLHUP);
    assert_eq!(socket.send_bytes(b"x"), Err(Errno::EPIPE));
    assert_eq!(socket.recv_bytes(&mut [0; 1], false), Err(Errno::ENOTCONN));
    assert_eq!(socket.accept_one().err(), Some(Errno::EINVAL));
    assert_eq!(socket.shutdown(SHUT_RDWR), Err(Errno::ENOTCONN));
    assert_eq!(socket.peer(), Err(Errno::ENOTCONN));
    assert_eq!(socket.bind_to(&Sockaddr::Inet { addr: [10, 0, 0, 1], port: 1 }), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(socket.bind_to(&v4(1, 22)), Ok(()));
    assert_eq!(socket.bind_to(&v4(1, 23)), Err(Errno::EINVAL));
    let other = TcpSocket::open(&inet, Family::V4);
    assert_eq!(other.bind_to(&v4(1, 22)), Err(Errno::EADDRINUSE));
    socket.listen_with(1).unwrap();
    assert_eq!(socket.ready(), 0);
    assert_eq!(socket.connect_to(&v4(1, 22)), Err(Errno::EISCONN));
}

#[test]
fn closing_a_listener_resets_what_waits_in_its_queue() {
    let (_host, inet) = inet();
    let listener = listener(&inet, Family::V4, &v4(1, 80), 5);
    let client = TcpSocket::open(&inet, Family::V4);
    connect(&client, &v4(1, 80)).unwrap();
    assert_eq!(listener.ready(), POLLIN | POLLRDNORM);
    drop(listener);
    assert_eq!(client.recv_bytes(&mut [0; 1], false), Err(Errno::ECONNRESET));
}

#[test]
fn an_idle_connection_outlives_a_day() {
    let (host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    host.advance(Duration::from_secs(86_400));
    assert_eq!(inet.run_timers(crate::rumpuser::Rumpuser::monotonic(&*host)), None);
    assert_eq!(client.send_bytes(b"hello"), Ok(5));
    assert_eq!(server.recv_bytes(&mut [0; 8], false), Ok(5));
}

#[test]
fn datagrams_arrive_whole_or_cut_never_joined() {
    let (_host, inet) = inet();
    for (family, at) in [(Family::V4, v4(1, 53)), (DUAL_STACK, v6(53))] {
        let (server, client) = (DgramSocket::udp(&inet, family), DgramSocket::udp(&inet, family));
        server.bind_to(&at).unwrap();
        assert_eq!(client.send_bytes(b"lost", None), Err(Errno::EDESTADDRREQ));
        assert_eq!(client.send_bytes(b"one", Some(&at)), Ok(3));
        assert_eq!(client.send_bytes(b"", Some(&at)), Ok(0));
        assert_eq!(client.send_bytes(&[1; 65507], Some(&at)), Ok(65507));
        assert_eq!(client.send_bytes(&[1; 65536], Some(&at)), Err(Errno::EMSGSIZE));
        let mut buf = vec![0; 70_000];
        let first = server.recv_bytes(&mut buf[..2], false).unwrap();
        assert_eq!((first.len, first.full, first.flags), (2, 3, MSG_TRUNC));
        assert_eq!(first.from.map(|from| from.family()), Some(at.family()));
        assert_eq!(server.recv_bytes(&mut buf, false).unwrap().len, 0);
        assert_eq!(server.recv_bytes(&mut buf, false).unwrap().len, 65507);
        assert_eq!(server.recv_bytes(&mut buf, false).err(), Some(Errno::EAGAIN));
    }
}

#[test]
fn a_connected_udp_socket_hears_one_peer_and_refusals() {
    let (_host, inet) = inet();
    let open = || DgramSocket::udp(&inet, Family::V4);
    let (server, client, stranger) = (open(), open(), open());
    server.bind_to(&v4(1, 53)).unwrap();
    client.connect_to(&v4(1, 53)).unwrap();
    let own = client.local().unwrap();
    stranger.send_bytes(b"spoof", Some(&own)).unwrap();
    assert_eq!(client.ready(), POLLOUT);
    server.send_bytes(b"answer", Some(&own)).unwrap();
    assert_eq!(client.recv_bytes(&mut [0; 16], false).unwrap().len, 6);
    drop(server);
    assert_eq!(client.send_bytes(b"anyone?", None), Ok(7));
    assert_eq!(client.ready() & POLLERR, POLLERR);
    assert_eq!(client.recv_bytes(&mut [0; 16], false).err(), Some(Errno::ECONNREFUSED));
}

#[test]
fn a_full_udp_inbox_loses_what_comes_after() {
    let (_host, inet) = inet();
    let (server, client) = (DgramSocket::udp(&inet, Family::V4), DgramSocket::udp(&inet, Family::V4));
    server.bind_to(&v4(1, 53)).unwrap();
    for _ in 0..10 {
        assert_eq!(client.send_bytes(&[0; 60_000], Some(&v4(1, 53))), Ok(60_000));
    }
    let mut got = 0;
    while server.recv_bytes(&mut [0; 8], false).is_ok() {
        got += 1;
    }
    assert_eq!(got, 3);
}

#[test]
fn a_local_pair_speaks_both_ways_and_hangs_up() {
    let (_host, inet) = inet();
    for kind in [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM] {
        let (a, b) = LocalSocket::pair(&Arc::default(), &inet, kind, Unpcbid::default());
        assert_eq!(a.write(b"one"), Ok(3));
        assert_eq!(a.write(b"two"), Ok(3));
        let mut buf = [0; 16];
        let first = if kind == SOCK_STREAM { 6 } else { 3 };
        assert_eq!(b.ready(), POLLIN | POLLRDNORM | POLLOUT);
        assert_eq!(b.read(&mut buf), Ok(first));
        assert_eq!(b.write(b"back"), Ok(4));
        assert_eq!(a.read(&mut buf), Ok(4));
        assert_eq!(a.read(&mut buf), Err(Errno::EAGAIN));
        drop(b);
        // The second packet was not read.
        let gone = match kind {
            SOCK_DGRAM => Errno::ECONNREFUSED,
            SOCK_SEQPACKET => Errno::ECONNRESET,
            _ => Errno::EPIPE,
        };
        assert_eq!(a.write(b"x"), Err(gone));
        if kind != SOCK_DGRAM {
            assert_eq!(a.ready() & POLLHUP, POLLHUP);
            assert_eq!(a.peer().map(|_| ()), Ok(()));
        }
    }
}

#[test]
fn a_full_local_stream_takes_more_once_it_is_read() {
    let (_host, inet) = inet();
    let (a, b) = LocalSocket::pair(&Arc::default(), &inet, SOCK_STREAM, Unpcbid::default());
    let mut sent = 0;
    while let Ok(len) = a.write(&[1; 100_000]) {
        sent += len;
    }
    assert_eq!(a.ready() & POLLOUT, 0);
    let (mut got, mut buf) = (0, vec![0; 70_000]);
    while let Ok(len) = b.read(&mut buf) {
        got += len;
    }
    assert_eq!((got, a.ready() & POLLOUT), (sent, POLLOUT));
}

/// Notes what a queue tells.
#[derive(Default)]
struct Told(std::sync::Mutex<Vec<crate::file::Events>>);

impl crate::wait::Waiter for Told {
    fn notify(self: Arc<Self>, news: crate::file::Events) -> bool {
        crate::proc::lock(&self.0).push(news);
        false
    }
}

/// Who reports edges goes by what is new: also what comes in because something was read.
#[test]
fn what_had_no_room_is_news_when_it_comes_in() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    let mut sent = 0;
    while let Ok(len) = client.send_bytes(&[7; 65536]) {
        sent += len;
    }
    let told = Arc::new(Told::default());
    server.wait_queue().register(&told, false);
    let news = || std::mem::take(&mut *crate::proc::lock(&told.0)).iter().any(|news| news & POLLIN != 0);
    let (mut buf, mut got, mut silent) = ([0; 4096], 0, 0);
    while let Ok(len @ 1..) = server.recv_bytes(&mut buf, false) {
        got += len;
        silent += usize::from(!news());
        if got == len {
            assert_eq!(silent, 0, "the first bytes make room for others");
        }
    }
    assert!(got == sent && silent > 0, "{got} of {sent}: at the end nothing more comes in");
}

/// Opens 1,000 connections a second, each closed by the client at once.
fn a_thousand_a_second(seconds: u32) {
    let (host, inet) = inet();
    let listener = listener(&inet, Family::V4, &v4(1, 80), 5);
    for _ in 0..seconds {
        for _ in 0..1000 {
            let client = TcpSocket::open(&inet, Family::V4);
            assert_eq!(connect(&client, &v4(1, 80)), Ok(()));
            drop(client);
            let (server, _) = listener.accept_one().unwrap();
            assert_eq!(server.recv_bytes(&mut [0], false), Ok(0), "closed in good order");
        }
        host.advance(Duration::from_secs(1));
    }
    host.advance(Duration::from_secs(61));
    inet.with(|_| ());
    assert_eq!(inet.look(|stack| stack.tcp.count()), 1);
}

/// After a minute the first leave TIME-WAIT: from then on every second is like the one before.
#[test]
fn a_thousand_connections_a_second_do_not_run_out_of_ports() {
    a_thousand_a_second(200);
}

#[test]
#[ignore = "takes half a minute: cargo test --release -p kernel --lib -- --ignored"]
fn a_thousand_connections_a_second_do_not_run_out_of_ports_for_an_hour() {
    a_thousand_a_second(3600);
}

/// What an active connection costs does not depend on how many others do nothing.
#[test]
fn idle_connections_cost_an_active_one_nothing() {
    let (_host, inet) = inet();
    let time = |(client, server, _): &(Arc<TcpSocket>, Arc<TcpSocket>, Arc<TcpSocket>)| {
        let best = |_| {
            let start = std::time::Instant::now();
            transfer(client, server, 4 << 20);
            start.elapsed()
        };
        (0..5).map(best).min().unwrap()
    };
    let active = pair(&inet);
    let alone = time(&active);
    let idle = listener(&inet, Family::V4, &v4(2, 7), 5);
    let others: Vec<_> = (0..10_000)
        .map(|_| {
            let client = TcpSocket::open(&inet, Family::V4);
            connect(&client, &v4(2, 7)).unwrap();
            (client, idle.accept_one().unwrap())
        })
        .collect();
    let among = time(&active);
    assert!(among < alone * 10, "{alone:?} alone, {among:?} among {}", others.len());
}

/// The fast loop and segments lead through the same states.
#[test]
fn both_loops_end_in_the_same_states() {
    let info = |socket: &TcpSocket| socket.option(IPPROTO_TCP, TCP_INFO, 256).unwrap()[0];
    let course = |slow: bool| {
        let (host, inet) = inet();
        inet.with(|stack| stack.tcp.slow_loop = slow);
        let (client, server, _listener) = pair(&inet);
        let mut seen = vec![(info(&client), info(&server))];
        let mut look = |client: &TcpSocket, server: &TcpSocket| seen.push((info(client), info(server)));
        client.shutdown(SHUT_WR).unwrap();
        look(&client, &server);
        server.send_bytes(b"still").unwrap();
        assert_eq!(client.recv_bytes(&mut [0; 9], false), Ok(5));
        server.shutdown(SHUT_WR).unwrap();
        look(&client, &server);
        assert_eq!((client.recv_bytes(&mut [0; 9], false), server.recv_bytes(&mut [0; 9], false)), (Ok(0), Ok(0)));
        assert_eq!((client.send_bytes(b"x"), server.send_bytes(b"x")), (Err(Errno::EPIPE), Err(Errno::EPIPE)));
        host.advance(Duration::from_secs(100));
        inet.with(|_| ());
        look(&client, &server);
        seen
    };
    assert_eq!(course(false), course(true));
}

#[test]
fn an_urgent_byte_is_marked_and_left_out() {
    let (_host, inet) = inet();
    let (client, server, _listener) = pair(&inet);
    client.set(SOL_SOCKET, SO_DEBUG, &1i32.to_le_bytes()).unwrap();
    let id = (1..9).find(|id| inet.look(|stack| stack.tcp.pcb(*id).is_ok_and(|pcb| pcb.options.has(SO_DEBUG))));
    inet.with(|stack| stack.tcp.send(&mut stack.base, id.unwrap(), b"abU", false, true)).unwrap();
    client.send_bytes(b"cd").unwrap();
    let mut buf = [0; 9];
    assert_eq!((server.recv_bytes(&mut buf, false), &buf[..2]), (Ok(2), &b"ab"[..]));
    assert_eq!((server.recv_bytes(&mut buf, false), &buf[..2]), (Ok(2), &b"cd"[..]));
}
