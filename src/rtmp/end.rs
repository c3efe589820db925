//! Why a session ended: what the peer is told, what is counted, and what the log says. One place for all of it.

use std::io;

use super::protocol;
use super::status::Status;
use super::tracks;
use crate::access::Refused;
use crate::hub::{Ended, PublishError};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the publisher stopped")]
    Goodbye,
    #[error("the connection was closed by the other end")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("not publishing after {0} seconds")]
    Late(u64),
    #[error("the peer does not read what it is told")]
    Deaf,
    #[error("too many connections from this address wait to publish")]
    Evicted,
    #[error("{}", .0.description)]
    Told(Status),
    #[error(transparent)]
    Protocol(#[from] protocol::Error),
    #[error(transparent)]
    Access(#[from] Refused),
    #[error(transparent)]
    Hub(#[from] PublishError),
    #[error(transparent)]
    Media(#[from] tracks::Error),
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("the server is shutting down; connect again in a moment")]
    Stopped,
}

impl End {
    /// What the peer is told, if anything still has to be said and can be.
    pub(super) fn status(&self) -> Option<Status> {
        let text = self.to_string();
        Some(match self {
            End::Goodbye | End::Closed | End::Broken(_) | End::Tls(_) | End::Deaf | End::Told(_) => return None,
            End::Access(Refused::Name(_)) | End::Hub(PublishError::Busy { .. }) => Status::bad_name(text),
            End::Access(_) | End::Ended(Ended::Revoked) => Status::denied(text),
            End::Ended(Ended::TakenOver(_)) => Status::bad_name(text),
            End::Media(_) => Status::rejected(text),
            End::Hub(_) | End::Ended(_) | End::Stopped => Status::failed(text),
            End::Protocol(_) | End::Late(_) | End::Evicted => Status::failed(text),
        })
    }

    /// The label under which a refusal is counted. None: nobody was refused.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        Some(match self {
            End::Goodbye | End::Closed | End::Broken(_) | End::Ended(_) | End::Stopped => return None,
            End::Tls(_) => "tls",
            End::Late(_) => "late",
            End::Deaf => "deaf",
            End::Evicted => "half_open",
            End::Told(status) if status.code == "NetStream.Play.Failed" => "play",
            End::Told(_) => "application",
            End::Protocol(protocol::Error::Handshake(_)) => "handshake",
            End::Protocol(_) => "protocol",
            End::Access(refused) => refused.reason(),
            End::Hub(PublishError::Busy { .. }) => "busy",
            End::Hub(PublishError::Full(_)) => "streams_full",
            End::Hub(PublishError::Draining) => "draining",
            End::Media(_) => "media",
        })
    }
}
