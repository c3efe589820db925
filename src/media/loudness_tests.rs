//! Levels that are known beforehand, and what holds for any samples whatever.
#![allow(clippy::unwrap_used)]

use std::f64::consts::PI;

use proptest::prelude::*;

use super::*;

/// A second of a tone, whose samples fall on ever other places of its wave.
fn sine(amplitude: f64) -> impl Iterator<Item = f32> + Clone {
    (0..48_000).map(move |n| (amplitude * (2.0 * PI * 997.0 * f64::from(n) / 48_000.0).sin()) as f32)
}

/// Each sample for a left and a right channel.
fn both(left: f32, right: f32) -> [f32; 2] {
    [left, right]
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 0.01, "{value}, not {expected}");
}

#[test]
fn a_sine_of_full_scale_has_3_decibels_less_than_its_peak() {
    let loudness = measure(1, sine(0.998)).unwrap();
    near(loudness.rms_db(), -3.01 - 0.017);
    near(loudness.peak_db(), -0.017);
    assert_eq!(loudness.clipped(), 0.0);
    near(measure(1, sine(0.1)).unwrap().rms_db(), -23.01);
    near(measure(1, sine(0.0001)).unwrap().peak_db(), -80.0);
}

#[test]
fn tops_that_were_cut_off_are_counted() {
    let square = (0..48_000).map(|n| if n % 100 < 50 { 1.0 } else { -1.0 });
    let loudness = measure(1, square).unwrap();
    assert_eq!((loudness.clipped(), loudness.rms_db()), (1.0, 0.0));
    // |sin| is above 1/2 for two thirds of the time.
    let loudness = measure(1, sine(2.0).map(|sample| sample.clamp(-1.0, 1.0))).unwrap();
    near(loudness.clipped(), 2.0 / 3.0);
    // Beyond full scale, as a decoder gives it.
    near(measure(1, sine(2.0)).unwrap().clipped(), 2.0 / 3.0);
    near(measure(1, sine(2.0)).unwrap().peak_db(), 6.02);
}

#[test]
fn one_or_two_samples_at_full_scale_are_chance() {
    let of = |samples: &[f32]| measure(1, samples.iter().copied()).unwrap().clipped();
    assert_eq!(of(&[0.0, 1.0, -1.0, 0.0, 1.0, 0.5, 1.0, 1.0, 0.9]), 0.0);
    assert_eq!(of(&[0.0, 1.0, 0.999, -1.0, 0.0, 0.0]), 0.5);
    assert_eq!(of(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]), 0.8);
}

#[test]
fn runs_are_those_of_a_channel_and_not_of_its_neighbour() {
    let loudness = measure(2, (0..100).flat_map(|_| both(1.0, 0.0))).unwrap();
    let clipped: Vec<f64> = loudness.channels.iter().map(|level| level.clipped).collect();
    assert_eq!(clipped, [1.0, 0.0]);
}

#[test]
fn silence_is_as_quiet_as_can_be_said() {
    let loudness = measure(2, [0.0; 9_600]).unwrap();
    assert_eq!((loudness.rms_db(), loudness.peak_db()), (QUIETEST_DB, QUIETEST_DB));
    assert_eq!(measure(2, []), None);
    assert_eq!(measure(2, [0.5]), None, "of one channel nothing came");
}

#[test]
fn what_stands_still_is_not_heard() {
    let loudness = measure(1, [0.25; 48_000]).unwrap();
    assert_eq!(loudness.rms_db(), QUIETEST_DB);
    assert_eq!(loudness.channels[0].offset, 0.25);
    let loudness = measure(1, sine(0.1).map(|sample| sample - 0.5)).unwrap();
    near(loudness.rms_db(), -23.01);
    near(loudness.channels[0].offset, -0.5);
}

#[test]
fn channels_are_told_apart() {
    let loudness = measure(2, sine(0.5).flat_map(|sample| both(sample, sample / 1_000.0))).unwrap();
    near(loudness.channels[0].rms_db(), -9.03);
    near(loudness.channels[1].rms_db(), -69.03);
    near(loudness.rms_db(), -9.03);
}

#[test]
fn samples_that_are_no_numbers_are_survived() {
    let samples = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -f32::NAN, 0.5];
    let loudness = measure(1, samples).unwrap();
    let level = loudness.channels[0];
    assert_eq!(level.peak, LOUDEST);
    near(level.clipped, 4.0 / 7.0);
    assert!(level.rms.is_finite() && level.offset.is_finite());
    assert_eq!(measure(1, [f32::NAN; 8]).unwrap().rms_db(), QUIETEST_DB);
}

#[test]
fn a_decoder_s_first_samples_are_left_out() {
    let mut meter = Meter::new(2, 2_048);
    meter.take((0..2_048).flat_map(|_| both(1.0, 1.0)));
    assert_eq!((meter.samples(), meter.loudness()), (0, None));
    meter.take((0..480).flat_map(|_| both(0.0, 0.0)));
    assert_eq!((meter.samples(), meter.loudness().unwrap().peak_db()), (480, QUIETEST_DB));
}

proptest! {
    #[test]
    fn levels_are_within_their_bounds(samples in proptest::collection::vec(any::<f32>(), 1..400), channels in 1_usize..9) {
        let Some(loudness) = measure(channels, samples.iter().copied()) else { return Ok(()) };
        prop_assert_eq!(loudness.channels.len(), channels);
        for level in &loudness.channels {
            prop_assert!((0.0..=LOUDEST).contains(&level.peak));
            prop_assert!(level.rms >= 0.0 && level.rms <= level.peak + 1e-9);
            prop_assert!(level.offset.abs() <= level.peak + 1e-9);
            prop_assert!((0.0..=1.0).contains(&level.clipped));
            prop_assert!(level.clipped == 0.0 || level.peak >= 0.999);
        }
        prop_assert!(loudness.rms_db() >= QUIETEST_DB && loudness.rms_db() <= loudness.peak_db() + 1e-6);
    }

    /// The same by another road: mean first, then squares about it; runs by splitting.
    #[test]
    fn levels_are_what_they_are_said_to_be(samples in proptest::collection::vec(-1.2_f32..1.2, 1..400)) {
        let loudness = measure(1, samples.iter().copied()).unwrap();
        let level = loudness.channels[0];
        let values: Vec<f64> = samples.iter().map(|sample| f64::from(*sample)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let rms = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        prop_assert!((level.offset - mean).abs() < 1e-9 && (level.rms - rms).abs() < 1e-6);
        let runs = values.split(|value| value.abs() < 0.999).map(<[f64]>::len).filter(|run| *run >= 3);
        prop_assert!((level.clipped - runs.sum::<usize>() as f64 / count).abs() < 1e-12);
    }

    #[test]
    fn pieces_make_no_difference(
        samples in proptest::collection::vec(-1.0_f32..=1.0, 2..300),
        at in 0_usize..300,
        channels in 1_usize..4,
    ) {
        let (first, second) = samples.split_at(at.min(samples.len()));
        let mut meter = Meter::new(channels, 0);
        meter.take(first.iter().copied());
        meter.take(second.iter().copied());
        prop_assert_eq!(meter.loudness(), measure(channels, samples.iter().copied()));
    }
}
