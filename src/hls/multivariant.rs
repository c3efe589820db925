//! Writes the multivariant playlist (RFC 8216bis section 4.4.6). Pure. Video and audio are renditions of their own: a
//! ladder shares one audio, and who only listens fetches no picture.

use m3u8_rs::{AlternativeMedia, AlternativeMediaType, MasterPlaylist, Resolution, VariantStream};

use crate::media::Config;

/// What the playlist says of one rendition.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// File name without `.m3u8`.
    pub(super) name: &'static str,
    /// Bits a second of its heaviest segment, and on average.
    pub(super) peak: u64,
    /// On average.
    pub(super) average: u64,
    /// Its present configuration.
    pub(super) config: std::sync::Arc<Config>,
}

/// The audio rendition group.
const GROUP: &str = "audio";
/// Segments to come may be heavier than those measured: percent of the measured peak that BANDWIDTH says.
const PEAK_HEADROOM: u64 = 125;

/// Writes the playlist of a stream with these renditions; `frame_rate` 0 is left out. `plain`: of the ordinary HLS view.
pub(super) fn write(video: Option<&Summary>, audio: Option<&Summary>, frame_rate: f64, plain: bool) -> String {
    let uri = |name: &str| if plain { format!("{name}.m3u8?ll=0") } else { format!("{name}.m3u8") };
    let leading = match video.or(audio) {
        Some(leading) => leading,
        None => return String::new(),
    };
    let both = [video, audio].into_iter().flatten();
    let codecs: Vec<&str> = both.clone().map(|summary| summary.config.codecs()).collect();
    let bandwidth = both.clone().map(|summary| summary.peak).sum::<u64>() * PEAK_HEADROOM / 100;
    let group = video.and(audio);
    let variant = VariantStream {
        uri: uri(leading.name),
        bandwidth,
        average_bandwidth: Some(both.map(|summary| summary.average).sum()),
        codecs: Some(codecs.join(",")),
        resolution: video.and_then(resolution),
        frame_rate: video.and(Some((frame_rate * 1000.0).round() / 1000.0)).filter(|rate| *rate > 0.0),
        audio: group.map(|_| GROUP.to_owned()),
        ..VariantStream::default()
    };
    let playlist = MasterPlaylist {
        version: Some(if plain { 6 } else { 9 }),
        independent_segments: false,
        alternatives: group.map(|audio| alternative(audio, uri(audio.name))).into_iter().collect(),
        variants: vec![variant],
        ..MasterPlaylist::default()
    };
    let mut text = Vec::with_capacity(512);
    // Writing to memory cannot fail.
    let _ = playlist.write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn alternative(audio: &Summary, uri: String) -> AlternativeMedia {
    let channels = match &*audio.config {
        Config::Audio(config) => Some(config.channels.to_string()),
        Config::Video(_) => None,
    };
    AlternativeMedia {
        media_type: AlternativeMediaType::Audio,
        uri: Some(uri),
        group_id: GROUP.to_owned(),
        name: "Audio".to_owned(),
        default: true,
        autoselect: true,
        channels,
        ..AlternativeMedia::default()
    }
}

fn resolution(video: &Summary) -> Option<Resolution> {
    match &*video.config {
        Config::Video(config) => Some(Resolution { width: config.width.into(), height: config.height.into() }),
        Config::Audio(_) => None,
    }
}
