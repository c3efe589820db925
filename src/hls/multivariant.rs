//! Writes the multivariant playlist (RFC 8216bis section 4.4.6). Pure. Each rung of pictures carries its sound, so that
//! a viewer holds one request where two renditions would need two: the rendition group of the sound, which all rungs
//! share, has no playlist of its own (section 4.4.6.1). Who only listens has a variant without pictures.

use std::collections::HashMap;

use m3u8_rs::{AlternativeMedia, AlternativeMediaType, MasterPlaylist, QuotedOrUnquoted, Resolution, VariantStream};

/// What the playlist says of one variant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    /// File name without `.m3u8`.
    pub(super) name: String,
    /// Bits a second of its heaviest segment, with room for those to come.
    pub(super) bandwidth: u64,
    /// On average.
    pub(super) average: u64,
    /// RFC 6381.
    pub(super) codecs: String,
    /// Width and height in pixels; None without pictures.
    pub(super) resolution: Option<(u32, u32)>,
    /// Pictures a second; 0 is left out.
    pub(super) frame_rate: f64,
    /// Its sound.
    pub(super) sound: Option<Sound>,
}

/// The sound of a variant, as its rendition group says it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sound {
    /// GROUP-ID: one per codec.
    pub(super) group: &'static str,
    /// CHANNELS.
    pub(super) channels: u32,
}

/// Writes the playlist of these variants, the best first. `plain`: of the ordinary HLS view.
pub(super) fn write(variants: &[Variant], plain: bool) -> String {
    // Players take the heavier of two variants for the better one, unless a score says otherwise (section 4.4.6.2).
    let pictures = || variants.iter().filter(|variant| variant.resolution.is_some());
    let falling = pictures().zip(pictures().skip(1)).all(|(better, worse)| better.bandwidth >= worse.bandwidth);
    let mut groups: Vec<&Sound> = Vec::new();
    for sound in variants.iter().filter_map(|variant| variant.sound.as_ref()) {
        if !groups.iter().any(|known| known.group == sound.group) {
            groups.push(sound);
        }
    }
    let scores = (1..=variants.len()).rev();
    let playlist = MasterPlaylist {
        version: Some(if plain { 6 } else { 9 }),
        independent_segments: false,
        variants: variants.iter().zip(scores).map(|(v, score)| stream(v, (!falling).then_some(score), plain)).collect(),
        alternatives: groups.into_iter().map(alternative).collect(),
        ..MasterPlaylist::default()
    };
    let mut text = Vec::with_capacity(1024);
    // Writing to memory cannot fail.
    let _ = playlist.write_to(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn stream(variant: &Variant, score: Option<usize>, plain: bool) -> VariantStream {
    let Variant { name, bandwidth, average, codecs, resolution, frame_rate, sound } = variant;
    let frame_rate = (frame_rate * 1000.0).round() / 1000.0;
    let score = score.map(|score| ("SCORE".to_owned(), QuotedOrUnquoted::Unquoted(format!("{score}.0"))));
    VariantStream {
        uri: if plain { format!("{name}.m3u8?ll=0") } else { format!("{name}.m3u8") },
        bandwidth: *bandwidth,
        average_bandwidth: Some(*average),
        codecs: Some(codecs.clone()),
        frame_rate: Some(frame_rate).filter(|rate| *rate > 0.0 && resolution.is_some()),
        resolution: resolution.map(|(width, height)| Resolution { width: width.into(), height: height.into() }),
        audio: sound.as_ref().map(|sound| sound.group.to_owned()),
        other_attributes: score.map(|score| HashMap::from([score])),
        ..VariantStream::default()
    }
}

/// Without URI: the sound is in the variants themselves.
fn alternative(sound: &Sound) -> AlternativeMedia {
    AlternativeMedia {
        media_type: AlternativeMediaType::Audio,
        group_id: sound.group.to_owned(),
        name: "Sound".to_owned(),
        default: true,
        autoselect: true,
        channels: Some(sound.channels.to_string()),
        ..AlternativeMedia::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(name: &str, bandwidth: u64, height: u32) -> Variant {
        Variant {
            name: name.into(),
            bandwidth,
            average: bandwidth / 2,
            codecs: "avc1.4d401f,mp4a.40.2".into(),
            resolution: (height > 0).then_some((height * 16 / 9, height)),
            frame_rate: 29.97,
            sound: Some(Sound { group: "aac", channels: 2 }),
        }
    }

    #[test]
    fn variants_share_a_group_of_sound_without_a_playlist_of_its_own() {
        let text = write(&[variant("source", 6_000_000, 1080), variant("audio", 160_000, 0)], false);
        let media: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-MEDIA:")).collect();
        assert!(matches!(media[..], [one] if one.contains("GROUP-ID=\"aac\"") && !one.contains("URI=")), "{text}");
        assert_eq!(text.matches("AUDIO=\"aac\"").count(), 2);
        assert_eq!(text.matches("FRAME-RATE=29.97").count(), 1, "only pictures have a rate: {text}");
        assert!(!text.contains("SCORE"));
    }

    #[test]
    fn a_source_lighter_than_its_rung_scores_higher() {
        let text = write(&[variant("source", 2_000_000, 1080), variant("720p", 3_000_000, 720)], false);
        let score = |name: &str| {
            let lines: Vec<&str> = text.lines().collect();
            let at = lines.iter().position(|line| line.starts_with(name)).unwrap_or_default();
            lines[at - 1].split("SCORE=").nth(1).and_then(|rest| rest.split(',').next()?.parse::<f64>().ok())
        };
        assert!(score("source") > score("720p") && score("720p").is_some(), "{text}");
    }
}
