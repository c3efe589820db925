//! The operator's listener: the admin page and its API, metrics, health. One thread, few connections, no viewer's data.
//!
//! A call of the API goes: `mod` (host, route, identity) -> `routes` (the table) -> one of `streams`, `sessions`, `keys`,
//! `process`, `config`, `account`, `events`. What changes something leaves a line in `audit`. `openapi` says it all in a document.

mod account;
mod audit;
mod call;
mod config;
mod events;
mod identity;
mod keys;
mod meters;
mod openapi;
mod process;
mod routes;
mod rows;
mod sampler;
mod sessions;
mod streams;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::asked::Asked;
use super::body::Body;
use super::connection::{Manner, Respond, Signal};
use super::counters::{Counters, Places};
use super::edge::{Edge, Readiness, StartError, bind, local};
use super::error::Error;
use super::pages::Pages;
use super::problem::Problem;
use super::settings::Settings;
use super::signalling::Ends;
use super::taken;
use super::viewer::{admitted, behead, plain};
use super::viewers::{Counts, Viewers};
use super::worker::{Crew, Shared};
use crate::access::{Access, Secret};
use crate::config::Control;
use crate::current::Current;
use crate::doctor::{Doctor, Finding, Severity};
use crate::events::Events;
use crate::hls::Hls;
use crate::hub::{Hub, Status, Stream, StreamState};
use crate::transcode::Transcoder;
use crate::webrtc::WebRtc;
use audit::Audit;
use call::Call;
use identity::{Identity, Who};
use routes::{Found, Route, Run, find};
use rows::Board;
use sampler::Sampler;

/// The running listener. Dropping it closes it at once.
#[derive(Debug)]
pub struct Admin {
    crew: Crew,
    addr: SocketAddr,
    operator: Arc<Operator>,
}

/// What the operator is shown, and what is done in the operator's name.
#[derive(Debug)]
pub struct Parts {
    /// The streams.
    pub hub: Hub,
    /// What is packaged of them.
    pub hls: Hls,
    /// Their ladders; None where none are made.
    pub transcoder: Option<Transcoder>,
    /// WHIP and WHEP; None where they are off.
    pub webrtc: Option<WebRtc>,
    /// The keys, and who may administer.
    pub access: Access,
    /// Who watches.
    pub viewers: Viewers,
    /// What is wrong with the streams; None where nobody looks.
    pub doctor: Option<Doctor>,
    /// What happened.
    pub events: Events,
    /// Where the audit log is kept.
    pub data: PathBuf,
    /// What reads `/metrics` from another machine, beside the admin token.
    pub metrics_token: Option<Secret>,
    /// Streams at most that have series of their own in `/metrics`.
    pub per_stream: usize,
    /// Where broadcasters and viewers find the server.
    pub reach: Reach,
    /// The configuration.
    pub control: Control,
}

/// Where others find the server: for the addresses that pages show.
#[derive(Clone, Debug)]
pub struct Reach {
    /// As configured; empty: by the name that this machine is called by, and the port.
    pub public_url: String,
    /// Of the viewers' listener.
    pub http_port: u16,
    /// Of RTMP.
    pub rtmp_port: u16,
}

impl Admin {
    /// Binds the address and starts the thread. Pages and readiness are the edge's, so that both say the same.
    pub fn start(addr: SocketAddr, parts: Parts, edge: &Edge) -> Result<Admin, StartError> {
        let sockets = bind(addr, 1, "admin.listen")?;
        let addr = local(&sockets, "admin.listen", addr)?;
        let settings = Settings::default();
        // Counted apart from viewers': the recorder never hears of these.
        let counters = Arc::new(Counters::silent());
        let operator = Arc::new(Operator::new(parts, edge, addr));
        let shared = Shared {
            manner: Manner::new(&settings, None, counters.clone(), edge.proxies()),
            respond: operator.clone(),
            places: Places::new(MOST_CONNECTIONS),
            counters,
        };
        let sockets = sockets.into_iter().map(|socket| (socket, None)).collect();
        let crew = Crew::start("admin", &Current::new(settings), shared, sockets).map_err(StartError::Thread)?;
        Ok(Admin { crew, addr, operator })
    }

    /// Where it is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Looks at all streams once a second, for as long as it is polled. Run once.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        let operator = self.operator.clone();
        async move {
            let mut tick = tokio::time::interval(sampler::STEP);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for turn in 0.. {
                tick.tick().await;
                let began = Instant::now();
                meters::refresh(&operator, turn);
                operator.board.show(operator.sampler.look(&operator, began));
                metrics::histogram!(crate::metrics::ADMIN_LOOK).record(began.elapsed());
            }
        }
    }

    /// Cancelled when the operator asks for a drain.
    pub fn asked_to_drain(&self) -> CancellationToken {
        self.operator.drain.clone()
    }

    /// As [`Edge::drain`](super::Edge::drain).
    pub async fn drain(self, deadline: Duration) -> bool {
        self.operator.over.cancel();
        self.crew.drain(deadline).await
    }
}

/// What all calls are answered from.
#[derive(Debug)]
struct Operator {
    hub: Hub,
    hls: Hls,
    transcoder: Option<Transcoder>,
    webrtc: Option<WebRtc>,
    access: Access,
    viewers: Viewers,
    doctor: Option<Doctor>,
    reach: Reach,
    control: Control,
    events: Events,
    readiness: Readiness,
    pages: Arc<Pages>,
    identity: Identity,
    audit: Audit,
    sampler: Sampler,
    board: Board,
    metrics_token: Option<Secret>,
    per_stream: usize,
    began: SystemTime,
    /// Ends what goes on for hours.
    over: CancellationToken,
    drain: CancellationToken,
    /// Whether only this machine reaches the listener.
    local: bool,
}

impl Respond for Arc<Operator> {
    async fn respond(&self, asked: &Asked) -> Response<Body> {
        let answer = admitted(asked).and_then(|()| self.answer(asked));
        let mut response = answer.unwrap_or_else(|error| error.response());
        if asked.method == Method::HEAD {
            behead(&mut response);
        }
        response
    }

    fn takes(&self, path: &str) -> bool {
        path.starts_with("/api/") || path == "/metrics"
    }

    fn signal(&self, request: Request<Incoming>, ends: Ends) -> Signal {
        let operator = self.clone();
        Box::pin(async move {
            let head = request.method() == Method::HEAD;
            let mut response =
                operator.call(request, ends.peer.ip().to_canonical()).await.unwrap_or_else(Problem::response);
            let headers = response.headers_mut();
            headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
            if head {
                behead(&mut response);
            }
            response
        })
    }
}

impl Operator {
    fn new(parts: Parts, edge: &Edge, addr: SocketAddr) -> Operator {
        let Parts {
            hub,
            hls,
            transcoder,
            webrtc,
            access,
            viewers,
            doctor,
            events,
            data,
            metrics_token,
            per_stream,
            reach,
            control,
        } = parts;
        Operator {
            identity: Identity::new(access.clone()),
            audit: Audit::open(&data, events.clone()),
            hub,
            hls,
            transcoder,
            webrtc,
            access,
            viewers,
            doctor,
            reach,
            control,
            events,
            readiness: edge.readiness(),
            pages: edge.pages(),
            sampler: Sampler::default(),
            board: Board::new(),
            metrics_token,
            per_stream,
            began: SystemTime::now(),
            over: CancellationToken::new(),
            drain: CancellationToken::new(),
            local: addr.ip().is_loopback(),
        }
    }

    /// Pages and probes.
    fn answer(&self, asked: &Asked) -> Result<Response<Body>, Error> {
        self.check_host(asked.host.as_deref(), asked.peer).map_err(|_| Error::Misdirected)?;
        match asked.path() {
            "/" => self.pages.console(asked),
            "/healthz" => Ok(plain("ok\n")),
            "/readyz" => self.readiness.response(),
            path if path.starts_with("/assets/") || path.starts_with("/favicon.") => {
                self.pages.file(path.trim_start_matches('/'), asked)
            }
            _ => Err(Error::NotFound("nothing is at this address; see /".into())),
        }
    }

    /// The API and the metrics.
    async fn call(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Response<Body>, Problem> {
        let (head, body) = request.into_parts();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.check_host(head.uri.authority().map(|authority| authority.as_str()).or(host), Some(peer))?;
        let path = head.uri.path();
        if path == "/metrics" {
            return self.metrics(&head, peer).await;
        }
        let (route, params) = match find(&head.method, path) {
            Found::Route(route, params) => (route, params),
            Found::OtherMethods(methods) => {
                return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this takes {methods}"))
                    .with(header::ALLOW, methods));
            }
            Found::Nothing => return Err(Problem::not_found("no such call; /api/v1/openapi.json has all")),
        };
        let who = match route.open {
            true => Who::Anybody,
            false => self.identity.of(&head.method, &head.headers, peer).await?,
        };
        let body = taken::body(body).await?;
        let call = Call::new((who, peer), head.headers, params, (head.uri.query(), route.query), body)?;
        self.run(route, &call).await
    }

    async fn run(&self, route: &Route, call: &Call) -> Result<Response<Body>, Problem> {
        match route.run {
            Run::Now(run) => run(self, call),
            Run::Later(run) => run(self, call).await,
        }
    }

    async fn metrics(&self, head: &hyper::http::request::Parts, peer: IpAddr) -> Result<Response<Body>, Problem> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this takes GET").with(header::ALLOW, "GET, HEAD"));
        }
        let token = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let reads = peer.is_loopback() || self.metrics_token.as_ref().is_some_and(|secret| secret.matches(token));
        if !reads {
            self.identity.of(&head.method, &head.headers, peer).await?;
        }
        let streams = meters::of_streams(self, self.per_stream);
        let mut response = Response::new(Body::one(Bytes::from(crate::metrics::render() + &streams)));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }

    /// A web page elsewhere can give this machine a name of its own and read, in the operator's browser, what is meant for
    /// this machine alone (DNS rebinding): so then only names that nobody else can give are answered. Whom a proxy speaks for
    /// is another machine, and has to show who it is.
    fn check_host(&self, host: Option<&str>, peer: Option<IpAddr>) -> Result<(), Problem> {
        let near = peer.is_none_or(|peer| peer.to_canonical().is_loopback());
        if self.local && near && !host.is_none_or(names_this_machine) {
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, Error::Misdirected.to_string()));
        }
        Ok(())
    }

    /// A change that was made or refused goes to the audit log, and is passed on.
    fn noted<T>(
        &self,
        call: &Call,
        event: &'static str,
        target: &str,
        outcome: Result<T, Problem>,
    ) -> Result<T, Problem> {
        let told = outcome.as_ref().map(drop).map_err(|problem| problem.detail.as_str());
        self.audit.note((call.who, call.peer), event, target, told);
        outcome
    }

    /// How many watch a stream.
    fn watching(&self, stream: &str) -> Watching {
        let Counts { hls, low_latency, whep, peak } = self.viewers.count(stream);
        Watching { hls, low_latency, whep, peak }
    }

    /// What is wrong with a stream.
    fn findings(&self, stream: &Stream, status: &Status) -> Vec<Finding> {
        let mut findings =
            self.doctor.as_ref().map(|doctor| doctor.findings(stream.name().as_str())).unwrap_or_default();
        if status.state == StreamState::Waiting {
            findings.push(Finding {
                code: "publisher-gone",
                severity: Severity::Problem,
                text: "The publisher is gone; viewers see what is left while the stream waits for it.".to_owned(),
                remedy: "Start streaming again in the encoder, with the same key.".to_owned(),
                since: status.waiting.unwrap_or(status.since),
                value: None,
            });
        }
        let ladder = self.transcoder.as_ref().and_then(|transcoder| transcoder.ladder(stream.name().as_str()));
        if let Some(trouble) = ladder.and_then(|ladder| ladder.trouble.clone()) {
            findings.push(Finding {
                code: "ladder-trouble",
                severity: Severity::Warning,
                text: format!("The ladder is in trouble: {}.", trouble.what),
                remedy: "See the server's log; fewer or smaller rungs ([transcode] rungs) take less.".to_owned(),
                since: UNIX_EPOCH + Duration::from_millis(trouble.since_ms),
                value: None,
            });
        }
        findings
    }
}

/// Who watches a stream.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
struct Watching {
    hls: u64,
    /// Of those over HLS: who plays parts.
    low_latency: u64,
    whep: u64,
    /// The most at a time so far.
    peak: u64,
}

impl Watching {
    fn total(&self) -> u64 {
        self.hls + self.whep
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn unix_millis() -> u64 {
    millis(SystemTime::now())
}

/// Whether a host is `localhost` or an address, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    without_port.eq_ignore_ascii_case("localhost") || bare(without_port) || bare(host)
}

/// Browsers of a few operators with their streams of events, and the scraper.
const MOST_CONNECTIONS: usize = 64;
