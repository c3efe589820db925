//! One RTMP publishing session: handshake, the calls that OBS makes, then a socket that takes messages. [`Publisher::connect`]
//! waits for the server's consent; [`Feed`] plays a clip into the socket without ever waiting for it. Called by `publish`,
//! `churn` and `latency`.

use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use headwater::rtmp::amf0::{self, Value};
use headwater::rtmp::chunk::{Limits, Reader, Writer};
use headwater::rtmp::handshake::{Client, Style};
use headwater::rtmp::message::{Message, MessageType, PING_REQUEST, PING_RESPONSE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::flv::{Clip, MESSAGE_HEADER, Tag, message_header};
use crate::target::Target;

/// Why a session did not come to be, or ended early.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Failure {
    /// No TCP connection.
    #[error("connect")]
    Connect,
    /// The server said nothing for [`PATIENCE`], or took nothing for [`STALL`].
    #[error("timeout")]
    Timeout,
    /// It is no RTMP server, or broke its protocol.
    #[error("protocol")]
    Protocol,
    /// It said no; the status code.
    #[error("refused {0}")]
    Refused(String),
    /// It hung up.
    #[error("closed")]
    Closed,
}

/// A session that may send media.
pub(crate) struct Publisher {
    tcp: TcpStream,
    input: BytesMut,
    reader: Reader,
    writer: Writer,
    stream: u32,
}

impl Publisher {
    /// Connects and publishes `name`, which may carry `?key=SECRET`. The path of the target is the application.
    pub(crate) async fn connect(target: &Target, name: &str, chunk_size: u32) -> Result<Publisher, Failure> {
        tokio::time::timeout(PATIENCE, Publisher::call(target, name, chunk_size)).await.map_err(|_| Failure::Timeout)?
    }

    async fn call(target: &Target, name: &str, chunk_size: u32) -> Result<Publisher, Failure> {
        let tcp = TcpStream::connect(target.address).await.map_err(|_| Failure::Connect)?;
        tcp.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (reader, writer) = (Reader::new(Limits::default()), Writer::default());
        let mut session = Publisher { tcp, input: BytesMut::new(), reader, writer, stream: 0 };
        session.shake_hands(name).await?;
        let app = target.path.trim_matches('/');
        let url = format!("{}://{}/{app}", target.scheme, target.authority);
        let properties = Value::object([
            ("app", Value::text(app)),
            ("type", Value::text("nonprivate")),
            ("flashVer", Value::text("FMLE/3.0 (compatible; headwater-load)")),
            ("tcUrl", Value::text(&url)),
        ]);
        session.send(0, &[Value::text("connect"), Value::Number(1.0), properties]).await?;
        session.answer(1.0).await?;
        let mut out = BytesMut::new();
        session.writer.set_chunk_size(chunk_size, &mut out);
        session.write(&out).await?;
        let key = Value::text(name);
        session.send(0, &[Value::text("releaseStream"), Value::Number(2.0), Value::Null, key.clone()]).await?;
        session.send(0, &[Value::text("FCPublish"), Value::Number(3.0), Value::Null, key.clone()]).await?;
        session.send(0, &[Value::text("createStream"), Value::Number(4.0), Value::Null]).await?;
        let created = session.answer(4.0).await?;
        session.stream = created.get(3).and_then(Value::as_number).map_or(1, |number| number as u32);
        let publish = [Value::text("publish"), Value::Number(5.0), Value::Null, key, Value::text("live")];
        session.send(session.stream, &publish).await?;
        session.consent().await?;
        Ok(session)
    }

    async fn shake_hands(&mut self, name: &str) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut client = Client::start(seed, Style::Plain, &mut out);
        loop {
            self.write(&out.split()).await?;
            self.read().await?;
            let done = client.advance(&mut self.input, &mut out).map_err(|_| Failure::Protocol)?;
            if done {
                return self.write(&out).await;
            }
        }
    }

    /// Waits for the `_result` of a call.
    async fn answer(&mut self, transaction: f64) -> Result<Vec<Value>, Failure> {
        loop {
            let values = self.command().await?;
            if values.get(1).and_then(Value::as_number) != Some(transaction) {
                refusal(&values)?;
                continue;
            }
            match values.first().and_then(Value::as_str) {
                Some("_result") => return Ok(values),
                Some("_error") => return Err(Failure::Refused(code(&values).to_owned())),
                _ => {}
            }
        }
    }

    /// Waits until the server lets us publish.
    async fn consent(&mut self) -> Result<(), Failure> {
        loop {
            let values = self.command().await?;
            refusal(&values)?;
            if code(&values) == "NetStream.Publish.Start" {
                return Ok(());
            }
        }
    }

    async fn command(&mut self) -> Result<Vec<Value>, Failure> {
        loop {
            match self.reader.next(&mut self.input).map_err(|_| Failure::Protocol)? {
                Some(message) if message.kind == MessageType::Command => {
                    return amf0::decode(&message.payload).map_err(|_| Failure::Protocol);
                }
                Some(_) => {}
                None => self.read().await?,
            }
        }
    }

    async fn send(&mut self, stream: u32, call: &[Value]) -> Result<(), Failure> {
        let message =
            Message { timestamp: 0, kind: MessageType::Command, stream, payload: amf0::encode(call).freeze() };
        let mut out = BytesMut::new();
        self.writer.write(COMMANDS, &message, &mut out);
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.tcp.write_all(bytes).await.map_err(|_| Failure::Closed)
    }

    async fn read(&mut self) -> Result<(), Failure> {
        self.input.reserve(READ);
        match self.tcp.read_buf(&mut self.input).await {
            Ok(0) | Err(_) => Err(Failure::Closed),
            Ok(_) => Ok(()),
        }
    }

    /// Writes some messages and waits until the socket took them all.
    pub(crate) async fn deliver(&mut self, tags: &[Tag]) -> Result<(), Failure> {
        for tag in tags {
            self.write(&message_header(tag, tag.time, self.stream)).await?;
            self.write(&tag.chunked).await?;
        }
        Ok(())
    }

    /// Says goodbye as OBS does, and hangs up.
    pub(crate) async fn finish(mut self) {
        let close =
            [Value::text("deleteStream"), Value::Number(6.0), Value::Null, Value::Number(f64::from(self.stream))];
        // Nobody waits for an answer, and a server that is gone already needs no goodbye.
        let _ = tokio::time::timeout(PATIENCE, self.send(0, &close)).await;
    }
}

/// A clip on its way into one socket, in step with the clock.
pub(crate) struct Feed {
    publisher: Publisher,
    start: Instant,
    /// Which tag is next, of which loop; setup counts as what comes before tag 0 of loop 0.
    setup: usize,
    tag: usize,
    lap: u32,
    /// Bytes of the next message that have gone out.
    sent: usize,
    /// An answer that waits for the end of the current message.
    reply: BytesMut,
}

/// What [`Feed::advance`] tells about each message when its first byte goes out.
pub(crate) struct Sending<'a> {
    /// The message.
    pub(crate) tag: &'a Tag,
    /// Its timestamp, over all loops, in milliseconds.
    pub(crate) time: u32,
    /// It is of the setup, not a frame.
    pub(crate) header: bool,
    /// How long after its time on the clock.
    pub(crate) behind: Duration,
}

impl Feed {
    /// Starts the clip's clock.
    pub(crate) fn new(publisher: Publisher, start: Instant) -> Feed {
        Feed { publisher, start, setup: 0, tag: 0, lap: 0, sent: 0, reply: BytesMut::new() }
    }

    /// When the next message has to go out.
    pub(crate) fn due(&self, clip: &Clip) -> Instant {
        self.start + Duration::from_millis(u64::from(self.time(clip)))
    }

    /// Writes what is due and what the socket takes of it; returns the bytes written.
    pub(crate) fn advance(
        &mut self,
        clip: &Clip,
        now: Instant,
        told: &mut dyn FnMut(Sending<'_>),
    ) -> Result<usize, Failure> {
        self.listen()?;
        let mut total = 0;
        while self.due(clip) <= now {
            let written = self.write_some(clip, now, told)?;
            if written == 0 {
                break;
            }
            total += written;
        }
        if now.saturating_duration_since(self.due(clip)) > STALL {
            return Err(Failure::Timeout);
        }
        Ok(total)
    }

    /// Hangs up politely.
    pub(crate) async fn finish(self) {
        self.publisher.finish().await;
    }

    fn current<'a>(&self, clip: &'a Clip) -> &'a Tag {
        clip.setup.get(self.setup).unwrap_or(&clip.tags[self.tag])
    }

    fn time(&self, clip: &Clip) -> u32 {
        self.lap.saturating_mul(clip.period).saturating_add(self.current(clip).time)
    }

    fn write_some(&mut self, clip: &Clip, now: Instant, told: &mut dyn FnMut(Sending<'_>)) -> Result<usize, Failure> {
        if self.sent == 0 && !self.reply.is_empty() {
            return self.write_reply();
        }
        let (tag, time) = (self.current(clip), self.time(clip));
        if self.sent == 0 {
            let header = self.setup < clip.setup.len();
            told(Sending { tag, time, header, behind: now.saturating_duration_since(self.due(clip)) });
        }
        let header = message_header(tag, time, self.publisher.stream);
        let head = &header[self.sent.min(MESSAGE_HEADER)..];
        let body = &tag.chunked[self.sent.saturating_sub(MESSAGE_HEADER)..];
        let written = taken(self.publisher.tcp.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)]))?;
        self.sent += written;
        if self.sent == MESSAGE_HEADER + tag.chunked.len() {
            self.next(clip);
        }
        Ok(written)
    }

    fn write_reply(&mut self) -> Result<usize, Failure> {
        let written = taken(self.publisher.tcp.try_write(&self.reply))?;
        self.reply.advance(written);
        Ok(written)
    }

    fn next(&mut self, clip: &Clip) {
        self.sent = 0;
        if self.setup < clip.setup.len() {
            self.setup += 1;
            return;
        }
        self.tag += 1;
        if self.tag == clip.tags.len() {
            self.tag = 0;
            self.lap += 1;
        }
    }

    /// Reads what the server says: pings are answered, a refusal ends the session, the rest is of no interest.
    fn listen(&mut self) -> Result<(), Failure> {
        let session = &mut self.publisher;
        session.input.reserve(READ);
        match session.tcp.try_read_buf(&mut session.input) {
            Ok(0) => return Err(Failure::Closed),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Failure::Closed),
        }
        while let Some(message) = session.reader.next(&mut session.input).map_err(|_| Failure::Protocol)? {
            match message.kind {
                MessageType::Command => refusal(&amf0::decode(&message.payload).map_err(|_| Failure::Protocol)?)?,
                MessageType::UserControl => {
                    if let Some((event, data)) = message.payload.split_at_checked(2)
                        && event == PING_REQUEST.to_be_bytes()
                        && let Some(data) = data.first_chunk::<4>()
                        && self.reply.len() < MAX_REPLY
                    {
                        session.writer.write(2, &Message::user_control(PING_RESPONSE, *data), &mut self.reply);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn taken(result: std::io::Result<usize>) -> Result<usize, Failure> {
    match result {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(Failure::Closed),
    }
}

/// An `onStatus` of level "error" is a refusal.
fn refusal(values: &[Value]) -> Result<(), Failure> {
    let status = values.first().and_then(Value::as_str) == Some("onStatus");
    let level = values.iter().find_map(|value| value.get("level")).and_then(Value::as_str);
    if status && level == Some("error") { Err(Failure::Refused(code(values).to_owned())) } else { Ok(()) }
}

fn code(values: &[Value]) -> &str {
    values.iter().find_map(|value| value.get("code")).and_then(Value::as_str).unwrap_or_default()
}

/// How long a server may take from connection to consent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that takes no media for this long is not going to.
const STALL: Duration = Duration::from_secs(5);

/// Chunk stream of commands.
const COMMANDS: u32 = 3;

/// Room for one read, in bytes; servers say little to a publisher.
const READ: usize = 4096;

/// Answers to pings that may wait, in bytes: a handful of 18.
const MAX_REPLY: usize = 128;
