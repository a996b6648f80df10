//! Names: long ones in UTF-16, their short aliases, and how the two are compared.
//!
//! A short name is eight letters and three, upper case, in the code page 437. Any other name is stored in pieces in front of its
//! alias. Case is kept but does not tell names apart.

use abi::{Errno, Result};

/// Letters of a long name that one slot holds.
pub const SLOT_LETTERS: usize = 13;
/// The longest name, in UTF-16 letters.
const NAME_LETTERS: usize = 255;
/// The longest name in UTF-8: three bytes a letter.
const NAME_BYTES: usize = NAME_LETTERS * 3;
/// What statvfs(2) says of it: Linux counts six bytes a letter. A longer name is refused where it would be made, and nowhere found.
pub const NAME_MAX: usize = NAME_LETTERS * 6;

/// The upper half of code page 437.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The bits of a short entry's byte 12: its base, or extension, is shown in lower case.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;

/// A name that a file can have.
pub struct Name {
    /// As it is shown.
    pub text: String,
    /// In UTF-16.
    pub letters: Vec<u16>,
}

impl Name {
    /// Checks a name; dots at its end are dropped, as Linux does.
    ///
    /// `EINVAL` for letters that FAT does not have, a space at the end, and what is not UTF-8; `ENAMETOOLONG`; `ENOENT` for nothing
    /// but dots.
    pub fn new(name: &[u8]) -> Result<Self> {
        let text = str::from_utf8(name).map_err(|_| Errno::EINVAL)?.trim_end_matches('.');
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text.ends_with(' ') || text.chars().any(|letter| letter < ' ' || "\"*/:<>?|\\".contains(letter)) {
            return Err(Errno::EINVAL);
        }
        let letters: Vec<u16> = text.encode_utf16().collect();
        if letters.len() > NAME_LETTERS {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(Self { text: text.to_owned(), letters })
    }

    /// The short name that says it all, if there is one.
    pub fn short(&self) -> Option<[u8; 11]> {
        let (base, extension) = split(&self.text);
        let fits = |part: &str, most: usize| part.len() <= most && part.bytes().all(is_short);
        let whole = !base.is_empty() && fits(base, 8) && fits(extension, 3) && !self.text.ends_with('.');
        whole.then(|| join(base.as_bytes(), extension.as_bytes()))
    }

    /// Makes an alias that nobody has, as `taken` says: the name itself if only its case is lost, else `LONGNA~1.TXT`.
    pub fn alias(&self, taken: impl Fn(&[u8; 11]) -> bool) -> Result<[u8; 11]> {
        // What looks for short names only (firmware, boot loaders) finds it so.
        let upper = Self { text: self.text.to_ascii_uppercase(), letters: Vec::new() };
        if let Some(alias) = upper.short().filter(|alias| !taken(alias)) {
            return Ok(alias);
        }
        let (base, extension) = split(self.text.trim_start_matches('.'));
        let letters = |part: &str, most: usize| -> Vec<u8> {
            let kept = part.chars().filter(|letter| *letter != ' ' && *letter != '.');
            let short = kept.map(|letter| match letter.to_ascii_uppercase() {
                letter if letter.is_ascii() && is_short(letter as u8) => letter as u8,
                _ => b'_',
            });
            short.take(most).collect()
        };
        let (base, extension) = (letters(base, 8), letters(extension, 3));
        let tail = |stem: &[u8], most: usize, number: u32| {
            let tail = format!("~{number}");
            let stem = &stem[..stem.len().min(most).min(8 - tail.len())];
            join(&[stem, tail.as_bytes()].concat(), &extension)
        };
        let plain = (1..10).map(|number| tail(&base, 8, number)).find(|alias| !taken(alias));
        if let Some(alias) = plain {
            return Ok(alias);
        }
        // Many names begin alike: their letters, summed up, tell them apart.
        let sum = self.letters.iter().fold(0x1d0fu16, |sum, letter| sum.rotate_left(5).wrapping_mul(31) ^ letter);
        let hashed = (0..=u16::MAX).flat_map(|more| {
            let stem = [&base[..base.len().min(2)], format!("{:04X}", sum.wrapping_add(more)).as_bytes()].concat();
            (1..10).map(move |number| (stem.clone(), number))
        });
        hashed.map(|(stem, number)| tail(&stem, 6, number)).find(|alias| !taken(alias)).ok_or(Errno::ENOSPC)
    }
}

/// Splits at the last dot.
fn split(text: &str) -> (&str, &str) {
    text.rsplit_once('.').unwrap_or((text, ""))
}

/// Whether a byte stands for itself in a short name.
fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn join(base: &[u8], extension: &[u8]) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// Shows a short entry's name; `case` is its byte 12.
pub fn shown(short: &[u8; 11], case: u8) -> String {
    let part = |bytes: &[u8], lower: bool| -> String {
        let len = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let letters = bytes[..len].iter().map(|byte| match byte {
            // NUL and the slash are no letters of a name, whatever an image says.
            0..0x20 | b'/' => '_',
            0x20..0x80 => char::from(*byte),
            _ => CODE_PAGE.chars().nth(usize::from(byte - 0x80)).unwrap_or('_'),
        });
        if lower { letters.flat_map(char::to_lowercase).collect() } else { letters.collect() }
    };
    let mut bytes = *short;
    if bytes[0] == 0x05 {
        // Stands for 0xe5, which would mark a free slot.
        bytes[0] = 0xe5;
    }
    let (base, extension) = (part(&bytes[..8], case & LOWER_BASE != 0), part(&bytes[8..], case & LOWER_EXTENSION != 0));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// Shows a long name; `None` if it cannot be one.
pub fn decoded(letters: &[u16]) -> Option<String> {
    let text = String::from_utf16_lossy(letters);
    let sound = !text.is_empty() && text.len() <= NAME_BYTES && text != "." && text != "..";
    (sound && !text.contains(['/', '\0'])).then_some(text)
}

/// What two names have in common that differ in case only.
pub fn folded(text: &str) -> String {
    text.chars().map(|letter| letter.to_uppercase().next().unwrap_or(letter)).collect()
}

/// The sum over a short name by which its long name's pieces know it.
pub fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// Where the letters are in a slot of a long name.
const PIECES: [(usize, usize); 3] = [(1, 5), (14, 6), (28, 2)];

/// Makes the slots of a long name, as they lie on the volume: the last piece first.
pub fn slots(letters: &[u16], short: &[u8; 11]) -> Vec<[u8; 32]> {
    let count = letters.len().div_ceil(SLOT_LETTERS);
    (0..count)
        .rev()
        .map(|index| {
            let last = if index + 1 == count { 0x40 } else { 0 };
            let mut slot = [0; 32];
            (slot[0], slot[11], slot[13]) = ((index as u8 + 1) | last, 0x0f, checksum(short));
            let places = PIECES.iter().flat_map(|(at, len)| (0..*len).map(move |letter| at + letter * 2));
            for (place, at) in places.zip(index * SLOT_LETTERS..) {
                // A NUL ends the name, and what is left of the slot is filled.
                let letter = letters.get(at).copied().unwrap_or(if at == letters.len() { 0 } else { 0xffff });
                slot[place..place + 2].copy_from_slice(&letter.to_le_bytes());
            }
            slot
        })
        .collect()
}

/// Reads the letters of one slot.
pub fn letters(slot: &[u8; 32]) -> [u16; SLOT_LETTERS] {
    let mut letters = [0; SLOT_LETTERS];
    let places = PIECES.iter().flat_map(|(at, len)| (0..*len).map(move |letter| at + letter * 2));
    for (letter, place) in letters.iter_mut().zip(places) {
        *letter = u16::from_le_bytes([slot[place], slot[place + 1]]);
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(name: &str, taken: &[&[u8; 11]]) -> String {
        let alias = Name::new(name.as_bytes()).unwrap().alias(|alias| taken.contains(&alias)).unwrap();
        String::from_utf8(alias.to_vec()).unwrap()
    }

    #[test]
    fn short_names_need_no_long_ones() {
        let short = |name: &str| Name::new(name.as_bytes()).unwrap().short().map(|short| short.to_vec());
        assert_eq!(short("README.TXT").as_deref(), Some(&b"README  TXT"[..]));
        assert_eq!(short("A").as_deref(), Some(&b"A          "[..]));
        for long in ["readme.txt", "A B", "LONGNAMES.T", "A.TEXT", ".A", "A.B.C", "É"] {
            assert_eq!(short(long), None, "{long}");
        }
    }

    #[test]
    fn aliases_are_unique() {
        assert_eq!(alias("Long file name.text", &[]), "LONGFI~1TEX");
        assert_eq!(alias("Long file name.text", &[b"LONGFI~1TEX"]), "LONGFI~2TEX");
        assert_eq!(alias(".profile", &[]), "PROFIL~1   ");
        assert_eq!(alias("日本", &[]), "__~1       ");
        assert_eq!(alias("Readme.txt", &[]), "README  TXT");
        assert_eq!(alias("Readme.txt", &[b"README  TXT"]), "README~1TXT");
        let name = Name::new(b"Long file name.text").unwrap();
        let many = name.alias(|alias| alias.starts_with(b"LONGFI")).unwrap();
        assert!(many.starts_with(b"LO") && many.ends_with(b"TEX") && many[6..8] == *b"~1");
    }

    #[test]
    fn a_long_name_survives_its_slots() {
        for text in ["a", "thirteen long", "exactly 26 letters in here", "päckchen 漢字 😀 and more"] {
            let name = Name::new(text.as_bytes()).unwrap();
            let slots = slots(&name.letters, b"SHORT      ");
            assert_eq!(slots.len(), name.letters.len().div_ceil(13));
            let read: Vec<u16> = slots.iter().rev().flat_map(letters).collect();
            let end = read.iter().position(|letter| *letter == 0).unwrap_or(read.len());
            assert_eq!(decoded(&read[..end]).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_fat_does_not_have_is_refused() {
        let refused = |name: &[u8]| Name::new(name).map(|name| name.text).unwrap_err();
        assert_eq!(
            (refused(b"a:b"), refused(b"a\xff"), refused(b"a "), refused(b"...")),
            (Errno::EINVAL, Errno::EINVAL, Errno::EINVAL, Errno::ENOENT)
        );
        assert_eq!(refused("é".repeat(256).as_bytes()), Errno::ENAMETOOLONG);
        assert_eq!(Name::new(b"a..").unwrap().text, "a");
    }

    #[test]
    fn hostile_names_are_shown_as_names() {
        assert_eq!(shown(b"A/B\x00    \x01  ", 0), "A_B_._");
        assert_eq!(shown(b"\x05\x80      TXT", LOWER_EXTENSION), "σÇ.txt");
        assert_eq!((decoded(&[b'/'.into()]), decoded(&[b'.'.into(), b'.'.into()]), decoded(&[])), (None, None, None));
        assert_eq!(CODE_PAGE.chars().count(), 128);
    }
}
