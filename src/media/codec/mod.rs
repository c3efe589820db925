//! Codec configuration records to [`crate::media::Config`]: dimensions, rates and RFC 6381 strings. Pure parsers of
//! remote bytes: every length is checked, nothing panics, errors say which field.

mod aac;
mod av1;
mod bits;
mod h264;
mod h265;
mod nal;
mod opus;
mod sets;
#[cfg(test)]
mod tests;
mod vpx;

use bytes::Bytes;

use self::bits::Bits;
use super::{Codec, Config, VideoConfig};

/// Why a configuration record cannot be used; the text is shown to the broadcaster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} configuration: {reason}")]
pub struct BadConfig {
    /// Codec name as in [`super::Codec::name`].
    pub codec: &'static str,
    /// Which field, and what is wrong with it.
    pub reason: String,
}

/// From the body of an `avcC` box (the AVCDecoderConfigurationRecord of an FLV sequence header).
pub fn h264(record: &Bytes) -> Result<Config, BadConfig> {
    parse(Codec::H264, record, |record| h264::config(record).map(Config::Video))
}

/// From the body of an `hvcC` box.
pub fn h265(record: &Bytes) -> Result<Config, BadConfig> {
    parse(Codec::H265, record, |record| h265::config(record).map(Config::Video))
}

/// From the body of an `av1C` box.
pub fn av1(record: &Bytes) -> Result<Config, BadConfig> {
    parse(Codec::Av1, record, |record| av1::config(record).map(Config::Video))
}

/// From an AudioSpecificConfig.
pub fn aac(record: &Bytes) -> Result<Config, BadConfig> {
    parse(Codec::Aac, record, |record| aac::config(record).map(Config::Audio))
}

/// From an `OpusHead` packet (RFC 7845 section 5.1), as E-RTMP carries it.
pub fn opus(head: &Bytes) -> Result<Config, BadConfig> {
    parse(Codec::Opus, head, |head| opus::config(head).map(Config::Audio))
}

/// From the parameter sets of H.264 as they travel in band: NAL units without start codes or lengths.
pub fn h264_sets(sps: &Bytes, pps: &[Bytes]) -> Result<Config, BadConfig> {
    of_sets(Codec::H264, sets::h264(sps, pps)).and_then(|record| h264(&record))
}

/// From the parameter sets of HEVC as they travel in band.
pub fn h265_sets(vps: &Bytes, sps: &Bytes, pps: &[Bytes]) -> Result<Config, BadConfig> {
    of_sets(Codec::H265, sets::h265(vps, sps, pps)).and_then(|record| h265(&record))
}

/// From an AV1 sequence header OBU with its size field.
pub fn av1_sequence(obu: &[u8]) -> Result<Config, BadConfig> {
    of_sets(Codec::Av1, sets::av1(obu)).and_then(|record| av1(&record))
}

fn of_sets(codec: Codec, record: Result<Bytes, String>) -> Result<Bytes, BadConfig> {
    record.map_err(|reason| BadConfig { codec: codec.name(), reason })
}

/// From a VP8 key frame: it has no record of its own.
pub fn vp8(frame: &Bytes) -> Result<Config, BadConfig> {
    vpx::vp8(frame).map(Config::Video).map_err(|reason| BadConfig { codec: Codec::Vp8.name(), reason })
}

/// From a VP9 key frame.
pub fn vp9(frame: &Bytes) -> Result<Config, BadConfig> {
    vpx::vp9(frame).map(Config::Video).map_err(|reason| BadConfig { codec: Codec::Vp9.name(), reason })
}

/// True where a decoder can start at this access unit: H.264 IDR (NAL type 5), HEVC IRAP (16 to 21: BLA, IDR, CRA), AV1 with a
/// sequence header and a shown key frame, VP8 and VP9 key frames, any audio frame. Malformed units are false.
pub fn is_random_access(config: &Config, payload: &[u8]) -> bool {
    match config {
        Config::Audio(_) => !payload.is_empty(),
        Config::Video(video) => match video.codec {
            Codec::H264 => h264::is_random_access(&video.record, payload),
            Codec::H265 => h265::is_random_access(&video.record, payload),
            Codec::Av1 => av1::is_random_access(payload),
            Codec::Vp8 => vpx::is_vp8_key(payload),
            Codec::Vp9 => vpx::is_vp9_key(payload),
            Codec::Aac | Codec::Opus => false,
        },
    }
}

/// True where the pictures of an H.264 track may be coded as fields: its sequence parameter set says frame_mbs_only_flag 0.
pub fn is_interlaced(video: &VideoConfig) -> bool {
    video.codec == Codec::H264 && h264::is_interlaced(&video.record)
}

/// An encoded frame that decodes to digital silence: of the track's frame length for AAC-LC in mono or stereo, 20 ms
/// for Opus in mono or stereo. None for all else.
pub fn silence(config: &Config) -> Option<Bytes> {
    let Config::Audio(audio) = config else { return None };
    let frame = if audio.codec == Codec::Aac { aac::silence(audio) } else { opus::silence(audio) };
    frame.map(Bytes::from_static)
}

/// Samples in one audio frame at the configuration's `sample_rate`; Opus has them in the packet (at most 120 ms).
/// 0 for pictures and for a malformed packet.
pub fn packet_samples(config: &Config, payload: &[u8]) -> u32 {
    match config {
        Config::Audio(audio) if audio.codec == Codec::Opus => opus::packet_samples(payload),
        Config::Audio(audio) => audio.frame_samples.unwrap_or(0),
        Config::Video(_) => 0,
    }
}

fn parse(
    codec: Codec,
    record: &Bytes,
    read: impl FnOnce(&[u8]) -> Result<Config, String>,
) -> Result<Config, BadConfig> {
    let config = if record.len() > MAX_RECORD {
        Err(format!("{} bytes long; at most {MAX_RECORD} are taken", record.len()))
    } else {
        read(record)
    };
    config.map_err(|reason| BadConfig { codec: codec.name(), reason })
}

/// The crop that H.264 and HEVC have alike: a flag, then left, right, top and bottom in `unit`s of luma samples.
fn picture_size(bits: &mut Bits, coded: (u64, u64), unit: (u64, u64), field: &str) -> Result<(u32, u32), String> {
    let (mut width, mut height) = coded;
    if bits.flag(field)? {
        let mut offset = || bits.ue(field).map(u64::from);
        let (left, right, top, bottom) = (offset()?, offset()?, offset()?, offset()?);
        width = width.saturating_sub((left + right) * unit.0);
        height = height.saturating_sub((top + bottom) * unit.1);
    }
    checked_size(width, height)
}

/// Refuses pictures without an area and such as no decoder takes.
fn checked_size(width: u64, height: u64) -> Result<(u32, u32), String> {
    let side = |length: u64| u32::try_from(length).ok().filter(|length| (1..=MAX_SIDE).contains(length));
    match (side(width), side(height)) {
        (Some(width), Some(height)) => Ok((width, height)),
        _ => Err(format!("a picture of {width}x{height}; sides of 1 to {MAX_SIDE} are taken")),
    }
}

/// In bytes. Real records have less than 1,000; the bound keeps what every init section repeats small.
const MAX_RECORD: usize = 65_536;

/// In pixels: 16K, beyond the largest level of any of the codecs.
const MAX_SIDE: u32 = 16_384;
