//! `TCP_INFO`.

use std::time::Duration;

use abi::socket::TcpInfo;
use smoltcp::wire::IpVersion;
use zerocopy::IntoBytes;

use super::{Conn, Pcb, Role};
use crate::net::conn::TcpState;

/// Lays out `struct tcp_info`; what the engine does not tell is zero.
pub fn tcp_info(pcb: &Pcb, mtu: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut info = TcpInfo::default();
    match &pcb.role {
        Role::Idle => {}
        Role::Listening { .. } => info.tcpi_state = TcpState::Listen as u8,
        Role::Connection(conn) => {
            let (queues, measured, mtu) = (conn.engine.queues(), conn.engine.measured(), mtu(conn.link));
            let size = segment(conn, mtu).max(1);
            info.tcpi_state = if conn.seen.is_over() { TcpState::Closed } else { conn.seen } as u8;
            (info.tcpi_snd_mss, info.tcpi_rcv_mss, info.tcpi_advmss) = (word(size), word(size), word(size));
            info.tcpi_pmtu = word(mtu);
            info.tcpi_rcv_space = word(queues.receive_buffer);
            // In segments: what is sent at most before it is acknowledged, as far as it is known.
            info.tcpi_snd_cwnd = word(queues.send_buffer.div_ceil(size));
            info.tcpi_unacked = word(measured.in_flight.div_ceil(size));
            info.tcpi_snd_rexmitpack = measured.repeated;
            let (smoothed, variation) = measured.round_trip.unwrap_or_default();
            let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
            (info.tcpi_rtt, info.tcpi_rttvar) = (micros(smoothed), micros(variation));
            // The engine waits for a second at least (RFC 6298, 2.4).
            info.tcpi_rto = micros((smoothed + variation * 4).max(Duration::from_secs(1)));
        }
    }
    info.as_bytes().to_vec()
}

/// Returns the bytes of data that fit a segment.
pub fn segment(conn: &Conn, mtu: usize) -> usize {
    let headers = if conn.local.addr.version() == IpVersion::Ipv4 { 40 } else { 60 };
    let fits = mtu.saturating_sub(headers);
    conn.engine.segment().map_or(fits, |said| said.min(fits))
}

fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
