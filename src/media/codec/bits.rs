//! A checked bit reader, most significant bit first, for the configuration parsers beside it. Every read says which
//! field it reads, so that an error can name it; nothing panics on short input.

/// Reads a slice bit by bit. Errors are sentences for [`super::BadConfig::reason`].
#[derive(Clone)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Next bit, counted from the start of `bytes`.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// Bits that are left.
    pub(super) fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(super) fn number(&mut self, count: usize, field: &str) -> Result<u32, String> {
        debug_assert!(count <= 32);
        if count > self.left() {
            return Err(format!("cut off at {field}"));
        }
        let mut value = 0_u64;
        let mut missing = count;
        while missing > 0 {
            let byte = self.bytes.get(self.at / 8).copied().unwrap_or(0);
            let free = 8 - self.at % 8;
            let take = free.min(missing);
            let part = (u64::from(byte) >> (free - take)) & ((1 << take) - 1);
            value = (value << take) | part;
            self.at += take;
            missing -= take;
        }
        Ok(value as u32)
    }

    /// One byte's worth of bits.
    pub(super) fn byte(&mut self, field: &str) -> Result<u8, String> {
        Ok(self.number(8, field)? as u8)
    }

    /// One bit.
    pub(super) fn flag(&mut self, field: &str) -> Result<bool, String> {
        Ok(self.number(1, field)? == 1)
    }

    /// Passes over any number of bits.
    pub(super) fn skip(&mut self, count: usize, field: &str) -> Result<(), String> {
        if count > self.left() {
            return Err(format!("cut off at {field}"));
        }
        self.at += count;
        Ok(())
    }

    /// Moves to the next whole byte.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// The next `count` bytes; the reader stands on a whole byte.
    pub(super) fn slice(&mut self, count: usize, field: &str) -> Result<&'a [u8], String> {
        debug_assert!(self.at.is_multiple_of(8));
        let start = self.at / 8;
        let slice = self.bytes.get(start..start.saturating_add(count)).ok_or_else(|| format!("cut off at {field}"))?;
        self.at += count * 8;
        Ok(slice)
    }

    /// All whole bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at.div_ceil(8)..).unwrap_or_default()
    }

    /// Exp-Golomb, unsigned: `ue(v)` of ITU-T H.264 section 9.1, of at most 32 bits.
    pub(super) fn ue(&mut self, field: &str) -> Result<u32, String> {
        let mut zeros = 0;
        while !self.flag(field)? {
            zeros += 1;
            if zeros > 31 {
                return Err(format!("{field} is out of range"));
            }
        }
        Ok((1_u32 << zeros) - 1 + self.number(zeros, field)?)
    }

    /// Exp-Golomb, signed: `se(v)` of ITU-T H.264 section 9.1.1.
    pub(super) fn se(&mut self, field: &str) -> Result<i64, String> {
        let code = i64::from(self.ue(field)?);
        Ok(if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) })
    }
}

/// A NAL unit without its emulation prevention bytes (the 3 in 00 00 03), as its parameter sets are parsed.
pub(super) fn unescaped(nal: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn numbers_cross_bytes_and_end_with_the_input() {
        let mut bits = Bits::new(&[0b1010_0101, 0xff, 0x00, 0xff, 0x80]);
        assert_eq!(bits.number(3, "a"), Ok(0b101));
        assert_eq!(bits.number(32, "b"), Ok(0b0010_1111_1111_1000_0000_0111_1111_1100));
        assert_eq!(bits.left(), 5);
        assert_eq!(bits.number(6, "the sixth"), Err("cut off at the sixth".to_owned()));
        assert_eq!(bits.number(0, "c"), Ok(0));
    }

    #[test]
    fn exp_golomb_codes() {
        // 1, 010, 011, 00100, then a run of zeros that is too long for 32 bits.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000, 0, 0, 0, 0, 0, 0]);
        assert_eq!((0..4).map(|_| bits.ue("v").unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(bits.ue("v"), Err("v is out of range".to_owned()));
        assert_eq!(Bits::new(&[0b0101_0000]).se("v"), Ok(1));
        assert_eq!(Bits::new(&[0b0111_0000]).se("v"), Ok(-1));
        assert_eq!(Bits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).ue("v"), Ok(u32::MAX - 1));
    }

    #[test]
    fn only_the_prevention_bytes_go() {
        assert_eq!(unescaped(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3]), [0, 0, 1, 0, 0, 0, 0, 3]);
        assert_eq!(unescaped(&[3, 0, 3, 0]), [3, 0, 3, 0]);
    }
}
