//! One rendition: its window, the playlists rendered from it, and those who wait for the next part. Appended to by the
//! presentation's task; asked by any number of viewers, on any thread. A waiter is woken once, when what it asked for
//! exists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::pace::{Pace, Spacing};
use super::packager::Plan;
use super::page::{Pages, Report};
use super::playlist::{self, View};
use super::segmenter::Output;
use super::window::{Position, Window};
use super::{Media, Refusal, Reload, Rendered};
use crate::hub::Share;
use crate::media::{Config, Time};

/// What is the same for all renditions of a presentation.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) epoch: u64,
    pub(super) plan: Plan,
    pub(super) began: SystemTime,
    pub(super) part_hold_back: Time,
    pub(super) window: Time,
    /// Names of the renditions, and how far each is.
    pub(super) positions: Mutex<Vec<Report>>,
}

/// What a rendition turned out to be so far.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Bits a second of its heaviest segment; 0 before the first is whole.
    pub(super) peak: u64,
    /// On average.
    pub(super) average: u64,
    /// Its present configurations, the leading track's first.
    pub(super) configs: Vec<Arc<Config>>,
}

/// A rendition. Shared between its writer and its viewers.
#[derive(Debug)]
pub(super) struct Rendition {
    name: Arc<str>,
    path: String,
    shared: Arc<Shared>,
    /// Of a rung: the rendition whose segments it has too.
    lead: Option<Arc<Rendition>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    pages: Pages,
    waiters: Waiters,
    pace: Pace,
    memory: Share,
}

/// Who waits, by what for. Key: segment, and the part in it, or [`WHOLE`].
#[derive(Debug, Default)]
struct Waiters {
    by_position: BTreeMap<Position, Vec<oneshot::Sender<()>>>,
    count: usize,
}

/// Stands for a whole segment where a part number is expected.
const WHOLE: u64 = u64::MAX;
/// Waiters of one rendition; more are asked to come back. A waiter holds about 200 bytes.
const MAX_WAITERS: usize = 200_000;
/// A blocked request ends with 503 after this many target durations (RFC 8216bis section 6.2.5.2).
const BLOCK_TARGETS: u32 = 3;
/// A request may run ahead of the playlist by this much (section 6.2.5.2): two segments.
const ADVANCE_SEGMENTS: u64 = 2;

impl Rendition {
    /// `lead`: the rendition that it is a rung beside, whose segments it has too or lists as gaps.
    pub(super) fn new(name: &str, shared: Arc<Shared>, lead: Option<Arc<Rendition>>, memory: Share) -> Rendition {
        let window = Window::new(shared.plan, shared.window);
        let path = format!("{}/{name}", shared.epoch);
        let state =
            State { window, pages: Pages::default(), waiters: Waiters::default(), pace: Pace::default(), memory };
        Rendition { name: name.into(), path, shared, lead, state: Mutex::new(state) }
    }

    /// The file name of its media playlist without `.m3u8`.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Takes what the segmenter made in one go, and wakes who waited for it.
    pub(super) fn append(&self, outputs: impl Iterator<Item = Output>) {
        // Taken before the own lock: of two locks, the leader's is never waited for under another.
        let lead = self.lead.as_ref().map(|lead| lead.lock().window.lead());
        let mut state = self.lock();
        let (mut closed, mut parts) = (false, 0);
        for output in outputs {
            closed |= matches!(output, Output::Close);
            parts += usize::from(matches!(output, Output::Part(_)));
            let pressed = state.memory.budget().exceeded();
            let freed = match (&output, &lead) {
                (Output::Begin { cut, .. }, Some(lead)) => state.window.align(lead, cut.msn),
                (Output::Close, Some(lead)) => {
                    state.window.complete(lead);
                    0
                }
                _ => 0,
            };
            let change = state.window.take(output, pressed) - freed as isize;
            if change >= 0 {
                state.memory.grow(change.unsigned_abs());
            } else {
                state.memory.shrink(change.unsigned_abs());
            }
        }
        state.pace.came(parts, Instant::now());
        state.pages.forget(closed);
        self.report(state.window.position());
        let woken = state.take_ready();
        drop(state);
        wake(woken);
    }

    /// Nobody asks for this rung any more: what it holds is let go. Its next playlist is held until it is there anew.
    pub(super) fn rest(&self) {
        let mut state = self.lock();
        let freed = state.window.rest();
        state.pace = Pace::default();
        state.memory.shrink(freed);
        state.pages.forget(true);
        let mut positions = self.positions();
        positions.retain(|(name, _)| *name != self.name);
    }

    /// The stream is over: EXT-X-ENDLIST, and nobody waits any longer.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.window.ended = true;
        state.pages.forget(true);
        let woken = state.waiters.take_all();
        drop(state);
        wake(woken);
    }

    /// A media playlist, held as the directives ask.
    pub(super) async fn playlist(&self, reload: Reload) -> Result<Rendered, Refusal> {
        let Some(msn) = reload.msn else {
            if reload.part.is_some() {
                return Err(Refusal::BadRequest("_HLS_part needs _HLS_msn (RFC 8216bis section 6.2.5.2)"));
            }
            return self.page(reload);
        };
        let wanted = (msn, reload.part.unwrap_or(WHOLE));
        self.wait(wanted, "the part did not come in time; the publisher may be gone").await?;
        self.page(reload)
    }

    /// Waits until there is a playlist at all, that is one whole segment.
    pub(super) async fn ready(&self, patience: Duration) -> Result<(), Refusal> {
        let waiter = {
            let mut state = self.lock();
            if state.window.last_closed().is_some() {
                return Ok(());
            }
            if state.window.ended {
                return Err(Refusal::NotFound("the stream ended before this rendition was made"));
            }
            state.waiters.add((0, WHOLE))?
        };
        match tokio::time::timeout(patience, waiter).await {
            Ok(_) if self.lock().window.last_closed().is_some() => Ok(()),
            _ => Err(Refusal::NotYet { reason: STARTING, retry_after: Duration::from_secs(1) }),
        }
    }

    /// An init section, part or segment by file name; the part that is hinted next is held.
    pub(super) async fn media(&self, file: &str) -> Result<Media, Refusal> {
        match File::parse(file).ok_or(Refusal::NotFound("no such file"))? {
            File::Init(index) => {
                let init = self.lock().window.init(index);
                init.map(Media::one).ok_or(Refusal::NotFound("no such init section"))
            }
            File::Segment(msn) => self.segment(msn),
            File::Part(msn, part) => self.part(msn, part).await,
        }
    }

    /// What the multivariant playlist says of it; None before its first segment.
    pub(super) fn measured(&self) -> Option<Measured> {
        let state = self.lock();
        let (peak, average) = state.window.bandwidth();
        let configs = state.window.configs().to_vec();
        (!configs.is_empty()).then_some(Measured { peak, average, configs })
    }

    /// Segments that are whole, and the last part; for pages and the API.
    pub(super) fn position(&self) -> Option<Position> {
        self.lock().window.position()
    }

    /// How evenly its parts come.
    pub(super) fn spacing(&self) -> Option<Spacing> {
        self.lock().pace.spacing(Instant::now())
    }

    fn page(&self, reload: Reload) -> Result<Rendered, Refusal> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.window.last_closed().is_none() {
            return Err(Refusal::NotYet { reason: STARTING, retry_after: Duration::from_secs(1) });
        }
        let State { window, pages, .. } = state;
        if reload.plain {
            return Ok(pages.plain.get_or_insert_with(|| self.render(window, View::Plain)).clone());
        }
        pages.meet(self.others(&self.positions()));
        if reload.skip {
            let delta = pages.delta.get_or_insert_with(|| self.write(window, View::Delta));
            if let Some(delta) = delta {
                return Ok(delta.clone());
            }
        }
        Ok(pages.full.get_or_insert_with(|| self.render(window, View::Full)).clone())
    }

    fn segment(&self, msn: u64) -> Result<Media, Refusal> {
        let state = self.lock();
        match state.window.segment(msn) {
            Some(segment) if segment.gap => Err(Refusal::NotFound("the segment is a gap: it could not be made")),
            Some(segment) if segment.closed && !segment.parts.is_empty() => {
                Ok(Media::run(segment.parts.iter().map(|part| part.bytes.clone()).collect()))
            }
            Some(_) => Err(Refusal::NotFound("the segment is not complete")),
            None => Err(Refusal::NotFound("the segment is not in the window")),
        }
    }

    async fn part(&self, msn: u64, part: u64) -> Result<Media, Refusal> {
        {
            let state = self.lock();
            if let Some(media) = state.window.part(msn, part) {
                return Ok(media);
            }
            if state.window.ended || !state.window.next_may_be((msn, part)) {
                return Err(Refusal::NotFound("the part is not in the window, and not the next one to come"));
            }
        }
        self.wait((msn, part), "the part did not come in time; the publisher may be gone").await?;
        self.lock().window.part(msn, part).ok_or(Refusal::NotFound("the segment ended before this part"))
    }

    async fn wait(&self, wanted: Position, reason: &'static str) -> Result<(), Refusal> {
        let lead = self.lead.as_ref().and_then(|lead| lead.position());
        let waiter = {
            let mut state = self.lock();
            if state.window.ended || state.window.has(wanted) {
                return Ok(());
            }
            if state.window.too_far(wanted, lead) {
                return Err(Refusal::BadRequest(
                    "_HLS_msn or _HLS_part is too far ahead (RFC 8216bis section 6.2.5.2)",
                ));
            }
            state.waiters.add(wanted)?
        };
        let patience = Duration::from_secs(u64::from(self.shared.plan.target_duration * BLOCK_TARGETS));
        match tokio::time::timeout(patience, waiter).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::NotYet { reason, retry_after: Duration::from_secs(1) }),
        }
    }

    fn render(&self, window: &Window, view: View) -> Rendered {
        self.write(window, view).unwrap_or_else(|| Rendered::new(String::new(), Duration::ZERO))
    }

    fn write(&self, window: &Window, view: View) -> Option<Rendered> {
        let reports: Vec<Report> = self.others(&self.positions()).cloned().collect();
        let frame = playlist::Frame {
            path: &self.path,
            began: self.shared.began,
            part_hold_back: self.shared.part_hold_back,
            reports: &reports,
        };
        let text = playlist::media(window, &frame, view)?;
        Some(Rendered::new(text, self.shared.plan.part_target.duration()))
    }

    /// Says how far this rendition is.
    fn report(&self, own: Option<Position>) {
        let Some(own) = own else { return };
        let mut positions = self.positions();
        match positions.iter_mut().find(|(name, _)| *name == self.name) {
            Some((_, position)) => *position = own,
            None => positions.push((self.name.clone(), own)),
        }
    }

    /// How far the others are.
    fn others<'a>(&self, positions: &'a [Report]) -> impl Iterator<Item = &'a Report> + Clone {
        positions.iter().filter(move |(name, _)| *name != self.name)
    }

    fn positions(&self) -> MutexGuard<'_, Vec<Report>> {
        self.shared.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const STARTING: &str = "the stream is starting: its first segment is not complete";

impl State {
    /// Everyone whose part exists now. Who waits for a part that its segment turned out not to have waits for the first
    /// of the next segment (section 6.2.5.2).
    fn take_ready(&mut self) -> Vec<oneshot::Sender<()>> {
        if self.window.last_closed().is_none() {
            return Vec::new();
        }
        let is_ready = |wanted: &Position| self.window.has(*wanted);
        let positions: Vec<Position> = self.waiters.by_position.keys().copied().filter(is_ready).collect();
        positions.into_iter().flat_map(|position| self.waiters.take(position)).collect()
    }
}

impl Window {
    /// True once a playlist answers a request for this position.
    fn has(&self, (msn, part): Position) -> bool {
        let Some((last, parts)) = self.position() else { return false };
        if last > msn {
            // A part past the end of its segment means the first part of the next one, which exists.
            return true;
        }
        let closed = self.last_closed().is_some_and(|segment| segment.msn >= msn);
        match part {
            WHOLE => closed,
            part => last == msn && parts >= part,
        }
    }

    /// Section 6.2.5.2: two segments, or three seconds of parts, beyond the end of the playlist.
    /// A rung is as far as the rendition that it follows.
    fn too_far(&self, (msn, part): Position, lead: Option<Position>) -> bool {
        let (last, parts) = self.position().max(lead).unwrap_or((0, 0));
        let base = if msn <= last { parts } else { 0 };
        let advance = (3.0 / self.plan.part_target.seconds().min(1.0)).ceil() as u64;
        msn > last + ADVANCE_SEGMENTS || (part != WHOLE && part > base + advance)
    }

    /// Whether this can be the next part: of the open segment, or the first of the next.
    fn next_may_be(&self, wanted: Position) -> bool {
        let (last, parts) = self.position().unwrap_or((0, 0));
        wanted == self.hint() || wanted == (last, parts + 1) || wanted == (last + 1, 0)
    }

    fn part(&self, msn: u64, part: u64) -> Option<Media> {
        let part = self.segment(msn)?.parts.get(usize::try_from(part).ok()?)?;
        (!part.gap).then(|| Media::one(part.bytes.clone()))
    }
}

impl Waiters {
    fn add(&mut self, wanted: Position) -> Result<oneshot::Receiver<()>, Refusal> {
        if self.count >= MAX_WAITERS {
            self.forget_gone();
        }
        if self.count >= MAX_WAITERS {
            return Err(Refusal::NotYet { reason: "too many requests wait", retry_after: Duration::from_secs(1) });
        }
        let (wake, waiter) = oneshot::channel();
        self.by_position.entry(wanted).or_default().push(wake);
        self.count += 1;
        Ok(waiter)
    }

    fn take(&mut self, position: Position) -> Vec<oneshot::Sender<()>> {
        let taken = self.by_position.remove(&position).unwrap_or_default();
        self.count -= taken.len();
        taken
    }

    fn forget_gone(&mut self) {
        self.by_position.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.count = self.by_position.values().map(Vec::len).sum();
    }

    fn take_all(&mut self) -> Vec<oneshot::Sender<()>> {
        self.count = 0;
        std::mem::take(&mut self.by_position).into_values().flatten().collect()
    }
}

fn wake(waiters: Vec<oneshot::Sender<()>>) {
    for waiter in waiters {
        // Who has gone away needs no answer.
        let _ = waiter.send(());
    }
}

/// What a media file name asks for.
#[derive(Debug, PartialEq, Eq)]
enum File {
    Init(usize),
    Segment(u64),
    Part(u64, u64),
}

impl File {
    fn parse(name: &str) -> Option<File> {
        if let Some(index) = name.strip_prefix("init-") {
            return Some(File::Init(number(index.strip_suffix(".mp4")?)?.try_into().ok()?));
        }
        let name = name.strip_suffix(".m4s")?;
        match name.split_once('.') {
            Some((msn, part)) => Some(File::Part(number(msn)?, number(part)?)),
            None => Some(File::Segment(number(name)?)),
        }
    }
}

/// Digits without sign or leading zero, so that each file has one name.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl Media {
    fn one(bytes: Bytes) -> Media {
        Media { length: bytes.len(), chunks: Arc::new([bytes]) }
    }

    fn run(chunks: Vec<Bytes>) -> Media {
        Media { length: chunks.iter().map(Bytes::len).sum(), chunks: chunks.into() }
    }
}

#[cfg(test)]
#[path = "rendition_tests.rs"]
mod tests;
