//! The only place that sleeps: wait queues, and retrying an operation until it no longer answers `EAGAIN`.
//!
//! An operation never blocks. [`until`] registers the calling lwp on the file's queue, tries the operation,
//! and parks until somebody wakes the queue; it ends early for a time limit, a signal, an exec that drains
//! the process, or the client's death. Registering comes before the last try, so that no wake-up is lost.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use abi::{Errno, Result};

use crate::Cx;
use crate::file::Events;
use crate::proc::Lwp;

/// Who stands on a [`WaitQueue`]: a thread that sleeps, or a registration in a kqueue.
pub trait Waiter: Send + Sync {
    /// Told of a wake-up, and of the events of poll(2) that are new by it. Called with the queue's lock held: it may wake
    /// another queue, but not look at the object.
    ///
    /// Returns whether somebody will look; of several exclusive waiters, those behind it are then left in peace.
    fn notify(self: Arc<Self>, news: Events) -> bool;
    /// Whether it must be notified of everything that happens, not only of what it is known to wait for.
    fn by_edges(&self) -> bool {
        false
    }
    /// Told that the last descriptor of the open file that it belongs to is gone.
    fn closed(&self) {}
}

/// Whom to wake when something about an object changed.
#[derive(Default)]
pub struct WaitQueue {
    waiters: Mutex<Vec<Entry>>,
}

struct Entry {
    who: Weak<dyn Waiter>,
    /// Whether it is enough to tell one of these.
    exclusive: bool,
}

impl Entry {
    fn is<T: Waiter>(&self, who: &Arc<T>) -> bool {
        std::ptr::addr_eq(self.who.as_ptr(), Arc::as_ptr(who))
    }
}

impl WaitQueue {
    /// Makes an empty queue.
    pub const fn new() -> Self {
        Self { waiters: Mutex::new(Vec::new()) }
    }

    /// Wakes everybody: whatever [`ready`](crate::file::File::ready) now says may be news.
    pub fn wake(&self) {
        self.wake_for(EVERYTHING);
    }

    /// Wakes every sleeping thread, which looks again for itself, and tells everybody else that `news` happened: not that it
    /// holds, but that there is more of it than before (nothing, for [`NOTHING_NEW`]). A kqueue that reports edges goes by this.
    pub fn wake_for(&self, news: Events) {
        self.tell(news);
    }

    /// The same; returns whether somebody will look.
    pub fn tell(&self, news: Events) -> bool {
        let waiters = self.lock();
        let who = |exclusive: bool| {
            let entries = waiters.iter().filter(move |entry| entry.exclusive == exclusive);
            entries.filter_map(|entry| entry.who.upgrade())
        };
        let mut looks = false;
        for who in who(false) {
            looks |= who.notify(news);
        }
        // The first who will look is the last who is told.
        who(true).any(|who| who.notify(news)) || looks
    }

    /// Puts `who` on the queue until it is dropped or [taken off](Self::unregister).
    pub fn register<T: Waiter + 'static>(&self, who: &Arc<T>, exclusive: bool) {
        let mut waiters = self.lock();
        waiters.retain(|entry| entry.who.strong_count() > 0);
        let who: Weak<T> = Arc::downgrade(who);
        waiters.push(Entry { who, exclusive });
    }

    /// Takes `who` off the queue.
    pub fn unregister<T: Waiter>(&self, who: &Arc<T>) {
        let mut waiters = self.lock();
        if let Some(at) = waiters.iter().position(|entry| entry.is(who)) {
            waiters.swap_remove(at);
        }
    }

    /// Whether somebody on the queue must be notified of everything.
    pub fn by_edges(&self) -> bool {
        self.lock().iter().filter_map(|entry| entry.who.upgrade()).any(|who| who.by_edges())
    }

    /// Whether nobody stands on the queue.
    pub fn is_empty(&self) -> bool {
        self.lock().iter().all(|entry| entry.who.strong_count() == 0)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queues that are to be woken when a lock is gone, and what is new to each. Few of them need no allocation.
#[derive(Default)]
pub struct Wakes {
    few: [Option<(Arc<WaitQueue>, Events)>; 3],
    more: Vec<(Arc<WaitQueue>, Events)>,
}

impl Wakes {
    /// Remembers a queue.
    pub fn add(&mut self, queue: &Arc<WaitQueue>, news: Events) {
        let there = self.few.iter_mut().flatten().chain(self.more.last_mut());
        match there.into_iter().find(|(other, _)| Arc::ptr_eq(other, queue)) {
            Some((_, all)) => *all |= news,
            None => match self.few.iter_mut().find(|slot| slot.is_none()) {
                Some(slot) => *slot = Some((queue.clone(), news)),
                None => self.more.push((queue.clone(), news)),
            },
        }
    }

    /// Wakes them.
    pub fn wake(&self) {
        self.few.iter().flatten().chain(&self.more).for_each(|(queue, news)| queue.wake_for(*news));
    }
}

/// All events, for a wake-up that does not say what happened.
pub const EVERYTHING: Events = !0;

/// No events, for a wake-up after which only a call that sleeps may have something to do.
pub const NOTHING_NEW: Events = 0;

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
    // Most calls need not wait, and stand on no queue. Whoever has to is registered before the next try.
    match operation() {
        Err(Errno::EAGAIN) => {}
        done => return done,
    }
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

thread_local! {
    /// How the thread passes on the duty that it has, if it has one.
    static DUTY: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Runs `body` on a thread that has a duty beside it: `pass_on` is called once, just before the thread sleeps for the first time.
/// Returns whether the thread still has its duty.
pub fn with_duty(pass_on: Box<dyn FnOnce()>, body: impl FnOnce()) -> bool {
    DUTY.set(Some(pass_on));
    body();
    DUTY.take().is_some()
}

/// To be called before a thread that runs a call sleeps, or does anything else that may take long.
pub fn about_to_sleep() {
    if let Some(pass_on) = DUTY.take() {
        pass_on();
    }
}

struct Registered<'q, 'a> {
    queues: &'q [&'q WaitQueue],
    lwp: &'a Arc<Lwp>,
}

impl<'q, 'a> Registered<'q, 'a> {
    fn on(queues: &'q [&'q WaitQueue], lwp: &'a Arc<Lwp>) -> Self {
        queues.iter().for_each(|queue| queue.register(lwp, false));
        Self { queues, lwp }
    }
}

impl Drop for Registered<'_, '_> {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.unregister(self.lwp));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Noting {
        looks: bool,
        told: AtomicUsize,
    }

    impl Waiter for Noting {
        fn notify(self: Arc<Self>, _news: Events) -> bool {
            self.told.fetch_add(1, Ordering::Relaxed);
            self.looks
        }
    }

    fn waiter(looks: bool) -> Arc<Noting> {
        Arc::new(Noting { looks, told: AtomicUsize::new(0) })
    }

    #[test]
    fn of_the_exclusive_the_first_who_looks_is_the_last_who_is_told() {
        let queue = WaitQueue::new();
        let (busy, first, second, other) = (waiter(false), waiter(true), waiter(true), waiter(true));
        for who in [&busy, &first, &second] {
            queue.register(who, true);
        }
        queue.register(&other, false);
        queue.wake();
        let told = |who: &Arc<Noting>| who.told.load(Ordering::Relaxed);
        assert_eq!((told(&busy), told(&first), told(&second), told(&other)), (1, 1, 0, 1));
        drop(first);
        queue.wake();
        assert_eq!((told(&busy), told(&second), told(&other)), (2, 1, 2));
    }

    #[test]
    fn each_queue_is_woken_once_with_all_that_is_new() {
        let queues: Vec<_> = (0..5).map(|_| Arc::new(WaitQueue::new())).collect();
        let waiters: Vec<_> = queues.iter().map(|_| waiter(true)).collect();
        queues.iter().zip(&waiters).for_each(|(queue, who)| queue.register(who, false));
        let mut wakes = Wakes::default();
        for queue in &queues {
            wakes.add(queue, 1);
            wakes.add(queue, 2);
        }
        std::mem::take(&mut wakes).wake();
        wakes.wake();
        assert!(waiters.iter().all(|who| who.told.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_duty_is_passed_on_once_before_the_first_sleep() {
        let passed = Arc::new(AtomicUsize::new(0));
        let pass_on = || {
            let passed = passed.clone();
            Box::new(move || {
                passed.fetch_add(1, Ordering::Relaxed);
            })
        };
        assert!(with_duty(pass_on(), || {}));
        assert!(!with_duty(pass_on(), || (0..3).for_each(|_| about_to_sleep())));
        about_to_sleep();
        assert_eq!(passed.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_is_gone_stands_nowhere() {
        let queue = WaitQueue::new();
        let who = waiter(true);
        queue.register(&who, false);
        assert!(!queue.is_empty());
        queue.unregister(&who);
        assert!(queue.is_empty());
        queue.register(&who, false);
        drop(who);
        assert!(queue.is_empty());
    }
}
