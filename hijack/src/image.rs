//! What exec is to run on the host: whether the library comes along, and what is said and done if it does not.
//!
//! A program that cannot be hijacked (static, set-user-ID, …) runs all the same, on the host alone, and that is recorded; in a
//! sandbox it is `EACCES`. The loader of another C library would refuse to go on without what the library needs, so it is not told of it.

use std::ffi::CString;

use abi::{Errno, Result};
use client::signals::Blocked;
use spec::image::{Image, Reason};

use crate::calls::Outcome;
use crate::preload::{self, Environment, Restored};
use crate::{borrower, sandbox, trace, user};

/// An exec that may be made.
pub struct Checked {
    /// The arguments of the call, the environment possibly another one.
    pub args: [usize; 6],
    /// Holds what `args` points to.
    _environment: Option<Restored>,
}

/// Looks at an execve(2) or execveat(2) of the host before it is made.
///
/// `EACCES` if a sandbox forbids it.
pub fn check(nr: i64, mut args: [usize; 6]) -> Result<Checked> {
    let _blocked = Blocked::enter();
    let fenced = sandbox::on();
    if let (true, Outcome::Done(_)) = (fenced, sandbox::judge(nr as usize, &args)) {
        return Err(Errno::EACCES);
    }
    let path = path(nr, &args);
    let (image, refusal) = match path.as_ref().map(|path| Image::inspect(path)) {
        Some(Ok(image)) => (Some(image), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let Some(envp) = args.get_mut(if nr == libc::SYS_execve { 2 } else { 3 }) else { return Err(Errno::EINVAL) };
    // What cannot be read is the host's to refuse.
    let environment = preload::look(*envp, fenced).unwrap_or(Environment::Whole);
    let scrubbed = environment == Environment::Scrubbed;
    let restored = match environment {
        Environment::Restored(restored) => Some(restored),
        _ => None,
    };
    let restored = match image.as_ref().and_then(|image| image.unhijackable) {
        Some(Reason::Loader) => preload::without_library(*envp),
        _ => restored,
    };
    if let Some(restored) = &restored {
        *envp = restored.envp();
    }
    trace::exec(nr, &args);
    if let Some(path) = path.filter(|_| trace::on() || fenced) {
        // The host will say the same; a program that cannot be read is not let out of the fence.
        if let (true, Some(error)) = (fenced, refusal) {
            return Err(Errno::from_linux(error.raw_os_error()));
        }
        let reason = image.as_ref().and_then(|image| image.unhijackable).or(scrubbed.then_some(Reason::Scrubbed));
        let reason = reason.or_else(|| preload::is_unreachable().then_some(Reason::Unreachable));
        if let (Some(reason), Some(_)) = (reason, &image) {
            trace::missed(nr, reason as u32, path.as_bytes());
            if fenced {
                return Err(Errno::EACCES);
            }
        }
        if image.is_some() && !borrower::shares_memory() {
            trace::before_exec(nr, path.as_bytes());
        }
    }
    Ok(Checked { args, _environment: restored })
}

/// A name of the file that is to be run.
fn path(nr: i64, args: &[usize; 6]) -> Option<CString> {
    let [first, second, ..] = *args;
    if nr == libc::SYS_execve {
        return user::read_path(first).ok();
    }
    let path = user::read_path(second).ok()?;
    let dir = first as i32;
    match path.as_bytes() {
        [b'/', ..] => Some(path),
        [] => CString::new(format!("/proc/self/fd/{dir}")).ok(),
        _ if dir == libc::AT_FDCWD => Some(path),
        relative => CString::new([format!("/proc/self/fd/{dir}/").as_bytes(), relative].concat()).ok(),
    }
}
