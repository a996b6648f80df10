//! Which ICMP messages a raw socket wants (`ICMP_FILTER`, `ICMP6_FILTER`).

/// The types that are blocked, a bit each.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    v4: u32,
    v6: [u32; 8],
}

impl Filter {
    /// The mask of `ICMP_FILTER`: a bit for each type below 32 that is blocked.
    pub fn v4(&self) -> u32 {
        self.v4
    }

    /// Sets the mask of `ICMP_FILTER`.
    pub fn set_v4(&mut self, mask: u32) {
        self.v4 = mask;
    }

    /// The mask of `ICMP6_FILTER` in NetBSD's sense: a bit for each type that passes.
    pub fn v6(&self) -> Vec<u8> {
        self.v6.iter().flat_map(|word| (!word).to_le_bytes()).collect()
    }

    /// Sets the mask of `ICMP6_FILTER`; words that are not given stay.
    pub fn set_v6(&mut self, passes: &[u8]) {
        let (words, _) = passes.as_chunks::<4>();
        self.v6.iter_mut().zip(words).for_each(|(blocked, passes)| *blocked = !u32::from_le_bytes(*passes));
    }

    /// Whether a message of ICMP is blocked.
    pub fn blocks_v4(&self, kind: u8) -> bool {
        1u32.checked_shl(kind.into()).is_some_and(|bit| self.v4 & bit != 0)
    }

    /// Whether a message of ICMPv6 is blocked.
    pub fn blocks_v6(&self, kind: u8) -> bool {
        self.v6[usize::from(kind >> 5)] & (1 << (kind & 31)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_type_is_blocked_and_no_other() {
        let mut filter = Filter::default();
        filter.set_v4(1 << 8);
        assert!(filter.blocks_v4(8) && !filter.blocks_v4(0) && !filter.blocks_v4(40));
        let mut passes = [0xff; 32];
        passes[16] = 0xfe;
        filter.set_v6(&passes);
        assert!(filter.blocks_v6(128) && !filter.blocks_v6(129));
        assert_eq!(filter.v6(), passes);
    }
}
