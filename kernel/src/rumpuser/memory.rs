//! The account of what a kernel has taken from its host (`RUMP_MEMLIMIT`).

use std::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};

use crate::config::PAGER_RESERVE_BYTES;

/// Bytes taken, and how many may be.
#[derive(Debug)]
pub struct Account {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Account {
    /// Starts an account; `limit` counts what the pager keeps for itself, `None` is no limit.
    pub fn new(limit: Option<u64>) -> Self {
        let account = Self { limit: AtomicU64::new(u64::MAX), used: AtomicU64::new(0) };
        account.limit(limit);
        account
    }

    /// Replaces the limit.
    pub fn limit(&self, limit: Option<u64>) {
        let usable = limit.map_or(u64::MAX, |limit| limit.saturating_sub(PAGER_RESERVE_BYTES));
        self.limit.store(usable, Ordering::Relaxed);
    }

    /// Takes `bytes`, or `ENOMEM` at the limit.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        let limit = self.limit.load(Ordering::Relaxed);
        let take = |used: u64| used.checked_add(bytes as u64).filter(|sum| *sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map(drop).map_err(|_| Errno::ENOMEM)
    }

    /// Gives `bytes` back.
    pub fn release(&self, bytes: usize) {
        let give = |used: u64| Some(used.saturating_sub(bytes as u64));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    /// Bytes taken now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let account = Account::new(Some(PAGER_RESERVE_BYTES + 100));
        assert_eq!(account.reserve(100), Ok(()));
        assert_eq!(account.reserve(1), Err(Errno::ENOMEM));
        account.release(50);
        assert_eq!(account.reserve(50), Ok(()));
        assert_eq!(account.used(), 100);
    }
}
