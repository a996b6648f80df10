//! The only place that sleeps: wait queues, and retrying an operation until it no longer answers `EAGAIN`.
//!
//! An operation never blocks. [`until`] registers the calling lwp on the file's queue, tries the operation,
//! and parks until somebody wakes the queue; it ends early for a time limit, a signal, an exec that drains
//! the process, or the client's death. Registering comes before trying, so that no wake-up is lost.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use abi::{Errno, Result};

use crate::Cx;
use crate::proc::Lwp;

/// Lwps to wake when something about an object changed.
#[derive(Default)]
pub struct WaitQueue {
    sleepers: Mutex<Vec<Weak<Lwp>>>,
}

impl WaitQueue {
    /// Makes an empty queue.
    pub const fn new() -> Self {
        Self { sleepers: Mutex::new(Vec::new()) }
    }

    /// Wakes every registered lwp. Each looks again for itself.
    pub fn wake(&self) {
        let sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        for lwp in sleepers.iter().filter_map(Weak::upgrade) {
            lwp.wake();
        }
    }

    /// Puts `lwp` on the queue.
    pub fn register(&self, lwp: &Arc<Lwp>) {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        sleepers.retain(|other| other.strong_count() > 0);
        sleepers.push(Arc::downgrade(lwp));
    }

    /// Takes `lwp` off the queue.
    pub fn unregister(&self, lwp: &Arc<Lwp>) {
        let mut sleepers = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = sleepers.iter().position(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(lwp))) {
            sleepers.swap_remove(at);
        }
    }
}

/// Tries `operation` until it answers anything but `EAGAIN`, sleeping on `queues` in between.
///
/// `deadline` is in monotonic time of the kernel's clock (see [`crate::clock`]); when it passes, the answer is `EAGAIN` (the caller
/// makes 0, `ETIMEDOUT` or `EAGAIN` of it). `EINTR` if a signal, an exec or the client's death ends the wait.
pub fn until<T>(
    cx: &Cx<'_>,
    queues: &[&WaitQueue],
    deadline: Option<Duration>,
    mut operation: impl FnMut() -> Result<T>,
) -> Result<T> {
    let _registered = Registered::on(queues, cx.lwp);
    let timers = [&*cx.kernel.timer_sleepers];
    let _timers = Registered::on(&timers, cx.lwp);
    loop {
        match operation() {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
        if cx.lwp.interrupted() {
            return Err(Errno::EINTR);
        }
        let now = cx.kernel.clock.uptime();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Errno::EAGAIN);
        }
        let timers = cx.kernel.run_timers();
        let wake_at = [deadline, timers].into_iter().flatten().min();
        cx.lwp.park(wake_at);
    }
}

struct Registered<'q, 'a> {
    queues: &'q [&'q WaitQueue],
    lwp: &'a Arc<Lwp>,
}

impl<'q, 'a> Registered<'q, 'a> {
    fn on(queues: &'q [&'q WaitQueue], lwp: &'a Arc<Lwp>) -> Self {
        queues.iter().for_each(|queue| queue.register(lwp));
        Self { queues, lwp }
    }
}

impl Drop for Registered<'_, '_> {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.unregister(self.lwp));
    }
}
