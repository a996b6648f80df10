//! Open files between two processes: parked by a client of ours under a token, claimed by another (see [`crate::syscall::passing`]).
//!
//! The token travels over a socket of the host, which this kernel does not see. So a file whose message is lost is kept for a
//! while after its sender has ended, and a sender has a limit, beyond which its oldest files are dropped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::{Errno, Result};

use crate::file::OpenFile;
use crate::proc::lock;

/// A name that cannot be guessed.
pub type Token = [u8; 16];

/// How long a file is kept after its sender has ended.
const GRACE: Duration = Duration::from_secs(60);
/// Files of one sender at most.
const FILES_MAX: usize = 1024;

struct Parked {
    token: Token,
    file: Arc<OpenFile>,
    sender: i32,
    /// When it is given up; set when the sender has ended.
    expires: Option<Duration>,
}

/// The files that nobody has claimed, the oldest first.
#[derive(Default)]
pub struct Files(Mutex<Vec<Parked>>);

impl Files {
    /// Keeps `file` for whoever shows `token`.
    pub fn park(&self, token: Token, file: Arc<OpenFile>, sender: i32) {
        let mut files = lock(&self.0);
        let own = files.iter().filter(|parked| parked.sender == sender).count();
        let oldest = files.iter().position(|parked| own >= FILES_MAX && parked.sender == sender);
        let dropped = oldest.map(|at| files.remove(at));
        files.push(Parked { token, file, sender, expires: None });
        drop(files);
        drop(dropped);
    }

    /// Returns the file behind a token, which then is used up unless it is to be kept (`MSG_PEEK`); `ESRCH` if there is none.
    pub fn claim(&self, token: &Token, keep: bool) -> Result<Arc<OpenFile>> {
        let mut files = lock(&self.0);
        let at = files.iter().position(|parked| parked.token == *token).ok_or(Errno::ESRCH)?;
        Ok(if keep { files[at].file.clone() } else { files.remove(at).file })
    }

    /// Notes that a sender has ended.
    pub fn orphan(&self, sender: i32, now: Duration) {
        for parked in lock(&self.0).iter_mut().filter(|parked| parked.sender == sender) {
            // The number may be another process's soon.
            (parked.sender, parked.expires) = (-1, Some(now + GRACE));
        }
    }

    /// Gives up what has waited too long.
    pub fn sweep(&self, now: Duration) {
        let mut files = lock(&self.0);
        let expired: Vec<Parked> =
            files.extract_if(.., |parked| parked.expires.is_some_and(|expires| expires <= now)).collect();
        drop(files);
        drop(expired);
    }

    /// Whether there is any whose sender has ended.
    pub fn any_orphan(&self) -> bool {
        lock(&self.0).iter().any(|parked| parked.expires.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::pipe;

    #[test]
    fn a_file_is_claimed_once_and_outlives_its_sender_for_a_while() {
        let files = Files::default();
        let file = OpenFile::new(pipe::pair().0, 0);
        files.park([1; 16], file.clone(), 5);
        files.park([2; 16], file.clone(), 5);
        assert!(files.claim(&[1; 16], true).is_ok() && files.claim(&[1; 16], false).is_ok());
        assert_eq!(files.claim(&[1; 16], false).err(), Some(Errno::ESRCH));
        assert!(!files.any_orphan());
        files.orphan(5, Duration::from_secs(1));
        files.sweep(Duration::from_secs(60));
        assert!(files.any_orphan());
        files.sweep(Duration::from_secs(61));
        assert_eq!((files.any_orphan(), Arc::strong_count(&file)), (false, 1));
    }

    #[test]
    fn a_sender_has_a_limit() {
        let files = Files::default();
        let file = OpenFile::new(pipe::pair().0, 0);
        for at in 0..FILES_MAX as u32 + 1 {
            let mut token = [0; 16];
            token[..4].copy_from_slice(&at.to_le_bytes());
            files.park(token, file.clone(), 5);
        }
        assert_eq!(files.claim(&[0; 16], false).err(), Some(Errno::ESRCH));
        assert_eq!(Arc::strong_count(&file), FILES_MAX + 1);
    }
}
