//! System calls that bring along what the kernel is going to read: one journey instead of two, and instead of one more for each
//! further piece of memory.

use abi::Region;
use sysproxy::frame::Frame;
use sysproxy::message::{ClientRequest, put_piece};

use crate::regions;

/// Bytes that go along with a call at most. A server asks for longer pieces, one journey more being little beside the data then;
/// and a call that takes only a part of them (a full pipe) has not moved all for nothing.
const CARRIED_MAX: usize = 64 << 10;

/// Makes the frame of a system call of a process whose server is ours. A piece that cannot be read stays behind: the server asks for
/// it, and hears that the address is bad.
pub fn frame(reqno: u64, number: u32, args: &[u8], named: &[Region]) -> Frame {
    let mut pieces = Vec::new();
    for region in named.iter().filter(|region| region.direction.readable()) {
        if region.len > 0 && pieces.len() + region.len <= CARRIED_MAX {
            // SAFETY: the call that names it begins here.
            put_piece(&mut pieces, region.addr, region.len, |to| unsafe { regions::read(region, region.addr, to) });
        }
    }
    match pieces.is_empty() {
        true => ClientRequest::Syscall { number, args }.encode(reqno),
        false => ClientRequest::Carrying { number, args, memory: &pieces }.encode(reqno),
    }
}
