//! What end-to-end tests share: the real binary under test, ffmpeg as a publisher, and a small HTTP client. Every wait
//! is for an event and has a bound.

// Each test binary uses a part of it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod http;
pub mod process;
pub mod publish;
pub mod rtmp;
pub mod server;
pub mod webrtc;

pub use http::{Answer, Client};
pub use publish::{Ffmpeg, Show};
pub use server::Headwater;
