//! A line of the trace, made without allocating.

use core::fmt::{self, Write};

use sysproxy::HostFd;

use crate::calls::{Outcome, Row};
use crate::{raw, user};

/// Longest line.
const LINE: usize = 512;

/// Longest part of a path that is shown.
const PATH: usize = 200;

/// A line in the making; what does not fit is left out.
pub struct Line {
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
    /// Adds a call: which kernel, its arguments, what came back.
    pub fn call(&mut self, row: &Row, args: &[usize; 6], outcome: Outcome) -> fmt::Result {
        let side = if row.is_host(outcome) { "host" } else { "rump" };
        write!(self, "{} {side} {}(", raw::getpid(), row.name.trim_start_matches("SYS_"))?;
        for (at, value) in args.iter().take(row.arguments.len()).enumerate() {
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

    /// Writes the line to a host descriptor.
    pub fn end(mut self, to: HostFd) {
        if let Some(end) = self.bytes.get_mut(self.used) {
            *end = b'\n';
        }
        let args = [raw::word(to.0), self.bytes.as_ptr() as usize, self.used + 1];
        raw::call(libc::SYS_write, args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::TABLE;

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
