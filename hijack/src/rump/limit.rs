//! How long a file the program may write (`RLIMIT_FSIZE`): the kernel keeps to it, and raises SIGXFSZ as the host does.

use std::sync::atomic::{AtomicU64, Ordering};

use abi::resource::{RLIM_INFINITY, RLIMIT_FSIZE, Rlimit};
use abi::{In, Result};
use client::{Caller, stubs};
use sysproxy::host;

use super::kernel;
use crate::fds::RumpFd;

/// The limit that the kernel was told; none for a new image. The child of a fork has it from its parent, as its rump process does.
static TOLD: AtomicU64 = AtomicU64::new(u64::MAX);

/// The kernel, for a call that may make a file longer: it knows of the limit by then. Who sets the limit need not be the program itself
/// (prlimit(1)), so it is looked at each time, which is little beside the call.
pub fn writer() -> Result<&'static dyn Caller> {
    let kernel = kernel()?;
    let limit = host::file_limit();
    if TOLD.load(Ordering::Relaxed) != limit {
        let limits = Rlimit { rlim_cur: limit.min(RLIM_INFINITY), rlim_max: RLIM_INFINITY };
        stubs::setrlimit(kernel, RLIMIT_FSIZE, In::new(&limits))?;
        TOLD.store(limit, Ordering::Relaxed);
    }
    Ok(kernel)
}

/// The same, for a call on a descriptor, which may be known to be no file.
pub fn writer_to(fd: RumpFd) -> Result<&'static dyn Caller> {
    let kernel = kernel()?;
    if kernel.moves_itself(fd.fd()) { Ok(kernel) } else { writer() }
}
