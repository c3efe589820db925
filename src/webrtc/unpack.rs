//! The packets of one frame to what a [`crate::media::Frame`] holds, and the parameter sets that travel with it. Sans-IO;
//! `intake` calls it with packets in order and without gaps. H.264: RFC 6184; HEVC: RFC 7798; AV1: the AOM's RTP payload
//! specification; VP8: RFC 7741; VP9: RFC 9628.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rtp::codec::vp9::Vp9Packet;
use rtp::packetizer::Depacketizer;

use crate::media::codec::{self, BadConfig};
use crate::media::flv::units;
use crate::media::{Codec, Config};

/// A frame of pictures, unpacked.
#[derive(Clone, Debug)]
pub(super) struct Unpacked {
    pub(super) config: Arc<Config>,
    pub(super) key: bool,
    pub(super) payload: Bytes,
}

/// Why there is no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// The packets make no frame.
    Malformed,
    /// Nothing can be decoded yet: no key frame with its parameter sets has come.
    NoKey,
    /// The parameter sets make no sense.
    Config(BadConfig),
}

/// What is known of one track's pictures.
#[derive(Debug)]
pub(super) struct Unpack {
    codec: Codec,
    sets: Sets,
    config: Option<Arc<Config>>,
}

/// Parameter sets in force: NAL units, or in AV1 the sequence header as `sps`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sets {
    vps: Bytes,
    sps: Bytes,
    pps: Vec<Bytes>,
    /// Another than the configuration was made of.
    changed: bool,
}

impl Unpack {
    /// For pictures of this codec.
    pub(super) fn new(codec: Codec) -> Unpack {
        Unpack { codec, sets: Sets::default(), config: None }
    }

    /// Takes the payloads of all packets of one frame.
    pub(super) fn frame(&mut self, payloads: &[Bytes]) -> Result<Unpacked, Useless> {
        let payload = match self.codec {
            Codec::H264 => self.units(payloads, units_h264)?,
            Codec::H265 => self.units(payloads, units_h265)?,
            Codec::Av1 => self.av1(payloads)?,
            Codec::Vp8 => joined(payloads, vp8_part)?,
            Codec::Vp9 => joined(payloads, vp9_part)?,
            Codec::Aac | Codec::Opus => return Err(Useless::Malformed),
        };
        self.configure(&payload)?;
        let config = self.config.clone().ok_or(Useless::NoKey)?;
        if payload.is_empty() {
            return Err(Useless::Malformed);
        }
        Ok(Unpacked { key: codec::is_random_access(&config, &payload), config, payload })
    }

    /// Takes new parameter sets where a decoder can start with them.
    fn configure(&mut self, payload: &Bytes) -> Result<(), Useless> {
        let config = match self.codec {
            Codec::Vp8 if payload.first().is_some_and(|byte| byte & 1 == 0) => codec::vp8(payload),
            Codec::Vp9 => match codec::vp9(payload) {
                Ok(config) => Ok(config),
                // Not a key frame.
                Err(_) => return Ok(()),
            },
            Codec::H264 if self.sets.ready() && !self.sets.pps.is_empty() => {
                codec::h264_sets(&self.sets.sps, &self.sets.pps)
            }
            Codec::H265 if self.sets.ready() && !self.sets.vps.is_empty() && !self.sets.pps.is_empty() => {
                codec::h265_sets(&self.sets.vps, &self.sets.sps, &self.sets.pps)
            }
            Codec::Av1 if self.sets.ready() => codec::av1_sequence(&self.sets.sps),
            _ => return Ok(()),
        }
        .map_err(Useless::Config)?;
        self.sets.changed = false;
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
        Ok(())
    }

    /// NAL units behind their lengths, without parameter sets, delimiters and filler.
    fn units(&mut self, payloads: &[Bytes], split: fn(&[Bytes]) -> Option<Vec<Bytes>>) -> Result<Bytes, Useless> {
        let found = split(payloads).ok_or(Useless::Malformed)?;
        let mut payload = BytesMut::with_capacity(found.iter().map(|unit| unit.len() + 4).sum());
        for unit in found {
            let Some(&head) = unit.first() else { continue };
            let place = match self.codec {
                Codec::H264 => h264_place(head),
                _ => h265_place(head),
            };
            match place {
                Place::Sample => {
                    payload.put_u32(unit.len() as u32);
                    payload.put_slice(&unit);
                }
                Place::Vps => self.sets.changed |= replace(&mut self.sets.vps, unit),
                Place::Sps => {
                    if replace(&mut self.sets.sps, unit) {
                        // Picture parameter sets belong to the sequence parameter set before them.
                        self.sets.pps.clear();
                        self.sets.changed = true;
                    }
                }
                Place::Pps => self.sets.add_pps(unit),
                Place::Nowhere => {}
            }
        }
        Ok(payload.freeze())
    }

    /// The OBUs of a temporal unit, each with its size, without delimiters.
    fn av1(&mut self, payloads: &[Bytes]) -> Result<Bytes, Useless> {
        let obus = obus(payloads).ok_or(Useless::Malformed)?;
        let unit = units::av1_of_obus(&obus).map_err(|_| Useless::Malformed)?;
        if unit.first().is_some_and(|head| head >> 3 & 15 == OBU_SEQUENCE_HEADER) {
            let length = units::first_obu(&unit).ok_or(Useless::Malformed)?;
            self.sets.changed |= replace(&mut self.sets.sps, unit.slice(..length));
        }
        Ok(unit)
    }
}

impl Sets {
    fn ready(&self) -> bool {
        self.changed && !self.sps.is_empty()
    }

    fn add_pps(&mut self, unit: Bytes) {
        if self.pps.contains(&unit) || self.pps.len() >= MOST_PPS || unit.len() > LONGEST_SET {
            return;
        }
        // The id is an exp-Golomb number at the start; ids below 15 differ in the first byte after the header.
        let id = |pps: &Bytes| pps.get(1).map(|byte| byte.leading_zeros());
        let same = self
            .pps
            .iter()
            .position(|known| known.get(1) == unit.get(1) || (id(known) == id(&unit) && id(&unit) == Some(0)));
        self.changed = true;
        match same {
            Some(at) => self.pps[at] = unpinned(&unit),
            None => self.pps.push(unpinned(&unit)),
        }
    }
}

/// Puts another set into its place; says whether it was another.
fn replace(place: &mut Bytes, unit: Bytes) -> bool {
    if *place == unit || unit.len() > LONGEST_SET {
        return false;
    }
    *place = unpinned(&unit);
    true
}

/// A copy: a set of forty bytes must not keep a packet in memory.
fn unpinned(unit: &Bytes) -> Bytes {
    Bytes::copy_from_slice(unit)
}

enum Place {
    Sample,
    Vps,
    Sps,
    Pps,
    Nowhere,
}

/// By nal_unit_type, ITU-T H.264 table 7-1.
fn h264_place(head: u8) -> Place {
    match head & 0x1f {
        7 => Place::Sps,
        8 => Place::Pps,
        1..=6 => Place::Sample,
        _ => Place::Nowhere,
    }
}

/// By nal_unit_type, ITU-T H.265 table 7-1.
fn h265_place(head: u8) -> Place {
    match head >> 1 & 0x3f {
        32 => Place::Vps,
        33 => Place::Sps,
        34 => Place::Pps,
        0..=31 | 39 | 40 => Place::Sample,
        _ => Place::Nowhere,
    }
}

/// RFC 6184 section 5: single units, STAP-A and FU-A; the interleaved forms are never negotiated.
fn units_h264(payloads: &[Bytes]) -> Option<Vec<Bytes>> {
    let mut units = Units::default();
    for payload in payloads {
        let head = *payload.first()?;
        match head & 0x1f {
            1..=23 => units.whole(payload.clone())?,
            24 => units.aggregate(payload.slice(1..))?,
            28 => {
                let part = *payload.get(1)?;
                units.fragment(&[head & 0xe0 | part & 0x1f], part, payload.slice(2..))?;
            }
            _ => return None,
        }
    }
    units.end()
}

/// RFC 7798 section 4.4: single units, aggregation and fragmentation packets, without decoding order numbers.
fn units_h265(payloads: &[Bytes]) -> Option<Vec<Bytes>> {
    let mut units = Units::default();
    for payload in payloads {
        let (head, layer) = (*payload.first()?, *payload.get(1)?);
        match head >> 1 & 0x3f {
            48 => units.aggregate(payload.slice(2..))?,
            49 => {
                let part = *payload.get(2)?;
                units.fragment(&[head & 0x81 | (part & 0x3f) << 1, layer], part, payload.slice(3..))?;
            }
            0..=47 => units.whole(payload.clone())?,
            _ => return None,
        }
    }
    units.end()
}

#[derive(Default)]
struct Units {
    done: Vec<Bytes>,
    open: Option<BytesMut>,
}

impl Units {
    fn whole(&mut self, unit: Bytes) -> Option<()> {
        self.done.push(unit);
        self.open.is_none().then_some(())
    }

    fn aggregate(&mut self, mut rest: Bytes) -> Option<()> {
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
            let unit = rest.get(2..2 + length).map(|_| rest.slice(2..2 + length))?;
            rest = rest.slice(2 + length..);
            self.whole(unit)?;
        }
        Some(())
    }

    /// `part`: its two upper bits say whether the fragment is the first or the last.
    fn fragment(&mut self, head: &[u8], part: u8, body: Bytes) -> Option<()> {
        let (first, last) = (part & 0x80 != 0, part & 0x40 != 0);
        if first == self.open.is_some() {
            return None;
        }
        let open = self.open.get_or_insert_with(|| BytesMut::from(head));
        open.put_slice(&body);
        if last {
            self.done.extend(self.open.take().map(BytesMut::freeze));
        }
        Some(())
    }

    fn end(self) -> Option<Vec<Bytes>> {
        self.open.is_none().then_some(self.done)
    }
}

/// The OBUs of a temporal unit, section 4.4 of the payload specification: elements behind their lengths, save the last
/// where the header counts them; the first may go on from the packet before, the last into the next.
fn obus(payloads: &[Bytes]) -> Option<Vec<Bytes>> {
    let mut units = Units::default();
    for payload in payloads {
        let head = *payload.first()?;
        let (goes_on, continues, count) = (head & 0x80 != 0, head & 0x40 != 0, usize::from(head >> 4 & 3));
        let mut rest = payload.slice(1..);
        let mut elements = Vec::new();
        while !rest.is_empty() && elements.len() < MOST_ELEMENTS {
            let length = if elements.len() + 1 == count { rest.len() } else { take_leb128(&mut rest)? };
            rest.get(..length)?;
            elements.push(rest.split_to(length));
        }
        let last = elements.len().checked_sub(1)?;
        for (at, element) in elements.into_iter().enumerate() {
            let (first, ends) = (!(at == 0 && goes_on), !(at == last && continues));
            units.fragment(&[], u8::from(first) << 7 | u8::from(ends) << 6, element)?;
        }
    }
    units.end()
}

fn take_leb128(rest: &mut Bytes) -> Option<usize> {
    let mut value = 0;
    for place in 0..4 {
        let byte = *rest.first()?;
        *rest = rest.slice(1..);
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The parts of a frame, without what stands before each.
fn joined(payloads: &[Bytes], part: fn(&Bytes) -> Option<Bytes>) -> Result<Bytes, Useless> {
    let mut frame = BytesMut::with_capacity(payloads.iter().map(Bytes::len).sum());
    for payload in payloads {
        frame.put_slice(&part(payload).ok_or(Useless::Malformed)?);
    }
    Ok(frame.freeze())
}

/// Behind the payload descriptor, RFC 7741 section 4.2. The last part of a frame may be a byte, which the library takes for
/// none.
fn vp8_part(payload: &Bytes) -> Option<Bytes> {
    let mut length = 1;
    if payload.first()? & 0x80 != 0 {
        let fields = *payload.get(1)?;
        length = 2;
        if fields & 0x80 != 0 {
            length += 1 + usize::from(payload.get(length)? >> 7);
        }
        length += usize::from(fields & 0x40 != 0) + usize::from(fields & 0x30 != 0);
    }
    (length < payload.len()).then(|| payload.slice(length..))
}

/// One depacketizer for each: it keeps what it reads.
fn vp9_part(payload: &Bytes) -> Option<Bytes> {
    Vp9Packet::default().depacketize(payload).ok()
}

const OBU_SEQUENCE_HEADER: u8 = 1;
/// In one packet; encoders have four.
const MOST_ELEMENTS: usize = 64;
const MOST_PPS: usize = 16;
const LONGEST_SET: usize = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x06, 0xd0, 0xa1, 0x35];
    const PPS: &[u8] = &[0x68, 0xce, 0x06, 0xe2];

    fn stap(units: &[&[u8]]) -> Bytes {
        let mut packet = vec![0x78];
        for unit in units {
            packet.extend((unit.len() as u16).to_be_bytes());
            packet.extend(*unit);
        }
        packet.into()
    }

    #[test]
    fn a_key_frame_in_fragments_with_its_sets_before_it() {
        let mut unpack = Unpack::new(Codec::H264);
        assert_eq!(unpack.frame(&[Bytes::from_static(&[0x41, 1, 2])]).unwrap_err(), Useless::NoKey);
        let fragments: [&[u8]; 3] = [&[0x7c, 0x85, 1, 2], &[0x7c, 0x05, 3], &[0x7c, 0x45, 4]];
        let mut packets = vec![stap(&[SPS, PPS])];
        packets.extend(fragments.map(Bytes::copy_from_slice));
        let frame = unpack.frame(&packets).unwrap();
        assert!(frame.key);
        assert_eq!(&frame.payload[..], &[0, 0, 0, 5, 0x65, 1, 2, 3, 4]);
        let Config::Video(video) = &*frame.config else { panic!() };
        assert_eq!((video.width, video.height, video.codecs.as_str()), (1280, 720, "avc1.42c01f"));
        let next = unpack.frame(&[Bytes::from_static(&[0x41, 9])]).unwrap();
        assert!(!next.key && Arc::ptr_eq(&next.config, &frame.config));
        let again = unpack.frame(&packets).unwrap();
        assert!(Arc::ptr_eq(&again.config, &frame.config), "sets that are repeated are the same");
    }

    #[test]
    fn fragments_that_do_not_add_up_are_no_frame() {
        let bad: [&[&[u8]]; 5] =
            [&[&[0x7c, 0x05, 3]], &[&[0x7c, 0x85, 1]], &[&[0x7c, 0x85, 1], &[0x41, 1]], &[&[0x78, 0, 9, 1]], &[&[]]];
        for packets in bad {
            let packets: Vec<_> = packets.iter().map(|packet| Bytes::copy_from_slice(packet)).collect();
            assert_eq!(Unpack::new(Codec::H264).frame(&packets).unwrap_err(), Useless::Malformed, "{packets:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn no_packets_upset_it(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
            codec in proptest::sample::select(vec![Codec::H264, Codec::H265, Codec::Av1, Codec::Vp8, Codec::Vp9]),
        ) {
            let packets: Vec<Bytes> = packets.into_iter().map(Bytes::from).collect();
            let mut unpack = Unpack::new(codec);
            let _ = unpack.frame(&packets);
            let _ = unpack.frame(&packets);
        }
    }
}
