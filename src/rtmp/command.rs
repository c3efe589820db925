//! Remote calls: the shape `name, transaction, object, arguments...` in AMF0, RTMP 1.0 section 7.2. Read and made here
//! for `protocol` and `client`.

use bytes::Bytes;

use super::amf0::{self, Value};
use super::message::{Message, MessageType};
use super::status::Status;

/// A call, an answer or an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) name: String,
    pub(super) transaction: f64,
    /// Everything behind: the command object first.
    pub(super) arguments: Vec<Value>,
}

impl Command {
    /// From the body of a command or data message; None where it does not start with a name.
    pub(super) fn parse(kind: MessageType, payload: &[u8]) -> Result<Option<Command>, amf0::Error> {
        // Types 15 and 17 have one byte in front: 0 for "what follows is AMF0, with marked AMF3 values in it".
        let amf3 = matches!(kind, MessageType::CommandAmf3 | MessageType::DataAmf3);
        let body = if amf3 { payload.split_first().map_or(payload, |(_, rest)| rest) } else { payload };
        let mut values = amf0::decode(body)?.into_iter();
        let Some(Value::String(name)) = values.next() else { return Ok(None) };
        let mut rest = values.as_slice();
        let mut transaction = 0.0;
        if let (Some(Value::Number(n)), MessageType::Command | MessageType::CommandAmf3) = (rest.first(), kind) {
            transaction = *n;
            rest = &rest[1..];
        }
        Ok(Some(Command { name, transaction, arguments: rest.to_vec() }))
    }

    /// The argument behind the command object at `index`, if it is text.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index + 1).and_then(Value::as_str)
    }

    /// The argument behind the command object at `index`, if it is a number.
    pub(super) fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index + 1).and_then(Value::as_number)
    }
}

/// A command message.
pub(super) fn call(stream: u32, name: &str, transaction: f64, arguments: &[Value]) -> Message {
    let mut body = amf0::encode(&[Value::text(name), Value::Number(transaction)]);
    arguments.iter().for_each(|value| value.encode(&mut body));
    Message { timestamp: 0, kind: MessageType::Command, stream, payload: body.freeze() }
}

/// `_result` of a call.
pub(super) fn result(transaction: f64, object: Value, value: Value) -> Message {
    call(0, "_result", transaction, &[object, value])
}

/// `_error` of a call.
pub(super) fn error(transaction: f64, status: &Status) -> Message {
    call(0, "_error", transaction, &[Value::Null, status.info("error")])
}

/// `onStatus`, on the stream it concerns.
pub(super) fn on_status(stream: u32, level: &str, status: &Status) -> Message {
    call(stream, "onStatus", 0.0, &[Value::Null, status.info(level)])
}

/// A data message: `@setDataFrame` and the like.
pub(super) fn data(stream: u32, values: &[Value]) -> Message {
    let payload: Bytes = amf0::encode(values).freeze();
    Message { timestamp: 0, kind: MessageType::Data, stream, payload }
}
