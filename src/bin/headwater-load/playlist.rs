//! Reads the few things a viewer needs out of an HLS playlist, line by line and without building a model of it: with
//! thousands of viewers in one process, parsing must cost next to nothing. Called by `follow`. Unknown tags are
//! skipped, broken lines never fail; it judges nothing (that is the rule checker's work) and does no I/O.

/// Where a part stands: media sequence number of its segment, and its index there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Media sequence number.
    pub(crate) msn: u64,
    /// Index of the part in its segment, from 0.
    pub(crate) part: u64,
}

/// A part, or a whole segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Of a segment: the position of its first part.
    pub(crate) at: Position,
    /// As the playlist has it.
    pub(crate) uri: String,
    /// Seconds.
    pub(crate) duration: f64,
    /// A decoder can start here.
    pub(crate) independent: bool,
    /// A segment, not a part.
    pub(crate) whole: bool,
    /// When its first sample was captured, as EXT-X-PROGRAM-DATE-TIME says; seconds since 1970.
    pub(crate) starts_at: Option<f64>,
}

/// What one media playlist said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// EXT-X-TARGETDURATION, seconds.
    pub(crate) target_duration: f64,
    /// EXT-X-PART-INF PART-TARGET, seconds; zero without parts.
    pub(crate) part_target: f64,
    /// PART-HOLD-BACK, seconds.
    pub(crate) part_hold_back: f64,
    /// HOLD-BACK, seconds; three target durations where it is missing (RFC 8216bis section 4.4.3.8).
    pub(crate) hold_back: f64,
    /// CAN-BLOCK-RELOAD=YES.
    pub(crate) can_block: bool,
    /// `_HLS_skip` value to ask with, when delta playlists are offered.
    pub(crate) skip: Option<&'static str>,
    /// EXT-X-MEDIA-SEQUENCE.
    pub(crate) media_sequence: u64,
    /// What comes after the last part or segment listed.
    pub(crate) next: Position,
    /// Parts and segments at or after the position asked for, without those marked as gaps.
    pub(crate) pieces: Vec<Piece>,
    /// URI of the part hinted next.
    pub(crate) hint: Option<String>,
    /// URI of the last EXT-X-MAP listed; a delta playlist may have none.
    pub(crate) init: Option<String>,
    /// EXT-X-ENDLIST.
    pub(crate) ended: bool,
}

impl Snapshot {
    /// The piece a player starts with: the newest independent part (segment, without parts) that is not nearer to
    /// the live edge than the hold-back; the oldest one otherwise. An index into `pieces`.
    pub(crate) fn start(&self, parts: bool) -> Option<usize> {
        let distance = if parts { self.part_hold_back } else { self.hold_back };
        let mut behind = 0.0;
        let mut oldest = None;
        for (index, piece) in self.pieces.iter().enumerate().rev() {
            if piece.whole == parts {
                continue;
            }
            behind += piece.duration;
            if piece.independent {
                oldest = Some(index);
                if behind >= distance - ROUNDING {
                    return oldest;
                }
            }
        }
        oldest
    }
}

/// The renditions a viewer plays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Multivariant {
    /// The first variant; pictures, or the only thing there is.
    pub(crate) main: Option<String>,
    /// The rendition of its audio group, if that has a URI of its own.
    pub(crate) audio: Option<String>,
}

/// Reads a multivariant playlist: the first variant and the audio rendition that belongs to it.
pub(crate) fn multivariant(text: &str) -> Multivariant {
    let mut found = Multivariant::default();
    let mut group = None;
    let mut after_variant = false;
    for line in lines(text) {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            if found.main.is_none() {
                group = attribute(list, "AUDIO");
                after_variant = true;
            }
        } else if after_variant && !line.starts_with('#') {
            found.main = Some(line.to_owned());
            after_variant = false;
        }
    }
    let Some(group) = group else { return found };
    let media = lines(text).filter_map(|line| line.strip_prefix("#EXT-X-MEDIA:"));
    let of_group = media.filter(|list| attribute(list, "GROUP-ID") == Some(group));
    let best =
        of_group.max_by_key(|list| (attribute(list, "DEFAULT") == Some("YES"), attribute(list, "URI").is_some()));
    found.audio = best.and_then(|list| attribute(list, "URI")).map(str::to_owned);
    found
}

/// Reads a media playlist; pieces before `from` are counted and otherwise left alone.
pub(crate) fn media(text: &str, from: Position) -> Snapshot {
    let mut scan = Scan { from, ..Scan::default() };
    for line in lines(text) {
        scan.line(line);
    }
    let mut found = scan.found;
    if found.hold_back == 0.0 {
        found.hold_back = 3.0 * found.target_duration;
    }
    found.next = scan.at;
    found
}

#[derive(Default)]
struct Scan {
    from: Position,
    at: Position,
    found: Snapshot,
    /// Capture time of what comes next.
    clock: Option<f64>,
    /// Seconds of parts listed since the last segment ended.
    partial: f64,
    segment_seconds: f64,
    segment_gap: bool,
}

impl Scan {
    fn line(&mut self, line: &str) {
        let Some(tag) = line.strip_prefix("#EXT") else {
            if !line.starts_with('#') {
                self.segment(line);
            }
            return;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "-X-PART" => self.part(value),
            "INF" => self.segment_seconds = seconds(value.split(',').next()),
            "-X-PROGRAM-DATE-TIME" => self.clock = unix_seconds(value),
            "-X-PRELOAD-HINT" if attribute(value, "TYPE") == Some("PART") => {
                self.found.hint = attribute(value, "URI").map(str::to_owned);
            }
            "-X-MAP" => self.found.init = attribute(value, "URI").map(str::to_owned),
            "-X-GAP" => self.segment_gap = true,
            "-X-ENDLIST" => self.found.ended = true,
            _ => self.header(name, value),
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        let found = &mut self.found;
        match name {
            "-X-MEDIA-SEQUENCE" => {
                found.media_sequence = value.parse().unwrap_or(0);
                self.at = Position { msn: found.media_sequence, part: 0 };
            }
            "-X-SKIP" => {
                let skipped: u64 = attribute(value, "SKIPPED-SEGMENTS").and_then(|v| v.parse().ok()).unwrap_or(0);
                self.at.msn = self.at.msn.saturating_add(skipped);
            }
            "-X-TARGETDURATION" => found.target_duration = seconds(Some(value)),
            "-X-PART-INF" => found.part_target = seconds(attribute(value, "PART-TARGET")),
            "-X-SERVER-CONTROL" => {
                found.can_block = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
                found.part_hold_back = seconds(attribute(value, "PART-HOLD-BACK"));
                found.hold_back = seconds(attribute(value, "HOLD-BACK"));
                let ranges = attribute(value, "CAN-SKIP-DATERANGES") == Some("YES");
                found.skip = attribute(value, "CAN-SKIP-UNTIL").map(|_| if ranges { "v2" } else { "YES" });
            }
            _ => {}
        }
    }

    fn part(&mut self, list: &str) {
        let at = self.at;
        self.at.part = self.at.part.saturating_add(1);
        if at.msn < self.from.msn {
            return;
        }
        let duration = seconds(attribute(list, "DURATION"));
        let starts_at = self.clock.map(|clock| clock + self.partial);
        self.partial += duration;
        if at < self.from || attribute(list, "GAP") == Some("YES") {
            return;
        }
        let Some(uri) = attribute(list, "URI") else { return };
        self.found.pieces.push(Piece {
            at,
            uri: uri.to_owned(),
            duration,
            independent: attribute(list, "INDEPENDENT") == Some("YES"),
            whole: false,
            starts_at,
        });
    }

    fn segment(&mut self, uri: &str) {
        let at = Position { msn: self.at.msn, part: 0 };
        if at >= self.from && !self.segment_gap {
            let duration = self.segment_seconds;
            let uri = uri.to_owned();
            self.found.pieces.push(Piece { at, uri, duration, independent: true, whole: true, starts_at: self.clock });
        }
        self.clock = self.clock.map(|clock| clock + self.segment_seconds);
        self.partial = 0.0;
        self.segment_seconds = 0.0;
        self.segment_gap = false;
        self.at = Position { msn: at.msn.saturating_add(1), part: 0 };
    }
}

/// Joins a URI from a playlist to the path of that playlist. None if it leads to another server.
pub(crate) fn resolve(base: &str, uri: &str, authority: &str) -> Option<String> {
    if let Some((scheme, rest)) = uri.split_once("://") {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let same = matches!(scheme, "http" | "https") && host.eq_ignore_ascii_case(authority);
        return same.then(|| format!("/{path}"));
    }
    if uri.starts_with("//") {
        return None;
    }
    if uri.starts_with('/') {
        return Some(uri.to_owned());
    }
    let base = base.split('?').next().unwrap_or_default();
    let mut folder = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
    let mut rest = uri;
    while let Some(shorter) = rest.strip_prefix("../") {
        let parent = folder.trim_end_matches('/');
        folder = &parent[..parent.rfind('/').map_or(0, |slash| slash + 1)];
        rest = shorter;
    }
    let folder = if folder.is_empty() { "/" } else { folder };
    Some(format!("{folder}{}", rest.strip_prefix("./").unwrap_or(rest)))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty())
}

/// The value of one attribute, without its quotes. Commas inside quotes do not end a value.
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, remainder) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.strip_prefix(',').unwrap_or(tail))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.trim() == wanted {
            return Some(value);
        }
        rest = remainder;
    }
    None
}

/// A decimal number of seconds; zero where there is none, or one that cannot be a duration.
fn seconds(value: Option<&str>) -> f64 {
    value.and_then(|v| v.trim().parse().ok()).filter(|v: &f64| (0.0..=LONGEST).contains(v)).unwrap_or(0.0)
}

/// ISO 8601 with a zone, as EXT-X-PROGRAM-DATE-TIME has it, to seconds since 1970.
fn unix_seconds(text: &str) -> Option<f64> {
    let (date, time) = text.trim().split_once('T')?;
    let mut date = date.splitn(3, '-').map(|v| v.parse::<u32>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let mut clock = clock.splitn(3, ':');
    let hour: f64 = f64::from(clock.next()?.parse::<u8>().ok()?);
    let minute: f64 = f64::from(clock.next()?.parse::<u8>().ok()?);
    let second: f64 = clock.next()?.parse::<f64>().ok().filter(|s| s.is_finite())?;
    let days = days_since_1970(i64::from(year), i64::from(month), i64::from(day));
    Some(days as f64 * 86_400.0 + hour * 3600.0 + minute * 60.0 + second - zone_seconds(zone)?)
}

fn zone_seconds(zone: &str) -> Option<f64> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'+' => (1.0, &zone[1..]),
        b'-' => (-1.0, &zone[1..]),
        _ => return Some(0.0),
    };
    let digits: String = rest.chars().filter(char::is_ascii_digit).take(4).collect();
    let number = f64::from(digits.parse::<u16>().ok()?);
    let (hours, minutes) = if digits.len() <= 2 { (number, 0.0) } else { ((number / 100.0).floor(), number % 100.0) };
    Some(sign * (hours * 3600.0 + minutes * 60.0))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March so that the leap
/// day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + leaps + in_year - 719_468
}

/// Playlists print durations with few digits; half a millisecond over a window is not nearer to the edge.
const ROUNDING: f64 = 0.0005;

/// No part or segment lasts longer than a day, in seconds.
const LONGEST: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.000,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6\n\
        #EXT-X-PART-INF:PART-TARGET=0.33334\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-MAP:URI=\"7/video/init-0.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2025-11-22T10:00:00.000Z\n\
        #EXTINF:2.00000,\n7/video/10.m4s\n\
        #EXT-X-PART:DURATION=1.0,URI=\"7/video/11.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=1.0,URI=\"7/video/11.1.m4s\"\n#EXTINF:2.00000,\n7/video/11.m4s\n\
        #EXT-X-PART:DURATION=0.33333,URI=\"7/video/12.0.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.33333,URI=\"7/video/12.1.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"7/video/12.2.m4s\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=12,LAST-PART=1\n";

    #[test]
    fn a_live_playlist_yields_what_a_viewer_needs() {
        let found = media(LIVE, Position::default());
        assert!(found.can_block && !found.ended);
        assert_eq!(found.skip, Some("YES"));
        assert_eq!((found.target_duration, found.part_target, found.hold_back), (2.0, 0.33334, 6.0));
        assert_eq!(found.next, Position { msn: 12, part: 2 });
        assert_eq!(found.hint.as_deref(), Some("7/video/12.2.m4s"));
        assert_eq!(found.init.as_deref(), Some("7/video/init-0.mp4"));
        let uris: Vec<_> = found.pieces.iter().map(|p| p.uri.trim_start_matches("7/video/")).collect();
        assert_eq!(uris, ["10.m4s", "11.0.m4s", "11.1.m4s", "11.m4s", "12.0.m4s", "12.1.m4s"]);
        let ten = unix_seconds("2025-11-22T10:00:00Z").unwrap();
        assert!((found.pieces[5].starts_at.unwrap() - ten - 4.33333).abs() < 1e-4);
        assert!((found.pieces[3].starts_at.unwrap() - ten - 2.0).abs() < 1e-4);
    }

    #[test]
    fn only_what_is_new_is_kept() {
        let found = media(LIVE, Position { msn: 12, part: 1 });
        assert_eq!(found.pieces.len(), 1);
        assert_eq!(found.pieces[0].at, Position { msn: 12, part: 1 });
        assert!((found.pieces[0].duration - 0.33333).abs() < 1e-9);
    }

    #[test]
    fn a_delta_playlist_keeps_its_count() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:2,\na\n\
            #EXT-X-PART:DURATION=1,URI=\"14.0\"\n";
        let found = media(text, Position { msn: 13, part: 0 });
        assert_eq!(found.next, Position { msn: 14, part: 1 });
        assert_eq!(found.pieces[0].at.msn, 13);
        assert_eq!(found.init, None);
    }

    #[test]
    fn the_start_respects_the_hold_back() {
        let found = media(LIVE, Position::default());
        assert_eq!(found.pieces[found.start(true).unwrap()].uri, "7/video/11.0.m4s");
        assert_eq!(found.pieces[found.start(false).unwrap()].uri, "7/video/10.m4s");
        assert_eq!(media("#EXTM3U\n", Position::default()).start(true), None);
        let near = Snapshot { part_hold_back: 0.6, ..found };
        assert_eq!(near.pieces[near.start(true).unwrap()].uri, "7/video/12.0.m4s");
    }

    #[test]
    fn a_variant_brings_its_audio_group() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"b\",NAME=\"x\",URI=\"wrong.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a, b=c\",DEFAULT=YES,URI=\"audio.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f,mp4a.40.2\",AUDIO=\"a\"\nvideo.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2\nother.m3u8\n";
        let found = multivariant(text);
        assert_eq!(found.main.as_deref(), Some("video.m3u8"));
        assert_eq!(found.audio.as_deref(), Some("audio.m3u8"));
        assert_eq!(multivariant("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n").audio, None);
    }

    #[test]
    fn uris_stay_on_the_server() {
        let to = |uri| resolve("/live/a/video.m3u8?x=/1", uri, "h:1");
        assert_eq!(to("7/v/1.m4s").as_deref(), Some("/live/a/7/v/1.m4s"));
        assert_eq!(to("../b.mp4").as_deref(), Some("/live/b.mp4"));
        assert_eq!(to("../../../../b.mp4").as_deref(), Some("/b.mp4"));
        assert_eq!(to("/c?d").as_deref(), Some("/c?d"));
        assert_eq!(to("http://h:1/e").as_deref(), Some("/e"));
        assert_eq!(to("http://elsewhere/e"), None);
        assert_eq!(to("//elsewhere/e"), None);
    }

    #[test]
    fn dates_are_read_with_their_zone() {
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(unix_seconds("2000-02-29T12:00:00.500Z"), Some(951_825_600.5));
        assert_eq!(unix_seconds("2000-02-29T14:00:00.500+02:00"), Some(951_825_600.5));
        assert_eq!(unix_seconds("2000-02-29T06:30:00.500-0530"), Some(951_825_600.5));
        assert_eq!(unix_seconds("yesterday"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_scanner(text in "\\PC{0,300}", msn in any::<u64>(), part in any::<u64>()) {
            media(&text, Position { msn, part }).start(true);
            multivariant(&text);
            resolve(&text, &text, &text);
        }

        #[test]
        fn no_mangled_playlist_breaks_the_scanner(
            cuts in proptest::collection::vec((0usize..LIVE.len(), "[\\x20-\\x7e\\n]{0,12}"), 0..20),
            msn in any::<u64>(),
        ) {
            let mut text = LIVE.to_owned();
            for (at, piece) in cuts {
                text.replace_range(at.min(text.len())..(at + piece.len()).min(text.len()), &piece);
            }
            let found = media(&text, Position { msn, part: 0 });
            if let Some(start) = found.start(true) {
                prop_assert!(start < found.pieces.len());
            }
        }
    }
}
