//! The library's own heap: dlmalloc over raw mmap, behind a futex lock.
//!
//! Memory of the program's malloc would not do: it may be the program's own, it may call hooked functions, and the
//! thread may be inside it already. Here a thread cannot be inside twice, because whatever allocates has all
//! signals blocked (see [`crate::signals`]). The lock is held over fork, so that the child finds it in order.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

use dlmalloc::{Allocator, Dlmalloc};
use rustix::mm::{MapFlags, MremapFlags, ProtFlags};
use rustix_futex_sync::RawMutex;
use rustix_futex_sync::lock_api::RawMutex as _;

use crate::pages;

/// Pages straight from the host kernel.
struct Pages;

// SAFETY: alloc returns fresh private mappings of the size it says; remap and free pass on what mremap and munmap did.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let map = unsafe {
            rustix::mm::mmap_anonymous(null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        map.map_or((null_mut(), 0, 0), |start| (start.cast(), size, 0))
    }

    fn remap(&self, ptr: *mut u8, oldsize: usize, newsize: usize, can_move: bool) -> *mut u8 {
        let flags = if can_move { MremapFlags::MAYMOVE } else { MremapFlags::empty() };
        // SAFETY: dlmalloc owns the mapping and uses only the returned address afterwards.
        let moved = unsafe { rustix::mm::mremap(ptr.cast(), oldsize, newsize, flags) };
        pages::forget();
        moved.map_or(null_mut(), <*mut _>::cast)
    }

    fn free_part(&self, ptr: *mut u8, oldsize: usize, newsize: usize) -> bool {
        // SAFETY: dlmalloc owns the mapping and has given up its tail.
        let freed = unsafe { rustix::mm::munmap(ptr.wrapping_add(newsize).cast(), oldsize - newsize) }.is_ok();
        pages::forget();
        freed
    }

    fn free(&self, ptr: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc owns the mapping and has given it up.
        let freed = unsafe { rustix::mm::munmap(ptr.cast(), size) }.is_ok();
        pages::forget();
        freed
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}

/// The heap.
pub struct Heap {
    lock: RawMutex,
    /// Touched only by the holder of `lock`.
    inner: UnsafeCell<Dlmalloc<Pages>>,
}

// SAFETY: `inner` is reached only under `lock`.
unsafe impl Sync for Heap {}

impl Heap {
    #[cfg_attr(test, expect(dead_code, reason = "tests use the system's heap"))]
    const fn new() -> Self {
        Self { lock: RawMutex::INIT, inner: UnsafeCell::new(Dlmalloc::new_with_allocator(Pages)) }
    }

    fn with<T>(&self, body: impl FnOnce(&mut Dlmalloc<Pages>) -> T) -> T {
        self.lock.lock();
        // SAFETY: the lock is held, and `body` does not allocate through this heap.
        let answer = body(unsafe { &mut *self.inner.get() });
        // SAFETY: locked above.
        unsafe { self.lock.unlock() };
        answer
    }
}

// SAFETY: dlmalloc is an allocator; the lock makes it one for several threads.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is not zero, as GlobalAlloc asks of the caller.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller says that `ptr` came from here with this layout.
        self.with(|heap| unsafe { heap.free(ptr, layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller says that `ptr` came from here with this layout.
        self.with(|heap| unsafe { heap.realloc(ptr, layout.size(), layout.align(), new_size) })
    }
}

#[cfg(not(test))]
#[global_allocator]
static HEAP: Heap = Heap::new();

/// Takes the heap's lock before a fork.
pub fn before_fork() {
    #[cfg(not(test))]
    HEAP.lock.lock();
}

/// Gives the heap's lock back after a fork, in the parent and in the child.
///
/// # Safety
/// [`before_fork`] was called by this thread (or, in a child, by its copy).
pub unsafe fn after_fork() {
    // SAFETY: the caller says that the lock is held.
    #[cfg(not(test))]
    unsafe {
        HEAP.lock.unlock();
    };
}
