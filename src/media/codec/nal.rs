//! NAL units behind length prefixes, as H.264 and HEVC samples are made of. Bounded by the sample; never copies one.

use bytes::Bytes;

/// Bytes of a length prefix from lengthSizeMinusOne; 3 is not a legal size.
pub(super) fn length_size(minus_one: u32) -> Result<usize, String> {
    match minus_one & 3 {
        2 => Err("lengthSizeMinusOne is 2".to_owned()),
        other => Ok(other as usize + 1),
    }
}

/// A copy of a record. A configuration lives for hours and must not keep the socket buffer alive that it came in.
pub(super) fn owned(record: &[u8]) -> Bytes {
    Bytes::copy_from_slice(record)
}

/// True if the whole sample can be walked and the first byte of one of its NAL units pleases `wanted`. `sizes` is the
/// byte of the record that ends in lengthSizeMinusOne. Empty units are passed over.
pub(super) fn any(sizes: Option<&u8>, payload: &[u8], wanted: impl Fn(u8) -> bool) -> bool {
    let mut found = false;
    for unit in Units::new(sizes, payload) {
        match unit {
            Some(unit) => found |= unit.first().is_some_and(|&header| wanted(header)),
            None => return false,
        }
    }
    found
}

/// Walks a sample. `None` in place of a unit: a length that the sample cannot hold; the walk ends there.
struct Units<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> Units<'a> {
    fn new(sizes: Option<&u8>, payload: &'a [u8]) -> Units<'a> {
        Units { rest: payload, size: usize::from(sizes.copied().unwrap_or(3) & 3) + 1 }
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let unit = self.rest.split_at_checked(self.size).and_then(|(prefix, rest)| {
            let length = prefix.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
            rest.split_at_checked(length)
        });
        let Some((unit, rest)) = unit else {
            self.rest = &[];
            return Some(None);
        };
        self.rest = rest;
        Some(Some(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: Option<&u8> = Some(&0xff);

    #[test]
    fn a_length_beyond_the_sample_spoils_all_of_it() {
        let idr = |header: u8| header == 5;
        assert!(any(FOUR, &[0, 0, 0, 1, 9, 0, 0, 0, 2, 5, 7], idr));
        assert!(!any(FOUR, &[0, 0, 0, 1, 5, 0, 0, 0, 3, 5, 7], idr));
        assert!(!any(FOUR, &[0, 0, 0, 1, 5, 0, 0], idr));
        assert!(!any(FOUR, &[], idr));
        assert!(any(Some(&0xfd), &[0, 1, 5], idr), "two-byte lengths");
        assert!(any(Some(&0xfc), &[0, 0, 1, 5], idr), "one-byte lengths, empty units first");
    }
}
