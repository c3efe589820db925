//! The rhythm of pictures: nominal frame rate, holes in it, and rates that vary. Reads decoding times alone, which are
//! regular whatever the order of pictures.

use std::collections::VecDeque;

use super::finding::{Code, Seen, Severity};
use super::rings::share;
use crate::media::{Frame, Time};

/// Distances of the newest pictures.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    last: Option<Time>,
    /// In microseconds.
    steps: VecDeque<u32>,
    span: u64,
}

/// What the distances say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beat {
    /// Pictures a second, were none missing.
    pub(super) rate: f64,
    /// Share of pictures that are missing.
    pub(super) missing: f64,
    /// Share of distances that fit no frame rate.
    pub(super) odd: f64,
}

impl Rhythm {
    pub(super) fn frame(&mut self, frame: &Frame) {
        let last = self.last.replace(frame.dts);
        let broken = frame.cut.is_some_and(|cut| cut.discontinuity);
        let Some(step) = last.filter(|_| !broken).map(|last| frame.dts - last) else { return };
        let micros = step.ticks(1_000_000);
        // Less is a repaired timestamp, more a break: neither is rhythm.
        if !(LEAST_STEP..MOST_STEP).contains(&micros) {
            return;
        }
        self.steps.push_back(micros as u32);
        self.span += micros as u64;
        while self.span > WINDOW || self.steps.len() > MOST_STEPS {
            self.span -= self.steps.pop_front().map_or(0, u64::from);
        }
    }

    pub(super) fn restart(&mut self) {
        *self = Rhythm::default();
    }

    /// None before there is enough to judge.
    pub(super) fn beat(&self) -> Option<Beat> {
        if self.span < LEAST_SPAN || self.steps.len() < LEAST_STEPS {
            return None;
        }
        let steps: Vec<f64> = self.steps.iter().map(|&step| f64::from(step)).collect();
        let quick = share(&steps, 1, 4)?;
        let usual: Vec<f64> = steps.iter().copied().filter(|step| (step / quick - 1.0).abs() < NEAR).collect();
        let nominal = usual.iter().sum::<f64>() / usual.len().max(1) as f64;
        let (mut expected, mut odd) = (0.0, 0);
        for step in &steps {
            let count = (step / nominal).round().max(1.0);
            expected += count;
            odd += usize::from((step - count * nominal).abs() > nominal * NEAR);
        }
        let count = steps.len() as f64;
        Some(Beat { rate: 1e6 / nominal.max(1.0), missing: (expected - count) / expected, odd: odd as f64 / count })
    }

    /// `camera`: the source gives frames when it has them, as browsers do.
    pub(super) fn look(&self, camera: bool, out: &mut Vec<Seen>) {
        let Some(beat) = self.beat() else { return };
        let shown = self.steps.len() as f64 * 1e6 / self.span as f64;
        if shown < LOW_RATE {
            let text = format!("only {shown:.1} pictures a second come: movement is not fluent");
            out.push(Seen::new(Code::FrameRateLow, Severity::Warning, text, MORE_FRAMES).value(shown));
        }
        if camera {
            return;
        }
        if beat.odd > ODD {
            let percent = beat.odd * 100.0;
            let text = format!(
                "frames come at irregular times ({percent:.0} % off the beat of {:.1} a second): movement stutters, and segments vary",
                beat.rate
            );
            out.push(Seen::new(Code::FrameRateVaries, Severity::Warning, text, CONSTANT).value(percent));
        } else if beat.missing > MISSING {
            let percent = beat.missing * 100.0;
            let severity = if beat.missing > MANY_MISSING { Severity::Problem } else { Severity::Warning };
            let text = format!(
                "{percent:.0} % of the frames are missing at the source, of {:.1} a second: the encoder or its link is overloaded",
                beat.rate
            );
            out.push(Seen::new(Code::FramesDropped, severity, text, DROPS).value(percent));
        }
    }
}

/// Frames of so many microseconds are judged: long enough for 1 % to be several frames.
const WINDOW: u64 = 10_000_000;
const LEAST_SPAN: u64 = 5_000_000;
/// Of so many at most: 10 s at 120 a second.
const MOST_STEPS: usize = 1_200;
const LEAST_STEPS: usize = 10;
/// In microseconds: a thousand frames a second, and one in four seconds.
const LEAST_STEP: i64 = 1_000;
const MOST_STEP: i64 = 4_000_000;
/// A step so near to a multiple of the usual one is one: RTMP rounds to milliseconds, an eighth of a frame at 120 a second.
const NEAR: f64 = 0.3;
/// Share of steps off the beat. Some are, when an encoder changes its rate.
const ODD: f64 = 0.15;
/// Share of missing frames: a frame every three seconds at 30 a second is seen.
const MISSING: f64 = 0.01;
const MANY_MISSING: f64 = 0.1;
/// Below this, movement falls apart.
const LOW_RATE: f64 = 14.0;

const MORE_FRAMES: &str = "OBS: Settings > Video > Common FPS Values: 30. ffmpeg: -r 30. Browser: choose a smaller size, give the camera more light";
const CONSTANT: &str = "OBS: Settings > Video > Common FPS Values: 30 or 60 (OBS then sends a constant rate; for a capture device set its FPS to the same). ffmpeg: -fps_mode cfr -r 30";
const DROPS: &str = "OBS: see View > Stats. Frames dropped by the network: lower Settings > Output > Streaming > Bitrate, and check Settings > Advanced > Network > Dynamically change bitrate to manage congestion. Encoder overloaded: a faster preset or a hardware encoder under Settings > Output > Streaming > Video Encoder. ffmpeg: -preset veryfast, and look for drop= in its status line";
