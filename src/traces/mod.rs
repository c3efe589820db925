//! Traces of single parts on their way through the server, for OpenTelemetry: received from the publisher, packaged, sent to
//! the first viewer. A leaf: the hub, `hls` and `http` say what happens when, and ask nothing back. Off, which is the default,
//! each of them reads one pointer; on, one part of many is followed, and never more than a few a second.

mod export;
mod otlp;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use export::Collector;

/// Where traces go, and how many.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of an OpenTelemetry collector, `http://HOST:PORT`.
    pub endpoint: String,
    /// One part of so many is followed.
    pub sample: u64,
}

/// A part that is followed, up to the frame that closed it.
#[derive(Clone, Debug)]
pub struct Part {
    /// The stream's name.
    pub stream: String,
    /// In URLs.
    pub epoch: u64,
    /// Of the stream.
    pub rendition: &'static str,
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Its number in the segment.
    pub part: u64,
    /// When its first frame was received.
    pub first: Instant,
    /// When the frame was received that closed it.
    pub closed: Instant,
}

impl Part {
    /// Its address.
    pub fn path(&self) -> String {
        let Part { stream, epoch, rendition, msn, part, .. } = self;
        format!("/live/{stream}/{epoch}/{rendition}/{msn}.{part}.m4s")
    }
}

/// Traces are on from now on, until the process ends. The answer sends them, for as long as it is polled; None for an
/// endpoint that is none, and where they are on already.
pub fn start(settings: &Settings) -> Option<impl Future<Output = ()> + Send + 'static> {
    let collector = Collector::at(&settings.endpoint)?;
    let traces = Arc::new(Traces::new(settings.sample));
    TRACES.set(traces.clone()).ok()?;
    Some(export::run(traces, collector))
}

/// Whether an endpoint can be understood.
pub fn is_endpoint(text: &str) -> bool {
    Collector::at(text).is_some()
}

/// Whether any part is followed.
pub fn is_on() -> bool {
    TRACES.get().is_some()
}

/// Another part is complete. True if it shall be followed.
pub fn wants_part() -> bool {
    TRACES.get().is_some_and(|traces| traces.wants(Instant::now()))
}

/// This part is being packaged.
pub fn packaging(part: Part) {
    if let Some(traces) = TRACES.get() {
        traces.follow(part, Instant::now());
    }
}

/// The part at this address is in its playlist.
pub fn packaged(path: &str) {
    if let Some(traces) = TRACES.get() {
        traces.note(path, |way| way.packaged = Some(Instant::now()));
    }
}

/// What stands at this address was handed to a viewer's connection.
pub fn sent(path: &str) {
    if let Some(traces) = TRACES.get() {
        traces.note(path, |way| way.sent = way.sent.or(Some(Instant::now())));
    }
}

static TRACES: OnceLock<Arc<Traces>> = OnceLock::new();

/// All parts that are followed.
#[derive(Debug)]
struct Traces {
    sample: u64,
    parts: AtomicU64,
    /// Of both clocks, at the start.
    began: (Instant, SystemTime),
    ways: Mutex<Ways>,
}

#[derive(Debug, Default)]
struct Ways {
    open: Vec<Way>,
    newest: Option<Instant>,
}

/// A part's way so far.
#[derive(Clone, Debug)]
struct Way {
    part: Part,
    path: String,
    packaged: Option<Instant>,
    sent: Option<Instant>,
    since: Instant,
}

/// Parts followed at a time.
const MOST: usize = 64;
/// Between one that is followed and the next.
const GAP: Duration = Duration::from_millis(250);
/// A part that no viewer asked for by then is told of without.
const PATIENCE: Duration = Duration::from_secs(10);

impl Traces {
    fn new(sample: u64) -> Traces {
        let began = (Instant::now(), SystemTime::now());
        Traces { sample: sample.max(1), parts: AtomicU64::new(0), began, ways: Mutex::default() }
    }

    fn wants(&self, now: Instant) -> bool {
        if !self.parts.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample) {
            return false;
        }
        let ways = self.ways();
        let rests = ways.newest.is_some_and(|newest| now.saturating_duration_since(newest) < GAP);
        !rests && ways.open.len() < MOST
    }

    fn follow(&self, part: Part, now: Instant) {
        let mut ways = self.ways();
        if ways.open.len() < MOST {
            ways.newest = Some(now);
            let path = part.path();
            ways.open.push(Way { part, path, packaged: None, sent: None, since: now });
        }
    }

    fn note(&self, path: &str, note: impl FnOnce(&mut Way)) {
        if let Some(way) = self.ways().open.iter_mut().find(|way| way.path == path) {
            note(way);
        }
    }

    /// Those that are done, and those that wait for a viewer for too long.
    fn done(&self, now: Instant) -> Vec<Way> {
        let over = |way: &mut Way| {
            let old = now.saturating_duration_since(way.since) > PATIENCE;
            way.packaged.is_some() && way.sent.is_some() || old
        };
        self.ways().open.extract_if(.., over).filter(|way| way.packaged.is_some()).collect()
    }

    /// Nanoseconds since 1970.
    fn wall(&self, at: Instant) -> u128 {
        let (began, wall) = self.began;
        let start = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = began.saturating_duration_since(at);
        (start + at.saturating_duration_since(began)).saturating_sub(before).as_nanos()
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(number: u64, at: Instant) -> Part {
        let stream = "show".to_owned();
        Part { stream, epoch: 7, rendition: "source", msn: 3, part: number, first: at, closed: at }
    }

    #[test]
    fn one_of_many_is_followed_and_never_more_than_a_few_a_second() {
        let (traces, start) = (Traces::new(10), Instant::now());
        let mut followed = 0;
        for number in 0..1_000 {
            let now = start + Duration::from_millis(number * 4);
            if traces.wants(now) {
                traces.follow(part(number, now), now);
                followed += 1;
            }
        }
        // 25 a second would be one of ten.
        assert!((12..=16).contains(&followed), "{followed}");
    }

    #[test]
    fn a_way_is_done_with_its_first_viewer_or_after_a_while_without() {
        let (traces, now) = (Traces::new(1), Instant::now());
        (0..3).for_each(|number| traces.follow(part(number, now), now));
        traces.note("/live/show/7/source/3.0.m4s", |way| way.sent = Some(now));
        assert!(traces.done(now).is_empty(), "a viewer may be quicker than the packager's word");
        traces.note("/live/show/7/source/3.0.m4s", |way| way.packaged = Some(now));
        traces.note("/live/show/7/source/3.1.m4s", |way| way.packaged = Some(now));
        assert_eq!(traces.done(now).len(), 1);
        let late = traces.done(now + PATIENCE + GAP);
        assert!(late.len() == 1 && late[0].part.part == 1 && late[0].sent.is_none(), "{late:?}");
        assert!(traces.ways().open.is_empty());
    }

    #[test]
    fn nothing_grows_without_bound() {
        let (traces, now) = (Traces::new(1), Instant::now());
        (0..1_000).for_each(|number| traces.follow(part(number, now), now));
        assert_eq!(traces.ways().open.len(), MOST);
        assert!(!traces.wants(now + PATIENCE));
    }
}
