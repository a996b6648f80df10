//! A descriptor of front door 2 itself. The standard library's closes itself by libc's `close`, which is a hook.

use core::mem::ManuallyDrop;
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

/// A descriptor that is closed by a raw system call.
pub struct Own(ManuallyDrop<OwnedFd>);

impl Own {
    pub fn new(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        crate::raw::close(fd.into_raw_fd());
    }
}
