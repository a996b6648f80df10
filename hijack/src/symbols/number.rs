//! syscall(2), whose call only its first argument says.
//!
//! It is no cancellation point whatever call it makes. Front door 2 judges it by its number, and once is enough, but for the calls that it never
//! takes: those that make a process. Where it does not stand open, the call is judged here, and the host's are jumped to: the processor
//! foresees no return after a system call.

use core::ffi::c_long;
use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::next;
use crate::calls::{self, Wanted};
use crate::entry::{Call, asked};
use crate::pages::{self, Forgets};
use crate::quick::{self, LINE, Line, hot};
use crate::{fds, first};

type Prototype = unsafe extern "C-unwind" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// The real function; 0 before it is found.
#[unsafe(link_section = hot!())]
static REAL: AtomicUsize = AtomicUsize::new(0);

/// What syscall(2) does about call `nr`.
#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
static BEHIND: [u8; 1024] = {
    let mut behind = [NOTHING; 1024];
    let mut nr = 0;
    while nr < behind.len() {
        behind[nr] = match (calls::wanted(nr), pages::forgets(nr)) {
            (Wanted::Always, _) => ALWAYS,
            (_, Forgets::No) if calls::makes_number(nr as i64) => NUMBER,
            (_, Forgets::No) => NOTHING,
            _ => FORGETS,
        };
        nr += 1;
    }
    behind
};

/// Nothing is to be done after a call of the host's.
const NOTHING: u8 = 0;
/// The number that it made may be looked at.
const NUMBER: u8 = 1;
/// Pages may be forgotten.
const FORGETS: u8 = 2;
/// The call is judged each time, and before: the other door may not take it.
const ALWAYS: u8 = 3;

// SAFETY: the name and prototype are libc's, whose function this one stands in for.
#[unsafe(naked)]
#[unsafe(link_section = "rumphijack_hooks")]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn syscall() {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "mov r11, qword ptr [rip + {real}]",
        "test r11, r11", "jz 9f",
        "cmp rdi, {count}", "jae 9f",
        "lea rax, [rip + {behind}]", "movzx eax, byte ptr [rax + rdi]",
        "cmp byte ptr [rip + {line} + {inside}], 0", "je 2f",
        "cmp al, {always}", "je 9f",
        "jmp r11",
        "2:",
        "cmp al, {forgets}", "jae 9f",
        "cmp al, {number}", "jne 3f",
        "sub dword ptr [rip + {unseen}], 1", "js 9f",
        "3:",
        // The number, and the array of its arguments, of which the seventh stands on the stack already.
        "sub rsp, 56", ".cfi_adjust_cfa_offset 56",
        "mov rax, qword ptr [rsp + 64]",
        "mov [rsp], rdi", "mov [rsp + 8], rsi", "mov [rsp + 16], rdx", "mov [rsp + 24], rcx", "mov [rsp + 32], r8",
        "mov [rsp + 40], r9", "mov [rsp + 48], rax",
        "mov rax, rdi", "mov rdi, rsi", "mov rsi, rdx", "mov rdx, rcx", "mov r10, r8",
        "call {by_number}",
        "mov eax, ecx",
        "test ecx, ecx", "jnz 4f",
        "mov rdi, [rsp]", "lea rsi, [rsp + 8]",
        "call {passes}",
        "movzx eax, al",
        "4:",
        "mov rdi, [rsp]", "mov rsi, [rsp + 8]", "mov rdx, [rsp + 16]", "mov rcx, [rsp + 24]", "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "add rsp, 56", ".cfi_adjust_cfa_offset -56",
        "test eax, eax", "jz 9f",
        "jmp qword ptr [rip + {real}]",
        "9:",
        "jmp {judged}",
        ".cfi_endproc",
        real = sym REAL, count = const BEHIND.len(), behind = sym BEHIND, line = sym LINE,
        inside = const offset_of!(Line, all_inside), always = const ALWAYS, forgets = const FORGETS, number = const NUMBER,
        unseen = sym fds::UNSEEN, by_number = sym quick::by_number, passes = sym first::passes_number, judged = sym judged,
    )
}

/// The rest of it, for all that is not surely the host's.
unsafe extern "C-unwind" fn judged(nr: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    // SAFETY: 0 is `None`; all else is what `resolve` found under this name.
    let real = unsafe { core::mem::transmute::<usize, Option<Prototype>>(REAL.load(Ordering::Relaxed)) };
    let real = real.map(|real| {
        // SAFETY: the real function, with the arguments that the program gave for it.
        move || unsafe { real(nr, a, b, c, d, e, f) }
    });
    asked::<c_long, false>(Call { nr, wanted: first::wanted(nr) }, a, b, c, d, e, f, real)
}

/// Finds the real function.
pub fn resolve() {
    REAL.store(next(c"syscall"), Ordering::Relaxed);
}
