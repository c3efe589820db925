//! The writing end of a stream: [`Publisher`], owned by one ingest session.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::media::Frame;

/// Who publishes, for logs, pages and takeover texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `rtmp`, `rtmps`, `whip`.
    pub protocol: &'static str,
    /// The far end of the connection.
    pub peer: SocketAddr,
    /// What the client calls itself: RTMP flashVer, HTTP User-Agent. Cut to 128 characters by the ingest.
    pub client: String,
}

/// Why a name was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Somebody publishes under it and the policy is `reject`.
    #[error(
        "stream \"{name}\" is already being published from {by}; stop that publisher, or set hub.takeover = \"newest\""
    )]
    Busy {
        /// The name.
        name: String,
        /// The publisher that holds it.
        by: SocketAddr,
    },
    /// `hub.max_streams` are live.
    #[error("the server carries {0} streams and takes no more (hub.max_streams)")]
    Full(usize),
    /// The server is draining.
    #[error("the server is shutting down; connect again in a moment")]
    Draining,
}

/// Why the hub ended a publisher's session. The texts are shown to the broadcaster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// A newer publisher took the name.
    #[error("another publisher from {0} took over this stream")]
    TakenOver(SocketAddr),
    /// No frame came for the media idle time.
    #[error("no media for {0} seconds; the stream key is free again")]
    Idle(u64),
    /// The server drains.
    #[error("the server is shutting down; connect again in a moment")]
    Draining,
}

/// One publishing session. Dropping it says that the publisher vanished: the stream waits for the reconnect window.
#[derive(Debug)]
pub struct Publisher {
    _private: (),
}

impl Publisher {
    /// Announces a track before its first frame (a sequence header came), so that the stream knows what to wait for.
    pub fn announce(&mut self, _config: Arc<crate::media::Config>) {}

    /// Stamps a frame onto the stream's timeline, appends it and wakes readers. Cannot block. Frames of bad timing
    /// are repaired or dropped and counted; an error means that the session has been ended.
    pub fn push(&mut self, _frame: Frame) -> Result<(), Ended> {
        Ok(())
    }

    /// Resolves when the hub ends this session. Cancel-safe: await it in the session's `select!`.
    pub async fn ended(&mut self) -> Ended {
        std::future::pending().await
    }

    /// The publisher said goodbye: by default the stream ends at once (see `hub.on_unpublish`).
    pub fn finish(self) {}
}
