//! Sound that is missing, silent or full of holes, by the sizes and times of its frames; with what [`Hearing`] says of those
//! that others decoded and measured.

use std::collections::VecDeque;

use super::examination::Around;
use super::finding::{Code, Seen, Severity};
use super::hearing::Hearing;
use crate::media::{Config, Frame, Time, codec};

/// What is known of the last seconds of sound.
#[derive(Debug, Default)]
pub(super) struct Sound {
    seconds: VecDeque<Second>,
    present: Second,
    filled: Option<u64>,
    began: Option<Time>,
    /// Some has come.
    came: bool,
    hearing: Hearing,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    frames: u32,
    tiny: u32,
    filled: u64,
}

impl Sound {
    pub(super) fn frame(&mut self, frame: &Frame) {
        self.came = true;
        self.present.frames += 1;
        self.present.tiny += u32::from(is_tiny(frame));
    }

    pub(super) fn restart(&mut self) {
        self.hearing.restart();
        *self = Sound { hearing: std::mem::take(&mut self.hearing), ..Sound::default() };
    }

    /// Once a second. `video`: pictures come.
    pub(super) fn look(&mut self, now: Time, around: &Around, (video, audio): (bool, bool), out: &mut Vec<Seen>) {
        let began = *self.began.get_or_insert(now);
        let silence = around.counts.silence;
        let before = self.filled.replace(silence).unwrap_or(silence);
        self.hearing.hear(now, around.heard.as_deref());
        let second = Second { filled: silence.saturating_sub(before), ..std::mem::take(&mut self.present) };
        // What leads up to the first sound after a splice is no hole.
        if now - began >= SETTLED {
            self.seconds.push_back(second);
        }
        if self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        match (video, audio && self.came) {
            (true, false) if now - began >= PATIENCE => {
                let text = "no sound track comes: some players wait for one, and viewers take it for a fault";
                out.push(Seen::new(Code::SoundMissing, Severity::Warning, text, ADD_SOUND));
            }
            (false, true) if now - began >= PATIENCE => {
                out.push(Seen::new(Code::PictureMissing, Severity::Info, "only sound comes, no picture", ADD_PICTURE));
            }
            (_, true) => {
                out.extend(self.hearing.clips());
                out.extend(self.holes().or_else(|| self.hearing.too_little(self.is_tiny())));
            }
            _ => {}
        }
    }

    fn sums(&self) -> Second {
        self.seconds.iter().fold(Second::default(), |sum, second| Second {
            frames: sum.frames + second.frames,
            tiny: sum.tiny + second.tiny,
            filled: sum.filled + second.filled,
        })
    }

    fn holes(&self) -> Option<Seen> {
        let sums = self.sums();
        let share = sums.filled as f64 / f64::from(sums.frames.max(1));
        if share < HOLES {
            return None;
        }
        let percent = share.min(1.0) * 100.0;
        let severity = if share > MANY_HOLES { Severity::Problem } else { Severity::Warning };
        let text = format!("{percent:.0} % of the sound does not come, and silence stands in for it");
        Some(Seen::new(Code::SoundGaps, severity, text, WHOLE_SOUND).value(percent))
    }

    /// Hardly a frame of the last seconds can hold anything that is heard.
    fn is_tiny(&self) -> bool {
        let sums = self.sums();
        let full = self.seconds.len() >= SECONDS && sums.frames as usize >= SECONDS;
        full && f64::from(sums.tiny) >= f64::from(sums.frames) * SILENT
    }
}

/// Too small to hold anything that can be heard.
fn is_tiny(frame: &Frame) -> bool {
    let Config::Audio(audio) = &*frame.config else { return false };
    let samples = codec::packet_samples(&frame.config, &frame.payload);
    // The length of a packet is a multiple of that of a usual one only with Opus.
    let packets = (f64::from(samples) / 960.0).max(1.0);
    frame.payload.len() as f64 <= TINY * f64::from(audio.channels.max(1)) * packets
}

/// Seconds that are looked back at. A pause in a speech is shorter.
const SECONDS: usize = 10;
/// Sound and pictures settle in this time.
const SETTLED: Time = Time::from_millis(3_000);
/// A track that has not come by then does not come.
const PATIENCE: Time = Time::from_millis(6_000);
/// Bytes for a channel and about 20 ms: silence of AAC has 3 to 6, of Opus with DTX 1 to 3; speech has 40 and more.
const TINY: f64 = 8.0;
/// Share of frames that must be tiny: a click or two is still silence.
const SILENT: f64 = 0.97;
/// Share of silence that was put in: clocks that differ make a tenth of a percent.
const HOLES: f64 = 0.02;
const MANY_HOLES: f64 = 0.3;

const ADD_SOUND: &str = "OBS: Settings > Audio > Global Audio Devices > Desktop Audio or Mic/Auxiliary Audio: choose a device; Settings > Output > Streaming > Audio Track: 1. ffmpeg: add -f lavfi -i anullsrc -c:a aac, or leave -an out. Browser: choose a microphone";
const ADD_PICTURE: &str = "OBS: add a source to the scene. ffmpeg: leave -vn out. Nothing is to be done if it is radio";
const WHOLE_SOUND: &str = "OBS: Settings > Audio > Sample Rate: the same as the sound device has; Settings > Advanced > Audio > Enable Low Latency Audio Buffering: off. ffmpeg: -af aresample=async=1";
