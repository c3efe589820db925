//! The list of streams as the operator's page follows it: all rows first, then those that changed, once a second. A
//! message is rendered once and its bytes are given to everybody who listens.

use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::sampler::Ingest;
use crate::doctor::{Finding, Health};
use crate::hub::{Status, Stream, StreamState};

/// All streams at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rows {
    pub(super) at_ms: u64,
    pub(super) rows: Vec<Row>,
    pub(super) totals: Totals,
}

/// A stream in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    name: String,
    state: &'static str,
    protocol: &'static str,
    since_ms: u64,
    bitrate: u64,
    fps: f64,
    viewers: u64,
    health: Health,
    /// The worst of what is wrong.
    finding: Option<String>,
    /// When its picture came.
    still_ms: Option<u64>,
}

/// The server as a whole.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub(super) struct Totals {
    pub(super) streams: u64,
    pub(super) viewers: u64,
    /// Bits of media that came in, a second.
    pub(super) bitrate_in: u64,
    /// Bits that went out, a second.
    pub(super) bitrate_out: u64,
    /// Of one core.
    pub(super) cpu_percent: f64,
    /// Resident.
    pub(super) memory_bytes: u64,
}

/// One second's message, for those who have the one before and for those who have not.
#[derive(Debug, Default)]
pub(super) struct Tick {
    pub(super) number: u64,
    all: Rows,
    changes: Bytes,
    whole: OnceLock<Bytes>,
}

/// The messages as they come. Who is slow misses some, and is given all rows then.
#[derive(Clone, Debug)]
pub(super) struct Board(watch::Sender<Arc<Tick>>);

impl Rows {
    /// The row of a stream. The hub gives streams in the order of their names.
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.binary_search_by(|row| row.name.as_str().cmp(name)).ok().and_then(|at| self.rows.get(at))
    }
}

impl Row {
    pub(super) fn new(stream: &Stream, status: &Status, ingest: Ingest, viewers: u64, findings: &[Finding]) -> Row {
        let worst = findings.iter().max_by_key(|finding| finding.severity);
        let millis = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as u64);
        let live = status.state == StreamState::Live;
        Row {
            name: stream.name().to_string(),
            state: status.state.name(),
            protocol: status.source.protocol,
            since_ms: millis(status.since),
            // To ten kilobits: a row that trembles is a row to be sent.
            bitrate: if live { ingest.bitrate.div_ceil(10_000) * 10_000 } else { 0 },
            fps: if live { ingest.fps } else { 0.0 },
            viewers,
            health: Health::of(findings),
            finding: worst.map(|finding| finding.text.clone()),
            still_ms: stream.still_at().map(millis),
        }
    }

    pub(super) fn viewers(&self) -> u64 {
        self.viewers
    }

    pub(super) fn bitrate(&self) -> u64 {
        self.bitrate
    }
}

impl Tick {
    /// The message for who has seen the tick of this number last.
    pub(super) fn message(&self, seen: Option<u64>) -> Bytes {
        match seen {
            Some(seen) if seen + 1 == self.number => self.changes.clone(),
            _ => self.whole.get_or_init(|| message(&self.all, &[])).clone(),
        }
    }

    fn next(&self, all: Rows) -> Tick {
        let changed = all.rows.iter().filter(|row| self.all.row(&row.name) != Some(row)).cloned().collect();
        let is_gone = |row: &&Row| all.row(&row.name).is_none();
        let gone: Vec<&str> = self.all.rows.iter().filter(is_gone).map(|row| row.name.as_str()).collect();
        let changes = message(&Rows { rows: changed, at_ms: all.at_ms, totals: all.totals }, &gone);
        Tick { number: self.number + 1, changes, all, whole: OnceLock::new() }
    }
}

impl Board {
    pub(super) fn new() -> Board {
        Board(watch::Sender::new(Arc::new(Tick::default())))
    }

    /// The next second.
    pub(super) fn show(&self, rows: Rows) {
        let next = self.0.borrow().next(rows);
        self.0.send_replace(Arc::new(next));
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<Tick>> {
        self.0.subscribe()
    }
}

/// A server-sent event.
fn message(rows: &Rows, gone: &[&str]) -> Bytes {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(flatten)]
        rows: &'a Rows,
        gone: &'a [&'a str],
    }
    // Plain values: this cannot fail.
    let text = serde_json::to_string(&Message { rows, gone }).unwrap_or_default();
    format!("event: rows\ndata: {text}\n\n").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(name: &str, bitrate: u64) -> Row {
        Row {
            name: name.to_owned(),
            state: "live",
            protocol: "rtmp",
            since_ms: 1,
            bitrate,
            fps: 30.0,
            viewers: 2,
            health: Health::Good,
            finding: None,
            still_ms: None,
        }
    }

    fn names(message: &Bytes) -> (Vec<String>, Vec<String>) {
        let text = std::str::from_utf8(message).unwrap();
        let data = text.strip_prefix("event: rows\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let rows = data["rows"].as_array().unwrap().iter().map(|row| text(&row["name"])).collect();
        (rows, data["gone"].as_array().unwrap().iter().map(text).collect())
    }

    #[test]
    fn only_what_changed_is_sent_to_who_has_the_rest() {
        let board = Board::new();
        let show = |rows: &[Row]| board.show(Rows { rows: rows.to_vec(), ..Rows::default() });
        show(&[row("a", 1), row("b", 1), row("c", 1)]);
        let first = board.follow().borrow().number;
        show(&[row("a", 1), row("b", 2), row("d", 1)]);
        let tick = board.follow().borrow().clone();
        assert_eq!(names(&tick.message(Some(first))), (vec!["b".into(), "d".into()], vec!["c".into()]));
        // Who comes anew, or has missed some, is given all.
        for seen in [None, Some(first - 1)] {
            assert_eq!(names(&tick.message(seen)), (vec!["a".into(), "b".into(), "d".into()], vec![]));
        }
    }
}
