//! Tests of the checker's own parsers.

use super::checker::boxes::{Chunk, Init, boxes, is_idr};
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

/// The reader of boxes against a writer that is not ours: every codec, its string, its samples.
#[test]
fn the_boxes_of_ffmpeg_are_read() {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "2", "-g", "25", "-pix_fmt", "yuv420p"];
    let sound = ["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "2"];
    let x264 = ["-c:v", "libx264", "-profile:v", "main", "-level", "3.1", "-bf", "2"];
    let x265 = ["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", "log-level=none:open-gop=0"];
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str, bool);
    let cases: [Case<'_>; 4] = [
        (&picture, &x264, "avc1.4d401f", "vide", true),
        (&picture, &x265, "hvc1.1.6.L60.90", "vide", true),
        (&sound, &["-c:a", "aac"], "mp4a.40.2", "soun", false),
        (&sound, &["-c:a", "libopus"], "opus", "soun", false),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (source, codec, codecs, handler, pictures) in cases {
        let file = folder.path().join(format!("{codecs}.mp4"));
        let output = std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error"])
            .args(source)
            .args(codec)
            .args(["-movflags", "+cmaf+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "-y"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let data = std::fs::read(&file).unwrap();
        let media: Vec<_> = boxes(&data, 0).unwrap();
        let split =
            media.iter().find(|b| b.kind == *b"moof" || b.kind == *b"styp" || b.kind == *b"sidx").unwrap().start;
        let end = media.iter().find(|b| b.kind == *b"mfra").map_or(data.len(), |b| b.start);
        let init = Init::parse(&data[..split]).unwrap();
        assert_eq!((init.codecs.as_str(), init.handler.as_str()), (codecs, handler));
        let body = &data[split..end];
        let chunks = Chunk::parse(body, &init).unwrap();
        let seconds = chunks.iter().map(Chunk::duration).sum::<u64>() as f64 / f64::from(init.timescale);
        assert!((seconds - 2.0).abs() < 0.1, "{codecs}: {seconds} s");
        for chunk in &chunks {
            assert!(chunk.base_is_moof && chunk.data == chunk.mdat.0, "{codecs}");
            assert_eq!(chunk.samples.iter().map(|s| s.size).sum::<usize>(), chunk.mdat.1, "{codecs}");
            for sample in chunk.samples.iter().filter(|_| pictures) {
                let unit = &body[sample.start..sample.start + sample.size];
                assert_eq!(is_idr(&init.entry, init.nal_length, unit), Ok(sample.sync), "{codecs}");
            }
        }
    }
}
