//! Why a string of the environment was refused.

use core::fmt;

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
    /// `extended=` with neither auto nor off.
    Extended(String),
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
            SpecError::Extended(value) => write!(f, "extended value should be auto or off, gave: {value}"),
            SpecError::Trace => f.write_str("trace needs the name of a file"),
        }
    }
}

impl core::error::Error for SpecError {}
