//! One rung of the ladder as viewers see it: packages what its log brings, on the plan of the source, while somebody asks.
//! Owned by the presentation. Never makes frames.

use std::sync::Arc;
use std::time::Duration;

use super::multivariant::{Sound, Variant};
use super::packager::{Packaged, Packager, Plan};
use super::rendition::{self, Rendition};
use super::segmenter::Output;
use super::{Refusal, Reload, Rendered};
use crate::hub::{From, Ladder, Rung, RungState};
use crate::media::Codec;

/// A rung and its rendition.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    ladder: Arc<Ladder>,
    rung: Arc<Rung>,
    rendition: Arc<Rendition>,
    plan: Plan,
}

impl Shown {
    /// `shared`: of the presentation, whose source's rendition is `lead`.
    pub(super) fn new(
        (ladder, rung): (Arc<Ladder>, Arc<Rung>),
        shared: &Arc<rendition::Shared>,
        lead: Option<Arc<Rendition>>,
        memory: crate::hub::Share,
    ) -> Shown {
        let spec = rung.spec();
        let plan = Plan { video: spec.pictures.is_some(), audio: spec.sound.is_some(), ..shared.plan };
        let rendition = Arc::new(Rendition::new(&spec.name, shared.clone(), lead, memory));
        Shown { ladder, rung, rendition, plan }
    }

    pub(super) fn rendition(&self) -> &Arc<Rendition> {
        &self.rendition
    }

    /// It may be listed: the machine can make it.
    pub(super) fn is_offered(&self) -> bool {
        self.rung.state() != RungState::Shed
    }

    /// Packages until the rung's log is closed or reading stops.
    pub(super) async fn run(self) {
        let mut states = self.rung.states();
        let mut frames = self.rung.frames().cursor(From::Oldest);
        let mut packager = Packager::of_rung(self.plan);
        let mut out = Vec::new();
        loop {
            tokio::select! {
                // In this order: what was made before the rung stopped is packaged before it rests.
                biased;
                frame = frames.next() => match frame {
                    Ok(Some(frame)) => packager.push(frame, &mut out),
                    Ok(None) => break,
                    Err(lagged) => {
                        metrics::counter!(crate::metrics::HUB_READERS_LAGGED).increment(1);
                        tracing::warn!(rung = %self.rung.spec().name, %lagged, "packaging a rung fell behind");
                        frames.skip_to_newest_start();
                        packager = Packager::of_rung(self.plan);
                    }
                },
                changed = states.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if matches!(*states.borrow_and_update(), RungState::Cold | RungState::Shed) {
                        packager = Packager::of_rung(self.plan);
                        self.rendition.rest();
                    }
                }
            }
            self.deliver(&mut out);
        }
        packager.finish(&mut out);
        self.deliver(&mut out);
        self.rendition.end();
    }

    fn deliver(&self, out: &mut Vec<Packaged>) {
        if out.is_empty() {
            return;
        }
        let outputs = out.drain(..).filter_map(|packaged| match packaged {
            Packaged::Track(_, output) => Some(output),
            Packaged::Open(_) => None,
        });
        let outputs: Vec<Output> = outputs.collect();
        let parts = outputs.iter().filter(|output| matches!(output, Output::Part(_))).count();
        metrics::counter!(crate::metrics::HLS_PARTS, "rendition" => self.rung.spec().name.clone())
            .increment(parts as u64);
        self.rendition.append(outputs.into_iter());
    }

    /// Its media playlist. Asking for it is what makes it be made: the first answer is held until it is there.
    pub(super) async fn playlist(&self, reload: Reload, patience: Duration) -> Result<Rendered, Refusal> {
        self.ask()?;
        self.rendition.ready(patience).await?;
        self.rendition.playlist(reload).await
    }

    /// Somebody watches it.
    pub(super) fn ask(&self) -> Result<(), Refusal> {
        self.ladder.ask_for(&self.rung);
        if self.is_offered() {
            return Ok(());
        }
        Err(Refusal::NotFound("this rung is not made at present: it is too much for the server; take another"))
    }

    /// What the multivariant playlist says of it, also before it is made.
    pub(super) fn variant(&self) -> Variant {
        let spec = self.rung.spec();
        let measured = self.rendition.measured();
        let bits = spec.pictures.as_ref().map_or(0, |pictures| pictures.bitrate);
        let sound = spec.sound.as_ref().map_or(0, |sound| sound.bitrate);
        let promised = bits * PEAK_HEADROOM / 100 + sound;
        let peak = measured.as_ref().map_or(0, |measured| measured.peak) * PEAK_HEADROOM / 100;
        let average = measured.as_ref().map(|measured| measured.average).filter(|average| *average > 0);
        let codecs = match &measured {
            Some(measured) => measured.configs.iter().map(|config| config.codecs().to_owned()).collect(),
            None => {
                let pictures = spec.pictures.iter().map(|pictures| pictures.codecs.clone());
                pictures.chain(spec.sound.iter().map(|sound| sound.codecs.clone())).collect::<Vec<String>>()
            }
        };
        let rate = self.plan.frame_rate;
        Variant {
            name: spec.name.clone(),
            bandwidth: promised.max(peak),
            average: average.unwrap_or(bits + sound),
            codecs: codecs.join(","),
            resolution: spec.pictures.as_ref().map(|pictures| (pictures.width, pictures.height)),
            frame_rate: spec
                .pictures
                .as_ref()
                .and_then(|pictures| pictures.frame_rate)
                .map_or(rate, |cap| cap.min(rate)),
            sound: spec.sound.as_ref().map(|sound| Sound { group: group(&sound.codecs), channels: 2 }),
        }
    }
}

/// GROUP-ID of the sound of a codec.
pub(super) fn group(codecs: &str) -> &'static str {
    if codecs.starts_with("mp4a") { "aac" } else { Codec::Opus.name() }
}

/// An encoder that keeps to its bit rate over a second overruns it within a segment: percent that BANDWIDTH says.
const PEAK_HEADROOM: u64 = 130;
