//! What came of one track: packets, bytes, lost numbers, frames and the gaps between them, all from RTP headers, which SRTP
//! leaves in the clear. Also the reports that the server is owed. Pure; `viewer` owns two.

use std::time::{Duration, Instant};

/// An RTP header, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The last packet of its frame.
    pub(crate) marker: bool,
    /// Payload type.
    pub(crate) payload_type: u8,
    /// Number within the stream.
    pub(crate) sequence: u16,
    /// The stream.
    pub(crate) ssrc: u32,
    /// Number across all streams of the session.
    pub(crate) transport_wide: Option<u16>,
}

impl Header {
    /// RFC 3550 section 5.1; `extension`: the number of the transport-wide extension (RFC 8285).
    pub(crate) fn read(packet: &[u8], extension: u8) -> Option<Header> {
        let head: &[u8; 12] = packet.first_chunk()?;
        let mut header = Header {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            transport_wide: None,
        };
        if head[0] & 0x10 != 0 {
            let at = 12 + 4 * usize::from(head[0] & 0x0f);
            let profile = packet.get(at..at + 4)?;
            let length = 4 * usize::from(u16::from_be_bytes([profile[2], profile[3]]));
            let body = packet.get(at + 4..at + 4 + length)?;
            header.transport_wide = match (profile[0], profile[1]) {
                (0xbe, 0xde) => find(body, extension, |body| Some((body[0] >> 4, usize::from(body[0] & 15) + 1, 1))),
                (0x10, _) => find(body, extension, |body| Some((body[0], usize::from(*body.get(1)?), 2))),
                _ => None,
            };
        }
        Some(header)
    }
}

/// Goes through elements; `head`: number, length and size of the head of the element that a slice begins with.
fn find(mut body: &[u8], wanted: u8, head: impl Fn(&[u8]) -> Option<(u8, usize, usize)>) -> Option<u16> {
    while let Some(first) = body.first() {
        if *first == 0 {
            body = &body[1..];
            continue;
        }
        let (number, length, size) = head(body)?;
        let value = body.get(size..size + length)?;
        if number == wanted {
            return value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
        }
        body = &body[size + length..];
    }
    None
}

/// What came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The stream, once its first packet is here.
    pub(crate) ssrc: Option<u32>,
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes of packets, with their headers and without UDP's.
    pub(crate) bytes: u64,
    /// Packets with the marker.
    pub(crate) frames: u64,
    first: u64,
    highest: u64,
    framed: Option<Instant>,
    /// As of the last report: expected and received.
    told: (u64, u64),
    /// The middle of the last sender report's NTP time, and when it came.
    heard: Option<(u32, Instant)>,
}

impl Track {
    /// Takes a packet; for the last of a frame, how long ago the one before it came.
    pub(crate) fn take(&mut self, header: &Header, bytes: usize, now: Instant) -> Option<Duration> {
        if self.ssrc != Some(header.ssrc) {
            let sequence = u64::from(header.sequence) + (1 << 16);
            *self = Track { ssrc: Some(header.ssrc), first: sequence, highest: sequence, ..self.clone() };
        }
        let step = header.sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest = self.highest.max(self.highest.saturating_add_signed(i64::from(step)));
        self.packets += 1;
        self.bytes += bytes as u64;
        if !header.marker {
            return None;
        }
        self.frames += 1;
        self.framed.replace(now).map(|before| now.saturating_duration_since(before))
    }

    /// Numbers between the first and the highest that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.packets)
    }

    /// A sender report came.
    pub(crate) fn heard(&mut self, ntp: u64, now: Instant) {
        self.heard = Some(((ntp >> 16) as u32, now));
    }

    /// One block of a receiver report, RFC 3550 section 6.4.1; None before anything came.
    pub(crate) fn block(&mut self, now: Instant) -> Option<[u8; 24]> {
        let ssrc = self.ssrc?;
        let (expected, received) = (self.expected(), self.packets);
        let (since, came) = (expected - self.told.0, received - self.told.1);
        self.told = (expected, received);
        let fraction = (since.saturating_sub(came) * 256).checked_div(since).unwrap_or(0).min(255) as u8;
        let lost = (self.lost().min(0x7f_ffff) as u32).to_be_bytes();
        let (report, delay) = self.heard.map_or((0, 0), |(report, at)| {
            (report, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32)
        });
        let words = [ssrc, u32::from_be_bytes([fraction, lost[1], lost[2], lost[3]]), self.highest as u32, 0];
        let mut block = [0; 24];
        for (place, word) in block.chunks_mut(4).zip(words.into_iter().chain([report, delay])) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        Some(block)
    }

    fn expected(&self) -> u64 {
        if self.ssrc.is_some() { self.highest - self.first + 1 } else { 0 }
    }
}

/// A receiver report of what came.
pub(crate) fn report(tracks: &mut [Track], now: Instant) -> Vec<u8> {
    let blocks: Vec<[u8; 24]> = tracks.iter_mut().filter_map(|track| track.block(now)).collect();
    let words = (1 + 6 * blocks.len()) as u16;
    let mut out = vec![0x80 | blocks.len() as u8, RECEIVER_REPORT];
    out.extend(words.to_be_bytes());
    out.extend(SENDER.to_be_bytes());
    out.extend(blocks.concat());
    out
}

/// When packets arrived, for transport-wide feedback
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// In the order of their coming; on loopback that is the order of their numbers.
    came: Vec<(u16, Instant)>,
    next: Option<u16>,
    count: u8,
}

impl Arrivals {
    /// A packet came.
    pub(crate) fn push(&mut self, number: u16, now: Instant) {
        // One that was told as lost is not taken back.
        if self.next.is_none_or(|next| (number.wrapping_sub(next) as i16) >= 0) && self.came.len() < MOST {
            self.came.push((number, now));
        }
    }

    /// Feedback on what came since the last one; None if nothing came. Times are told since `epoch`.
    pub(crate) fn feedback(&mut self, media: u32, epoch: Instant) -> Option<Vec<u8>> {
        let base = self.next.or(self.came.first().map(|first| first.0))?;
        self.came.sort_by_key(|(number, _)| number.wrapping_sub(base));
        self.came.dedup_by_key(|(number, _)| *number);
        let (first, last) = (self.came.first()?, self.came.last()?);
        let count = last.0.wrapping_sub(base).wrapping_add(1);
        let ticks = |at: Instant| at.saturating_duration_since(epoch).as_micros() as i64 / TICK;
        let reference = ticks(first.1) / REFERENCE;
        let (mut symbols, mut deltas) = (vec![0_u16; usize::from(count)], Vec::new());
        let mut at = reference * REFERENCE;
        for (number, came) in &self.came {
            let delta = (ticks(*came) - at).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
            at += delta;
            let small = u8::try_from(delta);
            symbols[usize::from(number.wrapping_sub(base))] = if small.is_ok() { 1 } else { 2 };
            match small {
                Ok(small) => deltas.push(small),
                Err(_) => deltas.extend((delta as i16).to_be_bytes()),
            }
        }
        self.next = Some(last.0.wrapping_add(1));
        self.came.clear();
        self.count = self.count.wrapping_add(1);
        let mut out = vec![0x80 | TRANSPORT_WIDE_FORMAT, TRANSPORT_FEEDBACK, 0, 0];
        out.extend(SENDER.to_be_bytes());
        out.extend(media.to_be_bytes());
        out.extend([base.to_be_bytes(), count.to_be_bytes()].concat());
        out.extend(&(reference as u32).to_be_bytes()[1..]);
        out.push(self.count);
        for seven in symbols.chunks(7) {
            let vector =
                seven.iter().zip((0..7).rev()).fold(0xc000, |vector, (symbol, at)| vector | symbol << (2 * at));
            out.extend(u16::to_be_bytes(vector));
        }
        out.extend(deltas);
        let padding = (4 - out.len() % 4) % 4;
        if padding > 0 {
            out[0] |= 0x20;
            out.resize(out.len() + padding, 0);
            *out.last_mut()? = padding as u8;
        }
        let words = (out.len() / 4 - 1) as u16;
        out[2..4].copy_from_slice(&words.to_be_bytes());
        Some(out)
    }
}

/// Who we are in reports.
const SENDER: u32 = 1;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const TRANSPORT_WIDE_FORMAT: u8 = 15;
/// Microseconds that a delta counts, and deltas in a unit of the reference time.
const TICK: i64 = 250;
const REFERENCE: i64 = 256;
/// Packets that one feedback speaks of.
const MOST: usize = 2_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use rtc_rtcp::receiver_report::ReceiverReport;
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;

    fn header(sequence: u16, marker: bool) -> Header {
        Header { marker, payload_type: 102, sequence, ssrc: 7, transport_wide: None }
    }

    #[test]
    fn a_header_is_read_with_either_form_of_extensions() {
        let head = [0x90, 0xe6, 1, 2, 0, 0, 0, 0, 0, 0, 0, 7];
        for (profile, body) in [([0xbe, 0xde], [0x10, 9, 0x31, 5, 6, 0, 0, 0]), ([0x10, 0], [1, 1, 9, 3, 2, 5, 6, 0])] {
            let packet = [&head[..], &profile, &[0, 2], &body, b"payload"].concat();
            let read = Header::read(&packet, 3).unwrap();
            assert_eq!((read.marker, read.payload_type, read.sequence, read.ssrc), (true, 102, 258, 7));
            assert_eq!(read.transport_wide, Some(0x0506));
            assert_eq!(Header::read(&packet, 4).unwrap().transport_wide, None);
        }
        assert_eq!(Header::read(&head[..11], 3), None);
    }

    #[test]
    fn lost_numbers_and_gaps_are_counted_across_the_wrap() {
        let (mut track, start) = (Track::default(), Instant::now());
        for (sequence, marker, ms) in [(65_533, false, 0), (65_535, true, 0), (65_534, false, 1), (3, true, 400)] {
            let gap = track.take(&header(sequence, marker), 100, start + Duration::from_millis(ms));
            assert_eq!(gap, (sequence == 3).then_some(Duration::from_millis(400)));
        }
        assert_eq!((track.packets, track.lost(), track.frames, track.bytes), (4, 3, 2, 400));
        let report = report(&mut [track, Track::default()], start);
        let packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(report)).unwrap();
        let block = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap().reports[0].clone();
        assert_eq!(
            (block.ssrc, block.total_lost, block.fraction_lost, block.last_sequence_number),
            (7, 3, 109, 131_075)
        );
    }

    #[test]
    fn the_library_reads_what_came() {
        let epoch = Instant::now();
        let at = |ms: u64| epoch + Duration::from_millis(ms);
        let mut arrivals = Arrivals::default();
        for (number, ms) in [(65_534, 1_000), (65_535, 1_001), (2, 1_101), (1, 1_100)] {
            arrivals.push(number, at(ms));
        }
        let packet = arrivals.feedback(9, epoch).unwrap();
        let packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(packet)).unwrap();
        let read = packets[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        assert_eq!((read.media_ssrc, read.base_sequence_number, read.packet_status_count), (9, 65_534, 5));
        let deltas: Vec<i64> = read.recv_deltas.iter().map(|delta| delta.delta / 1000).collect();
        assert_eq!(deltas, [40, 1, 99, 1]);
        arrivals.push(1, at(1_102));
        assert!(arrivals.feedback(9, epoch).is_none(), "it was told already");
    }
}
