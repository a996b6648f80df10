//! Forks between prefork and claim: processes without a connection, each behind a token that can be used once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::{Errno, Result};
use sysproxy::message::Token;

use crate::Kernel;
use crate::proc::{Proc, lock};

/// How long a fork waits to be claimed after its parent is gone.
const GRACE: Duration = Duration::from_secs(60);

struct Fork {
    token: Token,
    proc: Arc<Proc>,
    /// The session of the parent.
    parent: u64,
    /// When it is given up; set when the parent is gone.
    expires: Option<Duration>,
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
        lock(&self.0).push(Fork { token, proc, parent, expires: None });
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
            fork.expires.get_or_insert(expires);
        }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !lock(&self.0).is_empty()
    }

    /// Ends those that have waited too long.
    pub fn sweep(&self, kernel: &Kernel) {
        if self.any() {
            let now = sysproxy::host::uptime();
            self.end(kernel, |fork| fork.expires.is_some_and(|expires| expires <= now));
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
