//! From packets to frames, for every codec: whatever the packets' size, their order and what of them is lost. The packets
//! are made by others' code, the library's, so that a mistake cannot be made at both ends alike.
#![allow(clippy::unwrap_used)]
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use rtp::codec::{av1::Av1Payloader, h264::H264Payloader, h265::HevcPayloader, vp8::Vp8Payloader, vp9::Vp9Payloader};
use rtp::packetizer::Payloader;

use super::header::Outgoing;
use super::intake::{Intake, Section};
use crate::media::Codec;

const CODECS: [Codec; 5] = [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1];
const AVC: [&str; 2] = ["6742c01fda014016e806d0a135", "68ce06e2"];
const HEVC: [&str; 3] = [
    "40010c01ffff016000000300900000030000030078959809",
    "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000f04",
    "4401c172b46240",
];
const AV1: &str = "0a0b0000002d4cffb3c02f8004";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A picture: as an encoder gives it to a packetizer, and as a frame has it.
fn picture(codec: Codec, key: bool, size: usize, number: usize) -> (Vec<u8>, Vec<u8>) {
    // No zeros: start codes stand between units.
    let body: Vec<u8> = (0..size).map(|at| ((at * 31 + number) % 251) as u8 | 1).collect();
    let units = |sets: &[&str], head: &[u8]| {
        let unit = [head, &body].concat();
        let mut sent: Vec<u8> =
            sets.iter().filter(|_| key).flat_map(|set| [vec![0, 0, 0, 1], hex(set)].concat()).collect();
        sent.extend([&[0, 0, 0, 1], &unit[..]].concat());
        (sent, [&(unit.len() as u32).to_be_bytes()[..], &unit].concat())
    };
    let same = |head: &[u8]| ([head, &body].concat(), [head, &body].concat());
    match (codec, key) {
        (Codec::H264, true) => units(&AVC, &[0x65]),
        (Codec::H264, false) => units(&[], &[0x41]),
        (Codec::H265, true) => units(&HEVC, &[0x26, 1]),
        (Codec::H265, false) => units(&[], &[0x02, 1]),
        (Codec::Vp8, true) => same(&[0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1]),
        (Codec::Vp8, false) => same(&[0x11]),
        (Codec::Vp9, true) => same(&[0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0, 0x16, 0x70]),
        (Codec::Vp9, false) => same(&[0x86]),
        _ => {
            let length = body.len() + 1;
            let size = [(length & 0x7f | 0x80) as u8, (length >> 7) as u8];
            let sequence = if key { hex(AV1) } else { Vec::new() };
            same_obu(&[&sequence[..], &[0x32], &size, &[if key { 0x10 } else { 0x30 }], &body].concat())
        }
    }
}

fn same_obu(unit: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (unit.to_vec(), unit.to_vec())
}

fn payloader(codec: Codec) -> Box<dyn Payloader> {
    match codec {
        Codec::H264 => Box::<H264Payloader>::default(),
        Codec::H265 => Box::<HevcPayloader>::default(),
        Codec::Vp8 => Box::<Vp8Payloader>::default(),
        Codec::Vp9 => Box::<Vp9Payloader>::default(),
        _ => Box::<Av1Payloader>::default(),
    }
}

/// The packets of all pictures; the frames they make, each with whether it is a key frame.
fn packets(codec: Codec, mtu: usize, sizes: &[(usize, bool)], first: u16) -> (Vec<Bytes>, Vec<(bool, Vec<u8>)>) {
    let (mut payloader, mut packets, mut frames) = (payloader(codec), Vec::new(), Vec::new());
    for (number, (size, key)) in sizes.iter().enumerate() {
        let key = *key || number == 0;
        let (sent, frame) = picture(codec, key, *size, number);
        let payloads = payloader.payload(mtu, &sent.into()).unwrap();
        let last = payloads.len() - 1;
        for (at, payload) in payloads.iter().enumerate() {
            let head = Outgoing {
                marker: at == last,
                payload_type: 96,
                sequence: first.wrapping_add(packets.len() as u16),
                // Over the wrap.
                timestamp: (u32::MAX - 4_000).wrapping_add(number as u32 * 3_000),
                ssrc: 5,
                transport_wide: None,
            };
            let mut packet = Vec::new();
            head.write(&mut packet);
            packet.extend_from_slice(payload);
            packets.push(Bytes::from(packet));
        }
        frames.push((key, frame));
    }
    (packets, frames)
}

fn intake(codec: Codec, now: Instant) -> Intake {
    let section = Section {
        mid: "0".into(),
        codecs: vec![(96, codec)],
        repairs: Vec::new(),
        nack: true,
        sources: vec![(5, None)],
        layers: Vec::new(),
        extensions: [None; 4],
    };
    Intake::new(vec![section], 1, Duration::from_secs(2), now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_was_sent_comes_out_and_nothing_else(
        codec in proptest::sample::select(CODECS.to_vec()),
        mtu in 80_usize..1_400,
        sizes in proptest::collection::vec((200_usize..4_000, proptest::bool::weighted(0.2)), 1..8),
        first: u16,
        late in proptest::collection::vec(0_usize..12, 400),
        lost in proptest::collection::vec(proptest::bool::weighted(0.03), 400),
        repaired: bool,
    ) {
        let now = Instant::now();
        let mut intake = intake(codec, now);
        let (packets, frames) = packets(codec, mtu, &sizes, first);
        // The first packet says where the numbers begin.
        let mut order: Vec<usize> = (1..packets.len()).collect();
        order.sort_by_key(|at| at + late[at % late.len()]);
        let mut came = Vec::new();
        let mut take = |intake: &mut Intake, at: usize, now: Instant| {
            intake.rtp(&packets[at], now);
            came.extend(std::iter::from_fn(|| intake.frame(now)).map(|came| (came.frame.key, came.frame.payload.to_vec(), came.frame.pts)));
        };
        take(&mut intake, 0, now);
        let (gone, there): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|at| lost[at % lost.len()]);
        there.iter().for_each(|at| take(&mut intake, *at, now));
        let soon = now + Duration::from_millis(40);
        gone.iter().filter(|_| repaired).for_each(|at| take(&mut intake, *at, soon));
        // Once no more is waited for.
        take(&mut intake, 0, now + Duration::from_secs(2));
        prop_assert!(came.windows(2).all(|pair| pair[1].2 > pair[0].2), "time goes on over the wrap");
        if repaired || gone.is_empty() {
            prop_assert_eq!(came.len(), frames.len());
        }
        let mut before = None;
        for (key, payload, _) in &came {
            let from = before.map_or(0, |before| before + 1);
            let at = (from..frames.len()).find(|at| frames[*at].1 == *payload);
            prop_assert!(at.is_some(), "a frame that nobody sent, or out of order");
            prop_assert_eq!(*key, frames[at.unwrap()].0);
            prop_assert!(*key || at == Some(from), "a picture without the one it refers to");
            before = at;
        }
    }
}
