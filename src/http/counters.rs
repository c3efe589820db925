//! The edge's counters: handles taken once, so that counting on the hot path is one addition and builds no label.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use hyper::StatusCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::pulse::Overdue;
use super::route::Route;
use crate::metrics as names;

/// Handles of everything the edge counts.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) held: Gauge,
    /// How long each was held.
    pub(super) wait: Histogram,
    overdue: [Counter; 3],
    /// Taken when first needed: most pairs never occur, and a series of zeros says nothing.
    requests: [[OnceLock<Counter>; STATUSES.len() + 1]; KINDS.len()],
}

impl Counters {
    /// Takes the handles; the recorder must be installed by then.
    pub(super) fn new() -> Counters {
        Counters {
            connections: gauge!(names::HTTP_CONNECTIONS),
            refused: counter!(names::HTTP_CONNECTIONS_REFUSED),
            bytes_sent: counter!(names::HTTP_BYTES_SENT),
            held: gauge!(names::HTTP_HELD_REQUESTS),
            wait: histogram!(names::HTTP_WAIT),
            overdue: ["header", "idle", "write"].map(|reason| counter!(names::HTTP_OVERDUE, "reason" => reason)),
            requests: Default::default(),
        }
    }

    /// Handles that count nothing.
    pub(super) fn silent() -> Counters {
        Counters {
            connections: Gauge::noop(),
            refused: Counter::noop(),
            bytes_sent: Counter::noop(),
            held: Gauge::noop(),
            wait: Histogram::noop(),
            overdue: [Counter::noop(), Counter::noop(), Counter::noop()],
            requests: Default::default(),
        }
    }

    /// A request was answered.
    pub(super) fn request(&self, kind: Kind, status: StatusCode) {
        let column = STATUSES.iter().position(|known| *known == status.as_u16());
        let text = column.map_or("other", |column| STATUS_TEXTS[column]);
        self.requests[kind as usize][column.unwrap_or(STATUSES.len())]
            .get_or_init(|| counter!(names::HTTP_REQUESTS, "route" => KINDS[kind as usize], "status" => text))
            .increment(1);
    }

    /// A connection was ended because its peer took too long.
    pub(super) fn overdue(&self, why: Overdue) {
        self.overdue[why as usize].increment(1);
    }
}

/// Routes as they are counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Multivariant,
    Playlist,
    Media,
    Still,
    Page,
    Asset,
    Probe,
    Signalling,
    None,
}

impl From<&Route<'_>> for Kind {
    fn from(route: &Route<'_>) -> Kind {
        match route {
            Route::Multivariant { .. } => Kind::Multivariant,
            Route::Playlist { .. } => Kind::Playlist,
            Route::Media { .. } => Kind::Media,
            Route::Still { .. } => Kind::Still,
            Route::Home | Route::Watch | Route::Embed | Route::Publish => Kind::Page,
            Route::Asset(_) => Kind::Asset,
            Route::Alive | Route::Ready => Kind::Probe,
        }
    }
}

/// In the order of [`Kind`].
const KINDS: [&str; 9] = ["multivariant", "playlist", "media", "still", "page", "asset", "probe", "signalling", "none"];
const STATUSES: [u16; 19] =
    [200, 201, 204, 206, 304, 307, 400, 401, 403, 404, 405, 409, 412, 413, 414, 416, 422, 429, 503];
const STATUS_TEXTS: [&str; 19] = [
    "200", "201", "204", "206", "304", "307", "400", "401", "403", "404", "405", "409", "412", "413", "414", "416",
    "422", "429", "503",
];

/// How many connections may be open, over all threads.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    most: AtomicUsize,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { taken: AtomicUsize::new(0), most: AtomicUsize::new(most) })
    }

    /// So many from now on. Those that are taken stay taken.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes a place, if one is free; `gauge` shows it while it is taken.
    pub(super) fn take(self: &Arc<Places>, gauge: &Gauge) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.most.load(Ordering::Relaxed) {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        gauge.increment(1.0);
        Some(Place { places: self.clone(), gauge: gauge.clone() })
    }
}

/// One of the places; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    gauge: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_their_texts_agree() {
        for (status, text) in STATUSES.iter().zip(STATUS_TEXTS) {
            assert_eq!(status.to_string(), text);
        }
        assert_eq!(KINDS[Kind::None as usize], "none");
        assert_eq!(KINDS[Kind::Page as usize], "page");
    }

    #[test]
    fn places_run_out_and_come_back() {
        let places = Places::new(2);
        let gauge = Gauge::noop();
        let (first, second) = (places.take(&gauge), places.take(&gauge));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(&gauge).is_none());
        drop(first);
        places.resize(1);
        assert!(places.take(&gauge).is_none());
        places.resize(2);
        assert!(places.take(&gauge).is_some());
    }
}
