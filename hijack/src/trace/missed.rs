//! What could not be taken to the rump kernel, or what the rump kernel does not support: counted, and named once on the trace.

use core::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::Errno;

use crate::calls::{Outcome, Row, TABLE};

/// How many different things are told apart; what comes later is counted together.
const KINDS: usize = 64;

/// A thing that was missed, and how often.
struct Kind {
    /// [`Missed::key`]; 0 in a free slot.
    key: AtomicU64,
    count: AtomicUsize,
}

static TABLE_OF_KINDS: [Kind; KINDS] = [const { Kind { key: AtomicU64::new(0), count: AtomicUsize::new(0) } }; KINDS];

/// Things beyond [`KINDS`].
static OTHERS: AtomicUsize = AtomicUsize::new(0);

/// One thing that was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missed {
    nr: u16,
    /// Linux's number of the error that the program got, or 0 for a call that went to the host.
    errno: u16,
    /// What tells it from others of the call: family, option, command, or the reason of an image.
    detail: u32,
}

impl Missed {
    fn key(self) -> u64 {
        1 << 63 | u64::from(self.nr) << 48 | u64::from(self.errno) << 32 | u64::from(self.detail)
    }

    fn of(key: u64) -> Self {
        Self { nr: (key >> 48 & 0x7fff) as u16, errno: (key >> 32) as u16, detail: key as u32 }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = TABLE.iter().find(|row| row.nr == usize::from(self.nr)).map_or("?", Row::plain_name);
        f.write_str(name)?;
        match (i64::from(self.nr), self.errno) {
            (_, 0) => return write!(f, ": {}", spec::image::Reason::text(self.detail)),
            (libc::SYS_socket | libc::SYS_socketpair, _) => {
                write!(f, " family {} type {}", self.detail >> 16, self.detail & 0xffff)?;
            }
            (libc::SYS_getsockopt | libc::SYS_setsockopt, _) => {
                write!(f, " level {} option {}", self.detail >> 16, self.detail & 0xffff)?;
            }
            (libc::SYS_ioctl, _) => write!(f, " command {:#x}", self.detail)?,
            _ => {}
        }
        write!(f, ": {}", Errno::from_linux(self.errno.into()))
    }
}

/// Looks whether a call was refused for want of support.
pub fn look(row: &Row, args: &[usize; 6], outcome: Outcome) {
    let Outcome::Done(error @ -4095..=-1) = outcome else { return };
    let [first, second, third, ..] = *args;
    let pair = |high: usize, low: usize| (high as u32) << 16 | low as u32 & 0xffff;
    let detail = match row.nr as i64 {
        libc::SYS_socket | libc::SYS_socketpair => pair(first, second & 0xf),
        libc::SYS_getsockopt | libc::SYS_setsockopt => pair(second, third),
        libc::SYS_ioctl => second as u32,
        _ => 0,
    };
    let errno = -error as i32;
    if unsupported(row.nr as i64, errno, detail) {
        note(Missed { nr: row.nr as u16, errno: errno as u16, detail });
    }
}

/// Whether the error says that the kernel lacks something, rather than that the program asked wrongly.
fn unsupported(nr: i64, errno: i32, detail: u32) -> bool {
    match errno {
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EAFNOSUPPORT | libc::EPFNOSUPPORT => true,
        libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT | libc::ENOPROTOOPT => true,
        // The commands of terminals are how programs ask whether something is one.
        libc::ENOTTY => nr == libc::SYS_ioctl && detail >> 8 != u32::from(b'T'),
        _ => false,
    }
}

/// Counts a program that is run without the library, for the reason with this number, and names each on the trace.
pub fn missed(nr: i64, reason: u32, path: &[u8]) {
    if !super::on() {
        return;
    }
    super::say(format_args!("not taken: {}: {}", path.escape_ascii(), spec::image::Reason::text(reason)));
    note(Missed { nr: nr as u16, errno: 0, detail: reason });
}

fn note(missed: Missed) {
    for kind in &TABLE_OF_KINDS {
        let found = kind.key.compare_exchange(0, missed.key(), Ordering::AcqRel, Ordering::Acquire);
        match found {
            Ok(_) if missed.errno != 0 => super::say(format_args!("not taken: {missed}")),
            Ok(_) => {}
            Err(key) if key == missed.key() => {}
            Err(_) => continue,
        }
        kind.count.fetch_add(1, Ordering::Relaxed);
        return;
    }
    OTHERS.fetch_add(1, Ordering::Relaxed);
}

/// Adds the part of the summary, and counts from 0 again.
pub fn write(text: &mut String) {
    let mut title = "  not taken:\n";
    let mut line = |count: usize, what: fmt::Arguments<'_>| {
        if count != 0 {
            let _ = writeln!(text, "{}    {count:>6}  {what}", core::mem::take(&mut title));
        }
    };
    for kind in &TABLE_OF_KINDS {
        let what = Missed::of(kind.key.load(Ordering::Acquire));
        line(kind.count.swap(0, Ordering::Relaxed), format_args!("{what}"));
    }
    line(OTHERS.swap(0, Ordering::Relaxed), format_args!("others"));
}

/// Forgets the counts.
pub fn forget() {
    TABLE_OF_KINDS.iter().for_each(|kind| kind.count.store(0, Ordering::Relaxed));
    OTHERS.store(0, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_known_by_its_key_and_named() {
        let option = Missed { nr: libc::SYS_setsockopt as u16, errno: libc::ENOPROTOOPT as u16, detail: 6 << 16 | 31 };
        assert_eq!(Missed::of(option.key()), option);
        assert_eq!(option.to_string(), "setsockopt level 6 option 31: Protocol not available");
        let ioctl = Missed { nr: libc::SYS_ioctl as u16, errno: libc::ENOTTY as u16, detail: 0x8912 };
        assert_eq!(ioctl.to_string(), "ioctl command 0x8912: Inappropriate ioctl for device");
    }

    #[test]
    fn asking_for_a_terminal_is_no_want_of_support() {
        assert!(!unsupported(libc::SYS_ioctl, libc::ENOTTY, libc::TCGETS as u32));
        assert!(unsupported(libc::SYS_ioctl, libc::ENOTTY, 0x8912));
        assert!(unsupported(libc::SYS_fgetxattr, libc::EOPNOTSUPP, 0));
        assert!(!unsupported(libc::SYS_read, libc::EBADF, 0));
    }
}
