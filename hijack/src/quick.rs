//! The first level for calls on paths, in the few instructions that almost all of them need.
//!
//! A trampoline calls one of these functions with the registers of a system call. rcx is 1 afterwards if the call is surely the host's, else 0;
//! all else is as it was, but for r11. They look at a part of what [`first`] does: a page that is known to be readable, and two bytes of the path.

use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

use crate::first::{self, Wanted, section};
use crate::pages::{self, ENTRIES, PAGE};
use crate::{calls, fds};

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
    /// How often [`pages`] were forgotten, counted in [steps](pages::STEP); 0 is no generation.
    pub generation: AtomicU64,
    /// Whether each of libc's inner system calls comes through front door 2.
    pub all_inside: AtomicBool,
    /// How a relative path begins that may go to the rump kernel; 0 for none.
    pub relative: AtomicU8,
    /// By the byte after the slash of an absolute path: a bit, whether it may.
    pub absolute: [AtomicU32; 8],
}

const _: () = assert!(size_of::<Line>() == 64 && offset_of!(Line, nothing) == 6);

#[unsafe(link_section = hot!())]
pub static LINE: Line = Line {
    reasons: AtomicU32::new(0),
    inside: AtomicBool::new(false),
    all: AtomicBool::new(false),
    nothing: [0; 2],
    generation: AtomicU64::new(pages::STEP),
    all_inside: AtomicBool::new(false),
    relative: AtomicU8::new(0),
    absolute: [const { AtomicU32::new(0) }; 8],
};

/// Where the words stand that hooks look at on their way to the host: together, since each page of them costs something.
macro_rules! hot {
    () => {
        "rumphijack_hot"
    };
}
pub(crate) use hot;

/// Takes the address of a static of the library, which a plain reference reads from a table in another page.
macro_rules! near {
    ($name:path) => {{
        let at;
        // SAFETY: nothing but the address is taken.
        unsafe {
            core::arch::asm!(
                "lea {}, [rip + {}]", out(reg) at, sym $name, options(pure, nomem, nostack, preserves_flags)
            );
        }
        at
    }};
}
pub(crate) use near;

/// [`LINE`], by its address.
#[inline(always)]
pub fn line() -> &'static Line {
    let at: *const Line = near!(LINE);
    // SAFETY: a static.
    unsafe { &*at }
}

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
    /// syscall(2): what its number says. (Of no other call.)
    ByNumber,
}

impl Paths {
    /// All of them.
    pub const ALL: [Paths; 7] =
        [Paths::First, Paths::Second, Paths::FirstAt, Paths::SecondAt, Paths::Two, Paths::TwoAt, Paths::ByNumber];

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
            Paths::First => rumphijack_one,
            Paths::Second => rumphijack_second,
            Paths::FirstAt => rumphijack_first_at,
            Paths::SecondAt => rumphijack_second_at,
            Paths::Two => rumphijack_two,
            Paths::TwoAt => rumphijack_two_at,
            Paths::ByNumber => by_number,
        };
        function as *const () as usize
    }
}

/// Calls one of the functions below, with the registers that it looks at. The hooks share them with the trampolines: code that was just used is
/// still in the cache, where each function's own would be thrown out by the system call between two of its turns.
macro_rules! ask {
    ($name:ident, $($register:tt = $value:expr),+) => {{
        let host: usize;
        // SAFETY: the function reads memory that is known to be readable, and changes nothing but what is declared.
        unsafe {
            core::arch::asm!(
                "call {}", sym $name, $(in($register) $value,)+ out("rcx") host, out("r11") _, options(preserves_flags)
            );
        }
        host != 0
    }};
}

/// Whether a path relative to the working directory is surely the host's.
#[inline(always)]
pub fn is_host(path: usize) -> bool {
    ask!(rumphijack_one, "rdi" = path)
}

/// The same of a path relative to the descriptor `dir`.
#[inline(always)]
pub fn is_host_at(dir: usize, path: usize) -> bool {
    ask!(rumphijack_first_at, "rdi" = dir, "rsi" = path)
}

/// The same of two paths relative to the working directory.
#[inline(always)]
pub fn are_host(from: usize, to: usize) -> bool {
    ask!(rumphijack_two, "rdi" = from, "rsi" = to)
}

/// The same of two paths relative to descriptors.
#[inline(always)]
pub fn are_host_at(dir: usize, from: usize, dir2: usize, to: usize) -> bool {
    ask!(rumphijack_two_at, "rdi" = dir, "rsi" = from, "rdx" = dir2, "r10" = to)
}

/// The functions below, and at the end the answer for all else: in the order of [`FORMS`].
static FUNCTIONS: [unsafe extern "C-unwind" fn(); 10] = [
    rumphijack_one,
    rumphijack_second,
    rumphijack_first_at,
    rumphijack_second_at,
    rumphijack_two,
    rumphijack_two_at,
    descriptor,
    any,
    outside,
    unsure,
];

/// What is asked about call `nr`: the place of a function in [`FUNCTIONS`].
#[expect(clippy::indexing_slicing, reason = "the index is below the length")]
static FORMS: [u8; 1024] = {
    let mut forms = [0; 1024];
    let mut nr = 0;
    while nr < forms.len() {
        let wanted = calls::wanted(nr);
        forms[nr] = match (Paths::of(wanted), wanted) {
            (Some(paths), _) => paths as u8,
            (None, Wanted::Fd(0)) => 6,
            (None, Wanted::No) => 7,
            (None, Wanted::Inside) => 8,
            _ => 9,
        };
        nr += 1;
    }
    forms
};

/// Defines a function by the registers of its directories and of its paths. A relative path is the host's only if the working directory
/// is, and then there may be more names that are not: hence that is looked at first.
///
/// The common way has no jump that is taken, and few lines of the cache: after a system call jumps are not foreseen, and lines are gone.
macro_rules! quick {
    ($name:literal: $([$directory:literal, $low:literal])* / $([$path:literal, $half:literal, $relative:literal, $done:literal])+) => {
        core::arch::global_asm!(
            concat!(".pushsection ", section!(), ",\"ax\",@progbits"),
            ".p2align 6",
            concat!(".globl ", $name), concat!(".hidden ", $name), concat!(".type ", $name, ", @function"),
            concat!($name, ":"),
            ".cfi_startproc",
            "/* {here} {owned} {nothing} */",
            "push rax", ".cfi_adjust_cfa_offset 8",
            // The flags in ax, at a tenth of the price of pushfq and popfq.
            "lahf", "seto al",
            "push rax", ".cfi_adjust_cfa_offset 8",
            "cmp qword ptr [rip + {line}], 0", "jne 9f",
            $(
                // The working directory has no entry.
                concat!("movzx eax, ", $low), "lea rcx, [rip + {owned}]", "add rcx, rax",
                "lea r11, [rip + {line} + {nothing}]", concat!("cmp ", $directory, ", {here}"), "cmove rcx, r11",
                "cmp byte ptr [rcx], 0", "jne 9f",
            )*
            $(
                // Is the page known? See `pages::is_known`.
                concat!("mov rcx, ", $path), "shr rcx, {high}", "add rcx, qword ptr [rip + {line} + {generation}]",
                concat!("mov eax, ", $half), "shr eax, {page}", "and eax, {entries} - 1",
                "lea r11, [rip + {known}]",
                "cmp rcx, qword ptr [r11 + 8 * rax]", "jne 9f",
                // Are both bytes in it?
                concat!("lea eax, [", $path, " + 1]"), "test eax, {bytes_of_page} - 1", "jz 9f",
                concat!("movzx eax, word ptr [", $path, "]"), "cmp al, '/'", concat!("jne ", $relative, "f"),
                "movzx eax, ah",
                "bt dword ptr [rip + {line} + {absolute}], eax", "jc 9f",
                concat!($done, ":"),
            )+
            "mov ecx, 1",
            "8:",
            "pop rax", ".cfi_adjust_cfa_offset -8",
            "add al, 0x7f", "sahf",
            "pop rax", ".cfi_adjust_cfa_offset -8",
            "ret",
            ".cfi_adjust_cfa_offset 16",
            $(concat!($relative, ":"), "cmp al, byte ptr [rip + {line} + {relative}]", concat!("jne ", $done, "b"),)+
            "9:",
            "xor ecx, ecx",
            "jmp 8b",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            line = sym LINE, generation = const offset_of!(Line, generation), absolute = const offset_of!(Line, absolute),
            relative = const offset_of!(Line, relative), nothing = const offset_of!(Line, nothing),
            owned = sym fds::OWNED, known = sym pages::KNOWN,
            here = const libc::AT_FDCWD, page = const PAGE.trailing_zeros(), bytes_of_page = const PAGE,
            high = const (PAGE * ENTRIES).trailing_zeros(), entries = const ENTRIES,
        );
    };
}

quick!("rumphijack_one": / ["rdi", "edi", "3", "4"]);
quick!("rumphijack_second": / ["rsi", "esi", "3", "4"]);
quick!("rumphijack_first_at": ["edi", "di"] / ["rsi", "esi", "3", "4"]);
quick!("rumphijack_second_at": ["esi", "si"] / ["rdx", "edx", "3", "4"]);
quick!("rumphijack_two": / ["rdi", "edi", "3", "4"] ["rsi", "esi", "5", "6"]);
quick!("rumphijack_two_at": ["edi", "di"] ["edx", "dx"] / ["rsi", "esi", "3", "4"] ["r10", "r10d", "5", "6"]);

unsafe extern "C-unwind" {
    fn rumphijack_one();
    fn rumphijack_second();
    fn rumphijack_first_at();
    fn rumphijack_second_at();
    fn rumphijack_two();
    fn rumphijack_two_at();
}

/// By the number in rax, whose low half is below 1024: what the call of this number is judged by.
#[unsafe(naked)]
#[unsafe(link_section = section!())]
pub unsafe extern "C-unwind" fn by_number() {
    // No flag changes.
    core::arch::naked_asm!(
        "lea r11, [rip + {forms}]", "movzx ecx, ax", "movzx ecx, byte ptr [r11 + rcx]",
        "lea r11, [rip + {functions}]", "jmp qword ptr [r11 + 8 * rcx]",
        forms = sym FORMS, functions = sym FUNCTIONS,
    )
}

/// Whether the first argument is surely a descriptor of the host's.
#[unsafe(naked)]
#[unsafe(link_section = section!())]
unsafe extern "C-unwind" fn descriptor() {
    core::arch::naked_asm!(
        "movzx ecx, di", "lea r11, [rip + {owned}]", "movzx ecx, byte ptr [r11 + rcx]",
        "jrcxz 2f", "mov ecx, 0", "ret",
        "2:", "jmp {any}",
        owned = sym fds::OWNED, any = sym any,
    )
}

/// Any call that the table does not want.
#[unsafe(naked)]
#[unsafe(link_section = section!())]
unsafe extern "C-unwind" fn any() {
    core::arch::naked_asm!(
        "mov ecx, dword ptr [rip + {line}]",
        "jrcxz 2f", "mov ecx, 0", "ret",
        "2:", "mov ecx, 1", "ret",
        line = sym LINE,
    )
}

/// A call that is wanted while the working directory is in the rump kernel.
#[unsafe(naked)]
#[unsafe(link_section = section!())]
unsafe extern "C-unwind" fn outside() {
    core::arch::naked_asm!(
        "mov rcx, qword ptr [rip + {line}]",
        "jrcxz 2f", "mov ecx, 0", "ret",
        "2:", "mov ecx, 1", "ret",
        line = sym LINE,
    )
}

/// A call that is judged elsewhere.
#[unsafe(naked)]
#[unsafe(link_section = section!())]
unsafe extern "C-unwind" fn unsure() {
    core::arch::naked_asm!("mov ecx, 0", "ret")
}
