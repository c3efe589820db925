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
//! | [`doctor`] | what is wrong with a stream, and the setting that mends it | changes a stream |
//! | [`http`] | listeners, TLS, routes, pages, the one error-to-response mapping | muxes or renders per viewer |
//! | [`acme`] | certificates that are got and renewed by themselves | listens |
//! | [`tls`] | certificates, and their reloading | listens |
//! | [`config`] | file, environment and arguments, and nothing else reads those | acts on them |
//! | [`access`] | who may publish, watch and administer: names, keys, grants | logs a secret |
//! | [`events`] | what happened, in order, for whoever follows | waits for a reader |
//! | [`fetch`] | requests to others, bounded | follows a redirect |
//! | [`files`] | files that are whole or not there, for their owner alone | knows what is in them |
//! | [`current`] | values that are replaced while they are in use | knows what they mean |
//! | [`logging`] | log lines: filter, format, standard error | knows what is logged |
//! | [`metrics`] | the names of all counters, and their rendering | counts |
//! | [`traces`] | single parts' way through the server, for OpenTelemetry | is waited for |
//! | [`server`] | builds and wires everything in order; drains on shutdown | decides about media |
//!
//! Who may import whom (kept by `tests/architecture.rs`):
//!
//! ```text
//! media <- hub <- { rtmp  hls  transcode  webrtc  doctor } <- http <- server <- main        access, acme, config, current, events, fetch, files, logging, metrics, tls, traces: leaves
//! ```
//!
//! A frame's journey: `rtmp::chunk` (bytes to message) -> `media::flv` (message to [`media::Frame`]) ->
//! `hub::Publisher::push` (timeline, cut, append) -> `hls::Segmenter::push` (parts) -> `hls::Rendition::append`
//! (playlist, once) -> `http` (the same bytes to every viewer).

pub mod access;
pub mod acme;
pub mod config;
pub mod current;
pub mod doctor;
pub mod events;
pub mod fetch;
pub mod files;
pub mod hls;
pub mod http;
pub mod hub;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod rtmp;
pub mod server;
pub mod tls;
pub mod traces;
pub mod transcode;
pub mod webrtc;
