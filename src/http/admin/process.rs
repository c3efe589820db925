//! Calls about the server as a whole: its version, its load and its limits, its encoders, and its farewell.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::call::{Call, json};
use super::rows::Totals;
use super::sampler::STEP;
use super::{Operator, millis};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::metrics::{self, Reading};
use crate::transcode::{Probed, Transcoder};

/// Which server this is.
#[derive(JsonSchema, Serialize)]
pub(super) struct Version {
    name: &'static str,
    version: &'static str,
    started_ms: u64,
    uptime_s: u64,
    /// As configured; empty: nobody said.
    public_url: String,
    http_port: u16,
    rtmp_port: u16,
    /// WHIP and WHEP are served.
    webrtc: bool,
    /// Nobody has a key: only this machine publishes.
    open: bool,
}

/// How it does.
#[derive(JsonSchema, Serialize)]
pub(super) struct ServerShown {
    #[serde(flatten)]
    version: Version,
    pid: u32,
    /// Of one core.
    cpu_percent: f64,
    cores: usize,
    memory_bytes: u64,
    open_files: u64,
    max_files: u64,
    connections: Connections,
    /// Media in memory.
    budget: BudgetShown,
    /// What was dropped or refused, by counter and label.
    drops: BTreeMap<String, f64>,
    encoder: Encoder,
}

#[derive(JsonSchema, Serialize)]
struct Connections {
    http: u64,
    rtmp: u64,
    webrtc: u64,
}

#[derive(JsonSchema, Serialize)]
struct BudgetShown {
    used: u64,
    limit: u64,
}

#[derive(JsonSchema, Serialize)]
struct Encoder {
    /// The first that works; None where ladders are off, or nothing works.
    chosen: Option<String>,
    fallbacks: Vec<String>,
}

/// What the server did, second by second.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ServerHistory")]
pub(super) struct History {
    step_s: u64,
    samples: Vec<Totals>,
}

/// What was looked for on this machine, and what became of each.
#[derive(JsonSchema, Serialize)]
pub(super) struct Encoders {
    found: Vec<Probed>,
}

/// `GET /api/v1/version`
pub(super) fn version(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &version_of(operator))
}

/// `GET /api/v1/server`
pub(super) fn server(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    let reading = metrics::read();
    let budget = operator.hub.budget();
    let shown = ServerShown {
        version: version_of(operator),
        pid: std::process::id(),
        cpu_percent: operator.sampler.cpu_percent(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: reading.resident_bytes,
        open_files: reading.open_files,
        max_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0),
        connections: Connections {
            http: reading.sum(metrics::HTTP_CONNECTIONS) as u64,
            rtmp: reading.sum(metrics::RTMP_SESSIONS) as u64,
            webrtc: reading.sum(metrics::WEBRTC_SESSIONS) as u64,
        },
        budget: BudgetShown { used: budget.used() as u64, limit: budget.limit() as u64 },
        drops: drops(&reading),
        encoder: encoder(operator),
    };
    json(StatusCode::OK, &shown)
}

/// `GET /api/v1/server/history`
pub(super) fn history(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &History { step_s: STEP.as_secs(), samples: operator.sampler.totals() })
}

/// `GET /api/v1/encoders`
pub(super) fn encoders(operator: &Operator, _: &Call) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &Encoders { found: probed(operator).to_vec() })
}

/// `POST /api/v1/drain`
pub(super) fn drain(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    operator.noted(call, "operator.drain", "", Ok(()))?;
    operator.drain.cancel();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

fn version_of(operator: &Operator) -> Version {
    let uptime_s = operator.began.elapsed().map_or(0, |since| since.as_secs());
    Version {
        name: "headwater",
        version: env!("CARGO_PKG_VERSION"),
        started_ms: millis(operator.began),
        uptime_s,
        public_url: operator.reach.public_url.clone(),
        http_port: operator.reach.http_port,
        rtmp_port: operator.reach.rtmp_port,
        webrtc: operator.webrtc.is_some(),
        open: operator.access.is_open(),
    }
}

fn probed(operator: &Operator) -> Arc<Vec<Probed>> {
    operator.transcoder.as_ref().map(Transcoder::probed).unwrap_or_default()
}

fn encoder(operator: &Operator) -> Encoder {
    let mut works = operator.transcoder.as_ref().map(Transcoder::encoders).unwrap_or_default().into_iter();
    Encoder { chosen: works.next(), fallbacks: works.collect() }
}

fn drops(reading: &Reading) -> BTreeMap<String, f64> {
    let mut drops = reading.series("_dropped_total");
    for more in ["_refused_total", "_overdue_total", "_lost_total", "_unsent_total", "_lagged_total"] {
        drops.extend(reading.series(more));
    }
    drops.retain(|_, count| *count > 0.0);
    drops
}
