//! Who may publish under which name: stream names, secrets, and the answer to a stream key. A leaf that every ingest
//! asks. Secrets compare in constant time and print as dots; nothing here reads a file or a socket.

pub mod base64url;
mod network;
mod play_secret;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

pub use network::network;
pub use play_secret::{PlaySecret, Signer};

/// The name of a stream, as it stands in URLs: 1 to 64 of `A-Z a-z 0-9 - _ .`, not starting with a dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The longest name in bytes.
    pub const MAX: usize = 64;

    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<StreamName, BadName> {
        Self::check(name)?;
        Ok(StreamName(name.into()))
    }

    /// Checks a name without taking it.
    pub fn check(name: &str) -> Result<(), BadName> {
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if name.len() > Self::MAX {
            return Err(BadName::TooLong(name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(c) = name.chars().find(|c| !allowed(*c)) {
            return Err(BadName::Character(c));
        }
        if name.starts_with('.') {
            return Err(BadName::LeadingDot);
        }
        Ok(())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no stream name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No text at all.
    #[error("the stream name is empty; put a name into the stream key field")]
    Empty,
    /// Longer than [`StreamName::MAX`].
    #[error("the stream name has {0} bytes; 64 are allowed")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("the stream name has {0:?}; letters, digits, '-', '_' and '.' are allowed")]
    Character(char),
    /// Starts with a dot.
    #[error("the stream name starts with a dot")]
    LeadingDot,
}

/// A text that never shows itself in logs and compares in constant time.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// Compares in time that depends on the lengths alone.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// One configured right to publish.
#[derive(Clone, Debug)]
pub struct Key {
    /// The name it opens; None opens every name.
    pub stream: Option<StreamName>,
    /// What the publisher must show.
    pub secret: Secret,
}

/// Permission to publish one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The name to publish under.
    pub stream: StreamName,
}

/// Why a stream key was refused. The texts are safe to show to the broadcaster: no secret is in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name cannot be a stream name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// No key opens this name.
    #[error("wrong stream key; write it as NAME?key=SECRET")]
    Key,
    /// No keys are configured and the publisher is not on this machine.
    #[error("publishing from other machines needs a key: add one under [[access.keys]] in the server's configuration")]
    NotLocal,
}

/// The table of keys. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access {
    keys: Arc<[Key]>,
}

impl Access {
    /// With these keys; none means that only loopback may publish, under any name.
    pub fn new(keys: Vec<Key>) -> Access {
        Access { keys: keys.into() }
    }

    /// Judges a stream key as broadcasters write it: `NAME`, `NAME?key=SECRET`, or a bare secret that belongs to a name.
    pub fn publish(&self, stream_key: &str, peer: IpAddr) -> Result<Grant, Refused> {
        let (name, query) = stream_key.split_once('?').unwrap_or((stream_key, ""));
        if self.keys.is_empty() {
            let stream = StreamName::new(name)?;
            return if peer.to_canonical().is_loopback() { Ok(Grant { stream }) } else { Err(Refused::NotLocal) };
        }
        if let Some(shown) = query.split('&').find_map(|pair| pair.strip_prefix("key=")) {
            return self.with_secret(StreamName::new(name)?, shown);
        }
        self.keys
            .iter()
            .filter(|key| key.secret.matches(name))
            .find_map(|key| key.stream.clone())
            .map(|stream| Grant { stream })
            .ok_or(Refused::Key)
    }

    /// Judges a secret that is shown beside the name, as WHIP does.
    pub fn publish_with(&self, name: &StreamName, shown: Option<&str>, peer: IpAddr) -> Result<Grant, Refused> {
        if self.keys.is_empty() {
            let local = peer.to_canonical().is_loopback();
            return if local { Ok(Grant { stream: name.clone() }) } else { Err(Refused::NotLocal) };
        }
        self.with_secret(name.clone(), shown.unwrap_or_default())
    }

    /// No keys: whoever is on this machine may publish.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    fn with_secret(&self, stream: StreamName, shown: &str) -> Result<Grant, Refused> {
        // Every key is compared, so that the time does not tell which one came close.
        let opened = self.keys.iter().fold(false, |opened, key| {
            let fits = key.stream.as_ref().is_none_or(|s| *s == stream);
            opened | (key.secret.matches(shown) & fits)
        });
        if opened { Ok(Grant { stream }) } else { Err(Refused::Key) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    fn keyed() -> Access {
        Access::new(vec![
            Key { stream: Some(name("show")), secret: Secret::new("s3cret") },
            Key { stream: None, secret: Secret::new("master") },
        ])
    }

    #[test]
    fn names_are_checked_with_a_reason() {
        assert!(StreamName::new("My-show_2.0").is_ok());
        assert_eq!(StreamName::new(""), Err(BadName::Empty));
        assert_eq!(StreamName::new("a/b"), Err(BadName::Character('/')));
        assert_eq!(StreamName::new("…"), Err(BadName::Character('…')));
        assert_eq!(StreamName::new(".."), Err(BadName::LeadingDot));
        assert_eq!(StreamName::new(&"x".repeat(300)), Err(BadName::TooLong(300)));
    }

    #[test]
    fn without_keys_only_this_machine_publishes() {
        let open = Access::default();
        assert_eq!(open.publish("show", HOME).unwrap().stream, name("show"));
        assert!(open.publish("show", "::ffff:127.0.0.1".parse().unwrap()).is_ok());
        assert_eq!(open.publish("show", AWAY), Err(Refused::NotLocal));
    }

    #[test]
    fn a_key_opens_its_name_and_no_other() {
        let access = keyed();
        assert_eq!(access.publish("show?key=s3cret", AWAY).unwrap().stream, name("show"));
        assert_eq!(access.publish("s3cret", AWAY).unwrap().stream, name("show"));
        assert_eq!(access.publish("other?key=master", AWAY).unwrap().stream, name("other"));
        for wrong in ["show", "other?key=s3cret", "show?key=", "show?key=s3cre", "show?x=1", "master"] {
            assert_eq!(access.publish(wrong, HOME), Err(Refused::Key), "{wrong}");
        }
    }

    #[test]
    fn a_secret_never_prints() {
        assert!(!format!("{:?}", keyed()).contains("s3cret"));
    }
}
