//! sendmsg(2) and recvmsg(2), one message or many: headers, addresses, control messages, passed descriptors.
//!
//! The parts of a message are translated into buffers of the library, and the kernel is given a header that points to
//! them; only the data is moved from and to the program's own memory.

use core::time::Duration;

use abi::linux;
use abi::slot::Direction;
use abi::socket::{self, IoVec, MSG_CTRUNC, MSG_DONTWAIT, MSG_WAITFORONE, MsgHdr};
use abi::syscalls::nr;
use abi::time::Timespec;
use abi::{Errno, In, InOut, Out, Region, Result, Slot};
use rustix::time::{ClockId, clock_gettime};

use super::control;
use super::file::elements;
use super::kernel;
use super::socket::{AddressOut, address_in};
use crate::fds::RumpFd;
use crate::user;

/// Most messages of one call (`UIO_MAXIOV`); more are cut.
const MESSAGES: usize = 1024;

/// See sendmsg(2).
pub fn sendmsg(fd: RumpFd, msg: usize, flags: i32) -> Result<usize> {
    let flags = socket::msg_flags_from_linux(flags)?;
    send(fd, &user::read(msg)?, flags)
}

/// See recvmsg(2).
pub fn recvmsg(fd: RumpFd, msg: usize, flags: i32) -> Result<usize> {
    let flags = socket::msg_flags_from_linux(flags)? & !MSG_WAITFORONE;
    let mut header: linux::MsgHdr = user::read(msg)?;
    let received = receive(fd, &mut header, flags)?;
    user::write(msg, &header)?;
    Ok(received)
}

/// See sendmmsg(2).
pub fn sendmmsg(fd: RumpFd, messages: usize, count: usize, flags: i32) -> Result<usize> {
    let flags = socket::msg_flags_from_linux(flags)?;
    many(messages, count, |header, _| send(fd, header, flags))
}

/// See recvmmsg(2); as on Linux the timeout is looked at between messages only.
pub fn recvmmsg(fd: RumpFd, messages: usize, count: usize, flags: i32, timeout: usize) -> Result<usize> {
    let flags = socket::msg_flags_from_linux(flags)?;
    let limit = user::read_if::<Timespec>(timeout)?.map(|time| time.to_duration()).transpose()?;
    let start = uptime();
    let received = many(messages, count, |header, already| {
        if already > 0 && limit.is_some_and(|limit| uptime().saturating_sub(start) >= limit) {
            // Ends the loop; the error of a later message is not told.
            return Err(Errno::EAGAIN);
        }
        let wait = already == 0 || flags & MSG_WAITFORONE == 0;
        receive(fd, header, flags & !MSG_WAITFORONE | if wait { 0 } else { MSG_DONTWAIT })
    })?;
    if let Some(limit) = limit {
        let left = limit.saturating_sub(uptime().saturating_sub(start));
        user::write(timeout, &Timespec::from_duration(left))?;
    }
    Ok(received)
}

fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Timespec { tv_sec: now.tv_sec, tv_nsec: now.tv_nsec }.to_duration().unwrap_or_default()
}

/// Does `one` with each header of an array and returns how many went well; an error counts only for the first.
fn many(
    messages: usize,
    count: usize,
    mut one: impl FnMut(&mut linux::MsgHdr, usize) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    while done < count.min(MESSAGES) {
        let at = messages.wrapping_add(done * size_of::<linux::MmsgHdr>());
        let step = user::read::<linux::MmsgHdr>(at).and_then(|mut message| {
            message.msg_len = one(&mut message.msg_hdr, done)? as u32;
            user::write(at, &message)
        });
        match step {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Reads the pieces of a message; `EMSGSIZE` if there are too many.
fn pieces(header: &linux::MsgHdr) -> Result<Vec<IoVec>> {
    user::read_iovecs(header.msg_iov as usize, header.msg_iovlen as usize)
}

fn send(fd: RumpFd, program: &linux::MsgHdr, flags: i32) -> Result<usize> {
    let mut header = MsgHdr::from_linux(program)?;
    let vector = pieces(program)?;
    let name = match program.msg_namelen as i32 {
        0 => Vec::new(),
        _ if program.msg_name == 0 => Vec::new(),
        len => address_in(program.msg_name as usize, len)?,
    };
    let control = control::read(program)?;
    let (array, name, control) =
        (In::new(vector.as_slice()), In::new(name.as_slice()), In::new(control.as_slice()));
    (header.msg_name, header.msg_namelen) = pointer(name.addr, name.len);
    (header.msg_control, header.msg_controllen) = pointer(control.addr, control.len);
    header.msg_iov = array.addr;
    let parts = [array.region(), name.region(), control.region()];
    let header = In::new(&header);
    let regions = header.region().into_iter().chain(parts.into_iter().flatten());
    call(nr::sendmsg, fd, header.to_slot(), flags, regions.chain(elements(&vector, Direction::In)).collect())
}

fn receive(fd: RumpFd, program: &mut linux::MsgHdr, flags: i32) -> Result<usize> {
    let mut header = MsgHdr::from_linux(program)?;
    let vector = pieces(program)?;
    let mut from = AddressOut::new();
    let mut passed = vec![0u8; control::room(program)];
    let (name, _) = from.args();
    let name = if program.msg_name == 0 { Out::NULL } else { name };
    let control = Out::new(passed.as_mut_slice());
    let array = In::new(vector.as_slice());
    (header.msg_name, header.msg_namelen) = pointer(name.addr, name.len);
    (header.msg_control, header.msg_controllen) = pointer(control.addr, control.len);
    header.msg_iov = array.addr;
    let parts = [array.region(), name.region(), control.region()];
    let address = InOut::new(&mut header);
    let regions = address.region().into_iter().chain(parts.into_iter().flatten());
    let regions = regions.chain(elements(&vector, Direction::Out)).collect();
    let received = call(nr::recvmsg, fd, address.to_slot(), flags, regions)?;

    passed.truncate(header.msg_controllen as usize);
    let cloexec = flags & socket::MSG_CMSG_CLOEXEC != 0;
    let complete = control::write(program, &passed, cloexec)?;
    if !complete {
        header.msg_flags |= MSG_CTRUNC;
    }
    program.msg_flags = socket::msg_flags_to_linux(header.msg_flags);
    if program.msg_name != 0 {
        let address = from.given(header.msg_namelen);
        let room = program.msg_namelen as usize;
        user::write_bytes(program.msg_name as usize, address.get(..room).unwrap_or(&address))?;
        program.msg_namelen = address.len() as u32;
    }
    Ok(received)
}

/// A pointer and a length for a header; null for nothing, since an empty vector has an address too.
fn pointer(addr: u64, len: usize) -> (u64, u32) {
    if len == 0 { (0, 0) } else { (addr, len as u32) }
}

fn call(number: u32, fd: RumpFd, header: u64, flags: i32, regions: Vec<Region>) -> Result<usize> {
    let [moved, _] = kernel()?.call(number, &[fd.fd().to_slot(), header, flags.to_slot()], &regions)?;
    usize::try_from(moved).map_err(|_| Errno::EIO)
}
