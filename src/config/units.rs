//! The kinds of values that options have: times, sizes, bit rates, addresses and words, each read from and written as the text a
//! person types. `sections` uses them. Their errors end in a remedy, in which [`EXAMPLE`] stands for the option's default.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time, written as a whole number and a unit: `250ms`, `5s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

impl Time {
    /// So many milliseconds.
    pub const fn millis(count: u64) -> Time {
        Time(Duration::from_millis(count))
    }

    /// So many seconds.
    pub const fn secs(count: u64) -> Time {
        Time(Duration::from_secs(count))
    }

    /// The standard library's type for it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Time {
    fn from(duration: Duration) -> Time {
        Time(duration)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Duration {
        time.0
    }
}

impl FromStr for Time {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Time, BadUnit> {
        let wrong = || BadUnit::Time(text.to_owned());
        let (count, unit) = split_unit(text).ok_or_else(wrong)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let total = count.checked_mul(millis).filter(|total| *total <= LONGEST_MILLIS);
        total.map(Time::millis).ok_or_else(|| BadUnit::LongTime(text.to_owned()))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis / 1_000 {
            _ if !millis.is_multiple_of(1_000) => write!(f, "{millis}ms"),
            secs if secs >= 3_600 && secs.is_multiple_of(3_600) => write!(f, "{}h", secs / 3_600),
            secs if secs >= 120 && secs.is_multiple_of(60) => write!(f, "{}m", secs / 60),
            secs => write!(f, "{secs}s"),
        }
    }
}

/// An amount of memory in bytes, written as a whole number and a unit: `512B`, `64KiB`, `16MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(usize);

impl Size {
    /// So many KiB.
    pub const fn kib(count: usize) -> Size {
        Size(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: usize) -> Size {
        Size(count << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for Size {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Size, BadUnit> {
        let wrong = || BadUnit::Size(text.to_owned());
        let (count, unit) = split_unit(text).ok_or_else(wrong)?;
        let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let total = count.checked_mul(*bytes).and_then(|total| usize::try_from(total).ok());
        total.map(Size).ok_or_else(|| BadUnit::LargeSize(text.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        let whole = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("B", 1));
        write!(f, "{}{name}", bytes / unit)
    }
}

/// Bits a second, written as a whole number and a unit of thousands or millions: `800k`, `6M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// So many thousand bits a second.
    pub const fn kilobits(count: u64) -> Bitrate {
        Bitrate(count * 1_000)
    }

    /// Bits a second.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl FromStr for Bitrate {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Bitrate, BadUnit> {
        let wrong = || BadUnit::Bitrate(text.to_owned());
        let (count, unit) = split_unit(text).ok_or_else(wrong)?;
        let thousands = match unit {
            "k" => Some(count),
            "M" => count.checked_mul(1_000),
            _ => None,
        };
        // More than a terabit is a slip of the finger; below it no sum overflows.
        thousands.filter(|count| *count <= 1_000_000_000).map(Bitrate::kilobits).ok_or_else(wrong)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 / 1_000 {
            thousands if thousands >= 10_000 && thousands.is_multiple_of(1_000) => write!(f, "{}M", thousands / 1_000),
            thousands => write!(f, "{thousands}k"),
        }
    }
}

/// Why a text is no value of its kind, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// Not a number with a unit of time.
    #[error("{0:?} is no time; write a whole number and ms, s, m or h, such as \"{EXAMPLE}\"")]
    Time(String),
    /// Longer than any time that makes sense here; sums with it could overflow a clock.
    #[error("{0:?} is too long a time; write at most \"744h\"")]
    LongTime(String),
    /// Not a number with a unit of size.
    #[error("{0:?} is no size; write a whole number and B, KiB, MiB or GiB, such as \"{EXAMPLE}\"")]
    Size(String),
    /// More bytes than a machine can address.
    #[error("{0:?} is more than this machine can address; write it as \"{EXAMPLE}\"")]
    LargeSize(String),
    /// Not a number with a unit of bit rates.
    #[error("{0:?} is no bit rate; write a whole number and k or M, such as \"128k\" or \"6M\"")]
    Bitrate(String),
    /// Not an address with a port.
    #[error("{0:?} is no address; write it as {EXAMPLE}")]
    Address(String),
    /// The same for a listener that is off by default.
    #[error("{0:?} is no address; write it as 0.0.0.0:8443, or leave it empty to switch it off")]
    OptionalAddress(String),
    /// None of the words that are allowed here.
    #[error("{0:?} is unknown; write it as {1}")]
    Word(String, &'static str),
}

/// Stands for the option's default in the text of a [`BadUnit`]; whoever knows the option puts it in.
pub(super) const EXAMPLE: &str = "{default}";

/// Reads a value from its text, for `#[serde(deserialize_with)]`.
pub(super) fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(d: D) -> Result<T, D::Error> {
    String::deserialize(d)?.parse().map_err(D::Error::custom)
}

/// Reads an address with a port; host names are no addresses, because they can mean several or change.
pub(super) fn address<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(|_| D::Error::custom(BadUnit::Address(text)))
}

/// An address, or an empty text for a listener that is off.
pub(super) mod optional_address {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(value: &Option<SocketAddr>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.map(|address| address.to_string()).unwrap_or_default())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(d)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| D::Error::custom(BadUnit::OptionalAddress(text)))
    }
}

/// A path, or an empty text for none.
pub(super) mod optional_path {
    use super::*;
    use std::path::PathBuf;

    pub(in super::super) fn serialize<S: Serializer>(value: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.as_deref().unwrap_or("".as_ref()).to_string_lossy())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
        let text = String::deserialize(d)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        from_text(d)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Size, D::Error> {
        from_text(d)
    }
}

impl Serialize for Bitrate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bitrate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bitrate, D::Error> {
        from_text(d)
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    Some((count.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// 31 days. No wait in here is meant to last longer, and an instant plus this never overflows.
const LONGEST_MILLIS: u64 = 31 * 24 * 3_600_000;

/// Units of size, the largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_read_and_written_as_typed() {
        for text in ["0s", "256ms", "5s", "60s", "90s", "2m", "1h", "744h"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!("1000ms".parse(), Ok(Time::secs(1)));
        assert_eq!("5 s".parse(), Ok(Time::secs(5)));
    }

    #[test]
    fn no_time_is_read_from_anything_else() {
        for text in ["", "5", "s", "-5s", "1.5s", "5 sec", "5S", "99999999999999999999s", " 5s", "5s "] {
            assert_eq!(text.parse::<Time>(), Err(BadUnit::Time(text.to_owned())), "{text}");
        }
        for text in ["745h", "18446744073709551615h"] {
            assert_eq!(text.parse::<Time>(), Err(BadUnit::LongTime(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_as_typed() {
        for text in ["0B", "1B", "64KiB", "16MiB", "2GiB", "1025KiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("1024MiB".parse::<Size>().unwrap().to_string(), "1GiB");
    }

    #[test]
    fn no_size_is_read_from_anything_else() {
        for text in ["", "5", "MiB", "-1MiB", "1.5GiB", "1MB", "1mib"] {
            assert_eq!(text.parse::<Size>(), Err(BadUnit::Size(text.to_owned())), "{text}");
        }
        assert!(matches!("18446744073709551615GiB".parse::<Size>(), Err(BadUnit::LargeSize(_))));
    }

    #[test]
    fn bit_rates_are_read_and_written_in_thousands() {
        for (text, written) in
            [("800k", "800k"), ("6M", "6000k"), ("10000k", "10M"), ("10500k", "10500k"), ("0k", "0k")]
        {
            assert_eq!(text.parse::<Bitrate>().unwrap().to_string(), written);
        }
        assert_eq!("6M".parse::<Bitrate>().unwrap().bits(), 6_000_000);
        for text in ["", "6", "k", "-1k", "1.5M", "6m", "6K", "6Mbit", "1000001M", "18446744073709551615M"] {
            assert_eq!(text.parse::<Bitrate>(), Err(BadUnit::Bitrate(text.to_owned())), "{text}");
        }
    }
}
