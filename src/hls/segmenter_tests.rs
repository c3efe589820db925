//! Tests of the segmenter: its guarantees, at the frame rates that exist and at those that should not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{Codec, VideoConfig};

fn config() -> Arc<Config> {
    Arc::new(Config::Video(VideoConfig {
        codec: Codec::H264,
        record: Bytes::from_static(&[1, 0x64, 0, 31, 0xff]),
        width: 640,
        height: 360,
        codecs: "avc1.64001f".into(),
    }))
}

/// Runs frames at these milliseconds, with a cut and key frame every `group` frames.
fn run(times: &[i64], group: usize, target_ms: i64) -> Vec<Output> {
    let config = config();
    let mut segmenter = Segmenter::new(Time::from_millis(target_ms));
    let mut out = Vec::new();
    for (index, ms) in times.iter().enumerate() {
        let at = Time::from_millis(*ms);
        let key = index % group == 0;
        let payload = Bytes::from_static(&[0; 16]);
        let cut = Cut { msn: (index / group) as u64, discontinuity: false, at, target_duration: Some(2) };
        let frame = Frame { dts: at, pts: at, key, cut: key.then_some(cut), config: config.clone(), payload };
        if key {
            segmenter.begin(cut, &frame, &mut out);
        }
        segmenter.push(&frame, &mut out);
    }
    segmenter.finish(&mut out);
    out
}

/// Per segment: the durations of its parts in milliseconds.
fn parts(out: &[Output]) -> Vec<Vec<f64>> {
    let mut segments = Vec::new();
    for output in out {
        match output {
            Output::Begin { .. } => segments.push(Vec::new()),
            Output::Part(part) => segments.last_mut().unwrap().push(part.duration.seconds() * 1000.0),
            Output::Close => {}
        }
    }
    segments
}

/// (decoding time, sum of durations) of each fragment, read back from its boxes.
fn continuity(out: &[Output]) -> Vec<(u64, u64)> {
    let be32 = |b: &[u8]| u64::from(u32::from_be_bytes(b[..4].try_into().unwrap()));
    let find = |bytes: &[u8], name: &[u8]| bytes.windows(4).position(|w| w == name).unwrap() + 4;
    out.iter()
        .filter_map(|output| match output {
            Output::Part(part) => {
                let tfdt = find(&part.bytes, b"tfdt");
                let start = be32(&part.bytes[tfdt + 4..]) << 32 | be32(&part.bytes[tfdt + 8..]);
                let trun = find(&part.bytes, b"trun");
                let count = be32(&part.bytes[trun + 4..]);
                let durations = (0..count).map(|n| be32(&part.bytes[trun + 12 + n as usize * 16..]));
                Some((start, durations.sum()))
            }
            _ => None,
        })
        .collect()
}

fn rate(fps: f64, seconds: f64) -> Vec<i64> {
    (0..(fps * seconds) as i64).map(|n| (n as f64 * 1000.0 / fps).round() as i64).collect()
}

#[test]
fn parts_keep_the_rule_at_every_usual_rate() {
    for fps in [20.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 120.0] {
        let group = (fps * 2.0_f64).round() as usize;
        for (number, segment) in parts(&run(&rate(fps, 10.0), group, 256)).iter().enumerate() {
            for (index, part) in segment.iter().enumerate() {
                assert!(*part <= 256.0, "{fps} fps: part of {part} ms");
                assert!(
                    *part >= 256.0 * 0.85 || index + 1 == segment.len(),
                    "{fps} fps, segment {number}: part {index} of {} has {part} ms",
                    segment.len()
                );
            }
        }
    }
}

#[test]
fn a_part_is_closed_with_its_last_frame_and_not_after_it() {
    let config = config();
    let mut segmenter = Segmenter::new(Time::from_millis(256));
    let mut emitted = Vec::new();
    for (index, ms) in rate(30.0, 1.0).into_iter().enumerate() {
        let at = Time::from_millis(ms);
        let cut = Cut { msn: 0, discontinuity: false, at, target_duration: None };
        let payload = Bytes::from_static(&[0; 16]);
        let frame = Frame { dts: at, pts: at, key: index == 0, cut: None, config: config.clone(), payload };
        let mut out = Vec::new();
        if index == 0 {
            segmenter.begin(cut, &frame, &mut out);
        }
        segmenter.push(&frame, &mut out);
        if out.iter().any(|output| matches!(output, Output::Part(_))) {
            emitted.push(index);
        }
    }
    assert_eq!(emitted, [6, 13, 20, 27], "seven frames of 33 ms fit, and the seventh closes the part");
}

#[test]
fn decoding_times_are_contiguous_through_jitter_and_gaps() {
    let times = [0, 33, 67, 100, 133, 700, 733, 734, 767, 800, 1500, 1533, 1567, 1600, 1601, 1602, 1700];
    let fragments = continuity(&run(&times, 100, 256));
    for pair in fragments.windows(2) {
        assert_eq!(pair[0].0 + pair[0].1, pair[1].0);
    }
}

#[test]
fn a_source_slower_than_a_part_is_found_out() {
    let config = config();
    let mut segmenter = Segmenter::new(Time::from_millis(256));
    let mut out = Vec::new();
    for index in 0..20 {
        let at = Time::from_millis(index * 1000);
        let cut = Cut { msn: 0, discontinuity: false, at, target_duration: None };
        let payload = Bytes::from_static(&[0; 16]);
        let frame = Frame { dts: at, pts: at, key: index == 0, cut: None, config: config.clone(), payload };
        if index == 0 {
            segmenter.begin(cut, &frame, &mut out);
        }
        segmenter.push(&frame, &mut out);
    }
    assert!(segmenter.hopeless());
}

proptest! {
    #[test]
    fn whatever_the_distances_no_part_is_too_long_or_empty_and_times_are_contiguous(
        distances in proptest::collection::vec(prop_oneof![9 => 1i64..60, 1 => 1i64..3000], 1..300),
        group in 1usize..80,
    ) {
        let times: Vec<i64> = distances.iter().scan(0, |t, d| { *t += d; Some(*t) }).collect();
        let out = run(&times, group, 256);
        for part in parts(&out).iter().flatten() {
            prop_assert!(*part > 0.0 && *part <= 256.0 + 1e-9);
        }
        for pair in continuity(&out).windows(2) {
            prop_assert_eq!(pair[0].0 + pair[0].1, pair[1].0);
        }
    }
}
