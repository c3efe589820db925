//! Says who comes and goes, one event each, as long as they are few; beyond that, one event a second and stream with their
//! number. So the log keeps its past when ten thousand viewers come at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::events::Events;

/// Came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Joined,
    Left,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Joined => "viewer.joined",
            Kind::Left => "viewer.left",
        }
    }
}

#[derive(Debug)]
pub(super) struct News {
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Events that may still be said one by one.
    left: u32,
    unsaid: HashMap<(Kind, &'static str, Box<str>), u64>,
}

impl News {
    pub(super) fn new(events: Events) -> News {
        News { events, state: Mutex::new(State { left: BURST, unsaid: HashMap::new() }) }
    }

    /// Somebody came or went.
    pub(super) fn say(&self, kind: Kind, protocol: &'static str, stream: &str, data: impl FnOnce() -> Value) {
        let mut state = self.state();
        if state.left == 0 {
            *state.unsaid.entry((kind, protocol, stream.into())).or_default() += 1;
            return;
        }
        state.left -= 1;
        drop(state);
        self.events.say(kind.name(), Some(stream), data());
    }

    /// A second has passed: says what was not said.
    pub(super) fn flush(&self) {
        let unsaid = {
            let mut state = self.state();
            state.left = (state.left + PER_SECOND).min(BURST);
            std::mem::take(&mut state.unsaid)
        };
        for ((kind, protocol, stream), count) in unsaid {
            self.events.say(kind.name(), Some(&stream), json!({ "protocol": protocol, "count": count }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events at once.
const BURST: u32 = 50;
/// Events a second in the long run.
const PER_SECOND: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_by_its_number() {
        let events = Events::new();
        let news = News::new(events.clone());
        for n in 0..BURST + 1_000 {
            news.say(Kind::Joined, "hls", "show", || json!({ "n": n }));
        }
        news.say(Kind::Left, "hls", "other", || json!({}));
        assert_eq!(events.last(None, 5_000).len(), BURST as usize);
        news.flush();
        let last = events.last(Some("show"), 1);
        assert!(last.iter().all(|event| event.kind == "viewer.joined" && event.data["count"] == 1_000), "{last:?}");
        assert_eq!(events.last(Some("other"), 5).len(), 1);
        news.say(Kind::Left, "hls", "other", || json!({ "id": "x" }));
        assert_eq!(events.last(Some("other"), 5).len(), 2);
    }
}
