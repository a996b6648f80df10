//! A larger stack for a while: the child of posix_spawn(3) runs on 32 KiB, too few to connect to a server on, and a handler of signals on what the
//! program has given it by sigaltstack(2), of which 8 KiB are usual and the host's frame takes half.

use std::arch::asm;
use std::cell::Cell;
use std::mem::ManuallyDrop;

use sysproxy::host::SigSet;
use sysproxy::host::signal::{block, set_mask};

use crate::{pages, raw};

/// Bytes of the larger stack.
pub const STACK_BYTES: usize = 256 * 1024;

/// An alternate stack of so many bytes is large enough.
const ENOUGH: usize = 64 * 1024;

/// Pages are so large.
const PAGE: usize = 4096;

thread_local! {
    /// Pages that lie on a stack which is large enough, each where its number says.
    static KNOWN: Cell<[usize; 8]> = const { Cell::new([0; 8]) };
}

/// Runs `run`, on a larger stack if the thread is on a small alternate one.
///
/// `None`, and nothing was done, if there is no memory for one.
pub fn with_room<R>(run: impl FnOnce() -> R) -> Option<R> {
    match small_alternate() {
        None => Some(run()),
        Some(alternate) => instead_of(alternate, run),
    }
}

/// The alternate stack, if the thread is on it and it is small.
fn small_alternate() -> Option<libc::stack_t> {
    let here = 0u8;
    let page = core::ptr::from_ref(&here) as usize / PAGE;
    let mut known = KNOWN.get();
    let slot = known.get_mut(page % 8)?;
    if *slot == page {
        return None;
    }
    let mut stack = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    raw::checked(raw::call(libc::SYS_sigaltstack, [0, &raw mut stack as usize])).ok()?;
    if stack.ss_flags & libc::SS_ONSTACK != 0 && stack.ss_size < ENOUGH {
        return Some(stack);
    }
    *slot = page;
    KNOWN.set(known);
    None
}

/// Runs `run` on a stack of the library's. Meanwhile there is no alternate one: a handler that comes would begin at its top, where the one that
/// is interrupted has its frames.
fn instead_of<R>(alternate: libc::stack_t, run: impl FnOnce() -> R) -> Option<R> {
    let rw = raw::word(libc::PROT_READ | libc::PROT_WRITE);
    let private = raw::word(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let start = raw::checked(raw::call(libc::SYS_mmap, [0, STACK_BYTES, rw, private, usize::MAX, 0])).ok()?;
    let armed = libc::stack_t { ss_flags: alternate.ss_flags & !libc::SS_ONSTACK, ..alternate };
    let none = libc::stack_t { ss_flags: libc::SS_DISABLE, ..alternate };
    let set = |stack: &libc::stack_t| raw::call(libc::SYS_sigaltstack, [core::ptr::from_ref(stack) as usize, 0]);
    let mask = block(SigSet::ALL);
    let job = || {
        set(&none);
        set_mask(mask);
        let result = run();
        block(SigSet::ALL);
        set(&armed);
        result
    };
    // SAFETY: the mapping is for this call alone.
    let result = unsafe { on_stack(start + STACK_BYTES, job) };
    set_mask(mask);
    raw::call(libc::SYS_munmap, [start, STACK_BYTES]);
    pages::forget();
    result
}

/// What is run, and the place for its result.
struct Job<F, R> {
    run: ManuallyDrop<F>,
    result: Option<R>,
}

/// Runs `run` on the stack that ends at `top`.
///
/// # Safety
/// Below `top`, which is a multiple of 16, are [`STACK_BYTES`] of writable memory that nobody else uses.
pub unsafe fn on_stack<F: FnOnce() -> R, R>(top: usize, run: F) -> Option<R> {
    let mut job = Job { run: ManuallyDrop::new(run), result: None };
    // SAFETY: the stack pointer is kept in r12, which the callee preserves, and put back; the callee gets an aligned stack as
    // the caller says, and a pointer to `job`, which outlives the call. It does not unwind.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {body}",
            "mov rsp, r12",
            top = in(reg) top,
            body = in(reg) body::<F, R> as extern "C" fn(*mut Job<F, R>),
            inout("rdi") &raw mut job => _,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    job.result
}

/// Runs a job. A panic ends the process at this edge.
extern "C" fn body<F: FnOnce() -> R, R>(job: *mut Job<F, R>) {
    // SAFETY: `on_stack` passes its own job, once.
    unsafe {
        let run = ManuallyDrop::take(&mut (*job).run);
        (*job).result = Some(run());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_and_the_old_stack_come_back() {
        let stack = vec![0u128; STACK_BYTES / 16];
        let top = stack.as_ptr() as usize + STACK_BYTES;
        let words = [1u64, 2, 3];
        // SAFETY: the vector is the stack, and lives until the call is over.
        let sum = unsafe { on_stack(top, || format!("{} {}", words.iter().sum::<u64>(), &raw const top as usize > 0)) };
        assert_eq!(sum.as_deref(), Some("6 true"));
    }
}
