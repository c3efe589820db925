//! Where segments begin. Decided once, here, for every rendition. Fed by the timeline with frames in decoding order;
//! pure. The policy for long and irregular groups of pictures:
//!
//! - a segment ends at the first key frame after the target, or at an earlier one where waiting for the next (as far
//!   away as the longest group so far) could break the limit;
//! - the first segment may grow to `segment_max`; its length, rounded, becomes the target duration of the epoch, and no
//!   later segment exceeds that: where no key frame comes in time the cut falls on another frame (a forced cut), which
//!   is legal (RFC 8216bis section 3 asks segments to start with a key frame only if EXT-X-INDEPENDENT-SEGMENTS says so)
//!   and keeps parts and numbers going.

use crate::media::{Cut, Time};

/// The bounds of segments, from configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment is cut at the first key frame after this time.
    pub target: Time,
    /// The first segment never grows beyond this.
    pub max: Time,
}

/// What the cutter is told about a frame of the leading track (video, or audio where there is no video).
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Decoding time on the timeline.
    pub dts: Time,
    /// Presentation time on the timeline.
    pub pts: Time,
    /// A decoder can start here.
    pub key: bool,
    /// A segment must start here, and it follows a break.
    pub discontinuity: bool,
}

/// The cutting state of one epoch.
#[derive(Debug)]
pub(super) struct Cutter {
    limits: Limits,
    next_msn: u64,
    /// Decoding time of the first frame of the open segment; None before the first.
    start: Option<Time>,
    last_key: Time,
    longest_group: Time,
    /// Decoding time and distance of the last frame, to foresee the next.
    last: Option<Time>,
    interval: Time,
    target_duration: Option<u32>,
    forced: u64,
}

/// Room between the limit of a segment and the rounding rule of EXT-X-TARGETDURATION (EXTINF rounded to the nearest
/// whole second must not exceed it), for what the segmenter may shift by.
const ROUNDING_ROOM: Time = Time::from_millis(400);

impl Cutter {
    /// For a new epoch.
    pub(super) fn new(limits: Limits) -> Cutter {
        Cutter {
            limits,
            next_msn: 0,
            start: None,
            last_key: Time::ZERO,
            longest_group: Time::ZERO,
            last: None,
            interval: Time::ZERO,
            target_duration: None,
            forced: 0,
        }
    }

    /// Says whether a segment starts with this frame. Call once per frame of the leading track, in order.
    pub(super) fn decide(&mut self, frame: Candidate) -> Option<Cut> {
        let cut = match self.start {
            None => true,
            Some(_) if frame.discontinuity => true,
            Some(start) => self.due(frame, frame.dts - start),
        };
        self.observe(frame);
        cut.then(|| self.cut(frame))
    }

    /// Cuts that fell on a frame no decoder can start at.
    pub(super) fn forced(&self) -> u64 {
        self.forced
    }

    fn due(&mut self, frame: Candidate, elapsed: Time) -> bool {
        let limit = self.limit();
        if frame.key {
            let group = self.longest_group.max(frame.dts - self.last_key);
            return elapsed >= self.limits.target || elapsed + group > limit;
        }
        let forced = elapsed + self.interval > limit;
        self.forced += u64::from(forced);
        forced
    }

    fn limit(&self) -> Time {
        match self.target_duration {
            Some(seconds) => Time::from_ticks(i64::from(seconds), 1) + ROUNDING_ROOM,
            None => self.limits.max,
        }
    }

    fn observe(&mut self, frame: Candidate) {
        if let Some(last) = self.last
            && !frame.discontinuity
        {
            self.interval = (frame.dts - last).max(Time::ZERO);
        }
        self.last = Some(frame.dts);
        if frame.key {
            if self.start.is_some() && !frame.discontinuity {
                self.longest_group = self.longest_group.max(frame.dts - self.last_key);
            }
            self.last_key = frame.dts;
        }
    }

    fn cut(&mut self, frame: Candidate) -> Cut {
        if let (Some(start), None) = (self.start, self.target_duration) {
            // A first segment that a break cut short says nothing about the groups to come.
            let first = if frame.discontinuity { self.limits.max } else { frame.dts - start };
            self.target_duration = Some(whole_seconds(first.max(self.limits.target)));
        }
        self.start = Some(frame.dts);
        let msn = self.next_msn;
        self.next_msn += 1;
        let discontinuity = frame.discontinuity && msn > 0;
        Cut { msn, discontinuity, at: frame.pts, target_duration: self.target_duration }
    }
}

/// The distance rounded to whole seconds, as EXT-X-TARGETDURATION compares it, with a little room for what the segmenter
/// may shift by.
fn whole_seconds(distance: Time) -> u32 {
    u32::try_from((distance + Time::from_millis(100)).ticks(1).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn cutter() -> Cutter {
        Cutter::new(Limits { target: Time::from_millis(2000), max: Time::from_millis(10_000) })
    }

    fn at(ms: i64, key: bool) -> Candidate {
        Candidate { dts: Time::from_millis(ms), pts: Time::from_millis(ms), key, discontinuity: false }
    }

    /// Runs frames every 40 ms with keys where `is_key` says; gives (ms, key, cut) of each cut.
    fn run(cutter: &mut Cutter, until: i64, is_key: impl Fn(i64) -> bool) -> Vec<(i64, bool, Cut)> {
        (0..until)
            .step_by(40)
            .filter_map(|ms| cutter.decide(at(ms, is_key(ms))).map(|cut| (ms, is_key(ms), cut)))
            .collect()
    }

    #[test]
    fn a_regular_source_is_cut_at_its_key_frames() {
        let cuts = run(&mut cutter(), 9000, |ms| ms % 2000 == 0);
        assert_eq!(cuts.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 2000, 4000, 6000, 8000]);
        assert_eq!(cuts[0].2.target_duration, None);
        assert!(cuts[1..].iter().all(|c| c.2.target_duration == Some(2)));
        assert_eq!(cuts.iter().map(|c| c.2.msn).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn short_groups_are_gathered_up_to_the_target() {
        let cuts = run(&mut cutter(), 9000, |ms| ms % 1000 == 0);
        assert_eq!(cuts.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 2000, 4000, 6000, 8000]);
    }

    #[test]
    fn a_group_of_eight_seconds_makes_segments_of_eight_seconds() {
        let cuts = run(&mut cutter(), 30_000, |ms| ms % 8320 == 0);
        assert_eq!(cuts.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 8320, 16640, 24960]);
        assert!(cuts[1..].iter().all(|c| c.2.target_duration == Some(8)));
    }

    #[test]
    fn without_key_frames_cuts_are_forced_within_the_limit() {
        let mut cutter = cutter();
        let cuts = run(&mut cutter, 40_000, |ms| ms == 0);
        assert_eq!(cuts.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 10_000, 20_400, 30_800]);
        assert_eq!(cutter.forced(), 3);
    }

    #[test]
    fn irregular_key_frames_are_taken_early_rather_than_missed() {
        // Groups of 2 s, then one of 1.5 s: waiting for the key after it would break the limit.
        let keys = [0, 2000, 4000, 5480, 7480, 9480];
        let cuts = run(&mut cutter(), 10_000, |ms| keys.contains(&ms));
        assert_eq!(cuts.iter().map(|c| c.0).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn a_break_cuts_at_once_and_leaves_room_in_the_target_duration() {
        let mut cutter = cutter();
        assert_eq!(cutter.decide(at(0, true)).map(|c| c.discontinuity), Some(false));
        let broken = Candidate { discontinuity: true, ..at(500, true) };
        let cut = cutter.decide(broken).unwrap();
        assert_eq!((cut.msn, cut.discontinuity, cut.target_duration), (1, true, Some(10)));
    }

    proptest! {
        #[test]
        fn no_segment_exceeds_the_target_duration(keys in proptest::collection::vec(1i64..12_000, 1..60), step in 5i64..100) {
            let mut cutter = cutter();
            let mut key_times: Vec<i64> = keys.iter().scan(0, |t, gap| { *t += gap; Some(*t / step * step) }).collect();
            key_times.push(0);
            let mut starts = Vec::new();
            let mut target_duration = None;
            for ms in (0..60_000).step_by(step as usize) {
                if let Some(cut) = cutter.decide(at(ms, key_times.contains(&ms))) {
                    prop_assert_eq!(cut.msn, starts.len() as u64);
                    if target_duration.is_some() {
                        prop_assert_eq!(cut.target_duration, target_duration);
                    }
                    target_duration = cut.target_duration;
                    starts.push(ms);
                }
            }
            if let Some(seconds) = target_duration {
                for pair in starts.windows(2) {
                    let rounded = (pair[1] - pair[0] + 500) / 1000;
                    prop_assert!(rounded <= i64::from(seconds), "{} ms in a target duration of {seconds} s", pair[1] - pair[0]);
                }
            }
        }
    }
}
