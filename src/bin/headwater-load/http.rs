//! The HTTP client of one viewer: HTTP/1.1 by `wire`, HTTP/2 by bare hyper connections, plain or TLS, on the runtime of the
//! calling thread. `follow` and `viewer` call [`Link::get`]. It never follows a redirect, so that load stays where it was aimed,
//! and it never keeps a body but what the caller asked to see of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::target::Target;
use crate::wire::{Stream, Wire};

/// A server, and how to talk to it.
pub(crate) struct Origin {
    /// Where.
    pub(crate) target: Target,
    /// One HTTP/2 connection for everything, instead of HTTP/1.1 connections.
    pub(crate) http2: bool,
    /// Present for `https`.
    pub(crate) tls: Option<TlsConnector>,
}

/// Why a request brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub(crate) enum Failure {
    /// No TCP or TLS connection, or no HTTP on it.
    #[error("connect")]
    Connect,
    /// No complete answer in [`PATIENCE`].
    #[error("timeout")]
    Timeout,
    /// An answer that is no HTTP, or of a kind that [`Wire`] does not read.
    #[error("protocol")]
    Protocol,
    /// The connection broke in the middle.
    #[error("closed")]
    Closed,
    /// An answer that is not 200.
    #[error("status {0}")]
    Status(u16),
    /// A playlist that is too large, is not text, or leads elsewhere.
    #[error("playlist")]
    Playlist,
}

/// What to keep of a body; everything is counted.
pub(crate) enum Keep<'a> {
    /// Nothing.
    Count,
    /// All of it, up to [`MAX_TEXT`].
    Text(&'a mut Vec<u8>),
    /// The beginning, up to [`MAX_HEAD`].
    Head(&'a mut Vec<u8>),
}

/// One lane to the server, used by one request at a time. HTTP/1.1: a connection of its own, opened when it is first
/// needed and again when it broke. HTTP/2: a handle on the viewer's one connection.
pub(crate) struct Link {
    origin: Arc<Origin>,
    lane: Lane,
}

enum Lane {
    Http1(Option<Wire>),
    Http2(Shared),
}

type Shared = Rc<RefCell<Option<http2::SendRequest<Empty<Bytes>>>>>;

/// Makes the lanes of one viewer.
pub(crate) struct Links {
    origin: Arc<Origin>,
    shared: Option<Shared>,
}

impl Links {
    /// Without any connection so far.
    pub(crate) fn new(origin: Arc<Origin>) -> Links {
        let shared = origin.http2.then(Shared::default);
        Links { origin, shared }
    }

    /// Another lane.
    pub(crate) fn link(&self) -> Link {
        let lane = self.shared.as_ref().map_or(Lane::Http1(None), |shared| Lane::Http2(shared.clone()));
        Link { origin: self.origin.clone(), lane }
    }
}

impl Link {
    /// Fetches a path and returns the length of the body in bytes. A blocked reload or a hinted part may take as long
    /// as the server holds it, up to [`PATIENCE`].
    pub(crate) async fn get(&mut self, path: &str, keep: Keep<'_>) -> Result<u64, Failure> {
        match tokio::time::timeout(PATIENCE, self.exchange(path, keep)).await {
            Ok(Ok(length)) => Ok(length),
            Ok(Err(failure)) => {
                if !matches!(failure, Failure::Status(_)) {
                    self.forget();
                }
                Err(failure)
            }
            Err(_) => {
                self.forget();
                Err(Failure::Timeout)
            }
        }
    }

    async fn exchange(&mut self, path: &str, mut keep: Keep<'_>) -> Result<u64, Failure> {
        let (status, length) = match &mut self.lane {
            Lane::Http1(slot) => {
                if slot.as_ref().is_none_or(|wire| !wire.is_usable()) {
                    // Boxed: a TLS handshake's state is tens of kilobytes, and it is over in a moment.
                    *slot = Some(Box::pin(self.origin.open_http1()).await?);
                }
                let wire = slot.as_mut().ok_or(Failure::Connect)?;
                wire.get(&self.origin.target.authority, path, &mut keep).await?
            }
            Lane::Http2(shared) => {
                let present = shared.borrow().clone().filter(|sender| !sender.is_closed());
                let mut sender = match present {
                    Some(sender) => sender,
                    None => {
                        let sender = Box::pin(self.origin.open_http2()).await?;
                        *shared.borrow_mut() = Some(sender.clone());
                        sender
                    }
                };
                sender.ready().await.map_err(|_| Failure::Closed)?;
                let response = sender.send_request(self.origin.request(path)?).await.map_err(|_| Failure::Closed)?;
                (response.status().as_u16(), receive(response, keep).await?)
            }
        };
        if status == 200 { Ok(length) } else { Err(Failure::Status(status)) }
    }

    /// HTTP/2 streams fail alone; the shared connection is replaced when it is closed.
    fn forget(&mut self) {
        if let Lane::Http1(slot) = &mut self.lane {
            *slot = None;
        }
    }
}

impl Origin {
    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Failure> {
        let target = &self.target;
        let uri =
            Uri::builder().scheme(target.scheme.as_str()).authority(target.authority.as_str()).path_and_query(path);
        let uri = uri.build().map_err(|_| Failure::Playlist)?;
        Request::get(uri).body(Empty::new()).map_err(|_| Failure::Playlist)
    }

    async fn open_http1(&self) -> Result<Wire, Failure> {
        let tcp = self.connect().await?;
        Ok(Wire::new(match &self.tls {
            None => Stream::Plain(tcp),
            Some(tls) => Stream::Tls(Box::new(self.secure(tls, tcp).await?)),
        }))
    }

    async fn open_http2(&self) -> Result<http2::SendRequest<Empty<Bytes>>, Failure> {
        let tcp = self.connect().await?;
        let mut builder = http2::Builder::new(Here);
        builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        match &self.tls {
            None => {
                let (sender, connection) = builder.handshake(TokioIo::new(tcp)).await.map_err(|_| Failure::Connect)?;
                tokio::task::spawn_local(connection);
                Ok(sender)
            }
            Some(tls) => {
                let io = TokioIo::new(self.secure(tls, tcp).await?);
                let (sender, connection) = builder.handshake(io).await.map_err(|_| Failure::Connect)?;
                tokio::task::spawn_local(connection);
                Ok(sender)
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let tcp = TcpStream::connect(self.target.address).await.map_err(|_| Failure::Connect)?;
        tcp.set_nodelay(true).map_err(|_| Failure::Connect)?;
        Ok(tcp)
    }

    async fn secure(
        &self,
        tls: &TlsConnector,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let name = ServerName::try_from(self.target.host.clone()).map_err(|_| Failure::Connect)?;
        let stream = tls.connect(name, tcp).await.map_err(|_| Failure::Connect)?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if self.http2 && agreed != Some(b"h2") { Err(Failure::Connect) } else { Ok(stream) }
    }
}

async fn receive(mut response: Response<Incoming>, mut keep: Keep<'_>) -> Result<u64, Failure> {
    let mut length = 0;
    if response.status() != 200 {
        keep = Keep::Count;
    }
    while let Some(frame) = response.frame().await {
        let frame = frame.map_err(|_| Failure::Closed)?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len() as u64;
        keep.take(data)?;
    }
    Ok(length)
}

impl Keep<'_> {
    /// Keeps what is wanted of a piece of the body.
    pub(crate) fn take(&mut self, data: &[u8]) -> Result<(), Failure> {
        match self {
            Keep::Count => {}
            Keep::Text(text) if text.len() + data.len() <= MAX_TEXT => text.extend_from_slice(data),
            Keep::Text(_) => return Err(Failure::Playlist),
            Keep::Head(head) => {
                let room = MAX_HEAD.saturating_sub(head.len()).min(data.len());
                head.extend_from_slice(&data[..room]);
            }
        }
        Ok(())
    }
}

/// Runs hyper's connection tasks on the calling thread.
#[derive(Clone)]
struct Here;

impl<F> hyper::rt::Executor<F> for Here
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// How long an answer may take in all. A server holds a blocked reload for at most three target durations (RFC 8216bis section 6.2.5.2),
/// which are a few seconds each.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest playlist taken, in bytes: an hour of one-second segments with parts is far below.
const MAX_TEXT: usize = 1 << 20;

/// The most that is kept of a part for a look at its `moof`, in bytes: room for some 4,000 samples.
const MAX_HEAD: usize = 64 << 10;

/// Bytes in flight on one stream; a part of a second at 16 Mbit/s needs no window update.
const STREAM_WINDOW: u32 = 2 << 20;

/// Bytes in flight on one connection: two renditions' worth.
const CONNECTION_WINDOW: u32 = 4 << 20;
