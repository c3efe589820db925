//! One epoch of a stream as viewers see it: the renditions of the source and the rungs beside it, and the task that fills
//! them from the frame logs.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::multivariant::{self, Sound, Variant};
use super::packager::{Packaged, Packager, Plan};
use super::rendition::{self, Rendition};
use super::rung::{self, Shown};
use super::segmenter::Output;
use super::trail::Trail;
use super::{Media, Progress, Refusal, Reload, Rendered, RenditionProgress, Settings};
use crate::hub::{Budget, Cursor, Ladder, Rung, Stream};
use crate::media::{Config, Frame, Kind, Time};
use crate::traces;

/// One epoch.
#[derive(Debug)]
pub(super) struct Presentation {
    epoch: u64,
    /// How long the first request is held while the stream starts.
    patience: Duration,
    opened: watch::Sender<Option<Arc<Renditions>>>,
}

/// Why packaging stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The stream is over.
    Ended,
    /// This epoch's promises can no longer be kept; the stream goes on in another.
    Renew,
}

#[derive(Debug)]
struct Renditions {
    shared: Arc<rendition::Shared>,
    started: OnceLock<()>,
    video: Option<Arc<Rendition>>,
    audio: Option<Arc<Rendition>>,
    /// None until the ladder is decided on.
    rungs: watch::Sender<Option<Arc<Rungs>>>,
    written: Mutex<Option<[Rendered; 2]>>,
    counters: Counters,
}

/// The rungs beside the source.
#[derive(Debug)]
struct Rungs {
    ladder: Arc<Ladder>,
    /// Of the source's own size, offered instead of it where players cannot switch to it.
    stand_in: Option<Shown>,
    shown: Vec<Shown>,
}

#[derive(Debug)]
struct Counters {
    parts: [Counter; 2],
    segments: Counter,
    discontinuities: Counter,
    short_parts: Counter,
}

/// The source's pictures with their sound, and its sound alone.
const VIDEO: &str = "source";
const AUDIO: &str = "audio";

impl Presentation {
    pub(super) fn new(epoch: u64, patience: Duration) -> Presentation {
        Presentation { epoch, patience, opened: watch::Sender::new(None) }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Packages the stream until it ends.
    pub(super) async fn run(
        &self,
        stream: &Stream,
        mut frames: Cursor<Frame>,
        settings: &Settings,
        budget: &Budget,
    ) -> Over {
        let mut packager = Packager::new(settings.part_target());
        let mut packaged = Vec::new();
        let mut ladder = stream.ladder();
        let mut rungs = JoinSet::new();
        let mut laid = false;
        let mut trail = Trail::begin(self.epoch);
        let delay = metrics::histogram!(crate::metrics::HLS_PART_DELAY);
        let over = loop {
            let may_lay = !laid && self.opened.borrow().is_some();
            let frame = tokio::select! {
                biased;
                frame = frames.next() => frame,
                Ok(decided) = ladder.wait_for(Option::is_some), if may_lay => {
                    laid = true;
                    self.lay(decided.clone(), &mut rungs, budget);
                    continue;
                }
            };
            let taken = Instant::now();
            match frame {
                Ok(Some(frame)) => {
                    trail.iter_mut().for_each(|trail| trail.frame(&frame));
                    packager.push(frame, &mut packaged);
                }
                Ok(None) => break Over::Ended,
                Err(lagged) => {
                    metrics::counter!(crate::metrics::HUB_READERS_LAGGED).increment(1);
                    tracing::error!(stream = %stream.name(), %lagged, "the packager fell behind; the stream starts anew");
                    break Over::Renew;
                }
            }
            let followed = trail.as_mut().and_then(|trail| trail.about_to_publish(&packaged, stream, name_of));
            let complete = packaged.iter().any(Packaged::is_part);
            self.deliver(&mut packaged, stream, settings, budget);
            if complete {
                delay.record(taken.elapsed());
            }
            if let Some(path) = followed {
                traces::packaged(&path);
            }
            if packager.hopeless() {
                tracing::warn!(stream = %stream.name(), "frames come farther apart than parts may last; the stream starts anew");
                break Over::Renew;
            }
        };
        packager.finish(&mut packaged);
        self.deliver(&mut packaged, stream, settings, budget);
        self.end(over, rungs).await;
        over
    }

    /// Ends the source's renditions at once, and its rungs when what is on the way is through.
    async fn end(&self, over: Over, mut rungs: JoinSet<()>) {
        let Some(renditions) = self.opened.borrow().clone() else { return };
        renditions.of_source().for_each(|rendition| rendition.end());
        let all = async { while rungs.join_next().await.is_some() {} };
        let patience = if over == Over::Ended { FAREWELL } else { Duration::ZERO };
        let _ = tokio::time::timeout(patience, all).await;
        rungs.shutdown().await;
        renditions.shown().iter().for_each(|shown| shown.rendition().end());
    }

    /// The ladder is decided on: opens its rungs and follows them.
    fn lay(&self, ladder: Option<Arc<Ladder>>, tasks: &mut JoinSet<()>, budget: &Budget) {
        let (Some(renditions), Some(ladder)) = (self.opened.borrow().clone(), ladder) else { return };
        let lead = renditions.video.clone().or(renditions.audio.clone());
        let mut open = |rung: &Arc<Rung>| {
            let shown = Shown::new((ladder.clone(), rung.clone()), &renditions.shared, lead.clone(), budget.take(0));
            tasks.spawn(shown.clone().run());
            shown
        };
        let stand_in = ladder.stand_in().map(&mut open);
        let shown = ladder.rungs().iter().map(&mut open).collect();
        renditions.rungs.send_replace(Some(Arc::new(Rungs { ladder: ladder.clone(), stand_in, shown })));
        *renditions.written() = None;
    }

    /// See [`super::Hls::multivariant`].
    pub(super) async fn multivariant(&self, plain: bool) -> Result<Rendered, Refusal> {
        let renditions = self.opened(self.patience).await?;
        renditions.ready(self.patience).await?;
        renditions.laid().await;
        let [full, plainly] = renditions.multivariant();
        Ok(if plain { plainly } else { full })
    }

    /// See [`super::Hls::playlist`].
    pub(super) async fn playlist(&self, name: &str, reload: Reload) -> Result<Rendered, Refusal> {
        let patience = self.patience;
        let renditions = self.opened(patience).await?;
        renditions.ask();
        if let Some(rung) = renditions.rung(name) {
            return rung.playlist(reload, patience).await;
        }
        let rendition = renditions.by_name(name)?;
        renditions.ready(patience).await?;
        rendition.playlist(reload).await
    }

    /// See [`super::Hls::media`].
    pub(super) async fn media(&self, name: &str, file: &str) -> Result<Media, Refusal> {
        let renditions = self.opened.borrow().clone().ok_or(Refusal::NotFound("the stream is starting"))?;
        if let Some(rung) = renditions.rung(name) {
            rung.ask()?;
            return rung.rendition().media(file).await;
        }
        renditions.by_name(name)?.media(file).await
    }

    /// EXT-X-TARGETDURATION in seconds, once known.
    pub(super) fn target_duration(&self) -> Option<u32> {
        self.opened.borrow().as_ref().map(|renditions| renditions.shared.plan.target_duration)
    }

    pub(super) fn progress(&self) -> Progress {
        let opened = self.opened.borrow().clone();
        let plan = opened.as_ref().map(|renditions| renditions.shared.plan);
        let targets = plan.map(|plan| (plan.target_duration, plan.part_target.duration()));
        let all = opened.iter().flat_map(|renditions| renditions.all());
        let renditions = all.filter_map(|rendition| {
            let (msn, part) = rendition.position()?;
            Some(RenditionProgress { name: rendition.name().to_string(), msn, part, spacing: rendition.spacing() })
        });
        let hold_back = opened.as_ref().map(|renditions| renditions.shared.part_hold_back.duration());
        Progress { epoch: self.epoch, targets, hold_back, renditions: renditions.collect() }
    }

    async fn opened(&self, patience: Duration) -> Result<Arc<Renditions>, Refusal> {
        let mut opened = self.opened.subscribe();
        let waited = tokio::time::timeout(patience, opened.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(renditions)) => renditions.clone().ok_or(NOT_YET),
            _ => Err(NOT_YET),
        }
    }

    fn deliver(&self, packaged: &mut Vec<Packaged>, stream: &Stream, settings: &Settings, budget: &Budget) {
        let mut outputs: [Vec<Output>; 2] = Default::default();
        for item in packaged.drain(..) {
            match item {
                Packaged::Open(plan) => {
                    let renditions = Renditions::new(plan, self.epoch, stream, settings, budget);
                    self.opened.send_replace(Some(Arc::new(renditions)));
                }
                Packaged::Track(kind, output) => outputs[usize::from(kind == Kind::Audio)].push(output),
            }
        }
        let [video, audio] = outputs;
        if video.is_empty() && audio.is_empty() {
            return;
        }
        let Some(renditions) = self.opened.borrow().clone() else { return };
        renditions.append(Kind::Video, video);
        renditions.append(Kind::Audio, audio);
    }
}

/// How long rungs may go on when the source has ended: what their encoders still hold comes within this time.
const FAREWELL: Duration = Duration::from_secs(3);

fn name_of(kind: Kind) -> &'static str {
    if kind == Kind::Video { VIDEO } else { AUDIO }
}

const NOT_YET: Refusal = Refusal::NotYet {
    reason: "the stream is starting: its first segment is not complete",
    retry_after: Duration::from_secs(1),
};

impl Renditions {
    fn new(plan: Plan, epoch: u64, stream: &Stream, settings: &Settings, budget: &Budget) -> Renditions {
        let shared = Arc::new(rendition::Shared {
            epoch,
            plan,
            began: stream.began(),
            part_hold_back: plan.part_target.scaled(i64::from(settings.hold_back_parts.max(3)), 1),
            window: Time::from_duration(settings.window),
            positions: Mutex::default(),
        });
        let open = |name| Arc::new(Rendition::new(name, shared.clone(), None, budget.take(0)));
        let counter = |kind| metrics::counter!(crate::metrics::HLS_PARTS, "rendition" => kind);
        Renditions {
            started: OnceLock::new(),
            video: plan.video.then(|| open(VIDEO)),
            audio: plan.audio.then(|| open(AUDIO)),
            rungs: watch::Sender::new(None),
            shared,
            written: Mutex::default(),
            counters: Counters {
                parts: [counter(VIDEO), counter(AUDIO)],
                segments: metrics::counter!(crate::metrics::HLS_SEGMENTS),
                discontinuities: metrics::counter!(crate::metrics::HLS_DISCONTINUITIES),
                short_parts: metrics::counter!(crate::metrics::HLS_SHORT_PARTS),
            },
        }
    }

    fn append(&self, kind: Kind, outputs: Vec<Output>) {
        let rendition = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        };
        let Some(rendition) = rendition.as_ref().filter(|_| !outputs.is_empty()) else { return };
        self.count(kind, &outputs);
        let changes = |output: &Output| matches!(output, Output::Close | Output::Begin { init: Some(_), .. });
        let changed = outputs.iter().any(changes);
        rendition.append(outputs.into_iter());
        if changed {
            *self.written() = None;
        }
    }

    fn count(&self, kind: Kind, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Part(part) => {
                    self.counters.parts[usize::from(kind == Kind::Audio)].increment(1);
                    self.counters.short_parts.increment(u64::from(part.short));
                }
                Output::Close => self.counters.segments.increment(1),
                Output::Begin { cut, .. } if cut.discontinuity => self.counters.discontinuities.increment(1),
                Output::Begin { .. } => {}
            }
        }
    }

    /// The multivariant playlist and its plain twin, written again after a segment has changed what they say.
    fn multivariant(&self) -> [Rendered; 2] {
        self.written().get_or_insert_with(|| self.write_multivariant()).clone()
    }

    fn write_multivariant(&self) -> [Rendered; 2] {
        let rungs = self.rungs.borrow().clone();
        let rungs = rungs.as_deref();
        // A source that players cannot switch to gives way to the rung of its size.
        let misfit = rungs.is_some_and(|rungs| rungs.ladder.misfit().is_some());
        let stand_in = rungs.and_then(|rungs| rungs.stand_in.as_ref()).filter(|rung| misfit && rung.is_offered());
        let source = self.video.iter().filter(|_| stand_in.is_none()).filter_map(|source| self.variant(source));
        let (pictures, sound): (Vec<&Shown>, Vec<&Shown>) = rungs
            .iter()
            .flat_map(|rungs| &rungs.shown)
            .filter(|rung| rung.is_offered())
            .partition(|rung| rung.variant().resolution.is_some());
        let rungs = stand_in.into_iter().chain(pictures).chain(sound).map(Shown::variant);
        let alone = self.audio.iter().filter_map(|audio| self.variant(audio));
        let variants: Vec<Variant> = source.chain(rungs).chain(alone).collect();
        [false, true].map(|plain| Rendered::new(multivariant::write(&variants, plain), Duration::from_secs(1)))
    }

    /// What the playlist says of a rendition of the source.
    fn variant(&self, rendition: &Rendition) -> Option<Variant> {
        let measured = rendition.measured()?;
        let codecs: Vec<&str> = measured.configs.iter().map(|config| config.codecs()).collect();
        let resolution = measured.configs.iter().find_map(|config| match &**config {
            Config::Video(video) => Some((video.width, video.height)),
            Config::Audio(_) => None,
        });
        let sound = measured.configs.iter().find_map(|config| match &**config {
            Config::Audio(audio) => Some(Sound { group: rung::group(&audio.codecs), channels: audio.channels }),
            Config::Video(_) => None,
        });
        Some(Variant {
            name: rendition.name().to_string(),
            bandwidth: measured.peak * PEAK_HEADROOM / 100,
            average: measured.average,
            codecs: codecs.join(","),
            resolution,
            frame_rate: self.shared.plan.frame_rate,
            sound,
        })
    }

    fn written(&self) -> MutexGuard<'_, Option<[Rendered; 2]>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until each rendition of the source has a playlist: they report each other.
    async fn ready(&self, patience: Duration) -> Result<(), Refusal> {
        if self.started.get().is_none() {
            for rendition in self.of_source() {
                rendition.ready(patience).await?;
            }
            self.started.get_or_init(|| ());
        }
        Ok(())
    }

    /// Waits until the ladder is decided on, which is at the first frame: long before there is a playlist.
    async fn laid(&self) {
        let mut rungs = self.rungs.subscribe();
        let _ = tokio::time::timeout(DECISION, rungs.wait_for(Option::is_some)).await;
    }

    /// Somebody watches this stream.
    fn ask(&self) {
        if let Some(rungs) = &*self.rungs.borrow() {
            rungs.ladder.ask();
        }
    }

    fn of_source(&self) -> impl Iterator<Item = &Arc<Rendition>> {
        self.video.iter().chain(self.audio.iter())
    }

    fn all(&self) -> Vec<Arc<Rendition>> {
        let shown = self.shown();
        self.of_source().chain(shown.iter().map(Shown::rendition)).cloned().collect()
    }

    fn shown(&self) -> Vec<Shown> {
        let rungs = self.rungs.borrow();
        rungs.iter().flat_map(|rungs| rungs.stand_in.iter().chain(&rungs.shown)).cloned().collect()
    }

    fn rung(&self, name: &str) -> Option<Shown> {
        let rungs = self.rungs.borrow();
        let all = rungs.iter().flat_map(|rungs| rungs.stand_in.iter().chain(&rungs.shown));
        all.into_iter().find(|shown| &**shown.rendition().name() == name).cloned()
    }

    fn by_name(&self, name: &str) -> Result<&Arc<Rendition>, Refusal> {
        let named = |rendition: &&Arc<Rendition>| &**rendition.name() == name;
        self.of_source().find(named).ok_or(Refusal::NotFound("no such rendition"))
    }
}

/// Segments to come may be heavier than those measured: percent of the measured peak that BANDWIDTH says.
const PEAK_HEADROOM: u64 = 125;
/// The first playlist waits so long for the decision on the ladder, and then goes out without it.
const DECISION: Duration = Duration::from_secs(2);
