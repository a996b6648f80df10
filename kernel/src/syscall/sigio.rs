//! Asking for signals of a file: a call of our own, which NetBSD does not have (`ENOSYS`).

use abi::{Errno, Fd, Result};

use crate::Cx;
use crate::rumpuser::Side;

/// Hands the client the end of the host's that tells of one side of `fd`: reading (0) or writing (1); see [`crate::sigio`].
///
/// `EOPNOTSUPP` for a client that cannot be handed a descriptor.
pub fn sigio(cx: &Cx<'_>, fd: Fd, side: i32) -> Result<()> {
    let open = cx.proc.file(fd)?;
    let side = if side == 0 { Side::Read } else { Side::Write };
    if !cx.mem.takes_descriptors() {
        return Err(Errno::EOPNOTSUPP);
    }
    cx.mem.hand_over(cx.lwp.request, open.sigio(&*cx.kernel.rumpuser)?.end(side)?)
}
