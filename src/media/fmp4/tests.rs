//! Boxes against an independent reader. Against real decoders: `tests/fmp4.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Cursor;

use mp4_atom::{Decode, Ftyp, Header, Moof, Moov, ReadFrom};

use super::*;
use crate::media::codec;

#[test]
fn a_fragment_reads_back_as_it_was_given() {
    let samples = [sample(3000, 6000, true, b"key"), sample(3001, -3000, false, b""), sample(0, 0, false, b"delta")];
    let bytes = fragment(7, &[Run { decode_time: u64::MAX - 1, samples: &samples }]);
    let mut reader = Cursor::new(&bytes);
    let moof = Moof::read_from(&mut reader).unwrap();
    let moof_length = reader.position() as usize;
    assert_eq!(moof.mfhd.sequence_number, 7);
    let track = &moof.traf[0];
    assert_eq!((track.tfhd.track_id, track.tfdt.as_ref().unwrap().base_media_decode_time), (1, u64::MAX - 1));
    let run = &track.trun[0];
    assert_eq!(run.data_offset, Some(moof_length as i32 + 8));
    for (entry, sample) in run.samples.iter().zip(&samples) {
        assert_eq!(entry.duration, Some(sample.duration));
        assert_eq!(entry.size, Some(sample.payload.len() as u32));
        assert_eq!(entry.cts, Some(i64::from(sample.composition_offset)));
        assert_eq!(entry.flags, Some(if sample.key { 0x0200_0000 } else { 0x0101_0000 }));
    }
    assert_eq!(run.samples.len(), samples.len());
    let mdat = Header::read_from(&mut reader).unwrap();
    assert_eq!(mdat.size, Some(8));
    assert_eq!(bytes.slice(reader.position() as usize..), b"keydelta"[..]);
}

#[test]
fn a_fragment_has_one_allocation_of_its_size() {
    let bytes = fragment(1, &[Run { decode_time: 0, samples: &[sample(1, 0, true, &[7; 1000])] }]);
    assert_eq!(bytes.len(), 8 + 16 + 8 + 16 + 20 + 20 + 16 + 8 + 1000);
    let buffer = bytes.try_into_mut().unwrap();
    assert_eq!(buffer.capacity(), buffer.len());
}

#[test]
fn pictures_and_their_sound_share_a_fragment() {
    let pictures = [sample(3000, 0, true, b"picture"), sample(3000, 0, false, b"next")];
    let sound = [sample(1024, 0, true, b"sound")];
    let runs = [Run { decode_time: 90_000, samples: &pictures }, Run { decode_time: 48_000, samples: &sound }];
    let bytes = fragment(1, &runs);
    let moof = Moof::read_from(&mut Cursor::new(&bytes)).unwrap();
    let tracks = moof.traf.iter().map(|traf| {
        let offset = traf.trun[0].data_offset.unwrap() as usize;
        let size = traf.trun[0].samples.iter().map(|sample| sample.size.unwrap() as usize).sum::<usize>();
        (traf.tfhd.track_id, traf.tfdt.as_ref().unwrap().base_media_decode_time, bytes.slice(offset..offset + size))
    });
    let found: Vec<_> = tracks.collect();
    assert_eq!(found[0], (1, 90_000, Bytes::from_static(b"picturenext")));
    assert_eq!(found[1], (2, 48_000, Bytes::from_static(b"sound")));
    // A track that has nothing to say in a part is left out, and the other keeps its number.
    let bytes = fragment(1, &[Run { decode_time: 0, samples: &[] }, runs[1]]);
    let moof = Moof::read_from(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(moof.traf.iter().map(|traf| traf.tfhd.track_id).collect::<Vec<_>>(), [2]);
}

#[test]
fn init_sections_have_one_track_on_its_timescale() {
    for (config, scale) in [
        (codec::h264(&Bytes::from_static(AVC)).unwrap(), 90_000),
        (codec::aac(&Bytes::from_static(&[0x2b, 0x11, 0x88, 0x00])).unwrap(), 48_000),
        (codec::opus(&Bytes::from_static(&[1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0])).unwrap(), 48_000),
    ] {
        let bytes = init(&[&config]);
        let mut reader = bytes.clone();
        assert_eq!(Ftyp::decode(&mut reader).unwrap().major_brand, b"iso6".into());
        let moov = Moov::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!(moov.trak.len(), 1);
        assert_eq!(moov.trak[0].tkhd.track_id, 1);
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, scale);
        assert_eq!(moov.mvex.unwrap().trex[0].track_id, 1);
        let record = match &config {
            Config::Video(video) => &video.record,
            Config::Audio(audio) => &audio.record,
        };
        assert!(bytes.windows(record.len()).any(|window| window == record), "the record is in it as it came");
    }
}

#[test]
fn an_init_section_of_two_tracks_numbers_them() {
    let picture = codec::h264(&Bytes::from_static(AVC)).unwrap();
    let sound = codec::aac(&Bytes::from_static(&[0x11, 0x90])).unwrap();
    let mut reader = init(&[&picture, &sound]);
    Ftyp::decode(&mut reader).unwrap();
    let moov = Moov::decode(&mut reader).unwrap();
    assert!(reader.is_empty());
    let tracks: Vec<_> = moov.trak.iter().map(|trak| (trak.tkhd.track_id, trak.mdia.mdhd.timescale)).collect();
    assert_eq!(tracks, [(1, 90_000), (2, 48_000)]);
    let extends: Vec<_> = moov.mvex.unwrap().trex.iter().map(|trex| trex.track_id).collect();
    assert_eq!((extends, moov.mvhd.next_track_id), (vec![1, 2], 3));
}

#[test]
fn rates_that_16_16_cannot_hold_are_left_to_the_decoder_configuration() {
    let config = codec::aac(&Bytes::from_static(&[0x10, 0x10])).unwrap();
    assert_eq!(timescale(&config), 96_000);
    let bytes = init(&[&config]);
    let entry = bytes.windows(4).position(|window| window == b"mp4a").unwrap() + 4;
    assert_eq!(bytes.slice(entry + 24..entry + 28), [0; 4][..]);
}

fn sample(duration: u32, composition_offset: i32, key: bool, payload: &[u8]) -> Sample {
    Sample { duration, composition_offset, key, payload: Bytes::copy_from_slice(payload) }
}

/// A baseline record of 426x240.
const AVC: &[u8] = &[
    0x01, 0x42, 0xc0, 0x15, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x42, 0xc0, 0x15, 0xd9, 0x01, 0xb1, 0xfe, 0x4f, 0x01, 0x10,
    0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x62, 0xe4, 0x80, 0x01, 0x00, 0x05, 0x68, 0xcb,
    0x83, 0xcb, 0x20,
];
