//! Host or rump: by descriptor, path, at-pair, two paths or family.
use std::ffi::CStr;

/// A path in the rump kernel: `path` relative to `dir`, which is `AT_FDCWD` for an absolute path and in a rump
/// working directory.
#[derive(Clone, Copy, Debug)]
pub struct RumpAt<'a> {
    /// Directory that a relative path starts from.
    pub dir: abi::Fd,
    /// The path, its prefix stripped.
    pub path: &'a CStr,
}
