//! Time. All of it comes from the host through [`Rumpuser`]; the wall clock can be set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::rumpuser::Rumpuser;

/// The kernel's clock.
pub struct Clock {
    host: Arc<dyn Rumpuser>,
    boot: Duration,
    /// Wall clock minus [`Clock::uptime`], in nanoseconds.
    offset: AtomicI64,
}

impl Clock {
    /// Starts the clock with the host's time.
    pub fn new(host: Arc<dyn Rumpuser>) -> Self {
        let boot = host.monotonic();
        let offset = AtomicI64::new(nanoseconds(host.wall_clock()) - nanoseconds(boot));
        Self { host, boot, offset }
    }

    /// Monotonic time as the host counts it: what deadlines are measured in.
    pub fn uptime(&self) -> Duration {
        self.host.monotonic()
    }

    /// Time since boot: `CLOCK_MONOTONIC` of a client.
    pub fn since_boot(&self) -> Duration {
        self.uptime().saturating_sub(self.boot)
    }

    /// What [`Clock::uptime`] said at boot.
    pub fn boot(&self) -> Duration {
        self.boot
    }

    /// Wall clock: time since 1970-01-01 00:00 UTC.
    pub fn now(&self) -> Duration {
        let now = nanoseconds(self.uptime()).saturating_add(self.offset.load(Ordering::Relaxed));
        Duration::from_nanos(now.max(0) as u64)
    }

    /// Sets the wall clock; nothing else changes.
    pub fn set(&self, now: Duration) {
        self.offset.store(nanoseconds(now) - nanoseconds(self.uptime()), Ordering::Relaxed);
    }

    /// Returns when, on [`Clock::uptime`], the wall clock will read `wall` if nobody sets it.
    pub fn at_wall(&self, wall: Duration) -> Duration {
        let at = nanoseconds(wall).saturating_sub(self.offset.load(Ordering::Relaxed));
        Duration::from_nanos(at.max(0) as u64)
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rumpuser::sim::SimHost;

    #[test]
    fn setting_the_wall_clock_leaves_the_monotonic_one_alone() {
        let host = SimHost::new(1);
        let clock = Clock::new(host.clone());
        let before = clock.uptime();
        clock.set(Duration::from_secs(5));
        host.advance(Duration::from_secs(2));
        assert_eq!(clock.now(), Duration::from_secs(7));
        assert_eq!(clock.uptime() - before, Duration::from_secs(2));
        assert_eq!(clock.at_wall(Duration::from_secs(8)), clock.uptime() + Duration::from_secs(1));
    }
}
