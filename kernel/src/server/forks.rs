//! Forks between prefork and claim: processes without a connection, each behind a token that can be used once.
//!
//! A child that is killed before it claims its copy must not leave it behind: what only the child had would seem to be in use still. So the copy goes
//! with the child: with the process that its parent has named ([`Forks::born`]), or with the connection that was made for it ([`Forks::tie`]).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use abi::{Errno, Result};
use sysproxy::host::epoll::Epoll;
use sysproxy::host::{self, Owned};
use sysproxy::message::Token;

use crate::Kernel;
use crate::proc::{Proc, lock};

/// How long a fork waits to be claimed after its parent is gone.
const GRACE: Duration = Duration::from_secs(60);

/// How long it waits at most: its child was killed before it came to that. One of vfork(2) may take its time, but hardly more.
const LIMIT: Duration = Duration::from_secs(600);

/// How long a child may take before it is watched: almost all claim their copy sooner, and to watch costs calls of the host.
const PATIENCE: Duration = Duration::from_millis(10);

/// How often the forks are looked at where nothing else tells of them.
const SWEEP: Duration = Duration::from_secs(10);

/// The bit that tells the key of a child's descriptor in the set of all that is read from others.
pub const CHILD: u64 = 1 << 61;

struct Fork {
    token: Token,
    proc: Arc<Proc>,
    /// The session of the parent.
    parent: u64,
    child: Child,
    /// When it is given up.
    expires: Duration,
}

/// What is known of who is to claim a copy.
enum Child {
    /// Nothing.
    Unknown,
    /// This process, which is to be watched from then on.
    Process(i32, Duration),
    /// A process that is watched under this key.
    Watched(u64, #[expect(dead_code, reason = "watched as long as it is open")] Owned),
    /// Whoever is at the other end of this session.
    Session(u64),
}

/// The forks that nobody has claimed.
#[derive(Default)]
pub struct Forks(Mutex<State>);

#[derive(Default)]
struct State {
    forks: Vec<Fork>,
    /// Children that were watched so far.
    watched: u64,
}

impl State {
    fn find(&mut self, token: &Token) -> Option<&mut Fork> {
        self.forks.iter_mut().find(|fork| fork.token == *token)
    }
}

impl Forks {
    /// Copies `proc` and returns the token for the copy.
    pub fn prefork(&self, kernel: &Kernel, proc: &Proc, parent: u64) -> Result<Token> {
        let proc = kernel.fork(proc)?;
        let mut token = Token::default();
        kernel.rumpuser.random(&mut token);
        let expires = host::uptime() + LIMIT;
        lock(&self.0).forks.push(Fork { token, proc, parent, child: Child::Unknown, expires });
        Ok(token)
    }

    /// Takes the process behind a token; `ESRCH` if there is none.
    pub fn take(&self, token: &Token) -> Result<Arc<Proc>> {
        let forks = &mut lock(&self.0).forks;
        let at = forks.iter().position(|fork| fork.token == *token).ok_or(Errno::ESRCH)?;
        Ok(forks.swap_remove(at).proc)
    }

    /// Notes that the child of the session `parent` has come about, as process `pid` of this host. It may have claimed its copy already.
    pub fn born(&self, token: &Token, parent: u64, pid: i32) {
        let from = host::uptime() + PATIENCE;
        if let Some(fork) = lock(&self.0).find(token).filter(|fork| fork.parent == parent)
            && matches!(fork.child, Child::Unknown)
        {
            fork.child = Child::Process(pid, from);
        }
    }

    /// Notes that the child will come over a connection that is there already.
    pub fn tie(&self, token: &Token, session: u64) {
        lock(&self.0).find(token).into_iter().for_each(|fork| fork.child = Child::Session(session));
    }

    /// Notes that a session has ended: that of a parent, or of a child before its first word.
    pub fn session_ended(&self, kernel: &Kernel, session: u64) {
        let expires = host::uptime() + GRACE;
        for fork in lock(&self.0).forks.iter_mut().filter(|fork| fork.parent == session) {
            fork.expires = fork.expires.min(expires);
        }
        self.end(kernel, |fork| matches!(fork.child, Child::Session(child) if child == session));
    }

    /// Notes that a child which is watched under `key` has ended.
    pub fn child_ended(&self, kernel: &Kernel, key: u64) {
        self.end(kernel, |fork| matches!(fork.child, Child::Watched(watched, _) if watched == key));
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !lock(&self.0).forks.is_empty()
    }

    /// After what time they are to be looked at; `None` if there is none.
    pub fn look_after(&self) -> Option<Duration> {
        let state = lock(&self.0);
        let from = state.forks.iter().filter_map(|fork| match fork.child {
            Child::Process(_, from) => Some(from),
            _ => None,
        });
        let sweep = || (!state.forks.is_empty()).then_some(SWEEP);
        from.min().map(|from| from.saturating_sub(host::uptime())).or_else(sweep)
    }

    /// Has children watched that take their time, and ends the forks that have waited too long.
    pub fn sweep(&self, kernel: &Kernel, epoll: &Epoll) {
        if self.any() {
            let now = host::uptime();
            self.watch(kernel, epoll, now);
            self.end(kernel, |fork| fork.expires <= now);
        }
    }

    /// Has the children watched that had time enough.
    fn watch(&self, kernel: &Kernel, epoll: &Epoll, now: Duration) {
        let mut state = lock(&self.0);
        let State { forks, watched } = &mut *state;
        let mut gone = Vec::new();
        for fork in forks {
            let Child::Process(pid, from) = fork.child else { continue };
            if from > now {
                continue;
            }
            let key = CHILD | *watched;
            match host::process_descriptor(pid).and_then(|fd| epoll.add(fd.fd(), key).map(|()| fd)) {
                Ok(fd) => {
                    *watched += 1;
                    fork.child = Child::Watched(key, fd);
                }
                Err(host::Error::SRCH) => gone.push(fork.token),
                Err(host::Error::MFILE | host::Error::NFILE | host::Error::NOMEM) => {
                    fork.child = Child::Process(pid, now + PATIENCE);
                }
                // A host without such descriptors.
                Err(_) => fork.child = Child::Unknown,
            }
        }
        drop(state);
        if !gone.is_empty() {
            self.end(kernel, |fork| gone.contains(&fork.token));
        }
    }

    /// Ends all.
    pub fn clear(&self, kernel: &Kernel) {
        self.end(kernel, |_| true);
    }

    fn end(&self, kernel: &Kernel, which: impl Fn(&Fork) -> bool) {
        let ended: Vec<Fork> = lock(&self.0).forks.extract_if(.., |fork| which(fork)).collect();
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
        let now = host::uptime();
        let [one, two] = [1, 2].map(|session| forks.prefork(&kernel, &parent, session).unwrap());
        let sweep_at = |now| forks.end(&kernel, |fork| fork.expires <= now);
        sweep_at(now + LIMIT - GRACE / 2);
        assert!(forks.any());
        forks.session_ended(&kernel, 1);
        sweep_at(now + LIMIT / 2);
        assert_eq!(forks.take(&one).map(drop), Err(Errno::ESRCH));
        assert_eq!(forks.take(&two).map(drop), Ok(()));
        forks.prefork(&kernel, &parent, 2).unwrap();
        sweep_at(now + LIMIT + GRACE);
        assert!(!forks.any());
    }

    #[test]
    fn a_copy_goes_with_the_connection_that_was_made_for_its_child() {
        let kernel = Kernel::boot(SimHost::new(1), Config::default()).unwrap();
        let parent = kernel.spawn(b"parent").unwrap();
        let forks = Forks::default();
        let [one, two] = [7, 8].map(|session| {
            let token = forks.prefork(&kernel, &parent, 1).unwrap();
            forks.tie(&token, session);
            token
        });
        forks.session_ended(&kernel, 7);
        assert_eq!(forks.take(&one).map(drop), Err(Errno::ESRCH));
        assert_eq!(forks.take(&two).map(drop), Ok(()));
    }

    #[test]
    fn a_child_that_takes_its_time_is_watched_and_its_copy_goes_with_it() {
        let kernel = Kernel::boot(SimHost::new(1), Config::default()).unwrap();
        let parent = kernel.spawn(b"parent").unwrap();
        let (forks, epoll) = (Forks::default(), Epoll::new().unwrap());
        let token = forks.prefork(&kernel, &parent, 1).unwrap();
        assert_eq!(forks.look_after(), Some(SWEEP));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // It is another's word that counts for nothing.
        forks.born(&token, 2, pid);
        assert_eq!(forks.look_after(), Some(SWEEP));
        forks.born(&token, 1, pid);
        assert!(forks.look_after().unwrap() <= PATIENCE);
        forks.watch(&kernel, &epoll, host::uptime() + PATIENCE);
        assert_eq!(forks.look_after(), Some(SWEEP));
        let mut ready = Vec::new();
        epoll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready, []);
        child.kill().unwrap();
        epoll.wait(&mut ready, None).unwrap();
        ready.iter().for_each(|key| forks.child_ended(&kernel, *key));
        assert!(!forks.any());
        child.wait().unwrap();
        // One that is waited for already.
        let token = forks.prefork(&kernel, &parent, 1).unwrap();
        forks.born(&token, 1, pid);
        forks.watch(&kernel, &epoll, host::uptime() + PATIENCE);
        assert!(!forks.any());
    }
}
