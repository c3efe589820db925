//! Hands another configuration to all that runs: what each part can take on, it does. The parts decide from when.

use std::sync::Arc;
use std::time::Duration;

use super::settings;
use crate::access::Access;
use crate::config::{Apply, Config};
use crate::current::Current;
use crate::hls::Hls;
use crate::hub::Hub;
use crate::logging;
use crate::transcode::{Program, Transcoder};
use crate::webrtc::WebRtc;
use crate::{http, rtmp};

/// All that takes on settings.
pub(super) struct Parts {
    pub(super) access: Access,
    pub(super) hub: Hub,
    pub(super) hls: Hls,
    pub(super) transcoder: Transcoder,
    pub(super) program: Program,
    pub(super) webrtc: Option<WebRtc>,
    pub(super) edge: http::Tuning,
    pub(super) rtmp: Arc<rtmp::Shared>,
    pub(super) reload_interval: Current<Duration>,
    pub(super) logging: Option<logging::Tuning>,
}

/// What applies a configuration to them.
pub(super) fn to(parts: Parts) -> Apply {
    Box::new(move |config| parts.apply(config))
}

impl Parts {
    fn apply(&self, config: &Config) {
        if let Some(logging) = &self.logging {
            logging.apply(&config.log.level, config.log.format);
        }
        self.access.configure(&config.access.keys, settings::access_policy(config));
        // The transcoder first: it is asked about every stream that the hub lets start with a ladder.
        self.transcoder.apply(settings::transcode(config, &self.program));
        self.hub.apply(settings::hub(config));
        self.hls.apply(settings::hls(&config.hls));
        if let Some(webrtc) = &self.webrtc {
            webrtc.apply(settings::webrtc(config));
        }
        self.edge.apply(settings::http(config), settings::offers(config));
        self.rtmp.apply(settings::rtmp(&config.rtmp));
        self.reload_interval.set(config.tls.reload_interval.get());
    }
}
