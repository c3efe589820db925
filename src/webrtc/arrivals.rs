//! When a publisher's packets arrived, told back to it so that it can judge the link: transport-wide congestion control
//! feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1). Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use super::header::Unwrap;

/// What arrived since the last feedback.
#[derive(Debug)]
pub(super) struct Arrivals {
    unwrap: Unwrap,
    epoch: Instant,
    came: BTreeMap<i64, Instant>,
    /// The first sequence number that no feedback has spoken of.
    next: Option<i64>,
    count: u8,
}

impl Arrivals {
    /// Times are told since `epoch`.
    pub(super) fn new(epoch: Instant) -> Arrivals {
        Arrivals { unwrap: Unwrap::default(), epoch, came: BTreeMap::new(), next: None, count: 0 }
    }

    /// A packet with this transport-wide sequence number came.
    pub(super) fn push(&mut self, sequence: u16, now: Instant) {
        let sequence = self.unwrap.sequence(sequence);
        // One that was told as lost is not taken back.
        if self.next.is_none_or(|next| sequence >= next) && self.came.len() < MOST {
            self.came.entry(sequence).or_insert(now);
        }
    }

    /// Feedback on what came since the last one, as an RTCP packet; None if nothing came.
    pub(super) fn feedback(&mut self, sender: u32, media: u32) -> Option<Vec<u8>> {
        let (&first, &start) = self.came.first_key_value()?;
        let (&last, _) = self.came.last_key_value()?;
        let base = self.next.unwrap_or(first).max(last - MOST as i64);
        let ticks = |at: Instant| at.saturating_duration_since(self.epoch).as_micros() as i64 / TICK;
        let reference = ticks(start) / REFERENCE;
        let mut at = reference * REFERENCE;
        let (mut symbols, mut deltas) = (Vec::new(), Vec::new());
        for sequence in base..=last {
            let Some(came) = self.came.get(&sequence) else {
                symbols.push(0);
                continue;
            };
            let delta = (ticks(*came) - at).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
            at += delta;
            match u8::try_from(delta) {
                Ok(small) => {
                    symbols.push(1);
                    deltas.push(small);
                }
                Err(_) => {
                    symbols.push(2);
                    deltas.extend((delta as i16).to_be_bytes());
                }
            }
        }
        self.count = self.count.wrapping_add(1);
        (self.next, self.came) = (Some(last + 1), BTreeMap::new());
        let mut body = Vec::with_capacity(20 + symbols.len());
        body.extend(sender.to_be_bytes());
        body.extend(media.to_be_bytes());
        body.extend((base as u16).to_be_bytes());
        body.extend((symbols.len() as u16).to_be_bytes());
        body.extend(&(reference as u32).to_be_bytes()[1..]);
        body.push(self.count);
        for seven in symbols.chunks(7) {
            // A vector of two-bit symbols, the first in the upper bits.
            let vector = (0..7).fold(0b11_u16, |vector, at| vector << 2 | seven.get(at).copied().unwrap_or(0));
            body.extend(vector.to_be_bytes());
        }
        body.extend(deltas);
        let padding = (4 - body.len() % 4) % 4;
        body.extend([0, 0, 0, padding as u8][4 - padding..].iter());
        let head = 0x80 | (u8::from(padding > 0) << 5) | FORMAT;
        let words = (body.len() / 4) as u16;
        Some([&[head, TRANSPORT_FEEDBACK][..], &words.to_be_bytes(), &body].concat())
    }
}

/// In microseconds: what a delta counts.
const TICK: i64 = 250;
/// Ticks in a unit of the reference time: 64 ms.
const REFERENCE: i64 = 256;
/// Packets in one feedback: a tenth of a second at 60 Mbit/s.
const MOST: usize = 1_000;
/// RTPFB with FMT 15.
const TRANSPORT_FEEDBACK: u8 = 205;
const FORMAT: u8 = 15;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
    use std::time::Duration;

    #[test]
    fn the_library_reads_what_came_and_what_did_not() {
        let epoch = Instant::now();
        let mut arrivals = Arrivals::new(epoch);
        assert!(arrivals.feedback(1, 2).is_none());
        let at = |ms: u64| epoch + Duration::from_millis(ms);
        for (sequence, ms) in [(65_534, 1_000), (65_535, 1_001), (2, 1_101), (1, 1_100)] {
            arrivals.push(sequence, at(ms));
        }
        let packet = arrivals.feedback(7, 9).unwrap();
        assert_eq!(packet.len() % 4, 0);
        let mut packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(packet)).unwrap();
        let read = packets.pop().unwrap();
        let read = read.as_any().downcast_ref::<TransportLayerCc>().unwrap().clone();
        assert_eq!((read.sender_ssrc, read.media_ssrc, read.base_sequence_number), (7, 9, 65_534));
        assert_eq!((read.packet_status_count, read.reference_time), (5, 15));
        let deltas: Vec<i64> = read.recv_deltas.iter().map(|delta| delta.delta / 1000).collect();
        assert_eq!(deltas, [40, 1, 99, 1]);
        arrivals.push(1, at(1_102));
        assert!(arrivals.feedback(7, 9).is_none(), "it was told already");
        arrivals.push(5, at(1_200));
        let mut packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(arrivals.feedback(7, 9).unwrap())).unwrap();
        let read = packets.pop().unwrap();
        let read = read.as_any().downcast_ref::<TransportLayerCc>().unwrap().clone();
        assert_eq!((read.base_sequence_number, read.packet_status_count, read.fb_pkt_count), (3, 3, 2));
    }
}
