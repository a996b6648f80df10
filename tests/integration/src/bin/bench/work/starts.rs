//! Starting programs.

use std::ptr;

use super::{Task, done, each, fail};
use crate::row::{Bound, Of, Row, Unit, Way, row};

/// What a program's start may take longer.
const SOON: &[Bound] = &[Bound { way: Way::Extended, of: Of::Above, floor: 2e-3, aim: 0.5e-3 }];

pub const ROWS: &[Row] = &[
    row("start-up of true", Unit::Time, start, 0).outside().bound(SOON),
    row("fork, exit, wait", Unit::Time, fork, 0),
    row("fork and exec of true", Unit::Time, start, 1),
];

/// Opens something of the rump kernel, as a program with work there has.
fn something(task: &Task) {
    let folder = task.path("");
    // SAFETY: see open(2).
    done(unsafe { libc::open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY) }, "open");
}

/// Waits for a child that must succeed.
fn wait(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: see waitpid(2).
    if done(unsafe { libc::waitpid(child, &mut status, 0) }, "waitpid") != child || status != 0 {
        fail("the child has failed");
    }
}

fn fork(task: &Task, _: usize) -> f64 {
    something(task);
    each(task, || {
        // SAFETY: this process has one thread.
        match done(unsafe { libc::fork() }, "fork") {
            // SAFETY: ends the child.
            0 => unsafe { libc::_exit(0) },
            child => wait(child),
        }
    })
}

/// Runs `true`; `inside`, by a program that has something of the rump kernel.
fn start(task: &Task, inside: usize) -> f64 {
    let under = crate::run::environment(task.way);
    if inside == 1 {
        something(task);
    } else {
        // The library is for the programs that are started.
        // SAFETY: this process has one thread.
        under.iter().for_each(|(name, value)| unsafe { std::env::set_var(name, value) });
    }
    let program = c"/bin/true";
    let arguments = [program.as_ptr(), ptr::null()];
    each(task, || {
        // SAFETY: this process has one thread.
        match done(unsafe { libc::fork() }, "fork") {
            // SAFETY: see execv(3).
            0 => unsafe {
                libc::execv(program.as_ptr(), arguments.as_ptr());
                fail("execv")
            },
            child => wait(child),
        }
    })
}
