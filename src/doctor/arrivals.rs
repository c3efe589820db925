//! When media arrives, held against when it says it is: bursts, stalls, a backlog on the link, and sound that comes apart
//! from its picture. Times of arrival may be coarse to a tenth of a second: what is found here is larger.

use std::collections::VecDeque;

use super::finding::{Code, Seen, Severity};
use crate::media::{Frame, Kind, Time};

/// What is known of the last minutes of arrival.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    tracks: [Track; 2],
    newest: Option<Time>,
    /// When nothing came, and for how long.
    stalls: VecDeque<(Time, Time)>,
    seconds: VecDeque<Second>,
    present: Second,
    /// Sound behind picture, every ten seconds.
    skews: VecDeque<Time>,
    until_skew: u32,
}

#[derive(Debug, Default)]
struct Track {
    /// The least delay of late, which is that of an open road. Delays have an origin of their own; only differences count.
    base: Option<Time>,
}

/// One second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Per track.
    least: [Option<Time>; 2],
    /// Beyond the open road.
    most: Time,
}

impl Arrivals {
    pub(super) fn frame(&mut self, frame: &Frame, arrived: Time) {
        if frame.cut.is_some_and(|cut| cut.discontinuity) {
            self.restart();
        }
        let last = self.newest.replace(arrived);
        if let Some(gap) = last.map(|last| arrived - last).filter(|gap| *gap > STALL) {
            self.stalls.push_back((arrived, gap));
            if self.stalls.len() > MOST_STALLS {
                self.stalls.pop_front();
            }
        }
        let delay = arrived - frame.dts;
        let at = usize::from(frame.kind() == Kind::Audio);
        let base = self.tracks[at].base.get_or_insert(delay);
        *base = delay.min(*base);
        self.present.most = self.present.most.max(delay - *base);
        self.present.least[at] = Some(self.present.least[at].map_or(delay, |least| least.min(delay)));
    }

    /// Another session, or another mapping of its clock: old delays say nothing of new ones.
    pub(super) fn restart(&mut self) {
        *self = Arrivals { stalls: std::mem::take(&mut self.stalls), ..Arrivals::default() };
    }

    /// The looker itself was late: what arrived meanwhile did so at an unknown time.
    pub(super) fn overslept(&mut self) {
        self.newest = None;
    }

    /// Once a second.
    pub(super) fn look(&mut self, now: Time, out: &mut Vec<Seen>) {
        self.turn(now);
        out.extend(self.stall(now));
        let backlog = self.backlog();
        if backlog.is_none() {
            out.extend(self.jitter());
        }
        out.extend(backlog);
        let skew = self.skew();
        let drift = self.drift();
        if drift.is_none() {
            out.extend(skew.and_then(offset));
        }
        out.extend(drift);
    }

    fn turn(&mut self, now: Time) {
        self.seconds.push_back(std::mem::take(&mut self.present));
        if self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        while self.stalls.front().is_some_and(|(at, _)| now - *at > STALLS_KEPT) {
            self.stalls.pop_front();
        }
        for base in self.tracks.iter_mut().filter_map(|track| track.base.as_mut()) {
            *base += LEAK;
        }
        self.until_skew += 1;
        if self.until_skew >= SKEW_EVERY
            && let Some(skew) = self.skew()
        {
            self.until_skew = 0;
            self.skews.push_back(skew);
            if self.skews.len() > MOST_SKEWS {
                self.skews.pop_front();
            }
        }
    }

    fn stall(&self, now: Time) -> Option<Seen> {
        let current = self.newest.map(|newest| now - newest).filter(|gap| *gap > STALL);
        let longest = self.stalls.iter().map(|(_, gap)| *gap).chain(current).max()?;
        let count = self.stalls.len() + usize::from(current.is_some());
        let bad = longest > LONG_STALL || count >= MANY_STALLS;
        let severity = if bad { Severity::Problem } else { Severity::Warning };
        let seconds = longest.seconds();
        let text = format!("nothing came for {seconds:.1} s ({count} times within half a minute): players run dry");
        Some(Seen::new(Code::NetworkStall, severity, text, LINK).value(seconds))
    }

    fn jitter(&self) -> Option<Seen> {
        let late = self.seconds.iter().filter(|second| second.most > BURST);
        let (count, most) = late.fold((0, Time::ZERO), |(n, most), second| (n + 1, most.max(second.most)));
        if count < BURSTS {
            return None;
        }
        let ms = most.seconds() * 1000.0;
        let text = format!("frames come up to {ms:.0} ms late and in bursts: the link to the server is unsteady");
        Some(Seen::new(Code::NetworkJitter, Severity::Warning, text, LINK).value(ms))
    }

    /// Even the quickest frames of late are late.
    fn backlog(&self) -> Option<Seen> {
        let late = (0..2).filter_map(|at| Some(self.least(at)? - self.tracks[at].base?)).max()?;
        if late < BACKLOG {
            return None;
        }
        let seconds = late.seconds();
        let text = format!(
            "the stream runs {seconds:.1} s behind what its encoder sends: the link does not carry the bit rate"
        );
        Some(Seen::new(Code::NetworkBacklog, Severity::Problem, text, NARROW).value(seconds))
    }

    fn least(&self, at: usize) -> Option<Time> {
        let newest = self.seconds.iter().rev().take(SKEW_SECONDS);
        newest.filter_map(|second| second.least[at]).min()
    }

    /// How far sound comes behind the picture that it is marked to go with.
    fn skew(&self) -> Option<Time> {
        (self.seconds.len() >= SKEW_SECONDS).then_some(())?;
        Some(self.least(1)? - self.least(0)?)
    }

    fn drift(&self) -> Option<Seen> {
        if self.skews.len() < LEAST_SKEWS {
            return None;
        }
        let mean = |skews: Vec<Time>| skews.iter().map(|skew| skew.seconds()).sum::<f64>() / ENDS as f64;
        let first = mean(self.skews.iter().take(ENDS).copied().collect());
        let last = mean(self.skews.iter().rev().take(ENDS).copied().collect());
        let moved = (last - first) * 1000.0;
        if moved.abs() < DRIFT_MS {
            return None;
        }
        let minutes = (self.skews.len() as f64 * f64::from(SKEW_EVERY) / 60.0).round();
        let text = format!("sound and picture run apart: {:.0} ms in {minutes:.0} minutes", moved.abs());
        Some(Seen::new(Code::SoundDrift, Severity::Warning, text, CLOCKS).value(moved))
    }
}

fn offset(skew: Time) -> Option<Seen> {
    if skew.abs() < APART {
        return None;
    }
    let ms = skew.seconds() * 1000.0;
    let side = if skew > Time::ZERO { "before" } else { "after" };
    let text = format!(
        "sound that comes with a picture is marked to be heard {:.0} ms {side} it: lips and words are apart",
        ms.abs()
    );
    Some(Seen::new(Code::SoundOffset, Severity::Warning, text, SYNC).value(ms))
}

/// Without anything for this long, players of low latency run dry.
const STALL: Time = Time::from_millis(1_000);
const LONG_STALL: Time = Time::from_millis(3_000);
const STALLS_KEPT: Time = Time::from_millis(30_000);
const MANY_STALLS: usize = 3;
const MOST_STALLS: usize = 16;
/// Seconds that are looked back at.
const SECONDS: usize = 20;
/// Later than this beyond the open road is a burst: about what low-latency players hold back.
const BURST: Time = Time::from_millis(500);
/// Seconds of those twenty that must have one.
const BURSTS: usize = 3;
/// The open road is forgotten by this much a second, so that clocks which differ by 0.02 % are no backlog.
const LEAK: Time = Time::from_flicks(Time::PER_SECOND / 5_000);
/// The quickest frame so late says that the encoder's buffer is full.
const BACKLOG: Time = Time::from_millis(2_000);
/// Both tracks' quickest frames of so many seconds are compared.
const SKEW_SECONDS: usize = 8;
/// Sound is noticed to be apart from 100 ms; interleaving of some encoders makes half of this.
const APART: Time = Time::from_millis(350);
/// In seconds, for drift.
const SKEW_EVERY: u32 = 10;
const MOST_SKEWS: usize = 36;
/// Two minutes and a half: less is jitter.
const LEAST_SKEWS: usize = 15;
/// Skews that are averaged at both ends.
const ENDS: usize = 3;
const DRIFT_MS: f64 = 150.0;

const LINK: &str = "Use a cable instead of Wi-Fi, and end other uploads. OBS: lower Settings > Output > Streaming > Bitrate to 70 % of the upload, and check Settings > Advanced > Network > Dynamically change bitrate to manage congestion. ffmpeg: -b:v 3M -maxrate 3M -bufsize 3M, and -re when it sends a file";
const NARROW: &str = "OBS: lower Settings > Output > Streaming > Bitrate, and check Settings > Advanced > Network > Dynamically change bitrate to manage congestion. ffmpeg: a lower -b:v and -maxrate";
const SYNC: &str = "OBS: Audio Mixer > gear of the source > Advanced Audio Properties > Sync Offset: 0 ms, or the value that brings lips and words together. ffmpeg: take -itsoffset out, or add -af aresample=async=1";
const CLOCKS: &str = "OBS: Settings > Audio > Sample Rate: the same as the sound device has (48 kHz), and check Use Device Timestamps in the capture source's properties. ffmpeg: -af aresample=async=1, and -use_wallclock_as_timestamps 1 for capture inputs";
