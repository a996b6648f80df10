//! Bookkeeping that both ends of a connection share: numbers of requests, who waits for which answer, whole sends.

use zerocopy::IntoBytes;

use crate::frame::Frame;
use crate::host::{self, IoSlice};
use crate::link::Link;

/// The requests that one side has sent and not yet seen answered.
#[derive(Debug)]
pub struct Outstanding<T> {
    next: u64,
    waiting: Vec<(u64, T)>,
}

impl<T> Outstanding<T> {
    /// Makes an empty table whose first request gets the number `first`.
    pub const fn starting_at(first: u64) -> Self {
        Self { next: first, waiting: Vec::new() }
    }

    /// Uses up a number for a request that no one answers.
    pub fn number(&mut self) -> u64 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// The number that the next request gets.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// Adds a request and returns its number.
    pub fn add(&mut self, waiter: T) -> u64 {
        let number = self.number();
        self.waiting.push((number, waiter));
        number
    }

    /// The waiter of a request.
    pub fn get(&mut self, number: u64) -> Option<&mut T> {
        self.waiting.iter_mut().find(|(other, _)| *other == number).map(|(_, waiter)| waiter)
    }

    /// Takes the waiter of a request out; `None` if no one waits for it.
    pub fn take(&mut self, number: u64) -> Option<T> {
        let at = self.waiting.iter().position(|(other, _)| *other == number)?;
        Some(self.waiting.swap_remove(at).1)
    }

    /// All waiters.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, waiter)| waiter)
    }

    /// All waiters, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.waiting.iter_mut().map(|(_, waiter)| waiter)
    }

    /// Takes all waiters out, as when the connection is dead.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.waiting.drain(..).map(|(_, waiter)| waiter)
    }

    /// How many requests are outstanding.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no request is outstanding.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Sends a whole frame; `wait` waits until the link, which is full, may have room again. The caller holds its send lock.
pub fn send(link: &dyn Link, frame: &Frame, wait: impl Fn() -> host::Result<()>) -> host::Result<()> {
    let (header, body) = (&frame.header, &frame.body);
    let header = header.as_bytes();
    let total = header.len() + body.len();
    let mut sent = 0;
    while sent < total {
        let head = header.get(sent..).unwrap_or_default();
        let tail = body.get(sent.saturating_sub(header.len())..).unwrap_or_default();
        match link.send(&[IoSlice::new(head), IoSlice::new(tail)]) {
            Ok(n) => sent += n,
            Err(host::Error::INTR) => {}
            Err(host::Error::AGAIN) => wait()?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_come_in_any_order_and_once() {
        let mut outstanding = Outstanding::starting_at(1);
        assert_eq!((outstanding.add('a'), outstanding.add('b')), (1, 2));
        assert_eq!(outstanding.take(2), Some('b'));
        assert_eq!(outstanding.take(2), None);
        assert_eq!(outstanding.take(1), Some('a'));
        assert_eq!(outstanding.number(), 3);
    }
}
