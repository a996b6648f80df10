//! Worker threads: they run calls, and one of them at a time has the duty to read what clients send.
//!
//! The thread with the duty runs the first call that it reads itself, since waking another one takes longer than most calls. It
//! passes the duty on just before it sleeps, be it in a blocking call or for the client's memory; a thread that comes back from
//! its call without having slept goes on reading. So there always is somebody who reads, who will read soon, or who has been told to.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use abi::Errno;
use sysproxy::message::{Refusal, SyscallResult};

use super::Shared;
use super::memory::SessionMem;
use super::session::Session;
use crate::proc::{Lwp, lock};
use crate::{syscall, wait};

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
    /// The arguments.
    pub args: [u64; syscall::SLOTS],
    /// The pieces of the client's memory that came along.
    pub memory: Carried,
}

/// What stands at the end of a frame's body.
#[derive(Default)]
pub struct Carried {
    /// The body.
    pub body: Vec<u8>,
    /// Where it begins.
    pub start: usize,
}

/// The threads and what they have to do.
#[derive(Default)]
pub struct Pool {
    state: Mutex<State>,
    /// Told when there is a call to run, or the duty to take.
    work: Condvar,
    /// Told when the thread of [`Pool::run_until_stopped`] has something to do.
    reserve: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    idle: usize,
    threads: usize,
    /// Whether a thread has the duty.
    led: bool,
    /// No thread could be made that takes the duty.
    deserted: bool,
    /// Nobody is to take the duty any more.
    stopped: bool,
    closed: bool,
}

/// What a thread does next.
enum Next {
    Call(Work),
    /// It has the duty, and there is nothing else to do.
    Read,
    End,
}

impl Pool {
    /// Queues a call. Comes from the thread that has the duty, which sees to it that it is run.
    pub fn submit(&self, work: Work) {
        lock(&self.state).queue.push_back(work);
    }

    /// Serves until [`Pool::stop`]. The calling thread itself reads only while there is no other that could.
    pub fn run_until_stopped(&self, server: &Arc<Shared>) {
        self.pass_on(server);
        loop {
            let mut state = lock(&self.state);
            while !state.deserted && (state.led || !state.stopped) {
                state = self.reserve.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped {
                return;
            }
            (state.deserted, state.led) = (false, true);
            drop(state);
            read(server);
            self.pass_on(server);
            self.refuse_without_threads();
        }
    }

    /// Has the duty taken by another thread; the calling one has it, or nobody ever had.
    fn pass_on(&self, server: &Arc<Shared>) {
        let mut state = lock(&self.state);
        state.led = false;
        if state.stopped {
            self.reserve.notify_one();
        } else if state.idle > 0 {
            self.work.notify_one();
        } else if state.threads >= WORKERS_MAX || !self.start(server, &mut state) {
            state.deserted = true;
            self.reserve.notify_one();
        }
    }

    /// Makes a thread.
    fn start(&self, server: &Arc<Shared>, state: &mut State) -> bool {
        let body = Box::new({
            let server = server.clone();
            move || server.pool.run(&server)
        });
        let started = server.kernel.rumpuser.spawn("rumpsp", body).is_ok();
        state.threads += usize::from(started);
        started
    }

    /// Answers the calls that wait for a thread when there is none and none can be made.
    fn refuse_without_threads(&self) {
        let mut state = lock(&self.state);
        if state.threads > 0 {
            return;
        }
        let refused = std::mem::take(&mut state.queue);
        drop(state);
        for work in refused {
            work.session.call_done(&work.lwp);
            work.session.post(&Refusal::TryAgain.encode(work.lwp.request));
        }
    }

    /// Has [`Pool::run_until_stopped`] return.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.work.notify_all();
        self.reserve.notify_all();
    }

    /// Lets the threads go when nothing is left to do.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.work.notify_all();
    }

    fn run(&self, server: &Arc<Shared>) {
        let mut duty = false;
        loop {
            match self.next(server, &mut duty) {
                Next::Call(work) if duty => {
                    let server = server.clone();
                    let pass_on = Box::new(move || server.pool.pass_on(&server));
                    duty = wait::with_duty(pass_on, || serve(&work));
                }
                Next::Call(work) => serve(&work),
                Next::Read => read(server),
                Next::End => return,
            }
        }
    }

    /// Waits for something to do. `duty` says whether the thread has the duty, and is set when it gets it.
    fn next(&self, server: &Arc<Shared>, duty: &mut bool) -> Next {
        let mut state = lock(&self.state);
        loop {
            if state.stopped && std::mem::take(duty) {
                state.led = false;
                self.reserve.notify_one();
            }
            if !state.led && !state.stopped {
                (state.led, *duty) = (true, true);
            }
            if let Some(work) = state.queue.pop_front() {
                self.share(server, &mut state);
                return Next::Call(work);
            }
            if *duty {
                return Next::Read;
            }
            if state.closed || state.idle >= IDLE_MAX {
                state.threads -= 1;
                return Next::End;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Calls one more thread to the calls that are left, as long as there is a CPU for it.
    fn share(&self, server: &Arc<Shared>, state: &mut State) {
        if state.queue.is_empty() {
            return;
        }
        if state.idle > 0 {
            self.work.notify_one();
        } else if state.threads < server.kernel.rumpuser.cpus() {
            self.start(server, state);
        }
    }
}

/// Reads what clients send. Whatever goes wrong with the frames of one, the others are to be read.
fn read(server: &Arc<Shared>) {
    if catch_unwind(AssertUnwindSafe(|| lock(&server.reader).turn(server))).is_err() {
        server.kernel.printf("rump_server: a request failed badly\n");
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
    let mem = SessionMem { session, carried: work.memory.body.get(work.memory.start..).unwrap_or_default() };
    let result = syscall::syscall(&session.server.kernel, &proc, &work.lwp, work.number, &work.args, &mem);
    let mut answer = SyscallResult::new(result);
    if let Err(Errno::EBUSY | Errno::ESRCH) = result
        && proc.draining.load(std::sync::atomic::Ordering::SeqCst)
    {
        answer.retval[0] = -1;
    }
    answer
}
