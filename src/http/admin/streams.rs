//! Calls about streams: what each is, what it did, and what the operator does to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json as object;

use super::call::{Call, done, json};
use super::sampler::{Ingest, STEP, Sample};
use super::sessions::KICKED;
use super::{Operator, Watching, millis};
use crate::doctor::{Finding, Health};
use crate::hls::{Progress, RenditionProgress, Spacing};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::hub::{Heard, Order, Stream};
use crate::media::Config;
use crate::transcode::{LadderStatus, Transcoder};

/// A page of streams.
#[derive(JsonSchema, Serialize)]
pub(super) struct List {
    streams: Vec<StreamShown>,
    /// How many there are in all.
    total: usize,
}

/// One stream.
#[derive(JsonSchema, Serialize)]
pub(super) struct StreamShown {
    name: String,
    /// `starting`, `live`, `waiting` or `ended`.
    state: &'static str,
    /// In the addresses of its media; None before its first segment.
    epoch: Option<u64>,
    since_ms: u64,
    publisher: PublisherShown,
    /// Publishing sessions so far.
    sessions: u64,
    tracks: Vec<Track>,
    renditions: Vec<RenditionShown>,
    /// None before its first segment.
    targets: Option<Targets>,
    frames: u64,
    bytes: u64,
    /// There is a picture of it.
    still: bool,
    /// How loud it was when that was last measured; None before, and where its sound cannot be decoded.
    sound: Option<SoundShown>,
    ladder: Option<LadderStatus>,
    ingest: Ingest,
    viewers: Watching,
    /// By the worst of the findings.
    health: Health,
    findings: Vec<Finding>,
}

/// Who publishes, or did last.
#[derive(JsonSchema, Serialize)]
struct PublisherShown {
    protocol: &'static str,
    peer: String,
    client: String,
    /// The id of the key that let it in.
    key: Option<String>,
}

#[derive(JsonSchema, Serialize)]
struct Track {
    /// `video` or `audio`.
    kind: &'static str,
    /// `H.264`, say.
    codec: &'static str,
    /// RFC 6381.
    codecs: String,
    width: Option<u32>,
    height: Option<u32>,
    channels: Option<u32>,
    rate: Option<u32>,
}

/// How loud a second of sound was.
#[derive(JsonSchema, Serialize)]
struct SoundShown {
    /// Of the loudest channel, in dBFS; -120 is nothing at all. Above zero where players cut it off.
    peak_db: f64,
    /// Of the loudest channel, in dBFS.
    rms_db: f64,
    /// Share, 0 to 1, of samples in tops of waves that were cut off at full scale.
    clipped: f64,
    at_ms: u64,
}

/// How far a rendition is.
#[derive(JsonSchema, Serialize)]
struct RenditionShown {
    name: String,
    msn: u64,
    part: u64,
    /// Since its newest part.
    age_ms: Option<u64>,
    /// Time between its last 64 parts: the median.
    typical_ms: Option<u64>,
    /// And the longest.
    worst_ms: Option<u64>,
}

/// What players are promised.
#[derive(JsonSchema, Serialize)]
struct Targets {
    /// EXT-X-TARGETDURATION.
    segment_s: u32,
    /// PART-TARGET.
    part_ms: u64,
    /// PART-HOLD-BACK.
    hold_back_ms: u64,
}

/// What a stream did, second by second.
#[derive(JsonSchema, Serialize)]
pub(super) struct History {
    step_s: u64,
    samples: Vec<Sample>,
}

/// The body of a mark.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    /// At most 200 characters on one line.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"))]
    text: String,
}

/// `GET /api/v1/streams`
pub(super) fn list(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let streams = operator.hub.streams();
    let total = streams.len();
    let page = streams.iter().skip(call.number("offset", 0) as usize).take(call.number("limit", 1_000) as usize);
    let streams = page.map(|stream| shown(operator, stream)).collect();
    json(StatusCode::OK, &List { streams, total })
}

/// `GET /api/v1/streams/{stream}`
pub(super) fn one(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let stream = found(operator, call)?;
    json(StatusCode::OK, &shown(operator, &stream))
}

/// `GET /api/v1/streams/{stream}/history`
pub(super) fn history(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let stream = found(operator, call)?;
    let samples = operator.sampler.history(stream.name().as_str());
    json(StatusCode::OK, &History { step_s: STEP.as_secs(), samples })
}

/// `GET /api/v1/streams/{stream}/still.jpg`
pub(super) fn still(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let jpeg = operator.hls.still(call.first()).map_err(|refusal| Problem::not_found(refusal.to_string()))?;
    Ok(picture(jpeg))
}

/// `POST /api/v1/streams/{stream}/end`
pub(super) fn end(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let ended = if operator.hub.finish(call.stream()?.as_str(), ENDED) { Ok(()) } else { Err(no_such()) };
    operator.noted(call, "operator.stream.end", call.first(), ended)?;
    Ok(done())
}

/// `POST /api/v1/streams/{stream}/kick`
pub(super) fn kick(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let stream = found(operator, call)?;
    let nobody = || Problem::new(StatusCode::CONFLICT, "nobody publishes this stream at the moment");
    let kicked = if operator.hub.kick(stream.name().as_str(), KICKED) { Ok(()) } else { Err(nobody()) };
    operator.noted(call, "operator.stream.kick", call.first(), kicked)?;
    Ok(done())
}

/// `POST /api/v1/streams/{stream}/mark`
pub(super) fn mark(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let stream = found(operator, call)?;
    let Mark { text } = call.json()?;
    if text.is_empty() || text.chars().count() > LONGEST_MARK || text.chars().any(char::is_control) {
        return Err(Problem::bad_request(format!("a mark has 1 to {LONGEST_MARK} characters on one line")));
    }
    operator.events.say("stream.marked", Some(stream.name().as_str()), object!({ "text": text }));
    operator.noted(call, "operator.stream.mark", call.first(), Ok(()))?;
    Ok(done())
}

/// `POST /api/v1/streams/{stream}/rungs/{rung}/{order}`
pub(super) fn rung(operator: &Operator, call: &Call) -> Result<Response<Body>, Problem> {
    let stream = found(operator, call)?;
    let [_, rung, order] = call.params.as_slice() else { return Err(no_such()) };
    let order = Order::of(order).ok_or_else(|| Problem::bad_request("a rung takes start, stop or auto"))?;
    let ladder = stream.ladder().borrow().clone();
    let ladder = ladder.ok_or_else(|| Problem::new(StatusCode::CONFLICT, "the stream has no ladder, or not yet"))?;
    let ordered =
        if ladder.order(rung, order) { Ok(()) } else { Err(Problem::not_found("the stream has no such rung")) };
    let event = match order {
        Order::Auto => "operator.stream.rung.auto",
        Order::Start => "operator.stream.rung.start",
        Order::Stop => "operator.stream.rung.stop",
    };
    operator.noted(call, event, call.first(), ordered)?;
    Ok(done())
}

/// Under an address with another `at` for each picture, as pages ask for it, it may be kept.
fn picture(jpeg: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::one(jpeg));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    response
}

fn found(operator: &Operator, call: &Call) -> Result<Arc<Stream>, Problem> {
    operator.hub.stream(call.stream()?.as_str()).ok_or_else(no_such)
}

fn no_such() -> Problem {
    Problem::not_found("no such stream is on the air")
}

fn shown(operator: &Operator, stream: &Stream) -> StreamShown {
    let status = stream.status();
    let name = stream.name().as_str();
    let progress = operator.hls.progress(name);
    let renditions = progress.iter().flat_map(|progress| &progress.renditions);
    let findings = operator.findings(stream, &status);
    StreamShown {
        name: name.to_owned(),
        state: status.state.name(),
        epoch: progress.as_ref().map(|progress| progress.epoch),
        since_ms: millis(status.since),
        publisher: PublisherShown {
            protocol: status.source.protocol,
            peer: status.source.peer.to_string(),
            client: status.source.client.clone(),
            key: status.source.key.as_ref().map(ToString::to_string),
        },
        sessions: status.sessions,
        tracks: [&status.video, &status.audio].into_iter().flatten().map(|config| track(config)).collect(),
        renditions: renditions.map(rendition).collect(),
        targets: progress.as_ref().and_then(targets),
        frames: status.frames,
        bytes: status.bytes,
        still: stream.still_at().is_some(),
        sound: stream.heard().map(|heard| sound(&heard)),
        ladder: operator
            .transcoder
            .as_ref()
            .and_then(|transcoder: &Transcoder| transcoder.ladder(name))
            .map(|ladder| (*ladder).clone()),
        ingest: operator.sampler.ingest(name).unwrap_or_default(),
        viewers: operator.watching(name),
        health: Health::of(&findings),
        findings,
    }
}

fn sound(heard: &Heard) -> SoundShown {
    // More digits than are measured would be read as if they were; and there is no minus zero.
    let rounded = |value: f64, digits: i32| (value * 10_f64.powi(digits)).round() / 10_f64.powi(digits) + 0.0;
    let loudness = &heard.loudness;
    SoundShown {
        peak_db: rounded(loudness.peak_db(), 1),
        rms_db: rounded(loudness.rms_db(), 1),
        clipped: rounded(loudness.clipped(), 5),
        at_ms: millis(heard.at),
    }
}

fn rendition(progress: &RenditionProgress) -> RenditionShown {
    let millis = |time: fn(&Spacing) -> Duration| progress.spacing.as_ref().map(|it| time(it).as_millis() as u64);
    RenditionShown {
        name: progress.name.clone(),
        msn: progress.msn,
        part: progress.part,
        age_ms: millis(|spacing| spacing.age),
        typical_ms: millis(|spacing| spacing.typical),
        worst_ms: millis(|spacing| spacing.worst),
    }
}

fn targets(progress: &Progress) -> Option<Targets> {
    let (segment_s, part) = progress.targets?;
    let hold_back_ms = progress.hold_back?.as_millis() as u64;
    Some(Targets { segment_s, part_ms: part.as_millis() as u64, hold_back_ms })
}

fn track(config: &Config) -> Track {
    let (codec, codecs) = (config.codec().name(), config.codecs().to_owned());
    match config {
        Config::Video(video) => Track {
            kind: "video",
            codec,
            codecs,
            width: Some(video.width),
            height: Some(video.height),
            channels: None,
            rate: None,
        },
        Config::Audio(audio) => Track {
            kind: "audio",
            codec,
            codecs,
            width: None,
            height: None,
            channels: Some(audio.channels),
            rate: Some(audio.sample_rate),
        },
    }
}

/// What a publisher is told whose stream the operator ends.
const ENDED: &str = "the operator of this server ended the stream";
/// Characters of a mark.
const LONGEST_MARK: usize = 200;
