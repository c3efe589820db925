//! What is wrong with a configuration, and where it was written. `load` collects all of it before anything is reported.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the built-in default.
    Default,
    /// In the configuration file, at a line and a column, both from 1; the column counts characters.
    File(Arc<PathBuf>, Option<(usize, usize)>),
    /// Through the API, which wrote it to the data directory.
    Api,
    /// In this environment variable.
    Environment(String),
    /// By this flag, written without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("built-in default"),
            Origin::File(path, Some((line, column))) => write!(f, "{}:{line}:{column}", path.display()),
            Origin::File(path, None) => write!(f, "{}", path.display()),
            Origin::Api => f.write_str("set by the API"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// One thing that is wrong. It prints as `PLACE: OPTION: PROBLEM; REMEDY`; after a flag or a variable, which name the
/// option themselves, OPTION is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where it stands.
    pub origin: Origin,
    /// The option (`rtmp.listen`), where one is known.
    pub option: Option<String>,
    /// What is wrong and what to write instead. Never a secret.
    pub problem: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&self.origin, &self.option) {
            (Origin::File(..) | Origin::Default | Origin::Api, Some(option)) => write!(f, "{option}: {}", self.problem),
            _ => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong, one line each: the file from top to bottom, the environment, the flags. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Error>);

impl Errors {
    pub(super) fn new(mut errors: Vec<Error>) -> Errors {
        errors.sort_by_key(|error| match &error.origin {
            Origin::Default => (0, None),
            Origin::File(_, place) => (1, *place),
            Origin::Api => (2, None),
            Origin::Environment(_) => (3, None),
            Origin::Flag(_) => (4, None),
        });
        Errors(errors)
    }

    /// The single errors.
    pub fn iter(&self) -> impl Iterator<Item = &Error> {
        self.0.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
