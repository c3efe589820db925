//! The chunk stream: bytes to messages ([`Reader`]) and messages to bytes ([`Writer`]). Sans-IO; `protocol` and `client`
//! own one of each. A long message that arrives in one chunk is handed out as a slice of the read buffer, all others cost
//! one copy. What a remote sender can make this module hold is bounded by [`Limits`], whatever sizes it announces.

mod header;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// Chunk stream of protocol control messages, RTMP 1.0 section 5.4.
pub const CONTROL: u32 = 2;

/// Chunk size of both directions until Set Chunk Size, RTMP 1.0 section 5.4.1.
pub const DEFAULT_CHUNK_SIZE: usize = 128;

/// A chunk of up to this many bytes is awaited whole in the read buffer, so that its message need not be copied. It is
/// the size of one read block; of longer chunks, what has come is moved out at once, so the read buffer never grows
/// with an announced size.
pub const WHOLE_CHUNK: usize = 64 * 1024;

/// The most bytes in front of a chunk's payload: 3 + 11 + 4.
pub const MAX_HEADER: usize = 18;

/// What one connection may make the reader hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes in one message. The wire allows 16 MiB less one byte; a key frame of 8K video has 2 to 4 MB.
    pub message: usize,
    /// Chunk streams in use. Encoders use 3 to 6.
    pub chunk_streams: usize,
    /// Bytes of all messages of which chunks are still missing.
    pub unfinished: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message: 8 << 20, chunk_streams: 64, unfinished: 32 << 20 }
    }
}

/// Why a chunk stream cannot be followed any further. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A compressed header with nothing before it to be compressed against.
    #[error("chunk stream {0} starts with a header that leaves out its length")]
    NoPredecessor(u32),
    /// A message header where only a continuation may stand.
    #[error("chunk stream {0} starts a message inside another one")]
    HeaderInMessage(u32),
    /// Longer than [`Limits::message`].
    #[error("message of {length} bytes, {limit} are allowed")]
    MessageTooLong {
        /// As announced.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// More than [`Limits::chunk_streams`].
    #[error("more than {0} chunk streams")]
    TooManyChunkStreams(usize),
    /// More than [`Limits::unfinished`].
    #[error("more than {0} bytes of unfinished messages")]
    TooMuchUnfinished(usize),
    /// Set Chunk Size with 0.
    #[error("chunk size 0")]
    ChunkSizeZero,
    /// A control message that is too short for its number.
    #[error("truncated protocol control message")]
    ShortControl,
}

#[cfg(test)]
mod tests;
