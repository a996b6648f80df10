//! The summary: a table at the end of a program that says how often each call was made and who served it.
//!
//! ```text
//! rumphijack: summary of 4711 cat
//!                call    rump  failed    host
//!              openat       1       0      14
//!   not taken:
//!          2  setsockopt level 6 option 31: Protocol not available
//! ```
//! It is written when the program ends by exit(3), `_exit`, quick_exit or exit_group, and when it execs another; not when a signal
//! ends it. A program under whose number exec puts another has a table for each of them.

use core::fmt::Write;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use abi::Result;
use client::fds::Lasting;
use client::signals::Blocked;
use sysproxy::host::{self, HostFd};

use super::{COUNTS, is_on, missed};
use crate::calls::{Outcome, Row, TABLE};
use crate::fds::RumpFd;
use crate::rump::{descriptor, file};
use crate::{fds, raw};

/// How often the call of a row was made.
struct Count {
    rump: AtomicU32,
    /// Of those in `rump`, the ones that failed.
    failed: AtomicU32,
    host: AtomicU32,
}

/// In the order of the calls table.
static COUNTED: [Count; TABLE.len()] =
    [const { Count { rump: AtomicU32::new(0), failed: AtomicU32::new(0), host: AtomicU32::new(0) } }; TABLE.len()];

/// The rump descriptor that the table goes to, where the standard error output is one; else -1.
static TO_RUMP: AtomicI32 = AtomicI32::new(-1);

/// Begins to count. The table goes to `fd`, or to what is the standard error output now: later the program may close it.
pub fn begin(fd: Option<i32>) -> Result<()> {
    let fd = match fd {
        Some(fd) => fd,
        None => raw::checked(raw::call(libc::SYS_dup, [raw::word(HostFd::STDERR.0)]))? as i32,
    };
    fds::keep(Lasting::Summary, fd)?;
    // SAFETY: the functions live as long as the library, which is never unloaded.
    unsafe {
        libc::pthread_atfork(None, None, Some(forget));
        libc::atexit(at_exit);
        at_quick_exit(at_exit);
    }
    Ok(())
}

unsafe extern "C" {
    fn at_quick_exit(function: extern "C" fn()) -> i32;
}

/// Says that the numbers of the image before are known: the standard error output may be a rump descriptor.
pub fn numbers_known() {
    if is_on(COUNTS)
        && let Some(rump) = fds::lookup(HostFd::STDERR.0)
        && fds::is_placeholder(client::fds::number(Lasting::Summary).0)
        && let Ok(own) = descriptor::duplicate(rump, true)
    {
        TO_RUMP.store(own.fd.0, Ordering::Relaxed);
    }
}

/// Counts the call of the row at `at`.
pub fn count(at: usize, row: &Row, outcome: Outcome) {
    let Some(count) = COUNTED.get(at) else { return };
    if row.is_host(outcome) {
        count.host.fetch_add(1, Ordering::Relaxed);
        return;
    }
    count.rump.fetch_add(1, Ordering::Relaxed);
    if let Outcome::Done(-4095..=-1) = outcome {
        count.failed.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn at_exit() {
    // What stdio still holds is written after this handler; only while there is one thread can no other hold a stream.
    if is_on(COUNTS) && host::one_thread() {
        // SAFETY: no stream is given, all of them are meant.
        unsafe { libc::fflush(core::ptr::null_mut()) };
    }
    write("");
}

/// Writes the table of a program that is about to become `path` by the call `nr`.
pub fn before_exec(nr: i64, path: &[u8]) {
    if !is_on(COUNTS) {
        return;
    }
    let row = TABLE.iter().zip(&COUNTED).find(|(row, _)| row.nr == nr as usize);
    if let Some((_, count)) = row {
        count.host.fetch_add(1, Ordering::Relaxed);
    }
    write(&format!(" until it ran {}", String::from_utf8_lossy(path)));
}

/// A child of fork counts its own.
extern "C" fn forget() {
    for count in &COUNTED {
        take(count);
    }
    missed::forget();
}

/// Writes the table, if there is anything to tell, and counts from 0 again.
pub fn write(until: &str) {
    if !is_on(COUNTS) {
        return;
    }
    let _blocked = Blocked::enter();
    let mut lines: Vec<_> = TABLE.iter().zip(&COUNTED).map(|(row, count)| (row.plain_name(), take(count))).collect();
    lines.retain(|(_, [rump, _, host])| rump + host != 0);
    lines.sort_by_key(|(_, [rump, _, host])| core::cmp::Reverse(rump + host));
    if lines.is_empty() {
        return;
    }
    let name = String::from_utf8_lossy(&client::program_name()).into_owned();
    let mut text = format!("rumphijack: summary of {} {name}{until}\n", raw::getpid());
    let _ = writeln!(text, "{:>20} {:>7} {:>7} {:>7}", "call", "rump", "failed", "host");
    for (name, [rump, failed, host]) in lines {
        let _ = writeln!(text, "{name:>20} {rump:>7} {failed:>7} {host:>7}");
    }
    missed::write(&mut text);
    put(text.as_bytes());
}

fn take(count: &Count) -> [u32; 3] {
    [&count.rump, &count.failed, &count.host].map(|number| number.swap(0, Ordering::Relaxed))
}

/// Writes in one piece, so that the tables of several processes do not mix.
fn put(text: &[u8]) {
    if let rump @ 0.. = TO_RUMP.load(Ordering::Relaxed) {
        let _ = file::write(RumpFd(rump), text.as_ptr() as usize, text.len());
        return;
    }
    let mut rest = text;
    while let Ok(wrote @ 1..) = client::fds::with(Lasting::Summary, |file| host::write(file, rest)) {
        rest = rest.get(wrote..).unwrap_or_default();
    }
}
