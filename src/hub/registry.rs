//! The table of live names: who may take one, reconnect windows, idle publishers, and the events that readers follow.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::diary::Diary;
use super::log::{Cursor, Entry, From, Log};
use super::timeline::Timeline;
use super::{Budget, Ended, Ladder, Limits, PublishError, Publisher, Source, Stream};
use crate::access::{KeyId, StreamName};
use crate::current::Current;
use crate::events::Events;
use crate::media::Time;

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
    /// Somebody decides on a ladder for every stream; else none has any.
    pub ladders: bool,
}

/// What readers of the hub follow. Events outlive their streams, so they hold none of them in memory.
#[derive(Clone, Debug)]
pub enum Event {
    /// A stream went live: its first frame is in the log. A new epoch. Gone if it was over at once.
    Started(Weak<Stream>),
    /// It is over: its log is closed.
    Ended(Weak<Stream>),
}

/// The hub. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Current<Settings>,
    budget: Budget,
    events: Log<Event>,
    diary: Diary,
    epoch: AtomicU64,
    session: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<StreamName, Slot>,
    draining: bool,
}

/// A name that is taken: by a publisher, or by a stream that waits for one.
#[derive(Debug)]
struct Slot {
    stream: Arc<Stream>,
    holder: Option<Holder>,
    vanished: Instant,
}

#[derive(Debug)]
struct Holder {
    session: u64,
    source: Source,
    ended: watch::Sender<Option<Ended>>,
    /// Of its session: what is said about it elsewhere names it too.
    span: tracing::Span,
}

impl Slot {
    /// Ends the publisher, if there is one.
    fn dismiss(&mut self, why: Ended, diary: &Diary) -> bool {
        let Some(holder) = self.holder.take() else { return false };
        diary.gone(self.stream.name().as_str(), &why.to_string());
        holder.span.in_scope(|| tracing::info!(stream = %self.stream.name(), %why, "publisher is ended"));
        holder.ended.send_replace(Some(why));
        self.vanished = Instant::now();
        self.stream.lose_publisher();
        true
    }
}

/// Events that wait for a slow reader: more than a burst of starts and ends of every stream the default allows.
const EVENTS_KEPT: usize = 4096;
/// How often idle publishers and reconnect windows are looked at.
const SWEEP: Duration = Duration::from_millis(200);

impl Hub {
    /// An empty hub that tells nobody what happens in it.
    pub fn new(settings: Settings) -> Hub {
        Hub::telling(settings, Events::new())
    }

    /// An empty hub that tells what happens in it.
    pub fn telling(settings: Settings, told: Events) -> Hub {
        let budget = Budget::new(settings.process_bytes);
        // Events are counted, not weighed: a budget of their own.
        let events = Log::new(EVENTS_KEPT, &Budget::new(EVENTS_KEPT));
        let shared = Shared {
            settings: Current::new(settings),
            budget,
            events,
            diary: Diary(told),
            epoch: AtomicU64::new(0),
            session: AtomicU64::new(0),
            table: Mutex::default(),
        };
        Hub { shared: Arc::new(shared) }
    }

    /// Other policies and bounds: at once for names and for memory as a whole; memory of one stream and the lengths of
    /// segments from the next start of a stream on.
    pub fn apply(&self, settings: Settings) {
        self.shared.budget.set_limit(settings.process_bytes);
        self.shared.settings.set(settings);
    }

    /// Takes a live name for a new publishing session.
    pub fn publish(&self, name: &StreamName, source: Source) -> Result<Publisher, PublishError> {
        let mut table = self.table();
        if table.draining {
            return Err(PublishError::Draining);
        }
        let most = self.settings().max_streams;
        if !table.names.contains_key(name) && table.names.len() >= most {
            return Err(PublishError::Full(most));
        }
        let session = self.shared.session.fetch_add(1, Ordering::Relaxed) + 1;
        let (tell, ended) = watch::channel(None);
        let holder = Holder { session, source: source.clone(), ended: tell, span: tracing::Span::current() };
        let stream = match table.names.get_mut(name) {
            Some(slot) => {
                let instead = slot.holder.is_some();
                self.take_over(name, slot, holder)?;
                self.shared.diary.connected(name.as_str(), &source, instead);
                slot.stream.begin_session(session, source);
                slot.stream.clone()
            }
            None => {
                self.shared.diary.connected(name.as_str(), &source, false);
                let stream = self.prepared(self.new_stream(name, session, source));
                let slot = Slot { stream: stream.clone(), holder: Some(holder), vanished: Instant::now() };
                table.names.insert(name.clone(), slot);
                stream
            }
        };
        Ok(Publisher::new(self.clone(), stream, session, ended))
    }

    /// Whether [`Hub::publish`] would give this name now, without taking it from anybody.
    pub fn may_publish(&self, name: &StreamName) -> Result<(), PublishError> {
        let table = self.table();
        if table.draining {
            return Err(PublishError::Draining);
        }
        let settings = self.settings();
        match table.names.get(name) {
            None if table.names.len() >= settings.max_streams => Err(PublishError::Full(settings.max_streams)),
            Some(Slot { holder: Some(holder), .. }) if settings.takeover == Takeover::Reject => {
                Err(PublishError::Busy { name: name.to_string(), by: holder.source.peer })
            }
            _ => Ok(()),
        }
    }

    /// The stream that is live, or waiting in its reconnect window, under this name.
    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        let name = StreamName::new(name).ok()?;
        self.table().names.get(&name).map(|slot| slot.stream.clone())
    }

    /// All of them, by name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams: Vec<_> = self.table().names.values().map(|slot| slot.stream.clone()).collect();
        streams.sort_by(|a, b| a.name().cmp(b.name()));
        streams
    }

    /// Follows what happens from now on. After a lag, ask [`Hub::streams`].
    pub fn events(&self) -> Cursor<Event> {
        self.shared.events.reader().cursor(From::Next)
    }

    /// The process's count of media bytes in memory.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// An epoch that was never given before, also not by an earlier run of the server: it grows from the wall clock.
    pub fn fresh_epoch(&self) -> u64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let next = |last: u64| Some(wall.max(last + 1));
        let last = self.shared.epoch.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(wall);
        wall.max(last + 1)
    }

    /// No new publishers; the present ones are told and ended, and their streams end.
    pub fn drain(&self) {
        let mut table = self.table();
        table.draining = true;
        let slots: Vec<Slot> = table.names.drain().map(|(_, slot)| slot).collect();
        drop(table);
        for slot in slots {
            if let Some(holder) = &slot.holder {
                holder.ended.send_replace(Some(Ended::Draining));
            }
            self.end(&slot.stream);
        }
    }

    /// Ends idle publishers and streams whose reconnect window is over, until stopped. Run once per hub.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.sweep(Instant::now());
        }
    }

    /// One look at all names at `now`.
    pub fn sweep(&self, now: Instant) {
        let mut over = Vec::new();
        let settings = self.settings();
        let mut table = self.table();
        for slot in table.names.values_mut() {
            free_if_idle(slot, now, settings.media_idle, &self.shared.diary);
        }
        table.names.retain(|_, slot| {
            let keep = slot.holder.is_some()
                || (!slot.stream.is_empty()
                    && now.saturating_duration_since(slot.vanished) < settings.reconnect_window);
            if !keep {
                over.push(slot.stream.clone());
            }
            keep
        });
        drop(table);
        over.iter().for_each(|stream| self.end(stream));
    }

    /// Ends the publisher of a stream and tells it why; the stream waits for it, or for another. False where nobody publishes.
    pub fn kick(&self, name: &str, reason: &str) -> bool {
        let Ok(name) = StreamName::new(name) else { return false };
        let mut table = self.table();
        table
            .names
            .get_mut(&name)
            .is_some_and(|slot| slot.dismiss(Ended::Kicked(reason.to_owned()), &self.shared.diary))
    }

    /// Ends a stream at once, and its publisher, which is told why. False for no stream.
    pub fn finish(&self, name: &str, reason: &str) -> bool {
        let Ok(name) = StreamName::new(name) else { return false };
        let Some(mut slot) = self.table().names.remove(&name) else { return false };
        slot.dismiss(Ended::Kicked(reason.to_owned()), &self.shared.diary);
        self.end(&slot.stream);
        true
    }

    /// Ends publishers whose keys are gone; how many.
    pub fn end_keys(&self, gone: impl Fn(&KeyId) -> bool) -> usize {
        let mut table = self.table();
        let has_gone =
            |slot: &&mut Slot| slot.holder.as_ref().and_then(|held| held.source.key.as_ref()).is_some_and(&gone);
        table
            .names
            .values_mut()
            .filter(has_gone)
            .map(|slot| slot.dismiss(Ended::Revoked, &self.shared.diary))
            .filter(|ended| *ended)
            .count()
    }

    /// How many streams are in each state, for metrics.
    pub fn census(&self) -> HashMap<super::StreamState, usize> {
        let mut census = HashMap::new();
        for stream in self.streams() {
            *census.entry(stream.state()).or_insert(0) += 1;
        }
        census
    }

    pub(super) fn went_live(&self, stream: &Arc<Stream>) {
        tracing::info!(stream = %stream.name(), epoch = stream.epoch(), "stream is live");
        self.shared.diary.live(stream.name().as_str(), stream.epoch());
        self.shared.events.push(Event::Started(Arc::downgrade(stream)));
    }

    /// Replaces a stream whose tracks have changed by its next epoch. None if the session has lost the name.
    pub(super) fn next_epoch(&self, old: &Arc<Stream>, session: u64) -> Option<Arc<Stream>> {
        let mut table = self.table();
        let slot = table.names.get_mut(old.name())?;
        if slot.holder.as_ref().is_none_or(|holder| holder.session != session) {
            return None;
        }
        let memory = (self.settings().stream_bytes, &self.shared.budget);
        let stream = self.prepared(old.successor(self.fresh_epoch(), self.limits(), memory));
        slot.stream = stream.clone();
        drop(table);
        tracing::info!(stream = %old.name(), "the tracks have changed; the stream starts anew");
        self.end(old);
        Some(stream)
    }

    pub(super) fn lost_publisher(&self, name: &StreamName, session: u64, goodbye: bool) {
        let mut table = self.table();
        let Some(slot) = table.names.get_mut(name) else { return };
        if slot.holder.as_ref().is_none_or(|holder| holder.session != session) {
            return;
        }
        slot.holder = None;
        slot.vanished = Instant::now();
        let stream = slot.stream.clone();
        let over = stream.is_empty() || (goodbye && self.settings().end_on_unpublish);
        if over {
            table.names.remove(name);
        }
        drop(table);
        let reason = if goodbye { "it said goodbye" } else { "the connection was lost" };
        self.shared.diary.gone(name.as_str(), reason);
        if over {
            self.end(&stream);
        } else {
            stream.lose_publisher();
            self.shared.diary.waiting(name.as_str(), self.window().as_secs());
            tracing::info!(stream = %name, window = ?self.window(), "publisher is gone; the stream waits for it");
        }
    }

    fn take_over(&self, name: &StreamName, slot: &mut Slot, by: Holder) -> Result<(), PublishError> {
        if let Some(old) = &slot.holder {
            if self.settings().takeover == Takeover::Reject {
                return Err(PublishError::Busy { name: name.to_string(), by: old.source.peer });
            }
            metrics::counter!(crate::metrics::HUB_TAKEOVERS).increment(1);
            tracing::info!(stream = %name, old = %old.source.peer, new = %by.source.peer, "publisher is taken over");
            old.ended.send_replace(Some(Ended::TakenOver(by.source.peer)));
        }
        slot.holder = Some(by);
        Ok(())
    }

    fn end(&self, stream: &Arc<Stream>) {
        let live = !stream.is_empty();
        stream.end();
        if live {
            tracing::info!(stream = %stream.name(), epoch = stream.epoch(), "stream is over");
            self.shared.diary.over(stream.name().as_str(), stream.epoch());
            self.shared.events.push(Event::Ended(Arc::downgrade(stream)));
        }
    }

    fn new_stream(&self, name: &StreamName, session: u64, source: Source) -> Stream {
        let memory = (self.settings().stream_bytes, &self.shared.budget);
        Stream::new(name.clone(), self.fresh_epoch(), (session, source), Timeline::new(self.limits()), memory)
    }

    /// Where nobody decides on ladders, it is decided here that there is none.
    fn prepared(&self, stream: Stream) -> Arc<Stream> {
        if !self.settings().ladders {
            stream.set_ladder(Arc::new(Ladder::new(Vec::new(), None)));
        }
        Arc::new(stream)
    }

    fn limits(&self) -> Limits {
        let settings = self.settings();
        Limits { target: Time::from_duration(settings.segment_target), max: Time::from_duration(settings.segment_max) }
    }

    fn window(&self) -> Duration {
        self.settings().reconnect_window
    }

    fn settings(&self) -> Arc<Settings> {
        self.shared.settings.get()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn free_if_idle(slot: &mut Slot, now: Instant, allowed: Duration, diary: &Diary) {
    let idle = now.saturating_duration_since(slot.stream.last_fed());
    if slot.holder.is_none() || idle < allowed {
        return;
    }
    if let Some(holder) = slot.holder.take() {
        holder.span.in_scope(|| tracing::warn!(stream = %slot.stream.name(), ?idle, "no media: the name is freed"));
        let why = Ended::Idle(allowed.as_secs().max(1));
        diary.gone(slot.stream.name().as_str(), &why.to_string());
        holder.ended.send_replace(Some(why));
    }
    slot.vanished = now;
    slot.stream.lose_publisher();
}

impl Entry for Event {
    fn bytes(&self) -> usize {
        1
    }

    fn is_start(&self) -> bool {
        false
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
