//! The multivariant playlist, and what it claims of the renditions, held against what they turned out to be.

use std::time::Duration;

use super::boxes::Init;
use super::fragments::Measured;
use super::playlist::{Attributes, Multivariant, Nanos, SECOND};
use super::rules::Rule;
use super::{Checker, Observation, Rendition, delivery, resolve};

/// One EXT-X-STREAM-INF, as it was sent at one time.
#[derive(Clone, Debug)]
pub struct Claim {
    at: Duration,
    attributes: Attributes,
    rendition: usize,
}

/// One EXT-X-MEDIA of sound with a playlist of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    id: String,
    rendition: usize,
}

impl Checker {
    pub(super) fn observe_multivariant(&mut self, seen: &Observation) {
        if seen.status != 200 {
            // Before the first segment there is nothing to give; the driver asks again.
            return;
        }
        let Some(text) = delivery::text(seen) else {
            self.ledger.check(Rule::Gzip, false, || format!("{}: the body cannot be unpacked", seen.url));
            return;
        };
        let at = format!("{} at {:.1} s", seen.label(), seen.at.as_secs_f64());
        let list = Multivariant::parse(&text);
        let second = m3u8_rs::parse_master_playlist_res(text.as_bytes());
        let second = second.map(|m| (m.variants.len(), m.alternatives.len())).ok();
        let both = second == Some((list.variants.len(), list.media.len()));
        self.ledger.check(Rule::VariantSyntax, list.faults.is_empty() && both && list.version.is_some(), || {
            format!("{at}: {:?}, m3u8-rs sees {second:?}, version {:?}", list.faults, list.version)
        });
        let plain = seen.query("ll") == Some("0");
        for media in &list.media {
            self.observe_media(&at, seen, media, plain);
        }
        let first = self.variants.is_empty();
        for (attributes, uri) in &list.variants {
            let path = resolve(seen.path(), uri);
            let known = self.renditions.iter().any(|r| r.path == path) || first;
            let fits = known && uri.contains("ll=0") == plain;
            self.ledger
                .check(Rule::VariantUris, fits, || format!("{at}: {uri} is a new rendition, or of another view"));
            let rendition = self.rendition(&path);
            if let Some(group) = attributes.quoted("AUDIO") {
                let found = list.media.iter().any(|m| m.quoted("GROUP-ID").as_deref() == Some(&group));
                self.ledger.check(Rule::AudioGroup, found, || format!("{at}: no EXT-X-MEDIA of group {group:?}"));
            }
            if !plain && self.variants.len() < MOST {
                self.variants.push(Claim { at: seen.asked, attributes: attributes.clone(), rendition });
            }
        }
    }

    fn observe_media(&mut self, at: &str, seen: &Observation, media: &Attributes, plain: bool) {
        let whole = media.get("TYPE").is_some() && media.quoted("GROUP-ID").is_some() && media.quoted("NAME").is_some();
        self.ledger.check(Rule::AudioGroup, whole, || format!("{at}: EXT-X-MEDIA without TYPE, GROUP-ID or NAME"));
        let default_selected = media.get("DEFAULT") != Some("YES") || media.get("AUTOSELECT") != Some("NO");
        self.ledger.check(Rule::AudioGroup, default_selected, || format!("{at}: DEFAULT=YES with AUTOSELECT=NO"));
        let (Some(id), Some(uri)) = (media.quoted("GROUP-ID"), media.quoted("URI")) else { return };
        self.ledger
            .check(Rule::VariantUris, uri.contains("ll=0") == plain, || format!("{at}: {uri} is of another view"));
        let rendition = self.rendition(&resolve(seen.path(), &uri));
        let group = Group { id, rendition };
        if !self.groups.contains(&group) {
            self.groups.push(group);
        }
    }

    /// Holds every claim against the segments that existed when it was made.
    pub(super) fn finish_multivariant(&mut self) {
        let claims = std::mem::take(&mut self.variants);
        for claim in &claims {
            let at = format!("multivariant of {:.1} s", claim.at.as_secs_f64());
            let mut parts = vec![claim.rendition];
            let group = claim.attributes.quoted("AUDIO");
            parts.extend(self.groups.iter().filter(|g| Some(&g.id) == group.as_ref()).map(|g| g.rendition));
            parts.dedup();
            for r in &parts {
                let fetched = !self.renditions[*r].facts.is_empty();
                self.ledger.check(Rule::VariantUris, fetched, || {
                    format!("{at}: {} gave no playlist", self.renditions[*r].path)
                });
            }
            self.judge_rates(&at, claim, &parts);
            self.judge_formats(&at, claim, &parts);
        }
        self.variants = claims;
    }

    fn judge_rates(&mut self, at: &str, claim: &Claim, parts: &[usize]) {
        let number = |name: &str| claim.attributes.get(name).and_then(|n| n.parse::<u64>().ok());
        let (bandwidth, average) = (number("BANDWIDTH"), number("AVERAGE-BANDWIDTH"));
        let peak: u64 = parts.iter().map(|r| peak(&self.renditions[*r], claim.at)).sum();
        self.ledger.check(Rule::Bandwidth, bandwidth.is_some_and(|b| b >= peak && b > 0), || {
            format!("{at}: BANDWIDTH {bandwidth:?}, segments before it peaked at {peak}")
        });
        let measured: u64 = parts.iter().map(|r| mean(&self.renditions[*r], claim.at)).sum();
        let sane = average.is_some_and(|a| {
            a > 0 && Some(a) <= bandwidth && (measured == 0 || (a <= 2 * measured && 2 * a >= measured))
        });
        self.ledger.check(Rule::AverageBandwidth, sane, || {
            format!("{at}: AVERAGE-BANDWIDTH {average:?}, BANDWIDTH {bandwidth:?}, measured {measured}")
        });
    }

    fn judge_formats(&mut self, at: &str, claim: &Claim, parts: &[usize]) {
        let mut inits = Vec::new();
        for r in parts {
            inits.extend(current_inits(&self.renditions[*r], claim.at));
        }
        if inits.is_empty() {
            return;
        }
        let codecs = claim.attributes.quoted("CODECS").unwrap_or_default();
        let listed: Vec<&str> = codecs.split(',').map(str::trim).collect();
        let mut right = true;
        for r in parts {
            let mut of = current_inits(&self.renditions[*r], claim.at).map(Init::all_codecs).peekable();
            right &= of.peek().is_none() || of.any(|codecs| codecs.iter().all(|c| listed.contains(c)));
        }
        let explained = listed.iter().all(|c| inits.iter().any(|i| i.all_codecs().contains(c)));
        let tracks: usize = parts
            .iter()
            .map(|r| current_inits(&self.renditions[*r], claim.at).last().map_or(1, |i| i.all_codecs().len()))
            .sum();
        self.ledger.check(Rule::Codecs, right && explained && listed.len() == tracks, || {
            let real: Vec<Vec<&str>> = inits.iter().map(|i| i.all_codecs()).collect();
            format!("{at}: CODECS {codecs:?}, the init sections say {real:?}")
        });
        let pictures: Vec<&Init> = inits.iter().copied().filter(|i| i.handler == "vide").collect();
        if pictures.is_empty() {
            return;
        }
        let said = claim.attributes.get("RESOLUTION").unwrap_or_default();
        let fits = pictures.iter().any(|i| said == format!("{}x{}", i.width, i.height));
        self.ledger.check(Rule::Resolution, fits, || {
            let real: Vec<_> = pictures.iter().map(|i| (i.width, i.height)).collect();
            format!("{at}: RESOLUTION {said:?}, the init sections say {real:?}")
        });
        let rate = claim.attributes.get("FRAME-RATE").and_then(|n| n.parse::<f64>().ok());
        let rates = frame_rates(&self.renditions[claim.rendition], claim.at);
        let close = |said: f64| rates.is_empty() || rates.iter().any(|real| (real / said - 1.0).abs() < 0.05);
        self.ledger.check(Rule::FrameRate, rate.is_some_and(close), || {
            format!("{at}: FRAME-RATE {rate:?}, the segments say {rates:?}")
        });
    }
}

/// Claims that are kept; five minutes at one in some seconds stay below.
const MOST: usize = 256;

/// A claim may be made shortly before the first segment with a new init section is listed.
const NEAR: Duration = Duration::from_secs(4);

/// Segments that were complete in a playlist before a time, and measured.
fn known_before(rendition: &Rendition, time: Duration) -> Vec<&Measured> {
    let listed = |f: &super::Facts| f.parts.last().is_some_and(|(_, at)| *at <= time) && f.complete;
    rendition.facts.values().filter(|f| listed(f)).filter_map(|f| f.measured.as_ref()).collect()
}

/// Peak segment bit rate as RFC 8216bis section 4.4.6.2 (by section 3) has it: the highest rate of any run of segments
/// that lasts between 0.5 and 1.5 target durations.
fn peak(rendition: &Rendition, time: Duration) -> u64 {
    let segments = known_before(rendition, time);
    let mut peak = 0;
    for first in 0..segments.len() {
        let (mut bytes, mut length): (usize, Nanos) = (0, 0);
        for segment in &segments[first..] {
            bytes += segment.bytes;
            length += segment.duration();
            if 2 * length > 3 * rendition.target {
                break;
            }
            if 2 * length >= rendition.target {
                peak = peak.max(rate(bytes, length));
            }
        }
    }
    peak
}

/// Average bit rate; 0 where fewer than three segments are known.
fn mean(rendition: &Rendition, time: Duration) -> u64 {
    let segments = known_before(rendition, time);
    if segments.len() < 3 {
        return 0;
    }
    rate(segments.iter().map(|s| s.bytes).sum(), segments.iter().map(|s| s.duration()).sum())
}

fn rate(bytes: usize, length: Nanos) -> u64 {
    if length <= 0 {
        return 0;
    }
    (bytes as u128 * 8 * SECOND as u128 / length as u128) as u64
}

/// The init section in use at a time, and any that came into use shortly after: a claim may be
/// made on either side of a change.
fn current_inits(rendition: &Rendition, time: Duration) -> impl Iterator<Item = &Init> {
    let near = time + NEAR;
    let mut maps: Vec<&String> = Vec::new();
    for facts in rendition.facts.values() {
        let first = facts.parts.first().map_or(Duration::ZERO, |(_, at)| *at);
        let Some(map) = &facts.listing.map else { continue };
        if first <= time {
            maps = vec![map];
        } else if first <= near && !maps.contains(&map) {
            maps.push(map);
        }
    }
    maps.into_iter().filter_map(|map| rendition.inits.get(map))
}

/// Frame rates of the init sections in use around a time, over all their segments.
fn frame_rates(rendition: &Rendition, time: Duration) -> Vec<f64> {
    let near = time + NEAR;
    let mut by_map: Vec<(&str, usize, Nanos)> = Vec::new();
    for facts in rendition.facts.values() {
        let first = facts.parts.first().map_or(Duration::ZERO, |(_, at)| *at);
        let Some(measured) = facts.measured.as_ref().filter(|_| first <= near) else { continue };
        match by_map.iter_mut().find(|(map, ..)| *map == measured.map) {
            Some((_, samples, length)) => {
                *samples += measured.samples;
                *length += measured.duration();
            }
            None => by_map.push((&measured.map, measured.samples, measured.duration())),
        }
    }
    by_map.iter().filter(|(.., l)| *l > 0).map(|(_, s, l)| *s as f64 * SECOND as f64 / *l as f64).collect()
}
