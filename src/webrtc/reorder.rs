//! Puts the packets of one RTP stream back into order, drops what came twice, and says which to ask for again. Sans-IO;
//! `intake` owns one per stream. The gap list is its own: a repaired packet arrives on another SSRC, long after its place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::header::{Packet, Unwrap};

/// The buffer.
#[derive(Debug)]
pub(super) struct Reorder {
    unwrap: Unwrap,
    next: Option<i64>,
    held: BTreeMap<i64, Packet>,
    missing: BTreeMap<i64, Missing>,
    /// How long a gap is waited for.
    patience: Duration,
    pub(super) counts: Counts,
    pub(super) highest: i64,
}

/// What happened to packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Came, each counted once.
    pub(super) received: u64,
    /// Came again, or after they were given up.
    pub(super) late: u64,
    /// Never came.
    pub(super) lost: u64,
    /// Came because they were asked for again.
    pub(super) repaired: u64,
    /// Sequence numbers in requests to send again.
    pub(super) asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    asked: u32,
    again: Instant,
}

/// What comes out.
#[derive(Debug)]
pub(super) enum Next {
    /// The packet after the one before.
    Packet(Packet),
    /// Packets are missing here for good.
    Gap,
}

impl Reorder {
    /// `patience`: how long to wait for a packet that is missing.
    pub(super) fn new(patience: Duration) -> Reorder {
        let counts = Counts::default();
        Reorder {
            unwrap: Unwrap::default(),
            next: None,
            held: BTreeMap::new(),
            missing: BTreeMap::new(),
            patience,
            counts,
            highest: 0,
        }
    }

    /// Takes a packet; `repair`: it came because it was asked for.
    pub(super) fn push(&mut self, packet: Packet, repair: bool, now: Instant) {
        if repair && self.next.is_none() {
            return;
        }
        let before = self.unwrap;
        let sequence = self.unwrap.sequence(packet.sequence);
        let next = *self.next.get_or_insert(sequence);
        if (sequence - next).abs() > JUMP {
            // Another numbering: a publisher that began anew under the same SSRC.
            if repair {
                self.unwrap = before;
                return;
            }
            self.restart(sequence);
        } else if sequence < next || self.held.contains_key(&sequence) {
            self.counts.late += 1;
            return;
        }
        let from = if self.counts.received == 0 { sequence } else { self.highest + 1 };
        for absent in from..sequence {
            self.missing.insert(absent, Missing { since: now, asked: 0, again: now + SETTLE });
        }
        self.highest = self.highest.max(sequence);
        if self.missing.remove(&sequence).is_some_and(|missing| missing.asked > 0) {
            self.counts.repaired += 1;
        }
        self.counts.received += 1;
        self.held.insert(sequence, packet);
    }

    /// The next packet in order, or the gap before it.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Next> {
        let next = self.next?;
        if let Some(packet) = self.held.remove(&next) {
            self.next = Some(next + 1);
            return Some(Next::Packet(packet));
        }
        let (&first, _) = self.held.first_key_value()?;
        let waited = self.missing.get(&next).is_none_or(|missing| now.duration_since(missing.since) >= self.patience);
        if !waited && self.held.len() < MOST_HELD {
            return None;
        }
        self.counts.lost += (first - next) as u64;
        self.missing = self.missing.split_off(&first);
        self.next = Some(first);
        Some(Next::Gap)
    }

    /// The sequence numbers to ask for now; `round_trip`: how long an answer takes.
    pub(super) fn wanted(&mut self, round_trip: Duration, now: Instant) -> Vec<u16> {
        let wait = (round_trip + round_trip / 4).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        let mut wanted = Vec::new();
        for (sequence, missing) in &mut self.missing {
            if missing.again <= now && missing.asked < MOST_ASKED && wanted.len() < MOST_WANTED {
                (missing.asked, missing.again) = (missing.asked + 1, now + wait);
                wanted.push(*sequence as u16);
            }
        }
        self.counts.asked += wanted.len() as u64;
        wanted
    }

    /// Something is missing, and time alone can bring it out.
    pub(super) fn is_waiting(&self) -> bool {
        !self.missing.is_empty()
    }

    fn restart(&mut self, sequence: i64) {
        self.held.clear();
        self.missing.clear();
        (self.next, self.highest) = (Some(sequence), sequence - 1);
    }
}

/// Numbers apart that are no loss: two seconds of a fast publisher.
const JUMP: i64 = 3_000;
/// A packet may overtake another by so long before it is asked for.
const SETTLE: Duration = Duration::from_millis(4);
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// Times that one packet is asked for.
const MOST_ASKED: u32 = 10;
/// Numbers in one request.
const MOST_WANTED: usize = 128;
/// Packets that wait for one that is missing; more than this is another trouble than a lost packet.
const MOST_HELD: usize = 2_048;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::header::Outgoing;
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    fn packet(sequence: u16) -> Packet {
        let mut bytes = Vec::new();
        let head = Outgoing { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc: 1, transport_wide: None };
        head.write(&mut bytes);
        Packet::read(&bytes.into()).unwrap()
    }

    fn drain(reorder: &mut Reorder, now: Instant) -> Vec<Option<u16>> {
        std::iter::from_fn(|| reorder.pop(now))
            .map(|next| match next {
                Next::Packet(packet) => Some(packet.sequence),
                Next::Gap => None,
            })
            .collect()
    }

    #[test]
    fn disorder_and_doubles_are_mended_across_the_wrap() {
        let (mut reorder, now) = (Reorder::new(PATIENCE), Instant::now());
        for sequence in [65_533, 65_535, 65_534, 65_535, 1, 0, 65_533, 2] {
            reorder.push(packet(sequence), false, now);
        }
        assert_eq!(drain(&mut reorder, now), [65_533, 65_534, 65_535, 0, 1, 2].map(Some));
        assert_eq!((reorder.counts.received, reorder.counts.late, reorder.counts.lost), (6, 2, 0));
    }

    #[test]
    fn what_is_missing_is_asked_for_and_then_given_up() {
        let (mut reorder, start) = (Reorder::new(PATIENCE), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        for sequence in [10, 11, 14] {
            reorder.push(packet(sequence), false, start);
        }
        assert_eq!(drain(&mut reorder, start), [Some(10), Some(11)]);
        let rtt = Duration::from_millis(40);
        assert!(reorder.wanted(rtt, start).is_empty());
        assert_eq!(reorder.wanted(rtt, after(5)), [12, 13]);
        assert!(reorder.wanted(rtt, after(30)).is_empty(), "an answer takes a round trip");
        reorder.push(packet(12), true, after(45));
        assert_eq!(drain(&mut reorder, after(45)), [Some(12)]);
        assert_eq!(reorder.wanted(rtt, after(60)), [13]);
        assert_eq!(drain(&mut reorder, after(299)), []);
        assert_eq!(drain(&mut reorder, after(300)), [None, Some(14)]);
        reorder.push(packet(13), true, after(301));
        let counts = Counts { received: 4, late: 1, lost: 1, repaired: 1, asked: 3 };
        assert_eq!((reorder.counts, reorder.is_waiting()), (counts, false));
    }

    #[test]
    fn another_numbering_is_a_new_start() {
        let (mut reorder, now) = (Reorder::new(PATIENCE), Instant::now());
        reorder.push(packet(10), false, now);
        reorder.push(packet(40_000), false, now);
        reorder.push(packet(40_001), false, now);
        assert_eq!(drain(&mut reorder, now), [Some(40_000), Some(40_001)]);
        assert!(!reorder.is_waiting());
    }

    proptest! {
        #[test]
        fn order_holds_whatever_comes(sequences in proptest::collection::vec((any::<u16>(), any::<bool>()), 0..300)) {
            let (mut reorder, now) = (Reorder::new(PATIENCE), Instant::now());
            for (sequence, repair) in sequences {
                reorder.push(packet(sequence), repair, now);
                drain(&mut reorder, now);
                prop_assert!(reorder.wanted(PATIENCE, now + PATIENCE).len() <= MOST_WANTED);
                prop_assert!(reorder.held.len() <= MOST_HELD && reorder.missing.len() <= JUMP as usize);
            }
        }
    }
}
