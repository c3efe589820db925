//! Messages to bytes. Every message starts with a full header: what that costs over compressed ones is a few bytes a
//! message, and a reader needs no state to follow it.

use bytes::{BufMut, BytesMut};

use super::header::EXTENDED;
use super::{CONTROL, DEFAULT_CHUNK_SIZE};
use crate::rtmp::message::{Message, MessageType};

/// The sending half of a chunk stream connection.
#[derive(Debug)]
pub struct Writer {
    chunk_size: usize,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { chunk_size: DEFAULT_CHUNK_SIZE }
    }
}

impl Writer {
    /// Announces a chunk size of 1 to 2^31 - 1 and cuts everything behind the announcement by it.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut BytesMut) {
        let size = size.clamp(1, 0x7fff_ffff);
        self.write(CONTROL, &Message::control(MessageType::SetChunkSize, size), out);
        self.chunk_size = size as usize;
    }

    /// Appends `message` to `out`, on a chunk stream of 2 to 65,599.
    pub fn write(&self, chunk_stream: u32, message: &Message, out: &mut BytesMut) {
        let chunks = message.payload.len() / self.chunk_size + 1;
        out.reserve(message.payload.len() + 18 + chunks * 7);
        let extended = (message.timestamp >= EXTENDED).then_some(message.timestamp);
        basic_header(0, chunk_stream, out);
        out.put_uint(message.timestamp.min(EXTENDED).into(), 3);
        out.put_uint(message.payload.len() as u64, 3);
        out.put_u8(message.kind.id());
        out.put_u32_le(message.stream);
        put_extended(extended, out);
        let mut rest = &message.payload[..];
        loop {
            let (chunk, behind) = rest.split_at(rest.len().min(self.chunk_size));
            out.put_slice(chunk);
            if behind.is_empty() {
                return;
            }
            basic_header(3, chunk_stream, out);
            put_extended(extended, out);
            rest = behind;
        }
    }
}

fn put_extended(extended: Option<u32>, out: &mut BytesMut) {
    if let Some(time) = extended {
        out.put_u32(time);
    }
}

pub(super) fn basic_header(format: u8, chunk_stream: u32, out: &mut BytesMut) {
    let format = format << 6;
    match chunk_stream {
        0..64 => out.put_u8(format | chunk_stream as u8),
        64..320 => out.put_slice(&[format, (chunk_stream - 64) as u8]),
        _ => {
            let id = chunk_stream - 64;
            out.put_slice(&[format | 1, id as u8, (id >> 8) as u8]);
        }
    }
}
