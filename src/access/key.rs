//! Keys as others see them: those of the configuration, those that are made, and what may be told of both.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};

use super::{Secret, StreamName, StreamPattern};

/// Names a key in lists, logs and addresses. Says nothing of its secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Takes whatever came; no key has it unless it was given to one.
    pub fn new(text: &str) -> KeyId {
        KeyId(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// What a key allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyGrant {
    /// To publish.
    #[default]
    Publish,
    /// To watch what not everybody may.
    Play,
}

/// One configured key.
#[derive(Clone, Debug)]
pub struct Key {
    /// The names it opens; None opens every name.
    pub stream: Option<StreamPattern>,
    /// What must be shown.
    pub secret: Secret,
    /// What it allows.
    pub grant: KeyGrant,
    /// What the operator calls it; may be empty.
    pub label: String,
}

impl Key {
    /// A key to publish under one name, or with None under any.
    pub fn publish(stream: Option<StreamName>, secret: &str) -> Key {
        Key {
            stream: stream.map(StreamPattern::from),
            secret: Secret::new(secret),
            grant: KeyGrant::Publish,
            label: String::new(),
        }
    }
}

/// A key to be made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// The names it opens; None opens every name.
    #[serde(default)]
    pub stream: Option<StreamPattern>,
    /// What it allows.
    #[serde(default)]
    pub grant: KeyGrant,
    /// What the operator calls it: at most [`NewKey::LONGEST_LABEL`] characters on one line.
    #[serde(default)]
    pub label: String,
}

impl NewKey {
    /// Characters of a label.
    pub const LONGEST_LABEL: usize = 100;
}

/// A key that was made. Its secret can be had here and never again.
#[derive(Clone, Debug)]
pub struct Made {
    /// The key.
    pub key: KeyInfo,
    /// What must be shown.
    pub secret: Secret,
}

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What the operator calls it.
    pub label: String,
    /// The names it opens; None opens every name.
    pub stream: Option<StreamPattern>,
    /// What it allows.
    pub grant: KeyGrant,
    /// When it was made, if that is known.
    #[serde(rename = "made_ms", serialize_with = "millis")]
    pub made: Option<SystemTime>,
    /// When it last opened something.
    #[serde(rename = "used_ms", serialize_with = "millis")]
    pub used: Option<SystemTime>,
    /// Where it comes from.
    pub origin: KeyOrigin,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// From the configuration, where alone it can be changed.
    Config,
    /// It was made here.
    Stored,
}

/// Why a key is not made, rotated or revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// As many as may be.
    #[error("there are {0} keys, and no more can be made; revoke those that nobody uses")]
    TooMany(usize),
    /// A label that is too long or has line breaks.
    #[error("the label has more than {} characters, or line breaks; write a shorter one", NewKey::LONGEST_LABEL)]
    Label,
    /// No key has this id.
    #[error("there is no key {0}; it may have been revoked or rotated already")]
    Unknown(KeyId),
    /// A key of the configuration.
    #[error("key {0} comes from the configuration; change it there, under [[access.keys]]")]
    Configured(KeyId),
    /// The file cannot be written: nothing was changed.
    #[error("cannot write the keys, so nothing was changed: {0}")]
    Write(String),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] super::NoRandom),
}

fn millis<S: Serializer>(time: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).serialize(s)
}
