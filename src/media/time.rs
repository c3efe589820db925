//! One unit of media time for every module: [`Time`], counted in flicks (1 / 705,600,000 s), in which a millisecond,
//! a 90 kHz tick and a sample at any usual audio rate are whole numbers, so that nothing is ever lost in conversion.
//! Never reads a clock.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::time::Duration;

/// A point on a timeline, or a distance between two. 64 bits of flicks reach about 414 years either way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    /// The origin of a timeline, and the empty distance.
    pub const ZERO: Time = Time(0);
    /// Later than anything that happens.
    pub const MAX: Time = Time(i64::MAX);
    /// Flicks in one second.
    pub const PER_SECOND: i64 = 705_600_000;

    /// From a count of flicks.
    pub const fn from_flicks(flicks: i64) -> Time {
        Time(flicks)
    }

    /// From milliseconds, the unit of RTMP and FLV.
    pub const fn from_millis(ms: i64) -> Time {
        Time(ms.saturating_mul(Self::PER_SECOND / 1000))
    }

    /// From `ticks` of a clock that runs at `scale` ticks a second. A scale of 0 gives zero.
    pub fn from_ticks(ticks: i64, scale: u32) -> Time {
        if scale == 0 {
            return Time::ZERO;
        }
        Time(clamp(i128::from(ticks) * i128::from(Self::PER_SECOND) / i128::from(scale)))
    }

    /// From a wall or monotonic distance.
    pub fn from_duration(d: Duration) -> Time {
        Time(clamp(i128::try_from(d.as_nanos()).unwrap_or(i128::MAX) * i128::from(Self::PER_SECOND) / 1_000_000_000))
    }

    /// The raw count of flicks.
    pub const fn flicks(self) -> i64 {
        self.0
    }

    /// In ticks of a clock at `scale` ticks a second, rounded to the nearest.
    pub fn ticks(self, scale: u32) -> i64 {
        let unit = i128::from(Self::PER_SECOND);
        clamp((i128::from(self.0) * i128::from(scale) + unit / 2).div_euclid(unit))
    }

    /// In whole milliseconds, rounded to the nearest.
    pub fn millis(self) -> i64 {
        self.ticks(1000)
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / Self::PER_SECOND as f64
    }

    /// As a duration; zero where the distance is negative.
    pub fn duration(self) -> Duration {
        let nanos = i128::from(self.0.max(0)) * 1_000_000_000 / i128::from(Self::PER_SECOND);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The distance without its sign.
    pub const fn abs(self) -> Time {
        Time(self.0.saturating_abs())
    }

    /// `self * numerator / denominator`; a denominator of 0 gives zero.
    pub fn scaled(self, numerator: i64, denominator: i64) -> Time {
        if denominator == 0 {
            return Time::ZERO;
        }
        Time(clamp(i128::from(self.0) * i128::from(numerator) / i128::from(denominator)))
    }
}

fn clamp(v: i128) -> i64 {
    v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl Add for Time {
    type Output = Time;
    fn add(self, other: Time) -> Time {
        Time(self.0.saturating_add(other.0))
    }
}

impl Sub for Time {
    type Output = Time;
    fn sub(self, other: Time) -> Time {
        Time(self.0.saturating_sub(other.0))
    }
}

impl Neg for Time {
    type Output = Time;
    fn neg(self) -> Time {
        Time(self.0.saturating_neg())
    }
}

impl AddAssign for Time {
    fn add_assign(&mut self, other: Time) {
        *self = *self + other;
    }
}

impl SubAssign for Time {
    fn sub_assign(&mut self, other: Time) {
        *self = *self - other;
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_clock_is_exact() {
        for scale in [1000, 90_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 11_025, 8_000, 7_350] {
            assert_eq!(Time::PER_SECOND % i64::from(scale), 0, "{scale}");
            for ticks in [-1024, -1, 0, 1, 1023, 1 << 40] {
                assert_eq!(Time::from_ticks(ticks, scale).ticks(scale), ticks);
            }
        }
    }

    #[test]
    fn conversions_round_to_the_nearest_and_never_wrap() {
        assert_eq!(Time::from_ticks(1, 90_000).millis(), 0);
        assert_eq!(Time::from_ticks(46, 90_000).millis(), 1);
        assert_eq!(Time::from_ticks(-46, 90_000).millis(), -1);
        assert_eq!(Time::MAX + Time::from_millis(1), Time::MAX);
        assert_eq!(Time::from_ticks(i64::MAX, 1), Time::MAX);
        assert_eq!(Time::from_millis(-5).duration(), Duration::ZERO);
        assert_eq!(Time::from_millis(1500).duration(), Duration::from_millis(1500));
    }
}
