//! The grammar: keywords, their values, and what is said about a mistake.

use regex::bytes::{Regex, RegexBuilder};

use crate::{Deep, Spec, SpecError};

/// What an unset RUMPHIJACK means.
pub const DEFAULT: &[u8] = b"path=/rump,socket=all:nolocal";

/// Address families that exist (Linux's `AF_MAX`).
pub const FAMILIES: u32 = 46;

/// The names that `socket=` takes, with Linux's numbers: what the program calls them decides.
pub const FAMILY_NAMES: &[(&str, u32)] = &[("local", 1), ("inet", 2), ("inet6", 10), ("route", 16), ("mpls", 28)];

/// The names that `vfs=` takes, each with its bit.
pub const VFS_NAMES: &[(&str, u32)] = &[("nfssvc", 0), ("getvfsstat", 1), ("fhcalls", 2)];

/// The keywords in the order in which an abbreviation finds them.
const KEYWORDS: &[(&str, Keyword)] = &[
    ("socket", Keyword::Socket),
    ("path", Keyword::Path),
    ("blanket", Keyword::Blanket),
    ("vfs", Keyword::Vfs),
    ("sysctl", Keyword::Sysctl),
    ("modctl", Keyword::Modctl),
    ("fdoff", Keyword::Fdoff),
    ("pathre", Keyword::Pathre),
    ("deep", Keyword::Deep),
    ("trace", Keyword::Trace),
    ("extended", Keyword::Extended),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Socket,
    Path,
    Blanket,
    Vfs,
    Sysctl,
    Modctl,
    Fdoff,
    Pathre,
    Deep,
    Trace,
    Extended,
}

impl Spec {
    /// Understands the value of RUMPHIJACK, or of its absence.
    pub fn parse(value: Option<&[u8]>) -> Result<Spec, SpecError> {
        let value = value.unwrap_or(DEFAULT);
        let mut spec = Spec::default();
        for item in value.split(|&b| b == b',').filter(|item| !item.is_empty()) {
            spec.item(item, value)?;
        }
        Ok(spec)
    }

    fn item(&mut self, item: &[u8], whole: &[u8]) -> Result<(), SpecError> {
        let (name, arg) = match item.iter().position(|&b| b == b'=') {
            Some(at) => (item.get(..at).unwrap_or_default(), item.get(at + 1..)),
            None => (item, None),
        };
        let Some(&(_, keyword)) = KEYWORDS.iter().find(|(full, _)| full.as_bytes().starts_with(name)) else {
            return Err(SpecError::Name(text(item), nearest(&text(name))));
        };
        let Some(arg) = arg else {
            match keyword {
                Keyword::Sysctl => self.sysctl = true,
                Keyword::Modctl => self.modctl = true,
                _ => return Err(SpecError::NoValue(text(whole))),
            }
            return Ok(());
        };
        match keyword {
            Keyword::Socket => self.families = list(arg, self.families, FAMILY_NAMES, FAMILIES, SpecError::Socket)?,
            Keyword::Vfs => self.vfs = list(arg, self.vfs.into(), VFS_NAMES, 3, SpecError::Vfs)? as u32,
            Keyword::Path => self.prefix = Some(prefix(arg)?),
            Keyword::Blanket => self.blankets = blankets(arg)?,
            Keyword::Sysctl => self.sysctl = yes_no("sysctl", arg)?,
            Keyword::Modctl => self.modctl = yes_no("modctl", arg)?,
            Keyword::Fdoff => self.fdoff = fdoff(arg)?,
            Keyword::Pathre => self.pathre = Some(expression(arg)?),
            Keyword::Deep => self.deep = deep(arg)?,
            Keyword::Extended => self.plain_wire = extended(arg)?,
            Keyword::Trace if arg.is_empty() => return Err(SpecError::Trace),
            Keyword::Trace => self.trace = Some(arg.to_vec()),
        }
        Ok(())
    }
}

/// Turns bits on and off as `["all" [":"]] {["no"] NAME ":"}` says.
fn list(
    arg: &[u8],
    mut bits: u64,
    names: &[(&str, u32)],
    count: u32,
    error: fn(String) -> SpecError,
) -> Result<u64, SpecError> {
    let rest = match arg.strip_prefix(b"all") {
        Some(rest) => {
            bits = (1 << count) - 1;
            rest
        }
        None => arg,
    };
    for element in rest.split(|&b| b == b':').filter(|element| !element.is_empty()) {
        let (name, on) = match element.strip_prefix(b"no") {
            Some(name) => (name, false),
            None => (element, true),
        };
        let found = names.iter().find(|(known, _)| known.as_bytes() == name);
        let &(_, bit) = found.ok_or_else(|| error(text(name)))?;
        bits = if on { bits | 1 << bit } else { bits & !(1 << bit) };
    }
    Ok(bits)
}

fn prefix(arg: &[u8]) -> Result<Vec<u8>, SpecError> {
    if arg.first() != Some(&b'/') {
        return Err(SpecError::PathNotAbsolute);
    }
    if arg.len() < 2 {
        return Err(SpecError::PathTooShort(text(arg)));
    }
    if arg.ends_with(b"/") && arg.iter().any(|&b| b != b'/') {
        return Err(SpecError::PathSlash(text(arg)));
    }
    Ok(arg.to_vec())
}

fn blankets(arg: &[u8]) -> Result<Vec<Vec<u8>>, SpecError> {
    let check = |path: &[u8]| match path {
        [b'/', .., last] if *last != b'/' => Ok(path.to_vec()),
        _ => Err(SpecError::Blanket(text(path))),
    };
    arg.split(|&b| b == b':').filter(|path| !path.is_empty()).map(check).collect()
}

fn yes_no(what: &'static str, arg: &[u8]) -> Result<bool, SpecError> {
    match arg.to_ascii_lowercase().as_slice() {
        b"y" | b"yes" | b"yep" | b"tottakai" => Ok(true),
        b"n" | b"no" => Ok(false),
        _ => Err(SpecError::YesNo(what, text(arg))),
    }
}

fn fdoff(arg: &[u8]) -> Result<i32, SpecError> {
    if arg.first() == Some(&b'-') {
        return Err(SpecError::FdoffNegative);
    }
    if !arg.iter().all(u8::is_ascii_digit) {
        return Err(SpecError::Fdoff(text(arg)));
    }
    match number(arg).and_then(|number| i32::try_from(number).ok()) {
        Some(offset) if (3..i32::MAX / 2).contains(&offset) => Ok(offset),
        _ => Err(SpecError::FdoffRange),
    }
}

fn expression(arg: &[u8]) -> Result<Regex, SpecError> {
    let refuse = |why: String| SpecError::Regex(text(arg), why);
    let pattern = core::str::from_utf8(arg).map_err(|_| refuse("not UTF-8".into()))?;
    // Paths are bytes: `.` and the classes stand for one byte each, and no Unicode tables are needed.
    RegexBuilder::new(pattern).unicode(false).build().map_err(|error| {
        // The last line of regex's message is the reason; the lines above it draw the place.
        let message = error.to_string();
        refuse(message.lines().last().unwrap_or_default().trim_start_matches("error: ").into())
    })
}

fn deep(arg: &[u8]) -> Result<Deep, SpecError> {
    match arg {
        b"auto" => Ok(Deep::Auto),
        b"off" => Ok(Deep::Off),
        _ => Err(SpecError::Deep(text(arg))),
    }
}

/// Returns whether the original protocol is to be spoken as it is.
fn extended(arg: &[u8]) -> Result<bool, SpecError> {
    match arg {
        b"auto" => Ok(false),
        b"off" => Ok(true),
        _ => Err(SpecError::Extended(text(arg))),
    }
}

/// Reads a decimal number without a sign.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the keyword that differs from `name` in the fewest letters, at most half of them.
fn nearest(name: &str) -> Option<&'static str> {
    let distances = KEYWORDS.iter().map(|(keyword, _)| (distance(name.as_bytes(), keyword.as_bytes()), *keyword));
    let (distance, keyword) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 2 <= keyword.len()).then_some(keyword)
}

/// Counts the letters to insert, delete or replace between two words.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (deleted, a) in from.iter().enumerate() {
        let mut diagonal = deleted;
        let mut left = deleted + 1;
        let mut next = vec![left];
        for (above, b) in row.iter().skip(1).zip(to) {
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Spec, String> {
        Spec::parse(Some(value.as_bytes())).map_err(|error| error.to_string())
    }

    fn spec(value: &str) -> Spec {
        parse(value).unwrap()
    }

    fn refused(value: &str) -> String {
        parse(value).unwrap_err()
    }

    #[test]
    fn unset_is_path_rump_and_all_sockets_but_local() {
        let spec = Spec::parse(None).unwrap();
        assert_eq!(spec.prefix.as_deref(), Some(&b"/rump"[..]));
        assert!(spec.family(2) && spec.family(10) && spec.family(16) && spec.family(45));
        assert!(!spec.family(1) && !spec.family(46) && !spec.family(-1));
        assert_eq!(spec.fdoff, 0);
    }

    #[test]
    fn empty_takes_nothing() {
        let spec = spec("");
        assert!(!spec.takes_paths() && !spec.family(2) && !spec.sysctl);
    }

    #[test]
    fn a_value_is_not_merged_with_the_default() {
        assert!(!spec("path=/rump").family(2));
        assert!(!spec("socket=inet").takes_paths());
    }

    #[test]
    fn keywords_are_found_by_their_beginning_in_order() {
        assert!(spec("s=inet").family(2));
        assert!(spec("=inet").family(2));
        assert!(spec("sys").sysctl);
        assert_eq!(spec("p=/x").prefix.as_deref(), Some(&b"/x"[..]));
        assert_eq!(spec("b=/x").blankets, [b"/x"]);
        assert!(spec("v=getvfsstat").getvfsstat());
        assert!(spec("m").modctl);
        assert_eq!(spec("f=7").fdoff, 7);
        assert!(spec("pathr=^/x").pathre.is_some());
        assert_eq!(spec("d=off").deep, Deep::Off);
        assert_eq!(spec("t=/x").trace.as_deref(), Some(&b"/x"[..]));
    }

    #[test]
    fn an_unknown_keyword_is_refused_with_the_nearest_one() {
        assert_eq!(refused("sokcet=all"), "invalid hijack specifier name in sokcet=all (did you mean \"socket\"?)");
        assert_eq!(refused("paths=/x"), "invalid hijack specifier name in paths=/x (did you mean \"path\"?)");
        assert_eq!(refused("zzzzzzzz"), "invalid hijack specifier name in zzzzzzzz");
    }

    #[test]
    fn only_sysctl_and_modctl_go_without_a_value() {
        assert_eq!(refused("sysctl,path"), "invalid hijack specifier: sysctl,path");
        assert!(spec("sysctl,modctl").modctl);
    }

    #[test]
    fn yes_and_no_have_their_spellings() {
        for yes in ["y", "YES", "Yep", "tottakai"] {
            assert!(spec(&format!("sysctl={yes}")).sysctl);
        }
        assert!(!spec("sysctl,sysctl=No").sysctl);
        assert_eq!(refused("sysctl=2"), "sysctl value should be y(es)/n(o), gave: 2");
        assert_eq!(refused("modctl="), "modctl value should be y(es)/n(o), gave: ");
    }

    #[test]
    fn a_prefix_obeys_the_rules() {
        for good in ["/rump", "/a/b", "//", "///"] {
            assert!(parse(&format!("path={good}")).is_ok());
        }
        assert_eq!(refused("path=rump"), "hijack path specifier must begin with ``/''");
        assert_eq!(refused("path="), "hijack path specifier must begin with ``/''");
        assert_eq!(refused("path=/"), "invalid hijack prefix: /");
        assert_eq!(refused("path=/rump/"), "hijack prefix may end in slash only if pure slash, gave /rump/");
    }

    #[test]
    fn a_blanket_begins_with_a_slash_and_does_not_end_in_one() {
        assert_eq!(spec("blanket=/a::/b:").blankets, [b"/a", b"/b"]);
        assert_eq!(refused("blanket=tmp"), "invalid blanket specifier tmp");
        assert_eq!(refused("blanket=/a:/b/"), "invalid blanket specifier /b/");
        assert_eq!(refused("blanket=/"), "invalid blanket specifier /");
    }

    #[test]
    fn socket_lists_are_cumulative() {
        let two = spec("socket=inet,socket=inet6:nolocal");
        assert!(two.family(2) && two.family(10) && !two.family(1));
        assert!(!spec("socket=all:noinet:noinet6").family(10));
        assert!(!spec("socket=allnoinet").family(2));
        assert_eq!(refused("socket=noxns"), "invalid socket specifier xns");
        assert_eq!(refused("socket=link"), "invalid socket specifier link");
    }

    #[test]
    fn vfs_lists_have_their_own_names() {
        assert!(spec("vfs=all").getvfsstat());
        assert!(!spec("vfs=all:nogetvfsstat").getvfsstat());
        assert_eq!(refused("vfs=mount"), "invalid vfscall specifier mount");
    }

    #[test]
    fn fdoff_is_a_number_in_range() {
        assert_eq!(spec("fdoff=8").fdoff, 8);
        assert_eq!(refused("fdoff=-1"), "fdoff must not be negative");
        assert_eq!(refused("fdoff=8x"), "invalid fdoff specifier \"8x\"");
        for out in ["2", "1073741823", "99999999999999999999999", ""] {
            assert_eq!(refused(&format!("fdoff={out}")), "fdoff out of range");
        }
    }

    #[test]
    fn the_manual_page_has_each_keyword_in_order() {
        let page = include_str!("../../docs/man/rumphijack.3");
        let named: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix(".It Cm "))
            // The keywords of RUMPHIJACK_RETRYCONNECT have no value.
            .filter(|rest| rest.contains('='))
            .map(|rest| rest.split([' ', '=']).next().unwrap_or_default())
            .collect();
        let known: Vec<&str> = KEYWORDS.iter().map(|(keyword, _)| *keyword).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn our_own_keywords_are_checked() {
        assert_eq!(refused("deep=on"), "deep value should be auto or off, gave: on");
        assert!(spec("extended=off").plain_wire && !spec("extended=auto").plain_wire && !spec("").plain_wire);
        assert_eq!(refused("extended=on"), "extended value should be auto or off, gave: on");
        assert_eq!(refused("trace="), "trace needs the name of a file");
        assert!(refused("pathre=(").starts_with("invalid pathre expression (: "));
    }
}
