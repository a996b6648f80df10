//! The tables of sockets: those that descriptors hold, and TCP's connections that none holds (not accepted yet, or closed and not over).

use std::fmt::Write;
use std::sync::Arc;

use abi::socket::*;

use crate::Kernel;
use crate::file::OpenFile;

/// The tables by their names.
pub const TABLE: &[(&str, crate::Report)] = &[
    ("raw", |kernel| inet(kernel, AF_INET, SOCK_RAW)),
    ("raw6", |kernel| inet(kernel, AF_INET6, SOCK_RAW)),
    ("sockstat", sockstat),
    ("sockstat6", sockstat6),
    ("tcp", |kernel| inet(kernel, AF_INET, SOCK_STREAM)),
    ("tcp6", |kernel| inet(kernel, AF_INET6, SOCK_STREAM)),
    ("udp", |kernel| inet(kernel, AF_INET, SOCK_DGRAM)),
    ("udp6", |kernel| inet(kernel, AF_INET6, SOCK_DGRAM)),
    ("unix", unix),
];

/// Every open socket once, in the order of their numbers.
fn sockets(kernel: &Kernel) -> Vec<(u64, Arc<OpenFile>)> {
    let mut found = Vec::new();
    for proc in kernel.procs.list() {
        let files = proc.open_files().into_iter().map(|(_, open)| open);
        let sockets = files.filter(|open| open.file.as_socket().is_some());
        found.extend(sockets.map(|open| (open.stat().map_or(0, |stat| stat.st_ino), open)));
    }
    found.sort_by_key(|(inode, open)| (*inode, Arc::as_ptr(open) as usize));
    found.dedup_by(|(_, one), (_, other)| Arc::ptr_eq(one, other));
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
const SYN_RECEIVED: u8 = 3;
const TIME_WAIT: u8 = 6;
const CLOSED: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;
/// Linux's numbers of TCP's states, in NetBSD's order (tcp_fsm.h): closed, listening, SYN sent, SYN received, established, and the ends.
const STATES: [u8; 11] = [CLOSED, LISTEN, 2, SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT, 4, 11, 9, 5, TIME_WAIT];

fn linux_state(state: Option<u8>) -> u8 {
    state.and_then(|state| STATES.get(usize::from(state))).copied().unwrap_or(CLOSED)
}

/// A row of proc_net(5).
struct Shown {
    local: Sockaddr,
    remote: Option<Sockaddr>,
    state: u8,
    /// Bytes to be read (of a listener, connections that wait), and bytes that are not acknowledged.
    queued: (usize, usize),
    uid: u32,
    inode: u64,
}

impl Shown {
    fn put(&self, text: &mut String, row: usize, family: i32) {
        let (from, to) = (end(&self.local, family), end(self.remote.as_ref().unwrap_or(&Sockaddr::Unspec), family));
        let (readable, unsent) = self.queued;
        let _ = writeln!(
            text,
            "{row:4}: {from} {to} {:02X} {unsent:08X}:{readable:08X} 00:00000000 00000000 {:5}        0 {} 1 0000000000000000 100 0 0 10 0",
            self.state, self.uid, self.inode
        );
    }
}

/// proc_net(5), a row a socket that has a port, and a row a connection that nobody holds.
fn inet(kernel: &Kernel, family: i32, kind: i32) -> Vec<u8> {
    let mut text = match family {
        AF_INET => "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
        _ => concat!(
            "  sl  local_address                         remote_address                        ",
            "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        ),
    }
    .to_owned();
    let held = sockets(kernel);
    let held =
        held.iter().filter(|(_, open)| is(open, family, kind)).filter_map(|(inode, open)| held_row(*inode, open));
    let unowned = if kind == SOCK_STREAM { unowned(kernel, family) } else { Vec::new() };
    for (row, shown) in held.chain(unowned).enumerate() {
        shown.put(&mut text, row, family);
    }
    text.into_bytes()
}

/// The row of an open socket; none while it has no port.
fn held_row(inode: u64, open: &OpenFile) -> Option<Shown> {
    let socket = open.file.as_socket()?;
    let (_, kind, protocol) = socket.domain();
    let mut local = socket.local().ok()?;
    match &mut local {
        // Where others show a port, a raw socket shows its protocol.
        Sockaddr::Inet { port, .. } | Sockaddr::Inet6 { port, .. } if kind == SOCK_RAW => *port = protocol as u16,
        Sockaddr::Inet { port: 0, .. } | Sockaddr::Inet6 { port: 0, .. } => return None,
        Sockaddr::Inet { .. } | Sockaddr::Inet6 { .. } => {}
        _ => return None,
    }
    let remote = socket.peer().ok();
    let state = match socket.option(IPPROTO_TCP, TCP_INFO, 256) {
        Ok(info) if kind == SOCK_STREAM => linux_state(info.first().copied()),
        _ if remote.is_some() => ESTABLISHED,
        _ => CLOSED,
    };
    let (readable, unsent) = socket.queued();
    // Of a listener the second is how many may wait.
    let queued = (readable, if state == LISTEN { 0 } else { unsent });
    let uid = open.stat().map_or(0, |stat| stat.st_uid);
    Some(Shown { local, remote, state, queued, uid, inode })
}

/// TCP's connections that no descriptor stands for; they have no number.
fn unowned(kernel: &Kernel, family: i32) -> Vec<Shown> {
    let all = kernel.net.inet.look(|stack| stack.tcp.unowned());
    let shown = all.into_iter().filter(|one| matches!(one.local, Sockaddr::Inet6 { .. }) == (family == AF_INET6));
    shown
        .map(|one| Shown {
            local: one.local,
            remote: Some(one.remote),
            state: linux_state(Some(one.state as u8)),
            queued: one.queued,
            uid: 0,
            inode: 0,
        })
        .collect()
}

/// How many of TCP's connections are open, as the others count them (`CurrEstab`).
pub fn established(kernel: &Kernel) -> usize {
    let held = sockets(kernel);
    let held = held.iter().filter(|(_, open)| is(open, AF_INET, SOCK_STREAM) || is(open, AF_INET6, SOCK_STREAM));
    let unowned = [AF_INET, AF_INET6].into_iter().flat_map(|family| unowned(kernel, family));
    held.filter_map(|(inode, open)| held_row(*inode, open))
        .chain(unowned)
        .filter(|row| matches!(row.state, ESTABLISHED | CLOSE_WAIT))
        .count()
}

fn unix(kernel: &Kernel) -> Vec<u8> {
    let mut text = "Num       RefCount Protocol Flags    Type St Inode Path\n".to_owned();
    for (inode, open) in sockets(kernel) {
        let Some(socket) = open.file.as_socket() else { continue };
        let (family, kind, _) = socket.domain();
        if family != AF_LOCAL {
            continue;
        }
        let listens = socket.option(SOL_SOCKET, SO_ACCEPTCONN, 4).is_ok_and(|value| value.first() == Some(&1));
        let state = if socket.peer().is_ok() { 3 } else { 1 };
        let flags = if listens { 0x10000 } else { 0 };
        let path = match socket.local() {
            Ok(Sockaddr::Local(path)) if path.first() == Some(&0) => format!(" @{}", path[1..].escape_ascii()),
            Ok(Sockaddr::Local(path)) if !path.is_empty() => format!(" {}", path.escape_ascii()),
            _ => String::new(),
        };
        let _ = writeln!(text, "0000000000000000: 00000002 00000000 {flags:08X} {kind:04X} {state:02} {inode}{path}");
    }
    text.into_bytes()
}

/// Sockets of a protocol that are open, and connections of TCP that are over for both, or that nobody holds any more.
fn sockstat(kernel: &Kernel) -> Vec<u8> {
    let all = sockets(kernel);
    let count = |kind| all.iter().filter(|(_, open)| is(open, AF_INET, kind)).count();
    let in_use =
        all.iter().filter_map(|(inode, open)| is(open, AF_INET, SOCK_STREAM).then(|| held_row(*inode, open))?);
    let in_use = in_use.filter(|row| row.state != CLOSED).count();
    let unowned: Vec<_> = [AF_INET, AF_INET6].into_iter().flat_map(|family| unowned(kernel, family)).collect();
    let waits = unowned.iter().filter(|row| row.state == TIME_WAIT).count();
    let orphans = unowned.iter().filter(|row| !matches!(row.state, TIME_WAIT | SYN_RECEIVED | ESTABLISHED)).count();
    format!(
        "sockets: used {}\nTCP: inuse {in_use} orphan {orphans} tw {waits} alloc {} mem 0\nUDP: inuse {} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse {}\nFRAG: inuse 0 memory 0\n",
        all.len(),
        count(SOCK_STREAM) + unowned.len() - waits,
        count(SOCK_DGRAM),
        count(SOCK_RAW),
    )
    .into_bytes()
}

fn sockstat6(kernel: &Kernel) -> Vec<u8> {
    let all = sockets(kernel);
    let count = |kind| all.iter().filter(|(_, open)| is(open, AF_INET6, kind)).count();
    format!(
        "TCP6: inuse {}\nUDP6: inuse {}\nUDPLITE6: inuse 0\nRAW6: inuse {}\nFRAG6: inuse 0 memory 0\n",
        count(SOCK_STREAM),
        count(SOCK_DGRAM),
        count(SOCK_RAW)
    )
    .into_bytes()
}
