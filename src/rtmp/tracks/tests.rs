//! The mapper with records of real encoders and frames made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::media::flv::Error as Tag;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn body(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

fn avc_header(record: &str) -> Bytes {
    body(&[&[0x17, 0, 0, 0, 0], &hex(record)])
}

fn idr() -> Bytes {
    body(&[&[0x17, 1, 0, 0, 0], &[0, 0, 0, 3, 0x65, 0x88, 0x84]])
}

fn ready() -> Tracks {
    let mut tracks = Tracks::default();
    assert!(matches!(tracks.video(0, &avc_header(AVC)).unwrap(), Step::Announce(_)));
    assert!(matches!(tracks.audio(0, &body(&[&[0xaf, 0, 0x12, 0x10]])).unwrap(), Step::Announce(_)));
    tracks
}

fn frame(step: Result<Step, Error>) -> Frame {
    match step.unwrap() {
        Step::Frame(frame) => frame,
        other => panic!("no frame: {other:?}"),
    }
}

fn is_dropped(step: Result<Step, Error>) -> bool {
    matches!(step.unwrap(), Step::Nothing)
}

#[test]
fn frames_carry_configuration_time_and_key() {
    let mut tracks = ready();
    let first = frame(tracks.video(40, &idr()));
    assert!(first.key && first.dts == Time::from_millis(40) && first.pts == first.dts);
    let b = body(&[&[0x27, 1, 0, 0, 80], &[0, 0, 0, 3, 0x41, 0x9a, 0x02]]);
    let second = frame(tracks.video(73, &b));
    assert!(!second.key && second.dts == Time::from_millis(73) && second.pts == Time::from_millis(153));
    assert!(Arc::ptr_eq(&first.config, &second.config));
    let sound = frame(tracks.audio(46, &body(&[&[0xaf, 1], b"raw"])));
    assert!(sound.key && sound.kind() == Kind::Audio && sound.payload == b"raw"[..]);
}

#[test]
fn the_container_is_not_believed_about_key_frames() {
    let mut tracks = ready();
    let liar = body(&[&[0x17, 1, 0, 0, 0], &[0, 0, 0, 2, 0x41, 0x9a]]);
    assert!(!frame(tracks.video(0, &liar)).key);
    let modest = body(&[&[0x27, 1, 0, 0, 0], &[0, 0, 0, 2, 0x65, 0x88]]);
    assert!(frame(tracks.video(0, &modest)).key);
}

#[test]
fn a_repeated_header_changes_nothing_and_another_one_does() {
    let mut tracks = ready();
    let before = frame(tracks.video(0, &idr())).config;
    assert!(matches!(tracks.video(1, &avc_header(AVC)).unwrap(), Step::Nothing));
    assert!(Arc::ptr_eq(&before, &frame(tracks.video(2, &idr())).config));
    let Step::Announce(after) = tracks.video(3, &avc_header(AVC_OTHER)).unwrap() else { panic!() };
    assert!(Arc::ptr_eq(&after, &frame(tracks.video(4, &idr())).config) && !Arc::ptr_eq(&before, &after));
}

#[test]
fn a_plain_and_an_enhanced_header_of_the_same_record_are_one() {
    let mut tracks = ready();
    assert!(matches!(tracks.video(1, &body(&[&[0x90], b"avc1", &hex(AVC)])).unwrap(), Step::Nothing));
}

#[test]
fn frames_before_their_header_are_counted() {
    let mut tracks = Tracks::default();
    assert!(is_dropped(tracks.video(0, &idr())));
    tracks.video(0, &avc_header(AVC)).unwrap();
    assert!(is_dropped(tracks.video(0, &body(&[&[0xa3], b"hvc1", &[0, 0, 0, 1, 1]]))), "of another codec");
    assert_eq!(tracks.dropped().of(Reason::NoHeader), 2);
}

#[test]
fn empty_and_broken_units_are_counted_and_nothing_else_happens() {
    let mut tracks = ready();
    let nal = |units: &[u8]| body(&[&[0x27, 1, 0, 0, 0], units]);
    assert!(is_dropped(tracks.video(0, &Bytes::new())));
    assert!(is_dropped(tracks.video(0, &nal(&[]))));
    assert!(is_dropped(tracks.video(0, &nal(&[0, 0, 0, 0]))));
    assert_eq!(tracks.dropped().of(Reason::Empty), 3);
    assert_eq!(tracks.dropped().of(Reason::EmptyUnit), 1);
    assert!(is_dropped(tracks.video(0, &nal(&[0, 0, 0, 9, 1]))));
    assert!(is_dropped(tracks.video(0, &Bytes::from_static(&[0x27, 1]))));
    assert_eq!(tracks.dropped().of(Reason::Malformed), 2);
    let mended = frame(tracks.video(0, &nal(&[0, 0, 0, 0, 0, 0, 0, 1, 0x41])));
    assert_eq!(mended.payload, [0, 0, 0, 1, 0x41][..]);
    assert_eq!(tracks.dropped().total(), 7);
}

#[test]
fn other_tracks_are_counted() {
    let mut tracks = ready();
    assert!(is_dropped(tracks.video(0, &body(&[&[0x96, 0x00], b"avc1", &[1], b"record"]))));
    assert_eq!(tracks.dropped().of(Reason::OtherTrack), 1);
}

#[test]
fn what_cannot_be_used_ends_with_a_text() {
    let mut tracks = Tracks::default();
    let vp9 = tracks.video(0, &body(&[&[0x90], b"vp09", b"x"])).unwrap_err();
    assert!(matches!(&vp9, Error::Codec(Tag::Unsupported { .. })));
    assert!(vp9.to_string().starts_with("VP9 over RTMP is not supported"));
    let bad = tracks.video(0, &body(&[&[0x17, 0, 0, 0, 0], b"nonsense"])).unwrap_err();
    assert!(bad.to_string().starts_with("H.264 configuration: "), "{bad}");
}

#[test]
fn a_payload_is_a_slice_unless_another_track_has_most_of_the_message() {
    let mut tracks = ready();
    let whole = body(&[&[0x27, 1, 0, 0, 0], &[0, 0, 0x20, 0], &[0x41; 0x2000]]);
    assert_eq!(frame(tracks.video(0, &whole)).payload.as_ptr(), whole[5..].as_ptr());
    let little = whole.slice(5..1000);
    assert_ne!(unpinned(little.clone(), whole.len()).as_ptr(), little.as_ptr());
}

#[test]
fn nanoseconds_are_added() {
    let mut tracks = ready();
    let exact = body(&[&[0x97, 2, 0x07, 0xa1, 0x20, 0x03], b"avc1", &[0, 0, 0, 1, 0x41]]);
    assert_eq!(frame(tracks.video(10, &exact)).dts, Time::from_ticks(10_500, 1_000_000));
}

#[test]
fn the_clock_knows_a_wrap_from_a_step_back() {
    let mut clock = Clock::default();
    let times = [u32::MAX - 40, u32::MAX, 39, 20, 60, u32::MAX, 5];
    let base = i64::from(u32::MAX) + 1;
    let expected = [base - 41, base - 1, base + 39, base + 20, base + 60, base - 1, base + 5];
    assert_eq!(times.map(|t| clock.unwrap(t)), expected);
    let mut young = Clock::default();
    assert_eq!([100, 60, 0, 40].map(|t| young.unwrap(t)), [100, 60, 0, 40]);
}

proptest::proptest! {
    #[test]
    fn the_clock_follows_any_walk(start: u32, steps in proptest::collection::vec(-100_000i64..100_000, 1..200)) {
        let mut clock = Clock::default();
        let mut now = i64::from(start);
        let offset = clock.unwrap(start) - now;
        for step in steps {
            now += step;
            proptest::prop_assert_eq!(clock.unwrap(now as u32), now + offset);
        }
    }

    #[test]
    fn no_bodies_panic(bodies in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..40), 1..20)) {
        let mut tracks = ready();
        for (i, bytes) in bodies.into_iter().enumerate() {
            let bytes = Bytes::from(bytes);
            let _ = tracks.video(i as u32, &bytes);
            let _ = tracks.audio(i as u32, &bytes);
        }
    }
}

const AVC: &str = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000668ebe3cb22c0fdf8f800";
const AVC_OTHER: &str = "0142c015ffe100196742c015d901b1fe4f0110000003001000000303c0f162e48001000568cb83cb20";
