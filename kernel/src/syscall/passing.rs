//! Descriptors that leave this kernel's sight: two calls of our own, which NetBSD does not have (`ENOSYS`).

use abi::{Fd, In, Out, Result};

use crate::Cx;
use crate::parked::Token;

/// Keeps what `fd` points to under a fresh token, which is stored at `token` (16 bytes).
pub fn park(cx: &Cx<'_>, fd: Fd, token: Out) -> Result<()> {
    let file = cx.proc.file(fd)?;
    let mut name = Token::default();
    cx.kernel.rumpuser.random(&mut name);
    cx.mem.store(token.addr, &name)?;
    cx.kernel.parked.park(name, file, cx.proc.pid);
    Ok(())
}

/// Makes a descriptor for what was parked under the token at `token`; with `keep` it stays parked.
///
/// `ESRCH` if nothing is.
pub fn claim(cx: &Cx<'_>, token: In, close_on_exec: i32, keep: i32) -> Result<Fd> {
    let mut name = Token::default();
    cx.mem.fill(token.addr, &mut name)?;
    cx.proc.install(cx.kernel.parked.claim(&name, keep != 0)?, close_on_exec != 0)
}
