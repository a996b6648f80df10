//! Whether to look for an answer a little before going to sleep.
//!
//! To be woken up takes longer than most calls. So whoever waits for the other side keeps looking for [`SPIN`], as long as that is
//! seen to pay: each time in vain doubles how often the next waits go to sleep at once. An idle process uses no CPU, and on a busy
//! machine, where the other side does not get to run within the time, next to none is wasted.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::host;

/// How long to keep looking.
const SPIN: Duration = Duration::from_micros(50);

/// How often to look before the clock is looked at, which takes longer.
const LOOKS: usize = 16;

/// After so many losses in a row one wait in this many is tried.
const PATIENCE_MAX: u32 = 128;

/// What was seen of one kind of wait.
#[derive(Debug, Default)]
pub struct Spin {
    /// Waits that go to sleep at once before the next try.
    skip: AtomicU32,
    /// The same after the next loss.
    patience: AtomicU32,
    /// Whether the last wait paid only because it was a longer one.
    late: AtomicBool,
}

impl Spin {
    /// Makes one that has seen nothing yet.
    pub const fn new() -> Self {
        Self { skip: AtomicU32::new(0), patience: AtomicU32::new(0), late: AtomicBool::new(false) }
    }

    /// Calls `look` until it answers `Some`, for a short time, or not at all if that has not paid lately.
    pub fn look<T>(&self, look: impl FnMut() -> Option<T>) -> Option<T> {
        self.look_for(SPIN, SPIN, look)
    }

    /// The same for a time of the caller's choice, whatever was lately: the other side is known to be awake.
    pub fn look_now<T>(&self, time: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
        self.skip.store(0, Ordering::Relaxed);
        self.late.store(true, Ordering::Relaxed);
        self.look_for(time, time, look)
    }

    /// The same for a time of the caller's choice. After losses it looks for a `longer` time once: where both sides sleep in turns, one
    /// must wait as long as the other takes to wake up, for both to be awake from then on. Whether that is so the next wait shows.
    pub fn look_for<T>(&self, time: Duration, longer: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return None;
        }
        let patience = self.patience.load(Ordering::Relaxed);
        let was_late = self.late.swap(false, Ordering::Relaxed);
        let limit = if patience > 0 && !was_late { longer } else { time };
        if let Some(found) = look() {
            self.patience.store(0, Ordering::Relaxed);
            return Some(found);
        }
        let begun = host::uptime();
        loop {
            let found = (0..LOOKS).find_map(|_| {
                core::hint::spin_loop();
                look()
            });
            let gone = host::uptime().saturating_sub(begun);
            if found.is_some() {
                if gone <= time {
                    self.patience.store(0, Ordering::Relaxed);
                } else {
                    self.late.store(true, Ordering::Relaxed);
                }
                return found;
            }
            if gone >= limit {
                self.skip.store(patience, Ordering::Relaxed);
                self.patience.store((patience * 2 + 1).min(PATIENCE_MAX), Ordering::Relaxed);
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `waits` waits that are never answered look at all.
    fn tries(spin: &Spin, waits: usize) -> usize {
        let tried = |_: &usize| {
            let mut looked = false;
            assert_eq!(
                spin.look(|| -> Option<()> {
                    looked = true;
                    None
                }),
                None
            );
            looked
        };
        (0..waits).filter(tried).count()
    }

    #[test]
    fn waits_in_vain_become_rare_and_one_success_makes_up_for_them() {
        let spin = Spin::default();
        assert_eq!(tries(&spin, 1000), 14);
        while spin.look(|| Some(())).is_none() {}
        assert_eq!(spin.look(|| Some(7)), Some(7));
        assert_eq!(tries(&spin, 3), 2);
    }
}
