//! Words by which programs know without a call that there is nothing to be read from an open file of the kernel: memory that the kernel
//! writes and programs can only read.
//!
//! A word may say "ask" wrongly, but never that there is nothing once there is something: the kernel says so before it looks at the object
//! once more, and takes it back as part of whatever makes the object ready, before anybody can know of that.

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

    /// The kernel's: says something. What it says that there is not is to be looked for once more after it.
    pub fn say(&self, place: usize, word: Word) {
        self.at(place).store(word as u32, Ordering::Release);
        fence(Ordering::SeqCst);
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
            board.say(7, word);
            assert_eq!((theirs.word(7), theirs.word(8)), (word, Word::Ask));
        }
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
