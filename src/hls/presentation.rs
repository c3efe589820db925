//! One epoch of a stream as viewers see it: the renditions, and the task that fills them from the frame log.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use metrics::Counter;
use tokio::sync::watch;

use super::multivariant;
use super::packager::{Packaged, Packager, Plan};
use super::rendition::{self, Rendition};
use super::segmenter::Output;
use super::{Media, Progress, Refusal, Reload, Rendered, Settings};
use crate::hub::{Budget, Cursor, Stream};
use crate::media::{Frame, Kind, Time};

/// One epoch.
#[derive(Debug)]
pub(super) struct Presentation {
    epoch: u64,
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
    plan: Plan,
    started: OnceLock<()>,
    video: Option<Rendition>,
    audio: Option<Rendition>,
    written: Mutex<Option<[Rendered; 2]>>,
    counters: Counters,
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
    pub(super) fn new(epoch: u64) -> Presentation {
        Presentation { epoch, opened: watch::Sender::new(None) }
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
        let over = loop {
            match frames.next().await {
                Ok(Some(frame)) => packager.push(frame, &mut packaged),
                Ok(None) => break Over::Ended,
                Err(lagged) => {
                    metrics::counter!("headwater_hub_readers_lagged_total").increment(1);
                    tracing::error!(stream = %stream.name(), %lagged, "the packager fell behind; the stream starts anew");
                    break Over::Renew;
                }
            }
            self.deliver(&mut packaged, stream, settings, budget);
            if packager.hopeless() {
                tracing::warn!(stream = %stream.name(), "frames come farther apart than parts may last; the stream starts anew");
                break Over::Renew;
            }
        };
        packager.finish(&mut packaged);
        self.deliver(&mut packaged, stream, settings, budget);
        if let Some(renditions) = &*self.opened.borrow() {
            renditions.all().for_each(Rendition::end);
        }
        over
    }

    /// See [`super::Hls::multivariant`].
    pub(super) async fn multivariant(&self, plain: bool, patience: Duration) -> Result<Rendered, Refusal> {
        let renditions = self.opened(patience).await?;
        renditions.ready(patience).await?;
        let [full, plainly] = renditions.multivariant();
        Ok(if plain { plainly } else { full })
    }

    /// See [`super::Hls::playlist`].
    pub(super) async fn playlist(&self, name: &str, reload: Reload, patience: Duration) -> Result<Rendered, Refusal> {
        let renditions = self.opened(patience).await?;
        let rendition = renditions.by_name(name)?;
        renditions.ready(patience).await?;
        rendition.playlist(reload).await
    }

    /// See [`super::Hls::media`].
    pub(super) async fn media(&self, name: &str, file: &str) -> Result<Media, Refusal> {
        let renditions = self.opened.borrow().clone().ok_or(Refusal::NotFound("the stream is starting"))?;
        renditions.by_name(name)?.media(file).await
    }

    pub(super) fn progress(&self) -> Progress {
        let opened = self.opened.borrow().clone();
        let targets = opened.as_ref().map(|r| (r.plan.target_duration, r.plan.part_target.duration()));
        let renditions = opened.iter().flat_map(|renditions| renditions.all()).filter_map(|rendition| {
            let (msn, part) = rendition.position()?;
            Some((rendition.name(), msn, part))
        });
        Progress { epoch: self.epoch, targets, renditions: renditions.collect() }
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
        let open = |name| Rendition::new(name, shared.clone(), budget.take(0));
        let counter = |kind| metrics::counter!("headwater_hls_parts_total", "rendition" => kind);
        Renditions {
            plan,
            started: OnceLock::new(),
            video: plan.video.then(|| open(VIDEO)),
            audio: plan.audio.then(|| open(AUDIO)),
            written: Mutex::default(),
            counters: Counters {
                parts: [counter(VIDEO), counter(AUDIO)],
                segments: metrics::counter!("headwater_hls_segments_total"),
                discontinuities: metrics::counter!("headwater_hls_discontinuities_total"),
                short_parts: metrics::counter!("headwater_hls_short_parts_total"),
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
        let summaries: Vec<_> = self.all().filter_map(Rendition::summary).collect();
        [false, true].map(|plain| {
            let text = multivariant::write(&summaries, self.plan.frame_rate, plain);
            Rendered::new(text, Duration::from_secs(1))
        })
    }

    fn written(&self) -> MutexGuard<'_, Option<[Rendered; 2]>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every rendition has a playlist: each of them reports the others.
    async fn ready(&self, patience: Duration) -> Result<(), Refusal> {
        if self.started.get().is_none() {
            for rendition in self.all() {
                rendition.ready(patience).await?;
            }
            self.started.get_or_init(|| ());
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Rendition> {
        self.video.iter().chain(self.audio.iter())
    }

    fn by_name(&self, name: &str) -> Result<&Rendition, Refusal> {
        self.all().find(|rendition| rendition.name() == name).ok_or(Refusal::NotFound("no such rendition"))
    }
}
