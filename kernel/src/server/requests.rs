//! What a client sends: handshakes, forks and answers are served at once, system calls queued.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Fd;
use sysproxy::frame::{Class, Frame, Kind};
use sysproxy::link::Stream;
use sysproxy::message::{self, ClientRequest, Handshake, Malformed, Refusal, Token};

use super::rings;
use super::session::{CALLS_MAX, Session};
use super::worker::{Carried, Work};
use crate::proc::{Credentials, Lwp, lock};
use crate::syscall;

/// User and group of a client of whom nothing is known, over TCP.
const NOBODY: u32 = 65534;

/// Serves one frame of a client.
pub fn serve(session: &Arc<Session>, frame: Frame) {
    if session.dismissed() {
        return;
    }
    let reqno = frame.header.reqno;
    match frame.header.class() {
        Some(Class::Req) => {}
        Some(Class::Resp) => return session.answered(reqno, frame.body),
        Some(Class::Error) | None => return session.post(&Refusal::Malformed.encode(reqno)),
    }
    let running = session.with_state(|state| state.proc.is_some());
    if !running && !matches!(frame.header.kind(), Some(Kind::Handshake | Kind::Forked)) {
        return session.dismiss(Some(&Refusal::Auth.encode(reqno)));
    }
    match ClientRequest::decode(&frame.header, &frame.body) {
        Ok(ClientRequest::Handshake(_)) if nameless(&frame) => refuse(session, reqno, Refusal::Malformed),
        Ok(ClientRequest::Handshake(Handshake::Exec(name))) if running => exec(session, reqno, name),
        Ok(ClientRequest::Handshake(_)) | Err(Malformed) if running && frame.header.kind() == Some(Kind::Handshake) => {
            refuse(session, reqno, Refusal::Malformed);
        }
        Ok(ClientRequest::Handshake(handshake)) => begin(session, reqno, &handshake),
        Ok(ClientRequest::Syscall { number, args }) => {
            submit(session, reqno, number, syscall::slots(args), Carried::default());
        }
        Ok(ClientRequest::Carrying { number, args, memory }) => {
            session.set_extended();
            let (args, start) = (syscall::slots(args), frame.body.len() - memory.len());
            submit(session, reqno, number, args, Carried { body: frame.body, start });
        }
        Ok(ClientRequest::Prefork { connected }) => prefork(session, reqno, connected),
        Ok(ClientRequest::Forked { token, .. }) if !running => session.server.forks.tie(&token, session.id),
        Ok(ClientRequest::Forked { token, pid }) => forked(session, &token, pid),
        Ok(ClientRequest::Interrupt) => interrupt(session, reqno),
        Ok(ClientRequest::Ring(step)) => rings::serve(session, reqno, step),
        Ok(ClientRequest::Moved { fd, read }) => moved(session, Fd(fd), read),
        Ok(ClientRequest::Extended { pid, prefix }) => extended(session, pid, prefix),
        Err(Malformed) if !running => refuse(session, reqno, Refusal::Malformed),
        Err(Malformed) => session.post(&Refusal::Malformed.encode(reqno)),
    }
}

/// Whether it is a GUEST or EXEC handshake without a name: the original follows a null pointer then.
fn nameless(frame: &Frame) -> bool {
    frame.body.is_empty() && (frame.header.u == 0 || frame.header.u == 3)
}

/// Answers with an error and ends the connection.
fn refuse(session: &Session, reqno: u64, refusal: Refusal) {
    session.dismiss(Some(&refusal.encode(reqno)));
}

/// The first handshake.
fn begin(session: &Arc<Session>, reqno: u64, handshake: &Handshake<'_>) {
    match handshake {
        Handshake::Guest(name) => guest(session, reqno, name),
        Handshake::Fork { token, cancel } => fork(session, reqno, token, *cancel),
        Handshake::Auth | Handshake::Exec(_) | Handshake::Unknown(_) => refuse(session, reqno, Refusal::Auth),
    }
}

/// A new process. If it cannot be made, the connection ends without a word.
fn guest(session: &Session, reqno: u64, name: &[u8]) {
    let kernel = &session.server.kernel;
    let Ok(proc) = kernel.spawn(name) else { return session.dismiss(None) };
    if kernel.config.creds_from_peer {
        let (uid, gid) = session.link().peer().map_or((NOBODY, NOBODY), |peer| peer.ids);
        *lock(&proc.cred) = Credentials::of(uid, gid);
    }
    session.with_state(|state| state.proc = Some(proc));
    session.post(&message::handshake_done(reqno));
}

/// Claims or releases the copy of a process.
fn fork(session: &Session, reqno: u64, token: &Token, cancel: bool) {
    let kernel = &session.server.kernel;
    let Ok(forked) = session.server.forks.take(token) else {
        return refuse(session, reqno, Refusal::InvalidPrefork);
    };
    if cancel {
        kernel.exit(&forked);
        return session.dismiss(None);
    }
    match kernel.procs.claim(&forked, kernel.clock.now()) {
        Ok(proc) => {
            session.with_state(|state| state.proc = Some(proc));
            session.post(&message::handshake_done(reqno));
        }
        Err(_) => {
            kernel.exit(&forked);
            refuse(session, reqno, Refusal::ForkFailed);
        }
    }
}

/// Wakes who waits at the other end of a stream whose bytes the client moves itself.
fn moved(session: &Session, fd: Fd, read: bool) {
    let Some(proc) = session.with_state(|state| state.proc.clone()) else { return };
    let open = proc.file(fd);
    if let Some(stream) = open.as_ref().ok().and_then(|open| open.file.as_stream()) {
        stream.moved(read);
    }
}

/// A new image on the same connection: calls of the old one end, then descriptors close and the name changes.
fn exec(session: &Arc<Session>, reqno: u64, name: &[u8]) {
    let Some(proc) = session.with_state(|state| state.proc.clone()) else { return };
    if proc.begin_exec().is_err() {
        return refuse(session, reqno, Refusal::InExec);
    }
    let drained = session.with_state(|state| {
        state.calls.iter().for_each(|lwp| lwp.interrupt());
        if !state.calls.is_empty() {
            state.exec = Some((reqno, name.to_vec()));
        }
        state.calls.is_empty()
    });
    if drained {
        session.finish_exec(&proc, name);
        return session.post(&message::handshake_done(reqno));
    }
    // The old image answers no more: what it was asked for it will never give.
    session.abandon_requests();
}

fn prefork(session: &Session, reqno: u64, connected: bool) {
    let Some(proc) = session.with_state(|state| state.proc.clone()) else { return };
    if proc.draining.load(Ordering::SeqCst) {
        return refuse(session, reqno, Refusal::InExec);
    }
    match session.server.forks.prefork(&session.server.kernel, &proc, session.id) {
        Ok(token) => {
            // A child of whom the host cannot tell us when it ends has a connection that does.
            if session.extended() && (connected || proc.local_pid().is_none()) {
                hand_over_connection(session, reqno);
            }
            session.post(&message::prefork_done(reqno, &token));
        }
        Err(_) => session.post(&Refusal::ForkFailed.encode(reqno)),
    }
}

/// Has the copy of a process go with the child that it is for, once that has come about.
fn forked(session: &Session, token: &Token, pid: i32) {
    let here = session.with_state(|state| state.proc.as_ref().is_some_and(|proc| proc.local_pid().is_some()));
    if here && pid > 0 {
        session.server.forks.born(token, session.id, pid);
    }
}

/// Makes a connection for a child that cannot come by itself: it has another user than its parent had, or other names of files.
/// Without one it has to try.
fn hand_over_connection(session: &Session, reqno: u64) {
    if session.passes_descriptors()
        && let Ok((near, far)) = Stream::pair()
    {
        session.server.arrived(Box::new(near));
        session.post_descriptor(reqno, far);
    }
}

fn submit(session: &Arc<Session>, reqno: u64, number: u32, args: [u64; syscall::SLOTS], memory: Carried) {
    let lwp = Lwp::new(&*session.server.kernel.rumpuser, reqno);
    let room = session.with_state(|state| {
        let room = state.calls.len() < CALLS_MAX;
        if room {
            state.calls.push(lwp.clone());
        }
        room
    });
    if !room {
        return session.post(&Refusal::TryAgain.encode(reqno));
    }
    session.server.pool.submit(Work { session: session.clone(), lwp, number, args, memory });
}

/// Notes that the client is one of ours, who it is on its host, and by which path its program reaches the root.
fn extended(session: &Session, pid: i32, prefix: &[u8]) {
    session.set_extended();
    if let Some(proc) = session.with_state(|state| state.proc.clone()) {
        proc.host_pid.store(pid.max(0), Ordering::Relaxed);
        // In another pid name space it has another number there, and so have the groups that it will speak of.
        if session.link().peer().is_some_and(|peer| peer.pid == pid) {
            proc.set_local_pid(pid);
        }
        proc.set_prefix(prefix);
        // The limit of its descriptors is that of its host, where each of them has a number too.
        proc.lift_limit();
    }
}

/// Ends the sleep of the call with this number.
fn interrupt(session: &Session, reqno: u64) {
    session.set_extended();
    session.with_state(|state| {
        state.calls.iter().filter(|lwp| lwp.request == reqno).for_each(|lwp| lwp.interrupt());
    });
}
