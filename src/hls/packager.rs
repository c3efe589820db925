//! Turns a stream's frames into segments of its renditions. Pure; fed by the presentation's task with every frame of
//! the log. Holds the first segment back until it is whole: only then the tracks, the frame rate and the target
//! duration are known, which must not change afterwards. Then the pictures with their sound go to one segmenter, and the
//! sound alone to another, which divides it where the pictures' segments begin.

use std::collections::VecDeque;

use super::segmenter::{Output, PART_MINIMUM, Segmenter};
use crate::media::{Codec, Config, Cut, Frame, Kind, Time};

/// What is fixed for an epoch before its first playlist goes out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// EXT-X-TARGETDURATION in seconds.
    pub(super) target_duration: u32,
    /// EXT-X-PART-INF PART-TARGET.
    pub(super) part_target: Time,
    /// Pictures a second of the first segment, 0 without video.
    pub(super) frame_rate: f64,
    /// There is a rendition of pictures, with the sound if there is any.
    pub(super) video: bool,
    /// There is a rendition of the sound alone.
    pub(super) audio: bool,
}

/// What the packager gives out.
#[derive(Debug)]
pub(super) enum Packaged {
    /// The plan is made; renditions can be opened. Comes once, first.
    Open(Plan),
    /// Something for the rendition that this track leads.
    Track(Kind, Output),
}

impl Packaged {
    /// A part is complete with it.
    pub(super) fn is_part(&self) -> bool {
        matches!(self, Packaged::Track(_, Output::Part(_)))
    }
}

/// The packager of one epoch.
#[derive(Debug)]
pub(super) struct Packager {
    part_target: Time,
    /// Of a rung: what its epoch has promised.
    plan: Option<Plan>,
    held: Vec<Frame>,
    tracks: Option<Tracks>,
    segmented: Vec<Output>,
}

#[derive(Debug)]
struct Tracks {
    video: Option<Segmenter>,
    audio: Option<Segmenter>,
    /// Beside video: audio that waits until it is known which segment it belongs to. Bounded in time by the timeline,
    /// which starts a new epoch where one track runs away from the other.
    waiting: VecDeque<Frame>,
    /// Beside audio: video, from the first frame of a segment on, that waits until the sound of the one before is there.
    ahead: VecDeque<Frame>,
    /// Segments that have begun in the video and not yet in the audio.
    cuts: VecDeque<Cut>,
    /// No video frame that is still to come is shown before this.
    safe: Time,
    last_video: Option<Time>,
    last_audio: Option<Time>,
}

/// Room for timestamps in whole milliseconds where the part target follows the frame rate.
const TIMESTAMP_ROUNDING: Time = Time::from_millis(2);

impl Packager {
    /// With the configured part target.
    pub(super) fn new(part_target: Time) -> Packager {
        Packager { part_target, plan: None, held: Vec::new(), tracks: None, segmented: Vec::new() }
    }

    /// Of a rung, in an epoch whose plan is made; `plan` says which tracks the rung has.
    pub(super) fn of_rung(plan: Plan) -> Packager {
        Packager { plan: Some(plan), ..Packager::new(plan.part_target) }
    }

    /// Takes the next frame of the log.
    pub(super) fn push(&mut self, frame: Frame, out: &mut Vec<Packaged>) {
        if self.tracks.is_some() {
            self.close_broken(&frame, out);
            self.package(frame, out);
            return;
        }
        if let Some(plan) = self.plan {
            self.hold(plan, frame, out);
            return;
        }
        let ready = frame.cut.and_then(|cut| cut.target_duration);
        self.held.push(frame);
        if let Some(target_duration) = ready {
            self.open(target_duration, out);
        }
    }

    /// The stream is over: everything that waits goes out and the open segments are closed.
    pub(super) fn finish(&mut self, out: &mut Vec<Packaged>) {
        if self.tracks.is_none() {
            let (Some(first), Some(last), None) = (self.held.first(), self.held.last(), self.plan) else { return };
            let seconds = (last.dts - first.dts + Time::from_millis(500)).ticks(1).max(1);
            self.open(u32::try_from(seconds).unwrap_or(u32::MAX), out);
        }
        self.release_video(true, out);
        let Some(tracks) = &mut self.tracks else { return };
        tracks.release_audio(Time::MAX, &mut self.segmented);
        if let Some(audio) = &mut tracks.audio {
            audio.finish(&mut self.segmented);
            give(Kind::Audio, &mut self.segmented, out);
        }
        if let Some(video) = &mut tracks.video {
            video.finish(&mut self.segmented);
            give(Kind::Video, &mut self.segmented, out);
        }
    }

    /// The frames come too far apart for the plan of this epoch: a new one must begin.
    pub(super) fn hopeless(&self) -> bool {
        self.tracks.as_ref().is_some_and(|tracks| tracks.video.as_ref().is_some_and(Segmenter::hopeless))
    }

    fn open(&mut self, target_duration: u32, out: &mut Vec<Packaged>) {
        let held = std::mem::take(&mut self.held);
        let video = held.iter().find(|frame| frame.kind() == Kind::Video);
        let audio = held.iter().find(|frame| frame.kind() == Kind::Audio);
        let interval = median_interval(&held);
        let plan = Plan {
            target_duration,
            part_target: part_target(self.part_target, interval, audio.and_then(audio_frame)),
            frame_rate: if interval > Time::ZERO { 1.0 / interval.seconds() } else { 0.0 },
            video: video.is_some(),
            audio: audio.is_some(),
        };
        let sound = audio.map(|frame| frame.config.clone());
        let video = video.map(|_| Segmenter::new(plan.part_target, sound));
        self.tracks = Some(Tracks::new(video, audio.map(|_| Segmenter::new(plan.part_target, None))));
        out.push(Packaged::Open(plan));
        held.into_iter().for_each(|frame| self.package(frame, out));
    }

    /// A rung begins with a segment, and its tracks are known by their first frames. What comes before is dropped.
    fn hold(&mut self, plan: Plan, frame: Frame, out: &mut Vec<Packaged>) {
        let leading = if plan.video { Kind::Video } else { Kind::Audio };
        let begun = self.held.iter().any(|held| held.kind() == leading);
        if frame.kind() == leading && !begun && frame.cut.is_none() {
            return;
        }
        self.held.push(frame);
        let first = |kind| self.held.iter().find(|frame| frame.kind() == kind);
        let (Some(start), Some(newest)) = (first(leading), self.held.last()) else { return };
        let sound = first(Kind::Audio).map(|frame| frame.config.clone());
        // Sound that does not come at all must not keep the pictures back.
        if plan.audio && sound.is_none() && newest.dts - start.dts < PATIENCE {
            return;
        }
        self.tracks = Some(match plan.video {
            true => Tracks::new(Some(Segmenter::new(plan.part_target, sound)), None),
            false => Tracks::new(None, Some(Segmenter::new(plan.part_target, None))),
        });
        std::mem::take(&mut self.held).into_iter().for_each(|frame| self.package(frame, out));
    }

    /// Of a rung: where pictures are missing before a cut, the open segment ends where they end.
    fn close_broken(&mut self, frame: &Frame, out: &mut Vec<Packaged>) {
        let (Some(cut), Some(tracks)) = (frame.cut.filter(|_| self.plan.is_some()), &mut self.tracks) else { return };
        let last = if frame.kind() == Kind::Video { tracks.newest_video() } else { tracks.last_audio };
        if last.is_some_and(|last| cut.at - last > BROKEN) {
            self.release_video(true, out);
            self.release_audio(out);
            let Some(tracks) = &mut self.tracks else { return };
            if let Some(leading) = tracks.video.as_mut().or(tracks.audio.as_mut()) {
                leading.finish(&mut self.segmented);
                give(frame.kind(), &mut self.segmented, out);
            }
        }
    }

    fn package(&mut self, frame: Frame, out: &mut Vec<Packaged>) {
        let Some(tracks) = &mut self.tracks else { return };
        match frame.kind() {
            Kind::Video => {
                let breaks = frame.cut.is_some_and(|cut| cut.discontinuity);
                tracks.ahead.push_back(frame);
                self.release_video(breaks, out);
            }
            Kind::Audio => {
                if tracks.video.is_none() {
                    tracks.cuts.extend(frame.cut);
                }
                if let Some(video) = &mut tracks.video {
                    video.accompany(&frame, &mut self.segmented);
                    give(Kind::Video, &mut self.segmented, out);
                }
                tracks.last_audio = Some(frame.dts);
                tracks.waiting.push_back(frame);
                self.release_video(false, out);
            }
        }
        self.release_audio(out);
    }

    /// Sends on the video whose turn it is; `all`: whatever its sound does.
    fn release_video(&mut self, all: bool, out: &mut Vec<Packaged>) {
        while let Some(tracks) = &mut self.tracks
            && let Some(frame) = tracks.next_video(all)
        {
            if frame.cut.is_some_and(|cut| cut.discontinuity) {
                // What was logged before a break belongs before it, whatever its time.
                tracks.release_audio(Time::MAX, &mut self.segmented);
                give(Kind::Audio, &mut self.segmented, out);
            }
            tracks.push_video(&frame, &mut self.segmented);
            give(Kind::Video, &mut self.segmented, out);
        }
    }

    fn release_audio(&mut self, out: &mut Vec<Packaged>) {
        let Some(tracks) = &mut self.tracks else { return };
        let safe = if tracks.video.is_none() { Time::MAX } else { tracks.safe };
        tracks.release_audio(safe, &mut self.segmented);
        give(Kind::Audio, &mut self.segmented, out);
    }
}

/// Pictures wait so long for their sound. Longer than the timeline waits before it puts silence in its place.
const PATIENCE: Time = Time::from_millis(2_000);

/// Frames of a rung this far apart show that some are missing; slower sources are not cut there.
const BROKEN: Time = Time::from_millis(1_200);

impl Tracks {
    fn new(video: Option<Segmenter>, audio: Option<Segmenter>) -> Tracks {
        Tracks {
            video,
            audio,
            waiting: VecDeque::new(),
            ahead: VecDeque::new(),
            cuts: VecDeque::new(),
            safe: Time::ZERO,
            last_video: None,
            last_audio: None,
        }
    }

    fn newest_video(&self) -> Option<Time> {
        self.ahead.back().map(|frame| frame.dts).or(self.last_video)
    }

    /// The next video frame to send on. One that begins a segment waits for the sound of the segment before.
    fn next_video(&mut self, all: bool) -> Option<Frame> {
        let (front, newest) = (self.ahead.front()?, self.ahead.back()?);
        let waited = newest.dts - front.dts;
        let early = front.cut.is_some() && self.video.as_ref().is_some_and(|video| !video.covers(front.pts));
        if early && !all && self.last_video.is_some() && waited < PATIENCE { None } else { self.ahead.pop_front() }
    }

    fn push_video(&mut self, frame: &Frame, out: &mut Vec<Output>) {
        let Some(video) = &mut self.video else { return };
        if let Some(cut) = frame.cut {
            self.cuts.push_back(cut);
            video.begin(cut, frame, out);
        }
        video.push(frame, out);
        // The next frame comes about as far away as this one did, and cannot be shown before it is decoded.
        let interval = self.last_video.map_or(Time::ZERO, |last| frame.dts - last);
        self.last_video = Some(frame.dts);
        self.safe = frame.dts + interval.scaled(3, 4);
    }

    /// Sends on the audio that plays before `safe`: every segment that begins before then is known.
    fn release_audio(&mut self, safe: Time, out: &mut Vec<Output>) {
        let Some(audio) = &mut self.audio else {
            self.waiting.clear();
            self.cuts.clear();
            return;
        };
        while self.waiting.front().is_some_and(|frame| frame.pts < safe) {
            let Some(frame) = self.waiting.pop_front() else { return };
            while self.cuts.front().is_some_and(|cut| cut.at <= frame.pts) {
                let Some(cut) = self.cuts.pop_front() else { return };
                if self.cuts.front().is_some_and(|next| next.at <= frame.pts) {
                    audio.skip(cut, out);
                } else {
                    audio.begin(cut, &frame, out);
                }
            }
            audio.push(&frame, out);
        }
    }
}

fn give(kind: Kind, segmented: &mut Vec<Output>, out: &mut Vec<Packaged>) {
    out.extend(segmented.drain(..).map(|output| Packaged::Track(kind, output)));
}

/// Distance of the video frames; zero without video.
fn median_interval(frames: &[Frame]) -> Time {
    let times: Vec<Time> = frames.iter().filter(|f| f.kind() == Kind::Video).map(|f| f.dts).collect();
    let mut intervals: Vec<Time> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    intervals.sort_unstable();
    // Whole milliseconds from RTMP make single distances inexact: the mean is taken where it agrees with the median.
    let median = intervals.get(intervals.len() / 2).copied().unwrap_or(Time::ZERO);
    let alike: Vec<Time> = intervals.into_iter().filter(|i| (*i - median).abs() <= TIMESTAMP_ROUNDING).collect();
    let sum = alike.iter().fold(Time::ZERO, |sum, interval| sum + *interval);
    sum.scaled(1, alike.len() as i64)
}

fn audio_frame(frame: &Frame) -> Option<Time> {
    match &*frame.config {
        Config::Audio(audio) if audio.codec == Codec::Aac => {
            audio.frame_samples.map(|samples| Time::from_ticks(i64::from(samples), audio.sample_rate))
        }
        _ => None,
    }
}

/// The part target of an epoch: as configured where whole numbers of frames, of video and of audio, make parts between
/// the minimum and it; else the next longer one where they do, so that the rule on part durations can be kept.
fn part_target(configured: Time, video: Time, audio: Option<Time>) -> Time {
    // Audio is counted in samples and exact; video may be a millisecond off.
    let video_unit = (video, TIMESTAMP_ROUNDING.scaled(1, 2));
    let units: Vec<(Time, Time)> = std::iter::once(video_unit)
        .chain(audio.map(|audio| (audio, Time::ZERO)))
        .filter(|(unit, _)| *unit > Time::ZERO)
        .collect();
    let fits = |target: Time| {
        units.iter().all(|(unit, slack)| {
            let whole = (target - *slack).flicks() / unit.flicks();
            unit.scaled(whole, 1) >= target.scaled(PART_MINIMUM, 100) && whole > 0
        })
    };
    let mut candidates = vec![configured];
    for (unit, _) in &units {
        let first = configured.flicks() / unit.flicks() + 1;
        candidates.extend((first..first + 8).map(|whole| unit.scaled(whole, 1) + TIMESTAMP_ROUNDING));
    }
    candidates.sort_unstable();
    candidates.into_iter().find(|target| fits(*target)).unwrap_or(configured.max(video + TIMESTAMP_ROUNDING))
}

#[cfg(test)]
#[path = "packager_tests.rs"]
mod tests;
