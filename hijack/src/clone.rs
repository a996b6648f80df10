//! The odder ways to make a process: `_Fork`, clone(2) and clone3(2), through libc's functions or by number.
//!
//! A child with memory of its own gets a rump process as that of fork does. Where that cannot be, because the child begins on
//! another stack than the library's frames stand on, it has none: its rump calls are `ENOTCONN`, and the trace says so.

use std::ffi::c_void;

use crate::calls::{self, Outcome};
use crate::{process, raw, trace, user};

const THREAD: usize = libc::CLONE_THREAD as usize;
const VM: usize = libc::CLONE_VM as usize;
const VFORK: usize = libc::CLONE_VFORK as usize;
/// The table of descriptors stays the parent's.
pub const FILES: usize = libc::CLONE_FILES as usize;

/// Other names of files, another network, other users.
pub const NAMES: i32 = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUSER;

/// What a child made by given flags needs of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: it is a thread.
    Thread,
    /// A view of its own for as long as it shares the memory in which its parent waits.
    Borrower,
    /// A rump process of its own.
    Fork,
    /// What cannot be had: it goes on in its parent's rump process.
    Companion,
}

/// Sorts a clone by its flags.
pub fn kind(flags: usize) -> Kind {
    match (flags & THREAD != 0, flags & VM != 0, flags & VFORK != 0) {
        (true, ..) => Kind::Thread,
        (_, true, true) => Kind::Borrower,
        (_, true, false) => Kind::Companion,
        _ => Kind::Fork,
    }
}

/// Says what such a child will miss, and connects while the server can be reached.
pub fn remark(flags: usize) {
    if flags as i32 & NAMES != 0 && kind(flags) != Kind::Thread {
        process::connect_before_it_is_late();
    }
    match kind(flags) {
        Kind::Companion => {
            trace::say(format_args!("clone: a child in this memory acts on its parent's rump descriptors"))
        }
        Kind::Fork if flags & FILES != 0 => {
            trace::say(format_args!("clone: CLONE_FILES shares host descriptors only, rump descriptors are copied"));
        }
        _ => {}
    }
}

/// See fork(2), by its number.
pub fn fork() -> Outcome {
    if process::ready() { forked(false, || raw::call(libc::SYS_fork, []) as i32) } else { Outcome::Host }
}

/// Forks by a raw call that comes back here, in the parent and in the child.
fn forked(shared: bool, call: impl FnOnce() -> i32) -> Outcome {
    match process::fork_bare(shared, call) {
        Ok(child) => Outcome::Done(child as isize),
        Err(error) => calls::outcome(Err(error)),
    }
}

/// See clone(2), by its number.
pub fn clone(flags: usize, stack: usize, parent_id: usize, child_id: usize, tls: usize) -> Outcome {
    bare(flags, stack, || raw::call(libc::SYS_clone, [flags, stack, parent_id, child_id, tls]) as i32)
}

/// See clone3(2), by its number: flags are the first word of its arguments, the stack the sixth.
pub fn clone3(arguments: usize, size: usize) -> Outcome {
    let Ok(words) = user::read::<[u64; 6]>(arguments) else { return Outcome::Host };
    let [flags, .., stack] = words.map(|word| word as usize);
    bare(flags, stack, || raw::call(libc::SYS_clone3, [arguments, size]) as i32)
}

fn bare(flags: usize, stack: usize, call: impl FnOnce() -> i32) -> Outcome {
    if !process::ready() {
        return Outcome::Host;
    }
    remark(flags);
    match (kind(flags), stack) {
        (Kind::Fork, 0) => forked(flags & FILES != 0, call),
        (Kind::Fork | Kind::Borrower, _) => {
            trace::say(format_args!("clone: a child that begins on a stack of its own has no rump process"));
            Outcome::Host
        }
        (Kind::Thread | Kind::Companion, _) => Outcome::Host,
    }
}

/// Where the child of libc's clone begins.
pub type Run = extern "C" fn(*mut c_void) -> i32;

/// What such a child is to run.
pub struct Start {
    /// The program's function.
    pub run: Run,
    /// What that gets.
    pub arg: *mut c_void,
    /// What gives the child its rump process.
    pub ready: fn(bool),
    /// Whether it shares the host's descriptors.
    pub shared: bool,
}

/// Begins the child of libc's clone.
pub extern "C" fn start(start: *mut c_void) -> i32 {
    // SAFETY: the hook of clone passes a `Start` on its own stack, of which the child has a copy.
    let Start { run, arg, ready, shared } = unsafe { start.cast::<Start>().read() };
    ready(shared);
    run(arg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_tell_threads_from_processes() {
        let pthread = VM | THREAD | FILES | libc::CLONE_SETTLS as usize;
        assert_eq!(kind(pthread), Kind::Thread);
        assert_eq!(kind(VM | VFORK | libc::SIGCHLD as usize), Kind::Borrower);
        assert_eq!(kind(libc::SIGCHLD as usize), Kind::Fork);
        assert_eq!(kind(VM | FILES), Kind::Companion);
    }
}
