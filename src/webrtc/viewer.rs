//! What one viewer is sent: its own sequence numbers over packets that all viewers share, repairs on request, and a change of
//! rendition at a key frame with numbers and timestamps that go on. Sans-IO; a playing session owns one, `worker` drives it.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch::Batch;
use super::estimate::Estimate;
use super::header::Outgoing;
use super::lane::{Kept, Lane};
use super::srtp::Srtp;
use crate::media::Time;

/// Which lane: the worker's number of a feed.
pub(super) type FeedId = usize;

/// How packets of one kind are sent to one viewer.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) ssrc: u32,
    payload_type: u8,
    /// SSRC, payload type and next number of repairs.
    repair: Option<(u32, u8, u64)>,
    /// Of the next packet, without wrapping.
    next: u64,
    /// Where it reads.
    source: Option<(FeedId, u64)>,
    /// Where it will read from the next key frame on.
    target: Option<FeedId>,
    /// A key frame of the old source at this time: from here on the new one counts.
    paused: Option<Time>,
    spans: VecDeque<Span>,
    /// The timestamp of the last packet that was not a repair.
    stamp: Option<u32>,
    pub(super) packets: u32,
    pub(super) octets: u32,
    pub(super) repaired: u64,
    tokens: f64,
}

/// Which packets have which numbers.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The number of its first packet.
    out: u64,
    feed: FeedId,
    /// The lane's number of the same packet.
    at: u64,
    /// Of packets before this one, timestamps are drawn together towards `stamp`: who comes late sees the group of pictures
    /// so far in a moment, and is not shown it as a film.
    until: u64,
    stamp: u32,
    /// Added to those: who has been sent later pictures already is sent the group as if it came after them.
    lift: u32,
}

/// What sending needs to know of the session.
pub(super) struct Line<'a> {
    pub(super) srtp: &'a mut Srtp,
    pub(super) batch: &'a mut Batch,
    /// The number of the transport-wide extension, and who counts.
    pub(super) transport_wide: Option<(u8, &'a mut Estimate)>,
    pub(super) now: Instant,
}

impl Outlet {
    /// Under this SSRC, beginning with the number `first`.
    pub(super) fn new(ssrc: u32, payload_type: u8, repair: Option<(u32, u8)>, first: u16) -> Outlet {
        Outlet {
            ssrc,
            payload_type,
            // Well below the wrap: who misses the packet before it would count from the one after.
            repair: repair.map(|(ssrc, payload_type)| (ssrc, payload_type, u64::from(first & 0x7fff))),
            next: u64::from(first & 0x7fff),
            source: None,
            target: None,
            paused: None,
            spans: VecDeque::new(),
            stamp: None,
            packets: 0,
            octets: 0,
            repaired: 0,
            tokens: REPAIRS,
        }
    }

    /// The feed it reads.
    pub(super) fn feed(&self) -> Option<FeedId> {
        self.source.map(|(feed, _)| feed)
    }

    /// The feed it is on its way to.
    pub(super) fn target(&self) -> Option<FeedId> {
        self.target
    }

    /// Begins to read a lane: where all pictures so far can be sent in a moment, at the newest key frame, else at the next.
    /// False where a key frame must come first.
    pub(super) fn begin(&mut self, feed: FeedId, lane: &Lane, replay: bool) -> bool {
        (self.target, self.paused) = (None, None);
        let start = lane.newest_start().filter(|start| replay && lane.bytes_from(*start) <= LARGEST_REPLAY);
        self.source = Some((feed, start.unwrap_or(lane.end())));
        if let Some(start) = start {
            self.span(feed, lane, start, true);
        }
        start.is_some()
    }

    /// Reads another lane from its next key frame on. `None` stays.
    pub(super) fn aim(&mut self, feed: Option<FeedId>) {
        self.target = feed.filter(|feed| Some(*feed) != self.feed());
        if self.target.is_none() {
            self.paused = None;
        }
    }

    /// The lane is gone.
    pub(super) fn detach(&mut self) {
        (self.source, self.target, self.paused) = (None, None, None);
        self.spans.clear();
    }

    /// Sends what is there, at most `budget` bytes; gives what is left of it. `lanes`: the lane of a feed.
    pub(super) fn send<'l>(
        &mut self,
        lanes: impl Fn(FeedId) -> Option<&'l Lane>,
        line: &mut Line<'_>,
        mut budget: usize,
    ) -> usize {
        self.change(&lanes);
        let Some((feed, mut at)) = self.source else { return budget };
        let Some(lane) = lanes(feed) else { return budget };
        while budget > 0 && self.paused.is_none() {
            let Some(packet) = lane.get(at) else {
                if at < lane.end() {
                    // What it had not sent is gone: only a key frame helps.
                    at = lane.newest_start().unwrap_or(lane.end());
                    continue;
                }
                break;
            };
            if packet.start && self.target.is_some() {
                self.paused = Some(packet.at);
                break;
            }
            let known =
                self.spans.back().is_some_and(|span| span.feed == feed && span.at + (self.next - span.out) == at);
            if !known {
                // Numbers do not go on from here: the first packet, or one after a jump, must begin a key frame.
                if !packet.start && lane.needs_key() {
                    at += 1;
                    continue;
                }
                self.span(feed, lane, at, false);
            }
            budget = budget.saturating_sub(packet.piece.len());
            self.packet(packet, self.stamp(packet, at), line);
            at += 1;
        }
        self.source = Some((feed, at));
        if self.paused.is_some() {
            self.change(&lanes);
        }
        budget
    }

    /// There is more to send than was sent.
    pub(super) fn is_behind(&self, lane: &Lane) -> bool {
        self.paused.is_none() && self.source.is_some_and(|(_, at)| at < lane.end())
    }

    /// Sends packets again that a viewer misses.
    pub(super) fn again<'l>(
        &mut self,
        sequences: impl Iterator<Item = u16>,
        lanes: impl Fn(FeedId) -> Option<&'l Lane>,
        line: &mut Line<'_>,
    ) {
        // A packet that is sealed twice under one number must be the same to the last bit (RFC 7714 section 8.3): the
        // number of the transport-wide extension in its header would be another, and two tags of one nonce give away
        // what authenticates.
        if self.repair.is_none() && line.transport_wide.is_some() {
            return;
        }
        for sequence in sequences {
            let number = self.next.wrapping_sub(u64::from((self.next as u16).wrapping_sub(sequence)));
            if self.tokens < 1.0 || number >= self.next {
                continue;
            }
            let span = self.spans.iter().rev().find(|span| span.out <= number).copied();
            let Some(span) = span else { continue };
            let at = span.at + (number - span.out);
            let Some(packet) = lanes(span.feed).and_then(|lane| lane.get(at)) else { continue };
            self.tokens -= 1.0;
            self.repaired += 1;
            let stamp = span.stamp_of(packet, at);
            self.repeat(packet, number, stamp, line);
        }
    }

    /// Sends some of the last packets once more, so many bytes, to see whether they get through: a viewer drops what it has.
    pub(super) fn pad<'l>(
        &mut self,
        lanes: impl Fn(FeedId) -> Option<&'l Lane>,
        line: &mut Line<'_>,
        mut bytes: usize,
    ) {
        let (Some(span), true) = (self.spans.back().copied(), self.repair.is_some()) else { return };
        let mut number = self.next;
        while bytes > 0 && number > span.out && self.next - number < MOST_PADDING {
            number -= 1;
            let at = span.at + (number - span.out);
            let Some(packet) = lanes(span.feed).and_then(|lane| lane.get(at)) else { return };
            bytes = bytes.saturating_sub(packet.piece.len());
            self.repeat(packet, number, span.stamp_of(packet, at), line);
        }
    }

    /// Time passed: repairs are allowed again. `bits`: a second, that the link carries, where that is known; repairs take a
    /// part of it, for on a link that is too narrow each of them costs another packet.
    pub(super) fn refill(&mut self, seconds: f64, bits: Option<f64>) {
        let carried = bits.map_or(REPAIRS, |bits| bits * REPAIR_SHARE / REPAIR_BITS);
        let most = carried.clamp(LEAST_REPAIRS, REPAIRS);
        self.tokens = (self.tokens + seconds * most).min(most);
    }

    /// At the pause the new source takes over, once it has the key frame that belongs there.
    fn change<'l>(&mut self, lanes: &impl Fn(FeedId) -> Option<&'l Lane>) {
        let (Some(at), Some(target)) = (self.paused, self.target) else { return };
        let Some(lane) = lanes(target) else {
            self.aim(None);
            return;
        };
        if let Some(start) = lane.start_from(at - ALMOST) {
            (self.source, self.target, self.paused) = (Some((target, start)), None, None);
        } else if lanes(self.feed().unwrap_or(target))
            .and_then(Lane::newest)
            .is_some_and(|now| now - at > LONGEST_PAUSE)
        {
            // The new source does not come; the old one goes on.
            self.aim(None);
        }
    }

    fn span(&mut self, feed: FeedId, lane: &Lane, at: u64, replay: bool) {
        let newest = lane.end().checked_sub(1).and_then(|newest| lane.get(newest));
        let (until, stamp) = newest.filter(|_| replay).map_or((0, 0), |newest| (lane.end(), newest.stamp));
        let mut span = Span { out: self.next, feed, at, until, stamp, lift: 0 };
        if let (true, Some(sent), Some(packet)) = (replay, self.stamp, lane.get(at)) {
            let ahead = sent.wrapping_sub(span.stamp_of(packet, at));
            span.lift = if ahead as i32 >= 0 { ahead.wrapping_add(1) } else { 0 };
        }
        self.spans.push_back(span);
        if self.spans.len() > MOST_SPANS {
            self.spans.pop_front();
        }
    }

    fn stamp(&self, packet: &Kept, at: u64) -> u32 {
        self.spans.back().map_or(packet.stamp, |span| span.stamp_of(packet, at))
    }

    fn packet(&mut self, packet: &Kept, stamp: u32, line: &mut Line<'_>) {
        let number = self.next;
        self.next += 1;
        self.stamp = Some(stamp);
        let head = Outgoing {
            marker: packet.marker,
            payload_type: self.payload_type,
            sequence: number as u16,
            timestamp: stamp,
            ssrc: self.ssrc,
            transport_wide: line.number(),
        };
        let start = line.batch.open();
        let length = head.write(line.batch.bytes());
        packet.piece.write(line.batch.bytes());
        if line.srtp.protect(line.batch.bytes(), start, length, self.ssrc, number) {
            line.close(start);
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(packet.piece.len() as u32);
        }
    }

    /// RFC 4588 where the viewer takes it, else the same packet once more.
    fn repeat(&mut self, packet: &Kept, number: u64, stamp: u32, line: &mut Line<'_>) {
        let (ssrc, payload_type, index) = match &mut self.repair {
            Some((ssrc, payload_type, next)) => {
                *next += 1;
                (*ssrc, *payload_type, *next)
            }
            None => (self.ssrc, self.payload_type, number),
        };
        let head = Outgoing {
            marker: packet.marker,
            payload_type,
            sequence: index as u16,
            timestamp: stamp,
            ssrc,
            transport_wide: line.number(),
        };
        let start = line.batch.open();
        let length = head.write(line.batch.bytes());
        if self.repair.is_some() {
            line.batch.bytes().extend_from_slice(&(number as u16).to_be_bytes());
        }
        packet.piece.write(line.batch.bytes());
        if line.srtp.protect(line.batch.bytes(), start, length, ssrc, index) {
            line.close(start);
        }
    }
}

impl Span {
    fn stamp_of(&self, packet: &Kept, at: u64) -> u32 {
        if at >= self.until {
            return packet.stamp;
        }
        let behind = self.stamp.wrapping_sub(packet.stamp) as i32;
        self.stamp.wrapping_sub((behind / DRAWN_TOGETHER) as u32).wrapping_add(self.lift)
    }
}

impl Line<'_> {
    fn number(&self) -> Option<(u8, u16)> {
        self.transport_wide.as_ref().map(|(number, estimate)| (*number, estimate.number()))
    }

    /// The datagram that began at `start` is whole, and leaves.
    fn close(&mut self, start: usize) {
        let bytes = self.batch.open() - start;
        self.batch.close(start);
        if let Some((_, estimate)) = &mut self.transport_wide {
            estimate.left(bytes, self.now);
        }
    }
}

/// In payload bytes: two seconds at 8 Mbit/s. More than this is too long a wait on a usual link.
const LARGEST_REPLAY: usize = 2 << 20;
/// By so much pictures of the past are drawn together in time: a second of them then lies before the next of 60 pictures a second.
const DRAWN_TOGETHER: i32 = 64;
/// Packets of one burst of a probe.
const MOST_PADDING: u64 = 64;
/// Changes of source that repairs are remembered over.
const MOST_SPANS: usize = 8;
/// Repairs a second: a loss of a fifth at 10 Mbit/s.
const REPAIRS: f64 = 250.0;
/// The key frames of a publisher's layers are taken at once, and their times differ by the rounding of their clocks.
const ALMOST: Time = Time::from_millis(12);
/// At most this part of the link is spent on repairs, of packets of so many bits.
const REPAIR_SHARE: f64 = 0.3;
const REPAIR_BITS: f64 = 9_600.0;
/// So many repairs a second any link carries.
const LEAST_REPAIRS: f64 = 10.0;
/// How long a viewer may stand still at a change.
const LONGEST_PAUSE: Time = Time::from_millis(400);

#[cfg(test)]
#[path = "viewer_tests.rs"]
mod tests;
