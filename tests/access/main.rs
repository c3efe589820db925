//! Who gets in and who does not, with real clients: ffmpeg by RTMP, WHIP and WHEP over HTTP and UDP. The server runs within
//! the test, so that the test can be its operator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod keys;
mod rig;
#[path = "../support/mod.rs"]
mod support;
