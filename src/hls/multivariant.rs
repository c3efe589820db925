//! Writes the multivariant playlist (RFC 8216bis section 4.4.6). Pure. Each rung of pictures carries its sound, so that
//! a viewer holds one request where two renditions would need two; who only listens has a variant without pictures.

use std::sync::Arc;

use m3u8_rs::{MasterPlaylist, Resolution, VariantStream};

use crate::media::Config;

/// What the playlist says of one rendition.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// File name without `.m3u8`.
    pub(super) name: &'static str,
    /// Bits a second of its heaviest segment.
    pub(super) peak: u64,
    /// On average.
    pub(super) average: u64,
    /// Its present configurations, the leading track's first.
    pub(super) configs: Vec<Arc<Config>>,
}

/// Segments to come may be heavier than those measured: percent of the measured peak that BANDWIDTH says.
const PEAK_HEADROOM: u64 = 125;

/// Writes the playlist of a stream with these renditions, the best first; `frame_rate` 0 is left out. `plain`: of the
/// ordinary HLS view.
pub(super) fn write(renditions: &[Summary], frame_rate: f64, plain: bool) -> String {
    let playlist = MasterPlaylist {
        version: Some(if plain { 6 } else { 9 }),
        independent_segments: false,
        variants: renditions.iter().map(|rendition| variant(rendition, frame_rate, plain)).collect(),
        ..MasterPlaylist::default()
    };
    let mut text = Vec::with_capacity(512);
    // Writing to memory cannot fail.
    let _ = playlist.write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn variant(rendition: &Summary, frame_rate: f64, plain: bool) -> VariantStream {
    let Summary { name, peak, average, configs } = rendition;
    let codecs: Vec<&str> = configs.iter().map(|config| config.codecs()).collect();
    let resolution = configs.iter().find_map(|config| resolution(config));
    let frame_rate = (frame_rate * 1000.0).round() / 1000.0;
    VariantStream {
        uri: if plain { format!("{name}.m3u8?ll=0") } else { format!("{name}.m3u8") },
        bandwidth: peak * PEAK_HEADROOM / 100,
        average_bandwidth: Some(*average),
        codecs: Some(codecs.join(",")),
        frame_rate: Some(frame_rate).filter(|rate| *rate > 0.0 && resolution.is_some()),
        resolution,
        ..VariantStream::default()
    }
}

fn resolution(config: &Config) -> Option<Resolution> {
    match config {
        Config::Video(config) => Some(Resolution { width: config.width.into(), height: config.height.into() }),
        Config::Audio(_) => None,
    }
}
