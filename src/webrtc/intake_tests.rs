//! A publisher over lossy links, with packets that the packer beside it makes.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::media::{Time, codec};
use crate::webrtc::header::Outgoing;
use crate::webrtc::pack::Pack;

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35];
const PPS: &[u8] = &[0x68, 0xce, 0x06, 0xe2];

fn section(layers: &[&str]) -> Section {
    Section {
        mid: "0".into(),
        codecs: vec![(96, Codec::H264)],
        repairs: vec![(97, 96)],
        nack: true,
        sources: vec![(5, Some(6))],
        layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
        extensions: [None, Some(2), Some(3), None],
    }
}

fn intake(now: Instant) -> Intake {
    Intake::new(vec![section(&[])], 1, Duration::from_secs(2), now)
}

/// The packets of a frame of H.264 with so many bytes, and the number after the last.
fn packets(ms: i64, key: bool, bytes: usize, first: u16) -> (Vec<Bytes>, u16) {
    let config = codec::h264_sets(&Bytes::from_static(SPS), &[Bytes::from_static(PPS)]).unwrap();
    let mut payload = (bytes as u32).to_be_bytes().to_vec();
    payload.push(if key { 0x65 } else { 0x41 });
    payload.resize(4 + bytes, ms as u8);
    let at = Time::from_millis(ms);
    let frame = Frame { dts: at, pts: at, key, cut: None, config: Arc::new(config), payload: payload.into() };
    let pieces = Pack::default().frame(&frame);
    let last = pieces.len() - 1;
    let mut number = first;
    let packets = pieces.iter().enumerate().map(|(at, piece)| {
        let head = Outgoing {
            marker: at == last,
            payload_type: 96,
            sequence: number,
            timestamp: (ms * 90) as u32,
            ssrc: 5,
            transport_wide: None,
        };
        number = number.wrapping_add(1);
        let mut packet = Vec::new();
        head.write(&mut packet);
        piece.write(&mut packet);
        Bytes::from(packet)
    });
    (packets.collect(), number)
}

/// The same packet as RTX sends it, RFC 4588.
fn repair(packet: &Bytes, number: u16) -> Bytes {
    let mut again = packet[..12].to_vec();
    again[1] = again[1] & 0x80 | 97;
    again[2..4].copy_from_slice(&number.to_be_bytes());
    again[8..12].copy_from_slice(&6_u32.to_be_bytes());
    again.extend(&packet[2..4]);
    again.extend(&packet[12..]);
    again.into()
}

fn frames(intake: &mut Intake, now: Instant) -> Vec<(i64, bool)> {
    std::iter::from_fn(|| intake.frame(now)).map(|came| (came.frame.pts.millis(), came.frame.key)).collect()
}

fn asks_for_key(intake: &mut Intake, now: Instant) -> bool {
    let mut out = Vec::new();
    intake.urgent(now, &mut out);
    // None at all is an error to the library.
    let packets = rtc_rtcp::packet::unmarshal(&mut Bytes::from(out)).unwrap_or_default();
    packets.iter().any(|packet| packet.header().packet_type as u8 == 206)
}

#[test]
fn a_lost_packet_is_asked_for_and_its_repair_completes_the_frame() {
    let now = Instant::now();
    let mut intake = intake(now);
    let (key, next) = packets(0, true, 4_000, 65_533);
    let (second, _) = packets(33, false, 4_000, next);
    key.iter().for_each(|packet| intake.rtp(packet, now));
    assert_eq!(frames(&mut intake, now), [(0, true)]);
    second.iter().enumerate().filter(|(at, _)| *at != 1).for_each(|(_, packet)| intake.rtp(packet, now));
    assert_eq!(frames(&mut intake, now), []);
    let later = now + Duration::from_millis(20);
    let mut out = Vec::new();
    intake.urgent(later, &mut out);
    assert!(out.windows(2).any(|pair| pair == [0x81, 205]), "a request to send again");
    intake.rtp(&repair(&second[1], 9), later);
    assert_eq!(frames(&mut intake, later), [(33, false)]);
    intake.rtp(&second[1], later);
    assert_eq!(frames(&mut intake, later), [], "what comes twice is dropped");
}

#[test]
fn after_a_loss_nothing_broken_is_given_out_and_a_key_frame_is_asked_for() {
    let start = Instant::now();
    let mut intake = intake(start);
    let mut number = 10;
    let mut give = |intake: &mut Intake, ms: i64, key: bool, lose: bool| {
        let (packets, next) = packets(ms, key, 3_000, number);
        number = next;
        let now = start + Duration::from_millis(ms as u64);
        packets.iter().skip(usize::from(lose)).for_each(|packet| intake.rtp(packet, now));
        frames(intake, now)
    };
    assert_eq!(give(&mut intake, 0, true, false), [(0, true)]);
    assert_eq!(give(&mut intake, 33, false, true), []);
    let mut came = Vec::new();
    (2..20).for_each(|count| came.extend(give(&mut intake, 33 * count, false, false)));
    assert_eq!(came, [], "all of them refer to the one that is lost");
    assert!(asks_for_key(&mut intake, start + Duration::from_millis(700)));
    assert_eq!(give(&mut intake, 700, true, false), [(700, true)]);
    assert_eq!(give(&mut intake, 733, false, false), [(733, false)]);
}

#[test]
fn key_frames_are_asked_for_in_time_and_a_deaf_publisher_is_left_in_peace() {
    let start = Instant::now();
    let mut intake = intake(start);
    let (key, next) = packets(0, true, 500, 1);
    key.iter().for_each(|packet| intake.rtp(packet, start));
    frames(&mut intake, start);
    let after = |ms| start + Duration::from_millis(ms);
    let mut number = next;
    let mut asked = Vec::new();
    for ms in (20..30_000).step_by(20) {
        let (packets, next) = packets(ms, false, 200, number);
        number = next;
        packets.iter().for_each(|packet| intake.rtp(packet, after(ms as u64)));
        frames(&mut intake, after(ms as u64));
        if asks_for_key(&mut intake, after(ms as u64)) {
            asked.push(ms);
        }
    }
    assert!((2_000..2_100).contains(&asked[0]), "two seconds after the last: {asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 500));
    assert!(asked.len() < 12, "who does not listen is asked seldom: {asked:?}");
    assert!(intake.unanswered() >= 4);
}

#[test]
fn layers_are_told_apart_by_their_names_and_the_best_is_known() {
    let now = Instant::now();
    let mut section = section(&["hi", "lo"]);
    section.sources.clear();
    let mut intake = Intake::new(vec![section], 1, Duration::from_secs(2), now);
    for (ssrc, rid) in [(21_u32, "lo"), (20, "hi")] {
        let (plain, _) = packets(0, true, 500, 1);
        for packet in plain {
            // With the rid in a header extension of one byte's head.
            let mut named = packet[..12].to_vec();
            named[0] |= 0x10;
            named[8..12].copy_from_slice(&ssrc.to_be_bytes());
            named.extend([0xbe, 0xde, 0, 1, 0x21]);
            named.extend(rid.as_bytes());
            named.push(0);
            named.extend(&packet[12..]);
            intake.rtp(&named.into(), now);
        }
    }
    let layers: Vec<usize> = std::iter::from_fn(|| intake.frame(now)).map(|came| came.layer).collect();
    assert_eq!(layers, [1, 0]);
    assert_eq!(intake.best_layer(now), Some(0));
    assert_eq!(intake.best_layer(now + Duration::from_secs(3)), None, "none that has fallen silent");
}

/// A publisher that lost its first packets on the way, and that no request reaches: its next key frame on its own begins.
#[test]
fn a_key_frame_whose_beginning_is_lost_is_waited_out() {
    let start = Instant::now();
    let mut intake = intake(start);
    let (mut number, mut came) = (65_530, Vec::new());
    for ms in (0..4_500_i64).step_by(33) {
        let (packets, next) = packets(ms, ms % 4_125 == 0, 2_500, number);
        number = next;
        let now = start + Duration::from_millis(ms as u64);
        let lost = if ms == 0 { 2 } else { 0 };
        packets.iter().skip(lost).for_each(|packet| intake.rtp(packet, now));
        came.extend(frames(&mut intake, now));
    }
    assert_eq!(came.first().map(|first| first.1), Some(true), "with a key frame");
    assert_eq!(came.len(), 12, "and all after it");
}

#[test]
fn a_change_of_size_in_mid_stream_is_a_new_configuration() {
    let now = Instant::now();
    let mut section = section(&[]);
    section.codecs = vec![(96, Codec::Vp8)];
    let mut intake = Intake::new(vec![section], 1, Duration::from_secs(2), now);
    let mut widths = Vec::new();
    for (number, width) in [640_u16, 640, 1280, 320].into_iter().enumerate() {
        let head = Outgoing {
            marker: true,
            payload_type: 96,
            sequence: number as u16,
            timestamp: number as u32 * 3_000,
            ssrc: 5,
            transport_wide: None,
        };
        let mut packet = Vec::new();
        head.write(&mut packet);
        packet.extend([0x10, 0x10, 2, 0, 0x9d, 1, 0x2a]);
        packet.extend(width.to_le_bytes());
        packet.extend([0x68, 1, 0, 0]);
        intake.rtp(&packet.into(), now);
        let frame = intake.frame(now).unwrap().frame;
        let Config::Video(video) = &*frame.config else { unreachable!() };
        widths.push((video.width, frame.key));
    }
    assert_eq!(widths, [(640, true), (640, true), (1280, true), (320, true)]);
}

#[test]
fn a_layer_whose_losses_are_never_made_good_holds_up_no_other() {
    let start = Instant::now();
    let mut section = section(&["hi", "lo"]);
    section.sources.clear();
    let mut intake = Intake::new(vec![section], 1, Duration::from_secs(2), start);
    let (mut numbers, mut came, mut asked) = ([1_u16, 1], [0, 0], 0);
    for ms in (0..3_000_i64).step_by(33) {
        let now = start + Duration::from_millis(ms as u64);
        for (layer, rid) in ["hi", "lo"].into_iter().enumerate() {
            let (packets, next) = packets(ms, ms % 990 == 0, 2_500, numbers[layer]);
            numbers[layer] = next;
            // The middle of one picture of the better layer is lost, and what is asked for never comes.
            let whole = layer == 1 || ms != 330;
            for packet in packets.iter().enumerate().filter(|(at, _)| whole || *at != 1).map(|(_, packet)| packet) {
                let mut named = packet[..12].to_vec();
                named[0] |= 0x10;
                named[11] = 20 + layer as u8;
                named.extend([0xbe, 0xde, 0, 1, 0x21]);
                named.extend(rid.as_bytes());
                named.push(0);
                named.extend(&packet[12..]);
                intake.rtp(&named.into(), now);
            }
        }
        std::iter::from_fn(|| intake.frame(now)).for_each(|frame| came[frame.layer] += 1);
        let mut out = Vec::new();
        intake.urgent(now, &mut out);
        asked += out.windows(2).filter(|pair| *pair == [0x81, 205]).count();
    }
    assert_eq!(came[1], 91, "the other layer is whole");
    assert!((66..91).contains(&came[0]), "{} pictures of the better one: it goes on at its next key frame", came[0]);
    assert!((1..=10).contains(&asked), "asked {asked} times");
}

#[test]
fn reports_that_are_missing_wrong_or_of_nobody_leave_time_as_it_is() {
    let start = Instant::now();
    let mut intake = intake(start);
    let mut number = 1;
    let mut came = Vec::new();
    for ms in (0..1_000_i64).step_by(40) {
        let now = start + Duration::from_millis(ms as u64);
        let (packets, next) = packets(ms, ms == 0, 500, number);
        number = next;
        packets.iter().for_each(|packet| intake.rtp(packet, now));
        came.extend(frames(&mut intake, now));
        let mut report = Vec::new();
        let (ssrc, ntp) = [(5, 0), (5, u64::MAX), (77, 1 << 40), (5, 1)][ms as usize / 40 % 4];
        control::sender_report(ssrc, ntp, ms as u32 * 7_919, 1, 1, &mut report);
        intake.rtcp(report.into(), now);
    }
    let expected: Vec<i64> = (0..1_000).step_by(40).collect();
    assert_eq!(came.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected);
}
