//! One session: its transport and its media, whichever way it goes. Made by an offer, adopted by the worker that the peer's
//! first request reaches, driven by it from then on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::Span;
use tracing::span::EnteredSpan;

use super::ice::Path;
use super::playing::Playing;
use super::publishing::Publishing;
use super::snapshot::Snapshot;
use super::transport::Transport;

/// The session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    /// Names it in every log line that is about it.
    pub(super) span: Span,
    pub(super) transport: Transport,
    pub(super) media: Media,
    pub(super) shown: Shown,
    pub(super) began: Instant,
    /// Our user fragments that lead to it, the newest last.
    pub(super) fragments: Vec<String>,
    /// The proven paths that its worker knows of.
    pub(super) paths: Vec<Path>,
    pub(super) is_connected: bool,
    /// It waits for something that time alone brings.
    pub(super) is_hot: bool,
}

/// Which way media goes.
#[derive(Debug)]
pub(super) enum Media {
    /// From a publisher.
    In(Box<Publishing>),
    /// To a viewer.
    Out(Box<Playing>),
}

/// What others are shown of a session.
#[derive(Clone, Debug)]
pub(super) struct Shown(Arc<Mutex<Snapshot>>);

impl Shown {
    /// From now on.
    pub(super) fn new(snapshot: Snapshot) -> Shown {
        Shown(Arc::new(Mutex::new(snapshot)))
    }

    /// As it is now.
    pub(super) fn get(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Session {
    /// Within the span, for publishers: what comes of them reaches the hub, which has something to say. Viewers are many, and
    /// enter it where something is said.
    pub(super) fn publishing_span(&self) -> Option<EnteredSpan> {
        matches!(self.media, Media::In(_)).then(|| self.span.clone().entered())
    }

    /// Brings what others are shown up to date.
    pub(super) fn show(&self) {
        let path = self.transport.path().map(|path| {
            let protocol = if path.tcp.is_some() { "tcp" } else { "udp" };
            format!("{protocol} {}", path.remote)
        });
        let seconds = self.began.elapsed().as_secs();
        self.shown.change(|shot| {
            (shot.path, shot.seconds) = (path, seconds);
            if self.is_connected {
                "connected".clone_into(&mut shot.state);
            }
            match &self.media {
                Media::In(publishing) => publishing.snapshot(shot),
                Media::Out(playing) => playing.snapshot(shot),
            }
        });
    }
}
