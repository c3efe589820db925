//! The chunk stream against hand-made bytes, the writer, and a sender that compresses headers as it likes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::header::EXTENDED;
use super::writer::basic_header;
use super::*;
use crate::rtmp::message::{Message, MessageType};

fn message(kind: MessageType, timestamp: u32, payload: impl Into<Bytes>) -> Message {
    Message { timestamp, kind, stream: 1, payload: payload.into() }
}

fn video(timestamp: u32, length: usize) -> Message {
    let payload: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
    message(MessageType::Video, timestamp, payload)
}

/// Feeds all of `input` in pieces of `cut` bytes.
fn read(reader: &mut Reader, input: &[u8], cut: usize) -> Result<Vec<Message>, Error> {
    let mut buffer = BytesMut::new();
    let mut messages = Vec::new();
    for piece in input.chunks(cut.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some(message) = reader.next(&mut buffer)? {
            messages.push(message);
        }
        assert!(buffer.len() <= MAX_HEADER + WHOLE_CHUNK);
    }
    Ok(messages)
}

fn read_all(input: &[u8]) -> Result<Vec<Message>, Error> {
    read(&mut Reader::new(Limits::default()), input, usize::MAX)
}

/// A raw type 0 header.
fn full(out: &mut BytesMut, chunk_stream: u32, time: u32, length: usize, kind: u8) {
    basic_header(0, chunk_stream, out);
    out.put_uint(time.min(EXTENDED).into(), 3);
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u32_le(1);
    if time >= EXTENDED {
        out.put_u32(time);
    }
}

fn set_chunk_size(value: u32) -> BytesMut {
    let mut out = BytesMut::new();
    Writer::default().write(2, &Message::control(MessageType::SetChunkSize, value), &mut out);
    out
}

/// What a frame log keeps alive with a payload must be about what it counts.
#[test]
fn a_payload_keeps_at_most_twice_its_own_length_in_memory() {
    for length in [1, 100, 4096, 20_000, WHOLE_CHUNK / 2, 50_000, WHOLE_CHUNK] {
        let mut input = BytesMut::with_capacity(4 * WHOLE_CHUNK);
        let mut writer = Writer::default();
        writer.set_chunk_size(WHOLE_CHUNK as u32, &mut input);
        let mut reader = Reader::new(Limits::default());
        assert_eq!(reader.next(&mut input).unwrap(), None);
        writer.write(6, &video(40, length), &mut input);
        let block = input.as_ptr() as usize;
        let got = reader.next(&mut input).unwrap().unwrap();
        assert_eq!(got, video(40, length));
        let is_slice = (block..block + 2 * WHOLE_CHUNK).contains(&(got.payload.as_ptr() as usize));
        let kept = if is_slice { WHOLE_CHUNK } else { length };
        assert!(kept <= 2 * length, "{length} bytes keep {kept}");
    }
}

#[test]
fn chunk_sizes_of_any_announced_length_are_taken_and_zero_is_not() {
    for size in [1, 127, 65_536, 1_000_000, 0x7fff_ffff, 0xffff_ffff] {
        let mut input = set_chunk_size(size);
        let mut writer = Writer::default();
        writer.set_chunk_size(size & 0x7fff_ffff, &mut BytesMut::new());
        writer.write(4, &video(1, 300_000), &mut input);
        writer.write(4, &video(2, 10), &mut input);
        for cut in [usize::MAX, 1000, 65_536] {
            let got = read(&mut Reader::new(Limits::default()), &input, cut).unwrap();
            assert_eq!(got, [video(1, 300_000), video(2, 10)], "{size} {cut}");
        }
    }
    assert_eq!(read_all(&set_chunk_size(0)), Err(Error::ChunkSizeZero));
    assert_eq!(read_all(&set_chunk_size(0x8000_0000)), Err(Error::ChunkSizeZero));
}

#[test]
fn a_long_chunk_is_moved_out_of_the_input_as_it_comes() {
    let mut reader = Reader::new(Limits::default());
    let mut input = set_chunk_size(0x7fff_ffff);
    full(&mut input, 4, 0, 8 << 20, 9);
    assert_eq!(read(&mut reader, &input, usize::MAX), Ok(vec![]));
    let piece = BytesMut::zeroed(60_000);
    for _ in 0..100 {
        assert_eq!(read(&mut reader, &piece, usize::MAX), Ok(vec![]));
    }
    assert_eq!(reader.unfinished(), 6_000_000);
}

#[test]
fn extended_timestamps_are_read_whether_or_not_type_3_repeats_them() {
    for time in [EXTENDED - 1, EXTENDED, EXTENDED + 1, 0x8000_0000, u32::MAX] {
        for repeat in [true, false] {
            let mut input = BytesMut::new();
            let sent = [video(time, 500), video(time, 129)];
            for m in &sent {
                full(&mut input, 6, time, m.payload.len(), 9);
                for (i, chunk) in m.payload.chunks(128).enumerate() {
                    if i > 0 {
                        basic_header(3, 6, &mut input);
                        if repeat && time >= EXTENDED {
                            input.put_u32(time);
                        }
                    }
                    input.put_slice(chunk);
                }
            }
            for cut in [1, 2, 3, 7, usize::MAX] {
                let got = read(&mut Reader::new(Limits::default()), &input, cut).unwrap();
                assert_eq!(got, sent, "{time:#x} {repeat} {cut}");
            }
        }
    }
}

#[test]
fn extended_deltas_may_be_repeated_as_delta_or_as_time() {
    let delta = EXTENDED + 1000;
    for repeated in [None, Some(delta), Some(delta + 5)] {
        let mut input = BytesMut::new();
        full(&mut input, 4, 5, 1, 8);
        input.put_u8(0xaf);
        basic_header(1, 4, &mut input);
        input.put_uint(EXTENDED.into(), 3);
        input.put_uint(200, 3);
        input.put_u8(8);
        input.put_u32(delta);
        input.put_slice(&[7; 128]);
        basic_header(3, 4, &mut input);
        if let Some(value) = repeated {
            input.put_u32(value);
        }
        input.put_slice(&[7; 72]);
        let got = read_all(&input).unwrap();
        assert_eq!(got[1].timestamp, delta + 5, "{repeated:?}");
        assert_eq!(got[1].payload, [7; 200][..]);
    }
}

#[test]
fn type_3_begins_a_message_with_the_last_delta() {
    let mut input = BytesMut::new();
    full(&mut input, 4, 21, 2, 8);
    input.put_slice(&[0; 2]);
    basic_header(3, 4, &mut input);
    input.put_slice(&[1; 2]);
    basic_header(2, 4, &mut input);
    input.put_uint(23, 3);
    input.put_slice(&[2; 2]);
    basic_header(3, 4, &mut input);
    input.put_slice(&[3; 2]);
    let times: Vec<u32> = read_all(&input).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [21, 42, 65, 88]);
}

#[test]
fn deltas_wrap_at_32_bits() {
    let mut input = BytesMut::new();
    full(&mut input, 4, u32::MAX - 10, 1, 8);
    input.put_u8(0);
    basic_header(2, 4, &mut input);
    input.put_uint(23, 3);
    input.put_u8(1);
    assert_eq!(read_all(&input).unwrap()[1].timestamp, 12);
}

#[test]
fn an_audio_chunk_may_stand_inside_a_video_message() {
    let (picture, sound) = (video(40, 300), message(MessageType::Audio, 41, vec![5; 100]));
    let mut input = BytesMut::new();
    full(&mut input, 6, 40, 300, 9);
    input.put_slice(&picture.payload[..128]);
    full(&mut input, 4, 41, 100, 8);
    input.put_slice(&sound.payload);
    basic_header(3, 6, &mut input);
    input.put_slice(&picture.payload[128..256]);
    basic_header(3, 6, &mut input);
    input.put_slice(&picture.payload[256..]);
    assert_eq!(read_all(&input).unwrap(), [sound, picture]);
}

#[test]
fn abort_forgets_the_unfinished_message() {
    let mut input = BytesMut::new();
    full(&mut input, 6, 40, 300, 9);
    input.put_slice(&[0; 128]);
    Writer::default().write(2, &Message::control(MessageType::Abort, 6), &mut input);
    Writer::default().write(6, &video(80, 300), &mut input);
    let mut reader = Reader::new(Limits::default());
    assert_eq!(read(&mut reader, &input, usize::MAX).unwrap(), [video(80, 300)]);
    assert_eq!(reader.unfinished(), 0);
}

#[test]
fn chunk_stream_ids_take_one_to_three_bytes() {
    let mut input = BytesMut::new();
    let ids = [2, 63, 64, 319, 320, 65_599];
    for id in ids {
        Writer::default().write(id, &video(id, 300), &mut input);
    }
    for cut in [1, usize::MAX] {
        let got = read(&mut Reader::new(Limits::default()), &input, cut).unwrap();
        assert_eq!(got, ids.map(|id| video(id, 300)));
    }
}

#[test]
fn aggregates_are_taken_apart_on_the_time_of_the_message() {
    let mut body = BytesMut::new();
    for (kind, time, payload) in
        [(8u8, 0x0100_0000u32, &b"sound"[..]), (9, 0x0100_0028, b"picture"), (9, 0x0100_0050, b"")]
    {
        body.put_u8(kind);
        body.put_uint(payload.len() as u64, 3);
        body.put_uint((time & 0xff_ffff).into(), 3);
        body.put_u8((time >> 24) as u8);
        body.put_slice(&[0; 3]);
        body.put_slice(payload);
        body.put_u32(payload.len() as u32 + 11);
    }
    body.put_slice(&[9, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut input = BytesMut::new();
    Writer::default().write(4, &message(MessageType::Aggregate, 5000, body), &mut input);
    Writer::default().write(4, &video(6000, 3), &mut input);
    let expected = [
        message(MessageType::Audio, 5000, &b"sound"[..]),
        message(MessageType::Video, 5040, &b"picture"[..]),
        message(MessageType::Video, 5080, &b""[..]),
        video(6000, 3),
    ];
    assert_eq!(read_all(&input).unwrap(), expected);
}

#[test]
fn broken_chunk_streams_end_with_a_reason() {
    assert_eq!(read_all(&[0xc5]), Err(Error::NoPredecessor(5)));
    let mut long = BytesMut::new();
    full(&mut long, 4, 0, 16_000_000, 9);
    assert_eq!(read_all(&long), Err(Error::MessageTooLong { length: 16_000_000, limit: 8 << 20 }));
    let mut inside = BytesMut::new();
    full(&mut inside, 4, 0, 300, 9);
    inside.put_slice(&[0; 128]);
    full(&mut inside, 4, 0, 300, 9);
    assert_eq!(read_all(&inside), Err(Error::HeaderInMessage(4)));
    let mut many = BytesMut::new();
    (2..70).for_each(|id| Writer::default().write(id, &video(0, 1), &mut many));
    assert_eq!(read_all(&many), Err(Error::TooManyChunkStreams(64)));
    let mut short = BytesMut::new();
    Writer::default().write(2, &message(MessageType::SetChunkSize, 0, vec![1, 2]), &mut short);
    assert_eq!(read_all(&short), Err(Error::ShortControl));
}

#[test]
fn unfinished_messages_are_bounded_together() {
    let mut input = set_chunk_size(65_536);
    for id in 3..60 {
        full(&mut input, id, 0, 8 << 20, 9);
        input.put_bytes(0, 65_536);
    }
    let mut reader = Reader::new(Limits { unfinished: 1 << 20, ..Limits::default() });
    assert_eq!(read(&mut reader, &input, 65_536), Err(Error::TooMuchUnfinished(1 << 20)));
    assert!(reader.unfinished() <= 1 << 20);
}

/// One message as a sender may cut it: the chunk stream, the header type it would like, and the message.
#[derive(Clone, Debug)]
struct Sent {
    chunk_stream: u32,
    format: u8,
    message: Message,
}

fn sent() -> impl Strategy<Value = Sent> {
    let time = prop_oneof![0u32..100_000, EXTENDED - 5..EXTENDED + 5, any::<u32>(), u32::MAX - 5..=u32::MAX];
    (prop_oneof![3u32..7, Just(64), Just(400)], 0u8..3, time, 0usize..700, prop_oneof![Just(8u8), Just(9)]).prop_map(
        |(chunk_stream, format, time, length, kind)| {
            let message = Message { kind: kind.into(), ..video(time, length) };
            Sent { chunk_stream, format, message }
        },
    )
}

/// A sender that compresses headers where it can, and repeats extended times in type 3 or not.
fn encode(all: &[Sent], chunk_size: usize, repeat: bool) -> BytesMut {
    let mut out = set_chunk_size(chunk_size as u32);
    let mut last: std::collections::HashMap<u32, Message> = std::collections::HashMap::new();
    for Sent { chunk_stream, format, message } in all {
        let previous = last.get(chunk_stream);
        let delta = previous.map(|p| message.timestamp.wrapping_sub(p.timestamp));
        let same = previous.is_some_and(|p| p.payload.len() == message.payload.len() && p.kind == message.kind);
        let format = match (format, delta) {
            (2, Some(_)) if same => 2,
            (1 | 2, Some(_)) => 1,
            _ => 0,
        };
        let time = if format == 0 { message.timestamp } else { delta.unwrap() };
        basic_header(format, *chunk_stream, &mut out);
        out.put_uint(time.min(EXTENDED).into(), 3);
        if format < 2 {
            out.put_uint(message.payload.len() as u64, 3);
            out.put_u8(message.kind.id());
        }
        if format == 0 {
            out.put_u32_le(message.stream);
        }
        if time >= EXTENDED {
            out.put_u32(time);
        }
        for (i, chunk) in message.payload.chunks(chunk_size).enumerate() {
            if i > 0 {
                basic_header(3, *chunk_stream, &mut out);
                if repeat && time >= EXTENDED {
                    out.put_u32(time);
                }
            }
            out.put_slice(chunk);
        }
        last.insert(*chunk_stream, message.clone());
    }
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        lengths in proptest::collection::vec((3u32..8, any::<u32>(), 0usize..2000), 1..12),
        chunk_size in 1u32..3000,
        cut in 1usize..4000,
    ) {
        let mut writer = Writer::default();
        let mut out = BytesMut::new();
        writer.set_chunk_size(chunk_size, &mut out);
        let sent: Vec<Message> = lengths.iter().map(|(_, time, length)| video(*time, *length)).collect();
        lengths.iter().zip(&sent).for_each(|((id, ..), m)| writer.write(*id, m, &mut out));
        prop_assert_eq!(read(&mut Reader::new(Limits::default()), &out, cut).unwrap(), sent);
    }

    #[test]
    fn compressed_headers_are_read(
        all in proptest::collection::vec(sent(), 1..20),
        chunk_size in 1usize..300,
        repeat: bool,
        cut in prop_oneof![1usize..50, Just(usize::MAX)],
    ) {
        let input = encode(&all, chunk_size, repeat);
        let got = read(&mut Reader::new(Limits::default()), &input, cut).unwrap();
        let sent: Vec<Message> = all.into_iter().map(|s| s.message).collect();
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn random_bytes_never_panic_and_hold_little(
        mut input in proptest::collection::vec(any::<u8>(), 0..4000),
        start in proptest::option::of(0u8..4),
        cut in 1usize..500,
    ) {
        if let (Some(kind), Some(first)) = (start, input.first_mut()) {
            *first = kind << 6 | 4;
        }
        let limits = Limits { message: 100_000, chunk_streams: 8, unfinished: 2000 };
        let mut reader = Reader::new(limits);
        let _ = read(&mut reader, &input, cut);
        prop_assert!(reader.unfinished() <= 2000);
        prop_assert!(reader.wanted() <= WHOLE_CHUNK + MAX_HEADER);
    }
}
