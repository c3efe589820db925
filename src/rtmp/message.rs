//! RTMP messages: what a chunk stream carries, and the bodies of the protocol control messages. Built and read by
//! `protocol` and `client`; assembled and cut into chunks by `chunk`. Never interprets media.

use bytes::{BufMut, Bytes, BytesMut};

/// One whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds, as the sender counts them; wraps at 2^32.
    pub timestamp: u32,
    /// What the payload is.
    pub kind: MessageType,
    /// Message stream: 0 for the connection, else what `createStream` gave.
    pub stream: u32,
    /// The body. A slice of the read buffer where the message came in one chunk.
    pub payload: Bytes,
}

/// RTMP 1.0 section 5.4 and 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// The sender's chunks are this long from now on.
    SetChunkSize,
    /// The rest of a message will not come.
    Abort,
    /// Bytes received so far.
    Acknowledgement,
    /// Stream begin, ping and the like.
    UserControl,
    /// An acknowledgement is expected each time this many bytes came.
    WindowAckSize,
    /// Limit of unacknowledged output.
    SetPeerBandwidth,
    /// An FLV audio tag body.
    Audio,
    /// An FLV video tag body.
    Video,
    /// A data message behind an AMF3 format byte.
    DataAmf3,
    /// A command behind an AMF3 format byte.
    CommandAmf3,
    /// Metadata.
    Data,
    /// A remote call.
    Command,
    /// Several messages in one.
    Aggregate,
    /// Anything else: shared objects and what nobody defined.
    Other(u8),
}

impl MessageType {
    /// The number on the wire.
    pub fn id(self) -> u8 {
        match self {
            MessageType::SetChunkSize => 1,
            MessageType::Abort => 2,
            MessageType::Acknowledgement => 3,
            MessageType::UserControl => 4,
            MessageType::WindowAckSize => 5,
            MessageType::SetPeerBandwidth => 6,
            MessageType::Audio => 8,
            MessageType::Video => 9,
            MessageType::DataAmf3 => 15,
            MessageType::CommandAmf3 => 17,
            MessageType::Data => 18,
            MessageType::Command => 20,
            MessageType::Aggregate => 22,
            MessageType::Other(id) => id,
        }
    }
}

impl From<u8> for MessageType {
    fn from(id: u8) -> MessageType {
        match id {
            1 => MessageType::SetChunkSize,
            2 => MessageType::Abort,
            3 => MessageType::Acknowledgement,
            4 => MessageType::UserControl,
            5 => MessageType::WindowAckSize,
            6 => MessageType::SetPeerBandwidth,
            8 => MessageType::Audio,
            9 => MessageType::Video,
            15 => MessageType::DataAmf3,
            17 => MessageType::CommandAmf3,
            18 => MessageType::Data,
            20 => MessageType::Command,
            22 => MessageType::Aggregate,
            other => MessageType::Other(other),
        }
    }
}

impl Message {
    /// A protocol control message with one number as its body: types 1, 2, 3 and 5.
    pub fn control(kind: MessageType, value: u32) -> Message {
        Message { timestamp: 0, kind, stream: 0, payload: Bytes::copy_from_slice(&value.to_be_bytes()) }
    }

    /// Set Peer Bandwidth with the limit type "dynamic".
    pub fn peer_bandwidth(window: u32) -> Message {
        let mut body = BytesMut::with_capacity(5);
        body.put_u32(window);
        body.put_u8(2);
        Message { timestamp: 0, kind: MessageType::SetPeerBandwidth, stream: 0, payload: body.freeze() }
    }

    /// A user control message: an event and its four bytes of data.
    pub fn user_control(event: u16, data: [u8; 4]) -> Message {
        let mut body = BytesMut::with_capacity(6);
        body.put_u16(event);
        body.put_slice(&data);
        Message { timestamp: 0, kind: MessageType::UserControl, stream: 0, payload: body.freeze() }
    }

    /// The first four bytes of the payload as a number, if there are four.
    pub fn number(&self) -> Option<u32> {
        self.payload.first_chunk().map(|b| u32::from_be_bytes(*b))
    }
}

/// The answer to a user control message, if it is a ping: a pong with the same data.
pub(super) fn pong(user_control: &[u8]) -> Option<Message> {
    let [a, b, data @ ..] = *user_control.first_chunk::<6>()?;
    (u16::from_be_bytes([a, b]) == PING_REQUEST).then(|| Message::user_control(PING_RESPONSE, data))
}

/// User control event: is the other end there?
pub const PING_REQUEST: u16 = 6;
/// User control event: the answer, with the same data.
pub const PING_RESPONSE: u16 = 7;
