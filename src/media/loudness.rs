//! How loud sound is: decoded samples in, the level of each channel out. The transcoder's worker measures, the hub keeps
//! what was measured, the doctor judges it. Never decodes.

/// Of one stretch of sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loudness {
    /// In the order of the decoder's channels: left, right, and so on.
    pub channels: Vec<Level>,
}

/// Of one channel. Full scale is 1; a decoder's output may be beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// The greatest magnitude.
    pub peak: f64,
    /// Root of the mean square about `offset`: what stands still is not heard. A sine of full scale has 0.707.
    pub rms: f64,
    /// Share of samples, 0 to 1, in runs of three or more at full scale: the tops that were cut off.
    pub clipped: f64,
    /// The mean.
    pub offset: f64,
}

impl Loudness {
    /// Peak of the loudest channel in dBFS.
    pub fn peak_db(&self) -> f64 {
        decibels(self.most(|level| level.peak))
    }

    /// RMS of the loudest channel in dBFS.
    pub fn rms_db(&self) -> f64 {
        decibels(self.most(|level| level.rms))
    }

    /// Share of the channel that clips most, 0 to 1.
    pub fn clipped(&self) -> f64 {
        self.most(|level| level.clipped)
    }

    fn most(&self, value: impl Fn(&Level) -> f64) -> f64 {
        self.channels.iter().map(value).fold(0.0, f64::max)
    }
}

impl Level {
    /// In dBFS.
    pub fn rms_db(&self) -> f64 {
        decibels(self.rms)
    }
}

/// An amplitude in decibels to full scale; at least [`QUIETEST_DB`], which nothing at all has too.
pub fn decibels(amplitude: f64) -> f64 {
    (20.0 * amplitude.log10()).max(QUIETEST_DB)
}

/// Below the noise of 16 bits, and a number that JSON has.
pub const QUIETEST_DB: f64 = -120.0;

/// The level of interleaved samples. None where there is none.
pub fn measure(channels: usize, samples: impl IntoIterator<Item = f32>) -> Option<Loudness> {
    let mut meter = Meter::new(channels, 0);
    meter.take(samples);
    meter.loudness()
}

/// Measures sound that comes in pieces.
#[derive(Clone, Debug)]
pub struct Meter {
    sums: Vec<Sum>,
    /// The channel that the next sample is of.
    next: usize,
    /// Samples of all channels that are left out yet.
    skip: usize,
}

/// What is known of a channel so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    samples: u64,
    values: f64,
    squares: f64,
    peak: f64,
    /// Samples at full scale in a row, up to now.
    run: u64,
    clipped: u64,
}

impl Meter {
    /// Of interleaved samples of so many channels, the first `skip` of each left out.
    pub fn new(channels: usize, skip: usize) -> Meter {
        let channels = channels.max(1);
        Meter { sums: vec![Sum::default(); channels], next: 0, skip: skip.saturating_mul(channels) }
    }

    /// The samples that follow. One that is no number counts as zero, one that is beyond all reason as [`LOUDEST`].
    pub fn take(&mut self, samples: impl IntoIterator<Item = f32>) {
        for sample in samples {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if let Some(sum) = self.sums.get_mut(self.next) {
                sum.take(sample);
            }
            self.next = (self.next + 1) % self.sums.len();
        }
    }

    /// Samples of each channel that were measured.
    pub fn samples(&self) -> u64 {
        self.sums.iter().map(|sum| sum.samples).min().unwrap_or(0)
    }

    /// None before the first sample of every channel.
    pub fn loudness(&self) -> Option<Loudness> {
        let channels: Option<Vec<Level>> = self.sums.iter().map(Sum::level).collect();
        channels.map(|channels| Loudness { channels })
    }
}

impl Sum {
    fn take(&mut self, sample: f32) {
        let value = if sample.is_nan() { 0.0 } else { f64::from(sample).clamp(-LOUDEST, LOUDEST) };
        self.samples += 1;
        self.values += value;
        self.squares += value * value;
        self.peak = self.peak.max(value.abs());
        self.run = if value.abs() >= FULL_SCALE { self.run + 1 } else { 0 };
        self.clipped += match self.run {
            0..RUN => 0,
            RUN => RUN,
            _ => 1,
        };
    }

    fn level(&self) -> Option<Level> {
        let samples = (self.samples > 0).then_some(self.samples as f64)?;
        let offset = self.values / samples;
        // Rounding may leave a little less than nothing.
        let variance = (self.squares / samples - offset * offset).max(0.0);
        Some(Level { peak: self.peak, rms: variance.sqrt(), clipped: self.clipped as f64 / samples, offset })
    }
}

/// One sample at full scale is chance, two are a sharp peak; from three on the top of a wave is missing.
const RUN: u64 = 3;
/// Of 16 bits this is 33 steps below the last.
const FULL_SCALE: f64 = 0.999;
/// Decoders of clipped sound overshoot by a few decibels; 18 are beyond all of them.
pub const LOUDEST: f64 = 8.0;

#[cfg(test)]
#[path = "loudness_tests.rs"]
mod tests;
