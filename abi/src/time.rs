//! Time: [`Timespec`], [`Timeval`] (whose microseconds are 4 bytes), [`Itimerval`] and the clocks.

use core::time::Duration;

use linux_raw_sys::general as host;

use crate::pairs::{pairs, plain};
use crate::{Errno, Result, linux};

plain! {
    /// Seconds and nanoseconds, the same layout on both.
    pub struct Timespec {
        pub tv_sec: i64,
        pub tv_nsec: i64,
    }

    /// Seconds and microseconds; `pad` is unspecified in what a NetBSD kernel writes.
    pub struct Timeval {
        pub tv_sec: i64,
        pub tv_usec: i32,
        pub pad: u32,
    }

    /// An interval timer's state.
    pub struct Itimerval {
        pub it_interval: Timeval,
        pub it_value: Timeval,
    }

    /// A POSIX timer's state, the same layout on both.
    pub struct Itimerspec {
        pub it_interval: Timespec,
        pub it_value: Timespec,
    }

    /// The time zone of gettimeofday(2), zeros.
    pub struct Timezone {
        pub tz_minuteswest: i32,
        pub tz_dsttime: i32,
    }
}

/// `tv_nsec` of utimensat(2): the time of the call; the same on both.
pub const UTIME_NOW: i64 = 0x3fff_ffff;
/// `tv_nsec` of utimensat(2): leave it as it is; the same on both.
pub const UTIME_OMIT: i64 = 0x3fff_fffe;

impl Timespec {
    /// Makes a timespec of a duration since the Epoch or of a length of time.
    pub fn from_duration(time: Duration) -> Self {
        Self { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(time.subsec_nanos()) }
    }

    /// Returns the duration; `EINVAL` for negative seconds or nanoseconds out of range.
    pub fn to_duration(&self) -> Result<Duration> {
        let seconds = u64::try_from(self.tv_sec).map_err(|_| Errno::EINVAL)?;
        match u32::try_from(self.tv_nsec) {
            Ok(nanoseconds) if nanoseconds < 1_000_000_000 => Ok(Duration::new(seconds, nanoseconds)),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Timeval {
    /// Makes a timeval of a duration since the Epoch or of a length of time.
    pub fn from_duration(time: Duration) -> Self {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Self { tv_sec: seconds, tv_usec: time.subsec_micros() as i32, pad: 0 }
    }

    /// Returns the duration; `EINVAL` for negative seconds or microseconds out of range.
    pub fn to_duration(&self) -> Result<Duration> {
        let nanoseconds = i64::from(self.tv_usec) * 1000;
        Timespec { tv_sec: self.tv_sec, tv_nsec: nanoseconds }.to_duration()
    }

    /// Translates Linux's structure; `EINVAL` for microseconds out of range.
    pub fn from_linux(linux: &linux::Timeval) -> Result<Self> {
        match i32::try_from(linux.tv_usec) {
            Ok(tv_usec @ 0..1_000_000) => Ok(Self { tv_sec: linux.tv_sec, tv_usec, pad: 0 }),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Makes Linux's structure; the padding does not show.
    pub fn to_linux(&self) -> linux::Timeval {
        linux::Timeval { tv_sec: self.tv_sec, tv_usec: i64::from(self.tv_usec) }
    }
}

impl Itimerval {
    /// Translates Linux's structure; `EINVAL` for microseconds out of range.
    pub fn from_linux(linux: &linux::Itimerval) -> Result<Self> {
        Ok(Self {
            it_interval: Timeval::from_linux(&linux.it_interval)?,
            it_value: Timeval::from_linux(&linux.it_value)?,
        })
    }

    /// Makes Linux's structure.
    pub fn to_linux(&self) -> linux::Itimerval {
        linux::Itimerval { it_interval: self.it_interval.to_linux(), it_value: self.it_value.to_linux() }
    }
}

pairs! {
    /// The clocks.
    CLOCKS: i32 {
        CLOCK_REALTIME 0 => host::CLOCK_REALTIME;
        CLOCK_VIRTUAL 1;
        CLOCK_PROF 2;
        CLOCK_MONOTONIC 3 => host::CLOCK_MONOTONIC;
        CLOCK_PROCESS_CPUTIME_ID 0x4000_0000 => host::CLOCK_PROCESS_CPUTIME_ID;
        CLOCK_THREAD_CPUTIME_ID -0x8000_0000 => host::CLOCK_THREAD_CPUTIME_ID;
    }
}

/// Translates a clock; `None` for one that NetBSD lacks (`EINVAL` to the program). Linux's coarse, raw, boot-time and
/// alarm clocks are the plain one of their kind.
pub fn clock_from_linux(linux: i32) -> Option<i32> {
    match linux as u32 {
        host::CLOCK_REALTIME_COARSE | host::CLOCK_REALTIME_ALARM => Some(CLOCK_REALTIME),
        host::CLOCK_MONOTONIC_RAW
        | host::CLOCK_MONOTONIC_COARSE
        | host::CLOCK_BOOTTIME
        | host::CLOCK_BOOTTIME_ALARM => Some(CLOCK_MONOTONIC),
        _ => CLOCKS.from_linux(linux),
    }
}

/// Translates a clock; `None` for one that Linux lacks.
pub fn clock_to_linux(netbsd: i32) -> Option<i32> {
    CLOCKS.to_linux(netbsd)
}

/// The time given is a length of time.
pub const TIMER_RELTIME: i32 = 0;
/// The time given is a point of time; the same on both.
pub const TIMER_ABSTIME: i32 = 1;

/// Interval timer in real time; the first three are the same on both.
pub const ITIMER_REAL: i32 = 0;
/// Interval timer in the process's own time.
pub const ITIMER_VIRTUAL: i32 = 1;
/// Interval timer in the process's and the system's time.
pub const ITIMER_PROF: i32 = 2;
/// Interval timer of the monotonic clock.
pub const ITIMER_MONOTONIC: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_reach_linux() {
        let time = Timeval { tv_sec: 1, tv_usec: 2, pad: 0xdead_beef };
        assert_eq!(time.to_linux(), linux::Timeval { tv_sec: 1, tv_usec: 2 });
        assert_eq!(Timeval::from_linux(&linux::Timeval { tv_sec: 1, tv_usec: 1_000_000 }), Err(Errno::EINVAL));
    }

    #[test]
    fn durations_are_checked() {
        assert_eq!(Timespec { tv_sec: 1, tv_nsec: 5 }.to_duration(), Ok(Duration::new(1, 5)));
        assert_eq!(Timespec { tv_sec: -1, tv_nsec: 0 }.to_duration(), Err(Errno::EINVAL));
        assert_eq!(Timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }.to_duration(), Err(Errno::EINVAL));
        assert_eq!(Timeval { tv_sec: 0, tv_usec: -1, pad: 0 }.to_duration(), Err(Errno::EINVAL));
        assert_eq!(Timeval::from_duration(Duration::from_millis(1500)).tv_usec, 500_000);
    }

    #[test]
    fn clocks_translate() {
        assert_eq!(clock_from_linux(1), Some(CLOCK_MONOTONIC));
        assert_eq!(clock_from_linux(7), Some(CLOCK_MONOTONIC));
        assert_eq!(clock_to_linux(CLOCK_THREAD_CPUTIME_ID), Some(3));
        assert_eq!(clock_from_linux(99), None);
    }
}
