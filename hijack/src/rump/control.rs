//! Control messages of sendmsg(2) and recvmsg(2): translated, and passed descriptors renumbered.
//!
//! A descriptor can be passed only within one kernel: a host descriptor over a rump socket is `EOPNOTSUPP`, as in the original.

use abi::linux;
use abi::socket::{self, Cmsg, CmsgBuf, Cmsgs, SCM_RIGHTS, SOL_SOCKET};
use abi::{Errno, Fd, Result};
use client::stubs;

use super::kernel;
use crate::fds::{self, NewFd, RumpFd};
use crate::reach::{self, Use};
use crate::{trace, user};

/// Most control data of one message; NetBSD takes a page.
const MOST: usize = 64 * 1024;

/// Reads the control messages of a message to be sent, in NetBSD's layout.
///
/// `EINVAL` for a malformed one, or one that NetBSD does not know; `EBADF` and `EOPNOTSUPP` for descriptors.
pub fn read(header: &linux::MsgHdr) -> Result<Vec<u8>> {
    if header.msg_control == 0 || header.msg_controllen == 0 {
        return Ok(Vec::new());
    }
    let length = usize::try_from(header.msg_controllen).ok().filter(|length| *length <= MOST).ok_or(Errno::ENOBUFS)?;
    let mut bytes = vec![0; length];
    user::read_bytes(header.msg_control as usize, &mut bytes)?;
    translate(&bytes)
}

fn translate(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut translated = Vec::new();
    for message in Cmsgs::linux(bytes) {
        let message = message?;
        if !matches!(message.level, libc::SOL_SOCKET | libc::IPPROTO_IP | libc::IPPROTO_IPV6) {
            // Linux looks at its own levels only.
            continue;
        }
        let mut message = socket::cmsg_from_linux(&message)?;
        if is_rights(&message) {
            renumber(&mut message, |fd| fds::lookup(fd).map(|RumpFd(fd)| fd).ok_or_else(|| stays(fd)))?;
        }
        message.as_cmsg().write(&mut translated);
    }
    Ok(translated)
}

/// Says on the trace which descriptor cannot be passed.
fn stays(fd: i32) -> Errno {
    trace::say(format_args!("sendmsg: {fd} is a descriptor of the host, which cannot be passed over a rump socket"));
    Errno::EOPNOTSUPP
}

fn is_rights(message: &CmsgBuf) -> bool {
    is_rights_of(&message.as_cmsg())
}

fn is_rights_of(message: &Cmsg<'_>) -> bool {
    (message.level, message.kind) == (SOL_SOCKET, SCM_RIGHTS)
}

/// Replaces each descriptor of a message.
fn renumber(message: &mut CmsgBuf, mut new: impl FnMut(i32) -> Result<i32>) -> Result<()> {
    let (numbers, _) = message.data.as_chunks_mut::<4>();
    for number in numbers {
        *number = new(i32::from_ne_bytes(*number))?.to_ne_bytes();
    }
    Ok(())
}

/// By how much the messages of one datagram may be longer in NetBSD's layout than in Linux's.
const LONGER: usize = 256;

/// Returns how much control data the kernel may give for a message to be received: somewhat more than the program has room for, for what
/// is longer in the kernel's layout, and is cut, than in the program's. Nothing if the program asks for none.
pub fn room(header: &linux::MsgHdr) -> usize {
    match own_room(header) {
        0 => 0,
        own => own + LONGER,
    }
}

fn own_room(header: &linux::MsgHdr) -> usize {
    if header.msg_control == 0 { 0 } else { usize::try_from(header.msg_controllen).unwrap_or(MOST).min(MOST) }
}

/// Stores received control messages in the program's buffer, and their length in `header`; descriptors get numbers in the program.
/// Says whether everything found room: what did not is cut off, as Linux does, and its descriptors closed. What bad memory has no room for is
/// dropped as well; as on Linux that is said of descriptors only.
pub fn write(header: &mut linux::MsgHdr, received: &[u8], cloexec: bool) -> Result<bool> {
    let room = own_room(header);
    let start = header.msg_control as usize;
    let good =
        if received.is_empty() || reach::is_fillable(start, room) { room } else { reach::good(start, room, Use::Fill) };
    let mut complete = true;
    let mut bytes = Vec::new();
    for message in Cmsgs::new(received) {
        let Ok(message) = message else { break };
        let silently = good < room && !is_rights_of(&message);
        complete &= append(&mut bytes, (room, good), &message, cloexec) || silently;
    }
    if room > 0 {
        user::write_bytes(header.msg_control as usize, &bytes)?;
    }
    // Linux counts the padding behind the last message, where it fits.
    header.msg_controllen = bytes.len().next_multiple_of(8).min(good) as u64;
    Ok(complete)
}

/// Appends one message in Linux's layout, and says whether it was known and found room: of `room` bytes of which `good` ones can be stored to.
fn append(bytes: &mut Vec<u8>, (room, good): (usize, usize), message: &Cmsg<'_>, cloexec: bool) -> bool {
    let at = bytes.len().next_multiple_of(8);
    let rights = is_rights_of(message);
    let left = if rights { good } else { room }.checked_sub(at + socket::cmsg_len(0));
    let Some((mut translated, left)) = socket::cmsg_to_linux(message).zip(left) else {
        if rights {
            discard(message.data);
        }
        return false;
    };
    // Of descriptors only whole ones.
    let fits = if rights { left / 4 * 4 } else { left };
    let mut complete = fits >= translated.data.len();
    if rights {
        discard(translated.data.get(fits..).unwrap_or_default());
    }
    translated.data.truncate(fits);
    if at + socket::cmsg_len(translated.data.len()) > good {
        return false;
    }
    if rights {
        complete &= adopt(&mut translated, cloexec);
    }
    if !rights || !translated.data.is_empty() {
        translated.as_cmsg().write_linux(bytes);
    }
    complete
}

/// Gives received descriptors their numbers in the program; those for which there is none are cut off.
fn adopt(message: &mut CmsgBuf, cloexec: bool) -> bool {
    let mut adopted = 0;
    let all = renumber(message, |fd| {
        let number = fds::install(NewFd { fd: RumpFd(fd), cloexec })?;
        adopted += 1;
        Ok(number)
    });
    if all.is_ok() {
        return true;
    }
    // The one that found no number is closed already; the rest were not looked at.
    discard(message.data.get((adopted + 1) * 4..).unwrap_or_default());
    message.data.truncate(adopted * 4);
    false
}

/// Closes descriptors that the program cannot be given.
fn discard(numbers: &[u8]) {
    let Ok(kernel) = kernel() else { return };
    let (numbers, _) = numbers.as_chunks::<4>();
    for number in numbers {
        // A descriptor that is already closed is what is wanted.
        let _ = stubs::close(kernel, Fd(i32::from_ne_bytes(*number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_descriptor_does_not_travel() {
        let mut bytes = Vec::new();
        Cmsg { level: 1, kind: 1, data: &0i32.to_ne_bytes() }.write_linux(&mut bytes);
        assert_eq!(translate(&bytes), Err(Errno::EOPNOTSUPP));
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let ttl = Cmsg { level: socket::IPPROTO_IP, kind: socket::IP_RECVTTL, data: &[64] };
        let mut bytes = Vec::new();
        assert!(append(&mut bytes, (64, 64), &ttl, false));
        assert_eq!(bytes.len(), 20);
        assert!(!append(&mut bytes, (39, 39), &ttl, false));
        assert_eq!(bytes.len(), 20);
        // The header alone says that there was something.
        assert!(!append(&mut bytes, (40, 40), &ttl, false));
        assert_eq!(bytes.len(), 40);
    }

    #[test]
    fn no_buffer_takes_no_messages() {
        let mut header = linux::MsgHdr { msg_controllen: 100, ..Default::default() };
        assert_eq!(room(&header), 0);
        assert_eq!(write(&mut header, &[], false), Ok(true));
        assert_eq!(header.msg_controllen, 0);
    }
}
