//! Cancellation points: a thread that pthread_cancel(3) ends while one of its calls sleeps in the rump kernel.
//!
//! glibc wakes only a thread whose cancelability type is asynchronous, which its own functions make it as long as they wait in
//! the host. So does [`point`]. The signal stays blocked until the library has let go of everything, like all others;
//! it ends the sleep, and the thread ends here, in a frame without destructors, from where the unwinder finds its way to the program.
//!
//! As POSIX asks, and unlike glibc before 2.41, a call that has done something says so before the thread ends at its next one.

use core::ffi::c_int;

use client::signals;

use crate::calls::Outcome;
use crate::{borrower, fds, sets};

const ENABLE: c_int = 0;
const DISABLE: c_int = 1;
const DEFERRED: c_int = 0;
const ASYNCHRONOUS: c_int = 1;

unsafe extern "C-unwind" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
}

fn set_state(state: c_int) -> c_int {
    let mut before = DISABLE;
    // SAFETY: `before` is a place for the answer.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

fn set_kind(kind: c_int) -> c_int {
    let mut before = DEFERRED;
    // SAFETY: as above.
    unsafe { pthread_setcanceltype(kind, &mut before) };
    before
}

/// Makes a call. If it may sleep in the rump kernel, and its function is a cancellation point, the thread may end before it or instead of
/// its `EINTR`. `function` is false for a call that is a point only if the thread's type is asynchronous already.
///
/// The frame has no destructor and catches nothing, nor may those above it. In the middle of another call, which a handler has
/// interrupted, nothing is changed: the thread ends with that one.
#[inline(always)]
pub fn point(nr: usize, args: &[usize; 6], function: bool, call: impl FnOnce() -> Outcome) -> Outcome {
    if !sleeps(nr, args) || borrower::shares_memory() || signals::is_inside() || set_state(DISABLE) == DISABLE {
        return call();
    }
    let kind = set_kind(ASYNCHRONOUS);
    if kind == DEFERRED && !function {
        set_kind(DEFERRED);
        set_state(ENABLE);
        return call();
    }
    // Here ends a thread that was cancelled before.
    set_state(ENABLE);
    signals::begin_point();
    let outcome = call();
    set_kind(DEFERRED);
    signals::end_point();
    if outcome == INTERRUPTED {
        // SAFETY: nothing is held, and the frames from here to the program have no destructors.
        unsafe { pthread_testcancel() };
    }
    if kind == ASYNCHRONOUS {
        set_kind(ASYNCHRONOUS);
    }
    outcome
}

const INTERRUPTED: Outcome = Outcome::Done(-(libc::EINTR as isize));

/// Whether a call is one of a cancellation point, and perhaps on a descriptor of the rump kernel.
fn sleeps(nr: usize, args: &[usize; 6]) -> bool {
    let [fd, command, ..] = *args;
    match nr as i64 {
        libc::SYS_poll | libc::SYS_ppoll | libc::SYS_select | libc::SYS_pselect6 => fds::any(),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => sets::kqueue(fd as i32).is_some(),
        libc::SYS_fcntl => matches!(command as c_int, libc::F_SETLKW | libc::F_OFD_SETLKW) && fds::perhaps(fd as i32),
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => {
            fds::perhaps(fd as i32)
        }
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => {
            fds::perhaps(fd as i32)
        }
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => fds::perhaps(fd as i32),
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => fds::perhaps(fd as i32),
        libc::SYS_connect | libc::SYS_accept | libc::SYS_accept4 => fds::perhaps(fd as i32),
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_close => fds::perhaps(fd as i32),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_has_no_business_in_the_rump_kernel_changes_nothing() {
        let kind = set_kind(ASYNCHRONOUS);
        let outcome = point(libc::SYS_read as usize, &[900, 0, 0, 0, 0, 0], true, || {
            assert!(!signals::is_inside());
            Outcome::Host
        });
        assert_eq!((outcome, set_kind(kind)), (Outcome::Host, ASYNCHRONOUS));
    }
}
