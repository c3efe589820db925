//! What the RTMP tests share: a server on a free port, a publisher, a raw peer, and media that needs no encoder.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater::access::Access;
use headwater::hub::{self, Cursor, Hub, Takeover};
use headwater::media::Frame;
use headwater::rtmp::amf0::{self, Value};
use headwater::rtmp::chunk::{Limits, Reader, Writer};
use headwater::rtmp::client::{Client, Event, Target};
use headwater::rtmp::handshake::Style;
use headwater::rtmp::message::{Message, MessageType};
use headwater::rtmp::{Settings, Shared, serve};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    pub(crate) stop: CancellationToken,
}

impl Server {
    pub(crate) async fn start(settings: Settings, access: Access, takeover: Takeover) -> Server {
        Server::start_with(settings, access, takeover, None).await
    }

    pub(crate) async fn start_with(
        settings: Settings,
        access: Access,
        takeover: Takeover,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Server {
        let hub = Hub::new(hub_settings(takeover));
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared::new(hub.clone(), access, settings, stop.clone());
        tokio::spawn(serve(listener, tls, shared));
        let keeper = hub.clone();
        let keep_until = stop.clone();
        tokio::spawn(async move { keeper.keep(keep_until).await });
        Server { address, hub, stop }
    }

    pub(crate) async fn open() -> Server {
        Server::start(Settings::default(), Access::default(), Takeover::Newest).await
    }

    /// Follows the frames of a stream that publishes already.
    pub(crate) fn frames(&self, name: &str) -> Cursor<Frame> {
        self.hub.stream(name).unwrap().frames().cursor(hub::From::Oldest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn hub_settings(takeover: Takeover) -> hub::Settings {
    hub::Settings {
        takeover,
        reconnect_window: Duration::from_secs(30),
        media_idle: Duration::from_secs(60),
        end_on_unpublish: true,
        max_streams: 100,
        stream_bytes: 64 << 20,
        process_bytes: 256 << 20,
        segment_target: Duration::from_secs(2),
        segment_max: Duration::from_secs(10),
        ladders: false,
    }
}

/// What the server said against it: code and description.
pub(crate) type Refusal = (String, String);

/// A well-behaved publisher.
pub(crate) struct Publisher<S> {
    io: S,
    input: BytesMut,
    pub(crate) client: Client,
}

impl Publisher<TcpStream> {
    pub(crate) async fn connect(server: &Server, key: &str) -> Result<Publisher<TcpStream>, Refusal> {
        let socket = TcpStream::connect(server.address).await.unwrap();
        Publisher::start(socket, "live", key, Style::DigestAt8).await
    }

    /// A publisher that has sent its headers and a first picture, which is in the log.
    pub(crate) async fn live(server: &Server, name: &str) -> (Publisher<TcpStream>, Cursor<Frame>) {
        let mut publisher = Publisher::connect(server, name).await.unwrap();
        publisher.begin().await;
        let mut frames = server.frames(name);
        next_frame(&mut frames).await;
        (publisher, frames)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Publisher<S> {
    pub(crate) async fn start(io: S, app: &str, key: &str, style: Style) -> Result<Publisher<S>, Refusal> {
        let target = Target {
            app: app.into(),
            url: format!("rtmp://127.0.0.1/{app}"),
            key: key.into(),
            client: "FMLE/3.0 (test)".into(),
        };
        let client = Client::new(target, style, 4096, 1);
        let mut publisher = Publisher { io, input: BytesMut::new(), client };
        match publisher.event().await {
            Event::Started => Ok(publisher),
            Event::Refused { code, description } => Err((code, description)),
        }
    }

    /// Waits for what the server says next.
    pub(crate) async fn event(&mut self) -> Event {
        let wait = async {
            loop {
                self.flush().await;
                if let Some(event) = self.client.next(&mut self.input).unwrap() {
                    return event;
                }
                // What was answered to what came has to go out before anything more can come.
                self.flush().await;
                let read = self.io.read_buf(&mut self.input).await.unwrap();
                assert!(read > 0, "the server closed without a word");
            }
        };
        timeout(SOON, wait).await.expect("no word from the server")
    }

    pub(crate) async fn flush(&mut self) {
        self.io.write_all_buf(self.client.output()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    pub(crate) async fn begin(&mut self) {
        self.client.video(0, avc_header());
        self.client.audio(0, aac_header());
        self.client.video(0, idr(500));
        self.flush().await;
    }

    pub(crate) async fn picture(&mut self, timestamp: u32, length: usize) {
        self.client.video(timestamp, idr(length));
        self.flush().await;
    }

    pub(crate) async fn sound(&mut self, timestamp: u32) {
        self.client.audio(timestamp, Bytes::from_static(&[0xaf, 1, 0x21, 0x10, 0x04]));
        self.flush().await;
    }
}

pub(crate) async fn next_frame(frames: &mut Cursor<Frame>) -> Frame {
    loop {
        match timeout(SOON, frames.next()).await.expect("no frame") {
            Ok(frame) => return frame.expect("the stream is over"),
            // Every picture here is a key frame, and the log keeps few of those.
            Err(_) => frames.skip_to_newest_start(),
        };
    }
}

/// Waits until the stream has a picture of this many payload bytes.
pub(crate) async fn picture_of(frames: &mut Cursor<Frame>, length: usize) -> Frame {
    for _ in 0..1000 {
        let frame = next_frame(frames).await;
        if frame.payload.len() == length {
            return frame;
        }
    }
    panic!("no such picture");
}

/// The publisher still publishes: another picture of it arrives.
pub(crate) async fn assert_goes_on(publisher: &mut Publisher<TcpStream>, frames: &mut Cursor<Frame>, timestamp: u32) {
    let length = 1000 + timestamp as usize;
    publisher.picture(timestamp, length).await;
    picture_of(frames, length + 4).await;
}

/// A peer that sends what it likes.
pub(crate) struct Raw {
    pub(crate) io: TcpStream,
    writer: Writer,
}

impl Raw {
    pub(crate) async fn connect(server: &Server) -> Raw {
        Raw { io: TcpStream::connect(server.address).await.unwrap(), writer: Writer::default() }
    }

    /// Behind a plain handshake.
    pub(crate) async fn shaken(server: &Server) -> Raw {
        let mut raw = Raw::connect(server).await;
        let mut hello = vec![0; 1 + 2 * 1536];
        hello[0] = 3;
        raw.send(&hello).await;
        let mut answer = vec![0; hello.len()];
        raw.io.read_exact(&mut answer).await.unwrap();
        raw
    }

    /// Behind `connect` and `createStream`.
    pub(crate) async fn connected(server: &Server) -> Raw {
        let mut raw = Raw::shaken(server).await;
        let offer = Value::Object(vec![("app".into(), Value::text("live"))]);
        raw.call("connect", &[offer]).await;
        raw.call("createStream", &[Value::Null]).await;
        raw
    }

    /// Publishing `key`.
    pub(crate) async fn publishing(server: &Server, key: &str) -> Raw {
        let mut raw = Raw::connected(server).await;
        raw.call("publish", &[Value::Null, Value::text(key), Value::text("live")]).await;
        raw
    }

    /// Sends as much as the server takes: it may have closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.io.write_all(bytes).await;
    }

    pub(crate) async fn message(&mut self, kind: MessageType, timestamp: u32, payload: impl Into<Bytes>) {
        let mut out = BytesMut::new();
        self.writer.write(5, &Message { timestamp, kind, stream: 1, payload: payload.into() }, &mut out);
        self.send(&out).await;
    }

    pub(crate) async fn call(&mut self, name: &str, arguments: &[Value]) {
        let body = amf0::encode(&[&[Value::text(name), Value::Number(1.0)], arguments].concat());
        self.message(MessageType::Command, 0, body).await;
    }

    /// Everything the server says until it closes, as messages.
    pub(crate) async fn until_closed(mut self) -> Vec<Message> {
        let mut heard = BytesMut::new();
        let listen = async { while self.io.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {} };
        timeout(SOON, listen).await.expect("the server does not close");
        let mut reader = Reader::new(Limits::default());
        std::iter::from_fn(|| reader.next(&mut heard).ok().flatten()).collect()
    }

    /// The code and description of the last status before the server closes.
    pub(crate) async fn refusal(self) -> Refusal {
        let heard = self.until_closed().await;
        let last = heard.into_iter().rfind(|m| m.kind == MessageType::Command).expect("no word before the end");
        let info = amf0::decode(&last.payload).unwrap().pop().unwrap();
        let text = |key| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("code"), text("description"))
    }
}

pub(crate) fn avc_header() -> Bytes {
    let record = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f183196001000668ebe3cb22c0fdf8f800";
    let record = (0..record.len()).step_by(2).map(|i| u8::from_str_radix(&record[i..i + 2], 16).unwrap());
    [0x17, 0, 0, 0, 0].into_iter().chain(record).collect()
}

pub(crate) fn aac_header() -> Bytes {
    Bytes::from_static(&[0xaf, 0, 0x11, 0x90])
}

/// A tag with one IDR of this many bytes; its payload has four more.
pub(crate) fn idr(length: usize) -> Bytes {
    let mut body = vec![0x17, 1, 0, 0, 0];
    body.extend_from_slice(&(length as u32).to_be_bytes());
    body.push(0x65);
    body.resize(9 + length, 0x88);
    body.into()
}
