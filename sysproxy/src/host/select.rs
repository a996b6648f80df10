//! Waiting without poll(2), for a process that may open fewer descriptors than it waits for.

use super::{Error, POLLIN, POLLOUT, PollFd, Result, raw};

/// The error of a poll(2) of more descriptors than `RLIMIT_NOFILE` says.
pub(super) const TOO_MANY: Error = Error::INVAL;

/// As poll(2) on `fds`, through select(2), which knows no such limit: a sandbox lowers it although descriptors are open
/// (OpenSSH's, to 1). `timeout` and `mask` are addresses as pselect6(2) takes them, or 0.
///
/// # Safety
/// `timeout` and `mask` are valid for the call.
pub(super) unsafe fn pselect(fds: &mut [PollFd], timeout: usize, mask: usize) -> Result<usize> {
    let count = fds.iter().map(|fd| fd.fd + 1).max().unwrap_or(0).max(0) as usize;
    let words = count.div_ceil(64);
    let (mut read, mut write) = (vec![0u64; words], vec![0u64; words]);
    for fd in fds.iter().filter(|fd| fd.fd >= 0) {
        let (word, bit) = (fd.fd as usize / 64, 1 << (fd.fd % 64));
        for (set, event) in [(&mut read, POLLIN), (&mut write, POLLOUT)] {
            if fd.events & event != 0
                && let Some(word) = set.get_mut(word)
            {
                *word |= bit;
            }
        }
    }
    let args = [count, read.as_mut_ptr() as usize, write.as_mut_ptr() as usize, 0, timeout, mask];
    // SAFETY: the sets have `count` bits; the caller answers for the rest.
    unsafe { raw::syscall6(raw::PSELECT6, args)? };
    let mut ready = 0;
    for fd in fds.iter_mut() {
        let at = usize::try_from(fd.fd).ok();
        let has = |set: &[u64]| at.and_then(|at| set.get(at / 64)).is_some_and(|word| word >> (fd.fd % 64) & 1 != 0);
        let (readable, writable) = (has(&read), has(&write));
        fd.revents = if readable { POLLIN } else { 0 } | if writable { POLLOUT } else { 0 };
        ready += usize::from(fd.revents != 0);
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{self, HostFd};
    use std::time::Duration;

    #[test]
    fn select_says_what_poll_says() {
        let (one, other) = host::socketpair().unwrap();
        let set = [PollFd::new(one.fd(), POLLIN), PollFd::new(HostFd(-1), POLLIN), PollFd::new(other.fd(), POLLOUT)];
        for _ in 0..2 {
            let (mut polled, mut selected) = (set, set);
            let ready = host::ppoll(&mut polled, Some(Duration::ZERO), None);
            let now = [0u64; 2];
            // SAFETY: the time is valid, and there is no mask.
            let chosen = unsafe { pselect(&mut selected, now.as_ptr() as usize, 0) };
            assert_eq!((chosen, selected), (ready, polled));
            host::write(other.fd(), b"x").unwrap();
        }
    }
}
