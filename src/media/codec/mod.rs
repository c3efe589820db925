//! Codec configuration records to [`crate::media::Config`]: dimensions, rates and RFC 6381 strings. Pure parsers of
//! remote bytes: every length is checked, nothing panics, errors say which field.

use bytes::Bytes;

use super::Config;

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
pub fn h264(_record: &Bytes) -> Result<Config, BadConfig> {
    Err(BadConfig { codec: "H.264", reason: String::new() })
}

/// From the body of an `hvcC` box.
pub fn h265(_record: &Bytes) -> Result<Config, BadConfig> {
    Err(BadConfig { codec: "HEVC", reason: String::new() })
}

/// From the body of an `av1C` box.
pub fn av1(_record: &Bytes) -> Result<Config, BadConfig> {
    Err(BadConfig { codec: "AV1", reason: String::new() })
}

/// From an AudioSpecificConfig.
pub fn aac(_record: &Bytes) -> Result<Config, BadConfig> {
    Err(BadConfig { codec: "AAC", reason: String::new() })
}

/// From an `OpusHead` packet (RFC 7845 section 5.1), as E-RTMP carries it.
pub fn opus(_head: &Bytes) -> Result<Config, BadConfig> {
    Err(BadConfig { codec: "Opus", reason: String::new() })
}

/// True where a decoder can start at this access unit: H.264 IDR (NAL type 5), HEVC IDR or BLA (16 to 20), AV1 with a
/// sequence header and a shown key frame. Malformed units are false.
pub fn is_random_access(_config: &Config, _payload: &[u8]) -> bool {
    false
}
