//! The HTTP edge: listeners, TLS, routes, pages, and the one error-to-response mapping. `server` starts an [`Edge`] for
//! viewers and an [`Admin`] for the operator. Nothing here muxes, renders or compresses per viewer: every answer is bytes
//! that existed before the request came, or a wait for them.
//!
//! One current-thread runtime per core, each with its own listening sockets on the same port, so that a connection
//! lives and dies on one core and no task is ever handed to another:
//!
//! ```text
//! edge -> worker (accept, sweep) -> connection (TLS, HTTP version) -> viewer (route, answer) -> Source (hls)
//! ```

mod admin;
mod asked;
mod batch;
mod body;
mod conditional;
mod connection;
mod cors;
mod counters;
mod directives;
mod edge;
mod error;
mod forwarded;
mod gate;
mod media;
mod pages;
mod playlist;
mod problem;
mod pulse;
mod range;
mod referrers;
mod route;
mod settings;
mod signalling;
mod socket;
mod source;
mod still;
mod taken;
mod viewer;
mod viewers;
mod watched;
mod worker;

pub use admin::{Admin, Parts, Reach};
pub use edge::{Edge, Readiness, StartError, Tuning};
pub use settings::Settings;
pub use signalling::{IceServer, Offers, Signalling};
pub use source::Source;
pub use viewers::{Counts, Policy, ViewerInfo, Viewers};
