//! The older calls that set a file's times: utime(2), utimes(2), futimesat(2).

use abi::fcntl::AT_FDCWD;
use abi::linux::Timeval;
use abi::time::Timespec;
use abi::{Errno, In, Result, UserStr};
use client::stubs;

use super::kernel;
use crate::fds::RumpFd;
use crate::route::RumpAt;
use crate::user;

/// utimensat(2)'s value for the present time, the same on both.
const UTIME_NOW: i64 = (1 << 30) - 1;

/// Access and modification time.
type Times = [Timespec; 2];

/// See utime(2): whole seconds, the present without a structure.
pub fn utime(at: &RumpAt<'_>, times: usize) -> Result<usize> {
    let seconds = if times == 0 { None } else { Some(user::read::<[i64; 2]>(times)?) };
    set(at, seconds.map_or_else(now, |seconds| seconds.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 })))
}

/// See utimes(2).
pub fn utimes(at: &RumpAt<'_>, times: usize) -> Result<usize> {
    set(at, read(times)?)
}

/// See futimesat(2) without a path, which futimes(3) is.
pub fn futimes(fd: RumpFd, times: usize) -> Result<usize> {
    let times = read(times)?;
    stubs::futimens(kernel()?, fd.fd(), In::new(&times)).map(|()| 0)
}

fn set(at: &RumpAt<'_>, times: Times) -> Result<usize> {
    let dir = if at.path.to_bytes().starts_with(b"/") { abi::Fd(AT_FDCWD) } else { at.dir };
    stubs::utimensat(kernel()?, dir, UserStr::new(at.path), In::new(&times), 0).map(|()| 0)
}

fn now() -> Times {
    [Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }; 2]
}

/// `EINVAL` for microseconds that are none.
fn read(addr: usize) -> Result<Times> {
    if addr == 0 {
        return Ok(now());
    }
    let [access, modification] = user::read::<[Timeval; 2]>(addr)?;
    Ok([nanoseconds(access)?, nanoseconds(modification)?])
}

fn nanoseconds(time: Timeval) -> Result<Timespec> {
    if !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EINVAL);
    }
    Ok(Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec * 1000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_microseconds() {
        let times = [Timeval { tv_sec: 5, tv_usec: 6 }, Timeval { tv_sec: -1, tv_usec: 999_999 }];
        let read = read(times.as_ptr() as usize).unwrap();
        assert_eq!((read[0].tv_sec, read[0].tv_nsec), (5, 6000));
        assert_eq!((read[1].tv_sec, read[1].tv_nsec), (-1, 999_999_000));
        assert_eq!(nanoseconds(Timeval { tv_sec: 0, tv_usec: 1_000_000 }), Err(Errno::EINVAL));
        assert_eq!(now()[0].tv_nsec, UTIME_NOW);
    }
}
