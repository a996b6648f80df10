//! `TCP_INFO`.

use smoltcp::wire::IpVersion;

use super::{Conn, Pcb, Role};
use crate::net::conn::TcpState;

/// Length of `struct tcp_info`.
const LEN: usize = 236;

/// Lays out `struct tcp_info`; what the engine does not tell is zero.
pub fn tcp_info(pcb: &Pcb, mtu: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut info = vec![0; LEN];
    match &pcb.role {
        Role::Idle => {}
        Role::Listening { .. } => info[0] = TcpState::Listen as u8,
        Role::Connection(conn) => {
            let queues = conn.engine.queues();
            let mtu = mtu(conn.link);
            info[0] = if conn.seen.is_over() { TcpState::Closed } else { conn.seen } as u8;
            [16, 20, 84].into_iter().for_each(|at| put(&mut info, at, segment(conn, mtu)));
            put(&mut info, 60, mtu);
            put(&mut info, 100, queues.receive_buffer);
            put(&mut info, 80, queues.send_buffer);
            put(&mut info, 8, 1_000_000);
        }
    }
    info
}

/// Returns the bytes of data that fit a segment.
pub fn segment(conn: &Conn, mtu: usize) -> usize {
    let headers = if conn.local.addr.version() == IpVersion::Ipv4 { 40 } else { 60 };
    let fits = mtu.saturating_sub(headers);
    conn.engine.segment().map_or(fits, |said| said.min(fits))
}

fn put(info: &mut [u8], at: usize, value: usize) {
    info[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}
