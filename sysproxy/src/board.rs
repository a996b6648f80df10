//! Words by which programs know without a call that there is nothing to be read from an open file of the kernel: memory that the kernel
//! writes and programs can only read.
//!
//! A word may say "ask" wrongly, but never that there is nothing once there is something. The kernel says first that it looks
//! ([`Board::look`]), which to programs is as good as "ask", then looks at the object, and then says that there is nothing if its word still
//! stands ([`Board::say_still`]). Whatever makes the object ready says "ask" after that, and before anybody can know of it. So if it came before
//! the look, the look has seen it; if between the two words, the second is not said; if later, it takes the word back. Who looks at one object
//! does so alone: another one's "ask" would be overwritten by the first word, and be missed by the second.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use crate::host::shared::{self, Mapping};
use crate::host::{self, HostFd, Owned};

/// Words of a board.
pub const WORDS: usize = 1 << 14;

/// Its length in bytes.
const LENGTH: usize = WORDS * size_of::<AtomicU32>();

/// What is known of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing: a call tells.
    Ask,
    /// There is nothing to be read, and nothing else to be told of but room; a call would wait.
    Waits,
    /// The same, but a call would not wait (`O_NONBLOCK`).
    Again,
}

/// What a word says while the kernel looks: programs ask.
const LOOKS: u32 = u32::MAX;

/// The memory.
pub struct Board {
    memory: Mapping,
}

impl Board {
    /// Makes the memory, and the file by which others can map it for reading only.
    pub fn create() -> host::Result<(Self, Owned)> {
        let file = host::memfd(c"rump-board")?;
        shared::resize(file.fd(), LENGTH as u64)?;
        let board = Self { memory: Mapping::new(file.fd(), LENGTH)? };
        shared::seal_writing(file.fd())?;
        Ok((board, file))
    }

    /// Maps what the kernel has made, for reading. `EINVAL` if it is none, or could be made shorter.
    pub fn attach(file: HostFd) -> host::Result<Self> {
        match shared::sealed_length(file)? == LENGTH as u64 {
            true => Ok(Self { memory: Mapping::to_read(file, LENGTH)? }),
            false => Err(host::Error::INVAL),
        }
    }

    fn at(&self, place: usize) -> &AtomicU32 {
        // SAFETY: the mapping has so many words, is aligned to a page, and lives as long as this; only the kernel writes.
        unsafe { &*self.memory.at(place % WORDS * size_of::<AtomicU32>()).cast() }
    }

    /// The kernel's: takes back what was said.
    pub fn take_back(&self, place: usize) {
        self.at(place).store(Word::Ask as u32, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The kernel's: says that it is about to look for what [`Board::say_still`] will say that there is not.
    pub fn look(&self, place: usize) {
        self.at(place).store(LOOKS, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The kernel's: says something, unless the word was taken back since it has begun to look.
    pub fn say_still(&self, place: usize, word: Word) {
        _ = self.at(place).compare_exchange(LOOKS, word as u32, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// What is said.
    pub fn word(&self, place: usize) -> Word {
        match self.at(place).load(Ordering::Acquire) {
            word if word == Word::Waits as u32 => Word::Waits,
            word if word == Word::Again as u32 => Word::Again,
            _ => Word::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read_and_nobody_else_can_write_it() {
        let (board, file) = Board::create().unwrap();
        let theirs = Board::attach(file.fd()).unwrap();
        assert_eq!(theirs.word(7), Word::Ask);
        for word in [Word::Again, Word::Waits, Word::Ask] {
            board.look(7);
            assert_eq!(theirs.word(7), Word::Ask);
            board.say_still(7, word);
            assert_eq!((theirs.word(7), theirs.word(8)), (word, Word::Ask));
        }
        board.look(7);
        board.take_back(7);
        board.say_still(7, Word::Waits);
        assert_eq!(theirs.word(7), Word::Ask);
        assert_eq!(Mapping::new(file.fd(), LENGTH).err(), Some(host::Error::PERM));
        assert_eq!(shared::pwrite(file.fd(), b"x", 0), Err(host::Error::PERM));
    }

    #[test]
    fn memory_that_could_become_shorter_is_not_mapped() {
        let file = host::memfd(c"other").unwrap();
        shared::resize(file.fd(), LENGTH as u64).unwrap();
        assert_eq!(Board::attach(file.fd()).err(), Some(host::Error::INVAL));
    }
}
