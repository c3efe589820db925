//! Any bytes as a chunk stream, in one piece and in small ones: both give the same messages, and little is held.
#![no_main]

use bytes::BytesMut;
use headwater::rtmp::chunk::{Limits, MAX_HEADER, Reader, WHOLE_CHUNK};
use headwater::rtmp::message::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = read(data, data.len().max(1));
    let pieces = read(data, 7);
    assert_eq!(whole, pieces);
});

fn read(data: &[u8], cut: usize) -> Vec<Message> {
    let limits = Limits { message: 1 << 20, chunk_streams: 64, unfinished: 1 << 16 };
    let mut reader = Reader::new(limits);
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in data.chunks(cut) {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return messages,
            }
        }
        assert!(reader.unfinished() <= limits.unfinished && reader.wanted() <= WHOLE_CHUNK + MAX_HEADER);
    }
    messages
}
