//! Signed links: a right to watch that stands in an address, `/s/TOKEN/...`, and is inherited by every relative address below
//! it. The token is its own proof, so nothing is kept of it: base64url of the claims, a dot, base64url of their
//! HMAC-SHA256. Pure: takes the time as a value.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::Mac;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{KeyId, PlaySecret, Signer, StreamPattern, base64url};

/// What a link allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayClaims {
    /// The streams it opens.
    pub streams: StreamPattern,
    /// What it opened ends then; whole seconds.
    pub expires: SystemTime,
    /// The one address that may use it.
    pub address: Option<IpAddr>,
    /// Viewers at a time; 0 sets no limit.
    pub sessions: u32,
    /// The key in whose name it was made: the link ends with it.
    pub key: Option<KeyId>,
}

impl PlayClaims {
    /// For some streams until then, and for everybody who has it.
    pub fn new(streams: StreamPattern, expires: SystemTime) -> PlayClaims {
        PlayClaims { streams, expires, address: None, sessions: 0, key: None }
    }
}

/// A link that was made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayLink {
    /// What it allows.
    pub claims: PlayClaims,
    /// Tells it from every other link.
    pub tag: [u8; PlayLink::TAG],
}

/// Why a link that was made here does not open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// Its time is over.
    #[error("this link has expired: ask whoever gave it to you for a new one")]
    Expired,
    /// It opens others.
    #[error("this link is for another stream")]
    OtherStream,
    /// It is for somebody else.
    #[error("this link is for another address than yours")]
    OtherAddress,
    /// Its key is none any more.
    #[error("this link was withdrawn: ask whoever gave it to you for a new one")]
    Withdrawn,
}

impl PlayLink {
    /// Bytes of the tag.
    pub const TAG: usize = 16;

    /// Whether it opens a stream to an address now.
    pub fn opens(&self, stream: &str, address: IpAddr, now: SystemTime) -> Result<(), BadLink> {
        let PlayClaims { streams, expires, address: only, .. } = &self.claims;
        if now >= *expires {
            Err(BadLink::Expired)
        } else if !streams.matches(stream) {
            Err(BadLink::OtherStream)
        } else if only.is_some_and(|only| only.to_canonical() != address.to_canonical()) {
            Err(BadLink::OtherAddress)
        } else {
            Ok(())
        }
    }
}

/// Makes links and knows them.
#[derive(Clone)]
pub struct PlayLinks {
    signer: Signer,
}

impl PlayLinks {
    /// With a key of the secret.
    pub fn new(secret: &PlaySecret) -> PlayLinks {
        PlayLinks { signer: secret.signer("play links") }
    }

    /// The token of a link.
    pub fn sign(&self, claims: &PlayClaims) -> String {
        let written = Written {
            s: claims.streams.clone(),
            e: claims.expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            a: claims.address,
            n: claims.sessions,
            k: claims.key.as_ref().map(|key| key.as_str().to_owned()),
        };
        // Values of these types can be written.
        let text = base64url::encode(&serde_json::to_vec(&written).unwrap_or_default());
        let proof = base64url::encode(&self.proof(&text));
        format!("{text}.{proof}")
    }

    /// The link that a token is; None where it is none that was made here.
    pub fn read(&self, token: &str) -> Option<PlayLink> {
        let (text, proof) = token.split_once('.').filter(|_| token.len() <= LONGEST)?;
        let proof = base64url::decode(proof)?;
        let wanted = self.proof(text);
        if !bool::from(wanted.as_slice().ct_eq(&proof)) {
            return None;
        }
        // A claim that is not known might forbid something: such a link opens nothing.
        let Written { s, e, a, n, k } = serde_json::from_slice(&base64url::decode(text)?).ok()?;
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(e))?;
        let claims = PlayClaims { streams: s, expires, address: a, sessions: n, key: k.map(|key| KeyId::new(&key)) };
        let mut tag = [0; PlayLink::TAG];
        tag.copy_from_slice(&wanted[..PlayLink::TAG]);
        Some(PlayLink { claims, tag })
    }

    fn proof(&self, text: &str) -> [u8; 32] {
        self.signer.clone().chain_update(text.as_bytes()).finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for PlayLinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlayLinks")
    }
}

/// The claims as they are written: short, since they stand in every address.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    s: StreamPattern,
    e: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "none")]
    n: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
}

fn none(count: &u32) -> bool {
    *count == 0
}

/// Bytes of a token: the longest pattern, address and key id, and some more.
const LONGEST: usize = 1024;

#[cfg(test)]
#[path = "play_tests.rs"]
mod tests;
