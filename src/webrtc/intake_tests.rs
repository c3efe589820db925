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
