//! Which options a running server takes on, and from when; for the others, why they need a restart. Beside the table of
//! `options`: a test sees to it that every option stands in exactly one of the two lists here.

use std::fmt;

/// When another value of an option comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// For what begins from now on.
    Next(&'static str),
    /// When the server starts anew, and why not sooner.
    Restart(&'static str),
}

impl When {
    /// Of an option (`rtmp.listen`).
    pub fn of(option: &str) -> When {
        let live = LIVE.iter().find(|(name, _)| *name == option).map(|(_, when)| *when);
        let restart = || RESTART.iter().find(|(name, _)| *name == option).map(|(_, why)| When::Restart(why));
        live.or_else(restart).unwrap_or(When::Restart("it is read when the server starts"))
    }

    /// Whether a running server takes it on.
    pub fn is_live(self) -> bool {
        !matches!(self, When::Restart(_))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Now => f.write_str("at once"),
            When::Next(what) => write!(f, "for {what} from now on"),
            When::Restart(why) => write!(f, "after a restart: {why}"),
        }
    }
}

const CONNECTIONS: When = When::Next("connections");
const STREAMS: When = When::Next("streams that start");
const SESSIONS: When = When::Next("sessions");

const OPERATOR: &str = "the operator's listener is made when the server starts";
const VIEWERS: &str = "who watches is judged by what held when the server started";
const ACME: &str = "certificates are asked for by what held when the server started";
const DOCTOR: &str = "the doctor is called when the server starts";
const JUDGES: &str = "keys and connections of those who are asked are made when the server starts";

/// Options that a running server takes on.
const LIVE: &[(&str, When)] = &[
    ("http.max_connections", When::Now),
    ("http.header_timeout", When::Now),
    ("http.write_timeout", When::Now),
    ("http.idle_timeout", When::Now),
    ("http.allow_origins", When::Now),
    ("http.trusted_proxies", When::Now),
    ("rtmp.max_connections", When::Now),
    ("rtmp.handshake_timeout", CONNECTIONS),
    ("rtmp.max_message", CONNECTIONS),
    ("webrtc.public_addresses", SESSIONS),
    ("webrtc.discover", SESSIONS),
    ("webrtc.advertise_local", SESSIONS),
    ("webrtc.ice_servers", SESSIONS),
    ("webrtc.max_sessions", When::Now),
    ("webrtc.key_interval", SESSIONS),
    ("webrtc.wait", SESSIONS),
    ("tls.reload_interval", When::Now),
    ("admin.token", When::Now),
    ("admin.allow", When::Now),
    ("admin.deny", When::Now),
    ("access.keys", When::Now),
    ("access.private", When::Now),
    ("access.publish_allow", SESSIONS),
    ("access.publish_deny", SESSIONS),
    ("access.play_allow", SESSIONS),
    ("access.play_deny", SESSIONS),
    ("access.failed_keys", When::Now),
    ("access.failed_wait", When::Now),
    ("access.sessions_per_address", SESSIONS),
    ("hub.takeover", When::Now),
    ("hub.reconnect_window", When::Now),
    ("hub.media_idle", When::Now),
    ("hub.on_unpublish", When::Now),
    ("hub.max_streams", When::Now),
    ("hub.stream_memory", STREAMS),
    ("hub.memory", When::Now),
    ("hls.part_target", STREAMS),
    ("hls.hold_back_parts", STREAMS),
    ("hls.segment_target", STREAMS),
    ("hls.segment_max", STREAMS),
    ("hls.window", STREAMS),
    ("hls.linger", When::Now),
    ("hls.start_timeout", STREAMS),
    ("transcode.mode", STREAMS),
    ("transcode.rungs", STREAMS),
    ("transcode.idle", When::Now),
    ("transcode.encoder", STREAMS),
    ("transcode.preset", STREAMS),
    ("transcode.audio_bitrate", STREAMS),
    ("transcode.worker_memory", STREAMS),
    ("transcode.nice", STREAMS),
    ("transcode.max_ladders", When::Now),
    ("transcode.thumbnails", When::Now),
    ("transcode.thumbnail_width", When::Now),
    ("transcode.ladders", STREAMS),
    ("doctor.listen_interval", When::Now),
    ("log.level", When::Now),
    ("log.format", When::Now),
    ("server.drain", When::Now),
];

const LISTENER: &str = "addresses are taken when the server starts";

const TRACES: &str = "streams look at the start whether they are traced";

/// Options that need a restart, and why.
const RESTART: &[(&str, &str)] = &[
    ("http.listen", LISTENER),
    ("http.tls_listen", LISTENER),
    ("http.public_url", "it is printed and handed on when the server starts"),
    ("admin.listen", LISTENER),
    ("rtmp.listen", LISTENER),
    ("rtmp.tls_listen", LISTENER),
    ("webrtc.enabled", LISTENER),
    ("webrtc.listen", LISTENER),
    ("acme.domains", ACME),
    ("acme.accept_terms", ACME),
    ("acme.contact", ACME),
    ("acme.directory", ACME),
    ("acme.ca_file", ACME),
    ("tls.cert", "the paths are read when the server starts; another certificate at the same path is taken without"),
    ("tls.key", "the paths are read when the server starts; another key at the same path is taken without"),
    ("data.dir", "files in the directory are in use"),
    ("admin.metrics_token", OPERATOR),
    ("hls.viewer_ids", VIEWERS),
    ("access.referrers", VIEWERS),
    ("access.empty_referrer", VIEWERS),
    ("access.viewers_per_stream", VIEWERS),
    ("access.viewers_per_address", VIEWERS),
    ("access.jwt_secret", JUDGES),
    ("access.jwt_keys", JUDGES),
    ("access.jwks_url", JUDGES),
    ("access.jwt_issuer", JUDGES),
    ("access.jwt_audience", JUDGES),
    ("access.webhook_url", JUDGES),
    ("access.webhook_secret", JUDGES),
    ("access.webhook_actions", JUDGES),
    ("access.webhook_timeout", JUDGES),
    ("access.webhook_cache", JUDGES),
    ("doctor.enabled", DOCTOR),
    ("doctor.max_gop", DOCTOR),
    ("telemetry.endpoint", TRACES),
    ("telemetry.sample", TRACES),
    ("telemetry.per_stream", OPERATOR),
    ("server.threads", "threads are made when the server starts"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options;

    #[test]
    fn every_option_is_in_exactly_one_list() {
        let mut listed: Vec<&str> =
            LIVE.iter().map(|(name, _)| *name).chain(RESTART.iter().map(|(name, _)| *name)).collect();
        let mut all: Vec<&str> = options::all().iter().map(|spec| spec.name.as_str()).collect();
        listed.sort_unstable();
        all.sort_unstable();
        assert_eq!(listed, all, "each option stands once in src/config/live.rs");
        assert!(LIVE.iter().all(|(_, when)| when.is_live()));
    }

    #[test]
    fn it_is_said_from_when_a_value_holds() {
        assert_eq!(When::of("log.level").to_string(), "at once");
        assert_eq!(When::of("hls.window").to_string(), "for streams that start from now on");
        assert_eq!(When::of("http.listen").to_string(), "after a restart: addresses are taken when the server starts");
    }
}
