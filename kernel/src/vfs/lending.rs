//! Open files whose memory clients have, and read and write by themselves ([`sysproxy::pages`]). The position of such a file is that of an
//! open file of the host, which the clients have too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::fcntl::{O_ACCMODE, O_RDWR, O_WRONLY};
use abi::mount::{MNT_NOATIME, MNT_RDONLY};
use abi::stat::Stat;
use abi::{Errno, Result};
use sysproxy::host::{self, HostFd, Owned, direct, shared};
use sysproxy::pages::Header;

use super::{Dir, Kind, VnodeFile};
use crate::proc::lock;
use crate::rumpuser::Access;

/// So many open files have lent memory at most: each costs two descriptors, and the first of a file a third.
const LOANS_MAX: usize = 1024;
/// No more than this part of the descriptors that the server may have.
const PART: u64 = 8;

/// How many there are.
static LOANS: AtomicUsize = AtomicUsize::new(0);

/// Counts one.
struct Seat;

impl Seat {
    /// `EAGAIN` if there are too many.
    fn take() -> Result<Self> {
        let max = usize::try_from(host::descriptor_limit() / PART).unwrap_or(LOANS_MAX).min(LOANS_MAX);
        let more = |count: usize| (count < max).then_some(count + 1);
        LOANS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(|_| Seat).map_err(|_| Errno::EAGAIN)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        LOANS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory of an open file that is lent.
pub struct Loan {
    at: Dir,
    /// `None` only while it ends.
    header: Option<Arc<Header>>,
    /// What to hand out of the header.
    page: Owned,
    /// The open file of the host.
    file: Owned,
    /// `O_APPEND`.
    appends: AtomicBool,
    /// `O_NOATIME`.
    quiet: AtomicBool,
    _seat: Seat,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(header) = self.header.take() {
            header.set_over(true);
            drop(header);
        }
        self.at.node.returned();
    }
}

impl Loan {
    /// Lends the memory of `at`, which is open with these flags and stands at `position`.
    fn new(at: &Dir, flags: i32, position: u64, appends: bool, quiet: bool) -> Result<Arc<Self>> {
        let seat = Seat::take()?;
        let (header, page) = Header::create().map_err(|_| Errno::EAGAIN)?;
        let header = Arc::new(header);
        let access = match flags & O_ACCMODE {
            O_WRONLY => Access::Write,
            O_RDWR => Access::ReadWrite,
            _ => Access::Read,
        };
        let file = at.node.lend(access, &header)?;
        let (appends, quiet) = (AtomicBool::new(appends), AtomicBool::new(quiet));
        // From here on its end gives the memory back.
        let loan = Arc::new(Self { at: at.clone(), header: Some(header), page, file, appends, quiet, _seat: seat });
        direct::set_position(loan.file(), position).map_err(host::errno)?;
        at.mount.watch(&loan);
        loan.follow();
        Ok(loan)
    }

    /// Says how the file is open now.
    pub(super) fn set_manners(&self, appends: bool, quiet: bool) {
        self.appends.store(appends, Ordering::Relaxed);
        self.quiet.store(quiet, Ordering::Relaxed);
        self.follow();
    }

    /// Has host and clients know how the file and its mount are now.
    pub(super) fn follow(&self) {
        let Some(header) = &self.header else { return };
        let silent = self.at.mount.flags() & (MNT_RDONLY | MNT_NOATIME) != 0;
        let appends = self.appends.load(Ordering::Relaxed);
        let done = shared::set_manners(self.file(), appends, silent || self.quiet.load(Ordering::Relaxed));
        header.set_appends(appends);
        header.set_over(done.is_err() || self.at.mount.alive().is_err());
    }

    /// The open file of the host.
    pub(super) fn file(&self) -> HostFd {
        self.file.fd()
    }

    /// Where the next read or write begins.
    pub(super) fn position(&self) -> u64 {
        direct::position(self.file()).unwrap_or(0)
    }

    /// Moves the position.
    pub(super) fn set_position(&self, at: u64) -> Result<()> {
        direct::set_position(self.file(), at).map_err(host::errno)
    }

    /// fstat(2), which the clients are shown too.
    pub(super) fn stat(&self) -> Stat {
        let (at, header) = (&self.at, self.header.as_ref());
        let version = header.map(|header| header.version());
        let times = shared::status(self.file()).map(|status| status.times);
        let stat = at.node.stat(at.mount.id);
        if let (Some(header), Some(version), Ok(times)) = (header, version, times) {
            header.show(version, &stat, times);
        }
        stat
    }
}

impl VnodeFile {
    /// Lends the memory to a client: the open file of the host, and the page beside it.
    ///
    /// `EOPNOTSUPP` for what is no file of memory; `EAGAIN` if there is none to lend just now.
    pub fn lend(&self, flags: i32) -> Result<(Owned, Owned)> {
        self.at.mount.alive()?;
        if self.at.node.vnode().kind != Kind::Regular {
            return Err(Errno::EOPNOTSUPP);
        }
        // Whoever uses the position looks for a loan once it has the lock.
        let position = lock(&self.position);
        let loan = match self.loan.get() {
            Some(loan) => loan,
            None => {
                let loan = Loan::new(&self.at, flags, *position, self.appends(), self.is_silent())?;
                self.loan.get_or_init(|| loan)
            }
        };
        // Its flags may have changed meanwhile.
        loan.set_manners(self.appends(), self.is_silent());
        let again = |fd: &Owned| host::dup_from(fd.fd(), 0).map_err(|_| Errno::EAGAIN);
        Ok((again(&loan.file)?, again(&loan.page)?))
    }

    /// Whether clients have the memory, and read and write by themselves.
    pub fn is_lent(&self) -> bool {
        self.loan.get().is_some()
    }
}
