//! sendmsg(2) and recvmsg(2), one message or many: headers, addresses, control messages, passed descriptors.
//!
//! The parts of a message are translated into buffers of the library, and the kernel is given a header that points to
//! them; only the data is moved from and to the program's own memory.

use core::time::Duration;

use abi::linux;
use abi::slot::Direction;
use abi::socket::{self, AddressBytes, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_WAITFORONE, MsgHdr};
use abi::time::Timespec;
use abi::{Errno, In, InOut, Out, Region, Result, Slot};
use client::stubs;
use rustix::time::{ClockId, clock_gettime};

use super::bad_memory::{Way, taking_vector, vector_to_fill};
use super::control;
use super::file::Vector;
use super::kernel;
use super::socket::{AddressOut, destination, receive_flags, send_flags};
use crate::fds::RumpFd;
use crate::user;

/// Most messages of one call (`UIO_MAXIOV`); more are cut.
const MESSAGES: usize = 1024;

/// See sendmsg(2).
pub fn sendmsg(fd: RumpFd, msg: usize, flags: i32) -> Result<usize> {
    let flags = send_flags(flags)?;
    send(fd, &user::read(msg)?, flags)
}

/// See recvmsg(2).
pub fn recvmsg(fd: RumpFd, msg: usize, flags: i32) -> Result<usize> {
    let flags = receive_flags(flags)? & !MSG_WAITFORONE;
    let mut header: linux::MsgHdr = user::read(msg)?;
    let received = receive(fd, &mut header, flags)?;
    user::write(msg, &header)?;
    Ok(received)
}

/// See sendmmsg(2).
pub fn sendmmsg(fd: RumpFd, messages: usize, count: usize, flags: i32) -> Result<usize> {
    let flags = send_flags(flags)?;
    many(messages, count, |header, _| send(fd, header, flags))
}

/// See recvmmsg(2); as on Linux the timeout is looked at between messages only.
pub fn recvmmsg(fd: RumpFd, messages: usize, count: usize, flags: i32, timeout: usize) -> Result<usize> {
    let flags = receive_flags(flags)?;
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

fn send(fd: RumpFd, program: &linux::MsgHdr, flags: i32) -> Result<usize> {
    let mut header = MsgHdr::from_linux(program)?;
    let mut vector = Vector::read(program.msg_iov as usize, program.msg_iovlen as usize, Direction::In)?;
    let name = match program.msg_namelen as i32 {
        0 => AddressBytes::new(),
        _ if program.msg_name == 0 => AddressBytes::new(),
        len => destination(fd, program.msg_name as usize, len)?,
    };
    let control = control::read(program)?;
    let (name, control) = (In::new(name.as_slice()), In::new(control.as_slice()));
    (header.msg_name, header.msg_namelen) = pointer(name.addr, name.len);
    (header.msg_control, header.msg_controllen) = pointer(control.addr, control.len);
    taking_vector(fd, &mut vector, Way::Socket(flags), |vector| {
        let header = MsgHdr { msg_iov: vector.array().addr, msg_iovlen: vector.count(), ..header };
        let extra = regions([name.region(), control.region()], vector);
        stubs::with::sendmsg(kernel()?, fd.fd(), In::new(&header), flags, &extra)
    })
}

fn receive(fd: RumpFd, program: &mut linux::MsgHdr, flags: i32) -> Result<usize> {
    let mut header = MsgHdr::from_linux(program)?;
    let mut vector = Vector::read(program.msg_iov as usize, program.msg_iovlen as usize, Direction::Out)?;
    vector_to_fill(fd, &mut vector, Way::Socket(flags))?;
    let mut from = AddressOut::new();
    let mut passed = vec![0u8; control::room(program)];
    let (name, _) = from.args();
    let name = if program.msg_name == 0 { Out::NULL } else { name };
    let control = Out::new(passed.as_mut_slice());
    (header.msg_name, header.msg_namelen) = pointer(name.addr, name.len);
    (header.msg_control, header.msg_controllen) = pointer(control.addr, control.len);
    (header.msg_iov, header.msg_iovlen) = (vector.array().addr, vector.count());
    let extra = regions([name.region(), control.region()], &vector);
    let received = stubs::with::recvmsg(kernel()?, fd.fd(), InOut::new(&mut header), flags, &extra)?;

    passed.truncate(header.msg_controllen as usize);
    if !control::write(program, &passed, flags & MSG_CMSG_CLOEXEC != 0)? {
        header.msg_flags |= MSG_CTRUNC;
    }
    program.msg_flags = socket::msg_flags_to_linux(header.msg_flags);
    if program.msg_name != 0 {
        let address = from.given(header.msg_namelen);
        let room = usize::try_from(program.msg_namelen as i32).map_err(|_| Errno::EINVAL)?;
        user::write_bytes(program.msg_name as usize, address.get(..room).unwrap_or(&address))?;
        program.msg_namelen = address.len() as u32;
    }
    Ok(received)
}

/// A pointer and a length for a header; null for nothing, since an empty vector has an address too.
fn pointer(addr: u64, len: usize) -> (u64, u32) {
    if len == 0 { (0, 0) } else { (addr, len as u32) }
}

/// The memory that a header opens to the kernel, itself aside.
fn regions(parts: [Option<Region>; 2], vector: &Vector) -> Vec<Region> {
    parts.into_iter().chain([vector.array().region()]).flatten().chain(vector.elements.iter().copied()).collect()
}
