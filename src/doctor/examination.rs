//! One stream under examination: every frame is looked at once, and once a second all checks say what they see. Pure: the
//! caller says what arrived when, and what else is known. `Doctor` feeds it; it never keeps a frame.

use std::sync::Arc;
use std::time::SystemTime;

use super::arrivals::Arrivals;
use super::clock::{Clock, Loss};
use super::finding::{Code, Finding, Seen, Severity};
use super::format;
use super::groups::{Groups, Scene};
use super::rhythm::Rhythm;
use super::sound::Sound;
use super::symptom::{Symptom, Turn};
use crate::hub::timeline::Counts;
use crate::hub::{Declared, Heard};
use crate::media::{Config, Frame, Kind, Time};

/// What counts as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Key frames further apart than this are too far apart.
    pub gop: Time,
    /// A segment never grows beyond this.
    pub segment_max: Time,
}

/// What is known of a stream beside its frames.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The publisher asks for and gets key frames when they are needed (WebRTC), and its source is a camera.
    pub webrtc: bool,
    /// What the timeline had to repair, since the epoch began.
    pub counts: Counts,
    /// What the encoder says that it sends.
    pub declared: Declared,
    /// Viewers over WebRTC.
    pub whep: u64,
    /// Packets of a WebRTC publisher that came, and that never did.
    pub packets: Option<(u64, u64)>,
    /// How loud it was when that was last measured.
    pub heard: Option<Arc<Heard>>,
    /// Publishing sessions so far.
    pub sessions: u64,
}

/// What has changed for the broadcaster.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// There is a new finding, or one is worse or lighter than it was.
    Found(Finding),
    /// One is gone; by its code.
    Cleared(&'static str),
}

/// The state of all checks of one stream.
#[derive(Debug)]
pub struct Examination {
    limits: Limits,
    groups: Groups,
    rhythm: Rhythm,
    arrivals: Arrivals,
    sound: Sound,
    clock: Clock,
    loss: Loss,
    video: Option<Arc<Config>>,
    audio: bool,
    shown: Option<Time>,
    reordered: bool,
    session: u64,
    symptoms: Vec<Symptom>,
    findings: Vec<Finding>,
    seen: Vec<Seen>,
}

impl Examination {
    /// Before the first frame.
    pub fn new(limits: Limits) -> Examination {
        Examination {
            limits,
            groups: Groups::default(),
            rhythm: Rhythm::default(),
            arrivals: Arrivals::default(),
            sound: Sound::default(),
            clock: Clock::default(),
            loss: Loss::default(),
            video: None,
            audio: false,
            shown: None,
            reordered: false,
            session: 0,
            symptoms: Code::ALL.iter().map(|_| Symptom::default()).collect(),
            findings: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Looks at a frame on the stream's timeline that `arrived` by the caller's clock.
    pub fn frame(&mut self, frame: &Frame, arrived: Time) {
        self.arrivals.frame(frame, arrived);
        if frame.kind() == Kind::Audio {
            self.audio = true;
            return self.sound.frame(frame);
        }
        if !self.video.as_ref().is_some_and(|known| Arc::ptr_eq(known, &frame.config)) {
            self.video = Some(frame.config.clone());
        }
        self.reordered |= self.shown.is_some_and(|shown| frame.pts < shown);
        self.shown = self.shown.max(Some(frame.pts));
        self.groups.frame(frame);
        self.rhythm.frame(frame);
    }

    /// The caller was late itself: what it brings next arrived at an unknown time since it last looked.
    pub fn overslept(&mut self) {
        self.arrivals.overslept();
    }

    /// Some frames were not seen: what is next does not follow what was last.
    pub fn lagged(&mut self) {
        self.restart();
    }

    /// Once a second while the publisher is there: what has changed.
    pub fn tick(&mut self, now: Time, around: &Around) -> Vec<Change> {
        if std::mem::replace(&mut self.session, around.sessions) != around.sessions {
            self.restart();
        }
        let mut seen = std::mem::take(&mut self.seen);
        seen.clear();
        self.look(now, around, &mut seen);
        let changes = self.judge(&seen, now);
        self.seen = seen;
        changes
    }

    /// What is wrong now, the worst first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Of another publisher nothing is known yet; what was found of the one before stays until it has been good for a while.
    fn restart(&mut self) {
        self.groups.restart();
        self.rhythm.restart();
        self.arrivals.restart();
        self.sound.restart();
        (self.shown, self.reordered) = (None, false);
    }

    fn look(&mut self, now: Time, around: &Around, seen: &mut Vec<Seen>) {
        self.clock.look(&around.counts, seen);
        self.loss.look(around.packets, seen);
        self.arrivals.look(now, seen);
        let tracks = (self.video.is_some(), self.audio);
        self.sound.look(now, around, tracks, seen);
        let Some(Config::Video(video)) = self.video.as_deref() else { return };
        self.rhythm.look(around.webrtc, seen);
        let rate = self.rhythm.beat().map(|beat| beat.rate);
        let pixels = u64::from(video.width) * u64::from(video.height);
        let Limits { gop: gop_limit, segment_max } = self.limits;
        self.groups.look(&Scene { gop_limit, segment_max, asked: around.webrtc, pixels, rate }, seen);
        format::look(video, seen);
        format::declared(&around.declared, video, (rate, self.groups.bitrate()), seen);
        if self.reordered {
            seen.push(reordered(around.whep));
        }
    }

    fn judge(&mut self, seen: &[Seen], now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        for (code, symptom) in Code::ALL.iter().zip(&mut self.symptoms) {
            let one = seen.iter().filter(|seen| seen.code == *code).max_by_key(|seen| seen.severity);
            let at = self.findings.iter().position(|finding| finding.code == code.name());
            match symptom.look(one, now) {
                Turn::Absent => {}
                Turn::Stays => {
                    // The numbers of the newest look; without events, as they change all the time.
                    if let (Some(at), Some(one)) = (at, one)
                        && one.severity == self.findings[at].severity
                    {
                        self.findings[at].text.clone_from(&one.text);
                        self.findings[at].value = one.value;
                    }
                }
                Turn::Found(severity) => {
                    let since = at.map_or_else(SystemTime::now, |at| self.findings.remove(at).since);
                    if let Some(one) = one {
                        let finding = finding(one, severity, since);
                        self.findings.push(finding.clone());
                        changes.push(Change::Found(finding));
                    }
                }
                Turn::Cleared => {
                    at.map(|at| self.findings.remove(at));
                    changes.push(Change::Cleared(code.name()));
                }
            }
        }
        if !changes.is_empty() {
            self.findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code));
        }
        changes
    }
}

fn finding(seen: &Seen, severity: Severity, since: SystemTime) -> Finding {
    let Seen { code, text, remedy, value, .. } = seen;
    Finding { code: code.name(), severity, text: text.clone(), remedy: (*remedy).to_owned(), since, value: *value }
}

fn reordered(whep: u64) -> Seen {
    let (severity, text) = if whep > 0 {
        let text = format!(
            "the picture has B-frames, which WebRTC cannot carry: {whep} viewers over WebRTC are sent pictures that are made anew, later and worse"
        );
        (Severity::Warning, text)
    } else {
        (Severity::Info, "the picture has B-frames: they add delay, and WebRTC cannot carry them".to_owned())
    };
    Seen::new(Code::BFrames, severity, text, NO_B_FRAMES)
}

const NO_B_FRAMES: &str = "OBS: Settings > Output > Output Mode: Advanced > Streaming > for x264 Tune: zerolatency or bframes=0 in x264 Options; for NVENC, QuickSync and AMD B-Frames: 0. ffmpeg: -bf 0";

#[cfg(test)]
#[path = "examination_tests.rs"]
mod tests;
