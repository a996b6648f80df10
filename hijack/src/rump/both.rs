//! Calls that may be either kernel's by something else than one descriptor or path: by family, by either of two descriptors.

use abi::Result;
use client::stubs;

use super::{descriptor, file, memory};
use crate::calls::{Answer, Outcome, outcome, serve};
use crate::fds;
use crate::route::{self, RumpAt};
use crate::user;

/// See symlinkat(2).
pub fn symlinkat(at: &RumpAt<'_>, target: usize) -> Result<usize> {
    file::symlinkat(&user::read_cstr(target)?, at)
}

/// See socket(2).
pub fn socket(domain: i32, kind: i32, protocol: i32) -> Outcome {
    if route::family(domain) { serve(true, || super::socket::socket(domain, kind, protocol)) } else { Outcome::Host }
}

/// See socketpair(2); both numbers are given, or none.
pub fn socketpair(domain: i32, kind: i32, protocol: i32, pair: usize) -> Outcome {
    if !route::family(domain) {
        return Outcome::Host;
    }
    serve(true, || {
        let [one, two] = super::socket::socketpair(domain, kind, protocol)?;
        let one = one.finish()? as i32;
        let placed = two.finish().and_then(|two| {
            user::write(pair, &[one, two as i32]).inspect_err(|_| {
                descriptor::close(two as i32);
            })
        });
        placed.map(|()| 0).inspect_err(|_| {
            descriptor::close(one);
        })
    })
}

/// See sync(2): both kernels write what they hold back, and the host's answers.
pub fn sync() -> Outcome {
    if crate::process::ready() {
        serve(true, || stubs::sync(super::kernel()?).map(|()| 0));
    }
    Outcome::Host
}

/// See mmap(2); a mapping of no file is the host's, whatever its descriptor.
pub fn mmap(addr: usize, len: usize, protection: i32, flags: i32, fd: i32, offset: usize) -> Outcome {
    match fds::lookup(fd) {
        Some(rump) if flags & libc::MAP_ANONYMOUS == 0 => {
            serve(true, || memory::mmap(rump, addr, len, protection, flags, offset))
        }
        _ => Outcome::Host,
    }
}

fn either_is_rump(one: i32, two: i32) -> bool {
    fds::lookup(one).is_some() || fds::lookup(two).is_some()
}

/// See sendfile(2).
pub fn sendfile(out: i32, input: i32, offset: usize, count: usize) -> Outcome {
    if either_is_rump(out, input) { serve(true, || memory::sendfile(out, input, offset, count)) } else { Outcome::Host }
}

/// See copy_file_range(2).
pub fn copy_file_range(input: i32, out: i32) -> Outcome {
    if either_is_rump(input, out) { outcome(memory::copy_file_range()) } else { Outcome::Host }
}

/// See splice(2).
pub fn splice(input: i32, out: i32) -> Outcome {
    if either_is_rump(input, out) { outcome(memory::splice()) } else { Outcome::Host }
}
