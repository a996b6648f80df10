//! Whose call the thread is serving: NetBSD's `curproc`.
//!
//! For what sees no [`Cx`](crate::Cx), because the file name space calls it: nodes that show each process something else, as `/dev/tty`,
//! `/dev/pts` and `/proc/self` do.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::Kernel;
use crate::proc::Proc;

/// A kernel, and the process that it serves.
type Current = (Arc<Kernel>, Arc<Proc>);

thread_local! {
    // Without a destructor: the thread may be a program's, and ends after its last call has.
    static CURRENT: RefCell<Option<ManuallyDrop<Current>>> = const { RefCell::new(None) };
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
