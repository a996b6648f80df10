//! Reading what clients send: for all of them together, by the thread that has the duty.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sysproxy::spin::Spin;
use sysproxy::{FrameReader, Link, banner, host};

use super::session::Session;
use super::{Shared, requests};
use crate::proc::lock;

/// The key of the eventfd that ends a wait.
pub const WAKE: u64 = 0;
/// The key of the listener; all others are ids of sessions, which count up from 1.
pub const DOOR: u64 = u64::MAX;

/// Clients at most; one more is closed without a banner.
const CLIENTS_MAX: usize = 4096;
/// Frames taken from one client before the next has its turn.
const TURN: usize = 64;
/// How often tokens of forks and files that nobody claims are looked at.
const SWEEP: Duration = Duration::from_secs(10);

/// The clients that are read, and what waits of them.
#[derive(Default)]
pub struct Reader {
    conns: HashMap<u64, Conn>,
    /// Clients of whom frames may be left that were read already.
    more: Vec<u64>,
    ready: Vec<u64>,
    spin: Spin,
}

struct Conn {
    session: Arc<Session>,
    frames: FrameReader,
}

impl Reader {
    /// Sleeps until somebody has sent something, and serves it; system calls are queued.
    pub fn turn(&mut self, server: &Arc<Shared>) {
        let timeout = match () {
            () if !self.more.is_empty() => Some(Duration::ZERO),
            () if server.forks.any() || server.kernel.parked.any_orphan() => Some(SWEEP),
            () => None,
        };
        let mut ready = std::mem::take(&mut self.ready);
        let spun = self.spin.look(|| {
            let looked = server.epoll.wait(&mut ready, Some(Duration::ZERO));
            (looked.is_ok() && !ready.is_empty()).then_some(())
        });
        if spun.is_none() && server.epoll.wait(&mut ready, timeout).is_err() {
            ready.clear();
        }
        let more = std::mem::take(&mut self.more);
        for key in ready.iter().copied().chain(more) {
            match key {
                WAKE => host::clear_eventfd(server.wake.fd()),
                DOOR => self.accept(server),
                id => self.serve(server, id),
            }
        }
        self.ready = ready;
        server.forks.sweep(&server.kernel);
        server.kernel.parked.sweep(server.kernel.clock.uptime());
    }

    fn accept(&mut self, server: &Arc<Shared>) {
        while let Ok(link) = server.listener.accept() {
            if self.conns.len() >= CLIENTS_MAX || !greeted(&*link) {
                continue;
            }
            let id = server.next_session.fetch_add(1, Ordering::Relaxed);
            if server.epoll.add(link.fd(), id).is_err() {
                continue;
            }
            let session = Session::new(id, link, server.clone());
            lock(&server.sessions).push(session.clone());
            self.conns.insert(id, Conn { session, frames: FrameReader::new() });
        }
    }

    /// Takes what a client has sent, and sends what is left for it.
    fn serve(&mut self, server: &Shared, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.session.is_full() {
            conn.session.flush();
        }
        match conn.take_frames() {
            Taken::All => {}
            Taken::Turn => self.more.push(id),
            Taken::Dead => {
                // Calls under way may hold the socket open, which would be ready for ever.
                let _ = server.epoll.remove(conn.session.fd());
                conn.session.die();
                self.conns.remove(&id);
            }
        }
    }
}

/// What is left of a client after its turn.
enum Taken {
    /// Nothing.
    All,
    /// Frames, perhaps.
    Turn,
    /// Nothing ever again.
    Dead,
}

impl Conn {
    fn take_frames(&mut self) -> Taken {
        for _ in 0..TURN {
            match self.frames.next(self.session.link()) {
                Ok(Some(frame)) => requests::serve(&self.session, frame),
                Ok(None) => return Taken::All,
                Err(_) => return Taken::Dead,
            }
        }
        Taken::Turn
    }
}

/// Sends the banner in one piece; a client that does not take it is not served.
fn greeted(link: &dyn Link) -> bool {
    link.send(&[host::IoSlice::new(banner::OURS.as_bytes())]).is_ok_and(|sent| sent == banner::OURS.len())
}
