//! The renditions that are made from a stream: what each rung is, its frame log, and who asks for it. `transcode` decides
//! on the rungs and appends to them; packagers follow their logs and tell when a viewer asks. Makes nothing itself.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::Budget;
use super::log::{Log, Reader};
use crate::media::Frame;

/// What a rung is, fixed while its ladder stands.
#[derive(Clone, Debug, PartialEq)]
pub struct RungSpec {
    /// In URLs: `720p`, `720p60`, `aac`.
    pub name: String,
    /// The pictures; None for a rung of sound alone.
    pub pictures: Option<Pictures>,
    /// Bits a second of the sound that goes with them, and its RFC 6381 codec string; None: without sound.
    pub sound: Option<Sound>,
}

/// The pictures of a rung.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// At most so many pictures a second.
    pub frame_rate: Option<f64>,
    /// Bits a second.
    pub bitrate: u64,
    /// H.264 level times ten.
    pub level: u8,
    /// RFC 6381 codec string.
    pub codecs: String,
}

/// The sound of a rung.
#[derive(Clone, Debug, PartialEq)]
pub struct Sound {
    /// RFC 6381 codec string.
    pub codecs: String,
    /// Bits a second.
    pub bitrate: u64,
    /// Another codec, rate or number of channels than the source's: made anew. Else the source's frames as they are.
    pub transcoded: bool,
}

/// What a rung is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RungState {
    /// Nobody asks for it.
    Cold,
    /// It was asked for; its first frame has not come yet.
    Starting,
    /// Frames come.
    Live,
    /// Too much for this machine for now: not offered, and refused to who asks.
    Shed,
}

/// What the operator wants of a rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// It is made as it is asked for.
    #[default]
    Auto,
    /// It is made, whoever asks.
    Start,
    /// It is not made, and not offered.
    Stop,
}

impl Order {
    /// As the API has it.
    pub fn name(self) -> &'static str {
        match self {
            Order::Auto => "auto",
            Order::Start => "start",
            Order::Stop => "stop",
        }
    }

    /// The order of a name.
    pub fn of(name: &str) -> Option<Order> {
        [Order::Auto, Order::Start, Order::Stop].into_iter().find(|order| order.name() == name)
    }
}

/// All rungs of one epoch of a stream.
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Arc<Rung>>,
    stand_in: Option<Arc<Rung>>,
    spoken: Option<Arc<Rung>>,
    misfit: OnceLock<&'static str>,
    asked: Asked,
    wake: Notify,
}

/// One rung.
#[derive(Debug)]
pub struct Rung {
    spec: RungSpec,
    log: Log<Frame>,
    state: watch::Sender<RungState>,
    asked: Asked,
    order: AtomicU8,
}

/// When something was last asked for, in milliseconds of a process-wide clock; 0 is never.
#[derive(Debug, Default)]
struct Asked(AtomicU64);

impl Ladder {
    /// Of these rungs, the best first. `stand_in`: offered in place of a source that players cannot switch to.
    pub fn new(rungs: Vec<Arc<Rung>>, stand_in: Option<Arc<Rung>>) -> Ladder {
        let misfit = OnceLock::new();
        Ladder { rungs, stand_in, spoken: None, misfit, asked: Asked::default(), wake: Notify::new() }
    }

    /// With a rung of sound as conversations have it, for viewers that take no other; offered to nobody else.
    pub fn with_spoken(self, spoken: Option<Arc<Rung>>) -> Ladder {
        Ladder { spoken, ..self }
    }

    /// The rungs that are offered beside the source, the best first.
    pub fn rungs(&self) -> &[Arc<Rung>] {
        &self.rungs
    }

    /// The rung of the source's own size.
    pub fn stand_in(&self) -> Option<&Arc<Rung>> {
        self.stand_in.as_ref()
    }

    /// The rung of sound in Opus, of a source whose sound is in another codec.
    pub fn spoken(&self) -> Option<&Arc<Rung>> {
        self.spoken.as_ref()
    }

    /// Every rung, offered or not, the best first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Rung>> {
        self.stand_in.iter().chain(&self.rungs).chain(&self.spoken)
    }

    /// Why players cannot switch to the source, in words for its broadcaster: then the stand-in is offered instead.
    pub fn misfit(&self) -> Option<&'static str> {
        self.misfit.get().copied()
    }

    pub(super) fn set_misfit(&self, why: &'static str) {
        self.misfit.get_or_init(|| why);
    }

    /// A viewer asks for the stream: whichever rendition. Costs a few nanoseconds; call it with every request.
    pub fn ask(&self) {
        if self.asked.now(QUIET) {
            self.wake.notify_one();
        }
    }

    /// A viewer asks for this rung.
    pub fn ask_for(&self, rung: &Rung) {
        let quiet = if rung.state() == RungState::Cold { Duration::ZERO } else { QUIET };
        let woken = rung.asked.now(quiet);
        if self.asked.now(QUIET) || woken {
            self.wake.notify_one();
        }
    }

    /// A viewer asks for this rung, and for no other: it will not change to one.
    pub fn ask_for_only(&self, rung: &Rung) {
        let quiet = if rung.state() == RungState::Cold { Duration::ZERO } else { QUIET };
        if rung.asked.now(quiet) {
            self.wake.notify_one();
        }
    }

    /// What the operator wants of a rung from now on. False for no such rung.
    pub fn order(&self, rung: &str, order: Order) -> bool {
        let Some(rung) = self.all().find(|known| known.spec().name == rung) else { return false };
        rung.order.store(order as u8, Ordering::Relaxed);
        self.wake.notify_one();
        true
    }

    /// Somebody asked for the stream, whichever rendition, within this time.
    pub fn watched_within(&self, time: Duration) -> bool {
        self.asked.within(time)
    }

    /// Resolves when somebody asks after a silence. Cancel-safe; one waiter.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Rung {
    /// A cold rung whose log keeps at most `limit` bytes, counted in `budget` as well.
    pub fn new(spec: RungSpec, limit: usize, budget: &Budget) -> Rung {
        let state = watch::Sender::new(RungState::Cold);
        Rung { spec, log: Log::new(limit, budget), state, asked: Asked::default(), order: AtomicU8::default() }
    }

    /// What it is.
    pub fn spec(&self) -> &RungSpec {
        &self.spec
    }

    /// What the operator wants of it.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            at if at == Order::Start as u8 => Order::Start,
            at if at == Order::Stop as u8 => Order::Stop,
            _ => Order::Auto,
        }
    }

    /// Opens readers on its frames: pictures and their sound, on the stream's timeline, with the stream's cuts.
    pub fn frames(&self) -> Reader<Frame> {
        self.log.reader()
    }

    /// Appends a frame. For the ladder alone.
    pub fn push(&self, frame: Frame) {
        self.log.push(frame);
    }

    /// No more frames will come: the stream's epoch is over. For the ladder alone.
    pub fn close(&self) {
        self.log.close();
    }

    /// What it is doing.
    pub fn state(&self) -> RungState {
        *self.state.borrow()
    }

    /// Follows what it is doing.
    pub fn states(&self) -> watch::Receiver<RungState> {
        self.state.subscribe()
    }

    /// It does something else from now on. For the ladder alone.
    pub fn turn(&self, state: RungState) {
        self.state.send_if_modified(|present| std::mem::replace(present, state) != state);
    }

    /// Somebody asked for it within this time.
    pub fn asked_within(&self, time: Duration) -> bool {
        self.asked.within(time)
    }
}

impl RungState {
    /// As pages, metrics and the API name it.
    pub fn name(self) -> &'static str {
        match self {
            RungState::Cold => "cold",
            RungState::Starting => "starting",
            RungState::Live => "live",
            RungState::Shed => "shed",
        }
    }
}

impl Asked {
    /// Says whether nobody had asked for at least `quiet`.
    fn now(&self, quiet: Duration) -> bool {
        let now = clock();
        let before = self.0.load(Ordering::Relaxed);
        // Most of a thousand viewers' requests find the present millisecond written and leave it alone.
        if before != now {
            self.0.store(now, Ordering::Relaxed);
        }
        before == 0 || Duration::from_millis(now.saturating_sub(before)) >= quiet
    }

    fn within(&self, time: Duration) -> bool {
        let asked = self.0.load(Ordering::Relaxed);
        asked > 0 && Duration::from_millis(clock().saturating_sub(asked)) < time
    }
}

/// Who asks after so long a silence wakes the ladder; until then it looks by itself.
const QUIET: Duration = Duration::from_secs(1);

/// Milliseconds since the first question in this process, from 1.
fn clock() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_remembered_and_wakes_the_ladder_after_a_silence() {
        let spec = RungSpec { name: "360p".into(), pictures: None, sound: None };
        let rung = Arc::new(Rung::new(spec, 1024, &Budget::new(1024)));
        let ladder = Ladder::new(vec![rung.clone()], None);
        assert!(!ladder.watched_within(Duration::MAX) && !rung.asked_within(Duration::MAX));
        ladder.ask();
        assert!(ladder.watched_within(Duration::from_secs(5)) && !rung.asked_within(Duration::MAX));
        ladder.ask_for(&rung);
        assert!(rung.asked_within(Duration::from_secs(5)));
        assert!(!rung.asked.now(QUIET), "it was asked for just now");
        assert_eq!(rung.state(), RungState::Cold);
        rung.turn(RungState::Live);
        assert_eq!(rung.state().name(), "live");
    }
}
