//! The packets of one track of one rendition, kept for all its viewers: they are sent from here, sent again from here, and
//! late viewers begin here. One per worker thread and track, so that nothing is locked. Sans-IO; `feed` fills it.

use std::collections::VecDeque;

use super::clock_rate;
use super::pack::{Pack, Piece};
use crate::media::{Frame, Kind, Time};

/// The packets of a track.
#[derive(Debug)]
pub(super) struct Lane {
    kind: Kind,
    pack: Pack,
    /// The RTP timestamp of the timeline's zero.
    base: u32,
    packets: VecDeque<Kept>,
    /// Number of the front packet.
    first: u64,
    bytes: usize,
    /// Numbers of the packets that key frames begin with.
    starts: VecDeque<u64>,
    newest: Option<Time>,
    speed: Speed,
}

/// A packet that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) piece: Piece,
    pub(super) stamp: u32,
    /// The last of its frame.
    pub(super) marker: bool,
    /// The first of a key frame.
    pub(super) start: bool,
    /// When its frame is shown, on the stream's timeline.
    pub(super) at: Time,
}

/// Bits a second, over about a second.
#[derive(Debug, Default)]
struct Speed {
    since: Option<Time>,
    bytes: usize,
    bits: f64,
}

impl Lane {
    /// `base`: the RTP timestamp of the timeline's zero.
    pub(super) fn new(kind: Kind, base: u32) -> Lane {
        Lane {
            kind,
            pack: Pack::default(),
            base,
            packets: VecDeque::new(),
            first: 0,
            bytes: 0,
            starts: VecDeque::new(),
            newest: None,
            speed: Speed::default(),
        }
    }

    /// Packs a frame and keeps its packets; lets go of what nobody can ask for any more.
    pub(super) fn push(&mut self, frame: &Frame) {
        let stamp = self.base.wrapping_add(frame.pts.ticks(clock_rate(self.kind)) as u32);
        let pieces = self.pack.frame(frame);
        let last = pieces.len().wrapping_sub(1);
        for (at, piece) in pieces.into_iter().enumerate() {
            let start = at == 0 && frame.key;
            if start {
                self.starts.push_back(self.end());
            }
            self.bytes += piece.len();
            self.packets.push_back(Kept { piece, stamp, marker: at == last, start, at: frame.pts });
        }
        self.newest = self.newest.max(Some(frame.pts));
        self.speed.count(frame);
        self.let_go();
    }

    /// One past the newest packet.
    pub(super) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    /// A packet, if it is still kept.
    pub(super) fn get(&self, number: u64) -> Option<&Kept> {
        self.packets.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The newest key frame that is whole.
    pub(super) fn newest_start(&self) -> Option<u64> {
        self.starts.back().copied()
    }

    /// The first key frame that is shown at a time or later.
    pub(super) fn start_from(&self, at: Time) -> Option<u64> {
        self.starts.iter().copied().find(|start| self.get(*start).is_some_and(|packet| packet.at >= at))
    }

    /// The newest time on the timeline.
    pub(super) fn newest(&self) -> Option<Time> {
        self.newest
    }

    /// Payload bytes from a packet to the newest.
    pub(super) fn bytes_from(&self, number: u64) -> usize {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.packets.iter().skip(skip).map(|packet| packet.piece.len()).sum()
    }

    /// Bits a second.
    pub(super) fn speed(&self) -> f64 {
        self.speed.bits
    }

    /// Who begins here needs a key frame: sound can begin anywhere.
    pub(super) fn needs_key(&self) -> bool {
        self.kind == Kind::Video
    }

    /// Keeps the newest group of pictures, and of what was before it what may be asked for again.
    fn let_go(&mut self) {
        let Some(newest) = self.newest else { return };
        while let Some(front) = self.packets.front() {
            let old = newest - front.at > REPAIRABLE;
            let replayed = self.starts.front().is_some_and(|start| self.first >= *start) && self.starts.len() == 1;
            let too_much = self.bytes > MOST_BYTES || self.packets.len() > MOST_PACKETS;
            if !(old && (!replayed || too_much)) && self.bytes <= 2 * MOST_BYTES {
                break;
            }
            self.bytes -= front.piece.len();
            self.packets.pop_front();
            self.first += 1;
            while self.starts.front().is_some_and(|start| *start < self.first) {
                self.starts.pop_front();
            }
        }
    }
}

impl Speed {
    fn count(&mut self, frame: &Frame) {
        let since = *self.since.get_or_insert(frame.pts);
        self.bytes += frame.payload.len();
        let seconds = (frame.pts - since).seconds();
        if seconds >= 1.0 {
            let bits = self.bytes as f64 * 8.0 / seconds;
            self.bits = if self.bits == 0.0 { bits } else { self.bits * 0.7 + bits * 0.3 };
            (self.since, self.bytes) = (Some(frame.pts), 0);
        }
    }
}

/// A packet is asked for again within a few round trips.
const REPAIRABLE: Time = Time::from_millis(1_500);
/// Payload bytes of a group of pictures that is kept for those who come late: four seconds at 16 Mbit/s.
const MOST_BYTES: usize = 8 << 20;
const MOST_PACKETS: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::media::codec;

    fn frame(ms: i64, key: bool, bytes: usize) -> Frame {
        let config = codec::vp8(&Bytes::from_static(&[0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1])).unwrap();
        let at = Time::from_millis(ms);
        Frame { dts: at, pts: at, key, cut: None, config: Arc::new(config), payload: vec![0; bytes].into() }
    }

    #[test]
    fn the_newest_group_is_kept_whole_and_little_before_it() {
        let mut lane = Lane::new(Kind::Video, 100);
        for ms in (0..20_000).step_by(40) {
            lane.push(&frame(ms, ms % 4_000 == 0, 2_000));
        }
        let start = lane.newest_start().unwrap();
        let packet = lane.get(start).unwrap();
        assert!(packet.start && packet.at == Time::from_millis(16_000) && packet.stamp == 100 + 16_000 * 90);
        assert!(lane.get(lane.end() - 1).unwrap().marker && lane.get(lane.end()).is_none());
        assert!(lane.first <= start && lane.packets.len() < 250);
        assert!((lane.speed() - 400_000.0).abs() < 20_000.0, "{}", lane.speed());
        assert_eq!(lane.start_from(Time::from_millis(16_001)), None);
    }

    #[test]
    fn an_endless_group_is_bounded() {
        let mut lane = Lane::new(Kind::Video, 0);
        for ms in 0..100_000 {
            lane.push(&frame(ms * 10, ms == 0, 5_000));
        }
        assert!(lane.bytes <= MOST_BYTES && lane.newest_start().is_none());
    }
}
