//! A lock that outlives its holder: one that was held by a child in this memory ([`crate::guest`]) can be given back when that was killed.
//!
//! What it guards must then be whole whatever its holder was about: single words, or nothing that such a child touches.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix_futex_sync::lock_api;
use sysproxy::host;

use crate::guest;

/// Nobody has the lock.
const FREE: u32 = 0;
/// Beside the holder: somebody may sleep on the word.
const WAITED: u32 = 1 << 31;

/// The word that threads wait on: who holds the lock.
#[derive(Debug)]
pub struct RawLock(AtomicU32);

/// A lock around a value.
pub type Lock<T> = lock_api::Mutex<RawLock, T>;

/// The promise that a lock is held.
pub type LockGuard<'a, T> = lock_api::MutexGuard<'a, RawLock, T>;

/// How a holder is written: threads of the process itself are all one.
const fn holder(guest: u32) -> u32 {
    guest + 1
}

// SAFETY: the word leaves `FREE` by a compare-exchange of one thread only, and comes back by that thread's `unlock`.
unsafe impl lock_api::RawMutex for RawLock {
    type GuardMarker = lock_api::GuardNoSend;

    const INIT: Self = Self(AtomicU32::new(FREE));

    fn lock(&self) {
        let mut wanted = holder(guest::name());
        while let Err(seen) = self.0.compare_exchange(FREE, wanted, Ordering::Acquire, Ordering::Relaxed) {
            let waited = seen | WAITED;
            if seen == waited || self.0.compare_exchange(seen, waited, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                host::futex_wait(&self.0, waited);
                // Others may sleep still.
                wanted |= WAITED;
            }
        }
    }

    fn try_lock(&self) -> bool {
        self.0.compare_exchange(FREE, holder(guest::name()), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    unsafe fn unlock(&self) {
        if self.0.swap(FREE, Ordering::Release) & WAITED != 0 {
            host::futex_wake(&self.0);
        }
    }
}

/// Gives the lock back if the child of this name, which is gone, had it.
pub fn inherit<T>(lock: &Lock<T>, guest: u32) {
    // SAFETY: who is gone uses neither the lock nor what it guards.
    unsafe {
        if lock.raw().0.load(Ordering::Acquire) & !WAITED == holder(guest) {
            lock.force_unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_threads_apart() {
        static COUNT: Lock<u32> = Lock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *COUNT.lock() += 1));
            }
        });
        assert_eq!(*COUNT.lock(), 40_000);
    }

    #[test]
    fn what_a_killed_child_held_is_free_for_those_who_wait() {
        static HELD: Lock<()> = Lock::new(());
        let word = holder(7);
        // SAFETY: as the child would have left it.
        unsafe { HELD.raw() }.0.store(word, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drop(HELD.lock()));
            // SAFETY: only looked at.
            while unsafe { HELD.raw() }.0.load(Ordering::Relaxed) != word | WAITED {
                std::thread::yield_now();
            }
            inherit(&HELD, 8);
            assert!(HELD.is_locked());
            inherit(&HELD, 7);
            waiting.join().unwrap();
        });
        assert!(!HELD.is_locked());
    }
}
