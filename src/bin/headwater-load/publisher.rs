//! One RTMP publishing session: handshake, the calls that OBS makes, then a socket that takes messages. [`Publisher::connect`]
//! waits for the server's consent; [`Feed`] plays a clip into the socket without ever waiting for it. Called by `publish`,
//! `churn` and `latency`.

use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use headwater::rtmp::client::{self, Client, Event};
use headwater::rtmp::handshake::Style;
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
    client: Client,
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
        let app = target.path.trim_matches('/').to_owned();
        let url = format!("{}://{}/{app}", target.scheme, target.authority);
        let wish = client::Target { app, url, key: name.to_owned(), client: FLASH_VERSION.to_owned() };
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let client = Client::new(wish, Style::Plain, chunk_size, seed);
        let mut session = Publisher { tcp, input: BytesMut::new(), client, stream: 0 };
        while session.client.stream().is_none() {
            session.flush().await?;
            session.input.reserve(READ);
            match session.tcp.read_buf(&mut session.input).await {
                Ok(0) | Err(_) => return Err(Failure::Closed),
                Ok(_) => session.listen()?,
            }
        }
        session.flush().await?;
        session.stream = session.client.stream().ok_or(Failure::Protocol)?;
        Ok(session)
    }

    /// Takes in what the server said. Pings are answered into the client's output.
    fn listen(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.client.next(&mut self.input).map_err(|_| Failure::Protocol)? {
            if let Event::Refused { code, .. } = event {
                return Err(Failure::Refused(code));
            }
        }
        // A server that pings and does not read the answers gets no more of them.
        if self.client.output().len() > MAX_REPLY { Err(Failure::Protocol) } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let out = self.client.output().split();
        self.tcp.write_all(&out).await.map_err(|_| Failure::Closed)
    }

    /// Writes some messages and waits until the socket took them all.
    pub(crate) async fn deliver(&mut self, tags: &[Tag]) -> Result<(), Failure> {
        for tag in tags {
            self.tcp.write_all(&message_header(tag, tag.time, self.stream)).await.map_err(|_| Failure::Closed)?;
            self.tcp.write_all(&tag.chunked).await.map_err(|_| Failure::Closed)?;
        }
        Ok(())
    }

    /// Says goodbye as OBS does, and hangs up.
    pub(crate) async fn finish(mut self) {
        self.client.goodbye();
        // Nobody waits for an answer, and a server that is gone already needs no goodbye.
        let _ = tokio::time::timeout(PATIENCE, self.flush()).await;
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
        Feed { publisher, start, setup: 0, tag: 0, lap: 0, sent: 0 }
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
        if self.sent == 0 && !self.publisher.client.output().is_empty() {
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
        let out = self.publisher.client.output();
        let written = taken(self.publisher.tcp.try_write(out))?;
        out.advance(written);
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

    /// Reads what the server says, if it says anything.
    fn listen(&mut self) -> Result<(), Failure> {
        let session = &mut self.publisher;
        session.input.reserve(READ);
        match session.tcp.try_read_buf(&mut session.input) {
            Ok(0) => Err(Failure::Closed),
            Ok(_) => session.listen(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Failure::Closed),
        }
    }
}

fn taken(result: std::io::Result<usize>) -> Result<usize, Failure> {
    match result {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(Failure::Closed),
    }
}

/// How long a server may take from connection to consent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that takes no media for this long is not going to.
const STALL: Duration = Duration::from_secs(5);

/// What this client calls itself; servers take FMLE for an encoder.
const FLASH_VERSION: &str = "FMLE/3.0 (compatible; headwater-load)";

/// Room for one read, in bytes; servers say little to a publisher.
const READ: usize = 4096;

/// What may wait to be said to a server, in bytes: the calls of the beginning are a few kilobytes, answers to pings 18 each.
const MAX_REPLY: usize = 16 << 10;
