//! What broken and hostile WebRTC peers send, over real sockets: each costs itself its session, with a reason where one can
//! be heard, and a publisher and a viewer beside it never notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod beside;
mod dtls;
mod feedback;
mod media;
mod off_air;
mod offers;
mod paths;
#[path = "../support/mod.rs"]
mod support;
mod tcp;

use std::time::{Duration, Instant};

use support::Headwater;

/// A server without a ladder: synthetic pictures need no decoder.
async fn server(flags: &[&str]) -> Headwater {
    let wait: &[&str] = if flags.contains(&"--webrtc-wait") { &[] } else { &["--webrtc-wait", "10s"] };
    Headwater::start(&[&["--transcode-mode", "off"], wait, flags].concat()).await
}

/// The sessions that the operator is shown.
async fn sessions(server: &Headwater) -> Vec<serde_json::Value> {
    let answer = server.admin("/api/v1/sessions").await;
    let mut all: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_value(all["sessions"].take()).unwrap();
    all.into_iter().map(|mut session| session["webrtc"].take()).filter(|shown| !shown.is_null()).collect()
}

/// Waits until the sessions are as wanted.
async fn until(server: &Headwater, bound: Duration, what: &str, wanted: impl Fn(&[serde_json::Value]) -> bool) {
    let start = Instant::now();
    loop {
        let all = sessions(server).await;
        if wanted(&all) {
            return;
        }
        assert!(start.elapsed() < bound, "not {what} within {bound:?}: {all:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Numbers that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
