//! The units inside an access unit, as far as a packager has to know them: NAL units behind their lengths, OBUs behind
//! their headers. Makes what a sloppy encoder sends into what [`crate::media::Frame`] promises. Copies only where
//! something has to be taken out or put in.

use bytes::{BufMut, Bytes, BytesMut};

/// An access unit whose units do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed access unit")]
pub struct Malformed;

/// An access unit that can be used, and what was taken out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    /// Without the units taken out. May be empty.
    pub payload: Bytes,
    /// NAL units of no length.
    pub empty_units: u32,
}

/// Checks the NAL units of an access unit, each behind a length of `length_size` bytes (1 to 4), and takes out those
/// that are empty.
pub fn nal_units(payload: Bytes, length_size: usize) -> Result<Clean, Malformed> {
    let mut empty_units = 0;
    let mut at = 0;
    let length_size = length_size.clamp(1, 4);
    while at < payload.len() {
        let size = nal_size(&payload[at..], length_size)?;
        empty_units += u32::from(size == 0);
        at += length_size + size;
    }
    if empty_units == 0 {
        return Ok(Clean { payload, empty_units });
    }
    let mut kept = BytesMut::with_capacity(payload.len());
    let mut rest = &payload[..];
    while !rest.is_empty() {
        let size = nal_size(rest, length_size)?;
        let (unit, behind) = rest.split_at(length_size + size);
        if size > 0 {
            kept.put_slice(unit);
        }
        rest = behind;
    }
    Ok(Clean { payload: kept.freeze(), empty_units })
}

/// The size of the NAL unit at the front, which is there as a whole.
fn nal_size(input: &[u8], length_size: usize) -> Result<usize, Malformed> {
    let prefix = input.get(..length_size).ok_or(Malformed)?;
    let size = prefix.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    if size > input.len() - prefix.len() { Err(Malformed) } else { Ok(size) }
}

/// Takes temporal delimiters out of an AV1 temporal unit and gives every OBU its size, as ISO/IEC 23000 samples want
/// it (AV1 in ISOBMFF section 2.4).
pub fn av1_temporal_unit(payload: Bytes) -> Result<Bytes, Malformed> {
    let mut start = 0;
    let mut rest = &payload[..];
    let mut rewrite = false;
    while !rest.is_empty() {
        let obu = Obu::parse(rest)?;
        if obu.is_delimiter() && rest.len() == payload.len() - start {
            start += obu.size;
        } else if obu.is_delimiter() || !obu.has_size {
            rewrite = true;
        }
        rest = &rest[obu.size..];
    }
    if rewrite { rewritten(&payload[start..]) } else { Ok(payload.slice(start..)) }
}

/// A temporal unit of OBUs, each given whole, with or without its size field: as ISO/IEC 23000 samples want it.
pub fn av1_of_obus(obus: &[Bytes]) -> Result<Bytes, Malformed> {
    let mut out = BytesMut::with_capacity(obus.iter().map(|obu| obu.len() + 4).sum());
    for obu in obus.iter().filter(|obu| !obu.is_empty()) {
        let parsed = Obu::parse(obu)?;
        // One with a size ends there; what is behind it is padding.
        parsed.put(obu, &mut out);
    }
    Ok(out.freeze())
}

/// How many bytes the first OBU has, header and all; None where it does not add up.
pub fn first_obu(payload: &[u8]) -> Option<usize> {
    Obu::parse(payload).ok().map(|obu| obu.size)
}

fn rewritten(mut rest: &[u8]) -> Result<Bytes, Malformed> {
    let mut out = BytesMut::with_capacity(rest.len() + 8);
    while !rest.is_empty() {
        let obu = Obu::parse(rest)?;
        let (whole, behind) = rest.split_at(obu.size);
        obu.put(whole, &mut out);
        rest = behind;
    }
    Ok(out.freeze())
}

/// One OBU's place, AV1 section 5.3.
struct Obu {
    kind: u8,
    has_size: bool,
    /// Bytes before the body, the size field included.
    header: usize,
    /// All its bytes.
    size: usize,
}

impl Obu {
    fn parse(input: &[u8]) -> Result<Obu, Malformed> {
        let first = *input.first().ok_or(Malformed)?;
        if first & FORBIDDEN != 0 {
            return Err(Malformed);
        }
        let has_size = first & HAS_SIZE != 0;
        let mut header = if first & HAS_EXTENSION != 0 { 2 } else { 1 };
        let mut body = input.len().checked_sub(header).ok_or(Malformed)?;
        if has_size {
            let (value, bytes) = leb128(&input[header..])?;
            header += bytes;
            body = value;
        }
        if body > input.len() - header {
            return Err(Malformed);
        }
        Ok(Obu { kind: (first >> 3) & 0x0f, has_size, header, size: header + body })
    }

    /// Appends it with its size, unless it is a delimiter. `whole`: its bytes.
    fn put(&self, whole: &[u8], out: &mut BytesMut) {
        if self.is_delimiter() {
            return;
        }
        let (header, body) = whole[..self.size].split_at(self.header);
        out.put_u8(header[0] | HAS_SIZE);
        out.put_slice(&header[1..if header[0] & HAS_EXTENSION != 0 { 2 } else { 1 }]);
        put_leb128(body.len(), out);
        out.put_slice(body);
    }

    fn is_delimiter(&self) -> bool {
        self.kind == TEMPORAL_DELIMITER
    }
}

fn leb128(input: &[u8]) -> Result<(usize, usize), Malformed> {
    let mut value = 0;
    // Four groups of seven bits are more than any message has bytes.
    for (index, byte) in input.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(Malformed)
}

fn put_leb128(mut value: usize, out: &mut BytesMut) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

const FORBIDDEN: u8 = 0x80;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const TEMPORAL_DELIMITER: u8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn nal(payload: &'static [u8], length_size: usize) -> Result<Clean, Malformed> {
        nal_units(Bytes::from_static(payload), length_size)
    }

    #[test]
    fn whole_access_units_stay_as_they_are() {
        let clean = nal(&[0, 0, 0, 2, 9, 16, 0, 0, 0, 1, 0x65], 4).unwrap();
        assert_eq!((clean.payload.len(), clean.empty_units), (11, 0));
        assert_eq!(nal(&[1, 0x65, 2, 1, 2], 1).unwrap().payload.len(), 5);
    }

    #[test]
    fn empty_nal_units_are_taken_out() {
        let clean = nal(&[0, 0, 0, 0, 0, 0, 0, 1, 0x65, 0, 0, 0, 0], 4).unwrap();
        assert_eq!((&clean.payload[..], clean.empty_units), (&[0, 0, 0, 1, 0x65][..], 2));
        assert!(nal(&[0, 0, 0, 0], 4).unwrap().payload.is_empty());
    }

    #[test]
    fn nal_units_that_do_not_add_up_are_malformed() {
        assert_eq!(nal(&[0, 0, 0, 5, 1], 4), Err(Malformed));
        assert_eq!(nal(&[0xff, 0xff, 0xff, 0xff, 1], 4), Err(Malformed));
        assert_eq!(nal(&[0, 0, 0], 4), Err(Malformed));
    }

    const DELIMITER: [u8; 2] = [0x12, 0];
    const FRAME: [u8; 4] = [0x32, 2, 7, 8];

    #[test]
    fn temporal_delimiters_are_taken_out() {
        let front = Bytes::from([&DELIMITER[..], &FRAME].concat());
        let cleaned = av1_temporal_unit(front.clone()).unwrap();
        assert_eq!(cleaned, FRAME[..]);
        assert_eq!(cleaned.as_ptr(), front[2..].as_ptr(), "no copy where it stands in front");
        let middle = Bytes::from([&FRAME[..], &DELIMITER, &FRAME].concat());
        assert_eq!(av1_temporal_unit(middle).unwrap(), [FRAME, FRAME].concat());
    }

    #[test]
    fn an_obu_without_size_gets_one() {
        let bare = Bytes::from_static(&[0x12, 0, 0x30, 7, 8]);
        assert_eq!(av1_temporal_unit(bare).unwrap(), FRAME[..]);
        let extended = Bytes::from_static(&[0x34, 0x20, 7, 8]);
        assert_eq!(av1_temporal_unit(extended).unwrap(), [0x36, 0x20, 2, 7, 8][..]);
    }

    #[test]
    fn obus_that_do_not_add_up_are_malformed() {
        assert_eq!(av1_temporal_unit(Bytes::from_static(&[0x32, 9, 1])), Err(Malformed));
        assert_eq!(av1_temporal_unit(Bytes::from_static(&[0x32, 0x80, 0x80, 0x80, 0x80])), Err(Malformed));
        assert_eq!(av1_temporal_unit(Bytes::from_static(&[0xff])), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_input_panics(payload in proptest::collection::vec(any::<u8>(), 0..200), length_size in 0usize..6) {
            let _ = nal_units(Bytes::from(payload.clone()), length_size);
            if let Ok(clean) = av1_temporal_unit(Bytes::from(payload)) {
                prop_assert!(av1_temporal_unit(clean).is_ok());
            }
        }
    }
}
