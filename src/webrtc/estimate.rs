//! What the link to one viewer carries: Google congestion control over transport-wide feedback
//! (draft-ietf-rmcat-gcc-02). The library judges; here is what was sent, and the bounds on what a peer may claim. Sans-IO.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport, convert_twcc};
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, TransportLayerCc};

/// The estimate.
pub(super) struct Estimate {
    gcc: Gcc,
    /// When packets left and how large they were, as far as nobody has spoken of them.
    sent: VecDeque<(Instant, u16)>,
    /// Number of the front packet.
    first: u64,
    told: bool,
}

impl Estimate {
    /// Of a link that nothing is known of.
    pub(super) fn new() -> Estimate {
        Estimate { gcc: Gcc::new(FIRST, LEAST, MOST), sent: VecDeque::new(), first: 0, told: false }
    }

    /// The transport-wide number of the next packet.
    pub(super) fn number(&self) -> u16 {
        self.next() as u16
    }

    /// That packet left.
    pub(super) fn left(&mut self, bytes: usize, now: Instant) {
        self.sent.push_back((now, bytes.min(usize::from(u16::MAX)) as u16));
        if self.sent.len() > MOST_UNTOLD {
            self.sent.pop_front();
            self.first += 1;
        }
    }

    /// The viewer says what came.
    pub(super) fn feedback(&mut self, feedback: &TransportLayerCc, now: Instant) {
        let runs = feedback.packet_chunks.iter().map(|chunk| match chunk {
            PacketStatusChunk::RunLengthChunk(run) => usize::from(run.run_length),
            PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.len(),
        });
        // A few bytes can speak of millions of packets.
        if runs.sum::<usize>() > MOST_UNTOLD + VECTOR {
            return;
        }
        let next = self.next();
        let mut newest = None;
        let report = |acknowledged: rtc_interceptor::Acknowledgement| {
            let behind = (next as u16).wrapping_sub(acknowledged.sequence_number);
            let number = next.checked_sub(u64::from(behind)).filter(|number| *number < next)?;
            let (departure, size) = *self.sent.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?;
            newest = newest.max(Some(number));
            Some(PacketReport {
                ssrc: 0,
                id: number,
                rtp_sequence_number: acknowledged.sequence_number,
                is_twcc: true,
                twcc_sequence_number: acknowledged.sequence_number,
                size: usize::from(size),
                arrived: acknowledged.arrived,
                departure,
                arrival: acknowledged.arrival,
                ecn: acknowledged.ecn,
            })
        };
        let reports: Vec<PacketReport> = convert_twcc(feedback).into_iter().filter_map(report).collect();
        if let Some(newest) = newest {
            let done = usize::try_from(newest + 1 - self.first).unwrap_or(usize::MAX).min(self.sent.len());
            self.sent.drain(..done);
            self.first += done as u64;
            self.told = true;
        }
        self.gcc.on_reports(now, &reports);
    }

    /// Bits a second; None before the viewer has said anything.
    pub(super) fn bits(&self) -> Option<f64> {
        self.told.then(|| self.gcc.target_bitrate())
    }

    fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }
}

impl fmt::Debug for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} bit/s", self.bits())
    }
}

/// Bits a second to begin with: most links carry more, and all start by catching up.
const FIRST: f64 = 3_000_000.0;
const LEAST: f64 = 100_000.0;
const MOST: f64 = 50_000_000.0;
/// Packets that nobody has spoken of: half a second of a fast stream.
const MOST_UNTOLD: usize = 1_024;
/// A vector is filled up to its length.
const VECTOR: usize = 14;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::arrivals::Arrivals;
    use super::*;

    /// Sends `rate` bits a second over a link of `link` for some seconds; what is estimated then.
    fn drive(estimate: &mut Estimate, start: Instant, (from, seconds): (u64, u64), rate: u64, link: u64) -> f64 {
        let mut arrivals = Arrivals::new(start);
        let mut free = start;
        let gap = 1_000 * 8 * 1_000_000 / rate;
        let mut next = from * 1_000_000;
        for ms in from * 1_000..(from + seconds) * 1_000 {
            while next < ms * 1_000 {
                let now = start + Duration::from_micros(next);
                let number = estimate.number();
                estimate.left(1_000, now);
                // A queue of 300 ms before the narrow place; what does not fit is lost.
                free = free.max(now) + Duration::from_micros(1_000 * 8 * 1_000_000 / link);
                if free.saturating_duration_since(now) < Duration::from_millis(300) {
                    arrivals.push(number, free + Duration::from_millis(20));
                } else {
                    free -= Duration::from_micros(1_000 * 8 * 1_000_000 / link);
                }
                next += gap;
            }
            if ms % 100 == 99
                && let Some(packet) = arrivals.feedback(1, 2)
            {
                let packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(packet)).unwrap();
                let feedback = packets[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
                estimate.feedback(feedback, start + Duration::from_millis(ms + 40));
            }
        }
        estimate.bits().unwrap()
    }

    #[test]
    fn a_narrow_link_is_found_out_and_a_wide_one_too() {
        let start = Instant::now();
        let mut estimate = Estimate::new();
        assert_eq!(estimate.bits(), None);
        let narrow = drive(&mut estimate, start, (0, 8), 2_500_000, 1_000_000);
        assert!(narrow < 1_300_000.0, "{narrow}");
        let mut estimate = Estimate::new();
        let wide = drive(&mut estimate, start, (0, 8), 2_500_000, 20_000_000);
        assert!(wide > 3_000_000.0, "{wide}");
    }

    #[test]
    fn claims_without_measure_cost_nothing() {
        let mut estimate = Estimate::new();
        let now = Instant::now();
        (0..3_000).for_each(|_| estimate.left(1_000, now));
        assert_eq!(estimate.sent.len(), MOST_UNTOLD);
        // Run-length chunks of 8,191 received packets each, without a single delta.
        let mut packet = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 1];
        packet.extend([0x1f, 0xff].repeat(200));
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        for packet in rtc_rtcp::packet::unmarshal(&mut Bytes::from(packet)).into_iter().flatten() {
            if let Some(feedback) = packet.as_any().downcast_ref::<TransportLayerCc>() {
                estimate.feedback(feedback, now);
            }
        }
        assert_eq!(estimate.sent.len(), MOST_UNTOLD);
    }
}
