//! Clocks that jump or run backwards, as the hub's timeline counts them, and packets that are lost on their way.

use std::collections::VecDeque;

use super::finding::{Code, Seen, Severity};
use crate::hub::timeline::Counts;

/// What the counters said in the last minute.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Jumps and repairs, since the start, second by second.
    seconds: VecDeque<(u64, u64)>,
}

impl Clock {
    /// Once a second.
    pub(super) fn look(&mut self, counts: &Counts, out: &mut Vec<Seen>) {
        let present = (counts.jumps + counts.audio_realigned, counts.backward + counts.composition);
        self.seconds.push_back(present);
        if self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
        let before = self.seconds.front().copied().unwrap_or(present);
        let (jumps, repairs) = (present.0.saturating_sub(before.0), present.1.saturating_sub(before.1));
        if jumps > 0 || repairs >= REPAIRS {
            let text = format!(
                "the encoder's clock is unsteady: {jumps} jumps and {repairs} timestamps that run backwards within a minute; each is closed, and seen as a jerk"
            );
            out.push(
                Seen::new(Code::ClockJumps, Severity::Warning, text, STEADY_CLOCK).value((jumps + repairs) as f64),
            );
        }
    }
}

/// Packets of a publisher over WebRTC.
#[derive(Debug, Default)]
pub(super) struct Loss {
    seconds: VecDeque<(u64, u64)>,
}

impl Loss {
    /// Once a second; `packets`: those that came and those that never did, since the start.
    pub(super) fn look(&mut self, packets: Option<(u64, u64)>, out: &mut Vec<Seen>) {
        let Some(present) = packets else { return self.seconds.clear() };
        if self.seconds.back().is_some_and(|last| present.0 < last.0) {
            // Another session.
            self.seconds.clear();
        }
        self.seconds.push_back(present);
        if self.seconds.len() > LOSS_SECONDS {
            self.seconds.pop_front();
        }
        let before = self.seconds.front().copied().unwrap_or(present);
        let (came, lost) = (present.0 - before.0, present.1.saturating_sub(before.1));
        let share = lost as f64 / ((came + lost).max(1)) as f64;
        if came + lost < LEAST_PACKETS || share < LOST {
            return;
        }
        let percent = share * 100.0;
        let severity = if share > MUCH_LOST { Severity::Problem } else { Severity::Warning };
        let text =
            format!("{percent:.1} % of the packets are lost for good on their way to the server: pictures freeze");
        out.push(Seen::new(Code::NetworkLoss, severity, text, LINK).value(percent));
    }
}

const SECONDS: usize = 60;
/// Single repairs are nothing: an encoder may round badly.
const REPAIRS: u64 = 3;
const LOSS_SECONDS: usize = 10;
const LEAST_PACKETS: u64 = 200;
/// Share of packets that repairs did not bring back: every one costs a picture or more.
const LOST: f64 = 0.005;
const MUCH_LOST: f64 = 0.03;

const STEADY_CLOCK: &str = "OBS: in the capture source's properties uncheck Use Device Timestamps, and for media sources check Restart playback when source becomes active. ffmpeg: -fflags +genpts -use_wallclock_as_timestamps 1, and without -copyts";
const LINK: &str = "Use a cable instead of Wi-Fi. OBS: lower Settings > Output > Streaming > Bitrate. Browser: choose a lower bit rate or a smaller picture on the publish page";
