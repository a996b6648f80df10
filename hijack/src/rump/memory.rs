//! mmap(2) of a rump file.
//!
//! Our own server keeps the content of a file that is mapped in memory of the host, and hands us a descriptor of it (over a unix
//! socket, or in this process): the mapping is then the host's own, coherent with all other processes and with read(2) and write(2),
//! and what is done to it afterwards (mprotect, mremap, msync, fork, …) is no concern of ours. Elsewhere a mapping is a copy.

use abi::slot::Slot;
use abi::stat::{S_IFCHR, S_IFMT};
use abi::syscalls::nr;
use abi::{Errno, Result, device};

use super::attr::status;
use super::{copies, kernel};
use crate::fds::RumpFd;
use crate::{pages, raw};

/// See mmap(2).
///
/// `ENODEV` for what is no file, but `/dev/zero`.
pub fn mmap(fd: RumpFd, addr: usize, len: usize, protection: i32, flags: i32, offset: usize) -> Result<usize> {
    match kernel()?.call_for_descriptor(nr::mapfile, &[fd.fd().to_slot()]) {
        Ok(Some(memory)) => {
            let memory = raw::word(memory.fd().0);
            host(libc::SYS_mmap, [addr, len, raw::word(protection), raw::word(flags), memory, offset])
        }
        Ok(None) => Err(Errno::ENODEV),
        Err(_) if is_zero(fd) => {
            let flags = flags | libc::MAP_ANONYMOUS;
            host(libc::SYS_mmap, [addr, len, raw::word(protection), raw::word(flags), raw::word(-1), 0])
        }
        // Not ours, over tcp, another file system; or no descriptors or memory left to share with.
        Err(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC) => {
            copies::mmap(fd, addr, len, protection, flags, offset)
        }
        Err(error) => Err(error),
    }
}

/// Whether it is `/dev/zero`: a mapping of that is memory of the mapping's own (mem(4)).
fn is_zero(fd: RumpFd) -> bool {
    status(fd).is_ok_and(|status| status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == device::ZERO)
}

/// Makes a call of the host that changes what is mapped; what was known of the program's pages is then forgotten.
pub(super) fn host<const N: usize>(nr: i64, args: [usize; N]) -> Result<usize> {
    let done = raw::call(nr, args);
    pages::forget();
    raw::checked(done)
}
