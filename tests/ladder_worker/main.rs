//! The ladder's worker, spoken to over a socket as the server speaks to it, with sources as they come from real encoders
//! and with such as nobody should send.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hearing;
mod pictures;
mod rig;
mod sounds;
#[path = "../support/mod.rs"]
mod support;
