//! RTP headers (RFC 3550 section 5.1, RFC 8285): reads those of publishers in place, writes those of viewers into the send
//! buffer. Pure. The library's header owns its extensions, which costs an allocation or two for each packet.

use bytes::Bytes;

/// A packet that came, opened.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Without padding. May be empty: browsers probe with padding alone.
    pub(super) payload: Bytes,
    extensions: Bytes,
    two_byte: bool,
}

impl Packet {
    /// Reads a packet; None where lengths do not add up.
    pub(super) fn read(packet: &Bytes) -> Option<Packet> {
        let head = packet.get(..FIXED)?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut at = FIXED + 4 * usize::from(head[0] & 15);
        let (mut extensions, mut two_byte) = (Bytes::new(), false);
        if head[0] & 0x10 != 0 {
            let intro = packet.get(at..at + 4)?;
            let profile = u16::from_be_bytes([intro[0], intro[1]]);
            let length = 4 * usize::from(u16::from_be_bytes([intro[2], intro[3]]));
            packet.get(at + 4..at + 4 + length)?;
            two_byte = profile & 0xfff0 == TWO_BYTE;
            if two_byte || profile == ONE_BYTE {
                extensions = packet.slice(at + 4..at + 4 + length);
            }
            at += 4 + length;
        }
        let padding = match head[0] & 0x20 {
            0 => 0,
            _ => usize::from(*packet.last()?),
        };
        let end = packet.len().checked_sub(padding).filter(|end| *end >= at)?;
        Some(Packet {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: word(4),
            ssrc: word(8),
            payload: packet.slice(at..end),
            extensions,
            two_byte,
        })
    }

    /// The value of a header extension.
    pub(super) fn extension(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = &self.extensions[..];
        while let Some((&first, tail)) = rest.split_first() {
            if first == 0 {
                rest = tail;
                continue;
            }
            let (number, length, body) = if self.two_byte {
                let (&length, body) = tail.split_first()?;
                (first, usize::from(length), body)
            } else {
                (first >> 4, usize::from(first & 15) + 1, tail)
            };
            if number == 15 && !self.two_byte {
                return None;
            }
            let value = body.get(..length)?;
            if number == wanted {
                return Some(value);
            }
            rest = &body[length..];
        }
        None
    }
}

/// What stands before the payload of a packet that goes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// The number of the transport-wide extension, and the packet's sequence number in it.
    pub(super) transport_wide: Option<(u8, u16)>,
}

impl Outgoing {
    /// Appends it; says how many bytes it has.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> usize {
        let extended = if self.transport_wide.is_some() { 0x10 } else { 0 };
        out.extend_from_slice(&[0x80 | extended, (u8::from(self.marker) << 7) | self.payload_type]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        let Some((number, sequence)) = self.transport_wide else { return FIXED };
        let [high, low] = sequence.to_be_bytes();
        out.extend_from_slice(&ONE_BYTE.to_be_bytes());
        out.extend_from_slice(&[0, 1, (number << 4) | 1, high, low, 0]);
        FIXED + 8
    }
}

/// Sequence numbers and timestamps without their wrap: each is taken as the nearest to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    /// Of 16 bits.
    pub(super) fn sequence(&mut self, value: u16) -> i64 {
        let now = self
            .last
            .map_or(i64::from(value) + (1 << 16), |last| last + i64::from(value.wrapping_sub(last as u16) as i16));
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        now
    }

    /// Of 32 bits.
    pub(super) fn timestamp(&mut self, value: u32) -> i64 {
        let now = self
            .last
            .map_or(i64::from(value) + (1 << 32), |last| last + i64::from(value.wrapping_sub(last as u32) as i32));
        self.last = Some(now);
        now
    }
}

const FIXED: usize = 12;
const ONE_BYTE: u16 = 0xbede;
const TWO_BYTE: u16 = 0x1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        for transport_wide in [None, Some((5, 700))] {
            let out = Outgoing {
                marker: true,
                payload_type: 96,
                sequence: 65_535,
                timestamp: 4_000_000_000,
                ssrc: 77,
                transport_wide,
            };
            let mut bytes = Vec::new();
            assert_eq!(out.write(&mut bytes), bytes.len());
            bytes.extend(b"payload");
            let packet = Packet::read(&bytes.into()).unwrap();
            assert!(packet.marker && packet.payload_type == 96 && packet.sequence == 65_535);
            assert_eq!((packet.timestamp, packet.ssrc, &packet.payload[..]), (4_000_000_000, 77, &b"payload"[..]));
            assert_eq!(packet.extension(5), transport_wide.map(|_| &[2, 188][..]));
            assert_eq!(packet.extension(6), None);
        }
    }

    #[test]
    fn both_forms_of_extensions_and_padding() {
        let one = [0xb0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde, 0, 2, 0x10, 7, 0x21, 8, 9, 0, 0, 0, 5, 0, 0, 3];
        let packet = Packet::read(&Bytes::copy_from_slice(&one)).unwrap();
        assert_eq!((packet.extension(1), packet.extension(2)), (Some(&[7][..]), Some(&[8, 9][..])));
        assert_eq!(&packet.payload[..], &[5]);
        let two = [0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0x10, 0, 0, 2, 1, 0, 0, 20, 3, b'a', b'b', b'c', 5];
        let packet = Packet::read(&Bytes::copy_from_slice(&two)).unwrap();
        assert_eq!((packet.extension(1), packet.extension(20)), (Some(&[][..]), Some(&b"abc"[..])));
    }

    #[test]
    fn numbers_go_on_over_their_wrap() {
        let mut unwrap = Unwrap::default();
        let numbers: Vec<i64> = [65_534_u16, 65_535, 1, 0, 2].map(|value| unwrap.sequence(value)).into();
        let first = numbers[0];
        assert_eq!(numbers.iter().map(|n| n - first).collect::<Vec<_>>(), [0, 1, 3, 2, 4]);
        let mut unwrap = Unwrap::default();
        let first = unwrap.timestamp(u32::MAX);
        assert_eq!(unwrap.timestamp(2_999) - first, 3_000);
        assert_eq!(unwrap.timestamp(u32::MAX) - first, 0);
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), number: u8) {
            if let Some(packet) = Packet::read(&bytes.into()) {
                let _ = packet.extension(number);
            }
        }
    }
}
