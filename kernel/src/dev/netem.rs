//! `netem`: a wrapper that makes a link worse. Frames that are sent are delayed, lost, doubled, put out of order, damaged, and held to a rate.
//!
//! Chance comes from a seed, so that the same frames at the same times have the same fate.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use abi::{Errno, Result};
use smoltcp::phy::Medium;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::net::{Counters, NetDevice};
use crate::net::stack::Random;
use crate::rumpuser::{Rumpuser, Signal};

/// Frames on their way at most, unless `limit` says otherwise (as Linux's).
const LIMIT: usize = 1000;
/// A share of frames: so many of this number.
const WHOLE: u64 = 1 << 32;

/// What is done to frames.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    delay: Duration,
    jitter: Duration,
    /// Shares of [`WHOLE`].
    loss: u64,
    duplicate: u64,
    reorder: u64,
    corrupt: u64,
    /// Bits in a second; 0 is as many as there are.
    rate: u64,
    limit: usize,
    seed: u64,
}

struct Netem {
    inner: Box<dyn NetDevice>,
    settings: Settings,
    random: Random,
    /// Frames on their way: when they arrive, which was first.
    on_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    sent: u64,
    /// When the line is free again.
    free_at: Instant,
    lost: u64,
}

/// Puts a wrapper around a device; gives it back if the words make no sense.
pub fn wrap(
    host: &dyn Rumpuser,
    inner: Box<dyn NetDevice>,
    words: &str,
) -> std::result::Result<Box<dyn NetDevice>, (Errno, Box<dyn NetDevice>)> {
    let mut seed = [0; 8];
    host.random(&mut seed);
    let none = Settings {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0,
        duplicate: 0,
        reorder: 0,
        corrupt: 0,
        rate: 0,
        limit: LIMIT,
        seed: u64::from_ne_bytes(seed),
    };
    match parse(none, words) {
        Ok(settings) => Ok(Box::new(Netem {
            inner,
            settings,
            random: Random::new(settings.seed),
            on_way: BinaryHeap::new(),
            sent: 0,
            free_at: Instant::ZERO,
            lost: 0,
        })),
        Err(error) => Err((error, inner)),
    }
}

/// Reads pairs of a word and a value: `delay 10ms jitter 2ms loss 1% duplicate 0.5% reorder 5% corrupt 0.1% rate 10mbit limit 1000 seed 7`.
fn parse(mut settings: Settings, words: &str) -> Result<Settings> {
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(Errno::EINVAL)?;
        match word {
            "delay" => settings.delay = time(value)?,
            "jitter" => settings.jitter = time(value)?,
            "loss" => settings.loss = share(value)?,
            "duplicate" => settings.duplicate = share(value)?,
            "reorder" => settings.reorder = share(value)?,
            "corrupt" => settings.corrupt = share(value)?,
            "rate" => settings.rate = rate(value)?,
            "limit" => settings.limit = value.parse().map_err(|_| Errno::EINVAL)?,
            "seed" => settings.seed = value.parse().map_err(|_| Errno::EINVAL)?,
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(settings)
}

fn number(text: &str) -> Result<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0).ok_or(Errno::EINVAL)
}

/// A number with one of the units; the last is the one to be taken without.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Result<f64> {
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (digits, factor) = found.ok_or(Errno::EINVAL)?;
    Ok(number(digits)? * factor)
}

fn time(text: &str) -> Result<Duration> {
    let micros = with_unit(text, &[("us", 1.0), ("ms", 1e3), ("s", 1e6), ("", 1.0)])?;
    Ok(Duration::from_micros(micros.min(3.6e9) as u64))
}

fn share(text: &str) -> Result<u64> {
    let percent = number(text.strip_suffix('%').unwrap_or(text))?;
    if percent > 100.0 { Err(Errno::EINVAL) } else { Ok((percent / 100.0 * WHOLE as f64) as u64) }
}

fn rate(text: &str) -> Result<u64> {
    let bits = with_unit(text, &[("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0), ("", 1.0)])?;
    Ok(bits.min(1e15) as u64)
}

impl Netem {
    fn happens(&mut self, share: u64) -> bool {
        share > 0 && self.random.draw() % WHOLE < share
    }

    /// Sends what has arrived at the other end of the delay.
    fn release(&mut self, now: Instant) {
        while self.on_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            if let Some(Reverse((_, _, frame))) = self.on_way.pop() {
                self.inner.transmit(now, frame);
            }
        }
    }

    fn launch(&mut self, now: Instant, mut frame: Vec<u8>) {
        if self.happens(self.settings.corrupt) {
            let bits = frame.len() as u64 * 8;
            if let Some(bit) = self.random.draw().checked_rem(bits) {
                frame[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        let Settings { delay, jitter, rate, .. } = self.settings;
        let mut takes = delay;
        if jitter > Duration::ZERO {
            // Anywhere between less and more.
            let spread = self.random.draw() % (2 * jitter.total_micros() + 1);
            takes = Duration::from_micros((delay.total_micros() + spread).saturating_sub(jitter.total_micros()));
        }
        // One that goes at once overtakes the others.
        if self.happens(self.settings.reorder) {
            takes = Duration::ZERO;
        }
        let mut at = now + takes;
        if let Some(micros) = (frame.len() as u64 * 8 * 1_000_000).checked_div(rate) {
            self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
            at = self.free_at + takes;
        }
        self.sent += 1;
        self.on_way.push(Reverse((at, self.sent, frame)));
    }
}

impl NetDevice for Netem {
    fn medium(&self) -> Medium {
        self.inner.medium()
    }

    fn mtu(&self) -> usize {
        self.inner.mtu()
    }

    fn set_mtu(&mut self, mtu: usize) -> Result<()> {
        self.inner.set_mtu(mtu)
    }

    fn mac(&self) -> Option<EthernetAddress> {
        self.inner.mac()
    }

    fn set_up(&mut self, up: bool) -> Result<()> {
        self.inner.set_up(up)
    }

    fn transmit(&mut self, now: Instant, frame: Vec<u8>) {
        if self.happens(self.settings.loss) || self.on_way.len() >= self.settings.limit {
            self.lost += 1;
            return;
        }
        if self.happens(self.settings.duplicate) {
            self.launch(now, frame.clone());
        }
        self.launch(now, frame);
        self.release(now);
    }

    fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.release(now);
        self.inner.receive(now)
    }

    fn deadline(&self) -> Option<Instant> {
        let own = self.on_way.peek().map(|Reverse((at, ..))| *at);
        [own, self.inner.deadline()].into_iter().flatten().min()
    }

    fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.inner.buffer(len)
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.inner.recycle(frame);
    }

    fn counters(&self) -> Counters {
        let inner = self.inner.counters();
        Counters { dropped_out: inner.dropped_out + self.lost, ..inner }
    }

    fn is_loopback(&self) -> bool {
        self.inner.is_loopback()
    }

    fn link_string(&self) -> Result<Vec<u8>> {
        self.inner.link_string()
    }

    fn set_link_string(
        &mut self,
        host: &dyn Rumpuser,
        to: Option<&std::path::Path>,
    ) -> Result<Option<std::sync::Arc<dyn Signal>>> {
        self.inner.set_link_string(host, to)
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn inner(&mut self) -> Option<&mut Box<dyn NetDevice>> {
        Some(&mut self.inner)
    }

    fn wrapper(&self) -> Option<(&'static str, String)> {
        let Settings { delay, jitter, loss, duplicate, reorder, corrupt, rate, limit, seed } = self.settings;
        let mut text = String::new();
        for (word, time) in [("delay", delay), ("jitter", jitter)] {
            if time > Duration::ZERO {
                let _ = write!(text, "{word} {}ms ", time.total_micros() as f64 / 1e3);
            }
        }
        for (word, share) in [("loss", loss), ("duplicate", duplicate), ("reorder", reorder), ("corrupt", corrupt)] {
            if share > 0 {
                let _ = write!(text, "{word} {:.3}% ", share as f64 * 100.0 / WHOLE as f64);
            }
        }
        if rate > 0 {
            let _ = write!(text, "rate {rate}bit ");
        }
        let _ = write!(text, "limit {limit} seed {seed}");
        Some(("netem", text))
    }

    fn set_wrapper(&mut self, words: &str) -> Result<()> {
        let settings = parse(self.settings, words)?;
        if settings.seed != self.settings.seed {
            self.random = Random::new(settings.seed);
        }
        self.settings = settings;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::loopback::Loopback;
    use crate::rumpuser::sim::SimHost;

    fn link(words: &str) -> Box<dyn NetDevice> {
        let host = SimHost::new(1);
        wrap(&*host, Box::new(Loopback::default()), words).unwrap_or_else(|(error, _)| panic!("{words}: {error}"))
    }

    fn ms(ms: i64) -> Instant {
        Instant::from_millis(ms)
    }

    fn all(link: &mut dyn NetDevice, now: Instant) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| link.receive(now)).collect()
    }

    #[test]
    fn frames_arrive_after_the_delay_and_the_rate_spreads_them() {
        let mut slow = link("delay 10ms");
        slow.transmit(ms(0), vec![1]);
        slow.transmit(ms(3), vec![2]);
        assert_eq!((all(&mut *slow, ms(9)).len(), slow.deadline()), (0, Some(ms(10))));
        assert_eq!((all(&mut *slow, ms(10)), all(&mut *slow, ms(13))), (vec![vec![1]], vec![vec![2]]));
        slow.set_wrapper("delay 0ms rate 8kbit").unwrap();
        (0..3).for_each(|at| slow.transmit(ms(20), vec![at]));
        assert_eq!((20..=24).map(|at| all(&mut *slow, ms(at)).len()).collect::<Vec<_>>(), [0, 1, 1, 1, 0]);
    }

    #[test]
    fn chance_is_as_often_as_was_said_and_the_same_for_a_seed() {
        let fates = |words: &str| {
            let mut link = link(words);
            (0..10_000u32).for_each(|number| link.transmit(ms(0), number.to_ne_bytes().to_vec()));
            all(&mut *link, ms(1000))
        };
        let lossy = fates("loss 10% seed 3 limit 100000");
        assert!((8700..9300).contains(&lossy.len()), "{}", lossy.len());
        assert_eq!(lossy, fates("loss 10% seed 3 limit 100000"));
        assert_ne!(lossy, fates("loss 10% seed 4 limit 100000"));
        assert!((10_800..11_200).contains(&fates("duplicate 10% seed 3 limit 100000").len()));
        let damaged = fates("corrupt 10% seed 3 limit 100000");
        let wrong = damaged.iter().zip(0..).filter(|(frame, number)| ***frame != u32::to_ne_bytes(*number)).count();
        assert!((850..1150).contains(&wrong), "{wrong}");
        let mixed = fates("delay 5ms reorder 10% seed 3 limit 100000");
        assert_eq!(mixed.len(), 10_000);
        assert!(!mixed.is_sorted_by_key(|frame| u32::from_ne_bytes([frame[0], frame[1], frame[2], frame[3]])));
    }

    #[test]
    fn a_full_queue_loses_and_wrong_words_are_refused() {
        let mut full = link("delay 1s limit 5");
        (0..9).for_each(|at| full.transmit(ms(0), vec![at]));
        assert_eq!((full.counters().dropped_out, all(&mut *full, ms(1000)).len()), (4, 5));
        for wrong in ["delay", "delay x", "loss 101%", "speed 3", "loss -1%", "delay nan"] {
            assert_eq!(full.set_wrapper(wrong), Err(Errno::EINVAL), "{wrong}");
        }
        let host = SimHost::new(1);
        assert_eq!(
            wrap(&*host, Box::new(Loopback::default()), "loss").err().map(|(error, _)| error),
            Some(Errno::EINVAL)
        );
    }
}
