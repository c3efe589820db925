//! RTCP messages as bytes: what a receiver tells a publisher, and a sender a viewer. Reading is the library's; writing ours,
//! since messages of a few words are simpler than its types. RFC 3550 section 6.4, RFC 4585, RFC 5104.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One stream's part of a receiver report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) ssrc: u32,
    /// Of 256 packets, how many were lost since the last report.
    pub(super) fraction: u8,
    pub(super) lost: u32,
    pub(super) highest: u32,
    pub(super) jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time, and how long ago it came in 1/65536 s.
    pub(super) last_report: u32,
    pub(super) delay: u32,
}

/// A receiver report.
pub(super) fn receiver_report(sender: u32, blocks: &[Block], out: &mut Vec<u8>) {
    let blocks = &blocks[..blocks.len().min(31)];
    head(out, blocks.len() as u8, 201, 1 + 6 * blocks.len());
    out.extend(sender.to_be_bytes());
    for block in blocks {
        out.extend(block.ssrc.to_be_bytes());
        out.push(block.fraction);
        out.extend(&block.lost.min(0x007f_ffff).to_be_bytes()[1..]);
        for word in [block.highest, block.jitter, block.last_report, block.delay] {
            out.extend(word.to_be_bytes());
        }
    }
}

/// A sender report: `ntp` is the wall clock at the timestamp `rtp`.
pub(super) fn sender_report(ssrc: u32, ntp: u64, rtp: u32, packets: u32, octets: u32, out: &mut Vec<u8>) {
    head(out, 0, 200, 6);
    out.extend(ssrc.to_be_bytes());
    out.extend(ntp.to_be_bytes());
    for word in [rtp, packets, octets] {
        out.extend(word.to_be_bytes());
    }
}

/// The name that binds the streams of one sender; every compound packet has it.
pub(super) fn description(ssrc: u32, name: &str, out: &mut Vec<u8>) {
    let name = &name.as_bytes()[..name.len().min(255)];
    let length = 4 + 2 + name.len() + 1;
    let words = length.div_ceil(4);
    head(out, 1, 202, words);
    let end = out.len() + 4 * words;
    out.extend(ssrc.to_be_bytes());
    out.extend([1, name.len() as u8]);
    out.extend(name);
    out.resize(end, 0);
}

/// Asks for a key frame.
pub(super) fn picture_loss(sender: u32, media: u32, out: &mut Vec<u8>) {
    head(out, 1, 206, 2);
    out.extend(sender.to_be_bytes());
    out.extend(media.to_be_bytes());
}

/// Asks for a key frame of a sender that takes it for a command (RFC 5104 section 4.3.1); `number` rises with each.
pub(super) fn full_intra(sender: u32, media: u32, number: u8, out: &mut Vec<u8>) {
    head(out, 4, 206, 4);
    out.extend(sender.to_be_bytes());
    out.extend(0_u32.to_be_bytes());
    out.extend(media.to_be_bytes());
    out.extend([number, 0, 0, 0]);
}

/// Asks for packets again. `sequences` in rising order.
pub(super) fn missing(sender: u32, media: u32, sequences: &[u16], out: &mut Vec<u8>) {
    let mut pairs: Vec<(u16, u16)> = Vec::new();
    for &sequence in sequences {
        match pairs.last_mut() {
            Some((first, mask)) if (1..=16).contains(&sequence.wrapping_sub(*first)) => {
                *mask |= 1 << (sequence.wrapping_sub(*first) - 1);
            }
            _ => pairs.push((sequence, 0)),
        }
    }
    head(out, 1, 205, 2 + pairs.len());
    out.extend(sender.to_be_bytes());
    out.extend(media.to_be_bytes());
    for (first, mask) in pairs {
        out.extend(first.to_be_bytes());
        out.extend(mask.to_be_bytes());
    }
}

/// Says that a stream is over.
pub(super) fn goodbye(ssrcs: &[u32], out: &mut Vec<u8>) {
    head(out, ssrcs.len().min(31) as u8, 203, ssrcs.len().min(31));
    for ssrc in ssrcs.iter().take(31) {
        out.extend(ssrc.to_be_bytes());
    }
}

/// A wall-clock time in NTP's format: seconds since 1900 in the upper half.
pub(super) fn ntp(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs() + UNIX_IN_NTP) << 32 | fraction
}

fn head(out: &mut Vec<u8>, count: u8, kind: u8, words: usize) {
    out.extend([0x80 | count, kind]);
    out.extend((words as u16).to_be_bytes());
}

/// Seconds from 1900 to 1970.
const UNIX_IN_NTP: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use rtc_rtcp::packet::unmarshal;
    use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
    use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtc_rtcp::receiver_report::ReceiverReport;
    use rtc_rtcp::sender_report::SenderReport;
    use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

    #[test]
    fn the_library_reads_what_is_written() {
        let mut out = Vec::new();
        let block = Block { ssrc: 2, fraction: 3, lost: 4, highest: 5, jitter: 6, last_report: 7, delay: 8 };
        receiver_report(1, &[block], &mut out);
        sender_report(1, 2, 3, 4, 5, &mut out);
        description(1, "headwater", &mut out);
        picture_loss(1, 9, &mut out);
        full_intra(1, 9, 7, &mut out);
        missing(1, 9, &[65_534, 65_535, 14, 15, 16], &mut out);
        goodbye(&[1], &mut out);
        let packets = unmarshal(&mut Bytes::from(out)).unwrap();
        assert_eq!(packets.len(), 7);
        let report = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        let read = &report.reports[0];
        assert_eq!((report.ssrc, read.ssrc, read.fraction_lost, read.total_lost), (1, 2, 3, 4));
        assert_eq!((read.last_sequence_number, read.jitter, read.last_sender_report, read.delay), (5, 6, 7, 8));
        let report = packets[1].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!((report.ntp_time, report.rtp_time, report.packet_count, report.octet_count), (2, 3, 4, 5));
        assert!(packets[3].as_any().downcast_ref::<PictureLossIndication>().is_some_and(|pli| pli.media_ssrc == 9));
        assert!(
            packets[4].as_any().downcast_ref::<FullIntraRequest>().is_some_and(|fir| fir.fir[0].sequence_number == 7)
        );
        let nack = packets[5].as_any().downcast_ref::<TransportLayerNack>().unwrap();
        let asked: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        assert_eq!(asked, [65_534, 65_535, 14, 15, 16]);
    }

    #[test]
    fn wall_clocks_have_their_fraction() {
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(ntp(at), (UNIX_IN_NTP + 1) << 32 | 1 << 31);
    }
}
