//! Streams whose bytes programs move themselves: a call of our own, which NetBSD does not have (`ENOSYS`).

use abi::{Errno, Fd, Result};

use crate::Cx;

/// What [`share`] adds to the direction for an open file with `O_NONBLOCK`.
const NONBLOCKING: usize = 2;

/// Hands the client the memory of a stream ([`sysproxy::stream`]): which direction is its end's to write (0 or 1), and 2 more if the open
/// file does not block.
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, and for what is no such stream; `EAGAIN` while something is in play that
/// only the kernel minds.
pub fn share(cx: &Cx<'_>, fd: Fd) -> Result<usize> {
    let open = cx.proc.file(fd)?;
    if !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    let (direction, memory) = open.file.as_socket().ok_or(Errno::EOPNOTSUPP)?.share()?;
    cx.mem.hand_over(cx.lwp.request, memory)?;
    Ok(direction + if open.nonblocking() { NONBLOCKING } else { 0 })
}
