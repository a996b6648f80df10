//! The library's own heap: dlmalloc over raw mmap, behind a futex lock.
//!
//! Memory of the program's malloc would not do: it may be the program's own, it may call hooked functions, and the
//! thread may be inside it already. Here a thread cannot be inside twice, because whatever allocates has all
//! signals blocked (see [`crate::signals`]). The lock is held over fork, so that the child finds it in order.
//!
//! A child that shares this memory ([`client::guest`]) may be killed inside the heap, so it has one of its own, without a lock, in a region that is
//! unmapped as a whole when it is gone. What it frees of its parent's stays.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::guest;
use dlmalloc::{Allocator, Dlmalloc};
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};
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
        PAGE
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

/// Address space of a child's heap: the first of these that the host gives.
const REGION: [usize; 3] = [1 << 30, 1 << 26, 1 << 23];

const PAGE: usize = 4096;

thread_local! {
    /// The region of the child that the thread has made; null before it wants one.
    static GUEST: Cell<*mut Region> = const { Cell::new(null_mut()) };
}

/// The heap of a child that shares this memory, at the beginning of its region.
struct Region {
    len: usize,
    heap: Dlmalloc<Rest>,
}

/// What is left of a region.
struct Rest {
    top: AtomicUsize,
    end: usize,
}

// SAFETY: alloc gives each page to one holder, until that gives it back at the top.
unsafe impl Allocator for Rest {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let start = self.top.load(Ordering::Relaxed);
        match start.checked_add(size).filter(|end| *end <= self.end) {
            Some(end) => {
                self.top.store(end, Ordering::Relaxed);
                (start as *mut u8, size, 0)
            }
            None => (null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, ptr: *mut u8, oldsize: usize, newsize: usize) -> bool {
        self.free(ptr.wrapping_add(newsize), oldsize - newsize)
    }

    fn free(&self, ptr: *mut u8, size: usize) -> bool {
        // SAFETY: dlmalloc has given the pages up. They read as zeros when they are given out again.
        let zero = unsafe { rustix::mm::madvise(ptr.cast(), size, Advice::LinuxDontNeed) }.is_ok();
        if zero && ptr as usize + size == self.top.load(Ordering::Relaxed) {
            self.top.store(ptr as usize, Ordering::Relaxed);
        }
        zero
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

impl Region {
    /// The region of the child that the caller is; null if it is none, or there is no address space.
    fn of_caller() -> *mut Self {
        if guest::name() == 0 {
            return null_mut();
        }
        if GUEST.get().is_null() {
            GUEST.set(Self::map().unwrap_or(null_mut()));
        }
        GUEST.get()
    }

    fn map() -> Option<*mut Self> {
        REGION.iter().find_map(|len| {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
            let map =
                unsafe { rustix::mm::mmap_anonymous(null_mut(), *len, ProtFlags::READ | ProtFlags::WRITE, flags) };
            let region = map.ok()?.cast::<Self>();
            let start = region as usize;
            let rest = Rest { top: AtomicUsize::new(start + PAGE), end: start + len };
            // SAFETY: the first page is the region's own, and large enough.
            unsafe { region.write(Self { len: *len, heap: Dlmalloc::new_with_allocator(rest) }) };
            Some(region)
        })
    }

    /// Whether memory is that of a child that the calling thread has made.
    fn has(ptr: *mut u8) -> bool {
        let region = GUEST.get();
        // SAFETY: null, or a region that is mapped as long as it stands there.
        !region.is_null() && unsafe { (region as usize..region as usize + (*region).len).contains(&(ptr as usize)) }
    }
}

const _: () = assert!(size_of::<Region>() <= PAGE);

/// Gives back all that a child in this memory had, which is gone.
///
/// # Safety
/// Nobody uses anything that the child has allocated.
pub unsafe fn end_guest() {
    let region = GUEST.replace(null_mut());
    if !region.is_null() {
        // SAFETY: as the caller says.
        let _ = unsafe { rustix::mm::munmap(region.cast(), (*region).len) };
        pages::forget();
    }
}

// SAFETY: dlmalloc is an allocator; the lock makes it one for several threads, and a child in this memory is one thread with its own.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let region = Region::of_caller();
        // SAFETY: the size is not zero, as GlobalAlloc asks of the caller; the region is the caller's alone.
        unsafe {
            match region.is_null() {
                false => (*region).heap.malloc(layout.size(), layout.align()),
                true if guest::name() != 0 => null_mut(),
                true => self.with(|heap| heap.malloc(layout.size(), layout.align())),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let region = Region::of_caller();
        // SAFETY: as above.
        unsafe {
            match region.is_null() {
                false => (*region).heap.calloc(layout.size(), layout.align()),
                true if guest::name() != 0 => null_mut(),
                true => self.with(|heap| heap.calloc(layout.size(), layout.align())),
            }
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller says that `ptr` came from here with this layout.
        unsafe {
            match (Region::has(ptr), guest::name() != 0) {
                (true, true) => (*GUEST.get()).heap.free(ptr, layout.size(), layout.align()),
                (false, false) => self.with(|heap| heap.free(ptr, layout.size(), layout.align())),
                // The one goes with the region, the other is left to the parent.
                (true, false) | (false, true) => {}
            }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller says that `ptr` came from here with this layout, and that the new one is one.
        unsafe {
            match (Region::has(ptr), guest::name() != 0) {
                (true, true) => (*GUEST.get()).heap.realloc(ptr, layout.size(), layout.align(), new_size),
                (false, false) => self.with(|heap| heap.realloc(ptr, layout.size(), layout.align(), new_size)),
                _ => {
                    let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
                    if !new.is_null() {
                        ptr.copy_to_nonoverlapping(new, layout.size().min(new_size));
                        self.dealloc(ptr, layout);
                    }
                    new
                }
            }
        }
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
