//! The one table of everything that `/metrics` has: name, kind, labels and meaning. `config/prometheus/METRICS.md` is made
//! of it, and `config`'s dashboard and rules are held against it. Nothing here counts.

/// Declares names as constants with their meanings, and collects them in a table.
macro_rules! names {
    ($table:ident: $($constant:ident = $name:literal $kind:ident $labels:tt $about:literal;)*) => {
        $(#[doc = concat!("`", $name, "`", stringify!($labels), ": ", $about)] pub const $constant: &str = $name;)*

        pub(super) const $table: &[Name] = &[$(Name {
            name: $name,
            kind: Kind::$kind,
            labels: stringify!($labels),
            about: $about,
        },)*];
    };
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The names of its labels in braces.
    pub(super) labels: &'static str,
    pub(super) about: &'static str,
}

/// What may be done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises, save at a restart.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

// What the recorder keeps.
names! {
    RECORDED:
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
    WEBRTC_CONNECTED = "headwater_webrtc_sessions_connected" Gauge {role} "WebRTC sessions whose media can flow.";
    WEBRTC_ROUND_TRIP = "headwater_webrtc_round_trip_seconds" Histogram {role} "Round trips, each connected session once in ten seconds.";
    WEBRTC_LOSS = "headwater_webrtc_loss_ratio" Histogram {role} "Shares of packets that sessions lost since they began, each once in ten seconds.";
    WEBRTC_PACKETS_ASKED = "headwater_webrtc_packets_asked_again_total" Counter {role} "Packets that were asked for again (NACK): by viewers, or of publishers.";
    WEBRTC_PACKETS_REPAIRED = "headwater_webrtc_packets_repaired_total" Counter {role} "Packets that came because they were asked for again: sent to viewers, or got from publishers.";
    WEBRTC_KEY_FRAMES_ASKED = "headwater_webrtc_key_frames_asked_total" Counter {role} "Requests for a key frame (PLI, FIR): by viewers, or to publishers.";
    HUB_STREAMS = "headwater_hub_streams" Gauge {state} "Streams by state.";
    HUB_FRAMES = "headwater_hub_frames_total" Counter {kind} "Frames that were appended to frame logs.";
    HUB_FRAMES_DROPPED = "headwater_hub_frames_dropped_total" Counter {reason} "Frames that publishers gave and no log took.";
    HUB_TIMESTAMP_REPAIRS = "headwater_hub_timestamp_repairs_total" Counter {kind} "Timestamps that had to be corrected.";
    HUB_TAKEOVERS = "headwater_hub_takeovers_total" Counter {} "Names that went from one publisher to another.";
    HUB_READERS_LAGGED = "headwater_hub_readers_lagged_total" Counter {} "Times that a reader fell behind its frame log.";
    HUB_MEMORY = "headwater_hub_memory_bytes" Gauge {} "Bytes of frames and packaged media in memory.";
    HUB_MEMORY_LIMIT = "headwater_hub_memory_limit_bytes" Gauge {} "What they may be at most: `hub.memory`.";
    PUBLISHERS = "headwater_publishers" Gauge {protocol} "Publishers that are connected.";
    INGEST_BYTES = "headwater_ingest_bytes_total" Counter {protocol} "Bytes of media that publishers sent and streams took.";
    HLS_PARTS = "headwater_hls_parts_total" Counter {rendition} "Parts that were published.";
    HLS_SEGMENTS = "headwater_hls_segments_total" Counter {} "Segments that were published.";
    HLS_FORCED_CUTS = "headwater_hls_forced_cuts_total" Counter {} "Segments that ended without a key frame, at their longest.";
    HLS_SHORT_PARTS = "headwater_hls_short_parts_total" Counter {} "Parts below 85 % of the part target.";
    HLS_DISCONTINUITIES = "headwater_hls_discontinuities_total" Counter {} "Discontinuities that were published.";
    HLS_PART_DELAY = "headwater_hls_part_delay_seconds" Histogram {} "Time from taking the frame that completes a part to its playlist: what packaging takes.";
    LADDERS = "headwater_ladders" Gauge {} "Streams that have rungs, made or not.";
    LADDER_RUNGS = "headwater_ladder_rungs" Gauge {state} "Rungs by state.";
    LADDER_WORKERS = "headwater_ladder_workers" Gauge {} "Worker processes that encode.";
    LADDER_MEMORY = "headwater_ladder_memory_bytes" Gauge {} "Memory that these worker processes hold.";
    LADDER_LAG = "headwater_ladder_lag_seconds" Gauge {} "From a source's picture to the rung's, of the rung that is furthest behind.";
    LADDER_GIVEN_UP = "headwater_ladder_given_up_steps" Gauge {} "Steps that ladders gave up because the machine is too slow.";
    LADDER_RESTARTS = "headwater_ladder_restarts_total" Counter {} "Worker processes that had to be replaced.";
    LADDER_FRAMES_DROPPED = "headwater_ladder_frames_dropped_total" Counter {} "Pictures that no rung got because its encoder could not follow.";
    LADDER_SOURCE_DROPPED = "headwater_ladder_source_dropped_total" Counter {} "Times that a worker process had no room for its source's frames.";
    LADDER_MISSES = "headwater_ladder_misses_total" Counter {} "Segment starts of rungs that no decoder can start at.";
    LADDER_FALLBACKS = "headwater_ladder_fallbacks_total" Counter {} "Encoders that failed, so that another was taken.";
    ENCODER_INFO = "headwater_encoder_info" Gauge {encoder} "Encoders that work here: 1 for the one that ladders are tried with first, else 0.";
    STILLS_TIME = "headwater_stills_seconds" Histogram {} "Time to make a still picture of a stream.";
    STILLS_FAILED = "headwater_stills_failed_total" Counter {} "Still pictures that could not be made.";
    STREAM_HEALTH = "headwater_streams_by_health" Gauge {health} "Streams by the worst of what the doctor finds in them.";
    LISTEN_SECONDS = "headwater_listen_seconds" Histogram {} "Time that measuring a second of a stream's sound took.";
    LISTEN_FAILED = "headwater_listen_failed_total" Counter {} "Times that the sound of a stream could not be measured.";
    DOCTOR_FINDINGS = "headwater_doctor_findings" Gauge {code} "Streams that the doctor finds this in.";
    HTTP_CONNECTIONS = "headwater_http_connections" Gauge {} "HTTP connections that are open.";
    HTTP_CONNECTIONS_LIMIT = "headwater_http_connections_limit" Gauge {} "What they may be at most: `http.max_connections`.";
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
    ACCESS_KEYS = "headwater_access_keys" Gauge {origin} "Keys by where they are kept.";
    ADMIN_LISTENERS = "headwater_admin_listeners" Gauge {feed} "Operators' pages and programs that follow events or the list of streams.";
    ADMIN_LOOK = "headwater_admin_look_seconds" Histogram {} "Time of the look at all streams that the admin page and these metrics are made of, once a second.";
    AUDIT_FAILED = "headwater_audit_writes_failed_total" Counter {} "Changes that could not be written to the audit log.";
    EVENTS = "headwater_events_total" Counter {kind} "What happened, by its kind in the event log.";
    CONFIG_RELOAD_SUCCESSFUL = "headwater_config_last_reload_successful" Gauge {} "1 if the configuration's files were taken when they were read last, else 0.";
    CONFIG_RELOAD_TIME = "headwater_config_last_reload_success_timestamp_seconds" Gauge {} "When a configuration was taken last, in Unix time.";
    CERTIFICATE_EXPIRY = "headwater_tls_certificate_expiry_timestamp_seconds" Gauge {listener} "When the certificate of a listener ends, in Unix time; absent without TLS.";
    DRAINING = "headwater_draining" Gauge {} "1 while the server takes no new work because it is to end.";
    RUNTIME_LAG = "headwater_runtime_lag_seconds" Histogram {} "How late a timer of the media threads went off, once a second.";
    TRACES_LOST = "headwater_traces_lost_total" Counter {} "Traces that the collector did not take.";
    LOG_LINES_LOST = "headwater_log_lines_lost_total" Counter {} "Log lines that standard error could not take in time.";
    BUILD_INFO = "headwater_build_info" Gauge {version} "Always 1; the label has the version.";
}

// What is written for each scrape: of the process, and of single streams where `telemetry.per_stream` asks for them. The
// recorder would keep the series of every stream that ever was.
names! {
    DRAWN:
    PROCESS_CPU = "process_cpu_seconds_total" Counter {} "User and system CPU time of all threads.";
    PROCESS_RESIDENT = "process_resident_memory_bytes" Gauge {} "Memory of the process that is in RAM.";
    PROCESS_VIRTUAL = "process_virtual_memory_bytes" Gauge {} "Addresses that the process has taken.";
    PROCESS_OPEN_FILES = "process_open_fds" Gauge {} "Open files and sockets.";
    PROCESS_MAX_FILES = "process_max_fds" Gauge {} "Open files and sockets that the process may have.";
    PROCESS_THREADS = "process_threads" Gauge {} "Threads of the process.";
    PROCESS_START = "process_start_time_seconds" Gauge {} "Start of the process in Unix time.";
    STREAM_LIVE = "headwater_stream_live" Gauge {stream} "1 while its frames come.";
    STREAM_BYTES = "headwater_stream_ingest_bytes_total" Counter {stream} "Bytes of media that came in since the stream began.";
    STREAM_FRAME_RATE = "headwater_stream_frame_rate" Gauge {stream} "Pictures a second that come in.";
    STREAM_KEY_INTERVAL = "headwater_stream_key_frame_interval_seconds" Gauge {stream} "Time between its two newest key frames.";
    STREAM_VIEWERS = "headwater_stream_viewers" Gauge {stream, protocol} "Who watches it.";
    STREAM_FINDINGS = "headwater_stream_findings" Gauge {stream} "What the doctor finds in it.";
    STREAM_LADDER_RESTARTS = "headwater_stream_ladder_restarts_total" Counter {stream} "Times a worker had to be replaced.";
    STREAM_LADDER_MEMORY = "headwater_stream_ladder_memory_bytes" Gauge {stream} "Memory that its workers hold.";
    STREAM_LADDER_GIVEN_UP = "headwater_stream_ladder_given_up_steps" Gauge {stream} "Steps given up because the machine is too slow.";
    RUNG_LIVE = "headwater_stream_rung_live" Gauge {stream, rung} "1 while its frames come.";
    RUNG_FRAME_RATE = "headwater_stream_rung_frame_rate" Gauge {stream, rung} "Pictures a second.";
    RUNG_ENCODE = "headwater_stream_rung_encode_seconds" Gauge {stream, rung} "Scaling and encoding, per picture.";
    RUNG_LAG = "headwater_stream_rung_lag_seconds" Gauge {stream, rung} "From the source's picture to the rung's.";
    RUNG_QUEUE = "headwater_stream_rung_queue" Gauge {stream, rung} "Pictures that wait for the encoder.";
    RUNG_DROPPED = "headwater_stream_rung_dropped_total" Counter {stream, rung} "Pictures dropped because the encoder could not follow.";
    RUNG_MISSES = "headwater_stream_rung_misses_total" Counter {stream, rung} "Segment starts that no decoder can start at.";
    RUNG_FALLBACKS = "headwater_stream_rung_fallbacks_total" Counter {stream, rung} "Times its encoder failed and another was taken.";
}

/// The row of a name; None: there is no such metric.
pub(super) fn row(name: &str) -> Option<&'static Name> {
    RECORDED.iter().chain(DRAWN).find(|row| row.name == name)
}

/// What each label may have. Everything else is bounded by the configuration.
#[cfg(test)]
pub(super) const LABELS: &[(&str, &str)] = &[
    ("action", "`publish`, `play`, `admin`"),
    ("code", "the doctor's codes, some thirty"),
    ("encoder", "GStreamer's name of one"),
    ("feed", "`events`, `live`"),
    ("health", "`good`, `warning`, `problem`"),
    ("kind", "of frames `video`, `audio`; of timestamps and events a fixed list each"),
    ("listener", "`http`, whose certificate RTMPS has too"),
    ("origin", "`config`, `stored`"),
    ("outcome", "`connected`, `never_connected`"),
    ("protocol", "`rtmp`, `rtmps`, `whip`, `whep`, `hls`"),
    ("reason", "a fixed list for each metric"),
    ("rendition", "`source`, `audio`, and rungs as they are configured"),
    ("role", "`publisher`, `viewer`"),
    ("route", "kinds of paths, nine"),
    ("rung", "names of the stream's rungs"),
    ("state", "of streams `starting`, `live`, `waiting`; of rungs `cold`, `starting`, `live`, `shed`"),
    ("status", "HTTP statuses that are in use, and `other`"),
    ("stream", "names of streams, as many as `telemetry.per_stream` says"),
    ("version", "of this program"),
];
