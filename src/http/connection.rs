//! One connection from its first byte to its last: TLS or none, HTTP/1.1 or HTTP/2, until it ends or is ended.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::asked::Asked;
use super::batch::{Batched, Gate};
use super::body::Body;
use super::counters::Counters;
use super::error::Error;
use super::forwarded::Proxies;
use super::pulse::{Pulse, Verdict};
use super::settings::Settings;
use super::signalling::Ends;
use super::watched::Watched;

/// Answers requests.
pub(super) trait Respond: Clone + Send + Sync + 'static {
    fn respond(&self, asked: &Asked) -> impl Future<Output = Response<Body>> + Send;

    /// Whether the body of a request for this path counts. Such are rare, and viewers' requests are many.
    fn takes(&self, _path: &str) -> bool {
        false
    }

    /// Answers a request whose body counts. On the heap, so that all others cost nothing for it.
    fn signal(&self, _request: Request<Incoming>, _ends: Ends) -> Signal {
        Box::pin(std::future::ready(Error::MethodNotAllowed.response()))
    }
}

/// The answer to a request whose body counts.
pub(super) type Signal = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers every request that there is no room: for connections beyond the limit.
#[derive(Clone, Debug)]
pub(super) struct Full;

impl Respond for Full {
    async fn respond(&self, _asked: &Asked) -> Response<Body> {
        Error::Busy.response()
    }
}

/// How connections are spoken to; the same for all of a listener.
pub(super) struct Manner {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    handshake_timeout: Duration,
    counters: Arc<Counters>,
    proxies: Proxies,
}

impl Manner {
    pub(super) fn new(
        settings: &Settings,
        tls: Option<TlsAcceptor>,
        counters: Arc<Counters>,
        proxies: Proxies,
    ) -> Manner {
        let header_bytes = settings.max_header_bytes;
        let mut http1 = http1::Builder::new();
        // The pulse has the deadlines, without a timer per request.
        http1.header_read_timeout(None).max_header_size(header_bytes).max_buf_size(WRITE_BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(SEND_BUFFER)
            .max_frame_size(FRAME)
            .initial_stream_window_size(RECEIVE_WINDOW)
            .initial_connection_window_size(RECEIVE_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Manner { http1, http2, tls, handshake_timeout: settings.handshake_timeout, counters, proxies }
    }

    /// Serves a connection to its end. With `secure`, TLS comes first.
    pub(super) async fn serve<R: Respond>(&self, stream: TcpStream, secure: bool, pulse: Arc<Pulse>, respond: R) {
        let io = Watched::new(stream, pulse.clone(), self.counters.bytes_sent.clone());
        let served = pin!(async {
            match (&self.tls, secure) {
                (Some(tls), true) => Box::pin(self.secure(tls, io, &pulse, respond)).await,
                _ => self.plain(io, &pulse, respond).await,
            }
        });
        let mut served = served;
        poll_fn(|cx| {
            pulse.attend(cx.waker());
            if pulse.verdict() == Verdict::Abort { Poll::Ready(()) } else { served.as_mut().poll(cx) }
        })
        .await;
    }

    async fn plain<R: Respond>(&self, mut io: Watched<TcpStream>, pulse: &Arc<Pulse>, respond: R) {
        match io.opens_http2().await {
            // On the heap, as TLS is: a connection has the size of its largest branch, and most are plain HTTP/1.
            Ok(true) => Box::pin(self.http2(io, at_once, pulse, respond)).await,
            Ok(false) => self.http1(io, pulse, respond).await,
            Err(_) => {}
        }
    }

    async fn secure<R: Respond>(&self, tls: &TlsAcceptor, io: Watched<TcpStream>, pulse: &Arc<Pulse>, respond: R) {
        let mut stream = match tokio::time::timeout(self.handshake_timeout, tls.accept(Gate::new(io))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return tracing::debug!("TLS handshake took too long"),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let stream = Batched::new(stream);
            let rests = stream.clone();
            self.http2(stream, move |cx| rests.poll_push(cx), pulse, respond).await;
        } else {
            stream.get_mut().1.set_buffer_limit(Some(SEALED));
            self.http1(stream, pulse, respond).await;
        }
    }

    async fn http1<I, R>(&self, io: I, pulse: &Arc<Pulse>, respond: R)
    where
        I: AsyncRead + AsyncWrite + Unpin,
        R: Respond,
    {
        pulse.reads_are_heads();
        let service = service_fn(|request| answer(pulse, (&respond, &self.proxies), request, false));
        let connection = pin!(self.http1.serve_connection(TokioIo::new(io), service));
        finish(connection, at_once, pulse, http1::Connection::graceful_shutdown).await;
    }

    /// `rests`: what to do whenever the connection has no more to say for now.
    async fn http2<I, R>(&self, io: I, rests: impl FnMut(&mut Context<'_>) -> Push, pulse: &Arc<Pulse>, respond: R)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        R: Respond,
    {
        let (owner, proxies) = (pulse.clone(), self.proxies.clone());
        let service = service_fn(move |request| answer(&owner, (&respond, &proxies), request, true));
        let connection = pin!(self.http2.serve_connection(TokioIo::new(io), service));
        finish(connection, rests, pulse, http2::Connection::graceful_shutdown).await;
    }
}

/// One request, in flight from now until its answer's last byte is handed over; `framed`: over HTTP/2.
fn answer<R: Respond>(
    pulse: &Arc<Pulse>,
    (respond, proxies): (&R, &Proxies),
    request: Request<Incoming>,
    framed: bool,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<R> {
    let in_flight = pulse.begin();
    let respond = respond.clone();
    // At once, so that the request lets go of the buffer before it is held.
    let ends = pulse.ends().map(|ends| Ends { peer: proxies.client(ends.peer, request.headers()), ..ends });
    let asked = match ends {
        Some(ends) if respond.takes(request.uri().path()) => Ok(respond.signal(request, ends)),
        ends => Err(Asked::of(&request, ends.map(|ends| ends.peer.ip()))),
    };
    async move {
        let mut response = match asked {
            Ok(signal) => signal.await,
            Err(asked) => respond.respond(&asked).await,
        };
        let body = response.body_mut();
        body.keep(in_flight);
        if framed {
            body.in_frames();
        }
        Ok(response)
    }
}

/// Drives a connection; asks it to finish when its pulse says so. By reference: a future that is handed over by value
/// takes its room twice, and there is one for each viewer.
async fn finish<C>(
    mut connection: Pin<&mut C>,
    mut rests: impl FnMut(&mut Context<'_>) -> Push,
    pulse: &Pulse,
    farewell: fn(Pin<&mut C>),
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut told = false;
    let ended = poll_fn(|cx| {
        if !told && pulse.verdict() != Verdict::Live {
            told = true;
            farewell(connection.as_mut());
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(Into::into));
        }
        match rests(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ => Poll::Pending,
        }
    });
    let ended: Result<(), Box<dyn StdError + Send + Sync>> = ended.await;
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Whether what was written is out.
type Push = Poll<io::Result<()>>;

/// For connections that hold nothing back.
fn at_once(_: &mut Context<'_>) -> Push {
    Poll::Ready(Ok(()))
}

/// Bytes of an answer that HTTP/1.1 over TLS seals and writes at once; a slow peer's connection holds so much.
const SEALED: usize = 128 * 1024;
/// Bytes of an answer that HTTP/1 gathers for one writev: a segment's chunks go out together. They are shared bytes, not
/// copies, so this costs a connection no memory.
const WRITE_BUFFER: usize = 1024 * 1024;
/// Requests at a time on one HTTP/2 connection: a player has a handful, a cache in front has those of many viewers.
const MOST_STREAMS: u32 = 256;
/// Bytes of an answer that HTTP/2 takes in before the peer's window opens. They are shared ones, not copies.
const SEND_BUFFER: usize = 1024 * 1024;
/// The largest HTTP/2 frame we take, in bytes.
const FRAME: u32 = 64 * 1024;
/// Bytes a peer may send before we read: requests here have no bodies.
const RECEIVE_WINDOW: u32 = 64 * 1024;
/// A held request on a dead HTTP/2 connection is found by a ping that nobody answers.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
