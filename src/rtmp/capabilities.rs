//! What Enhanced RTMP v2 adds to `connect`: the codecs and extensions this server takes, in the words the client used
//! ("Enhancing NetConnection connect Command"). A client that says nothing of it gets nothing of it.

use super::amf0::Value;

/// Adds the answers to what `offer`, the client's command object, asks.
pub(super) fn answer(offer: &Value, properties: &mut Vec<(String, Value)>) {
    let mut add = |name: &str, value: Value| properties.push((name.to_owned(), value));
    if offer.get("fourCcList").is_some() {
        add("fourCcList", Value::StrictArray(VIDEO.iter().chain(&AUDIO).map(|c| Value::text(c)).collect()));
    }
    for (name, codecs) in [("videoFourCcInfoMap", &VIDEO[..]), ("audioFourCcInfoMap", &AUDIO[..])] {
        if offer.get(name).is_some() {
            let entries = codecs.iter().map(|c| ((*c).to_owned(), Value::Number(CAN_FORWARD)));
            add(name, Value::Object(entries.collect()));
        }
    }
    if offer.get("capsEx").is_some() {
        add("capsEx", Value::Number(f64::from(MULTITRACK | MOD_EX | TIMESTAMP_NANO_OFFSET)));
    }
}

const VIDEO: [&str; 3] = ["avc1", "hvc1", "av01"];
const AUDIO: [&str; 2] = ["mp4a", "Opus"];
const CAN_FORWARD: f64 = 4.0;
/// Of a message with several tracks, track 0 is taken.
const MULTITRACK: u8 = 0x02;
const MOD_EX: u8 = 0x04;
const TIMESTAMP_NANO_OFFSET: u8 = 0x08;
