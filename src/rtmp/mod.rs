//! RTMP and RTMPS ingest. Bytes to messages to frames is sans-IO (`handshake`, `chunk`, `amf0`, `protocol`, `tracks`);
//! only `session` and `listener` know sockets and timers. Called by `server` through [`serve`]; publishes into
//! [`crate::hub`]. Never packages or serves media, and never logs a stream key.
//!
//! ```text
//! socket -> session -> protocol { handshake, chunk::Reader, amf0 } -> tracks { media::flv } -> hub::Publisher
//! ```

pub mod amf0;
mod capabilities;
pub mod chunk;
pub mod client;
mod command;
mod door;
mod end;
pub mod handshake;
mod intake;
mod listener;
pub mod message;
mod meters;
pub mod protocol;
mod session;
mod status;
pub mod tracks;

pub use listener::{Settings, Shared, serve};
pub use status::Status;
