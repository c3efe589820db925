//! The admin token: configured, or made at the first start and kept in a file of the data directory that its user alone may
//! read, so that it can be looked up again. Compared in constant time.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Error, Secret};

/// The token.
#[derive(Debug)]
pub(super) struct AdminToken {
    /// None is shown by nobody.
    secret: Option<Secret>,
    /// It was made by this start.
    is_new: bool,
}

impl AdminToken {
    /// The configured one, else the one of earlier runs, else a new one. Without a folder it lives as long as the process.
    pub(super) fn open(configured: Option<Secret>, folder: Option<&Path>) -> Result<AdminToken, Error> {
        if let Some(secret) = configured {
            return Ok(AdminToken { secret: Some(secret), is_new: false });
        }
        let Some(path) = folder.map(|folder| folder.join(FILE)) else {
            return Ok(AdminToken { secret: Some(Secret::random()?), is_new: true });
        };
        let failed = |source| Error::File { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() >= SHORTEST => {
                Ok(AdminToken { secret: Some(Secret::new(text.trim())), is_new: false })
            }
            Ok(_) => Err(Error::Damaged {
                path: path.clone(),
                problem: format!("a token has {SHORTEST} characters or more; without the file another one is made"),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret = Secret::random()?;
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
                file.write_all(format!("{}\n", secret.reveal()).as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                Ok(AdminToken { secret: Some(secret), is_new: true })
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// None at all: nobody administers.
    pub(super) fn nobody() -> AdminToken {
        AdminToken { secret: None, is_new: false }
    }

    pub(super) fn matches(&self, shown: &str) -> bool {
        self.secret.as_ref().is_some_and(|secret| secret.matches(shown))
    }

    /// The token, if it was made by this start and nobody has seen it yet.
    pub(super) fn made(&self) -> Option<&Secret> {
        self.secret.as_ref().filter(|_| self.is_new)
    }
}

/// In the data directory.
pub(super) const FILE: &str = "admin-token";
/// Characters of a token, or it could be guessed.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = AdminToken::open(None, Some(folder.path())).unwrap();
        let made = first.made().unwrap().clone();
        let second = AdminToken::open(None, Some(folder.path())).unwrap();
        assert!(second.made().is_none() && second.matches(made.reveal()) && !second.matches(""));
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let configured = AdminToken::open(Some(Secret::new("configured-token-x")), Some(folder.path())).unwrap();
        assert!(configured.matches("configured-token-x") && !configured.matches(made.reveal()));
    }

    #[test]
    fn an_emptied_file_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "\n").unwrap();
        assert!(AdminToken::open(None, Some(folder.path())).unwrap_err().to_string().contains("admin-token"));
    }
}
