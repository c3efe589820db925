//! The rules that one media playlist can break on its own, without any memory. Called by `reload` for every full
//! playlist; a delta playlist comes here after it was completed from what is known.

use super::playlist::{MILLI, Media, Nanos, SECOND, Segment};
use super::rules::{Ledger, Rule};

/// Judges the text of one playlist as it was sent: syntax, tags, order, version, header values.
pub fn judge_text(ledger: &mut Ledger, at: &str, text: &str, media: &Media) {
    ledger.check(Rule::Syntax, media.faults.is_empty(), || format!("{at}: {}", media.faults.join("; ")));
    tags(ledger, at, media);
    order(ledger, at, media);
    version(ledger, at, media);
    second_parser(ledger, at, text, media);
    ledger.check(Rule::SequencePresent, media.sequence.is_some(), || format!("{at}: no EXT-X-MEDIA-SEQUENCE"));
    ledger.check(Rule::DiscontinuityPresent, media.discontinuities.is_some(), || {
        format!("{at}: no EXT-X-DISCONTINUITY-SEQUENCE")
    });
}

/// Judges the header of a low-latency view.
pub fn judge_header(ledger: &mut Ledger, at: &str, media: &Media) {
    let control = media.control.clone().unwrap_or_default();
    let has_parts = media.all().any(|s| !s.parts.is_empty());
    let part_target = media.part_target.unwrap_or(0);
    let target = media.target.unwrap_or(0);
    ledger.check(Rule::PartInf, !has_parts || part_target > 0, || format!("{at}: parts without EXT-X-PART-INF"));
    ledger.check(Rule::BlockReload, control.can_block, || format!("{at}: no CAN-BLOCK-RELOAD=YES"));
    if media.part_target.is_some() {
        let hold = control.part_hold_back;
        ledger.check(Rule::PartHoldBack, hold.is_some_and(|h| h >= 3 * part_target), || {
            format!("{at}: PART-HOLD-BACK {} with PART-TARGET {}", shown(hold), shown(media.part_target))
        });
    }
    ledger.check(Rule::HoldBack, control.hold_back.is_none_or(|h| h >= 3 * target), || {
        format!("{at}: HOLD-BACK {} with TARGETDURATION {}", shown(control.hold_back), shown(media.target))
    });
    ledger.check(Rule::SkipUntil, control.skip_until.is_none_or(|s| s >= 6 * target), || {
        format!("{at}: CAN-SKIP-UNTIL {} with TARGETDURATION {}", shown(control.skip_until), shown(media.target))
    });
    let hints = media.hints.iter().filter(|h| h.kind == "PART").count();
    ledger.check(Rule::Hint, media.ended || media.part_target.is_none() || hints == 1, || {
        format!("{at}: {hints} EXT-X-PRELOAD-HINT of a part in a live playlist")
    });
    if media.ended {
        ledger.check(Rule::EndComplete, media.hints.is_empty() && media.open.parts.is_empty(), || {
            format!("{at}: ENDLIST with {} hints and {} parts left open", media.hints.len(), media.open.parts.len())
        });
    }
}

/// Judges segments and parts of a complete list.
pub fn judge_segments(ledger: &mut Ledger, at: &str, media: &Media) {
    let target = media.target.unwrap_or(0);
    ledger.check(Rule::TargetDuration, media.target.is_some(), || format!("{at}: no EXT-X-TARGETDURATION"));
    for segment in &media.segments {
        let rounded = (segment.duration + SECOND / 2) / SECOND * SECOND;
        ledger.check(Rule::TargetDuration, rounded <= target, || {
            format!("{at}: EXTINF {} of {} over TARGETDURATION", shown(Some(segment.duration)), segment.msn)
        });
        ledger.check(Rule::MapPresent, segment.map.is_some(), || format!("{at}: {} has no EXT-X-MAP", segment.msn));
        if !segment.parts.is_empty() {
            let off = (segment.parts_length() - segment.duration).abs();
            ledger.check(Rule::PartSum, off <= MILLI * segment.parts.len() as Nanos, || {
                let sum = shown(Some(segment.parts_length()));
                format!("{at}: parts of {} last {sum}, EXTINF {}", segment.msn, shown(Some(segment.duration)))
            });
        }
    }
    for segment in media.all() {
        parts(ledger, at, media, segment);
    }
    for pair in media.segments.windows(2) {
        ledger.check(Rule::MapChange, pair[0].map == pair[1].map || pair[1].discontinuity, || {
            format!("{at}: EXT-X-MAP changes at {} without EXT-X-DISCONTINUITY", pair[1].msn)
        });
    }
    parts_by_age(ledger, at, media);
    dates(ledger, at, media);
}

fn parts(ledger: &mut Ledger, at: &str, media: &Media, segment: &Segment) {
    let Some(target) = media.part_target else { return };
    let open = segment.uri.is_empty();
    for (i, part) in segment.parts.iter().enumerate() {
        ledger.check(Rule::PartMax, part.duration <= target, || {
            format!("{at}: part {}.{i} lasts {}, PART-TARGET {}", segment.msn, part.duration, target)
        });
        // The last part listed of an open segment may turn out to be the last of all: the next playlist tells.
        let last = i + 1 == segment.parts.len();
        let before_gap = segment.parts.get(i + 1).is_some_and(|next| next.gap);
        if !last && !part.gap && !before_gap {
            ledger.check(Rule::PartMin, part.duration * 100 >= target * 85, || {
                let kind = if open { "open " } else { "" };
                format!("{at}: part {}.{i} of a {kind}segment lasts {} of {}", segment.msn, part.duration, target)
            });
        }
    }
}

fn parts_by_age(ledger: &mut Ledger, at: &str, media: &Media) {
    let (Some(target), Some(_)) = (media.target, media.part_target) else { return };
    // Distance of the segment's end from the end of the playlist.
    let mut behind = media.open.parts_length();
    for segment in media.segments.iter().rev() {
        if behind < 3 * target {
            ledger.check(Rule::PartsRecent, !segment.parts.is_empty() || segment.gap, || {
                format!("{at}: {} ends {} before the live edge and has no parts", segment.msn, shown(Some(behind)))
            });
        }
        // Two more segments of tolerance: "greater than three target durations" is when they may go, not when they must.
        ledger.check(Rule::PartsOld, behind <= 5 * target || segment.parts.is_empty(), || {
            format!("{at}: {} ends {} before the live edge and still has parts", segment.msn, shown(Some(behind)))
        });
        behind += segment.duration;
    }
}

fn dates(ledger: &mut Ledger, at: &str, media: &Media) {
    let mut expected: Option<Nanos> = None;
    for (i, segment) in media.segments.iter().enumerate() {
        if i == 0 || segment.discontinuity {
            ledger.check(Rule::DatePresent, segment.date.is_some(), || {
                format!("{at}: {} has no EXT-X-PROGRAM-DATE-TIME", segment.msn)
            });
        }
        if let (Some(expected), Some(date)) = (expected, segment.date) {
            let off = date - expected;
            // Each date is rounded to a millisecond, so two of them are off by one at the most.
            if segment.discontinuity {
                ledger.check(Rule::DateForward, off >= -MILLI - 10_000, || {
                    format!(
                        "{at}: the date of {} is {} ms before the end of {}",
                        segment.msn,
                        -off / MILLI,
                        segment.msn - 1
                    )
                });
            } else {
                ledger.check(Rule::DateSteady, off.abs() <= MILLI + 10_000, || {
                    format!("{at}: the date of {} is off by {} us from EXTINF", segment.msn, off / 1000)
                });
            }
        }
        expected = segment.date.or(expected).map(|date| date + segment.duration);
    }
}

fn tags(ledger: &mut Ledger, at: &str, media: &Media) {
    for (line, tag) in &media.tags {
        ledger.check(Rule::KnownTags, MEDIA_TAGS.contains(&tag.as_str()), || {
            format!("{at} line {line}: {tag} is no tag of a media playlist")
        });
    }
    for tag in ONCE {
        let times = media.tags.iter().filter(|(_, t)| t == tag).count();
        ledger.check(Rule::TagOnce, times <= 1, || format!("{at}: {tag} stands {times} times"));
    }
}

fn order(ledger: &mut Ledger, at: &str, media: &Media) {
    let first = |wanted: &[&str]| media.tags.iter().position(|(_, t)| wanted.contains(&t.as_str()));
    let body = first(&["EXTINF", "EXT-X-PART"]).unwrap_or(media.tags.len());
    let head_end = media.tags.iter().rposition(|(_, t)| HEAD.contains(&t.as_str())).unwrap_or(0);
    ledger.check(Rule::TagOrder, head_end < body || media.tags.len() <= 1, || {
        format!("{at}: {} stands behind the first segment", media.tags[head_end].1)
    });
    let discontinuity = first(&["EXT-X-DISCONTINUITY", "EXT-X-SKIP"]).unwrap_or(media.tags.len());
    let sequence = first(&["EXT-X-DISCONTINUITY-SEQUENCE"]).unwrap_or(0);
    ledger.check(Rule::TagOrder, sequence < discontinuity, || {
        format!("{at}: EXT-X-DISCONTINUITY-SEQUENCE stands behind a discontinuity or skip")
    });
    // Within one segment: what applies to it stands before its first part; hint and reports stand last.
    let mut parts_open = false;
    let mut tail = false;
    for (line, tag) in &media.tags {
        match tag.as_str() {
            "EXT-X-PART" => parts_open = true,
            "EXTINF" => parts_open = false,
            "EXT-X-DISCONTINUITY" | "EXT-X-MAP" | "EXT-X-PROGRAM-DATE-TIME" => {
                ledger.check(Rule::TagOrder, !parts_open, || {
                    format!("{at} line {line}: {tag} behind a part of its segment")
                });
            }
            "EXT-X-PRELOAD-HINT" | "EXT-X-RENDITION-REPORT" => tail = true,
            _ => {}
        }
        let segment_tag = matches!(tag.as_str(), "EXT-X-PART" | "EXTINF" | "EXT-X-DISCONTINUITY" | "EXT-X-MAP");
        ledger
            .check(Rule::TagOrder, !(tail && segment_tag), || format!("{at} line {line}: {tag} behind hint or report"));
    }
}

fn version(ledger: &mut Ledger, at: &str, media: &Media) {
    let has = |tag: &str| media.tags.iter().any(|(_, t)| t == tag);
    // Section 8: 9 for EXT-X-SKIP, 6 for EXT-X-MAP without I-frames-only, 3 for fractions in EXTINF.
    let needed = if has("EXT-X-SKIP") {
        9
    } else if has("EXT-X-MAP") {
        6
    } else {
        3
    };
    ledger.check(Rule::Version, media.version.is_some_and(|v| (needed..=13).contains(&v)), || {
        format!("{at}: EXT-X-VERSION {:?} where the tags need {needed}", media.version)
    });
}

/// m3u8-rs drops what stands after the last segment and knows no low-latency tag, so only complete segments are held
/// against it.
fn second_parser(ledger: &mut Ledger, at: &str, text: &str, media: &Media) {
    let other = match m3u8_rs::parse_media_playlist_res(text.as_bytes()) {
        Ok(other) => other,
        Err(fault) => {
            let fault: String = fault.to_string().chars().take(200).collect();
            ledger.check(Rule::SecondParser, false, || format!("{at}: m3u8-rs refuses it: {fault}"));
            return;
        }
    };
    let mut differences = Vec::new();
    let mut same = |what: &str, equal: bool| {
        if !equal {
            differences.push(what.to_owned());
        }
    };
    same("version", other.version.map(|v| v as u64) == media.version);
    same("target duration", other.target_duration as Nanos * SECOND == media.target.unwrap_or(0));
    same("media sequence", other.media_sequence == media.sequence.unwrap_or(0));
    same("discontinuity sequence", other.discontinuity_sequence == media.discontinuities.unwrap_or(0));
    same("end", other.end_list == media.ended);
    same("independent segments", other.independent_segments == media.independent);
    same("number of segments", other.segments.len() == media.segments.len());
    for (theirs, ours) in other.segments.iter().zip(&media.segments) {
        let seconds = ours.duration as f64 / SECOND as f64;
        let date = theirs.program_date_time.map(|d| d.timestamp_millis());
        same("URI", theirs.uri == ours.uri);
        same("EXTINF", (f64::from(theirs.duration) - seconds).abs() < 1e-4);
        same("discontinuity", theirs.discontinuity == ours.discontinuity);
        same("date", date == ours.date.map(|d| d / MILLI));
        same("map", theirs.map.as_ref().is_none_or(|m| Some(&m.uri) == ours.map.as_ref()));
    }
    ledger.check(Rule::SecondParser, differences.is_empty(), || {
        format!("{at}: the parsers differ in {}", differences.join(", "))
    });
}

/// Seconds, for details.
pub fn shown(value: Option<Nanos>) -> String {
    value.map_or_else(|| "absent".to_owned(), |v| format!("{:.5} s", v as f64 / SECOND as f64))
}

const HEAD: [&str; 6] = [
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
];

const ONCE: [&str; 10] = [
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-SKIP",
    "EXT-X-ENDLIST",
];

const MEDIA_TAGS: [&str; 26] = [
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-START",
    "EXT-X-DEFINE",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-I-FRAMES-ONLY",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXTINF",
    "EXT-X-BYTERANGE",
    "EXT-X-DISCONTINUITY",
    "EXT-X-KEY",
    "EXT-X-MAP",
    "EXT-X-PROGRAM-DATE-TIME",
    "EXT-X-GAP",
    "EXT-X-BITRATE",
    "EXT-X-PART",
    "EXT-X-DATERANGE",
    "EXT-X-SKIP",
    "EXT-X-PRELOAD-HINT",
    "EXT-X-RENDITION-REPORT",
];
