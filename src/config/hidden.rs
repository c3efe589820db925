//! A secret in the configuration: read as text, written as dots. Empty is none.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::access::Secret;

/// A secret, or none.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Option<Secret>);

impl Hidden {
    /// The secret, unless none is configured.
    pub fn secret(&self) -> Option<&Secret> {
        self.0.as_ref()
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(if self.0.is_some() { "•••" } else { "" })
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Hidden, D::Error> {
        // Whatever serde would say of a number or a list in this place would show it.
        let text = String::deserialize(d).map_err(|_| de::Error::custom("this is no text; put it in quotes"))?;
        match text.len() {
            0 => Ok(Hidden(None)),
            1..SHORTEST => {
                Err(de::Error::custom(format!("a token has {SHORTEST} characters or more; write a long random text")))
            }
            _ => Ok(Hidden(Some(Secret::new(&text)))),
        }
    }
}

/// Characters of a token, or it could be guessed.
const SHORTEST: usize = 16;
