//! The publishing client's side of an RTMP conversation. Sans-IO, as `protocol` is; the load tool and the tests drive
//! it. It publishes one stream over one connection.

use bytes::{Bytes, BytesMut};

use super::amf0::Value;
use super::chunk::{self, Limits, Reader, Writer};
use super::command::{self, Command};
use super::handshake::{self, Style};
use super::message::{self, Message, MessageType};
use super::protocol::Error;

/// Where and what to publish.
#[derive(Clone, Debug)]
pub struct Target {
    /// Application: `live`.
    pub app: String,
    /// The address as the user typed it: `rtmp://HOST:PORT/live`.
    pub url: String,
    /// The stream key.
    pub key: String,
    /// What to call oneself.
    pub client: String,
}

/// The conversation.
#[derive(Debug)]
pub struct Client {
    target: Target,
    state: State,
    reader: Reader,
    writer: Writer,
    chunk_size: u32,
    out: BytesMut,
}

#[derive(Debug)]
enum State {
    Handshake(handshake::Client),
    Connecting,
    Creating,
    Asking { stream: u32 },
    Publishing { stream: u32 },
    Over,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream is ours: media may be sent.
    Started,
    /// A refusal or the end, with its code and description.
    Refused {
        /// `NetStream.Publish.BadName` and the like.
        code: String,
        /// The text behind it.
        description: String,
    },
}

impl Client {
    /// A conversation at its start; [`Client::output`] has the first bytes at once.
    pub fn new(target: Target, style: Style, chunk_size: u32, seed: u64) -> Client {
        let mut out = BytesMut::new();
        let state = State::Handshake(handshake::Client::start(seed, style, &mut out));
        Client { target, state, reader: Reader::new(Limits::default()), writer: Writer::default(), chunk_size, out }
    }

    /// The next event in `input`; None when bytes are missing.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        if let State::Handshake(client) = &mut self.state {
            if !client.advance(input, &mut self.out)? {
                return Ok(None);
            }
            self.connect();
        }
        while let Some(message) = self.reader.next(input)? {
            if let Some(event) = self.message(&message)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Bytes for the socket.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// The message stream that carries the media; None unless the server lets us publish. For callers that write
    /// chunks of media to the socket themselves.
    pub fn stream(&self) -> Option<u32> {
        if let State::Publishing { stream } = self.state { Some(stream) } else { None }
    }

    /// Appends a video tag body to the output.
    pub fn video(&mut self, timestamp: u32, body: Bytes) {
        self.media(MessageType::Video, 6, timestamp, body);
    }

    /// Appends an audio tag body to the output.
    pub fn audio(&mut self, timestamp: u32, body: Bytes) {
        self.media(MessageType::Audio, 4, timestamp, body);
    }

    /// Appends `onMetaData`.
    pub fn metadata(&mut self, entries: Value) {
        if let State::Publishing { stream } = self.state {
            let values = [Value::text("@setDataFrame"), Value::text("onMetaData"), entries];
            self.writer.write(4, &command::data(stream, &values), &mut self.out);
        }
    }

    /// Says that the show is over.
    pub fn goodbye(&mut self) {
        if let State::Publishing { stream } = self.state {
            let key = Value::text(&self.target.key);
            self.call(0, "FCUnpublish", 6.0, &[Value::Null, key]);
            self.call(0, "deleteStream", 7.0, &[Value::Null, Value::Number(f64::from(stream))]);
            self.state = State::Over;
        }
    }

    fn media(&mut self, kind: MessageType, chunk_stream: u32, timestamp: u32, payload: Bytes) {
        if let State::Publishing { stream } = self.state {
            self.writer.write(chunk_stream, &Message { timestamp, kind, stream, payload }, &mut self.out);
        }
    }

    fn connect(&mut self) {
        self.writer.set_chunk_size(self.chunk_size, &mut self.out);
        let offer = Value::object([
            ("app", Value::text(&self.target.app)),
            ("type", Value::text("nonprivate")),
            ("flashVer", Value::text(&self.target.client)),
            ("tcUrl", Value::text(&self.target.url)),
        ]);
        self.call(0, "connect", 1.0, &[offer]);
        self.state = State::Connecting;
    }

    fn message(&mut self, message: &Message) -> Result<Option<Event>, Error> {
        match message.kind {
            MessageType::UserControl => {
                if let Some(pong) = message::pong(&message.payload) {
                    self.writer.write(chunk::CONTROL, &pong, &mut self.out);
                }
                Ok(None)
            }
            MessageType::Command | MessageType::CommandAmf3 => {
                let command = Command::parse(message.kind, &message.payload)?;
                Ok(command.and_then(|command| self.command(&command)))
            }
            _ => Ok(None),
        }
    }

    fn command(&mut self, command: &Command) -> Option<Event> {
        let info = command.arguments.get(1).unwrap_or(&Value::Null);
        let text = |key| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, description) = (text("code"), text("description"));
        match (&self.state, command.name.as_str()) {
            (State::Connecting, "_result") => self.create_stream(),
            (State::Creating, "_result") if command.transaction == CREATE => self.publish(info.as_number()),
            (State::Asking { stream }, "onStatus") if code == "NetStream.Publish.Start" => {
                self.state = State::Publishing { stream: *stream };
                return Some(Event::Started);
            }
            (State::Connecting, "_error") => return self.refused(code, description),
            (_, "onStatus") if info.get("level").and_then(Value::as_str) == Some("error") => {
                return self.refused(code, description);
            }
            _ => {}
        }
        None
    }

    fn refused(&mut self, code: String, description: String) -> Option<Event> {
        self.state = State::Over;
        Some(Event::Refused { code, description })
    }

    fn create_stream(&mut self) {
        let key = Value::text(&self.target.key);
        self.call(0, "releaseStream", 2.0, &[Value::Null, key.clone()]);
        self.call(0, "FCPublish", 3.0, &[Value::Null, key]);
        self.call(0, "createStream", CREATE, &[Value::Null]);
        self.state = State::Creating;
    }

    fn publish(&mut self, stream: Option<f64>) {
        let stream = stream.unwrap_or(1.0) as u32;
        let arguments = [Value::Null, Value::text(&self.target.key), Value::text("live")];
        self.call(stream, "publish", 5.0, &arguments);
        self.state = State::Asking { stream };
    }

    fn call(&mut self, stream: u32, name: &str, transaction: f64, arguments: &[Value]) {
        self.writer.write(3, &command::call(stream, name, transaction, arguments), &mut self.out);
    }
}

/// Transaction of `createStream`.
const CREATE: f64 = 4.0;
