//! Groups of pictures: how long they are and what they weigh. Finds long and irregular groups, sources without any, sudden
//! falls of the bit rate, and rates that do not fit the size of the picture.

use std::collections::VecDeque;

use super::finding::{Code, Seen, Severity};
use super::rings::median;
use crate::media::{Frame, Time};

/// What is known of the newest groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    closed: VecDeque<Group>,
    span: Time,
    open: Option<Open>,
    /// Key frames in a row.
    keys: u32,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    length: Time,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: Time,
    newest: Time,
    bytes: u64,
}

/// What is known beside the groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// A group longer than this is long.
    pub(super) gop_limit: Time,
    /// A segment never grows beyond this.
    pub(super) segment_max: Time,
    /// Key frames are asked for as they are needed, so their distance says nothing.
    pub(super) asked: bool,
    /// Width times height.
    pub(super) pixels: u64,
    /// Pictures a second, if known.
    pub(super) rate: Option<f64>,
}

impl Groups {
    pub(super) fn frame(&mut self, frame: &Frame) {
        let discontinuity = frame.cut.is_some_and(|cut| cut.discontinuity);
        self.keys = if frame.key { self.keys.saturating_add(1) } else { 0 };
        let bytes = frame.payload.len() as u64;
        match &mut self.open {
            Some(open) if !frame.key && !discontinuity => {
                open.bytes += bytes;
                open.newest = frame.dts;
            }
            open => {
                let before = open.replace(Open { start: frame.dts, newest: frame.dts, bytes });
                if let Some(before) = before.filter(|_| !discontinuity) {
                    self.close(Group { length: frame.dts - before.start, bytes: before.bytes });
                }
            }
        }
    }

    /// Another session publishes: the group that was open has no end.
    pub(super) fn restart(&mut self) {
        *self = Groups::default();
    }

    pub(super) fn look(&self, scene: &Scene, out: &mut Vec<Seen>) {
        if self.keys >= ALL_KEYS {
            let text = "every picture is a key frame: this costs several times the bit rate of the same quality";
            out.push(Seen::new(Code::OnlyKeyFrames, Severity::Warning, text, SET_GOP));
        }
        out.extend(self.long(scene));
        out.extend(self.irregular(scene));
        out.extend(self.cliff());
        out.extend(self.weight(scene));
    }

    /// Bits a second over the last groups, if they are long enough to say.
    pub(super) fn bitrate(&self) -> Option<f64> {
        (self.span >= LEAST_RATE).then(|| rate(self.closed.iter()))
    }

    fn close(&mut self, group: Group) {
        self.closed.push_back(group);
        self.span += group.length;
        while self.closed.len() > MOST_GROUPS || (self.span > MEMORY && self.closed.len() > LAST) {
            let Some(oldest) = self.closed.pop_front() else { break };
            self.span -= oldest.length;
        }
    }

    fn long(&self, scene: &Scene) -> Option<Seen> {
        let open = self.open.map_or(Time::ZERO, |open| open.newest - open.start);
        let longest = self.closed.iter().rev().take(LAST).map(|group| group.length).max().unwrap_or_default().max(open);
        if longest <= scene.gop_limit.scaled(105, 100) {
            return None;
        }
        let seconds = longest.seconds();
        let (severity, what) = if longest > scene.segment_max {
            (Severity::Problem, "segments are cut where no player can start, and rungs cannot be switched")
        } else {
            (Severity::Warning, "viewers wait long for the first picture, and the delay grows")
        };
        let text = format!("key frames come {seconds:.1} s apart: {what}");
        Some(Seen::new(Code::GopLong, severity, text, SET_GOP).value(seconds))
    }

    /// Scene detection puts key frames where the picture changes.
    fn irregular(&self, scene: &Scene) -> Option<Seen> {
        if scene.asked || self.closed.len() < LEAST_GROUPS || self.keys >= ALL_KEYS {
            return None;
        }
        let lengths: Vec<f64> = self.closed.iter().map(|group| group.length.seconds()).collect();
        let usual = median(&lengths)?;
        let odd = lengths.iter().filter(|&&length| (length - usual).abs() > usual * ODD_LENGTH).count();
        if odd < 2 || (odd as f64) < lengths.len() as f64 * ODD_SHARE {
            return None;
        }
        let (least, most) = lengths.iter().fold((f64::MAX, 0_f64), |(a, b), &l| (a.min(l), b.max(l)));
        let text = format!(
            "key frames come at odd times, {least:.1} s to {most:.1} s apart: segments are of unequal length, and the delay varies"
        );
        Some(Seen::new(Code::GopIrregular, Severity::Warning, text, NO_SCENE_CUTS).value(most - least))
    }

    fn cliff(&self) -> Option<Seen> {
        let mut recent = Time::ZERO;
        let newest = self.closed.iter().rev().take_while(|group| {
            let wanted = recent < RECENT;
            recent += group.length;
            wanted
        });
        let count = newest.count();
        let (older, newer) = halves(&self.closed, self.closed.len() - count);
        let span: Time = older.iter().fold(Time::ZERO, |sum, group| sum + group.length);
        if span < BASELINE || newer.is_empty() {
            return None;
        }
        let rates: Vec<f64> = older.iter().map(|group| rate([group].into_iter())).collect();
        let (before, now) = (median(&rates)?, rate(newer.iter()));
        if before < STILL_LIFE || now >= before * CLIFF {
            return None;
        }
        let text = format!(
            "the picture's bit rate fell from {} to {}: the encoder gave in to a slow link or an overloaded machine, unless the picture stands still",
            bits(before),
            bits(now)
        );
        Some(Seen::new(Code::BitrateCliff, Severity::Warning, text, STEADY_RATE).value(now))
    }

    fn weight(&self, scene: &Scene) -> Option<Seen> {
        let (bitrate, rate) = (self.bitrate()?, scene.rate?);
        let per_pixel = bitrate / (scene.pixels as f64 * rate).max(1.0);
        if per_pixel > RICH && bitrate > RICH_FROM {
            let text = format!(
                "{} is far more than a picture of this size needs: viewers with slow links stall",
                bits(bitrate)
            );
            return Some(Seen::new(Code::BitrateHigh, Severity::Info, text, LOWER_RATE).value(bitrate));
        }
        if per_pixel < POOR {
            let text = format!(
                "{} is little for a picture of this size: it blurs or breaks into blocks when it moves",
                bits(bitrate)
            );
            return Some(Seen::new(Code::BitrateLow, Severity::Info, text, RAISE_RATE).value(bitrate));
        }
        None
    }
}

/// Those before `at`, and those from there.
fn halves(groups: &VecDeque<Group>, at: usize) -> (Vec<Group>, Vec<Group>) {
    (groups.iter().take(at).copied().collect(), groups.iter().skip(at).copied().collect())
}

fn rate<'a>(groups: impl Iterator<Item = &'a Group>) -> f64 {
    let (bytes, length) = groups.fold((0, Time::ZERO), |(b, l), group| (b + group.bytes, l + group.length));
    if length > Time::ZERO { bytes as f64 * 8.0 / length.seconds() } else { 0.0 }
}

/// A bit rate as people say it.
pub(super) fn bits(rate: f64) -> String {
    if rate >= 1e6 { format!("{:.1} Mbit/s", rate / 1e6) } else { format!("{:.0} kbit/s", rate / 1e3) }
}

/// Groups that are kept: a minute of them, or so many.
const MEMORY: Time = Time::from_millis(60_000);
const MOST_GROUPS: usize = 128;
/// Groups of which the longest counts: one long one in three is still long.
const LAST: usize = 3;
/// Before so many, nobody can tell an odd one.
const LEAST_GROUPS: usize = 6;
/// A group that differs by this share of the usual length is odd; frame rates that do not divide it differ by less.
const ODD_LENGTH: f64 = 0.25;
/// So many of them must be: one may come of a change of scenes in the studio.
const ODD_SHARE: f64 = 0.2;
/// Key frames in a row that nothing but an encoder without groups sends.
const ALL_KEYS: u32 = 50;
/// The time whose bit rate is held against that of before: shorter falls are a change of pictures.
const RECENT: Time = Time::from_millis(4_000);
/// What that of before must rest on.
const BASELINE: Time = Time::from_millis(12_000);
/// A fall to less than this share.
const CLIFF: f64 = 0.5;
/// Below this there is nothing to fall from: a slide that nobody turns.
const STILL_LIFE: f64 = 150_000.0;
/// A bit rate is said after so much.
const LEAST_RATE: Time = Time::from_millis(8_000);
/// Bits a pixel beyond which nobody sees a difference: 1080p30 at 22 Mbit/s.
const RICH: f64 = 0.35;
/// And in all: small pictures may cost what they like.
const RICH_FROM: f64 = 8_000_000.0;
/// Bits a pixel below which anything that moves falls apart: 1080p30 at 600 kbit/s.
const POOR: f64 = 0.01;

const SET_GOP: &str = "OBS: Settings > Output > Output Mode: Advanced > Streaming > Keyframe Interval: 2 s (not 0 = auto). ffmpeg: -g 60 at 30 frames a second, or -force_key_frames \"expr:gte(t,n_forced*2)\"";
const NO_SCENE_CUTS: &str = "OBS: Settings > Output > Output Mode: Advanced > Streaming > Keyframe Interval: 2 s, and for x264 write scenecut=0 into x264 Options. ffmpeg: -g 60 -keyint_min 60 -sc_threshold 0";
const STEADY_RATE: &str = "OBS: Settings > Output > Streaming > Rate Control: CBR, and Video Bitrate at most 70 % of what the upload carries; see View > Stats for skipped frames. ffmpeg: -b:v 3M -maxrate 3M -bufsize 6M";
const LOWER_RATE: &str = "OBS: Settings > Output > Streaming > Bitrate: 6000 Kbps is enough for 1080p at 30 frames a second, 9000 Kbps at 60. ffmpeg: -b:v 6M -maxrate 6M -bufsize 12M";
const RAISE_RATE: &str = "OBS: Settings > Output > Streaming > Bitrate: 4500 Kbps for 1080p at 30 frames a second, 2500 Kbps for 720p; or a smaller Settings > Video > Output (Scaled) Resolution. ffmpeg: -b:v 4500k";
