//! Tests of the segmenter: its guarantees, at the frame rates that exist and at those that should not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{AudioConfig, Codec, VideoConfig};
use mp4_atom::ReadFrom;

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
    let mut segmenter = Segmenter::new(Time::from_millis(target_ms), None);
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
    let mut segmenter = Segmenter::new(Time::from_millis(256), None);
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
    let mut segmenter = Segmenter::new(Time::from_millis(256), None);
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

fn sound_config() -> Arc<Config> {
    Arc::new(Config::Audio(AudioConfig {
        codec: Codec::Aac,
        record: Bytes::from_static(&[0x11, 0x90]),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: Some(1024),
        codecs: "mp4a.40.2".into(),
    }))
}

/// Decoding time and length, in ticks.
type Span = (u64, u64);

/// Ten seconds of pictures with sound that arrives `late` ms after them; a break after five seconds. Gives, per part, the
/// decoding time and length of the pictures in 90 kHz and of the sound in 48 kHz, and whether a segment began there.
fn with_sound(late: i64) -> Vec<(bool, Span, Option<Span>)> {
    let (pictures, sound) = (config(), sound_config());
    let mut segmenter = Segmenter::new(Time::from_millis(256), Some(sound.clone()));
    let mut out = Vec::new();
    let mut next_sound = 0;
    for (index, ms) in rate(25.0, 10.0).into_iter().enumerate() {
        let at = Time::from_millis(ms);
        let key = index % 50 == 0 || index == 125;
        let cut = Cut { msn: (index / 50) as u64, discontinuity: index == 125, at, target_duration: Some(2) };
        let payload = Bytes::from_static(&[0; 16]);
        let frame = Frame { dts: at, pts: at, key, cut: None, config: pictures.clone(), payload };
        if key {
            segmenter.begin(cut, &frame, &mut out);
        }
        segmenter.push(&frame, &mut out);
        while next_sound * 1024 / 48 + late <= ms {
            let at = Time::from_ticks(next_sound * 1024, 48_000);
            let payload = Bytes::from_static(&[1; 4]);
            segmenter
                .accompany(&Frame { dts: at, pts: at, key: true, cut: None, config: sound.clone(), payload }, &mut out);
            next_sound += 1;
        }
    }
    segmenter.finish(&mut out);
    let mut begun = false;
    let mut parts = Vec::new();
    for output in &out {
        match output {
            Output::Begin { .. } => begun = true,
            Output::Part(part) => {
                let runs = runs(&part.bytes);
                parts.push((std::mem::take(&mut begun), runs[0], runs.get(1).copied()));
            }
            Output::Close => {}
        }
    }
    parts
}

/// Decoding time and length of each track in a fragment.
fn runs(bytes: &Bytes) -> Vec<Span> {
    let moof = mp4_atom::Moof::read_from(&mut std::io::Cursor::new(bytes)).unwrap();
    let run = |traf: &mp4_atom::Traf| {
        let length = traf.trun[0].samples.iter().map(|sample| u64::from(sample.duration.unwrap())).sum();
        (traf.tfdt.as_ref().unwrap().base_media_decode_time, length)
    };
    moof.traf.iter().map(run).collect()
}

#[test]
fn sound_lies_contiguously_in_the_parts_of_the_pictures() {
    for late in [-200, 0, 30, 400] {
        let parts = with_sound(late);
        let sounds: Vec<_> = parts.iter().filter_map(|(_, _, sound)| *sound).collect();
        assert!(sounds.len() + 3 >= parts.len(), "{late} ms late: {} of {}", sounds.len(), parts.len());
        for (_, (picture, length), sound) in &parts {
            let Some((start, samples)) = sound else { continue };
            let (ends, end) = ((start + samples) as f64 / 48.0, (picture + length) as f64 / 90.0);
            // By a break and by the end, sound that was there early may play out.
            let room = if [5000.0, 10_000.0].contains(&end) { 256.0 } else { 0.0 };
            assert!(ends < end + 22.0 + room, "{late} ms late: sound until {ends} ms in a part that ends at {end}");
            assert!(ends > end - 44.0 - 41.0 - late.max(0) as f64, "{late} ms late: sound until {ends} ms only, {end}");
        }
        let breaks = sounds.windows(2).filter(|pair| pair[0].0 + pair[0].1 != pair[1].0).count();
        assert!(breaks <= 1, "{late} ms late: {breaks} holes");
    }
}

#[test]
fn another_sound_gets_another_init_section_with_the_next_segment() {
    let other = |frame: &Frame| {
        let Config::Audio(audio) = &*sound_config() else { panic!("sound") };
        Frame { config: Arc::new(Config::Audio(AudioConfig { channels: 1, ..audio.clone() })), ..frame.clone() }
    };
    let mut segmenter = Segmenter::new(Time::from_millis(256), Some(sound_config()));
    let mut out = Vec::new();
    for (index, ms) in rate(25.0, 4.0).into_iter().enumerate() {
        let at = Time::from_millis(ms);
        let payload = Bytes::from_static(&[0; 16]);
        let frame = Frame { dts: at, pts: at, key: index % 50 == 0, cut: None, config: config(), payload };
        if frame.key {
            let cut = Cut { msn: (index / 50) as u64, discontinuity: index == 50, at, target_duration: Some(2) };
            segmenter.begin(cut, &frame, &mut out);
        }
        segmenter.push(&frame, &mut out);
        let sound = Frame { config: sound_config(), key: true, ..frame };
        // The new sound comes after the picture that its segment begins with, as in a log.
        segmenter.accompany(&if index < 50 { sound } else { other(&sound) }, &mut out);
    }
    let inits: Vec<bool> = out
        .iter()
        .filter_map(|o| if let Output::Begin { init, .. } = o { Some(init) } else { None })
        .map(|init| init.as_ref().is_some_and(|init| init.configs.len() == 2))
        .collect();
    assert_eq!(inits, [true, true]);
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
