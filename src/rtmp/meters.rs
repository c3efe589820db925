//! The counters of the RTMP listeners, with their handles kept, so that counting on the media path is one addition.

use metrics::{Counter, Gauge, counter, gauge};

use super::tracks::{Dropped, Reason};
use crate::metrics as names;

/// Handles of what is counted often.
pub(super) struct Meters {
    pub(super) sessions: Gauge,
    pub(super) connections: Counter,
    pub(super) bytes: Counter,
    dropped: [Counter; Reason::ALL.len()],
}

impl Meters {
    /// Looks the handles up: after the recorder of the process is there.
    pub(super) fn new() -> Meters {
        Meters {
            sessions: gauge!(names::RTMP_SESSIONS),
            connections: counter!(names::RTMP_CONNECTIONS),
            bytes: counter!(names::RTMP_BYTES_RECEIVED),
            dropped: Reason::ALL.map(|reason| counter!(names::RTMP_FRAMES_DROPPED, "reason" => reason.name())),
        }
    }

    /// Counts a connection or publisher that was refused.
    pub(super) fn refused(&self, reason: &'static str) {
        counter!(names::RTMP_REFUSED, "reason" => reason).increment(1);
    }
}

/// One session's counts that are not yet in the meters.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes read, all of them.
    pub(super) bytes: u64,
    metered_bytes: u64,
    metered_dropped: Dropped,
}

impl Tally {
    /// Counts bytes; true when there is enough to be worth a [`Tally::meter`].
    pub(super) fn add(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        self.bytes - self.metered_bytes >= BATCH
    }

    /// Moves what is new into the meters.
    pub(super) fn meter(&mut self, meters: &Meters, dropped: &Dropped) {
        meters.bytes.increment(self.bytes - self.metered_bytes);
        self.metered_bytes = self.bytes;
        if self.metered_dropped != *dropped {
            for (reason, counter) in Reason::ALL.into_iter().zip(&meters.dropped) {
                counter.increment(dropped.of(reason) - self.metered_dropped.of(reason));
            }
            self.metered_dropped = *dropped;
        }
    }
}

/// Bytes between two updates of the counters: about a second of one stream.
const BATCH: u64 = 256 * 1024;
