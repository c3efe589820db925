//! One epoch of a live stream: its name, timeline and frame log. Publishers append through [`super::Publisher`];
//! readers open cursors on [`Stream::frames`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use metrics::Counter;
use tokio::sync::watch;

use super::ladder::Ladder;
use super::layers::Layer;
use super::log::{Entry, Log, Reader};
use super::timeline::{Counts, Placement, Timeline};
use super::{Budget, Declared, Limits, Source};
use crate::access::StreamName;
use crate::media::{Codec, Config, Frame, Kind, Loudness, Time};
use crate::traces;

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamState {
    /// A publisher is connected, but no key frame has come yet.
    Starting,
    /// Media flows.
    Live,
    /// The publisher vanished; the reconnect window runs.
    Waiting,
    /// Over.
    Ended,
}

impl StreamState {
    /// As pages, metrics and the API name it.
    pub fn name(self) -> &'static str {
        match self {
            StreamState::Starting => "starting",
            StreamState::Live => "live",
            StreamState::Waiting => "waiting",
            StreamState::Ended => "ended",
        }
    }

    /// Whether somebody publishes.
    pub fn has_publisher(self) -> bool {
        matches!(self, StreamState::Starting | StreamState::Live)
    }
}

/// Which tracks a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tracks {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

/// A stream at one moment, for pages and the API.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it is doing.
    pub state: StreamState,
    /// Who publishes, or did last.
    pub source: Source,
    /// The picture track's present configuration.
    pub video: Option<Arc<Config>>,
    /// The sound track's present configuration.
    pub audio: Option<Arc<Config>>,
    /// Publishing sessions so far in this epoch.
    pub sessions: u64,
    /// Frames given out.
    pub frames: u64,
    /// Pictures among them.
    pub pictures: u64,
    /// Payload bytes given out.
    pub bytes: u64,
    /// Time between its two newest key frames.
    pub key_interval: Option<Duration>,
    /// What the timeline repaired and dropped.
    pub counts: Counts,
    /// When the epoch began.
    pub since: SystemTime,
    /// While it waits for its publisher: since when.
    pub waiting: Option<SystemTime>,
    /// Pictures come in another order than they are shown (B-frames).
    pub reordered: bool,
    /// What the encoder says that it sends.
    pub declared: Declared,
}

/// How loud a stream was.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Of about a second.
    pub loudness: Loudness,
    /// The time of the newest frame that was heard: another measurement has another.
    pub until: Time,
    /// When it was measured.
    pub at: SystemTime,
}

/// One epoch of a stream: from its first publisher until it ends or its tracks change.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    epoch: u64,
    began: Instant,
    began_wall: SystemTime,
    reader: Reader<Frame>,
    /// Boxed, so that it goes with the stream: events of the hub hold on to the allocation that it would be in.
    live: Box<Mutex<Live>>,
    counters: [Counter; 2],
}

#[derive(Debug)]
struct Live {
    timeline: Timeline,
    /// None once the epoch is over.
    log: Option<Log<Frame>>,
    state: StreamState,
    source: Source,
    declared: Declared,
    /// The newest word for the broadcaster; goes on in the epochs that follow.
    advice: watch::Sender<Option<Arc<str>>>,
    /// The session that may push: a taken-over one may still hold a frame in its hands.
    session: u64,
    video: Option<Arc<Config>>,
    audio: Option<Arc<Config>>,
    sessions: u64,
    frames: u64,
    pictures: u64,
    bytes: u64,
    /// Time of the newest key frame, and from the one before it.
    newest_key: Option<Time>,
    key_interval: Option<Duration>,
    /// When the last frame came from a publisher.
    fed: Instant,
    /// When the last publisher vanished.
    lost: Option<SystemTime>,
    placed: Vec<Frame>,
    /// Times of the newest frames and when they came; empty where traces are off.
    received: VecDeque<(Time, Instant)>,
    /// None until it is decided on.
    ladder: watch::Sender<Option<Arc<Ladder>>>,
    /// A recent picture, as JPEG, and when it came.
    still: Option<(Bytes, SystemTime)>,
    /// How loud it was a moment ago.
    heard: Option<Arc<Heard>>,
    /// Time of the newest picture, and whether one came after that is shown before it.
    newest: Option<Time>,
    latest: Option<Time>,
    reordered: bool,
    /// How often a reader needed a key frame sooner than one would come.
    keys_wanted: u64,
    /// What the publisher sends of the same pictures, and which of them is the source.
    layers: Vec<Arc<Layer>>,
    lead: usize,
    /// Bytes that a frame log may hold, and where they are counted.
    memory: (usize, Budget),
}

/// What became of a pushed frame, for the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// In the log, or dropped and counted.
    Done,
    /// In the log, and it was the first of this epoch.
    First,
    /// This epoch cannot take it: a new one must begin.
    TracksChanged,
}

impl Stream {
    /// For the first session under a name; `memory`: bytes the frame log may hold, and where they are counted.
    pub(super) fn new(
        name: StreamName,
        epoch: u64,
        session: (u64, Source),
        timeline: Timeline,
        memory: (usize, &Budget),
    ) -> Stream {
        let ((session, source), (limit, budget)) = (session, memory);
        let log = Log::new(limit, budget);
        let began = Instant::now();
        let live = Live {
            timeline,
            state: StreamState::Starting,
            source,
            declared: Declared::default(),
            advice: watch::Sender::new(None),
            session,
            video: None,
            audio: None,
            sessions: 1,
            frames: 0,
            pictures: 0,
            bytes: 0,
            newest_key: None,
            key_interval: None,
            fed: began,
            lost: None,
            placed: Vec::new(),
            received: VecDeque::new(),
            log: None,
            newest: None,
            latest: None,
            reordered: false,
            keys_wanted: 0,
            layers: Vec::new(),
            lead: 0,
            memory: (limit, budget.clone()),
            ladder: watch::Sender::new(None),
            still: None,
            heard: None,
        };
        let reader = log.reader();
        let counter = |kind| metrics::counter!(crate::metrics::HUB_FRAMES, "kind" => kind);
        Stream {
            name,
            epoch,
            began,
            began_wall: SystemTime::now(),
            reader,
            live: Box::new(Mutex::new(Live { log: Some(log), ..live })),
            counters: [counter("video"), counter("audio")],
        }
    }

    /// The epoch that goes on for the same session when the tracks have changed.
    pub(super) fn successor(&self, epoch: u64, limits: Limits, memory: (usize, &Budget)) -> Stream {
        let live = self.live();
        let timeline = live.timeline.next_epoch(limits);
        let next = Stream::new(self.name.clone(), epoch, (live.session, live.source.clone()), timeline, memory);
        let names: Vec<String> = live.layers.iter().map(|layer| layer.name().to_owned()).collect();
        next.expect_layers(&names);
        let mut following = next.live();
        (following.declared, following.advice) = (live.declared, live.advice.clone());
        drop(following);
        next
    }

    /// The name it is published under.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// Rises each time a stream starts anew; never given twice, so that URLs with it are good for ever.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The wall-clock time of the timeline's zero: EXT-X-PROGRAM-DATE-TIME is this plus a frame's time.
    pub fn began(&self) -> SystemTime {
        self.began_wall
    }

    /// Opens readers on the frame log.
    pub fn frames(&self) -> &Reader<Frame> {
        &self.reader
    }

    /// What it is doing now.
    pub fn status(&self) -> Status {
        let live = self.live();
        Status {
            state: live.state,
            source: live.source.clone(),
            video: live.video.clone(),
            audio: live.audio.clone(),
            sessions: live.sessions,
            frames: live.frames,
            pictures: live.pictures,
            bytes: live.bytes,
            key_interval: live.key_interval,
            counts: live.timeline.counts,
            since: self.began_wall,
            waiting: live.lost.filter(|_| live.state == StreamState::Waiting),
            reordered: live.reordered,
            declared: live.declared,
        }
    }

    /// Tells the broadcaster something, where the protocol has a way to: a newer word takes the place of one that was not
    /// yet told.
    pub fn advise(&self, text: &str) {
        self.live().advice.send_replace(Some(text.into()));
    }

    pub(super) fn advice(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.live().advice.subscribe()
    }

    pub(super) fn declare(&self, declared: Declared) {
        self.live().declared = declared;
    }

    /// The rungs beside it, once they are decided on.
    pub fn ladder(&self) -> watch::Receiver<Option<Arc<Ladder>>> {
        self.live().ladder.subscribe()
    }

    /// Decides on the rungs. Once, by whoever makes them; an empty ladder where none are made.
    pub fn set_ladder(&self, ladder: Arc<Ladder>) {
        let live = self.live();
        if live.timeline.counts.forced_cuts > 0 {
            ladder.set_misfit(NO_KEY_FRAME);
        }
        if live.video.as_ref().is_some_and(|video| matches!(video.codec(), Codec::Vp8 | Codec::Vp9)) {
            ladder.set_misfit(NO_HLS_CODEC);
        }
        live.ladder.send_replace(Some(ladder));
    }

    /// The layers of a publisher that sends several, whether or not they come; else none.
    pub fn layers(&self) -> Vec<Arc<Layer>> {
        self.live().layers.clone()
    }

    /// Of the layers, the one that is the source.
    pub fn lead(&self) -> Option<Arc<Layer>> {
        let live = self.live();
        live.layers.get(live.lead).cloned()
    }

    /// The layers that come, smaller than the source, the largest first.
    pub fn layers_below(&self) -> Vec<Arc<Layer>> {
        let most = self.lead().map_or(0, |lead| lead.pixels());
        let mut below = self.layers();
        below.retain(|layer| layer.is_fresh() && (1..most).contains(&layer.pixels()));
        below.sort_by_key(|layer| std::cmp::Reverse(layer.pixels()));
        below
    }

    /// The publisher is going to send these layers.
    pub(super) fn expect_layers(&self, names: &[String]) {
        let mut live = self.live();
        let known = live.layers.iter().map(|layer| layer.name()).eq(names.iter().map(String::as_str));
        if !known {
            live.layers.drain(..).for_each(|layer| layer.close());
            let (limit, budget) = live.memory.clone();
            live.layers = names.iter().map(|name| Arc::new(Layer::new(name, limit, &budget))).collect();
            live.lead = 0;
        }
    }

    /// A picture of a layer; `leads`: it is the source's as well, where it was pushed before.
    pub(super) fn push_layer(&self, session: u64, (number, leads): (usize, bool), frame: Frame) {
        let (layer, frame) = {
            let mut live = self.live();
            if live.session != session {
                return;
            }
            if leads {
                live.lead = number;
            }
            (live.layers.get(number).cloned(), live.timeline.follow(frame))
        };
        if let (Some(layer), Some(frame)) = (layer, frame) {
            layer.push(frame);
        }
    }

    /// When a frame with this decoding time came, if it is one of the newest and traces are on.
    pub fn received(&self, dts: Time) -> Option<Instant> {
        self.live().received.iter().find(|(time, _)| *time == dts).map(|(_, at)| *at)
    }

    /// A recent picture of it, as JPEG.
    pub fn still(&self) -> Option<Bytes> {
        self.live().still.as_ref().map(|(jpeg, _)| jpeg.clone())
    }

    /// When that picture came.
    pub fn still_at(&self) -> Option<SystemTime> {
        self.live().still.as_ref().map(|(_, at)| *at)
    }

    /// Another picture of it.
    pub fn set_still(&self, jpeg: Bytes) {
        self.live().still = Some((jpeg, SystemTime::now()));
    }

    /// How loud it was when it was last measured.
    pub fn heard(&self) -> Option<Arc<Heard>> {
        self.live().heard.clone()
    }

    /// It was measured, up to the frame of this time.
    pub fn set_heard(&self, loudness: Loudness, until: Time) {
        self.live().heard = Some(Arc::new(Heard { loudness, until, at: SystemTime::now() }));
    }

    /// A reader needs a key frame sooner than one would come. Publishers that can be asked are.
    pub fn want_key_frame(&self) {
        self.live().keys_wanted += 1;
    }

    pub(super) fn keys_wanted(&self) -> u64 {
        self.live().keys_wanted
    }

    /// The latest time that any of its frames is shown or heard at.
    pub fn latest(&self) -> Option<Time> {
        self.live().latest
    }

    /// Its state alone.
    pub fn state(&self) -> StreamState {
        self.live().state
    }

    /// Another session publishes from now on.
    pub(super) fn begin_session(&self, session: u64, source: Source) {
        let mut live = self.live();
        live.session = session;
        live.timeline.begin_session();
        live.source = source;
        live.declared = Declared::default();
        live.sessions += 1;
        live.fed = Instant::now();
        live.state = if live.frames > 0 { StreamState::Waiting } else { StreamState::Starting };
    }

    /// The publisher is gone; viewers keep what there is.
    pub(super) fn lose_publisher(&self) {
        let mut live = self.live();
        if live.state != StreamState::Ended {
            live.state = StreamState::Waiting;
            live.lost = Some(SystemTime::now());
        }
    }

    /// No frame ever came out of this epoch.
    pub(super) fn is_empty(&self) -> bool {
        self.live().frames == 0
    }

    /// Something came that is no frame yet.
    pub(super) fn keep(&self) {
        self.live().fed = Instant::now();
    }

    pub(super) fn last_fed(&self) -> Instant {
        self.live().fed
    }

    /// Over: readers get what is left, then the end.
    pub(super) fn end(&self) {
        let mut live = self.live();
        live.state = StreamState::Ended;
        let log = live.log.take();
        live.layers.iter().for_each(|layer| layer.close());
        drop(live);
        drop(log);
    }

    pub(super) fn announce(&self, config: &Arc<Config>) {
        self.live().timeline.announce(config);
    }

    /// The one way in for media: place on the timeline, append, wake readers.
    pub(super) fn push(&self, session: u64, frame: Frame) -> Pushed {
        let now = Time::from_duration(self.began.elapsed());
        let mut guard = self.live();
        let live = &mut *guard;
        if live.session != session {
            return Pushed::Done;
        }
        live.fed = Instant::now();
        let before = live.timeline.counts;
        let placement = live.timeline.place(frame, now, &mut live.placed);
        if live.timeline.counts != before {
            count_repairs(&before, &live.timeline.counts);
            if live.timeline.counts.forced_cuts > before.forced_cuts
                && let Some(ladder) = &*live.ladder.borrow()
                && ladder.misfit().is_none()
            {
                tracing::warn!(stream = %self.name, "{NO_KEY_FRAME}");
                ladder.set_misfit(NO_KEY_FRAME);
            }
        }
        if placement == Placement::TracksChanged {
            return Pushed::TracksChanged;
        }
        let first = live.frames == 0 && !live.placed.is_empty();
        for frame in live.placed.drain(..) {
            let kind = frame.kind();
            self.counters[usize::from(kind == Kind::Audio)].increment(1);
            live.frames += 1;
            live.bytes += frame.payload.len() as u64;
            live.state = StreamState::Live;
            live.latest = live.latest.max(Some(frame.pts));
            if kind == Kind::Video {
                live.reordered |= live.newest.is_some_and(|newest| frame.pts < newest);
                live.newest = live.newest.max(Some(frame.pts));
                live.pictures += 1;
                if frame.key {
                    let before = live.newest_key.replace(frame.pts);
                    live.key_interval = before.map(|before| (frame.pts - before).duration()).or(live.key_interval);
                }
            }
            let config = if kind == Kind::Video { &mut live.video } else { &mut live.audio };
            if !config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.config)) {
                *config = Some(frame.config.clone());
            }
            if traces::is_on() {
                live.received.truncate(RECEIVED - 1);
                live.received.push_front((frame.dts, live.fed));
            }
            if let Some(log) = &live.log {
                log.push(frame);
            }
        }
        if first { Pushed::First } else { Pushed::Done }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frames of which it is known when they came: more than a part of the fastest source has, with its sound.
const RECEIVED: usize = 1_024;

/// What a broadcaster is told whose segments had to be cut between key frames.
const NO_KEY_FRAME: &str =
    "key frames come too far apart to switch between renditions: set the encoder's keyframe interval to 2 s";

/// What a broadcaster is told whose codec players of HLS do not take.
const NO_HLS_CODEC: &str =
    "VP8 and VP9 play over WebRTC alone: for all others the pictures are made anew; choose H.264 to save that";

impl Entry for Frame {
    fn bytes(&self) -> usize {
        self.payload.len() + size_of::<Frame>()
    }

    fn is_start(&self) -> bool {
        self.cut.is_some() || (self.key && self.kind() == Kind::Video)
    }
}

/// Rare, so the counters are looked up by name only when something had to be repaired.
fn count_repairs(before: &Counts, after: &Counts) {
    let repairs = [
        ("backward", after.backward - before.backward),
        ("composition", after.composition - before.composition),
        ("jump", after.jumps - before.jumps),
        ("audio_realigned", after.audio_realigned - before.audio_realigned),
        ("silence", after.silence - before.silence),
    ];
    for (kind, count) in repairs.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!(crate::metrics::HUB_TIMESTAMP_REPAIRS, "kind" => kind).increment(count);
    }
    let drops = [
        ("before_key_frame", after.before_splice - before.before_splice),
        ("overlapping_audio", after.overlapping - before.overlapping),
    ];
    for (reason, count) in drops.into_iter().filter(|(_, count)| *count > 0) {
        metrics::counter!(crate::metrics::HUB_FRAMES_DROPPED, "reason" => reason).increment(count);
    }
    if after.forced_cuts > before.forced_cuts {
        metrics::counter!(crate::metrics::HLS_FORCED_CUTS).increment(after.forced_cuts - before.forced_cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hub keeps thousands of events, each of which keeps so much of a stream that is long over.
    #[test]
    fn little_of_a_stream_outlives_it() {
        assert!(size_of::<Stream>() <= 160, "{} bytes", size_of::<Stream>());
        assert!(size_of::<Live>() > 2 * size_of::<Stream>());
    }
}
