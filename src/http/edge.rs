//! The viewers' listener: starts its threads, tells its addresses, drains.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Response;
use tokio_rustls::TlsAcceptor;

use super::body::Body;
use super::connection::Manner;
use super::cors::Origins;
use super::counters::{Counters, Places};
use super::error::Error;
use super::forwarded::Proxies;
use super::gate::Gate;
use super::pages::Pages;
use super::referrers::Referrers;
use super::viewer::{self, Viewer};
use super::viewers::Viewers;
use super::worker::{Crew, Shared};
use super::{Offers, Settings, Signalling, Source, socket};
use crate::access::Access;
use crate::current::Current;

/// The running edge. Dropping it closes everything at once; [`Edge::drain`] is the gentle way.
#[derive(Debug)]
pub struct Edge {
    crew: Crew,
    addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    readiness: Readiness,
    pages: Arc<Pages>,
    origins: Origins,
    proxies: Proxies,
    places: Arc<Places>,
    settings: Current<Settings>,
    offers: Option<Current<Offers>>,
}

impl Edge {
    /// Binds the addresses and starts the threads. `access` says who may watch, and `viewers` is told
    /// who does.
    pub fn start<S: Source>(
        settings: Settings,
        source: S,
        tls: Option<Arc<rustls::ServerConfig>>,
        signalling: Option<Signalling>,
        (access, viewers): (Access, Viewers),
    ) -> Result<Edge, StartError> {
        let threads = match settings.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let plain = bind(settings.listen, threads, "http.listen")?;
        let addr = local(&plain, "http.listen", settings.listen)?;
        let secure = match (settings.tls_listen, &tls) {
            (Some(listen), Some(_)) => bind(listen, threads, "http.tls_listen")?,
            (Some(_), None) => return Err(StartError::NoCertificate),
            (None, _) => Vec::new(),
        };
        let tls_addr = match settings.tls_listen {
            Some(listen) => Some(local(&secure, "http.tls_listen", listen)?),
            None => None,
        };
        let readiness = Readiness::default();
        let counters = Arc::new(Counters::new());
        let pages = Pages::new();
        compress(&pages);
        let origins = Origins::new(&settings.allow_origins);
        let proxies = Proxies::new(&settings.trusted_proxies);
        let places = Places::new(settings.max_connections);
        let offers = signalling.as_ref().map(|signalling| signalling.offers.clone());
        let viewer = Viewer {
            source,
            pages: pages.clone(),
            origins: origins.clone(),
            counters: counters.clone(),
            readiness: readiness.clone(),
            viewers,
            gate: Gate { access, referrers: Referrers::new(&settings.referrers, settings.empty_referrer) },
            signalling,
        };
        let shared = Shared {
            manner: Manner::new(&settings, tls.map(TlsAcceptor::from), counters.clone(), proxies.clone()),
            respond: Arc::new(viewer),
            places: places.clone(),
            counters,
        };
        let mut secure = secure.into_iter();
        let sockets = plain.into_iter().map(|plain| (plain, secure.next())).collect();
        let settings = Current::new(settings);
        let crew = Crew::start("http", &settings, shared, sockets).map_err(StartError::Thread)?;
        Ok(Edge { crew, addr, tls_addr, readiness, pages, origins, proxies, places, settings, offers })
    }

    pub(super) fn proxies(&self) -> Proxies {
        self.proxies.clone()
    }

    /// Where plain HTTP is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where HTTP over TLS is served, if it is.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// What `/readyz` says, here and on the operator's listener.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// The built pages, for the operator's listener.
    pub(super) fn pages(&self) -> Arc<Pages> {
        self.pages.clone()
    }

    /// The way to change what can be changed while the edge runs.
    pub fn tuning(&self) -> Tuning {
        let Edge { origins, proxies, places, settings, offers, .. } = self;
        let (origins, proxies, places) = (origins.clone(), proxies.clone(), places.clone());
        Tuning { origins, proxies, places, settings: settings.clone(), offers: offers.clone() }
    }

    /// Stops accepting, lets requests in flight finish, then ends; at the deadline at the latest. True if nothing had to
    /// be cut off.
    pub async fn drain(self, deadline: Duration) -> bool {
        self.readiness.end();
        self.crew.drain(deadline).await
    }
}

/// Changes a running [`Edge`]: who may read, bounds, waits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tuning {
    origins: Origins,
    proxies: Proxies,
    places: Arc<Places>,
    settings: Current<Settings>,
    offers: Option<Current<Offers>>,
}

impl Tuning {
    /// Other settings: origins and the bound on connections at once, waits from the next look at connections on. Addresses
    /// and threads stay as they are.
    pub fn apply(&self, settings: Settings, offers: Offers) {
        self.origins.allow(&settings.allow_origins);
        self.proxies.trust(&settings.trusted_proxies);
        self.places.resize(settings.max_connections);
        self.settings.set(settings);
        if let Some(current) = &self.offers {
            current.set(offers);
        }
    }
}

/// Whether new work is welcome. Cheap to clone; all clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    ended: Arc<AtomicBool>,
}

impl Readiness {
    /// From now on `/readyz` answers 503, so that a balancer in front sends its viewers elsewhere.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn response(&self) -> Result<Response<Body>, Error> {
        if self.ended.load(Ordering::Relaxed) { Err(Error::Draining) } else { Ok(viewer::plain("ready\n")) }
    }
}

/// Why a listener does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {addr} ({option}): {source}; {}", remedy(.source, .option))]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The option that asked for it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// TLS is to be served with nothing to show.
    #[error("http.tls_listen is set, but there is no certificate; set tls.cert and tls.key, or remove http.tls_listen")]
    NoCertificate,
    /// No thread or no event queue is to be had.
    #[error("cannot start the HTTP threads: {0}")]
    Thread(#[source] io::Error),
}

pub(super) fn bind(addr: SocketAddr, count: usize, option: &'static str) -> Result<Vec<TcpListener>, StartError> {
    socket::bind(addr, count).map_err(|source| StartError::Bind { addr, option, source })
}

pub(super) fn local(
    listeners: &[TcpListener],
    option: &'static str,
    addr: SocketAddr,
) -> Result<SocketAddr, StartError> {
    match listeners.first().map(TcpListener::local_addr) {
        Some(Ok(local)) => Ok(local),
        Some(Err(source)) => Err(StartError::Bind { addr, option, source }),
        None => Err(StartError::NoCertificate),
    }
}

fn remedy(source: &io::Error, option: &str) -> impl fmt::Display + use<> {
    match source.kind() {
        io::ErrorKind::AddrInUse => format!("end the other program on that port, or give {option} another one"),
        io::ErrorKind::PermissionDenied => format!("ports below 1024 need a privilege; give {option} a higher one"),
        io::ErrorKind::AddrNotAvailable => format!("this machine has no such address; correct {option}"),
        _ => format!("correct {option}"),
    }
}

/// The texts of the pages are compressed beside the start, not before it.
fn compress(pages: &Arc<Pages>) {
    let pages = pages.clone();
    let spawned = std::thread::Builder::new().name("http-gzip".to_owned()).spawn(move || pages.compress());
    if let Err(error) = spawned {
        tracing::warn!(%error, "the pages are served uncompressed");
    }
}
