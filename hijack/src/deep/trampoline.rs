//! Trampolines: where a patched system call goes, and where the arena that holds them lies.
//!
//! A trampoline does what was displaced, looks the descriptor up, and either executes the `syscall` with the registers and the
//! stack that libc gave it, or asks Rust first. At this point rcx and r11 are free, since the kernel destroys them. The flags
//! are not free, since the kernel restores them: hence `movzx`, `lea`, `loop` and `jrcxz`. No stack is used on the native way, so calls
//! that come back on another stack, signals, restarts and longjmp behave as in libc.

use super::object::Object;
use super::patch;
use super::scan::{Site, Test};
use super::{Forgets, Paths};
use crate::pages;
use core::ops::Range;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Upper bound of a trampoline's size: 32 bytes moved, 68 of tests, 64 for the rest, twice 41 to forget.
const ROOM: usize = 256;
/// A trampoline begins with a line of the processor's cache, which then holds all of the native way.
const LINE: usize = 64;
const INT3: u8 = 0xcc;
/// First bytes of the arena: the address of the stub, and those of [`Targets::quick`].
const SLOT: usize = 64;
const WORD: usize = 8;
const _: () = assert!(WORD + WORD * Paths::ALL.len() <= SLOT);
const PAGE: usize = 4096;
/// Distance between two places tried for the arena.
const STEP: usize = 2 << 20;
/// How far the arena may lie from the text, so that all of both is in reach of a 32-bit distance.
const REACH: usize = 1 << 30;

/// One trampoline: its addresses in the arena.
pub struct Trampoline {
    pub code: Range<usize>,
    /// The parts in which rsp stands 128 bytes below libc's, in order.
    pub stepped: Vec<Range<usize>>,
}

/// Addresses that trampolines contain.
pub struct Targets {
    pub stub: usize,
    /// What judges calls on paths, for each of [`Paths::ALL`].
    pub quick: [usize; Paths::ALL.len()],
    /// 64 Ki bytes by the low half of a descriptor: zero = certainly the host's.
    pub owned: usize,
    /// 64 Ki bytes by the low half of a call number: 0 = native, 1 = look at the descriptor, 2 = ask, 3 = native and forget.
    pub numbers: usize,
    /// The word that counts how often memory may have become unreadable.
    pub generation: usize,
}

/// Where the distances of a test's jumps have to go.
#[derive(Default)]
struct Jumps {
    /// To the native call.
    native: Vec<usize>,
    /// To where Rust is asked.
    ask: Option<usize>,
    /// To the native call that forgets.
    forgetting: Option<usize>,
    /// To the look at the first argument.
    descriptor: Option<usize>,
}

const INDEX_DI: [u8; 3] = [0x0f, 0xb7, 0xcf]; // movzx ecx, di

/// Machine code that is being written for a known address.
struct Code {
    base: usize,
    bytes: Vec<u8>,
}

impl Code {
    fn here(&self) -> usize {
        self.base + self.bytes.len()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes an instruction that ends in a 32-bit distance to `target`.
    fn relative(&mut self, opcode: &[u8], target: usize) {
        self.put(opcode);
        let distance = target.wrapping_sub(self.here() + 4) as u32;
        self.put(&distance.to_le_bytes());
    }

    /// Writes a call of `target`, straight if it is in reach, else by the word at `slot` that holds it.
    fn call(&mut self, target: usize, slot: usize) {
        let distance = target.wrapping_sub(self.here() + 5) as isize;
        match i32::try_from(distance) {
            Ok(_) => self.relative(&[0xe8], target),
            Err(_) => self.relative(&[0xff, 0x15], slot),
        }
    }

    /// Writes `jrcxz` and returns where its distance has to go.
    fn jump_if_zero(&mut self) -> usize {
        self.put(&[0xe3, 0]);
        self.bytes.len() - 1
    }

    /// Makes the jumps at `places` lead here.
    fn land(&mut self, places: &[usize]) {
        let here = self.bytes.len();
        for &place in places {
            if let Some(distance) = self.bytes.get_mut(place) {
                *distance = (here - place - 1) as u8;
            }
        }
    }

    /// Writes `movabs r11, table; movzx ecx, byte [r11 + rcx]`.
    fn look_up(&mut self, table: usize) {
        self.put(&[0x49, 0xbb]);
        self.put(&table.to_le_bytes());
        self.put(&[0x41, 0x0f, 0xb6, 0x0c, 0x0b]);
    }

    /// Writes the test of a site, and returns the jumps to take.
    fn test(&mut self, test: Test, targets: &Targets) -> Jumps {
        const INDEX_R8: [u8; 4] = [0x41, 0x0f, 0xb7, 0xc8]; // movzx ecx, r8w
        const INDEX_AX: [u8; 3] = [0x0f, 0xb7, 0xc8]; // movzx ecx, ax
        const ONE_MORE: [u8; 3] = [0x8d, 0x49, 0x01]; // lea ecx, [rcx + 1]
        const ONE_LESS: [u8; 3] = [0x8d, 0x49, 0xff]; // lea ecx, [rcx - 1]
        const TWO_LESS: [u8; 3] = [0x8d, 0x49, 0xfe]; // lea ecx, [rcx - 2]
        let mut jumps = Jumps::default();
        match test {
            Test::Never | Test::Always | Test::Paths(_) => {}
            Test::FirstArgument | Test::FifthArgument => {
                self.put(if test == Test::FirstArgument { &INDEX_DI } else { &INDEX_R8 });
                self.look_up(targets.owned);
                self.put(&ONE_MORE);
                self.put(&[0xe2, 0]); // loop: one less, and jump unless that is zero
                jumps.ask = Some(self.bytes.len() - 1);
            }
            Test::Number => {
                self.put(&INDEX_AX);
                self.look_up(targets.numbers);
                jumps.native.push(self.jump_if_zero());
                self.put(&ONE_LESS);
                jumps.descriptor = Some(self.jump_if_zero());
                self.put(&TWO_LESS);
                jumps.forgetting = Some(self.jump_if_zero());
            }
        }
        jumps
    }

    /// Writes `jrcxz` to a place behind.
    fn back_if_zero(&mut self, place: usize) {
        self.put(&[0xe3, 0]);
        self.back(place);
    }

    /// Makes the short jump just written lead to a place behind.
    fn back(&mut self, place: usize) {
        let distance = place.wrapping_sub(self.bytes.len()) as u8;
        self.bytes.last_mut().into_iter().for_each(|last| *last = distance);
    }

    /// Counts the generation up if the call can have made memory unreadable. rcx and r11 are free here too; the flags are not.
    fn forget(&mut self, forgets: Forgets, generation: usize) {
        let condition: &[u8] = match forgets {
            Forgets::No => return,
            Forgets::Always => &[],
            // mov r11d, edx; not r11d; test r11b, PROT_READ | PROT_WRITE; jz
            Forgets::Protected => &[0x41, 0x89, 0xd3, 0x41, 0xf7, 0xd3, 0x41, 0xf6, 0xc3, 0x03, 0x74, 0],
            Forgets::Fixed => &[0x41, 0xf6, 0xc2, 0x10, 0x74, 0], // test r10b, MAP_FIXED; jz
            Forgets::Guarded => &[0xf6, 0xc2, 0x40, 0x74, 0],     // test dl, 64; jz
        };
        self.put(&[0x48, 0x89, 0xc1, 0x9f, 0x0f, 0x90, 0xc0]); // mov rcx, rax; lahf; seto al
        self.put(condition);
        let over = self.bytes.len() - 1;
        self.put(&[0x49, 0xbb]);
        self.put(&generation.to_le_bytes());
        self.put(&[0xf0, 0x49, 0x81, 0x03]); // lock add qword [r11], pages::STEP
        self.put(&(pages::STEP as u32).to_le_bytes());
        if !condition.is_empty() {
            self.land(&[over]);
        }
        self.put(&[0x04, 0x7f, 0x9e, 0x48, 0x89, 0xc8]); // add al, 127; sahf; mov rax, rcx
    }

    /// Writes the native call and the way back.
    fn native(&mut self, forgets: Forgets, targets: &Targets, behind: usize) {
        self.put(&[0x0f, 0x05]);
        self.forget(forgets, targets.generation);
        self.relative(&[0xe9], behind);
    }

    /// Writes the trampoline of `site`, whose displaced bytes are `moved`.
    fn trampoline(&mut self, site: &Site, moved: &[u8], slot: usize, targets: &Targets) -> Trampoline {
        let behind = site.syscall + 2;
        self.bytes.resize(self.bytes.len().next_multiple_of(LINE), INT3);
        let start = self.here();
        self.put(moved);
        let mut jumps = self.test(site.test, targets);
        let mut stepped = Vec::new();
        let paths = match site.test {
            Test::Paths(paths) => Some(paths),
            Test::Number => Some(Paths::ByNumber),
            _ => None,
        };
        let place = paths.and_then(|paths| Paths::ALL.iter().position(|other| *other == paths));
        let place = place.filter(|at| targets.quick.get(*at).is_some_and(|function| *function != 0));
        // The common case falls through: after a system call few jumps are foreseen.
        let asking = self.bytes.len();
        let mut unsure = None;
        if let Some(at) = place {
            stepped.push(self.over_red_zone(|code| {
                code.call(targets.quick.get(at).copied().unwrap_or_default(), slot + WORD + WORD * at);
                unsure = Some(code.jump_if_zero());
            }));
        } else if site.test != Test::Never && jumps.ask.is_none() {
            stepped.push(self.over_red_zone(|code| code.relative(&[0xff, 0x15], slot))); // call [rip + slot]
            jumps.native.push(self.jump_if_zero());
            self.relative(&[0xe9], behind);
        }
        let native = self.bytes.len();
        self.land(&jumps.native);
        self.native(site.forgets, targets, behind);
        if let Some(forgetting) = jumps.forgetting {
            self.land(&[forgetting]);
            self.native(Forgets::Always, targets, behind);
        }
        if let Some(ask) = jumps.ask {
            self.land(&[ask]);
            self.put(&STEP_DOWN);
        }
        // An unsure judge leaves the stack below the red zone.
        self.land(unsure.as_slice());
        if unsure.or(jumps.ask).is_some() {
            let start = self.here();
            self.relative(&[0xff, 0x15], slot); // call [rip + slot]
            self.put(&STEP_UP);
            stepped.push(start..self.here());
            self.back_if_zero(native);
            self.relative(&[0xe9], behind);
        }
        if let Some(descriptor) = jumps.descriptor {
            self.land(&[descriptor]);
            self.put(&INDEX_DI);
            self.look_up(targets.owned);
            self.back_if_zero(native);
            self.put(&[0xeb, 0]); // jmp rel8
            self.back(asking);
        }
        Trampoline { code: start..self.here(), stepped }
    }

    /// Writes what `body` does with rsp below the red zone, which belongs to libc; returns where it stands there.
    fn over_red_zone(&mut self, body: impl FnOnce(&mut Self)) -> Range<usize> {
        self.put(&STEP_DOWN);
        let start = self.here();
        body(self);
        self.put(&STEP_UP);
        start..self.here()
    }
}

/// `lea rsp, [rsp - 128]`.
const STEP_DOWN: [u8; 5] = [0x48, 0x8d, 0x64, 0x24, 0x80];
/// `lea rsp, [rsp + 128]`.
const STEP_UP: [u8; 8] = [0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0];

/// Maps an arena near `object` and fills it with a trampoline for each of `sites`, in the same order.
///
/// Fails, leaving nothing behind, where there is no room or where the system does not let written memory be executed.
pub fn build(object: &Object, sites: &[Site], targets: &Targets) -> Result<Vec<Trampoline>, &'static str> {
    let length = (SLOT + sites.len() * ROOM).next_multiple_of(PAGE);
    let base = map_near(&object.text, length).ok_or("no address space for trampolines near the text")?;
    let mut code = Code { base, bytes: Vec::with_capacity(length) };
    code.put(&targets.stub.to_le_bytes());
    targets.quick.iter().for_each(|function| code.put(&function.to_le_bytes()));
    code.bytes.resize(SLOT, 0);
    let mut trampolines = Vec::with_capacity(sites.len());
    for site in sites {
        let moved = object.bytes(site.window..site.syscall).unwrap_or_default();
        trampolines.push(code.trampoline(site, moved, base, targets));
    }
    seal(base, length, &code.bytes).map(|()| trampolines)
}

/// Makes `code` executable at `base`, where `length` bytes were mapped for it; on failure they are given back.
pub fn seal(base: usize, length: usize, code: &[u8]) -> Result<(), &'static str> {
    let executable = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: the arena was mapped for us, writable, and `length` bytes long; nobody else knows of it.
    let sealed = code.len() <= length
        && unsafe {
            core::ptr::copy_nonoverlapping(code.as_ptr(), base as *mut u8, code.len());
            mprotect(base as *mut _, length, executable).is_ok() || patch::map_executable(base, code).is_ok()
        };
    if sealed {
        return Ok(());
    }
    // SAFETY: as above; nothing leads there yet. If it fails, an unused mapping stays.
    let _ = unsafe { munmap(base as *mut _, length) };
    Err("memory that was written may not be executed here")
}

/// Maps `length` writable bytes as near to `text` as there is room, below it first.
pub fn map_near(text: &Range<usize>, length: usize) -> Option<usize> {
    let below = text.start.checked_sub(length)? & !(PAGE - 1);
    let above = text.end.checked_next_multiple_of(STEP)?;
    let places = (1..REACH / STEP).flat_map(|step| [below.checked_sub(step * STEP), above.checked_add(step * STEP)]);
    places.flatten().find(|&place| {
        // Almost all of it is written at once.
        let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE | MapFlags::POPULATE;
        // SAFETY: a new mapping that replaces nothing.
        match unsafe { mmap_anonymous(place as *mut _, length, ProtFlags::READ | ProtFlags::WRITE, flags) } {
            Ok(got) if got as usize == place => true,
            Ok(elsewhere) => {
                // Linux before 4.17 takes the address for a hint.
                // SAFETY: the mapping was made a moment ago and is unused.
                let _ = unsafe { munmap(elsewhere, length) };
                false
            }
            Err(_) => false,
        }
    })
}
