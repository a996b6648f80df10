//! What a program knows of an open file without asking: that there is nothing to be read ([`sysproxy::board`]).
//!
//! An open file that programs ask about in vain has a word on the kernel's board. Whoever finds nothing there looks once more, and has it say
//! so ([`OpenFile::found_nothing`](crate::file::OpenFile::found_nothing)); whatever wakes the file's queue takes that back. So a word is never
//! behind what the answer of another call tells. Streams whose bytes programs move themselves have no use for a word, nor have event queues that
//! watch some: nobody tells the kernel in time.

use std::sync::{Arc, Mutex};

use abi::{Errno, Result};
use sysproxy::board::{Board, WORDS, Word};
use sysproxy::host::{self, Owned};

use crate::file::Events;
use crate::proc::lock;
use crate::wait::Waiter;

/// The words of a kernel, made when the first one is asked for.
#[derive(Default)]
pub struct Notices(Mutex<Option<Arc<Words>>>);

struct Words {
    board: Board,
    file: Owned,
    free: Mutex<Free>,
}

/// Places that nobody has.
#[derive(Default)]
struct Free {
    given_back: Vec<usize>,
    /// This one and all behind it.
    rest: usize,
}

impl Notices {
    /// Takes a place for an open file. `ENOSPC` if all are taken.
    pub fn take(&self) -> Result<Arc<Notice>> {
        let mut words = lock(&self.0);
        if words.is_none() {
            let (board, file) = Board::create().map_err(host::errno)?;
            *words = Some(Arc::new(Words { board, file, free: Mutex::default() }));
        }
        let words = words.as_ref().ok_or(Errno::ENOSPC)?;
        let mut free = lock(&words.free);
        let place = match free.given_back.pop() {
            Some(place) => place,
            None if free.rest < WORDS => {
                free.rest += 1;
                free.rest - 1
            }
            None => return Err(Errno::ENOSPC),
        };
        Ok(Arc::new(Notice { words: words.clone(), place }))
    }
}

/// The word of an open file.
pub struct Notice {
    words: Arc<Words>,
    place: usize,
}

impl Notice {
    /// Takes back what it says.
    pub fn take_back(&self) {
        self.words.board.take_back(self.place);
    }

    /// Says that there is nothing to be read, if `is_so` finds it so, and nothing takes it back meanwhile. One thread at a time.
    pub fn deny(&self, word: Word, is_so: impl FnOnce() -> bool) {
        self.words.board.look(self.place);
        self.words.board.say_still(self.place, if is_so() { word } else { Word::Ask });
    }

    /// Where it stands.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The memory, for a program.
    pub fn hand_out(&self) -> Result<Owned> {
        host::dup_from(self.words.file.fd(), 0).map_err(host::errno)
    }
}

impl Waiter for Notice {
    fn notify(self: Arc<Self>, _news: Events) -> bool {
        self.take_back();
        false
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.take_back();
        lock(&self.words.free).given_back.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_once_and_given_back() {
        let notices = Notices::default();
        let all: Vec<_> = (0..WORDS).map(|_| notices.take().unwrap()).collect();
        assert_eq!(notices.take().err(), Some(Errno::ENOSPC));
        let places: std::collections::HashSet<_> = all.iter().map(|notice| notice.place()).collect();
        assert_eq!(places.len(), WORDS);
        let gone = all[9].place();
        all[9].deny(Word::Again, || true);
        let board = Board::attach(all[9].hand_out().unwrap().fd()).unwrap();
        assert_eq!(board.word(gone), Word::Again);
        all[9].clone().notify(0);
        assert_eq!(board.word(gone), Word::Ask);
        all[9].deny(Word::Again, || {
            all[9].clone().notify(0);
            true
        });
        assert_eq!(board.word(gone), Word::Ask);
        all[9].deny(Word::Waits, || false);
        assert_eq!(board.word(gone), Word::Ask);
        drop(all);
        assert!(notices.take().is_ok());
    }
}
