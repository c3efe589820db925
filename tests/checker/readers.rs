//! Tests of the checker's own parsers.

use super::checker::playlist::{Attributes, Media, Multivariant, SECOND, Tip, date, decimal};
use super::checker::resolve;

#[test]
fn decimals_are_exact() {
    assert_eq!(decimal("0.50001"), Some(500_010_000));
    assert_eq!(decimal("12"), Some(12 * SECOND));
    assert_eq!(decimal("1.1234567891"), Some(1_123_456_789));
    for bad in ["", ".5", "1.", "-1", "1e3", "1,5"] {
        assert_eq!(decimal(bad), None, "{bad}");
    }
}

#[test]
fn dates_know_zones_and_leap_years() {
    assert_eq!(date("1970-01-01T00:00:00.000Z"), Some(0));
    assert_eq!(date("2010-02-19T14:54:23.031+08:00"), Some(1_266_562_463_031 * 1_000_000));
    assert_eq!(date("2000-03-01T00:00:00Z"), Some(951_868_800 * SECOND));
    assert_eq!(date("yesterday"), None);
}

#[test]
fn attribute_lists_are_strict() {
    let list = Attributes::parse("A=1,B-C=\"x,y\",D=YES").unwrap();
    assert_eq!((list.get("A"), list.quoted("B-C").as_deref(), list.quoted("D")), (Some("1"), Some("x,y"), None));
    for bad in ["A", "a=1", "A=1,", "A=\"1", "A=1,A=2", "A=\"1\"B=2"] {
        assert!(Attributes::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_playlist_is_read_with_its_open_segment() {
    let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2.0,\n7.m4s\n\
                #EXT-X-PART:DURATION=0.5,URI=\"8.0.m4s\",INDEPENDENT=YES\n";
    let media = Media::parse(text);
    assert!(media.faults.is_empty(), "{:?}", media.faults);
    assert_eq!((media.segments[0].msn, media.tip()), (7, Tip { msn: 8, parts: 1 }));
    assert!(media.has(7, None) && media.has(8, Some(0)) && !media.has(8, Some(1)) && !media.has(8, None));
    assert_eq!(media.open.map.as_deref(), Some("i.mp4"));
}

#[test]
fn faults_are_named_with_their_line() {
    let media = Media::parse("#EXTM3U\n#EXT-X-TARGETDURATION:x\nsegment\n");
    assert_eq!(media.faults, ["line 2: not a decimal integer", "line 3: a segment without EXTINF"]);
    assert!(!Multivariant::parse("#EXTM3U\nvideo.m3u8\n").faults.is_empty());
}

#[test]
fn uris_resolve() {
    assert_eq!(resolve("/live/x/v.m3u8?a=b", "0/v/1.m4s"), "/live/x/0/v/1.m4s");
    assert_eq!(resolve("/live/x/v.m3u8", "/p/q?r"), "/p/q");
    assert_eq!(resolve("/live/x/v.m3u8", "../y"), "/live/y");
    assert_eq!(resolve("/live/x/v.m3u8", "http://h:1/z"), "/z");
}
