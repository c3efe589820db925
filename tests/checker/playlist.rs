//! A parser for media and multivariant playlists, written from RFC 8216bis alone and sharing nothing with the server:
//! the second opinion beside m3u8-rs, and the only one that knows the low-latency tags. Tolerant in what it takes
//! (faults become entries of [`Media::faults`]), so that the rules can say what is wrong.

use std::collections::BTreeMap;

/// Nanoseconds: durations as the playlist prints them, and dates since 1970, without rounding.
pub type Nanos = i64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;
/// One millisecond.
pub const MILLI: Nanos = 1_000_000;

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Media {
    pub version: Option<u64>,
    pub target: Option<Nanos>,
    pub part_target: Option<Nanos>,
    pub control: Option<Control>,
    pub sequence: Option<u64>,
    pub discontinuities: Option<u64>,
    pub independent: bool,
    pub ended: bool,
    /// SKIPPED-SEGMENTS of a delta playlist.
    pub skipped: Option<u64>,
    /// Complete segments, without the skipped ones.
    pub segments: Vec<Segment>,
    /// The tags after the last complete segment: parts of the next one.
    pub open: Segment,
    pub hints: Vec<Hint>,
    pub reports: Vec<Report>,
    /// All tags with their line number, in order.
    pub tags: Vec<(usize, String)>,
    /// What could not be understood.
    pub faults: Vec<String>,
}

/// EXT-X-SERVER-CONTROL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    pub can_block: bool,
    pub skip_until: Option<Nanos>,
    pub hold_back: Option<Nanos>,
    pub part_hold_back: Option<Nanos>,
}

/// One segment, or the beginning of the next one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub msn: u64,
    pub uri: String,
    pub duration: Nanos,
    pub discontinuity: bool,
    /// The EXT-X-MAP that applies, wherever it stands.
    pub map: Option<String>,
    pub date: Option<Nanos>,
    pub gap: bool,
    pub parts: Vec<Part>,
}

/// EXT-X-PART.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub uri: String,
    pub duration: Nanos,
    pub independent: bool,
    pub gap: bool,
    pub ranged: bool,
}

/// EXT-X-PRELOAD-HINT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hint {
    pub kind: String,
    pub uri: String,
}

/// EXT-X-RENDITION-REPORT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub uri: String,
    pub msn: Option<u64>,
    pub part: Option<u64>,
}

/// The newest thing a playlist lists: sequence number of the newest segment begun, and its number of parts. A complete
/// segment without any part of the next one counts as the next one with no part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tip {
    pub msn: u64,
    pub parts: u64,
}

impl Media {
    /// Parses a text; what is wrong with it stands in `faults`.
    pub fn parse(text: &str) -> Media {
        Parser::default().run(text)
    }

    /// Sequence number of the first segment that stands in the text itself.
    pub fn first_listed(&self) -> u64 {
        self.sequence.unwrap_or(0) + self.skipped.unwrap_or(0)
    }

    /// What is newest in it.
    pub fn tip(&self) -> Tip {
        Tip { msn: self.open.msn, parts: self.open.parts.len() as u64 }
    }

    /// True if it has the part (or, without one, the whole segment) that delivery directives ask for.
    pub fn has(&self, msn: u64, part: Option<u64>) -> bool {
        match part {
            _ if self.open.msn > msn => true,
            Some(part) => self.open.msn == msn && self.open.parts.len() as u64 > part,
            None => false,
        }
    }

    /// Complete segments and the open one, if it has parts.
    pub fn all(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain((!self.open.parts.is_empty()).then_some(&self.open))
    }

    /// Length of what is listed, open parts included.
    pub fn length(&self) -> Nanos {
        self.segments.iter().map(|s| s.duration).sum::<Nanos>() + self.open.parts_length()
    }

    /// True for tags that only the low-latency view has.
    pub fn has_low_latency_tags(&self) -> bool {
        const LOW: [&str; 6] = [
            "EXT-X-PART",
            "EXT-X-PART-INF",
            "EXT-X-PRELOAD-HINT",
            "EXT-X-RENDITION-REPORT",
            "EXT-X-SKIP",
            "EXT-X-SERVER-CONTROL",
        ];
        self.tags.iter().any(|(_, tag)| LOW.contains(&tag.as_str()))
    }
}

impl Segment {
    /// Sum of the parts' durations.
    pub fn parts_length(&self) -> Nanos {
        self.parts.iter().map(|p| p.duration).sum()
    }
}

#[derive(Default)]
struct Parser {
    out: Media,
    now: Segment,
    map: Option<String>,
    extinf: bool,
}

impl Parser {
    fn run(mut self, text: &str) -> Media {
        if text.lines().next() != Some("#EXTM3U") {
            self.fault(0, "the first line is not #EXTM3U");
        }
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l)) {
            if let Some(tag) = line.strip_prefix("#EXT") {
                let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
                self.out.tags.push((number, format!("EXT{name}")));
                self.tag(number, name, value);
            } else if !line.is_empty() && !line.starts_with('#') {
                self.uri(number, line);
            }
        }
        let first = self.out.first_listed();
        for (i, segment) in self.out.segments.iter_mut().enumerate() {
            segment.msn = first + i as u64;
        }
        self.now.msn = first + self.out.segments.len() as u64;
        self.now.map = self.map;
        self.out.open = self.now;
        self.out
    }

    fn fault(&mut self, line: usize, what: &str) {
        self.out.faults.push(format!("line {line}: {what}"));
    }

    fn uri(&mut self, line: usize, uri: &str) {
        if !self.extinf {
            self.fault(line, "a segment without EXTINF");
        }
        self.extinf = false;
        let mut segment = std::mem::take(&mut self.now);
        segment.uri = uri.to_owned();
        segment.map.clone_from(&self.map);
        self.out.segments.push(segment);
    }

    fn tag(&mut self, line: usize, name: &str, value: &str) {
        match name {
            "M3U" => {}
            "-X-VERSION" => self.out.version = self.number(line, value),
            "-X-TARGETDURATION" => self.out.target = self.number(line, value).map(|s| s as Nanos * SECOND),
            "-X-MEDIA-SEQUENCE" => self.out.sequence = self.number(line, value),
            "-X-DISCONTINUITY-SEQUENCE" => self.out.discontinuities = self.number(line, value),
            "-X-INDEPENDENT-SEGMENTS" => self.out.independent = true,
            "-X-ENDLIST" => self.out.ended = true,
            "-X-DISCONTINUITY" => self.now.discontinuity = true,
            "-X-GAP" => self.now.gap = true,
            "-X-PROGRAM-DATE-TIME" => {
                self.now.date = date(value);
                if self.now.date.is_none() {
                    self.fault(line, "not a date");
                }
            }
            "INF" => {
                self.extinf = true;
                let seconds = value.split_once(',').map_or(value, |(seconds, _)| seconds);
                self.now.duration = self.seconds(line, Some(seconds)).unwrap_or(0);
            }
            "-X-PART-INF"
            | "-X-MAP"
            | "-X-SERVER-CONTROL"
            | "-X-SKIP"
            | "-X-PART"
            | "-X-PRELOAD-HINT"
            | "-X-RENDITION-REPORT" => self.attribute_tag(line, name, value),
            _ => {}
        }
    }

    fn attribute_tag(&mut self, line: usize, name: &str, value: &str) {
        let attributes = match Attributes::parse(value) {
            Ok(attributes) => attributes,
            Err(fault) => return self.fault(line, &fault),
        };
        let text = |name: &str| attributes.quoted(name).unwrap_or_default();
        let yes = |name: &str| attributes.get(name) == Some("YES");
        match name {
            "-X-PART-INF" => self.out.part_target = self.seconds(line, attributes.get("PART-TARGET")),
            "-X-MAP" => self.map = attributes.quoted("URI"),
            "-X-SERVER-CONTROL" => {
                self.out.control = Some(Control {
                    can_block: yes("CAN-BLOCK-RELOAD"),
                    skip_until: attributes.get("CAN-SKIP-UNTIL").and_then(decimal),
                    hold_back: attributes.get("HOLD-BACK").and_then(decimal),
                    part_hold_back: attributes.get("PART-HOLD-BACK").and_then(decimal),
                });
            }
            "-X-SKIP" => self.out.skipped = attributes.get("SKIPPED-SEGMENTS").and_then(|n| n.parse().ok()),
            "-X-PART" => {
                let part = Part {
                    uri: text("URI"),
                    duration: self.seconds(line, attributes.get("DURATION")).unwrap_or(0),
                    independent: yes("INDEPENDENT"),
                    gap: yes("GAP"),
                    ranged: attributes.get("BYTERANGE").is_some(),
                };
                if part.uri.is_empty() {
                    self.fault(line, "EXT-X-PART without URI");
                }
                self.now.parts.push(part);
            }
            "-X-PRELOAD-HINT" => {
                let kind = attributes.get("TYPE").unwrap_or_default().to_owned();
                self.out.hints.push(Hint { kind, uri: text("URI") });
            }
            "-X-RENDITION-REPORT" => self.out.reports.push(Report {
                uri: text("URI"),
                msn: attributes.get("LAST-MSN").and_then(|n| n.parse().ok()),
                part: attributes.get("LAST-PART").and_then(|n| n.parse().ok()),
            }),
            _ => {}
        }
    }

    fn number(&mut self, line: usize, value: &str) -> Option<u64> {
        let number = value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok()).flatten();
        if number.is_none() {
            self.fault(line, "not a decimal integer");
        }
        number
    }

    fn seconds(&mut self, line: usize, value: Option<&str>) -> Option<Nanos> {
        let seconds = value.and_then(decimal);
        if seconds.is_none() {
            self.fault(line, "not a number of seconds");
        }
        seconds
    }
}

/// An attribute list, RFC 8216bis section 4.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(BTreeMap<String, (String, bool)>);

impl Attributes {
    /// Parses `NAME=value,NAME="value"`.
    pub fn parse(text: &str) -> Result<Attributes, String> {
        let mut out = BTreeMap::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or_else(|| format!("{rest:?} is no attribute"))?;
            let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(legal) {
                return Err(format!("{name:?} is no attribute name"));
            }
            let (value, quoted, tail) = match after.strip_prefix('"') {
                Some(inner) => {
                    let (value, tail) = inner.split_once('"').ok_or("a quote is not closed")?;
                    (value, true, tail)
                }
                None => match after.find(',') {
                    Some(at) => (&after[..at], false, &after[at..]),
                    None => (after, false, ""),
                },
            };
            if out.insert(name.to_owned(), (value.to_owned(), quoted)).is_some() {
                return Err(format!("{name} stands twice"));
            }
            rest = match tail.strip_prefix(',') {
                Some(next) if !next.is_empty() => next,
                None if tail.is_empty() => "",
                _ => return Err(format!("{tail:?} after an attribute")),
            };
        }
        Ok(Attributes(out))
    }

    /// The value, quoted or not.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str())
    }

    /// The value, if it is a quoted string.
    pub fn quoted(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|(_, quoted)| *quoted).map(|(value, _)| value.clone())
    }
}

/// A multivariant playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Multivariant {
    pub version: Option<u64>,
    pub independent: bool,
    pub variants: Vec<(Attributes, String)>,
    pub media: Vec<Attributes>,
    pub faults: Vec<String>,
}

impl Multivariant {
    /// Parses a text; what is wrong with it stands in `faults`.
    pub fn parse(text: &str) -> Multivariant {
        let mut out = Multivariant::default();
        if text.lines().next() != Some("#EXTM3U") {
            out.faults.push("the first line is not #EXTM3U".to_owned());
        }
        let mut stream = None;
        for line in text.lines().skip(1) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let parsed = match name {
                "#EXT-X-STREAM-INF" | "#EXT-X-MEDIA" => Attributes::parse(value),
                _ => Ok(Attributes::default()),
            };
            let attributes = parsed.unwrap_or_else(|fault| {
                out.faults.push(format!("{line}: {fault}"));
                Attributes::default()
            });
            match name {
                "#EXT-X-VERSION" => out.version = value.parse().ok(),
                "#EXT-X-INDEPENDENT-SEGMENTS" => out.independent = true,
                "#EXT-X-STREAM-INF" => stream = Some(attributes),
                "#EXT-X-MEDIA" => out.media.push(attributes),
                _ if line.starts_with("#EXT-X-") => out.faults.push(format!("{line}: not a multivariant tag")),
                _ if line.is_empty() || line.starts_with('#') => {}
                _ => match stream.take() {
                    Some(attributes) => out.variants.push((attributes, line.to_owned())),
                    None => out.faults.push(format!("{line}: a URI without EXT-X-STREAM-INF")),
                },
            }
        }
        if out.variants.is_empty() {
            out.faults.push("no variant".to_owned());
        }
        out
    }
}

/// A decimal number of seconds, exact to the nanosecond.
pub fn decimal(text: &str) -> Option<Nanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return None;
    }
    let fraction: Nanos = format!("{:0<9.9}", fraction).parse().ok()?;
    whole.parse::<Nanos>().ok()?.checked_mul(SECOND)?.checked_add(fraction)
}

/// `2010-02-19T14:54:23.031+08:00`, in nanoseconds since 1970.
pub fn date(text: &str) -> Option<Nanos> {
    let (day, time) = text.split_once('T')?;
    let split = time.find(['Z', '+', '-'])?;
    let (clock, zone) = time.split_at(split);
    let offset = match zone {
        "Z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    let mut ymd = day.splitn(3, '-').map(|n| n.parse::<i64>().ok());
    let (year, month, day) = (ymd.next()??, ymd.next()??, ymd.next()??);
    let mut hms = clock.splitn(3, ':');
    let (hour, minute) = (hms.next()?.parse::<i64>().ok()?, hms.next()?.parse::<i64>().ok()?);
    let second = decimal(hms.next()?)?;
    let whole = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 - offset;
    Some(whole * SECOND + second)
}

/// The usual count for the Gregorian calendar, with the year taken to begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
