//! The table of live names: who may take one, reconnect windows, idle publishers, and the events readers follow.

use super::{PublishError, Publisher, Source, Stream};
use crate::access::StreamName;
use std::sync::Arc;
use std::time::Duration;

/// What happens when a name that has a publisher is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The newest publisher takes the name at once; the older one is told and closed.
    Newest,
    /// The older one stays; the newer one is refused with the reason.
    Reject,
}

/// The hub's bounds and policies; defaults in `config`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who wins a contested name.
    pub takeover: Takeover,
    /// How long a stream waits for a vanished publisher.
    pub reconnect_window: Duration,
    /// A publisher without media for this long is ended.
    pub media_idle: Duration,
    /// Ends the stream at once when a publisher says goodbye; else the reconnect window applies.
    pub end_on_unpublish: bool,
    /// Streams at a time.
    pub max_streams: usize,
    /// Bytes one stream's frame log may hold.
    pub stream_bytes: usize,
    /// Bytes that all frame logs and HLS windows of the process may hold.
    pub process_bytes: usize,
    /// A segment is cut at the first key frame after this time.
    pub segment_target: Duration,
    /// A segment never grows beyond this, key frame or not.
    pub segment_max: Duration,
}

/// What readers of the hub follow.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stream went live (a new epoch).
    Started(Arc<Stream>),
    /// It is over: its log is closed.
    Ended(Arc<Stream>),
}

/// The hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    _private: (),
}

impl Hub {
    /// An empty hub.
    pub fn new(_settings: Settings) -> Hub {
        Hub { _private: () }
    }

    /// Takes a live name for a new publishing session.
    pub fn publish(&self, _name: &StreamName, _source: Source) -> Result<Publisher, PublishError> {
        Err(PublishError::Draining)
    }

    /// The stream that is live, or waiting in its reconnect window, under this name.
    pub fn stream(&self, _name: &str) -> Option<Arc<Stream>> {
        None
    }

    /// All of them, by name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        Vec::new()
    }

    /// No new publishers; the present ones are told and ended.
    pub fn drain(&self) {}
}
