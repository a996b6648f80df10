//! The way out of a terminal: what is printed and echoed, changed as `OPOST` says, until the master takes it.

use std::collections::VecDeque;

use abi::ioctl::termios::*;

/// What the master has not taken, at most, about as on Linux; echoes may go beyond.
const OUTPUT_MAX: usize = 16384;
/// What echoes may go beyond.
const ECHO_MAX: usize = 4096;
/// The most that becomes of one character: a tab.
const WIDEST: usize = 8;
/// What a flush leaves: it is in the master's own buffer already, on Linux.
const ARRIVED: usize = 4096;

/// What is on its way to the master.
#[derive(Default)]
pub struct Output {
    queue: VecDeque<u8>,
    /// Echoes of what is being looked at, and those that came while printing was stopped. A signal throws them away.
    held: Vec<u8>,
    stopped: bool,
    column: usize,
    /// Where the line that is being typed begins.
    begin: usize,
}

impl Output {
    /// Whether printing is stopped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Stops printing, or lets it go on, held echoes first.
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
        self.send_echoes();
    }

    /// Sends the echoes of what was looked at, unless printing is stopped.
    pub fn send_echoes(&mut self) {
        if !self.stopped {
            self.queue.extend(self.held.drain(..));
        }
    }

    /// How much can be printed.
    pub fn room(&self) -> usize {
        if self.stopped { 0 } else { OUTPUT_MAX.saturating_sub(self.queue.len()) }
    }

    /// How much the master can take.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is nothing for the master.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Prints; returns how much there was room for.
    pub fn write(&mut self, data: &[u8], flags: u32, utf8: bool) -> usize {
        if flags & OPOST as u32 == 0 {
            let len = data.len().min(self.room());
            self.queue.extend(&data[..len]);
            return len;
        }
        let mut done = 0;
        for c in data {
            if self.room() < WIDEST {
                break;
            }
            let mut out = Vec::new();
            self.process(*c, flags, utf8, &mut out);
            self.queue.extend(out);
            done += 1;
        }
        done
    }

    /// Echoes a character; as `^X` if it is to be `shown`.
    pub fn echo(&mut self, c: u8, shown: bool, flags: u32, utf8: bool) {
        let mut out = Vec::new();
        if shown {
            out.extend([b'^', c ^ 0o100]);
            self.column += 2;
        } else if flags & OPOST as u32 != 0 {
            self.process(c, flags, utf8, &mut out);
        } else {
            out.push(c);
        }
        self.hold(&out);
    }

    /// Echoes a further byte of a character that has its column already.
    pub fn echo_part(&mut self, c: u8) {
        self.hold(&[c]);
    }

    /// Notes that a line begins here.
    pub fn note_begin(&mut self) {
        self.begin = self.column;
    }

    /// Moves the cursor back over a tab, behind `columns` of text since the begin of the line or the tab before.
    pub fn back_over_tab(&mut self, columns: usize, after_tab: bool) {
        let before = columns + if after_tab { 0 } else { self.begin };
        let width = WIDEST - before % WIDEST;
        self.column = self.column.saturating_sub(width);
        self.hold(&vec![8; width]);
    }

    /// Keeps an echo until what was typed has been looked at; one that there is no room for is lost.
    fn hold(&mut self, out: &[u8]) {
        let waiting = self.queue.len() + self.held.len();
        if waiting + out.len() <= OUTPUT_MAX + ECHO_MAX {
            self.held.extend(out);
        }
    }

    /// Sends a character past everything.
    pub fn send_now(&mut self, c: u8) {
        self.queue.push_back(c);
    }

    /// What becomes of a character (`OPOST`).
    fn process(&mut self, c: u8, flags: u32, utf8: bool, out: &mut Vec<u8>) {
        let on = |flag: i32| flags & flag as u32 != 0;
        let mut c = c;
        match c {
            b'\n' => {
                if on(ONLRET) {
                    self.column = 0;
                }
                if on(ONLCR) {
                    (self.begin, self.column) = (0, 0);
                    return out.extend(b"\r\n");
                }
                self.begin = self.column;
            }
            b'\r' if on(ONOCR) && self.column == 0 => return,
            b'\r' if on(OCRNL) => {
                c = b'\n';
                if on(ONLRET) {
                    (self.begin, self.column) = (0, 0);
                }
            }
            b'\r' => (self.begin, self.column) = (0, 0),
            b'\t' => {
                let spaces = WIDEST - self.column % WIDEST;
                self.column += spaces;
                if on(OXTABS) {
                    return out.extend(std::iter::repeat_n(b' ', spaces));
                }
            }
            8 => self.column = self.column.saturating_sub(1),
            _ if c.is_ascii_control() => {}
            _ => {
                if on(OLCUC) {
                    c = c.to_ascii_uppercase();
                }
                if !(utf8 && c & 0xc0 == 0x80) {
                    self.column += 1;
                }
            }
        }
        out.push(c);
    }

    /// Takes what is on its way; returns how much.
    pub fn take(&mut self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.queue.len());
        buf.iter_mut().zip(self.queue.drain(..len)).for_each(|(to, from)| *to = from);
        len
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// Throws away what has not arrived yet.
    pub fn flush(&mut self) {
        self.queue.truncate(ARRIVED);
        self.held.clear();
    }
}
