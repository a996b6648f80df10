//! The system call instruction, for the few calls that rustix lacks.

use super::{Error, Result};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("only Linux on x86-64 is supported");

/// Does a system call.
///
/// # Safety
///
/// As the call itself: pointers among the arguments must be good for what it does with them.
pub unsafe fn syscall6(number: usize, args: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the kernel changes rax, rcx and r11 and whatever the call writes, which the caller answers for.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(Error::from_raw_os_error(-result as i32)) } else { Ok(result as usize) }
}

/// Does a system call of up to three arguments; see [`syscall6`].
///
/// # Safety
///
/// As for [`syscall6`].
pub unsafe fn syscall3(number: usize, a: usize, b: usize, c: usize) -> Result<usize> {
    // SAFETY: passed on to the caller.
    unsafe { syscall6(number, [a, b, c, 0, 0, 0]) }
}

pub(super) const CLOSE: usize = 3;
pub(super) const RT_SIGACTION: usize = 13;
pub(super) const RT_SIGPROCMASK: usize = 14;
pub(super) const GETCWD: usize = 79;
pub(super) const RT_SIGPENDING: usize = 127;
pub(super) const CLOCK_GETTIME: usize = 228;
pub(super) const EXIT_GROUP: usize = 231;
pub(super) const TGKILL: usize = 234;
pub(super) const PSELECT6: usize = 270;
pub(super) const PPOLL: usize = 271;
pub(super) const IOCTL: usize = 16;
pub(super) const RECVMSG: usize = 47;
pub(super) const GETSOCKOPT: usize = 55;
pub(super) const UNSHARE: usize = 272;
pub(super) const SIGNALFD4: usize = 289;
pub(super) const PROCESS_VM_READV: usize = 310;
pub(super) const PROCESS_VM_WRITEV: usize = 311;
