//! Calls that may be either kernel's by something else than one descriptor or path: by family, by either of two descriptors.

use abi::{Errno, Result, fcntl};
use client::stubs;

use super::{copies, descriptor, dir, memory, name, transfer};
use crate::calls::{Answer, Outcome, outcome, serve};
use crate::fds;
use crate::route::{self, End, Owner, RumpAt};
use crate::{exec, process, raw, trace, user};

/// See symlinkat(2).
pub fn symlinkat(at: &RumpAt<'_>, target: usize) -> Result<usize> {
    name::symlinkat(&user::read_path(target)?, at)
}

/// See readlinkat(2); the host's links to descriptors, to the working directory and to the program lead into the rump kernel, too. With a NetBSD
/// server a descriptor's shows the placeholder.
pub fn readlinkat(dir: i32, path: usize, buf: usize, len: usize) -> Outcome {
    match route::at(dir, path) {
        Owner::Host => match exec::image() {
            Some(image) if user::read_cstr(path).is_ok_and(|path| route::is_own_image(path.to_bytes())) => {
                serve(true, || name::store(image, buf, len))
            }
            _ => Outcome::Host,
        },
        Owner::Rump(name) => serve(true, || name::readlinkat(&name.at(), buf, len)),
        Owner::WorkingDirectory => {
            serve(true, || name::store(&name::below_prefix(&dir::working_directory()?), buf, len))
        }
        // Only a link to the descriptor's own link.
        Owner::Descriptor(_) if user::read_cstr(path).is_ok_and(|path| path.to_bytes().starts_with(b"/dev/std")) => {
            Outcome::Host
        }
        Owner::Descriptor(rump) => match serve(true, || name::store(&name::descriptor(rump)?, buf, len)) {
            Outcome::Done(refused) if refused == -(libc::ENOSYS as isize) => Outcome::Host,
            done => done,
        },
    }
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
            copies::replaced(addr, len, flags);
            serve(true, || memory::mmap(rump, addr, len, protection, flags, offset))
        }
        _ => Outcome::Host,
    }
}

/// Serves a call on two descriptors of which at least one is the rump kernel's.
fn between(one: i32, two: i32, call: impl FnMut() -> Result<usize>) -> Outcome {
    match (fds::lookup(one), fds::lookup(two)) {
        (None, None) => Outcome::Host,
        (None, _) if fds::is_ours(one) => outcome(Err(Errno::EBADF)),
        (_, None) if fds::is_ours(two) => outcome(Err(Errno::EBADF)),
        _ => serve(true, call),
    }
}

/// See sendfile(2).
pub fn sendfile(out: i32, input: i32, offset: usize, count: usize) -> Outcome {
    between(out, input, || transfer::sendfile(out, input, offset, count))
}

/// See copy_file_range(2).
pub fn copy_file_range(input: i32, in_at: usize, out: i32, out_at: usize, len: usize, flags: u32) -> Outcome {
    between(input, out, || transfer::copy_file_range(input, in_at, out, out_at, len, flags))
}

/// See splice(2).
pub fn splice(input: i32, in_at: usize, out: i32, out_at: usize, len: usize, flags: u32) -> Outcome {
    between(input, out, || transfer::splice(input, in_at, out, out_at, len, flags))
}

/// See _exit(2): what is held back is written first.
pub fn exit_group() -> Outcome {
    copies::flush_all();
    process::ends();
    trace::exit_group()
}

/// See tee(2).
pub fn tee(input: i32, out: i32, len: usize, flags: u32) -> Outcome {
    between(input, out, || transfer::tee(input, out, len, flags))
}

/// See linkat(2); the old name may be a descriptor's own (`AT_EMPTY_PATH`, or `/proc/self/fd/N` with `AT_SYMLINK_FOLLOW`).
pub fn linkat(dir: i32, path: usize, dir2: i32, link: usize, flags: i32) -> Outcome {
    let empty = flags & libc::AT_EMPTY_PATH != 0 && matches!(user::read::<u8>(path), Ok(0));
    let itself = match fds::lookup(dir) {
        Some(rump) if empty => Some(rump.fd()),
        None if empty && dir == libc::AT_FDCWD && process::cwd_in_rump() => Some(abi::Fd(fcntl::AT_FDCWD)),
        _ => match route::at(dir, path) {
            Owner::Descriptor(rump) if flags & libc::AT_SYMLINK_FOLLOW != 0 => Some(rump.fd()),
            _ => None,
        },
    };
    let unknown = fcntl::at_flags_from_linux(flags, name::LINK_FLAGS).err();
    match itself {
        Some(rump) => match route::at(dir2, link) {
            _ if unknown.is_some() => outcome(Err(Errno::EINVAL)),
            Owner::Rump(to) => serve(true, || name::link_itself(rump, &to.at())),
            _ => outcome(Err(End::new(dir2, link).elsewhere())),
        },
        // A descriptor of the host, or of nothing.
        None if empty => match route::at(dir2, link) {
            Owner::Rump(_) if raw::fcntl(dir, libc::F_GETFD, 0) < 0 => outcome(Err(Errno::EBADF)),
            Owner::Rump(_) => outcome(Err(Errno::EXDEV)),
            _ => Outcome::Host,
        },
        None => match route::two(End::new(dir, path), End::new(dir2, link), |from| name::exists(from, flags)) {
            Ok(None) => Outcome::Host,
            Ok(Some((from, to))) => serve(true, || name::linkat(&from.at(), &to.at(), flags)),
            Err(error) => outcome(Err(unknown.unwrap_or(error))),
        },
    }
}

/// See renameat2(2); flags that it does not take come before what is wrong with the paths.
pub fn renameat2(dir: i32, from: usize, dir2: i32, to: usize, flags: u32) -> Outcome {
    match route::two(End::new(dir, from), End::new(dir2, to), name::above) {
        Ok(None) => Outcome::Host,
        Ok(Some((from, to))) => serve(true, || name::renameat2(&from.at(), &to.at(), flags)),
        Err(error) => outcome(Err(fcntl::check_rename(flags).err().unwrap_or(error))),
    }
}
