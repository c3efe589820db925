//! The one canonical [`Frame`] that every publisher makes and every reader takes, and the codec configuration that it
//! carries. Ingests build frames in their own session's time; the hub moves them onto the stream's timeline.

use std::sync::Arc;

use bytes::Bytes;

use super::Time;

/// Which of a stream's two tracks a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// What the payload of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// AVC, ISO/IEC 14496-10; NAL units behind length prefixes of the size that avcC names.
    H264,
    /// HEVC, ISO/IEC 23008-2; NAL units behind length prefixes of the size that hvcC names.
    H265,
    /// AV1; the OBUs of one temporal unit, each with its size, without temporal delimiters.
    Av1,
    /// VP8, RFC 6386; one frame. No box of fMP4 carries it.
    Vp8,
    /// VP9; one frame or superframe.
    Vp9,
    /// AAC, ISO/IEC 14496-3; one raw access unit, no ADTS.
    Aac,
    /// Opus, RFC 6716; one packet.
    Opus,
}

impl Codec {
    /// The track this codec belongs to.
    pub fn kind(self) -> Kind {
        match self {
            Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp8 | Codec::Vp9 => Kind::Video,
            Codec::Aac | Codec::Opus => Kind::Audio,
        }
    }

    /// The name as logs and pages print it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::H265 => "HEVC",
            Codec::Av1 => "AV1",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Aac => "AAC",
            Codec::Opus => "Opus",
        }
    }
}

/// What a decoder must know before the first frame of a picture track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoConfig {
    /// H264, H265, Av1, Vp8 or Vp9.
    pub codec: Codec,
    /// The body of the `avcC`, `hvcC`, `av1C` or `vpcC` box (without the box header).
    pub record: Bytes,
    /// Displayed width in pixels, after cropping.
    pub width: u32,
    /// Displayed height in pixels, after cropping.
    pub height: u32,
    /// RFC 6381 codec string: `avc1.64001f`, `hvc1.1.6.L120.90`, `av01.0.08M.08`, `vp08.00.31.08`, `vp09.00.31.08`.
    pub codecs: String,
}

/// What a decoder must know before the first frame of a sound track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioConfig {
    /// Aac or Opus.
    pub codec: Codec,
    /// AAC: the AudioSpecificConfig. Opus: the body of the `dOps` box (RFC 7845 section 5.1 in big-endian, without magic).
    pub record: Bytes,
    /// Samples a second at the decoder's output (48000 for Opus; the doubled rate for AAC with SBR).
    pub sample_rate: u32,
    /// Channels at the decoder's output.
    pub channels: u32,
    /// Output samples in one frame, if all frames have the same: 1024 or 960 for AAC, twice that with SBR. None for Opus.
    pub frame_samples: Option<u32>,
    /// RFC 6381 codec string: `mp4a.40.2`, `mp4a.40.5`, `opus`.
    pub codecs: String,
}

/// The configuration of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// Of a picture track.
    Video(VideoConfig),
    /// Of a sound track.
    Audio(AudioConfig),
}

impl Config {
    /// The track this configures.
    pub fn kind(&self) -> Kind {
        match self {
            Config::Video(_) => Kind::Video,
            Config::Audio(_) => Kind::Audio,
        }
    }

    /// The codec of the track.
    pub fn codec(&self) -> Codec {
        match self {
            Config::Video(v) => v.codec,
            Config::Audio(a) => a.codec,
        }
    }

    /// RFC 6381 codec string.
    pub fn codecs(&self) -> &str {
        match self {
            Config::Video(v) => &v.codecs,
            Config::Audio(a) => &a.codecs,
        }
    }
}

/// A segment boundary. It is decided once, where the stream is published, and travels in the frame that starts the
/// segment, so that every rendition cuts alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Media sequence number of the segment that starts here.
    pub msn: u64,
    /// The segment follows a break: another publisher, another configuration, or a jump in time.
    pub discontinuity: bool,
    /// Start of the segment in presentation time on the stream's timeline.
    pub at: Time,
    /// The epoch's EXT-X-TARGETDURATION in seconds: fixed when its first segment ends, unknown until then.
    pub target_duration: Option<u32>,
}

/// One access unit. Cheap to clone: the payload and the configuration are shared.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Decoding time. From an ingest: in the session's own time, unwrapped. In a log: on the stream's timeline.
    pub dts: Time,
    /// Presentation time, same clock. Never before `dts` in a log.
    pub pts: Time,
    /// A decoder can start here: an IDR (H.264, H.265), a key frame with sequence header (AV1), any audio frame.
    pub key: bool,
    /// Set by the hub: a segment starts with this frame.
    pub cut: Option<Cut>,
    /// The configuration this frame is decoded with. Frames of one configuration share one allocation.
    pub config: Arc<Config>,
    /// The access unit, in the form that [`Codec`] names.
    pub payload: Bytes,
}

impl Frame {
    /// The track this frame belongs to.
    pub fn kind(&self) -> Kind {
        self.config.kind()
    }
}
