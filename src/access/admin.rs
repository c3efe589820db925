//! The admin token that is made at the first start and kept in the data directory, where none is configured.

use std::fs;
use std::io;
use std::path::Path;

use super::secret::Digest;
use super::{Error, Secret};
use crate::files;

/// Name of the file.
pub(super) const FILE: &str = "admin-token";

/// The token.
#[derive(Debug)]
pub(super) struct AdminToken {
    digest: Digest,
    /// It was made just now, and nobody has seen it.
    pub(super) made: Option<Secret>,
}

impl AdminToken {
    /// The one in the file, which is made where there is none.
    pub(super) fn in_file(path: &Path) -> Result<AdminToken, Error> {
        let unusable = |source| Error::File { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) if (SHORTEST..=LONGEST).contains(&text.trim().len()) => {
                Ok(AdminToken { digest: Digest::of(text.trim()), made: None })
            }
            Ok(_) => Err(Error::AdminToken(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Error::AdminToken(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Secret::random()?;
                files::replace(path, format!("{}\n", made.reveal()).as_bytes()).map_err(unusable)?;
                Ok(AdminToken { digest: made.digest(), made: Some(made) })
            }
            Err(error) => Err(unusable(error)),
        }
    }

    /// Whether this is it.
    pub(super) fn is(&self, shown: &str) -> bool {
        shown.len() <= LONGEST && self.digest.is(&Digest::of(shown))
    }
}

/// Bytes of a token in the file. Fewer can be guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = AdminToken::in_file(&path).unwrap();
        let secret = first.made.clone().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = AdminToken::in_file(&path).unwrap();
        assert!(second.made.is_none() && second.is(secret.reveal()) && !second.is("") && !second.is("guess"));
        assert!(!format!("{first:?}").contains(secret.reveal()));
    }

    #[test]
    fn a_file_without_a_token_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for text in ["", "short\n", &"x".repeat(2_000)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(AdminToken::in_file(&path), Err(Error::AdminToken(_))), "{text}");
        }
    }
}
