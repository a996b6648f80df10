//! A larger stack for a while: the child of posix_spawn(3) runs on 32 KiB, too few to connect to a server on.

use std::arch::asm;
use std::mem::ManuallyDrop;

/// Bytes of the larger stack.
pub const STACK_BYTES: usize = 256 * 1024;

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
