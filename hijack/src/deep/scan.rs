//! Finds the system calls of an object that are wanted, and the place where each can be left for a trampoline.
//!
//! The place is one whole instruction before the `syscall`, which itself stays where it is: so no thread ever stands inside
//! the bytes that change, and a call that was under way returns to code that is as it was.

use super::code::{self, Code};
use super::frames::{Frames, Function};
use super::object::Object;
use super::{Door, Forgets, Paths, Wanted};
use core::ops::Range;
use iced_x86::{Code as Op, FlowControl, Mnemonic, Register};

/// Length of `jmp rel32`.
pub const JUMP: usize = 5;
/// Length of `jmp rel8`.
pub const SHORT_JUMP: usize = 2;
/// What is stored at once.
const WORD: usize = 8;
/// Farthest that a window may begin before its `syscall`.
pub const FARTHEST: usize = 32;
/// `mov rax, 15` before `syscall`: debuggers and unwinders know a signal frame by exactly these bytes.
const SIGRETURN: [u8; 7] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0];
/// syscall(2) before its instruction: the number from rdi to rax, and each argument one register down.
const ANY_CALL: [u8; 23] = [
    0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8, 0x4c,
    0x8b, 0x4c, 0x24, 0x08,
];

/// Calls that are never taken, whatever the table wants: the child of the first group would come back into Rust frames
/// of another stack, and the others end a frame or a thread, or are too hot to be of use.
const REFUSED: [i64; 8] = [
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
];

/// What decides at a site whether Rust is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Nothing: Rust is never asked.
    Never,
    /// The table entry of the descriptor in the first argument.
    FirstArgument,
    /// The table entry of the descriptor in the fifth argument.
    FifthArgument,
    /// Nothing: Rust is always asked.
    Always,
    /// The paths, by [`Door::quick`].
    Paths(Paths),
    /// The call's number, known only at run time, and then the descriptor.
    Number,
}

/// One `syscall` instruction, and the way out before it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Address of the `syscall`.
    pub syscall: usize,
    pub test: Test,
    /// When the call can make memory unreadable.
    pub forgets: Forgets,
    /// First byte of the instruction that becomes a jump; the bytes from here to `syscall` move to the trampoline.
    pub window: usize,
    /// Padding that holds the long jump where the instruction has room for a short one only.
    pub island: Option<usize>,
    pub function: Function,
    /// Where no branch from elsewhere may lead: behind the window, or between the instructions that set the number.
    pub guarded: Range<usize>,
}

/// Returns what the table wants of call `nr`, but for the calls that are never taken.
pub fn wanted(table: fn(usize) -> Wanted, nr: usize) -> Wanted {
    match REFUSED.iter().any(|refused| *refused as usize == nr) {
        true => Wanted::No,
        false => table(nr),
    }
}

/// Returns what is tested before call `nr`; `None` if the call is not wanted at all.
pub fn test(door: &Door, nr: usize) -> Option<(Test, Forgets)> {
    let forgets = (door.forgets)(nr);
    let test = match wanted(door.wanted, nr) {
        Wanted::No if forgets == Forgets::No => return None,
        Wanted::No => Test::Never,
        Wanted::Fd(0) => Test::FirstArgument,
        Wanted::Fd(4) => Test::FifthArgument,
        wanted => Paths::of(wanted).filter(|_| door.quick.is_some()).map_or(Test::Always, Test::Paths),
    };
    Some((test, forgets))
}

/// What an object has.
#[derive(Debug, Default)]
pub struct Sites {
    /// The wanted system calls that can be left for a trampoline, in order of addresses.
    pub found: Vec<Site>,
    /// How many wanted ones stay with the host.
    pub missed: usize,
}

/// Returns the sites of `object` whose calls the door wants.
pub fn sites(object: &Object, door: &Door) -> Sites {
    let (Some(frames), Some(text)) = (Frames::of(object), object.bytes(object.text.clone())) else {
        return Sites::default();
    };
    let (mut sites, mut missed): (Vec<Site>, usize) = (Vec::new(), 0);
    let mut last: Option<(Function, Option<Code>)> = None;
    each_match(text, is_syscall, |offset| {
        if plainly_unwanted(text.get(..offset).unwrap_or_default(), door) {
            return;
        }
        let address = object.text.start + offset;
        let Some(function) = frames.function_at(address) else { return };
        if last.as_ref().is_none_or(|(known, _)| *known != function) {
            last = Some((function.clone(), Code::decode(object, &function.range)));
        }
        if let Some((_, Some(code))) = &last {
            let before = text.get(..offset).unwrap_or_default();
            match site(&frames, code, function, address, before, door, &sites) {
                Some(Some(site)) => sites.push(site),
                Some(None) => missed += 1,
                None => {}
            }
        }
    });
    if sites.is_empty() {
        return Sites { found: sites, missed };
    }
    let entered = entered(object.text.start, text, &sites);
    let mut entered = entered.iter();
    let before = sites.len();
    sites.retain(|_| entered.next() == Some(&false));
    missed += before - sites.len();
    Sites { found: sites, missed }
}

/// Tells without decoding that the call which `before` leads to is not wanted: its number is set directly before it,
/// or it is the return from a signal handler.
fn plainly_unwanted(before: &[u8], door: &Door) -> bool {
    if before.ends_with(&SIGRETURN) {
        return true;
    }
    match before.last_chunk::<5>() {
        Some([0xb8, a, b, c, d]) => test(door, u32::from_le_bytes([*a, *b, *c, *d]) as usize).is_none(),
        _ => false,
    }
}

/// Examines one `syscall`; `None` if it is not wanted or its number is not certain, `Some(None)` if it has no window.
fn site(
    frames: &Frames,
    code: &Code,
    function: Function,
    syscall: usize,
    before: &[u8],
    door: &Door,
    taken: &[Site],
) -> Option<Option<Site>> {
    let index = code.index_of(syscall).filter(|index| code.get(*index).is_some_and(|at| at.code() == Op::Syscall))?;
    let ((test, forgets), from, to) = if before.ends_with(&ANY_CALL) {
        ((Test::Number, Forgets::No), syscall, syscall)
    } else {
        let number = code.constant(index, Register::RAX)?;
        (test(door, number.value)?, number.from, number.to)
    };
    let place = window(code, index, JUMP).map(|window| (window, None)).or_else(|| {
        let window = window(code, index, SHORT_JUMP)?;
        Some((window, Some(island(frames, code, &function, window, taken)?)))
    });
    Some(place.map(|(window, island)| {
        let guarded = from.min(window) + 1..to.max(syscall) + 1;
        Site { syscall, test, forgets, window, island, function, guarded }
    }))
}

/// Returns an instruction of at least `room` bytes before the `syscall` that can move together with what follows it: the nearest
/// whose first `room` bytes lie in one aligned word, where a jump can be stored at once, else the nearest.
fn window(code: &Code, syscall: usize, room: usize) -> Option<usize> {
    let end = code.address(syscall)?;
    let mut nearest = None;
    for index in (0..syscall).rev() {
        let (instruction, start) = (code.get(index)?, code.address(index)?);
        let movable = instruction.flow_control() == FlowControl::Next && !instruction.is_ip_rel_memory_operand();
        if !movable || end - start > FARTHEST || code.is_target(start + 1..end + 1) {
            break;
        }
        if instruction.len() >= room {
            if start % WORD + room <= WORD {
                return Some(start);
            }
            nearest = nearest.or(Some(start));
        }
    }
    nearest
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
    let mut index = 1usize;
    while let (Some(before), Some(start)) =
        (index.checked_sub(1).and_then(|before| code.get(before)), code.address(index))
    {
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

/// Returns the byte `value` eight times.
const fn eight(value: u8) -> u64 {
    u64::from_ne_bytes([value; 8])
}

/// Returns 0x80 for each byte of `word` that equals `value` under `mask`, and zero for the others.
const fn equal(word: u64, mask: u8, value: u8) -> u64 {
    let (difference, low) = ((word & eight(mask)) ^ eight(value), eight(0x7f));
    !(((difference & low) + low) | difference | low)
}

/// Marks the bytes where `syscall` stands; `next` holds the bytes one further.
fn is_syscall(word: u64, next: u64) -> u64 {
    equal(word, 0xff, 0x0f) & equal(next, 0xff, 0x05)
}

/// Marks the bytes where a call or jump with a 32-bit distance may begin: E8, E9, 0F 80 to 0F 8F.
fn is_branch(word: u64, next: u64) -> u64 {
    equal(word, 0xfe, 0xe8) | (equal(word, 0xff, 0x0f) & equal(next, 0xf0, 0x80))
}

/// Calls `hit` with each offset of `text` that `marks` marks; eight bytes are looked at together.
fn each_match(text: &[u8], marks: impl Fn(u64, u64) -> u64, mut hit: impl FnMut(usize)) {
    let (words, _) = text.as_chunks::<8>();
    let following = text.get(1..).unwrap_or_default().as_chunks::<8>().0;
    for (block, (word, next)) in words.iter().zip(following).enumerate() {
        let mut marks = marks(u64::from_le_bytes(*word), u64::from_le_bytes(*next));
        while marks != 0 {
            hit(block * 8 + marks.trailing_zeros() as usize / 8);
            marks &= marks - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object;
    use super::*;

    fn all(_: usize) -> Wanted {
        Wanted::Always
    }

    fn door(wanted: fn(usize) -> Wanted) -> Door {
        extern "C-unwind" fn passes(_: usize, _: &[usize; 6]) -> bool {
            false
        }
        Door { wanted, passes, forgets: |_| Forgets::No, ..super::super::tests::DOOR_FOR_TESTS }
    }

    #[test]
    fn matches_are_found_at_any_place() {
        let mut text = vec![0x0f; 64];
        text.extend([0x05, 0x90, 0x0f, 0x05, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut found = Vec::new();
        each_match(&text, is_syscall, |offset| found.push(offset));
        assert_eq!(found, [63, 66]);
        found.clear();
        each_match(&[0xe8, 0xe7, 0xe9, 0x0f, 0x8f, 0x0f, 0x90, 0x80, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0], is_branch, |at| {
            found.push(at)
        });
        assert_eq!(found, [0, 2, 3]);
    }

    #[test]
    fn each_window_is_a_whole_instruction_before_its_syscall() {
        for object in object::loaded() {
            let sites = sites(&object, &door(all)).found;
            let least = match object.name.as_str() {
                "libc.so.6" => 200,
                "ld-linux-x86-64.so.2" => 15,
                _ => 0,
            };
            assert!(sites.len() >= least, "{}: {}", object.name, sites.len());
            for site in &sites {
                assert_eq!(object.bytes(site.syscall..site.syscall + 2), Some(&[0x0f, 0x05][..]));
                let code = Code::decode(&object, &site.function.range).unwrap();
                let first = code.get(code.index_of(site.window).unwrap()).unwrap();
                assert!(first.len() >= if site.island.is_some() { SHORT_JUMP } else { JUMP });
                assert!(!code.is_target(site.window + 1..site.syscall + 1));
                let before = object.bytes(site.window..site.syscall).unwrap();
                assert!(!before.ends_with(&SIGRETURN) && before.len() <= FARTHEST);
            }
        }
    }

    #[test]
    fn syscall_itself_is_found_and_tests_the_number() {
        let objects = object::loaded();
        let libc = objects.iter().find(|object| object.name == "libc.so.6").unwrap();
        let sites = sites(libc, &door(|_| Wanted::No)).found;
        assert_eq!(sites.iter().map(|site| site.test).collect::<Vec<_>>(), [Test::Number]);
    }

    #[test]
    fn whatever_can_make_memory_unreadable_has_a_site() {
        for object in object::loaded().into_iter().filter(|object| object::NAMES.contains(&object.name.as_str())) {
            let door = Door { forgets: crate::pages::forgets, ..door(|_| Wanted::No) };
            let sites = sites(&object, &door);
            let with = |forgets| sites.found.iter().filter(|site| site.forgets == forgets).count();
            assert_eq!(sites.missed, 0, "{}", object.name);
            assert!(with(Forgets::Always) >= 1 && with(Forgets::Fixed) >= 1 && with(Forgets::Protected) >= 1);
        }
    }

    #[test]
    fn calls_that_start_threads_or_end_frames_are_never_taken() {
        for refused in [libc::SYS_clone, libc::SYS_vfork, libc::SYS_rt_sigreturn, libc::SYS_futex] {
            assert_eq!(wanted(all, refused as usize), Wanted::No);
        }
        assert_eq!(wanted(all, libc::SYS_read as usize), Wanted::Always);
    }
}
