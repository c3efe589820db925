//! RTP timestamps to the session's time. Each track begins by arrival; once both tracks have sender reports, what the sender
//! says of its wall clock puts them in step (RFC 3550 section 6.4.1). Corrections are slewed unless they are large, so that
//! neither pictures nor sound jump for a few milliseconds of jitter in a report. Pure: `now` is told.

use crate::media::Time;

use super::header::Unwrap;

/// The clock of one track.
#[derive(Debug)]
pub(super) struct Clock {
    rate: u32,
    unwrap: Unwrap,
    /// Where timestamp zero of the unwrapped count stands in session time.
    base: Option<Time>,
    /// What `base` is on its way to.
    target: Option<Time>,
    last: i64,
    report: Option<Report>,
}

/// The sender's wall clock at a timestamp.
#[derive(Clone, Copy, Debug)]
struct Report {
    /// Since 1900, as the sender has it.
    wall: Time,
    stamp: i64,
}

impl Clock {
    /// Of a track with `rate` ticks a second.
    pub(super) fn new(rate: u32) -> Clock {
        Clock { rate, unwrap: Unwrap::default(), base: None, target: None, last: 0, report: None }
    }

    /// The session time of a timestamp; `arrival`: the session time at which it came, which the first one is taken for.
    pub(super) fn time(&mut self, timestamp: u32, arrival: Time) -> Time {
        let stamp = self.unwrap.timestamp(timestamp);
        let media = Time::from_ticks(stamp, self.rate);
        let base = *self.base.get_or_insert(arrival - media);
        let step = Time::from_ticks((stamp - self.last).clamp(0, i64::from(self.rate)), self.rate);
        self.last = self.last.max(stamp);
        let time = base + media;
        if let Some(target) = self.target {
            let off = target - base;
            if off.abs() >= STEP {
                (self.base, self.target) = (Some(target), None);
                return target + media;
            }
            let slewed = step.scaled(1, SLEW);
            let by = if off < Time::ZERO { -slewed.min(off.abs()) } else { slewed.min(off) };
            self.base = Some(base + by);
            if by == off {
                self.target = None;
            }
            return time + by;
        }
        time
    }

    /// A sender report: `ntp` as it stands there, and the timestamp that belongs to it.
    pub(super) fn report(&mut self, ntp: u64, timestamp: u32) {
        // A report that says zero says that the sender has no clock.
        if ntp == 0 {
            return;
        }
        let mut unwrap = self.unwrap;
        let wall = Time::from_ticks((ntp >> 32) as i64, 1) + Time::from_ticks((ntp & 0xffff_ffff) as i64 / 4, 1 << 30);
        self.report = Some(Report { wall, stamp: unwrap.timestamp(timestamp) });
    }

    /// The session time of the sender's wall clock zero, by this track's own base.
    fn origin(&self) -> Option<Time> {
        let (report, base) = (self.report?, self.target.or(self.base)?);
        Some(base + Time::from_ticks(report.stamp, self.rate) - report.wall)
    }

    /// Puts this track in step with another, whose base stands.
    pub(super) fn follow(&mut self, leader: &Clock) {
        let (Some(ours), Some(theirs), Some(base)) = (self.origin(), leader.origin(), self.target.or(self.base)) else {
            return;
        };
        let off = theirs - ours;
        // Reports of two clocks that have nothing to do with each other are worse than none.
        if off.abs() < FAR && off.abs() > NEAR {
            self.target = Some(base + off);
        }
    }
}

/// A correction of this much is made at once: slewed it would be seen for too long.
const STEP: Time = Time::from_millis(100);
/// A smaller one is spread so that media runs faster or slower by one part in so many.
const SLEW: i64 = 50;
/// Beyond this, reports are not believed.
const FAR: Time = Time::from_millis(10_000);
/// Less than this nobody sees or hears.
const NEAR: Time = Time::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Time {
        Time::from_millis(ms)
    }

    fn ntp(ms: u64) -> u64 {
        ((ms / 1000) << 32) | (((ms % 1000) << 32) / 1000)
    }

    #[test]
    fn without_reports_arrival_begins_and_timestamps_go_on_over_the_wrap() {
        let mut clock = Clock::new(90_000);
        let first = u32::MAX - 4_499;
        assert_eq!(clock.time(first, ms(70)), ms(70));
        assert_eq!(clock.time(first.wrapping_add(9_000), ms(500)), ms(170), "arrival counts once");
        assert_eq!(clock.time(first.wrapping_add(4_500), ms(500)), ms(120), "pictures may come in decoding order");
    }

    #[test]
    fn reports_put_sound_in_step_with_pictures() {
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        video.time(0, ms(0));
        // The sound was captured with the picture, but came 30 ms later.
        audio.time(0, ms(30));
        video.report(ntp(5_000_000), 0);
        audio.report(ntp(5_000_000), 0);
        audio.follow(&video);
        let mut last = ms(30);
        let mut off = ms(30);
        for packet in 1..200_u32 {
            let at = audio.time(packet * 960, ms(0));
            let step = at - last;
            assert!(step >= ms(19) && step <= ms(20), "packet {packet}: {step:?}");
            off = at - ms(i64::from(packet) * 20);
            last = at;
        }
        assert!(off.abs() < ms(2), "{off:?}");
    }

    #[test]
    fn a_large_difference_is_stepped_and_an_absurd_one_is_not_believed() {
        let (mut video, mut audio) = (Clock::new(90_000), Clock::new(48_000));
        video.time(0, ms(0));
        audio.time(0, ms(800));
        video.report(ntp(5_000_000), 0);
        audio.report(ntp(5_000_000), 0);
        audio.follow(&video);
        assert!((audio.time(960, ms(0)) - ms(20)).abs() < ms(1));
        audio.report(ntp(9_000_000), 960);
        audio.follow(&video);
        assert!((audio.time(1_920, ms(0)) - ms(40)).abs() < ms(1));
        audio.report(0, 960);
    }
}
