//! The one routine behind all trampolines: it saves the machine state, asks Rust, and restores the state.
//!
//! A trampoline calls it with the registers of a system call. It comes back with rcx = 0 if the call is to run natively, all
//! else being as it was; else rax holds the result. First the door's `passes` is asked, which leaves vector registers alone. Only
//! if it does not know, the whole of Rust is: libc keeps values in vector registers across system calls, and the Rust side may
//! use any of them (memcpy does), so then all that the processor has enabled is saved.

use super::decide;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The registers of a system call, as the stub stores them.
#[repr(C)]
pub struct Registers {
    pub rax: usize,
    /// rdi, rsi, rdx, r10, r8, r9.
    pub args: [usize; 6],
}

const _: () = assert!(size_of::<Registers>() == 56);

/// x87, SSE, AVX and AVX-512. Protection keys and AMX tiles are left alone: no Rust code here uses them.
const COMPONENTS: u32 = 0xe7;
/// Legacy area and header of an XSAVE image.
const XSAVE_MINIMUM: u32 = 576;

/// The state components that are saved; fits 32 bits because [`COMPONENTS`] does.
static MASK: AtomicU32 = AtomicU32::new(0);
/// Size of the image of these components, uncompacted.
static BYTES: AtomicUsize = AtomicUsize::new(512);

/// The door's first question.
static PASSES: AtomicUsize = AtomicUsize::new(0);

/// Chooses the stub that this processor can run, and returns its address.
pub fn prepare(passes: extern "C-unwind" fn(usize, &[usize; 6]) -> bool) -> usize {
    PASSES.store(passes as usize, Ordering::Relaxed);
    let Some(enabled) = enabled_components() else { return without_xsave as *const () as usize };
    let mask = enabled & COMPONENTS;
    let end = |component: u32| {
        let area = __cpuid_count(0xd, component);
        area.eax + area.ebx
    };
    let extended = (2..32).filter(|component| mask & (1 << component) != 0).map(end).max();
    let bytes = extended.unwrap_or(0).max(XSAVE_MINIMUM);
    MASK.store(mask, Ordering::Relaxed);
    BYTES.store(bytes as usize, Ordering::Relaxed);
    with_xsave as *const () as usize
}

/// Returns the low half of XCR0, if the system has turned XSAVE on.
fn enabled_components() -> Option<u32> {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return None;
    }
    let low: u32;
    // SAFETY: OSXSAVE says that XGETBV may be used.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") _, options(nomem, nostack, preserves_flags))
    };
    Some(low)
}

/// Defines a stub. `clean` prepares the save area at rsp, `save` and `restore` may use eax and edx.
macro_rules! stub {
    ($(#[$doc:meta])* $name:ident, [$($save:literal),*], [$($restore:literal),*] $(, $operand:ident = $value:path)*) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C-unwind" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "push rbp",
                ".cfi_adjust_cfa_offset 8",
                ".cfi_rel_offset rbp, 0",
                "mov rbp, rsp",
                ".cfi_def_cfa_register rbp",
                "push r9", "push r8", "push r10", "push rdx", "push rsi", "push rdi", "push rax",
                // The flags in ax, at a tenth of the price of pushfq and popfq.
                "mov rdi, rax",
                "lahf",
                "seto al",
                "push rax",
                "lea rsi, [rsp + 16]",
                "and rsp, -16",
                "call qword ptr [rip + {passes}]",
                "xor ecx, ecx",
                "test al, al",
                "jnz 2f",
                "lea rsp, [rbp - 64]",
                "pushfq",
                "cld",
                "lea rdi, [rbp - 56]",
                "sub rsp, qword ptr [rip + {bytes}]",
                "and rsp, -64",
                $($save,)*
                "call {decide}",
                "mov rcx, rax",
                $($restore,)*
                "lea rsp, [rbp - 72]",
                "popfq",
                "2:",
                "lea rsp, [rbp - 64]",
                "pop rax",
                "add al, 0x7f",
                "sahf",
                "pop rax", "pop rdi", "pop rsi", "pop rdx", "pop r10", "pop r8", "pop r9", "pop rbp",
                ".cfi_def_cfa rsp, 8",
                ".cfi_restore rbp",
                "ret",
                ".cfi_endproc",
                passes = sym PASSES,
                bytes = sym BYTES, decide = sym decide $(, $operand = sym $value)*
            )
        }
    };
}

stub! {
    /// The stub for all but ancient processors. XRSTOR faults unless the 64 bytes of the header were zero before XSAVE.
    with_xsave,
    ["xor edx, edx",
     "mov qword ptr [rsp + 512], rdx", "mov qword ptr [rsp + 520], rdx", "mov qword ptr [rsp + 528], rdx",
     "mov qword ptr [rsp + 536], rdx", "mov qword ptr [rsp + 544], rdx", "mov qword ptr [rsp + 552], rdx",
     "mov qword ptr [rsp + 560], rdx", "mov qword ptr [rsp + 568], rdx",
     "mov eax, dword ptr [rip + {mask}]",
     "xsave64 [rsp]"],
    ["mov eax, dword ptr [rip + {mask}]", "xor edx, edx", "xrstor64 [rsp]"],
    mask = MASK
}

stub! {
    /// The stub for a processor or system without XSAVE, where no wider registers than xmm exist.
    without_xsave, ["fxsave64 [rsp]"], ["fxrstor64 [rsp]"]
}
