//! `/proc/net`: sockets, found through the descriptors that hold them, and what the network has registered.

use std::fmt::Write;

use abi::Result;
use abi::socket::*;

use super::{Look, Row, What};
use crate::file::OpenFile;
use crate::proc::lock;

/// The tables of sockets.
pub const SOCKETS: &[Row] = &[
    ("sockstat", 0o444, What::Text(sockstat)),
    ("tcp", 0o444, What::Text(|look| inet(look, AF_INET, SOCK_STREAM))),
    ("tcp6", 0o444, What::Text(|look| inet(look, AF_INET6, SOCK_STREAM))),
    ("udp", 0o444, What::Text(|look| inet(look, AF_INET, SOCK_DGRAM))),
    ("udp6", 0o444, What::Text(|look| inet(look, AF_INET6, SOCK_DGRAM))),
    ("unix", 0o444, What::Text(unix)),
];

/// The reports that the network has registered: this file system names no part of it.
pub fn registered(look: &Look) -> Vec<(String, What)> {
    look.kernel.reports.iter().map(|(name, make)| ((*name).to_owned(), What::Report(*make))).collect()
}

/// Every open socket once.
fn sockets(look: &Look) -> Vec<std::sync::Arc<OpenFile>> {
    let mut found: Vec<std::sync::Arc<OpenFile>> = Vec::new();
    for proc in look.kernel.procs.list() {
        let fds = lock(&proc.fds);
        let files: Vec<_> = fds.numbers().filter_map(|fd| fds.get(fd).ok()).collect();
        drop(fds);
        found.extend(files.into_iter().filter(|open| open.file.as_socket().is_some()));
    }
    found.sort_by_key(|open| std::sync::Arc::as_ptr(open) as usize);
    found.dedup_by(|one, other| std::sync::Arc::ptr_eq(one, other));
    found
}

fn is(open: &OpenFile, family: i32, kind: i32) -> bool {
    open.file.as_socket().is_some_and(|socket| {
        let (its_family, its_kind, _) = socket.domain();
        (its_family, its_kind) == (family, kind)
    })
}

/// An address as the tables show it: each 32-bit word in the byte order of the machine, then the port.
fn end(address: &Sockaddr, family: i32) -> String {
    let words = |bytes: &[u8]| {
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().map(|word| format!("{:08X}", u32::from_le_bytes(*word))).collect::<String>()
    };
    match address {
        Sockaddr::Inet { addr, port } => format!("{}:{port:04X}", words(addr)),
        Sockaddr::Inet6 { addr, port, .. } => format!("{}:{port:04X}", words(addr)),
        _ if family == AF_INET6 => format!("{}:0000", "0".repeat(32)),
        _ => "00000000:0000".to_owned(),
    }
}

const ESTABLISHED: u8 = 1;
const CLOSED: u8 = 7;
/// Linux's numbers of TCP's states, in NetBSD's order (tcp_fsm.h): closed, listening, SYN sent, SYN received, established, and the ends.
const STATES: [u8; 11] = [CLOSED, 10, 2, 3, ESTABLISHED, 8, 4, 11, 9, 5, 6];

/// proc_net(5), a row a socket that has a port.
fn inet(look: &Look, family: i32, kind: i32) -> Result<Vec<u8>> {
    let mut text = match family {
        AF_INET => "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
        _ => concat!(
            "  sl  local_address                         remote_address                        ",
            "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        ),
    }
    .to_owned();
    let mut row = 0;
    for open in sockets(look).iter().filter(|open| is(open, family, kind)) {
        let Some(socket) = open.file.as_socket() else { continue };
        let Ok(local) = socket.local() else { continue };
        let port = match local {
            Sockaddr::Inet { port, .. } | Sockaddr::Inet6 { port, .. } => port,
            _ => 0,
        };
        if port == 0 {
            continue;
        }
        let peer = socket.peer();
        let state = match socket.option(IPPROTO_TCP, TCP_INFO, 256) {
            Ok(info) if kind == SOCK_STREAM => {
                info.first().and_then(|state| STATES.get(usize::from(*state))).copied().unwrap_or(CLOSED)
            }
            _ if peer.is_ok() => ESTABLISHED,
            _ => CLOSED,
        };
        let (from, to) = (end(&local, family), end(&peer.unwrap_or(Sockaddr::Unspec), family));
        let inode = open.stat().map_or(0, |stat| stat.st_ino);
        let queues = "00000000:00000000 00:00000000 00000000     0        0";
        let _ = writeln!(text, "{row:4}: {from} {to} {state:02X} {queues} {inode} 1 0000000000000000 100 0 0 10 0");
        row += 1;
    }
    Ok(text.into_bytes())
}

fn unix(look: &Look) -> Result<Vec<u8>> {
    let mut text = "Num       RefCount Protocol Flags    Type St Inode Path\n".to_owned();
    for open in sockets(look) {
        let Some(socket) = open.file.as_socket() else { continue };
        let (family, kind, _) = socket.domain();
        if family != AF_LOCAL {
            continue;
        }
        let listens = socket.option(SOL_SOCKET, SO_ACCEPTCONN, 4).is_ok_and(|value| value.first() == Some(&1));
        let state = if socket.peer().is_ok() { 3 } else { 1 };
        let flags = if listens { 0x10000 } else { 0 };
        let inode = open.stat().map_or(0, |stat| stat.st_ino);
        let path = match socket.local() {
            Ok(Sockaddr::Local(path)) if path.first() == Some(&0) => format!(" @{}", path[1..].escape_ascii()),
            Ok(Sockaddr::Local(path)) if !path.is_empty() => format!(" {}", path.escape_ascii()),
            _ => String::new(),
        };
        let _ = writeln!(text, "0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {state:02} {inode}{path}");
    }
    Ok(text.into_bytes())
}

fn sockstat(look: &Look) -> Result<Vec<u8>> {
    let all = sockets(look);
    let count = |family, kind| all.iter().filter(|open| is(open, family, kind)).count();
    let (tcp, udp) = (count(AF_INET, SOCK_STREAM), count(AF_INET, SOCK_DGRAM));
    Ok(format!(
        "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n",
        all.len()
    )
    .into_bytes())
}
