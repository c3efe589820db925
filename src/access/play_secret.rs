//! The secret that play URLs and viewers' ids are signed with: made at the first start, kept in the data directory, so that
//! a link holds across restarts. Whoever signs takes a key of its own from it; the secret itself goes nowhere.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::secret::{NoRandom, random};
use crate::files;

/// Signs with one key.
pub type Signer = Hmac<Sha256>;

/// The secret.
#[derive(Clone)]
pub struct PlaySecret([u8; LENGTH]);

/// Bytes of the secret.
const LENGTH: usize = 32;
/// Its file in the data directory.
pub(super) const FILE: &str = "play-secret";

impl PlaySecret {
    /// Of these bytes.
    pub fn new(bytes: [u8; LENGTH]) -> PlaySecret {
        PlaySecret(bytes)
    }

    /// A random one.
    pub fn random() -> Result<PlaySecret, NoRandom> {
        random().map(PlaySecret)
    }

    /// The one that is kept in `folder`, made there if there is none. Only the owner can read its file.
    pub fn open(folder: &Path) -> io::Result<PlaySecret> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map(PlaySecret).map_err(|_| {
                let problem = format!(
                    "it must have {LENGTH} bytes; remove it to have a new one made, which ends all signed links"
                );
                io::Error::new(io::ErrorKind::InvalidData, problem)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = PlaySecret::random().map_err(io::Error::other)?;
                // Whole or not at all: a secret that was cut off would be an error at the next start.
                files::replace(&path, &secret.0)?;
                Ok(secret)
            }
            Err(error) => Err(error),
        }
    }

    /// The key for one purpose; keys of two purposes say nothing of each other.
    pub fn signer(&self, purpose: &str) -> Signer {
        let key = keyed(&self.0).chain_update(purpose.as_bytes()).finalize().into_bytes();
        keyed(&key)
    }
}

impl fmt::Debug for PlaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// A key of 32 bytes is one of the lengths that HMAC takes as it is: it takes all.
fn keyed(key: &[u8]) -> Signer {
    Signer::new_from_slice(key).unwrap_or_else(|_| Signer::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn signed(secret: &PlaySecret, purpose: &str) -> Vec<u8> {
        secret.signer(purpose).chain_update(b"text").finalize().into_bytes().to_vec()
    }

    #[test]
    fn it_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = PlaySecret::open(folder.path()).unwrap();
        let again = PlaySecret::open(folder.path()).unwrap();
        assert_eq!(signed(&made, "a"), signed(&again, "a"));
        assert_ne!(signed(&made, "a"), signed(&made, "b"));
        assert_ne!(signed(&made, "a"), signed(&PlaySecret::random().unwrap(), "a"));
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(format!("{made:?}"), "•••");
    }

    #[test]
    fn a_file_that_is_no_secret_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "short").unwrap();
        let error = PlaySecret::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
}
