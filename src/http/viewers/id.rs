//! Viewers' ids: nine random bytes, and six that only this server can add to them for one stream. So an id says that a
//! multivariant playlist of that stream was fetched here, and nothing has to be remembered until it is used. Pure.

use std::fmt;

use hmac::Mac;
use rustls::crypto::SecureRandom;
use subtle::ConstantTimeEq;

use crate::access::{PlaySecret, Signer, base64url};

/// An id, as it stands in `?viewer=`: 20 letters, digits, `-` and `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ViewerId([u8; LENGTH]);

const RANDOM: usize = 9;
/// Whoever guesses makes one request each: 48 bits are beyond that.
const SIGNED: usize = 6;
const LENGTH: usize = RANDOM + SIGNED;

impl ViewerId {
    /// Reads an id, whoever made it.
    pub(super) fn read(text: &str) -> Option<ViewerId> {
        if text.len() != LENGTH / 3 * 4 {
            return None;
        }
        base64url::decode(text)?.try_into().ok().map(ViewerId)
    }

    /// A number below `most`, the same for the same id.
    pub(super) fn slot(&self, most: usize) -> usize {
        usize::from(self.0[0]) % most
    }
}

impl fmt::Display for ViewerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

/// Makes and knows them.
pub(super) struct Ids {
    signer: Signer,
    random: &'static dyn SecureRandom,
}

impl Ids {
    /// With a key of the secret.
    pub(super) fn new(secret: &PlaySecret) -> Ids {
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        Ids { signer: secret.signer("viewer ids"), random }
    }

    /// A new one for a stream; None where the system has no random numbers.
    pub(super) fn make(&self, stream: &str) -> Option<ViewerId> {
        let mut id = [0; LENGTH];
        self.random.fill(&mut id[..RANDOM]).ok()?;
        let signed = self.sign(stream, &id[..RANDOM]);
        id[RANDOM..].copy_from_slice(&signed);
        Some(ViewerId(id))
    }

    /// Whether it was made here for this stream.
    pub(super) fn made(&self, id: &ViewerId, stream: &str) -> bool {
        let (random, signed) = id.0.split_at(RANDOM);
        self.sign(stream, random).ct_eq(signed).into()
    }

    fn sign(&self, stream: &str, random: &[u8]) -> [u8; SIGNED] {
        // The random part has one length, so the two cannot be taken apart in another place.
        let whole = self.signer.clone().chain_update(random).chain_update(stream.as_bytes()).finalize().into_bytes();
        let mut signed = [0; SIGNED];
        signed.copy_from_slice(&whole[..SIGNED]);
        signed
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_of_one_stream_and_one_server() {
        let ids = Ids::new(&PlaySecret::new([1; 32]));
        let id = ids.make("show").unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), 20);
        assert_eq!(ViewerId::read(&text), Some(id));
        assert!(ids.made(&id, "show") && !ids.made(&id, "other"));
        assert!(!Ids::new(&PlaySecret::new([2; 32])).made(&id, "show"));
        assert_ne!(ids.make("show"), Some(id));
        for at in 0..LENGTH {
            let mut other = id;
            other.0[at] ^= 1;
            assert!(!ids.made(&other, "show"), "byte {at}");
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in ["", "short", "AAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAA\u{e9}"] {
            assert_eq!(ViewerId::read(text), None, "{text}");
        }
    }
}
