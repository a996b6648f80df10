//! Whose call the thread is serving: NetBSD's `curproc`.
//!
//! For what sees no [`Cx`](crate::Cx), because the file name space calls it: nodes that show each process something else, as `/dev/tty`,
//! `/dev/pts` and `/proc/self` do.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use abi::resource::RLIM_INFINITY;
use abi::{Errno, Result};

use crate::Kernel;
use crate::proc::{Proc, lock};

/// A kernel, and the process that it serves.
type Current = (Arc<Kernel>, Arc<Proc>);

thread_local! {
    // Without a destructor: the thread may be a program's, and ends after its last call has.
    static CURRENT: RefCell<Option<ManuallyDrop<Current>>> = const { RefCell::new(None) };
}

thread_local! {
    /// Whether the call has met its process's limit of file sizes.
    static BEYOND: Cell<bool> = const { Cell::new(false) };
}

/// How many bytes of a file from `offset` on the calling process may write (`RLIMIT_FSIZE`); `EFBIG` for none, and the call will end
/// with SIGXFSZ, as on Linux.
pub fn writable_from(offset: u64) -> Result<u64> {
    let limit = CURRENT.with_borrow(|slot| slot.as_deref().map_or(RLIM_INFINITY, |(_, proc)| lock(&proc.fsize).0));
    match limit.checked_sub(offset) {
        _ if limit == RLIM_INFINITY => Ok(u64::MAX),
        Some(room @ 1..) => Ok(room),
        _ => {
            BEYOND.set(true);
            Err(Errno::EFBIG)
        }
    }
}

/// Whether the call that ends has met the limit of file sizes.
pub fn take_beyond() -> bool {
    BEYOND.take()
}

/// A call in progress; the one that it is nested in, if any, goes on when this is dropped.
pub struct Entered {
    before: Option<ManuallyDrop<Current>>,
}

/// Notes that the thread serves a call of `proc`.
pub fn enter(kernel: &Arc<Kernel>, proc: &Arc<Proc>) -> Entered {
    let current = ManuallyDrop::new((kernel.clone(), proc.clone()));
    Entered { before: CURRENT.with_borrow_mut(|slot| slot.replace(current)) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let own = CURRENT.with_borrow_mut(|slot| std::mem::replace(slot, before));
        drop(own.map(ManuallyDrop::into_inner));
    }
}

/// The kernel whose call the thread serves; `None` while it boots, and in threads of its own.
pub fn kernel() -> Option<Arc<Kernel>> {
    get().map(|(kernel, _)| kernel)
}

/// The kernel and the calling process.
pub fn get() -> Option<Current> {
    CURRENT.with_borrow(|slot| slot.as_deref().cloned())
}
