//! Tests of the timeline: what each rule does to a session's frames, and what holds whatever a session sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::media::{AudioConfig, Codec, VideoConfig};

const MS: fn(i64) -> Time = Time::from_millis;

fn video(width: u32) -> Arc<Config> {
    let record = Bytes::from_static(&[1, 0x64, 0, 31, 0xff]);
    Arc::new(Config::Video(VideoConfig {
        codec: Codec::H264,
        record,
        width,
        height: 360,
        codecs: "avc1.64001f".into(),
    }))
}

/// AAC-LC, stereo.
fn audio(sample_rate: u32) -> Arc<Config> {
    let index = if sample_rate == 48_000 { 3 } else { 4 };
    Arc::new(Config::Audio(AudioConfig {
        codec: Codec::Aac,
        record: Bytes::copy_from_slice(&[0x10 | (index >> 1), ((index & 1) << 7) | 0x10]),
        sample_rate,
        channels: 2,
        frame_samples: Some(1024),
        codecs: "mp4a.40.2".into(),
    }))
}

/// Feeds a timeline as a publisher would, and keeps what comes out.
struct Rig {
    timeline: Timeline,
    video: Arc<Config>,
    audio: Arc<Config>,
    now: i64,
    out: Vec<Frame>,
}

impl Rig {
    fn new() -> Rig {
        let limits = Limits { target: MS(2000), max: MS(10_000) };
        Rig { timeline: Timeline::new(limits), video: video(640), audio: audio(48_000), now: 0, out: Vec::new() }
    }

    fn frame(config: &Arc<Config>, dts: i64, composition: i64, key: bool) -> Frame {
        let (dts, pts) = (MS(dts), MS(dts + composition));
        Frame { dts, pts, key, cut: None, config: config.clone(), payload: Bytes::from_static(&[0; 8]) }
    }

    fn video(&mut self, dts: i64, key: bool) -> Placement {
        let frame = Self::frame(&self.video, dts, 0, key);
        self.timeline.place(frame, MS(self.now), &mut self.out)
    }

    fn audio(&mut self, dts: i64) -> Placement {
        let frame = Self::frame(&self.audio, dts, 0, true);
        self.timeline.place(frame, MS(self.now), &mut self.out)
    }

    /// A session that begins at `session` ms on its own clock, with a key frame every second, for `length` ms.
    fn publish(&mut self, session: i64, length: i64) {
        self.timeline.announce(&self.video.clone());
        self.timeline.announce(&self.audio.clone());
        let mut next_audio = 0;
        for ms in (0..length).step_by(40) {
            assert_eq!(self.video(session + ms, ms % 1000 == 0), Placement::Done);
            while next_audio * 1024 / 48 <= ms {
                assert_eq!(self.audio(session + next_audio * 1024 / 48), Placement::Done);
                next_audio += 1;
            }
            self.now += 40;
        }
    }

    fn of(&self, kind: Kind) -> Vec<&Frame> {
        self.out.iter().filter(|frame| frame.kind() == kind).collect()
    }

    fn discontinuities(&self) -> usize {
        self.out.iter().filter(|frame| frame.cut.is_some_and(|cut| cut.discontinuity)).count()
    }

    fn assert_monotonic(&self) {
        self.assert_monotonic_times();
        let msns: Vec<u64> = self.out.iter().filter_map(|frame| frame.cut).map(|cut| cut.msn).collect();
        assert_eq!(msns, (0..msns.len() as u64).collect::<Vec<_>>());
    }

    fn assert_monotonic_times(&self) {
        for kind in [Kind::Video, Kind::Audio] {
            for pair in self.of(kind).windows(2) {
                assert!(pair[0].dts < pair[1].dts, "{kind:?} {:?} then {:?}", pair[0].dts, pair[1].dts);
                assert!(pair[1].pts >= pair[1].dts);
            }
        }
    }
}

#[test]
fn a_session_begins_at_its_first_key_frame_and_audio_before_it_is_dropped() {
    let mut rig = Rig::new();
    rig.timeline.announce(&rig.video.clone());
    rig.timeline.announce(&rig.audio.clone());
    rig.audio(5000);
    rig.video(5000, false);
    assert!(rig.out.is_empty());
    rig.now = 100;
    rig.video(5040, true);
    rig.audio(5020);
    rig.audio(5050);
    assert_eq!(rig.out.len(), 2);
    assert_eq!((rig.out[0].dts, rig.out[1].dts), (MS(100), MS(110)), "sound keeps its distance to the picture");
    assert_eq!(rig.timeline.counts.before_splice, 2);
}

#[test]
fn audio_alone_is_a_stream_after_a_second() {
    let mut rig = Rig::new();
    (0..100).for_each(|n| {
        rig.audio(n * 1024 / 48);
    });
    assert_eq!(rig.timeline.tracks(), (false, true));
    assert!(rig.out[0].cut.is_some());
    rig.assert_monotonic();
}

#[test]
fn a_reconnect_goes_on_with_one_discontinuity_and_the_gap_of_the_clock() {
    let mut rig = Rig::new();
    rig.publish(0, 4000);
    let end = rig.of(Kind::Video).last().unwrap().dts;
    rig.now += 3000;
    rig.timeline.begin_session();
    rig.publish(987_654, 4000);
    rig.assert_monotonic();
    assert_eq!(rig.discontinuities(), 1);
    let resumed = rig.out.iter().find(|frame| frame.cut.is_some_and(|cut| cut.discontinuity)).unwrap();
    assert_eq!(resumed.dts - end, MS(3040));
    assert!(resumed.key);
    let offset = |kind| rig.of(kind).last().unwrap().dts;
    assert!((offset(Kind::Video) - offset(Kind::Audio)).abs() < MS(50), "sound and picture stay together");
}

#[test]
fn a_quick_reconnect_never_runs_backwards() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    rig.now = 500;
    rig.timeline.begin_session();
    rig.publish(0, 2000);
    rig.assert_monotonic();
}

#[test]
fn a_new_picture_configuration_begins_at_a_key_frame_with_a_discontinuity() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    rig.video = video(1280);
    rig.video(2000, false);
    rig.video(2040, true);
    assert_eq!(rig.discontinuities(), 1);
    let last = rig.of(Kind::Video).last().copied().unwrap();
    assert!(last.cut.is_some_and(|cut| cut.discontinuity) && Arc::ptr_eq(&last.config, &rig.video));
}

#[test]
fn a_new_sound_configuration_waits_for_the_next_key_frame() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    rig.audio = audio(44_100);
    rig.audio(2010);
    rig.video(2000, true);
    rig.audio(2033);
    assert_eq!(rig.discontinuities(), 1);
    let last = rig.of(Kind::Audio).last().copied().unwrap();
    assert!(Arc::ptr_eq(&last.config, &rig.audio));
    rig.assert_monotonic();
}

#[test]
fn an_equal_configuration_sent_again_changes_nothing() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    rig.video = video(640);
    rig.audio = audio(48_000);
    rig.video(2000, true);
    rig.audio(2010);
    assert_eq!(rig.discontinuities(), 0);
}

#[test]
fn small_steps_back_are_repaired_and_jumps_are_spliced() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    rig.video(1900, false);
    rig.video(1960, false);
    assert_eq!(rig.timeline.counts.backward, 2);
    rig.video(100_000, false);
    rig.video(100_040, true);
    rig.video(60, false);
    rig.video(100, true);
    assert_eq!(rig.timeline.counts.jumps, 2);
    assert_eq!(rig.discontinuities(), 2);
    rig.assert_monotonic();
    let total = rig.of(Kind::Video).last().unwrap().dts;
    assert!(total < MS(5000), "a jump of the clock is no time on the timeline: {total:?}");
}

#[test]
fn missing_audio_is_filled_with_silence_to_the_sample() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    let before = rig.of(Kind::Audio).len();
    rig.audio(3000);
    let frames = rig.of(Kind::Audio);
    assert!(frames.len() > before + 40);
    for pair in frames.windows(2) {
        assert_eq!(pair[1].dts - pair[0].dts, Time::from_ticks(1024, 48_000));
    }
}

#[test]
fn audio_that_stops_is_kept_going_for_the_players() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    (2000..6000).step_by(40).for_each(|ms| {
        rig.video(ms, ms % 1000 == 0);
    });
    let (sound, picture) = (rig.of(Kind::Audio).last().unwrap().dts, rig.of(Kind::Video).last().unwrap().dts);
    assert!(picture - sound < MS(1600), "{sound:?} {picture:?}");
    assert!(rig.timeline.counts.silence > 50);
}

#[test]
fn doubled_audio_is_dropped() {
    let mut rig = Rig::new();
    rig.publish(0, 2000);
    let before = rig.out.len();
    rig.audio(1500);
    assert_eq!((rig.out.len(), rig.timeline.counts.overlapping), (before, 1));
}

#[test]
fn a_track_that_appears_later_asks_for_a_new_epoch() {
    let mut rig = Rig::new();
    rig.video(0, true);
    rig.video(40, false);
    assert_eq!(rig.audio(50), Placement::TracksChanged);
    let mut next = rig.timeline.next_epoch(Limits { target: MS(2000), max: MS(10_000) });
    let mut out = Vec::new();
    next.place(Rig::frame(&rig.audio, 50, 0, true), MS(0), &mut out);
    next.place(Rig::frame(&rig.video, 80, 0, true), MS(0), &mut out);
    assert_eq!(next.tracks(), (true, true));
}

#[test]
fn picture_order_survives_b_frames() {
    let mut rig = Rig::new();
    // I P B B in decoding order, 40 ms apart, shown as I B B P.
    for (dts, composition, key) in [(0, 40, true), (40, 120, false), (80, 0, false), (120, 0, false)] {
        let frame = Rig::frame(&rig.video, dts, composition, key);
        rig.timeline.place(frame, MS(0), &mut rig.out);
    }
    let shown: Vec<i64> = rig.out.iter().map(|frame| (frame.pts - rig.out[0].dts).millis()).collect();
    assert_eq!(shown, [40, 160, 80, 120]);
    assert_eq!(rig.timeline.counts, Counts::default());
}

#[test]
fn nonsense_composition_times_are_set_right() {
    let mut rig = Rig::new();
    for (dts, composition) in [(0, 0), (40, -500), (80, 60_000)] {
        let frame = Rig::frame(&rig.video, dts, composition, dts == 0);
        rig.timeline.place(frame, MS(0), &mut rig.out);
    }
    assert!(rig.out.iter().all(|frame| frame.pts == frame.dts));
    assert_eq!(rig.timeline.counts.composition, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Video { by: i64, composition: i64, key: bool },
    Audio { by: i64 },
    Reconnect { to: i64 },
    Resize,
    Wait { ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![8 => 0i64..50, 1 => -2000i64..2000, 1 => -(1i64 << 32)..(1i64 << 32)];
    let composition = prop_oneof![5 => 0i64..200, 1 => -10_000i64..10_000];
    prop_oneof![
        10 => (by.clone(), composition, any::<bool>()).prop_map(|(by, composition, key)| Step::Video { by, composition, key }),
        10 => by.prop_map(|by| Step::Audio { by }),
        1 => (0i64..1 << 32).prop_map(|to| Step::Reconnect { to }),
        1 => Just(Step::Resize),
        2 => (0i64..3000).prop_map(|ms| Step::Wait { ms }),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_output_is_monotonic_and_numbered(steps in proptest::collection::vec(step(), 1..400)) {
        let mut rig = Rig::new();
        let (mut video_clock, mut audio_clock) = (0, 0);
        let mut width = 640;
        for step in steps {
            let placement = match step {
                Step::Video { by, composition, key } => {
                    video_clock += by;
                    let frame = Rig::frame(&rig.video, video_clock, composition, key);
                    rig.timeline.place(frame, MS(rig.now), &mut rig.out)
                }
                Step::Audio { by } => {
                    audio_clock += by;
                    rig.audio(audio_clock)
                }
                Step::Reconnect { to } => {
                    (video_clock, audio_clock) = (to, to);
                    rig.timeline.begin_session();
                    Placement::Done
                }
                Step::Resize => {
                    width += 2;
                    rig.video = video(width);
                    Placement::Done
                }
                Step::Wait { ms } => {
                    rig.now += ms;
                    Placement::Done
                }
            };
            rig.now += 20;
            if placement == Placement::TracksChanged {
                rig.assert_monotonic();
                rig.out.clear();
                rig.timeline = rig.timeline.next_epoch(Limits { target: MS(2000), max: MS(10_000) });
            }
        }
        rig.assert_monotonic();
        for frame in &rig.out {
            if let Some(cut) = frame.cut {
                prop_assert!(!cut.discontinuity || frame.key);
            }
        }
    }
}

/// An hour of a source whose sound card's clock is off: its timestamps follow the pictures' clock, its samples do not. What
/// is heard must stay with what is seen.
#[test]
fn an_hour_of_drifting_sound_stays_with_the_pictures() {
    for parts_per_million in [200_i64, -200] {
        let mut rig = Rig::new();
        rig.timeline.announce(&rig.video.clone());
        rig.timeline.announce(&rig.audio.clone());
        // True time of a frame of sound, in microseconds: 1024 samples of a clock that is too fast or too slow.
        let length = 1024.0 / 48_000.0 * 1e6 / (1.0 + parts_per_million as f64 / 1e6);
        let (mut sent, mut worst) = (0_u64, Time::ZERO);
        for ms in (0..3_600_000).step_by(40) {
            assert_eq!(rig.video(ms, ms % 2000 == 0), Placement::Done);
            while (sent as f64 * length / 1000.0) as i64 <= ms {
                let said = (sent as f64 * length / 1000.0) as i64;
                let before = rig.out.len();
                assert_eq!(rig.audio(said), Placement::Done);
                sent += 1;
                // The last of what came out for it is the frame itself, unless it was dropped.
                if let Some(frame) = rig.out[before..].last() {
                    worst = worst.max((frame.pts - MS(said)).abs());
                }
            }
            rig.now += 40;
            rig.out.retain(|frame| frame.pts > MS(ms - 1000));
            rig.assert_monotonic_times();
        }
        assert!(worst < MS(60), "{parts_per_million} ppm: {worst:?} off at the worst");
        let counts = rig.timeline.counts;
        // 200 ppm of an hour are 720 ms: 33 frames too many or too few.
        let mended = if parts_per_million > 0 { counts.overlapping } else { counts.silence };
        assert!((30..=36).contains(&mended), "{counts:?}");
        assert_eq!((counts.jumps, counts.audio_realigned), (0, 0));
    }
}
