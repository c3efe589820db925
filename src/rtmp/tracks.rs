//! Tag bodies to frames: one connection's two tracks, their configurations, and its clock. Sans-IO; `session` gives it
//! every media message and pushes what comes out. A tag that cannot be used is dropped and counted by reason; only a
//! codec or a configuration that cannot be used is an error.

use std::sync::Arc;

use bytes::Bytes;

use crate::media::codec::{self, BadConfig};
use crate::media::flv::units::{self, Clean};
use crate::media::flv::{self, Packet, Tag};
use crate::media::{Codec, Config, Frame, Kind, Time, VideoConfig};

/// The tracks of one connection.
#[derive(Debug, Default)]
pub struct Tracks {
    clock: Clock,
    video: Track,
    audio: Track,
    dropped: Dropped,
}

/// What a media message leads to.
#[derive(Clone, Debug)]
pub enum Step {
    /// A track has a new configuration.
    Announce(Arc<Config>),
    /// A frame in the session's own time.
    Frame(Frame),
    /// Nothing; what was dropped is counted.
    Nothing,
}

/// Why the session cannot go on. The texts are for the broadcaster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A codec that is not supported.
    #[error(transparent)]
    Codec(flv::Error),
    /// A sequence header that makes no sense.
    #[error("{0}; restart the encoder, and check its settings if this comes again")]
    Config(#[from] BadConfig),
}

impl Tracks {
    /// Takes a video message.
    pub fn video(&mut self, timestamp: u32, body: &Bytes) -> Result<Step, Error> {
        self.take(Kind::Video, timestamp, flv::video(body), body.len())
    }

    /// Takes an audio message.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes) -> Result<Step, Error> {
        self.take(Kind::Audio, timestamp, flv::audio(body), body.len())
    }

    /// What was dropped so far.
    pub fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    fn take(
        &mut self,
        kind: Kind,
        timestamp: u32,
        tag: Result<Tag, flv::Error>,
        message: usize,
    ) -> Result<Step, Error> {
        let ms = self.clock.unwrap(timestamp);
        let tag = match tag {
            Ok(tag) => tag,
            Err(flv::Error::Empty) => return Ok(self.drop_one(Reason::Empty)),
            Err(flv::Error::Truncated) => return Ok(self.drop_one(Reason::Malformed)),
            Err(error @ flv::Error::Unsupported { .. }) => return Err(Error::Codec(error)),
        };
        self.dropped.add(Reason::OtherTrack, tag.other_tracks.into());
        let track = if kind == Kind::Video { &mut self.video } else { &mut self.audio };
        match tag.packet {
            Packet::SequenceHeader(codec, record) => {
                Ok(track.configure(codec, &record)?.map_or(Step::Nothing, Step::Announce))
            }
            Packet::Frame { codec, composition_ms, payload, .. } => {
                let dts = Time::from_millis(ms) + Time::from_ticks(tag.nanos.into(), NANOS);
                let pts = dts + Time::from_millis(composition_ms.into());
                match track.frame(codec, payload, &mut self.dropped) {
                    Ok((config, key, payload)) => {
                        let payload = unpinned(payload, message);
                        Ok(Step::Frame(Frame { dts, pts, key, cut: None, config, payload }))
                    }
                    Err(reason) => Ok(self.drop_one(reason)),
                }
            }
            Packet::EndOfSequence | Packet::Ignored => Ok(Step::Nothing),
        }
    }

    fn drop_one(&mut self, reason: Reason) -> Step {
        self.dropped.add(reason, 1);
        Step::Nothing
    }
}

/// The present configuration of one track.
#[derive(Debug, Default)]
struct Track {
    /// As the sequence header carried it.
    record: Bytes,
    config: Option<Arc<Config>>,
}

impl Track {
    /// Takes a sequence header; the configuration, if it is another one than before. Encoders repeat theirs.
    fn configure(&mut self, codec: Codec, record: &Bytes) -> Result<Option<Arc<Config>>, BadConfig> {
        if self.config.as_ref().is_some_and(|config| config.codec() == codec) && self.record == *record {
            return Ok(None);
        }
        // A copy, so that a configuration of forty bytes does not keep a read block in memory.
        let record = Bytes::copy_from_slice(record);
        let config = match codec {
            Codec::H264 => codec::h264(&record),
            Codec::H265 => codec::h265(&record),
            Codec::Av1 => codec::av1(&record),
            Codec::Aac => codec::aac(&record),
            Codec::Opus => codec::opus(&record),
            // No tag of E-RTMP that is read here carries them.
            Codec::Vp8 | Codec::Vp9 => return Ok(None),
        }?;
        self.record = record;
        if self.config.as_deref() == Some(&config) {
            return Ok(None);
        }
        let config = Arc::new(config);
        self.config = Some(config.clone());
        Ok(Some(config))
    }

    /// Makes of a payload what a frame holds.
    fn frame(&self, codec: Codec, payload: Bytes, dropped: &mut Dropped) -> Result<(Arc<Config>, bool, Bytes), Reason> {
        let config = self.config.as_ref().filter(|config| config.codec() == codec).ok_or(Reason::NoHeader)?;
        let payload = match &**config {
            Config::Video(video) => access_unit(video, payload, dropped)?,
            Config::Audio(_) => payload,
        };
        let key = config.kind() == Kind::Audio || codec::is_random_access(config, &payload);
        Ok((config.clone(), key, payload))
    }
}

fn access_unit(config: &VideoConfig, payload: Bytes, dropped: &mut Dropped) -> Result<Bytes, Reason> {
    let length_size = |at: usize| config.record.get(at).map_or(4, |byte| usize::from(byte & 3) + 1);
    let Clean { payload, empty_units } = match config.codec {
        Codec::H264 => units::nal_units(payload, length_size(AVCC_LENGTH_SIZE)),
        Codec::H265 => units::nal_units(payload, length_size(HVCC_LENGTH_SIZE)),
        _ => units::av1_temporal_unit(payload).map(|payload| Clean { payload, empty_units: 0 }),
    }
    .map_err(|_| Reason::Malformed)?;
    dropped.add(Reason::EmptyUnit, empty_units.into());
    if payload.is_empty() { Err(Reason::Empty) } else { Ok(payload) }
}

/// A payload is a slice of its message, and a frame log keeps it for long: one that is less than half of the message
/// (another track had the rest) is copied, so that it does not keep memory that no budget counts.
fn unpinned(payload: Bytes, message: usize) -> Bytes {
    if payload.len() < message / 2 { Bytes::copy_from_slice(&payload) } else { payload }
}

/// The connection's clock: 32-bit milliseconds made endless. A step of less than half the range is taken as what it
/// is, forward or backward, so only a real wrap counts as one.
#[derive(Debug, Default)]
struct Clock {
    last: Option<i64>,
}

impl Clock {
    fn unwrap(&mut self, timestamp: u32) -> i64 {
        let now = match self.last {
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32) as i32),
            None => i64::from(timestamp),
        };
        self.last = Some(now);
        now
    }
}

/// Why something was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A frame before the sequence header of its codec.
    NoHeader,
    /// A tag or an access unit with nothing in it.
    Empty,
    /// A tag that is cut short, or an access unit whose units do not add up.
    Malformed,
    /// A NAL unit of no length; the rest of its frame is used.
    EmptyUnit,
    /// A track beyond the first.
    OtherTrack,
    /// A media message before the publisher was let in.
    Early,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 6] =
        [Reason::NoHeader, Reason::Empty, Reason::Malformed, Reason::EmptyUnit, Reason::OtherTrack, Reason::Early];

    /// As metrics name it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NoHeader => "no_header",
            Reason::Empty => "empty",
            Reason::Malformed => "malformed",
            Reason::EmptyUnit => "empty_unit",
            Reason::OtherTrack => "other_track",
            Reason::Early => "early",
        }
    }
}

/// How much was dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u64; Reason::ALL.len()]);

impl Dropped {
    /// For one reason.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// For all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, reason: Reason, count: u64) {
        self.0[reason as usize] += count;
    }
}

/// Where avcC and hvcC say how long the NAL unit lengths are, ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1.
const AVCC_LENGTH_SIZE: usize = 4;
const HVCC_LENGTH_SIZE: usize = 21;
const NANOS: u32 = 1_000_000_000;

#[cfg(test)]
mod tests;
