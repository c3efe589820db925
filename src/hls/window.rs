//! The sliding window of one rendition: which segments and parts a playlist lists, and which have left it and are still
//! kept for players that know them. Pure; filled by the rendition, rendered by `playlist`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::packager::Plan;
use super::segmenter::{Init, Output, Part};
use crate::media::{Config, Time};

/// A position in a rendition: a segment and the number of a part in it.
pub(super) type Position = (u64, u64);

/// One segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) msn: u64,
    pub(super) discontinuity: bool,
    /// Index of its init section.
    pub(super) init: usize,
    /// On the stream's timeline.
    pub(super) start: Time,
    pub(super) duration: Time,
    pub(super) parts: Vec<Part>,
    pub(super) bytes: usize,
    pub(super) closed: bool,
    /// Not all of it is there: EXT-X-GAP.
    pub(super) gap: bool,
}

/// The segments that the leading rendition of a presentation lists: what the others have too, or list as gaps.
#[derive(Debug, Default)]
pub(super) struct Lead {
    pub(super) heads: Vec<Head>,
    /// Of its playlist.
    pub(super) discontinuity_sequence: u64,
}

/// One whole segment of the leading rendition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) msn: u64,
    pub(super) discontinuity: bool,
    pub(super) start: Time,
    pub(super) duration: Time,
}

/// The window.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) plan: Plan,
    pub(super) inits: Vec<Init>,
    /// What the playlist lists; the last one may be open.
    pub(super) listed: VecDeque<Segment>,
    /// What has left the playlist and is still served (RFC 8216bis section 6.2.2), each until so much is produced.
    retired: VecDeque<Segment>,
    until: VecDeque<Time>,
    /// Duration of all parts so far, and of the longest playlist.
    produced: Time,
    longest: Time,
    pub(super) discontinuity_sequence: u64,
    pub(super) ended: bool,
    length: Time,
    /// Highest and summed bit rate of whole segments.
    peak: u64,
    total: (u64, Time),
}

impl Window {
    /// An empty window that lists `length` of past segments.
    pub(super) fn new(plan: Plan, length: Time) -> Window {
        Window {
            plan,
            inits: Vec::new(),
            listed: VecDeque::new(),
            retired: VecDeque::new(),
            until: VecDeque::new(),
            produced: Time::ZERO,
            longest: Time::ZERO,
            discontinuity_sequence: 0,
            ended: false,
            length,
            peak: 0,
            total: (0, Time::ZERO),
        }
    }

    /// Takes one output of the segmenter; gives the change in bytes held. `pressed`: memory is short, so nothing is kept
    /// beyond what players need.
    pub(super) fn take(&mut self, output: Output, pressed: bool) -> isize {
        match output {
            Output::Begin { cut, start, init } => {
                // A rung that starts anew says the same again.
                let known = |init: &Init| self.inits.last().is_some_and(|last| last.bytes == init.bytes);
                self.inits.extend(init.filter(|init| !known(init)));
                self.listed.push_back(Segment {
                    msn: cut.msn,
                    discontinuity: cut.discontinuity,
                    init: self.inits.len().saturating_sub(1),
                    start,
                    duration: Time::ZERO,
                    parts: Vec::new(),
                    bytes: 0,
                    closed: false,
                    gap: false,
                });
                0
            }
            Output::Part(part) => {
                let bytes = part.bytes.len();
                self.produced += part.duration;
                if let Some(segment) = self.listed.back_mut() {
                    segment.duration += part.duration;
                    segment.bytes += bytes;
                    segment.parts.push(part);
                }
                bytes as isize
            }
            Output::Close => {
                self.close();
                -(self.slide(pressed) as isize)
            }
        }
    }

    /// The last part that exists: None before the first. A closed segment without the next one begun counts as whole.
    pub(super) fn position(&self) -> Option<Position> {
        let last = self.listed.iter().rev().find(|segment| !segment.parts.is_empty())?;
        Some((last.msn, last.parts.len() as u64 - 1))
    }

    /// The newest segment that is whole.
    pub(super) fn last_closed(&self) -> Option<&Segment> {
        self.listed.iter().rev().find(|segment| segment.closed && !segment.parts.is_empty())
    }

    /// What the other renditions of the presentation are held against.
    pub(super) fn lead(&self) -> Lead {
        let whole = self.listed.iter().filter(|segment| segment.closed);
        let heads = whole.map(|segment| Head {
            msn: segment.msn,
            discontinuity: segment.discontinuity,
            start: segment.start,
            duration: segment.duration,
        });
        Lead { heads: heads.collect(), discontinuity_sequence: self.discontinuity_sequence }
    }

    /// A segment is about to begin that may not follow the last one: what the leading rendition lists between them, and
    /// before it where nothing of this one is left, is listed as gaps. So every playlist of the presentation has the same
    /// segments (RFC 8216bis section 6.2.4). Gives the bytes freed.
    pub(super) fn align(&mut self, lead: &Lead, next: u64) -> usize {
        let last = self.listed.back().map(|segment| segment.msn);
        if last.is_some_and(|last| last + 1 == next) {
            return 0;
        }
        let mut freed = 0;
        let first = lead.heads.first().map_or(next, |head| head.msn);
        if last.is_some_and(|last| last + 1 < first) {
            freed = self.rest();
        }
        if self.listed.is_empty() {
            self.discontinuity_sequence = lead.discontinuity_sequence;
        }
        let last = self.listed.back().map(|segment| segment.msn);
        let missing = |head: &&Head| head.msn < next && last.is_none_or(|last| head.msn > last);
        let init = self.inits.len().saturating_sub(1);
        for head in lead.heads.iter().filter(missing) {
            self.produced += head.duration;
            self.listed.push_back(Segment {
                msn: head.msn,
                discontinuity: head.discontinuity,
                init,
                start: head.start,
                duration: head.duration,
                parts: Vec::new(),
                bytes: 0,
                closed: true,
                gap: true,
            });
        }
        freed
    }

    /// The open segment is about to close: where it ends well before the leading rendition's does, the rest is a gap.
    pub(super) fn complete(&mut self, lead: &Lead) {
        let part_target = self.plan.part_target;
        let Some(segment) = self.listed.back_mut() else { return };
        let Some(head) = lead.heads.iter().find(|head| head.msn == segment.msn) else { return };
        if head.duration - segment.duration <= MISSING {
            return;
        }
        segment.gap = true;
        while head.duration > segment.duration {
            let duration = part_target.min(head.duration - segment.duration);
            segment.duration += duration;
            self.produced += duration;
            segment.parts.push(Part { bytes: Bytes::new(), duration, independent: false, short: false, gap: true });
        }
    }

    /// Nobody asks any more: only the init sections stay, whose names must not be given again. Gives the bytes freed.
    pub(super) fn rest(&mut self) -> usize {
        self.until.clear();
        let all = self.listed.drain(..).chain(self.retired.drain(..));
        all.map(|segment| segment.bytes).sum()
    }

    /// A segment, listed or retired.
    pub(super) fn segment(&self, msn: u64) -> Option<&Segment> {
        find(&self.listed, msn).or_else(|| find(&self.retired, msn))
    }

    /// The next part to come, as EXT-X-PRELOAD-HINT names it. Where the last segments that ran their course were all of
    /// one length, an open one of that length is taken to be over: a regular source ends it there.
    pub(super) fn hint(&self) -> Position {
        let Some(last) = self.listed.back() else { return (0, 0) };
        let alike = |duration: Time| (duration - last.duration).abs() <= SAME;
        let regular = self.whole_durations().take(REGULAR).filter(|duration| alike(*duration)).count() == REGULAR;
        if last.closed || (regular && !last.parts.is_empty()) {
            (last.msn + 1, 0)
        } else {
            (last.msn, last.parts.len() as u64)
        }
    }

    /// Durations of the closed segments that no break cut short, newest first.
    fn whole_durations(&self) -> impl Iterator<Item = Time> {
        let followers = self.listed.iter().rev();
        let segments = self.listed.iter().rev().skip(1);
        segments.zip(followers).filter(|(_, next)| !next.discontinuity).map(|(segment, _)| segment.duration)
    }

    /// Duration of everything that is listed.
    pub(super) fn duration(&self) -> Time {
        self.listed.iter().fold(Time::ZERO, |sum, segment| sum + segment.duration)
    }

    /// Bits a second: of the heaviest segment so far, and on average.
    pub(super) fn bandwidth(&self) -> (u64, u64) {
        let (bytes, time) = self.total;
        (self.peak, (bytes as f64 * 8.0 / time.seconds().max(0.001)) as u64)
    }

    /// The configurations of the newest init section.
    pub(super) fn configs(&self) -> &[Arc<Config>] {
        self.inits.last().map_or(&[], |init| &init.configs)
    }

    /// The bytes of an init section.
    pub(super) fn init(&self, index: usize) -> Option<Bytes> {
        self.inits.get(index).map(|init| init.bytes.clone())
    }

    fn close(&mut self) {
        let target = Time::from_ticks(i64::from(self.plan.target_duration), 1);
        let Some(segment) = self.listed.back_mut() else { return };
        segment.closed = true;
        if segment.parts.is_empty() {
            segment.duration = target;
            segment.gap = true;
        }
        if segment.gap {
            return;
        }
        let rate = (segment.bytes as f64 * 8.0 / segment.duration.seconds().max(0.001)) as u64;
        // RFC 8216bis section 4.4.6.2: the peak leaves out segments far from the target duration in length.
        if segment.duration.scaled(2, 1) >= target || self.peak == 0 {
            self.peak = self.peak.max(rate);
        }
        self.total = (self.total.0 + segment.bytes as u64, self.total.1 + segment.duration);
    }

    /// Moves what exceeds the window out of the playlist, and frees what nobody may ask for any more.
    fn slide(&mut self, pressed: bool) -> usize {
        let least = Time::from_ticks(3 * i64::from(self.plan.target_duration), 1);
        let length = if pressed { least } else { self.length.max(least) };
        let mut duration = self.duration();
        self.longest = self.longest.max(duration + Time::from_ticks(i64::from(self.plan.target_duration), 1));
        while let Some(front) = self.listed.front()
            && front.closed
            && duration - front.duration >= length
        {
            duration -= front.duration;
            if let Some(front) = self.listed.pop_front() {
                self.discontinuity_sequence += u64::from(front.discontinuity);
                self.until.push_back(self.produced + front.duration + self.longest);
                self.retired.push_back(front);
            }
        }
        let mut freed = 0;
        while self.until.front().is_some_and(|until| pressed || *until <= self.produced) {
            self.until.pop_front();
            freed += self.retired.pop_front().map_or(0, |segment| segment.bytes);
        }
        freed
    }
}

/// Segments this much apart in length are taken as equally long: timestamps in whole milliseconds move both ends by one.
const SAME: Time = Time::from_millis(3);
/// A rung's segment that is shorter than the source's by more than this has lost pictures.
const MISSING: Time = Time::from_millis(150);
/// So many segments of one length make a source regular.
const REGULAR: usize = 3;

fn find(segments: &VecDeque<Segment>, msn: u64) -> Option<&Segment> {
    let first = segments.front()?.msn;
    segments.get(usize::try_from(msn.checked_sub(first)?).ok()?)
}
