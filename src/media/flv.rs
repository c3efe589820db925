//! The bodies of FLV video and audio tags, which are RTMP's media messages: plain (AVC, AAC) and Enhanced RTMP v1 and v2.
//! Pure: a body in, a [`Tag`] out, its payload a slice of the body. Called by `rtmp::tracks` and by the load tool. Knows
//! neither time nor what a codec's bytes mean, save where units are told apart ([`units`]).

mod enhanced;
pub mod units;

use bytes::Bytes;

use super::Codec;

/// What one message says about one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What is in it.
    pub packet: Packet,
    /// Nanoseconds to add to the message's timestamp; 0 to 999,999.
    pub nanos: u32,
    /// Tracks other than track 0 that were in the message, and are not taken.
    pub other_tracks: u32,
}

/// The content of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A configuration: the body of the avcC, hvcC or av1C box, an AudioSpecificConfig, or an OpusHead.
    SequenceHeader(Codec, Bytes),
    /// One access unit.
    Frame {
        /// What it is coded with.
        codec: Codec,
        /// Presentation time less decoding time, in milliseconds.
        composition_ms: i32,
        /// What the container says; the bytes know better.
        key: bool,
        /// The access unit as the tag carries it.
        payload: Bytes,
    },
    /// The sequence is over. Nothing has to follow from it.
    EndOfSequence,
    /// Nothing this server has a use for: seek commands, colour metadata, tracks beyond the first.
    Ignored,
}

/// Why a tag cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The tag is cut short; drop it.
    #[error("truncated tag")]
    Truncated,
    /// No byte of media in it (some encoders send this for silence); drop it.
    #[error("empty tag")]
    Empty,
    /// A codec that this server does not take: the session cannot go on. The text is for the broadcaster.
    #[error("{name} over RTMP is not supported; choose {instead} in the encoder")]
    Unsupported {
        /// The codec's usual name.
        name: String,
        /// What to choose.
        instead: &'static str,
    },
}

/// Reads the body of a video tag.
pub fn video(body: &Bytes) -> Result<Tag, Error> {
    let first = *body.first().ok_or(Error::Empty)?;
    if first & 0x80 != 0 {
        return enhanced::video(body, first);
    }
    let frame_type = first >> 4;
    if frame_type == VIDEO_COMMAND {
        return Ok(Tag::plain(Packet::Ignored));
    }
    match first & 0x0f {
        7 => avc(body, frame_type == KEY_FRAME).map(Tag::plain),
        other => Err(unsupported_video(legacy_video(other))),
    }
}

/// Reads the body of an audio tag.
pub fn audio(body: &Bytes) -> Result<Tag, Error> {
    let first = *body.first().ok_or(Error::Empty)?;
    match first >> 4 {
        9 => enhanced::audio(body, first),
        10 => aac(body).map(Tag::plain),
        other => Err(unsupported_audio(legacy_audio(other))),
    }
}

impl Tag {
    fn plain(packet: Packet) -> Tag {
        Tag { packet, nanos: 0, other_tracks: 0 }
    }
}

/// Codec 7: packet type, composition time, then avcC or NAL units.
fn avc(body: &Bytes, key: bool) -> Result<Packet, Error> {
    let [_, packet, time @ ..] = *body.first_chunk::<5>().ok_or(Error::Truncated)?;
    let payload = body.slice(5..);
    match packet {
        0 => sequence_header(Codec::H264, payload),
        1 => frame(Codec::H264, si24(time), key, payload),
        2 => Ok(Packet::EndOfSequence),
        _ => Ok(Packet::Ignored),
    }
}

/// Format 10: packet type, then AudioSpecificConfig or one raw access unit.
fn aac(body: &Bytes) -> Result<Packet, Error> {
    let packet = *body.get(1).ok_or(Error::Truncated)?;
    let payload = body.slice(2..);
    match packet {
        0 => sequence_header(Codec::Aac, payload),
        1 => frame(Codec::Aac, 0, true, payload),
        _ => Ok(Packet::Ignored),
    }
}

fn sequence_header(codec: Codec, record: Bytes) -> Result<Packet, Error> {
    if record.is_empty() { Err(Error::Empty) } else { Ok(Packet::SequenceHeader(codec, record)) }
}

fn frame(codec: Codec, composition_ms: i32, key: bool, payload: Bytes) -> Result<Packet, Error> {
    if payload.is_empty() { Err(Error::Empty) } else { Ok(Packet::Frame { codec, composition_ms, key, payload }) }
}

/// Composition times are signed; 24 bits.
fn si24([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

fn unsupported_video(name: impl Into<String>) -> Error {
    Error::Unsupported { name: name.into(), instead: "H.264, HEVC or AV1" }
}

fn unsupported_audio(name: impl Into<String>) -> Error {
    Error::Unsupported { name: name.into(), instead: "AAC or Opus" }
}

fn legacy_video(id: u8) -> String {
    match id {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "Screen Video".to_owned(),
        4 | 5 => "On2 VP6".to_owned(),
        12 => "HEVC as codec 12 (the old private extension; the encoder needs Enhanced RTMP)".to_owned(),
        other => format!("video codec {other}"),
    }
}

fn legacy_audio(id: u8) -> String {
    match id {
        0 | 3 => "Uncompressed audio".to_owned(),
        1 => "ADPCM".to_owned(),
        2 | 14 => "MP3".to_owned(),
        4..=6 => "Nellymoser".to_owned(),
        7 => "G.711 A-law".to_owned(),
        8 => "G.711 mu-law".to_owned(),
        11 => "Speex".to_owned(),
        other => format!("audio format {other}"),
    }
}

const KEY_FRAME: u8 = 1;
const VIDEO_COMMAND: u8 = 5;

#[cfg(test)]
mod tests;
