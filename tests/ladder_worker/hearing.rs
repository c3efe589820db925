//! Sound whose loudness is known beforehand, measured by the worker; and sound that cannot be decoded.

use bytes::Bytes;
use headwater::media::{Codec, Config, Loudness};
use headwater::transcode::wire::{ListenOrder, StillOrder, ToWorker};

use super::rig::{Track, made, tell, x264};

const AAC: &[&str] = &["-c:a", "aac", "-b:a", "128k"];
const OPUS: &[&str] = &["-c:a", "libopus", "-b:a", "128k"];

/// A bit more than a second of what ffmpeg makes of this.
fn sound(source: &str, filter: &str, encoder: &[&str]) -> Track {
    made(&[&["-f", "lavfi", "-i", source, "-t", "1.2", "-af", filter], encoder].concat())
}

fn order(id: u64, track: &Track) -> ListenOrder {
    let frames = track.frames.iter().map(|frame| frame.payload.clone()).collect();
    ListenOrder { id, config: track.config.clone(), frames }
}

fn told(orders: Vec<ListenOrder>) -> Vec<Result<Loudness, String>> {
    let count = orders.len();
    let ids: Vec<u64> = orders.iter().map(|order| order.id).collect();
    let heard = tell(orders.into_iter().map(ToWorker::Listen).collect(), |heard| heard.measured.len() == count);
    assert_eq!(heard.measured.iter().map(|measured| measured.id).collect::<Vec<_>>(), ids);
    heard.measured.into_iter().map(|measured| measured.outcome).collect()
}

#[test]
fn known_levels_are_measured_through_every_codec() {
    let tone = "aevalsrc='0.1*sin(2*PI*440*t)':s=48000";
    let apart = "aevalsrc='0.1*sin(2*PI*440*t)|0':s=48000:c=stereo";
    let cases = [
        ("AAC in stereo", sound(tone, "pan=stereo|c0=c0|c1=c0", AAC), vec![-23.0, -23.0]),
        ("AAC in mono of 44.1 kHz", sound(tone, "aresample=44100", AAC), vec![-23.0]),
        ("AAC, left alone", sound(apart, "anull", AAC), vec![-23.0, -120.0]),
        ("Opus in stereo", sound(tone, "pan=stereo|c0=c0|c1=c0", OPUS), vec![-23.0, -23.0]),
        ("Opus in mono", sound(tone, "anull", OPUS), vec![-23.0]),
        ("Opus, left alone", sound(apart, "anull", OPUS), vec![-23.0, -120.0]),
        ("silence", sound("anullsrc=sample_rate=48000:channel_layout=stereo", "anull", AAC), vec![-120.0, -120.0]),
        ("as loud as can be", sound(tone, "volume=19.9dB", AAC), vec![-3.1]),
    ];
    let orders = (1..).zip(&cases).map(|(id, (_, track, _))| order(id, track)).collect();
    for ((name, _, levels), outcome) in cases.iter().zip(told(orders)) {
        let loudness = outcome.unwrap_or_else(|why| panic!("{name}: {why}"));
        let measured: Vec<f64> = loudness.channels.iter().map(|level| level.rms_db()).collect();
        assert_eq!(measured.len(), levels.len(), "{name}: {measured:?}");
        for (measured, level) in measured.iter().zip(levels) {
            // Encoders let a little over into the other channel.
            let right = if *level < -100.0 { *measured < -70.0 } else { (measured - level).abs() < 0.5 };
            assert!(right, "{name}: {measured:.1} dB, not {level}");
        }
        assert!(loudness.clipped() < 0.000_5, "{name}: {loudness:?}");
    }
}

/// Noise, for encoders of AAC round off what is cut off of a few tones, so that it ends below full scale.
#[test]
fn what_clips_before_or_after_its_encoder_is_seen() {
    let noise = "anoisesrc=color=pink:amplitude=1:sample_rate=48000:seed=7";
    let stereo = "pan=stereo|c0=c0|c1=c0";
    let (beyond, within) = (format!("volume=20dB,{stereo}"), format!("volume=-6dB,{stereo}"));
    let cut = format!("volume=20dB,aeval=max(-1\\,min(1\\,val(0))),{stereo}");
    let cases = [(&cut, AAC), (&cut, OPUS), (&beyond, AAC), (&beyond, OPUS), (&within, AAC), (&within, OPUS)];
    let orders = (1..).zip(&cases).map(|(id, (filter, encoder))| order(id, &sound(noise, filter, encoder)));
    for ((filter, encoder), outcome) in cases.iter().zip(told(orders.collect())) {
        let loudness = outcome.unwrap_or_else(|why| panic!("{filter}: {why}"));
        let (clips, beyond) = (loudness.clipped() > 0.002, loudness.peak_db() > 0.0);
        let expected = *filter != &within;
        assert_eq!((clips, beyond), (expected, expected), "{filter}, {encoder:?}: {loudness:?}");
    }
}

#[test]
fn what_cannot_be_decoded_is_said_and_the_next_is_measured() {
    let fine = sound("sine=frequency=440:sample_rate=48000", "anull", AAC);
    let with = |id, change: &dyn Fn(usize, &Bytes) -> Bytes| {
        let mut order = order(id, &fine);
        order.frames = order.frames.iter().enumerate().map(|(at, payload)| change(at, payload)).collect();
        order
    };
    let rubbish = with(1, &|_, _| Bytes::from_static(&[0xff; 64]));
    let cut_off = with(2, &|_, payload| payload.slice(..payload.len() / 2));
    let empty = with(3, &|_, _| Bytes::new());
    let nothing = ListenOrder { id: 4, config: fine.config.clone(), frames: Vec::new() };
    let mut misread = order(5, &fine);
    if let Config::Audio(audio) = &mut misread.config {
        audio.codec = Codec::Opus;
    }
    let mut no_record = order(6, &fine);
    if let Config::Audio(audio) = &mut no_record.config {
        (audio.record, audio.channels) = (Bytes::from_static(b"\xff\xff\xff\xff"), 0);
    }
    let pictures = x264("64x64", 1, &[]);
    let seen = ListenOrder { id: 7, config: pictures.config.clone(), frames: vec![pictures.frames[0].payload.clone()] };
    // A few frames of many are bearable.
    let flawed = with(8, &|at, payload| if at == 20 { Bytes::from_static(b"\x21") } else { payload.clone() });
    let outcomes = told(vec![rubbish, cut_off, empty, nothing, misread, no_record, seen, flawed, order(9, &fine)]);
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            // Half a frame may still be one, and noise; what matters is that it ends.
            _ if [1, 4].contains(&at) => {}
            Ok(loudness) => assert!(at >= 7 && loudness.rms_db() > -30.0, "{at}: {loudness:?}"),
            Err(why) => assert!(at < 7 && !why.is_empty(), "{at}: {why}"),
        }
    }
}

#[test]
fn stills_are_made_between_measurements() {
    let (pictures, fine) = (x264("64x64", 1, &[]), sound("sine=frequency=440:sample_rate=48000", "anull", OPUS));
    let payload = pictures.frames[0].payload.clone();
    let still = StillOrder { id: 2, config: pictures.config.clone(), payload, width: 64 };
    let messages = vec![ToWorker::Listen(order(1, &fine)), ToWorker::Still(still), ToWorker::Listen(order(3, &fine))];
    let heard = tell(messages, |heard| heard.measured.len() == 2);
    assert!(heard.stills.len() == 1 && !heard.stills[0].jpeg.is_empty());
    assert!(heard.measured.iter().all(|measured| measured.outcome.is_ok()), "{:?}", heard.measured);
}
