//! Bytes to messages. The reader applies Set Chunk Size and Abort itself, takes aggregate messages apart, and hands out
//! everything else. It consumes a chunk only when it can commit it, so a caller may feed bytes in pieces of any size.

use bytes::{Buf, Bytes, BytesMut};

use super::header::{EXTENDED, Fields, Header};
use super::{DEFAULT_CHUNK_SIZE, Error, Limits, MAX_HEADER, WHOLE_CHUNK};
use crate::rtmp::message::{Message, MessageType};

/// The receiving half of a chunk stream connection.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// Bytes in all `partial` buffers.
    unfinished: usize,
    /// A chunk longer than [`WHOLE_CHUNK`] that is being moved out: index of its chunk stream, bytes still to come.
    open: Option<(usize, usize)>,
    aggregate: Option<Aggregate>,
    wanted: usize,
    /// Whether this sender repeats extended timestamps in type 3 headers, once that is known.
    repeats: Option<bool>,
}

impl Reader {
    /// A reader at the start of a connection, behind the handshake.
    pub fn new(limits: Limits) -> Reader {
        Reader {
            limits,
            chunk_size: DEFAULT_CHUNK_SIZE,
            streams: Vec::new(),
            unfinished: 0,
            open: None,
            aggregate: None,
            wanted: 0,
            repeats: None,
        }
    }

    /// Other bounds from now on; what is held already stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The next whole message, or None when `input` has no further one yet.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            if let Some(message) = self.aggregate.as_mut().and_then(Aggregate::next) {
                return Ok(Some(message));
            }
            self.aggregate = None;
            let message = match self.chunk(input)? {
                Step::Blocked => return Ok(None),
                Step::Consumed => continue,
                Step::Message(message) => message,
            };
            match message.kind {
                MessageType::SetChunkSize => self.set_chunk_size(&message)?,
                MessageType::Abort => self.abort(message.number().ok_or(Error::ShortControl)?),
                MessageType::Aggregate => self.aggregate = Some(Aggregate::new(message)),
                _ => return Ok(Some(message)),
            }
        }
    }

    /// How many bytes the input must hold before [`Reader::next`] can go on; 0 where any byte helps. Never more than
    /// [`WHOLE_CHUNK`] + [`MAX_HEADER`].
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Bytes held for messages of which chunks are missing.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    fn chunk(&mut self, input: &mut BytesMut) -> Result<Step, Error> {
        if let Some((index, left)) = self.open.take() {
            return self.continue_open(index, left, input);
        }
        self.wanted = 0;
        let Some(header) = Header::parse(input) else { return Ok(Step::Blocked) };
        let index = self.stream_of(header)?;
        let stream = &self.streams[index];
        let Some((next, header_size)) = stream.apply(header, input, (self.chunk_size, self.repeats))? else {
            return Ok(Step::Blocked);
        };
        if header.fields == Fields::Same && next.extended.is_some() {
            self.repeats = Some(header_size > header.size);
        }
        if next.length > self.limits.message {
            return Err(Error::MessageTooLong { length: next.length, limit: self.limits.message });
        }
        let size = self.chunk_size.min(next.length - stream.received());
        if input.len() < header_size + size {
            if size <= WHOLE_CHUNK {
                self.wanted = header_size + size;
                return Ok(Step::Blocked);
            }
            input.advance(header_size);
            self.streams[index].last = next;
            return self.continue_open(index, size, input);
        }
        input.advance(header_size);
        self.streams[index].last = next;
        if size == next.length {
            return Ok(Step::Message(next.message(taken(input, size))));
        }
        self.append(index, input, size)
    }

    /// The place of the chunk stream that `header` names; a new one starts with a header that has a length.
    fn stream_of(&mut self, header: Header) -> Result<usize, Error> {
        let id = header.chunk_stream;
        if let Some(index) = self.streams.iter().position(|s| s.id == id) {
            return Ok(index);
        }
        // librtmp opens chunk streams with type 1 for control messages.
        if matches!(header.fields, Fields::SameLength { .. } | Fields::Same) {
            return Err(Error::NoPredecessor(id));
        }
        if self.streams.len() >= self.limits.chunk_streams {
            return Err(Error::TooManyChunkStreams(self.limits.chunk_streams));
        }
        self.streams.push(ChunkStream { id, last: Last::default(), partial: None });
        Ok(self.streams.len() - 1)
    }

    /// Moves what has come of a long chunk into its message.
    fn continue_open(&mut self, index: usize, left: usize, input: &mut BytesMut) -> Result<Step, Error> {
        let size = left.min(input.len());
        if size < left {
            self.open = Some((index, left - size));
        }
        match self.append(index, input, size)? {
            Step::Consumed if size < left => Ok(Step::Blocked),
            step => Ok(step),
        }
    }

    fn append(&mut self, index: usize, input: &mut BytesMut, size: usize) -> Result<Step, Error> {
        if self.unfinished + size > self.limits.unfinished {
            return Err(Error::TooMuchUnfinished(self.limits.unfinished));
        }
        let stream = &mut self.streams[index];
        let length = stream.last.length;
        let partial = stream.partial.get_or_insert_with(|| BytesMut::with_capacity(length.min(FIRST_RESERVE)));
        partial.extend_from_slice(&input[..size]);
        input.advance(size);
        self.unfinished += size;
        if partial.len() < length {
            return Ok(Step::Consumed);
        }
        let payload = stream.partial.take().unwrap_or_default().freeze();
        self.unfinished -= payload.len();
        Ok(Step::Message(stream.last.message(payload)))
    }

    fn set_chunk_size(&mut self, message: &Message) -> Result<(), Error> {
        // The top bit must be zero, says section 5.4.1; some senders set it all the same.
        match message.number().ok_or(Error::ShortControl)? & 0x7fff_ffff {
            0 => Err(Error::ChunkSizeZero),
            size => {
                self.chunk_size = size as usize;
                Ok(())
            }
        }
    }

    fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == chunk_stream) {
            self.unfinished -= stream.received();
            stream.partial = None;
        }
    }
}

/// A message that came in one chunk: a slice of the read block where it fills most of one, else a copy. Frames are kept
/// for long, and a slice would keep a whole block for each of them that no budget counts; the block of one that was
/// copied is read into again.
fn taken(input: &mut BytesMut, size: usize) -> Bytes {
    if size >= MIN_SLICE {
        return input.split_to(size).freeze();
    }
    let copy = Bytes::copy_from_slice(&input[..size]);
    input.advance(size);
    copy
}

/// What one look at the input led to.
enum Step {
    /// Bytes are missing.
    Blocked,
    /// A chunk was taken, its message is not whole yet.
    Consumed,
    /// A message is whole.
    Message(Message),
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    last: Last,
    /// The beginning of a message of which chunks are missing.
    partial: Option<BytesMut>,
}

/// The last message header of a chunk stream, against which the next one is compressed.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    timestamp: u32,
    delta: u32,
    /// The extended timestamp as it was sent, if there was one.
    extended: Option<u32>,
    length: usize,
    kind: u8,
    stream: u32,
}

impl ChunkStream {
    fn received(&self) -> usize {
        self.partial.as_ref().map_or(0, BytesMut::len)
    }

    /// The message header that holds after `header`, and the size of the whole chunk header. None: bytes are missing.
    /// `sender`: its chunk size, and whether it repeats extended times.
    fn apply(
        &self,
        header: Header,
        input: &[u8],
        sender: (usize, Option<bool>),
    ) -> Result<Option<(Last, usize)>, Error> {
        let begins = self.partial.is_none();
        let Some(field) = header.fields.time() else {
            let next = if begins { self.last.repeated() } else { self.last };
            let extended = self.repeated_extended(&next, &input[header.size..], sender);
            return Ok(extended.map(|size| (next, header.size + size)));
        };
        if !begins {
            return Err(Error::HeaderInMessage(self.id));
        }
        if field != EXTENDED {
            return Ok(Some((self.last.with(header.fields, field, None), header.size)));
        }
        let Some(extended) = input[header.size..].first_chunk::<4>().map(|b| u32::from_be_bytes(*b)) else {
            return Ok(None);
        };
        Ok(Some((self.last.with(header.fields, extended, Some(extended)), header.size + 4)))
    }

    /// How many bytes of extended timestamp stand behind a type 3 header. Senders disagree whether it is repeated
    /// there, so it counts as repeated exactly if its value is the expected one. None: that cannot be told yet. A chunk
    /// too short to be compared, which may be the last that comes for long, goes by what the sender did before.
    fn repeated_extended(
        &self,
        next: &Last,
        behind: &[u8],
        (chunk_size, repeats): (usize, Option<bool>),
    ) -> Option<usize> {
        let Some(extended) = self.last.extended else { return Some(0) };
        if repeats == Some(false) && chunk_size.min(next.length - self.received()) < 4 {
            return Some(0);
        }
        let seen = &behind[..behind.len().min(4)];
        let fits = |value: u32| value.to_be_bytes().starts_with(seen);
        match fits(extended) || fits(next.timestamp) {
            false => Some(0),
            true if seen.len() == 4 => Some(4),
            true => None,
        }
    }
}

impl Last {
    fn with(self, fields: Fields, time: u32, extended: Option<u32>) -> Last {
        let next = Last { delta: time, extended, timestamp: self.timestamp.wrapping_add(time), ..self };
        match fields {
            Fields::Full { length, kind, stream, .. } => Last { timestamp: time, length, kind, stream, ..next },
            Fields::SameStream { length, kind, .. } => Last { length, kind, ..next },
            Fields::SameLength { .. } | Fields::Same => next,
        }
    }

    /// A type 3 header that begins a message repeats the delta; behind a type 0 header that is its timestamp.
    fn repeated(self) -> Last {
        Last { timestamp: self.timestamp.wrapping_add(self.delta), ..self }
    }

    fn message(&self, payload: Bytes) -> Message {
        Message { timestamp: self.timestamp, kind: self.kind.into(), stream: self.stream, payload }
    }
}

/// An aggregate message that is being taken apart. The times within are moved so that the first one is the message's.
#[derive(Debug)]
struct Aggregate {
    rest: Bytes,
    stream: u32,
    timestamp: u32,
    /// Time within the aggregate of its first part.
    first: Option<u32>,
}

impl Aggregate {
    fn new(message: Message) -> Aggregate {
        Aggregate { rest: message.payload, stream: message.stream, timestamp: message.timestamp, first: None }
    }

    /// The next part. A truncated part ends the aggregate.
    fn next(&mut self) -> Option<Message> {
        let h = *self.rest.first_chunk::<11>()?;
        let length = u32::from_be_bytes([0, h[1], h[2], h[3]]) as usize;
        let time = u32::from_be_bytes([h[7], h[4], h[5], h[6]]);
        if self.rest.len() < 11 + length {
            return None;
        }
        self.rest.advance(11);
        // A copy, so that the part does not keep the others.
        let payload = Bytes::copy_from_slice(&self.rest[..length]);
        self.rest.advance(length);
        self.rest.advance(self.rest.len().min(BACK_POINTER));
        let first = *self.first.get_or_insert(time);
        let timestamp = self.timestamp.wrapping_add(time.wrapping_sub(first));
        Some(Message { timestamp, kind: h[0].into(), stream: self.stream, payload })
    }
}

/// Half a read block.
const MIN_SLICE: usize = WHOLE_CHUNK / 2;

/// What is reserved for a message before its bytes have come. Longer ones grow as they arrive.
const FIRST_RESERVE: usize = 256 * 1024;

/// Each part of an aggregate is followed by its size.
const BACK_POINTER: usize = 4;

const _: () = assert!(MAX_HEADER == 3 + 11 + 4);
