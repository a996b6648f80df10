//! sendmsg(2), recvmsg(2) and their plural forms: messages with addresses and control data.

use std::sync::Arc;
use std::time::Duration;

use abi::socket::*;
use abi::time::Timespec;
use abi::{Errno, Fd, In, InOut, Out, Result};
use zerocopy::IntoBytes;

use super::descriptor::Segment;
use super::socket::{address, recv, send};
use crate::Cx;
use crate::file::OpenFile;
use crate::net::{Control, Received};

/// Control data at most: one page.
const CONTROL_MAX: u32 = 4096;
/// Messages of one plural call at most; more are left for the next.
const MESSAGES_MAX: u32 = 1024;
/// Descriptors in one message at most.
const RIGHTS_MAX: usize = 253;

/// sendmsg(2).
pub fn sendmsg(cx: &Cx<'_>, s: Fd, msg: In, flags: i32) -> Result<usize> {
    let header: MsgHdr = cx.mem.read(msg)?;
    send_one(cx, &*cx.proc.file(s)?, &header, flags)
}

/// recvmsg(2).
pub fn recvmsg(cx: &Cx<'_>, s: Fd, msg: InOut, flags: i32) -> Result<usize> {
    let mut header: MsgHdr = cx.mem.read_inout(msg)?;
    let len = recv_one(cx, &*cx.proc.file(s)?, &mut header, flags)?;
    cx.mem.write_inout(msg, &header)?;
    Ok(len)
}

/// sendmmsg(2): stops at the first message that fails; the error shows only if it was the very first.
pub fn sendmmsg(cx: &Cx<'_>, s: Fd, mmsg: InOut, vlen: u32, flags: u32) -> Result<i32> {
    let file = cx.proc.file(s)?;
    let mut done = 0;
    for at in 0..vlen.min(MESSAGES_MAX) {
        let addr = mmsg.addr.wrapping_add(u64::from(at) * size_of::<MmsgHdr>() as u64);
        let sent = cx.mem.read::<MmsgHdr>(In::at(addr, 0)).and_then(|mut entry| {
            entry.msg_len = send_one(cx, &file, &entry.msg_hdr, flags as i32)? as u32;
            cx.mem.write(Out::at(addr, 0), &entry)
        });
        match sent {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(()) => done += 1,
        }
    }
    Ok(done)
}

/// recvmmsg(2): stops at an error after the first message, at the time limit between two, and with `MSG_WAITFORONE`
/// when the next would have to wait.
pub fn recvmmsg(cx: &Cx<'_>, s: Fd, mmsg: InOut, vlen: u32, flags: u32, timeout: In) -> Result<i32> {
    let file = cx.proc.file(s)?;
    let limit = if timeout.is_null() { None } else { Some(time_limit(cx.mem.read::<Timespec>(timeout)?)?) };
    let limit = limit.map(|limit| cx.kernel.clock.uptime() + limit);
    let mut flags = flags as i32;
    let mut done = 0;
    for at in 0..vlen.min(MESSAGES_MAX) {
        let addr = mmsg.addr.wrapping_add(u64::from(at) * size_of::<MmsgHdr>() as u64);
        let received = cx.mem.read::<MmsgHdr>(In::at(addr, 0)).and_then(|mut entry| {
            entry.msg_len = recv_one(cx, &file, &mut entry.msg_hdr, flags & !MSG_WAITFORONE)? as u32;
            cx.mem.write(Out::at(addr, 0), &entry)
        });
        match received {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(()) => done += 1,
        }
        if flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
        if limit.is_some_and(|limit| limit <= cx.kernel.clock.uptime()) {
            break;
        }
    }
    Ok(done)
}

fn time_limit(time: Timespec) -> Result<Duration> {
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or(Errno::EINVAL)?;
    Ok(Duration::new(u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?, nanos))
}

fn send_one(cx: &Cx<'_>, file: &OpenFile, header: &MsgHdr, flags: i32) -> Result<usize> {
    file.socket()?;
    let segments = segments(cx, header)?;
    let to = match header.msg_name {
        0 => None,
        name => Some(address(cx, name, header.msg_namelen)?),
    };
    let control = match header.msg_control {
        0 => Vec::new(),
        _ if header.msg_controllen > CONTROL_MAX => return Err(Errno::EINVAL),
        at => parse_control(cx, &cx.mem.read_bytes(at, header.msg_controllen as usize)?)?,
    };
    send(cx, file, &segments, flags, to.as_ref(), control)
}

fn recv_one(cx: &Cx<'_>, file: &OpenFile, header: &mut MsgHdr, flags: i32) -> Result<usize> {
    file.socket()?;
    let segments = segments(cx, header)?;
    let received = recv(cx, file, &segments, flags & MSG_USERFLAGS)?;
    let Received { len, from, flags: told, control, .. } = received;
    header.msg_flags = told;
    give_control(cx, header, control, flags & MSG_CMSG_CLOEXEC != 0)?;
    if header.msg_name != 0 {
        let addr = from.map(|from| from.encode()).unwrap_or_default();
        let copied = addr.len().min(header.msg_namelen as usize);
        cx.mem.store(header.msg_name, &addr[..copied])?;
        header.msg_namelen = if cx.mem.extended() { addr.len() } else { copied } as u32;
    }
    Ok(len)
}

/// Reads the pieces of a message; `EMSGSIZE` for too many.
fn segments(cx: &Cx<'_>, header: &MsgHdr) -> Result<Vec<Segment>> {
    let count = usize::try_from(header.msg_iovlen).ok().filter(|count| *count <= IOV_MAX).ok_or(Errno::EMSGSIZE)?;
    let entries: Vec<IoVec> = cx.mem.read_array(header.msg_iov, count)?;
    Ok(entries.iter().map(|entry| Segment { addr: entry.iov_base, len: entry.iov_len as usize }).collect())
}

/// Takes control data apart; descriptors become open files.
fn parse_control(cx: &Cx<'_>, bytes: &[u8]) -> Result<Vec<Control>> {
    Cmsgs::new(bytes)
        .map(|message| {
            let Cmsg { level, kind, data } = message?;
            if (level, kind) != (SOL_SOCKET, SCM_RIGHTS) {
                return Ok(Control::Other { level, kind, data: data.to_vec() });
            }
            if data.len() % 4 != 0 || data.len() / 4 > RIGHTS_MAX {
                return Err(Errno::EINVAL);
            }
            let (fds, _) = data.as_chunks::<4>();
            let files = fds.iter().map(|fd| cx.proc.place(Fd(i32::from_le_bytes(*fd))));
            Ok(Control::Rights(files.collect::<Result<_>>()?))
        })
        .collect()
}

/// Stores control messages into the caller's buffer; what does not fit is dropped and `MSG_CTRUNC` says so.
fn give_control(cx: &Cx<'_>, header: &mut MsgHdr, control: Vec<Control>, close_on_exec: bool) -> Result<()> {
    let room = if header.msg_control == 0 { 0 } else { header.msg_controllen as usize };
    let mut bytes = Vec::new();
    for message in control {
        let begin = bytes.len().next_multiple_of(8);
        let left = room.saturating_sub(begin);
        let written = match &message {
            Control::Rights(files) => give_rights(cx, files, left, close_on_exec, &mut bytes)?,
            Control::Other { level, kind, data } if cmsg_len(data.len()) <= left => {
                Cmsg { level: *level, kind: *kind, data }.write(&mut bytes);
                true
            }
            Control::Other { .. } => false,
        };
        if !written {
            header.msg_flags |= MSG_CTRUNC;
        }
    }
    if header.msg_control != 0 {
        cx.mem.store(header.msg_control, &bytes)?;
    }
    header.msg_controllen = bytes.len() as u32;
    Ok(())
}

/// Installs received files; whether there was room for all of their descriptors. As on Linux as many as fit are taken.
fn give_rights(cx: &Cx<'_>, files: &[Arc<OpenFile>], left: usize, cloexec: bool, bytes: &mut Vec<u8>) -> Result<bool> {
    let fit = left.saturating_sub(cmsg_len(0)) / 4;
    let mut fds = Vec::new();
    for file in files.iter().take(fit) {
        match cx.proc.install(file.clone(), cloexec) {
            Ok(fd) => fds.push(fd.0),
            Err(_) => break,
        }
    }
    if !fds.is_empty() {
        Cmsg { level: SOL_SOCKET, kind: SCM_RIGHTS, data: fds.as_bytes() }.write(bytes);
    }
    Ok(fds.len() == files.len())
}
