//! Forks between prefork and claim: processes without a connection, each behind a token that can be used once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::{Errno, Result};
use sysproxy::message::Token;

use crate::Kernel;
use crate::proc::{Proc, lock};

/// How long a fork waits to be claimed after its parent is gone.
const GRACE: Duration = Duration::from_secs(60);

/// How long it waits at most: its child was killed before it came to that. One of vfork(2) may take its time, but hardly more.
const LIMIT: Duration = Duration::from_secs(600);

struct Fork {
    token: Token,
    proc: Arc<Proc>,
    /// The session of the parent.
    parent: u64,
    /// When it is given up.
    expires: Duration,
}

/// The forks that nobody has claimed.
#[derive(Default)]
pub struct Forks(Mutex<Vec<Fork>>);

impl Forks {
    /// Copies `proc` and returns the token for the copy.
    pub fn prefork(&self, kernel: &Kernel, proc: &Proc, parent: u64) -> Result<Token> {
        let proc = kernel.fork(proc)?;
        let mut token = Token::default();
        kernel.rumpuser.random(&mut token);
        lock(&self.0).push(Fork { token, proc, parent, expires: sysproxy::host::uptime() + LIMIT });
        Ok(token)
    }

    /// Takes the process behind a token; `ESRCH` if there is none.
    pub fn take(&self, token: &Token) -> Result<Arc<Proc>> {
        let mut forks = lock(&self.0);
        let at = forks.iter().position(|fork| fork.token == *token).ok_or(Errno::ESRCH)?;
        Ok(forks.swap_remove(at).proc)
    }

    /// Notes that the parent with this session is gone.
    pub fn orphan(&self, parent: u64) {
        let expires = sysproxy::host::uptime() + GRACE;
        for fork in lock(&self.0).iter_mut().filter(|fork| fork.parent == parent) {
            fork.expires = fork.expires.min(expires);
        }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !lock(&self.0).is_empty()
    }

    /// Ends those that have waited too long.
    pub fn sweep(&self, kernel: &Kernel) {
        self.sweep_at(kernel, sysproxy::host::uptime());
    }

    fn sweep_at(&self, kernel: &Kernel, now: Duration) {
        if self.any() {
            self.end(kernel, |fork| fork.expires <= now);
        }
    }

    /// Ends all.
    pub fn clear(&self, kernel: &Kernel) {
        self.end(kernel, |_| true);
    }

    fn end(&self, kernel: &Kernel, which: impl Fn(&Fork) -> bool) {
        let ended: Vec<Fork> = lock(&self.0).extract_if(.., |fork| which(fork)).collect();
        ended.iter().for_each(|fork| kernel.exit(&fork.proc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::rumpuser::sim::SimHost;

    #[test]
    fn a_copy_that_nobody_claims_goes_in_time_and_sooner_without_its_parent() {
        let kernel = Kernel::boot(SimHost::new(1), Config::default()).unwrap();
        let parent = kernel.spawn(b"parent").unwrap();
        let forks = Forks::default();
        let now = sysproxy::host::uptime();
        let [one, two] = [1, 2].map(|session| forks.prefork(&kernel, &parent, session).unwrap());
        forks.sweep_at(&kernel, now + LIMIT - GRACE / 2);
        assert!(forks.any());
        forks.orphan(1);
        forks.sweep_at(&kernel, now + LIMIT / 2);
        assert_eq!(forks.take(&one).map(drop), Err(Errno::ESRCH));
        assert_eq!(forks.take(&two).map(drop), Ok(()));
        forks.prefork(&kernel, &parent, 2).unwrap();
        forks.sweep_at(&kernel, now + LIMIT + GRACE);
        assert!(!forks.any());
    }
}
