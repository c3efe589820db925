//! Tests of the packager: what is held back, what is fixed at the start, and where audio is divided.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use mp4_atom::ReadFrom;

use super::*;
use crate::hub::Limits;
use crate::hub::timeline::Timeline;
use crate::media::{AudioConfig, VideoConfig};

fn video() -> Arc<Config> {
    Arc::new(Config::Video(VideoConfig {
        codec: Codec::H264,
        record: Bytes::from_static(&[1, 0x64, 0, 31, 0xff]),
        width: 640,
        height: 360,
        codecs: "avc1.64001f".into(),
    }))
}

fn audio() -> Arc<Config> {
    Arc::new(Config::Audio(AudioConfig {
        codec: Codec::Aac,
        record: Bytes::from_static(&[0x11, 0x90]),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: Some(1024),
        codecs: "mp4a.40.2".into(),
    }))
}

/// One rendition's outputs: per segment its number, start, duration, parts and discontinuity.
#[derive(Debug, Default, Clone)]
struct Seen {
    msn: u64,
    discontinuity: bool,
    start: Time,
    duration: Time,
    parts: usize,
    closed: bool,
    /// In a rendition of pictures: where their sound ends.
    sound: Time,
}

struct Rig {
    timeline: Timeline,
    packager: Packager,
    configs: (Option<Arc<Config>>, Option<Arc<Config>>),
    plan: Option<Plan>,
    seen: [Vec<Seen>; 2],
    now: i64,
}

impl Rig {
    fn new(video: Option<Arc<Config>>, audio: Option<Arc<Config>>) -> Rig {
        Rig {
            timeline: Timeline::new(Limits { target: Time::from_millis(2000), max: Time::from_millis(10_000) }),
            packager: Packager::new(Time::from_millis(256)),
            configs: (video, audio),
            plan: None,
            seen: Default::default(),
            now: 0,
        }
    }

    /// A session of `length` ms at `fps`, a key frame every `group` frames; audio leads by `lead` ms in arrival.
    fn publish(&mut self, length: i64, fps: i64, group: i64, lead: i64) {
        let configs = self.configs.clone();
        [&configs.0, &configs.1].into_iter().flatten().for_each(|config| self.timeline.announce(config));
        let mut next_audio = 0;
        for index in 0..length * fps / 1000 {
            let ms = index * 1000 / fps;
            if let Some(config) = &configs.0 {
                self.push(config, ms, index % group == 0);
            }
            while let Some(config) = &configs.1
                && next_audio * 1024 / 48 <= ms + lead
            {
                self.push(config, next_audio * 1024 / 48, true);
                next_audio += 1;
            }
            self.now += 1000 / fps;
        }
    }

    fn push(&mut self, config: &Arc<Config>, ms: i64, key: bool) {
        let at = Time::from_millis(ms);
        let payload = Bytes::from_static(&[0; 8]);
        let frame = Frame { dts: at, pts: at, key, cut: None, config: config.clone(), payload };
        let mut placed = Vec::new();
        self.timeline.place(frame, Time::from_millis(self.now), &mut placed);
        let mut out = Vec::new();
        placed.into_iter().for_each(|frame| self.packager.push(frame, &mut out));
        self.take(out);
    }

    fn finish(&mut self) {
        let mut out = Vec::new();
        self.packager.finish(&mut out);
        self.take(out);
    }

    fn take(&mut self, out: Vec<Packaged>) {
        for packaged in out {
            match packaged {
                Packaged::Open(plan) => assert!(self.plan.replace(plan).is_none(), "the plan comes once"),
                Packaged::Track(kind, output) => {
                    let seen = &mut self.seen[usize::from(kind == Kind::Audio)];
                    match output {
                        Output::Begin { cut, start, .. } => {
                            assert!(seen.last().is_none_or(|last| last.closed), "{kind:?} {}", cut.msn);
                            seen.push(Seen {
                                msn: cut.msn,
                                discontinuity: cut.discontinuity,
                                start,
                                ..Seen::default()
                            });
                        }
                        Output::Part(part) => {
                            let last = seen.last_mut().unwrap();
                            last.sound = sound_end(&part.bytes).unwrap_or(last.sound);
                            last.duration += part.duration;
                            last.parts += 1;
                        }
                        Output::Close => seen.last_mut().unwrap().closed = true,
                    }
                }
            }
        }
    }

    /// Both renditions have the same segments, which begin within one audio frame of each other.
    fn assert_aligned(&self) {
        let [video, audio] = &self.seen;
        assert_eq!(video.iter().map(|s| s.msn).collect::<Vec<_>>(), audio.iter().map(|s| s.msn).collect::<Vec<_>>());
        for (picture, sound) in video.iter().zip(audio) {
            let distance = sound.start - picture.start;
            assert!(
                distance >= Time::ZERO && distance < Time::from_millis(22),
                "segment {}: sound begins {distance:?} after the picture",
                picture.msn
            );
            assert_eq!(picture.discontinuity, sound.discontinuity);
        }
    }
}

/// Where the second track of a fragment ends.
fn sound_end(fragment: &Bytes) -> Option<Time> {
    let moof = mp4_atom::Moof::read_from(&mut std::io::Cursor::new(fragment)).unwrap();
    let sound = moof.traf.get(1)?;
    let length: u64 = sound.trun[0].samples.iter().map(|sample| u64::from(sample.duration.unwrap())).sum();
    let end = sound.tfdt.as_ref().unwrap().base_media_decode_time + length;
    Some(Time::from_ticks(end as i64, 48_000))
}

#[test]
fn sound_never_ends_before_the_pictures_of_its_segment() {
    // 24 and 25 pictures a second: a part may or may not end with its segment, and 8 s are whole frames of sound.
    for (fps, lead) in [(24, -300), (25, -300), (24, -20), (25, 0), (24, 0), (30, 0), (24, 300), (30, 300)] {
        let mut rig = Rig::new(Some(video()), Some(audio()));
        rig.publish(17_000, fps, fps * 2, lead);
        let whole = rig.seen[0].iter().filter(|segment| segment.closed);
        let ends: Vec<_> = whole.map(|segment| (segment.sound, segment.start + segment.duration)).collect();
        assert!(ends.len() >= 7);
        for (sound, pictures) in ends {
            assert!(sound > pictures, "{fps} fps, {lead} ms: sound until {sound:?}, pictures until {pictures:?}");
        }
    }
}

#[test]
fn pictures_do_not_wait_for_ever() {
    let mut rig = Rig::new(Some(video()), Some(audio()));
    rig.publish(4000, 25, 50, 0);
    for index in 100..200 {
        rig.push(&video(), index * 40, index % 50 == 0);
    }
    assert!(rig.seen[0].len() >= 3, "{:?}", rig.seen[0]);
}

#[test]
fn nothing_goes_out_before_the_first_segment_is_whole() {
    let mut rig = Rig::new(Some(video()), Some(audio()));
    rig.publish(2000, 25, 50, 0);
    assert_eq!(rig.plan, None);
    rig.push(&video(), 2000, true);
    assert_eq!((rig.seen[0].len(), rig.seen[0][0].closed), (1, false), "its sound is not there yet");
    for index in 92..94 {
        rig.push(&audio(), index * 1024 / 48, true);
    }
    let plan = rig.plan.unwrap();
    assert_eq!((plan.target_duration, plan.part_target, plan.frame_rate.round()), (2, Time::from_millis(256), 25.0));
    // The next one begins with its first part.
    assert_eq!((rig.seen[0].len(), rig.seen[0][0].closed), (1, true));
    assert_eq!(rig.seen[0][0].duration, Time::from_millis(2000));
}

#[test]
fn audio_is_divided_where_the_video_is_whether_it_comes_early_or_late() {
    for lead in [-300, -20, 0, 20, 300] {
        let mut rig = Rig::new(Some(video()), Some(audio()));
        rig.publish(9000, 30, 60, lead);
        rig.finish();
        rig.assert_aligned();
        assert_eq!(rig.seen[0].len(), 5);
    }
}

#[test]
fn a_reconnect_divides_both_at_the_same_number() {
    let mut rig = Rig::new(Some(video()), Some(audio()));
    rig.publish(5000, 30, 60, 40);
    rig.timeline.begin_session();
    rig.now += 2000;
    rig.publish(5000, 30, 60, 0);
    rig.finish();
    rig.assert_aligned();
    assert_eq!(rig.seen[0].iter().filter(|segment| segment.discontinuity).count(), 1);
    // The sound of the first session ends before the second begins.
    for pair in rig.seen[1].windows(2) {
        assert!(pair[0].start + pair[0].duration <= pair[1].start + Time::from_millis(1), "{pair:?}");
    }
}

#[test]
fn sound_alone_is_cut_by_its_own_frames() {
    let mut rig = Rig::new(None, Some(audio()));
    rig.publish(9000, 25, 50, 0);
    rig.finish();
    assert!(rig.seen[0].is_empty());
    assert!(rig.seen[1].len() >= 4);
    assert!(rig.plan.unwrap().audio && !rig.plan.unwrap().video);
}

#[test]
fn a_short_stream_is_given_out_at_its_end() {
    let mut rig = Rig::new(Some(video()), Some(audio()));
    rig.publish(1200, 25, 50, 0);
    rig.finish();
    rig.assert_aligned();
    assert_eq!((rig.seen[0].len(), rig.plan.unwrap().target_duration), (1, 2));
    assert!(rig.seen[0][0].closed && rig.seen[1][0].closed);
}

#[test]
fn the_part_target_follows_rates_that_would_break_the_rule() {
    let target = |interval_us: i64, audio: Option<(i64, u32)>| {
        let audio = audio.map(|(samples, rate)| Time::from_ticks(samples, rate));
        part_target(Time::from_millis(256), Time::from_ticks(interval_us, 1_000_000), audio).millis()
    };
    let aac = Some((1024, 48_000));
    for fps in [20, 24, 25, 30, 48, 50, 60, 120] {
        assert_eq!(target(1_000_000 / fps, aac), 256, "{fps} fps");
    }
    assert_eq!(target(0, aac), 256);
    assert_eq!(target(33_333, Some((2048, 48_000))), 256);
    // 15 pictures a second: three make 200 ms, 78 % of the target; four make 267.
    assert_eq!(target(66_667, aac), 269);
    assert_eq!(target(100_000, aac), 302);
    assert_eq!(target(1_000_000, None), 1002);
}
