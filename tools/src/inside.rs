//! Calls to a kernel in this process: what a server runs from its rc file, before anybody can reach it.

use std::sync::Arc;
use std::time::Duration;

use abi::poll::PollFd;
use abi::{Errno, Region, Result};
use client::{Caller, HostPollFd};
use kernel::Kernel;
use kernel::proc::{Lwp, Proc};
use kernel::usermem::UserMem;
use sysproxy::host::{Owned, memory};

/// A process in a kernel of this process.
pub struct Inside {
    kernel: Arc<Kernel>,
    proc: Arc<Proc>,
}

impl Inside {
    /// Makes a process called `name`; it ends with the value.
    pub fn new(kernel: &Arc<Kernel>, name: &str) -> Result<Self> {
        Ok(Self { proc: kernel.spawn(name.as_bytes())?, kernel: kernel.clone() })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.kernel.exit(&self.proc);
    }
}

impl Caller for Inside {
    fn call(&self, number: u32, args: &[u64], regions: &[Region]) -> Result<[i64; 2]> {
        let lwp = Lwp::new(&*self.kernel.rumpuser, 0);
        kernel::syscall::syscall(&self.kernel, &self.proc, &lwp, number, args, &Named(regions))
    }

    fn call_or_host(&self, _: u32, _: &[u64], _: &[Region], _: &mut [HostPollFd]) -> Result<Option<[i64; 2]>> {
        Err(Errno::EOPNOTSUPP)
    }

    fn call_for_descriptor(&self, _: u32, _: &[u64]) -> Result<Option<Owned>> {
        Err(Errno::EOPNOTSUPP)
    }

    fn poll_mixed(&self, _: &mut [PollFd], _: &mut [HostPollFd], _: Option<Duration>) -> Result<(usize, usize)> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// The memory that a call has named, and no other.
struct Named<'a>(&'a [Region]);

impl Named<'_> {
    /// How many bytes from `addr` on belong to a piece that `fits`.
    fn room(&self, addr: u64, fits: impl Fn(&Region) -> bool) -> usize {
        let room = |region: &Region| {
            let offset = addr.checked_sub(region.addr).and_then(|offset| usize::try_from(offset).ok())?;
            region.len.checked_sub(offset)
        };
        self.0.iter().filter(|region| fits(region)).filter_map(room).max().unwrap_or(0)
    }
}

impl UserMem for Named<'_> {
    fn copyin(&self, addr: u64, buf: &mut [u8]) -> Result<()> {
        if self.room(addr, |region| region.direction.readable()) < buf.len() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: whoever makes the call named this memory as the call's to read, and waits for its end.
        unsafe { memory::read(addr, buf) }.map_err(|_| Errno::EFAULT)
    }

    fn copyinstr(&self, addr: u64, max: usize) -> Result<Vec<u8>> {
        let mut text = vec![0; self.room(addr, |region| region.direction.readable()).min(max)];
        self.copyin(addr, &mut text)?;
        let end = text.iter().position(|byte| *byte == 0).ok_or(Errno::ENAMETOOLONG)?;
        text.truncate(end);
        Ok(text)
    }

    fn copyout(&self, addr: u64, data: &[u8]) -> Result<()> {
        if self.room(addr, |region| region.direction.writable()) < data.len() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: whoever makes the call named this memory as the call's to overwrite, and waits for its end.
        unsafe { memory::write(addr, data) }.map_err(|_| Errno::EFAULT)
    }

    fn raise(&self, _signal: i32) {}
}
