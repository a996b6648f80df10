//! The host's lists of this process's descriptors (`/proc/self/fd`): the library's own are left out of them, as the numbers that they have do
//! not exist for the program.
//!
//! A list is noted when it is opened under one of its absolute names, and so are its duplicates. Who comes to it step by step (`fd` from an open
//! `/proc/self`) sees it as the host has it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::Result;

use super::epoll;
use crate::calls::{self, Outcome};
use crate::sets::Set;
use crate::{borrower, fds, raw, route, user};

/// How the names of such lists begin; behind the last one stand a number and `/fd`.
pub const NAMES: &[&[u8]] = &[b"/dev/fd", b"/proc/self/fd", b"/proc/thread-self/fd", b"/proc/"];

/// Most bytes of records that are asked for at once.
const MOST: usize = 64 * 1024;

/// Longest name of a list, as the host shows it.
const LINK: usize = 64;

const WORD_BITS: usize = u64::BITS as usize;

/// A bit for each number that may be such a list. Each has a mark (see [`fds::mark`]).
static NOTED: [AtomicU64; fds::NUMBERS / WORD_BITS] = [const { AtomicU64::new(0) }; fds::NUMBERS / WORD_BITS];

/// All of them are below it.
static END: AtomicU32 = AtomicU32::new(0);

/// The word and the bit of a number.
fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((NOTED.get(fd / WORD_BITS)?, 1 << (fd % WORD_BITS)))
}

fn is_noted(fd: i32) -> bool {
    fds::perhaps(fd) && place(fd).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

fn note(fd: i32) {
    if let Some((word, bit)) = place(fd)
        && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
    {
        END.fetch_max(fd as u32 + 1, Ordering::AcqRel);
        fds::mark(fd);
    }
}

/// Whether it matters to which other number the host gives what is under this one: a list, or an epoll set.
pub fn is_followed(fd: i32) -> bool {
    Set::of(fd).is_some() || is_noted(fd)
}

/// Notes that a number is no longer what it was: closed, or made another's.
pub fn closed(fd: i32) {
    epoll::closed(fd);
    if is_noted(fd)
        && !borrower::shares_memory()
        && let Some((word, bit)) = place(fd)
        && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    {
        fds::unmark(fd);
    }
}

/// Notes that all numbers from `first` to `last` are closed.
pub fn closed_range(first: u32, last: u32) {
    crate::sets::range(first, last).for_each(|(fd, _)| epoll::closed(fd));
    (first..END.load(Ordering::Acquire).min(last.saturating_add(1))).for_each(|fd| closed(fd as i32));
}

/// Notes that `to` now is another number for the host's `from`.
pub fn duplicated(from: i32, to: i32) {
    if is_noted(to) && !is_noted(from) {
        closed(to);
    }
    epoll::duplicated(from, to);
    if is_noted(from) && !borrower::shares_memory() {
        note(to);
    }
}

/// Makes a call of the host's that opens or reads such a list; any other is left to the host.
pub fn meet(nr: usize, args: &[usize; 6]) -> Outcome {
    let [first, second, third, ..] = *args;
    match nr as i64 {
        libc::SYS_open => open(first, nr, args),
        libc::SYS_openat | libc::SYS_openat2 => open(second, nr, args),
        libc::SYS_getdents | libc::SYS_getdents64 if is_noted(first as i32) && is_own(first as i32) => {
            calls::serve(false, || read(nr as i64, first, second, third))
        }
        _ => Outcome::Host,
    }
}

fn open(path: usize, nr: usize, args: &[usize; 6]) -> Outcome {
    let is_list = || user::read_cstr(path).is_ok_and(|path| route::is_list_of_numbers(path.to_bytes()));
    if borrower::shares_memory() || !is_list() {
        return Outcome::Host;
    }
    let opened = raw::syscall(nr, *args);
    if let Ok(fd) = raw::checked(opened) {
        note(fd as i32);
    }
    Outcome::Done(opened)
}

/// Whether the host has a list of this process's under a number, by the name that it shows.
fn is_own(fd: i32) -> bool {
    let name = format!("/proc/self/fd/{fd}\0");
    let mut link = [0u8; LINK];
    let args = [raw::word(libc::AT_FDCWD), name.as_ptr() as usize, link.as_mut_ptr() as usize, link.len()];
    let got = raw::checked(raw::call(libc::SYS_readlinkat, args)).unwrap_or(0);
    link.get(..got).is_some_and(route::is_list_of_numbers)
}

/// Reads entries into `buf`, as getdents(2) or getdents64(2) does: those of the library's descriptors are left out.
fn read(nr: i64, fd: usize, buf: usize, len: usize) -> Result<usize> {
    let name_at = if nr == libc::SYS_getdents64 { 19 } else { 18 };
    let mut records = vec![0u8; len.min(MOST)];
    loop {
        let got = raw::checked(raw::call(nr, [fd, records.as_mut_ptr() as usize, records.len()]))?;
        let kept = without_own(records.get(..got).unwrap_or_default(), name_at, fds::is_ours);
        // A piece of nothing but the library's is no end.
        if got == 0 || !kept.is_empty() {
            user::write_bytes(buf, &kept)?;
            return Ok(kept.len());
        }
    }
}

/// The records whose names, each at `name_at`, are no numbers that `is_own` knows.
fn without_own(mut records: &[u8], name_at: usize, is_own: impl Fn(i32) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(records.len());
    while let Some(&[low, high]) = records.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some((record, rest)) = records.split_at_checked(length).filter(|_| length > name_at) else { break };
        let name = record.get(name_at..).and_then(|name| name.split(|byte| *byte == 0).next()).unwrap_or_default();
        if !route::number(name).is_some_and(&is_own) {
            kept.extend_from_slice(record);
        }
        records = rest;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &[u8]) -> Vec<u8> {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut record = vec![0; 16];
        record.extend((length as u16).to_ne_bytes());
        record.push(4);
        record.extend_from_slice(name);
        record.resize(length, 0);
        record
    }

    #[test]
    fn own_numbers_are_left_out_and_names_are_not() {
        let records = [b"." as &[u8], b"0", b"960", b"961", b"96x", b"9600"].map(record);
        let kept = without_own(&records.concat(), 19, |fd| (960..970).contains(&fd));
        let [dot, zero, _, _, name, other] = records;
        assert_eq!(kept, [dot, zero, name, other].concat());
        assert_eq!(without_own(&record(b"960"), 19, |_| true), []);
        assert_eq!(without_own(&[0; 40], 19, |_| true), []);
    }

    #[test]
    fn a_number_is_noted_until_it_is_closed() {
        note(5000);
        note(5000);
        duplicated(5000, 5001);
        assert!(is_noted(5000) && is_noted(5001) && is_followed(5001) && fds::perhaps(5000));
        closed(5000);
        duplicated(5002, 5001);
        assert!(!is_noted(5000) && !is_noted(5001) && !fds::perhaps(5000) && !fds::perhaps(5001));
        note(5003);
        closed_range(5000, u32::MAX);
        assert!(!is_noted(5003) && !fds::perhaps(5003));
    }
}
