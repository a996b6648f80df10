//! Asking for signals of a file: a call of our own, which NetBSD does not have (`ENOSYS`).

use abi::socket::{AF_INET, AF_INET6, AF_LOCAL, SOCK_STREAM};
use abi::{Errno, Fd, Result};

use crate::Cx;
use crate::net::Socket;
use crate::rumpuser::Side;

/// Hands the client the end of the host's that tells of one side of `fd`: reading (0), writing (1), or urgent data (2); see [`crate::sigio`].
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor, and for urgent data of a file that has none.
pub fn sigio(cx: &Cx<'_>, fd: Fd, side: i32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let streams = |socket: &dyn Socket| matches!(socket.domain(), (AF_INET | AF_INET6 | AF_LOCAL, SOCK_STREAM, _));
    let side = match side {
        0 => Side::Read,
        1 => Side::Write,
        _ => Side::Urgent,
    };
    let lacks = side == Side::Urgent && !open.file.as_socket().is_some_and(streams);
    if lacks || !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    cx.mem.hand_over(cx.lwp.request, open.sigio(&*cx.kernel.rumpuser)?.end(side)?)
}
