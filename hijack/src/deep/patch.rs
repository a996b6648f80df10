//! Writes the jumps into an object's text.
//!
//! A window is one instruction, so no thread can stand inside it; five bytes within an aligned word are stored at once. Those
//! that cross a word are stored in two steps, which is sound in a constructor, where there is one thread.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::mm::{MprotectFlags, mprotect};

const PAGE: usize = 4096;
const WORD: usize = 8;
/// Length of the longest jump.
const LONGEST: usize = 5;

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

    /// Stores the jump.
    ///
    /// # Safety
    /// The bytes at `at` must be writable, hold an instruction no shorter than the jump, or padding, and not be referenced.
    unsafe fn store(&self) {
        let within = self.at % WORD;
        let aligned = (self.at - within) as *mut u64;
        if within + self.length <= WORD {
            // SAFETY: an aligned word that overlaps the instruction is writable with it, for pages are.
            unsafe {
                let mut word = aligned.read().to_le_bytes();
                word.iter_mut().skip(within).zip(self.bytes).take(self.length).for_each(|(old, new)| *old = new);
                AtomicU64::from_ptr(aligned).store(u64::from_le_bytes(word), Ordering::Release);
            }
        } else {
            // SAFETY: as the caller vouches.
            unsafe { core::ptr::copy_nonoverlapping(self.bytes.as_ptr(), self.at as *mut u8, self.length) }
        }
    }
}

/// Stores `jumps` in order; on failure the text is as it was.
///
/// The protection of the whole segment changes at once, so that it stays one mapping with its file's name.
///
/// # Safety
/// `text` must be an executable segment that holds all jumps, each as [`Jump::store`] asks; the jumps must lead to code
/// that does the work of what they replace.
pub unsafe fn apply(text: &Range<usize>, jumps: &[Jump]) -> Result<(), &'static str> {
    let start = text.start & !(PAGE - 1);
    let length = text.end.next_multiple_of(PAGE) - start;
    let executable = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: the segment stays readable and executable throughout.
    unsafe { mprotect(start as *mut _, length, executable | MprotectFlags::WRITE) }
        .map_err(|_| "the system does not let text be changed")?;
    for jump in jumps {
        // SAFETY: the segment is writable now, and the caller vouches for the rest.
        unsafe { jump.store() };
    }
    // A refusal here leaves a text that works but is writable: nothing is gained by undoing it.
    // SAFETY: as above.
    let _ = unsafe { mprotect(start as *mut _, length, executable) };
    Ok(())
}
