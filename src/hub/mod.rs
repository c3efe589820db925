//! The heart: live names, one timeline per stream, and the frame log that joins publishers to readers.
//! Ingests call [`Hub::publish`] and [`Publisher::push`]; packagers follow [`Hub::events`] and [`Stream::frames`].
//! Knows no protocol.

mod budget;
mod cutter;
mod diary;
mod ladder;
mod layers;
pub mod log;
mod publisher;
mod registry;
mod stream;
pub mod timeline;

pub use budget::{Budget, Share};
pub use cutter::Limits;
pub use ladder::{Ladder, Order, Pictures, Rung, RungSpec, RungState, Sound};
pub use layers::Layer;
pub use log::{Cursor, Entry, From, Lagged, Log, Reader};
pub use publisher::{Declared, Ended, PublishError, Publisher, Source};
pub use registry::{Event, Hub, Settings, Takeover};
pub use stream::{Heard, Status, Stream, StreamState, Tracks};
