//! Worker threads: made when a call finds none idle, kept for a while.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use abi::Errno;
use sysproxy::message::SyscallResult;

use super::memory::SessionMem;
use super::session::Session;
use crate::proc::{Lwp, lock};
use crate::syscall;

/// Threads at most; calls beyond wait for one.
const WORKERS_MAX: usize = 4096;
/// Idle threads that are kept.
const IDLE_MAX: usize = 16;

/// A system call that waits for a thread.
pub struct Work {
    /// Who calls.
    pub session: Arc<Session>,
    /// The thread of the process; knows the request's number.
    pub lwp: Arc<Lwp>,
    /// Which call.
    pub number: u32,
    /// The argument block as it came.
    pub args: Vec<u8>,
}

/// The threads and what they have to do.
#[derive(Default)]
pub struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    idle: usize,
    threads: usize,
    closed: bool,
}

impl Pool {
    /// Queues a call. `false` if there is no thread for it and none can be made.
    pub fn submit(&self, work: Work) -> bool {
        let server = work.session.server.clone();
        let mut state = lock(&self.state);
        state.queue.push_back(work);
        if state.idle >= state.queue.len() || state.threads >= WORKERS_MAX {
            drop(state);
            self.work.notify_one();
            return true;
        }
        state.threads += 1;
        drop(state);
        let body = Box::new({
            let server = server.clone();
            move || server.pool.run()
        });
        if server.kernel.rumpuser.spawn("rumpsp", body).is_ok() {
            return true;
        }
        let mut state = lock(&self.state);
        state.threads -= 1;
        // The threads that there are get to it, if there are any.
        state.threads > 0 || state.queue.pop_back().is_none()
    }

    /// Lets the threads go when nothing is left to do.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.work.notify_all();
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            serve(&work);
        }
    }

    /// Waits for a call; `None` when the thread shall end.
    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            if state.closed || state.idle >= IDLE_MAX {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Runs a call and sends its answer.
fn serve(work: &Work) {
    let session = &work.session;
    let server = &session.server;
    let answer = catch_unwind(AssertUnwindSafe(|| call(work))).unwrap_or_else(|_| {
        server
            .kernel
            .printf(&format!("rump_server: system call {} of client {} failed badly\n", work.number, session.id));
        SyscallResult::new(Err(Errno::EIO))
    });
    let halted = server.kernel.halted().is_some() && work.number == abi::syscalls::nr::reboot;
    if halted {
        server.listener.unlink();
    }
    session.send(&answer.encode(work.lwp.request));
    session.call_done(&work.lwp);
    if halted {
        server.stop();
    }
}

fn call(work: &Work) -> SyscallResult {
    let session = &work.session;
    let Some(proc) = session.with_state(|state| state.proc.clone()) else {
        return SyscallResult { error: Errno::ESRCH.raw(), padding: 0, retval: [-1, 0] };
    };
    let mem = SessionMem(session.clone());
    let slots = syscall::slots(&work.args);
    let result = syscall::syscall(&session.server.kernel, &proc, &work.lwp, work.number, &slots, &mem);
    let mut answer = SyscallResult::new(result);
    if let Err(Errno::EBUSY | Errno::ESRCH) = result
        && proc.draining.load(std::sync::atomic::Ordering::SeqCst)
    {
        answer.retval[0] = -1;
    }
    answer
}
