//! Answers to the server's requests: memory of the calls that are under way, and nothing else.
//!
//! The original serves any address. Here a server may touch only what an outstanding call has
//! named, and a bad address becomes `EFAULT` instead of a crash.

use abi::Region;
use sysproxy::frame::{FRAME_MAX, Frame, HEADER_LEN};
use sysproxy::host;
use sysproxy::message::{self, ServerRequest};

use crate::conn::Conn;
use crate::regions;

/// The most that a server may map at a time.
const MAP_MAX: u64 = 64 << 20;

/// Strings are read up to the end of a page at a time, since the next one may not be there.
const PAGE: u64 = 4096;

/// Does what the server asks for and makes the answer, if there is one to send.
pub fn serve(conn: &Conn, number: u64, request: ServerRequest<'_>) -> Option<Frame> {
    match request {
        ServerRequest::CopyIn { len, addr } => Some(message::copied_in(number, copy_in(conn, addr, len))),
        ServerRequest::CopyInStr { max, addr } => Some(message::copied_in(number, copy_in_str(conn, addr, max))),
        ServerRequest::CopyOut { addr, data } => {
            copy_out(conn, addr, data);
            None
        }
        ServerRequest::AnonMmap { size } => Some(message::mapped(number, map(conn, size))),
        // Taken in by the connection itself.
        ServerRequest::Descriptor { .. } => None,
        ServerRequest::Raise { signal } => {
            if let Some(signal) = abi::signal::signal_to_linux(signal) {
                // Pending, since all signals are blocked; the wait that goes on now sees it.
                let _ = host::signal::raise(signal);
            }
            None
        }
    }
}

/// The bytes, or for a bad address what makes the call fail: nothing towards our own server, which takes
/// that for `EFAULT`, unless it has moved something before; zeros towards the original, which would read past a short answer.
fn copy_in(conn: &Conn, addr: u64, len: u64) -> Vec<u8> {
    let fits = usize::try_from(len).ok().filter(|len| *len <= FRAME_MAX - HEADER_LEN);
    let region = find(conn, addr, len, |region| region.direction.readable());
    if let (Some(len), Some(region)) = (fits, &region) {
        let mut bytes = vec![0; len];
        // SAFETY: the call names it as memory to read.
        if unsafe { regions::read(region, addr, &mut bytes) }.is_ok() {
            return bytes;
        }
    }
    if conn.extended {
        return Vec::new();
    }
    blame(conn, region);
    vec![0; fits.unwrap_or(0)]
}

/// The string with its NUL, or as much of it as the call has named.
fn copy_in_str(conn: &Conn, addr: u64, max: u64) -> Vec<u8> {
    let region = find(conn, addr, 1, |region| region.direction.readable());
    let room = region.map_or(0, |region| (region.addr.saturating_add(region.len as u64) - addr).min(max));
    let mut string = Vec::new();
    while (string.len() as u64) < room {
        let Some(region) = &region else { break };
        let at = addr + string.len() as u64;
        let have = string.len();
        let piece = (PAGE - at % PAGE).min(room - have as u64);
        string.resize(have + piece as usize, 0);
        let fresh = string.get_mut(have..).unwrap_or_default();
        // SAFETY: the call names it as memory to read.
        if unsafe { regions::read(region, at, fresh) }.is_err() {
            string.clear();
            break;
        }
        if let Some(nul) = fresh.iter().position(|byte| *byte == 0) {
            string.truncate(have + nul + 1);
            return string;
        }
    }
    if string.is_empty() && !conn.extended {
        blame(conn, region);
        string.push(0);
    }
    string
}

fn copy_out(conn: &Conn, addr: u64, data: &[u8]) {
    let region = find(conn, addr, data.len() as u64, |region| region.direction.writable());
    // SAFETY: the call names it as memory to overwrite.
    let write = |region: &Region| unsafe { regions::write(region, addr, data) };
    if region.as_ref().is_none_or(|region| write(region).is_err()) {
        blame(conn, region);
    }
}

fn map(conn: &Conn, size: u64) -> u64 {
    match usize::try_from(size) {
        Ok(len) if size <= MAP_MAX && conn.with_calls(|calls| !calls.is_empty()) => host::map(len).unwrap_or(0),
        _ => 0,
    }
}

/// Finds the memory of an outstanding call that holds all of `addr..addr + len`.
fn find(conn: &Conn, addr: u64, len: u64, fit: impl Fn(&Region) -> bool) -> Option<Region> {
    let len = usize::try_from(len).ok()?;
    let holds = |region: &&Region| fit(region) && region.holds(addr, len);
    conn.with_calls(|calls| calls.iter().flat_map(|call| &call.regions).find(holds).copied())
}

/// Makes a call fail with `EFAULT`: the one that named the memory, or the only one that there is.
fn blame(conn: &Conn, region: Option<Region>) {
    conn.with_calls(|calls| {
        // After an exec the server may still ask for memory of the image before: no fault of the handshake.
        let only = calls.len() == 1 && calls.iter().all(|call| call.system_call);
        let guilty = calls.iter_mut().find(|call| match region {
            Some(region) => call.regions.contains(&region),
            None => only,
        });
        if let Some(call) = guilty {
            call.fault = true;
        }
    });
}
