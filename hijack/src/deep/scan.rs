//! Finds the system calls of an object that are wanted, and the place where each can be left for a trampoline.
//!
//! The place is one whole instruction before the `syscall`, which itself stays where it is: so no thread ever stands inside
//! the bytes that change, and a call that was under way returns to code that is as it was.

use super::Wanted;
use super::code::{self, Code};
use super::frames::{Frames, Function};
use super::object::Object;
use core::arch::x86_64::{__m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
use core::ops::Range;
use iced_x86::{Code as Op, FlowControl, Mnemonic, Register};

/// Length of `jmp rel32`.
pub const JUMP: usize = 5;
/// Length of `jmp rel8`.
pub const SHORT_JUMP: usize = 2;
/// Farthest that a window may begin before its `syscall`.
const FARTHEST: usize = 32;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// `mov rax, 15` before `syscall`: debuggers and unwinders know a signal frame by exactly these bytes.
const SIGRETURN: [u8; 7] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0];
/// syscall(2) before its instruction: the number from rdi to rax, and each argument one register down.
const ANY_CALL: [u8; 23] = [
    0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8, 0x4c, 0x8b,
    0x4c, 0x24, 0x08,
];

/// Calls that are never taken, whatever the table wants: the child of the first group would come back into Rust frames
/// of another stack, and the others end a frame or a thread, or are too hot to be of use.
const REFUSED: [i64; 7] = [
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_vfork, libc::SYS_rt_sigreturn, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_futex,
];

/// What decides at a site whether Rust is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// The table entry of the descriptor in the first argument.
    FirstArgument,
    /// The table entry of the descriptor in the fifth argument.
    FifthArgument,
    /// Nothing: Rust is always asked.
    Always,
    /// The call's number, known only at run time, and then the descriptor.
    Number,
}

/// One `syscall` instruction, and the way out before it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Address of the `syscall`.
    pub syscall: usize,
    pub test: Test,
    /// First byte of the instruction that becomes a jump; the bytes from here to `syscall` move to the trampoline.
    pub window: usize,
    /// Padding that holds the long jump where the instruction has room for a short one only.
    pub island: Option<usize>,
    pub function: Function,
    /// Where no branch from elsewhere may lead: behind the window, or between the instructions that set the number.
    guarded: Range<usize>,
}

/// Returns what the table wants of call `nr`, but for the calls that are never taken.
pub fn wanted(table: fn(usize) -> Wanted, nr: usize) -> Wanted {
    match REFUSED.iter().any(|refused| *refused as usize == nr) {
        true => Wanted::No,
        false => table(nr),
    }
}

/// Returns the sites of `object` whose calls `table` wants, in order of addresses.
pub fn sites(object: &Object, table: fn(usize) -> Wanted) -> Vec<Site> {
    let (Some(frames), Some(text)) = (Frames::of(object), object.bytes(object.text.clone())) else { return Vec::new() };
    let mut sites: Vec<Site> = Vec::new();
    let mut last: Option<(Function, Option<Code>)> = None;
    each_match(text, is_syscall, |offset| {
        if plainly_unwanted(text.get(..offset).unwrap_or_default(), table) {
            return;
        }
        let address = object.text.start + offset;
        let Some(function) = frames.function_at(address) else { return };
        if last.as_ref().is_none_or(|(known, _)| *known != function) {
            last = Some((function.clone(), Code::decode(object, &function.range)));
        }
        if let Some((_, Some(code))) = &last {
            let before = text.get(..offset).unwrap_or_default();
            sites.extend(site(&frames, code, function, address, before, table, &sites));
        }
    });
    let entered = entered(object.text.start, text, &sites);
    let mut entered = entered.iter();
    sites.retain(|_| entered.next() == Some(&false));
    sites
}

/// Tells without decoding that the call which `before` leads to is not wanted: its number is set directly before it,
/// or it is the return from a signal handler.
fn plainly_unwanted(before: &[u8], table: fn(usize) -> Wanted) -> bool {
    if before.ends_with(&SIGRETURN) {
        return true;
    }
    match before.last_chunk::<5>() {
        Some([0xb8, a, b, c, d]) => wanted(table, u32::from_le_bytes([*a, *b, *c, *d]) as usize) == Wanted::No,
        _ => false,
    }
}

/// Examines one `syscall`; `None` if it is not wanted, its number is not certain, or it has no window.
fn site(
    frames: &Frames, code: &Code, function: Function, syscall: usize, before: &[u8], table: fn(usize) -> Wanted, taken: &[Site],
) -> Option<Site> {
    let index = code.index_of(syscall).filter(|index| code.get(*index).is_some_and(|at| at.code() == Op::Syscall))?;
    let (test, from, to) = if before.ends_with(&ANY_CALL) {
        (Test::Number, syscall, syscall)
    } else {
        let number = code.constant(index, Register::RAX)?;
        let test = match wanted(table, number.value) {
            Wanted::No => return None,
            Wanted::Fd(0) => Test::FirstArgument,
            Wanted::Fd(4) => Test::FifthArgument,
            Wanted::Fd(_) | Wanted::Always => Test::Always,
        };
        (test, number.from, number.to)
    };
    let (window, island) = match window(code, index, JUMP) {
        Some(window) => (window, None),
        None => {
            let window = window(code, index, SHORT_JUMP)?;
            (window, Some(island(frames, code, &function, window, taken)?))
        }
    };
    let guarded = from.min(window) + 1..to.max(syscall) + 1;
    Some(Site { syscall, test, window, island, function, guarded })
}

/// Returns the nearest instruction of at least `room` bytes before the `syscall` that can move together with what follows it.
fn window(code: &Code, syscall: usize, room: usize) -> Option<usize> {
    let end = code.address(syscall)?;
    for index in (0..syscall).rev() {
        let (instruction, start) = (code.get(index)?, code.address(index)?);
        let movable = instruction.flow_control() == FlowControl::Next && !instruction.is_ip_rel_memory_operand();
        if !movable || end - start > FARTHEST || code.is_target(start + 1..end + 1) {
            return None;
        }
        if instruction.len() >= room {
            return Some(start);
        }
    }
    None
}

/// Returns padding with room for a long jump, that a short jump at `from` reaches and no other site has.
fn island(frames: &Frames, code: &Code, function: &Function, from: usize, taken: &[Site]) -> Option<usize> {
    let near = |gap: &usize| {
        let distance = (*gap as isize).wrapping_sub((from + SHORT_JUMP) as isize);
        i8::try_from(distance).is_ok() && taken.iter().all(|site| site.island != Some(*gap))
    };
    let inside = padding_inside(code).into_iter().find(|gap| near(gap));
    inside.or_else(|| {
        let index = frames.index_of(function.range.start)?;
        let around = index.saturating_sub(4)..(index + 4).min(frames.len().saturating_sub(1));
        around.filter_map(|index| padding_behind(frames, index)).find(|gap| near(gap))
    })
}

/// Lists runs of no-operations inside a function that no way leads to.
fn padding_inside(code: &Code) -> Vec<usize> {
    let mut gaps = Vec::new();
    let mut index = 1;
    while let (Some(before), Some(start)) = (index.checked_sub(1).and_then(|before| code.get(before)), code.address(index)) {
        let run = (index..).take_while(|&at| code.get(at).is_some_and(|at| at.mnemonic() == Mnemonic::Nop)).count();
        let end = code.address(index + run);
        if !code::falls_through(before)
            && let Some(end) = end
            && end - start >= JUMP
            && !code.is_target(start..end)
        {
            gaps.push(start);
        }
        index += run.max(1);
    }
    gaps
}

/// Returns the start of the padding between function `index` and the next, if it is all no-operations and long enough.
fn padding_behind(frames: &Frames, index: usize) -> Option<usize> {
    let gap = frames.function(index)?.range.end..frames.function(index + 1)?.range.start;
    let code = Code::decode(frames.object(), &gap).filter(|_| gap.len() >= JUMP && gap.len() < 64)?;
    let idle = |mnemonic| matches!(mnemonic, Mnemonic::Nop | Mnemonic::Int3);
    (0..).map_while(|index| code.get(index)).all(|padding| idle(padding.mnemonic())).then_some(gap.start)
}

/// Tells for each site whether some call or jump elsewhere in the text leads into its guarded bytes.
///
/// Each byte is taken for the start of an instruction, so what is found may not be one; that costs a site at worst.
fn entered(base: usize, text: &[u8], sites: &[Site]) -> Vec<bool> {
    const LINE: usize = 64;
    let mut lines = vec![false; text.len() / LINE + 1];
    for site in sites {
        let first = site.guarded.start.saturating_sub(base) / LINE;
        let last = site.guarded.end.saturating_sub(base) / LINE;
        lines.iter_mut().take(last + 1).skip(first).for_each(|line| *line = true);
    }
    let mut entered = vec![false; sites.len()];
    each_match(text, is_branch, |offset| {
        let Some(rest) = text.get(offset..) else { return };
        let operand = if rest.first() == Some(&0x0f) { 2 } else { 1 };
        let Some(distance) = rest.get(operand..).and_then(|rest| rest.first_chunk::<4>()) else { return };
        let target = (offset + operand + 4).wrapping_add_signed(i32::from_le_bytes(*distance) as isize);
        if lines.get(target / LINE) == Some(&true) {
            let (source, target) = (base + offset, base + target);
            for (site, entered) in sites.iter().zip(&mut entered) {
                *entered |= site.guarded.contains(&target) && !site.function.range.contains(&source);
            }
        }
    });
    entered
}

/// Marks the bytes where `syscall` stands; `next` holds the bytes one further.
fn is_syscall(bytes: __m128i, next: __m128i) -> __m128i {
    let [first, second] = SYSCALL.map(|byte| _mm_set1_epi8(byte as i8));
    _mm_and_si128(_mm_cmpeq_epi8(bytes, first), _mm_cmpeq_epi8(next, second))
}

/// Marks the bytes where a call or jump with a 32-bit distance may begin: E8, E9, 0F 80 to 0F 8F.
fn is_branch(bytes: __m128i, next: __m128i) -> __m128i {
    let masked = |bytes, mask: u8, value: u8| _mm_cmpeq_epi8(_mm_and_si128(bytes, _mm_set1_epi8(mask as i8)), _mm_set1_epi8(value as i8));
    _mm_or_si128(masked(bytes, 0xfe, 0xe8), _mm_and_si128(masked(bytes, 0xff, 0x0f), masked(next, 0xf0, 0x80)))
}

/// Calls `hit` with each offset of `text` that `matches` marks; 16 bytes are looked at together.
fn each_match(text: &[u8], matches: impl Fn(__m128i, __m128i) -> __m128i, mut hit: impl FnMut(usize)) {
    for (block, window) in text.windows(17).step_by(16).enumerate() {
        // SAFETY: the window holds 17 bytes, 16 from its first and 16 from its second.
        let (bytes, next) = unsafe {
            let start = window.as_ptr();
            (_mm_loadu_si128(start.cast()), _mm_loadu_si128(start.add(1).cast()))
        };
        let mut marks = _mm_movemask_epi8(matches(bytes, next)) as u32;
        while marks != 0 {
            hit(block * 16 + marks.trailing_zeros() as usize);
            marks &= marks - 1;
        }
    }
}
