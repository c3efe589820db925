//! The process-wide count of media bytes held in memory, shared by every frame log and HLS window. It only counts and
//! compares: whoever holds bytes sheds its own oldest ones when [`Budget::exceeded`] says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A shared limit in bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Count>);

#[derive(Debug)]
struct Count {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    /// With a limit in bytes.
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Count { limit: AtomicUsize::new(limit), used: AtomicUsize::new(0) }))
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// More is held than the limit allows.
    pub fn exceeded(&self) -> bool {
        self.used() > self.0.limit.load(Ordering::Relaxed)
    }

    /// Another limit, from now on.
    pub fn set_limit(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts bytes in until the returned share is dropped.
    pub fn take(&self, bytes: usize) -> Share {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Share { budget: self.clone(), bytes }
    }
}

/// Bytes counted in a [`Budget`]; dropping it counts them out, so that no path can forget to.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Counts more bytes in.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes out, at most as many as the share has.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes in this share.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget this is a share of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_and_go_without_a_trace() {
        let budget = Budget::new(100);
        let mut one = budget.take(60);
        let two = budget.take(50);
        assert!(budget.exceeded());
        one.shrink(20);
        assert_eq!((budget.used(), budget.exceeded()), (90, false));
        one.grow(5);
        drop(two);
        assert_eq!(budget.used(), 45);
        budget.set_limit(44);
        assert!(budget.exceeded());
        one.shrink(1000);
        drop(one);
        assert_eq!(budget.used(), 0);
    }
}
