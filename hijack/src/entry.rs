//! What a row of the symbols table expands to: a hook that asks the calls table, and the C return value.

use crate::calls::{Outcome, Wanted, dispatch_first};
use crate::{calls, fds, first, pages, raw};

/// A C argument as the kernel takes it.
pub trait Word {
    /// Makes the register.
    fn word(self) -> usize;
}

/// A C argument that a function gets anew.
pub trait OfWord {
    /// Makes the argument of a register.
    fn of_word(word: usize) -> Self;
}

/// A call, and what its row wants.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number.
    pub nr: i64,
    /// By what the first level judges it.
    pub wanted: Wanted,
}

impl Call {
    /// Looks a number up.
    pub const fn of(nr: i64) -> Self {
        Self { nr, wanted: crate::calls::wanted(nr as usize) }
    }
}

/// A C return value that a call's result can become.
pub trait Return: Sized {
    /// What a function returned that makes a descriptor.
    #[inline(always)]
    fn number(&self) -> Option<i32> {
        None
    }

    /// Makes the value of what the kernel returned, -1 for an error.
    fn of(result: isize) -> Self;

    /// Makes the value for an error: errno is set, and the value is that of -1.
    fn error(errno: i32) -> Self {
        set_errno(errno);
        Self::of(-1)
    }
}

/// The result of a function that returns the error and leaves errno alone: posix_fadvise(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Number(i32);

impl Return for Number {
    fn of(result: isize) -> Self {
        Self(result as i32)
    }

    fn error(errno: i32) -> Self {
        Self(errno)
    }
}

/// The result of a function that says 1 for a call that succeeds, else 0: isatty(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct IsZero(i32);

impl Return for IsZero {
    fn of(result: isize) -> Self {
        Self((result == 0).into())
    }
}

/// The result of a function that cannot fail: sync(2).
impl Return for () {
    fn of(_: isize) {}

    fn error(_: i32) {}
}

macro_rules! words {
    ($($type:ty),*) => {$(
        impl Word for $type {
            fn word(self) -> usize {
                self as isize as usize
            }
        }

        impl OfWord for $type {
            fn of_word(word: usize) -> Self {
                word as Self
            }
        }

        impl Return for $type {
            #[inline(always)]
            fn number(&self) -> Option<i32> {
                Some(*self as i32)
            }

            fn of(result: isize) -> Self {
                result as Self
            }
        }
    )*};
}

words!(i32, u32, i64, u64, isize, usize);

impl<T> Word for *const T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> OfWord for *const T {
    fn of_word(word: usize) -> Self {
        word as Self
    }
}

impl<T> Word for *mut T {
    fn word(self) -> usize {
        self as usize
    }
}

impl<T> OfWord for *mut T {
    fn of_word(word: usize) -> Self {
        word as Self
    }
}

impl<T> Return for *mut T {
    fn of(result: isize) -> Self {
        result as Self
    }
}

/// A structure on the stack of the hook.
impl<T, const N: usize> Word for &[T; N] {
    fn word(self) -> usize {
        self.as_ptr() as usize
    }
}

/// One that the call fills.
impl<T, const N: usize> Word for &mut [T; N] {
    fn word(self) -> usize {
        self.as_mut_ptr() as usize
    }
}

/// Makes the C return value of what the kernel returned: errno and -1 for an error.
pub fn c_return<R: Return>(result: isize) -> R {
    match result {
        -4095..=-1 => R::error(-result as i32),
        value => R::of(value),
    }
}

/// Sets the thread's errno.
pub fn set_errno(errno: i32) {
    // SAFETY: the C library keeps this pointer valid for the life of the thread.
    unsafe { *libc::__errno_location() = errno };
}

/// The thread's errno.
pub fn errno() -> i32 {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// Does what a hook does: a call that is surely the host's goes to the real function; for others the table is asked. Straight to
/// the kernel goes a host call as long as there is no real function (before the constructor, or in a C library without it).
///
/// No frame from here to the program has a destructor: a cancelled thread is unwound through them. And a host call gets no frame at all:
/// the real function is jumped to, since the processor foresees no return after a system call. What has to be done behind it is rare.
#[inline(always)]
pub fn hooked<R: Return>(nr: i64, wanted: Wanted, args: [usize; 6], real: Option<impl FnOnce() -> R>) -> R {
    match real {
        Some(real) if first::is_seen_inside(nr) => real(),
        Some(real) if first::passes_at_once(wanted, &args) && (!calls::makes_number(nr) || fds::goes_unseen()) => {
            if pages::forgets_with(pages::forgets(nr as usize), &args) {
                pages::forget();
            }
            real()
        }
        real => {
            let [a, b, c, d, e, f] = args;
            asked::<R, true>(Call { nr, wanted }, a, b, c, d, e, f, real)
        }
    }
}

/// The rest of [`hooked`], apart from it and with its arguments in registers, so that a host call needs no stack. `FUNCTION` says that it
/// is a cancellation point if its call is in the list of [`cancel`](crate::cancel).
#[cold]
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "an array would be in memory")]
pub fn asked<R: Return, const FUNCTION: bool>(
    Call { nr, wanted }: Call,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
    real: Option<impl FnOnce() -> R>,
) -> R {
    let args = [a, b, c, d, e, f];
    if pages::forgets_with(pages::forgets(nr as usize), &args) {
        pages::forget();
    }
    let passes = real.is_some() && first::passes(wanted, &args);
    let outcome = if passes { Outcome::Host } else { dispatch_first(nr as usize, args, real.is_some(), FUNCTION) };
    match (outcome, real) {
        (Outcome::Done(result), _) => c_return(result),
        (Outcome::Host, None) => c_return(raw::syscall(nr as usize, args)),
        (Outcome::Host, Some(real)) => {
            let answer = real();
            if calls::makes_number(nr)
                && let Some(fd) = answer.number()
            {
                fds::look_at(fd);
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_kernel_becomes_errno() {
        assert_eq!(c_return::<i32>(-2), -1);
        assert_eq!(errno(), 2);
        assert_eq!((c_return(-9), c_return(0)), (Number(9), Number(0)));
        assert_eq!(errno(), 2);
        assert_eq!((c_return(-25), c_return(0)), (IsZero(0), IsZero(1)));
        assert_eq!(errno(), 25);
        assert_eq!(c_return::<isize>(-4096), -4096);
        assert_eq!(c_return::<*mut u8>(-12), usize::MAX as *mut u8);
    }

    #[test]
    fn a_host_call_goes_to_the_real_function_or_the_kernel() {
        let args = [raw::word(-1), 0, 0, 0, 0, 0];
        assert_eq!(hooked::<i32>(libc::SYS_close, Wanted::Fd(0), args, Some(|| 7)), 7);
        assert_eq!(hooked::<i32>(libc::SYS_close, Wanted::Fd(0), args, None::<fn() -> i32>), -1);
        assert_eq!(errno(), libc::EBADF);
    }
}
