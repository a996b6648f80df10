//! What the library says about its work: the trace, a line per call, and the summary, a table at the end.
//!
//! `trace=FILE` and RUMPHIJACK_TRACE name a file, whose lines say which kernel served each call:
//! ```text
//! 4711 rump openat(0xffffffffffffff9c, "/rump/etc/passwd", 0x0, 0x0) = 3
//! 4711 host openat(0xffffffffffffff9c, "/etc/passwd", 0x80000, 0x0)
//! 4711 rump read(0x3, 0x7ffd0c2a1b30, 0x1000) = -9 Bad file descriptor
//! 4711 rump 0x3: bytes go through shared memory
//! 4711 not taken: setsockopt level 6 option 31: Protocol not available
//! ```
//! `summary` in place of the file asks for the [`summary`]; one variable may ask for either. While one of them is on, every call
//! passes by the calls table, also one on a plain host descriptor; while both are off, neither costs anything.

mod line;
mod missed;
mod summary;

use core::fmt::{self, Write};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use client::fds::Lasting;
use client::signals::Blocked;
use client::way::Way;

use crate::calls::{Outcome, TABLE};
use crate::{fds, first, raw};
use line::Line;

pub use missed::missed;
pub use summary::{before_exec, numbers_known};

/// Whether lines are written.
const LINES: u8 = 1;
/// Whether calls are counted.
const COUNTS: u8 = 2;

/// What is on.
static ON: AtomicU8 = AtomicU8::new(0);

/// Whether a call that the first front door leaves to libc passes the second one, which records it.
static SECOND_DOOR: AtomicBool = AtomicBool::new(false);

/// Whether calls are recorded.
#[inline(always)]
pub fn on() -> bool {
    ON.load(Ordering::Relaxed) != 0
}

fn is_on(what: u8) -> bool {
    ON.load(Ordering::Relaxed) & what != 0
}

/// The numbers of the files that the trace and the summary go to, for exec to hand on; a file of the rump kernel goes with the others.
pub fn files() -> [Option<i32>; 2] {
    let number = |kind| Some(client::fds::number(kind).0).filter(|fd| *fd >= 0 && !fds::is_placeholder(*fd));
    [Lasting::Trace, Lasting::Summary].map(number)
}

/// Does what a value of RUMPHIJACK_TRACE or `trace=` asks; the error is that of opening the file. A program that has become another user, or
/// sees other names, goes on with the one of the image before it: `before` are the [`files`] of that.
pub fn begin(value: &[u8], before: [Option<i32>; 2]) -> abi::Result<()> {
    let (path, what) = match value.strip_prefix(b"summary") {
        Some(b"") => return summary::begin(None).map(|()| switch_on(COUNTS)),
        Some([b':', path @ ..]) => (path, COUNTS),
        _ => (value, LINES),
    };
    let [lines, counts] = before;
    let spare = if what == COUNTS { counts } else { lines };
    let again = |fd| raw::checked(raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0)).ok().map(|fd| fd as i32);
    let fd = open(path).or_else(|error| spare.and_then(again).ok_or(error))?;
    match what {
        COUNTS => summary::begin(Some(fd))?,
        _ => fds::keep(Lasting::Trace, fd)?,
    }
    switch_on(what);
    Ok(())
}

fn switch_on(what: u8) {
    if ON.fetch_or(what, Ordering::Relaxed) == 0 {
        first::attend();
    }
}

/// Writes down which way the bytes of a descriptor go from now on.
pub fn changed_way(fd: abi::Fd, way: Way) {
    if !is_on(LINES) {
        return;
    }
    let numbers = fds::entries(0, u32::MAX);
    let Some((number, _)) = numbers.iter().find(|(_, rump)| rump.fd() == fd) else { return };
    let what = match way {
        Way::Shared => "shared memory",
        Way::Calls => "calls",
    };
    say(format_args!("rump {number:#x}: bytes go through {what}"));
}

/// Opens a file for appending.
fn open(path: &[u8]) -> abi::Result<i32> {
    let path = CString::new(path).map_err(|_| abi::Errno::EINVAL)?;
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    let args = [raw::word(libc::AT_FDCWD), path.as_ptr() as usize, raw::word(flags), 0o666];
    raw::checked(raw::call(libc::SYS_openat, args)).map(|fd| fd as i32)
}

/// Says that libc's own calls are recorded where libc makes them.
pub fn second_door(covers: bool) {
    SECOND_DOOR.store(covers, Ordering::Relaxed);
}

/// Records a call that the first front door was asked about; `goes_on` if the host's is left to the real function.
pub fn first(nr: usize, args: &[usize; 6], outcome: Outcome, goes_on: bool) {
    if outcome != Outcome::Host || !goes_on || !SECOND_DOOR.load(Ordering::Relaxed) {
        record(nr, args, outcome);
    }
}

/// Records a call.
#[cold]
pub fn record(nr: usize, args: &[usize; 6], outcome: Outcome) {
    let Some((at, row)) = TABLE.iter().enumerate().find(|(_, row)| row.nr == nr) else { return };
    if is_on(LINES) {
        let mut line = Line::default();
        // A full line is cut short; there is no other error.
        let _ = line.call(row, args, outcome);
        end(line);
    }
    if is_on(COUNTS) {
        summary::count(at, row, outcome);
    }
    missed::look(row, args, outcome);
}

/// Writes the line of an exec before it happens: nothing of this image can do so afterwards.
pub fn exec(nr: i64, args: &[usize; 6]) {
    if let (true, Some(row)) = (is_on(LINES), TABLE.iter().find(|row| row.nr == nr as usize)) {
        let mut line = Line::default();
        let _ = line.call(row, args, Outcome::Host);
        end(line);
    }
}

/// Writes the summary of a program that ends without its exit handlers; see exit_group(2).
pub fn exit_group() -> Outcome {
    summary::write("");
    Outcome::Host
}

/// Writes a line of words.
pub fn say(words: fmt::Arguments<'_>) {
    if is_on(LINES) {
        let mut line = Line::default();
        let _ = write!(line, "{} {words}", raw::getpid());
        end(line);
    }
}

fn end(line: Line) {
    let _blocked = Blocked::enter();
    client::fds::with(Lasting::Trace, |file| line.end(file));
}
