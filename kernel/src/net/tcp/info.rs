//! `TCP_INFO`.

use super::{Pcb, Role};
use crate::net::conn::TcpState;

/// Length of `struct tcp_info`.
const LEN: usize = 236;

/// Lays out `struct tcp_info`; what the engine does not tell is zero.
pub fn tcp_info(pcb: &Pcb) -> Vec<u8> {
    let mut info = vec![0; LEN];
    match &pcb.role {
        Role::Idle => {}
        Role::Listening { .. } => info[0] = TcpState::Listen as u8,
        Role::Connection(conn) => {
            let queues = conn.engine.queues();
            info[0] = conn.seen as u8;
            put(&mut info, 100, queues.receive_buffer);
            put(&mut info, 80, queues.send_buffer);
            put(&mut info, 8, 1_000_000);
        }
    }
    info
}

fn put(info: &mut [u8], at: usize, value: usize) {
    info[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}
