//! WebRTC both ways: publishers by WHIP (RFC 9725), viewers by WHEP, all over one port. `http` carries offers and answers;
//! `server` starts it. Frames go to and come from the hub; nothing here knows of HLS or RTMP.
//!
//! ```text
//! whip/whep (offer -> answer) -> registry -> worker (one per core: socket, sessions, feeds)
//! in:  transport (ICE-lite, DTLS, SRTP) -> intake (tracks: reorder, unpack, clock) -> publishing -> hub::Publisher
//! out: hub's frame log -> feed -> lane (packets, once) -> viewer (numbers, per session) -> srtp -> batch -> socket
//! ```

mod arrivals;
mod audience;
mod batch;
mod choice;
mod clock;
mod control;
mod counters;
mod discovery;
mod dtls;
mod estimate;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header;
mod ice;
mod intake;
mod lane;
mod pack;
mod playing;
mod publishing;
mod random;
mod records;
mod registry;
mod reorder;
#[cfg(test)]
mod round_trip_tests;
mod sdp;
mod session;
mod snapshot;
mod socket;
mod srtp;
mod stun;
mod tcp;
mod track;
mod transport;
mod unpack;
mod viewer;
mod whep;
mod whip;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use sdp::BadOffer;
pub use snapshot::Snapshot;

use crate::access::{KeyId, Seat, StreamName};
use crate::current::Current;
use crate::hub::{self, Hub, PublishError, Source, Status, StreamState};
use crate::media::Kind;
use counters::Counters;
use discovery::Discovered;
use dtls::Identity;
use ice::{Credentials, Path};
use intake::Intake;
use playing::Playing;
use publishing::Publishing;
use registry::{Full, Registry};
use sdp::{Answer, Candidate, Fragment, Offer, Setup};
use session::{Media, Session, Shown};
use transport::Transport;
use worker::Command;

/// Bounds and addresses; defaults in `config`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address and port, for UDP and TCP alike.
    pub listen: SocketAddr,
    /// Threads; each has a socket of its own.
    pub threads: usize,
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Addresses that peers reach this machine at, where they are not those of its interfaces.
    pub public: Vec<IpAddr>,
    /// `HOST:PORT` of a STUN server to ask for the public address; empty asks none.
    pub discover: String,
    /// Addresses of the interfaces are candidates too.
    pub advertise_local: bool,
    /// Publishers are asked for a key frame at least so often.
    pub key_interval: Duration,
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// The far end of the HTTP connection.
    pub peer: SocketAddr,
    /// The address of ours that it reached.
    pub local: Option<IpAddr>,
    /// What it calls itself.
    pub agent: String,
    /// The key that let it in, if one did.
    pub key: Option<KeyId>,
    /// Its place among the sessions of its address, where they are counted.
    pub seat: Option<Seat>,
}

/// The answer to an offer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Names the session.
    pub id: String,
    /// Entity tag of its ICE credentials.
    pub etag: String,
    /// The session description.
    pub sdp: String,
}

/// Why a request is refused. The texts are for whoever sees the client's log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The offer cannot be read or used.
    #[error(transparent)]
    Offer(#[from] BadOffer),
    /// Nothing in the offer can be taken or sent.
    #[error("{0}")]
    NoCodec(String),
    /// The name cannot be had.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Nobody publishes under the name.
    #[error("stream \"{0}\" is off the air")]
    OffAir(String),
    /// Too many.
    #[error("{0}")]
    Full(String),
    /// No such session.
    #[error("this session is over, or never was")]
    Gone,
    /// The entity tag is another.
    #[error("the session's ICE credentials are others by now: its entity tag is {0}")]
    Changed(String),
    /// A fragment that is none.
    #[error("the body is no SDP fragment")]
    Fragment,
    /// Something in this process.
    #[error("the session cannot be made: {0}")]
    Internal(String),
}

/// What a patch led to.
#[derive(Clone, Debug)]
pub enum Patched {
    /// Candidates were taken note of.
    Noted,
    /// New ICE credentials: the fragment to answer with, and the new entity tag.
    Restarted(String, String),
}

/// Why WebRTC does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {addr} (webrtc.listen): {source}; end the other program on that port, or give webrtc.listen another one"
    )]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate or no thread.
    #[error("cannot start WebRTC: {0}")]
    Start(String),
}

/// WebRTC. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WebRtc {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What all workers and HTTP share.
#[derive(Debug)]
struct Shared {
    settings: Current<Settings>,
    addr: SocketAddr,
    hub: Hub,
    identity: Identity,
    registry: Registry,
    workers: Vec<Inbox>,
    counters: Counters,
    discovered: Discovered,
}

/// How a worker is reached. Datagrams have a queue of their own: however many come, what an owner asks for finds room.
#[derive(Debug)]
struct Inbox {
    commands: mpsc::Sender<Command>,
    datagrams: mpsc::Sender<(Path, Vec<u8>)>,
}

impl WebRtc {
    /// Binds the port and starts the workers.
    pub fn start(settings: Settings, hub: Hub) -> Result<WebRtc, StartError> {
        let identity = Identity::new().map_err(|error| StartError::Start(error.to_string()))?;
        let count = settings.threads.max(1);
        let (addr, sockets, listeners) = socket::bind(settings.listen, count)
            .map_err(|source| StartError::Bind { addr: settings.listen, source })?;
        let inbox = |_| {
            let (commands, obeyed) = mpsc::channel(COMMANDS);
            let (datagrams, taken) = mpsc::channel(DATAGRAMS);
            (Inbox { commands, datagrams }, (obeyed, taken))
        };
        let (workers, receivers): (Vec<_>, Vec<_>) = (0..count).map(inbox).unzip();
        let registry = Registry::new(settings.max_sessions);
        let shared = Arc::new(Shared {
            settings: Current::new(settings),
            addr,
            hub,
            identity,
            registry,
            workers,
            counters: Counters::new(),
            discovered: Discovered::default(),
        });
        let mut threads = Vec::new();
        for (index, ((socket, listener), inbox)) in sockets.into_iter().zip(listeners).zip(receivers).enumerate() {
            let shared = shared.clone();
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let run = async {
                    let local = tokio::task::LocalSet::new();
                    local.spawn_local(tcp::serve(index, shared.clone(), listener));
                    if index == 0 {
                        let shared = shared.clone();
                        local.spawn_local(async move {
                            let provider = shared.identity.provider().clone();
                            shared.discovered.follow(shared.settings.follow(), &*provider).await;
                        });
                    }
                    local.run_until(worker::run(index, shared, socket, inbox)).await
                };
                if let Err(error) = runtime.and_then(|runtime| runtime.block_on(run)) {
                    tracing::error!(%error, "a WebRTC worker ended");
                }
            };
            let thread = std::thread::Builder::new().name(format!("webrtc-{index}")).spawn(run);
            threads.push(thread.map_err(|error| StartError::Start(error.to_string()))?);
        }
        Ok(WebRtc { shared, threads: Arc::new(Mutex::new(threads)) })
    }

    /// Other settings, for offers that come from now on. Address and threads stay as they are.
    pub fn apply(&self, settings: Settings) {
        self.shared.registry.resize(settings.max_sessions);
        self.shared.settings.set(settings);
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// Answers a publisher's offer. Its stream's name is taken once media can flow.
    /// `trial`: the client only tests its way here, and its stream's name is left to others.
    pub fn publish(&self, name: &StreamName, offer: &str, client: &Client, trial: bool) -> Result<Answered, Refusal> {
        let offer = Offer::read(offer)?;
        if !trial {
            self.shared.hub.may_publish(name)?;
        }
        let (accepted, sections) = whip::accept(&offer).ok_or_else(|| Refusal::NoCodec(NOTHING_TO_TAKE.to_owned()))?;
        let now = Instant::now();
        let intake = Intake::new(sections, self.number()?, self.shared.settings.get().key_interval, now);
        let source =
            Source { protocol: "whip", peer: client.peer, client: client.agent.clone(), key: client.key.clone() };
        let media = Publishing::new(self.shared.hub.clone(), (name.clone(), source, trial), intake, now);
        self.answer(&offer, &accepted, Media::In(Box::new(media)), (name, "whip"), client)
    }

    /// Answers a viewer's offer.
    ///
    /// `wait`: how long to wait for a stream that is off the air. `rung`: the one rendition to send, whatever the link.
    pub async fn play(
        &self,
        name: &StreamName,
        offer: &str,
        client: &Client,
        wait: Duration,
        rung: Option<&str>,
    ) -> Result<Answered, Refusal> {
        let offer = Offer::read(offer)?;
        let status = match self.on_air(name) {
            Some(status) => status,
            None if wait.is_zero() => return Err(Refusal::OffAir(name.to_string())),
            None => {
                let goes_live = tokio::time::timeout(wait, self.goes_live(name)).await;
                goes_live.map_err(|_| Refusal::OffAir(name.to_string()))?
            }
        };
        let draw = || -> Result<whep::Drawn, Refusal> {
            let (ssrc, first) = (self.number()?, self.number()? as u16);
            Ok(whep::Drawn { ssrc, repair: ssrc.wrapping_add(1), first })
        };
        let choices = whep::choose(&offer, &status, [draw()?, draw()?], name.as_str());
        let of = |kind| choices.iter().flatten().map(|choice| choice.agreed).find(|agreed| agreed.codec.kind() == kind);
        let (video, audio) = (of(Kind::Video), of(Kind::Audio));
        if video.is_none() && audio.is_none() {
            let codecs =
                [&status.video, &status.audio].map(|config| config.as_ref().map(|config| config.codec().name()));
            let codecs: Vec<_> = codecs.into_iter().flatten().collect();
            return Err(Refusal::NoCodec(format!(
                "the stream has {}; none of it is in the offer",
                codecs.join(" and ")
            )));
        }
        let media = Playing::new(name.clone(), (video, audio), rung.map(str::to_owned), Instant::now());
        let accepted: Vec<_> = choices.into_iter().map(|choice| choice.map(|choice| choice.accepted)).collect();
        self.answer(&offer, &accepted, Media::Out(Box::new(media)), (name, "whep"), client)
    }

    /// Takes candidates, or restarts ICE where the fragment has other credentials than the session. `etag`: the one that the
    /// client knows; None for any.
    pub fn patch(&self, id: &str, etag: Option<&str>, body: &str, client: &Client) -> Result<Patched, Refusal> {
        let present = self.shared.registry.etag(id).ok_or(Refusal::Gone)?;
        if etag.is_some_and(|etag| etag != present) {
            return Err(Refusal::Changed(present));
        }
        let fragment = Fragment::read(body).ok_or(Refusal::Fragment)?;
        // Candidates need no note: an ICE-lite agent learns them from requests. Only a restart brings other credentials.
        let (Some(remote), None) = (fragment.fragment, etag) else { return Ok(Patched::Noted) };
        let local = self.credentials()?;
        let etag = tag(&local);
        let text = Fragment::restarted(&local, &self.candidates(client));
        let tell = |worker, local, remote| self.shared.tell(worker, Command::Restart(id.to_owned(), local, remote));
        match self.shared.registry.restart(id, (local, remote), etag.clone(), tell) {
            Some(true) => Ok(Patched::Restarted(text, etag)),
            Some(false) => {
                Err(Refusal::Full("the server is too busy to restart ICE; try again in a moment".to_owned()))
            }
            None => Err(Refusal::Gone),
        }
    }

    /// Ends a session; `goodbye`: its client asks for it. False for none.
    pub fn end(&self, id: &str, why: &str, goodbye: bool) -> bool {
        let Some(shown) = self.shared.registry.shown(id) else { return false };
        match self.shared.registry.worker(id) {
            Some(worker) => {
                self.shared.tell(worker, Command::Close { id: id.to_owned(), why: why.to_owned(), goodbye });
            }
            None => {
                shown.change(|shot| why.clone_into(&mut shot.state));
                drop(self.shared.registry.remove(id));
            }
        }
        true
    }

    /// Ends sessions whose keys are gone; how many.
    pub fn end_keys(&self, gone: impl Fn(&KeyId) -> bool, why: &str) -> usize {
        let ended = self.shared.registry.with_key(gone);
        ended.iter().filter(|id| self.end(id, why, false)).count()
    }

    /// How all sessions go.
    pub fn sessions(&self) -> Vec<Snapshot> {
        self.shared.registry.all_shown().iter().map(Shown::get).collect()
    }

    /// How a session goes.
    pub fn session(&self, id: &str) -> Option<Snapshot> {
        self.shared.registry.shown(id).map(|shown| shown.get())
    }

    /// Viewers of a stream whose media can flow.
    pub fn viewers(&self, stream: &str) -> usize {
        self.shared.registry.audience(|audience| audience.of(stream))
    }

    /// Viewers of all streams whose media can flow.
    pub fn all_viewers(&self) -> usize {
        self.shared.registry.audience(|audience| audience.all())
    }

    /// Viewers' sessions of the network that an address belongs to, connected or not.
    pub fn viewers_from(&self, peer: IpAddr) -> usize {
        self.shared.registry.audience(|audience| audience.from(crate::access::network(peer)))
    }

    /// Whether a session's media can flow; None where it is over.
    pub fn is_connected(&self, id: &str) -> Option<bool> {
        self.shared.registry.is_connected(id)
    }

    /// Ends all sessions, and the workers.
    pub async fn drain(self) {
        self.shared.registry.drain();
        for worker in &self.shared.workers {
            // Full or closed: the worker ends with its channel.
            let _ = tokio::time::timeout(DRAIN, worker.commands.send(Command::Drain)).await;
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(DRAIN, join).await;
    }

    fn on_air(&self, name: &StreamName) -> Option<Status> {
        let status = self.shared.hub.stream(name.as_str())?.status();
        (!matches!(status.state, StreamState::Starting | StreamState::Ended)).then_some(status)
    }

    async fn goes_live(&self, name: &StreamName) -> Status {
        let mut events = self.shared.hub.events();
        loop {
            if let Some(status) = self.on_air(name) {
                return status;
            }
            if let Err(hub::Lagged { .. }) = events.next().await {
                events.skip_to_newest_start();
            }
        }
    }

    fn answer(
        &self,
        offer: &Offer,
        accepted: &[Option<sdp::Accepted>],
        media: Media,
        (name, protocol): (&StreamName, &'static str),
        client: &Client,
    ) -> Result<Answered, Refusal> {
        let provider = self.shared.identity.provider().as_ref();
        let local = self.credentials()?;
        let id = random::hex(provider, ID).map_err(internal)?;
        let active = offer.setup == Setup::Passive;
        let peer = (offer.fragment.clone(), offer.fingerprint.clone());
        let transport =
            Transport::new(&self.shared.identity, local.clone(), peer, active, Instant::now()).map_err(internal)?;
        let candidates = self.candidates(client);
        let sections: Vec<_> = offer.media.iter().zip(accepted.iter().cloned()).collect();
        let answer = Answer {
            session: self.number()?,
            local: &local,
            fingerprint: self.shared.identity.fingerprint(),
            active,
            candidates: &candidates,
            sections: &sections,
        };
        let sdp = answer.to_string();
        let etag = tag(&local);
        let shot = Snapshot::new(&id, name.as_str(), protocol, client.peer.to_string(), client.agent.clone());
        let span = tracing::error_span!("session", protocol, session = %id, peer = %client.peer, stream = %name);
        let in_span = span.clone();
        let session = Session {
            id: id.clone(),
            span,
            transport,
            media,
            shown: Shown::new(shot),
            began: Instant::now(),
            fragments: vec![local.fragment],
            paths: Vec::new(),
            is_connected: false,
            is_hot: false,
        };
        self.shared.registry.add(session, etag.clone(), client).map_err(|full| match full {
            Full::Sessions(most) => {
                Refusal::Full(format!("the server has {most} WebRTC sessions and takes no more (webrtc.max_sessions)"))
            }
            Full::Address => Refusal::Full("too many offers from this address wait for their first packet".to_owned()),
            Full::Draining => Refusal::Publish(PublishError::Draining),
        })?;
        self.shared.counters.offers(protocol);
        in_span.in_scope(|| tracing::debug!("WebRTC session offered"));
        Ok(Answered { id, etag, sdp })
    }

    /// Where a client may reach us, the likeliest first.
    fn candidates(&self, client: &Client) -> Vec<Candidate> {
        let settings = self.shared.settings.get();
        let Settings { public, advertise_local, .. } = &*settings;
        let listen = self.shared.addr;
        let discovered = self.shared.discovered.get().filter(|ip| !public.contains(ip));
        let public: Vec<IpAddr> = public.iter().copied().chain(discovered).collect();
        let mut addresses = public.clone();
        if *advertise_local || public.is_empty() {
            let near = client.local.filter(|near| near.is_ipv4() || listen.is_ipv6());
            let local = socket::local_addresses(listen, near);
            addresses.extend(local.into_iter().filter(|ip| !public.contains(ip)));
        }
        let candidate = |(at, ip): (usize, &IpAddr), tcp| Candidate {
            address: SocketAddr::new(*ip, listen.port()),
            tcp,
            preference: u16::MAX - at as u16,
        };
        let both = [false, true].into_iter();
        both.flat_map(|tcp| addresses.iter().enumerate().map(move |each| candidate(each, tcp))).collect()
    }

    fn credentials(&self) -> Result<Credentials, Refusal> {
        let provider = self.shared.identity.provider().as_ref();
        let text = |length| random::text(provider, length).map_err(internal);
        Ok(Credentials { fragment: text(FRAGMENT)?, password: text(PASSWORD)? })
    }

    fn number(&self) -> Result<u32, Refusal> {
        random::number(self.shared.identity.provider().as_ref()).map_err(internal)
    }
}

impl Shared {
    /// Tells a worker what to do. False where it has too much to do already.
    fn tell(&self, worker: usize, command: Command) -> bool {
        let told = self.workers.get(worker).is_some_and(|worker| worker.commands.try_send(command).is_ok());
        self.counters.dropped.increment(u64::from(!told));
        told
    }

    /// Passes a datagram on. A worker that cannot keep up loses it, as a socket does.
    fn pass(&self, worker: usize, path: Path, datagram: &[u8]) {
        let sent = |worker: &Inbox| worker.datagrams.try_send((path, datagram.to_vec())).is_ok();
        if !self.workers.get(worker).is_some_and(sent) {
            self.counters.dropped.increment(1);
        }
    }

    /// The same for a sender that can be kept waiting.
    async fn carry(&self, worker: usize, path: Path, datagram: Vec<u8>) {
        if let Some(worker) = self.workers.get(worker) {
            // A worker that is gone needs nothing any more.
            let _ = worker.datagrams.send((path, datagram)).await;
        }
    }

    /// Once a second, by one worker.
    fn sweep(&self) {
        let forgotten = self.registry.sweep(HALF_DONE);
        if forgotten > 0 {
            tracing::debug!(forgotten, "offers whose clients never came");
        }
        self.counters.sessions.set(self.registry.len() as f64);
    }

    fn count_end(&self, session: &Session) {
        self.counters.ended(session.shown.get().protocol, session.is_connected);
    }
}

/// RTP ticks a second: of every codec of pictures, and of Opus.
const fn clock_rate(kind: Kind) -> u32 {
    match kind {
        Kind::Video => 90_000,
        Kind::Audio => 48_000,
    }
}

/// The RTP timestamp of a moment: all streams count from 1970, so that senders' reports need to know nothing of streams.
fn wall_stamp(at: std::time::SystemTime, kind: Kind) -> u32 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() * u128::from(clock_rate(kind)) / 1_000_000_000) as u32
}

fn tag(credentials: &Credentials) -> String {
    format!("\"{}\"", credentials.fragment)
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(error.to_string())
}

const NOTHING_TO_TAKE: &str = "nothing in the offer can be taken: pictures in H.264, HEVC, AV1, VP9 or VP8 and sound in Opus are, sent by the client";
/// Commands that wait for a worker.
const COMMANDS: usize = 1_024;
/// Datagrams that wait for a worker: of other workers' sockets, and of TCP.
const DATAGRAMS: usize = 1_024;
/// Characters of a session's id: 128 random bits.
const ID: usize = 32;
/// Characters of ICE credentials; RFC 8839 asks for 4 and 22 at least.
const FRAGMENT: usize = 12;
const PASSWORD: usize = 32;
/// An offer whose client does not come is forgotten after so long.
const HALF_DONE: Duration = Duration::from_secs(15);
const DRAIN: Duration = Duration::from_secs(2);
