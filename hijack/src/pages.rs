//! Pages of the program that are known to be readable, so that a path can be looked at without a system call, and those that are known to be
//! writable, because something was written there.
//!
//! The library must never fault on a bad pointer: that is the kernel's `EFAULT`. Whether a page can be read is asked of the kernel
//! once, by a call that reads eight bytes of it and otherwise fails (rt_sigprocmask(2) with a `how` that does not exist), and kept
//! in a table. Whatever can make a page unreadable forgets the whole table: the trampolines of munmap(2) and its kin count the
//! [generation](crate::quick::Line::generation) up. Where libc has no trampolines its functions of these names do: then memory that
//! libc gives back by itself (free, dlclose, the end of a thread) is not noticed, and a program that passes such memory as a path is
//! not told `EFAULT`.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::first::{self, section};
use crate::quick::{self, LINE, Line, near};
use crate::raw;

/// Smallest page of the host: what lies within one is readable as a whole or not at all.
pub const PAGE: usize = 4096;

/// Entries of the table, one for each low part of a page's number.
pub const ENTRIES: usize = 4096;

/// Bits that an entry has for the high part of a page's number; addresses beyond are not kept.
const TAG_BITS: u32 = 23;

/// What the generation is counted up by: it stands above the high part of a page's number.
pub const STEP: u64 = 1 << TAG_BITS;

/// Whether what makes a page unreadable counts the [generation](crate::quick::Line::generation) up.
static REMEMBER: AtomicBool = AtomicBool::new(false);

/// Whether the question has to be put in another way.
static VALGRIND: AtomicBool = AtomicBool::new(false);

/// For each page its generation and the high part of its number.
pub static KNOWN: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

/// The same of pages that could be written.
static WRITABLE: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

/// The same of pages into which a call may store something, as far as the host has said.
static FILLABLE: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

/// Most pages that are looked up one by one: more are copied by the host as fast.
const MANY: usize = 64;

/// Most pages of which is kept that a call may store something there.
pub const MOST: usize = 256;

/// What is known of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// It can be read.
    Readable,
    /// The host's answer is `EFAULT`.
    Unreadable,
    /// The host does not let itself be asked.
    Unknown,
}

/// When a call of the host can make a page unreadable, or one that only be read from then on; the registers are those of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// Never.
    No,
    /// Each time.
    Always,
    /// Unless `PROT_READ` and `PROT_WRITE` are in the third argument.
    Protected,
    /// If `MAP_FIXED` is in the fourth argument.
    Fixed,
    /// If the third argument is one of the advices from 64 on, which take pages away or guard them.
    Guarded,
}

/// Says when call `nr` can make a page unreadable, or one that can only be read.
pub const fn forgets(nr: usize) -> Forgets {
    match nr as i64 {
        libc::SYS_munmap | libc::SYS_mremap | libc::SYS_brk | libc::SYS_shmdt | libc::SYS_shmat => Forgets::Always,
        libc::SYS_pkey_mprotect | libc::SYS_remap_file_pages => Forgets::Always,
        libc::SYS_mprotect => Forgets::Protected,
        libc::SYS_mmap => Forgets::Fixed,
        libc::SYS_madvise => Forgets::Guarded,
        _ => Forgets::No,
    }
}

/// Finds out how the host is to be asked. Meant for the constructor.
pub fn prepare() {
    if under_valgrind() {
        VALGRIND.store(true, Ordering::Relaxed);
        sysproxy::host::memory::copy_plainly();
    }
}

/// Whether memory that is readable is to be written directly: valgrind takes what the host copies for uninitialised.
pub fn written_plainly() -> bool {
    VALGRIND.load(Ordering::Relaxed)
}

/// Says that pages may be kept: what can make one unreadable comes through a door from now on.
pub fn remember() {
    REMEMBER.store(true, Ordering::Relaxed);
    forget();
}

/// Whether all pages are to be forgotten when a function of libc is called: if the call can make one unreadable, and does not come through
/// the other door. That is done before the call: a path in memory that another thread takes away at the same time is the program's own fault.
#[inline(always)]
pub fn forgets_with(forgets: Forgets, args: &[usize; 6]) -> bool {
    const GUARD: usize = 64;
    const BOTH: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let [_, _, third, fourth, ..] = *args;
    let unreadable = match forgets {
        Forgets::No => false,
        Forgets::Always => true,
        Forgets::Protected => third & BOTH != BOTH,
        Forgets::Fixed => fourth & libc::MAP_FIXED as usize != 0,
        Forgets::Guarded => third & GUARD != 0,
    };
    unreadable && !first::all_inside()
}

/// Forgets all pages.
pub fn forget() {
    LINE.generation.fetch_add(STEP, Ordering::SeqCst);
}

/// Tells whether the page of `addr` can be read.
#[inline(always)]
pub fn look(addr: usize) -> Page {
    if is_known(quick::line(), addr) { Page::Readable } else { ask(addr) }
}

/// How often pages were forgotten: what is found out after this was asked is [noted](note_writable) with it.
pub fn generation() -> u64 {
    LINE.generation.load(Ordering::SeqCst)
}

/// Whether `len` bytes at `addr`, more than none, are known to be writable.
pub fn are_writable(addr: usize, len: usize) -> bool {
    all_in(&WRITABLE, pages(addr, len, MANY))
}

/// Whether a call may store `len` bytes at `addr`, more than none, as far as that is known.
#[inline(always)]
pub fn are_fillable(addr: usize, len: usize) -> bool {
    // Almost always the second is the first.
    let last = addr.wrapping_add(len.wrapping_sub(1));
    let ends = is_in(&FILLABLE, addr) && (addr / PAGE == last / PAGE || is_in(&FILLABLE, last));
    ends && (last.wrapping_sub(addr) < PAGE || all_in(&FILLABLE, pages(addr, len, MOST)))
}

#[inline(always)]
fn is_in(table: &[AtomicU64; ENTRIES], addr: usize) -> bool {
    let page = addr / PAGE;
    let known = table.get(page % ENTRIES).map(|known| known.load(Ordering::Relaxed));
    known == Some(entry(page, LINE.generation.load(Ordering::Acquire))) && has_entry(page)
}

fn all_in(table: &[AtomicU64; ENTRIES], pages: Option<core::ops::RangeInclusive<usize>>) -> bool {
    pages.is_some_and(|mut pages| pages.all(|page| is_in(table, page * PAGE)))
}

/// Whether `len` bytes at `addr`, more than none, are known to be readable.
pub fn are_readable(addr: usize, len: usize) -> bool {
    pages(addr, len, MANY).is_some_and(|mut pages| pages.all(|page| is_known(quick::line(), page * PAGE)))
}

/// Notes that `len` bytes at `addr` could be read, which was tried after `generation` was asked for.
pub fn note_readable(addr: usize, len: usize, generation: u64) {
    note(&KNOWN, pages(addr, len, MANY), generation);
}

/// Notes that `len` bytes at `addr` could be written, which was tried after `generation` was asked for.
pub fn note_writable(addr: usize, len: usize, generation: u64) {
    note(&WRITABLE, pages(addr, len, MANY), generation);
}

/// Notes that a call may store `len` bytes at `addr`, which was found out after `generation` was asked for.
pub fn note_fillable(addr: usize, len: usize, generation: u64) {
    note(&FILLABLE, pages(addr, len, MOST), generation);
}

fn note(table: &[AtomicU64; ENTRIES], pages: Option<core::ops::RangeInclusive<usize>>, generation: u64) {
    if REMEMBER.load(Ordering::Relaxed) {
        for page in pages.into_iter().flatten().filter(|page| has_entry(*page)) {
            let known = table.get(page % ENTRIES);
            known.into_iter().for_each(|known| known.store(entry(page, generation), Ordering::Relaxed));
        }
    }
}

/// The pages of so many bytes, if there are `most` at most.
#[inline(always)]
fn pages(addr: usize, len: usize, most: usize) -> Option<core::ops::RangeInclusive<usize>> {
    let (first, last) = (addr / PAGE, addr.checked_add(len.checked_sub(1)?)? / PAGE);
    (last - first < most).then_some(first..=last)
}

/// Whether the page of `addr` is known to be readable.
#[inline(always)]
pub fn is_known(line: &Line, addr: usize) -> bool {
    let page = addr / PAGE;
    // A number that does not fit makes a later generation, of which there is no entry yet.
    let entry = entry(page, line.generation.load(Ordering::Acquire));
    let table: *const [AtomicU64; ENTRIES] = near!(KNOWN);
    // SAFETY: a static.
    let known = unsafe { &*table }.get(page % ENTRIES);
    known.is_some_and(|known| known.load(Ordering::Relaxed) == entry)
}

#[inline(always)]
const fn entry(page: usize, generation: u64) -> u64 {
    generation.wrapping_add((page / ENTRIES) as u64)
}

/// Whether a page's number fits an entry.
#[inline(always)]
const fn has_entry(page: usize) -> bool {
    page / ENTRIES < 1 << TAG_BITS
}

/// Asks the host whether the page of `addr` can be read, and keeps the answer.
#[cold]
#[inline]
#[unsafe(link_section = section!())]
fn ask(addr: usize) -> Page {
    // Before the question: what is unmapped after it has another generation.
    let generation = LINE.generation.load(Ordering::SeqCst);
    let page = addr / PAGE;
    // Not the page's first word: a null pointer would ask nothing.
    let word = page * PAGE + 8;
    if VALGRIND.load(Ordering::Relaxed) {
        return ask_by_copy(word);
    }
    let answer = raw::syscall(libc::SYS_rt_sigprocmask as usize, [usize::MAX, word, 0, 8, 0, 0]);
    const READ: isize = -(libc::EINVAL as isize);
    const FAULT: isize = -(libc::EFAULT as isize);
    match answer {
        READ => {
            if REMEMBER.load(Ordering::Relaxed)
                && has_entry(page)
                && let Some(known) = KNOWN.get(page % ENTRIES)
            {
                known.store(entry(page, generation), Ordering::Relaxed);
            }
            Page::Readable
        }
        FAULT => Page::Unreadable,
        _ => Page::Unknown,
    }
}

/// The same under valgrind, which checks the arguments of rt_sigprocmask(2) itself and complains.
#[cold]
#[inline]
#[unsafe(link_section = section!())]
fn ask_by_copy(word: usize) -> Page {
    let mut byte = 0u8;
    let (local, remote) = ([(&raw mut byte) as usize, 1], [word, 1]);
    let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
    let pid = raw::syscall(libc::SYS_getpid as usize, [0; 6]) as usize;
    match raw::syscall(libc::SYS_process_vm_readv as usize, [pid, local, 1, remote, 1, 0]) {
        1 => Page::Readable,
        fault if fault == -(libc::EFAULT as isize) => Page::Unreadable,
        _ => Page::Unknown,
    }
}

/// Asks valgrind whether it runs this process; elsewhere the instructions do nothing.
fn under_valgrind() -> bool {
    const RUNNING_ON_VALGRIND: usize = 0x1001;
    let request = [RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0];
    let answer: usize;
    // SAFETY: the rotations of rdi add up to 128, and rbx is exchanged with itself; valgrind reads `request` and sets rdx.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            inout("rdi") 0usize => _, in("rax") request.as_ptr(), inout("rdx") 0usize => answer, options(nostack),
        );
    }
    answer != 0
}

/// Held by tests that count on what is remembered.
#[cfg(test)]
pub static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

    #[test]
    fn a_page_is_asked_again_after_it_may_have_changed() {
        let _alone = ALONE.lock();
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping that only this test knows.
        unsafe {
            let page = mmap_anonymous(core::ptr::null_mut(), PAGE, rw, MapFlags::PRIVATE).unwrap();
            let addr = page as usize + 17;
            assert_eq!(look(addr), Page::Readable);
            remember();
            assert_eq!(look(addr), Page::Readable);
            mprotect(page, PAGE, MprotectFlags::empty()).unwrap();
            assert_eq!(look(addr), Page::Readable, "kept");
            forget();
            assert_eq!(look(addr), Page::Unreadable);
            mprotect(page, PAGE, MprotectFlags::READ).unwrap();
            assert_eq!(look(addr), Page::Readable, "what is unreadable is not kept");
            munmap(page, PAGE).unwrap();
            forget();
            assert_eq!(look(addr), Page::Unreadable);
        }
        assert_eq!((look(0), look(usize::MAX)), (Page::Unreadable, Page::Unreadable));
    }

    #[test]
    fn a_page_that_was_written_is_known_until_it_may_have_changed() {
        let _alone = ALONE.lock();
        let place = [0u8; 3 * PAGE];
        let addr = place.as_ptr() as usize;
        remember();
        let before = generation();
        assert!(!are_writable(addr, 1) && !are_writable(addr, 0));
        note_writable(addr, 2 * PAGE, before);
        assert!(are_writable(addr, 2 * PAGE) && are_writable(addr + PAGE, 7) && !are_writable(addr, 3 * PAGE));
        forget();
        assert!(!are_writable(addr, 1));
        note_writable(addr, 1, before);
        assert!(!are_writable(addr, 1), "what was tried before is old");
        note_writable(addr, 1 << 20, generation());
        assert!(!are_writable(addr, 1), "too many");
    }

    #[test]
    fn what_protects_a_page_forgets() {
        let args = |protection: i32| [0, 0, protection as usize, 0, 0, 0];
        for (protection, forgotten) in
            [(libc::PROT_READ | libc::PROT_WRITE, false), (libc::PROT_READ, true), (libc::PROT_NONE, true)]
        {
            assert_eq!(forgets_with(forgets(libc::SYS_mprotect as usize), &args(protection)), forgotten);
        }
    }

    #[test]
    fn a_page_can_be_asked_about_by_copying() {
        assert!(!under_valgrind());
        assert_eq!(ask_by_copy(&raw const VALGRIND as usize), Page::Readable);
        assert_eq!(ask_by_copy(8), Page::Unreadable);
    }

    #[test]
    fn pages_with_the_same_place_in_the_table_are_told_apart() {
        let (one, two) = (entry(5, STEP), entry(5 + ENTRIES, STEP));
        assert!(one != two && one != entry(5, 2 * STEP) && one != 0);
        let beyond = ENTRIES << TAG_BITS;
        assert!(!has_entry(beyond) && entry(beyond, STEP) == entry(0, 2 * STEP));
    }
}
