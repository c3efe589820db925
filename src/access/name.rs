//! Names of streams, and patterns over them. Whoever takes a name from outside makes one of these of it first.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

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

/// A stream name in which each `*` stands for any run of characters, none included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPattern(Arc<str>);

impl StreamPattern {
    /// The longest pattern in bytes: the longest stream name, with a star in every gap of it.
    pub const MAX: usize = 2 * StreamName::MAX + 1;

    /// Whether a stream name fits.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut name) = name.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The earliest place of each piece leaves the most to those behind it.
        for piece in middle.split('*') {
            let Some(at) = name.find(piece) else { return false };
            name = &name[at + piece.len()..];
        }
        name.ends_with(tail)
    }

    /// The one name that fits, where there is one.
    pub fn name(&self) -> Option<StreamName> {
        StreamName::new(&self.0).ok()
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<StreamName> for StreamPattern {
    fn from(name: StreamName) -> StreamPattern {
        StreamPattern(name.0)
    }
}

impl FromStr for StreamPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<StreamPattern, BadPattern> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
        let fits = (1..=Self::MAX).contains(&text.len()) && text.chars().all(allowed);
        if fits { Ok(StreamPattern(text.into())) } else { Err(BadPattern(text.to_owned())) }
    }
}

impl fmt::Display for StreamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no pattern, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no pattern of stream names; write letters, digits, '-', '_' and '.', and * for any of them: \"show-*\""
)]
pub struct BadPattern(String);

impl Serialize for StreamPattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamPattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<StreamPattern, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

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
    fn patterns_match_names() {
        for (pattern, fits, fails) in [
            ("show", &["show"][..], &["show1", "sho", "ashow", ""][..]),
            ("show-*", &["show-", "show-1", "show-a-b"], &["show", "a-show-1"]),
            ("*", &["", "a", "show-1"], &[]),
            ("*-hd", &["-hd", "a-hd", "a-hd-hd"], &["hd", "a-hd1"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", "ba"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["acb", "ac", "abcd"]),
            ("*ab*ab*", &["abab", "xabxabx"], &["aba", "ab", "xab"]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
        ] {
            let pattern: StreamPattern = pattern.parse().unwrap();
            for name in fits {
                assert!(pattern.matches(name), "{pattern} {name}");
            }
            for name in fails {
                assert!(!pattern.matches(name), "{pattern} {name}");
            }
        }
    }

    /// The definition, in exponential time.
    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|at| fits(rest, &name[at..])),
            [first, rest @ ..] => name.first() == Some(first) && fits(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_defined(pattern in "[ab*]{1,7}", name in "[ab]{0,9}") {
            let expected = fits(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(pattern.parse::<StreamPattern>().unwrap().matches(&name), expected);
        }
    }
}
