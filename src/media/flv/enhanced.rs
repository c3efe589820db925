//! Enhanced RTMP v1 and v2 tag bodies: FourCC codecs, ModEx prefixes, several tracks in one message. Of those, track 0
//! is taken, which the specification names as the default one; the others are counted.

use bytes::{Buf, Bytes};

use super::{Error, KEY_FRAME, Packet, Tag, VIDEO_COMMAND, frame, sequence_header, si24};
use super::{unsupported_audio, unsupported_video};
use crate::media::{Codec, Kind};

/// A video body whose first byte has the "extended" bit.
pub(super) fn video(body: &Bytes, first: u8) -> Result<Tag, Error> {
    let frame_type = (first >> 4) & 7;
    let mut rest = body.slice(1..);
    let (packet, nanos) = mod_ex(first & 0x0f, &mut rest)?;
    if packet != METADATA && frame_type == VIDEO_COMMAND {
        return Ok(Tag { packet: Packet::Ignored, nanos, other_tracks: 0 });
    }
    let track = if packet == VIDEO_MULTITRACK { multitrack(rest)? } else { single(packet, rest)? };
    track.tag(nanos, |packet, four_cc, payload| video_packet(packet, four_cc, frame_type == KEY_FRAME, payload))
}

/// An audio body of format 9.
pub(super) fn audio(body: &Bytes, first: u8) -> Result<Tag, Error> {
    let mut rest = body.slice(1..);
    let (packet, nanos) = mod_ex(first & 0x0f, &mut rest)?;
    let track = if packet == AUDIO_MULTITRACK { multitrack(rest)? } else { single(packet, rest)? };
    track.tag(nanos, audio_packet)
}

fn video_packet(packet: u8, four_cc: [u8; 4], key: bool, mut payload: Bytes) -> Result<Packet, Error> {
    let codec = codec(four_cc, Kind::Video)?;
    match packet {
        SEQUENCE_START => sequence_header(codec, payload),
        CODED_FRAMES if codec == Codec::Av1 => frame(codec, 0, key, payload),
        CODED_FRAMES => {
            let time = *payload.first_chunk().ok_or(Error::Truncated)?;
            payload.advance(3);
            frame(codec, si24(time), key, payload)
        }
        CODED_FRAMES_X => frame(codec, 0, key, payload),
        SEQUENCE_END => Ok(Packet::EndOfSequence),
        MPEG2_TS_SEQUENCE_START => Err(unsupported_video("AV1 with an MPEG-2 TS descriptor")),
        _ => Ok(Packet::Ignored),
    }
}

fn audio_packet(packet: u8, four_cc: [u8; 4], payload: Bytes) -> Result<Packet, Error> {
    let codec = codec(four_cc, Kind::Audio)?;
    match packet {
        // The comment header says nothing that a decoder needs.
        SEQUENCE_START if codec == Codec::Opus && payload.starts_with(b"OpusTags") => Ok(Packet::Ignored),
        SEQUENCE_START => sequence_header(codec, payload),
        CODED_FRAMES => frame(codec, 0, true, payload),
        SEQUENCE_END => Ok(Packet::EndOfSequence),
        _ => Ok(Packet::Ignored),
    }
}

/// Consumes ModEx prefixes; what is left is the true packet type, and the sum of the nanosecond offsets.
fn mod_ex(mut packet: u8, rest: &mut Bytes) -> Result<(u8, u32), Error> {
    let mut nanos = 0;
    // Each turn consumes at least two bytes.
    while packet == MOD_EX {
        let mut size = usize::from(rest.try_get_u8().map_err(|_| Error::Truncated)?) + 1;
        if size == 256 {
            size = usize::from(rest.try_get_u16().map_err(|_| Error::Truncated)?) + 1;
        }
        if rest.len() <= size {
            return Err(Error::Truncated);
        }
        let data = rest.split_to(size);
        let next = rest.get_u8();
        packet = next & 0x0f;
        if let (TIMESTAMP_OFFSET_NANO, Some([a, b, c])) = (next >> 4, data.first_chunk()) {
            nanos = u32::from_be_bytes([0, *a, *b, *c]).min(999_999);
        }
    }
    Ok((packet, nanos))
}

/// The one track that is taken, if the message has it, and how many are not.
struct Track {
    packet: u8,
    chosen: Option<([u8; 4], Bytes)>,
    others: u32,
}

impl Track {
    fn tag(self, nanos: u32, read: impl FnOnce(u8, [u8; 4], Bytes) -> Result<Packet, Error>) -> Result<Tag, Error> {
        let packet = match self.chosen {
            Some((four_cc, payload)) => read(self.packet, four_cc, payload)?,
            None => Packet::Ignored,
        };
        Ok(Tag { packet, nanos, other_tracks: self.others })
    }
}

fn single(packet: u8, mut rest: Bytes) -> Result<Track, Error> {
    let chosen = Some((four_cc(&mut rest)?, rest));
    Ok(Track { packet, chosen, others: 0 })
}

fn multitrack(mut rest: Bytes) -> Result<Track, Error> {
    let types = rest.try_get_u8().map_err(|_| Error::Truncated)?;
    let (layout, packet) = (types >> 4, types & 0x0f);
    let shared = if layout == MANY_CODECS { None } else { Some(four_cc(&mut rest)?) };
    let mut track = Track { packet, chosen: None, others: 0 };
    while !rest.is_empty() {
        let codec = match shared {
            Some(codec) => codec,
            None => four_cc(&mut rest)?,
        };
        let id = rest.try_get_u8().map_err(|_| Error::Truncated)?;
        let payload = if layout == ONE_TRACK { rest.split_off(0) } else { sized(&mut rest)? };
        if id == 0 && track.chosen.is_none() {
            track.chosen = Some((codec, payload));
        } else {
            track.others += 1;
        }
    }
    Ok(track)
}

fn sized(rest: &mut Bytes) -> Result<Bytes, Error> {
    let [a, b, c] = *rest.first_chunk().ok_or(Error::Truncated)?;
    rest.advance(3);
    let size = u32::from_be_bytes([0, a, b, c]) as usize;
    if size > rest.len() { Err(Error::Truncated) } else { Ok(rest.split_to(size)) }
}

fn four_cc(rest: &mut Bytes) -> Result<[u8; 4], Error> {
    let code = *rest.first_chunk().ok_or(Error::Truncated)?;
    rest.advance(4);
    Ok(code)
}

fn codec(four_cc: [u8; 4], kind: Kind) -> Result<Codec, Error> {
    let name = match (kind, &four_cc) {
        (Kind::Video, b"avc1") => return Ok(Codec::H264),
        (Kind::Video, b"hvc1") => return Ok(Codec::H265),
        (Kind::Video, b"av01") => return Ok(Codec::Av1),
        (Kind::Audio, b"mp4a") => return Ok(Codec::Aac),
        (Kind::Audio, b"Opus") => return Ok(Codec::Opus),
        (Kind::Video, b"vp08") => "VP8".to_owned(),
        (Kind::Video, b"vp09") => "VP9".to_owned(),
        (Kind::Video, b"vvc1") => "VVC".to_owned(),
        (Kind::Audio, b"fLaC") => "FLAC".to_owned(),
        (Kind::Audio, b"ac-3") => "AC-3".to_owned(),
        (Kind::Audio, b"ec-3") => "E-AC-3".to_owned(),
        (Kind::Audio, b".mp3") => "MP3".to_owned(),
        (_, other) => format!("codec \"{}\"", other.escape_ascii()),
    };
    Err(if kind == Kind::Video { unsupported_video(name) } else { unsupported_audio(name) })
}

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
const MPEG2_TS_SEQUENCE_START: u8 = 5;
const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;
const TIMESTAMP_OFFSET_NANO: u8 = 0;
const ONE_TRACK: u8 = 0;
const MANY_CODECS: u8 = 2;
