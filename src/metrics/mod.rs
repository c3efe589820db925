//! The names of all counters, what they mean, and how they are rendered for Prometheus. Whoever counts uses the macros of
//! the `metrics` crate with a name from here; the admin listener serves what [`render`] gives. Nothing here counts.

mod process;
mod reading;

use std::sync::OnceLock;

pub use reading::Reading;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Declares a name as a constant with its meaning, and collects all of them in [`TABLE`].
macro_rules! names {
    ($($constant:ident = $name:literal $kind:ident $labels:tt $about:literal;)*) => {
        $(#[doc = concat!("`", $name, "`", stringify!($labels), ": ", $about)] pub const $constant: &str = $name;)*

        const TABLE: &[Name] = &[$(Name {
            name: $name,
            kind: Kind::$kind,
            labels: stringify!($labels),
            about: $about,
        },)*];
    };
}

names! {
    RTMP_SESSIONS = "headwater_rtmp_sessions" Gauge {} "RTMP connections that are open.";
    RTMP_CONNECTIONS = "headwater_rtmp_connections_total" Counter {} "RTMP connections that were accepted.";
    RTMP_REFUSED = "headwater_rtmp_refused_total" Counter {reason} "RTMP connections and publishers that were refused.";
    RTMP_BYTES_RECEIVED = "headwater_rtmp_bytes_received_total" Counter {} "Bytes read from RTMP connections.";
    RTMP_FRAMES_DROPPED = "headwater_rtmp_frames_dropped_total" Counter {reason} "RTMP messages with media that could not be used.";
    WEBRTC_SESSIONS = "headwater_webrtc_sessions" Gauge {} "WHIP and WHEP sessions, those that are not connected yet among them.";
    WEBRTC_OFFERS = "headwater_webrtc_offers_total" Counter {protocol} "Offers that were answered.";
    WEBRTC_SESSIONS_ENDED = "headwater_webrtc_sessions_ended_total" Counter {protocol, outcome} "Sessions that are over, connected or not.";
    WEBRTC_PACKETS_SENT = "headwater_webrtc_packets_sent_total" Counter {} "Datagrams that were sent.";
    WEBRTC_BYTES_SENT = "headwater_webrtc_bytes_sent_total" Counter {} "Bytes of datagrams that were sent.";
    WEBRTC_PACKETS_UNSENT = "headwater_webrtc_packets_unsent_total" Counter {} "Datagrams that the kernel had no room for.";
    WEBRTC_DATAGRAMS_DROPPED = "headwater_webrtc_datagrams_dropped_total" Counter {} "Datagrams and commands that a worker had no room for.";
    HUB_STREAMS = "headwater_hub_streams" Gauge {state} "Streams by state.";
    HUB_FRAMES = "headwater_hub_frames_total" Counter {kind} "Frames that were appended to frame logs.";
    HUB_FRAMES_DROPPED = "headwater_hub_frames_dropped_total" Counter {reason} "Frames that publishers gave and no log took.";
    HUB_TIMESTAMP_REPAIRS = "headwater_hub_timestamp_repairs_total" Counter {kind} "Timestamps that had to be corrected.";
    HUB_TAKEOVERS = "headwater_hub_takeovers_total" Counter {} "Names that went from one publisher to another.";
    HUB_READERS_LAGGED = "headwater_hub_readers_lagged_total" Counter {} "Times that a reader fell behind its frame log.";
    HUB_MEMORY = "headwater_hub_memory_bytes" Gauge {} "Bytes of frames and packaged media in memory.";
    HLS_PARTS = "headwater_hls_parts_total" Counter {rendition} "Parts that were published.";
    HLS_SEGMENTS = "headwater_hls_segments_total" Counter {} "Segments that were published.";
    HLS_FORCED_CUTS = "headwater_hls_forced_cuts_total" Counter {} "Segments that ended without a key frame, at their longest.";
    HLS_SHORT_PARTS = "headwater_hls_short_parts_total" Counter {} "Parts below 85 % of the part target.";
    HLS_DISCONTINUITIES = "headwater_hls_discontinuities_total" Counter {} "Discontinuities that were published.";
    HLS_PART_DELAY = "headwater_hls_part_delay_seconds" Histogram {} "Time from a part's last frame to its playlist.";
    DOCTOR_FINDINGS = "headwater_doctor_findings" Gauge {code} "Streams that the doctor finds this in.";
    LISTEN_SECONDS = "headwater_listen_seconds" Histogram {} "Time that measuring a second of a stream's sound took.";
    LISTEN_FAILED = "headwater_listen_failed_total" Counter {} "Times that the sound of a stream could not be measured.";
    HTTP_CONNECTIONS = "headwater_http_connections" Gauge {} "HTTP connections that are open.";
    HTTP_CONNECTIONS_REFUSED = "headwater_http_connections_refused_total" Counter {} "HTTP connections beyond the limit.";
    HTTP_OVERDUE = "headwater_http_connections_overdue_total" Counter {reason} "HTTP connections whose peer took too long: for a header, without a request, to take an answer.";
    HTTP_REQUESTS = "headwater_http_requests_total" Counter {route, status} "HTTP requests that were answered.";
    HTTP_BYTES_SENT = "headwater_http_bytes_sent_total" Counter {} "Bytes sent on HTTP connections, with headers and TLS.";
    HTTP_HELD_REQUESTS = "headwater_http_held_requests" Gauge {} "Requests that wait for a part or playlist.";
    HTTP_WAIT = "headwater_http_wait_seconds" Histogram {} "Time that requests waited for a part or playlist.";
    VIEWERS = "headwater_viewers" Gauge {protocol} "Viewers now: HLS players by their ids, and WebRTC sessions whose media flows.";
    VIEWER_SESSIONS = "headwater_viewer_sessions_total" Counter {protocol} "Viewers who came.";
    VIEWER_SECONDS = "headwater_viewer_seconds_total" Counter {protocol} "Time that viewers watched, all together.";
    VIEWERS_REFUSED = "headwater_viewers_refused_total" Counter {reason} "Viewers who were not let in, or sent away.";
    ACCESS_GRANTED = "headwater_access_granted_total" Counter {action} "Publishers, viewers and operators that were let in.";
    ACCESS_REFUSED = "headwater_access_refused_total" Counter {action, reason} "Publishers, viewers and operators that were refused.";
    TRACES_LOST = "headwater_traces_lost_total" Counter {} "Traces that the collector did not take.";
    LOG_LINES_LOST = "headwater_log_lines_lost_total" Counter {} "Log lines that standard error could not take in time.";
    BUILD_INFO = "headwater_build_info" Gauge {version} "Always 1; the label has the version.";
}

/// Starts counting in this process. Calling it again changes nothing; what was counted before the first time is lost.
pub fn install() -> Result<(), Error> {
    let installed = HANDLE.get_or_init(|| recorder().map_err(|error| error.to_string()));
    installed.as_ref().map(drop).map_err(|problem| Error(problem.clone()))
}

/// Everything that was counted, and the state of the process, in the text format of Prometheus. Before [`install`] only
/// the latter. It reads `/proc` and takes milliseconds at most.
pub fn render() -> String {
    let mut text =
        HANDLE.get().and_then(|handle| handle.as_ref().ok()).map(PrometheusHandle::render).unwrap_or_default();
    process::render(&mut text);
    text
}

/// What [`render`] says, to be reckoned with.
pub fn read() -> Reading {
    Reading::of(&render())
}

/// Empties the buffers of histograms, which grow while nobody asks for metrics: call it every few seconds.
pub fn upkeep() {
    if let Some(Ok(handle)) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// Nothing can be counted: something else in this process counts already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot count: {0}")]
pub struct Error(String);

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(HLS_PART_DELAY.to_owned()), &PART_DELAY_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(HTTP_WAIT.to_owned()), &WAIT_SECONDS)?
        .set_buckets_for_metric(Matcher::Full(LISTEN_SECONDS.to_owned()), &LISTEN_BUCKETS)?
        .install_recorder()?;
    TABLE.iter().for_each(Name::describe);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

struct Name {
    name: &'static str,
    kind: Kind,
    /// The names of its labels in braces.
    labels: &'static str,
    about: &'static str,
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Name {
    /// Tells the recorder what it is. One without labels shows from now on, as zero: a rate over a counter that appears
    /// with its first event misses that event.
    fn describe(&self) {
        let whole = self.labels == "{}";
        match self.kind {
            Kind::Counter => {
                describe_counter!(self.name, self.about);
                whole.then(|| counter!(self.name).absolute(0));
            }
            Kind::Gauge => {
                describe_gauge!(self.name, self.about);
                whole.then(|| gauge!(self.name).set(0.0));
            }
            Kind::Histogram => {
                describe_histogram!(self.name, self.about);
                whole.then(|| histogram!(self.name));
            }
        }
    }
}

static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// Buckets of [`HLS_PART_DELAY`]: packaging takes well below a millisecond; a tenth of a second is a viewer's stall.
const PART_DELAY_SECONDS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5];

/// Buckets of [`HTTP_WAIT`]: about a part for a healthy player, a segment and more for one that starts.
const WAIT_SECONDS: [f64; 10] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0];

/// Buckets of [`LISTEN_SECONDS`]: a hundredth of a second by itself, more where others need the processor, a second where a
/// worker has to be started, five where one hangs.
const LISTEN_BUCKETS: [f64; 10] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    // One test, because a process has one recorder.
    #[test]
    fn what_is_counted_is_rendered_once() {
        install().unwrap();
        install().unwrap();
        // Labels of its own: other tests of this process may count under the same names meanwhile.
        counter!(RTMP_REFUSED, "reason" => "test one").increment(2);
        counter!(RTMP_REFUSED, "reason" => "test two").increment(1);
        histogram!(HLS_PART_DELAY, "test" => "buckets").record(0.0007);
        upkeep();
        let text = render();
        let has =
            |line: &str| assert!(text.lines().any(|found| found.starts_with(line)), "{line} is missing in\n{text}");
        has("# TYPE headwater_rtmp_refused_total counter");
        has("headwater_rtmp_refused_total{reason=\"test one\"} 2");
        has("headwater_rtmp_refused_total{reason=\"test two\"} 1");
        has("headwater_hub_takeovers_total ");
        has("headwater_http_held_requests ");
        has(concat!("headwater_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
        has("headwater_hls_part_delay_seconds_bucket{test=\"buckets\",le=\"0.0005\"} 0");
        has("headwater_hls_part_delay_seconds_bucket{test=\"buckets\",le=\"0.001\"} 1");
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{name}");
        }
    }

    #[test]
    fn names_say_what_they_are() {
        for Name { name, kind, about, .. } in TABLE {
            assert!(name.starts_with("headwater_"), "{name}");
            assert_eq!(matches!(kind, Kind::Counter), name.ends_with("_total"), "{name}");
            assert!(about.ends_with('.'), "{name}");
        }
    }
}
