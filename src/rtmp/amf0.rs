//! AMF0, the encoding of RTMP commands and metadata. Pure. Used by `protocol`, `client` and `tracks`. What a remote
//! sender can make the decoder build is bounded in depth and in elements; text is bounded by the input itself. AMF3
//! values are told by name and refused.

use bytes::{BufMut, BytesMut};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// Text, short or long; what is not UTF-8 in it is replaced.
    String(String),
    /// Named values in order. A typed object loses its class name.
    Object(Vec<(String, Value)>),
    /// Nothing.
    Null,
    /// Not even nothing.
    Undefined,
    /// Named values, as metadata comes.
    EcmaArray(Vec<(String, Value)>),
    /// Values by index.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970.
    Date(f64),
}

impl Value {
    /// Text as a value.
    pub fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    /// An object of these named values.
    pub fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Object(entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(s) = self { Some(s) } else { None }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Value::Number(n) = self { Some(*n) } else { None }
    }

    /// The value under `key` of an object or an ECMA array.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(entries) | Value::EcmaArray(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Appends the encoding of this value.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Value::Number(n) => {
                out.put_u8(marker::NUMBER);
                out.put_f64(*n);
            }
            Value::Boolean(b) => out.put_slice(&[marker::BOOLEAN, u8::from(*b)]),
            Value::String(s) => encode_text(s, out),
            Value::Object(entries) => {
                out.put_u8(marker::OBJECT);
                encode_entries(entries, out);
            }
            Value::Null => out.put_u8(marker::NULL),
            Value::Undefined => out.put_u8(marker::UNDEFINED),
            Value::EcmaArray(entries) => {
                out.put_u8(marker::ECMA_ARRAY);
                out.put_u32(entries.len() as u32);
                encode_entries(entries, out);
            }
            Value::StrictArray(values) => {
                out.put_u8(marker::STRICT_ARRAY);
                out.put_u32(values.len() as u32);
                values.iter().for_each(|value| value.encode(out));
            }
            Value::Date(ms) => {
                out.put_u8(marker::DATE);
                out.put_f64(*ms);
                out.put_u16(0);
            }
        }
    }
}

/// Why bytes are no AMF0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends within a value.
    #[error("AMF: truncated")]
    Truncated,
    /// Deeper than [`MAX_DEPTH`].
    #[error("AMF: nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More values than [`MAX_VALUES`].
    #[error("AMF: more than {MAX_VALUES} values")]
    TooMany,
    /// A switch to AMF3.
    #[error("AMF3 values are not supported; set the encoder to AMF0")]
    Amf3,
    /// A type that nobody sends over RTMP.
    #[error("AMF: unknown type {0:#04x}")]
    Marker(u8),
}

/// Objects in objects.
pub const MAX_DEPTH: usize = 16;

/// Values in one message, all levels together. A `connect` has about 20, metadata of OBS about 25.
pub const MAX_VALUES: usize = 2048;

/// Decodes all values of a message body.
pub fn decode(input: &[u8]) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder { input, budget: MAX_VALUES };
    let mut values = Vec::new();
    while !decoder.input.is_empty() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

/// The encoding of these values one behind the other.
pub fn encode(values: &[Value]) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    values.iter().for_each(|value| value.encode(&mut out));
    out
}

struct Decoder<'a> {
    input: &'a [u8],
    budget: usize,
}

impl<'a> Decoder<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.budget = self.budget.checked_sub(1).ok_or(Error::TooMany)?;
        Ok(match self.byte()? {
            marker::NUMBER => Value::Number(self.number()?),
            marker::BOOLEAN => Value::Boolean(self.byte()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::LONG_STRING | marker::XML => Value::String(self.long_text()?),
            marker::OBJECT => Value::Object(self.entries(depth)?),
            marker::TYPED_OBJECT => {
                self.short_text()?;
                Value::Object(self.entries(depth)?)
            }
            marker::ECMA_ARRAY => {
                // The count is a hint, says section 2.10, and wrong with some encoders.
                self.take(4)?;
                Value::EcmaArray(self.entries(depth)?)
            }
            marker::STRICT_ARRAY => Value::StrictArray(self.elements(depth)?),
            marker::DATE => {
                let ms = self.number()?;
                self.take(2)?;
                Value::Date(ms)
            }
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::AVM_PLUS => return Err(Error::Amf3),
            other => return Err(Error::Marker(other)),
        })
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Error> {
        let mut entries = Vec::new();
        loop {
            // Metadata of some encoders lacks the end marker at the end of the message.
            if self.input.is_empty() && depth == 0 {
                return Ok(entries);
            }
            let name = self.short_text()?;
            if name.is_empty() && self.input.first() == Some(&marker::OBJECT_END) {
                self.input = &self.input[1..];
                return Ok(entries);
            }
            entries.push((name, self.value(depth + 1)?));
        }
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Error> {
        let count = u32::from_be_bytes(*self.take(4)?.first_chunk().ok_or(Error::Truncated)?);
        // No space is set aside for the count, which is remote input; every element takes from the budget.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn number(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(*self.take(8)?.first_chunk().ok_or(Error::Truncated)?))
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(*self.take(2)?.first_chunk().ok_or(Error::Truncated)?);
        self.text(usize::from(length))
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let length = u32::from_be_bytes(*self.take(4)?.first_chunk().ok_or(Error::Truncated)?);
        self.text(length as usize)
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.input.split_at_checked(length).ok_or(Error::Truncated)?;
        self.input = rest;
        Ok(taken)
    }
}

fn encode_text(text: &str, out: &mut BytesMut) {
    match u16::try_from(text.len()) {
        Ok(length) => {
            out.put_u8(marker::STRING);
            out.put_u16(length);
        }
        Err(_) => {
            out.put_u8(marker::LONG_STRING);
            out.put_u32(text.len() as u32);
        }
    }
    out.put_slice(text.as_bytes());
}

fn encode_entries(entries: &[(String, Value)], out: &mut BytesMut) {
    for (name, value) in entries {
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        out.put_u16(name.len() as u16);
        out.put_slice(name);
        value.encode(out);
    }
    out.put_slice(&[0, 0, marker::OBJECT_END]);
}

/// Type markers, AMF0 section 2.1.
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
    pub(super) const AVM_PLUS: u8 = 0x11;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e15..1e15).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,40}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            (0.0..2e12).prop_map(Value::Date),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let entries = proptest::collection::vec(("[a-zA-Z]{1,12}", inner.clone()), 0..8);
            prop_oneof![
                entries.clone().prop_map(Value::Object),
                entries.prop_map(Value::EcmaArray),
                proptest::collection::vec(inner, 0..8).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(all in proptest::collection::vec(values(), 0..5)) {
            prop_assert_eq!(decode(&encode(&all)).unwrap(), all);
        }

        #[test]
        fn no_input_panics(input in proptest::collection::vec(prop_oneof![0u8..0x12, any::<u8>()], 0..512)) {
            let _ = decode(&input);
        }
    }

    #[test]
    fn long_text_has_its_own_marker() {
        let long = Value::String("x".repeat(70_000));
        let bytes = encode(std::slice::from_ref(&long));
        assert_eq!(bytes[0], marker::LONG_STRING);
        assert_eq!(decode(&bytes).unwrap(), [long]);
    }

    #[test]
    fn nesting_is_bounded() {
        let objects: Vec<u8> = [3, 0, 1, b'a'].repeat(100_000);
        assert_eq!(decode(&objects), Err(Error::TooDeep));
        let arrays: Vec<u8> = [0x0a, 0, 0, 0, 1].repeat(100_000);
        assert_eq!(decode(&arrays), Err(Error::TooDeep));
    }

    #[test]
    fn element_counts_are_not_believed() {
        assert_eq!(decode(&[0x0a, 0xff, 0xff, 0xff, 0xff]), Err(Error::Truncated));
        let mut wide = vec![0x0a, 0xff, 0xff, 0xff, 0xff];
        wide.resize(100_000, marker::NULL);
        assert_eq!(decode(&wide), Err(Error::TooMany));
        assert_eq!(decode(&[0x0c, 0xff, 0xff, 0xff, 0xff, 0]), Err(Error::Truncated));
    }

    #[test]
    fn amf3_is_refused_by_name() {
        assert_eq!(decode(&[0x11, 0x0a, 0x0b]), Err(Error::Amf3));
        assert_eq!(decode(&[0x07, 0, 0]), Err(Error::Marker(7)));
    }

    #[test]
    fn an_array_may_lack_its_end_and_lie_about_its_count() {
        let mut bytes = vec![0x08, 0, 0, 0, 9, 0, 1, b'w', 0];
        bytes.extend_from_slice(&1280f64.to_be_bytes());
        assert_eq!(decode(&bytes).unwrap()[0].get("w").unwrap().as_number(), Some(1280.0));
    }
}
