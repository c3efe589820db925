//! One output timeline per stream, which no publisher owns: a publishing session is an offset mapped onto it. Frames go
//! in with the session's own times and come out monotonic, spliced, repaired and with segment cuts. Pure: the caller
//! says what time it is. Called by the publisher's push; never sees a protocol.
//!
//! Rules: a session splices in at a video IDR (any frame where there is no video) and audio before it is dropped; a bad
//! timestamp is repaired or the frame dropped, counted, and never ends a stream; a jump of the session's clock is
//! a new splice; the output never runs backwards.

use std::sync::Arc;

use super::cutter::{Candidate, Cutter, Limits};
use crate::media::{Config, Cut, Frame, Kind, Time, codec};

/// The timeline of one epoch of a stream.
#[derive(Debug)]
pub struct Timeline {
    cutter: Cutter,
    splice: Splice,
    video: Option<Video>,
    audio: Option<Audio>,
    /// What the present session has announced, by sequence headers or first frames.
    announced_video: bool,
    announced_audio: Option<Arc<Config>>,
    /// The latest presentation end that was given out; nothing after a splice starts before it.
    end: Time,
    started: bool,
    /// What was repaired or dropped.
    pub counts: Counts,
}

/// What a timeline had to do to frames, counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decoding times that ran backwards or stood still, moved up.
    pub backward: u64,
    /// Composition times that made no sense, set right.
    pub composition: u64,
    /// Jumps of a session's clock, closed by a new splice.
    pub jumps: u64,
    /// Audio moved back to the video after its clock alone had jumped.
    pub audio_realigned: u64,
    /// Silent frames put in where audio was missing.
    pub silence: u64,
    /// Frames dropped while waiting for a key frame to splice at.
    pub before_splice: u64,
    /// Audio frames dropped because they overlap what was already given out.
    pub overlapping: u64,
    /// Cuts that fell on a frame no decoder can start at.
    pub forced_cuts: u64,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It, and what had to be put before it, was given out; or it was dropped and counted.
    Done,
    /// The set of tracks is no longer what this epoch began with: a new epoch must begin, and the frame be pushed there.
    TracksChanged,
}

#[derive(Debug)]
enum Splice {
    /// Waiting for a frame to splice at. `first_audio`: session time of the first audio frame that waits.
    Pending { first_audio: Option<Time> },
    /// Spliced: video frames move by this offset.
    Done { offset: Time },
}

#[derive(Debug)]
struct Video {
    config: Arc<Config>,
    last_dts: Time,
    /// Distance of the last two decoding times: how long the last picture stands, as far as one can tell.
    interval: Time,
}

#[derive(Debug)]
struct Audio {
    config: Arc<Config>,
    offset: Time,
    /// Where the next frame belongs if no sample is missing.
    next: Time,
    /// No frame has come since the splice: `next` is the earliest place, not the expected one.
    fresh: bool,
    /// Smoothed distance between the timestamps and the count of samples.
    drift: Time,
    /// A configuration that waits for the next cut, where it can begin with a discontinuity.
    pending: Option<Arc<Config>>,
}

/// Further than this, forward, and the session's clock has jumped.
const JUMP: Time = Time::from_millis(10_000);
/// Further back than this, and the session's clock has been set back; less is repaired frame by frame.
const BACKWARD_JUMP: Time = Time::from_millis(1_000);
/// Audio alone for this long, and the stream has no video.
const AUDIO_ONLY_AFTER: Time = Time::from_millis(1_000);
/// Composition offsets beyond this are nonsense: no encoder reorders over seconds.
const MAX_COMPOSITION: Time = Time::from_millis(5_000);
/// Audio timestamps this far from the count of samples show lost or doubled audio, not jitter.
const AUDIO_TOLERANCE: Time = Time::from_millis(100);
/// Video this far ahead of audio shows that the audio has stopped: silence is put in, so that players go on.
const AUDIO_STOPPED: Time = Time::from_millis(1_500);
/// Audio this far ahead of video shows that the video has stopped.
const VIDEO_STOPPED: Time = Time::from_millis(5_000);
/// The least distance of two decoding times: one tick of the 90 kHz clock.
const STEP: Time = Time::from_flicks(Time::PER_SECOND / 90_000);

impl Timeline {
    /// For a new epoch; waits for a session's first key frame.
    pub fn new(limits: Limits) -> Timeline {
        Timeline {
            cutter: Cutter::new(limits),
            splice: Splice::Pending { first_audio: None },
            video: None,
            audio: None,
            announced_video: false,
            announced_audio: None,
            end: Time::ZERO,
            started: false,
            counts: Counts::default(),
        }
    }

    /// Another publishing session begins: nothing is given out until it can be spliced.
    pub fn begin_session(&mut self) {
        self.splice = Splice::Pending { first_audio: None };
        self.announced_video = false;
        self.announced_audio = None;
    }

    /// A track's configuration came ahead of its first frame.
    pub fn announce(&mut self, config: &Arc<Config>) {
        match config.kind() {
            Kind::Video => self.announced_video = true,
            Kind::Audio => self.announced_audio = Some(config.clone()),
        }
    }

    /// Places a frame in session time at `now` (time since the epoch began, by the server's clock) and appends what is
    /// to be given out, in order, to `out`.
    pub fn place(&mut self, frame: Frame, now: Time, out: &mut Vec<Frame>) -> Placement {
        self.announce(&frame.config);
        let placement = match frame.kind() {
            Kind::Video => self.place_video(frame, now, out),
            Kind::Audio => self.place_audio(frame, now, out),
        };
        self.counts.forced_cuts = self.cutter.forced();
        placement
    }

    /// Where a frame stands that is sent beside those that are given out, in the same session's time. None before the
    /// session is spliced, and for what is so far away that its clock cannot be the session's.
    pub fn follow(&self, frame: Frame) -> Option<Frame> {
        let Splice::Done { offset } = self.splice else { return None };
        let (dts, pts) = ((frame.dts + offset).max(Time::ZERO), (frame.pts + offset).max(Time::ZERO));
        let near = (dts - self.end).abs() < JUMP;
        near.then_some(Frame { dts, pts, cut: None, ..frame })
    }

    /// The timeline of the epoch that follows when the tracks have changed: the session goes on, so what it announced
    /// stays known, save a video track that may be what was lost.
    pub fn next_epoch(&self, limits: Limits) -> Timeline {
        Timeline { announced_audio: self.announced_audio.clone(), ..Timeline::new(limits) }
    }

    /// Which tracks this epoch has; both false before it starts.
    pub fn tracks(&self) -> (bool, bool) {
        (self.video.is_some(), self.audio.is_some())
    }

    fn place_video(&mut self, mut frame: Frame, now: Time, out: &mut Vec<Frame>) -> Placement {
        self.repair_composition(&mut frame);
        if let Splice::Done { offset } = self.splice {
            let Some(video) = &self.video else { return Placement::TracksChanged };
            let dts = frame.dts + offset;
            let jumped = dts > self.end.max(video.last_dts) + JUMP || dts + BACKWARD_JUMP < video.last_dts;
            if jumped {
                self.counts.jumps += 1;
                self.splice = Splice::Pending { first_audio: None };
            } else {
                self.continue_video(frame, offset, out);
                return Placement::Done;
            }
        }
        if !frame.key {
            self.counts.before_splice += 1;
            return Placement::Done;
        }
        self.splice_video(frame, now, out)
    }

    /// The first frame of a session: decides the offset, and whether the tracks are those of this epoch.
    fn splice_video(&mut self, mut frame: Frame, now: Time, out: &mut Vec<Frame>) -> Placement {
        let audio = self.announced_audio.clone();
        if self.started && (self.video.is_none() || self.audio.is_some() != audio.is_some()) {
            return Placement::TracksChanged;
        }
        let composition = frame.pts - frame.dts;
        let pts = (now + composition).max(self.end);
        let dts = (pts - composition).max(self.video.as_ref().map_or(Time::ZERO, |v| v.last_dts + STEP));
        let offset = dts - frame.dts;
        self.splice = Splice::Done { offset };
        frame.dts = dts;
        frame.pts = (pts).max(dts);
        frame.cut = self.cut(&frame, self.started);
        self.started = true;
        self.end = frame.pts;
        self.audio = audio.map(|config| Audio::new(config, offset, frame.pts));
        let interval = self.video.as_ref().map_or(STEP, |v| v.interval);
        self.video = Some(Video { config: frame.config.clone(), last_dts: frame.dts, interval });
        out.push(frame);
        Placement::Done
    }

    fn continue_video(&mut self, mut frame: Frame, offset: Time, out: &mut Vec<Frame>) {
        let Some(video) = &mut self.video else { return };
        frame.dts += offset;
        frame.pts += offset;
        if frame.dts <= video.last_dts {
            self.counts.backward += 1;
            frame.dts = video.last_dts + STEP;
            frame.pts = frame.pts.max(frame.dts);
        }
        let new_config = !Arc::ptr_eq(&video.config, &frame.config) && video.config != frame.config;
        if new_config && !frame.key {
            // A decoder cannot take the new configuration in the middle of a group.
            self.counts.before_splice += 1;
            return;
        }
        video.interval = frame.dts - video.last_dts;
        video.last_dts = frame.dts;
        video.config = frame.config.clone();
        self.end = self.end.max(frame.pts + video.interval);
        let last_dts = frame.dts;
        let new_audio = frame.key && self.audio.as_ref().is_some_and(|a| a.pending.is_some());
        frame.cut = self.cut(&frame, new_config || new_audio);
        if new_audio
            && let Some(audio) = &mut self.audio
            && let Some(config) = audio.pending.take()
        {
            *audio = Audio::new(config, offset, frame.pts.max(audio.next));
        }
        self.fill_stopped_audio(last_dts, out);
        out.push(frame);
    }

    fn place_audio(&mut self, frame: Frame, now: Time, out: &mut Vec<Frame>) -> Placement {
        let first_audio = match &self.splice {
            Splice::Done { .. } => return self.continue_audio(frame, now, out),
            Splice::Pending { first_audio } => first_audio.unwrap_or(frame.dts),
        };
        self.splice = Splice::Pending { first_audio: Some(first_audio) };
        if self.announced_video || frame.dts - first_audio < AUDIO_ONLY_AFTER {
            self.counts.before_splice += 1;
            return Placement::Done;
        }
        if self.started && self.video.is_some() {
            return Placement::TracksChanged;
        }
        self.splice_audio(frame, now, out);
        Placement::Done
    }

    /// The first frame of a session without video.
    fn splice_audio(&mut self, mut frame: Frame, now: Time, out: &mut Vec<Frame>) {
        let at = now.max(self.end);
        self.splice = Splice::Done { offset: at - frame.dts };
        let mut audio = Audio::new(frame.config.clone(), at - frame.dts, at);
        audio.advance(&mut frame, at);
        self.end = self.end.max(audio.next);
        self.audio = Some(audio);
        frame.cut = self.cut(&frame, self.started);
        self.started = true;
        out.push(frame);
    }

    fn continue_audio(&mut self, mut frame: Frame, now: Time, out: &mut Vec<Frame>) -> Placement {
        let audio_only = self.video.is_none();
        let video_dts = self.video.as_ref().map(|v| v.last_dts);
        let Some(audio) = &mut self.audio else { return Placement::TracksChanged };
        let mut at = frame.dts + audio.offset;
        let jumped = match video_dts {
            Some(video) => (at - video).abs() > JUMP,
            None => at > audio.next + JUMP || at + BACKWARD_JUMP < audio.next,
        };
        if jumped && audio_only {
            self.counts.jumps += 1;
            self.splice_audio(frame, now, out);
            return Placement::Done;
        }
        if jumped {
            self.counts.audio_realigned += 1;
            audio.offset = audio.next - frame.dts;
            at = audio.next;
        }
        if video_dts.is_some_and(|video| at > video + VIDEO_STOPPED) {
            return Placement::TracksChanged;
        }
        let new_config = !Arc::ptr_eq(&audio.config, &frame.config) && audio.config != frame.config;
        if new_config && !audio_only {
            audio.pending = Some(frame.config.clone());
            self.counts.before_splice += 1;
            return Placement::Done;
        }
        if new_config {
            *audio = Audio::new(frame.config.clone(), audio.offset, audio.next);
        }
        let Some(filled) = audio.fit(&frame, at, out) else {
            self.counts.overlapping += 1;
            return Placement::Done;
        };
        self.counts.silence += filled;
        let place = audio.next;
        audio.advance(&mut frame, place);
        self.end = self.end.max(audio.next);
        if audio_only {
            frame.cut = self.cut(&frame, new_config);
        }
        out.push(frame);
        Placement::Done
    }

    fn repair_composition(&mut self, frame: &mut Frame) {
        let composition = frame.pts - frame.dts;
        if composition < Time::ZERO || composition > MAX_COMPOSITION {
            self.counts.composition += 1;
            frame.pts = frame.dts;
        }
    }

    fn fill_stopped_audio(&mut self, video_dts: Time, out: &mut Vec<Frame>) {
        let Some(audio) = &mut self.audio else { return };
        if video_dts - audio.next > AUDIO_STOPPED {
            let filled = audio.fill(video_dts - AUDIO_TOLERANCE, out);
            self.counts.silence += filled;
        }
    }

    fn cut(&mut self, frame: &Frame, discontinuity: bool) -> Option<Cut> {
        self.cutter.decide(Candidate { dts: frame.dts, pts: frame.pts, key: frame.key, discontinuity })
    }
}

impl Audio {
    fn new(config: Arc<Config>, offset: Time, next: Time) -> Audio {
        Audio { config, offset, next, fresh: true, drift: Time::ZERO, pending: None }
    }

    /// Makes room for a frame whose timestamp says `at`: true time is the count of samples, timestamps only correct it.
    /// None: the frame overlaps what was given out and must be dropped. Else how many silent frames were put in.
    fn fit(&mut self, frame: &Frame, at: Time, out: &mut Vec<Frame>) -> Option<u64> {
        let error = at - self.next;
        if std::mem::replace(&mut self.fresh, false) {
            return self.begin(at, out);
        }
        if error < -AUDIO_TOLERANCE {
            return None;
        }
        if error > AUDIO_TOLERANCE {
            self.drift = Time::ZERO;
            let filled = self.fill(at, out);
            if (at - self.next).abs() > AUDIO_TOLERANCE {
                // No silence is known for this codec: the hole stays.
                self.next = self.next.max(at);
            }
            return Some(filled);
        }
        self.drift += (error - self.drift).scaled(1, 16);
        let length = self.length(&frame.payload);
        if self.drift > length && length > Time::ZERO {
            self.drift = Time::ZERO;
            return Some(self.fill(self.next + length, out));
        }
        if self.drift < -length {
            self.drift = Time::ZERO;
            return None;
        }
        Some(0)
    }

    /// The first frame after a splice keeps its own time, so that sound and picture stay together to the sample; where
    /// it comes late, silence leads up to it. None: it lies before the splice.
    fn begin(&mut self, at: Time, out: &mut Vec<Frame>) -> Option<u64> {
        if at < self.next {
            self.fresh = true;
            return None;
        }
        let length = codec::silence(&self.config).map_or(Time::ZERO, |silence| self.length(&silence));
        let gap = at - self.next;
        if gap <= AUDIO_TOLERANCE || length == Time::ZERO {
            self.next = at;
            return Some(0);
        }
        self.next = at - length.scaled(gap.flicks() / length.flicks(), 1);
        Some(self.fill(at, out))
    }

    /// Puts silent frames in up to `until`, as many whole ones as fit. Gives their number: 0 if the codec has no silence.
    fn fill(&mut self, until: Time, out: &mut Vec<Frame>) -> u64 {
        let Some(silence) = codec::silence(&self.config) else { return 0 };
        let length = self.length(&silence);
        let mut filled = 0;
        while length > Time::ZERO && self.next + length <= until {
            let config = self.config.clone();
            out.push(Frame { dts: self.next, pts: self.next, key: true, cut: None, config, payload: silence.clone() });
            self.next += length;
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, frame: &mut Frame, at: Time) {
        frame.dts = at;
        frame.pts = at;
        frame.cut = None;
        self.next = at + self.length(&frame.payload);
    }

    fn length(&self, payload: &[u8]) -> Time {
        match &*self.config {
            Config::Audio(audio) => {
                Time::from_ticks(i64::from(codec::packet_samples(&self.config, payload)), audio.sample_rate)
            }
            Config::Video(_) => Time::ZERO,
        }
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
