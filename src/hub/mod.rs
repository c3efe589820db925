//! The heart: live names, one timeline per stream, and the frame log that joins publishers to readers.
//! Ingests call [`Hub::publish`] and [`Publisher::push`]; packagers follow [`Stream::frames`]. Knows no protocol.

pub mod log;
mod publisher;
mod registry;
mod stream;
pub mod timeline;

pub use log::{Cursor, Lagged, Log};
pub use publisher::{Ended, PublishError, Publisher, Source};
pub use registry::{Event, Hub, Settings, Takeover};
pub use stream::{Stream, StreamState, Tracks};
