//! The memory of a remote client: what came along with the call, and else requests over its connection.

use std::sync::Arc;

use abi::{Errno, Result};
use sysproxy::host::Owned;
use sysproxy::message::{ServerRequest, pieces};

use super::session::Session;
use crate::usermem::UserMem;

/// The most that one frame moves.
const PIECE_BYTES: usize = 1 << 20;

/// A client's memory, for the time of one call.
pub struct SessionMem<'a> {
    /// Whose.
    pub session: &'a Arc<Session>,
    /// What came along, as it was when the call was made.
    pub carried: &'a [u8],
}

impl SessionMem<'_> {
    /// The carried bytes from `addr` on, to the end of their piece.
    fn carried_from(&self, addr: u64) -> Option<&[u8]> {
        pieces(self.carried).find_map(|(start, data)| {
            let offset = usize::try_from(addr.checked_sub(start)?).ok()?;
            data.get(offset..).filter(|rest| !rest.is_empty())
        })
    }
}

impl UserMem for SessionMem<'_> {
    /// An answer of another length than was asked for is how a client says "bad address".
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        if let Some(carried) = self.carried_from(addr).and_then(|rest| rest.get(..buf.len())) {
            buf.copy_from_slice(carried);
            return Ok(());
        }
        let mut at = addr;
        for piece in buf.chunks_mut(PIECE_BYTES) {
            let answer = self.session.ask(&ServerRequest::CopyIn { len: piece.len() as u64, addr: at });
            let bytes = answer.filter(|bytes| bytes.len() == piece.len()).ok_or(Errno::EFAULT)?;
            piece.copy_from_slice(&bytes);
            at = at.wrapping_add(bytes.len() as u64);
        }
        Ok(())
    }

    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let carried = self.carried_from(addr).unwrap_or_default();
        if let Some(end) = carried.iter().take(max).position(|byte| *byte == 0) {
            return Ok(carried[..end].to_vec());
        }
        let answer = self.session.ask(&ServerRequest::CopyInStr { max: max as u64, addr });
        let mut bytes = answer.filter(|bytes| bytes.len() <= max).ok_or(Errno::EFAULT)?;
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => bytes.truncate(end),
            None if bytes.is_empty() && self.session.extended() => return Err(Errno::EFAULT),
            None => return Err(Errno::ENAMETOOLONG),
        }
        Ok(bytes)
    }

    /// Not answered, so a bad address does not show here.
    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        if self.session.dead() {
            return Err(Errno::EFAULT);
        }
        let mut at = addr;
        for piece in data.chunks(PIECE_BYTES) {
            self.session.copy_out(at, piece);
            at = at.wrapping_add(piece.len() as u64);
        }
        Ok(())
    }

    fn raise(&self, signal: i32) {
        // The field of the number is undefined in the original, and no number is used up.
        self.session.send(&ServerRequest::Raise { signal }.encode(0));
    }

    fn takes_descriptors(&self) -> bool {
        self.session.extended() && self.session.passes_descriptors()
    }

    fn hand_over(&self, request: u64, fd: Owned) -> Result<()> {
        self.session.hand_over(request, fd);
        Ok(())
    }

    /// A unix socket can be reached by the server's user only.
    fn on_host(&self) -> bool {
        self.session.passes_descriptors()
    }

    fn extended(&self) -> bool {
        self.session.extended()
    }
}
