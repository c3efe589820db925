//! Pictures: where segments begin, what every kind of source becomes, and what bad ones cost.

use std::time::Duration;

use bytes::Bytes;
use headwater::media::fmp4::{self, Run, Sample};
use headwater::media::{Codec, Config, Time};
use headwater::transcode::wire::{Make, SourceCut, StillOrder, ToWorker};

use super::rig::{Heard, Track, has, made, rung, tell, tell_deaf, x264};
use super::support::publish::decode;

const LARGE: (u32, u32) = (160, 90);
const SMALL: (u32, u32) = (96, 54);

/// Two rungs of a source.
fn two_rungs(tracks: &[&Track], frames: usize) -> Heard {
    let orders = ToWorker::Rungs(vec![rung(0, LARGE), rung(1, SMALL)]);
    let messages = std::iter::once(orders).chain(tracks.iter().flat_map(|track| track.messages())).collect();
    tell(messages, |heard| [0, 1].iter().all(|rung| heard.of(*rung).len() >= frames))
}

/// A rung as a file, whose decoding must go without a word.
async fn decodes(heard: &Heard, rung: u32) {
    let frames = heard.of(rung);
    let samples: Vec<Sample> = frames
        .iter()
        .map(|frame| Sample { duration: 3_000, composition_offset: 0, key: frame.key, payload: frame.payload.clone() })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rung.mp4");
    let init = fmp4::init(&[heard.config(rung)]);
    let fragment = fmp4::fragment(1, &[Run { decode_time: 0, samples: &samples }]);
    std::fs::write(&file, [init, fragment].concat()).unwrap();
    let complaints = decode(&file).await;
    assert!(complaints.trim().is_empty(), "rung {rung}: {complaints}");
}

#[tokio::test]
async fn every_picture_becomes_one_of_each_rung_and_segments_begin_with_an_idr() {
    let source = x264("320x180", 4, &["-tune", "zerolatency"]);
    let heard = two_rungs(&[&source], source.frames.len());
    for rung in [0, 1] {
        assert_eq!(heard.times(rung), source.times(), "to the flick, none lost, none twice");
        assert_eq!(heard.keys(rung), source.cuts(), "and no other");
        for frame in heard.of(rung) {
            let kinds: Vec<u8> = nal_kinds(&frame.payload);
            assert!(!kinds.iter().any(|kind| [7, 8, 9, 12].contains(kind)), "{kinds:?} belong into the init section");
        }
        decodes(&heard, rung).await;
    }
    let Config::Video(video) = heard.config(0) else { panic!("pictures") };
    assert_eq!((video.width, video.height, video.codecs.as_str()), (160, 90, "avc1.4d401e"));
    assert!(heard.troubles.is_empty(), "{:?}", heard.troubles);
}

fn nal_kinds(payload: &[u8]) -> Vec<u8> {
    let (mut kinds, mut at) = (Vec::new(), 0);
    while at + 4 < payload.len() {
        kinds.push(payload[at + 4] & 0x1f);
        at += 4 + u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()) as usize;
    }
    kinds
}

#[tokio::test]
async fn every_kind_of_source_is_taken() {
    let mut kinds: Vec<(&str, Track)> = vec![
        ("B-frames", x264("320x180", 3, &["-bf", "3", "-preset", "veryfast"])),
        ("open groups", x264("320x180", 3, &["-bf", "2", "-preset", "veryfast", "-x264-params", "open-gop=1"])),
        ("odd size", x264("853x479", 2, &["-pix_fmt", "yuv444p"])),
        ("portrait", x264("180x320", 2, &[])),
        ("4:2:2 of 10 bit", x264("320x180", 2, &["-pix_fmt", "yuv422p10le"])),
        ("8K", x264("7680x4320", 1, &["-frames:v", "6", "-tune", "zerolatency"])),
        ("interlaced", x264("320x180", 2, &["-flags", "+ildct+ilme", "-x264-params", "tff=1"])),
        ("slices", x264("320x180", 2, &["-x264-params", "slices=4"])),
        (
            "one picture a second",
            made(&["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=1:duration=6", "-c:v", "libx264"]),
        ),
        ("variable rate", variable_rate()),
    ];
    for (name, encoder, more) in [
        ("HEVC", "libx265", ["-x265-params", "log-level=error:keyint=30"]),
        ("AV1", "libsvtav1", ["-preset", "12"]),
        ("AV1", "libaom-av1", ["-cpu-used", "8"]),
    ] {
        if has(encoder) {
            let source =
                ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=1", "-pix_fmt", "yuv420p", "-g", "30"];
            kinds.push((name, made(&[&source[..], &["-c:v", encoder], &more].concat())));
        }
    }
    for (name, source) in kinds {
        // What comes before the first key frame in display is not shown; the last pictures may stay in the decoder.
        let most = source.frames.len();
        let heard = two_rungs(&[&source], most.saturating_sub(8).max(1));
        let times = heard.times(0);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {times:?}");
        let all = source.times();
        assert!(times.iter().all(|time| all.contains(time)), "{name}: times are the source's");
        assert_eq!(times.first(), all.first(), "{name}");
        let reached = source.cuts().into_iter().filter(|cut| Some(cut) <= times.last()).count();
        assert_eq!(heard.keys(0).len(), reached, "{name}: {:?}", heard.keys(0));
        decodes(&heard, 0).await;
        decodes(&heard, 1).await;
    }
}

/// Every third picture is missing, and for half a second all of them.
fn variable_rate() -> Track {
    let select = "select='mod(n,3)*(lt(t,1)+gt(t,1.5))'";
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=3", "-vf", select, "-fps_mode", "vfr"];
    made(&[&source[..], &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "20"]].concat())
}

#[tokio::test]
async fn another_size_codec_and_rate_in_mid_stream() {
    let first = x264("320x180", 2, &["-tune", "zerolatency"]);
    let second = x264("256x192", 2, &["-tune", "zerolatency", "-r", "25"]).later(first.end());
    let third = if has("libx265") {
        let source = "testsrc2=size=320x180:rate=30:duration=2";
        let hevc = ["-c:v", "libx265", "-tune", "zerolatency", "-x265-params", "log-level=error:keyint=30"];
        made(&[&["-f", "lavfi", "-i", source][..], &hevc].concat())
    } else {
        x264("426x240", 2, &[])
    };
    let third = third.later(second.end());
    // Thirty seconds later, as after a reconnect.
    let mut fourth = x264("320x180", 2, &["-tune", "zerolatency"]).later(third.end() + Time::from_millis(30_000));
    if let Some(cut) = &mut fourth.frames[0].cut {
        cut.discontinuity = true;
    }
    let all = [&first, &second, &third, &fourth];
    let frames = all.iter().map(|track| track.frames.len()).sum::<usize>();
    let heard = two_rungs(&all, frames - 4);
    for (number, track) in all.iter().enumerate() {
        let cuts = track.cuts();
        assert!(cuts.iter().all(|cut| heard.keys(0).contains(cut)), "part {number}: {cuts:?}, {:?}", heard.keys(0));
    }
    let Config::Video(video) = heard.config(1) else { panic!("pictures") };
    assert_eq!((video.width, video.height), SMALL, "a rung keeps its size");
    assert_eq!(heard.configs.iter().filter(|(rung, _)| *rung == 1).count(), 1, "and its configuration");
    decodes(&heard, 1).await;
}

#[tokio::test]
async fn cuts_between_key_frames_begin_with_an_idr() {
    let mut source = x264("320x180", 6, &["-tune", "zerolatency", "-g", "300", "-keyint_min", "300"]);
    for at in [50, 100, 151] {
        let frame = &mut source.frames[at];
        frame.cut = Some(SourceCut { at: frame.pts, discontinuity: false });
    }
    let heard = two_rungs(&[&source], source.frames.len());
    assert_eq!((heard.keys(0), heard.keys(1)), (source.cuts(), source.cuts()));
}

#[tokio::test]
async fn rungs_begin_later_stop_and_are_thinned_out() {
    let source = x264("320x180", 4, &["-tune", "zerolatency"]);
    let middle = source.frames[45].pts;
    let mut late = rung(0, LARGE);
    late.after = middle.flicks();
    let mut thin = rung(1, SMALL);
    let Make::Pictures { frame_rate, nominal, .. } = &mut thin.make else { panic!("pictures") };
    (*frame_rate, *nominal) = (Some(15.0), 15.0);
    let mut messages = vec![ToWorker::Rungs(vec![late.clone(), thin, rung(2, SMALL)])];
    messages.extend(source.messages());
    // The third stops in the end, and what comes then is not for it.
    let more = x264("320x180", 2, &["-tune", "zerolatency"]).later(source.end());
    let heard = tell(messages, |heard| heard.of(0).len() >= 74 && heard.of(1).len() >= 60 && heard.of(2).len() >= 120);
    assert!(heard.times(0).iter().all(|time| *time > middle));
    assert_eq!(heard.keys(0).first(), heard.times(0).first(), "a rung begins with an IDR");
    assert!((60..=63).contains(&heard.of(1).len()), "{}", heard.of(1).len());
    assert_eq!(heard.keys(1), source.cuts(), "the pictures of cuts are not among those left out");
    let messages = [
        vec![ToWorker::Rungs(vec![rung(0, LARGE), rung(2, SMALL)])],
        source.messages(),
        // Once these pictures are being made, the other rung is no longer wanted.
        vec![ToWorker::Rungs(vec![rung(0, LARGE)])],
        more.messages(),
    ];
    let frames = source.frames.len() + more.frames.len();
    let heard = tell(messages.concat(), |heard| heard.of(0).len() >= frames);
    assert!(heard.of(2).len() < frames, "{}", heard.of(2).len());
}

#[tokio::test]
async fn a_rung_that_joins_leaves_the_others_alone() {
    let first = x264("320x180", 2, &["-tune", "zerolatency"]);
    let second = x264("320x180", 2, &["-tune", "zerolatency"]).later(first.end());
    let messages = [
        vec![ToWorker::Rungs(vec![rung(0, LARGE)])],
        first.messages(),
        vec![ToWorker::Rungs(vec![rung(1, SMALL), rung(0, LARGE)])],
        second.messages(),
    ];
    let all = [first.times(), second.times()].concat();
    let heard = tell(messages.concat(), |heard| heard.of(0).len() >= all.len() && heard.times(1).last() == all.last());
    assert_eq!(heard.times(0), all);
    assert_eq!(heard.keys(0), [first.cuts(), second.cuts()].concat(), "no key frame for the other's sake");
    assert!(heard.of(1)[0].key && heard.of(1).len() >= second.frames.len());
    assert_eq!(heard.times(1), all[all.len() - heard.of(1).len()..], "without a hole");
}

#[tokio::test]
async fn pixels_that_are_not_square_stay_so() {
    let source = x264("320x180", 1, &["-vf", "setsar=4/3", "-tune", "zerolatency"]);
    let later = x264("320x180", 1, &["-tune", "zerolatency"]).later(source.end());
    let messages = [vec![ToWorker::Rungs(vec![rung(0, LARGE)])], source.messages(), later.messages()];
    let heard = tell(messages.concat(), |heard| heard.of(0).len() >= source.frames.len() + later.frames.len());
    let ratios: Vec<Option<(u16, u16)>> = heard.configs.iter().map(|(_, config)| pixel_ratio(config)).collect();
    assert_eq!(ratios, [Some((4, 3)), Some((1, 1))]);
    let config = source.config.clone();
    let order = StillOrder { id: 1, config, payload: source.frames[0].payload.clone(), width: 160 };
    let heard = tell(vec![ToWorker::Still(order)], |heard| heard.stills.len() == 1);
    let (width, height) = size(&heard.stills[0].jpeg);
    assert_eq!((width, height.abs_diff(68) <= 1), (160, true), "{height}");
}

/// Of the SPS in the configuration: None where it says nothing.
fn pixel_ratio(config: &Config) -> Option<(u16, u16)> {
    let Config::Video(video) = config else { panic!("pictures") };
    let length = usize::from(u16::from_be_bytes([video.record[6], video.record[7]]));
    let nal = h264_reader::rbsp::decode_nal(&video.record[8..8 + length]).unwrap();
    let sps = h264_reader::nal::sps::SeqParameterSet::from_bits(h264_reader::rbsp::BitReader::new(&nal[..])).unwrap();
    sps.vui_parameters?.aspect_ratio_info?.get()
}

#[tokio::test]
async fn a_server_that_does_not_listen_for_a_while_is_waited_for() {
    let source = x264("320x180", 20, &["-tune", "zerolatency"]);
    let mut loud = rung(0, LARGE);
    let Make::Pictures { bitrate, .. } = &mut loud.make else { panic!("pictures") };
    *bitrate = 2_000_000;
    let messages = [vec![ToWorker::Rungs(vec![loud])], source.messages()].concat();
    // Pictures come far faster than they are shown, so the worker has to wait. What it leaves out in the end it counts.
    let dropped = |heard: &Heard| heard.last_beat.rungs.first().map_or(0, |rung| rung.dropped as usize);
    let heard = tell_deaf(messages, Duration::from_secs(3), |heard| {
        heard.times(0).last() == source.times().last() && heard.of(0).len() + dropped(heard) == source.frames.len()
    });
    assert_eq!(heard.keys(0).len(), source.cuts().len(), "a cut whose picture was left out begins with the next");
    assert!(heard.times(0).windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn what_cannot_be_decoded_costs_no_more_than_that() {
    let mut source = x264("320x180", 6, &["-tune", "zerolatency"]);
    for (at, frame) in source.frames.iter_mut().enumerate() {
        let mut bytes = frame.payload.to_vec();
        match at {
            // Slices with bits turned over, behind their heads.
            5..15 => bytes.iter_mut().skip(60).step_by(7).for_each(|byte| *byte ^= 0x55),
            // Cut off, and of a length that leads beyond the end.
            40..=45 => bytes.truncate(bytes.len() / 2),
            46 => bytes = vec![0xff; 64],
            47 => bytes = Vec::new(),
            48 => bytes = b"\0\0\0\x01".to_vec(),
            _ => {}
        }
        frame.payload = Bytes::from(bytes);
    }
    // References that are missing.
    source.frames.drain(70..78);
    let mut messages = vec![ToWorker::Rungs(vec![rung(0, LARGE)])];
    // A frame before anything is known of the track, and a configuration that is none.
    messages.push(ToWorker::Frame(source.frames[1].clone()));
    let Config::Video(mut video) = source.config.clone() else { panic!("pictures") };
    video.record = Bytes::from_static(b"\x01rubbish");
    messages.push(ToWorker::Config(Config::Video(video)));
    messages.push(ToWorker::Frame(source.frames[0].clone()));
    messages.extend(source.clone().later(Time::from_millis(1_000)).messages());
    let last = source.later(Time::from_millis(1_000)).cuts().into_iter().next_back().unwrap();
    let heard = tell(messages, |heard| heard.keys(0).contains(&last));
    assert!(heard.of(0).len() >= 90, "{} pictures", heard.of(0).len());
    decodes(&heard, 0).await;
}

#[tokio::test]
async fn rubbish_from_the_first_byte_leaves_a_worker_that_beats() {
    let Config::Video(mut video) = x264("320x180", 1, &[]).config else { panic!("pictures") };
    video.codec = Codec::H265;
    let frame = x264("320x180", 1, &[]).frames[0].clone();
    let mut messages = vec![ToWorker::Rungs(vec![rung(0, LARGE)]), ToWorker::Config(Config::Video(video))];
    messages.extend((0..50).map(|_| ToWorker::Frame(frame.clone())));
    let heard = tell(messages, |heard| heard.beats >= 4);
    assert!(heard.frames.is_empty());
}

#[tokio::test]
async fn stills_are_made_of_key_frames_and_of_nothing_else() {
    let source = x264("320x180", 1, &[]);
    let order = |id, payload: &Bytes, width| {
        ToWorker::Still(StillOrder { id, config: source.config.clone(), payload: payload.clone(), width })
    };
    if has("libx265") {
        let hevc = [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:duration=1",
            "-c:v",
            "libx265",
            "-x265-params",
            "log-level=error",
        ];
        let hevc = made(&hevc);
        let order = StillOrder { id: 9, config: hevc.config, payload: hevc.frames[0].payload.clone(), width: 160 };
        let heard = tell(vec![ToWorker::Still(order)], |heard| heard.stills.len() == 1);
        assert_eq!(size(&heard.stills[0].jpeg), (160, 90));
    }
    let rubbish = Bytes::from_static(b"\0\0\0\x04rubb");
    let key = &source.frames[0].payload;
    let messages = vec![order(1, key, 160), order(2, &rubbish, 160), order(3, &Bytes::new(), 160), order(4, key, 999)];
    let heard = tell(messages, |heard| heard.stills.len() == 4);
    let jpeg = |at: usize| &heard.stills[at].jpeg;
    assert_eq!(heard.stills.iter().map(|still| still.id).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((size(jpeg(0)), size(jpeg(3))), ((160, 90), (320, 180)));
    assert!(jpeg(1).is_empty() && jpeg(2).is_empty());
}

/// Width and height out of a baseline JPEG's frame header (ITU-T T.81 section B.2.2).
fn size(jpeg: &[u8]) -> (u16, u16) {
    let at = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a frame header");
    let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
    (number(at + 7), number(at + 5))
}
