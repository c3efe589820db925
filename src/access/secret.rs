//! Secrets: how they are made, kept and compared. They print as dots; of those that Headwater makes only a digest is kept.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// A text that never shows itself in logs.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// A new one of 160 random bits, in 32 letters and digits that nobody takes for each other.
    pub fn random() -> Result<Secret, NoRandom> {
        Ok(Secret::new(&letters::<32>()?))
    }

    /// Compares in time that says nothing of the secret.
    pub fn matches(&self, other: &str) -> bool {
        self.digest().is(&Digest::of(other))
    }

    /// The text itself, for the one who may see it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What may be kept of it.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// The system's random generator failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandom;

/// SHA-256 of a secret. A fast hash suffices for what is kept on disk: those secrets have 160 random bits, so there is
/// nothing to guess from a dictionary, and a slow hash would only make each wrong key cost the server more.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Of a text.
    pub(super) fn of(text: &str) -> Digest {
        Digest(Sha256::digest(text.as_bytes()).into())
    }

    /// Compares in constant time.
    pub(super) fn is(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// In hexadecimal digits.
    pub(super) fn hex(&self) -> String {
        hex(&self.0)
    }

    /// From 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Digest> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// So many random letters and digits, five bits each.
pub(super) fn letters<const COUNT: usize>() -> Result<String, NoRandom> {
    let bytes: [u8; COUNT] = random()?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect())
}

/// So many random bytes.
pub(super) fn random<const COUNT: usize>() -> Result<[u8; COUNT], NoRandom> {
    let mut bytes = [0; COUNT];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Crockford's 32: no i, l or o beside 1 and 0, and no u.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_compare_and_never_print() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        assert!(!secret.matches("s3cre") && !secret.matches("s3cret ") && !secret.matches(""));
        assert_eq!(format!("{secret:?} {:?}", secret.digest()), "••• •••");
    }

    #[test]
    fn made_secrets_are_long_and_differ() {
        let secrets: Vec<Secret> = (0..100).map(|_| Secret::random().unwrap()).collect();
        assert!(secrets.iter().all(|secret| secret.reveal().len() == 32));
        assert!(secrets.iter().all(|secret| secret.reveal().bytes().all(|letter| LETTERS.contains(&letter))));
        assert!((1..100).all(|i| !secrets[i..].iter().any(|secret| secret.matches(secrets[i - 1].reveal()))));
    }

    #[test]
    fn digests_are_written_and_read() {
        // FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of("abc").hex(), known);
        assert!(Digest::from_hex(known).unwrap().is(&Digest::of("abc")));
        for wrong in ["", "ba78", &known[1..], &known.replace('b', "g"), &format!("{}é", &known[2..])] {
            assert!(Digest::from_hex(wrong).is_none(), "{wrong}");
        }
    }
}
