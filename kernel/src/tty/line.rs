//! The line discipline: what becomes of what is typed, and of what is printed (termios(3)), as Linux's `N_TTY` has it.
//!
//! A [`Line`] is a state machine without files, processes or time. What is typed goes in by [`Line::feed`] and comes out, line by
//! line or as it is, by [`Line::read`]; what is printed goes in by [`Line::write`], and comes out, echoes between, by
//! [`Line::take_output`]. Signals that a character stands for wait in [`Line::signals`].

use std::collections::VecDeque;

use abi::ioctl::Termios;
use abi::ioctl::termios::*;
use abi::signal::{SIGINT, SIGQUIT, SIGTSTP};

use super::output::Output;

/// What the reader has not taken yet, at most (Linux's `N_TTY_BUF_SIZE`).
const INPUT_MAX: usize = 4096;
/// What waits for room there, at most; about as on Linux.
const PENDING_MAX: usize = 16384;

/// Packet mode: what was typed is thrown away (`TIOCPKT_FLUSHREAD`); the bits are the same on both systems.
pub const PKT_FLUSHREAD: u8 = 0x1;
/// Packet mode: what was printed is thrown away.
pub const PKT_FLUSHWRITE: u8 = 0x2;
/// Packet mode: printing has stopped.
pub const PKT_STOP: u8 = 0x4;
/// Packet mode: printing goes on.
pub const PKT_START: u8 = 0x8;
/// Packet mode: ^S and ^Q do not stop and start printing any more.
pub const PKT_NOSTOP: u8 = 0x10;
/// Packet mode: ^S and ^Q stop and start printing.
pub const PKT_DOSTOP: u8 = 0x20;
/// Packet mode: the settings have changed, under `EXTPROC`.
pub const PKT_IOCTL: u8 = 0x40;

/// What a character that was typed is in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// A part of it.
    None,
    /// Its last character.
    End,
    /// Its end, and no character: VEOF.
    Eof,
}

/// A terminal's line.
pub struct Line {
    termios: Termios,
    /// What the reader has not taken.
    input: VecDeque<(u8, Mark)>,
    /// How much of it stands in whole lines.
    whole: usize,
    /// Typed, and not looked at for want of room.
    pending: VecDeque<u8>,
    pub(super) output: Output,
    /// The next character stands for itself: VLNEXT came.
    literal: bool,
    /// A run of erased characters is being echoed between `\` and `/`.
    erasing: bool,
    /// Printing was stopped by tcflow(3), which VSTART does not undo.
    by_flow: bool,
    /// Signals for the foreground.
    pub signals: Vec<i32>,
    /// What packet mode has to tell; kept only in packet mode.
    pub status: u8,
    /// Whether the master is in packet mode.
    pub packet: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    /// Makes a line with the settings that a pseudo terminal has on Linux.
    pub fn new() -> Self {
        Self {
            termios: default_termios(),
            input: VecDeque::new(),
            whole: 0,
            pending: VecDeque::new(),
            output: Output::default(),
            literal: false,
            erasing: false,
            by_flow: false,
            signals: Vec::new(),
            status: 0,
            packet: false,
        }
    }

    /// Returns the settings.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the settings. What is typed already becomes a line when lines are switched on, and is there at once when they are
    /// switched off.
    pub fn set_termios(&mut self, new: &Termios) {
        let old = std::mem::replace(&mut self.termios, *new);
        // A pseudo terminal has eight bits and no parity, whatever is asked for.
        self.termios.c_cflag = new.c_cflag & !(CS8 | PARENB) as u32 | (CS8 | CREAD) as u32;
        if (old.c_lflag ^ new.c_lflag) & (ICANON | EXTPROC) as u32 != 0 {
            for (_, mark) in &mut self.input {
                *mark = Mark::None;
            }
            self.whole = 0;
            if let (true, Some((_, mark))) = (self.local(ICANON), self.input.back_mut()) {
                *mark = Mark::End;
                self.whole = self.input.len();
            }
            (self.erasing, self.literal) = (false, false);
        }
        if old.c_iflag & IXON as u32 != 0 && !self.mode(IXON) && !self.by_flow {
            self.start();
        }
        let flow = |termios: &Termios| {
            let at = |which: i32| termios.c_cc.get(which as usize).copied();
            termios.c_iflag & IXON as u32 != 0 && at(VSTOP) == Some(0o23) && at(VSTART) == Some(0o21)
        };
        let external = (old.c_lflag | new.c_lflag) & EXTPROC as u32 != 0;
        if flow(&old) != flow(new) {
            self.status &= !(PKT_DOSTOP | PKT_NOSTOP);
            self.tell(if flow(new) { PKT_DOSTOP } else { PKT_NOSTOP });
        }
        if external {
            self.tell(PKT_IOCTL);
        }
        self.look();
        self.output.send_echoes();
    }

    fn local(&self, flag: i32) -> bool {
        self.termios.c_lflag & flag as u32 != 0
    }

    fn mode(&self, flag: i32) -> bool {
        self.termios.c_iflag & flag as u32 != 0
    }

    /// Whether `c` is the control character `which`.
    fn is(&self, which: i32, c: u8) -> bool {
        c != DISABLED && self.termios.c_cc.get(which as usize) == Some(&c)
    }

    /// The control character `which`; a number, for `VMIN` and `VTIME`.
    pub fn character(&self, which: i32) -> u8 {
        self.termios.c_cc.get(which as usize).copied().unwrap_or(DISABLED)
    }

    /// Whether input comes by lines.
    pub fn canonical(&self) -> bool {
        self.local(ICANON) && !self.local(EXTPROC)
    }

    fn tell(&mut self, bits: u8) {
        if self.packet {
            self.status |= bits;
        }
    }

    /// Takes what is typed, as much as there is room for; returns how much.
    pub fn feed(&mut self, typed: &[u8]) -> usize {
        let len = typed.len().min(self.feed_room());
        self.pending.extend(&typed[..len]);
        self.look();
        self.output.send_echoes();
        len
    }

    /// How much can be typed.
    pub fn feed_room(&self) -> usize {
        PENDING_MAX - self.pending.len().min(PENDING_MAX)
    }

    /// Looks at what was typed, as far as there is room: a line without end leaves room for its last character only.
    fn look(&mut self) {
        while !self.pending.is_empty() {
            if self.input.len() >= INPUT_MAX - 1 {
                if !self.canonical() || self.whole > 0 {
                    return;
                }
                self.input.truncate(INPUT_MAX - 1);
            }
            if let Some(c) = self.pending.pop_front() {
                self.receive(c);
            }
        }
    }

    /// What a character does that is typed.
    fn receive(&mut self, typed: u8) {
        let stripped = if self.mode(ISTRIP) { typed & 0x7f } else { typed };
        let c = if self.mode(IUCLC) && self.local(IEXTEN) { stripped.to_ascii_lowercase() } else { stripped };
        if self.local(EXTPROC) {
            return self.store(c, Mark::None);
        }
        if std::mem::take(&mut self.literal) {
            return self.ordinary(c);
        }
        if self.mode(IXON) && self.is(VSTART, c) {
            return self.start();
        }
        if self.mode(IXON) && self.is(VSTOP, c) {
            return self.stop();
        }
        if self.local(ISIG) {
            for (which, signal) in [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)] {
                if self.is(which, c) {
                    return self.signal(signal, c);
                }
            }
        }
        self.restart_by_any();
        let c = match c {
            b'\r' if self.mode(IGNCR) => return,
            b'\r' if self.mode(ICRNL) => b'\n',
            b'\n' if self.mode(INLCR) => b'\r',
            c => c,
        };
        if self.local(ICANON) && self.edit(c) {
            return;
        }
        if c == b'\n' && self.local(ECHO) {
            self.finish_erasing();
            self.echo_raw(c);
            return self.store(c, Mark::None);
        }
        self.ordinary(c);
    }

    /// A character that stands for itself.
    fn ordinary(&mut self, c: u8) {
        self.restart_by_any();
        if self.local(ECHO) {
            self.finish_erasing();
            self.echo_in_line(c);
        }
        self.store_marked(c, Mark::None);
    }

    fn store(&mut self, c: u8, mark: Mark) {
        self.input.push_back((c, mark));
    }

    /// Stores a character; `\377` twice where it announces an error.
    fn store_marked(&mut self, c: u8, mark: Mark) {
        if c == 0xff && self.mode(PARMRK) {
            self.store(c, Mark::None);
        }
        self.store(c, mark);
    }

    fn end_line(&mut self, c: u8, mark: Mark) {
        self.store_marked(c, mark);
        self.whole = self.input.len();
    }

    /// Under `IXANY` whatever is typed starts the output again.
    fn restart_by_any(&mut self) {
        if self.output.stopped() && !self.by_flow && self.mode(IXON) && self.mode(IXANY) {
            self.start();
        }
    }

    /// A character that raises a signal: unless `NOFLSH`, what is typed and not read goes, and what is printed and not taken.
    fn signal(&mut self, signal: i32, c: u8) {
        self.signals.push(signal);
        if !self.local(NOFLSH) {
            self.flush_output();
            self.forget_input();
        }
        if self.mode(IXON) {
            self.start();
        }
        if self.local(ECHO) {
            self.echo(c);
        }
    }

    /// The characters that edit or end a line; false for any other.
    fn edit(&mut self, c: u8) -> bool {
        let extended = self.local(IEXTEN);
        if self.is(VERASE, c) || self.is(VKILL, c) || (self.is(VWERASE, c) && extended) {
            self.erase(c);
        } else if self.is(VLNEXT, c) && extended {
            self.literal = true;
            if self.local(ECHO) {
                self.finish_erasing();
                if self.local(ECHOCTL) {
                    self.echo_raw(b'^');
                    self.echo_raw(8);
                }
            }
        } else if self.is(VREPRINT, c) && self.local(ECHO) && extended {
            self.finish_erasing();
            self.echo(c);
            self.echo_raw(b'\n');
            let line: Vec<u8> = self.input.iter().skip(self.whole).map(|(c, _)| *c).collect();
            line.into_iter().for_each(|c| self.echo(c));
        } else if c == b'\n' {
            if self.local(ECHO) || self.local(ECHONL) {
                self.echo_raw(c);
            }
            self.end_line(c, Mark::End);
        } else if self.is(VEOF, c) {
            self.end_line(0, Mark::Eof);
        } else if self.is(VEOL, c) || (self.is(VEOL2, c) && extended) {
            if self.local(ECHO) {
                self.echo_in_line(c);
            }
            self.end_line(c, Mark::End);
        } else {
            return false;
        }
        true
    }

    /// VERASE, VWERASE and VKILL: takes back what is not a whole line yet.
    fn erase(&mut self, by: u8) {
        if self.input.len() == self.whole {
            return;
        }
        let (one, word) = (self.is(VERASE, by), self.is(VWERASE, by) && !self.is(VERASE, by));
        if !one && !word {
            if !self.local(ECHO) {
                return self.input.truncate(self.whole);
            }
            if !(self.local(ECHOK) && self.local(ECHOKE) && self.local(ECHOE)) {
                self.input.truncate(self.whole);
                self.finish_erasing();
                self.echo(by);
                if self.local(ECHOK) {
                    self.echo_raw(b'\n');
                }
                return;
            }
        }
        let mut in_word = false;
        while let Some(erased) = self.last_character() {
            let first = erased.first().copied().unwrap_or_default();
            let of_word = first.is_ascii_alphanumeric() || first == b'_';
            if word && in_word && !of_word {
                break;
            }
            in_word |= of_word;
            self.input.truncate(self.input.len() - erased.len());
            if self.local(ECHO) {
                self.echo_erased(&erased, one);
            }
            if one {
                break;
            }
        }
        if self.input.len() == self.whole && self.local(ECHO) {
            self.finish_erasing();
        }
    }

    /// The last character of the line that is being typed, all bytes of it; `None` at its begin.
    fn last_character(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for (c, _) in self.input.iter().skip(self.whole).rev() {
            bytes.insert(0, *c);
            if !self.continues(*c) {
                return Some(bytes);
            }
        }
        // Nothing is erased in part.
        None
    }

    /// Whether a byte is of a character that has begun before.
    fn continues(&self, c: u8) -> bool {
        self.mode(IUTF8) && c & 0xc0 == 0x80
    }

    /// Shows that a character was taken back.
    fn echo_erased(&mut self, erased: &[u8], one: bool) {
        let c = erased.first().copied().unwrap_or_default();
        if self.local(ECHOPRT) {
            if !std::mem::replace(&mut self.erasing, true) {
                self.echo_raw(b'\\');
            }
            self.echo(c);
            erased.iter().skip(1).for_each(|c| self.output.echo_part(*c));
        } else if one && !self.local(ECHOE) {
            self.echo(self.character(VERASE));
        } else if c == b'\t' {
            self.echo_erased_tab();
        } else if !c.is_ascii_control() || self.local(ECHOCTL) {
            let columns = if c.is_ascii_control() { 2 } else { 1 };
            for _ in 0..columns {
                [8, b' ', 8].into_iter().for_each(|c| self.echo_raw(c));
            }
        }
    }

    /// Goes back over a tab that was taken back, to where the cursor stood before.
    fn echo_erased_tab(&mut self) {
        let mut columns = 0;
        let mut after_tab = false;
        for (c, _) in self.input.iter().skip(self.whole).rev() {
            match c {
                b'\t' => {
                    after_tab = true;
                    break;
                }
                c if c.is_ascii_control() => columns += if self.local(ECHOCTL) { 2 } else { 0 },
                c if self.continues(*c) => {}
                _ => columns += 1,
            }
        }
        self.output.back_over_tab(columns, after_tab);
    }

    fn finish_erasing(&mut self) {
        if std::mem::take(&mut self.erasing) {
            self.echo_raw(b'/');
        }
    }

    /// Echoes a character of a line; the first one notes where the line begins.
    fn echo_in_line(&mut self, c: u8) {
        if self.input.len() == self.whole {
            self.output.note_begin();
        }
        self.echo(c);
    }

    /// Echoes a character: `^X` for a control character under `ECHOCTL`.
    fn echo(&mut self, c: u8) {
        let shown = self.local(ECHOCTL) && c.is_ascii_control() && c != b'\t';
        let flags = self.termios.c_oflag;
        self.output.echo(c, shown, flags, self.mode(IUTF8));
    }

    fn echo_raw(&mut self, c: u8) {
        let flags = self.termios.c_oflag;
        self.output.echo(c, false, flags, self.mode(IUTF8));
    }

    /// Whether at least `amount` can be read: a line, or that many characters.
    pub fn available(&self, amount: usize) -> bool {
        if self.canonical() { self.whole > 0 } else { self.input.len() >= amount }
    }

    /// How much can be read (`FIONREAD`).
    pub fn readable(&self) -> usize {
        let of = if self.canonical() { self.whole } else { self.input.len() };
        let ends = self.input.iter().take(of).filter(|(_, mark)| self.canonical() && *mark == Mark::Eof);
        of - ends.count()
    }

    /// Reads a line, or a part of one, or what there is; `None` if there is nothing. At the end of input it is 0.
    pub fn read(&mut self, buf: &mut [u8]) -> Option<usize> {
        if !self.available(1) {
            return None;
        }
        let canonical = self.canonical();
        let (mut len, mut ended) = (0, false);
        while len < buf.len() && !ended {
            let Some((c, mark)) = self.input.pop_front() else { break };
            self.whole = self.whole.saturating_sub(1);
            ended = canonical && mark != Mark::None;
            if canonical && mark == Mark::Eof {
                break;
            }
            buf[len] = c;
            len += 1;
        }
        // An end that stands right behind what fills the buffer is not an end of input for the next read.
        if let (true, true, Some((_, Mark::Eof))) = (canonical, len > 0 && !ended, self.input.front()) {
            self.input.pop_front();
            self.whole = self.whole.saturating_sub(1);
        }
        self.look();
        self.output.send_echoes();
        Some(len)
    }

    fn forget_input(&mut self) {
        self.input.clear();
        self.whole = 0;
        (self.erasing, self.literal) = (false, false);
        self.tell(PKT_FLUSHREAD);
    }

    /// Throws away what was typed and not read (`TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.forget_input();
        self.look();
        self.output.send_echoes();
    }

    /// Throws away what is still on its way to the reader's buffer, as the master's `TCOFLUSH` does.
    pub fn flush_pending(&mut self) {
        self.pending.clear();
    }

    /// Throws away what was printed and is still on its way (`TCOFLUSH`).
    pub fn flush_output(&mut self) {
        self.output.flush();
        self.tell(PKT_FLUSHWRITE);
    }

    /// Prints, as much as there is room for; `None` if there is none, or printing is stopped.
    pub fn write(&mut self, data: &[u8]) -> Option<usize> {
        let flags = self.termios.c_oflag;
        let done = self.output.write(data, flags, self.mode(IUTF8));
        (done > 0 || data.is_empty()).then_some(done)
    }

    /// Takes what was printed and echoed.
    pub fn take_output(&mut self, buf: &mut [u8]) -> usize {
        self.output.take(buf)
    }

    fn start(&mut self) {
        if self.output.stopped() && !self.by_flow {
            self.output.set_stopped(false);
            self.status &= !PKT_STOP;
            self.tell(PKT_START);
        }
    }

    fn stop(&mut self) {
        if !self.output.stopped() {
            self.output.set_stopped(true);
            self.status &= !PKT_START;
            self.tell(PKT_STOP);
        }
    }

    /// Stops and starts printing (`TCOOFF`, `TCOON`), or sends the other side the character for that (`TCIOFF`, `TCION`); false for
    /// another action.
    pub fn flow(&mut self, action: i32) -> bool {
        match action {
            0 => {
                self.by_flow = true;
                self.stop();
            }
            1 => {
                self.by_flow = false;
                self.start();
            }
            2 | 3 => {
                let c = self.character(if action == 2 { VSTOP } else { VSTART });
                if c != DISABLED {
                    self.output.send_now(c);
                }
            }
            _ => return false,
        }
        true
    }
}

/// The settings of a new pseudo terminal.
fn default_termios() -> Termios {
    let mut termios = Termios {
        c_iflag: (ICRNL | IXON) as u32,
        c_oflag: (OPOST | ONLCR) as u32,
        c_cflag: (CS8 | CREAD) as u32,
        c_lflag: (ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN) as u32,
        c_cc: [DISABLED; 20],
        c_ispeed: 38400,
        c_ospeed: 38400,
    };
    let characters = [
        (VINTR, 3),
        (VQUIT, 0o34),
        (VERASE, 0x7f),
        (VKILL, 0o25),
        (VEOF, 4),
        (VTIME, 0),
        (VMIN, 1),
        (VSTART, 0o21),
        (VSTOP, 0o23),
        (VSUSP, 0o32),
        (VREPRINT, 0o22),
        (VDISCARD, 0o17),
        (VWERASE, 0o27),
        (VLNEXT, 0o26),
    ];
    for (which, c) in characters {
        if let Some(place) = termios.c_cc.get_mut(which as usize) {
            *place = c;
        }
    }
    termios
}
