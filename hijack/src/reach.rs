//! How far memory that the program has named is good, found out before a call takes anything for it.
//!
//! A kernel that has taken bytes off a pipe or socket cannot give them back when the memory for them turns out to be bad, and the rump
//! kernel learns of that later than Linux's, or never. So a call that fills memory looks first. Almost always all pages are
//! [known](pages::are_fillable), and that is all; the first ones of those that are not are tried, and for the others the host's list of
//! mappings is asked, so that no page comes to be because of the question.

use core::sync::atomic::AtomicU32;

use sysproxy::host::{HostFd, Owned};

use crate::pages::{self, PAGE, Page};
use crate::raw;

/// Pages that are tried one by one.
const FEW: usize = 4;

/// What a call does with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It stores something there.
    Fill,
    /// It reads what is there.
    Take,
}

/// Whether `len` bytes at `addr` can be filled.
#[inline]
pub fn is_fillable(addr: usize, len: usize) -> bool {
    len == 0 || pages::are_fillable(addr, len) || good(addr, len, Use::Fill) == len
}

/// How many of `len` bytes at `addr` are good, before the first that is not.
///
/// Where the host does not let itself be asked, all of them: the call then finds out, and takes what it has for the others away with it.
#[cold]
#[inline(never)]
pub fn good(addr: usize, len: usize, how: Use) -> usize {
    if pages::written_plainly() {
        return len;
    }
    let generation = pages::generation();
    let end = addr.saturating_add(len);
    let (mut at, mut tried, mut maps) = (addr, 0, None);
    while at < end {
        let page_end = (at / PAGE + 1).saturating_mul(PAGE).min(end);
        if how == Use::Fill && pages::are_fillable(at, 1) {
            at = page_end;
            continue;
        }
        if tried < FEW {
            tried += 1;
            match try_page(at, how) {
                Page::Readable if how == Use::Fill => pages::note_fillable(at, 1, generation),
                Page::Readable => {}
                Page::Unreadable => return at - addr,
                Page::Unknown => return len,
            }
            at = page_end;
            continue;
        }
        let maps = maps.get_or_insert_with(Maps::open);
        match maps.as_ref().map_or(Mapped::Unknown, |maps| maps.ask(at, how)) {
            Mapped::Until(area_end) => {
                let area_end = area_end.clamp(page_end, end);
                if how == Use::Fill {
                    pages::note_fillable(at, (area_end - at).min(pages::MOST / 2 * PAGE), generation);
                }
                at = area_end;
            }
            Mapped::No => return at - addr,
            Mapped::Unknown => match pages::look(at) {
                // What may only be read shows among the first pages at least.
                Page::Readable if tried < pages::MOST => (at, tried) = (page_end, tried + 1),
                Page::Unreadable => return at - addr,
                _ => return len,
            },
        }
    }
    len
}

/// Whether the page of `addr` is good. One that can be filled is written, though nothing in it changes: it is what would come of the call.
fn try_page(addr: usize, how: Use) -> Page {
    /// An atomic `or` with nothing; what it is compared with is most improbable, and a thread that is woken then looks again.
    const OPERATION: usize = (libc::FUTEX_OP_OR as usize) << 28 | (libc::FUTEX_OP_CMP_EQ as usize) << 24 | 0x5a5;
    static NOBODY_WAITS: AtomicU32 = AtomicU32::new(0);
    if how == Use::Take {
        return pages::look(addr);
    }
    let wake = (libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG) as usize;
    let answer =
        raw::syscall(libc::SYS_futex as usize, [NOBODY_WAITS.as_ptr() as usize, wake, 0, 0, addr & !3, OPERATION]);
    const FAULT: isize = -(libc::EFAULT as isize);
    match answer {
        0.. => Page::Readable,
        FAULT => Page::Unreadable,
        _ => Page::Unknown,
    }
}

/// What the list of mappings says of an address.
enum Mapped {
    /// It is good up to here at least.
    Until(usize),
    /// It is bad.
    No,
    /// The host does not let itself be asked.
    Unknown,
}

/// The host's list of the process's mappings, which can be asked since Linux 6.11.
struct Maps(Owned);

/// struct procmap_query; see [proc_pid_maps(5)](https://www.kernel.org/doc/html/latest/filesystems/proc.html).
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const _: () = assert!(size_of::<Query>() == 104);

impl Maps {
    fn open() -> Option<Self> {
        let path = c"/proc/self/maps".as_ptr() as usize;
        let flags = raw::word(libc::O_RDONLY | libc::O_CLOEXEC);
        let fd = raw::call(libc::SYS_openat, [raw::word(libc::AT_FDCWD), path, flags]);
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| Maps(Owned::new(HostFd(fd))))
    }

    fn ask(&self, addr: usize, how: Use) -> Mapped {
        /// `_IOWR('f', 17, struct procmap_query)`.
        const PROCMAP_QUERY: usize = 0xc068_6611;
        const READABLE: u64 = 1;
        const WRITABLE: u64 = 2;
        let flags = if how == Use::Fill { WRITABLE } else { READABLE };
        let mut query = Query { size: size_of::<Query>() as u64, flags, addr: addr as u64, ..Query::default() };
        let fd = raw::word(self.0.fd().0);
        const NONE: isize = -(libc::ENOENT as isize);
        match raw::call(libc::SYS_ioctl, [fd, PROCMAP_QUERY, &raw mut query as usize]) {
            0 => Mapped::Until(query.end as usize),
            NONE => Mapped::No,
            _ => Mapped::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

    use super::*;

    /// Pages of which `bad` alone is not as the others are.
    fn mapping(pages: usize, bad: usize, protection: Option<MprotectFlags>) -> usize {
        // SAFETY: a fresh mapping that only this test knows.
        unsafe {
            let rw = ProtFlags::READ | ProtFlags::WRITE;
            let start = mmap_anonymous(core::ptr::null_mut(), pages * PAGE, rw, MapFlags::PRIVATE).unwrap();
            let page = start.byte_add(bad * PAGE);
            match protection {
                Some(protection) => mprotect(page, PAGE, protection).unwrap(),
                None => munmap(page, PAGE).unwrap(),
            }
            start as usize
        }
    }

    #[test]
    fn memory_is_good_up_to_the_bad_page() {
        let _alone = pages::ALONE.lock();
        pages::remember();
        for bad in [0, 1, 3, 4, 9, 300] {
            for (protection, taken) in
                [(None, bad), (Some(MprotectFlags::empty()), bad), (Some(MprotectFlags::READ), 400)]
            {
                let start = mapping(400, bad, protection);
                for skip in [0, 5, PAGE - 1].into_iter().filter(|_| bad > 0) {
                    let len = 400 * PAGE - skip;
                    assert_eq!(good(start + skip, len, Use::Fill), bad * PAGE - skip, "{bad} {protection:?}");
                    assert_eq!(good(start + skip, len, Use::Take), taken * PAGE - skip, "{bad} {protection:?}");
                }
                assert!(!is_fillable(start + bad * PAGE, 1));
            }
        }
        assert!(is_fillable(0, 0) && !is_fillable(16, 1) && !is_fillable(usize::MAX - 1, 9));
    }

    #[test]
    fn what_was_found_out_is_known_until_it_may_have_changed() {
        let _alone = pages::ALONE.lock();
        pages::remember();
        let start = mapping(101, 100, None);
        assert!(!pages::are_fillable(start, 100 * PAGE));
        assert!(is_fillable(start, 100 * PAGE));
        assert!(pages::are_fillable(start, 100 * PAGE) && !pages::are_fillable(start, 101 * PAGE));
        pages::forget();
        assert!(!pages::are_fillable(start, 1));
    }

    #[test]
    fn a_page_that_is_tried_keeps_its_bytes() {
        let mut bytes = [[0xa5u8; 64]; 4];
        let addr = bytes.as_mut_ptr() as usize;
        (0..64).for_each(|at| assert_eq!(try_page(addr + at, Use::Fill), Page::Readable));
        assert_eq!(bytes, [[0xa5u8; 64]; 4]);
        assert_eq!(try_page(16, Use::Fill), Page::Unreadable);
    }
}
