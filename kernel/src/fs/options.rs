//! The options of a mount as text, `ro,nodev,size=4m`: common words become flags, the rest is the file system's.

use abi::mount::{
    MNT_NOATIME, MNT_NODEV, MNT_NOEXEC, MNT_NOSUID, MNT_RDONLY, MNT_RELATIME, MNT_SYNCHRONOUS, MNT_UNION, MNT_UPDATE,
};
use abi::{Errno, Result};

/// Words that every file system takes, with the flags that each sets and clears (mount(8)).
const COMMON: &[(&str, i32, i32)] = &[
    ("defaults", 0, 0),
    ("ro", MNT_RDONLY, 0),
    ("rdonly", MNT_RDONLY, 0),
    ("rw", 0, MNT_RDONLY),
    ("nosuid", MNT_NOSUID, 0),
    ("suid", 0, MNT_NOSUID),
    ("nodev", MNT_NODEV, 0),
    ("dev", 0, MNT_NODEV),
    ("noexec", MNT_NOEXEC, 0),
    ("exec", 0, MNT_NOEXEC),
    ("noatime", MNT_NOATIME, MNT_RELATIME),
    ("atime", 0, MNT_NOATIME),
    ("relatime", MNT_RELATIME, MNT_NOATIME),
    ("norelatime", 0, MNT_RELATIME),
    ("sync", MNT_SYNCHRONOUS, 0),
    ("async", 0, MNT_SYNCHRONOUS),
    ("union", MNT_UNION, 0),
    ("nounion", 0, MNT_UNION),
    ("update", MNT_UPDATE, 0),
    ("remount", MNT_UPDATE, 0),
];

/// What is left for the file system: names, with a value where there is `=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options<'a>(Vec<(&'a [u8], Option<&'a [u8]>)>);

impl<'a> Options<'a> {
    /// Splits `text` at commas; returns `flags` as the common words change them, and the options that are none.
    pub fn parse(text: &'a [u8], flags: i32) -> (i32, Self) {
        let (mut flags, mut own) = (flags, Vec::new());
        for word in text.split(|byte| *byte == b',').filter(|word| !word.is_empty()) {
            match COMMON.iter().find(|(name, ..)| name.as_bytes() == word) {
                Some((_, set, clear)) => flags = flags & !clear | set,
                None => own.push(match word.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&word[..at], Some(&word[at + 1..])),
                    None => (word, None),
                }),
            }
        }
        (flags, Self(own))
    }

    /// The options in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        self.0.iter().copied()
    }

    /// For a file system that knows no options: `EINVAL` if there are some.
    pub fn none(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Parses a number: decimal, octal or hexadecimal as in C if `radix` is 0.
fn parsed(digits: &[u8], radix: u32) -> Option<u64> {
    let text = str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    match (radix, text.strip_prefix("0x"), text.strip_prefix('0')) {
        (0, Some(hexadecimal), _) => u64::from_str_radix(hexadecimal, 16).ok(),
        (0, None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8).ok(),
        (0, ..) => text.parse().ok(),
        _ => u64::from_str_radix(text, radix).ok(),
    }
}

/// The value of an option as a number; `EINVAL` if it is none.
pub fn number(value: Option<&[u8]>) -> Result<u64> {
    value.and_then(|digits| parsed(digits, 0)).ok_or(Errno::EINVAL)
}

/// The value of an option as a user or group number.
pub fn id(value: Option<&[u8]>) -> Result<u32> {
    // -1 is nobody's: it means "leave it" in chown(2).
    u32::try_from(number(value)?).ok().filter(|id| *id != u32::MAX).ok_or(Errno::EINVAL)
}

/// The value of an option as permission bits, in octal.
pub fn mode(value: Option<&[u8]>) -> Result<u32> {
    let bits = value.and_then(|digits| parsed(digits, 8)).and_then(|bits| u32::try_from(bits).ok());
    bits.filter(|bits| *bits <= 0o7777).ok_or(Errno::EINVAL)
}

/// The value of an option as a number of bytes, with an optional suffix `k`, `m`, `g` or `t`, or `%` of `whole`.
pub fn size(value: Option<&[u8]>, whole: u64) -> Result<u64> {
    let value = value.ok_or(Errno::EINVAL)?;
    let (digits, unit) = match value.split_last() {
        Some((b'%', digits)) => {
            let share = parsed(digits, 0).and_then(|percent| percent.checked_mul(whole / 100));
            return share.ok_or(Errno::EINVAL);
        }
        Some((suffix, digits)) => match suffix.to_ascii_lowercase() {
            b'k' => (digits, 1u64 << 10),
            b'm' => (digits, 1 << 20),
            b'g' => (digits, 1 << 30),
            b't' => (digits, 1 << 40),
            _ => (value, 1),
        },
        None => return Err(Errno::EINVAL),
    };
    parsed(digits, 0).and_then(|count| count.checked_mul(unit)).ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words_become_flags_and_the_last_wins() {
        let (flags, own) = Options::parse(b"ro,nodev,size=4m,,rw,nr_inodes=7,quiet,a=b=c", MNT_NOSUID);
        assert_eq!(flags, MNT_NODEV | MNT_NOSUID);
        let own: Vec<_> = own.iter().collect();
        assert_eq!(
            own,
            [(&b"size"[..], Some(&b"4m"[..])), (b"nr_inodes", Some(b"7")), (b"quiet", None), (b"a", Some(b"b=c"))]
        );
        assert_eq!(Options::parse(b"", 5), (5, Options::default()));
    }

    #[test]
    fn values_are_checked() {
        assert_eq!((size(Some(b"4m"), 0), size(Some(b"50%"), 1000)), (Ok(4 << 20), Ok(500)));
        assert_eq!((size(Some(b"99999999999t"), 0), size(Some(b""), 0)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!(
            (mode(Some(b"1777")), mode(Some(b"9")), mode(None)),
            (Ok(0o1777), Err(Errno::EINVAL), Err(Errno::EINVAL))
        );
        assert_eq!((id(Some(b"4294967295")), id(Some(b"0x10"))), (Err(Errno::EINVAL), Ok(16)));
        assert_eq!((number(Some(b"+1")), number(Some(b"010"))), (Err(Errno::EINVAL), Ok(8)));
    }
}
