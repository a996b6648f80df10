//! Neighbours: which hardware address an address on a link has, by the states of RFC 4861, 7.3, for ARP as for NDP.
//!
//! A state machine without I/O: it says what to send, and time is an argument.

use std::collections::{HashMap, VecDeque};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress};

/// How long an answer holds (`REACHABLE_TIME`).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a packet may use an old answer before it is asked for again (`DELAY_FIRST_PROBE_TIME`).
const DELAY: Duration = Duration::from_secs(5);
/// Between two questions (`RETRANS_TIMER`).
const RETRANS: Duration = Duration::from_secs(1);
/// Questions until nobody is there (`MAX_MULTICAST_SOLICIT`, `MAX_UNICAST_SOLICIT`).
const QUESTIONS: u8 = 3;
/// Packets that wait for one neighbour.
const WAITING: usize = 64;
/// Neighbours at most; the one that was not used for the longest makes room.
const MAX: usize = 1024;

/// Who a neighbour is: the link, by its place, and the address.
pub type Key = (usize, IpAddress);

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was asked for; no answer yet.
    Incomplete,
    /// It has answered lately.
    Reachable,
    /// It has answered long ago.
    Stale,
    /// An old answer is used; maybe something else confirms it.
    Delay,
    /// It is asked again.
    Probe,
    /// Somebody has said so by hand.
    Permanent,
    /// It does not answer.
    Failed,
}

/// A neighbour.
pub struct Neighbour {
    /// What is known.
    pub state: State,
    /// Its hardware address; means nothing while it is incomplete.
    pub mac: EthernetAddress,
    /// Whether it said that it is a router.
    pub router: bool,
    /// When something is to be done; `None` if nothing is.
    pub due: Option<Instant>,
    used: Instant,
    questions: u8,
    waiting: VecDeque<Vec<u8>>,
}

/// What is to be sent or told.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// The packet goes to this hardware address.
    Send(Key, EthernetAddress, Vec<u8>),
    /// Everybody is asked for the address, or the one that had it.
    Ask(Key, Option<EthernetAddress>),
    /// The packets were not delivered.
    Lost(Key, Vec<Vec<u8>>),
}

/// All neighbours.
#[derive(Default)]
pub struct Cache {
    all: HashMap<Key, Neighbour>,
    /// Not later than what is due first.
    next: Option<Instant>,
}

impl Cache {
    /// All neighbours.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Neighbour)> {
        self.all.iter()
    }

    /// When [`Cache::run`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Sends a packet to a neighbour, or lets it wait.
    pub fn output(&mut self, now: Instant, key: Key, packet: Vec<u8>) -> Vec<Action> {
        if !self.all.contains_key(&key) {
            self.make_room();
            let due = Some(now + RETRANS);
            let waiting = VecDeque::from([packet]);
            let mac = EthernetAddress([0; 6]);
            let new = Neighbour { state: State::Incomplete, mac, router: false, due, used: now, questions: 1, waiting };
            self.all.insert(key, new);
            self.note(due);
            return vec![Action::Ask(key, None)];
        }
        let Some(neighbour) = self.all.get_mut(&key) else { return Vec::new() };
        neighbour.used = now;
        match neighbour.state {
            State::Incomplete => {
                if neighbour.waiting.len() >= WAITING {
                    neighbour.waiting.pop_front();
                }
                neighbour.waiting.push_back(packet);
                Vec::new()
            }
            State::Failed => {
                (neighbour.state, neighbour.questions, neighbour.due) = (State::Incomplete, 1, Some(now + RETRANS));
                neighbour.waiting.push_back(packet);
                self.note(Some(now + RETRANS));
                vec![Action::Ask(key, None)]
            }
            State::Stale => {
                (neighbour.state, neighbour.due) = (State::Delay, Some(now + DELAY));
                let mac = neighbour.mac;
                self.note(Some(now + DELAY));
                vec![Action::Send(key, mac, packet)]
            }
            _ => vec![Action::Send(key, neighbour.mac, packet)],
        }
    }

    /// Takes note of a hardware address that a neighbour has named. `answer`: it was asked, so it is reachable; `create`: even if nobody has
    /// asked for it yet; `overrides`: even if it has another one (RFC 4861, 7.2.5).
    pub fn learn(&mut self, now: Instant, key: Key, mac: EthernetAddress, how: Learn) -> Vec<Action> {
        if !mac.is_unicast() {
            return Vec::new();
        }
        if !self.all.contains_key(&key) {
            if !how.create {
                return Vec::new();
            }
            self.make_room();
            let (state, due) =
                if how.answer { (State::Reachable, Some(now + REACHABLE)) } else { (State::Stale, None) };
            let new = Neighbour { state, mac, router: false, due, used: now, questions: 0, waiting: VecDeque::new() };
            self.all.insert(key, new);
            self.note(due);
            return Vec::new();
        }
        let Some(neighbour) = self.all.get_mut(&key) else { return Vec::new() };
        let unknown = matches!(neighbour.state, State::Incomplete | State::Failed);
        let other = !unknown && neighbour.mac != mac;
        match neighbour.state {
            State::Permanent => return Vec::new(),
            State::Reachable if other && !how.overrides => (neighbour.state, neighbour.due) = (State::Stale, None),
            _ if other && !how.overrides => {}
            _ if how.answer => {
                neighbour.mac = mac;
                (neighbour.state, neighbour.due) = (State::Reachable, Some(now + REACHABLE));
            }
            _ if unknown || other => {
                neighbour.mac = mac;
                (neighbour.state, neighbour.due) = (State::Stale, None);
            }
            _ => {}
        }
        neighbour.questions = 0;
        if let Some(router) = how.router {
            neighbour.router = router;
        }
        let (mac, due) = (neighbour.mac, neighbour.due);
        let sent =
            std::mem::take(&mut neighbour.waiting).into_iter().map(|packet| Action::Send(key, mac, packet)).collect();
        self.note(due);
        sent
    }

    /// Sets an address by hand.
    pub fn set(&mut self, now: Instant, key: Key, mac: EthernetAddress) -> Vec<Action> {
        let old = self.all.remove(&key);
        self.make_room();
        let (state, due, waiting) = (State::Permanent, None, VecDeque::new());
        self.all.insert(key, Neighbour { state, mac, router: false, due, used: now, questions: 0, waiting });
        old.map_or_else(VecDeque::new, |old| old.waiting)
            .into_iter()
            .map(|packet| Action::Send(key, mac, packet))
            .collect()
    }

    /// Forgets a neighbour; whether there was one.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.all.remove(key).is_some()
    }

    /// Forgets all neighbours on a link.
    pub fn flush(&mut self, link: usize) {
        self.all.retain(|key, _| key.0 != link);
    }

    /// Does what is due.
    pub fn run(&mut self, now: Instant) -> Vec<Action> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut actions = Vec::new();
        for (key, neighbour) in &mut self.all {
            if neighbour.due.is_none_or(|due| due > now) {
                continue;
            }
            neighbour.due = Some(now + RETRANS);
            match neighbour.state {
                State::Reachable => (neighbour.state, neighbour.due) = (State::Stale, None),
                State::Delay => {
                    (neighbour.state, neighbour.questions) = (State::Probe, 1);
                    actions.push(Action::Ask(*key, Some(neighbour.mac)));
                }
                State::Incomplete | State::Probe if neighbour.questions < QUESTIONS => {
                    neighbour.questions += 1;
                    let known = (neighbour.state == State::Probe).then_some(neighbour.mac);
                    actions.push(Action::Ask(*key, known));
                }
                _ => {
                    (neighbour.state, neighbour.due) = (State::Failed, None);
                    actions.push(Action::Lost(*key, std::mem::take(&mut neighbour.waiting).into()));
                }
            }
        }
        self.next = self.all.values().filter_map(|neighbour| neighbour.due).min();
        actions
    }

    fn note(&mut self, due: Option<Instant>) {
        self.next = [self.next, due].into_iter().flatten().min();
    }

    fn make_room(&mut self) {
        if self.all.len() < MAX {
            return;
        }
        let movable = self.all.iter().filter(|(_, neighbour)| neighbour.state != State::Permanent);
        if let Some(oldest) = movable.min_by_key(|(_, neighbour)| neighbour.used).map(|(key, _)| *key) {
            self.all.remove(&oldest);
        }
    }
}

/// How a hardware address became known; see [`Cache::learn`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Learn {
    /// It was asked for.
    pub answer: bool,
    /// It counts even if nobody wanted it.
    pub create: bool,
    /// It replaces another one.
    pub overrides: bool,
    /// Whether its owner says that it is a router, if it says anything.
    pub router: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (1, IpAddress::v4(10, 0, 0, 2));
    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
    const ANSWER: Learn = Learn { answer: true, create: false, overrides: true, router: None };

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn state(cache: &Cache) -> State {
        cache.all[&KEY].state
    }

    #[test]
    fn packets_wait_for_the_answer_and_go_in_order() {
        let mut cache = Cache::default();
        assert_eq!(cache.output(at(0), KEY, vec![1]), [Action::Ask(KEY, None)]);
        assert_eq!(cache.output(at(0), KEY, vec![2]), []);
        let sent = cache.learn(at(0), KEY, MAC, ANSWER);
        assert_eq!(sent, [Action::Send(KEY, MAC, vec![1]), Action::Send(KEY, MAC, vec![2])]);
        assert_eq!(
            (state(&cache), cache.output(at(1), KEY, vec![3])),
            (State::Reachable, vec![Action::Send(KEY, MAC, vec![3])])
        );
    }

    #[test]
    fn of_too_many_that_wait_the_oldest_are_lost() {
        let mut cache = Cache::default();
        for number in 0..=WAITING {
            cache.output(at(0), KEY, vec![number as u8]);
        }
        let sent = cache.learn(at(0), KEY, MAC, ANSWER);
        assert_eq!((sent.len(), &sent[0]), (WAITING, &Action::Send(KEY, MAC, vec![1])));
    }

    #[test]
    fn after_three_questions_the_packets_are_lost_and_the_next_asks_anew() {
        let mut cache = Cache::default();
        cache.output(at(0), KEY, vec![1]);
        assert_eq!(cache.run(at(0)), []);
        assert_eq!(cache.run(at(1)), [Action::Ask(KEY, None)]);
        assert_eq!(cache.run(at(2)), [Action::Ask(KEY, None)]);
        assert_eq!(cache.run(at(3)), [Action::Lost(KEY, vec![vec![1]])]);
        assert_eq!((state(&cache), cache.deadline()), (State::Failed, None));
        assert_eq!(cache.output(at(9), KEY, vec![2]), [Action::Ask(KEY, None)]);
    }

    #[test]
    fn an_old_answer_is_used_and_checked() {
        let mut cache = Cache::default();
        cache.output(at(0), KEY, vec![1]);
        cache.learn(at(0), KEY, MAC, ANSWER);
        cache.run(at(30));
        assert_eq!((state(&cache), cache.deadline()), (State::Stale, None));
        assert_eq!(cache.output(at(40), KEY, vec![2]), [Action::Send(KEY, MAC, vec![2])]);
        assert_eq!((state(&cache), cache.run(at(45))), (State::Delay, vec![Action::Ask(KEY, Some(MAC))]));
        assert_eq!(cache.learn(at(45), KEY, MAC, ANSWER), []);
        assert_eq!(state(&cache), State::Reachable);
    }

    #[test]
    fn another_address_counts_only_with_override_and_never_against_a_permanent_one() {
        let mut cache = Cache::default();
        cache.learn(at(0), KEY, MAC, Learn { create: true, ..ANSWER });
        cache.learn(at(0), KEY, OTHER, Learn { overrides: false, ..ANSWER });
        assert_eq!((state(&cache), cache.all[&KEY].mac), (State::Stale, MAC));
        cache.learn(at(0), KEY, OTHER, ANSWER);
        assert_eq!(cache.all[&KEY].mac, OTHER);
        cache.set(at(0), KEY, MAC);
        cache.learn(at(0), KEY, OTHER, ANSWER);
        assert_eq!((state(&cache), cache.all[&KEY].mac), (State::Permanent, MAC));
        cache.learn(at(0), KEY, EthernetAddress::BROADCAST, ANSWER);
        assert_eq!(cache.all[&KEY].mac, MAC);
    }

    #[test]
    fn strangers_are_limited() {
        let mut cache = Cache::default();
        for number in 0..5000u16 {
            let [high, low] = number.to_be_bytes();
            cache.output(at(i64::from(number)), (1, IpAddress::v4(10, 0, high, low)), vec![0]);
        }
        assert_eq!(cache.all.len(), MAX);
    }
}
