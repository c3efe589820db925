//! How evenly parts come: when the newest came, and how far apart the last ones were. Kept by each rendition, for the
//! operator; decides nothing.

use std::time::{Duration, Instant};

/// The times of a rendition's newest parts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    newest: Option<Instant>,
    /// Milliseconds between parts, the newest [`KEPT`] in no order.
    apart: Vec<u32>,
    /// The oldest of them, once there are so many.
    oldest: usize,
}

/// How far apart a rendition's newest parts came, and when the newest did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    /// Since the newest part.
    pub age: Duration,
    /// The median.
    pub typical: Duration,
    /// The longest.
    pub worst: Duration,
}

impl Pace {
    /// So many parts came at once. Those of one burst have no distance but the first.
    pub(super) fn came(&mut self, parts: usize, now: Instant) {
        if parts == 0 {
            return;
        }
        let apart = self.newest.replace(now).map(|newest| now.saturating_duration_since(newest));
        let Some(apart) = apart else { return };
        self.keep(u32::try_from(apart.as_millis()).unwrap_or(u32::MAX));
        (1..parts.min(KEPT)).for_each(|_| self.keep(0));
    }

    /// As it is now; None before the second part.
    pub(super) fn spacing(&self, now: Instant) -> Option<Spacing> {
        let mut apart = self.apart.clone();
        apart.sort_unstable();
        let millis = |millis: &u32| Duration::from_millis(u64::from(*millis));
        Some(Spacing {
            age: now.saturating_duration_since(self.newest?),
            typical: apart.get(apart.len() / 2).map(millis)?,
            worst: apart.last().map(millis)?,
        })
    }

    fn keep(&mut self, apart: u32) {
        if self.apart.len() < KEPT {
            return self.apart.push(apart);
        }
        self.apart[self.oldest] = apart;
        self.oldest = (self.oldest + 1) % KEPT;
    }
}

/// Distances that are kept: a quarter of a minute of ordinary parts.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hiccup_is_the_worst_until_it_is_long_past() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert_eq!(pace.spacing(begun), None);
        pace.came(1, at(0));
        assert_eq!(pace.spacing(at(1)), None);
        pace.came(1, at(250));
        pace.came(1, at(500));
        pace.came(1, at(1_700));
        pace.came(2, at(1_900));
        let spacing = pace.spacing(at(2_000)).unwrap();
        let expected = [100, 250, 1_200].map(Duration::from_millis);
        assert_eq!([spacing.age, spacing.typical, spacing.worst], expected);
        (0..KEPT as u64).for_each(|n| pace.came(1, at(2_150 + n * 250)));
        assert_eq!(pace.spacing(at(20_000)).unwrap().worst, Duration::from_millis(250));
    }
}
