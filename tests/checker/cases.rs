//! One bad presentation for every rule: what is changed in the good one, and which rule that breaks.

use std::time::Duration;

use super::checker::{Observation, Rule};
use super::scene::{Asked, Layout, RIGHT, Scene, complete, render};

type Case = (Rule, &'static str, Scene);

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [text(), layout(), time(), delivery(), boxes(), renditions()].concat()
}

const GOOD: fn() -> Scene = Scene::default;

fn said(rule: Rule, what: &'static str, text: fn(Asked, String) -> String) -> Case {
    (rule, what, Scene { text, ..GOOD() })
}

fn sent(rule: Rule, what: &'static str, answer: fn(&mut Observation)) -> Case {
    (rule, what, Scene { answer, ..GOOD() })
}

fn text() -> Vec<Case> {
    vec![
        said(Rule::Syntax, "an attribute twice", |a, t| match a.ended || a.plain {
            true => t,
            false => t + "#EXT-X-PRELOAD-HINT:TYPE=MAP,TYPE=MAP\n",
        }),
        said(Rule::KnownTags, "an invented tag", |_, t| t.replacen("#EXT-X-VER", "#EXT-X-FOO:1\n#EXT-X-VER", 1)),
        said(Rule::TagOnce, "two versions", |_, t| t.replacen("#EXT-X-VER", "#EXT-X-VERSION:9\n#EXT-X-VER", 1)),
        said(Rule::TagOrder, "a date behind a part", |_, t| swap_lines(&t, "#EXT-X-PROGRAM", "#EXT-X-PART:")),
        said(Rule::SecondParser, "no end of line", |_, t| t.trim_end().to_owned()),
        said(Rule::Version, "too low for EXT-X-MAP", |_, t| t.replace("VERSION:9", "VERSION:5")),
        said(Rule::TargetDuration, "absent", |_, t| t.replace("#EXT-X-TARGETDURATION:1\n", "")),
        said(Rule::SequencePresent, "absent", |_, t| t.replace("#EXT-X-MEDIA-SEQUENCE:0\n", "")),
        said(Rule::DiscontinuityPresent, "absent", |_, t| t.replace("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "")),
        said(Rule::PartInf, "absent", |_, t| t.replace("#EXT-X-PART-INF:PART-TARGET=0.50000\n", "")),
        said(Rule::BlockReload, "absent", |_, t| t.replace("CAN-BLOCK-RELOAD=YES,", "")),
        said(Rule::PartHoldBack, "below three parts", |_, t| t.replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.2")),
        said(Rule::HoldBack, "below three targets", |_, t| t.replace(",PART-HOLD", ",HOLD-BACK=2.5,PART-HOLD")),
        said(Rule::SkipUntil, "below six targets", |_, t| t.replace("UNTIL=6.0", "UNTIL=5.0")),
        said(Rule::DatePresent, "no dates", |_, t| without_lines(&t, "#EXT-X-PROGRAM")),
        said(Rule::DateSteady, "five milliseconds off", |_, t| t.replace("00:05.000Z", "00:05.005Z")),
        said(Rule::DateForward, "a second back at the discontinuity", |_, t| {
            (3..16).fold(t, |t, s| t.replace(&format!("00:{s:02}.000Z"), &format!("00:{:02}.000Z", s - 1)))
        }),
        said(Rule::MapPresent, "no map", |_, t| without_lines(&t, "#EXT-X-MAP")),
        said(Rule::MapChange, "no discontinuity", |_, t| {
            t.replace("#EXT-X-DISCONTINUITY\n", "").replace("Y-SEQUENCE:1\n", "Y-SEQUENCE:0\n")
        }),
        said(Rule::Hint, "absent", |_, t| without_lines(&t, "#EXT-X-PRELOAD-HINT")),
        said(Rule::EndComplete, "a hint at the end", |a, t| match a {
            Asked { ended: true, plain: false, .. } => t + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x.m4s\"\n",
            _ => t,
        }),
        said(Rule::PlainView, "a hint in it", |a, t| match a.plain && !a.ended {
            true => t + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x.m4s\"\n",
            false => t,
        }),
    ]
}

fn layout() -> Vec<Case> {
    vec![
        said(Rule::PartMax, "longer than the target", |_, t| t.replace("TARGET=0.50000", "TARGET=0.49000")),
        said(Rule::PartMin, "shorter than 85 percent", |_, t| {
            t.replace("TARGET=0.50000", "TARGET=0.60000").replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.8")
        }),
        said(Rule::PartSum, "parts shorter than EXTINF", |_, t| {
            t.replace("DURATION=0.50000", "DURATION=0.49901").replace("EXTINF:1.00000", "EXTINF:1.00050")
        }),
        said(Rule::PartsRecent, "one segment too few with parts", |a, _| render(a, Layout { parts: 3, ..RIGHT })),
        said(Rule::PartsOld, "parts for ever", |a, _| render(a, Layout { parts: 100, ..RIGHT })),
        said(Rule::SequenceForward, "a segment came back", |a, t| match a {
            Asked { k: 29, plain: false, .. } => render(a, Layout { first: Some(3), ..RIGHT }),
            _ => t,
        }),
        said(Rule::Window, "two segments left", |a, t| match a.k {
            20.. => render(a, Layout { first: Some(complete(a.k) - 2), ..RIGHT }),
            _ => t,
        }),
        said(Rule::DeltaBoundary, "one segment too many skipped", |a, t| match a {
            Asked { k: 22.., delta: true, .. } => render(a, Layout { more_skipped: 2, ..RIGHT }),
            _ => t,
        }),
        said(Rule::DeltaAsked, "a delta for everybody", |a, t| match a {
            Asked { k: 25, video: true, .. } => render(Asked { delta: true, ..a }, RIGHT),
            _ => t,
        }),
        said(Rule::DeltaEqual, "a date missing in the delta", |a, t| match a {
            Asked { k: 26, delta: true, .. } => t.replace("#EXT-X-PROGRAM-DATE-TIME:2030-01-01T00:00:12.000Z\n", ""),
            _ => t,
        }),
        said(Rule::SameTarget, "two seconds for sound", |a, t| match a.video {
            true => t,
            false => render(Asked { delta: false, ..a }, Layout { parts: 8, ..RIGHT })
                .replace("DURATION:1\n", "DURATION:2\n")
                .replace("UNTIL=6.0", "UNTIL=12.0"),
        }),
    ]
}

fn time() -> Vec<Case> {
    vec![
        said(Rule::TargetConstant, "two at first, then one", |a, _| {
            let text = render(Asked { delta: false, ..a }, RIGHT).replace("UNTIL=6.0", "UNTIL=12.0");
            if a.k == 1 { text.replace("DURATION:1\n", "DURATION:2\n") } else { text }
        }),
        said(Rule::PartTargetConstant, "a little more, later", |a, t| {
            let text = t.replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.6");
            if a.k >= 20 { text.replace("TARGET=0.50000", "TARGET=0.50001") } else { text }
        }),
        said(Rule::ControlConstant, "hold-back grows", |a, t| match a.k {
            20.. => t.replace("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.6"),
            _ => t,
        }),
        said(Rule::SegmentStable, "EXTINF changes for a while", |a, t| match a.k {
            16..=17 => t.replace("EXTINF:1.00000,\n0/v/5.m4s", "EXTINF:1.00050,\n0/v/5.m4s"),
            _ => t,
        }),
        said(Rule::PartStable, "DURATION changes", |a, t| match a.k {
            13.. => t.replace("0.50000,URI=\"0/v/5.0", "0.49990,URI=\"0/v/5.0"),
            _ => t,
        }),
        (
            Rule::UriOnce,
            "one URI for two segments",
            Scene {
                text: |_, t| t.replace("/6.m4s", "/5.m4s"),
                session: |all| all.retain(|o| !o.url.ends_with("/5.m4s") || o.at < Duration::from_secs(8)),
                ..GOOD()
            },
        ),
        said(Rule::DiscontinuityCount, "not counted up", |_, t| t.replace("Y-SEQUENCE:1\n", "Y-SEQUENCE:0\n")),
        said(Rule::HintTrue, "another part came", |a, t| match a.k {
            15 => t.replace("TYPE=PART,URI=\"0/v/8.0", "TYPE=PART,URI=\"0/v/8.9"),
            _ => t,
        }),
        (Rule::TailForward, "an older playlist again", Scene { session: an_older_one, ..GOOD() }),
        (
            Rule::EndFinal,
            "a comment after the end",
            Scene {
                session: |all| {
                    let last = all.iter_mut().rfind(|o| o.url == "/live/x/video.m3u8").unwrap();
                    let text = format!("{}# late\n", String::from_utf8_lossy(&last.body));
                    replace(last, text);
                },
                ..GOOD()
            },
        ),
        said(Rule::BlockEarly, "answered with the state before", |a, t| match a {
            Asked { k: 22, video: true, delta: false, .. } => render(Asked { k: 21, ..a }, RIGHT),
            _ => t,
        }),
        (
            Rule::BlockPrompt,
            "more than a part late",
            Scene {
                session: |all| {
                    let late = all.iter_mut().find(|o| o.url == "/live/x/video.m3u8?_HLS_msn=12&_HLS_part=0").unwrap();
                    late.at += Duration::from_millis(1300);
                    all.sort_by_key(|o| o.at);
                },
                ..GOOD()
            },
        ),
        sent(Rule::BlockAnswers, "404 while live", |o| {
            if o.url == "/live/x/video.m3u8?_HLS_msn=12&_HLS_part=0" {
                refuse(o, 404);
            }
        }),
        sent(Rule::BlockFar, "404 instead", |o| {
            if o.url.contains("_HLS_msn=10") && !o.url.contains("_HLS_part") {
                refuse(o, 404);
            }
        }),
        sent(Rule::BlockAlone, "404 instead", |o| {
            if o.url.ends_with("?_HLS_part=0") {
                refuse(o, 404);
            }
        }),
    ]
}

fn delivery() -> Vec<Case> {
    vec![
        sent(Rule::Fetchable, "a listed segment is not there", |o| {
            if o.url.ends_with("/v/5.m4s") && o.at < Duration::from_secs(8) {
                refuse(o, 404);
            }
        }),
        sent(Rule::RemovedFetchable, "gone at once", |o| {
            if o.url.ends_with("/v/2.m4s") && o.at > Duration::from_secs(8) {
                refuse(o, 404);
            }
        }),
        sent(Rule::HintDelivers, "404 for the hinted part", |o| {
            if o.url.ends_with("/v/8.1.m4s") {
                refuse(o, 404);
            }
        }),
        sent(Rule::SegmentIsParts, "another last byte", |o| {
            if o.url.ends_with("/v/7.m4s") {
                another_last_byte(o);
            }
        }),
        sent(Rule::Immutable, "another last byte, later", |o| {
            if o.url.ends_with("/v/2.m4s") && o.at > Duration::from_secs(8) {
                another_last_byte(o);
            }
        }),
        sent(Rule::ContentType, "text", |o| header(o, "/v/4.0.m4s", "content-type", Some("text/html"))),
        sent(Rule::ContentLength, "absent", |o| header(o, "/v/4.0.m4s", "content-length", None)),
        sent(Rule::CacheMedia, "a minute", |o| header(o, "/v/4.0.m4s", "cache-control", Some("max-age=60"))),
        sent(Rule::CachePlaylist, "a minute", |o| header(o, "video.m3u8", "cache-control", Some("max-age=60"))),
        sent(Rule::Etag, "absent", |o| header(o, "video.m3u8?_HLS_msn=10&_HLS_part=0", "etag", None)),
        sent(Rule::NotModified, "304 with a body", |o| {
            if o.status == 304 {
                o.body = b"x".as_slice().into();
            }
        }),
        sent(Rule::Gzip, "packed and not said", |o| o.headers.retain(|(name, _)| name != "content-encoding")),
        sent(Rule::Cors, "absent", |o| o.headers.retain(|(name, _)| !name.starts_with("access-control"))),
    ]
}

fn boxes() -> Vec<Case> {
    fn chunk(rule: Rule, what: &'static str, chunk: fn(bool, usize, &mut super::scene::Spec)) -> Case {
        (rule, what, Scene { chunk, ..GOOD() })
    }
    fn init(rule: Rule, what: &'static str, init: fn(bool, Vec<u8>) -> Vec<u8>) -> Case {
        (rule, what, Scene { init, ..GOOD() })
    }
    vec![
        init(Rule::InitBoxes, "no CMAF brand", |_, b| patched(b, b"cmfc", b"abcd")),
        init(Rule::InitBoxes, "no mvex", |_, b| patched(b, b"mvex", b"free")),
        init(Rule::InitScale, "other than the sample rate", |_, b| {
            patched(b, &[16, 0, 0, 0, 0, 0xbb, 0x80], &[16, 0, 0, 0, 0, 0xac, 0x44])
        }),
        chunk(Rule::ChunkBoxes, "another track", |v, k, c| c.track += u32::from(v && k == 8)),
        chunk(Rule::MoofSequence, "falls", |v, k, c| c.sequence = if v && k == 8 { 1 } else { c.sequence }),
        chunk(Rule::MoofBase, "not set", |v, k, c| c.base_is_moof = !(v && k == 8)),
        chunk(Rule::DataOffset, "four too far", |v, k, c| c.offset_shift = if v && k == 8 { 4 } else { 0 }),
        chunk(Rule::SampleSizes, "bytes of nobody", |v, k, c| c.mdat_extra = if v && k == 8 { 4 } else { 0 }),
        chunk(Rule::DecodeTime, "half a millisecond off", |v, k, c| c.decode_time += if v && k == 8 { 50 } else { 0 }),
        said(Rule::PartDuration, "DURATION too short", |_, t| {
            t.replace("0.50000,URI=\"0/v/4.0", "0.49850,URI=\"0/v/4.0")
        }),
        said(Rule::SegmentDuration, "EXTINF too long", |a, t| match a.video {
            true => t.replace("1.00000,\n0/v/4.m4s", "1.00150,\n0/v/4.m4s").replace("00:04.000Z", "00:03.999Z"),
            false => t,
        }),
        said(Rule::Independent, "not said", |_, t| t.replace("v/4.0.m4s\",INDEPENDENT=YES", "v/4.0.m4s\"")),
        chunk(Rule::SyncNal, "no IDR", |v, k, c| c.samples[0].2 &= !(v && k == 8)),
        (
            Rule::IndependentSegments,
            "a segment without IDR",
            Scene {
                chunk: |v, k, c| {
                    if v && k == 8 {
                        c.samples[0] = (4500, false, false);
                    }
                },
                text: |_, t| t.replace("v/4.0.m4s\",INDEPENDENT=YES", "v/4.0.m4s\""),
                ..GOOD()
            },
        ),
        chunk(Rule::ChunkBoxes, "sound of a track that is not there", |v, k, c| c.sound = v && k == 8),
        chunk(Rule::Offset, "sound late by 100 ms", |v, _, c| c.decode_time += if v { 0 } else { 4800 }),
    ]
}

fn renditions() -> Vec<Case> {
    fn index(rule: Rule, what: &'static str, index: fn(String) -> String) -> Case {
        (rule, what, Scene { index, ..GOOD() })
    }
    vec![
        said(Rule::ReportPresent, "absent", |_, t| without_lines(&t, "#EXT-X-RENDITION-REPORT")),
        said(Rule::ReportTrue, "two parts behind", |a, t| match a.k {
            20 => t.replace("LAST-MSN=10,LAST-PART=0", "LAST-MSN=8,LAST-PART=1"),
            _ => t,
        }),
        said(Rule::ReportTrue, "ahead of the other playlist", |a, t| match a {
            Asked { k: 20, video: false, .. } => t.replace("LAST-MSN=10,LAST-PART=0", "LAST-MSN=14,LAST-PART=0"),
            _ => t,
        }),
        said(Rule::SameDiscontinuity, "none for sound", |a, t| match a.video {
            true => t,
            false => t
                .replace("#EXT-X-DISCONTINUITY\n", "")
                .replace("Y-SEQUENCE:1\n", "Y-SEQUENCE:0\n")
                .replace("init-1", "init-0"),
        }),
        said(Rule::Aligned, "sound dated 100 ms later", |a, t| match a.video {
            true => t,
            false => t.replace(".000Z", ".100Z"),
        }),
        index(Rule::VariantSyntax, "no version", |t| t.replace("#EXT-X-VERSION:9\n", "")),
        index(Rule::VariantUris, "the ordinary view names the other", |t| t.replace("video.m3u8?ll=0", "video.m3u8")),
        index(Rule::AudioGroup, "default, and not to be selected", |t| t.replace("AUTOSELECT=YES", "AUTOSELECT=NO")),
        index(Rule::Bandwidth, "a tenth too low", |t| {
            let peak: u64 = t.split("AVERAGE-BANDWIDTH=").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
            let low = format!("={},", peak * 9 / 10);
            t.replace(&format!("={},", peak * 11 / 10), &low).replace(&format!("={peak},"), &low)
        }),
        index(Rule::AverageBandwidth, "one bit", |t| {
            let (before, after) = t.split_once("AVERAGE-BANDWIDTH=").unwrap();
            format!("{before}AVERAGE-BANDWIDTH=1{}", &after[after.find(',').unwrap()..])
        }),
        index(Rule::Codecs, "another level", |t| t.replace("64001f", "640020")),
        index(Rule::Resolution, "another size", |t| t.replace("320x180", "640x360")),
        index(Rule::FrameRate, "another rate", |t| t.replace("20.000", "30.000")),
    ]
}

fn without_lines(text: &str, start: &str) -> String {
    text.lines().filter(|l| !l.starts_with(start)).map(|l| format!("{l}\n")).collect()
}

/// Every line that starts with `first` changes places with the next one, if that starts with `second`.
fn swap_lines(text: &str, first: &str, second: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for i in 1..lines.len() {
        if lines[i - 1].starts_with(first) && lines[i].starts_with(second) {
            lines.swap(i - 1, i);
        }
    }
    lines.join("\n") + "\n"
}

fn header(seen: &mut Observation, url: &str, name: &str, value: Option<&str>) {
    if seen.status == 200 && seen.url.contains(url) {
        seen.headers.retain(|(n, _)| n != name);
        seen.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
}

fn refuse(seen: &mut Observation, status: u16) {
    header(seen, "", "cache-control", Some("no-store"));
    seen.status = status;
}

fn another_last_byte(seen: &mut Observation) {
    let mut bytes = seen.body.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    seen.body = bytes.into();
}

fn replace(seen: &mut Observation, text: String) {
    header(seen, "", "content-length", Some(&text.len().to_string()));
    header(seen, "", "etag", Some("\"another\""));
    seen.body = text.into();
}

fn patched(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// After the playlist of part 20 was given, that of part 18 is given again, with a fresh report.
fn an_older_one(all: &mut Vec<Observation>) {
    let find = |url: &str| all.iter().position(|o| o.url == url).unwrap();
    let newest = find("/live/x/video.m3u8?_HLS_msn=10&_HLS_part=0");
    let mut old = all[find("/live/x/video.m3u8?_HLS_msn=9&_HLS_part=0")].clone();
    old.url = "/live/x/video.m3u8".to_owned();
    (old.asked, old.at) = (all[newest].at + Duration::from_millis(1), all[newest].at + Duration::from_millis(2));
    let text = String::from_utf8_lossy(&old.body).replace("LAST-MSN=9,", "LAST-MSN=10,");
    replace(&mut old, text);
    all.push(old);
    all.sort_by_key(|o| o.at);
}
