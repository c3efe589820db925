//! How one session goes, as the operator, the API and the pages are shown it. Written by the session's worker once a second.

use std::time::SystemTime;

use schemars::JsonSchema;
use serde::Serialize;

/// One session at one moment.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Snapshot {
    /// In the session's address.
    pub id: String,
    /// The stream's name.
    pub stream: String,
    /// `whip` or `whep`.
    pub protocol: &'static str,
    /// Who: the address that HTTP came from.
    pub peer: String,
    /// What the client calls itself.
    pub client: String,
    /// `connecting`, `connected`, or why it is over.
    pub state: String,
    /// The address that media goes to or comes from, and the protocol.
    pub path: Option<String>,
    /// When the offer came.
    #[serde(skip)]
    pub since: Option<SystemTime>,
    /// Seconds since the offer came.
    pub seconds: u64,
    /// Codec of the pictures.
    pub video: Option<&'static str>,
    /// Codec of the sound.
    pub audio: Option<&'static str>,
    /// The rendition that a viewer is sent.
    pub rendition: Option<String>,
    /// Bits a second of media.
    pub bitrate: f64,
    /// What the link to a viewer is taken to carry, in bits a second.
    pub estimate: Option<f64>,
    /// Packets that came, or went to a viewer.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came, or went, because they were asked for again.
    pub repaired: u64,
    /// Pictures.
    pub frames: u64,
    /// Pictures left out because a part of them, or of what they refer to, was lost.
    pub damaged: u64,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f64,
    /// Round trip in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Key frames asked for and not come.
    pub key_requests: u32,
    /// What is wrong, in words for the broadcaster.
    pub trouble: Option<String>,
}

impl Snapshot {
    /// Of a session that has just been offered.
    pub(super) fn new(id: &str, stream: &str, protocol: &'static str, peer: String, client: String) -> Snapshot {
        Snapshot {
            id: id.to_owned(),
            stream: stream.to_owned(),
            protocol,
            peer,
            client,
            state: "connecting".to_owned(),
            path: None,
            since: Some(SystemTime::now()),
            seconds: 0,
            video: None,
            audio: None,
            rendition: None,
            bitrate: 0.0,
            estimate: None,
            packets: 0,
            lost: 0,
            repaired: 0,
            frames: 0,
            damaged: 0,
            jitter_ms: 0.0,
            round_trip_ms: None,
            key_requests: 0,
            trouble: None,
        }
    }
}
