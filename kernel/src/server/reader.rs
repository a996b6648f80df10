//! Reading what clients send: for all of them together, by the thread that has the duty.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sysproxy::spin::Spin;
use sysproxy::{FrameReader, Link, banner, host};

use super::session::Session;
use super::{Shared, forks, requests};
use crate::proc::lock;

/// The key of the eventfd that ends a wait.
pub const WAKE: u64 = 0;
/// The key of the listener; all others are ids of sessions, which count up from 1.
pub const DOOR: u64 = u64::MAX;

/// The bit that tells a client's bell ([`super::rings`]) from its socket.
pub const BELL: u64 = 1 << 62;

/// Clients whose memory is looked at while they need not ring, at most.
const HOT: usize = 8;
/// Looks at their memory between two looks at everything.
const LOOKS: usize = 32;
/// The same, for turns that found something there.
const TURNS: u32 = 16;

/// Clients at most; one more is closed without a banner.
const CLIENTS_MAX: usize = 4096;
/// Frames taken from one client before the next has its turn.
const TURN: usize = 64;
/// How often files in messages that nobody claims are looked at.
const SWEEP: Duration = Duration::from_secs(10);

/// The clients that are read, and what waits of them.
#[derive(Default)]
pub struct Reader {
    conns: HashMap<u64, Conn>,
    /// Clients of whom frames may be left that were read already.
    more: Vec<u64>,
    ready: Vec<u64>,
    /// Clients with shared memory who were heard lately. All others with memory were told to ring.
    hot: VecDeque<u64>,
    /// Turns that have looked at memory only.
    turns: u32,
    spin: Spin,
}

struct Conn {
    session: Arc<Session>,
    frames: FrameReader,
}

impl Reader {
    /// Sleeps until somebody has sent something, and serves it; system calls are queued.
    pub fn turn(&mut self, server: &Arc<Shared>) {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let heard = self.hot.iter().copied().filter(|id| self.is_ready(*id)).collect::<Vec<_>>();
        self.turns = if heard.is_empty() { 0 } else { self.turns + 1 };
        if heard.is_empty() && self.more.is_empty() {
            self.wait(server, &mut ready);
        } else if heard.is_empty() || self.turns >= TURNS {
            self.turns = 0;
            look(server, &mut ready, Some(Duration::ZERO));
        }
        let more = std::mem::take(&mut self.more);
        for key in ready.iter().copied() {
            match key {
                WAKE => host::clear_eventfd(server.wake.fd()),
                DOOR => self.accept(server),
                bell if bell & BELL != 0 => {
                    if let Some(conn) = self.conns.get(&(bell & !BELL)) {
                        conn.session.clear_bell();
                    }
                    self.serve(server, bell & !BELL, false);
                }
                child if child & forks::CHILD != 0 => server.forks.child_ended(&server.kernel, child),
                id => self.serve(server, id, true),
            }
        }
        heard.into_iter().chain(more).for_each(|id| self.serve(server, id, false));
        let arrived = std::mem::take(&mut *lock(&server.arrived));
        arrived.into_iter().for_each(|link| self.admit(server, link));
        self.ready = ready;
        server.forks.sweep(&server.kernel, &server.epoll);
        server.kernel.parked.sweep(server.kernel.clock.uptime());
    }

    /// Waits until somebody has sent something: looks for a while, then sleeps.
    fn wait(&mut self, server: &Arc<Shared>, ready: &mut Vec<u64>) {
        let looks = if self.hot.is_empty() { 0 } else { LOOKS };
        let spun = self.spin.look(|| {
            for _ in 0..looks {
                if self.hot.iter().any(|id| self.is_ready(*id)) {
                    return Some(());
                }
                std::hint::spin_loop();
            }
            look(server, ready, Some(Duration::ZERO));
            (!ready.is_empty()).then_some(())
        });
        if spun.is_some() {
            return;
        }
        while let Some(id) = self.hot.pop_front() {
            self.cool(id);
        }
        let parked = server.kernel.parked.any_orphan().then_some(SWEEP);
        let timeout = match () {
            () if !self.more.is_empty() => Some(Duration::ZERO),
            () => server.forks.look_after().into_iter().chain(parked).min(),
        };
        look(server, ready, timeout);
    }

    /// Whether a client has written something into its memory.
    fn is_ready(&self, id: u64) -> bool {
        self.conns.get(&id).is_some_and(|conn| conn.session.link().ready() == Some(true))
    }

    /// Looks at the memory of a client from now on.
    fn heat(&mut self, id: u64) {
        if self.hot.contains(&id) {
            return;
        }
        self.hot.push_back(id);
        if self.hot.len() > HOT
            && let Some(first) = self.hot.pop_front()
        {
            self.cool(first);
        }
    }

    /// Tells a client to ring from now on; it has its turn if it has written before that.
    fn cool(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(|conn| !conn.session.link().about_to_sleep()) {
            self.more.push(id);
        }
    }

    fn accept(&mut self, server: &Arc<Shared>) {
        while let Ok(link) = server.listener.accept() {
            self.admit(server, link);
        }
    }

    /// Takes a client in, unless there are too many.
    fn admit(&mut self, server: &Arc<Shared>, link: Box<dyn Link>) {
        if self.conns.len() >= CLIENTS_MAX || !greeted(&*link) {
            return;
        }
        let id = server.next_session.fetch_add(1, Ordering::Relaxed);
        if server.epoll.add(link.fd(), id).is_err() {
            return;
        }
        let session = Session::new(id, link, server.clone());
        lock(&server.sessions).push(session.clone());
        self.conns.insert(id, Conn { session, frames: FrameReader::new() });
    }

    /// Takes what a client has sent, and sends what is left for it. `told` says whether its socket has told of something.
    fn serve(&mut self, server: &Shared, id: u64, told: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.session.is_full() {
            conn.session.flush();
        }
        let taken = match conn.take_frames() {
            // With shared memory the socket is silent up to its end.
            Taken::All if told && conn.session.link().upset() => Taken::Dead,
            taken => taken,
        };
        let in_memory = conn.session.link().ready().is_some();
        match taken {
            Taken::All => {}
            Taken::Turn => self.more.push(id),
            Taken::Dead => {
                // Calls under way may hold the socket open, which would be ready for ever.
                let _ = server.epoll.remove(conn.session.fd());
                conn.session.die();
                self.conns.remove(&id);
                self.hot.retain(|hot| *hot != id);
                return;
            }
        }
        if in_memory {
            self.heat(id);
        }
    }
}

/// Waits for what sockets and bells tell.
fn look(server: &Shared, ready: &mut Vec<u64>, timeout: Option<Duration>) {
    if server.epoll.wait(ready, timeout).is_err() {
        ready.clear();
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
