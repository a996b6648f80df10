//! Streams and files whose bytes programs move themselves, and what they know of open files without asking: calls of our own, which NetBSD does not
//! have (`ENOSYS`).

use abi::{Errno, Fd, Result};

use crate::Cx;
use crate::file::OpenFile;
use crate::proc::lock;

/// What [`share`] adds to the direction for an open file with `O_NONBLOCK`, and for an end of a pipe.
const NONBLOCKING: usize = 2;
const PIPE: usize = 4;

/// Has an open file's word on the kernel's board ([`sysproxy::board`]) say what there is not to be read, and tells which one it is; the
/// client is handed the board, unless it has it (`again`).
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, and for what is neither a socket, nor a pipe to be read, nor an event queue;
/// `ENOSPC`.
pub fn notice(cx: &Cx<'_>, fd: Fd, again: i32) -> Result<usize> {
    let open = cx.proc.file(fd)?;
    if !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    let notice = open.notice(cx.kernel)?;
    if again == 0 {
        cx.mem.hand_over(cx.lwp.request, notice.hand_out()?)?;
    }
    Ok(notice.place())
}

/// What [`share`] answers for a file, and adds if it may be read, and written.
const FILE: usize = 8;
const READABLE: usize = 16;
const WRITABLE: usize = 32;

/// Hands the client the memory of a stream ([`sysproxy::stream`]): which direction is its end's to write (0 or 1), 2 more if the open
/// file does not block, and 4 more for a pipe, of which end 0 writes and end 1 reads. Or that of a file
/// ([`sysproxy::pages`]): 8, 16 more if it may be read, and 32 more if it may be written.
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, and for what is neither; `EAGAIN` while something is in play that
/// only the kernel minds.
pub fn share(cx: &Cx<'_>, fd: Fd) -> Result<usize> {
    let open = cx.proc.file(fd)?;
    if !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    let Some(stream) = open.file.as_stream() else { return lend(cx, &open) };
    let given = {
        // Who looks into a stream to take the bytes out after that has brought them back, and is not to be disturbed.
        let _splicing = lock(&cx.kernel.vfs.splicing);
        stream.share()?
    };
    cx.mem.hand_over(cx.lwp.request, given.memory)?;
    // Whoever changes the flags later finds the memory there.
    open.file.status_changed(open.flags());
    let waits = if open.nonblocking() { NONBLOCKING } else { 0 };
    Ok(given.ours + waits + if given.pipe { PIPE } else { 0 })
}

/// Hands the client the socket on which its program is rung when there are bytes on a stream that it shares, and rings for those at the other end
/// ([`sysproxy::stream`]); tells the number of the stream.
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, and for what is no stream; `EAGAIN` if it is not shared now.
pub fn bell(cx: &Cx<'_>, fd: Fd) -> Result<usize> {
    let open = cx.proc.file(fd)?;
    let stream = open.file.as_stream().filter(|_| cx.mem.takes_descriptors()).ok_or(Errno::EOPNOTSUPP)?;
    let (bell, number) = stream.bell()?;
    cx.mem.hand_over(cx.lwp.request, bell)?;
    Ok(number as usize)
}

fn lend(cx: &Cx<'_>, open: &OpenFile) -> Result<usize> {
    let file = open.file.as_vnode().filter(|_| !open.is_place()).ok_or(Errno::EOPNOTSUPP)?;
    let (memory, page) = file.lend(open.flags())?;
    cx.mem.hand_over(cx.lwp.request, memory)?;
    cx.mem.hand_over(cx.lwp.request, page)?;
    let may = |may: bool, word: usize| if may { word } else { 0 };
    Ok(FILE + may(open.readable(), READABLE) + may(open.writable(), WRITABLE))
}
