//! The renditions that a worker's viewers watch: the frame log of each is followed once, and its packets are kept once.
//! Owned by `worker`.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::viewer::FeedId;
use super::wall_stamp;
use crate::hub::{Cursor, From, Ladder, Layer, Rung, Stream};
use crate::media::{Frame, Kind, Time};

/// Which frames of a stream.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// As the publisher sends them.
    Source,
    /// As the publisher sends them in a smaller layer, and the layer's name in URLs.
    Layer(Arc<Layer>, String),
    /// As a rung of the ladder has them.
    Rung(Arc<Ladder>, Arc<Rung>),
}

impl Origin {
    /// As URLs and pages name it.
    pub(super) fn name(&self) -> &str {
        match self {
            Origin::Source => "source",
            Origin::Layer(_, name) => name,
            Origin::Rung(_, rung) => &rung.spec().name,
        }
    }

    /// Somebody wants it.
    pub(super) fn ask(&self) {
        if let Origin::Rung(ladder, rung) = self {
            ladder.ask_for_only(rung);
        }
    }

    /// Bits a second of its pictures and their sound, as far as that is known before they come.
    pub(super) fn bits(&self, stream: &Stream) -> f64 {
        let status = stream.status();
        let sound = if status.audio.is_some() { SOUND } else { 0.0 };
        match self {
            Origin::Layer(layer, _) => layer.bits() + sound,
            Origin::Source => match stream.lead() {
                Some(lead) => lead.bits() + sound,
                None => {
                    let seconds = status.since.elapsed().map_or(0.0, |since| since.as_secs_f64());
                    status.bytes as f64 * 8.0 / seconds.max(1.0)
                }
            },
            Origin::Rung(_, rung) => {
                let pictures = rung.spec().pictures.as_ref().map_or(0, |pictures| pictures.bitrate);
                pictures as f64 + sound
            }
        }
    }
}

/// One rendition.
#[derive(Debug)]
pub(super) struct Feed {
    stream: Arc<Stream>,
    origin: Origin,
    video: Lane,
    audio: Lane,
    /// Shared, so that sending to all of them can change the rest of the worker.
    viewers: Rc<Vec<usize>>,
    left: Instant,
    /// Reads on from what the lanes have; taken by the task that follows.
    cursor: Option<Cursor<Frame>>,
}

/// All renditions of a worker.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    feeds: HashMap<FeedId, Feed>,
    next: FeedId,
    /// Opened, and not followed yet.
    pub(super) starting: Vec<FeedId>,
}

impl Feeds {
    /// A session watches a rendition from now on: its feed, which is opened where there is none.
    pub(super) fn join(&mut self, stream: &Arc<Stream>, origin: &Origin, session: usize) -> FeedId {
        origin.ask();
        let id = self.open(stream, origin);
        if let Some(feed) = self.feeds.get_mut(&id)
            && !feed.viewers.contains(&session)
        {
            Rc::make_mut(&mut feed.viewers).push(session);
        }
        id
    }

    fn open(&mut self, stream: &Arc<Stream>, origin: &Origin) -> FeedId {
        let same = |feed: &Feed| feed.stream.epoch() == stream.epoch() && feed.origin.name() == origin.name();
        let known = |(_, feed): &(&FeedId, &Feed)| same(feed) && feed.stream.name() == stream.name();
        if let Some((id, _)) = self.feeds.iter().find(known) {
            return *id;
        }
        self.next += 1;
        let lane = |kind| Lane::new(kind, wall_stamp(stream.began(), kind));
        let mut feed = Feed {
            stream: stream.clone(),
            origin: origin.clone(),
            video: lane(Kind::Video),
            audio: lane(Kind::Audio),
            viewers: Rc::default(),
            left: Instant::now(),
            cursor: None,
        };
        // What is there already, so that the first viewer begins as any other does.
        let mut cursor = feed.reader();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Ok(Some(frame))) = cursor.poll_next(&mut context) {
            feed.push(&frame);
        }
        feed.cursor = Some(cursor);
        self.feeds.insert(self.next, feed);
        self.starting.push(self.next);
        self.next
    }

    /// What reads on from where a feed has been read to. Once.
    pub(super) fn cursor(&mut self, id: FeedId) -> Option<Cursor<Frame>> {
        self.feeds.get_mut(&id)?.cursor.take()
    }

    /// The packets of one kind.
    pub(super) fn lane(&self, id: FeedId, kind: Kind) -> Option<&Lane> {
        let feed = self.feeds.get(&id)?;
        Some(if kind == Kind::Video { &feed.video } else { &feed.audio })
    }

    /// A frame of a feed.
    pub(super) fn push(&mut self, id: FeedId, frame: &Frame) {
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.push(frame);
        }
    }

    /// Whether a frame comes so long after the source's that nobody can use it.
    pub(super) fn is_late(&self, id: FeedId, frame: &Frame) -> bool {
        let Some(feed) = self.feeds.get(&id) else { return true };
        matches!(feed.origin, Origin::Rung(..)) && feed.stream.latest().is_some_and(|newest| newest - frame.pts > LATE)
    }

    /// Who watches a feed.
    pub(super) fn viewers(&self, id: FeedId) -> Rc<Vec<usize>> {
        self.feeds.get(&id).map(|feed| feed.viewers.clone()).unwrap_or_default()
    }

    /// A session watches nothing any more.
    pub(super) fn leave(&mut self, session: usize) {
        for feed in self.feeds.values_mut().filter(|feed| feed.viewers.contains(&session)) {
            Rc::make_mut(&mut feed.viewers).retain(|viewer| *viewer != session);
            feed.left = Instant::now();
        }
    }

    /// A session goes over from a feed to another.
    pub(super) fn part(&mut self, id: FeedId, session: usize) {
        if let Some(feed) = self.feeds.get_mut(&id) {
            Rc::make_mut(&mut feed.viewers).retain(|viewer| *viewer != session);
            feed.left = Instant::now();
        }
    }

    /// A viewer of a feed needs a key frame that is not there.
    pub(super) fn want_key(&self, id: FeedId) {
        if let Some(Feed { origin: Origin::Source | Origin::Layer(..), stream, .. }) = self.feeds.get(&id) {
            stream.want_key_frame();
        }
    }

    /// Nothing comes of it any more, though its stream goes on.
    pub(super) fn is_dry(&self, id: FeedId) -> bool {
        matches!(self.feeds.get(&id), Some(Feed { origin: Origin::Layer(layer, _), .. }) if !layer.is_fresh())
    }

    /// Keeps the rungs that are watched alive; names the feeds that nobody has watched for a while.
    pub(super) fn idle(&self, now: Instant) -> Vec<FeedId> {
        for feed in self.feeds.values().filter(|feed| !feed.viewers.is_empty()) {
            feed.origin.ask();
        }
        let idle = |feed: &Feed| feed.viewers.is_empty() && now.saturating_duration_since(feed.left) > IDLE;
        self.feeds.iter().filter(|(_, feed)| idle(feed)).map(|(id, _)| *id).collect()
    }

    /// Forgets a feed.
    pub(super) fn close(&mut self, id: FeedId) {
        self.feeds.remove(&id);
    }

    /// The name of a feed's rendition.
    pub(super) fn name(&self, id: FeedId) -> Option<&str> {
        self.feeds.get(&id).map(|feed| feed.origin.name())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }
}

impl Feed {
    fn reader(&self) -> Cursor<Frame> {
        match &self.origin {
            Origin::Source => self.stream.frames().cursor(From::NewestStart),
            Origin::Layer(layer, _) => layer.frames().cursor(From::NewestStart),
            Origin::Rung(_, rung) => rung.frames().cursor(From::NewestStart),
        }
    }

    fn push(&mut self, frame: &Frame) {
        match frame.kind() {
            Kind::Video => self.video.push(frame),
            Kind::Audio => self.audio.push(frame),
        }
    }
}

/// Bits a second of the sound that goes with a rung.
const SOUND: f64 = 128_000.0;
/// More than pictures wait for an encoder.
const LATE: Time = Time::from_millis(400);
/// A feed that nobody watches is followed for so long: viewers come and go.
const IDLE: Duration = Duration::from_secs(5);
