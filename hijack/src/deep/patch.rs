//! Writes the jumps into an object's text.
//!
//! A window is one instruction, so no thread can stand inside it; a jump within an aligned word is stored at once. One that
//! crosses a word is stored plainly where no other thread can run ([`Others::None`]). Else its first two bytes become a
//! jump to itself, then its tail is stored, then its first two bytes; between the steps every processor is made to see
//! the last one (membarrier(2)).

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};

use super::own::Own;
use crate::raw;

const PAGE: usize = 4096;
const WORD: usize = 8;
/// Length of the longest jump.
const LONGEST: usize = 5;
/// `jmp` to itself.
const STAY: [u8; 2] = [0xeb, 0xfe];

/// Whether other threads may run the text that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// There is one thread, or the object was only just mapped.
    None,
    /// There are some.
    Running,
}

/// A jump that is to be stored.
#[derive(Clone, Copy)]
pub struct Jump {
    at: usize,
    bytes: [u8; LONGEST],
    length: usize,
}

impl Jump {
    /// Makes the `jmp rel32` from `at` to `to`, if it reaches.
    pub fn long(at: usize, to: usize) -> Option<Jump> {
        let [a, b, c, d] = i32::try_from((to as isize).wrapping_sub(at as isize + 5)).ok()?.to_le_bytes();
        Some(Jump { at, bytes: [0xe9, a, b, c, d], length: 5 })
    }

    /// Makes the `jmp rel8` from `at` to `to`, if it reaches.
    pub fn short(at: usize, to: usize) -> Option<Jump> {
        let distance = i8::try_from((to as isize).wrapping_sub(at as isize + 2)).ok()?;
        Some(Jump { at, bytes: [0xeb, distance as u8, 0, 0, 0], length: 2 })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Stores the jump; `false` if it cannot be done while other threads run.
    ///
    /// # Safety
    /// The bytes at the jump's place must be writable, hold an instruction no shorter than the jump, or padding, and not be referenced.
    unsafe fn store(&self, others: Others) -> bool {
        let bytes = self.bytes();
        // SAFETY: as the caller vouches.
        unsafe {
            if store_in_word(self.at, bytes) {
                return true;
            }
            if others == Others::None {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at as *mut u8, bytes.len());
                return true;
            }
            let Some((first, tail)) = bytes.split_at_checked(STAY.len()) else { return false };
            if !can_see() || !store_in_word(self.at, &STAY) {
                return false;
            }
            see();
            core::ptr::copy_nonoverlapping(tail.as_ptr(), (self.at + STAY.len()) as *mut u8, tail.len());
            see();
            store_in_word(self.at, first)
        }
    }
}

/// Stores `bytes` at once if they lie within an aligned word.
///
/// # Safety
/// As [`Jump::store`].
unsafe fn store_in_word(at: usize, bytes: &[u8]) -> bool {
    let within = at % WORD;
    if within + bytes.len() > WORD {
        return false;
    }
    let aligned = (at - within) as *mut u64;
    // SAFETY: an aligned word that overlaps the instruction is writable with it, for pages are.
    unsafe {
        let mut word = aligned.read().to_le_bytes();
        word.iter_mut().skip(within).zip(bytes).for_each(|(old, new)| *old = *new);
        AtomicU64::from_ptr(aligned).store(u64::from_le_bytes(word), Ordering::Release);
    }
    true
}

/// Whether [`see`] works here.
fn can_see() -> bool {
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: usize = 1 << 6;
    raw::call(libc::SYS_membarrier, [REGISTER_PRIVATE_EXPEDITED_SYNC_CORE]) == 0
}

/// Makes every processor that runs this process forget instructions that it has read ahead.
fn see() {
    const PRIVATE_EXPEDITED_SYNC_CORE: usize = 1 << 5;
    raw::call(libc::SYS_membarrier, [PRIVATE_EXPEDITED_SYNC_CORE]);
}

/// Stores `jumps` in order, and returns how many could not be stored; on failure the text is as it was.
///
/// The protection of the whole segment changes at once, so that it stays one mapping with its file's name. Where text must not be
/// written (PR_SET_MDWE, MemoryDenyWriteExecute of systemd), a changed copy takes its place: then the name is lost.
///
/// # Safety
/// `text` must be an executable segment that holds all jumps, each as [`Jump::store`] asks; the jumps must lead to code
/// that does the work of what they replace.
pub unsafe fn apply(
    text: &Range<usize>,
    keep: ProtFlags,
    jumps: &[Jump],
    others: Others,
) -> Result<usize, &'static str> {
    let start = text.start & !(PAGE - 1);
    let length = text.end.next_multiple_of(PAGE) - start;
    let executable = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: the segment stays readable and executable throughout.
    if unsafe { mprotect(start as *mut _, length, executable | MprotectFlags::WRITE) }.is_err() {
        // SAFETY: whole pages of the segment, readable as the segment is.
        let mut copy = unsafe { core::slice::from_raw_parts(start as *const u8, length) }.to_vec();
        for jump in jumps {
            let place = jump.at - start..jump.at - start + jump.length;
            copy.get_mut(place).ok_or("a jump is outside the text")?.copy_from_slice(jump.bytes());
        }
        // SAFETY: the copy differs from what is there by the jumps alone, and takes its place at once.
        return unsafe { map_executable(start, &copy) }
            .map(|()| 0)
            .map_err(|_| "the system does not let text be changed");
    }
    let mut left = 0;
    for jump in jumps {
        // SAFETY: the segment is writable now, and the caller vouches for the rest.
        left += usize::from(unsafe { !jump.store(others) });
    }
    // A refusal here leaves a text that works but is writable: nothing is gained by undoing it.
    // SAFETY: as above.
    let _ = unsafe { mprotect(start as *mut _, length, MprotectFlags::from_bits_retain(keep.bits())) };
    Ok(left)
}

/// Maps `bytes` executable at `start`, in place of what is there, without ever having memory that can be both written and executed.
///
/// # Safety
/// The pages from `start` on are the caller's to replace.
pub unsafe fn map_executable(start: usize, bytes: &[u8]) -> rustix::io::Result<()> {
    if sysproxy::host::file_limit() < bytes.len() as u64 {
        return Err(rustix::io::Errno::FBIG);
    }
    let name = c"rumphijack-text";
    let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::EXEC)
        .or_else(|_| memfd_create(name, MemfdFlags::CLOEXEC))
        .map(Own::new)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let wrote = rustix::io::write(&memory, rest)?;
        rest = rest.get(wrote..).unwrap_or_default();
    }
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: as the caller vouches.
    unsafe { mmap(start as *mut _, bytes.len(), ProtFlags::READ | ProtFlags::EXEC, flags, &memory, 0) }.map(drop)
}
