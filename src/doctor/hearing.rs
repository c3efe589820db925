//! Sound that was decoded and measured: too loud, silent, too quiet, or on one side alone. Judges what [`crate::hub::Heard`]
//! brings every few seconds; where nothing is measured it knows nothing.

use std::collections::VecDeque;

use super::finding::{Code, Seen, Severity};
use crate::hub::Heard;
use crate::media::Time;

/// What was heard of late.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    looks: VecDeque<Look>,
    /// Of the newest, on the stream's timeline.
    until: Option<Time>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Time,
    /// Of the loudest channel.
    rms_db: f64,
    clipped: f64,
    side: Option<Side>,
}

/// The one that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Hearing {
    /// Of another publisher nothing was heard yet. What was measured last is still the former's.
    pub(super) fn restart(&mut self) {
        self.looks.clear();
    }

    /// Once a second: what was measured last.
    pub(super) fn hear(&mut self, now: Time, heard: Option<&Heard>) {
        if let Some(heard) = heard.filter(|heard| self.until != Some(heard.until)) {
            self.until = Some(heard.until);
            self.looks.push_back(Look::of(heard, now));
        }
        let stale = self.newest_gap().map_or(MOST_STALE, |gap| gap.scaled(5, 2).max(LEAST_STALE));
        if self.looks.back().is_some_and(|look| now - look.at > stale) {
            self.looks.clear();
        }
        // The oldest is a minute before the newest, or would be if there were more.
        while self.looks.len() > MOST_LOOKS
            || self.looks.len() > LOOKS
                && matches!((self.looks.get(1), self.looks.back()), (Some(second), Some(newest)) if newest.at - second.at >= QUIET_FOR)
        {
            self.looks.pop_front();
        }
    }

    /// Tops of its waves are cut off.
    pub(super) fn clips(&self) -> Option<Seen> {
        let clipping = self.newest().filter(|look| look.clipped > CLIPPED);
        let (count, most) = clipping.fold((0, 0.0_f64), |(count, most), look| (count + 1, most.max(look.clipped)));
        if count < CLIPS {
            return None;
        }
        let percent = most * 100.0;
        let text = format!(
            "the sound clips: {percent:.1} % of it is at full scale with its tops cut off, which is heard as crackling"
        );
        Some(Seen::new(Code::SoundClips, Severity::Warning, text, TURN_DOWN).value(percent))
    }

    /// Too little is heard. `tiny`: its frames are as small as those of silence, which is believed where nothing was
    /// measured, or what was measured agrees.
    pub(super) fn too_little(&self, tiny: bool) -> Option<Seen> {
        let silent = self.newest().all(|look| look.rms_db < SILENT_DB);
        if silent && (tiny || self.looks.len() >= LOOKS) {
            let text = "the sound is silence: a muted source, or the wrong device";
            return Some(Seen::new(Code::SoundSilent, Severity::Warning, text, UNMUTE));
        }
        self.one_sided().or_else(|| self.quiet())
    }

    fn one_sided(&self) -> Option<Seen> {
        let side = self.looks.back()?.side?;
        if self.looks.len() < LOOKS || self.newest().any(|look| look.side != Some(side)) {
            return None;
        }
        let (heard, other, remedy) = match side {
            Side::Left => ("left", "right", LEFT_ON_BOTH),
            Side::Right => ("right", "left", RIGHT_ON_BOTH),
        };
        let text = format!("only the {heard} channel is heard, and the {other} one is silent");
        Some(Seen::new(Code::SoundOneSided, Severity::Info, text, remedy))
    }

    fn quiet(&self) -> Option<Seen> {
        let (oldest, newest) = (self.looks.front()?, self.looks.back()?);
        if newest.at - oldest.at < QUIET_FOR || self.looks.iter().any(|look| look.rms_db >= QUIET_DB) {
            return None;
        }
        let loudest = self.looks.iter().map(|look| look.rms_db).fold(f64::MIN, f64::max);
        let text = format!(
            "the sound is quiet: {loudest:.0} dBFS at the most for a minute, where speech and music have -30 to -15"
        );
        Some(Seen::new(Code::SoundQuiet, Severity::Info, text, TURN_UP).value(loudest))
    }

    fn newest(&self) -> impl Iterator<Item = &Look> {
        self.looks.iter().rev().take(LOOKS)
    }

    fn newest_gap(&self) -> Option<Time> {
        let mut newest = self.looks.iter().rev();
        Some(newest.next()?.at - newest.next()?.at)
    }
}

impl Look {
    fn of(heard: &Heard, at: Time) -> Look {
        let loudness = &heard.loudness;
        let side = match loudness.channels.as_slice() {
            // More than two have silent ones by nature.
            [left, right] => side(left.rms_db(), right.rms_db()),
            _ => None,
        };
        Look { at, rms_db: loudness.rms_db(), clipped: loudness.clipped(), side }
    }
}

fn side(left_db: f64, right_db: f64) -> Option<Side> {
    let alone = |heard: f64, other: f64| heard > HEARD_DB && other < UNHEARD_DB;
    match (alone(left_db, right_db), alone(right_db, left_db)) {
        (true, _) => Some(Side::Left),
        (_, true) => Some(Side::Right),
        _ => None,
    }
}

/// Measurements that are judged together.
const LOOKS: usize = 3;
/// Of those, so many must clip: one is a shout.
const CLIPS: usize = 2;
/// Of a minute, with the shortest interval that there is, and one before.
const MOST_LOOKS: usize = 64;
/// Share of samples in tops that were cut off. A loud master has a few hundredths of a percent. Encoders round tops off:
/// what was cut off before one and ends below full scale is not told from what a limiter has held down.
const CLIPPED: f64 = 0.001;
/// Below what an open microphone in a quiet room has.
const SILENT_DB: f64 = -70.0;
/// Speech and music have more; viewers would turn it up until the next stream startles them.
const QUIET_DB: f64 = -45.0;
const QUIET_FOR: Time = Time::from_millis(60_000);
/// One side is heard, and the other is not.
const HEARD_DB: f64 = -35.0;
const UNHEARD_DB: f64 = -60.0;
/// Where no measurement has come for two and a half of the usual intervals, and for so long, there are none.
const LEAST_STALE: Time = Time::from_millis(30_000);
/// That of the longest interval that can be set.
const MOST_STALE: Time = Time::from_millis(150_000);

const TURN_DOWN: &str = "OBS: Audio Mixer: pull the source's fader down until its level stays below the red; or Audio Mixer > the three dots of the source > Filters > + > Limiter, Threshold: -1 dB. ffmpeg: -af alimiter=limit=0.9";
const UNMUTE: &str = "OBS: Audio Mixer: unmute the source and look whether its level moves; Settings > Audio > Global Audio Devices: choose the device; the source's Advanced Audio Properties > Tracks: the one that is streamed. ffmpeg: choose another -i or -map. Browser: choose another microphone";
const TURN_UP: &str = "OBS: Audio Mixer: push the source's fader up; or Audio Mixer > the three dots of the source > Filters > + > Gain, with a Limiter behind it. ffmpeg: -af volume=12dB,alimiter=limit=0.9. Browser: turn the microphone up in the system's settings";
const LEFT_ON_BOTH: &str = "OBS: Audio Mixer > the three dots of the source > Advanced Audio Properties > Mono: check. ffmpeg: -af \"pan=stereo|c0=c0|c1=c0\"";
const RIGHT_ON_BOTH: &str = "OBS: Audio Mixer > the three dots of the source > Advanced Audio Properties > Mono: check. ffmpeg: -af \"pan=stereo|c0=c1|c1=c1\"";

#[cfg(test)]
#[path = "hearing_tests.rs"]
mod tests;
