//! Streams made of numbers: perfect ones of every usual shape, of which nothing may be said, and one for each ailment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{AudioConfig, Codec, Cut, VideoConfig};

/// A stream as an encoder and a link would make it.
#[derive(Clone, Debug)]
struct Show {
    seconds: i64,
    /// Frames in so many seconds.
    rate: (i64, i64),
    gop: i64,
    b_frames: bool,
    /// Bits a second.
    bitrate: i64,
    /// How far single groups' rates are off, in percent.
    vary: i64,
    codecs: &'static str,
    size: (u32, u32),
    sound: Option<u32>,
    around: Around,
}

impl Default for Show {
    fn default() -> Show {
        Show {
            seconds: 60,
            rate: (30, 1),
            gop: 60,
            b_frames: false,
            bitrate: 3_000_000,
            vary: 0,
            codecs: "avc1.64001f",
            size: (1280, 720),
            sound: Some(48_000),
            around: Around { sessions: 1, ..Around::default() },
        }
    }
}

/// A frame, and when it came.
#[derive(Clone, Debug)]
struct Sent {
    frame: Frame,
    at: Time,
}

const ZEROS: &[u8] = &[0; 4 << 20];

fn ms(count: i64) -> Time {
    Time::from_millis(count)
}

impl Show {
    fn frames(&self) -> Vec<Sent> {
        let mut all = self.pictures();
        all.extend(self.sounds());
        all.sort_by_key(|sent| sent.at);
        all
    }

    fn pictures(&self) -> Vec<Sent> {
        let (width, height) = self.size;
        let codec = if self.codecs.starts_with("hvc1") { Codec::H265 } else { Codec::H264 };
        let video = VideoConfig { codec, record: Bytes::new(), width, height, codecs: self.codecs.to_owned() };
        let config = Arc::new(Config::Video(video));
        let (frames, per) = self.rate;
        let mean = self.bitrate * per / frames / 8;
        let picture = |n: i64| {
            // RTMP has milliseconds.
            let at = ms((Time::from_ticks(n * per, 1).scaled(1, frames)).millis());
            let key = n % self.gop == 0;
            let group = n / self.gop;
            let swing = [0, self.vary, -self.vary, self.vary / 2][(group % 4) as usize];
            let weight = if key { 600 } else { (100 * self.gop - 600).max(100) / (self.gop - 1).max(1) };
            let bytes = if self.gop == 1 { mean } else { mean * weight * (100 + swing) / 10_000 };
            let interval = Time::from_ticks(per, 1).scaled(1, frames);
            let shift = match n % 3 {
                _ if !self.b_frames => Time::ZERO,
                0 => interval,
                1 => interval + interval,
                _ => Time::ZERO,
            };
            let payload = Bytes::from_static(&ZEROS[..bytes.max(50) as usize]);
            let frame = Frame { dts: at, pts: at + shift, key, cut: None, config: config.clone(), payload };
            Sent { frame, at: at + ms(40) }
        };
        (0..self.seconds * frames / per).map(picture).collect()
    }

    fn sounds(&self) -> Vec<Sent> {
        let Some(rate) = self.sound else { return Vec::new() };
        let audio = AudioConfig {
            codec: Codec::Aac,
            record: Bytes::new(),
            sample_rate: rate,
            channels: 2,
            frame_samples: Some(1024),
            codecs: "mp4a.40.2".to_owned(),
        };
        let config = Arc::new(Config::Audio(audio));
        let sound = |n: i64| {
            let at = Time::from_ticks(n * 1024, rate);
            let payload = Bytes::from_static(&ZEROS[..300 + (n % 50) as usize]);
            let frame = Frame { dts: at, pts: at, key: true, cut: None, config: config.clone(), payload };
            Sent { frame, at: at + ms(60) }
        };
        (0..self.seconds * i64::from(rate) / 1024).map(sound).collect()
    }

    /// What is found of it, as `Doctor` would look: ten times a second.
    fn examined(&self, frames: Vec<Sent>) -> Vec<Change> {
        self.examined_with(frames, |_, _| {})
    }

    fn examined_with(&self, mut frames: Vec<Sent>, mut at: impl FnMut(i64, &mut Around)) -> Vec<Change> {
        // A stable sort: what arrives together keeps its order.
        frames.sort_by_key(|sent| sent.at);
        let limits = Limits { gop: ms(4_000), segment_max: ms(10_000) };
        let (mut examination, mut changes) = (Examination::new(limits), Vec::new());
        let (mut frames, mut around) = (frames.into_iter().peekable(), self.around.clone());
        for step in 1..=self.seconds * 10 {
            let now = ms(step * 100);
            while let Some(sent) = frames.next_if(|sent| sent.at <= now) {
                examination.frame(&sent.frame, now);
            }
            if step % 10 == 0 {
                at(step / 10, &mut around);
                changes.extend(examination.tick(now, &around));
            }
        }
        changes
    }
}

/// The codes of all that is not merely good to know.
fn complaints(changes: &[Change]) -> BTreeSet<&'static str> {
    let bad = |finding: &&Finding| finding.severity > Severity::Info;
    found(changes).into_iter().filter(bad).map(|finding| finding.code).collect()
}

fn found(changes: &[Change]) -> Vec<&Finding> {
    let mut findings = Vec::new();
    for change in changes {
        if let Change::Found(finding) = change {
            findings.push(finding);
        }
    }
    findings
}

#[track_caller]
fn only(changes: &[Change], code: Code) {
    let expected = BTreeSet::from([code.name()]);
    assert_eq!(complaints(changes), expected, "{changes:#?}");
    // Once, perhaps again for another severity: nothing flaps.
    assert!(changes.len() <= 2, "{changes:#?}");
    for finding in found(changes) {
        assert!(finding.remedy.contains("OBS") || finding.remedy.contains("cable"), "{finding:?}");
        assert!(!finding.text.ends_with('.') && finding.text.len() < 220, "{finding:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_said_of_a_perfect_stream(
        rate in prop::sample::select(vec![(24, 1), (24_000, 1_001), (25, 1), (30_000, 1_001), (30, 1), (50, 1), (60, 1)]),
        gop_ms in 1_000_i64..=4_000,
        b_frames in any::<bool>(),
        vary in 0_i64..=30,
        bitrate in 800_000_i64..=8_000_000,
        sound in prop::sample::select(vec![44_100, 48_000]),
        jitter in 0_i64..=150,
        webrtc in any::<bool>(),
    ) {
        let gop = (gop_ms * rate.0 / rate.1 / 1_000).max(1);
        let around = Around { sessions: 1, webrtc, ..Around::default() };
        let show = Show { rate, gop, b_frames, vary, bitrate, sound: Some(sound), around, ..Show::default() };
        let mut frames = show.frames();
        let mut last = Time::ZERO;
        for (n, sent) in (0..).zip(&mut frames) {
            // A cheap spread of delays; what is late holds up what is behind it.
            sent.at = (sent.at + ms((n * 7_919 % 101) * jitter / 100)).max(last);
            last = sent.at;
        }
        let changes = show.examined(frames);
        prop_assert!(complaints(&changes).is_empty(), "{changes:#?}");
    }

    #[test]
    fn nothing_panics_whatever_comes(
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), -20_000_i64..20_000, 0_i64..3_000, 0_usize..100_000), 0..300),
    ) {
        let show = Show::default();
        let (video, audio) = (show.pictures().remove(0).frame.config, show.sounds().remove(0).frame.config);
        let mut examination = Examination::new(Limits { gop: ms(4_000), segment_max: ms(10_000) });
        let (mut dts, mut now) = (Time::ZERO, Time::ZERO);
        for (picture, key, step, wait, size) in steps {
            (dts, now) = (dts + ms(step), now + ms(wait));
            let config = if picture { video.clone() } else { audio.clone() };
            let payload = Bytes::from_static(&ZEROS[..size]);
            let cut = (step < -10_000).then_some(Cut { msn: 0, discontinuity: true, at: dts, target_duration: None });
            examination.frame(&Frame { dts, pts: dts + ms(step / 10), key, cut, config, payload }, now);
            if wait > 500 {
                examination.tick(now, &Around { sessions: (step % 3) as u64, ..Around::default() });
            }
        }
    }
}

#[test]
fn long_groups() {
    let show = Show { gop: 180, ..Show::default() };
    let changes = show.examined(show.frames());
    only(&changes, Code::GopLong);
    assert_eq!(found(&changes)[0].severity, Severity::Warning);
    let show = Show { gop: 360, seconds: 90, ..Show::default() };
    let changes = show.examined(show.frames());
    only(&changes, Code::GopLong);
    assert_eq!(found(&changes).last().unwrap().severity, Severity::Problem);
}

#[test]
fn key_frames_where_the_scene_changes() {
    let show = Show::default();
    let mut frames = show.frames();
    for (number, sent) in (0..).zip(frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Video)) {
        sent.frame.key |= number % 211 == 97 || number % 149 == 20;
    }
    only(&show.examined(frames.clone()), Code::GopIrregular);
    // Key frames that were asked for are not odd.
    let asked = Show { around: Around { sessions: 1, webrtc: true, ..Around::default() }, ..show };
    assert!(complaints(&asked.examined(frames)).is_empty());
}

#[test]
fn nothing_but_key_frames() {
    let show = Show { gop: 1, ..Show::default() };
    only(&show.examined(show.frames()), Code::OnlyKeyFrames);
}

#[test]
fn b_frames_matter_where_webrtc_viewers_watch() {
    let show = Show { b_frames: true, ..Show::default() };
    let changes = show.examined(show.frames());
    assert!(complaints(&changes).is_empty());
    assert_eq!(found(&changes)[0].code, "b_frames");
    let watched = Show { around: Around { sessions: 1, whep: 3, ..Around::default() }, ..show };
    only(&watched.examined(watched.frames()), Code::BFrames);
}

#[test]
fn a_bit_rate_that_falls_off_a_cliff() {
    let show = Show { seconds: 50, ..Show::default() };
    let mut frames = show.frames();
    for sent in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Video && sent.at > ms(25_000)) {
        sent.frame.payload.truncate(sent.frame.payload.len() * 2 / 5);
    }
    only(&show.examined(frames), Code::BitrateCliff);
}

#[test]
fn a_bit_rate_that_fits_no_such_picture_is_said() {
    let show = Show { bitrate: 25_000_000, ..Show::default() };
    assert_eq!(found(&show.examined(show.frames()))[0].code, "bitrate_high");
    let show = Show { bitrate: 150_000, size: (1920, 1080), ..Show::default() };
    assert_eq!(found(&show.examined(show.frames()))[0].code, "bitrate_low");
}

#[test]
fn frames_that_the_source_drops() {
    let show = Show::default();
    for (every, severity) in [(30, Severity::Warning), (5, Severity::Problem), (3, Severity::Problem)] {
        let mut frames = show.frames();
        let mut number = 0;
        frames.retain(|sent| {
            number += i64::from(sent.frame.kind() == Kind::Video);
            sent.frame.kind() == Kind::Audio || sent.frame.key || number % every != 0
        });
        let changes = show.examined(frames);
        only(&changes, Code::FramesDropped);
        assert_eq!(found(&changes)[0].severity, severity);
    }
}

#[test]
fn frames_off_the_beat() {
    let show = Show::default();
    let mut frames = show.frames();
    for (number, sent) in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Video).enumerate() {
        let late = ms([0, 16, 5, 12, 1][number % 5]);
        (sent.frame.dts, sent.frame.pts) = (sent.frame.dts + late, sent.frame.pts + late);
    }
    only(&show.examined(frames.clone()), Code::FrameRateVaries);
    // Cameras in browsers do so.
    let camera = Show { around: Around { sessions: 1, webrtc: true, ..Around::default() }, ..show };
    assert!(complaints(&camera.examined(frames)).is_empty());
}

#[test]
fn few_frames() {
    let show = Show { rate: (8, 1), gop: 16, bitrate: 1_000_000, ..Show::default() };
    only(&show.examined(show.frames()), Code::FrameRateLow);
}

#[test]
fn bursts() {
    let show = Show::default();
    let mut frames = show.frames();
    for sent in &mut frames {
        // Nothing for 0.8 s, then all of it.
        sent.at = ms((sent.at.millis() + 799) / 800 * 800);
    }
    only(&show.examined(frames), Code::NetworkJitter);
}

#[test]
fn a_stall() {
    let show = Show { seconds: 80, ..Show::default() };
    let mut frames = show.frames();
    for sent in frames.iter_mut().filter(|sent| (ms(20_000)..ms(22_000)).contains(&sent.at)) {
        sent.at = ms(22_000);
    }
    let changes = show.examined(frames);
    only(&changes, Code::NetworkStall);
    assert_eq!(changes.last(), Some(&Change::Cleared("network_stall")), "it is taken back, and nothing else is said");
}

#[test]
fn a_link_that_does_not_carry_it() {
    let show = Show::default();
    let mut frames = show.frames();
    for sent in frames.iter_mut().filter(|sent| sent.at > ms(10_000)) {
        sent.at += (sent.at - ms(10_000)).scaled(1, 8);
    }
    let changes = show.examined(frames);
    assert!(complaints(&changes).contains("network_backlog"), "{changes:#?}");
    assert!(complaints(&changes).iter().all(|code| code.starts_with("network_")), "{changes:#?}");
}

#[test]
fn sound_apart_from_its_picture() {
    for (late, sign) in [(600, 1.0), (-600, -1.0)] {
        let show = Show::default();
        let mut frames = show.frames();
        for sent in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Audio) {
            sent.at += ms(late);
        }
        let changes = show.examined(frames);
        only(&changes, Code::SoundOffset);
        assert_eq!(found(&changes)[0].value.unwrap().signum(), sign);
    }
}

#[test]
fn sound_that_runs_away() {
    let show = Show { seconds: 260, ..Show::default() };
    let mut frames = show.frames();
    for sent in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Audio) {
        // 0.12 %: 31 ms in 26 s, 290 ms at the end.
        sent.at += sent.at.scaled(12, 10_000);
    }
    only(&show.examined(frames), Code::SoundDrift);
}

#[test]
fn a_track_that_is_missing() {
    let show = Show { sound: None, ..Show::default() };
    only(&show.examined(show.frames()), Code::SoundMissing);
    let show = Show::default();
    let changes = show.examined(show.sounds());
    assert!(complaints(&changes).is_empty());
    assert_eq!(found(&changes)[0].code, "picture_missing");
}

#[test]
fn silent_sound_and_sound_with_holes() {
    let show = Show::default();
    let mut frames = show.frames();
    for sent in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Audio) {
        sent.frame.payload.truncate(6);
    }
    only(&show.examined(frames), Code::SoundSilent);
    only(
        &show.examined_with(show.frames(), |second, around| around.counts.silence = second as u64 * 4),
        Code::SoundGaps,
    );
}

#[test]
fn loss_and_clocks_that_jump() {
    let show = Show::default();
    let jump = |second, around: &mut Around| around.counts.jumps = u64::from(second > 20);
    let changes = show.examined_with(show.frames(), jump);
    assert_eq!(complaints(&changes), BTreeSet::from(["clock_jumps"]));
    let lose = |second, around: &mut Around| around.packets = Some((second as u64 * 300, second as u64 * 5));
    only(&show.examined_with(show.frames(), lose), Code::NetworkLoss);
}

#[test]
fn formats_that_devices_do_not_take() {
    let level = |codecs| Show { codecs, ..Show::default() };
    for (show, code) in [
        (level("avc1.f4001f"), Code::ProfileUnplayable),
        (level("avc1.7a001f"), Code::ProfileUnplayable),
        (level("avc1.6e001f"), Code::ProfileUnplayable),
        (level("avc1.640034"), Code::LevelHigh),
        (level("hvc1.1.6.L120.90"), Code::CodecRare),
        (level("hvc1.4.10.L120.90"), Code::ProfileUnplayable),
        (Show { size: (853, 480), ..Show::default() }, Code::SizeOdd),
    ] {
        only(&show.examined(show.frames()), code);
    }
    let show = level("avc1.640033");
    assert_eq!(found(&show.examined(show.frames()))[0].severity, Severity::Info);
}

#[test]
fn what_is_declared_against_what_comes() {
    let declare = |declared| Show { around: Around { sessions: 1, declared, ..Around::default() }, ..Show::default() };
    let right = Declared {
        width: Some(1280.0),
        height: Some(720.0),
        frame_rate: Some(29.97),
        video_bitrate: Some(2_500_000.0),
    };
    let show = declare(right);
    assert!(complaints(&show.examined(show.frames())).is_empty());
    for wrong in [
        Declared { width: Some(1920.0), height: Some(1080.0), ..right },
        Declared { frame_rate: Some(60.0), ..right },
        Declared { video_bitrate: Some(500_000.0), ..right },
    ] {
        let show = declare(wrong);
        only(&show.examined(show.frames()), Code::MetadataWrong);
    }
}

#[test]
fn another_publisher_is_judged_anew() {
    let show = Show { gop: 180, seconds: 100, ..Show::default() };
    let mut frames = show.frames();
    let (mut number, mut first) = (0, true);
    for sent in frames.iter_mut().filter(|sent| sent.frame.kind() == Kind::Video) {
        number += 1;
        if sent.at > ms(50_000) {
            sent.frame.key = number % 60 == 0 || first;
            let cut = Cut { msn: 9, discontinuity: true, at: sent.frame.pts, target_duration: None };
            sent.frame.cut = std::mem::take(&mut first).then_some(cut);
        }
    }
    let changes = show.examined_with(frames, |second, around| around.sessions = 1 + u64::from(second > 50));
    assert_eq!(changes.len(), 2, "{changes:#?}");
    assert_eq!(changes[1], Change::Cleared("gop_long"));
}
