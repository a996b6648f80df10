//! CPU time: how much of it the kernel and its processes have had, and the load averages that follow from it.

use std::collections::HashMap;
use std::time::Duration;

use super::{Look, fields};
use crate::proc::lock;

/// The averages are over so long.
const MINUTES: [u64; 3] = [1, 5, 15];

/// What is known from the last look. Nothing is counted between two looks: what a process has used after the last one that found it
/// is not in the sums.
#[derive(Default)]
pub struct Usage {
    /// Since boot, when it was looked last.
    at: Duration,
    /// Time that programs have had.
    programs: Duration,
    /// Time that the kernel itself has had.
    kernel: Duration,
    /// What each process had by then, by its number in the rump kernel.
    seen: HashMap<i32, Duration>,
    averages: [f64; 3],
}

/// CPU time since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Of programs, as far as the host vouches for them.
    pub programs: Duration,
    /// Of the kernel: of the process that it is in.
    pub kernel: Duration,
    /// That nobody has had, on all CPUs.
    pub idle: Duration,
}

/// Looks at the clocks.
pub fn times(look: &Look) -> Times {
    let usage = looked(look);
    let all = look.kernel.clock.since_boot() * u32::try_from(look.kernel.config.ncpu).unwrap_or(1);
    let (programs, kernel) = (usage.programs, usage.kernel);
    Times { programs, kernel, idle: all.saturating_sub(programs + kernel) }
}

/// Looks at the clocks, and returns the load averages: how many CPUs were busy in the last minutes, older ones counting less.
pub fn averages(look: &Look) -> [f64; 3] {
    looked(look).averages
}

fn looked(look: &Look) -> std::sync::MutexGuard<'_, Usage> {
    let rumpuser = &look.kernel.rumpuser;
    let used = |pid: i32| -> Option<Duration> {
        let text = rumpuser.process_file(pid, "stat")?;
        let fields = fields(&text)?;
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(from_ticks(ticks(UTIME)? + ticks(STIME)?))
    };
    let kernel = used(rumpuser.host_pid() as i32).unwrap_or_default();
    let local = |proc: &std::sync::Arc<crate::proc::Proc>| Some((proc.pid, proc.local_pid()?));
    let programs: Vec<_> = look.kernel.procs.list().iter().filter_map(local).collect();
    // A kernel in a program has its time already.
    let programs = programs.into_iter().filter(|(_, host)| *host != rumpuser.host_pid() as i32);
    let programs = programs.filter_map(|(pid, host)| Some((pid, used(host)?))).collect();
    let mut usage = lock(&look.kernel.usage);
    usage.note(look.kernel.clock.since_boot(), kernel, programs);
    usage
}

/// What is left of an average over some minutes when a millisecond has passed: exp(-1 / (60000 * minutes)), of whose series more terms than these
/// make no difference. The function itself is libm's, which every program under the library would have to load for it.
const fn kept_in_a_millisecond(minutes: u64) -> f64 {
    let part = 1.0 / (60_000 * minutes) as f64;
    1.0 - part + part * part / 2.0 - part * part * part / 6.0
}

impl Usage {
    fn note(&mut self, now: Duration, kernel: Duration, programs: HashMap<i32, Duration>) {
        let before = self.programs + self.kernel;
        for (pid, used) in &programs {
            let seen = self.seen.get(pid).copied().unwrap_or_default();
            self.programs += used.saturating_sub(seen);
        }
        (self.seen, self.kernel) = (programs, self.kernel.max(kernel));
        let (busy, passed) = (self.programs + self.kernel - before, now.saturating_sub(self.at));
        let Some(milliseconds @ 1..) = i32::try_from(passed.as_millis()).ok().or(Some(i32::MAX)) else { return };
        let load = busy.as_secs_f64() / passed.as_secs_f64();
        for (average, minutes) in self.averages.iter_mut().zip(MINUTES) {
            let kept = kept_in_a_millisecond(minutes).powi(milliseconds);
            *average = *average * kept + load * (1.0 - kept);
        }
        self.at = now;
    }
}

/// Fields of `/proc/PID/stat` behind the name, the first of which is the state.
const UTIME: usize = 11;
const STIME: usize = 12;

/// Linux counts in hundredths of a second.
pub fn ticks(time: Duration) -> u128 {
    time.as_millis() / 10
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_follow_what_was_busy() {
        let seconds = Duration::from_secs;
        let mut usage = Usage::default();
        usage.note(seconds(60), seconds(30), HashMap::from([(2, seconds(30))]));
        let rounded = |usage: &Usage| usage.averages.map(|average| (average * 100.0).round() as u32);
        assert_eq!(rounded(&usage), [63, 18, 6]);
        assert_eq!((usage.programs, usage.kernel), (seconds(30), seconds(30)));
        // A process that has had less than before is another under an old number; it is followed from now on.
        usage.note(seconds(60), seconds(30), HashMap::from([(2, seconds(1)), (3, seconds(2))]));
        assert_eq!((usage.programs, rounded(&usage)), (seconds(32), [63, 18, 6]));
        usage.note(seconds(3600), seconds(30), HashMap::new());
        assert_eq!((usage.programs, usage.kernel, rounded(&usage)), (seconds(32), seconds(30), [0, 0, 0]));
    }
}
