//! The question and the answer: who asks for what, and what is granted or why not. Texts of refusals are shown to whoever asked.

use std::net::IpAddr;
use std::time::SystemTime;

use super::{BadName, KeyId, Seat, StreamName};

/// What is known of who asks.
#[derive(Clone, Debug)]
pub struct From {
    /// The far end of the connection.
    pub address: IpAddr,
    /// `rtmp`, `rtmps`, `whip`, `whep`, `hls`, `admin`.
    pub protocol: &'static str,
    /// The page that a browser came from.
    pub referrer: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
}

impl From {
    /// Nothing but an address is known.
    pub fn new(address: IpAddr, protocol: &'static str) -> From {
        From { address: address.to_canonical(), protocol, referrer: None, user_agent: None }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To publish a stream.
    Publish,
    /// To watch one.
    Play,
    /// To change the server.
    Administer,
}

impl Action {
    /// As it is written in claims, questions and counters.
    pub fn name(self) -> &'static str {
        match self {
            Action::Publish => "publish",
            Action::Play => "play",
            Action::Administer => "admin",
        }
    }
}

/// Permission for one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The name it is for.
    pub stream: StreamName,
    /// The key that opened it. Where it is revoked, what was granted ends.
    pub key: Option<KeyId>,
    /// Until when nobody need ask again; a session that began before goes on.
    pub expires: Option<SystemTime>,
    /// Its place among the sessions of its address, where they are counted. A session keeps it until it ends.
    pub seat: Option<Seat>,
}

impl Grant {
    /// For a stream, without a key and without an end.
    pub fn open(stream: StreamName) -> Grant {
        Grant { stream, key: None, expires: None, seat: None }
    }
}

/// Permission to change the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who, for the audit log: what the token says of itself, or that it is the admin token.
    pub who: String,
}

/// Why something is refused. The texts are safe to show to whoever asked: no secret is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name cannot be a stream name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// No key opens this name.
    #[error("wrong stream key; write it as NAME?key=SECRET")]
    Key,
    /// The stream is not for everybody, and what was shown does not open it.
    #[error("this stream is private: ask whoever runs it for a link")]
    Private,
    /// No keys are configured and the publisher is not on this machine.
    #[error(
        "publishing from other machines needs a key: make one on the server's admin page, or add one under \
         [[access.keys]] in its configuration"
    )]
    NotLocal,
    /// Not the admin token.
    #[error("wrong admin token")]
    Admin,
    /// The address is on a list.
    #[error("this is not allowed from your address")]
    Address,
    /// Too many wrong keys came from there.
    #[error("too many wrong keys from this address; try again in {0} s")]
    TooMany(u64),
    /// As many sessions as may be.
    #[error("there are {0} sessions from this address already, and no more are allowed")]
    Sessions(usize),
}

impl Refused {
    /// In counters and events: one of a few words.
    pub fn reason(&self) -> &'static str {
        match self {
            Refused::Name(_) => "name",
            Refused::Key | Refused::Admin => "key",
            Refused::Private => "private",
            Refused::NotLocal => "not_local",
            Refused::Address => "address",
            Refused::TooMany(_) => "too_many",
            Refused::Sessions(_) => "sessions",
        }
    }

    /// Seconds after which it makes sense to ask again, where it is known to.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Refused::TooMany(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// Whether somebody may be guessing.
    pub(super) fn is_guess(&self) -> bool {
        matches!(self, Refused::Key | Refused::Private | Refused::Admin)
    }
}
