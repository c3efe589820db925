//! Cuts one track into parts and segments, and lays the sound that goes with pictures into them. Pure; fed by the
//! packager with frames in decoding order and with the cuts that the timeline decided. Guarantees, whatever the
//! timestamps do:
//!
//! - decoding times are contiguous: each sample's time is the end of the one before it, within a part and across parts
//!   (what that shifts is carried in the composition offset, so that presentation times stay exact);
//! - no part is longer than the part target, and a part is closed as soon as the next sample would cross it, without
//!   waiting for that sample (the distance of the frames so far foretells the last sample's duration), if its sound is there;
//! - a part is never empty.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::sound::Sound;
use crate::media::fmp4::{self, Run, Sample};
use crate::media::{Config, Cut, Frame, Time};

/// What comes out, in order.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// A segment begins. `init`: the init section where it differs from the one before.
    Begin {
        /// Where, and with what number.
        cut: Cut,
        /// Start of the segment on the stream's timeline, for EXT-X-PROGRAM-DATE-TIME.
        start: Time,
        /// A new EXT-X-MAP.
        init: Option<Init>,
    },
    /// A part of the open segment.
    Part(Part),
    /// The open segment is complete.
    Close,
}

/// An init section and what it says.
#[derive(Clone, Debug)]
pub(super) struct Init {
    /// `ftyp` and `moov`.
    pub(super) bytes: Bytes,
    /// The configurations it was made from, the leading track's first.
    pub(super) configs: Vec<Arc<Config>>,
}

/// One partial segment.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// One `moof` and `mdat`.
    pub(super) bytes: Bytes,
    pub(super) duration: Time,
    /// It begins with a sample that a decoder can start at.
    pub(super) independent: bool,
    /// Below the least duration although its segment goes on: the source's rate is too irregular for the rule.
    pub(super) short: bool,
    /// It is missing: no bytes.
    pub(super) gap: bool,
}

/// The segmenter of one track in one epoch.
#[derive(Debug)]
pub(super) struct Segmenter {
    part_target: Time,
    /// Ticks a second of the present configuration, and the part target in them.
    scale: u32,
    target: i64,
    config: Option<Arc<Config>>,
    sound: Option<Sound>,
    open: bool,
    /// A segment that begins with the next part; what its init section must say can still change until then.
    begun: Option<Begun>,
    sequence: u32,
    samples: Vec<Sample>,
    /// Decoding time of the first sample in the part, and of the end of the samples whose duration is known.
    part_start: i64,
    end: i64,
    /// The last sample in the part still waits for its duration.
    unsettled: bool,
    /// The part is full, and waits for its sound or the next frame.
    full: bool,
    /// True decoding time of the last frame.
    last: Option<i64>,
    /// Presentation minus decoding time where the present continuity began.
    composition: Time,
    intervals: Intervals,
    /// The end runs behind the frames by more than a part can make good.
    behind: i64,
}

#[derive(Debug)]
struct Begun {
    cut: Cut,
    start: Time,
    renewed: bool,
}

/// Distances of the last frames; their median foretells the next.
#[derive(Debug, Default)]
struct Intervals(VecDeque<i64>);

/// A part must be at least this much of the part target, in percent (RFC 8216bis section 4.4.4.9).
pub(super) const PART_MINIMUM: i64 = 85;
/// Enough for a steady median, few enough to follow a change of rate within a part or two.
const INTERVALS_KEPT: usize = 7;
/// A segmenter this far behind its frames cannot keep its promises: frames come farther apart than a part is long.
const HOPELESS: Time = Time::from_millis(3_000);

impl Segmenter {
    /// With the part target of the epoch; `sound`: the configuration of the track that accompanies this one.
    pub(super) fn new(part_target: Time, sound: Option<Arc<Config>>) -> Segmenter {
        Segmenter {
            part_target,
            scale: 1,
            target: 0,
            config: None,
            sound: sound.map(Sound::new),
            open: false,
            begun: None,
            sequence: 0,
            samples: Vec::new(),
            part_start: 0,
            end: 0,
            unsettled: false,
            full: false,
            last: None,
            composition: Time::ZERO,
            intervals: Intervals::default(),
            behind: 0,
        }
    }

    /// Ends the open segment and begins one at `frame`, its first frame.
    pub(super) fn begin(&mut self, cut: Cut, frame: &Frame, out: &mut Vec<Output>) {
        self.close(Some(frame.dts.ticks(self.scale)), cut.discontinuity, out);
        let renewed = self.config.as_ref().is_none_or(|config| **config != *frame.config);
        if renewed {
            self.scale = fmp4::timescale(&frame.config);
            self.target = self.part_target.ticks(self.scale);
            self.intervals = Intervals::default();
        }
        let dts = frame.dts.ticks(self.scale);
        if cut.discontinuity || !self.open || renewed {
            // A break: the new segment stands at its own time, and nothing before foretells it.
            self.end = dts;
            self.last = None;
            self.behind = 0;
            self.composition = frame.pts - frame.dts;
        }
        self.part_start = self.end;
        self.open = true;
        self.config = Some(frame.config.clone());
        let start = Time::from_ticks(self.end, self.scale) + self.composition;
        self.begun = Some(Begun { cut, start, renewed });
    }

    /// Takes a frame of the accompanying sound.
    pub(super) fn accompany(&mut self, frame: &Frame, out: &mut Vec<Output>) {
        if let Some(sound) = &mut self.sound {
            sound.push(frame.clone());
        }
        self.foresee(out);
    }

    /// Whether the sound reaches beyond `end`; true without sound.
    pub(super) fn covers(&self, end: Time) -> bool {
        self.sound.as_ref().is_none_or(|sound| sound.covers(end))
    }

    /// Ends the open segment and passes over one that has no frame at all: it is listed as a gap.
    pub(super) fn skip(&mut self, cut: Cut, out: &mut Vec<Output>) {
        self.finish(out);
        out.push(Output::Begin { cut, start: cut.at, init: None });
        out.push(Output::Close);
    }

    /// Takes the next frame of the open segment. Frames before the first segment are not taken.
    pub(super) fn push(&mut self, frame: &Frame, out: &mut Vec<Output>) {
        if !self.open {
            return;
        }
        let dts = frame.dts.ticks(self.scale);
        let pts = frame.pts.ticks(self.scale);
        if let Some(last) = self.last {
            self.intervals.add(dts - last);
        }
        self.full = false;
        if self.unsettled {
            self.settle(dts);
            if self.end - self.part_start + self.interval() > self.target {
                self.emit(false, false, out);
            }
        }
        self.samples.push(Sample {
            duration: 0,
            composition_offset: (pts - self.end).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            key: frame.key,
            payload: frame.payload.clone(),
        });
        self.last = Some(dts);
        self.unsettled = true;
        let interval = self.interval();
        self.full = interval > 0 && self.end - self.part_start + 2 * interval > self.target;
        self.foresee(out);
    }

    /// Closes a full part without waiting for the next frame, if its sound is there.
    fn foresee(&mut self, out: &mut Vec<Output>) {
        let (true, Some(last)) = (self.full, self.last) else { return };
        let end = last + self.interval();
        if self.covers(Time::from_ticks(end, self.scale) + self.composition) {
            self.settle(end);
            self.emit(false, false, out);
        }
    }

    /// Ends the open segment where the last frame's expected duration ends: nothing follows for now.
    pub(super) fn finish(&mut self, out: &mut Vec<Output>) {
        self.close(None, true, out);
        self.open = false;
    }

    /// Frames come farther apart than the part target for so long that the parts cannot keep up.
    pub(super) fn hopeless(&self) -> bool {
        self.behind > HOPELESS.ticks(self.scale)
    }

    /// `breaks`: what comes next does not continue what was.
    fn close(&mut self, next: Option<i64>, breaks: bool, out: &mut Vec<Output>) {
        if !self.open {
            return;
        }
        if let (true, Some(last)) = (self.unsettled, self.last) {
            let expected = last + self.interval().max(1);
            // A frame far ahead is a gap, not a duration.
            self.settle(next.unwrap_or(expected).clamp(last + 1, expected.max(last + 1) + self.interval()));
        }
        self.emit(true, breaks, out);
        out.push(Output::Close);
        if let Some(sound) = self.sound.as_mut().filter(|_| breaks) {
            sound.restart();
        }
    }

    /// Gives the last sample the duration that ends it at `next`, within what the part may still hold.
    fn settle(&mut self, next: i64) {
        let Some(sample) = self.samples.last_mut() else { return };
        let room = (self.target - (self.end - self.part_start)).max(1);
        let duration = (next - self.end).clamp(1, room);
        sample.duration = u32::try_from(duration).unwrap_or(u32::MAX);
        self.end += duration;
        self.behind = next - self.end;
        self.unsettled = false;
    }

    fn emit(&mut self, last: bool, breaks: bool, out: &mut Vec<Output>) {
        // Where the picture stands, in true time: what was not yet made good included.
        let heard = Time::from_ticks(self.end + self.behind.max(0), self.scale) + self.composition;
        if self.samples.is_empty() {
            if let Some(sound) = self.sound.as_mut().filter(|_| breaks) {
                sound.finish(Time::ZERO);
            }
            return;
        }
        if let Some(begun) = self.begun.take() {
            out.push(self.announce(begun));
        }
        let independent = self.samples.first().is_some_and(|sample| sample.key);
        let duration = self.end - self.part_start;
        self.sequence = self.sequence.wrapping_add(1);
        let own = Run { decode_time: u64::try_from(self.part_start).unwrap_or(0), samples: &self.samples };
        let bytes = match &mut self.sound {
            None => fmp4::fragment(self.sequence, &[own]),
            Some(sound) => {
                if breaks {
                    sound.finish(heard + self.part_target);
                } else {
                    sound.gather(heard);
                }
                sound.emit(|sound| fmp4::fragment(self.sequence, &[own, sound]))
            }
        };
        self.samples.clear();
        self.full = false;
        self.part_start = self.end;
        let short = !last && duration * 100 < self.target * PART_MINIMUM;
        let duration = Time::from_ticks(duration, self.scale);
        out.push(Output::Part(Part { bytes, duration, independent, short, gap: false }));
    }

    fn announce(&mut self, begun: Begun) -> Output {
        let renewed = self.sound.as_mut().is_some_and(Sound::reconfigure) || begun.renewed;
        let tracks = self.config.iter().chain(self.sound.as_ref().map(Sound::config));
        let configs: Vec<Arc<Config>> = tracks.filter(|_| renewed).cloned().collect();
        let each: Vec<&Config> = configs.iter().map(|config| &**config).collect();
        let bytes = renewed.then(|| fmp4::init(&each));
        let init = bytes.map(|bytes| Init { bytes, configs });
        Output::Begin { cut: begun.cut, start: begun.start, init }
    }

    fn interval(&self) -> i64 {
        self.intervals.median()
    }
}

impl Intervals {
    fn add(&mut self, interval: i64) {
        if interval <= 0 {
            return;
        }
        if self.0.len() == INTERVALS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(interval);
    }

    fn median(&self) -> i64 {
        let mut sorted: Vec<i64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "segmenter_tests.rs"]
mod tests;
