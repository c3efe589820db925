//! The server's side of an RTMP conversation. Sans-IO: bytes in, [`Event`]s and output bytes out; the only time it knows
//! is what the messages carry. `session` owns one per connection, writes what [`Protocol::output`] holds after every
//! read, and decides about publishing. Knows neither hub nor codecs.

use bytes::{Bytes, BytesMut};

use super::amf0::{self, Value};
use super::chunk::{self, Limits, Reader, Writer};
use super::command::{self, Command};
use super::message::{self, Message, MessageType};
use super::status::Status;
use super::{capabilities, handshake};

/// The conversation.
#[derive(Debug)]
pub struct Protocol {
    state: State,
    reader: Reader,
    /// The reader's, once the publisher is let in.
    limits: Limits,
    writer: Writer,
    out: BytesMut,
    app: &'static str,
    /// A query behind the application name: some encoders put the key there.
    app_query: Option<String>,
    client: String,
    streams: u32,
    received: Received,
    /// Media messages that came before the publisher was let in.
    early: u64,
}

/// Where the conversation stands.
#[derive(Debug)]
enum State {
    /// C0 to C2.
    Handshake(handshake::Server),
    /// Chunks flow, `connect` is expected.
    Handshaken,
    /// `connect` was answered; `publish` is expected.
    Connected,
    /// `publish` came, and the session has not decided yet.
    Asking { stream: u32 },
    /// Media flows.
    Publishing { stream: u32 },
    /// The last word is said; what still comes is not looked at.
    Over,
}

/// What the session has to act on.
#[derive(Debug)]
pub enum Event {
    /// The client wants to publish: call [`Protocol::accept`] or [`Protocol::close`].
    Publish(Request),
    /// An FLV audio tag body, with its timestamp.
    Audio(u32, Bytes),
    /// An FLV video tag body, with its timestamp.
    Video(u32, Bytes),
    /// `onMetaData`.
    Metadata(Value),
    /// The publisher says goodbye. Nothing follows.
    Goodbye,
    /// The client was told that it cannot have what it asks for. Nothing follows.
    Refused(Status),
}

/// A wish to publish.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The stream key as the broadcaster typed it, with its query: a secret.
    pub key: String,
    /// What the client calls itself.
    pub client: String,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Why a conversation cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first bytes are not RTMP's.
    #[error(transparent)]
    Handshake(#[from] handshake::Error),
    /// Chunks cannot be followed.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// A command is no AMF0.
    #[error(transparent)]
    Amf(#[from] amf0::Error),
    /// Commands come in an order that makes no sense.
    #[error("\"{0}\" out of order")]
    Order(&'static str),
    /// A command or data message beyond [`MAX_COMMAND`].
    #[error("command of {0} bytes, {MAX_COMMAND} are allowed")]
    LongCommand(usize),
    /// Requests that ask for more answer than the client takes.
    #[error("more requests at once than can be answered")]
    Flood,
}

impl Protocol {
    /// A conversation at its start. `app` is the one application name that exists here; `seed` makes the random bytes
    /// of the handshake.
    pub fn new(app: &'static str, limits: Limits, seed: u64) -> Protocol {
        Protocol {
            state: State::Handshake(handshake::Server::new(seed)),
            reader: Reader::new(Limits { unfinished: limits.unfinished.min(MAX_EARLY), ..limits }),
            limits,
            writer: Writer::default(),
            out: BytesMut::new(),
            app,
            app_query: None,
            client: String::new(),
            streams: 0,
            received: Received::default(),
            early: 0,
        }
    }

    /// The next event in `input`; None when bytes are missing. Call it until then after every read.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        if let State::Handshake(server) = &mut self.state {
            if !server.advance(input, &mut self.out)? {
                return Ok(None);
            }
            self.state = State::Handshaken;
        }
        while let Some(message) = self.reader.next(input)? {
            if matches!(self.state, State::Over) {
                continue;
            }
            if let Some(event) = self.message(message)? {
                return Ok(Some(event));
            }
            if self.out.len() > MAX_OUTPUT {
                return Err(Error::Flood);
            }
        }
        Ok(None)
    }

    /// Counts bytes read from the socket, and acknowledges them when due.
    pub fn count(&mut self, bytes: usize) {
        if let Some(total) = self.received.add(bytes) {
            // Before the handshake is over there is no chunk stream that could carry it.
            if !matches!(self.state, State::Handshake(_)) {
                self.send(&Message::control(MessageType::Acknowledgement, total));
            }
        }
    }

    /// Bytes for the socket.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// How many bytes the read buffer must be able to hold; see [`Reader::wanted`].
    pub fn wanted(&self) -> usize {
        self.reader.wanted()
    }

    /// Media messages that came before the publisher was let in, and were dropped.
    pub fn early(&self) -> u64 {
        self.early
    }

    /// True once chunks flow.
    pub fn is_handshaken(&self) -> bool {
        !matches!(self.state, State::Handshake(_))
    }

    /// Lets the publisher in.
    pub fn accept(&mut self) {
        if let State::Asking { stream } = self.state {
            let status = Status::new("NetStream.Publish.Start", "publishing");
            self.send(&command::on_status(stream, "status", &status));
            self.state = State::Publishing { stream };
            self.reader.set_limits(self.limits);
        }
    }

    /// Tells the client something while it publishes. Not as an error: encoders stop at those.
    pub fn notify(&mut self, status: &Status) {
        if let State::Publishing { stream } = self.state {
            self.send(&command::on_status(stream, "warning", status));
        }
    }

    /// Tells the client why it is over, as an error. Says nothing before the handshake, nor twice.
    pub fn close(&mut self, status: &Status) {
        let stream = match self.state {
            State::Asking { stream } | State::Publishing { stream } => stream,
            State::Handshaken | State::Connected => 0,
            State::Handshake(_) | State::Over => return self.state = State::Over,
        };
        self.send(&command::on_status(stream, "error", status));
        self.state = State::Over;
    }

    fn message(&mut self, message: Message) -> Result<Option<Event>, Error> {
        let publishing = matches!(self.state, State::Publishing { .. });
        match message.kind {
            MessageType::Video if publishing => return Ok(Some(Event::Video(message.timestamp, message.payload))),
            MessageType::Audio if publishing => return Ok(Some(Event::Audio(message.timestamp, message.payload))),
            MessageType::Video | MessageType::Audio => self.early += 1,
            MessageType::Command | MessageType::CommandAmf3 => {
                let command = parse(&message)?;
                return command.map_or(Ok(None), |command| self.command(message.stream, &command));
            }
            MessageType::Data | MessageType::DataAmf3 => return Ok(parse(&message)?.and_then(metadata)),
            MessageType::WindowAckSize => self.received.set_window(message.number().ok_or(chunk::Error::ShortControl)?),
            MessageType::UserControl => self.user_control(&message.payload),
            _ => {}
        }
        Ok(None)
    }

    fn user_control(&mut self, payload: &[u8]) {
        if let Some(pong) = message::pong(payload) {
            self.send(&pong);
        }
    }

    fn command(&mut self, stream: u32, command: &Command) -> Result<Option<Event>, Error> {
        match (&self.state, command.name.as_str()) {
            (State::Handshaken, "connect") => return Ok(self.connect(command)),
            (State::Handshaken, _) => return Err(Error::Order("a command before connect")),
            (_, "connect") => return Err(Error::Order("connect")),
            (_, "releaseStream" | "_checkbw" | "FCSubscribe") => self.result(command, Value::Undefined),
            (_, "FCPublish") => self.fc_publish(command),
            (_, "createStream") => self.create_stream(command)?,
            (_, "getStreamLength") => self.result(command, Value::Number(0.0)),
            (State::Connected, "publish") => return Ok(Some(self.publish(stream, command))),
            (_, "publish") => return Err(Error::Order("publish")),
            (_, "play" | "play2") => return Ok(Some(self.refuse_play(stream))),
            (State::Publishing { stream }, "FCUnpublish" | "closeStream" | "deleteStream") => {
                let stream = *stream;
                return Ok(self.goodbye(stream, command));
            }
            (_, name) => self.unknown(name, command),
        }
        Ok(None)
    }

    fn connect(&mut self, command: &Command) -> Option<Event> {
        let offer = command.arguments.first().unwrap_or(&Value::Null);
        let text = |key| offer.get(key).and_then(Value::as_str).unwrap_or_default();
        self.client = text("flashVer").to_owned();
        let (app, query) = text("app").split_once('?').unwrap_or((text("app"), ""));
        self.app_query = (!query.is_empty()).then(|| query.to_owned());
        if app.trim_matches('/') != self.app {
            let text = format!("no application of this name; the server address is rtmp://HOST:PORT/{}", self.app);
            let status = Status::new("NetConnection.Connect.Rejected", text);
            self.send(&command::error(command.transaction, &status));
            self.state = State::Over;
            return Some(Event::Refused(status));
        }
        self.welcome(command.transaction, offer);
        self.state = State::Connected;
        None
    }

    fn welcome(&mut self, transaction: f64, offer: &Value) {
        self.send(&Message::control(MessageType::WindowAckSize, WINDOW));
        self.send(&Message::peer_bandwidth(WINDOW));
        self.writer.set_chunk_size(CHUNK_SIZE, &mut self.out);
        let mut properties = vec![
            ("fmsVer".to_owned(), Value::text("FMS/3,5,1,516")),
            ("capabilities".to_owned(), Value::Number(31.0)),
            ("mode".to_owned(), Value::Number(1.0)),
        ];
        capabilities::answer(offer, &mut properties);
        let info = Value::object([
            ("level", Value::text("status")),
            ("code", Value::text("NetConnection.Connect.Success")),
            ("description", Value::text("connected")),
            ("objectEncoding", Value::Number(0.0)),
        ]);
        self.send(&command::result(transaction, Value::Object(properties), info));
    }

    fn create_stream(&mut self, command: &Command) -> Result<(), Error> {
        if self.streams == MAX_STREAMS {
            return Err(Error::Order("createStream"));
        }
        self.streams += 1;
        self.result(command, Value::Number(f64::from(self.streams)));
        Ok(())
    }

    /// Hardware encoders wait for the event and not for the result.
    fn fc_publish(&mut self, command: &Command) {
        self.result(command, Value::Undefined);
        let status = Status::new("NetStream.Publish.Start", "ready");
        self.send(&command::call(0, "onFCPublish", 0.0, &[Value::Null, status.info("status")]));
    }

    fn publish(&mut self, stream: u32, command: &Command) -> Event {
        let mut key = command.text(0).unwrap_or_default().to_owned();
        if let (false, Some(query)) = (key.contains('?'), &self.app_query) {
            key = format!("{key}?{query}");
        }
        self.state = State::Asking { stream };
        Event::Publish(Request { key, client: std::mem::take(&mut self.client) })
    }

    fn refuse_play(&mut self, stream: u32) -> Event {
        let text = "this server plays over HTTP: open /watch/NAME or /live/NAME/index.m3u8";
        let status = Status::new("NetStream.Play.Failed", text);
        self.send(&command::on_status(stream, "error", &status));
        self.state = State::Over;
        Event::Refused(status)
    }

    fn goodbye(&mut self, stream: u32, command: &Command) -> Option<Event> {
        if command.name == "deleteStream" && command.number(0).is_some_and(|n| n != f64::from(stream)) {
            return None;
        }
        if command.name == "FCUnpublish" {
            self.result(command, Value::Undefined);
        }
        let status = Status::new("NetStream.Unpublish.Success", "stopped");
        self.send(&command::on_status(stream, "status", &status));
        self.state = State::Over;
        Some(Event::Goodbye)
    }

    fn unknown(&mut self, name: &str, command: &Command) {
        let expects_answer = command.transaction != 0.0 && !name.starts_with('_') && !name.starts_with("on");
        if expects_answer {
            let status = Status::new("NetConnection.Call.Failed", "no such call on this server");
            self.send(&command::error(command.transaction, &status));
        }
    }

    fn result(&mut self, command: &Command, value: Value) {
        self.send(&command::result(command.transaction, Value::Null, value));
    }

    fn send(&mut self, message: &Message) {
        let chunk_stream = if message.kind == MessageType::Command { COMMANDS } else { chunk::CONTROL };
        self.writer.write(chunk_stream, message, &mut self.out);
    }
}

fn parse(message: &Message) -> Result<Option<Command>, Error> {
    if message.payload.len() > MAX_COMMAND {
        return Err(Error::LongCommand(message.payload.len()));
    }
    Ok(Command::parse(message.kind, &message.payload)?)
}

/// `onMetaData`, bare or behind `@setDataFrame`.
fn metadata(data: Command) -> Option<Event> {
    let mut values = data.arguments.into_iter();
    let named = match data.name.as_str() {
        "@setDataFrame" => values.next()?.as_str() == Some("onMetaData"),
        name => name == "onMetaData",
    };
    values.next().filter(|_| named).map(Event::Metadata)
}

/// Counts what was received, and tells when the peer is to hear of it.
#[derive(Debug)]
struct Received {
    total: u64,
    acknowledged: u64,
    window: u32,
}

impl Default for Received {
    fn default() -> Received {
        Received { total: 0, acknowledged: 0, window: WINDOW }
    }
}

impl Received {
    /// The total to acknowledge, if half a window came since the last time. It wraps at 2^32, as its field does.
    fn add(&mut self, bytes: usize) -> Option<u32> {
        self.total += bytes as u64;
        let due = self.total - self.acknowledged >= u64::from(self.window / 2);
        due.then(|| {
            self.acknowledged = self.total;
            self.total as u32
        })
    }

    /// Windows too small to be meant would have every read acknowledged.
    fn set_window(&mut self, window: u32) {
        self.window = window.max(MIN_WINDOW);
    }
}

/// Bytes between two acknowledgements, both ways, until the client says otherwise: a second at 20 Mbit/s.
const WINDOW: u32 = 2_500_000;
const MIN_WINDOW: u32 = 8 * 1024;

/// What ffmpeg takes over for its own chunks when it hears it. A frame of up to 64 KiB then comes in one chunk and is
/// never copied; and no chunk is longer than one read block.
pub const CHUNK_SIZE: u32 = chunk::WHOLE_CHUNK as u32;

/// Bytes of a command or of metadata. Those of real encoders have less than 2 KB.
pub const MAX_COMMAND: usize = 64 * 1024;

/// Bytes of unfinished messages of a peer that nobody let in: two of the longest commands.
const MAX_EARLY: usize = 2 * MAX_COMMAND;

/// Bytes of answers that one read may cause. One read block of the dullest request makes less.
const MAX_OUTPUT: usize = 1 << 20;

/// Message streams per connection. Encoders make one.
const MAX_STREAMS: u32 = 8;

/// Chunk stream of commands.
const COMMANDS: u32 = 3;

#[cfg(test)]
mod tests;
