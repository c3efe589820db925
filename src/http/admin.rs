//! The operator's listener: metrics, health, and what is live. One thread, few connections, no viewer's data.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response};
use serde_json::{Value, json};

use super::asked::Asked;
use super::body::Body;
use super::connection::{Manner, Respond};
use super::counters::{Counters, Places};
use super::edge::{Readiness, StartError, bind, local};
use super::error::Error;
use super::settings::Settings;
use super::still;
use super::viewer::{admitted, behead, plain};
use super::worker::{Crew, Shared};
use crate::doctor::{Doctor, Health};
use crate::hls::Hls;
use crate::hub::{Hub, Stream};
use crate::transcode::Transcoder;
use crate::webrtc::WebRtc;

/// The running listener. Dropping it closes it at once.
#[derive(Debug)]
pub struct Admin {
    crew: Crew,
    addr: SocketAddr,
}

impl Admin {
    /// Binds the address and starts the thread. `readiness` is the edge's, so that both say the same; without `transcoder`
    /// there are no ladders, without `doctor` no findings.
    pub fn start(
        addr: SocketAddr,
        (hub, hls, transcoder, webrtc, doctor): (Hub, Hls, Option<Transcoder>, Option<WebRtc>, Option<Doctor>),
        readiness: Readiness,
    ) -> Result<Admin, StartError> {
        let sockets = bind(addr, 1, "admin.listen")?;
        let addr = local(&sockets, "admin.listen", addr)?;
        let settings = Settings::default();
        // Counted apart from viewers': the recorder never hears of these.
        let counters = Arc::new(Counters::silent());
        let shared = Shared {
            manner: Manner::new(&settings, None, counters.clone()),
            respond: Arc::new(Operator {
                hub,
                hls,
                transcoder,
                webrtc,
                doctor,
                readiness,
                local: addr.ip().is_loopback(),
            }),
            places: Places::new(MOST_CONNECTIONS),
            counters,
        };
        let sockets = sockets.into_iter().map(|socket| (socket, None)).collect();
        let crew = Crew::start("admin", &settings, shared, sockets).map_err(StartError::Thread)?;
        Ok(Admin { crew, addr })
    }

    /// Where it is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As [`Edge::drain`](super::Edge::drain).
    pub async fn drain(self, deadline: Duration) -> bool {
        self.crew.drain(deadline).await
    }
}

struct Operator {
    hub: Hub,
    hls: Hls,
    transcoder: Option<Transcoder>,
    webrtc: Option<WebRtc>,
    doctor: Option<Doctor>,
    readiness: Readiness,
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
}

impl Operator {
    fn answer(&self, asked: &Asked) -> Result<Response<Body>, Error> {
        // A web page elsewhere can give this machine a name of its own and read, in the operator's browser, what is meant
        // for this machine alone (DNS rebinding): so then only names that nobody else can give are answered.
        if self.local && !asked.host.as_deref().is_none_or(names_this_machine) {
            return Err(Error::Misdirected);
        }
        match asked.path() {
            "/" => Ok(text("text/html; charset=utf-8", HOME)),
            "/healthz" => Ok(plain("ok\n")),
            "/readyz" => self.readiness.response(),
            "/metrics" => Ok(text("text/plain; version=0.0.4; charset=utf-8", self.metrics())),
            "/api/v1/streams" => Ok(text("application/json", self.streams())),
            "/api/v1/sessions" => Ok(text("application/json", self.sessions())),
            "/api/v1/encoders" => Ok(text("application/json", self.encoders())),
            path => self.still(path, asked),
        }
    }

    fn metrics(&self) -> String {
        let ladders = self.transcoder.as_ref().map(Transcoder::render_metrics).unwrap_or_default();
        crate::metrics::render() + &ladders
    }

    /// `/api/v1/streams/NAME/still.jpg`
    fn still(&self, path: &str, asked: &Asked) -> Result<Response<Body>, Error> {
        let name = path.strip_prefix("/api/v1/streams/").and_then(|rest| rest.strip_suffix("/still.jpg"));
        let name = name.ok_or(Error::NotFound("nothing is at this address; see /".into()))?;
        Ok(still::response(self.hls.still(name)?, asked))
    }

    /// What was looked for on this machine, and what became of it.
    fn encoders(&self) -> String {
        let probed = self.transcoder.as_ref().map(Transcoder::probed).unwrap_or_default();
        json!({ "found": *probed }).to_string()
    }

    /// Publishers and viewers over WebRTC.
    fn sessions(&self) -> String {
        let mut sessions = self.webrtc.as_ref().map(WebRtc::sessions).unwrap_or_default();
        sessions.sort_by(|a, b| (&a.stream, a.protocol, &a.id).cmp(&(&b.stream, b.protocol, &b.id)));
        json!({ "sessions": sessions }).to_string()
    }

    fn streams(&self) -> String {
        let mut streams = self.hub.streams();
        streams.sort_by(|a, b| a.name().cmp(b.name()));
        let streams: Vec<Value> = streams.iter().map(|stream| self.stream(stream)).collect();
        json!({ "streams": streams }).to_string()
    }

    fn stream(&self, stream: &Stream) -> Value {
        let status = stream.status();
        let tracks = [("video", &status.video), ("audio", &status.audio)]
            .map(|(kind, config)| config.as_ref().map(|config| json!({ "kind": kind, "codecs": config.codecs() })));
        let tracks: Vec<Value> = tracks.into_iter().flatten().collect();
        let progress = self.hls.progress(stream.name().as_str());
        let ladder = self.transcoder.as_ref().and_then(|transcoder| transcoder.ladder(stream.name().as_str()));
        let findings = self.doctor.as_ref().map(|doctor| doctor.findings(stream.name().as_str())).unwrap_or_default();
        let renditions = progress.iter().flat_map(|progress| &progress.renditions);
        let renditions: Vec<Value> =
            renditions.map(|(name, msn, part)| json!({ "name": name, "msn": msn, "part": part })).collect();
        json!({
            "name": stream.name().as_str(),
            "state": status.state.name(),
            "epoch": progress.as_ref().map(|progress| progress.epoch),
            "since_ms": status.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            "publisher": {
                "protocol": status.source.protocol,
                "peer": status.source.peer,
                "client": status.source.client,
            },
            "sessions": status.sessions,
            "tracks": tracks,
            "renditions": renditions,
            "frames": status.frames,
            "bytes": status.bytes,
            "still": stream.still().is_some(),
            "ladder": ladder.as_deref(),
            "health": Health::of(&findings),
            "findings": findings,
        })
    }
}

/// Whether a host is `localhost` or an address, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let without_port = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    without_port.eq_ignore_ascii_case("localhost") || bare(without_port) || bare(host)
}

fn text(kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::one(text.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

/// Browsers of a few operators, and the scraper.
const MOST_CONNECTIONS: usize = 64;

const HOME: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Headwater</title>
<h1>Headwater</h1>
<ul>
<li><a href=\"/api/v1/streams\">What is live</a></li>
<li><a href=\"/api/v1/sessions\">Who publishes and watches over WebRTC</a></li>
<li><a href=\"/api/v1/encoders\">What this machine encodes with</a></li>
<li><a href=\"/metrics\">Metrics</a></li>
<li><a href=\"/healthz\">Alive?</a></li>
<li><a href=\"/readyz\">Ready for viewers?</a></li>
</ul>
</html>
";
