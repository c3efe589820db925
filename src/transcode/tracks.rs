//! What comes from a worker, put onto the stream's timeline as frames of a rung: each segment of a rung begins with the
//! picture that the source's began with, and a rung goes over from one worker's pictures to another's only where a decoder
//! can follow. Pure; owned by a stream's ladder.

use std::collections::VecDeque;
use std::sync::Arc;

use super::wire::RungFrame;
use crate::media::{Config, Cut, Frame, Time};

/// Counts the workers of a ladder; a later one has a higher number.
pub(super) type Generation = u64;

/// One rung's place on the timeline.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Cuts that its pictures have not reached yet.
    cuts: VecDeque<Cut>,
    /// Presentation time of the last picture and of the last sound that was given out.
    last: Option<Time>,
    heard: Option<Time>,
    /// Where its first segment begins; None while it is not made.
    start: Option<Time>,
    /// The worker whose pictures are taken.
    chain: Generation,
    config: Option<Arc<Config>>,
    /// What another worker, or the same with another encoder, says of its pictures.
    next_config: Option<(Generation, Arc<Config>)>,
    /// Segment starts that no decoder can start at.
    misses: u64,
}

impl Track {
    /// It is to be made from the first of these cuts on.
    pub(super) fn begin(&mut self, cuts: impl IntoIterator<Item = Cut>) {
        let misses = self.misses;
        *self = Track { cuts: cuts.into_iter().collect(), misses, ..Track::default() };
        self.start = self.cuts.front().map(|cut| cut.at);
    }

    /// It is not made any longer.
    pub(super) fn stop(&mut self) {
        *self = Track { misses: self.misses, ..Track::default() };
    }

    /// Whether it is being made.
    pub(super) fn is_begun(&self) -> bool {
        self.start.is_some()
    }

    /// Only what is shown later than this is still of use, to an encoder that starts now.
    pub(super) fn after(&self) -> Time {
        self.last.or(self.start.map(|start| start - Time::from_flicks(1))).unwrap_or(Time::ZERO)
    }

    /// Where its first segment begins; None while it is not made.
    pub(super) fn begun_at(&self) -> Option<Time> {
        self.start
    }

    /// Time of the last picture that was given out.
    pub(super) fn last(&self) -> Option<Time> {
        self.last
    }

    /// The worker whose pictures are taken.
    pub(super) fn chain(&self) -> Generation {
        self.chain
    }

    /// Segments whose first picture no decoder could start at.
    pub(super) fn misses(&self) -> u64 {
        self.misses
    }

    /// The source begins a segment.
    pub(super) fn cut(&mut self, cut: Cut) {
        if self.is_begun() {
            self.cuts.push_back(cut);
        }
    }

    /// A worker says what its pictures are decoded with.
    pub(super) fn configure(&mut self, from: Generation, config: Config) {
        if self.config.as_deref() == Some(&config) {
            self.next_config = None;
        } else {
            self.next_config = Some((from, Arc::new(config)));
        }
    }

    /// Where a picture at this time is shown that may begin the segment of a cut close by.
    pub(super) fn near_cut(&self, pts: Time, within: Time) -> Time {
        self.cuts.iter().map(|cut| cut.at).find(|at| *at > pts && *at - pts <= within).unwrap_or(pts)
    }

    /// A picture at this time begins a segment.
    pub(super) fn is_due(&self, pts: Time) -> bool {
        self.last.is_some() && self.cuts.front().is_some_and(|cut| cut.at <= pts)
    }

    /// A picture from a worker. None: it is of no use.
    pub(super) fn picture(&mut self, from: Generation, unit: RungFrame) -> Option<Frame> {
        if !self.is_begun() || from < self.chain || self.last.is_some_and(|last| unit.pts <= last) {
            return None;
        }
        let reached = self.cuts.iter().rev().find(|cut| cut.at <= unit.pts);
        let at_cut = reached.is_some_and(|cut| unit.pts - cut.at < NEAR);
        if !self.follows(from, &unit, at_cut) {
            return None;
        }
        if self.next_config.as_ref().is_some_and(|(generation, _)| *generation == from) {
            self.config = self.next_config.take().map(|(_, config)| config);
        }
        self.chain = from;
        let config = self.config.clone()?;
        let cut = self.reach(unit.pts);
        self.misses += u64::from(cut.is_some() && !unit.key);
        self.last = Some(unit.pts);
        Some(Frame { dts: unit.pts, pts: unit.pts, key: unit.key, cut, config, payload: unit.payload })
    }

    /// A frame of the sound that goes with it. None: it lies before its beginning, or was given out.
    pub(super) fn sound(&mut self, frame: &Frame, leads: bool) -> Option<Frame> {
        if self.start.is_none_or(|start| frame.pts < start) || self.heard.is_some_and(|heard| frame.pts <= heard) {
            return None;
        }
        self.heard = Some(frame.pts);
        let cut = if leads { self.reach(frame.pts) } else { None };
        if leads {
            self.last = Some(frame.pts);
        }
        Some(Frame { cut, ..frame.clone() })
    }

    /// Whether a decoder can go on with this picture after the last one.
    fn follows(&self, from: Generation, unit: &RungFrame, at_cut: bool) -> bool {
        let anew = self.next_config.as_ref().is_some_and(|(generation, _)| *generation == from);
        let same_chain = from == self.chain && self.last.is_some();
        match self.last {
            // The first, or after another configuration: only a segment can have a new init section.
            None => at_cut && unit.key,
            Some(_) if anew => at_cut && unit.key,
            Some(_) if same_chain => true,
            // Another worker takes over: without a hole, or where a segment begins.
            Some(last) => unit.key && (at_cut || unit.pts - last < SEAMLESS),
        }
    }

    /// Passes the cuts up to a time; the last of them is where a segment begins.
    fn reach(&mut self, pts: Time) -> Option<Cut> {
        let mut reached = None;
        while let Some(cut) = self.cuts.front().filter(|cut| cut.at <= pts) {
            reached = Some(*cut);
            self.cuts.pop_front();
        }
        reached
    }
}

/// The sound that is made anew, for all rungs alike. Every frame of it can be decoded by itself.
#[derive(Debug, Default)]
pub(super) struct SoundTrack {
    chain: Generation,
    last: Option<Time>,
    config: Option<Arc<Config>>,
}

impl SoundTrack {
    /// A worker says what its sound is decoded with.
    pub(super) fn configure(&mut self, from: Generation, config: Config) {
        if from >= self.chain && self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
    }

    /// Time of the last frame.
    pub(super) fn last(&self) -> Option<Time> {
        self.last
    }

    /// A frame from a worker. None: it is of no use.
    pub(super) fn frame(&mut self, from: Generation, unit: RungFrame) -> Option<Frame> {
        if from < self.chain || self.last.is_some_and(|last| unit.pts <= last) {
            return None;
        }
        let config = self.config.clone()?;
        self.chain = from;
        self.last = Some(unit.pts);
        Some(Frame { dts: unit.pts, pts: unit.pts, key: true, cut: None, config, payload: unit.payload })
    }
}

/// A segment that begins this much late has lost its first pictures, and is no place to begin at.
const NEAR: Time = Time::from_millis(100);
/// Pictures this close follow on each other: a source of 4 pictures a second and more has no hole.
const SEAMLESS: Time = Time::from_millis(300);

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::media::{AudioConfig, Codec, VideoConfig};
    use bytes::Bytes;

    fn video(record: &'static [u8]) -> Config {
        let record = Bytes::from_static(record);
        Config::Video(VideoConfig { codec: Codec::H264, record, width: 64, height: 64, codecs: "avc1".into() })
    }

    fn cut(msn: u64, ms: i64) -> Cut {
        Cut { msn, discontinuity: false, at: Time::from_millis(ms), target_duration: Some(2) }
    }

    /// A picture of the source; `segment`: it begins that one.
    pub(in super::super) fn picture(ms: i64, key: bool, segment: Option<u64>) -> Frame {
        let at = Time::from_millis(ms);
        let payload = Bytes::from_static(b"four");
        let cut = segment.map(|msn| cut(msn, ms));
        Frame { dts: at, pts: at, key, cut, config: Arc::new(video(b"source")), payload }
    }

    /// A frame of the source's sound.
    pub(in super::super) fn sound(ms: i64) -> Frame {
        let config = Arc::new(Config::Audio(AudioConfig {
            codec: Codec::Aac,
            record: Bytes::new(),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: Some(1024),
            codecs: "mp4a.40.2".into(),
        }));
        let at = Time::from_millis(ms);
        Frame { dts: at, pts: at, key: true, cut: None, config, payload: Bytes::from_static(b"so") }
    }

    fn unit(ms: i64, key: bool) -> RungFrame {
        RungFrame { rung: 0, pts: Time::from_millis(ms), key, payload: Bytes::from_static(b"unit") }
    }

    fn msn(frame: Option<Frame>) -> Option<u64> {
        frame.and_then(|frame| frame.cut).map(|cut| cut.msn)
    }

    #[test]
    fn segments_begin_with_the_pictures_that_the_source_cuts_at() {
        let mut track = Track::default();
        assert!(track.picture(1, unit(0, true)).is_none(), "nobody wants it");
        track.begin([cut(7, 2000), cut(8, 4000)]);
        track.configure(1, video(b"rung"));
        assert_eq!(track.after().millis(), 2000);
        assert!(track.after() < Time::from_millis(2000));
        assert!(track.picture(1, unit(1960, true)).is_none(), "before its first segment");
        assert_eq!(msn(track.picture(1, unit(2000, true))), Some(7));
        assert_eq!(msn(track.picture(1, unit(2040, false))), None);
        track.cut(cut(9, 6000));
        // The picture of the cut itself was lost: the next one begins the segment, and two cuts are passed at once.
        let late = track.picture(1, unit(6040, false)).unwrap();
        assert_eq!((late.cut.map(|cut| cut.msn), track.misses()), (Some(9), 1));
    }

    #[test]
    fn another_worker_takes_over_at_a_key_frame_after_what_was_given_out() {
        let mut track = Track::default();
        track.begin([cut(0, 0)]);
        track.configure(1, video(b"rung"));
        assert!(track.picture(1, unit(0, true)).is_some() && track.picture(1, unit(40, false)).is_some());
        track.configure(2, video(b"rung"));
        assert!(track.picture(2, unit(40, true)).is_none(), "given out already");
        assert!(track.picture(2, unit(80, false)).is_none(), "no decoder can go on with it");
        assert!(track.picture(1, unit(80, false)).is_some());
        assert!(track.picture(2, unit(120, true)).is_some());
        assert!(track.picture(1, unit(160, false)).is_none(), "the older worker is no longer taken");
        assert!(track.picture(2, unit(160, false)).is_some());
    }

    #[test]
    fn after_a_hole_a_rung_goes_on_with_a_segment() {
        let mut track = Track::default();
        track.begin([cut(0, 0)]);
        track.configure(1, video(b"rung"));
        assert!(track.picture(1, unit(0, true)).is_some());
        track.cut(cut(1, 2000));
        track.configure(2, video(b"rung"));
        assert!(track.picture(2, unit(1000, true)).is_none());
        assert_eq!(msn(track.picture(2, unit(2000, true))), Some(1));
    }

    #[test]
    fn another_encoder_begins_with_a_segment() {
        let mut track = Track::default();
        track.begin([cut(0, 0)]);
        track.configure(1, video(b"first"));
        assert!(track.picture(1, unit(0, true)).is_some());
        track.configure(1, video(b"second"));
        assert!(track.picture(1, unit(40, true)).is_none());
        track.cut(cut(1, 2000));
        let frame = track.picture(1, unit(2000, true)).unwrap();
        assert_eq!(*frame.config, video(b"second"));
    }

    #[test]
    fn sound_belongs_to_what_was_begun_and_comes_once() {
        let mut track = Track::default();
        track.begin([cut(3, 2000), cut(4, 4000)]);
        assert!(track.sound(&sound(1990), false).is_none());
        assert!(track.sound(&sound(2010), false).is_some_and(|frame| frame.cut.is_none()));
        assert!(track.sound(&sound(2010), false).is_none());
        let mut alone = Track::default();
        alone.begin([cut(3, 2000)]);
        assert_eq!(msn(alone.sound(&sound(2010), true)), Some(3));
    }
}
