//! Calls about sessions: who publishes and who watches, over every protocol, and ending one.

use std::collections::HashMap;

use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::call::{Call, done, json};
use super::{Operator, millis};
use crate::hls::Progress;
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::http::viewers::ViewerInfo;
use crate::webrtc::{Snapshot, WebRtc};

/// A page of sessions.
#[derive(JsonSchema, Serialize)]
pub(super) struct List {
    sessions: Vec<SessionShown>,
    /// How many there are in all.
    total: usize,
}

/// One session.
#[derive(JsonSchema, Serialize)]
pub(super) struct SessionShown {
    id: String,
    stream: String,
    /// `rtmp`, `rtmps`, `whip`, `whep` or `hls`.
    protocol: String,
    /// `publisher` or `viewer`.
    role: &'static str,
    /// The far end's address.
    peer: String,
    /// What the client calls itself.
    client: String,
    since_ms: u64,
    /// The rendition that a viewer is sent.
    rung: Option<String>,
    /// Bits a second.
    bitrate: Option<f64>,
    rtt_ms: Option<f64>,
    /// At least so far behind the newest picture here: what its playlist tells an HLS player to hold back, half the round
    /// trip over WebRTC.
    latency_ms: Option<f64>,
    /// Share of packets that were lost, from 0 to 1.
    loss: Option<f64>,
    /// What is wrong, in words.
    trouble: Option<String>,
    /// More of a WebRTC session.
    webrtc: Option<Snapshot>,
}

/// `GET /api/v1/sessions`
pub(super) fn list(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let fits = |session: &SessionShown| {
        call.asked("stream").is_none_or(|stream| session.stream == stream)
            && call.asked("protocol").is_none_or(|protocol| session.protocol == protocol)
    };
    let mut sessions: Vec<SessionShown> = all(operator).into_iter().filter(fits).collect();
    sessions.sort_by(|a, b| (&a.stream, a.role, &a.protocol, &a.id).cmp(&(&b.stream, b.role, &b.protocol, &b.id)));
    let total = sessions.len();
    let page = sessions.into_iter().skip(call.number("offset", 0) as usize).take(call.number("limit", 1_000) as usize);
    json(StatusCode::OK, &List { sessions: page.collect(), total })
}

/// `DELETE /api/v1/sessions/{id}`
pub(super) fn end(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let ended = end_one(operator, call.first());
    operator.noted(call, "operator.session.end", call.first(), ended)?;
    Ok(done())
}

fn end_one(operator: &Operator, id: &str) -> Result<(), Problem> {
    if let Some(name) = id.strip_prefix(PUBLISHER)
        && operator.hub.kick(name, KICKED)
    {
        return Ok(());
    }
    if operator.viewers.kick(id) {
        return Ok(());
    }
    if operator.webrtc.as_ref().is_some_and(|webrtc| webrtc.end(id, KICKED, false)) {
        return Ok(());
    }
    Err(Problem::not_found("there is no such session; it may be over"))
}

fn all(operator: &Operator) -> Vec<SessionShown> {
    let webrtc = operator.webrtc.as_ref().map(WebRtc::sessions).unwrap_or_default();
    let publishers = operator.hub.streams().into_iter().filter_map(|stream| {
        let status = stream.status();
        let over_rtmp = status.source.protocol.starts_with("rtmp") && status.state.has_publisher();
        over_rtmp.then(|| SessionShown {
            // A stream has one publisher at a time, so its name says which.
            id: format!("{PUBLISHER}{}", stream.name()),
            stream: stream.name().to_string(),
            protocol: status.source.protocol.to_owned(),
            role: "publisher",
            peer: status.source.peer.to_string(),
            client: status.source.client.clone(),
            since_ms: millis(status.since),
            rung: None,
            bitrate: operator.sampler.ingest(stream.name().as_str()).map(|ingest| ingest.bitrate as f64),
            rtt_ms: None,
            latency_ms: None,
            loss: None,
            trouble: None,
            webrtc: None,
        })
    });
    let (viewers, _) = operator.viewers.list(None, 0, usize::MAX);
    let mut held: HashMap<String, HoldBacks> = HashMap::new();
    let viewers = viewers.into_iter().map(|viewer| {
        let of_stream = || hold_backs(operator.hls.progress(&viewer.stream));
        let held = *held.entry(viewer.stream.clone()).or_insert_with(of_stream);
        over_hls(viewer, held)
    });
    publishers.chain(webrtc.into_iter().map(over_webrtc)).chain(viewers).collect()
}

/// What a stream's playlists tell players to hold back, in milliseconds: with parts, and without (RFC 8216 section 6.3.3).
type HoldBacks = [Option<f64>; 2];

fn hold_backs(progress: Option<Progress>) -> HoldBacks {
    let Some(progress) = progress else { return [None; 2] };
    let segments = progress.targets.map(|(segment, _)| f64::from(segment) * 3_000.0);
    [progress.hold_back.map(|parts| parts.as_secs_f64() * 1_000.0), segments]
}

fn over_hls(viewer: ViewerInfo, [parts, segments]: HoldBacks) -> SessionShown {
    SessionShown {
        id: viewer.id,
        stream: viewer.stream,
        protocol: "hls".to_owned(),
        role: "viewer",
        peer: viewer.peer.to_string(),
        client: viewer.client,
        since_ms: millis(viewer.since),
        rung: Some(viewer.rendition).filter(|rendition| !rendition.is_empty()),
        bitrate: None,
        rtt_ms: None,
        latency_ms: if viewer.low_latency { parts } else { segments },
        loss: None,
        trouble: None,
        webrtc: None,
    }
}

fn over_webrtc(shot: Snapshot) -> SessionShown {
    let counted = shot.packets + shot.lost;
    SessionShown {
        id: shot.id.clone(),
        stream: shot.stream.clone(),
        protocol: shot.protocol.to_owned(),
        role: if shot.protocol == "whip" { "publisher" } else { "viewer" },
        peer: shot.peer.clone(),
        client: shot.client.clone(),
        since_ms: shot.since.map_or(0, millis),
        rung: shot.rendition.clone(),
        bitrate: Some(shot.bitrate),
        rtt_ms: shot.round_trip_ms,
        latency_ms: shot.round_trip_ms.filter(|_| shot.protocol == "whep").map(|trip| trip / 2.0),
        loss: (counted > 0).then(|| shot.lost as f64 / counted as f64),
        trouble: shot.trouble.clone(),
        webrtc: Some(shot),
    }
}

/// What a publisher or viewer is told whose session the operator ends.
pub(super) const KICKED: &str = "the operator of this server ended the session";
/// In front of the stream's name: the id of its RTMP publisher.
const PUBLISHER: &str = "publisher-";
