//! The first level for calls on paths, in the few instructions that almost all of them need.
//!
//! A trampoline calls one of these functions with the registers of a system call. rcx is 1 afterwards if the call is surely the host's, else 0;
//! all else is as it was, but for r11. They look at a part of what [`first`] does: a page that is known to be readable, and two bytes of the path.

use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

use crate::fds;
use crate::first::{self, Wanted, section};
use crate::pages::{self, ENTRIES, PAGE, TAG_BITS};

/// What almost every call looks at, in one line of the processor's cache: a call of the host leaves little of ours in there.
#[repr(C, align(64))]
pub struct Line {
    /// How many reasons there are to let no call pass.
    pub reasons: AtomicU32,
    /// Whether relative paths go to the rump kernel.
    pub inside: AtomicBool,
    /// Whether any path may.
    pub all: AtomicBool,
    /// No reason: the first eight bytes are looked at together.
    nothing: [u8; 2],
    /// How often [`pages`] were forgotten; 0 is no generation.
    pub generation: AtomicU64,
    /// Whether each of libc's inner system calls comes through front door 2.
    pub all_inside: AtomicBool,
    /// How a relative path begins that may go to the rump kernel; 0 for none.
    pub relative: AtomicU8,
    /// By the byte after the slash of an absolute path: a bit, whether it may.
    pub absolute: [AtomicU8; 32],
}

const _: () = assert!(size_of::<Line>() == 64 && offset_of!(Line, nothing) == 6);

pub static LINE: Line = Line {
    reasons: AtomicU32::new(0),
    inside: AtomicBool::new(false),
    all: AtomicBool::new(false),
    nothing: [0; 2],
    generation: AtomicU64::new(1),
    all_inside: AtomicBool::new(false),
    relative: AtomicU8::new(0),
    absolute: [const { AtomicU8::new(0) }; 32],
};

/// Which registers of a call hold its paths, and the directories that those are relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// open(2): the first argument.
    First,
    /// symlink(2): the second.
    Second,
    /// openat(2): the second, relative to the first.
    FirstAt,
    /// symlinkat(2): the third, relative to the second.
    SecondAt,
    /// rename(2): the first and the second.
    Two,
    /// renameat(2): the second, relative to the first, and the fourth, relative to the third.
    TwoAt,
}

impl Paths {
    /// All of them.
    pub const ALL: [Paths; 6] =
        [Paths::First, Paths::Second, Paths::FirstAt, Paths::SecondAt, Paths::Two, Paths::TwoAt];

    /// The form of a call; `None` for one that only Rust can judge.
    pub const fn of(wanted: Wanted) -> Option<Paths> {
        const CWD: u8 = first::CWD;
        Some(match wanted {
            Wanted::At(CWD, 0) | Wanted::OutsideAt(CWD, 0) => Paths::First,
            Wanted::At(CWD, 1) => Paths::Second,
            Wanted::At(0, 1) | Wanted::OutsideAt(0, 1) => Paths::FirstAt,
            Wanted::At(1, 2) => Paths::SecondAt,
            Wanted::Two([CWD, 0, CWD, 1]) => Paths::Two,
            Wanted::Two([0, 1, 2, 3]) => Paths::TwoAt,
            _ => return None,
        })
    }

    /// Where it is judged.
    pub fn function(self) -> usize {
        let function = match self {
            Paths::First => one,
            Paths::Second => second,
            Paths::FirstAt => first_at,
            Paths::SecondAt => second_at,
            Paths::Two => two,
            Paths::TwoAt => two_at,
        };
        function as *const () as usize
    }
}

/// Whether a path relative to the working directory is surely the host's.
#[inline(always)]
pub fn is_host(path: usize) -> bool {
    let answer: usize;
    // SAFETY: the function changes nothing but what is declared.
    unsafe { core::arch::asm!("call {}", sym one, in("rdi") path, out("rcx") answer, out("r11") _) };
    answer != 0
}

/// The same of a path relative to the descriptor `dir`.
#[inline(always)]
pub fn is_host_at(dir: usize, path: usize) -> bool {
    let answer: usize;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("call {}", sym first_at, in("rdi") dir, in("rsi") path, out("rcx") answer, out("r11") _)
    };
    answer != 0
}

/// The same of two paths relative to the working directory.
#[inline(always)]
pub fn are_host(from: usize, to: usize) -> bool {
    let answer: usize;
    // SAFETY: as above.
    unsafe { core::arch::asm!("call {}", sym two, in("rdi") from, in("rsi") to, out("rcx") answer, out("r11") _) };
    answer != 0
}

/// The same of two paths relative to descriptors.
#[inline(always)]
pub fn are_host_at(dir: usize, from: usize, dir2: usize, to: usize) -> bool {
    let answer: usize;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "call {}", sym two_at, in("rdi") dir, in("rsi") from, in("rdx") dir2, in("r10") to,
            out("rcx") answer, out("r11") _,
        );
    }
    answer != 0
}

/// Defines a function by the registers of its directories and of its paths. A relative path is the host's only if the working directory
/// is, and then there may be more names that are not: hence that is looked at first.
macro_rules! quick {
    ($name:ident: $([$directory:literal, $low:literal])* / $([$path:literal, $relative:literal, $done:literal])+) => {
        #[unsafe(naked)]
        #[unsafe(link_section = section!())]
        pub unsafe extern "C-unwind" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "/* {here} {owned} */",
                "push rax", ".cfi_adjust_cfa_offset 8",
                "push r9", ".cfi_adjust_cfa_offset 8",
                // The flags in ax, at a tenth of the price of pushfq and popfq.
                "lahf", "seto al",
                "push rax", ".cfi_adjust_cfa_offset 8",
                "cmp qword ptr [rip + {line}], 0", "jne 9f",
                $(
                    concat!("cmp ", $directory, ", {here}"), "je 2f",
                    concat!("movzx eax, ", $low),
                    "lea rcx, [rip + {owned}]",
                    "cmp byte ptr [rcx + rax], 0", "jne 9f",
                    "2:",
                )*
                $(
                    concat!("mov r11, ", $path),
                    // Is the page known? See `pages::is_known`.
                    "mov rax, r11", "shr rax, {end}", "jnz 9f",
                    "mov rax, r11", "shr rax, {high}",
                    "mov r9, qword ptr [rip + {line} + {generation}]", "shl r9, {tag}", "or r9, rax",
                    "mov eax, r11d", "shr eax, {page}", "and eax, {entries} - 1",
                    "lea rcx, [rip + {known}]",
                    "cmp r9, qword ptr [rcx + 8 * rax]", "jne 9f",
                    // Are both bytes in it?
                    "lea eax, [r11 + 1]", "test eax, {bytes_of_page} - 1", "jz 9f",
                    "movzx eax, byte ptr [r11]", "cmp al, '/'", concat!("jne ", $relative, "f"),
                    "movzx eax, byte ptr [r11 + 1]", "mov ecx, eax", "shr ecx, 3", "and eax, 7",
                    "lea r9, [rip + {line} + {absolute}]",
                    "movzx ecx, byte ptr [r9 + rcx]",
                    "bt ecx, eax", "jc 9f",
                    concat!($done, ":"),
                )+
                "mov ecx, 1",
                "8:",
                "pop rax", ".cfi_adjust_cfa_offset -8",
                "add al, 0x7f", "sahf",
                "pop r9", ".cfi_adjust_cfa_offset -8",
                "pop rax", ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_adjust_cfa_offset 24",
                $(concat!($relative, ":"), "cmp al, byte ptr [rip + {line} + {relative}]", concat!("jne ", $done, "b"),)+
                "9:",
                "xor ecx, ecx",
                "jmp 8b",
                ".cfi_endproc",
                line = sym LINE, generation = const offset_of!(Line, generation), absolute = const offset_of!(Line, absolute),
                relative = const offset_of!(Line, relative), owned = sym fds::OWNED, known = sym pages::KNOWN,
                here = const libc::AT_FDCWD, page = const PAGE.trailing_zeros(), bytes_of_page = const PAGE,
                high = const (PAGE * ENTRIES).trailing_zeros(), tag = const TAG_BITS, entries = const ENTRIES,
                end = const (PAGE * ENTRIES).trailing_zeros() + TAG_BITS,
            )
        }
    };
}

quick!(one: / ["rdi", "3", "4"]);
quick!(second: / ["rsi", "3", "4"]);
quick!(first_at: ["edi", "di"] / ["rsi", "3", "4"]);
quick!(second_at: ["esi", "si"] / ["rdx", "3", "4"]);
quick!(two: / ["rdi", "3", "4"] ["rsi", "5", "6"]);
quick!(two_at: ["edi", "di"] ["edx", "dx"] / ["rsi", "3", "4"] ["r10", "5", "6"]);
