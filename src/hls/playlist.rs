//! Writes playlists as text (RFC 8216bis). Pure; the rendition calls it once per part, never per viewer.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::packager::Plan;
use super::segmenter::Part;
use super::window::{Position, Segment, Window};
use crate::media::Time;

/// What a media playlist says beside its own window.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Path of the rendition's media, relative to the playlist: `EPOCH/RENDITION`.
    pub(super) path: &'a str,
    /// Wall-clock time of the timeline's zero.
    pub(super) began: SystemTime,
    /// PART-HOLD-BACK.
    pub(super) part_hold_back: Time,
    /// The other renditions, by name, and how far they are.
    pub(super) reports: &'a [(Arc<str>, Position)],
}

/// How much of the window to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Everything, with parts.
    Full,
    /// A delta update: what is older than the skip boundary is only counted.
    Delta,
    /// Ordinary HLS: whole segments alone.
    Plain,
}

/// A delta update may skip what is older than this many target durations (at least six, section 4.4.3.8).
const SKIP_TARGETS: i64 = 6;
/// Parts stay listed for this many target durations from the end (section 4.4.4.9).
const PART_TARGETS: i64 = 3;

/// Writes a media playlist. None: a delta update that would skip nothing.
pub(super) fn media(window: &Window, frame: &Frame<'_>, view: View) -> Option<String> {
    let skipped = if view == View::Delta { skippable(window) } else { 0 };
    if view == View::Delta && (skipped == 0 || window.ended) {
        return None;
    }
    let mut text = String::with_capacity(1024 + window.listed.len() * 160);
    head(&mut text, window, frame, view);
    if skipped > 0 {
        let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let mut ahead = window.listed.iter().skip(skipped).fold(Time::ZERO, |sum, segment| sum + segment.duration);
    let mut init = None;
    for listed in window.listed.iter().skip(skipped) {
        ahead -= listed.duration;
        if view == View::Plain && !listed.closed {
            break;
        }
        let with_parts = view != View::Plain && ahead < targets(&window.plan, PART_TARGETS);
        segment(&mut text, frame, listed, with_parts, init.replace(listed.init));
    }
    if window.ended {
        text.push_str("#EXT-X-ENDLIST\n");
    } else if view != View::Plain {
        tail(&mut text, window, frame);
    }
    Some(text)
}

fn head(text: &mut String, window: &Window, frame: &Frame<'_>, view: View) {
    let version = if view == View::Plain { 6 } else { 9 };
    let plan = &window.plan;
    let _ = writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}", plan.target_duration);
    if view != View::Plain {
        let _ = writeln!(
            text,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={:.1},PART-HOLD-BACK={:.5}\n#EXT-X-PART-INF:PART-TARGET={:.5}",
            targets(plan, SKIP_TARGETS).seconds(),
            frame.part_hold_back.seconds(),
            plan.part_target.seconds(),
        );
    }
    let first = window.listed.front().map_or(0, |segment| segment.msn);
    let _ = writeln!(
        text,
        "#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}",
        window.discontinuity_sequence
    );
    let independent = |segment: &Segment| segment.parts.first().is_none_or(|part| part.independent);
    if window.listed.iter().all(independent) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
}

fn segment(text: &mut String, frame: &Frame<'_>, segment: &Segment, with_parts: bool, init_before: Option<usize>) {
    let path = frame.path;
    if !segment.closed && segment.parts.is_empty() {
        return;
    }
    if segment.discontinuity {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if init_before != Some(segment.init) {
        let _ = writeln!(text, "#EXT-X-MAP:URI=\"{path}/init-{}.mp4\"", segment.init);
    }
    let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(frame.began, segment.start));
    if with_parts {
        for (number, part) in segment.parts.iter().enumerate() {
            let seconds = part.duration.seconds();
            let what = match part {
                Part { gap: true, .. } => ",GAP=YES",
                Part { independent: true, .. } => ",INDEPENDENT=YES",
                Part { .. } => "",
            };
            let _ =
                writeln!(text, "#EXT-X-PART:DURATION={seconds:.5},URI=\"{path}/{}.{number}.m4s\"{what}", segment.msn);
        }
    }
    if segment.closed {
        if segment.gap {
            text.push_str("#EXT-X-GAP\n");
        }
        let _ = writeln!(text, "#EXTINF:{:.5},\n{path}/{}.m4s", segment.duration.seconds(), segment.msn);
    }
}

fn tail(text: &mut String, window: &Window, frame: &Frame<'_>) {
    let (msn, part) = window.hint();
    let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}/{msn}.{part}.m4s\"", frame.path);
    for (name, (msn, part)) in frame.reports {
        let _ = writeln!(text, "#EXT-X-RENDITION-REPORT:URI=\"{name}.m3u8\",LAST-MSN={msn},LAST-PART={part}");
    }
}

/// How many of the oldest segments end before the skip boundary.
fn skippable(window: &Window) -> usize {
    let boundary = targets(&window.plan, SKIP_TARGETS);
    let mut ahead = window.duration();
    let older = |segment: &&Segment| {
        ahead -= segment.duration;
        ahead >= boundary
    };
    window.listed.iter().take_while(older).count()
}

fn targets(plan: &Plan, count: i64) -> Time {
    Time::from_ticks(i64::from(plan.target_duration) * count, 1)
}

/// ISO 8601 with milliseconds, in UTC, of a time on the timeline.
fn date_time(began: SystemTime, at: Time) -> String {
    let began = began.duration_since(UNIX_EPOCH).map_or(Time::ZERO, Time::from_duration);
    let millis = (began + at).millis().max(0);
    let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian calendar, eras of 400 years from 1 March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_are_right_across_leap_years() {
        let at = |seconds: u64| date_time(UNIX_EPOCH + Duration::from_secs(seconds), Time::ZERO);
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000Z");
        assert_eq!(date_time(UNIX_EPOCH, Time::from_millis(86_399_999)), "1970-01-01T23:59:59.999Z");
    }
}
