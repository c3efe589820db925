//! What happened, in order: a bounded log of events that the operator's page and API follow. A leaf: whoever makes
//! something happen says so with [`Events::say`], and nobody waits for a reader. Never holds media or secrets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::watch;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Rises by one from event to event, and by more when the server starts anew; never given twice.
    pub id: u64,
    /// When it happened.
    pub at: SystemTime,
    /// The stream it concerns, if it concerns one.
    pub stream: Option<Arc<str>>,
    /// `stream.live`, say: what it happened to, and what happened.
    pub kind: &'static str,
    /// The rest, as an object.
    pub data: Value,
}

/// What a reader is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order of their ids.
    pub events: Vec<Arc<Event>>,
    /// Some that the reader has not seen are no longer kept.
    pub lost: bool,
}

/// The log. Cheap to clone; all clones are the same log.
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    events: VecDeque<Arc<Event>>,
    next: u64,
}

/// Events that are kept: some hours of a busy server, and a few megabytes.
const MOST: usize = 10_000;

/// A run's first id is its start in seconds times this: no run makes a million events a second for all its life.
const IDS_PER_SECOND: u64 = 1 << 20;

impl Events {
    /// An empty log, whose ids are above all that an earlier run gave.
    pub fn new() -> Events {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Events::starting_at(seconds * IDS_PER_SECOND)
    }

    fn starting_at(next: u64) -> Events {
        let kept = Mutex::new(Kept { events: VecDeque::new(), next });
        let newest = watch::Sender::new(next.saturating_sub(1));
        Events { shared: Arc::new(Shared { kept, newest }) }
    }

    /// Appends an event. `data` is an object without secrets, small enough to be read at a glance.
    pub fn say(&self, kind: &'static str, stream: Option<&str>, data: Value) {
        metrics::counter!(crate::metrics::EVENTS, "kind" => kind).increment(1);
        let mut kept = self.kept();
        let id = kept.next;
        kept.next += 1;
        if kept.events.len() == MOST {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::new(Event { id, at: SystemTime::now(), stream: stream.map(Arc::from), kind, data }));
        // Within the lock, so that the newest id never goes back.
        self.shared.newest.send_replace(id);
    }

    /// At most `most` events with ids above `id`.
    pub fn after(&self, id: u64, most: usize) -> Page {
        let kept = self.kept();
        let first = kept.events.front().map_or(kept.next, |event| event.id);
        let wanted = id.saturating_add(1);
        let skipped = wanted.saturating_sub(first).min(kept.events.len() as u64) as usize;
        let events = kept.events.range(skipped..).take(most).cloned().collect();
        Page { events, lost: id != 0 && wanted < first }
    }

    /// The newest events, `most` of them, in the order of their ids; of one stream where one is named.
    pub fn last(&self, stream: Option<&str>, most: usize) -> Vec<Arc<Event>> {
        let kept = self.kept();
        let fits = |event: &&Arc<Event>| stream.is_none() || event.stream.as_deref() == stream;
        let mut events: Vec<Arc<Event>> = kept.events.iter().rev().filter(fits).take(most).cloned().collect();
        events.reverse();
        events
    }

    /// The id of the newest event, or one below the first to come.
    pub fn newest(&self) -> u64 {
        *self.shared.newest.borrow()
    }

    /// Resolves once there is an event with an id above `id`.
    pub async fn beyond(&self, id: u64) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.shared.newest.subscribe().wait_for(|newest| *newest > id).await;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn ids(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let events = Events::starting_at(100);
        for n in 0..5 {
            events.say("stream.live", Some("show"), json!({ "n": n }));
        }
        assert_eq!(ids(&events.after(101, 2)), [102, 103]);
        assert_eq!(ids(&events.after(103, 10)), [104]);
        assert!(ids(&events.after(104, 10)).is_empty());
        assert_eq!(events.newest(), 104);
    }

    #[test]
    fn what_is_no_longer_kept_is_said_to_be_lost() {
        let events = Events::starting_at(1);
        for n in 0..MOST + 10 {
            events.say("stream.live", None, json!({ "n": n }));
        }
        let page = events.after(5, 1);
        assert!(page.lost);
        assert_eq!(ids(&page), [11]);
        assert!(!events.after(10, 1).lost);
        // Who has seen nothing has lost nothing.
        assert!(!events.after(0, 1).lost);
    }

    #[test]
    fn the_last_of_one_stream_are_in_order() {
        let events = Events::starting_at(1);
        for name in ["a", "b", "a", "b", "a"] {
            events.say("stream.live", Some(name), json!({}));
        }
        let last: Vec<u64> = events.last(Some("a"), 2).iter().map(|event| event.id).collect();
        assert_eq!(last, [3, 5]);
        assert_eq!(events.last(None, 100).len(), 5);
    }

    #[test]
    fn a_later_run_gives_higher_ids() {
        let early = Events::starting_at(10 * IDS_PER_SECOND);
        early.say("stream.live", None, json!({}));
        assert!(early.newest() < Events::new().newest());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let events = Events::new();
        let newest = events.newest();
        let said = events.clone();
        let waiting = tokio::spawn(async move { events.beyond(newest).await });
        said.say("stream.over", None, json!({}));
        waiting.await.unwrap();
    }
}
