//! What the ladders are doing, for the operator: kept by each ladder, read by pages and `/metrics`. Nothing of a ladder
//! stays when it is over.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

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
        self.lock().insert(status.stream.clone(), Arc::new(status));
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

    /// In Prometheus' text format. Not through the recorder, which would keep the series of every stream that ever was.
    pub(super) fn render(&self) -> String {
        let ladders = self.all();
        let mut text = String::new();
        for (name, kind, about, value) in PER_RUNG {
            let _ = writeln!(text, "# HELP headwater_rung_{name} {about}\n# TYPE headwater_rung_{name} {kind}");
            for ladder in &ladders {
                for rung in &ladder.rungs {
                    let (stream, rung_name, value) = (&ladder.stream, &rung.name, value(rung));
                    let _ = writeln!(text, "headwater_rung_{name}{{stream=\"{stream}\",rung=\"{rung_name}\"}} {value}");
                }
            }
        }
        for (name, kind, about, value) in PER_LADDER {
            let _ = writeln!(text, "# HELP headwater_ladder_{name} {about}\n# TYPE headwater_ladder_{name} {kind}");
            for ladder in &ladders {
                let _ = writeln!(text, "headwater_ladder_{name}{{stream=\"{}\"}} {}", ladder.stream, value(ladder));
            }
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LadderStatus>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Series<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

const PER_RUNG: [Series<RungStatus>; 8] = [
    ("live", "gauge", "1 while its frames come.", |rung| f64::from(u8::from(rung.state == "live"))),
    ("fps", "gauge", "Pictures a second.", |rung| rung.fps),
    ("encode_seconds", "gauge", "Scaling and encoding, per picture.", |rung| rung.encode_ms / 1000.0),
    ("lag_seconds", "gauge", "From the source's picture to the rung's.", |rung| rung.lag),
    ("queue", "gauge", "Pictures that wait for the encoder.", |rung| f64::from(rung.queue)),
    ("dropped_total", "counter", "Pictures dropped because the encoder could not follow.", |rung| rung.dropped as f64),
    ("misses_total", "counter", "Segment starts that no decoder can start at.", |rung| rung.misses as f64),
    ("fallbacks_total", "counter", "Times its encoder failed and another was taken.", |rung| rung.fallbacks as f64),
];

const PER_LADDER: [Series<LadderStatus>; 3] = [
    ("restarts_total", "counter", "Times a worker had to be replaced.", |ladder| ladder.restarts as f64),
    ("memory_bytes", "gauge", "Memory that its workers hold.", |ladder| ladder.memory as f64),
    ("given_up_steps", "gauge", "Steps given up because the machine is too slow.", |ladder| ladder.given_up as f64),
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
        let text = board.render();
        assert!(text.contains("headwater_rung_fps{stream=\"show\",rung=\"720p\"} 29.5\n"), "{text}");
        assert!(text.contains("headwater_ladder_restarts_total{stream=\"show\"} 2\n"), "{text}");
        assert_eq!(board.of("show").unwrap().restarts, 2);
        board.forget("show");
        assert!(!board.render().contains("show"));
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
