//! A host system call by its number: for what the program asks and what `sysproxy::host` has no word for.

use std::arch::asm;

use abi::{Errno, Result};

/// Makes the call and returns what the kernel says: a value, or a negated Linux errno.
///
/// Nothing of the C library takes part: no hook, no cancellation, no errno.
#[inline(always)]
pub fn syscall(nr: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the kernel checks every argument; what the call does to memory that the caller names is what the caller
    // asked for, exactly as with the C library's own function. rcx and r11 are destroyed by the instruction.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result
}

/// Reads a raw result: a value or an error.
pub fn checked(result: isize) -> Result<usize> {
    match result {
        -4095..=-1 => Err(Errno::from_linux(-result as i32)),
        value => Ok(value as usize),
    }
}

/// Makes the call with up to six arguments, the missing ones zero.
pub fn call<const N: usize>(nr: i64, args: [usize; N]) -> isize {
    let mut all = [0; 6];
    for (slot, arg) in all.iter_mut().zip(args) {
        *slot = arg;
    }
    syscall(nr as usize, all)
}

/// The host's id of this process, as the kernel knows it now.
pub fn getpid() -> i32 {
    call(libc::SYS_getpid, []) as i32
}

/// Closes a host descriptor.
pub fn close(fd: i32) -> isize {
    call(libc::SYS_close, [word(fd)])
}

/// fcntl(2).
pub fn fcntl(fd: i32, cmd: i32, arg: usize) -> isize {
    call(libc::SYS_fcntl, [word(fd), word(cmd), arg])
}

/// dup3(2).
pub fn dup3(from: i32, to: i32, flags: i32) -> isize {
    call(libc::SYS_dup3, [word(from), word(to), word(flags)])
}

/// An int as the kernel's argument.
pub const fn word(value: i32) -> usize {
    value as isize as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_answers_a_value_or_a_negated_errno() {
        assert_eq!(getpid() as u32, std::process::id());
        assert_eq!(close(-1), -(libc::EBADF as isize));
        assert_eq!(checked(close(-1)), Err(Errno::EBADF));
    }
}
