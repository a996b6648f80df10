//! BSD disk labels: where a partition lies in a disk image (disklabel(5)).

/// What a label begins with, and has again at [`MAGIC_AGAIN`].
const MAGIC: u32 = 0x8256_4557;
const MAGIC_AGAIN: usize = 132;
/// Number of partitions.
const COUNT: usize = 138;
/// The first partition's entry.
const PARTITIONS: usize = 148;
/// Bytes of an entry: size and start in sectors, and what does not matter here.
const ENTRY_BYTES: usize = 16;
/// Partitions at most.
const COUNT_MAX: usize = 22;
/// Bytes of a sector.
const SECTOR_BYTES: u64 = 512;

/// How much of an image is searched for its label.
pub const SEARCHED_BYTES: usize = 64 * 1024;

/// A partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// A label: its bytes from the magic on, and how their numbers are to be read.
struct Label<'a> {
    bytes: &'a [u8],
    swapped: bool,
}

/// Returns the partitions of the first label in `image`, in either byte order; `None` without a label.
///
/// Unlike the original's, sizes do not wrap at 4 GiB, and a label in the other byte order is read right.
pub fn partitions(image: &[u8]) -> Option<Vec<Partition>> {
    (0..image.len().min(SEARCHED_BYTES)).step_by(4).find_map(|at| {
        let labels = [false, true].map(|swapped| Label { bytes: &image[at..], swapped });
        labels.iter().find_map(Label::partitions)
    })
}

impl Label<'_> {
    fn partitions(&self) -> Option<Vec<Partition>> {
        if self.u32(0)? != MAGIC || self.u32(MAGIC_AGAIN)? != MAGIC {
            return None;
        }
        let count = usize::from(self.u16(COUNT)?);
        let whole = PARTITIONS + count * ENTRY_BYTES;
        let sum = (0..whole).step_by(2).try_fold(0, |sum, at| Some(sum ^ self.u16(at)?))?;
        if count > COUNT_MAX || sum != 0 {
            return None;
        }
        let bytes = |at| Some(u64::from(self.u32(at)?) * SECTOR_BYTES);
        let entries = (PARTITIONS..whole).step_by(ENTRY_BYTES);
        entries.map(|at| Some(Partition { size: bytes(at)?, offset: bytes(at + 4)? })).collect()
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let number = u32::from_ne_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?);
        Some(if self.swapped { number.swap_bytes() } else { number })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let number = u16::from_ne_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?);
        Some(if self.swapped { number.swap_bytes() } else { number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with a label at `at`: partition a of 100 sectors from 64 on, b of 2^24 from 164 on.
    fn image(at: usize, little: bool) -> Vec<u8> {
        let u32 = |number: u32| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let mut label = vec![0; PARTITIONS + 2 * ENTRY_BYTES];
        for (at, number) in [(0, MAGIC), (MAGIC_AGAIN, MAGIC), (148, 100), (152, 64), (164, 1 << 24), (168, 164)] {
            label[at..at + 4].copy_from_slice(&u32(number));
        }
        label[if little { COUNT } else { COUNT + 1 }] = 2;
        let sum = |label: &[u8], byte| label.iter().skip(byte).step_by(2).fold(0, |sum, next| sum ^ next);
        let (even, odd) = (sum(&label, 0), sum(&label, 1));
        label[136..138].copy_from_slice(&[even, odd]);
        [vec![0; at], label, vec![0; 1000]].concat()
    }

    #[test]
    fn a_label_is_found_in_either_byte_order() {
        for (at, little) in [(0, true), (512, true), (512, false), (65532, true)] {
            let found = partitions(&image(at, little)).unwrap();
            assert_eq!(found[0], Partition { offset: 64 * 512, size: 100 * 512 }, "{at} {little}");
            assert_eq!(found[1], Partition { offset: 164 * 512, size: 8 << 30 });
            assert_eq!(found.len(), 2);
        }
    }

    #[test]
    fn what_is_no_label_is_passed_by() {
        let mut wrong = image(512, true);
        wrong[512 + 20] ^= 1;
        assert_eq!(partitions(&wrong), None, "checksum");
        assert_eq!(partitions(&image(510, true)), None, "between two places");
        assert_eq!(partitions(&image(65536, true)), None, "too far");
        assert_eq!(partitions(&image(0, true)[..170]), None, "cut off");
        assert_eq!(partitions(b""), None);
    }
}
