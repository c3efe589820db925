//! Records of real encoders, hand-made corner cases, and records that were tampered with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use h264_reader::nal::{Nal, RefNal, sps::SeqParameterSet};
use proptest::prelude::*;

use super::*;
use crate::media::{AudioConfig, VideoConfig};

type Parser = fn(&Bytes) -> Result<Config, BadConfig>;

#[test]
fn pictures_have_the_size_and_name_that_the_record_says() {
    let cases: [(Parser, &str, u32, u32, &str); 8] = [
        (h264, AVC_720, 1280, 720, "avc1.64001f"),
        (h264, AVC_1080, 1920, 1080, "avc1.640028"),
        (h264, AVC_FIELDS_422, 1920, 1080, "avc1.7a0028"),
        (h264, AVC_BASELINE, 426, 240, "avc1.42c015"),
        (h265, HEVC_1080, 1920, 1080, "hvc1.1.6.L120.90"),
        (h265, HEVC_SUB_LAYERS, 854, 480, "hvc1.2.4.L90.90"),
        (av1, AV1_SVT, 1280, 720, "av01.0.05M.08"),
        (av1, AV1_AOM_10_BIT, 640, 360, "av01.0.01M.10"),
    ];
    for (parser, record, width, height, codecs) in cases {
        let record = hex(record);
        let video = video(parser(&record));
        assert_eq!((video.width, video.height, video.codecs.as_str()), (width, height, codecs));
        assert_eq!(video.record, record, "{codecs}: the record goes on as it came");
    }
}

#[test]
fn sound_is_described_at_the_output_of_the_decoder() {
    let cases = [
        ("1208", 44_100, 1, 1024, "mp4a.40.2"),
        ("119056e500", 48_000, 2, 1024, "mp4a.40.2"),
        ("11b0", 48_000, 6, 1024, "mp4a.40.2"),
        ("1194", 48_000, 2, 960, "mp4a.40.2"),
        ("1780 5dc0 10", 48_000, 2, 1024, "mp4a.40.2"),
        // SBR and parametric stereo, signalled by hierarchy and behind the core's configuration.
        ("2b118800", 48_000, 2, 2048, "mp4a.40.5"),
        ("eb098800", 48_000, 2, 2048, "mp4a.40.29"),
        ("131056e598", 48_000, 2, 2048, "mp4a.40.5"),
        ("130856e59d4880", 48_000, 2, 2048, "mp4a.40.29"),
        // An extension that is cut off is none.
        ("131056e5", 24_000, 2, 1024, "mp4a.40.2"),
    ];
    for (record, rate, channels, samples, codecs) in cases {
        let audio = audio(aac(&hex(record)));
        let read = (audio.sample_rate, audio.channels, audio.frame_samples, audio.codecs.as_str());
        assert_eq!(read, (rate, channels, Some(samples), codecs), "{record}");
        assert_eq!(audio.record, hex(record));
    }
}

#[test]
fn aac_written_out_bit_by_bit() {
    // Object type 5 with one rate for both: SBR in its downsampled form.
    let downsampled = audio(aac(&binary("00101 0011 0010 0011 00010 000")));
    assert_eq!((downsampled.sample_rate, downsampled.frame_samples), (48_000, Some(1024)));
    // A program_config_element: two front pairs, an LFE, a comment, and then a sync extension.
    let program = "0000 01 0110 0010 0000 0000 01 000 0000 000 10000 10001 0000";
    let layout = binary(&format!("00010 0110 0000 000 {program} 00000001 01000001 01010110111 00101 1 0011"));
    let program = audio(aac(&layout));
    assert_eq!((program.channels, program.sample_rate, program.frame_samples), (5, 48_000, Some(2048)));
    assert_eq!(silence(&Config::Audio(program)), None);
}

#[test]
fn opus_turns_from_little_to_big_endian() {
    let body = hex("0102380180bb0000000100");
    for head in [Bytes::from([b"OpusHead", body.as_ref()].concat()), body] {
        let audio = audio(opus(&head));
        assert_eq!((audio.sample_rate, audio.channels, audio.frame_samples), (48_000, 2, None));
        assert_eq!(audio.record, hex("000201380000bb80010000"));
        assert_eq!(audio.codecs, "opus");
    }
    let surround = audio(opus(&hex("0106380180bb00000000010402000401020305")));
    assert_eq!((surround.channels, surround.record), (6, hex("000601380000bb80000001040200040102 0305")));
}

#[test]
fn refusals_name_the_field() {
    let cases: [(Parser, &str, &str); 16] = [
        (h264, "", "H.264 configuration: cut off at configurationVersion"),
        (h264, "0064001fffe1", "H.264 configuration: configurationVersion is 0, not 1"),
        (h264, "0164001ffee1", "H.264 configuration: lengthSizeMinusOne is 2"),
        (h264, "0164001fffe0", "H.264 configuration: no sequence parameter set"),
        (h264, "0164001fffe1001a6764", "H.264 configuration: cut off at sequenceParameterSetNALUnit"),
        (h264, "0164001fffe1000168", "H.264 configuration: the first parameter set is not a sequence parameter set"),
        (h265, "01016000000090000000000078f000fcfdf8f800000f00", "HEVC configuration: no sequence parameter set"),
        (av1, "81050c00", "AV1 configuration: no sequence header in configOBUs"),
        (av1, "01050c00", "AV1 configuration: marker and version are 0x01, not 0x81"),
        (av1, "81050c000aff", "AV1 configuration: cut off at obu_size"),
        (aac, "1780000010", "AAC configuration: sampling frequency of 0 Hz"),
        (aac, "16 90", "AAC configuration: samplingFrequencyIndex is 13"),
        (aac, "1140", "AAC configuration: channelConfiguration is 8"),
        (aac, "f94640", "AAC configuration: audio object type 42 is not supported; send AAC-LC or HE-AAC"),
        (opus, "4f707573486561640100", "Opus configuration: cut off before the channel mapping"),
        (opus, "0103380180bb0000000000", "Opus configuration: 3 channels in channel mapping family 0"),
    ];
    for (parser, record, message) in cases {
        assert_eq!(parser(&hex(record)).unwrap_err().to_string(), message, "{record}");
    }
    let long = Bytes::from(vec![1; MAX_RECORD + 1]);
    assert_eq!(h264(&long).unwrap_err().reason, "65537 bytes long; at most 65536 are taken");
}

#[test]
fn a_picture_without_an_area_or_beyond_measure_is_refused() {
    assert_eq!(checked_size(1, 16_384), Ok((1, 16_384)));
    for (width, height) in [(0, 1), (1, 0), (16_385, 1), (1, u64::MAX)] {
        assert!(checked_size(width, height).is_err(), "{width}x{height}");
    }
}

#[test]
fn h264_says_whether_it_is_interlaced() {
    // Of x264, 320 x 180: with fields, and without.
    let with: &[u8] = &[
        0x01, 0x64, 0x00, 0x15, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x64, 0x00, 0x15, 0xac, 0xd9, 0x41, 0x43, 0x3f, 0x26,
        0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00, 0x06, 0x43, 0xe2, 0x85, 0x32, 0xc0, 0x01, 0x00, 0x06,
        0x68, 0xfb, 0xa3, 0xcb, 0x22, 0xc0,
    ];
    let without: &[u8] = &[
        0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f,
        0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60, 0x01, 0x00,
        0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
    ];
    for (record, expected) in [(with, true), (without, false)] {
        let Config::Video(video) = h264(&Bytes::from_static(record)).unwrap() else { panic!("no picture") };
        assert_eq!((video.width, video.height, is_interlaced(&video)), (320, 180, expected));
    }
    let broken = VideoConfig {
        codec: Codec::H264,
        record: Bytes::from_static(&[1; 7]),
        width: 2,
        height: 2,
        codecs: String::new(),
    };
    assert!(!is_interlaced(&broken));
}

#[test]
fn h264_starts_at_an_idr() {
    let config = h264(&hex(AVC_720)).unwrap();
    assert!(is_random_access(&config, &hex("00000002 09f0 00000001 06 00000003 65b840")));
    assert!(!is_random_access(&config, &hex("00000002 09f0 00000002 419a")));
    assert!(!is_random_access(&config, &hex("00000002 65b8 0000")), "cut off behind the IDR");
    assert!(is_random_access(&config, &hex("00000000 00000002 65b8 00000000")), "empty units are passed over");
}

#[test]
fn hevc_starts_at_idr_bla_and_cra() {
    let config = h265(&hex(HEVC_1080)).unwrap();
    for kind in 0..64_u8 {
        let unit = [0, 0, 0, 3, kind << 1, 1, 0xaf];
        assert_eq!(is_random_access(&config, &unit), (16..=21).contains(&kind), "NAL type {kind}");
    }
}

#[test]
fn av1_starts_at_a_shown_key_frame_behind_a_sequence_header() {
    let config = av1(&hex(AV1_SVT)).unwrap();
    let sequence = AV1_SVT.get(8..).unwrap();
    let unit = |text: &str| is_random_access(&config, &hex(&text.replace('S', sequence)));
    assert!(unit("S 3202 10aa"));
    assert!(unit("1200 S 3202 10aa"), "behind a temporal delimiter");
    assert!(!unit("3202 10aa"), "no sequence header");
    assert!(!unit("S 3202 00aa"), "not shown");
    assert!(!unit("S 3202 30aa"), "an inter frame");
    assert!(!unit("S 3202 90aa"), "an existing frame");
    assert!(!unit("S 3209 10aa"), "cut off");
    assert!(!unit(""));
}

#[test]
fn opus_packets_are_as_long_as_their_table_of_contents_says() {
    let config = opus(&hex("0102380180bb0000000000")).unwrap();
    let cases: [(&[u8], u32); 9] = [
        (&[0x00], 480),
        (&[0x18], 2880),
        (&[0x60], 480),
        (&[0x68], 960),
        (&[0x80], 120),
        (&[0xfc, 0xff, 0xfe], 960),
        (&[0xfd], 1920),
        (&[0xff, 0x03], 2880),
        (&[0x1b, 0x3f], 5760),
    ];
    for (packet, samples) in cases {
        assert_eq!(packet_samples(&config, packet), samples, "{packet:x?}");
    }
    assert_eq!(packet_samples(&config, &[]), 0);
    assert_eq!(packet_samples(&config, &[0xff]), 0, "a count that is missing");
    assert_eq!(packet_samples(&aac(&hex("2b118800")).unwrap(), &[]), 2048);
    assert_eq!(packet_samples(&h264(&hex(AVC_720)).unwrap(), &[0xfc]), 0);
}

#[test]
fn silence_is_known_for_plain_mono_and_stereo() {
    let length = |config: Result<Config, BadConfig>| silence(&config.unwrap()).map(|frame| frame.len());
    assert_eq!(length(aac(&hex("1208"))), Some(4));
    assert_eq!(length(aac(&hex("1190"))), Some(6));
    assert_eq!(length(aac(&hex("2b118800"))), None);
    assert_eq!(length(aac(&hex("11b0"))), None);
    assert_eq!(length(opus(&hex("0101380180bb0000000000"))), Some(3));
    assert_eq!(length(opus(&hex("0102380180bb0000000000"))), Some(3));
    assert_eq!(length(opus(&hex("0106380180bb00000000010402000401020305"))), None);
    assert_eq!(length(h264(&hex(AVC_720))), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a real record, parsing gives a usable configuration or an error.
    #[test]
    fn tampered_records_never_panic(
        pick in 0_usize..13,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let (parser, record) = SEEDS[pick];
        let mut bytes = hex(record).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        if let Ok(config) = parser(&Bytes::from(bytes)) {
            match &config {
                Config::Video(video) => prop_assert!(checked_size(video.width.into(), video.height.into()).is_ok()),
                Config::Audio(audio) => prop_assert!(audio.sample_rate > 0 && audio.channels > 0),
            }
            is_random_access(&config, &payload);
            packet_samples(&config, &payload);
        }
    }

    /// A second opinion: where another parser accepts a tampered sequence parameter set, ours gives the same size.
    #[test]
    fn h264_sizes_agree_with_another_parser(
        pick in 0_usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..3),
    ) {
        let record = hex(SEEDS[pick].1);
        let length = usize::from(record[7]);
        let mut nal = record[8..8 + length].to_vec();
        for (at, bit) in edits {
            let at = 4 + at.index(length - 4);
            nal[at] ^= 1 << bit;
        }
        let theirs = SeqParameterSet::from_bits(RefNal::new(&nal, &[], true).rbsp_bits())
            .ok()
            .and_then(|sps| sps.pixel_dimensions().ok())
            .and_then(|(width, height)| checked_size(width.into(), height.into()).ok());
        if let Some(theirs) = theirs {
            let mut bytes = record.to_vec();
            bytes[8..8 + length].copy_from_slice(&nal);
            let video = video(h264(&Bytes::from(bytes)));
            prop_assert_eq!((video.width, video.height), theirs);
        }
    }
}

fn video(config: Result<Config, BadConfig>) -> VideoConfig {
    match config.unwrap() {
        Config::Video(video) => video,
        Config::Audio(_) => panic!("sound"),
    }
}

fn audio(config: Result<Config, BadConfig>) -> AudioConfig {
    match config.unwrap() {
        Config::Audio(audio) => audio,
        Config::Video(_) => panic!("pictures"),
    }
}

/// Bytes from hexadecimal digits; spaces are for the eye.
fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Bytes from binary digits, filled up with zeros.
fn binary(text: &str) -> Bytes {
    let bits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(2).unwrap() as u8).collect();
    bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at))).collect()
}

const SEEDS: [(Parser, &str); 13] = [
    (h264, AVC_720),
    (h264, AVC_1080),
    (h264, AVC_FIELDS_422),
    (h264, AVC_BASELINE),
    (h265, HEVC_1080),
    (h265, HEVC_SUB_LAYERS),
    (av1, AV1_SVT),
    (av1, AV1_AOM_10_BIT),
    (aac, "119056e500"),
    (aac, "2b118800"),
    (aac, "130856e59d4880"),
    (opus, "4f7075734865616401023801 80bb0000000000"),
    (opus, "0106380180bb00000000010402000401020305"),
];

// Records as ffmpeg writes them with x264, x265 (its information SEI taken out), SVT-AV1 and libaom.
const AVC_720: &str = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000668ebe3cb22c0fdf8f800";
const AVC_1080: &str =
    "01640028ffe1001b67640028acd940780227e5c044000003000400000300f03c60c65801000668ebe3cb22c0fdf8f800";
const AVC_FIELDS_422: &str =
    "017a0028ffe1001b677a0028bcd94078044fcb808800000300080000030190f8b16cb001000668fba3cb22c0fef8f800";
const AVC_BASELINE: &str = "0142c015ffe100196742c015d901b1fe4f0110000003001000000303c0f162e48001000568cb83cb20";
const HEVC_1080: &str = "01016000000090000000000078f000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003007895 \
    9809a10001002a420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000f04a2 \
    000100074401c172b46240";
const HEVC_SUB_LAYERS: &str = "0102200000009000000000005af000fcfdfafa00001303a00001001c40010c02ffff02200000030090000003000003005a00 \
    009598acc048a10001002e42010202200000030090000003000003005a0000a006b201e1d6d965662b349265780b40400000 \
    03004000000782a2000100074401c172b46240";
const AV1_SVT: &str = "81050c000a0b0000002d4cffb3c02f8004";
const AV1_AOM_10_BIT: &str = "81014c000a0b0000000cc4ff6736be5010";
