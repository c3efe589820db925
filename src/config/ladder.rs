//! The words of a ladder in `[transcode]`: rungs as texts (`720p30:3000k`), and tables that give some streams rungs of their
//! own. `sections` holds them and `validate` checks lists of them; what is made of a stream is decided elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::sections::{LadderMode, Transcode};
use super::units::{self, Bitrate};
use crate::access::StreamPattern;

/// One rung as it is asked for: `720p:3000k`, `720p30:3M`, `480p:1400k:h264`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungRule {
    /// The shorter side of its pictures in pixels: even, 64 to 4320.
    pub height: u32,
    /// At most so many pictures a second, 1 to 240; none is as many as the source has.
    pub frame_rate: Option<u32>,
    /// Of its pictures, 50k to 100M.
    pub bitrate: Bitrate,
}

/// `[[transcode.ladders]]`: what is made of some streams.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LadderRule {
    /// The streams it is about.
    pub streams: StreamPattern,
    /// Their rungs, the best first; none is no ladder.
    #[serde(deserialize_with = "rungs")]
    pub rungs: Vec<RungRule>,
    /// When they are made, if not as `[transcode]` says.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "mode")]
    pub mode: Option<LadderMode>,
}

impl Transcode {
    /// Whether any stream may have rungs.
    pub fn makes_ladders(&self) -> bool {
        let makes = |mode: LadderMode, rungs: &[RungRule]| mode != LadderMode::Off && !rungs.is_empty();
        let one = |ladder: &LadderRule| makes(ladder.mode.unwrap_or(self.mode), &ladder.rungs);
        makes(self.mode, &self.rungs) || self.ladders.iter().any(one)
    }

    /// When rungs of a stream are made, and which, the best first.
    pub fn ladder(&self, stream: &str) -> (LadderMode, &[RungRule]) {
        match self.ladders.iter().find(|ladder| ladder.streams.matches(stream)) {
            Some(ladder) => (ladder.mode.unwrap_or(self.mode), &ladder.rungs),
            None => (self.mode, &self.rungs),
        }
    }
}

/// The rungs of the defaults.
pub(super) fn usual() -> Vec<RungRule> {
    let rung = |(height, kilobits)| RungRule { height, frame_rate: None, bitrate: Bitrate::kilobits(kilobits) };
    [(720, 3_000), (480, 1_400), (360, 800)].map(rung).into()
}

/// What is wrong with rungs beside each other.
pub(super) fn check(rungs: &[RungRule]) -> Result<(), String> {
    if rungs.len() > MOST_RUNGS {
        return Err(format!("{} rungs are too many; write at most {MOST_RUNGS}", rungs.len()));
    }
    for (index, rung) in rungs.iter().enumerate() {
        let before = &rungs[..index];
        if before.iter().any(|other| other.name() == rung.name()) {
            return Err(format!("{} stands twice; give one of them another height or frame rate", rung.name()));
        }
        if let Some(lower) = before.iter().find(|other| other.height < rung.height) {
            return Err(format!("{} stands behind {}; write the highest rung first", rung.name(), lower.name()));
        }
    }
    Ok(())
}

impl RungRule {
    fn name(&self) -> String {
        let frame_rate = self.frame_rate.map(|rate| rate.to_string()).unwrap_or_default();
        format!("{}p{frame_rate}", self.height)
    }
}

impl FromStr for RungRule {
    type Err = BadRung;

    fn from_str(text: &str) -> Result<RungRule, BadRung> {
        let shape = || BadRung::Shape(text.to_owned());
        let mut fields = text.split(':');
        let (picture, bitrate) = fields.next().zip(fields.next()).ok_or_else(shape)?;
        let codec = fields.next().unwrap_or("h264");
        let (height, frame_rate) = picture.split_once('p').ok_or_else(shape)?;
        if fields.next().is_some() || !is_number(height) || !(frame_rate.is_empty() || is_number(frame_rate)) {
            return Err(shape());
        }
        let rate: Bitrate = bitrate.parse().map_err(|_| shape())?;
        if codec != "h264" {
            return Err(BadRung::Codec(codec.to_owned(), format!("{picture}:{bitrate}")));
        }
        let height_is = || BadRung::Height(height.to_owned());
        let tall = height.parse().ok().filter(|tall: &u32| (64..=4_320).contains(tall) && tall.is_multiple_of(2));
        let known = |fps: &u32| (1..=240).contains(fps);
        let fps = match frame_rate {
            "" => None,
            text => Some(text.parse().ok().filter(known).ok_or_else(|| BadRung::FrameRate(text.to_owned()))?),
        };
        if !(Bitrate::kilobits(50)..=Bitrate::kilobits(100_000)).contains(&rate) {
            return Err(BadRung::Bitrate(bitrate.to_owned()));
        }
        Ok(RungRule { height: tall.ok_or_else(height_is)?, frame_rate: fps, bitrate: rate })
    }
}

impl fmt::Display for RungRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.bitrate)
    }
}

/// Why a text is no rung, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRung {
    /// Not a height with a bit rate.
    #[error(
        "{0:?} is no rung; write its height, p, and after a colon its bit rate, as \"720p:3000k\" or \"1080p60:6M\""
    )]
    Shape(String),
    /// A codec that no rung is made in, and the rung without it.
    #[error("{0:?} is no codec that rungs are made in; write h264, or leave it out: \"{1}\"")]
    Codec(String, String),
    /// Too small, too large or odd.
    #[error("{0} is no height of a rung; write an even number from 64 to 4320")]
    Height(String),
    /// Too few or too many pictures a second.
    #[error("{0} is no frame rate of a rung; write a whole number from 1 to 240, or leave it out")]
    FrameRate(String),
    /// Too few or too many bits a second.
    #[error("{0} is no bit rate of a rung; write 50k to 100M")]
    Bitrate(String),
}

/// What one decoder feeds; with more, nobody can tell them apart.
const MOST_RUNGS: usize = 8;

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn rungs<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RungRule>, D::Error> {
    let rungs = Vec::deserialize(d)?;
    check(&rungs).map_err(D::Error::custom)?;
    Ok(rungs)
}

fn mode<'de, D: Deserializer<'de>>(d: D) -> Result<Option<LadderMode>, D::Error> {
    units::from_text(d).map(Some)
}

impl Serialize for RungRule {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RungRule {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<RungRule, D::Error> {
        units::from_text(d)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rungs_are_read_and_written() {
        for (text, height, frame_rate, bits, written) in [
            ("720p:3000k", 720, None, 3_000_000, "720p:3000k"),
            ("720p30:3M", 720, Some(30), 3_000_000, "720p30:3000k"),
            ("480p:1400k:h264", 480, None, 1_400_000, "480p:1400k"),
            ("64p1:50k", 64, Some(1), 50_000, "64p1:50k"),
            ("4320p240:100M", 4_320, Some(240), 100_000_000, "4320p240:100M"),
        ] {
            let rung: RungRule = text.parse().unwrap();
            assert_eq!((rung.height, rung.frame_rate, rung.bitrate.bits()), (height, frame_rate, bits), "{text}");
            assert_eq!(rung.to_string(), written);
            assert_eq!(written.parse(), Ok(rung));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rung_or_refused(text in "[0-9]{0,5}p?[0-9]{0,3}:?[0-9]{0,6}[kM]?(:h26[45])?|\\PC{0,12}") {
            if let Ok(rung) = text.parse::<RungRule>() {
                prop_assert_eq!(rung.to_string().parse(), Ok(rung));
            }
        }
    }
}
