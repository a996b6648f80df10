use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::proc::lock;

/// A bus in memory.
#[derive(Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

impl Memory {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(vec![0; BUS])), Arc::default())
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = lock(&self.0);
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }
}

impl Signal for Memory {
    fn wait(&self) -> bool {
        false
    }

    fn stop(&self) {}
}

impl Bus for Memory {
    fn load(&self, offset: usize, buf: &mut [u8]) -> Result<()> {
        buf.copy_from_slice(&lock(&self.0)[offset..offset + buf.len()]);
        Ok(())
    }

    fn store(&self, offset: usize, data: &[u8]) -> Result<()> {
        lock(&self.0)[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn exchange(&self, offset: usize, old: u32, new: u32) -> Result<u32> {
        let found = self.word(offset);
        if found == old {
            self.store(offset, &new.to_ne_bytes())?;
        }
        Ok(found)
    }

    fn tell(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.store(offset, data)
    }

    fn was_told(&self) -> bool {
        true
    }

    fn remind(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    fn rest(&self) {}
}

/// A host whose only file is the bus.
struct Host(Memory, Arc<crate::rumpuser::sim::SimHost>);

impl Rumpuser for Host {
    fn monotonic(&self) -> Duration {
        self.1.monotonic()
    }
    fn wall_clock(&self) -> Duration {
        self.1.wall_clock()
    }
    fn random(&self, buf: &mut [u8]) {
        self.1.random(buf);
    }
    fn console(&self, bytes: &[u8]) {
        self.1.console(bytes);
    }
    fn parker(&self) -> Box<dyn crate::rumpuser::Parker> {
        self.1.parker()
    }
    fn spawn(&self, _name: &str, _body: Box<dyn FnOnce() + Send>) -> Result<()> {
        Err(Errno::EAGAIN)
    }
    fn reserve(&self, _bytes: usize) -> Result<()> {
        Ok(())
    }
    fn release(&self, _bytes: usize) {}
    fn cpus(&self) -> usize {
        1
    }
    fn physical_memory(&self) -> u64 {
        1 << 30
    }
    fn host_name(&self) -> String {
        "bus".into()
    }
    fn host_pid(&self) -> u32 {
        1
    }
    fn open_bus(&self, _path: &Path, len: usize) -> Result<Arc<dyn Bus>> {
        assert_eq!(len, BUS);
        Ok(Arc::new(self.0.clone()))
    }
}

fn host() -> Host {
    Host(Memory::new(), crate::rumpuser::sim::SimHost::new(5))
}

fn member(host: &Host) -> Box<dyn NetDevice> {
    let mut device = open(&Request { host, unit: 0 }).unwrap();
    assert_eq!(device.set_up(true), Err(Errno::ENXIO));
    device.set_link_string(host, Some(Path::new("bus"))).unwrap();
    device.set_up(true).unwrap();
    device
}

fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![0xff; len];
    frame[14..18].copy_from_slice(&number.to_ne_bytes());
    frame[18..].fill(number as u8);
    frame
}

fn send(device: &mut dyn NetDevice, now: Instant, frame: Vec<u8>) {
    device.transmit(now, frame);
    device.flush(now);
}

fn drain(device: &mut dyn NetDevice, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| device.receive(now))
        .map(|frame| {
            let number = u32::from_ne_bytes([frame[14], frame[15], frame[16], frame[17]]);
            assert!(frame[18..].iter().all(|byte| *byte == number as u8));
            number
        })
        .collect()
}

#[test]
fn the_file_is_what_netbsd_makes_of_it() {
    let host = host();
    let mut device = member(&host);
    let bus = host.0.clone();
    assert_eq!((bus.word(0), bus.word(4), bus.word(16), bus.word(20), bus.word(24)), (MAGIC, 0, RING, 0, 0));
    send(&mut *device, Instant::from_millis(2500), frame(7, 60));
    assert_eq!((bus.word(4), bus.word(8), bus.word(16), bus.word(20), bus.word(24)), (3, 0, RING, 24, 0));
    // Behind the header and the empty record 0: length, seconds, microseconds, the frame.
    assert_eq!((bus.word(56), bus.word(60), bus.word(64)), (60, 2, 500_000));
    let mut stored = [0; 60];
    bus.load(80, &mut stored).unwrap();
    assert_eq!(stored[..], frame(7, 60)[..]);
}

#[test]
fn everybody_else_hears_everything_in_order_over_many_laps() {
    let host = host();
    let mut all = [member(&host), member(&host), member(&host)];
    let mut random = crate::net::stack::Random::new(9);
    let mut expected = [const { Vec::new() }; 3];
    let mut heard = [const { Vec::new() }; 3];
    for number in 0..20_000u32 {
        let from = (random.draw() % 3) as usize;
        send(&mut *all[from], Instant::ZERO, frame(number, 18 + (random.draw() % 1497) as usize));
        (0..3).filter(|at| *at != from).for_each(|at| expected[at].push(number));
        if number % 200 == 199 {
            (0..3).for_each(|at| heard[at].extend(drain(&mut *all[at], Instant::ZERO)));
        }
    }
    assert!(host.0.word(8) > 10, "the ring has begun anew often");
    assert!(heard == expected);
}

#[test]
fn who_is_too_slow_loses_the_oldest_and_nothing_else() {
    let host = host();
    let (mut writer, mut reader) = (member(&host), member(&host));
    let mut next = 0;
    // Frames of many lengths, so that the seams fall everywhere.
    for round in 0..300u32 {
        let len = 1000 + round as usize;
        let count = 1100;
        for _ in 0..count {
            writer.transmit(Instant::ZERO, frame(next, len));
            next += 1;
        }
        writer.flush(Instant::ZERO);
        let heard = drain(&mut *reader, Instant::ZERO);
        assert_eq!(heard.last(), Some(&(next - 1)));
        assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1));
        let room = RING as usize / (len + 24);
        assert!((room - 3..=room).contains(&heard.len()), "{} of {room}", heard.len());
    }
}

#[test]
fn a_lock_whose_holder_has_died_is_taken_over() {
    let host = host();
    let (mut writer, mut reader) = (member(&host), member(&host));
    host.0.store(LOCK_AT, &1u32.to_ne_bytes()).unwrap();
    send(&mut *writer, Instant::ZERO, frame(1, 60));
    send(&mut *writer, Instant::from_millis(499), frame(2, 60));
    assert_eq!((host.0.word(LOCK_AT), drain(&mut *reader, Instant::ZERO)), (1, vec![]));
    send(&mut *writer, Instant::from_millis(500), frame(3, 60));
    assert_eq!(host.0.word(LOCK_AT), 0);
    assert_eq!(drain(&mut *reader, Instant::from_millis(500)), [1, 2, 3]);
}

#[test]
fn rubbish_on_the_bus_harms_nobody() {
    let host = host();
    let (mut writer, mut reader) = (member(&host), member(&host));
    let mut random = crate::net::stack::Random::new(4);
    for _ in 0..300 {
        for _ in 0..random.draw() % 2000 {
            let at = 8 + (random.draw() % (BUS as u64 - 8)) as usize;
            if !(LOCK_AT..LOCK_AT + 4).contains(&at) {
                host.0.store(at, &[random.draw() as u8]).unwrap();
            }
        }
        for _ in 0..random.draw() % 30 {
            writer.transmit(Instant::ZERO, frame(1, 1000));
        }
        writer.flush(Instant::ZERO);
        (0..5000).take_while(|_| reader.receive(Instant::ZERO).is_some()).count();
    }
    // Afterwards all is well again.
    writer.set_up(false).unwrap();
    reader.set_up(false).unwrap();
    reader.set_up(true).unwrap();
    (0..5000).take_while(|_| reader.receive(Instant::ZERO).is_some()).count();
    send(&mut *writer, Instant::ZERO, frame(5, 60));
    assert_eq!(drain(&mut *reader, Instant::ZERO).last(), Some(&5));
}
