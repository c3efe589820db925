//! The ladder: rungs of other sizes and bit rates, made from a stream by worker processes of this same program, each
//! frame on the stream's own timeline and each segment on its cuts. `server` starts the [`Transcoder`]; `main` calls
//! [`worker::run`] in a child process. Packages nothing; talks to viewers never.

mod backlog;
mod child;
mod crew;
mod lab;
mod ladder;
mod level;
mod listening;
mod load;
mod policy;
mod status;
mod stills;
mod tracks;
pub mod wire;
pub mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use child::Program;
pub use policy::{Mode, Rule, Rules};
pub use status::{LadderStatus, RungStatus};

use crate::current::Current;
use crate::hub::{Event, Hub, Stream};
use status::Board;
pub use worker::probe::Probed;

/// Says what ladder a stream of this name has.
pub type Choose = Arc<dyn Fn(&str) -> Rules + Send + Sync>;

/// Policies and bounds; defaults in `config`.
#[derive(Clone)]
pub struct Settings {
    /// How workers are started.
    pub program: Program,
    /// The ladder of each stream.
    pub choose: Choose,
    /// Any stream may have one.
    pub ladders: bool,
    /// A rung stops so long after it was last asked for.
    pub idle: Duration,
    /// GStreamer's name of the H.264 encoder to try first; None: the best that works.
    pub encoder: Option<String>,
    /// x264's speed preset.
    pub preset: String,
    /// Bits a second of sound that is made anew.
    pub sound_bitrate: u64,
    /// A worker that holds more bytes is replaced.
    pub worker_memory: u64,
    /// How far workers step back behind the server.
    pub nice: i32,
    /// Ladders that may be at work at a time.
    pub max_ladders: usize,
    /// Bytes that one rung's log, and the backlog of a source, may hold.
    pub log_bytes: usize,
    /// How often a still of each stream is made; None: never.
    pub stills: Option<Duration>,
    /// Width of stills in pixels, at most.
    pub still_width: u32,
    /// How often the sound of each stream is measured; None: never.
    pub listen: Option<Duration>,
}

/// Makes the ladders of all streams. Cheap to clone.
#[derive(Clone)]
pub struct Transcoder {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Hub,
    settings: Current<Settings>,
    /// x264's speed preset that the machine was last asked about: another one may write another profile.
    preset: Current<String>,
    /// What this machine can do; None until it is known.
    probed: tokio::sync::watch::Sender<Option<Arc<Vec<Probed>>>>,
    board: Board,
    /// Ladders that are at work.
    at_work: Arc<AtomicUsize>,
}

impl Transcoder {
    /// Nothing is made until [`Transcoder::follow`] runs.
    pub fn new(hub: Hub, settings: Settings) -> Transcoder {
        let (preset, settings) = (Current::new(settings.preset.clone()), Current::new(settings));
        let (probed, at_work) = (tokio::sync::watch::Sender::new(None), Arc::default());
        Transcoder { shared: Arc::new(Shared { hub, settings, preset, probed, board: Board::default(), at_work }) }
    }

    /// Other settings: how many ladders may be at work, when idle rungs stop, stills and the measuring of sound at once; all
    /// else from the next start of a stream on.
    pub fn apply(&self, settings: Settings) {
        self.shared.settings.set(settings);
    }

    /// Finds out what the machine can do, then decides on a ladder for every stream of the hub and makes its rungs, until
    /// stopped. Run once.
    pub async fn follow(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut events = self.shared.hub.events();
        for stream in self.shared.hub.streams() {
            tasks.spawn(ladder::run(self.shared.clone(), stream));
        }
        tasks.spawn(self.clone().keep_probed());
        tasks.spawn(lab::run(self.shared.hub.clone(), self.shared.settings.follow()));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = tasks.join_next() => {}
                event = events.next() => match event {
                    Ok(Some(Event::Started(stream))) => {
                        if let Some(stream) = stream.upgrade() {
                            tasks.spawn(ladder::run(self.shared.clone(), stream));
                        }
                    }
                    Ok(Some(Event::Ended(_))) => {}
                    Ok(None) => return,
                    Err(lagged) => {
                        tracing::error!(%lagged, "the ladder missed events of the hub");
                        events.skip_to_newest_start();
                        let undecided = |stream: &Arc<Stream>| stream.ladder().borrow().is_none();
                        for stream in self.shared.hub.streams().into_iter().filter(undecided) {
                            tasks.spawn(ladder::run(self.shared.clone(), stream));
                        }
                    }
                },
            }
        }
    }

    /// What the ladders are doing, by stream name.
    pub fn ladders(&self) -> Vec<Arc<LadderStatus>> {
        self.shared.board.all()
    }

    /// What the ladder of one stream is doing.
    pub fn ladder(&self, stream: &str) -> Option<Arc<LadderStatus>> {
        self.shared.board.of(stream)
    }

    /// The encoders and decoders that were looked for, and what became of each; empty until that is known.
    pub fn probed(&self) -> Arc<Vec<Probed>> {
        self.shared.probed.borrow().clone().unwrap_or_default()
    }

    /// H.264 encoders that work, the best first.
    pub fn encoders(&self) -> Vec<String> {
        self.shared.encoders(&self.probed())
    }

    /// What the ladders of single streams are doing, as Prometheus has it: of so many, the first by name.
    pub fn render_metrics(&self, most: usize) -> String {
        self.shared.board.render(most)
    }

    /// Brings what is counted over all ladders up to date.
    pub fn meter(&self) {
        self.shared.board.meter();
    }

    /// Finds out what works here as soon as any stream may have rungs, and again for another preset.
    async fn keep_probed(self) {
        let mut settings = self.shared.settings.follow();
        let mut known = None;
        loop {
            let current = settings.borrow_and_update().clone();
            if current.ladders && known.as_ref() != Some(&current.preset) {
                self.probe(&current.preset).await;
                known = Some(current.preset.clone());
            } else if settings.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks a worker what works here. Without an answer there are no ladders.
    async fn probe(&self, preset: &str) {
        let answer = self.shared.settings.get().program.probe(preset).await;
        let probed: Vec<Probed> = match answer.map(|json| serde_json::from_slice(&json)) {
            Ok(Ok(probed)) => probed,
            Ok(Err(error)) => {
                tracing::error!(%error, "no ladders: what the worker says of this machine cannot be read");
                Vec::new()
            }
            Err(error) => {
                tracing::error!(%error, "no ladders: a worker could not find out what this machine encodes with");
                Vec::new()
            }
        };
        let (works, fails): (Vec<&Probed>, Vec<&Probed>) = probed.iter().partition(|probed| probed.works);
        let fails =
            fails.iter().map(|probed| format!("{} ({})", probed.name, probed.why)).collect::<Vec<_>>().join(", ");
        let encoders = self.shared.encoders(&probed);
        match encoders.first() {
            Some(first) => {
                tracing::info!(encoder = %first, fallbacks = ?&encoders[1..], without = %fails, "ladders are encoded")
            }
            None => {
                tracing::error!(without = %fails, found = works.len(), "no ladders: no H.264 encoder works here; install GStreamer's plugins (ugly for x264, bad for openh264)")
            }
        }
        self.shared.preset.set(preset.to_owned());
        self.shared.probed.send_replace(Some(Arc::new(probed)));
    }
}

impl fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcoder").finish_non_exhaustive()
    }
}

impl Shared {
    /// The profile and constraints, in hexadecimal, that the encoder writes which is tried first: so a rung's codec string is
    /// known before it is made.
    fn profile(&self, probed: &[Probed]) -> Option<String> {
        let first = self.encoders(probed).into_iter().next()?;
        probed.iter().find(|probed| probed.name == first)?.profile.clone()
    }

    /// H.264 encoders that work, the best first.
    fn encoders(&self, probed: &[Probed]) -> Vec<String> {
        let working = probed.iter().filter(|probed| probed.works && probed.kind == worker::probe::H264_ENCODER);
        let mut names: Vec<String> = working.map(|probed| probed.name.clone()).collect();
        if let Some(wanted) = &self.settings.get().encoder {
            names.sort_by_key(|name| name != wanted);
        }
        names
    }
}
