//! A simulated host for tests: time stands still until told, randomness is seeded, failures are injected, files are
//! in memory.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use abi::{Errno, Result};

use super::memory::Account;
use super::simfolder::SimTree;
use super::{Access, HostFile, HostKind, HostNode, Parker, Rumpuser, Woken};
use crate::proc::lock;

/// What the simulated wall clock says at the start: 2001-09-09 01:46:40 UTC.
pub const EPOCH: Duration = Duration::from_secs(1_000_000_000);

/// A simulated host.
pub struct SimHost {
    state: Arc<State>,
    random: Mutex<u64>,
    console: Mutex<Vec<u8>>,
    /// Bytes that the kernel has taken; its limit can be set.
    pub memory: Account,
    /// Every so many reservations one fails; 0 is never.
    fail_every: AtomicU64,
    reservations: AtomicU64,
    files: Mutex<HashMap<PathBuf, SimFile>>,
    writes: Arc<Writes>,
    /// The folders; paths in it have nothing to do with `files`.
    pub tree: Arc<SimTree>,
}

/// The writes to files, in their order: where, and what.
type Writes = Mutex<Vec<(u64, Vec<u8>)>>;

/// A file of a simulated host; it can be read and written whatever it was opened for.
#[derive(Clone, Default)]
pub struct SimFile {
    content: Arc<Mutex<Vec<u8>>>,
    writes: Option<Arc<Writes>>,
}

#[derive(Default)]
struct State {
    time: Mutex<Time>,
    changed: Condvar,
}

#[derive(Default)]
struct Time {
    now: Duration,
    jumps: bool,
}

impl SimHost {
    /// Makes a host whose randomness comes from `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::default(),
            random: Mutex::new(seed),
            console: Mutex::default(),
            memory: Account::new(None),
            fail_every: AtomicU64::new(0),
            reservations: AtomicU64::new(0),
            files: Mutex::default(),
            writes: Arc::default(),
            tree: SimTree::new(),
        })
    }

    /// Moves the clocks on and wakes who waited for that.
    pub fn advance(&self, by: Duration) {
        lock(&self.state.time).now += by;
        self.state.changed.notify_all();
    }

    /// Makes a sleep with a deadline move the clocks to that deadline at once.
    pub fn jump_when_sleeping(&self, jumps: bool) {
        lock(&self.state.time).jumps = jumps;
    }

    /// Makes every `n`-th reservation of memory fail; 0 ends that.
    pub fn fail_every(&self, n: u64) {
        self.fail_every.store(n, Ordering::Relaxed);
    }

    /// Puts a file there, in place of what was.
    pub fn put_file(&self, path: &str, content: &[u8]) {
        let file = SimFile { content: Arc::new(Mutex::new(content.to_vec())), writes: Some(self.writes.clone()) };
        lock(&self.files).insert(PathBuf::from(path), file);
    }

    /// The content of a file now; empty if there is none.
    pub fn file(&self, path: &str) -> Vec<u8> {
        let file = lock(&self.files).get(Path::new(path)).cloned().unwrap_or_default();
        lock(&file.content).clone()
    }

    /// The writes to files since the last time, in their order: where, and what.
    pub fn take_writes(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut *lock(&self.writes))
    }

    /// What was written to the console.
    pub fn console_text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.console)).into_owned()
    }
}

impl Rumpuser for SimHost {
    fn monotonic(&self) -> Duration {
        lock(&self.state.time).now
    }

    fn wall_clock(&self) -> Duration {
        EPOCH + self.monotonic()
    }

    fn random(&self, buf: &mut [u8]) {
        let mut state = lock(&self.random);
        for byte in buf {
            // splitmix64, a byte at a time: tests need repetition, not quality.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) as u8;
        }
    }

    fn console(&self, bytes: &[u8]) {
        lock(&self.console).extend_from_slice(bytes);
    }

    fn parker(&self) -> Box<dyn Parker> {
        Box::new(SimParker { state: self.state.clone(), token: Mutex::new(false) })
    }

    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> Result<()> {
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(|_| Errno::EAGAIN)
    }

    fn reserve(&self, bytes: usize) -> Result<()> {
        let every = self.fail_every.load(Ordering::Relaxed);
        let count = self.reservations.fetch_add(1, Ordering::Relaxed) + 1;
        if every != 0 && count.is_multiple_of(every) {
            return Err(Errno::ENOMEM);
        }
        self.memory.reserve(bytes)
    }

    fn release(&self, bytes: usize) {
        self.memory.release(bytes);
    }

    fn cpus(&self) -> usize {
        4
    }

    fn physical_memory(&self) -> u64 {
        1 << 30
    }

    fn host_name(&self) -> String {
        "sim".to_owned()
    }

    fn host_pid(&self) -> u32 {
        1234
    }

    fn open_host(&self, path: &Path, _: Access) -> Result<Box<dyn HostFile>> {
        let file = lock(&self.files).get(path).cloned().ok_or(Errno::ENOENT)?;
        Ok(Box::new(file))
    }

    fn open_folder(&self, path: &Path) -> Result<Box<dyn HostNode>> {
        let root: Box<dyn HostNode> = Box::new(self.tree.root());
        path.iter().skip(1).try_fold(root, |at, name| at.lookup(name.as_bytes()))
    }
}

impl HostFile for SimFile {
    fn kind(&self) -> HostKind {
        HostKind::Regular
    }

    fn size(&self) -> Result<u64> {
        Ok(lock(&self.content).len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let content = lock(&self.content);
        let rest = content.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        if let Some(writes) = &self.writes {
            lock(writes).push((offset, data.to_vec()));
        }
        let mut content = lock(&self.content);
        let (begin, end) = (offset as usize, offset as usize + data.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[begin..end].copy_from_slice(data);
        Ok(data.len())
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        let mut content = lock(&self.content);
        content.extend_from_slice(data);
        Ok((content.len() as u64, data.len()))
    }

    fn resize(&self, len: u64) -> Result<()> {
        lock(&self.content).resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

struct SimParker {
    state: Arc<State>,
    token: Mutex<bool>,
}

impl Parker for SimParker {
    fn park(&self, deadline: Option<Duration>) -> Woken {
        let mut time = lock(&self.state.time);
        loop {
            if std::mem::take(&mut *lock(&self.token)) {
                return Woken::Unparked;
            }
            match deadline {
                Some(deadline) if deadline <= time.now => return Woken::TimedOut,
                Some(deadline) if time.jumps => time.now = deadline,
                _ => time = self.state.changed.wait(time).unwrap_or_else(std::sync::PoisonError::into_inner),
            }
        }
    }

    fn unpark(&self) {
        let time = lock(&self.state.time);
        *lock(&self.token) = true;
        drop(time);
        self.state.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (mut a, mut b, mut c) = ([0; 16], [0; 16], [0; 16]);
        SimHost::new(7).random(&mut a);
        SimHost::new(7).random(&mut b);
        SimHost::new(8).random(&mut c);
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn every_nth_reservation_fails() {
        let host = SimHost::new(0);
        host.fail_every(3);
        let failed: Vec<bool> = (0..6).map(|_| host.reserve(1).is_err()).collect();
        assert_eq!(failed, [false, false, true, false, false, true]);
    }

    #[test]
    fn a_sleep_ends_when_the_clock_is_moved() {
        let host = SimHost::new(0);
        let parker = host.parker();
        let sleeper = std::thread::spawn(move || parker.park(Some(Duration::from_secs(7200))));
        host.advance(Duration::from_secs(7200));
        assert_eq!(sleeper.join().ok(), Some(Woken::TimedOut));
    }

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        let parker = SimHost::new(0).parker();
        parker.unpark();
        assert_eq!(parker.park(None), Woken::Unparked);
    }
}
