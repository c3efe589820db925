//! Sound that is made anew: heard when it was in the source, without holes.

use std::path::Path;
use std::process::Command;

use headwater::media::fmp4::{self, Run, Sample};
use headwater::media::{Codec, Config, Time, codec};
use headwater::transcode::wire::{Make, Order, ToWorker};

use super::rig::{Heard, Track, made, tell};

/// A second of silence, a burst of a tone for a tenth of a second, silence.
fn burst(rate: u32, channels: &str, encoder: &[&str]) -> Track {
    let source = format!("aevalsrc='if(between(t,1,1.1),sin(2*PI*1000*t),0)':s={rate}:d=3");
    let layout = format!("aformat=channel_layouts={channels}");
    made(&[&["-f", "lavfi", "-i", &source, "-af", &layout], encoder].concat())
}

fn sound(source: &Track, opus: bool) -> Heard {
    let order = Order { rung: 7, make: Make::Sound { opus, bitrate: 128_000 }, after: i64::MIN };
    let mut messages = vec![ToWorker::Rungs(vec![order])];
    messages.extend(source.messages());
    let enough = source.frames.last().unwrap().pts - Time::from_millis(300);
    tell(messages, |heard| heard.frames.last().is_some_and(|frame| frame.pts >= enough))
}

/// When the burst begins, in seconds of the track's own times, by decoding it.
fn onset(config: &Config, frames: &[(Time, bytes::Bytes)]) -> f64 {
    let scale = fmp4::timescale(config);
    let samples: Vec<Sample> = frames
        .iter()
        .map(|(_, payload)| Sample {
            duration: codec::packet_samples(config, payload),
            composition_offset: 0,
            key: true,
            payload: payload.clone(),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sound.mp4");
    let fragment = fmp4::fragment(1, &[Run { decode_time: 0, samples: &samples }]);
    std::fs::write(&file, [fmp4::init(&[config]), fragment].concat()).unwrap();
    let pcm = decoded(&file, scale);
    let at = pcm.iter().position(|sample| sample.abs() > 0.3).expect("the burst is there");
    // ffmpeg leaves out what dOps calls the pre-skip; the times of frames count it.
    let left_out = if config.codec() == Codec::Opus { 312 } else { 0 };
    frames[0].0.seconds() + (at + left_out) as f64 / f64::from(scale)
}

/// Mono samples, the first of them at the first frame's time.
fn decoded(file: &Path, rate: u32) -> Vec<f32> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-i"])
        .arg(file)
        .args(["-ac", "1", "-ar", &rate.to_string(), "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Frames without holes in between.
fn runs(heard: &Heard) -> Vec<Vec<(Time, bytes::Bytes)>> {
    let (mut runs, mut expected): (Vec<Vec<_>>, _) = (Vec::new(), None);
    for frame in &heard.frames {
        let length = codec::packet_samples(heard.config(7), &frame.payload);
        if expected.is_none_or(|expected: Time| (frame.pts - expected).abs() > Time::from_millis(30)) {
            runs.push(Vec::new());
        }
        runs.last_mut().unwrap().push((frame.pts, frame.payload.clone()));
        expected = Some(frame.pts + Time::from_ticks(length.into(), 48_000));
    }
    runs
}

#[test]
fn sound_that_stops_goes_on_where_the_source_does() {
    for (name, encoder, to_opus) in [("AAC", ["-c:a", "aac"], false), ("Opus", ["-c:a", "libopus"], true)] {
        let first = burst(48_000, "stereo", &encoder);
        // Ten seconds without sound, and then sound of another kind.
        let second = burst(if to_opus { 48_000 } else { 44_100 }, "mono", &encoder).later(Time::from_millis(13_000));
        let order = Order { rung: 7, make: Make::Sound { opus: to_opus, bitrate: 128_000 }, after: i64::MIN };
        let messages = [vec![ToWorker::Rungs(vec![order])], first.messages(), second.messages()].concat();
        let enough = second.frames.last().unwrap().pts - Time::from_millis(300);
        let heard = tell(messages, |heard| heard.frames.last().is_some_and(|frame| frame.pts >= enough));
        let runs = runs(&heard);
        assert_eq!(runs.len(), 2, "{name}: {:?}", runs.iter().map(|run| (run[0].0, run.len())).collect::<Vec<_>>());
        for (source, run) in [&first, &second].into_iter().zip(&runs) {
            let frames: Vec<_> = source.frames.iter().map(|frame| (frame.pts, frame.payload.clone())).collect();
            let late = onset(heard.config(7), run) - onset(&source.config, &frames);
            assert!(late.abs() < 0.006, "{name}: heard {:.1} ms late", late * 1000.0);
        }
    }
}

#[test]
fn sound_with_a_hole_keeps_its_times() {
    let mut source = burst(48_000, "stereo", &["-c:a", "aac"]);
    let (from, to) = (Time::from_millis(1_200), Time::from_millis(1_700));
    source.frames.retain(|frame| !(from..to).contains(&frame.pts));
    let heard = sound(&source, false);
    let frames: Vec<_> = source.frames.iter().map(|frame| (frame.pts, frame.payload.clone())).collect();
    let before = frames.iter().filter(|(pts, _)| *pts < from).count();
    // The burst lies behind the hole.
    let runs = runs(&heard);
    let late = onset(heard.config(7), runs.last().unwrap()) - onset(&source.config, &frames[before..]);
    assert!(late.abs() < 0.006, "heard {:.1} ms late", late * 1000.0);
}

#[test]
fn sound_is_heard_when_it_was_in_the_source_and_has_no_holes() {
    let aac: &[&str] = &["-c:a", "aac"];
    let opus: &[&str] = &["-c:a", "libopus"];
    for (name, source, to_opus) in [
        ("AAC to AAC", burst(48_000, "stereo", aac), false),
        ("mono of 44.1 kHz", burst(44_100, "mono", aac), false),
        ("5.1", burst(48_000, "5.1", aac), false),
        ("Opus to AAC", burst(48_000, "stereo", opus), false),
        ("AAC to Opus", burst(48_000, "stereo", aac), true),
    ] {
        let heard = sound(&source, to_opus);
        let config = heard.config(7);
        let Config::Audio(audio) = config else { panic!("sound") };
        assert_eq!((audio.sample_rate, audio.channels), (48_000, 2), "{name}");
        let mut expected = heard.frames[0].pts;
        for frame in &heard.frames {
            assert!((frame.pts - expected).abs() < Time::from_millis(2), "{name}: {:?}, not {expected:?}", frame.pts);
            expected = frame.pts + Time::from_ticks(codec::packet_samples(config, &frame.payload).into(), 48_000);
        }
        let of = |frames: Vec<(Time, bytes::Bytes)>, config: &Config| onset(config, &frames);
        let before = of(source.frames.iter().map(|f| (f.pts, f.payload.clone())).collect(), &source.config);
        let after = of(heard.frames.iter().map(|f| (f.pts, f.payload.clone())).collect(), config);
        assert!((after - before).abs() < 0.006, "{name}: heard {:.1} ms late", (after - before) * 1000.0);
    }
}
