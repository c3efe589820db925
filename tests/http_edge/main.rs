//! The HTTP edge over real sockets, with a double in the packager's place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod audience;
mod bounds;
mod client;
mod double;
mod gate;
mod held;
mod secure;

use std::net::SocketAddr;
use std::time::Duration;

use double::Double;
use headwater::access::{Access, PlaySecret};
use headwater::events::Events;
use headwater::hls;
use headwater::http::{Edge, Policy, Settings, Viewers};
use headwater::hub::{self, Hub};

/// On a free port of this machine, with two threads.
fn settings() -> Settings {
    Settings { listen: SocketAddr::from(([127, 0, 0, 1], 0)), threads: 2, ..Settings::default() }
}

fn edge(settings: Settings) -> (Edge, Double) {
    let double = Double::new();
    (Edge::start(settings, double.clone(), None, None, watching()).unwrap(), double)
}

/// With no ids: playlists are those of the double.
fn watching() -> (Access, Viewers) {
    let policy = Policy { ids: false, ..Policy::default() };
    (Access::default(), Viewers::new(policy, &PlaySecret::new([0; 32]), None, Events::new()))
}

/// With nothing live.
fn hub() -> Hub {
    Hub::new(hub::Settings {
        takeover: hub::Takeover::Newest,
        reconnect_window: Duration::from_secs(30),
        media_idle: Duration::from_secs(5),
        end_on_unpublish: false,
        max_streams: 10,
        stream_bytes: 1 << 20,
        process_bytes: 1 << 24,
        segment_target: Duration::from_secs(2),
        segment_max: Duration::from_secs(4),
        ladders: false,
    })
}

fn hls() -> hls::Settings {
    hls::Settings {
        part_target: Duration::from_millis(333),
        hold_back_parts: 3,
        window: Duration::from_secs(60),
        linger: Duration::from_secs(60),
        start_timeout: Duration::from_secs(5),
    }
}
