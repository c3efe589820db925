//! One FLV file as RTMP messages, parsed once and shared by all streams that publish it. Media payloads are cut into
//! chunks here too: as long as timestamps stay below 2^24 ms, only the 12-byte message header differs between streams and loops, so
//! that everything else is the same memory for all. Called by `publish`, `churn` and `latency`.

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use headwater::rtmp::amf0::Value;
use headwater::rtmp::message::MessageType;

/// A clip that can be played in a loop.
#[derive(Debug)]
pub(crate) struct Clip {
    /// Metadata and sequence headers; sent once, before the rest, with timestamp 0.
    pub(crate) setup: Vec<Tag>,
    /// The frames in file order; the first one is a key frame, or audio if there are no pictures.
    pub(crate) tags: Vec<Tag>,
    /// Length of one loop in milliseconds.
    pub(crate) period: u32,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Audio, Video or Data.
    pub(crate) kind: MessageType,
    /// Milliseconds since the start of the loop.
    pub(crate) time: u32,
    /// Length of the message in bytes, without chunk headers.
    pub(crate) length: usize,
    /// The message, with one-byte chunk headers where a chunk ends inside it.
    pub(crate) chunked: Bytes,
    /// A video key frame.
    pub(crate) key: bool,
}

/// Why a file cannot be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It is something else.
    #[error("not an FLV file")]
    NotFlv,
    /// Larger than [`MAX_FILE`].
    #[error("larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
    /// It has no frames, or they have no duration.
    #[error("no media that lasts")]
    Empty,
}

impl Clip {
    /// Reads a file for sending with chunks of `chunk_size` bytes.
    pub(crate) fn open(path: &Path, chunk_size: usize) -> Result<Clip, Error> {
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(Error::TooLarge);
        }
        Clip::parse(&std::fs::read(path)?, chunk_size)
    }

    fn parse(file: &[u8], chunk_size: usize) -> Result<Clip, Error> {
        if !file.starts_with(b"FLV\x01") || file.len() < HEADER {
            return Err(Error::NotFlv);
        }
        let mut setup = Vec::new();
        let mut tags: Vec<Tag> = Vec::new();
        let mut rest = &file[HEADER..];
        while let Some((kind, time, body, behind)) = next_tag(rest) {
            rest = behind;
            let (role, key) = role(kind, body);
            let make =
                |time, body: &[u8]| Tag { kind, time, length: body.len(), chunked: cut(kind, body, chunk_size), key };
            match role {
                Role::Metadata if setup.is_empty() => setup.push(make(0, &as_data_frame(body))),
                Role::Header => setup.push(make(0, body)),
                Role::Media => tags.push(make(time, body)),
                Role::Metadata | Role::Nothing => {}
            }
        }
        loopable(setup, tags)
    }

    /// The kind of message that paces the clip: pictures where there are any.
    pub(crate) fn main_kind(&self) -> MessageType {
        main_kind(&self.tags)
    }
}

fn main_kind(tags: &[Tag]) -> MessageType {
    if tags.iter().any(|tag| tag.kind == MessageType::Video) { MessageType::Video } else { MessageType::Audio }
}

/// Starts the clip at its first key frame, and ends it one frame interval after its last picture.
fn loopable(setup: Vec<Tag>, mut tags: Vec<Tag>) -> Result<Clip, Error> {
    let main = main_kind(&tags);
    let first =
        tags.iter().position(|t| t.kind == main && (t.key || main == MessageType::Audio)).ok_or(Error::Empty)?;
    tags.drain(..first);
    let start = tags[0].time;
    for tag in &mut tags {
        tag.time = tag.time.saturating_sub(start);
    }
    let paced: Vec<u32> = tags.iter().filter(|tag| tag.kind == main).map(|tag| tag.time).collect();
    let last = paced.last().copied().unwrap_or(0);
    let gaps = u32::try_from(paced.len() - 1).unwrap_or(u32::MAX);
    let period = last + (last + gaps / 2).checked_div(gaps).unwrap_or(0);
    if period == 0 {
        return Err(Error::Empty);
    }
    tags.retain(|tag| tag.time < period);
    Ok(Clip { setup, tags, period })
}

enum Role {
    Metadata,
    Header,
    Media,
    Nothing,
}

/// What a tag is good for, and whether it is a key frame. FLV 10.1 annexes E.4.2 and E.4.3; Enhanced RTMP v2 for FourCC codecs.
fn role(kind: MessageType, body: &[u8]) -> (Role, bool) {
    let (Some(&first), second) = (body.first(), body.get(1).copied()) else { return (Role::Nothing, false) };
    match kind {
        MessageType::Data => (Role::Metadata, false),
        MessageType::Video if first & 0x80 != 0 => match first & 0x0f {
            0 => (Role::Header, false),
            1 | 3 => (Role::Media, (first >> 4) & 7 == 1),
            _ => (Role::Nothing, false),
        },
        MessageType::Video => match second {
            Some(0) => (Role::Header, false),
            Some(1) => (Role::Media, first >> 4 == 1),
            _ => (Role::Nothing, false),
        },
        MessageType::Audio => {
            let enhanced = first >> 4 == 9 && first & 0x0f == 0;
            let aac = first >> 4 == 10 && second == Some(0);
            (if enhanced || aac { Role::Header } else { Role::Media }, false)
        }
        _ => (Role::Nothing, false),
    }
}

/// Takes a tag off the front: kind, time in milliseconds, body, what follows. None at the end, or where the file breaks off.
fn next_tag(input: &[u8]) -> Option<(MessageType, u32, &[u8], &[u8])> {
    let (head, rest) = input.split_at_checked(TAG_HEADER)?;
    let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
    let time = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
    let (body, rest) = rest.split_at_checked(length)?;
    Some((MessageType::from(head[0] & 0x1f), time, body, rest.get(BACK_POINTER..).unwrap_or_default()))
}

/// Servers expect metadata behind the name of a call.
fn as_data_frame(body: &[u8]) -> BytesMut {
    let mut whole = BytesMut::new();
    Value::text("@setDataFrame").encode(&mut whole);
    whole.put_slice(body);
    whole
}

fn cut(kind: MessageType, body: &[u8], chunk_size: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + body.len() / chunk_size + 1);
    for (index, chunk) in body.chunks(chunk_size).enumerate() {
        if index > 0 {
            out.put_u8(CONTINUED | chunk_stream(kind));
        }
        out.put_slice(chunk);
    }
    out.freeze()
}

/// The chunk stream a kind of message goes on.
fn chunk_stream(kind: MessageType) -> u8 {
    match kind {
        MessageType::Audio => 4,
        MessageType::Video => 6,
        _ => 5,
    }
}

/// The full chunk header in front of a message, RTMP 1.0 section 5.3.1.2.1. `time` must be below [`TIME_LIMIT`].
pub(crate) fn message_header(tag: &Tag, time: u32, stream: u32) -> [u8; MESSAGE_HEADER] {
    let (t, l, s) = (time.to_be_bytes(), u32::try_from(tag.length).unwrap_or(0).to_be_bytes(), stream.to_le_bytes());
    [chunk_stream(tag.kind), t[1], t[2], t[3], l[1], l[2], l[3], tag.kind.id(), s[0], s[1], s[2], s[3]]
}

/// Bytes of [`message_header`].
pub(crate) const MESSAGE_HEADER: usize = 12;

/// From this timestamp on, in milliseconds, every chunk would need an extended one. Four and a half hours.
pub(crate) const TIME_LIMIT: u32 = 0xff_ffff;

/// Header of a chunk that goes on with its message.
const CONTINUED: u8 = 0xc0;

/// The file header and the first back pointer.
const HEADER: usize = 9 + BACK_POINTER;
const TAG_HEADER: usize = 11;
const BACK_POINTER: usize = 4;

/// The file is held in memory: a gibibyte is an hour of 2 Mbit/s, and more than any benchmark loops.
const MAX_FILE: u64 = 1 << 30;

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// An FLV file of these tags.
    pub(crate) fn file(tags: &[(u8, u32, &[u8])]) -> Vec<u8> {
        let mut out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for (kind, time, body) in tags {
            let (l, t) = (u32::try_from(body.len()).unwrap().to_be_bytes(), time.to_be_bytes());
            out.extend([*kind, l[1], l[2], l[3], t[1], t[2], t[3], t[0], 0, 0, 0]);
            out.extend(*body);
            out.extend((u32::try_from(body.len()).unwrap() + 11).to_be_bytes());
        }
        out
    }

    const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 9, 9, 9];
    const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 8];
    const SOUND: &[u8] = &[0xaf, 1, 7];

    fn sample() -> Vec<u8> {
        file(&[
            (18, 0, b"\x02\0\x0aonMetaData"),
            (9, 0, &[0x17, 0, 0, 0, 0, 1]),
            (8, 0, &[0xaf, 0, 0x12]),
            (8, 60, SOUND),
            (9, 80, KEY),
            (8, 83, SOUND),
            (9, 120, DELTA),
            (9, 160, DELTA),
            (8, 250, SOUND),
        ])
    }

    #[test]
    fn a_file_becomes_a_loop() {
        let clip = Clip::parse(&sample(), 4096).unwrap();
        assert_eq!(clip.setup.len(), 3);
        assert!(clip.setup[0].chunked.windows(13).any(|w| w == b"@setDataFrame"));
        assert_eq!(clip.tags.iter().map(|t| t.time).collect::<Vec<_>>(), [0, 3, 40, 80]);
        assert!(clip.tags[0].key && !clip.tags[2].key);
        assert_eq!(clip.period, 120, "two gaps of 40 and one more, so that the next loop keeps the pace");
    }

    #[test]
    fn chunks_are_cut_once() {
        let clip = Clip::parse(&sample(), 3).unwrap();
        assert_eq!(&clip.tags[0].chunked[..], [0x17, 1, 0, 0xc6, 0, 0, 9, 0xc6, 9, 9]);
        assert_eq!(clip.tags[0].length, 8);
        assert_eq!(message_header(&clip.tags[0], 0x01_02_03, 1), [6, 1, 2, 3, 0, 0, 8, 9, 1, 0, 0, 0]);
    }

    #[test]
    fn what_cannot_loop_is_refused() {
        assert!(matches!(Clip::parse(b"RIFF", 9), Err(Error::NotFlv)));
        assert!(matches!(Clip::parse(&file(&[]), 9), Err(Error::Empty)));
        assert!(matches!(Clip::parse(&file(&[(9, 5, KEY)]), 9), Err(Error::Empty)));
        assert!(matches!(Clip::parse(&file(&[(9, 5, DELTA), (9, 9, DELTA)]), 9), Err(Error::Empty)));
    }

    proptest! {
        #[test]
        fn no_file_breaks_the_reader(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), size in 1usize..50) {
            let _ = Clip::parse(&bytes, size);
            let mut file = file(&[]);
            file.append(&mut bytes);
            let _ = Clip::parse(&file, size);
        }
    }
}
