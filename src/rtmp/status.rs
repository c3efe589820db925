//! The texts an encoder shows: `onStatus` codes and what stands behind them. OBS writes "code (description)" to its log
//! and stops for the error codes used here; ffmpeg prints the description of anything at level "error".

use super::amf0::Value;

/// What is said to the client by `onStatus` or `_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `NetStream.Publish.Start` and the like.
    pub code: &'static str,
    /// What happened and what to do about it. Never holds a secret.
    pub description: String,
}

impl Status {
    /// A status of `code`.
    pub fn new(code: &'static str, description: impl Into<String>) -> Status {
        Status { code, description: description.into() }
    }

    /// The name cannot be had: it is none, or somebody else has it.
    pub fn bad_name(description: impl Into<String>) -> Status {
        Status::new("NetStream.Publish.BadName", description)
    }

    /// The publisher may not publish.
    pub fn denied(description: impl Into<String>) -> Status {
        Status::new("NetStream.Publish.Denied", description)
    }

    /// What is published cannot be used.
    pub fn rejected(description: impl Into<String>) -> Status {
        Status::new("NetStream.Publish.Rejected", description)
    }

    /// Something about the stream that the broadcaster can mend; the session goes on.
    pub fn advice(description: impl Into<String>) -> Status {
        Status::new("NetStream.Publish.Advice", description)
    }

    /// The session ends for a reason that is not the publisher's request.
    pub fn failed(description: impl Into<String>) -> Status {
        Status::new("NetStream.Failed", description)
    }

    pub(super) fn info(&self, level: &str) -> Value {
        Value::object([
            ("level", Value::text(level)),
            ("code", Value::text(self.code)),
            ("description", Value::text(&self.description)),
        ])
    }
}
