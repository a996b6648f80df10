//! Which process has which socket: what sockstat(1) and netstat(1) show.

use std::fmt::Write;

use abi::Result;
use abi::socket::*;

use super::Socket;
use crate::Kernel;
use crate::proc::lock;

/// TCP's states in the words of netstat(1), by the numbers of tcp_fsm.h.
const STATES: [&str; 11] = [
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECEIVED",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT_1",
    "CLOSING",
    "LAST_ACK",
    "FIN_WAIT_2",
    "TIME_WAIT",
];

/// `vendor.rump.sockets`: a line for each descriptor of a socket, with tabs between process, command, descriptor, protocol, bytes to be read,
/// bytes that are not acknowledged, local end, other end, state, the number that fstat(2) gives, and the way of the bytes. Connections that no descriptor stands
/// for follow, with no process. An extension: NetBSD's tables name structures of its kernel.
pub fn table(kernel: &Kernel, _: &[i32]) -> Result<Vec<u8>> {
    let mut text = String::new();
    for proc in kernel.procs.list() {
        let name = lock(&proc.name).clone();
        for (fd, open) in proc.open_files() {
            let Some(socket) = open.file.as_socket() else { continue };
            let (protocol, state) = kind(socket);
            let (readable, unsent) = socket.queued();
            let (local, peer) = (end(socket.local()), end(socket.peer()));
            let _ = writeln!(
                text,
                "{}\t{name}\t{}\t{protocol}\t{readable}\t{unsent}\t{local}\t{peer}\t{state}\t{}\t{}",
                proc.pid,
                fd.0,
                open.stat().map_or(0, |stat| stat.st_ino),
                socket.path()
            );
        }
    }
    kernel.net.inet.look(|stack| {
        for orphan in stack.tcp.unowned() {
            let protocol = if matches!(orphan.local, Sockaddr::Inet6 { .. }) { "tcp6" } else { "tcp" };
            let (local, peer) = (end(Ok(orphan.local)), end(Ok(orphan.remote)));
            let state = STATES.get(orphan.state as usize).copied().unwrap_or("");
            let (readable, unsent) = orphan.queued;
            let _ = writeln!(text, "\t\t\t{protocol}\t{readable}\t{unsent}\t{local}\t{peer}\t{state}");
        }
    });
    Ok(text.into_bytes())
}

/// Name of the protocol, and the state of what has one.
fn kind(socket: &dyn Socket) -> (String, &'static str) {
    let (family, kind, protocol) = socket.domain();
    let six = if family == AF_INET6 { "6" } else { "" };
    let word = match (family, kind, protocol) {
        (AF_INET | AF_INET6, SOCK_STREAM, _) => "tcp",
        (AF_INET | AF_INET6, SOCK_DGRAM, IPPROTO_UDP) => "udp",
        (AF_INET | AF_INET6, SOCK_DGRAM, _) => "ping",
        (AF_INET | AF_INET6, ..) => "raw",
        (AF_LOCAL, SOCK_STREAM, _) => "stream",
        (AF_LOCAL, SOCK_SEQPACKET, _) => "seqpacket",
        (AF_LOCAL, ..) => "dgram",
        (AF_NETLINK, ..) => "route",
        _ => "other",
    };
    let info = if word == "tcp" { socket.option(IPPROTO_TCP, TCP_INFO, 256).ok() } else { None };
    let state = info.and_then(|info| STATES.get(usize::from(*info.first()?))).copied().unwrap_or("");
    (format!("{word}{six}"), state)
}

/// An end, if there is one.
fn end(addr: Result<Sockaddr>) -> String {
    addr.map_or("*.*".to_owned(), |addr| shown(&addr))
}

/// An end in BSD's manner: the address, a dot, the port.
fn shown(addr: &Sockaddr) -> String {
    let port = |port: u16| if port == 0 { "*".to_owned() } else { port.to_string() };
    match addr {
        Sockaddr::Inet { addr: [0, 0, 0, 0], port: number } => format!("*.{}", port(*number)),
        Sockaddr::Inet { addr, port: number } => format!("{}.{}", std::net::Ipv4Addr::from(*addr), port(*number)),
        Sockaddr::Inet6 { addr, port: number, .. } if *addr == [0; 16] => format!("*.{}", port(*number)),
        Sockaddr::Inet6 { addr, port: number, .. } => format!("{}.{}", std::net::Ipv6Addr::from(*addr), port(*number)),
        Sockaddr::Local(path) if path.is_empty() => "-".to_owned(),
        Sockaddr::Local(path) => path.escape_ascii().to_string(),
        _ => "-".to_owned(),
    }
}
