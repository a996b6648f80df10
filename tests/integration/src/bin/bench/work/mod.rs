//! The work of the rows: plain calls of libc, in a process of their own. A function makes one figure.
//!
//! To add a row: write a function `fn(&Task, usize) -> f64` in its family, and add a line to the family's table.

mod bulk;
mod calls;
mod files;
pub mod ping;
mod starts;
mod waiting;

use std::ffi::{CString, c_int};
use std::time::{Duration, Instant};

use crate::row::{Row, Way};

/// All rows of functions, family by family.
pub const FAMILIES: &[(&str, &[Row])] = &[
    ("calls", calls::ROWS),
    ("files", files::ROWS),
    ("ping-pong", ping::ROWS),
    ("bulk and connections", bulk::ROWS),
    ("waiting", waiting::ROWS),
    ("processes", starts::ROWS),
];

/// What a function is to do.
pub struct Task {
    /// Who serves its calls.
    pub way: Way,
    /// A folder that is empty.
    pub folder: String,
    /// How long to measure.
    pub time: Duration,
    /// Whether this only shows that the row works.
    pub quick: bool,
    /// Where the two processes of a pair meet; and whether this is the one that waits to be called.
    pub meet: Option<([u8; 4], u16, bool)>,
}

impl Task {
    /// The name of something in the folder.
    pub fn path(&self, name: &str) -> CString {
        CString::new(format!("{}/{name}", self.folder)).expect("a path without NUL")
    }

    /// So many, or few if this only shows that the row works.
    pub fn many(&self, count: usize) -> usize {
        if self.quick { count.min(64) } else { count }
    }
}

/// Ends the process with the reason.
pub fn fail(what: &str) -> ! {
    eprintln!("{what}: {}", std::io::Error::last_os_error());
    // SAFETY: ends the process, whatever its threads do. A child of fork must not run its parent's handlers.
    unsafe { libc::_exit(1) }
}

/// Returns what a call has returned, unless it has failed.
pub fn done(result: c_int, what: &str) -> c_int {
    if result < 0 { fail(what) } else { result }
}

/// Returns how many bytes a call has moved, unless it has failed.
pub fn moved(result: isize, what: &str) -> usize {
    usize::try_from(result).unwrap_or_else(|_| fail(what))
}

/// Calls before the clock runs: a connection to the server first changes to shared memory after some.
const WARM: u32 = 64;
/// How long a batch takes at least, so that looking at the clock costs nothing.
const BATCH: Duration = Duration::from_micros(200);

/// Makes calls for the time of the task and returns how many seconds one takes: the median of batches.
pub fn each(task: &Task, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut calls = 0;
    while calls < WARM && (calls < 2 || begin.elapsed() < task.time) {
        call();
        calls += 1;
    }
    let one = begin.elapsed().as_secs_f64() / f64::from(calls);
    let batch = ((BATCH.as_secs_f64() / one) as u32).clamp(1, 100_000);
    let (begin, mut batches) = (Instant::now(), Vec::new());
    while batches.is_empty() || begin.elapsed() < task.time {
        let begin = Instant::now();
        (0..batch).for_each(|_| call());
        batches.push(begin.elapsed().as_secs_f64() / f64::from(batch));
    }
    crate::median(&batches)
}

/// Someone at the other end, who ends with the value.
pub struct Other(Option<libc::pid_t>);

/// Runs `other` in a process of its own, which has the descriptors `its` and not `mine`, while the caller has `mine` only. A kernel in
/// the program ends at its border: there it is a thread, and the descriptors are both's.
pub fn beside(task: &Task, its: &[c_int], mine: &[c_int], other: impl FnOnce() + Send + 'static) -> Other {
    let close = |fds: &[c_int]| {
        // SAFETY: descriptors that nobody here uses any more.
        fds.iter().for_each(|fd| unsafe { _ = libc::close(*fd) });
    };
    if task.way == Way::Local {
        std::thread::spawn(other);
        return Other(None);
    }
    // SAFETY: this process has one thread.
    match done(unsafe { libc::fork() }, "fork") {
        0 => {
            // If this process fails, nobody shall wait for the output that the child could still make.
            // SAFETY: see prctl(2).
            done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }, "prctl");
            close(mine);
            other();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        child => {
            close(its);
            Other(Some(child))
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if let Some(child) = self.0 {
            // SAFETY: our own child, which is not waited for yet.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, std::ptr::null_mut(), 0);
            }
        }
    }
}
