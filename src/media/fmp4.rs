//! CMAF fMP4 boxes.

use bytes::Bytes;

use super::Config;

/// One sample of a fragment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// In ticks of the track's timescale.
    pub duration: u32,
    /// Presentation minus decoding time, in ticks; may be negative (trun version 1).
    pub composition_offset: i32,
    /// A decoder can start here.
    pub key: bool,
    /// The access unit.
    pub payload: Bytes,
}

/// Ticks a second of a track: 90000 for pictures, the sample rate for sound.
pub fn timescale(config: &Config) -> u32 {
    match config {
        Config::Video(_) => 90_000,
        Config::Audio(audio) => audio.sample_rate,
    }
}

/// The init section (`ftyp` + `moov`) of a track.
pub fn init(_config: &Config) -> Bytes {
    Bytes::new()
}

/// One CMAF chunk (`moof` + `mdat`) of a track.
pub fn fragment(_sequence: u32, _decode_time: u64, _samples: &[Sample]) -> Bytes {
    Bytes::new()
}
