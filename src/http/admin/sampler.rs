//! What each stream did, second by second: bit rate, frame rate, key frame distance, viewers. One look at all streams a
//! second, five minutes kept of each; pages and calls read it, and [`Rows`] is made of it. Touches no frame.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::meters::Census;
use super::rows::{Row, Rows, Totals};
use super::{Operator, unix_millis};
use crate::doctor::Health;
use crate::hub::{Status, Stream};
use crate::metrics::{self, Reading};

/// A second of a stream.
#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
pub(super) struct Sample {
    /// In milliseconds of Unix time.
    t: u64,
    /// Bits of media that came in, a second.
    bitrate: u64,
    /// Pictures a second.
    fps: f64,
    /// Seconds between the two newest key frames.
    gop_s: f64,
    /// Who watched.
    viewers: u64,
}

/// What comes in now.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub(super) struct Ingest {
    /// Bits a second, over the last seconds.
    pub(super) bitrate: u64,
    /// Pictures a second, over the last seconds.
    pub(super) fps: f64,
    /// Seconds between the two newest key frames.
    pub(super) gop_s: f64,
    /// Timestamps that had to be set right.
    pub(super) repairs: u64,
    /// Frames that could not be used.
    pub(super) dropped: u64,
}

/// Everything that was sampled.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tracks: HashMap<String, Track>,
    /// What the process counted by then.
    last: Option<(Instant, Reading)>,
    cpu_percent: f64,
    /// Of the server as a whole.
    totals: VecDeque<Totals>,
}

/// One stream.
#[derive(Debug)]
struct Track {
    epoch: u64,
    /// When it was looked at, and what it had given out by then: bytes and pictures.
    looks: VecDeque<(Instant, u64, u64)>,
    ingest: Ingest,
    samples: VecDeque<Sample>,
}

impl Sampler {
    /// What comes in of a stream.
    pub(super) fn ingest(&self, stream: &str) -> Option<Ingest> {
        self.state().tracks.get(stream).map(|track| track.ingest)
    }

    /// The last five minutes of a stream, the oldest second first.
    pub(super) fn history(&self, stream: &str) -> Vec<Sample> {
        self.state().tracks.get(stream).map(|track| track.samples.iter().copied().collect()).unwrap_or_default()
    }

    /// The last five minutes of the server, the oldest second first.
    pub(super) fn totals(&self) -> Vec<Totals> {
        self.state().totals.iter().copied().collect()
    }

    /// Of one core, over the last second; beyond 100 with more cores.
    pub(super) fn cpu_percent(&self) -> f64 {
        self.state().cpu_percent
    }

    /// One look at everything.
    pub(super) fn look(&self, operator: &Operator, now: Instant) -> Rows {
        let streams = operator.hub.streams();
        let reading = metrics::read();
        let mut state = self.state();
        // The hub gives them in the order of their names.
        let is_there = |name: &str| streams.binary_search_by(|stream| stream.name().as_str().cmp(name)).is_ok();
        state.tracks.retain(|name, _| is_there(name));
        let mut rows = Vec::with_capacity(streams.len());
        let mut census = Census::default();
        for stream in &streams {
            let name = stream.name().as_str();
            let status = stream.status();
            let watching = operator.watching(name);
            let track = state.tracks.entry(name.to_owned()).or_insert_with(|| Track::new(stream));
            let bytes = track.look(stream, &status, watching.total(), now);
            let findings = operator.findings(stream, &status);
            census.add(&status, bytes, Health::of(&findings));
            rows.push(Row::new(stream, &status, track.ingest, watching.total(), &findings));
        }
        census.show();
        let totals = state.sum(&rows, reading, now);
        Rows { at_ms: unix_millis(), rows, totals }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sum(&mut self, rows: &[Row], reading: Reading, now: Instant) -> Totals {
        let mut totals = Totals {
            streams: rows.len() as u64,
            viewers: rows.iter().map(Row::viewers).sum(),
            bitrate_in: rows.iter().map(Row::bitrate).sum(),
            memory_bytes: reading.resident_bytes,
            ..Totals::default()
        };
        if let Some((at, before)) = &self.last {
            let seconds = now.saturating_duration_since(*at).as_secs_f64().max(0.001);
            let sent = reading.bytes_sent().saturating_sub(before.bytes_sent());
            totals.bitrate_out = (sent as f64 * 8.0 / seconds) as u64;
            self.cpu_percent = tenths((reading.cpu_seconds - before.cpu_seconds).max(0.0) / seconds * 100.0);
        }
        totals.cpu_percent = self.cpu_percent;
        self.last = Some((now, reading));
        if self.totals.len() == KEPT {
            self.totals.pop_front();
        }
        self.totals.push_back(totals);
        totals
    }
}

impl Track {
    fn new(stream: &Stream) -> Track {
        Track { epoch: stream.epoch(), looks: VecDeque::new(), ingest: Ingest::default(), samples: VecDeque::new() }
    }

    /// Gives the bytes that came in since the last look.
    fn look(&mut self, stream: &Stream, status: &Status, viewers: u64, now: Instant) -> u64 {
        if self.epoch != stream.epoch() {
            self.epoch = stream.epoch();
            self.looks.clear();
        }
        let before = self.looks.back().map_or(0, |(_, bytes, _)| *bytes);
        if self.looks.len() == SMOOTHED {
            self.looks.pop_front();
        }
        self.looks.push_back((now, status.bytes, status.pictures));
        let rates = match (self.looks.front(), self.looks.back()) {
            (Some((from, bytes, pictures)), Some((to, ..))) if to > from => {
                let seconds = to.saturating_duration_since(*from).as_secs_f64();
                ((status.bytes - bytes) as f64 * 8.0 / seconds, (status.pictures - pictures) as f64 / seconds)
            }
            _ => (0.0, 0.0),
        };
        let counts = &status.counts;
        self.ingest = Ingest {
            bitrate: rates.0 as u64,
            fps: tenths(rates.1),
            gop_s: tenths(status.key_interval.map_or(0.0, |interval| interval.as_secs_f64())),
            repairs: counts.backward + counts.composition + counts.jumps + counts.audio_realigned,
            dropped: counts.before_splice + counts.overlapping,
        };
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        let Ingest { bitrate, fps, gop_s, .. } = self.ingest;
        self.samples.push_back(Sample { t: unix_millis(), bitrate, fps, gop_s, viewers });
        status.bytes.saturating_sub(before)
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// How often all is looked at.
pub(super) const STEP: Duration = Duration::from_secs(1);
/// Looks that a rate is taken over: three seconds, so that 30 pictures a second are not 29 and 31 in turn.
const SMOOTHED: usize = 4;
/// Samples that are kept of a stream, and of the server: five minutes.
const KEPT: usize = 300;
