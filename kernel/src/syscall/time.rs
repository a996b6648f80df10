//! Time: gettimeofday and its kin, the clocks, sleeping.

use std::time::Duration;

use abi::time::{
    CLOCK_MONOTONIC, CLOCK_PROF, CLOCK_REALTIME, CLOCK_VIRTUAL, TIMER_ABSTIME, Timespec, Timeval, Timezone,
};
use abi::{Errno, In, Out, Result};

use crate::Cx;
use crate::wait;

/// gettimeofday(2); the time zone is zeros.
pub fn gettimeofday(cx: &Cx<'_>, tp: Out, tzp: Out) -> Result<()> {
    if !tp.is_null() {
        cx.mem.write(tp, &Timeval::from_duration(cx.kernel.clock.now()))?;
    }
    if !tzp.is_null() {
        cx.mem.write(tzp, &Timezone::default())?;
    }
    Ok(())
}

/// settimeofday(2): `EPERM` unless the superuser asks. The time zone is ignored.
pub fn settimeofday(cx: &Cx<'_>, tv: In, _tzp: In) -> Result<()> {
    privileged(cx)?;
    if !tv.is_null() {
        cx.kernel.clock.set(cx.mem.read::<Timeval>(tv)?.to_duration()?);
    }
    Ok(())
}

/// clock_gettime(2).
pub fn clock_gettime(cx: &Cx<'_>, clock_id: i32, tp: Out) -> Result<()> {
    let time = clock(cx, clock_id)?;
    cx.mem.write(tp, &Timespec::from_duration(time))
}

/// clock_settime(2): only `CLOCK_REALTIME`, and only the superuser.
pub fn clock_settime(cx: &Cx<'_>, clock_id: i32, tp: In) -> Result<()> {
    if clock_id != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    privileged(cx)?;
    cx.kernel.clock.set(cx.mem.read::<Timespec>(tp)?.to_duration()?);
    Ok(())
}

/// clock_getres(2).
pub fn clock_getres(cx: &Cx<'_>, clock_id: i32, tp: Out) -> Result<()> {
    clock(cx, clock_id)?;
    match tp.is_null() {
        true => Ok(()),
        false => cx.mem.write(tp, &Timespec { tv_sec: 0, tv_nsec: 1 }),
    }
}

/// nanosleep(2); what is left is stored after `EINTR` only.
pub fn nanosleep(cx: &Cx<'_>, rqtp: In, rmtp: Out) -> Result<()> {
    let time = cx.mem.read::<Timespec>(rqtp)?.to_duration()?;
    let deadline = cx.kernel.clock.uptime().checked_add(time).unwrap_or(Duration::MAX);
    sleep_until(cx, deadline, rmtp)
}

/// clock_nanosleep(2): the result is the error number.
pub fn clock_nanosleep(cx: &Cx<'_>, clock_id: i32, flags: i32, rqtp: In, rmtp: Out) -> Result<i32> {
    let slept = sleep_on(cx, clock_id, flags, rqtp, rmtp);
    Ok(slept.err().map_or(0, Errno::raw))
}

fn sleep_on(cx: &Cx<'_>, clock_id: i32, flags: i32, rqtp: In, rmtp: Out) -> Result<()> {
    let time = cx.mem.read::<Timespec>(rqtp)?.to_duration()?;
    let clock = &cx.kernel.clock;
    if flags & TIMER_ABSTIME == 0 {
        self::clock(cx, clock_id)?;
        return sleep_until(cx, clock.uptime().checked_add(time).unwrap_or(Duration::MAX), rmtp);
    }
    let deadline = match clock_id {
        CLOCK_REALTIME => clock.at_wall(time),
        CLOCK_MONOTONIC => clock.boot().checked_add(time).unwrap_or(Duration::MAX),
        _ => return Err(Errno::EINVAL),
    };
    sleep_until(cx, deadline, Out::NULL)
}

fn sleep_until(cx: &Cx<'_>, deadline: Duration, rmtp: Out) -> Result<()> {
    match wait::until(cx, &[], Some(deadline), || Err::<(), _>(Errno::EAGAIN)) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(()),
        Err(errno) => {
            let left = deadline.saturating_sub(cx.kernel.clock.uptime());
            if errno == Errno::EINTR && !rmtp.is_null() {
                cx.mem.write(rmtp, &Timespec::from_duration(left))?;
            }
            Err(errno)
        }
    }
}

/// The time on a clock; `EINVAL` for one that does not exist.
fn clock(cx: &Cx<'_>, clock_id: i32) -> Result<Duration> {
    match clock_id {
        CLOCK_REALTIME => Ok(cx.kernel.clock.now()),
        CLOCK_MONOTONIC => Ok(cx.kernel.clock.since_boot()),
        // A client uses no processor time in here that could be told apart.
        CLOCK_VIRTUAL | CLOCK_PROF => Ok(Duration::ZERO),
        _ => Err(Errno::EINVAL),
    }
}

/// `EPERM` unless the caller is the superuser.
pub(super) fn privileged(cx: &Cx<'_>) -> Result<()> {
    if cx.proc.credentials().privileged() { Ok(()) } else { Err(Errno::EPERM) }
}
