//! Room for the bytes of one call: few of them need no allocation.

use std::ops::{Deref, DerefMut};

/// So many bytes lie on the stack, which may be a small one.
const FEW: usize = 512;

/// Bytes between the caller's memory and a file, zero at first.
///
/// Who has one is no part of the dispatcher's frame, on which all calls stand (`#[inline(never)]`): a program's thread may have 16 KiB in all.
pub struct Scratch {
    few: [u8; FEW],
    many: Vec<u8>,
    len: usize,
}

impl Scratch {
    /// Makes room for `len` bytes.
    pub fn new(len: usize) -> Self {
        let many = if len > FEW { vec![0; len] } else { Vec::new() };
        Self { few: [0; FEW], many, len }
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.len > FEW { &self.many } else { &self.few[..self.len] }
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.len > FEW { &mut self.many } else { &mut self.few[..self.len] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_few_and_many() {
        for len in [0, 1, FEW, FEW + 1, 5 * FEW] {
            let mut room = Scratch::new(len);
            assert_eq!(room.len(), len);
            room.fill(7);
            assert!(room.iter().all(|byte| *byte == 7));
        }
    }
}
