//! `trace=FILE` and RUMPHIJACK_TRACE: a line per call that says which kernel served it.
//!
//! ```text
//! 4711 rump openat(0xffffffffffffff9c, "/rump/etc/passwd", 0x0, 0x0) = 3
//! 4711 host openat(0xffffffffffffff9c, "/etc/passwd", 0x80000, 0x0)
//! 4711 rump read(0x3, 0x7ffd0c2a1b30, 0x1000) = -9 Bad file descriptor
//! ```
//! A call that the library was not even asked about (a plain host descriptor) has no line.

use core::fmt::{self, Write};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::calls::{Outcome, Row, TABLE};
use crate::{fds, first, raw, user};

/// Longest line.
const LINE: usize = 512;

/// Longest part of a path that is shown.
const PATH: usize = 200;

/// The file; -1 without a trace.
static FILE: AtomicI32 = AtomicI32::new(-1);

/// Whether there is a trace.
#[inline(always)]
pub fn on() -> bool {
    FILE.load(Ordering::Relaxed) >= 0
}

/// Whether the host descriptor is the trace's.
pub fn owns(fd: i32) -> bool {
    on() && FILE.load(Ordering::Relaxed) == fd
}

/// Opens the file for appending; the error is the host's.
pub fn open(name: &std::ffi::CStr) -> abi::Result<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    let args = [raw::word(libc::AT_FDCWD), name.as_ptr() as usize, raw::word(flags), 0o666];
    let fd = raw::checked(raw::call(libc::SYS_openat, args))?;
    FILE.store(fds::lift(fd as i32)?, Ordering::Relaxed);
    first::attend();
    Ok(())
}

/// Moves the file away from a number that the program wants for something else.
pub fn move_away(fd: i32) {
    if owns(fd)
        && let Ok(moved) = client::fds::raise(sysproxy::HostFd(fd))
    {
        FILE.store(moved.into_fd().0, Ordering::Relaxed);
    }
}

/// The number of the file, if there is a trace.
pub fn number() -> Option<i32> {
    Some(FILE.load(Ordering::Relaxed)).filter(|fd| *fd >= 0)
}

/// Writes the line of a call.
pub fn call(nr: usize, args: &[usize; 6], outcome: Outcome) {
    let Some(row) = TABLE.iter().find(|row| row.nr == nr) else { return };
    let mut line = Line::default();
    // A full line is cut short; there is no other error.
    let _ = line.call(row, args, outcome);
    line.end();
}

/// Writes a line of words.
pub fn say(words: fmt::Arguments<'_>) {
    if on() {
        let mut line = Line::default();
        let _ = write!(line, "{} {words}", raw::getpid());
        line.end();
    }
}

/// A line in the making; what does not fit is left out.
struct Line {
    bytes: [u8; LINE],
    used: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; LINE], used: 0 }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte is kept for the end of the line.
        let room = self.bytes.get_mut(self.used..LINE - 1).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.as_bytes()) {
            *to = *from;
        }
        self.used += text.len().min(room.len());
        Ok(())
    }
}

impl Line {
    fn call(&mut self, row: &Row, args: &[usize; 6], outcome: Outcome) -> fmt::Result {
        let side = if outcome == Outcome::Host { "host" } else { "rump" };
        write!(self, "{} {side} {}(", raw::getpid(), row.name.trim_start_matches("SYS_"))?;
        for (at, value) in args.iter().take(row.arguments).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            self.write_str(comma)?;
            match Some(at) == row.path {
                true => self.path(*value)?,
                false => write!(self, "{value:#x}")?,
            }
        }
        match outcome {
            Outcome::Host => self.write_str(")"),
            Outcome::Done(error @ -4095..=-1) => {
                write!(self, ") = {error} {}", abi::Errno::from_linux(-error as i32))
            }
            Outcome::Done(value) => write!(self, ") = {value}"),
        }
    }

    fn path(&mut self, addr: usize) -> fmt::Result {
        let Ok(text) = user::read_cstr(addr) else { return write!(self, "{addr:#x}") };
        let bytes = text.to_bytes();
        self.write_str("\"")?;
        for byte in bytes.iter().take(PATH) {
            write!(self, "{}", byte.escape_ascii())?;
        }
        self.write_str(if bytes.len() > PATH { "\"..." } else { "\"" })
    }

    fn end(mut self) {
        if let Some(end) = self.bytes.get_mut(self.used) {
            *end = b'\n';
        }
        let args = [raw::word(FILE.load(Ordering::Relaxed)), self.bytes.as_ptr() as usize, self.used + 1];
        raw::call(libc::SYS_write, args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_kernel_the_call_and_the_answer() {
        let row = TABLE.iter().find(|row| row.name == "SYS_mkdir").unwrap();
        let mut line = Line::default();
        let args = [c"/rump/a\n".as_ptr() as usize, 0o755, 0, 0, 0, 0];
        line.call(row, &args, Outcome::Done(-2)).unwrap();
        let text = std::str::from_utf8(&line.bytes[..line.used]).unwrap();
        assert!(text.ends_with(" rump mkdir(\"/rump/a\\n\", 0x1ed) = -2 No such file or directory"), "{text}");
    }

    #[test]
    fn a_long_line_is_cut() {
        let mut line = Line::default();
        line.write_str(&"x".repeat(2 * LINE)).unwrap();
        assert_eq!(line.used, LINE - 1);
    }
}
