//! What `/metrics` has of the state of things: brought up to date once a second from the look at all streams that the list
//! of streams takes, and from whoever knows the rest. Single streams are written for each scrape, where that is wanted.

use std::collections::BTreeMap;

use metrics::{counter, gauge, histogram};

use super::Operator;
use crate::access::KeyOrigin;
use crate::doctor::Health;
use crate::hub::{Status, StreamState};
use crate::metrics::{self as names, Series};

/// What one look at all streams finds.
#[derive(Debug, Default)]
pub(super) struct Census {
    publishers: BTreeMap<&'static str, u64>,
    bytes: BTreeMap<&'static str, u64>,
    health: [u64; HEALTHS.len()],
}

impl Census {
    /// Counts a stream, which took so many bytes since the last look.
    pub(super) fn add(&mut self, status: &Status, bytes: u64, health: Health) {
        let protocol = status.source.protocol;
        *self.publishers.entry(protocol).or_default() += u64::from(status.state.has_publisher());
        *self.bytes.entry(protocol).or_default() += bytes;
        if let Some(at) = HEALTHS.iter().position(|(known, _)| *known == health) {
            self.health[at] += 1;
        }
    }

    /// Shows what was found.
    pub(super) fn show(&self) {
        for protocol in PUBLISHING {
            gauge!(names::PUBLISHERS, "protocol" => protocol)
                .set(self.publishers.get(protocol).copied().unwrap_or(0) as f64);
            counter!(names::INGEST_BYTES, "protocol" => protocol)
                .increment(self.bytes.get(protocol).copied().unwrap_or(0));
        }
        for ((_, health), count) in HEALTHS.iter().zip(self.health) {
            gauge!(names::STREAM_HEALTH, "health" => *health).set(count as f64);
        }
    }
}

/// Brings up to date what is not of streams. `turn`: which second it is.
pub(super) fn refresh(operator: &Operator, turn: u64) {
    let budget = operator.hub.budget();
    gauge!(names::HUB_MEMORY).set(budget.used() as f64);
    gauge!(names::HUB_MEMORY_LIMIT).set(budget.limit() as f64);
    let census = operator.hub.census();
    for state in [StreamState::Starting, StreamState::Live, StreamState::Waiting] {
        gauge!(names::HUB_STREAMS, "state" => state.name()).set(census.get(&state).copied().unwrap_or(0) as f64);
    }
    if let Some(transcoder) = &operator.transcoder {
        transcoder.meter();
    }
    if turn == 0 {
        begin();
    }
    if turn.is_multiple_of(SLOWLY) {
        slowly(operator);
    }
}

/// A rate over a counter that appears with its first event misses that event.
fn begin() {
    for role in ["publisher", "viewer"] {
        counter!(names::WEBRTC_PACKETS_ASKED, "role" => role).increment(0);
        counter!(names::WEBRTC_PACKETS_REPAIRED, "role" => role).increment(0);
        counter!(names::WEBRTC_KEY_FRAMES_ASKED, "role" => role).increment(0);
    }
    for feed in ["events", "live"] {
        gauge!(names::ADMIN_LISTENERS, "feed" => feed).increment(0.0);
    }
}

/// What costs more, or changes rarely.
fn slowly(operator: &Operator) {
    let keys = operator.access.keys();
    for (origin, name) in [(KeyOrigin::Config, "config"), (KeyOrigin::Stored, "stored")] {
        let count = keys.iter().filter(|key| key.origin == origin).count();
        gauge!(names::ACCESS_KEYS, "origin" => name).set(count as f64);
    }
    gauge!(names::HTTP_CONNECTIONS_LIMIT).set(operator.control.configured().config.http.max_connections as f64);
    if let Some(transcoder) = &operator.transcoder {
        for (at, encoder) in transcoder.encoders().into_iter().enumerate() {
            gauge!(names::ENCODER_INFO, "encoder" => encoder).set(f64::from(u8::from(at == 0)));
        }
    }
    let sessions = operator.webrtc.as_ref().map(|webrtc| webrtc.sessions()).unwrap_or_default();
    let connected = || sessions.iter().filter(|session| session.state == "connected");
    for (role, protocol) in [("publisher", "whip"), ("viewer", "whep")] {
        let of_role = || connected().filter(|session| session.protocol == protocol);
        gauge!(names::WEBRTC_CONNECTED, "role" => role).set(of_role().count() as f64);
        for session in of_role() {
            if let Some(trip) = session.round_trip_ms {
                histogram!(names::WEBRTC_ROUND_TRIP, "role" => role).record(trip / 1000.0);
            }
            let all = session.packets + session.lost;
            if all > 0 {
                histogram!(names::WEBRTC_LOSS, "role" => role).record(session.lost as f64 / all as f64);
            }
        }
    }
}

/// The series of single streams: of so many, the first by name.
pub(super) fn of_streams(operator: &Operator, most: usize) -> String {
    if most == 0 {
        return String::new();
    }
    let streams = operator.hub.streams();
    let shown: Vec<_> = streams.iter().take(most).map(|stream| (stream.name().as_str(), stream.status())).collect();
    let ingest = |name: &str| operator.sampler.ingest(name).unwrap_or_default();
    let mut series = Series::default();
    let mut family = |metric: &str, value: &dyn Fn(&str, &Status) -> f64| {
        series.family(metric, ["stream"], shown.iter().map(|(name, status)| ([*name], value(name, status))));
    };
    family(names::STREAM_LIVE, &|_, status| f64::from(u8::from(status.state == StreamState::Live)));
    family(names::STREAM_BYTES, &|_, status| status.bytes as f64);
    family(names::STREAM_FRAME_RATE, &|name, _| ingest(name).fps);
    family(names::STREAM_KEY_INTERVAL, &|_, status| status.key_interval.map_or(0.0, |interval| interval.as_secs_f64()));
    let findings = |name: &str| operator.doctor.as_ref().map_or(0, |doctor| doctor.findings(name).len());
    family(names::STREAM_FINDINGS, &|name, _| findings(name) as f64);
    let viewers = shown.iter().flat_map(|(name, _)| {
        let watching = operator.watching(name);
        [(["hls", name], watching.hls), (["whep", name], watching.whep)]
    });
    let viewers = viewers.map(|([protocol, name], count)| ([name, protocol], count as f64));
    series.family(names::STREAM_VIEWERS, ["stream", "protocol"], viewers);
    let ladders = operator.transcoder.as_ref().map(|transcoder| transcoder.render_metrics(most));
    series.text() + &ladders.unwrap_or_default()
}

/// Counts a listener of a feed for as long as it is held.
#[derive(Debug)]
pub(super) struct Listening(&'static str);

impl Listening {
    pub(super) fn to(feed: &'static str) -> Listening {
        gauge!(names::ADMIN_LISTENERS, "feed" => feed).increment(1.0);
        Listening(feed)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        gauge!(names::ADMIN_LISTENERS, "feed" => self.0).decrement(1.0);
    }
}

/// How publishers come.
const PUBLISHING: [&str; 3] = ["rtmp", "rtmps", "whip"];
const HEALTHS: [(Health, &str); 3] =
    [(Health::Good, "good"), (Health::Warning, "warning"), (Health::Problem, "problem")];
/// Seconds between looks at what costs more.
const SLOWLY: u64 = 10;
