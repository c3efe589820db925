//! One rendition as one viewer plays it: blocking reloads on one lane, media on another, so that the part hinted next is
//! asked for before it exists. `viewer` starts one [`Follow`] for pictures and one for sound. What is measured goes to
//! the thread's tally; bodies are counted and dropped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::{Failure, Keep, Link, Origin};
use crate::playlist::{self, Piece, Position, Snapshot};
use crate::progress::Progress;
use crate::tally::{Firsts, Tally};
use crate::window::{Next, Window};

/// What all viewers of one thread share.
pub(crate) struct Context {
    /// The server.
    pub(crate) origin: Arc<Origin>,
    /// Ask for hinted parts before they exist.
    pub(crate) hints: bool,
    /// Play whole segments, as players without LL-HLS do.
    pub(crate) plain: bool,
    /// When each file was first seen, by any thread.
    pub(crate) firsts: Arc<Firsts>,
    /// For the progress bar.
    pub(crate) progress: Arc<Progress>,
    /// This thread's figures.
    pub(crate) tally: RefCell<Tally>,
    /// Looks at the beginning of each init section and part, where somebody wants to.
    pub(crate) inspect: Option<Inspect>,
}

/// Gets the number of the rendition (0 for the main one), what it is, its first bytes, and when the last one came.
pub(crate) type Inspect = Box<dyn Fn(usize, Body, &[u8], Instant) + Send>;

/// What an inspected body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// An init section.
    Init,
    /// A part or segment that was there already when the viewer joined.
    Backlog,
    /// A new part or segment.
    Media,
}

/// The moment a viewer started, and how many renditions have yet to show their first media.
pub(crate) struct Join {
    /// When the first request was about to go out.
    pub(crate) started: Instant,
    /// Renditions without media so far.
    pub(crate) missing: Cell<usize>,
}

/// A rendition to follow.
pub(crate) struct Follow {
    /// The thread's.
    pub(crate) context: Rc<Context>,
    /// The viewer's.
    pub(crate) join: Rc<Join>,
    /// 0 for the main rendition.
    pub(crate) rendition: usize,
    /// Path of the media playlist.
    pub(crate) path: String,
    /// Lane for playlists.
    pub(crate) reload: Link,
    /// Lane for media.
    pub(crate) media: Link,
}

impl Follow {
    /// Plays until the stream ends; the caller drops it when the run is over.
    pub(crate) async fn run(mut self) {
        let first = loop {
            match self.playlist(&self.path.clone(), Position::default()).await {
                Ok(snapshot) if snapshot.start(self.parts(&snapshot)).is_some() => break snapshot,
                _ => tokio::time::sleep(RETRY).await,
            }
        };
        let parts = self.parts(&first);
        let window = Window::new(parts && self.context.hints);
        window.fill(&first, parts, true);
        let media = Media {
            context: self.context.clone(),
            join: self.join.clone(),
            rendition: self.rendition,
            base: self.path.clone(),
            link: self.media,
            init: None,
            init_missing: false,
            live: false,
            shown: false,
            part_target: if parts { first.part_target } else { first.target_duration },
        };
        let reloads = Reloads { context: self.context, path: self.path, link: self.reload, text: Vec::new() };
        tokio::join!(media.run(&window), reloads.run(first, parts, &window));
    }

    fn parts(&self, snapshot: &Snapshot) -> bool {
        !self.context.plain && snapshot.part_target > 0.0
    }

    async fn playlist(&mut self, path: &str, from: Position) -> Result<Snapshot, Failure> {
        let mut text = Vec::new();
        self.context.playlist(&mut self.reload, path, from, &mut text).await
    }
}

/// The lane that keeps asking for the next playlist.
struct Reloads {
    context: Rc<Context>,
    path: String,
    link: Link,
    text: Vec<u8>,
}

impl Reloads {
    async fn run(mut self, mut last: Snapshot, parts: bool, window: &Window) {
        while !last.ended {
            let blocking = last.can_block && parts;
            if !blocking {
                tokio::time::sleep(Duration::from_secs_f64(last.target_duration.max(0.1))).await;
            }
            let path = if blocking { directives(&self.path, &last) } else { self.path.clone() };
            let answer = self.context.playlist(&mut self.link, &path, last.next, &mut self.text).await;
            last = match answer {
                Ok(next) if next.next > last.next || next.ended => {
                    if blocking {
                        let delay = self.context.firsts.delay(&path, Instant::now());
                        self.context.tally.borrow_mut().reload.record(delay);
                    }
                    window.fill(&next, parts, false);
                    next
                }
                Ok(_) => {
                    if blocking {
                        self.context.tally.borrow_mut().stale += 1;
                        tokio::time::sleep(Duration::from_secs_f64(last.part_target.max(0.05))).await;
                    }
                    last
                }
                Err(_) => {
                    tokio::time::sleep(RETRY).await;
                    self.rejoin(last, parts, window).await
                }
            };
        }
        window.end();
    }

    /// After a refusal the stream may have started anew, with other numbers: look without directives.
    async fn rejoin(&mut self, last: Snapshot, parts: bool, window: &Window) -> Snapshot {
        let start = Position::default();
        let Ok(now) = self.context.playlist(&mut self.link, &self.path, start, &mut self.text).await else {
            return last;
        };
        if now.next < last.next {
            window.fill(&now, parts, true);
            return now;
        }
        let newer = now.pieces.iter().filter(|piece| piece.at >= last.next).cloned().collect();
        let now = Snapshot { pieces: newer, ..now };
        window.fill(&now, parts, false);
        now
    }
}

/// The lane that fetches media.
struct Media {
    context: Rc<Context>,
    join: Rc<Join>,
    rendition: usize,
    base: String,
    link: Link,
    init: Option<String>,
    /// An init section is listed and has not come.
    init_missing: bool,
    /// Past what was there already at joining; only that is new to everybody at the same time.
    live: bool,
    /// The first media is here.
    shown: bool,
    part_target: f64,
}

impl Media {
    async fn run(mut self, window: &Window) {
        loop {
            match window.next().await {
                Next::Init(uri) => self.init(uri).await,
                Next::Backlog(piece) => self.piece(&piece).await,
                Next::Piece(piece) => {
                    self.live = true;
                    self.piece(&piece).await;
                }
                Next::Hint(uri) => {
                    self.live = true;
                    if let Some(arrived) = self.hint(&uri).await {
                        window.hinted(uri, arrived);
                    }
                }
                Next::Had(piece, arrived) => self.clock(&piece, arrived),
                Next::Skipped(count) => self.context.tally.borrow_mut().skipped += count,
                Next::Ended => return,
            }
        }
    }

    async fn init(&mut self, uri: String) {
        if self.init.as_ref() == Some(&uri) {
            return;
        }
        self.init_missing = self.fetch(&uri, Body::Init).await.is_err();
        if !self.init_missing {
            self.init = Some(uri);
        }
    }

    async fn piece(&mut self, piece: &Piece) {
        match self.fetch(&piece.uri, if self.live { Body::Media } else { Body::Backlog }).await {
            Ok(arrived) => {
                self.arrived(&piece.uri, arrived);
                if self.live {
                    self.clock(piece, arrived.1);
                }
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }

    async fn hint(&mut self, uri: &str) -> Option<f64> {
        match self.fetch(uri, Body::Media).await {
            Ok(arrived) => {
                self.arrived(uri, arrived);
                Some(arrived.1)
            }
            Err(_) => {
                self.context.tally.borrow_mut().broken_hints += 1;
                None
            }
        }
    }

    async fn fetch(&mut self, uri: &str, body: Body) -> Result<(Instant, f64), Failure> {
        let Some(path) = playlist::resolve(&self.base, uri, &self.context.origin.target.authority) else {
            self.context.failed(Failure::Playlist);
            return Err(Failure::Playlist);
        };
        let mut head = Vec::new();
        let keep = if self.context.inspect.is_some() { Keep::Head(&mut head) } else { Keep::Count };
        self.context.get(&mut self.link, &path, keep).await?;
        let now = Instant::now();
        if let Some(inspect) = &self.context.inspect {
            inspect(self.rendition, body, &head, now);
        }
        Ok((now, unix_now()))
    }

    fn arrived(&mut self, uri: &str, (now, _): (Instant, f64)) {
        let mut tally = self.context.tally.borrow_mut();
        tally.parts += 1;
        Progress::add(&self.context.progress.items, 1);
        if tally.parts == 1 || self.part_target > tally.part_target {
            tally.part_target = self.part_target;
        }
        if self.live {
            let delay = self.context.firsts.delay(uri, now);
            tally.delay.record(delay);
            if delay.as_secs_f64() > self.part_target {
                tally.late += 1;
                Progress::add(&self.context.progress.late, 1);
            }
        }
        drop(tally);
        self.joined(now);
    }

    fn joined(&mut self, now: Instant) {
        if self.init_missing || self.join.missing.get() == 0 || std::mem::replace(&mut self.shown, true) {
            return;
        }
        self.join.missing.set(self.join.missing.get() - 1);
        if self.join.missing.get() == 0 {
            let mut tally = self.context.tally.borrow_mut();
            tally.joined += 1;
            tally.join.record(now - self.join.started);
            Progress::add(&self.context.progress.active, 1);
        }
    }

    fn clock(&self, piece: &Piece, arrived: f64) {
        if let Some(starts_at) = piece.starts_at {
            self.context.tally.borrow_mut().clock.record_seconds(arrived - starts_at);
        }
    }
}

impl Context {
    /// Fetches and scans a media playlist.
    async fn playlist(
        &self,
        link: &mut Link,
        path: &str,
        from: Position,
        text: &mut Vec<u8>,
    ) -> Result<Snapshot, Failure> {
        text.clear();
        self.get(link, path, Keep::Text(text)).await?;
        let Ok(text) = std::str::from_utf8(text) else {
            self.failed(Failure::Playlist);
            return Err(Failure::Playlist);
        };
        self.tally.borrow_mut().playlists += 1;
        Ok(playlist::media(text, from))
    }

    /// Fetches anything; counts its bytes, or its failure.
    pub(crate) async fn get(&self, link: &mut Link, path: &str, keep: Keep<'_>) -> Result<(), Failure> {
        match link.get(path, keep).await {
            Ok(length) => {
                self.tally.borrow_mut().bytes += length;
                Progress::add(&self.progress.bytes, length);
                Ok(())
            }
            Err(failure) => {
                self.failed(failure);
                Err(failure)
            }
        }
    }

    fn failed(&self, failure: Failure) {
        *self.tally.borrow_mut().failures.entry(failure).or_default() += 1;
        Progress::add(&self.progress.failed, 1);
    }
}

/// The reload that waits for the next part, with the delivery directives of RFC 8216bis section 6.2.5.
fn directives(path: &str, last: &Snapshot) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    let Position { msn, part } = last.next;
    match last.skip {
        Some(skip) => format!("{path}{mark}_HLS_msn={msn}&_HLS_part={part}&_HLS_skip={skip}"),
        None => format!("{path}{mark}_HLS_msn={msn}&_HLS_part={part}"),
    }
}

fn unix_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Wait after a failure before the next try, as a player's loader does.
const RETRY: Duration = Duration::from_millis(500);
