//! What a sandboxed program may still have of the host's names: RUMPHIJACK_SANDBOX.
//!
//! The value is a colon list of absolute paths that may be read and written, with all below them; an empty one is allowed. What
//! programs need to run ([`READABLE`], [`WRITABLE`]) is allowed besides.

/// What may be read, with all below it.
pub const READABLE: &[&str] =
    &["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/proc", "/run/systemd/resolve", "/opt"];

/// Devices that may be read and written.
pub const WRITABLE: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// What a call wants of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To know of it: stat(2), readlink(2), access(2).
    Look,
    /// To read or run it.
    Read,
    /// To change it or make it.
    Write,
}

/// The names that are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// The user's.
    writable: Vec<Vec<u8>>,
    /// The user's that may only be read.
    readable: Vec<Vec<u8>>,
}

impl Sandbox {
    /// Understands the value; the error is the element that is no absolute path. One that begins with `-` may only be read.
    pub fn parse(value: &[u8]) -> Result<Sandbox, String> {
        let mut sandbox = Sandbox::default();
        for element in value.split(|byte| *byte == b':').filter(|element| !element.is_empty()) {
            let (list, path) = match element.strip_prefix(b"-") {
                Some(path) => (&mut sandbox.readable, path),
                None => (&mut sandbox.writable, element),
            };
            if path.first() != Some(&b'/') {
                return Err(String::from_utf8_lossy(element).into_owned());
            }
            let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
            list.push(path.get(..end).unwrap_or_default().to_vec());
        }
        Ok(sandbox)
    }

    /// Whether the program may have this name, which is absolute and free of links, `.` and `..`.
    pub fn allows(&self, path: &[u8], access: Access) -> bool {
        let (readable, writable) = (names(READABLE, &self.readable), names(WRITABLE, &self.writable));
        match access {
            Access::Write => writable.into_iter().any(|name| below(path, name)),
            Access::Read => readable.into_iter().chain(writable).any(|name| below(path, name)),
            // Programs look at every folder on the way.
            Access::Look => readable.into_iter().chain(writable).any(|name| below(path, name) || below(name, path)),
        }
    }
}

fn names<'a>(ours: &'a [&'static str], users: &'a [Vec<u8>]) -> impl IntoIterator<Item = &'a [u8]> {
    ours.iter().map(|name| name.as_bytes()).chain(users.iter().map(Vec::as_slice))
}

/// Whether `path` is `name` or lies below it; all lies below the root, which is the empty name or `/`.
fn below(path: &[u8], name: &[u8]) -> bool {
    let name = if name == b"/" { b"" } else { name };
    path.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_may_be_had() {
        let sandbox = Sandbox::parse(b"/tmp/job/::-/srv/data").unwrap();
        let allows = |path: &str, access| sandbox.allows(path.as_bytes(), access);
        assert!(allows("/tmp/job/x", Access::Write) && allows("/tmp/job", Access::Write));
        assert!(!allows("/tmp/jobs", Access::Look) && !allows("/tmp/x", Access::Look));
        assert!(allows("/srv/data/x", Access::Read) && !allows("/srv/data/x", Access::Write));
        assert!(allows("/usr/bin/ls", Access::Read) && !allows("/usr/bin/ls", Access::Write));
        assert!(allows("/dev/null", Access::Write) && !allows("/dev/sda", Access::Read));
        assert!(allows("/", Access::Look) && allows("/srv", Access::Look) && allows("/tmp", Access::Look));
        assert!(!allows("/", Access::Read) && !allows("/srv", Access::Read) && !allows("/home", Access::Look));
    }

    #[test]
    fn the_root_allows_all_and_a_relative_name_nothing() {
        assert!(Sandbox::parse(b"/").unwrap().allows(b"/home/x", Access::Write));
        assert!(!Sandbox::parse(b"").unwrap().allows(b"/home/x", Access::Look));
        assert_eq!(Sandbox::parse(b"/a:b"), Err("b".into()));
        assert_eq!(Sandbox::parse(b"-b"), Err("-b".into()));
    }
}
