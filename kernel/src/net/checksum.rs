//! The internet checksum (RFC 1071), for what no protocol of the engine sums up.

use smoltcp::wire::{IpAddress, IpProtocol};

/// A sum of 16-bit words, not yet folded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd one at the end counts as if a zero followed.
    pub fn with(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        self.0 += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
        self.0 += rest.first().map_or(0, |byte| u64::from(*byte) << 8);
        self
    }

    /// Adds the header of addresses that UDP, TCP and ICMPv6 sum up with their own (RFC 8200, 8.1).
    pub fn pseudo_header(self, from: &IpAddress, to: &IpAddress, protocol: IpProtocol, len: usize) -> Self {
        let addr_of = |sum: Self, addr: &IpAddress| match addr {
            IpAddress::Ipv4(addr) => sum.with(&addr.octets()),
            IpAddress::Ipv6(addr) => sum.with(&addr.octets()),
        };
        addr_of(addr_of(self, from), to).with(&[0, protocol.into()]).with(&(len as u32).to_be_bytes())
    }

    /// Returns the checksum.
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().with(&words).finish(), !0xddf2);
        assert_eq!(Sum::default().with(&[0xff]).finish(), 0x00ff);
    }
}
