//! What differs between two configurations: each option with both values, secrets as dots, and from when the new one holds.
//! Whoever reloads, and the API, show it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use toml::{Table, Value};

use super::live::When;
use super::load::Effective;
use super::options::{self, Spec};

/// One option that differs.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Change {
    /// Its name (`hls.window`).
    pub option: &'static str,
    /// The value before, as a person types it; secrets are dots.
    pub from: String,
    /// The value after.
    pub to: String,
    /// A running server takes it on.
    pub live: bool,
    /// From when the value after holds.
    pub when: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { option, from, to, when, .. } = self;
        if from == to {
            write!(f, "{option}: another {to} ({when})")
        } else {
            write!(f, "{option}: {from} -> {to} ({when})")
        }
    }
}

/// What another configuration changes, in the order of the file.
pub fn diff(from: &Effective, to: &Effective) -> Vec<Change> {
    let (before, after) = (Values::of(from), Values::of(to));
    let differs = |spec: &&Spec| {
        let (before, after) = (before.get(spec), after.get(spec));
        // Secrets are dots in both, so there the texts they were read from are compared, without being kept.
        before != after || (has_secret(after) && from.print(&spec.name) != to.print(&spec.name))
    };
    let change = |spec: &'static Spec| Change {
        option: &spec.name,
        from: shown(spec, before.get(spec)),
        to: shown(spec, after.get(spec)),
        live: When::of(&spec.name).is_live(),
        when: When::of(&spec.name).to_string(),
    };
    options::all().iter().filter(differs).map(change).collect()
}

/// The values of a configuration by option.
pub(super) struct Values(Table);

impl Values {
    pub(super) fn of(effective: &Effective) -> Values {
        // Serializing plain structs cannot fail; a test reads the table.
        Values(Table::try_from(&effective.config).unwrap_or_default())
    }

    pub(super) fn get<'a>(&'a self, spec: &'a Spec) -> &'a Value {
        self.0.get(&spec.section).and_then(|table| table.get(&spec.key)).unwrap_or(&spec.default)
    }
}

/// A value as a person types it, its secrets as dots.
pub(super) fn shown(spec: &Spec, value: &Value) -> String {
    let value = masked(spec, value);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Dots in the place of the passwords that stand within longer texts; other secrets are dots already.
pub(super) fn masked(spec: &Spec, value: &Value) -> Value {
    let (true, Value::Array(servers)) = (spec.name == ICE_SERVERS, value) else { return value.clone() };
    let hide = |server: &Value| match server.as_str().map(|text| (text, super::ice::server(text))) {
        Some((text, Ok(server))) if !server.credential.is_empty() => {
            Value::String(text.replacen(&format!(":{}@", server.credential), &format!(":{DOTS}@"), 1))
        }
        _ => server.clone(),
    };
    Value::Array(servers.iter().map(hide).collect())
}

/// Whether a value shows dots for something else.
pub(super) fn has_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(DOTS),
        Value::Array(list) => list.iter().any(has_secret),
        Value::Table(table) => table.values().any(has_secret),
        _ => false,
    }
}

/// What secrets print as.
pub(super) const DOTS: &str = "•••";
const ICE_SERVERS: &str = "webrtc.ice_servers";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{File, Input, load};

    fn effective(text: &str) -> Effective {
        load(&Input { file: Some(File::new("h.toml", text)), ..Input::default() }).unwrap()
    }

    fn lines(from: &str, to: &str) -> Vec<String> {
        diff(&effective(from), &effective(to)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_compared_and_not_how_they_are_written() {
        assert_eq!(lines("[hls]\nwindow = \"60s\"", "# moved\n\n[hls]\nwindow = \"60000ms\""), Vec::<String>::new());
        assert_eq!(
            lines("", "[log]\nlevel = \"debug\"\n[hls]\nwindow = \"60s\"\n[rtmp]\nlisten = \"127.0.0.1:0\""),
            [
                "rtmp.listen: 0.0.0.0:1935 -> 127.0.0.1:0 (after a restart: addresses are taken when the server starts)",
                "hls.window: 30s -> 60s (for streams that start from now on)",
                "log.level: info -> debug (at once)",
            ]
        );
    }

    #[test]
    fn another_secret_is_seen_and_not_shown() {
        let keys = |secret| format!("[[access.keys]]\nstream = \"show\"\nsecret = \"{secret}\"\n");
        let text = lines(&keys("first"), &keys("second")).join("\n");
        assert!(text.starts_with("access.keys: another [") && text.contains(DOTS), "{text}");
        assert!(!text.contains("first") && !text.contains("second"), "{text}");
        assert!(lines(&keys("first"), &format!("\n\n{}", keys("first"))).is_empty());
        let turn = |password| format!("[webrtc]\nice_servers = [\"turn:ann:{password}@turn.example.org:3478\"]");
        let text = lines(&turn("first"), &turn("second")).join("\n");
        assert!(text.contains("turn:ann:•••@turn.example.org:3478"), "{text}");
        assert!(!text.contains("first") && !text.contains("second"), "{text}");
    }
}
