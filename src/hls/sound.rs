//! The sound that goes into the parts of the pictures: waits until a part reaches its time, and lies in it contiguously.
//! Pure; owned by the segmenter of the pictures, which alone decides where parts end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::media::fmp4::{self, Run, Sample};
use crate::media::{Config, Frame, Time, codec};

/// Sound ends at least so much after the pictures of its part: where it ends before them, were it by the rounding of its
/// samples to a player's clock, hls.js 1.7 takes a segment that it has for one that it still needs, and stands still.
const OVERLAP: Time = Time::from_millis(1);

/// A track that accompanies another.
#[derive(Debug)]
pub(super) struct Sound {
    config: Arc<Config>,
    /// Frames that no part has reached yet. Bounded in time by the timeline, which starts a new epoch where one track
    /// runs away from the other.
    waiting: VecDeque<Frame>,
    /// Where the frames so far end.
    reach: Time,
    /// Of the open part.
    samples: Vec<Sample>,
    /// Decoding time of the first sample in the part, in ticks, and of the end of the last. No end after a break: the
    /// next frame stands at its own time.
    start: i64,
    end: Option<i64>,
}

impl Sound {
    pub(super) fn new(config: Arc<Config>) -> Sound {
        Sound { config, waiting: VecDeque::new(), reach: Time::ZERO, samples: Vec::new(), start: 0, end: None }
    }

    /// What the init section must say of it.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let samples = i64::from(codec::packet_samples(&frame.config, &frame.payload));
        self.reach = frame.pts + Time::from_ticks(samples, fmp4::timescale(&frame.config));
        self.waiting.push_back(frame);
    }

    /// Whether enough is there for a part that ends at `end`.
    pub(super) fn covers(&self, end: Time) -> bool {
        self.reach > end + OVERLAP
    }

    /// The pictures break off: what waits belongs before the break, and what plays later than `end` is dropped.
    pub(super) fn finish(&mut self, end: Time) {
        self.gather(end);
        self.waiting.clear();
    }

    /// Whatever comes next follows a break.
    pub(super) fn restart(&mut self) {
        self.end = None;
    }

    /// A segment is about to begin whose init section can still be chosen: takes the configuration of the next frame.
    /// True if it is another.
    pub(super) fn reconfigure(&mut self) -> bool {
        match self.waiting.front() {
            Some(frame) if *frame.config != *self.config => {
                self.config = frame.config.clone();
                self.end = None;
                true
            }
            _ => false,
        }
    }

    /// Takes into the open part what is heard before `until`, and a frame that begins just there.
    pub(super) fn gather(&mut self, until: Time) {
        while self.waiting.front().is_some_and(|frame| frame.pts < until + OVERLAP) {
            let Some(frame) = self.waiting.pop_front() else { return };
            // Of another configuration than the init section says: cannot be decoded before the next segment.
            if Arc::ptr_eq(&frame.config, &self.config) || frame.config == self.config {
                self.take(&frame);
            }
        }
    }

    /// Samples of the part, which is then empty; to be written with [`Sound::run`].
    pub(super) fn emit<T>(&mut self, write: impl FnOnce(Run<'_>) -> T) -> T {
        let written = write(Run { decode_time: u64::try_from(self.start).unwrap_or(0), samples: &self.samples });
        self.samples.clear();
        written
    }

    fn take(&mut self, frame: &Frame) {
        let at = frame.pts.ticks(fmp4::timescale(&self.config));
        let end = self.end.unwrap_or(at);
        match self.samples.last_mut() {
            None => self.start = end,
            // A hole: the sample before it stands until now.
            Some(last) if at > end => {
                last.duration = u32::try_from(at - end).unwrap_or(u32::MAX).saturating_add(last.duration);
            }
            Some(_) => {}
        }
        let begin = if self.samples.is_empty() { end } else { end.max(at) };
        let duration = codec::packet_samples(&self.config, &frame.payload).max(1);
        self.samples.push(Sample {
            duration,
            composition_offset: (at - begin).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            key: frame.key,
            payload: frame.payload.clone(),
        });
        self.end = Some(begin + i64::from(duration));
    }
}
