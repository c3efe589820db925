//! Viewers that come late, lose packets and change their rendition, with both ends of SRTP.
#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use bytes::Bytes;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::media::{Frame, Kind, codec};
use crate::webrtc::header::Packet;
use crate::webrtc::ice::Path;
use crate::webrtc::srtp::Keys;

/// A viewer, both ends of its SRTP, and what it got.
struct Screen {
    outlet: Outlet,
    ours: Srtp,
    theirs: Srtp,
    batch: Batch,
    estimate: Estimate,
}

impl Screen {
    fn new() -> Screen {
        let provider = rtc_crypto::default_provider().unwrap();
        let material = [7; 56];
        let end = |client| {
            let keys = Keys::split(ProtectionProfile::AeadAes128Gcm, &material, client).unwrap();
            Srtp::new(&keys, provider.crypto()).unwrap()
        };
        let mut batch = Batch::new(64);
        batch.to(Path { remote: ([192, 0, 2, 1], 9).into(), local: None, tcp: None });
        Screen {
            outlet: Outlet::new(5, 96, Some((6, 97)), 65_530),
            ours: end(false),
            theirs: end(true),
            batch,
            estimate: Estimate::new(),
        }
    }

    fn send(&mut self, lanes: &[Lane]) -> Vec<Packet> {
        let Screen { outlet, ours, batch, estimate, .. } = self;
        let mut line = Line { srtp: ours, batch, transport_wide: Some((3, estimate)), now: Instant::now() };
        outlet.send(|feed| lanes.get(feed), &mut line, usize::MAX);
        self.got()
    }

    fn again(&mut self, lanes: &[Lane], sequences: &[u16]) -> Vec<Packet> {
        let Screen { outlet, ours, batch, estimate, .. } = self;
        let mut line = Line { srtp: ours, batch, transport_wide: Some((3, estimate)), now: Instant::now() };
        outlet.again(sequences.iter().copied(), |feed| lanes.get(feed), &mut line);
        self.got()
    }

    fn got(&mut self) -> Vec<Packet> {
        let (theirs, mut got) = (&mut self.theirs, Vec::new());
        self.batch.drain(|_, bytes, size| {
            got.extend(bytes.chunks(size).map(|sealed| Packet::read(&theirs.open(sealed).unwrap().freeze()).unwrap()));
        });
        got
    }
}

fn frame(ms: i64, key: bool, bytes: usize) -> Frame {
    let config = codec::vp8(&Bytes::from_static(&[0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1])).unwrap();
    let at = Time::from_millis(ms);
    Frame { dts: at, pts: at, key, cut: None, config: Arc::new(config), payload: vec![ms as u8; bytes].into() }
}

fn lane(frames: impl Iterator<Item = (i64, bool)>, bytes: usize) -> Lane {
    let mut lane = Lane::new(Kind::Video, 0);
    frames.for_each(|(ms, key)| lane.push(&frame(ms, key, bytes)));
    lane
}

fn sequences(packets: &[Packet]) -> Vec<u16> {
    packets.iter().map(|packet| packet.sequence).collect()
}

/// One after the other, across the wrap.
fn continuous(packets: &[Packet]) -> bool {
    packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1))
}

#[test]
fn who_comes_late_sees_the_newest_group_in_a_moment() {
    let mut screen = Screen::new();
    let mut lanes = vec![lane((0..2_000).step_by(40).map(|ms| (ms, ms == 0)), 3_000)];
    assert!(screen.outlet.begin(0, &lanes[0], true));
    let past = screen.send(&lanes);
    assert!(continuous(&past) && past.len() == 150);
    let stamps: Vec<u32> = past.iter().map(|packet| packet.timestamp).collect();
    assert!(stamps.windows(2).all(|pair| pair[1] >= pair[0]), "time never goes back");
    let newest = 1_960 * 90;
    assert_eq!(stamps[149], newest);
    assert!(newest - stamps[0] < 90 * 100, "two seconds are drawn together to less than a tenth of one");
    lanes[0].push(&frame(2_000, false, 3_000));
    let next = screen.send(&lanes);
    assert_eq!((next[0].timestamp, next[2].marker), (2_000 * 90, true));
    assert!(continuous(&[past, next].concat()));
}

#[test]
fn who_is_sent_a_group_again_is_not_sent_back_in_time() {
    let mut screen = Screen::new();
    let mut lanes = vec![lane((0..1_000).step_by(20).map(|ms| (ms, ms == 0)), 1_000)];
    assert!(screen.outlet.begin(0, &lanes[0], true));
    let mut sent = screen.send(&lanes);
    assert!(screen.outlet.begin(0, &lanes[0], true));
    sent.extend(screen.send(&lanes));
    lanes[0].push(&frame(1_000, false, 1_000));
    sent.extend(screen.send(&lanes));
    assert!(continuous(&sent) && sent.len() == 101);
    let steps = sent.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32);
    assert!(steps.clone().all(|step| step > 0), "{:?}", steps.collect::<Vec<_>>());
}

#[test]
fn without_a_group_to_begin_with_the_next_key_frame_is_waited_for() {
    let mut screen = Screen::new();
    let mut lanes = vec![lane([(0, false), (40, false)].into_iter(), 100)];
    assert!(!screen.outlet.begin(0, &lanes[0], true));
    lanes[0].push(&frame(80, false, 100));
    assert!(screen.send(&lanes).is_empty());
    lanes[0].push(&frame(120, true, 100));
    lanes[0].push(&frame(160, false, 100));
    assert_eq!(screen.send(&lanes).iter().map(|packet| packet.timestamp / 90).collect::<Vec<_>>(), [120, 160]);
}

#[test]
fn a_change_of_rendition_happens_at_a_key_frame_and_numbers_go_on() {
    let mut screen = Screen::new();
    let mut lanes: Vec<Lane> = (0..2).map(|_| lane([(0, true), (40, false)].into_iter(), 2_000)).collect();
    screen.outlet.begin(0, &lanes[0], true);
    let mut all = screen.send(&lanes);
    screen.outlet.aim(Some(1));
    lanes[0].push(&frame(80, false, 2_000));
    all.extend(screen.send(&lanes));
    assert_eq!(screen.outlet.feed(), Some(0), "not in the middle of a group");
    // The source is ahead of its rung: the viewer waits at the cut.
    lanes[0].push(&frame(120, true, 2_000));
    lanes[0].push(&frame(160, false, 2_000));
    assert!(screen.send(&lanes).is_empty());
    lanes[1].push(&frame(80, false, 2_000));
    assert!(screen.send(&lanes).is_empty());
    lanes[1].push(&frame(120, true, 2_000));
    lanes[1].push(&frame(160, false, 2_000));
    all.extend(screen.send(&lanes));
    assert_eq!((screen.outlet.feed(), screen.outlet.target()), (Some(1), None));
    assert!(continuous(&all), "{:?}", sequences(&all));
    let mut stamps: Vec<u32> = all.iter().map(|packet| packet.timestamp / 90).collect();
    stamps.dedup();
    assert_eq!(stamps[stamps.len() - 3..], [80, 120, 160]);
}

#[test]
fn a_rendition_that_does_not_come_is_given_up() {
    let mut screen = Screen::new();
    let mut lanes: Vec<Lane> = (0..2).map(|_| lane([(0, true)].into_iter(), 500)).collect();
    screen.outlet.begin(0, &lanes[0], true);
    screen.send(&lanes);
    screen.outlet.aim(Some(1));
    lanes[0].push(&frame(1_000, true, 500));
    assert!(screen.send(&lanes).is_empty());
    (1..15).for_each(|count| lanes[0].push(&frame(1_000 + 40 * count, false, 500)));
    let late = [screen.send(&lanes), screen.send(&lanes)].concat();
    assert_eq!(late.len(), 15, "the old one goes on where it paused");
    assert_eq!((screen.outlet.feed(), screen.outlet.target()), (Some(0), None));
}

#[test]
fn what_was_lost_is_sent_again_and_only_so_often() {
    let mut screen = Screen::new();
    let lanes = vec![lane((0..400).step_by(40).map(|ms| (ms, ms == 0)), 1_000)];
    screen.outlet.begin(0, &lanes[0], true);
    let sent = screen.send(&lanes);
    let lost = [sent[3].sequence, sent[7].sequence];
    let again = screen.again(&lanes, &lost);
    assert!(again.iter().all(|packet| (packet.ssrc, packet.payload_type) == (6, 97)));
    for (repair, sequence) in again.iter().zip(lost) {
        let original = sent.iter().find(|packet| packet.sequence == sequence).unwrap();
        assert_eq!(repair.payload[..2], sequence.to_be_bytes());
        assert_eq!((&repair.payload[2..], repair.timestamp), (&original.payload[..], original.timestamp));
    }
    let next = sent[sent.len() - 1].sequence.wrapping_add(1);
    assert!(screen.again(&lanes, &[next, next.wrapping_add(1_000)]).is_empty(), "what was never sent");
    let storm = vec![lost[0]; 10_000];
    assert!(screen.again(&lanes, &storm).len() < 260);
    // A link of 320 kbit/s has room for ten.
    screen.outlet.refill(1.0, Some(320_000.0));
    assert_eq!(screen.again(&lanes, &storm).len(), 10);
}

#[test]
fn without_a_stream_for_repairs_the_very_same_bytes_are_sent_again_or_none() {
    let lanes = [lane([(0, true)].into_iter(), 3_000)];
    for wide in [false, true] {
        let mut screen = Screen::new();
        screen.outlet = Outlet::new(5, 96, None, 1_000);
        screen.outlet.begin(0, &lanes[0], true);
        let Screen { outlet, ours, batch, estimate, .. } = &mut screen;
        let now = Instant::now();
        outlet.send(
            |feed| lanes.get(feed),
            &mut Line {
                srtp: &mut *ours,
                batch: &mut *batch,
                transport_wide: wide.then_some((3, &mut *estimate)),
                now,
            },
            usize::MAX,
        );
        let mut sealed = Vec::new();
        batch.drain(|_, bytes, size| sealed.extend(bytes.chunks(size).map(<[u8]>::to_vec)));
        let line = &mut Line { srtp: ours, batch: &mut *batch, transport_wide: wide.then_some((3, estimate)), now };
        outlet.again([1_000, 1_002].into_iter(), |feed| lanes.get(feed), line);
        let mut again = Vec::new();
        batch.drain(|_, bytes, size| again.extend(bytes.chunks(size).map(<[u8]>::to_vec)));
        let expected = if wide { vec![] } else { vec![sealed[0].clone(), sealed[2].clone()] };
        assert_eq!(again, expected, "transport-wide: {wide}");
    }
}
