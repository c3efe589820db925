//! The RTMP and RTMPS listeners: accept, TLS, one task per connection, and the bounds over all of them.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::chunk::Limits;
use super::door::{Door, Pass};
use super::end::End;
use super::meters::Meters;
use super::session::{Peer, Session};
use crate::access::Access;
use crate::current::Current;
use crate::hub::Hub;

/// Bounds and times of the listeners.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The application that exists: the path of the server address.
    pub app: &'static str,
    /// Connections at a time, over all listeners; one more is closed at once.
    pub max_connections: usize,
    /// Connections of one address (IPv6: one /64) that do not publish yet; one more ends the oldest of them.
    pub max_half_open: usize,
    /// TLS, handshake, `connect` and `publish` must be done within this time.
    pub start_timeout: Duration,
    /// A peer that does not take an answer for this long is let go.
    pub write_timeout: Duration,
    /// What one connection may make the chunk reader hold.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            app: "live",
            max_connections: 2_000,
            max_half_open: 512,
            start_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// What all RTMP listeners of the process have in common.
pub struct Shared {
    pub(super) hub: Hub,
    pub(super) access: Access,
    pub(super) settings: Current<Settings>,
    pub(super) stop: CancellationToken,
    pub(super) meters: Meters,
    door: Arc<Door>,
    seeds: RandomState,
    /// So far.
    sessions: AtomicU64,
}

impl Shared {
    /// Sessions publish to `hub` what `access` allows, until `stop`. Call it when metrics are being recorded.
    pub fn new(hub: Hub, access: Access, settings: Settings, stop: CancellationToken) -> Arc<Shared> {
        let door = Arc::new(Door::new(settings.max_connections, settings.max_half_open));
        let (meters, seeds) = (Meters::new(), RandomState::new());
        let settings = Current::new(settings);
        Arc::new(Shared { hub, access, settings, stop, meters, door, seeds, sessions: AtomicU64::new(0) })
    }

    /// Other bounds and times, for connections that come from now on.
    pub fn apply(&self, settings: Settings) {
        self.door.resize(settings.max_connections);
        self.settings.set(settings);
    }
}

/// Serves RTMP, or with `tls` RTMPS, until `shared` is stopped and its sessions have ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let acceptor = tls.map(TlsAcceptor::from);
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            Some(_) = sessions.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => admit(&mut sessions, &shared, acceptor.clone(), socket, address),
                Err(error) => recover(&error).await,
            },
        }
    }
    drop(listener);
    let rest = async { while sessions.join_next().await.is_some() {} };
    // Dropping the set ends those that are still there.
    let _ = timeout(shared.settings.get().write_timeout, rest).await;
    Ok(())
}

fn admit(
    sessions: &mut JoinSet<()>,
    shared: &Arc<Shared>,
    tls: Option<TlsAcceptor>,
    socket: TcpStream,
    address: SocketAddr,
) {
    shared.meters.connections.increment(1);
    let Some(pass) = shared.door.enter(address.ip()) else {
        shared.meters.refused("connections_full");
        return;
    };
    // Answers are short and awaited; where the option cannot be set they are only slower.
    let _ = socket.set_nodelay(true);
    sessions.spawn(connection(socket, address, pass, tls, shared.clone()));
}

async fn connection(socket: TcpStream, address: SocketAddr, pass: Pass, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let _open = Open::new(&shared.meters);
    let protocol = if tls.is_some() { "rtmps" } else { "rtmp" };
    let peer = Peer { address, protocol, since: Instant::now() };
    let number = shared.sessions.fetch_add(1, Ordering::Relaxed);
    let seed = shared.seeds.hash_one((address, number));
    // Of the highest level, so that its lines are named whatever the level is by then.
    let session = format!("{seed:016x}");
    let span = tracing::error_span!("session", protocol, session, peer = %address, stream = tracing::field::Empty);
    let Some(tls) = tls else {
        return Session::new(socket, peer, pass, shared.clone(), seed).run().instrument(span).await;
    };
    match secured(tls, socket, peer, &pass, &shared).await {
        Ok(stream) => Session::new(stream, peer, pass, shared.clone(), seed).run().instrument(span).await,
        Err(end) => {
            let _in_span = span.enter();
            end.refusal().into_iter().for_each(|reason| shared.meters.refused(reason));
            tracing::debug!(reason = %end, "connection ended");
        }
    }
}

async fn secured(
    tls: TlsAcceptor,
    socket: TcpStream,
    peer: Peer,
    pass: &Pass,
    shared: &Shared,
) -> Result<Box<TlsStream<TcpStream>>, End> {
    let limit = shared.settings.get().start_timeout;
    tokio::select! {
        biased;
        shaken = timeout_at(peer.since + limit, tls.accept(socket)) => match shaken {
            Ok(stream) => Ok(Box::new(stream.map_err(End::Tls)?)),
            Err(_) => Err(End::Late(limit.as_secs())),
        },
        () = pass.evicted.cancelled() => Err(End::Evicted),
        () = shared.stop.cancelled() => Err(End::Stopped),
    }
}

/// One open connection in the gauge.
struct Open(metrics::Gauge);

impl Open {
    fn new(meters: &Meters) -> Open {
        meters.sessions.increment(1.0);
        Open(meters.sessions.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Out of descriptors or memory: the backlog can wait a moment, and a loop that spins would make it worse.
async fn recover(error: &io::Error) {
    tracing::warn!(%error, "cannot accept an RTMP connection");
    sleep(ACCEPT_PAUSE).await;
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
