//! The RUMPHIJACK string: which calls, paths and sockets go to the rump kernel (rumphijack(3)).
//!
//! [`Spec::parse`] takes the original's grammar with the original's messages, and three keywords of
//! ours: `pathre=REGEX`, `deep=auto|off`, `trace=FILE`. Differences from the original: a value of
//! any length is obeyed (there, one beyond 1023 characters counts as unset), empty elements of
//! `blanket` are skipped (there, they leave a wild pointer), an unset `fdoff` is 0, and
//! `RUMPHIJACK_RETRYCONNECT=0` is accepted, as its manual says.

use core::ffi::CStr;
use core::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// What an unset RUMPHIJACK means.
const DEFAULT: &[u8] = b"path=/rump,socket=all:nolocal";

/// Address families that exist (Linux's `AF_MAX`).
const FAMILIES: u32 = 46;

/// The names that `socket=` takes, with Linux's numbers: what the program calls them decides.
const FAMILY_NAMES: &[(&str, u32)] = &[("local", 1), ("inet", 2), ("inet6", 10), ("route", 16), ("mpls", 28)];

/// The names that `vfs=` takes, each with its bit.
const VFS_NAMES: &[(&str, u32)] = &[("nfssvc", 0), ("getvfsstat", 1), ("fhcalls", 2)];

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
}

/// What goes to the rump kernel.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// `path=`: this name is the rump kernel's root.
    pub prefix: Option<Vec<u8>>,
    /// `blanket=`: names that begin so are the rump kernel's, unchanged.
    pub blankets: Vec<Vec<u8>>,
    /// `pathre=`: names that match are the rump kernel's, unchanged.
    pub pathre: Option<Regex>,
    /// `socket=`: bit n is Linux's address family n.
    families: u64,
    /// `vfs=`: a bit for each of [`VFS_NAMES`].
    vfs: u32,
    /// `sysctl=`: whether sysctl(2) goes to the rump kernel.
    pub sysctl: bool,
    /// `modctl=`: whether modctl(2) goes to the rump kernel.
    pub modctl: bool,
    /// `fdoff=`: lowest number of a new rump descriptor.
    pub fdoff: i32,
    /// `deep=`: whether libc's inner system calls are diverted too.
    pub deep: Deep,
    /// `trace=`: the file that says which kernel served each call.
    pub trace: Option<Vec<u8>>,
}

/// Whether libc's inner system calls are diverted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deep {
    /// Where it is needed and possible.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// Which kernel a path belongs to, and under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathClass {
    /// The host's.
    Host,
    /// The rump kernel's, without this many leading bytes.
    Rump(usize),
    /// The rump kernel's under its full name.
    Blanket,
}

impl PathClass {
    /// Whether the rump kernel serves the path.
    pub fn is_rump(self) -> bool {
        self != PathClass::Host
    }

    /// Returns the name that the owning kernel knows `path` by; what is left of a bare prefix is `/`.
    pub fn strip(self, path: &CStr) -> &CStr {
        let PathClass::Rump(bytes @ 1..) = self else { return path };
        match path.to_bytes_with_nul().get(bytes..).map(CStr::from_bytes_with_nul) {
            Some(Ok(rest)) if !rest.is_empty() => rest,
            _ => c"/",
        }
    }
}

/// Why a string of the environment was refused; its text is the original's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// The item names no keyword; the nearest one, if one is near.
    Name(String, Option<&'static str>),
    /// A keyword that needs a value has none; the whole string.
    NoValue(String),
    /// `path=` without a leading slash.
    PathNotAbsolute,
    /// `path=/`.
    PathTooShort(String),
    /// `path=` with a trailing slash.
    PathSlash(String),
    /// An element of `blanket=` that does not begin with a slash, or ends in one.
    Blanket(String),
    /// An unknown family in `socket=`.
    Socket(String),
    /// An unknown name in `vfs=`.
    Vfs(String),
    /// `sysctl=` or `modctl=` with neither yes nor no.
    YesNo(&'static str, String),
    /// `fdoff=-N`.
    FdoffNegative,
    /// `fdoff=` with something that is no number.
    Fdoff(String),
    /// `fdoff=` below 3 or above half of the integers.
    FdoffRange,
    /// `pathre=` with an expression that does not compile, and why.
    Regex(String, String),
    /// `deep=` with neither auto nor off.
    Deep(String),
    /// `trace=` without a name.
    Trace,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecError::Name(item, None) => write!(f, "invalid hijack specifier name in {item}"),
            SpecError::Name(item, Some(near)) => {
                write!(f, "invalid hijack specifier name in {item} (did you mean \"{near}\"?)")
            }
            SpecError::NoValue(whole) => write!(f, "invalid hijack specifier: {whole}"),
            SpecError::PathNotAbsolute => f.write_str("hijack path specifier must begin with ``/''"),
            SpecError::PathTooShort(path) => write!(f, "invalid hijack prefix: {path}"),
            SpecError::PathSlash(path) => {
                write!(f, "hijack prefix may end in slash only if pure slash, gave {path}")
            }
            SpecError::Blanket(path) => write!(f, "invalid blanket specifier {path}"),
            SpecError::Socket(name) => write!(f, "invalid socket specifier {name}"),
            SpecError::Vfs(name) => write!(f, "invalid vfscall specifier {name}"),
            SpecError::YesNo(what, value) => write!(f, "{what} value should be y(es)/n(o), gave: {value}"),
            SpecError::FdoffNegative => f.write_str("fdoff must not be negative"),
            SpecError::Fdoff(value) => write!(f, "invalid fdoff specifier \"{value}\""),
            SpecError::FdoffRange => f.write_str("fdoff out of range"),
            SpecError::Regex(expression, why) => write!(f, "invalid pathre expression {expression}: {why}"),
            SpecError::Deep(value) => write!(f, "deep value should be auto or off, gave: {value}"),
            SpecError::Trace => f.write_str("trace needs the name of a file"),
        }
    }
}

impl core::error::Error for SpecError {}

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
            Keyword::Trace if arg.is_empty() => return Err(SpecError::Trace),
            Keyword::Trace => self.trace = Some(arg.to_vec()),
        }
        Ok(())
    }

    /// Says which kernel `path` belongs to: literal bytes, no `..`, `//` or symbolic link is looked through.
    pub fn classify(&self, path: &[u8], cwd_in_rump: bool) -> PathClass {
        if path.first() != Some(&b'/') {
            return if cwd_in_rump { PathClass::Rump(0) } else { PathClass::Host };
        }
        if let Some(prefix) = &self.prefix
            && let Some(rest) = path.strip_prefix(prefix.as_slice())
            && matches!(rest.first(), None | Some(b'/'))
        {
            return PathClass::Rump(prefix.len());
        }
        let blanket = self.blankets.iter().any(|blanket| path.starts_with(blanket));
        if blanket || self.matches(path) { PathClass::Blanket } else { PathClass::Host }
    }

    /// How every absolute path begins that [`classify`](Self::classify) takes without `pathre`.
    pub fn beginnings(&self) -> Vec<Vec<u8>> {
        self.prefix.iter().chain(&self.blankets).cloned().collect()
    }

    /// The families whose sockets belong to the rump kernel: bit n is Linux's number n.
    pub fn families(&self) -> u64 {
        self.families
    }

    /// Whether `pathre` takes this path.
    fn matches(&self, path: &[u8]) -> bool {
        self.pathre.as_ref().is_some_and(|expression| expression.is_match(path))
    }

    /// Returns the absolute name of the relative `path` below the host's `cwd` if `pathre` takes it.
    pub fn match_below(&self, cwd: &[u8], path: &[u8]) -> Option<Vec<u8>> {
        self.pathre.as_ref()?;
        let slash: &[u8] = if cwd.ends_with(b"/") { b"" } else { b"/" };
        let full = [cwd, slash, path].concat();
        self.matches(&full).then_some(full)
    }

    /// Whether any path can belong to the rump kernel.
    pub fn takes_paths(&self) -> bool {
        self.prefix.is_some() || !self.blankets.is_empty() || self.pathre.is_some()
    }

    /// Whether sockets of this family (Linux's number) belong to the rump kernel.
    pub fn family(&self, domain: i32) -> bool {
        u32::try_from(domain).is_ok_and(|domain| domain < FAMILIES && self.families >> domain & 1 == 1)
    }

    /// Whether getvfsstat(2), and so what statfs-like listings show, goes to the rump kernel.
    pub fn getvfsstat(&self) -> bool {
        self.vfs & 2 != 0
    }

    /// Returns what the program sees as its working directory when the rump kernel says `cwd`.
    pub fn visible_cwd(&self, cwd: &[u8]) -> Vec<u8> {
        let Some(prefix) = &self.prefix else { return cwd.to_vec() };
        match prefix.split_last() {
            _ if cwd == b"/" => prefix.clone(),
            Some((_, all_but_last)) if prefix.iter().all(|&b| b == b'/') => [all_but_last, cwd].concat(),
            _ => [prefix.as_slice(), cwd].concat(),
        }
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

    /// What becomes of a path: `host`, or the name that the rump kernel sees.
    fn goes(spec: &Spec, path: &str, cwd_in_rump: bool) -> String {
        let name = std::ffi::CString::new(path).unwrap();
        match spec.classify(path.as_bytes(), cwd_in_rump) {
            PathClass::Host => "host".into(),
            class => class.strip(&name).to_str().unwrap().into(),
        }
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
    fn our_own_keywords_are_checked() {
        assert_eq!(refused("deep=on"), "deep value should be auto or off, gave: on");
        assert_eq!(refused("trace="), "trace needs the name of a file");
        assert!(refused("pathre=(").starts_with("invalid pathre expression (: "));
    }

    #[test]
    fn paths_go_where_the_manual_says() {
        let spec = spec("path=/rump,blanket=/dev/bpf");
        let table = [
            ("/rump", "/"),
            ("/rump/", "/"),
            ("/rump/etc/x", "/etc/x"),
            ("/rump//etc", "//etc"),
            ("/rump/../../etc/passwd", "/../../etc/passwd"),
            ("/rumpdev", "host"),
            ("//rump/etc", "host"),
            ("/./rump/etc", "host"),
            ("/usr/../rump", "host"),
            ("/dev/bpf", "/dev/bpf"),
            ("/dev/bpf0", "/dev/bpf0"),
            ("/dev/bpfoo/x", "/dev/bpfoo/x"),
            ("/dev/null", "host"),
            ("/", "host"),
            ("x/y", "host"),
            ("", "host"),
        ];
        for (path, goes_to) in table {
            assert_eq!(goes(&spec, path, false), goes_to, "{path}");
        }
        for (path, goes_to) in [("x/y", "x/y"), ("../..", "../.."), ("", ""), ("/", "host"), ("/tmp", "host")] {
            assert_eq!(goes(&spec, path, true), goes_to, "{path}");
        }
    }

    #[test]
    fn a_prefix_of_slashes_wants_one_more() {
        let spec = spec("path=//");
        assert_eq!(goes(&spec, "//", false), "/");
        assert_eq!(goes(&spec, "///x", false), "/x");
        assert_eq!(goes(&spec, "//x", false), "host");
        assert_eq!(goes(&spec, "/x", false), "host");
    }

    #[test]
    fn a_matching_path_keeps_its_name() {
        let spec = spec(r"path=/rump,pathre=^/data/.*\.db$");
        assert_eq!(goes(&spec, "/data/a.db", false), "/data/a.db");
        assert_eq!(goes(&spec, "/data/a.txt", false), "host");
        assert_eq!(spec.match_below(b"/data", b"b.db"), Some(b"/data/b.db".to_vec()));
        assert_eq!(spec.match_below(b"/", b"b.db"), None);
    }

    #[test]
    fn the_working_directory_is_seen_below_the_prefix() {
        let below = |value: &str, cwd: &str| String::from_utf8(spec(value).visible_cwd(cwd.as_bytes())).unwrap();
        assert_eq!(below("path=/rump", "/"), "/rump");
        assert_eq!(below("path=/rump", "/dir/dir"), "/rump/dir/dir");
        assert_eq!(below("path=//", "/"), "//");
        assert_eq!(below("path=//", "/dir"), "//dir");
        assert_eq!(below("blanket=/dev", "/dev"), "/dev");
    }
}
