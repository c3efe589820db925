//! A secret as the value of an option: read from a text, written out as dots, and none where the text is empty. `sections` uses it.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

use crate::access::Secret;

pub(super) fn serialize<S: Serializer>(secret: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&secret.as_ref().map(|secret| format!("{secret:?}")).unwrap_or_default())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Secret>, D::Error> {
    // Whatever serde would say about a number or a list in this place would show it.
    let text = String::deserialize(d).map_err(|_| D::Error::custom("the secret is no text; put it in quotes"))?;
    match text.len() {
        0 => Ok(None),
        SHORTEST.. => Ok(Some(Secret::new(&text))),
        // Fewer are guessed before long.
        _ => Err(D::Error::custom("the secret is short; write at least 16 random letters and digits")),
    }
}

/// Bytes of a secret.
const SHORTEST: usize = 16;
