//! Tag bodies made by hand, one per row of the specifications.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use proptest::prelude::*;

fn bytes(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

fn video_of(parts: &[&[u8]]) -> Result<Packet, Error> {
    video(&bytes(parts)).map(|tag| tag.packet)
}

fn audio_of(parts: &[&[u8]]) -> Result<Packet, Error> {
    audio(&bytes(parts)).map(|tag| tag.packet)
}

fn header(codec: Codec, record: &'static [u8]) -> Result<Packet, Error> {
    Ok(Packet::SequenceHeader(codec, Bytes::from_static(record)))
}

fn coded(codec: Codec, composition_ms: i32, key: bool, payload: &'static [u8]) -> Result<Packet, Error> {
    Ok(Packet::Frame { codec, composition_ms, key, payload: Bytes::from_static(payload) })
}

#[test]
fn plain_avc() {
    assert_eq!(video_of(&[&[0x17, 0, 0, 0, 0], b"avcC"]), header(Codec::H264, b"avcC"));
    assert_eq!(video_of(&[&[0x17, 1, 0, 0, 80], b"idr"]), coded(Codec::H264, 80, true, b"idr"));
    assert_eq!(video_of(&[&[0x27, 1, 0xff, 0xff, 0xd8], b"b"]), coded(Codec::H264, -40, false, b"b"));
    assert_eq!(video_of(&[&[0x17, 2, 0, 0, 0]]), Ok(Packet::EndOfSequence));
    assert_eq!(video_of(&[&[0x57, 0]]), Ok(Packet::Ignored));
}

#[test]
fn plain_aac() {
    assert_eq!(audio_of(&[&[0xaf, 0], &[0x12, 0x10]]), header(Codec::Aac, &[0x12, 0x10]));
    assert_eq!(audio_of(&[&[0xaf, 1], b"raw"]), coded(Codec::Aac, 0, true, b"raw"));
}

#[test]
fn enhanced_video_sequence_starts() {
    for (four_cc, codec) in [(b"avc1", Codec::H264), (b"hvc1", Codec::H265), (b"av01", Codec::Av1)] {
        assert_eq!(video_of(&[&[0x90], four_cc, b"record"]), header(codec, b"record"));
        assert_eq!(video_of(&[&[0x92], four_cc]), Ok(Packet::EndOfSequence));
    }
}

#[test]
fn enhanced_video_frames_have_composition_times_where_the_codec_reorders() {
    for (four_cc, codec) in [(b"avc1", Codec::H264), (b"hvc1", Codec::H265)] {
        assert_eq!(video_of(&[&[0x91], four_cc, &[0, 0, 66], b"f"]), coded(codec, 66, true, b"f"));
        assert_eq!(video_of(&[&[0xa1], four_cc, &[0xff, 0xff, 0xff], b"f"]), coded(codec, -1, false, b"f"));
        assert_eq!(video_of(&[&[0xa3], four_cc, b"f"]), coded(codec, 0, false, b"f"));
    }
    assert_eq!(video_of(&[&[0xa1], b"av01", b"obu"]), coded(Codec::Av1, 0, false, b"obu"));
}

#[test]
fn enhanced_audio() {
    assert_eq!(audio_of(&[&[0x90], b"Opus", b"OpusHead.."]), header(Codec::Opus, b"OpusHead.."));
    assert_eq!(audio_of(&[&[0x90], b"Opus", b"OpusTags.."]), Ok(Packet::Ignored));
    assert_eq!(audio_of(&[&[0x91], b"Opus", b"packet"]), coded(Codec::Opus, 0, true, b"packet"));
    assert_eq!(audio_of(&[&[0x90], b"mp4a", &[0x12, 0x10]]), header(Codec::Aac, &[0x12, 0x10]));
    assert_eq!(audio_of(&[&[0x94], b"Opus", &[1, 2, 0, 0, 0, 3]]), Ok(Packet::Ignored));
    assert_eq!(audio_of(&[&[0x92], b"Opus"]), Ok(Packet::EndOfSequence));
}

#[test]
fn mod_ex_prefixes_are_read_in_a_row() {
    // 3 bytes of nanosecond offset; then an unknown modifier of 256 bytes, announced in two bytes more.
    let body =
        [&[0x97u8, 2][..], &[0x07, 0xa1, 0x20], &[0x07], &[0xff, 0, 255], &[0; 256], &[0x11], b"hvc1", &[0, 0, 1]];
    let tag = video(&bytes(&[&body.concat(), b"f"])).unwrap();
    assert_eq!(tag.packet, coded(Codec::H265, 1, true, b"f").unwrap());
    assert_eq!(tag.nanos, 500_000);
    let audio = audio(&bytes(&[&[0x97, 2, 0, 0, 9, 0x01], b"Opus", b"p"])).unwrap();
    assert_eq!((audio.packet, audio.nanos), (coded(Codec::Opus, 0, true, b"p").unwrap(), 9));
}

#[test]
fn of_several_tracks_the_first_is_taken() {
    let one = |id: u8| video(&bytes(&[&[0x96, 0x00], b"avc1", &[id], b"record"])).unwrap();
    assert_eq!(one(0).packet, header(Codec::H264, b"record").unwrap());
    assert_eq!((one(1).packet, one(1).other_tracks), (Packet::Ignored, 1));

    let many = [&[0x96u8, 0x13][..], b"hvc1", &[1, 0, 0, 2], b"xy", &[0, 0, 0, 1], b"f"].concat();
    let tag = video(&bytes(&[&many])).unwrap();
    assert_eq!((tag.packet, tag.other_tracks), (coded(Codec::H265, 0, true, b"f").unwrap(), 1));

    let codecs = [&[0x95u8, 0x21][..], b"mp4a", &[0, 0, 0, 3], b"aac", b"fLaC", &[1, 0, 0, 1], b"f"].concat();
    let tag = audio(&bytes(&[&codecs])).unwrap();
    assert_eq!((tag.packet, tag.other_tracks), (coded(Codec::Aac, 0, true, b"aac").unwrap(), 1));
}

#[test]
fn colour_metadata_and_seek_commands_are_ignored() {
    assert_eq!(video_of(&[&[0x94], b"hvc1", b"amf"]), Ok(Packet::Ignored));
    assert_eq!(video_of(&[&[0xd1, 0]]), Ok(Packet::Ignored));
}

#[test]
fn what_is_not_supported_is_named_with_a_remedy() {
    let text = |result: Result<Packet, Error>| result.unwrap_err().to_string();
    let choose = "over RTMP is not supported; choose";
    assert_eq!(text(video_of(&[&[0x90], b"vp09", b"x"])), format!("VP9 {choose} H.264, HEVC or AV1 in the encoder"));
    assert_eq!(text(audio_of(&[&[0x91], b"fLaC", b"x"])), format!("FLAC {choose} AAC or Opus in the encoder"));
    for (body, name) in
        [(&b"\x12"[..], "Sorenson H.263"), (b"\x14", "On2 VP6"), (b"\x90vp08", "VP8"), (b"\x90vvc1", "VVC")]
    {
        assert!(text(video_of(&[body, b"x"])).starts_with(name), "{name}");
    }
    for (body, name) in [(&b"\x2f"[..], "MP3"), (b"\xb2", "Speex"), (b"\x91ac-3", "AC-3"), (b"\x91ec-3", "E-AC-3")] {
        assert!(text(audio_of(&[body, b"x"])).starts_with(name), "{name}");
    }
    assert!(text(video_of(&[b"\x90\0\"\n\xff", b"x"])).starts_with(r#"codec "\x00\"\n\xff""#));
}

#[test]
fn cut_and_empty_tags_are_errors_of_their_own() {
    assert_eq!(video_of(&[]), Err(Error::Empty));
    assert_eq!(audio_of(&[]), Err(Error::Empty));
    assert_eq!(video_of(&[&[0x17, 1, 0, 0, 0]]), Err(Error::Empty));
    assert_eq!(audio_of(&[&[0xaf, 1]]), Err(Error::Empty));
    assert_eq!(video_of(&[&[0x17, 1, 0]]), Err(Error::Truncated));
    assert_eq!(audio_of(&[&[0xaf]]), Err(Error::Truncated));
    assert_eq!(video_of(&[&[0x91], b"hv"]), Err(Error::Truncated));
    assert_eq!(video_of(&[&[0x91], b"hvc1", &[0]]), Err(Error::Truncated));
    assert_eq!(video_of(&[&[0x97, 2, 0]]), Err(Error::Truncated));
    assert_eq!(video_of(&[&[0x96, 0x11], b"hvc1", &[0, 0, 0, 9], b"short"]), Err(Error::Truncated));
}

proptest! {
    #[test]
    fn no_body_panics(first in any::<u8>(), rest in proptest::collection::vec(any::<u8>(), 0..64), code in 0usize..6) {
        let codes: [&[u8]; 6] = [b"avc1", b"hvc1", b"av01", b"Opus", b"mp4a", b""];
        let body = bytes(&[&[first], codes[code], &rest]);
        let _ = video(&body);
        let _ = audio(&body);
    }
}
