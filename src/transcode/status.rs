//! What the ladders are doing, for the operator: kept by each ladder, read by pages and `/metrics`. Nothing of a ladder
//! stays when it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use crate::metrics::{self as names, Series};

/// One stream's ladder at one moment.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
pub struct LadderStatus {
    /// The stream's name.
    pub stream: String,
    /// Why the source is not offered, and what its broadcaster can do about it.
    pub advice: Option<String>,
    /// Workers' process ids.
    pub workers: Vec<u32>,
    /// Bytes of memory they hold.
    pub memory: u64,
    /// Times a worker had to be replaced.
    pub restarts: u64,
    /// Steps given up because the machine is too slow; 0 is none.
    pub given_up: usize,
    /// What went wrong last; None once it has not been so for two minutes.
    pub trouble: Option<Trouble>,
    /// From the best down.
    pub rungs: Vec<RungStatus>,
}

/// Something that goes wrong with a ladder.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Trouble {
    /// In words, without a full stop.
    pub what: String,
    /// Unix milliseconds at which it began.
    pub since_ms: u64,
    /// When it was so last.
    #[serde(skip)]
    seen: SystemTime,
}

impl Trouble {
    /// Notes that something is wrong: anew, or still.
    pub(super) fn note(trouble: &mut Option<Trouble>, what: String, now: SystemTime) {
        match trouble {
            Some(trouble) if trouble.what == what => trouble.seen = now,
            _ => {
                let since_ms = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
                *trouble = Some(Trouble { what, since_ms, seen: now });
            }
        }
    }

    /// Forgets what has not been so for some time.
    pub(super) fn settle(trouble: &mut Option<Trouble>, now: SystemTime) {
        let settled = |trouble: &Trouble| now.duration_since(trouble.seen).is_ok_and(|since| since > REMEMBERED);
        if trouble.as_ref().is_some_and(settled) {
            *trouble = None;
        }
    }
}

/// How long trouble is shown that is over: for as long as an operator takes to look.
const REMEMBERED: Duration = Duration::from_secs(120);

/// One rung at one moment.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
pub struct RungStatus {
    /// As in URLs.
    pub name: String,
    /// `cold`, `starting`, `live` or `shed`.
    pub state: &'static str,
    /// What the operator wants of it: `auto`, `start` or `stop`.
    pub order: &'static str,
    /// In pixels; 0 without pictures.
    pub width: u32,
    /// In pixels; 0 without pictures.
    pub height: u32,
    /// Bits a second that it keeps to.
    pub bitrate: u64,
    /// GStreamer's name of its encoder.
    pub encoder: String,
    /// Pictures a second, over the last seconds.
    pub fps: f64,
    /// Milliseconds of scaling and encoding per picture.
    pub encode_ms: f64,
    /// Seconds from the source's picture to the rung's.
    pub lag: f64,
    /// Pictures that wait for the encoder.
    pub queue: u32,
    /// Pictures dropped because the encoder could not follow.
    pub dropped: u64,
    /// Segment starts that no decoder can start at.
    pub misses: u64,
    /// Times its encoder failed and another was taken.
    pub fallbacks: u64,
}

/// All ladders, by stream.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<String, Arc<LadderStatus>>>);

impl Board {
    pub(super) fn show(&self, status: LadderStatus) {
        let mut ladders = self.lock();
        count(ladders.get(&status.stream).map(Arc::as_ref), &status);
        ladders.insert(status.stream.clone(), Arc::new(status));
    }

    pub(super) fn forget(&self, stream: &str) {
        self.lock().remove(stream);
    }

    pub(super) fn of(&self, stream: &str) -> Option<Arc<LadderStatus>> {
        self.lock().get(stream).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<LadderStatus>> {
        self.lock().values().cloned().collect()
    }

    /// Series of single streams, the first so many by name.
    pub(super) fn render(&self, most: usize) -> String {
        let ladders = self.all();
        let shown = || ladders.iter().take(most);
        let mut series = Series::default();
        for (name, value) in PER_RUNG {
            let rungs = shown().flat_map(|ladder| ladder.rungs.iter().map(move |rung| (ladder, rung)));
            let rungs = rungs.map(|(ladder, rung)| ([ladder.stream.as_str(), rung.name.as_str()], value(rung)));
            series.family(name, ["stream", "rung"], rungs);
        }
        for (name, value) in PER_LADDER {
            let ladders = shown().map(|ladder| ([ladder.stream.as_str()], value(ladder)));
            series.family(name, ["stream"], ladders);
        }
        series.text()
    }

    /// Brings the sums over all ladders up to date.
    pub(super) fn meter(&self) {
        let ladders = self.all();
        let rungs = || ladders.iter().flat_map(|ladder| &ladder.rungs);
        let gauge = |name, value: f64| metrics::gauge!(name).set(value);
        gauge(names::LADDERS, ladders.iter().filter(|ladder| !ladder.rungs.is_empty()).count() as f64);
        gauge(names::LADDER_WORKERS, ladders.iter().map(|ladder| ladder.workers.len()).sum::<usize>() as f64);
        gauge(names::LADDER_MEMORY, ladders.iter().map(|ladder| ladder.memory).sum::<u64>() as f64);
        gauge(names::LADDER_GIVEN_UP, ladders.iter().map(|ladder| ladder.given_up).sum::<usize>() as f64);
        gauge(names::LADDER_LAG, rungs().map(|rung| rung.lag).fold(0.0, f64::max));
        for state in STATES {
            let count = rungs().filter(|rung| rung.state == state).count();
            metrics::gauge!(names::LADDER_RUNGS, "state" => state).set(count as f64);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LadderStatus>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was counted of a ladder since it was shown last. One that began anew counts from zero.
fn count(before: Option<&LadderStatus>, now: &LadderStatus) {
    let more = |before: u64, now: u64| if now >= before { now - before } else { now };
    let counter = |name, count: u64| metrics::counter!(name).increment(count);
    counter(names::LADDER_RESTARTS, more(before.map_or(0, |ladder| ladder.restarts), now.restarts));
    for rung in &now.rungs {
        let known = before.and_then(|ladder| ladder.rungs.iter().find(|known| known.name == rung.name));
        let since = |value: fn(&RungStatus) -> u64| more(known.map_or(0, value), value(rung));
        counter(names::LADDER_FRAMES_DROPPED, since(|rung| rung.dropped));
        counter(names::LADDER_MISSES, since(|rung| rung.misses));
        counter(names::LADDER_FALLBACKS, since(|rung| rung.fallbacks));
    }
}

/// States of rungs, as [`RungStatus::state`] has them.
const STATES: [&str; 4] = ["cold", "starting", "live", "shed"];

/// A metric, and its value.
type Column<T> = (&'static str, fn(&T) -> f64);

const PER_RUNG: [Column<RungStatus>; 8] = [
    (names::RUNG_LIVE, |rung| f64::from(u8::from(rung.state == "live"))),
    (names::RUNG_FRAME_RATE, |rung| rung.fps),
    (names::RUNG_ENCODE, |rung| rung.encode_ms / 1000.0),
    (names::RUNG_LAG, |rung| rung.lag),
    (names::RUNG_QUEUE, |rung| f64::from(rung.queue)),
    (names::RUNG_DROPPED, |rung| rung.dropped as f64),
    (names::RUNG_MISSES, |rung| rung.misses as f64),
    (names::RUNG_FALLBACKS, |rung| rung.fallbacks as f64),
];

const PER_LADDER: [Column<LadderStatus>; 3] = [
    (names::STREAM_LADDER_RESTARTS, |ladder| ladder.restarts as f64),
    (names::STREAM_LADDER_MEMORY, |ladder| ladder.memory as f64),
    (names::STREAM_LADDER_GIVEN_UP, |ladder| ladder.given_up as f64),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn series_end_with_their_ladder() {
        let board = Board::default();
        let rung = RungStatus { name: "720p".into(), state: "live", fps: 29.5, ..RungStatus::default() };
        board.show(LadderStatus { stream: "show".into(), restarts: 2, rungs: vec![rung], ..LadderStatus::default() });
        let text = board.render(1);
        assert!(text.contains("headwater_stream_rung_frame_rate{stream=\"show\",rung=\"720p\"} 29.5\n"), "{text}");
        assert!(text.contains("headwater_stream_ladder_restarts_total{stream=\"show\"} 2\n"), "{text}");
        assert_eq!(board.render(0), "");
        assert_eq!(board.of("show").unwrap().restarts, 2);
        board.forget("show");
        assert!(!board.render(1).contains("show"));
    }

    #[test]
    fn trouble_is_shown_from_when_it_began_until_some_time_after_it_was_so_last() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let shown =
            |trouble: &Option<Trouble>| trouble.as_ref().map(|trouble| (trouble.what.clone(), trouble.since_ms));
        let mut trouble = None;
        Trouble::note(&mut trouble, "slow".into(), at(10));
        Trouble::note(&mut trouble, "slow".into(), at(100));
        Trouble::settle(&mut trouble, at(220));
        assert_eq!(shown(&trouble), Some(("slow".into(), 10_000)));
        Trouble::note(&mut trouble, "gone".into(), at(221));
        assert_eq!(shown(&trouble), Some(("gone".into(), 221_000)));
        Trouble::settle(&mut trouble, at(342));
        assert_eq!(shown(&trouble), None);
    }
}
