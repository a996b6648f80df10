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
use crate::{borrower, process};

const ENABLE: c_int = 0;
const DISABLE: c_int = 1;
const DEFERRED: c_int = 0;
const ASYNCHRONOUS: c_int = 1;

unsafe extern "C-unwind" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
    fn _pthread_cleanup_push(buffer: *mut Cleanup, routine: Routine, argument: usize);
    fn _pthread_cleanup_pop(buffer: *mut Cleanup, run: c_int);
}

/// What a thread does that is cancelled, see pthread_cleanup_push(3). Its argument is a pointer in C, which nobody but it looks at.
pub type Routine = extern "C" fn(usize);

/// Room for the C library's note of a [`Routine`].
type Cleanup = [usize; 4];

/// Makes a call of the host's in which the thread may be cancelled: then it runs `routine` with `argument` as it goes.
///
/// Neither the call's frames nor those above may have a destructor.
#[inline(always)]
pub fn with_cleanup<R>(routine: Routine, argument: usize, call: impl FnOnce() -> R) -> R {
    let mut buffer = Cleanup::default();
    // SAFETY: the buffer stays in this frame until it is popped, or passed by the unwinder.
    unsafe { _pthread_cleanup_push(&mut buffer, routine, argument) };
    let value = call();
    // SAFETY: pushed above.
    unsafe { _pthread_cleanup_pop(&mut buffer, 0) };
    value
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

/// Makes a call. If its function is a cancellation point, or the thread's type is asynchronous already, the thread may end before
/// it or instead of its `EINTR`. `function` says whether a function of C's has been called, and not its system call.
///
/// The frame has no destructor and catches nothing, nor may those above it. In the middle of another call, which a handler has
/// interrupted, nothing is changed: the thread ends with that one.
#[inline(always)]
pub fn point(nr: usize, args: &[usize; 6], function: bool, call: impl FnOnce() -> Outcome) -> Outcome {
    if !process::ready() || makes_process(nr) || borrower::shares_memory() || signals::is_inside() {
        return call();
    }
    if set_state(DISABLE) == DISABLE {
        return call();
    }
    let kind = set_kind(DEFERRED);
    set_state(ENABLE);
    if kind == DEFERRED && !(function && is_point(nr, args)) {
        return call();
    }
    // Here ends a thread that was cancelled before. (In `set_state` its end would not be `PTHREAD_CANCELED`.)
    set_kind(ASYNCHRONOUS);
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

/// Whether a call makes a process, another program or an end: in the middle of these no thread is cancelled.
fn makes_process(nr: usize) -> bool {
    matches!(
        nr as i64,
        libc::SYS_fork
            | libc::SYS_vfork
            | libc::SYS_clone
            | libc::SYS_clone3
            | libc::SYS_execve
            | libc::SYS_execveat
            | libc::SYS_exit_group
    )
}

/// Whether the function of a call is a cancellation point, see pthreads(7); of those that may be one, the C library's are.
fn is_point(nr: usize, args: &[usize; 6]) -> bool {
    let [_, command, ..] = *args;
    match nr as i64 {
        libc::SYS_open | libc::SYS_openat | libc::SYS_creat | libc::SYS_close => true,
        libc::SYS_poll | libc::SYS_ppoll | libc::SYS_select | libc::SYS_pselect6 => true,
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => true,
        libc::SYS_fcntl => matches!(command as c_int, libc::F_SETLKW | libc::F_OFD_SETLKW),
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => true,
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => true,
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_sendmmsg => true,
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_recvmmsg => true,
        libc::SYS_connect | libc::SYS_accept | libc::SYS_accept4 => true,
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_sync_file_range | libc::SYS_msync => true,
        libc::SYS_splice | libc::SYS_tee | libc::SYS_vmsplice | libc::SYS_copy_file_range => true,
        libc::SYS_fallocate => true,
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
