//! The header of one chunk as it stands on the wire, RTMP 1.0 section 5.3.1, without the extended timestamp, which only
//! the state of the chunk stream can tell. Called by the reader; looks, and consumes nothing.

/// Which fields a header carries. The others repeat those of the chunk stream's last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// Type 0: absolute time, length, type, stream.
    Full { time: u32, length: usize, kind: u8, stream: u32 },
    /// Type 1: time delta, length, type.
    SameStream { delta: u32, length: usize, kind: u8 },
    /// Type 2: time delta.
    SameLength { delta: u32 },
    /// Type 3: nothing.
    Same,
}

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) chunk_stream: u32,
    pub(super) fields: Fields,
    /// Bytes it takes.
    pub(super) size: usize,
}

impl Header {
    /// Reads the header at the front of `input`; None while bytes are missing.
    pub(super) fn parse(input: &[u8]) -> Option<Header> {
        let (&first, rest) = input.split_first()?;
        let (chunk_stream, basic) = match first & 0x3f {
            0 => (64 + u32::from(*rest.first()?), 2),
            1 => (64 + u32::from(*rest.first()?) + 256 * u32::from(*rest.get(1)?), 3),
            id => (u32::from(id), 1),
        };
        let (fields, size) = Fields::parse(first >> 6, input.get(basic..)?)?;
        Some(Header { chunk_stream, fields, size: basic + size })
    }
}

impl Fields {
    fn parse(format: u8, b: &[u8]) -> Option<(Fields, usize)> {
        Some(match format {
            0 => {
                let b = b.first_chunk::<11>()?;
                let stream = u32::from_le_bytes([b[7], b[8], b[9], b[10]]);
                let length = be24(b[3], b[4], b[5]) as usize;
                (Fields::Full { time: be24(b[0], b[1], b[2]), length, kind: b[6], stream }, 11)
            }
            1 => {
                let b = b.first_chunk::<7>()?;
                let length = be24(b[3], b[4], b[5]) as usize;
                (Fields::SameStream { delta: be24(b[0], b[1], b[2]), length, kind: b[6] }, 7)
            }
            2 => {
                let b = b.first_chunk::<3>()?;
                (Fields::SameLength { delta: be24(b[0], b[1], b[2]) }, 3)
            }
            _ => (Fields::Same, 0),
        })
    }

    /// The 24-bit time or delta, if the header has one.
    pub(super) fn time(self) -> Option<u32> {
        match self {
            Fields::Full { time, .. } => Some(time),
            Fields::SameStream { delta, .. } | Fields::SameLength { delta } => Some(delta),
            Fields::Same => None,
        }
    }
}

/// The value of the time field that says "see the four bytes behind the header".
pub(super) const EXTENDED: u32 = 0xff_ffff;

fn be24(a: u8, b: u8, c: u8) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
