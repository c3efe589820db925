//! Builds and wires everything in order, says where it listens, and drains on shutdown. `main` calls [`run`]; tests use
//! [`Server`]. Decides nothing about media.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Access;
use crate::config::{self, Config};
use crate::doctor::{self, Doctor};
use crate::events::Events;
use crate::hls::{self, Hls};
use crate::http::{self, Admin, Edge};
use crate::hub::{self, Hub};
use crate::media::Time;
use crate::transcode::{self, Transcoder};
use crate::webrtc::{self, WebRtc};
use crate::{metrics, rtmp, tls};

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
            Error::Http(http::StartError::NoCertificate) | Error::Tls(_) | Error::Data { .. } => 2,
            Error::Http(http::StartError::Thread(_)) | Error::Webrtc(_) | Error::Start(_) => 1,
        }
    }
}

/// Serves until told to stop by SIGTERM or SIGINT; a second one ends at once.
pub fn run(config: Config) -> Result<(), Error> {
    metrics::install().map_err(|error| Error::Start(error.to_string()))?;
    // Ingest and packaging have threads of their own: a burst of viewers on the edge's threads never holds up a publisher.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads(config.server.threads))
        .thread_name("media")
        .enable_all()
        .build()
        .map_err(|error| Error::Start(error.to_string()))?;
    let ended = runtime.block_on(async {
        let drain = config.server.drain.get();
        let server = Server::start(config).await?;
        let mut signals = Signals::new().map_err(|error| Error::Start(error.to_string()))?;
        let name = signals.next().await;
        tracing::info!(signal = name, "draining: no new work; a second signal ends at once");
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
    edge: Edge,
    admin: Admin,
    rtmp: Vec<SocketAddr>,
    webrtc: Option<WebRtc>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts everything, on the present runtime and on the edge's threads. Nothing runs if any of it cannot.
    pub async fn start(config: Config) -> Result<Server, Error> {
        std::fs::create_dir_all(&config.data.dir)
            .map_err(|source| Error::Data { path: config.data.dir.clone(), source })?;
        let certificates = certificates(&config.tls)?;
        let hub = Hub::new(hub_settings(&config));
        let transcoder = transcoder(&config, &hub)?;
        let hls = Hls::new(hub.clone(), hls_settings(&config.hls));
        let plain = bind(config.rtmp.listen, "rtmp.listen")?;
        let secure = config.rtmp.tls_listen.map(|addr| bind(addr, "rtmp.tls_listen")).transpose()?;
        let https = certificates.as_ref().map(|c| c.for_http()).transpose()?;
        let rtmps = certificates.as_ref().map(|c| c.for_rtmp()).transpose()?;
        let webrtc = config.webrtc.enabled.then(|| WebRtc::start(webrtc_settings(&config), hub.clone())).transpose()?;
        let access = Access::new(config.access.keys.clone());
        let doctor = config.doctor.enabled.then(|| Doctor::new(hub.clone(), doctor_limits(&config), Events::new()));
        let signalling =
            webrtc.clone().map(|webrtc| signalling(&config, webrtc, access.clone(), doctor.clone())).transpose()?;
        let edge = Edge::start(http_settings(&config), hls.clone(), https, signalling)?;
        let shown = (hub.clone(), hls.clone(), transcoder.clone(), webrtc.clone(), doctor.clone());
        let admin = Admin::start(config.admin.listen, shown, edge.readiness())?;

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        if let Some(doctor) = doctor {
            tasks.spawn(doctor.follow(contacts(webrtc.clone()), stop.clone()));
        }
        let server = Server { hub: hub.clone(), edge, admin, rtmp: Vec::new(), webrtc, stop: stop.clone(), tasks };
        let hub_keeper = hub.clone();
        let keep = stop.clone();
        server.tasks.spawn(async move { hub_keeper.keep(keep).await });
        let follow = stop.clone();
        server.tasks.spawn(async move { hls.follow(follow).await });
        if let Some(transcoder) = transcoder {
            server.tasks.spawn(transcoder.follow(stop.clone()));
        }
        server.tasks.spawn(stop.clone().run_until_cancelled_owned(observe(hub)));
        if let Some(certificates) = certificates {
            let interval = config.tls.reload_interval.get();
            server.tasks.spawn(stop.clone().run_until_cancelled_owned(certificates.watch(interval)));
        }
        let server = server.ingest(&config, access, plain, secure.zip(rtmps))?;
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

    /// Where the operator's listener is.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr()
    }

    /// No new work; publishers are told; streams end and viewers finish, within the deadline.
    pub async fn drain(self, deadline: Duration) {
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
        access: Access,
        plain: TcpListener,
        secure: Option<(TcpListener, Arc<rustls::ServerConfig>)>,
    ) -> Result<Server, Error> {
        let shared = rtmp::Shared::new(self.hub.clone(), access, rtmp_settings(&config.rtmp), self.stop.clone());
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
        let base = match config.http.public_url.as_str() {
            "" => format!("http://{}", reachable(http)),
            url => url.trim_end_matches('/').to_owned(),
        };
        let rtmp = self.rtmp.first().map(|addr| reachable(*addr).to_string()).unwrap_or_default();
        tracing::info!("push to rtmp://{rtmp}/live with stream key NAME, watch at {base}/watch/NAME");
        if config.access.keys.is_empty() {
            tracing::info!("no keys are configured: only this machine may publish (see [[access.keys]])");
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

/// How often what is only read on demand is brought up to date for `/metrics`.
const OBSERVE: Duration = Duration::from_secs(1);

async fn observe(hub: Hub) {
    let mut tick = tokio::time::interval(OBSERVE);
    loop {
        tick.tick().await;
        metrics::upkeep();
        let census = hub.census();
        for state in [hub::StreamState::Starting, hub::StreamState::Live, hub::StreamState::Waiting] {
            let count = census.get(&state).copied().unwrap_or(0);
            ::metrics::gauge!("headwater_hub_streams", "state" => state.name()).set(count as f64);
        }
        ::metrics::gauge!("headwater_hub_memory_bytes").set(hub.budget().used() as f64);
    }
}

fn certificates(config: &config::Tls) -> Result<Option<tls::Certificates>, Error> {
    match (&config.cert, &config.key) {
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

/// Where a person on this machine finds an address that means all of them.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip().is_unspecified() {
        true => SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), addr.port()),
        false => addr,
    }
}

fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

fn hub_settings(config: &Config) -> hub::Settings {
    hub::Settings {
        takeover: match config.hub.takeover {
            config::Takeover::Newest => hub::Takeover::Newest,
            config::Takeover::Reject => hub::Takeover::Reject,
        },
        reconnect_window: config.hub.reconnect_window.get(),
        media_idle: config.hub.media_idle.get(),
        end_on_unpublish: config.hub.on_unpublish == config::Unpublish::End,
        max_streams: config.hub.max_streams,
        stream_bytes: config.hub.stream_memory.bytes(),
        process_bytes: config.hub.memory.bytes(),
        segment_target: config.hls.segment_target.get(),
        segment_max: config.hls.segment_max.get(),
        ladders: config.transcode.makes_ladders(),
    }
}

fn hls_settings(config: &config::Hls) -> hls::Settings {
    hls::Settings {
        part_target: config.part_target.get(),
        hold_back_parts: config.hold_back_parts,
        window: config.window.get(),
        linger: config.linger.get(),
        start_timeout: config.start_timeout.get(),
    }
}

/// None where neither rungs nor stills are wanted of any stream.
fn transcoder(config: &Config, hub: &Hub) -> Result<Option<Transcoder>, Error> {
    let options = &config.transcode;
    let stills = Some(options.thumbnails.get()).filter(|interval| !interval.is_zero());
    if !options.makes_ladders() && stills.is_none() {
        return Ok(None);
    }
    let path = std::env::current_exe().map_err(|error| Error::Start(format!("no path to this program: {error}")))?;
    let data = std::path::absolute(&config.data.dir).unwrap_or_else(|_| config.data.dir.clone());
    let chosen = options.clone();
    let settings = transcode::Settings {
        program: transcode::Program {
            path,
            registry: (!config::names_gstreamer_registry()).then(|| data.join("gstreamer-registry.bin")),
        },
        choose: Arc::new(move |stream| rules(&chosen, stream)),
        idle: options.idle.get(),
        encoder: Some(options.encoder.to_string()).filter(|name| name != "auto"),
        preset: options.preset.to_string(),
        sound_bitrate: options.audio_bitrate.bits(),
        worker_memory: options.worker_memory.bytes() as u64,
        nice: i32::from(options.nice),
        max_ladders: options.max_ladders,
        log_bytes: config.hub.stream_memory.bytes(),
        stills,
        still_width: options.thumbnail_width,
    };
    Ok(Some(Transcoder::new(hub.clone(), settings)))
}

/// The ladder of one stream.
fn rules(options: &config::Transcode, stream: &str) -> transcode::Rules {
    let (mode, rungs) = options.ladder(stream);
    let rule = |rung: &config::RungRule| transcode::Rule {
        height: rung.height,
        frame_rate: rung.frame_rate.map(f64::from),
        bitrate: rung.bitrate.bits(),
    };
    let mode = match mode {
        config::LadderMode::Watched => transcode::Mode::Watched,
        config::LadderMode::Rung => transcode::Mode::Rung,
        config::LadderMode::Always => transcode::Mode::Always,
        config::LadderMode::Off => transcode::Mode::Off,
    };
    transcode::Rules { mode, rungs: rungs.iter().map(rule).collect() }
}

fn webrtc_settings(config: &Config) -> webrtc::Settings {
    webrtc::Settings {
        listen: config.webrtc.listen,
        threads: threads(config.server.threads),
        max_sessions: config.webrtc.max_sessions,
        public: config.webrtc.public_addresses.clone(),
        discover: config.webrtc.discover.clone(),
        advertise_local: config.webrtc.advertise_local,
        key_interval: config.webrtc.key_interval.get(),
    }
}

fn doctor_limits(config: &Config) -> doctor::Limits {
    let time = |time: config::Time| Time::from_duration(time.get());
    doctor::Limits { gop: time(config.doctor.max_gop), segment_max: time(config.hls.segment_max) }
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

fn signalling(
    config: &Config,
    webrtc: WebRtc,
    access: Access,
    doctor: Option<Doctor>,
) -> Result<http::Signalling, Error> {
    let server = |text: &String| {
        let config::IceServer { url, username, credential } = config::ice_server(text).map_err(Error::Start)?;
        Ok(http::IceServer { url, username, credential })
    };
    Ok(http::Signalling {
        webrtc,
        access,
        doctor,
        ice_servers: config.webrtc.ice_servers.iter().map(server).collect::<Result<_, Error>>()?,
        wait: config.webrtc.wait.get(),
    })
}

fn rtmp_settings(config: &config::Rtmp) -> rtmp::Settings {
    let defaults = rtmp::Settings::default();
    rtmp::Settings {
        max_connections: config.max_connections,
        start_timeout: config.handshake_timeout.get(),
        limits: rtmp::chunk::Limits { message: config.max_message.bytes(), ..defaults.limits },
        ..defaults
    }
}

fn http_settings(config: &Config) -> http::Settings {
    http::Settings {
        listen: config.http.listen,
        tls_listen: config.http.tls_listen,
        threads: config.server.threads,
        max_connections: config.http.max_connections,
        header_timeout: config.http.header_timeout.get(),
        idle_timeout: config.http.idle_timeout.get(),
        write_timeout: config.http.write_timeout.get(),
        allow_origins: config.http.allow_origins.clone(),
        ..http::Settings::default()
    }
}
