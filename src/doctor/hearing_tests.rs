//! Measurements by table: what is seen after each of them.
#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use super::*;
use crate::media::Loudness;
use crate::media::loudness::Level;

/// A channel of this level; `clipped` in percent.
fn channel(rms_db: f64, clipped: f64) -> Level {
    let rms = 10_f64.powf(rms_db / 20.0);
    Level { peak: rms, rms, clipped: clipped / 100.0, offset: 0.0 }
}

fn stereo(left_db: f64, right_db: f64) -> Vec<Level> {
    vec![channel(left_db, 0.0), channel(right_db, 0.0)]
}

fn both(rms_db: f64) -> Vec<Level> {
    stereo(rms_db, rms_db)
}

fn clipping(percent: f64) -> Vec<Level> {
    vec![channel(-10.0, 0.0), channel(-10.0, percent)]
}

fn heard(channels: Vec<Level>, second: i64) -> Heard {
    let until = Time::from_millis(second * 1_000);
    Heard { loudness: Loudness { channels }, until, at: SystemTime::UNIX_EPOCH }
}

/// Hears one after the other, `every` so many seconds, and looks every second as the doctor does. Gives what is seen last.
fn seen(every: i64, tiny: bool, looks: &[Vec<Level>]) -> Vec<Code> {
    let mut hearing = Hearing::default();
    let mut newest = None;
    let last = every * (looks.len() as i64 - 1);
    for second in 0..=last {
        if second % every == 0 {
            newest = Some(heard(looks[(second / every) as usize].clone(), second));
        }
        hearing.hear(Time::from_millis(second * 1_000), newest.as_ref());
    }
    hearing.clips().into_iter().chain(hearing.too_little(tiny)).map(|seen| seen.code).collect()
}

/// What it is, the channels of each measurement, and what is seen after the last.
type Case = (&'static str, Vec<Vec<Level>>, &'static [Code]);

#[test]
fn measurements_and_what_is_seen_in_them() {
    let fine = || both(-20.0);
    let cases: &[Case] = &[
        ("one look", vec![clipping(5.0)], &[]),
        ("two of two clip", vec![clipping(5.0); 2], &[Code::SoundClips]),
        ("two of three clip", vec![clipping(5.0), fine(), clipping(0.2)], &[Code::SoundClips]),
        ("one of three clips", vec![clipping(9.0), clipping(9.0), fine(), clipping(9.0), fine()], &[]),
        ("a loud master", vec![clipping(0.1); 5], &[]),
        ("a little more", vec![clipping(0.11); 5], &[Code::SoundClips]),
        ("silence", vec![both(-120.0); 3], &[Code::SoundSilent]),
        ("silence, twice", vec![both(-120.0); 2], &[]),
        ("a pause", vec![both(-80.0), both(-80.0), fine()], &[]),
        ("noise of a quiet room", vec![both(-69.0); 3], &[]),
        ("quiet for 50 seconds", vec![both(-50.0); 6], &[]),
        ("quiet for a minute", vec![both(-50.0); 7], &[Code::SoundQuiet]),
        ("one word in a minute", [vec![both(-50.0); 4], vec![fine()], vec![both(-50.0); 3]].concat(), &[]),
        ("that word long ago", [vec![fine()], vec![both(-50.0); 8]].concat(), &[Code::SoundQuiet]),
        ("silent and quiet", vec![both(-90.0); 9], &[Code::SoundSilent]),
        ("left alone", vec![stereo(-30.0, -70.0); 3], &[Code::SoundOneSided]),
        ("right alone, twice", vec![stereo(-70.0, -30.0); 2], &[]),
        ("left, then right", vec![stereo(-30.0, -70.0), stereo(-30.0, -70.0), stereo(-70.0, -30.0)], &[]),
        ("left louder", vec![stereo(-30.0, -59.0); 3], &[]),
        ("left, and hardly that", vec![stereo(-36.0, -90.0); 3], &[]),
        ("mono", vec![vec![channel(-20.0, 0.0)]; 3], &[]),
        ("a centre alone", vec![vec![channel(-90.0, 0.0), channel(-90.0, 0.0), channel(-20.0, 0.0)]; 3], &[]),
        ("no channel", vec![Vec::new(); 2], &[]),
        ("well", vec![fine(); 20], &[]),
    ];
    for (what, looks, expected) in cases {
        assert_eq!(seen(10, false, looks), *expected, "{what}");
    }
}

#[test]
fn every_interval_comes_to_the_same() {
    for every in [1, 10, 60] {
        assert_eq!(seen(every, false, &vec![both(-90.0); 3]), [Code::SoundSilent], "{every}");
        let minute = (60 / every + 1).max(3) as usize;
        assert_eq!(seen(every, false, &vec![both(-50.0); minute]), [Code::SoundQuiet], "{every}");
    }
}

#[test]
fn tiny_frames_are_believed_where_nothing_contradicts() {
    assert_eq!(seen(10, true, &[both(-90.0)]), [Code::SoundSilent]);
    assert_eq!(seen(10, true, &[both(-40.0)]), []);
    assert_eq!(Hearing::default().too_little(true).map(|seen| seen.code), Some(Code::SoundSilent));
    assert_eq!(Hearing::default().too_little(false), None);
}

#[test]
fn what_was_measured_long_ago_is_forgotten() {
    let mut hearing = Hearing::default();
    for second in 0..=50 {
        hearing.hear(Time::from_millis(second * 1_000), Some(&heard(both(-90.0), second.min(20) / 10 * 10)));
        assert_eq!(hearing.too_little(false).is_some(), (20..=50).contains(&second), "{second}");
    }
    hearing.hear(Time::from_millis(51_000), Some(&heard(both(-90.0), 20)));
    assert_eq!(hearing.too_little(false), None, "30 s without another one");
}

#[test]
fn another_publisher_is_not_judged_by_the_one_before() {
    let mut hearing = Hearing::default();
    let hear = |hearing: &mut Hearing, second: i64| {
        hearing.hear(Time::from_millis(second * 1_000), Some(&heard(clipping(9.0), second / 10 * 10)));
    };
    (0..=10).for_each(|second| hear(&mut hearing, second));
    assert!(hearing.clips().is_some());
    hearing.restart();
    (11..=20).for_each(|second| hear(&mut hearing, second));
    assert!(hearing.clips().is_none(), "the one of the tenth second is the former publisher's");
    (21..=30).for_each(|second| hear(&mut hearing, second));
    assert!(hearing.clips().is_some());
}
