//! What a user asks for: the RUMPHIJACK string (rumphijack(3)), that is which calls, paths and sockets go to the rump kernel.
//!
//! [`Spec::parse`] takes the original's grammar with the original's messages, and four keywords of
//! ours: `pathre=REGEX`, `deep=auto|off`, `trace=FILE`, `extended=auto|off`. Differences from the original: a value of
//! any length is obeyed (there, one beyond 1023 characters counts as unset), empty elements of
//! `blanket` are skipped (there, they leave a wild pointer), an unset `fdoff` is 0, and
//! `RUMPHIJACK_RETRYCONNECT=0` is accepted, as its manual says.
//!
//! The library obeys it and `rumphijack --explain` explains it; both read it here.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod error;
mod grammar;
pub mod image;
pub mod sandbox;

use core::ffi::CStr;

use regex::bytes::Regex;

pub use error::SpecError;
pub use grammar::{DEFAULT, FAMILIES, FAMILY_NAMES, VFS_NAMES};

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
    /// `extended=off`: a server is spoken to in the original protocol, even one that knows our extensions.
    pub plain_wire: bool,
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

impl Spec {
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

    /// Splits the prefix into the directory that it stands in and its name there: `/`, `rump`.
    pub fn prefix_in(&self) -> Option<(&[u8], &[u8])> {
        let prefix = self.prefix.as_deref()?;
        let slash = prefix.iter().rposition(|byte| *byte == b'/')?;
        let (parent, name) = prefix.split_at_checked(slash)?;
        Some((if parent.is_empty() { b"/" } else { parent }, name.get(1..)?))
    }

    /// Says how many leading bytes of the relative `path` are the prefix's name, if it goes through the prefix when it is
    /// relative to the directory that the prefix stands in.
    pub fn name_in_parent(&self, path: &[u8]) -> Option<usize> {
        let (_, name) = self.prefix_in()?;
        let rest = path.strip_prefix(name)?;
        (!name.is_empty() && matches!(rest.first(), None | Some(b'/'))).then_some(name.len())
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

    /// Whether the vfs call with this bit in [`VFS_NAMES`] goes to the rump kernel.
    pub fn vfs(&self, bit: u32) -> bool {
        self.vfs >> bit & 1 == 1
    }

    /// Whether getvfsstat(2), and so what statfs-like listings show, goes to the rump kernel.
    pub fn getvfsstat(&self) -> bool {
        self.vfs(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: &str) -> Spec {
        Spec::parse(Some(value.as_bytes())).unwrap()
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
    fn the_prefix_has_a_name_where_it_stands() {
        let spec = spec("path=/srv/virt");
        assert_eq!(spec.prefix_in(), Some((&b"/srv"[..], &b"virt"[..])));
        assert_eq!(spec.name_in_parent(b"virt/etc"), Some(4));
        assert_eq!(spec.name_in_parent(b"virt"), Some(4));
        assert_eq!((spec.name_in_parent(b"virtual"), spec.name_in_parent(b"")), (None, None));
        assert_eq!(Spec::default().name_in_parent(b"rump"), None);
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
