//! Frames to the payloads of RTP packets, once for all viewers. Pure; `lane` calls it. H.264: RFC 6184 (single units, STAP-A,
//! FU-A); HEVC: RFC 7798; VP9: RFC 9628; AV1 and VP8 go through the library's payloaders. Payloads are slices of the frame;
//! only what stands before a fragment is new.

use bytes::{BufMut, Bytes, BytesMut};
use rtp::codec::av1::Av1Payloader;
use rtp::codec::vp8::Vp8Payloader;
use rtp::packetizer::Payloader;

use crate::media::{Codec, Config, Frame, VideoConfig};

/// The payload of one packet: a few bytes of its own, then a part of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    head: [u8; 4],
    head_length: u8,
    body: Bytes,
}

impl Piece {
    fn new(head: &[u8], body: Bytes) -> Piece {
        let mut piece = Piece { head: [0; 4], head_length: head.len().min(4) as u8, body };
        piece.head[..usize::from(piece.head_length)].copy_from_slice(&head[..usize::from(piece.head_length)]);
        piece
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        usize::from(self.head_length) + self.body.len()
    }

    /// Appends it to a packet.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head[..usize::from(self.head_length)]);
        out.extend_from_slice(&self.body);
    }
}

/// The state of one track.
#[derive(Debug, Default)]
pub(super) struct Pack {
    av1: Av1Payloader,
    vp8: Vp8Payloader,
    /// Counts pictures of VP9.
    picture: u16,
}

impl Pack {
    /// The payloads of a frame, each at most [`LARGEST`]. Empty for a frame that cannot be sent.
    pub(super) fn frame(&mut self, frame: &Frame) -> Vec<Piece> {
        let library = |payloader: &mut dyn Payloader| {
            let payloads = payloader.payload(LARGEST, &frame.payload).unwrap_or_default();
            payloads.into_iter().map(|payload| Piece::new(&[], payload)).collect()
        };
        match (&*frame.config, frame.config.codec()) {
            (Config::Video(video), Codec::H264) => units(frame, sets(video, frame.key, H264), H264),
            (Config::Video(video), Codec::H265) => units(frame, sets(video, frame.key, H265), H265),
            (_, Codec::Av1) => library(&mut self.av1),
            (_, Codec::Vp8) => library(&mut self.vp8),
            (_, Codec::Vp9) => {
                self.picture = self.picture.wrapping_add(1) & 0x7fff;
                vp9(frame, self.picture)
            }
            (_, Codec::Opus) => vec![Piece::new(&[], frame.payload.clone())],
            _ => Vec::new(),
        }
    }
}

/// In flexible mode, where a picture says what it refers to: to the one before, which stands for all before it.
fn vp9(frame: &Frame, picture: u16) -> Vec<Piece> {
    let size = LARGEST - 4;
    let count = frame.payload.len().div_ceil(size);
    let piece = |at: usize| {
        let body = frame.payload.slice(at * size..frame.payload.len().min((at + 1) * size));
        let place = if at == 0 { VP9_BEGINS } else { 0 } | if at + 1 == count { VP9_ENDS } else { 0 };
        let [high, low] = picture.to_be_bytes();
        let refers = if frame.key { 0 } else { VP9_REFERS };
        let head = [VP9_PICTURE | VP9_FLEXIBLE | refers | place, 0x80 | high, low, 1 << 1];
        Piece::new(&head[..if frame.key { 3 } else { 4 }], body)
    };
    (0..count).map(piece).collect()
}

/// The bits I, P, F, B and E of the payload descriptor, section 4.2.
const VP9_PICTURE: u8 = 0x80;
const VP9_REFERS: u8 = 0x40;
const VP9_FLEXIBLE: u8 = 0x10;
const VP9_BEGINS: u8 = 0x08;
const VP9_ENDS: u8 = 0x04;

/// In what the two NAL unit codecs differ.
#[derive(Clone, Copy)]
struct Dialect {
    /// Bytes of a NAL unit's header.
    header: usize,
    /// Where the record says how long lengths are.
    length_size: usize,
    /// Where parameter sets begin in the record.
    sets: usize,
    hevc: bool,
}

const H264: Dialect = Dialect { header: 1, length_size: 4, sets: 5, hevc: false };
const H265: Dialect = Dialect { header: 2, length_size: 21, sets: 22, hevc: true };

/// The parameter sets that a key frame needs before it: senders of RTMP have them in the record alone.
fn sets(video: &VideoConfig, key: bool, dialect: Dialect) -> Vec<Bytes> {
    if !key {
        return Vec::new();
    }
    let found = if dialect.hevc { hevc_sets(&video.record) } else { avc_sets(&video.record) };
    found.unwrap_or_default()
}

fn avc_sets(record: &Bytes) -> Option<Vec<Bytes>> {
    let mut rest = record.get(H264.sets..).map(|_| record.slice(H264.sets..))?;
    let mut found = Vec::new();
    for mask in [0x1f, 0xff] {
        let count = rest.first()? & mask;
        rest = rest.slice(1..);
        for _ in 0..count {
            found.push(take_set(&mut rest)?);
        }
    }
    Some(found)
}

fn hevc_sets(record: &Bytes) -> Option<Vec<Bytes>> {
    let mut rest = record.get(H265.sets..).map(|_| record.slice(H265.sets..))?;
    let arrays = *rest.first()?;
    rest = rest.slice(1..);
    let mut found = Vec::new();
    for _ in 0..arrays {
        let count = u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?]);
        rest = rest.slice(3..);
        for _ in 0..count {
            found.push(take_set(&mut rest)?);
        }
    }
    Some(found)
}

fn take_set(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    rest.get(2..2 + length)?;
    let set = rest.slice(2..2 + length);
    *rest = rest.slice(2 + length..);
    Some(set)
}

/// Small units share a packet, large ones are cut into fragments that are all of one size but the last: the kernel can
/// send such in one go.
fn units(frame: &Frame, sets: Vec<Bytes>, dialect: Dialect) -> Vec<Piece> {
    let Config::Video(video) = &*frame.config else { return Vec::new() };
    let length_size = video.record.get(dialect.length_size).map_or(4, |byte| usize::from(byte & 3) + 1);
    let mut pieces = Vec::with_capacity(frame.payload.len() / LARGEST + 2);
    let mut small = Small { units: Vec::new(), bytes: 0, dialect };
    for unit in sets.into_iter().chain(Units { rest: frame.payload.clone(), length_size }) {
        if unit.len() <= dialect.header {
            continue;
        }
        if small.bytes + unit.len() + 2 > LARGEST {
            small.flush(&mut pieces);
        }
        if unit.len() + dialect.header + 2 > LARGEST {
            fragments(&unit, dialect, &mut pieces);
        } else {
            small.add(unit);
        }
    }
    small.flush(&mut pieces);
    pieces
}

struct Units {
    rest: Bytes,
    length_size: usize,
}

impl Iterator for Units {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let prefix = self.rest.get(..self.length_size)?;
        let length = prefix.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let end = self.length_size.checked_add(length).filter(|end| *end <= self.rest.len())?;
        let unit = self.rest.slice(self.length_size..end);
        self.rest = self.rest.slice(end..);
        Some(unit)
    }
}

/// Units that wait for others to share a packet with.
struct Small {
    units: Vec<Bytes>,
    bytes: usize,
    dialect: Dialect,
}

impl Small {
    fn add(&mut self, unit: Bytes) {
        self.bytes = if self.units.is_empty() { self.dialect.header } else { self.bytes } + 2 + unit.len();
        self.units.push(unit);
    }

    fn flush(&mut self, pieces: &mut Vec<Piece>) {
        let units = std::mem::take(&mut self.units);
        let mut body = BytesMut::new();
        match units.as_slice() {
            [] => return,
            [single] => pieces.push(Piece::new(&[], single.clone())),
            several => {
                for unit in several {
                    body.put_u16(unit.len() as u16);
                    body.put_slice(unit);
                }
                pieces.push(Piece::new(&self.aggregate(several), body.freeze()));
            }
        }
        self.bytes = 0;
    }

    /// The header of a packet that holds several: the highest importance, or the lowest layer, of them.
    fn aggregate(&self, units: &[Bytes]) -> Vec<u8> {
        let heads = || units.iter().map(|unit| unit[0]);
        if self.dialect.hevc {
            let lowest = units.iter().map(|unit| unit[1]).min().unwrap_or(1);
            return vec![AGGREGATE_HEVC << 1, lowest];
        }
        let importance = heads().map(|head| head & 0x60).max().unwrap_or(0);
        vec![importance | AGGREGATE]
    }
}

fn fragments(unit: &Bytes, dialect: Dialect, pieces: &mut Vec<Piece>) {
    let body = unit.slice(dialect.header..);
    let most = LARGEST - dialect.header - 1;
    let count = body.len().div_ceil(most);
    let size = body.len().div_ceil(count);
    for at in 0..count {
        let part = body.slice(at * size..body.len().min((at + 1) * size));
        let place = if at == 0 { 0x80 } else { 0 } | if at + 1 == count { 0x40 } else { 0 };
        let piece = if dialect.hevc {
            let (first, layer) = (unit[0], unit[1]);
            Piece::new(&[first & 0x81 | FRAGMENT_HEVC << 1, layer, place | first >> 1 & 0x3f], part)
        } else {
            let head = unit[0];
            Piece::new(&[head & 0xe0 | FRAGMENT, place | head & 0x1f], part)
        };
        pieces.push(piece);
    }
}

/// Bytes of a payload: with RTP header and extension, SRTP tag, UDP and IPv6 it stays below the 1,280 that every link carries.
pub(super) const LARGEST: usize = 1_180;
const AGGREGATE: u8 = 24;
const FRAGMENT: u8 = 28;
const AGGREGATE_HEVC: u8 = 48;
const FRAGMENT_HEVC: u8 = 49;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::super::unpack::Unpack;
    use super::*;
    use crate::media::{Time, codec};
    use proptest::prelude::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35];
    const PPS: &[u8] = &[0x68, 0xce, 0x06, 0xe2];

    fn frame(units: &[Vec<u8>], key: bool) -> Frame {
        let config = codec::h264_sets(&Bytes::from_static(SPS), &[Bytes::from_static(PPS)]).unwrap();
        let mut payload = BytesMut::new();
        for unit in units {
            payload.put_u32(unit.len() as u32);
            payload.put_slice(unit);
        }
        let payload = payload.freeze();
        Frame { dts: Time::ZERO, pts: Time::ZERO, key, cut: None, config: Arc::new(config), payload }
    }

    fn payloads(pieces: &[Piece]) -> Vec<Bytes> {
        let payload = |piece: &Piece| {
            let mut out = Vec::new();
            piece.write(&mut out);
            assert_eq!(out.len(), piece.len());
            Bytes::from(out)
        };
        pieces.iter().map(payload).collect()
    }

    #[test]
    fn fragments_are_of_one_size_but_the_last() {
        let mut unit = vec![0x65; 5_000];
        unit[0] = 0x65;
        let pieces = Pack::default().frame(&frame(&[unit], true));
        let sizes: Vec<_> = pieces.iter().map(Piece::len).collect();
        assert_eq!(sizes.len(), 1 + 5);
        assert!(sizes[1..5].iter().all(|size| *size == sizes[1]) && sizes[5] <= sizes[1]);
        assert!(sizes.iter().all(|size| *size <= LARGEST));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(lengths in proptest::collection::vec(2_usize..6_000, 1..6), key: bool) {
            let unit = |length: &usize| {
                let mut unit: Vec<u8> = (0..*length).map(|i| i as u8).collect();
                unit[0] = if key { 0x65 } else { 0x41 };
                unit
            };
            let sent = frame(&lengths.iter().map(unit).collect::<Vec<_>>(), key);
            let pieces = Pack::default().frame(&sent);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= LARGEST));
            let mut unpack = Unpack::new(Codec::H264);
            if !key {
                let first = frame(&[vec![0x65, 1]], true);
                unpack.frame(&payloads(&Pack::default().frame(&first))).unwrap();
            }
            let came = unpack.frame(&payloads(&pieces)).unwrap();
            prop_assert_eq!(&came.payload, &sent.payload);
            prop_assert_eq!(came.key, key);
            prop_assert_eq!(&*came.config, &*sent.config);
        }
    }
}
