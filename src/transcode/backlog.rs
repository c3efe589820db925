//! The last frames of a source, as far back as an encoder that starts now needs them: from the key frame that leads to
//! the segment before the present one, so that a rung has a whole segment as soon as its encoder has caught up; and for so
//! long that an encoder which takes the place of one that hung can go on where that one stopped. Owned by a stream's
//! ladder.

use std::collections::VecDeque;

use crate::hub::Share;
use crate::media::{Cut, Frame, Kind, Time};

/// Frames in the order of the log, from one that a decoder can start at.
#[derive(Debug)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    /// Bytes that it may keep alive; beyond them it starts anew.
    limit: usize,
    memory: Share,
}

impl Backlog {
    /// An empty one; `memory`: where its bytes are counted.
    pub(super) fn new(limit: usize, memory: Share) -> Backlog {
        Backlog { frames: VecDeque::new(), limit, memory }
    }

    /// Takes the next frame of the log, and lets go what is older than it has to be.
    pub(super) fn push(&mut self, frame: &Frame) {
        if self.frames.is_empty() && !(frame.key && frame.cut.is_some()) {
            return;
        }
        self.memory.grow(frame.payload.len());
        self.frames.push_back(frame.clone());
        if frame.cut.is_some() {
            self.trim();
        }
        if self.memory.bytes() > self.limit {
            self.drop_front(self.frames.len());
        }
    }

    /// The frames, oldest first.
    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// The cuts that a rung can start at: that of the segment before the present one, and of the present one.
    pub(super) fn cuts(&self) -> Vec<Cut> {
        let mut cuts: Vec<Cut> = self.frames.iter().rev().filter_map(|frame| frame.cut).take(CUTS).collect();
        cuts.reverse();
        cuts
    }

    fn trim(&mut self) {
        let cuts: Vec<usize> = (0..self.frames.len()).rev().filter(|at| self.frames[*at].cut.is_some()).collect();
        let newest = self.frames.back().map_or(Time::ZERO, |frame| frame.dts);
        let old = |at: &&usize| newest - self.frames[**at].dts >= REACH;
        let Some(oldest) = cuts.iter().skip(CUTS - 1).find(old) else { return };
        let leads = |at: &usize| self.frames[*at].key && is_leading(&self.frames[*at], &self.frames[*oldest]);
        let start = (0..=*oldest).rev().find(leads).unwrap_or(0);
        self.drop_front(start);
    }

    fn drop_front(&mut self, count: usize) {
        let bytes: usize = self.frames.drain(..count).map(|frame| frame.payload.len()).sum();
        self.memory.shrink(bytes);
    }
}

/// Of the track whose frames carry cuts.
fn is_leading(frame: &Frame, cut: &Frame) -> bool {
    frame.kind() == cut.kind() || frame.kind() == Kind::Video
}

/// A whole segment and the open one.
const CUTS: usize = 2;
/// Longer than it takes to find out that a worker hangs, and to have another at work.
const REACH: Time = Time::from_millis(4_000);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tracks::tests::{picture, sound};
    use super::*;
    use crate::hub::Budget;

    fn backlog(limit: usize) -> Backlog {
        Backlog::new(limit, Budget::new(1 << 20).take(0))
    }

    fn times(backlog: &Backlog) -> Vec<i64> {
        backlog.frames().map(|frame| frame.pts.millis()).collect()
    }

    #[test]
    fn it_reaches_back_to_the_segment_before_the_present_one_and_some_seconds() {
        let mut backlog = backlog(1 << 20);
        for at in 0..90 {
            let ms = at * 100;
            backlog.push(&picture(ms, ms % 1000 == 0, (ms % 2000 == 0).then_some(ms as u64 / 2000)));
            backlog.push(&sound(ms + 50));
        }
        assert_eq!(times(&backlog).first(), Some(&4000));
        assert_eq!(backlog.cuts().iter().map(|cut| cut.msn).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(backlog.memory.bytes(), backlog.frames().map(|frame| frame.payload.len()).sum::<usize>());
    }

    #[test]
    fn a_segment_that_was_cut_between_key_frames_is_led_to_by_the_key_frame_before_it() {
        let mut backlog = backlog(1 << 20);
        for at in 0..35 {
            let ms = at * 200;
            backlog.push(&picture(ms, ms == 0, (ms % 2000 == 0).then_some(ms as u64 / 2000)));
        }
        assert_eq!(times(&backlog).first(), Some(&0));
        assert_eq!(backlog.cuts().iter().map(|cut| cut.msn).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn it_begins_at_a_segment_and_starts_anew_when_it_grows_too_large() {
        let mut backlog = backlog(20);
        backlog.push(&picture(0, false, None));
        assert!(times(&backlog).is_empty());
        (0..10).for_each(|at| backlog.push(&picture(at * 40, at == 0, (at == 0).then_some(0))));
        assert!(backlog.memory.bytes() <= 20);
        assert!(backlog.frames().next().is_none_or(|first| first.key));
    }
}
