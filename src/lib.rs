//! Headwater, a live streaming server. This page is the code map: what each module owns and what it must never do.
//!
//! | module | owns | never |
//! |---|---|---|
//! | [`media`] | time, the canonical frame, codec configuration, FLV bodies, fMP4 boxes | tokio, clocks, I/O |
//! | [`hub`] | live names, one timeline per stream, the frame log | knows a protocol |
//! | [`rtmp`] | RTMP and RTMPS ingest: handshake, chunks, AMF, the session | packages or serves media |
//! | [`hls`] | segmenter, rendition windows, playlists | touches HTTP |
//! | [`transcode`] | ladder policy, worker processes, and all that names GStreamer | packages or serves media |
//! | [`webrtc`] | WHIP and WHEP: one port, workers, sessions, packets | speaks HTTP |
//! | [`http`] | listeners, TLS, routes, pages, the one error-to-response mapping | muxes or renders per viewer |
//! | [`tls`] | certificates, and their reloading | listens |
//! | [`config`] | file, environment and arguments, and nothing else reads those | acts on them |
//! | [`access`] | who may publish which name | logs a secret |
//! | [`logging`] | log lines: filter, format, standard error | knows what is logged |
//! | [`metrics`] | the names of all counters, and their rendering | counts |
//! | [`server`] | builds and wires everything in order; drains on shutdown | decides about media |
//!
//! Who may import whom (kept by `tests/architecture.rs`):
//!
//! ```text
//! media <- hub <- { rtmp  hls  transcode  webrtc } <- http <- server <- main        access, config, logging, metrics, tls: leaves
//! ```
//!
//! A frame's journey: `rtmp::chunk` (bytes to message) -> `media::flv` (message to [`media::Frame`]) ->
//! `hub::Publisher::push` (timeline, cut, append) -> `hls::Segmenter::push` (parts) -> `hls::Rendition::append`
//! (playlist, once) -> `http` (the same bytes to every viewer).

pub mod access;
pub mod config;
pub mod hls;
pub mod http;
pub mod hub;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod rtmp;
pub mod server;
pub mod tls;
pub mod transcode;
pub mod webrtc;
