//! What this program knows of descriptors without asking: that there is nothing to be read ([`sysproxy::board`]).
//!
//! After some questions in vain about a descriptor the server is asked for its word. From then on a call that does not wait is answered
//! from the word, if the server has said the same of such a call before; so errors stay the server's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::socket::{MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SOCK_CLOEXEC, SOCK_NONBLOCK};
use abi::syscalls::nr;
use abi::{Errno, Result};
use sysproxy::board::{Board, Word};
use sysproxy::host::Owned;

/// After so many questions in vain the server is asked for the word.
const QUESTIONS: u32 = 16;

/// [`Notice::place`] of a descriptor that has no word, and of one that will have none.
const NONE: u32 = 0;
const NEVER: u32 = u32::MAX;

/// A question by poll(2) or select(2), and one to an event queue.
const POLL: u32 = 1 << 31;
const KEVENT: u32 = 1 << 30;

/// The last argument of kevent(2) that says not to wait: see the call in the kernel.
const AT_ONCE: u64 = 1;

/// A question: what it is about, and how it is asked.
#[derive(Clone, Copy)]
pub struct Question {
    /// The descriptor.
    pub fd: u64,
    /// One bit for each kind.
    kind: u32,
    /// Whether the answer does not wait, whatever the open file says.
    quick: bool,
}

impl Question {
    /// Takes a call that gives something to be read, or says that there is nothing; `None` for any other.
    pub fn of(number: u32, args: &[u64]) -> Option<Self> {
        let arg = |at: usize| args.get(at).copied().unwrap_or(0);
        let plain = |flags: u64| flags as i32 & !(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK | MSG_CMSG_CLOEXEC) == 0;
        let quick = |flags: u64| flags as i32 & MSG_DONTWAIT != 0;
        let (kind, quick) = match number {
            nr::read if arg(2) > 0 => (1, false),
            nr::readv => (2, false),
            nr::recvfrom if arg(2) > 0 && plain(arg(3)) => (4, quick(arg(3))),
            nr::recvmsg if plain(arg(2)) => (8, quick(arg(2))),
            nr::accept => (16, false),
            nr::paccept if arg(4) as i32 & !(SOCK_CLOEXEC | SOCK_NONBLOCK) == 0 => (32, false),
            nr::kevent if arg(2) == 0 && arg(4) > 0 => (KEVENT, arg(6) == AT_ONCE),
            _ => return None,
        };
        Some(Self { fd: arg(0), kind, quick })
    }

    /// The answer that there is nothing.
    pub fn denial(self) -> Result<[i64; 2]> {
        if self.kind == KEVENT { Ok([0, 0]) } else { Err(Errno::EAGAIN) }
    }

    /// A look without waiting.
    pub fn poll(fd: u64) -> Self {
        Self { fd, kind: POLL, quick: true }
    }
}

/// What is known of a descriptor.
#[derive(Default)]
pub struct Notice {
    /// The place of its word, and one more.
    place: AtomicU32,
    /// How many questions were in vain.
    vain: AtomicU32,
    /// The kinds of question to which the server has said that there is nothing.
    kinds: AtomicU32,
}

impl Notice {
    /// Whether anything is known, or counted.
    pub fn is_used(&self) -> bool {
        self.vain.load(Ordering::Relaxed) != 0
    }

    /// Forgets it.
    pub fn forget(&self) {
        for word in [&self.place, &self.kinds, &self.vain] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a question in vain; whether it is time to ask for the word.
    pub fn asked_in_vain(&self, question: Question) -> bool {
        self.kinds.fetch_or(question.kind, Ordering::Relaxed);
        let vain = self.vain.load(Ordering::Relaxed).saturating_add(1);
        self.vain.store(vain, Ordering::Relaxed);
        vain >= QUESTIONS && self.place.load(Ordering::Relaxed) == NONE
    }

    /// Whether the answer to a question is that there is nothing.
    fn denies(&self, board: &Board, question: Question) -> bool {
        let place = self.place.load(Ordering::Relaxed);
        if place == NONE || place == NEVER || self.kinds.load(Ordering::Relaxed) & question.kind == 0 {
            return false;
        }
        match board.word(place as usize - 1) {
            Word::Ask => false,
            Word::Waits => question.quick,
            Word::Again => true,
        }
    }
}

/// The board of the server.
#[derive(Default)]
pub struct Boards {
    board: OnceLock<Board>,
    /// Whether its kernel is gone.
    left: AtomicBool,
}

impl Boards {
    /// Whether it is mapped.
    pub fn is_there(&self) -> bool {
        self.board.get().is_some()
    }

    /// Looks at it no more, nor at another: the descriptors are another kernel's from now on.
    pub fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    /// Takes the server's answer: the place of a word, and the board if it came along.
    pub fn answer(&self, notice: &Notice, answer: Result<(usize, Option<Owned>)>) {
        let place = answer.and_then(|(place, memory)| {
            if let Some(memory) = memory {
                let board = Board::attach(memory.fd()).map_err(sysproxy::host::errno)?;
                _ = self.board.set(board);
            }
            let of_ours = self.is_there() && !self.left.load(Ordering::SeqCst);
            u32::try_from(place).ok().filter(|_| of_ours).ok_or(Errno::EPROTO)
        });
        notice.place.store(place.map_or(NEVER, |place| place.saturating_add(1)), Ordering::Relaxed);
    }

    /// Whether the answer to a question about a descriptor is that there is nothing.
    pub fn deny(&self, notice: &Notice, question: Question) -> bool {
        let board = self.board.get().filter(|_| !self.left.load(Ordering::SeqCst));
        board.is_some_and(|board| notice.denies(board, question))
    }
}
