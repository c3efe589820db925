//! The writing end of a stream: [`Publisher`], owned by one ingest session. Dropping it tells the hub that the
//! publisher vanished.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::stream::Pushed;
use super::{Hub, Stream};
use crate::access::KeyId;
use crate::media::{Config, Frame};

/// Who publishes, for logs, pages and takeover texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `rtmp`, `rtmps`, `whip`.
    pub protocol: &'static str,
    /// The far end of the connection.
    pub peer: SocketAddr,
    /// What the client calls itself: RTMP flashVer, HTTP User-Agent. Cut to 128 characters by the ingest.
    pub client: String,
    /// The key that let it in, if one did.
    pub key: Option<KeyId>,
}

/// What an encoder says of the stream that it sends (`onMetaData`). Nothing depends on it being true.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Declared {
    /// In pixels.
    pub width: Option<f64>,
    /// In pixels.
    pub height: Option<f64>,
    /// Pictures a second.
    pub frame_rate: Option<f64>,
    /// Bits a second of pictures.
    pub video_bitrate: Option<f64>,
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
    /// The operator ended it, and said why.
    #[error("{0}")]
    Kicked(String),
    /// The key that let it in is none any more.
    #[error("the stream key was revoked; ask whoever runs this server for a new one")]
    Revoked,
    /// The server drains.
    #[error("the server is shutting down; connect again in a moment")]
    Draining,
}

/// One publishing session. Dropping it says that the publisher vanished: the stream waits for the reconnect window.
#[derive(Debug)]
pub struct Publisher {
    hub: Hub,
    stream: Arc<Stream>,
    session: u64,
    ended: watch::Receiver<Option<Ended>>,
    advice: watch::Receiver<Option<Arc<str>>>,
    finished: bool,
}

impl Publisher {
    pub(super) fn new(hub: Hub, stream: Arc<Stream>, session: u64, ended: watch::Receiver<Option<Ended>>) -> Publisher {
        let advice = stream.advice();
        Publisher { hub, stream, session, ended, advice, finished: false }
    }

    /// Announces a track before its first frame (a sequence header came), so that the stream knows what to wait for.
    pub fn announce(&mut self, config: Arc<Config>) {
        self.stream.announce(&config);
    }

    /// The encoder says what it sends.
    pub fn declare(&mut self, declared: Declared) {
        self.stream.declare(declared);
    }

    /// Stamps a frame onto the stream's timeline, appends it and wakes readers. Cannot block. Frames of bad timing
    /// are repaired or dropped and counted; an error means that the session has been ended.
    pub fn push(&mut self, frame: Frame) -> Result<(), Ended> {
        if let Some(ended) = &*self.ended.borrow() {
            return Err(ended.clone());
        }
        match self.stream.push(self.session, frame.clone()) {
            Pushed::Done => {}
            Pushed::First => self.hub.went_live(&self.stream),
            Pushed::TracksChanged => {
                if let Some(stream) = self.hub.next_epoch(&self.stream, self.session) {
                    self.stream = stream;
                    if self.stream.push(self.session, frame) == Pushed::First {
                        self.hub.went_live(&self.stream);
                    }
                }
            }
        }
        Ok(())
    }

    /// Media comes, though no frame can be made of it yet: the name is not idle.
    pub fn keep(&self) {
        self.stream.keep();
    }

    /// Several layers of the same pictures will come, with the names that the publisher gives them.
    pub fn expect_layers(&mut self, names: &[String]) {
        self.stream.expect_layers(names);
    }

    /// A picture of one of those layers, by its place among them; `leads`: it has been pushed as the source's as well.
    pub fn push_layer(&mut self, number: usize, leads: bool, frame: Frame) {
        self.stream.push_layer(self.session, (number, leads), frame);
    }

    /// Resolves when the hub ends this session. Cancel-safe: await it in the session's `select!`.
    pub async fn ended(&mut self) -> Ended {
        match self.ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ended::Draining),
            Err(_) => Ended::Draining,
        }
    }

    /// Resolves with the next advice for the broadcaster, who goes on publishing, or with the session's end. Cancel-safe.
    pub async fn word(&mut self) -> Result<Arc<str>, Ended> {
        let Publisher { advice, ended, .. } = self;
        let advised = async {
            // A sender that is gone goes with the stream, which ends the session.
            while advice.changed().await.is_ok() {
                if let Some(text) = &*advice.borrow_and_update() {
                    return text.clone();
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            ended = ended.wait_for(Option::is_some) => {
                Err(ended.map_or(Ended::Draining, |ended| ended.clone().unwrap_or(Ended::Draining)))
            }
            advice = advised => Ok(advice),
        }
    }

    /// Why the hub ended this session, if it has.
    pub fn has_ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// How often readers needed a key frame sooner than one would come: more than before is a request.
    pub fn keys_wanted(&self) -> u64 {
        self.stream.keys_wanted()
    }

    /// The publisher said goodbye: by default the stream ends at once (see `hub.on_unpublish`).
    pub fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.hub.lost_publisher(self.stream.name(), self.session, self.finished);
    }
}
