//! What the hub tells the event log: publishers that come and go, streams that begin, wait and end. Called by the registry
//! as it happens; decides nothing.

use serde_json::json;

use super::Source;
use crate::events::Events;

/// The hub's hand in the event log.
#[derive(Debug)]
pub(super) struct Diary(pub(super) Events);

impl Diary {
    /// Somebody publishes from now on; `instead`: of somebody who did until now.
    pub(super) fn connected(&self, stream: &str, source: &Source, instead: bool) {
        let data = json!({
            "protocol": source.protocol,
            "peer": source.peer,
            "client": source.client,
            "key": source.key,
            "took_over": instead,
        });
        self.0.say("publisher.connected", Some(stream), data);
    }

    /// The publisher is gone, for this reason.
    pub(super) fn gone(&self, stream: &str, reason: &str) {
        self.0.say("publisher.gone", Some(stream), json!({ "reason": reason }));
    }

    /// Media flows, in a new epoch.
    pub(super) fn live(&self, stream: &str, epoch: u64) {
        self.0.say("stream.live", Some(stream), json!({ "epoch": epoch }));
    }

    /// The stream waits for a publisher.
    pub(super) fn waiting(&self, stream: &str, seconds: u64) {
        self.0.say("stream.waiting", Some(stream), json!({ "seconds": seconds }));
    }

    /// The stream is over.
    pub(super) fn over(&self, stream: &str, epoch: u64) {
        self.0.say("stream.over", Some(stream), json!({ "epoch": epoch }));
    }
}
