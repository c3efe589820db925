//! `[[access.keys]]` tables. No error of these says what stood in `secret`, and writing them out hides it. `sections` uses it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, Serializer};

use crate::access::{Key, KeyGrant, NewKey, Secret, StreamName, StreamPattern};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default, deserialize_with = "stream")]
    stream: Option<StreamPattern>,
    #[serde(deserialize_with = "secret")]
    secret: Secret,
    #[serde(default, deserialize_with = "grant")]
    grant: KeyGrant,
    #[serde(default, deserialize_with = "label")]
    label: String,
}

#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    secret: String,
    #[serde(skip_serializing_if = "is_publish")]
    grant: KeyGrant,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
}

pub(super) fn serialize<S: Serializer>(keys: &[Key], s: S) -> Result<S::Ok, S::Error> {
    let mut seq = s.serialize_seq(Some(keys.len()))?;
    for key in keys {
        let stream = key.stream.as_ref().map(StreamPattern::as_str);
        let secret = format!("{:?}", key.secret);
        seq.serialize_element(&Shown { stream, secret, grant: key.grant, label: &key.label })?;
    }
    seq.end()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Key>, D::Error> {
    d.deserialize_seq(Keys)
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<Key>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tables with stream and secret")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Key>, A::Error> {
        let mut keys = Vec::new();
        while let Some(Table { stream, secret, grant, label }) = seq.next_element()? {
            keys.push(Key { stream, secret, grant, label });
        }
        Ok(keys)
    }
}

fn stream<'de, D: Deserializer<'de>>(d: D) -> Result<Option<StreamPattern>, D::Error> {
    let text = String::deserialize(d)?;
    if text.contains('*') {
        return text.parse().map(Some).map_err(D::Error::custom);
    }
    StreamName::new(&text).map(|name| Some(name.into())).map_err(D::Error::custom)
}

fn grant<'de, D: Deserializer<'de>>(d: D) -> Result<KeyGrant, D::Error> {
    match String::deserialize(d)?.as_str() {
        "publish" => Ok(KeyGrant::Publish),
        "play" => Ok(KeyGrant::Play),
        _ => Err(D::Error::custom("the grant is none; write \"publish\" or \"play\"")),
    }
}

fn label<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    if text.chars().count() > NewKey::LONGEST_LABEL || text.contains(char::is_control) {
        return Err(D::Error::custom("the label is too long or has line breaks; write at most 100 characters"));
    }
    Ok(text)
}

fn is_publish(grant: &KeyGrant) -> bool {
    *grant == KeyGrant::Publish
}

fn secret<'de, D: Deserializer<'de>>(d: D) -> Result<Secret, D::Error> {
    // Whatever serde would say about a number or a list in this place would show it.
    let text = String::deserialize(d).map_err(|_| D::Error::custom("the secret is no text; put it in quotes"))?;
    if text.is_empty() {
        return Err(D::Error::custom("the secret is empty; write a long random text"));
    }
    // A stream key is written NAME?key=SECRET: these would end the secret early.
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '&')) {
        return Err(D::Error::custom("the secret has a space, '?' or '&'; write letters and digits"));
    }
    Ok(Secret::new(&text))
}
