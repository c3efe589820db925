//! One thread of WebRTC: its socket, its sessions, and the packets that its viewers share. A session belongs to the worker
//! that its peer's first request reaches and never leaves it, so that nothing on a packet's way is locked. A viewer costs
//! no task: one task reads the socket, one keeps the time, and one per rendition that somebody watches follows its frames.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::batch::Batch;
use super::choice::Advice;
use super::feed::Feeds;
use super::ice::{Credentials, Path};
use super::playing::Wish;
use super::registry::{Found, MOST_FRAGMENTS};
use super::session::{Media, Session};
use super::socket::{Inbox, Port};
use super::stun::Request;
use super::transport::{Received, Sent};
use super::viewer::FeedId;
use crate::hub;
use crate::media::{Frame, Kind, Time};

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// New ICE credentials for a session: ours, and the peer's fragment.
    Restart(String, Credentials, String),
    /// A session is over, and why; `goodbye`: the client said so.
    Close { id: String, why: String, goodbye: bool },
    /// All are over.
    Drain,
}

/// Runs a worker until it is told to drain.
pub(super) async fn run(
    index: usize,
    shared: Arc<Shared>,
    socket: std::net::UdpSocket,
    (mut commands, mut datagrams): (mpsc::Receiver<Command>, mpsc::Receiver<(Path, Vec<u8>)>),
) -> std::io::Result<()> {
    let (port, mut inbox) = (Rc::new(Port::new(socket)?), Inbox::new());
    let core = Rc::new(RefCell::new(Core::new(index, shared, port.clone())));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outgoing = core.borrow().outgoing.clone();
    loop {
        tokio::select! {
            readable = port.readable() => {
                if readable.is_ok() {
                    let now = Instant::now();
                    // Some calls, then the others have their turn.
                    for _ in 0..READS {
                        if !inbox.receive(&port, |path, datagram| core.borrow_mut().datagram(path, datagram, now, true)) {
                            break;
                        }
                    }
                }
            }
            command = commands.recv() => match command {
                Some(Command::Drain) | None => {
                    core.borrow_mut().drain();
                    core.borrow_mut().flush();
                    return Ok(());
                }
                Some(command) => core.borrow_mut().obey(command),
            },
            Some((path, datagram)) = datagrams.recv() => {
                let now = Instant::now();
                core.borrow_mut().datagram(path, &datagram, now, false);
                for _ in 1..PASSED {
                    let Ok((path, datagram)) = datagrams.try_recv() else { break };
                    core.borrow_mut().datagram(path, &datagram, now, false);
                }
            }
            _ = tick.tick(), if !core.borrow().is_idle() => core.borrow_mut().tick(),
            () = outgoing.notified() => {}
        }
        Core::settle(&core);
        core.borrow_mut().flush();
    }
}

/// What a worker has.
pub(super) struct Core {
    index: usize,
    shared: Arc<Shared>,
    port: Rc<Port>,
    sessions: HashMap<usize, Session>,
    next: usize,
    by_path: HashMap<Path, usize>,
    by_fragment: HashMap<String, usize>,
    by_id: HashMap<String, usize>,
    /// The workers of peers whose datagrams reach this one. Several may claim a path, and one of them is right.
    foreign: HashMap<Path, Vec<usize>>,
    feeds: Feeds,
    followers: HashMap<FeedId, JoinHandle<()>>,
    batch: Batch,
    control: Vec<Sent>,
    ticks: u64,
    /// There is something to send that no select of the loop has brought about.
    outgoing: Rc<tokio::sync::Notify>,
}

impl Core {
    fn new(index: usize, shared: Arc<Shared>, port: Rc<Port>) -> Core {
        let room = port.room();
        Core {
            index,
            shared,
            port,
            sessions: HashMap::new(),
            next: 0,
            by_path: HashMap::new(),
            by_fragment: HashMap::new(),
            by_id: HashMap::new(),
            foreign: HashMap::new(),
            feeds: Feeds::default(),
            followers: HashMap::new(),
            batch: Batch::new(room),
            control: Vec::new(),
            ticks: 0,
            outgoing: Rc::new(tokio::sync::Notify::new()),
        }
    }

    fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.feeds.is_empty() && self.index != 0
    }

    /// Routes a datagram: by the path it took, or by the session that a request names. `here`: it came to this worker, and
    /// may go on to another.
    fn datagram(&mut self, path: Path, datagram: &[u8], now: Instant, here: bool) {
        if datagram.first().is_some_and(|first| *first < 4) {
            return self.request(path, datagram, now, here);
        }
        if let Some(&at) = self.by_path.get(&path) {
            return self.guarded(at, now, |session, control| session.transport.datagram(path, datagram, now, control));
        }
        for owner in self.foreign.get(&path).filter(|_| here).into_iter().flatten() {
            self.shared.pass(*owner, path, datagram);
        }
    }

    fn request(&mut self, path: Path, datagram: &[u8], now: Instant, here: bool) {
        let Some(request) = Request::read(datagram) else { return };
        let at = match self.by_fragment.get(&request.local) {
            Some(at) => *at,
            None => match self.shared.registry.claim(&request.local, self.index) {
                Found::Yours(session) => self.adopt(*session),
                Found::With(owner) if owner != self.index && here => {
                    self.remember(path, owner);
                    return self.shared.pass(owner, path, datagram);
                }
                _ => return,
            },
        };
        self.guarded(at, now, |session, control| session.transport.request(request, path, now, control));
    }

    fn remember(&mut self, path: Path, owner: usize) {
        if self.foreign.len() >= MOST_FOREIGN {
            self.foreign.clear();
        }
        let owners = self.foreign.entry(path).or_default();
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }

    /// Gives a session something that came from outside, and acts on what it led to. What comes may break a library that
    /// reads it: that ends this session, and no other.
    fn guarded(&mut self, at: usize, now: Instant, take: impl FnOnce(&mut Session, &mut Vec<Sent>) -> Received) {
        let Some(session) = self.sessions.get_mut(&at) else { return };
        let _in_span = session.publishing_span();
        let control = &mut self.control;
        let taken = catch_unwind(AssertUnwindSafe(|| take(session, control)));
        let acted = taken.and_then(|received| catch_unwind(AssertUnwindSafe(|| self.received(at, received, now))));
        if acted.is_err() {
            tracing::error!("a WebRTC session failed at what its peer sent; please report this");
            let failed =
                catch_unwind(AssertUnwindSafe(|| self.end(at, "the server failed at what the peer sent", false)));
            drop(failed);
        }
    }

    fn adopt(&mut self, session: Session) -> usize {
        self.next += 1;
        let at = self.next;
        self.by_fragment.insert(session.transport.fragment().to_owned(), at);
        self.by_id.insert(session.id.clone(), at);
        self.sessions.insert(at, session);
        at
    }

    /// Acts on what a datagram led to.
    fn received(&mut self, at: usize, received: Received, now: Instant) {
        let Some(session) = self.sessions.get_mut(&at) else { return };
        let outcome = match received {
            Received::Nothing => return,
            Received::Paths => {
                self.route(at, now);
                self.connected(at, now)
            }
            Received::Connected => self.connected(at, now),
            Received::Rtp(packet) => match &mut session.media {
                Media::In(publishing) => {
                    let outcome = publishing.rtp(&packet.freeze(), now);
                    session.is_hot |= publishing.is_waiting();
                    outcome
                }
                Media::Out(_) => Ok(()),
            },
            Received::Rtcp(packets) => self.rtcp(at, packets.freeze(), now),
            Received::Closed(why) => Err(why),
        };
        if let Err(why) = outcome {
            self.end(at, &why, false);
        }
    }

    /// Datagrams over the proven paths of a session are its own. A path that another session lives on stays with that: who
    /// writes its peer's address on a request must not have its media.
    fn route(&mut self, at: usize, now: Instant) {
        let Some(session) = self.sessions.get(&at) else { return };
        let paths: Vec<Path> = session.transport.paths().collect();
        for path in &session.paths {
            if !paths.contains(path) && self.by_path.get(path) == Some(&at) {
                self.by_path.remove(path);
            }
        }
        for path in &paths {
            let owner = self.by_path.get(path).filter(|owner| **owner != at);
            if owner.and_then(|owner| self.sessions.get(owner)).is_none_or(|other| other.transport.is_quiet(now)) {
                self.by_path.insert(*path, at);
            }
        }
        if let Some(session) = self.sessions.get_mut(&at) {
            session.paths = paths;
        }
    }

    fn connected(&mut self, at: usize, now: Instant) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&at) else { return Ok(()) };
        if session.is_connected || !session.transport.is_connected() {
            return Ok(());
        }
        session.is_connected = true;
        self.shared.registry.connected(&session.id);
        let path = session.transport.path().map(|path| path.remote.to_string()).unwrap_or_default();
        let took = session.began.elapsed();
        session.span.in_scope(|| tracing::info!(%path, ?took, "WebRTC session connected"));
        session.show();
        match &mut session.media {
            Media::In(publishing) => publishing.connected(now),
            Media::Out(_) => {
                self.attach(at, now);
                Ok(())
            }
        }
    }

    fn rtcp(&mut self, at: usize, packets: Bytes, now: Instant) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&at) else { return Ok(()) };
        let path = session.transport.path();
        match &mut session.media {
            Media::In(publishing) => publishing.rtcp(packets, now),
            Media::Out(playing) => {
                let (Some(path), Some(srtp)) = (path, session.transport.srtp()) else { return Ok(()) };
                self.batch.to(path);
                let feeds = &self.feeds;
                let lanes = |feed: FeedId, kind: Kind| feeds.lane(feed, kind);
                match playing.rtcp(packets, lanes, (srtp, &mut self.batch), now) {
                    Wish::Nothing => Ok(()),
                    Wish::End => Err("the viewer said goodbye".to_owned()),
                    Wish::KeyFrame => {
                        self.refresh(at, now);
                        Ok(())
                    }
                }
            }
        }
    }

    /// A viewer cannot go on: it is sent the newest group of pictures again where that is fresh, else the publisher is asked.
    fn refresh(&mut self, at: usize, now: Instant) {
        let Some(Session { media: Media::Out(playing), .. }) = self.sessions.get_mut(&at) else { return };
        let Some(video) = &mut playing.video else { return };
        let Some(feed) = video.outlet.feed() else { return };
        let Some(lane) = self.feeds.lane(feed, Kind::Video) else { return };
        let fresh = lane.newest_start().and_then(|start| lane.get(start)).zip(lane.newest());
        let fresh = fresh.is_some_and(|(start, newest)| (newest - start.at).duration() <= FRESH);
        if !fresh {
            self.feeds.want_key(feed);
        }
        video.outlet.begin(feed, lane, true);
        self.pour(at, Kind::Video, now);
    }

    /// Joins a viewer to the feeds of its stream, if the stream is there and has what was agreed on.
    fn attach(&mut self, at: usize, now: Instant) {
        let Some(Session { media: Media::Out(playing), .. }) = self.sessions.get_mut(&at) else { return };
        let Some(stream) = self.shared.hub.stream(playing.name.as_str()) else { return };
        let pinned = playing.pinned.clone();
        for kind in [Kind::Video, Kind::Audio] {
            let Some(sent) = playing.of(kind).filter(|sent| sent.outlet.feed().is_none()) else { continue };
            let origin = match kind {
                Kind::Video => super::whep::pictures(&stream, sent.agreed.codec, pinned.as_deref()).into_iter().next(),
                Kind::Audio => super::whep::sound(&stream),
            };
            let Some(origin) = origin else { continue };
            let feed = self.feeds.join(&stream, &origin, at);
            if let Some(lane) = self.feeds.lane(feed, kind)
                && !sent.outlet.begin(feed, lane, kind == Kind::Video)
                && kind == Kind::Video
            {
                stream.want_key_frame();
            }
        }
        if playing.sent().all(|sent| sent.outlet.feed().is_some()) {
            playing.waits_since = None;
        }
        self.pour(at, Kind::Audio, now);
        self.pour(at, Kind::Video, now);
    }

    /// Sends a viewer what there is of one kind.
    fn pour(&mut self, at: usize, kind: Kind, now: Instant) {
        let Some(session) = self.sessions.get_mut(&at) else { return };
        let path = session.transport.path();
        let Media::Out(playing) = &mut session.media else { return };
        let (Some(path), Some(srtp)) = (path, session.transport.srtp()) else { return };
        self.batch.to(path);
        let feeds = &self.feeds;
        let lanes = |feed: FeedId| feeds.lane(feed, kind);
        let rate =
            playing.of(kind).and_then(|sent| sent.outlet.feed()).and_then(lanes).map_or(0.0, super::lane::Lane::speed);
        // Well above the stream's own rate, so that a late viewer catches up, and never less than a key frame needs.
        let budget = (rate * PACE / 8.0 * TICK.as_secs_f64()).max(LEAST_BURST) as usize;
        let before = playing.of(kind).and_then(|sent| sent.outlet.feed());
        session.is_hot |= playing.send(kind, lanes, (srtp, &mut self.batch), (budget, now));
        let after = playing.of(kind).and_then(|sent| sent.outlet.feed());
        if let Some(before) = before.filter(|_| before != after) {
            // Its sound may still come from there.
            if playing.sent().all(|sent| sent.outlet.feed() != Some(before)) {
                self.feeds.part(before, at);
            }
        }
    }

    /// Judges once a second which rendition a viewer should have.
    fn choose(&mut self, at: usize, now: Instant) {
        let Some(Session { media: Media::Out(playing), span, .. }) = self.sessions.get_mut(&at) else { return };
        let Some((codec, Some(feed), None)) =
            playing.video.as_ref().map(|sent| (sent.agreed.codec, sent.outlet.feed(), sent.outlet.target()))
        else {
            return;
        };
        let Some(stream) = self.shared.hub.stream(playing.name.as_str()) else { return };
        let origins = super::whep::pictures(&stream, codec, playing.pinned.as_deref());
        if playing.heading.is_some() {
            return;
        }
        let rates: Vec<f64> = origins.iter().map(|origin| origin.bits(&stream)).collect();
        let advice = match origins.iter().position(|origin| Some(origin.name()) == self.feeds.name(feed)) {
            Some(current) => playing.advise(now, &rates, current),
            // Its publisher sends this layer no more.
            None if self.feeds.is_dry(feed) => Advice::Take(playing.fitting(&rates)),
            None => return,
        };
        if let Advice::Take(to) = advice
            && let Some(origin) = origins.get(to)
        {
            span.in_scope(|| tracing::debug!(to = origin.name(), "a viewer changes its rendition"));
            playing.heading = Some((self.feeds.join(&stream, origin, at), now));
        }
    }

    /// Goes over to what was chosen, once its packets come: until then what plays goes on.
    fn head(&mut self, at: usize, now: Instant) {
        let Some(Session { media: Media::Out(playing), .. }) = self.sessions.get_mut(&at) else { return };
        let Some((feed, since)) = playing.heading else { return };
        let newest = |feed: FeedId| self.feeds.lane(feed, Kind::Video).and_then(super::lane::Lane::newest);
        let Some(video) = &mut playing.video else { return };
        let present = video.outlet.feed().and_then(newest);
        if newest(feed).zip(present).is_some_and(|(other, present)| present - other < CLOSE) {
            video.outlet.aim(Some(feed));
            playing.heading = None;
        } else if now.saturating_duration_since(since) > HEADING {
            playing.heading = None;
            self.feeds.part(feed, at);
        }
    }

    /// While the link is tried.
    fn probe(&mut self, at: usize, now: Instant) {
        let Some(session) = self.sessions.get_mut(&at) else { return };
        let path = session.transport.path();
        let Media::Out(playing) = &mut session.media else { return };
        let (Some(path), Some(srtp), true) = (path, session.transport.srtp(), playing.probing > 0.0) else { return };
        self.batch.to(path);
        let feeds = &self.feeds;
        let bytes = (playing.probing / 8.0 * TICK.as_secs_f64()) as usize;
        playing.pad(|feed| feeds.lane(feed, Kind::Video), (srtp, &mut self.batch), bytes, now);
    }

    /// A frame of a feed: packed once, sent to all its viewers.
    fn frame(&mut self, feed: FeedId, frame: &Frame) {
        let kind = frame.kind();
        // A rung of sound begins with what was heard before anybody asked.
        if kind == Kind::Audio && self.feeds.is_late(feed, frame) {
            return;
        }
        self.feeds.push(feed, frame);
        let viewers = self.feeds.viewers(feed);
        let now = Instant::now();
        for &at in viewers.iter() {
            self.pour(at, kind, now);
            if self.batch.is_full() {
                self.flush();
            }
        }
    }

    /// A feed is over: its viewers wait for what comes next under the name.
    fn over(&mut self, feed: FeedId) {
        for &at in self.feeds.viewers(feed).iter() {
            let Some(Session { media: Media::Out(playing), .. }) = self.sessions.get_mut(&at) else { continue };
            playing.waits_since.get_or_insert_with(Instant::now);
            for sent in playing.sent() {
                if sent.outlet.feed() == Some(feed) || sent.outlet.target() == Some(feed) {
                    sent.outlet.detach();
                }
            }
        }
        self.feeds.close(feed);
        self.followers.remove(&feed);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Restart(id, local, remote) => {
                let Some(at) = self.by_id.get(&id).copied() else { return };
                let Some(session) = self.sessions.get_mut(&at) else { return };
                self.by_fragment.insert(local.fragment.clone(), at);
                session.fragments.push(local.fragment.clone());
                if session.fragments.len() > MOST_FRAGMENTS {
                    self.by_fragment.remove(&session.fragments.remove(0));
                }
                session.transport.restart(local, remote);
            }
            Command::Close { id, why, goodbye } => {
                if let Some(at) = self.by_id.get(&id).copied() {
                    self.end(at, &why, goodbye);
                }
            }
            Command::Drain => self.drain(),
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let now = Instant::now();
        let slow = self.ticks.is_multiple_of(SLOW);
        let due: Vec<usize> = self
            .sessions
            .iter()
            .filter(|(at, session)| slow || session.is_hot || (self.ticks + **at as u64).is_multiple_of(SECOND))
            .map(|(at, _)| *at)
            .collect();
        for at in due {
            if let Err(why) = self.turn(at, now, slow) {
                self.end(at, &why, false);
            }
            if self.batch.is_full() {
                self.flush();
            }
        }
        if self.ticks.is_multiple_of(SECOND) {
            for feed in self.feeds.idle(now) {
                if let Some(follower) = self.followers.remove(&feed) {
                    follower.abort();
                }
                self.feeds.close(feed);
            }
            if self.index == 0 {
                self.shared.sweep();
            }
        }
    }

    /// One session's turn in a tick.
    fn turn(&mut self, at: usize, now: Instant, slow: bool) -> Result<(), String> {
        let second = (self.ticks + at as u64).is_multiple_of(SECOND);
        let Some(session) = self.sessions.get_mut(&at) else { return Ok(()) };
        let _in_span = session.publishing_span();
        session.is_hot = false;
        if slow || second {
            session.transport.tick(now, &mut self.control)?;
        }
        let mut messages = Vec::new();
        let mut pour = false;
        let mut attach = false;
        let mut choose = false;
        match &mut session.media {
            Media::In(publishing) => {
                publishing.tick(now, &mut messages)?;
                if second {
                    publishing.report(now, &mut messages);
                }
                session.is_hot |= publishing.is_waiting();
            }
            Media::Out(playing) => {
                pour = true;
                session.is_hot |= playing.probing > 0.0;
                attach = session.is_connected && playing.sent().any(|sent| sent.outlet.feed().is_none());
                if second {
                    let report = playing.report(now, SystemTime::now());
                    messages.extend((!report.is_empty()).then_some(report));
                    choose = true;
                    let gone = playing.waits_since.is_some() && self.shared.hub.stream(playing.name.as_str()).is_none();
                    playing.patience(now, gone)?;
                }
            }
        }
        if let (Some(path), Some(srtp)) = (session.transport.path(), session.transport.srtp()) {
            for message in messages {
                if let Ok(sealed) = srtp.protect_rtcp(&message) {
                    self.control.push((path, sealed.to_vec()));
                }
            }
        }
        if second {
            session.show();
            if let Media::Out(playing) = &mut session.media {
                let feed = playing.of(Kind::Video).and_then(|sent| sent.outlet.feed());
                let rendition = feed.and_then(|feed| self.feeds.name(feed)).map(str::to_owned);
                session.shown.change(|shot| shot.rendition = rendition);
            }
        }
        if choose {
            self.choose(at, now);
        }
        if pour && slow {
            self.head(at, now);
        }
        if pour {
            self.probe(at, now);
        }
        if attach && slow {
            self.attach(at, now);
        } else if pour {
            self.pour(at, Kind::Video, now);
        }
        Ok(())
    }

    /// A session is over.
    fn end(&mut self, at: usize, why: &str, goodbye: bool) {
        let Some(mut session) = self.sessions.remove(&at) else { return };
        let _in_span = session.span.clone().entered();
        self.farewell(&mut session);
        session.transport.close(Instant::now(), &mut self.control);
        session.show();
        let shot = session.shown.get();
        let (client, packets, lost, seconds) = (&shot.client, shot.packets, shot.lost, shot.seconds);
        if session.is_connected {
            tracing::info!(client, packets, lost, seconds, reason = why, "WebRTC session ended");
        } else {
            tracing::warn!(client, reason = why, "WebRTC session never connected");
        }
        self.shared.count_end(&session);
        session.shown.change(|shot| why.clone_into(&mut shot.state));
        if let (Media::In(publishing), true) = (&mut session.media, goodbye) {
            publishing.finish();
        }
        for path in &session.paths {
            if self.by_path.get(path) == Some(&at) {
                self.by_path.remove(path);
            }
        }
        for fragment in &session.fragments {
            self.by_fragment.remove(fragment);
        }
        self.by_id.remove(&session.id);
        self.feeds.leave(at);
        drop(self.shared.registry.remove(&session.id));
        // With it goes its publisher, about which the hub has something to say.
        drop(session);
    }

    /// Tells a viewer that nothing more comes.
    fn farewell(&mut self, session: &mut Session) {
        let Media::Out(playing) = &mut session.media else { return };
        let ssrcs: Vec<u32> = playing.sent().map(|sent| sent.outlet.ssrc).collect();
        let mut goodbye = Vec::new();
        super::control::goodbye(&ssrcs, &mut goodbye);
        if let (Some(path), Some(srtp)) = (session.transport.path(), session.transport.srtp())
            && let Ok(sealed) = srtp.protect_rtcp(&goodbye)
        {
            self.control.push((path, sealed.to_vec()));
        }
    }

    fn drain(&mut self) {
        let all: Vec<usize> = self.sessions.keys().copied().collect();
        for at in all {
            self.end(at, "the server is shutting down", true);
        }
        self.followers.drain().for_each(|(_, follower)| follower.abort());
    }

    /// Starts the tasks of feeds that were opened.
    fn settle(core: &Rc<RefCell<Core>>) {
        let starting = std::mem::take(&mut core.borrow_mut().feeds.starting);
        for feed in starting {
            let Some(mut cursor) = core.borrow_mut().feeds.cursor(feed) else { continue };
            let (held, outgoing) = (Rc::downgrade(core), core.borrow().outgoing.clone());
            let follower = spawn_local(async move {
                loop {
                    let next = cursor.next().await;
                    let Some(core) = held.upgrade() else { return };
                    match next {
                        Ok(Some(frame)) => core.borrow_mut().frame(feed, &frame),
                        Ok(None) => {
                            core.borrow_mut().over(feed);
                            return;
                        }
                        Err(hub::Lagged { missed }) => {
                            metrics::counter!(crate::metrics::HUB_READERS_LAGGED).increment(1);
                            tracing::warn!(missed, "a WebRTC worker fell behind a stream");
                            cursor.skip_to_newest_start();
                        }
                    }
                    outgoing.notify_one();
                }
            });
            core.borrow_mut().followers.insert(feed, follower);
        }
    }

    /// Hands everything that waits to the kernel.
    fn flush(&mut self) {
        let Core { batch, control, shared, port, .. } = self;
        for (path, datagram) in control.drain(..) {
            batch.push(path, &datagram);
        }
        batch.drain(|path, bytes, size| match path.tcp {
            None => {
                let sent = port.send(path, bytes, size);
                shared.counters.sent(bytes.len(), bytes.len().div_ceil(size.max(1)), sent);
            }
            Some(id) => {
                // A connection that takes nothing loses packets, as UDP does.
                let taken = shared.registry.tcp(id).is_some_and(|writer| writer.try_send(bytes.to_vec()).is_ok());
                shared.counters.sent(bytes.len(), 1, taken);
            }
        });
    }
}

/// How often sessions that wait for something are looked at.
const TICK: Duration = Duration::from_millis(5);
/// Ticks between looks at all sessions.
const SLOW: u64 = 10;
/// Ticks in a second.
const SECOND: u64 = 200;
/// Calls to read the socket before others have their turn.
const READS: usize = 8;
/// Datagrams of other workers and of TCP before others have their turn.
const PASSED: usize = 32;
/// Paths of other workers' peers that are remembered.
const MOST_FOREIGN: usize = 4_096;
/// A rendition that is no further behind another can take over from it.
const CLOSE: Time = Time::from_millis(700);
/// So long a rung may take to begin.
const HEADING: Duration = Duration::from_secs(10);
/// A key frame younger than this serves a viewer that asks for one.
const FRESH: Duration = Duration::from_secs(1);
/// How much faster than it plays a viewer may be sent what it lacks.
const PACE: f64 = 6.0;
/// In bytes a tick: 25 Mbit/s.
const LEAST_BURST: f64 = 16_384.0;
