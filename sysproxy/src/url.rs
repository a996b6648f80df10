//! Locators: which kernel is meant, `SCHEME://REST` or `local:`.

use abi::Errno;

use crate::host;
use crate::link::{Endpoint, Listener, SCHEMES};

/// The longest name of a scheme.
const SCHEME_MAX: usize = 15;

/// Whose locator it is: only a server may listen on any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Connects.
    Client,
    /// Listens.
    Server,
}

/// Why a locator or an address is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The error number.
    pub errno: Errno,
    /// The line for the user; a few errors have none.
    pub message: Option<String>,
}

impl ParseError {
    /// An error with a line for the user.
    pub const fn new(errno: Errno, message: String) -> Self {
        Self { errno, message: Some(message) }
    }

    /// An error that speaks by its number only.
    pub const fn silent(errno: Errno) -> Self {
        Self { errno, message: None }
    }

    /// Writes the line, if there is one, to the standard error output.
    pub fn report(&self) {
        if let Some(message) = &self.message {
            host::warn(message);
        }
    }
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => self.errno.fmt(f),
        }
    }
}

impl core::error::Error for ParseError {}

/// A locator that has been understood.
pub enum Locator {
    /// A kernel in the process itself.
    Local,
    /// A server.
    Remote(Box<dyn Endpoint>),
}

impl core::fmt::Debug for Locator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.url())
    }
}

impl Locator {
    /// Reads a locator; a relative unix path is made absolute at once.
    pub fn parse(url: &str, role: Role) -> Result<Self, ParseError> {
        if url == "local:" {
            return Ok(Locator::Local);
        }
        let refuse = |what: &str| ParseError::new(Errno::EINVAL, format!("rump_sp: {what} ``{url}''"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("invalid locator"))?;
        if scheme.len() > SCHEME_MAX {
            return Err(refuse("identifier too long in"));
        }
        let known = SCHEMES.iter().find(|(name, _)| *name == scheme);
        let (_, parse) = known.ok_or_else(|| refuse("invalid identifier"))?;
        parse(rest, role).map(Locator::Remote)
    }

    /// The URL, absolute.
    pub fn url(&self) -> String {
        match self {
            Locator::Local => "local:".to_owned(),
            Locator::Remote(endpoint) => endpoint.url(),
        }
    }

    /// Binds and listens, on the server's side. The error carries a line for the user.
    pub fn listen(&self) -> Result<Box<dyn Listener>, ParseError> {
        match self {
            Locator::Local => {
                Err(ParseError::new(Errno::EINVAL, "rump_sp: a server cannot listen on ``local:''".into()))
            }
            Locator::Remote(endpoint) => endpoint.listen().map_err(|error| {
                ParseError::new(host::errno(error), format!("rump_sp: failed to bind to URL {}", endpoint.url()))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, role: Role) -> (Errno, String) {
        let error = Locator::parse(url, role).unwrap_err();
        (error.errno, error.message.unwrap_or_default())
    }

    #[test]
    fn each_mistake_has_its_own_line() {
        let rows = [
            ("nonsense", Errno::EINVAL, "rump_sp: invalid locator ``nonsense''"),
            ("abcdefghijklmnop://x", Errno::EINVAL, "rump_sp: identifier too long in ``abcdefghijklmnop://x''"),
            ("udp://x", Errno::EINVAL, "rump_sp: invalid identifier ``udp://x''"),
            ("tcp6://[::1]:1", Errno::EOPNOTSUPP, "rump_sp: support not yet implemented"),
            ("tcp://127.0.0.1", Errno::EINVAL, "rump_sp_tcp: missing port specifier"),
            ("tcp://localhost:1", Errno::EINVAL, "rump_sp_tcp: cannot parse localhost"),
            ("tcp://*:1", Errno::EINVAL, "rump_sp_tcp: client needs !INADDR_ANY"),
            ("tcp://0:1", Errno::EINVAL, "rump_sp_tcp: client needs !INADDR_ANY"),
            ("tcp://127.0.0.1:", Errno::EINVAL, "rump_sp_tcp: port now found: 127.0.0.1:"),
            ("tcp://127.0.0.1:1x", Errno::EINVAL, "rump_sp_tcp: junk at end of port: 127.0.0.1:1x"),
            ("tcp://127.0.0.1:65536", Errno::ERANGE, "rump_sp_tcp: port 65536 out of range"),
        ];
        for (url, errno, message) in rows {
            assert_eq!(refused(url, Role::Client), (errno, message.to_owned()), "{url}");
        }
        let long = format!("tcp://{}:1", "1".repeat(64));
        assert_eq!(refused(&long, Role::Client), (Errno::EINVAL, "rump_sp_tcp: address too long".to_owned()));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused_without_a_line() {
        let url = format!("unix:///{}", "x".repeat(107));
        assert_eq!(Locator::parse(&url, Role::Server).unwrap_err(), ParseError::silent(Errno::ENAMETOOLONG));
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let url = Locator::parse("unix://commsock", Role::Client).unwrap().url();
        assert_eq!(url, format!("unix://{}/commsock", std::env::current_dir().unwrap().display()));
        assert_eq!(Locator::parse("unix:///tmp/s", Role::Client).unwrap().url(), "unix:///tmp/s");
    }

    #[test]
    fn a_server_may_listen_on_any_address_and_ignores_what_follows_a_slash() {
        for (url, canonical) in [
            ("tcp://0:1234", "tcp://0.0.0.0:1234/"),
            ("tcp://*:0/", "tcp://0.0.0.0:0/"),
            ("tcp://127.0.0.1:17171/x", "tcp://127.0.0.1:17171/"),
            ("tcp://[::1]:7", "tcp://[::1]:7/"),
        ] {
            assert_eq!(Locator::parse(url, Role::Server).unwrap().url(), canonical);
        }
    }

    #[test]
    fn a_stale_name_is_not_replaced_and_a_fresh_one_is_the_owner_s() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("sysproxy-url-{}", std::process::id()));
        let url = format!("unix://{}", path.display());
        let locator = Locator::parse(&url, Role::Server).unwrap();
        let door = locator.listen().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = locator.listen().err().unwrap();
        assert_eq!(second, ParseError::new(Errno::EADDRINUSE, format!("rump_sp: failed to bind to URL {url}")));
        drop(door);
        assert!(!path.exists());
    }
}
