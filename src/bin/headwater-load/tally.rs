//! What was measured: counters and histograms, one [`Tally`] for each thread, so that counting never makes viewers wait
//! for each other; `view` adds them up at the end. [`Firsts`] is the one thing all threads share: when each file was
//! seen first by anybody, which is when it became available as far as this process can tell.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::http::Failure;

/// Everything one thread saw.
pub(crate) struct Tally {
    /// Viewers that got their first media.
    pub(crate) joined: u64,
    /// Viewer started until init and first media of every rendition are there.
    pub(crate) join: Times,
    /// A part's arrival, after its earliest arrival at any viewer here.
    pub(crate) delay: Times,
    /// A part's arrival, after the capture time of its first sample as EXT-X-PROGRAM-DATE-TIME gives it: how old
    /// its oldest picture is, its own length included.
    pub(crate) clock: Times,
    /// A blocked reload's answer, after the earliest same answer at any viewer here.
    pub(crate) reload: Times,
    /// Parts (segments, in plain mode) received whole.
    pub(crate) parts: u64,
    /// Of these, later than one part target after they were available.
    pub(crate) late: u64,
    /// Playlists received.
    pub(crate) playlists: u64,
    /// Playlists that had nothing new, though they were asked to wait for it.
    pub(crate) stale: u64,
    /// Pieces given up because the viewer was too far behind.
    pub(crate) skipped: u64,
    /// Hinted parts that the server then did not make.
    pub(crate) broken_hints: u64,
    /// Body bytes of all answers.
    pub(crate) bytes: u64,
    /// The part target last announced, seconds.
    pub(crate) part_target: f64,
    /// Requests that brought nothing.
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally {
            joined: 0,
            join: Times::new(),
            delay: Times::new(),
            clock: Times::new(),
            reload: Times::new(),
            parts: 0,
            late: 0,
            playlists: 0,
            stale: 0,
            skipped: 0,
            broken_hints: 0,
            bytes: 0,
            part_target: 0.0,
            failures: BTreeMap::new(),
        }
    }

    /// Takes in what another thread saw.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.joined += other.joined;
        self.join.add(&other.join);
        self.delay.add(&other.delay);
        self.clock.add(&other.clock);
        self.reload.add(&other.reload);
        self.parts += other.parts;
        self.late += other.late;
        self.playlists += other.playlists;
        self.stale += other.stale;
        self.skipped += other.skipped;
        self.broken_hints += other.broken_hints;
        self.bytes += other.bytes;
        self.part_target = self.part_target.max(other.part_target);
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }

    /// Failures by name, for reports.
    pub(crate) fn failures_by_name(&self) -> BTreeMap<String, u64> {
        self.failures.iter().map(|(failure, count)| (failure.to_string(), *count)).collect()
    }
}

/// A histogram of durations from a microsecond to a minute; longer ones count as a minute.
#[derive(Clone)]
pub(crate) struct Times(Option<Histogram<u64>>);

impl Times {
    /// Empty.
    pub(crate) fn new() -> Times {
        Times(Histogram::new_with_bounds(1, LONGEST_MICROS, 3).ok())
    }

    /// Counts one.
    pub(crate) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_MICROS);
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(micros.max(1));
        }
    }

    /// Counts a number of seconds; one below zero, which differing clocks can give, counts as nothing at all.
    pub(crate) fn record_seconds(&mut self, seconds: f64) {
        self.record(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }

    /// Adds another one's counts.
    pub(crate) fn add(&mut self, other: &Times) {
        if let (Some(mine), Some(theirs)) = (&mut self.0, &other.0) {
            // Same bounds and precision, so every value fits.
            let _ = mine.add(theirs);
        }
    }

    /// The figures people read.
    pub(crate) fn spread(&self) -> Spread {
        let Some(h) = self.0.as_ref().filter(|h| !h.is_empty()) else { return Spread::default() };
        let at = |quantile| millis(h.value_at_quantile(quantile) as f64);
        Spread { count: h.len(), mean: millis(h.mean()), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    /// How many values there are.
    pub(crate) count: u64,
    /// Arithmetic mean.
    pub(crate) mean: f64,
    /// Median.
    pub(crate) p50: f64,
    /// 95 of 100 are no greater.
    pub(crate) p95: f64,
    /// 99 of 100 are no greater.
    pub(crate) p99: f64,
    /// The greatest.
    pub(crate) max: f64,
}

/// When each file was first received by any viewer of this process.
#[derive(Default)]
pub(crate) struct Firsts(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    at: HashMap<u64, Instant>,
    order: VecDeque<u64>,
}

impl Firsts {
    /// How long after the first arrival of `name` this one, at `now`, is.
    pub(crate) fn delay(&self, name: &str, now: Instant) -> Duration {
        let key = digest(name);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = seen.at.get(&key) {
            return now.saturating_duration_since(*first);
        }
        seen.at.insert(key, now);
        seen.order.push_back(key);
        if seen.order.len() > REMEMBERED
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.at.remove(&oldest);
        }
        Duration::ZERO
    }
}

/// FNV-1a: names of a few dozen bytes, thousands of times a second, from a server that is not out to collide.
fn digest(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn millis(micros: f64) -> f64 {
    (micros / 10.0).round() / 100.0
}

/// A minute: longer than any request is given.
const LONGEST_MICROS: u64 = 60_000_000;

/// Files remembered: minutes of parts and reloads of two renditions, far more than viewers are apart.
const REMEMBERED: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_arrival_is_the_measure_of_the_others() {
        let firsts = Firsts::default();
        let now = Instant::now();
        assert_eq!(firsts.delay("a", now), Duration::ZERO);
        assert_eq!(firsts.delay("a", now + Duration::from_millis(5)), Duration::from_millis(5));
        assert_eq!(firsts.delay("a", now), Duration::ZERO);
        for n in 0..REMEMBERED {
            firsts.delay(&n.to_string(), now);
        }
        assert_eq!(firsts.delay("a", now + Duration::from_secs(1)), Duration::ZERO, "forgotten");
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::new();
        for ms in [1, 2, 3] {
            let mut one = Tally::new();
            one.parts = 1;
            one.delay.record(Duration::from_millis(ms));
            one.failures.insert(Failure::Status(404), ms);
            sum.add(&one);
        }
        assert_eq!((sum.parts, sum.delay.spread().count), (3, 3));
        assert!((sum.delay.spread().p50 - 2.0).abs() < 0.01);
        assert_eq!(sum.failures_by_name().get("status 404"), Some(&6));
        assert_eq!(sum.join.spread().count, 0);
    }

    #[test]
    fn absurd_times_do_no_harm() {
        let mut times = Times::new();
        times.record(Duration::MAX);
        times.record_seconds(-1.0);
        times.record_seconds(f64::NAN);
        assert_eq!(times.spread().count, 3);
    }
}
