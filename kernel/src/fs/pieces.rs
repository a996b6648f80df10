//! Ranges of bytes, cut where blocks end.

use std::ops::Range;

/// Cuts a range into blocks of `unit` bytes: number of the block, offset in it, range of the buffer.
pub(super) fn pieces(unit: usize, offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let (block, start) = (at / unit as u64, (at % unit as u64) as usize);
        let piece = done..len.min(done + unit - start);
        done = piece.end;
        Some((block, start, piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_where_blocks_end() {
        let cut = |offset, len| pieces(10, offset, len).collect::<Vec<_>>();
        assert_eq!(cut(7, 0), []);
        assert_eq!(cut(7, 3), [(0, 7, 0..3)]);
        assert_eq!(cut(7, 15), [(0, 7, 0..3), (1, 0, 3..13), (2, 0, 13..15)]);
        assert_eq!(cut(30, 10), [(3, 0, 0..10)]);
    }
}
