//! Builds and wires everything in order, says where it listens, and drains on shutdown. `main` calls [`run`]; tests use
//! [`Server`]. Decides nothing about media.

mod apply;
mod notify;
mod reload;
mod settings;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{self, Access, KeyId};
use crate::config::{self, Config, Control};
use crate::current::Current;
use crate::doctor::{self, Doctor};
use crate::events::Events;
use crate::hls::Hls;
use crate::http::{self, Admin, Edge, Parts, Reach};
use crate::hub::Hub;
use crate::logging::{self, Logging};
use crate::transcode::{self, Transcoder};
use crate::webrtc::{self, WebRtc};
use crate::{acme, metrics, rtmp, tls, traces};

/// Why the server ended other than as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener of the HTTP edge or the operator's page cannot start.
    #[error(transparent)]
    Http(#[from] http::StartError),
    /// A listener of the RTMP ingest cannot start.
    #[error(
        "cannot listen on {addr} ({option}): {source}; end the other program on that port, or give {option} another one"
    )]
    Rtmp {
        /// The address asked for.
        addr: SocketAddr,
        /// The option that asked for it.
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The port for WebRTC cannot be had.
    #[error(transparent)]
    Webrtc(#[from] webrtc::StartError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Nobody can know who may do what.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// The data directory cannot be made or written.
    #[error("data.dir: cannot use {path}: {source}; make it writable for this user, or set data.dir", path = path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the process itself.
    #[error("cannot start: {0}")]
    Start(String),
}

impl Error {
    /// What the process ends with: 2 for what the configuration must mend, 3 for an address that cannot be had, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Http(http::StartError::Bind { .. })
            | Error::Rtmp { .. }
            | Error::Webrtc(webrtc::StartError::Bind { .. }) => 3,
            Error::Http(http::StartError::NoCertificate) | Error::Tls(_) | Error::Access(_) | Error::Data { .. } => 2,
            Error::Http(http::StartError::Thread(_)) | Error::Webrtc(_) | Error::Start(_) => 1,
        }
    }
}

/// Serves until told to stop by SIGTERM or SIGINT; a second one ends at once. SIGHUP, and another configuration file, are
/// taken on while it serves.
pub fn run(control: &Control, logging: &Logging) -> Result<(), Error> {
    metrics::install().map_err(|error| Error::Start(error.to_string()))?;
    // Ingest and packaging have threads of their own: a burst of viewers on the edge's threads never holds up a publisher.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings::threads(control.configured().config.server.threads))
        .thread_name("media")
        .enable_all()
        .build()
        .map_err(|error| Error::Start(error.to_string()))?;
    let ended = runtime.block_on(async {
        let server = Server::start_with(control.clone(), Some(logging.tuning())).await?;
        let mut signals = Signals::new().map_err(|error| Error::Start(error.to_string()))?;
        let hangups = signal(SignalKind::hangup()).map_err(|error| Error::Start(error.to_string()))?;
        let asked = server.admin.asked_to_drain();
        let name = tokio::select! {
            name = signals.next() => name,
            () = asked.cancelled() => "the operator",
            never = reload::follow(control, hangups) => match never {},
            never = notify::lives(&server) => match never {},
        };
        tracing::info!(signal = name, "draining: no new work; a second signal ends at once");
        let drain = control.configured().config.server.drain.get();
        notify::drains(drain);
        tokio::select! {
            () = server.drain(drain) => tracing::info!("drained"),
            name = signals.next() => tracing::warn!(signal = name, "ended at once"),
        }
        Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    hub: Hub,
    access: Access,
    edge: Edge,
    viewers: http::Viewers,
    admin: Admin,
    rtmp: Vec<SocketAddr>,
    webrtc: Option<WebRtc>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts everything, on the present runtime and on the edge's threads. Nothing runs if any of it cannot.
    pub async fn start(config: Config) -> Result<Server, Error> {
        Server::start_with(Control::fixed(config, Events::new()), None).await
    }

    /// The same; later changes of the configuration are taken on, and those of `[log]` by `logging`.
    pub async fn start_with(control: Control, logging: Option<logging::Tuning>) -> Result<Server, Error> {
        let config = control.configured().config;
        std::fs::create_dir_all(&config.data.dir)
            .map_err(|source| Error::Data { path: config.data.dir.clone(), source })?;
        let acme = settings::acme(&config);
        let certificates = certificates(&config, acme.as_ref())?;
        let events = control.events().clone();
        let hub = Hub::telling(settings::hub(&config), events.clone());
        let program = program(&config)?;
        let transcoder = Transcoder::new(hub.clone(), settings::transcode(&config, &program));
        let hls = Hls::new(hub.clone(), settings::hls(&config.hls));
        let plain = bind(config.rtmp.listen, "rtmp.listen")?;
        let secure = config.rtmp.tls_listen.map(|addr| bind(addr, "rtmp.tls_listen")).transpose()?;
        let https = certificates.as_ref().map(|c| c.for_http()).transpose()?;
        let rtmps = certificates.as_ref().map(|c| c.for_rtmp()).transpose()?;
        let webrtc =
            config.webrtc.enabled.then(|| WebRtc::start(settings::webrtc(&config), hub.clone())).transpose()?;
        let access = Access::open(settings::access(&config)?, events.clone())?;
        let doctor = config.doctor.enabled.then(|| Doctor::new(hub.clone(), settings::doctor(&config), events.clone()));
        let signalling = webrtc.clone().map(|webrtc| signalling(&config, webrtc, access.clone(), doctor.clone()));
        let viewers =
            http::Viewers::new(settings::viewers(&config), access.play_secret(), webrtc.clone(), events.clone());
        let edge =
            Edge::start(settings::http(&config), hls.clone(), https, signalling, (access.clone(), viewers.clone()))?;
        let shown = Parts {
            hub: hub.clone(),
            hls: hls.clone(),
            transcoder: Some(transcoder.clone()),
            webrtc: webrtc.clone(),
            access: access.clone(),
            viewers: viewers.clone(),
            doctor: doctor.clone(),
            events,
            data: config.data.dir.clone(),
            metrics_token: config.admin.metrics_token.clone(),
            per_stream: config.telemetry.per_stream,
            reach: reach(&config, &edge, &plain),
            control: control.clone(),
        };
        let admin = Admin::start(config.admin.listen, shown, &edge)?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        if let Some(doctor) = doctor {
            tasks.spawn(doctor.follow(contacts(webrtc.clone()), stop.clone()));
        }
        let rtmp = rtmp::Shared::new(hub.clone(), access.clone(), settings::rtmp(&config.rtmp), stop.clone());
        let reload_interval = Current::new(config.tls.reload_interval.get());
        control.apply_with(apply::to(apply::Parts {
            hub: hub.clone(),
            hls: hls.clone(),
            transcoder: transcoder.clone(),
            program,
            webrtc: webrtc.clone(),
            edge: edge.tuning(),
            rtmp: rtmp.clone(),
            reload_interval: reload_interval.clone(),
            access: access.clone(),
            logging,
        }));
        let server = Server {
            hub: hub.clone(),
            access: access.clone(),
            edge,
            viewers: viewers.clone(),
            admin,
            rtmp: Vec::new(),
            webrtc: webrtc.clone(),
            stop: stop.clone(),
            tasks,
        };
        let hub_keeper = hub.clone();
        let keep = stop.clone();
        server.tasks.spawn(async move { hub_keeper.keep(keep).await });
        let follow = stop.clone();
        server.tasks.spawn(stop.clone().run_until_cancelled_owned(viewers.keep(hls.clone())));
        server.tasks.spawn(async move { hls.follow(follow).await });
        server.tasks.spawn(transcoder.follow(stop.clone()));
        let config::Telemetry { endpoint, sample, .. } = config.telemetry.clone();
        if let Some(sending) = traces::start(&traces::Settings { endpoint, sample }) {
            server.tasks.spawn(stop.clone().run_until_cancelled_owned(sending));
        }
        server.tasks.spawn(stop.clone().run_until_cancelled_owned(observe()));
        server.tasks.spawn(stop.clone().run_until_cancelled_owned(server.admin.watch()));
        server.tasks.spawn(stop.clone().run_until_cancelled_owned(end_revoked(access.clone(), hub, webrtc)));
        let (keeper, keep) = (access.clone(), stop.clone());
        server.tasks.spawn(async move { keeper.keep(keep).await });
        if let Some((acme, certificates)) = acme.zip(certificates.clone()) {
            let keep = acme::keep(acme, certificates, control.events().clone());
            server.tasks.spawn(stop.clone().run_until_cancelled_owned(keep));
        }
        if let Some(certificates) = certificates {
            server.tasks.spawn(stop.clone().run_until_cancelled_owned(certificates.watch(reload_interval)));
        }
        let server = server.ingest(&config, &rtmp, plain, secure.zip(rtmps))?;
        server.announce(&config);
        Ok(server)
    }

    /// Where HTTP is served.
    pub fn http_addr(&self) -> SocketAddr {
        self.edge.addr()
    }

    /// Where RTMP is taken.
    pub fn rtmp_addr(&self) -> Option<SocketAddr> {
        self.rtmp.first().copied()
    }

    /// Where media of WHIP and WHEP goes.
    pub fn webrtc_addr(&self) -> Option<SocketAddr> {
        self.webrtc.as_ref().map(WebRtc::addr)
    }

    /// Who may do what, for whoever runs the server within a program of their own.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Where the operator's listener is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// No new work; publishers are told; streams end and viewers finish, within the deadline.
    pub async fn drain(self, deadline: Duration) {
        ::metrics::gauge!(metrics::DRAINING).set(1.0);
        self.edge.readiness().end();
        self.hub.drain();
        if let Some(webrtc) = self.webrtc {
            webrtc.drain().await;
        }
        let (viewers, operators) =
            tokio::join!(self.edge.drain(deadline), self.admin.drain(Duration::from_millis(500)));
        if !(viewers && operators) {
            tracing::warn!(?deadline, "some connections were cut off");
        }
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
    }

    fn ingest(
        mut self,
        config: &Config,
        shared: &Arc<rtmp::Shared>,
        plain: TcpListener,
        secure: Option<(TcpListener, Arc<rustls::ServerConfig>)>,
    ) -> Result<Server, Error> {
        let listeners = [Some((plain, None, "rtmp.listen")), secure.map(|(l, tls)| (l, Some(tls), "rtmp.tls_listen"))];
        for (listener, tls, option) in listeners.into_iter().flatten() {
            let addr =
                listener.local_addr().map_err(|source| Error::Rtmp { addr: config.rtmp.listen, option, source })?;
            let listener =
                tokio::net::TcpListener::from_std(listener).map_err(|source| Error::Rtmp { addr, option, source })?;
            self.rtmp.push(addr);
            self.tasks.spawn(rtmp::serve(listener, tls, shared.clone()));
        }
        Ok(self)
    }

    /// The start-up lines: one per listener, and where to push and watch.
    fn announce(&self, config: &Config) {
        let http = self.edge.addr();
        tracing::info!("http listening on http://{http}");
        if let Some(addr) = self.edge.tls_addr() {
            tracing::info!("https listening on https://{addr}");
        }
        for (addr, scheme) in self.rtmp.iter().zip(["rtmp", "rtmps"]) {
            tracing::info!("{scheme} listening on {scheme}://{addr}/live");
        }
        if let Some(webrtc) = &self.webrtc {
            tracing::info!("webrtc listening on {} (UDP and TCP)", webrtc.addr());
        }
        tracing::info!("admin listening on http://{}", self.admin.addr());
        if let Some(token) = self.access.made_admin_token() {
            let path = config.data.dir.join("admin-token");
            let (path, token) = (path.display(), token.reveal());
            tracing::info!("the admin page asks for the admin token, shown this once and kept in {path}: {token}");
        }
        let base = match config.http.public_url.as_str() {
            "" => format!("http://{}", reachable(http)),
            url => url.trim_end_matches('/').to_owned(),
        };
        let rtmp = self.rtmp.first().map(|addr| reachable(*addr).to_string()).unwrap_or_default();
        tracing::info!("push to rtmp://{rtmp}/live with stream key NAME, watch at {base}/watch/NAME");
        if self.access.is_open() {
            tracing::info!("there are no keys: only this machine may publish (see [[access.keys]])");
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// How often the recorder's buffers are emptied, and how late a timer is measured.
const OBSERVE: Duration = Duration::from_secs(1);

async fn observe() {
    loop {
        let due = tokio::time::Instant::now() + OBSERVE;
        tokio::time::sleep_until(due).await;
        ::metrics::histogram!(metrics::RUNTIME_LAG).record(due.elapsed());
        metrics::upkeep();
    }
}

/// Ends what revoked keys opened: at once as it is told, and soon where a session began just then.
async fn end_revoked(access: Access, hub: Hub, webrtc: Option<WebRtc>) {
    let mut revoked = access.revocations();
    let mut tick = tokio::time::interval(REVOKE);
    loop {
        tokio::select! {
            told = revoked.recv() => if told == Err(RecvError::Closed) { return },
            _ = tick.tick() => {}
        }
        let gone = |key: &KeyId| !access.stands(key);
        hub.end_keys(gone);
        if let Some(webrtc) = &webrtc {
            webrtc.end_keys(gone, REVOKED);
        }
    }
}

/// How often sessions of keys that are gone are looked for.
const REVOKE: Duration = Duration::from_secs(1);
const REVOKED: &str = "the key was revoked";

fn certificates(config: &Config, acme: Option<&acme::Settings>) -> Result<Option<tls::Certificates>, Error> {
    if let Some(acme) = acme {
        return Ok(Some(tls::Certificates::awaited(&acme.certificate())));
    }
    match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => Ok(Some(tls::Certificates::load(cert, key)?)),
        _ => Ok(None),
    }
}

fn bind(addr: SocketAddr, option: &'static str) -> Result<TcpListener, Error> {
    let failed = |source| Error::Rtmp { addr, option, source };
    let listener = TcpListener::bind(addr).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Where others find this server.
fn reach(config: &Config, edge: &Edge, rtmp: &TcpListener) -> Reach {
    Reach {
        public_url: config.http.public_url.trim_end_matches('/').to_owned(),
        http_port: edge.addr().port(),
        rtmp_port: rtmp.local_addr().map_or(config.rtmp.listen.port(), |addr| addr.port()),
    }
}

/// Where a person on this machine finds an address that means all of them.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip().is_unspecified() {
        true => SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), addr.port()),
        false => addr,
    }
}

/// How workers are started. The path is asked for once: a program that was replaced meanwhile has another.
fn program(config: &Config) -> Result<transcode::Program, Error> {
    let path = std::env::current_exe().map_err(|error| Error::Start(format!("no path to this program: {error}")))?;
    let data = std::path::absolute(&config.data.dir).unwrap_or_else(|_| config.data.dir.clone());
    let registry = (!config::names_gstreamer_registry()).then(|| data.join("gstreamer-registry.bin"));
    Ok(transcode::Program { path, registry })
}

/// What the sessions over WebRTC say of their streams.
fn contacts(webrtc: Option<WebRtc>) -> doctor::Contacts {
    Arc::new(move || {
        let mut contacts: HashMap<String, doctor::Contact> = HashMap::new();
        for shot in webrtc.as_ref().map(WebRtc::sessions).unwrap_or_default() {
            if shot.state != "connected" {
                continue;
            }
            let contact = contacts.entry(shot.stream).or_default();
            match shot.protocol {
                "whip" => contact.packets = Some((shot.packets, shot.lost)),
                _ => contact.viewers += 1,
            }
        }
        contacts
    })
}

fn signalling(config: &Config, webrtc: WebRtc, access: Access, doctor: Option<Doctor>) -> http::Signalling {
    http::Signalling { webrtc, access, doctor, offers: Current::new(settings::offers(config)) }
}
