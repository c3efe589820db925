//! The rungs of many sources: usual ones by name, and any size whatever by what must always hold.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn video(width: u32, height: u32) -> VideoConfig {
    VideoConfig { codec: Codec::H264, record: Bytes::new(), width, height, codecs: "avc1.640028".to_owned() }
}

fn audio(codec: Codec, codecs: &str, sample_rate: u32, channels: u32) -> AudioConfig {
    AudioConfig { codec, record: Bytes::new(), sample_rate, channels, frame_samples: None, codecs: codecs.to_owned() }
}

fn rule(height: u32, frame_rate: impl Into<Option<u32>>, kilobits: u64) -> Rule {
    Rule { height, frame_rate: frame_rate.into().map(f64::from), bitrate: kilobits * 1_000 }
}

fn usual() -> Vec<Rule> {
    vec![rule(720, None, 3_000), rule(480, None, 1_400), rule(360, None, 800)]
}

fn silent(rules: &[Rule], width: u32, height: u32, frame_rate: f64) -> Decision {
    let video = video(width, height);
    decide(rules, 128_000, &Source { video: Some(&video), frame_rate, audio: None, layers: &[] })
}

/// Names and sizes of the rungs, and their caps.
fn rungs(rules: &[Rule], width: u32, height: u32, frame_rate: f64) -> Vec<String> {
    silent(rules, width, height, frame_rate).rungs.iter().map(line).collect()
}

fn line(rung: &RungSpec) -> String {
    let Some(pictures) = &rung.pictures else { return rung.name.clone() };
    let cap = pictures.frame_rate.map(|cap| format!("@{cap}")).unwrap_or_default();
    format!("{} {}x{}{cap}", rung.name, pictures.width, pictures.height)
}

#[test]
fn the_usual_ladder_keeps_what_is_below_the_source() {
    let (p720, p480, p360) = ("720p 1280x720", "480p 854x480", "360p 640x360");
    for (width, height, expected) in [
        (7_680, 4_320, &[p720, p480, p360][..]),
        (1_920, 1_080, &[p720, p480, p360]),
        (1_280, 720, &[p480, p360]),
        // 700 lines are no room for 720, and 740 are hardly more.
        (1_244, 700, &["480p 854x480", "360p 640x360"]),
        (1_316, 740, &["480p 854x480", "360p 640x360"]),
        (854, 480, &["360p 640x360"]),
        (853, 479, &["360p 642x360"]),
        (640, 360, &[]),
        (320, 180, &[]),
        (16, 16, &[]),
        (2, 2, &[]),
        (0, 0, &[]),
        (1_080, 1_920, &["720p 720x1280", "480p 480x854", "360p 360x640"]),
        (1_024, 1_024, &["720p 720x720", "480p 480x480", "360p 360x360"]),
    ] {
        assert_eq!(rungs(&usual(), width, height, 30.0), expected, "{width}x{height}");
    }
}

#[test]
fn the_source_s_size_is_made_at_a_lower_rate_only() {
    let rules = [rule(1_080, 30, 5_000), rule(720, 60, 4_000), rule(720, 30, 3_000)];
    let cases = [
        (60.0, &["1080p 1920x1080@30", "720p 1280x720", "720p30 1280x720@30"][..]),
        (120.0, &["1080p 1920x1080@30", "720p60 1280x720@60", "720p30 1280x720@30"]),
        // Without a rate to lower, both rules of 720 lines come to the same.
        (30.2, &["720p 1280x720"]),
        (1.0, &["720p 1280x720"]),
        // Nobody knows: no promise that the source has more.
        (0.0, &["720p60 1280x720@60", "720p30 1280x720@30"]),
        (f64::NAN, &["720p60 1280x720@60", "720p30 1280x720@30"]),
    ];
    for (frame_rate, expected) in cases {
        assert_eq!(rungs(&rules, 1_920, 1_080, frame_rate), expected, "{frame_rate}");
    }
    assert_eq!(silent(&rules, 1_920, 1_080, 30.0).rungs[0].pictures.as_ref().unwrap().bitrate, 4_000_000);
}

#[test]
fn levels_follow_size_and_rate() {
    let level = |rules: &[Rule], frame_rate| {
        let pictures = silent(rules, 1_920, 1_080, frame_rate).rungs[0].pictures.clone().unwrap();
        (pictures.level, pictures.codecs)
    };
    assert_eq!(level(&usual(), 30.0), (31, "avc1.4d401f".to_owned()));
    assert_eq!(level(&usual(), 0.0).0, 31);
    assert_eq!(level(&usual(), 60.0), (32, "avc1.4d4020".to_owned()));
    assert_eq!(level(&[rule(720, 30, 3_000)], 60.0).0, 31);
    assert_eq!(level(&[rule(720, None, 18_000)], 30.0).0, 32);
}

#[test]
fn the_stand_in_has_the_source_s_size() {
    for (width, height, frame_rate, expected, kilobits, level) in [
        (1_920, 1_080, 30.0, "1080p-steady 1920x1080", 6_000, 40),
        (1_920, 1_080, 0.0, "1080p-steady 1920x1080", 6_000, 40),
        (1_920, 1_080, 60.0, "1080p-steady 1920x1080", 9_000, 42),
        (1_280, 720, 30.0, "720p-steady 1280x720", 3_000, 31),
        (854, 480, 25.0, "480p-steady 854x480", 1_400, 30),
        (853, 479, 30.0, "478p-steady 852x478", 1_390, 31),
        (640, 360, 30.0, "360p-steady 640x360", 800, 30),
        (1_080, 1_920, 30.0, "1080p-steady 1080x1920", 6_000, 40),
        (7_680, 4_320, 30.0, "2304p-steady 4096x2304", 20_200, 52),
        (64, 64, 30.0, "64p-steady 64x64", 100, 11),
    ] {
        let rung = silent(&[], width, height, frame_rate).stand_in.unwrap();
        let pictures = rung.pictures.as_ref().unwrap();
        assert_eq!((line(&rung).as_str(), pictures.bitrate / 1_000, pictures.level), (expected, kilobits, level));
    }
    assert_eq!(silent(&usual(), 62, 62, 30.0).stand_in, None);
    assert_eq!(silent(&usual(), 0, 100, 30.0).stand_in, None);
}

#[test]
fn sound_passes_or_is_made_anew() {
    let video = video(1_280, 720);
    for (audio, codecs, bitrate, transcoded) in [
        (audio(Codec::Aac, "mp4a.40.2", 48_000, 2), "mp4a.40.2", 160_000, false),
        (audio(Codec::Aac, "mp4a.40.2", 44_100, 1), "mp4a.40.2", 160_000, false),
        (audio(Codec::Aac, "mp4a.40.5", 32_000, 2), "mp4a.40.5", 160_000, false),
        (audio(Codec::Aac, "mp4a.40.2", 22_050, 2), "mp4a.40.2", 96_000, true),
        (audio(Codec::Aac, "mp4a.40.2", 48_000, 6), "mp4a.40.2", 96_000, true),
        (audio(Codec::Aac, "mp4a.40.42", 48_000, 2), "mp4a.40.2", 96_000, true),
        (audio(Codec::Opus, "opus", 48_000, 2), "mp4a.40.2", 96_000, true),
    ] {
        let source = Source { video: Some(&video), frame_rate: 30.0, audio: Some(&audio), layers: &[] };
        let decision = decide(&usual(), 96_000, &source);
        let expected = Some(Sound { codecs: codecs.to_owned(), bitrate, transcoded });
        let all = decision.rungs.iter().chain(&decision.stand_in);
        assert!(all.clone().all(|rung| rung.sound == expected), "{audio:?}: {decision:?}");
        let names: Vec<&str> = decision.rungs.iter().map(|rung| rung.name.as_str()).collect();
        let last = if transcoded { &["480p", "360p", "aac"][..] } else { &["480p", "360p"] };
        assert_eq!(names, last, "{audio:?}");
        let alone = decide(&usual(), 96_000, &Source { video: None, ..source });
        assert_eq!(alone.rungs.iter().map(line).collect::<Vec<_>>(), &last[2..]);
        assert_eq!(alone.stand_in, None);
    }
    let nothing = Source { video: None, frame_rate: 0.0, audio: None, layers: &[] };
    assert_eq!(decide(&usual(), 96_000, &nothing), Decision::default());
}

prop_compose! {
    fn any_rule()(height in 0u32..5_000, cap in proptest::option::of(0.0f64..300.0), bitrate in 50_000u64..100_000_000) -> Rule {
        Rule { height, frame_rate: cap, bitrate }
    }
}

proptest! {
    #[test]
    fn rungs_of_any_source_make_sense(
        width in 2u32..=16_384,
        height in 2u32..=16_384,
        frame_rate in prop_oneof![Just(0.0), 0.1f64..300.0],
        rules in proptest::collection::vec(any_rule(), 0..9),
        usual_too in any::<bool>(),
    ) {
        let rules: Vec<Rule> = if usual_too { usual().into_iter().chain(rules).collect() } else { rules };
        let decision = silent(&rules, width, height, frame_rate);
        let all: Vec<&RungSpec> = decision.rungs.iter().chain(&decision.stand_in).collect();
        for rung in &all {
            let pictures = rung.pictures.as_ref().unwrap();
            prop_assert!(pictures.width <= width && pictures.height <= height, "{}", line(rung));
            prop_assert!(pictures.width >= 64 && pictures.height >= 64, "{}", line(rung));
            prop_assert!(pictures.width.is_multiple_of(2) && pictures.height.is_multiple_of(2), "{}", line(rung));
            // The shape stays, but for the rounding of either side.
            let (across, down) = (f64::from(pictures.width) / f64::from(width), f64::from(pictures.height) / f64::from(height));
            prop_assert!((across / down - 1.0).abs() < 0.06, "{} of {width}x{height}", line(rung));
            prop_assert!(level::least(pictures.width, pictures.height, 1.0, pictures.bitrate).unwrap() <= pictures.level);
            prop_assert!(frame_rate == 0.0 || pictures.frame_rate.is_none_or(|cap| cap < frame_rate));
        }
        let names: BTreeSet<&str> = all.iter().map(|rung| rung.name.as_str()).collect();
        prop_assert_eq!(names.len(), all.len());
        let sides = |rung: &RungSpec| rung.pictures.as_ref().map(|pictures| pictures.width.min(pictures.height));
        prop_assert!(decision.rungs.is_sorted_by_key(|rung| std::cmp::Reverse(sides(rung))));
        prop_assert!(decision.rungs.len() <= rules.len());
    }
}

#[test]
fn layers_that_the_publisher_sends_take_the_place_of_rungs() {
    let (source, half, third) = (video(1_280, 720), video(640, 360), video(426, 240));
    let vp8 = VideoConfig { codec: Codec::Vp8, ..video(320, 180) };
    let layer = |name, video, bitrate| Layer { name, video, bitrate };
    let layers = [
        layer("h", &half, 500_000),
        layer("q", &third, 150_000),
        layer("v", &vp8, 90_000),
        layer("f", &source, 2_000_000),
    ];
    let source = Source { video: Some(&source), frame_rate: 30.0, audio: None, layers: &layers };
    let decision = decide(&usual(), 128_000, &source);
    let lines: Vec<String> = decision.rungs.iter().map(line).collect();
    assert_eq!(lines, ["480p 854x480", "360p 640x360", "240p 426x240"]);
    assert_eq!(decision.layered, [("360p".to_owned(), "h".to_owned()), ("240p".to_owned(), "q".to_owned())]);
    let pictures = decision.rungs[1].pictures.as_ref().unwrap();
    assert_eq!((pictures.bitrate, pictures.codecs.as_str()), (500_000, "avc1.640028"));
}
