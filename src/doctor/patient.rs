//! One stream that the doctor looks at: its cursor, its examination, and who is told when something turns.

use std::sync::{Arc, Weak};

use serde_json::json;

use super::Contact;
use super::examination::{Around, Change, Examination, Limits};
use super::finding::{Finding, Severity};
use crate::events::Events;
use crate::hub::{Cursor, From, Stream, StreamState};
use crate::media::{Frame, Time};

/// A stream under examination. It does not keep the stream.
#[derive(Debug)]
pub(super) struct Patient {
    name: String,
    stream: Weak<Stream>,
    cursor: Cursor<Frame>,
    examination: Examination,
    /// Frames have been looked at before: the first look has what came before it.
    known: bool,
}

impl Patient {
    pub(super) fn new(stream: &Arc<Stream>, limits: Limits) -> Patient {
        Patient {
            name: stream.name().to_string(),
            stream: Arc::downgrade(stream),
            cursor: stream.frames().cursor(From::Oldest),
            examination: Examination::new(limits),
            known: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn findings(&self) -> &[Finding] {
        self.examination.findings()
    }

    /// Looks at the frames that came since the last time; false once the stream is over.
    pub(super) fn look(&mut self, now: Time, late: bool) -> bool {
        if late || !std::mem::replace(&mut self.known, true) {
            self.examination.overslept();
        }
        let examination = &mut self.examination;
        match self.cursor.look(|frame| examination.frame(frame, now)) {
            Ok(there) => there.is_some(),
            Err(_) => {
                metrics::counter!(crate::metrics::HUB_READERS_LAGGED).increment(1);
                self.cursor.skip_to_newest_start();
                // What was skipped is not what the publisher left out.
                self.examination.lagged();
                true
            }
        }
    }

    /// Judges what was seen, and tells; true if anything turned.
    pub(super) fn judge(&mut self, now: Time, contact: Contact, events: &Events) -> bool {
        let Some(stream) = self.stream.upgrade() else { return false };
        let status = stream.status();
        // While nobody publishes there is nothing to be found, and nothing to be taken back.
        if status.state != StreamState::Live {
            return false;
        }
        let around = Around {
            webrtc: status.source.protocol == "whip",
            counts: status.counts,
            declared: status.declared,
            whep: contact.viewers,
            packets: contact.packets,
            heard: stream.heard(),
            sessions: status.sessions,
        };
        let changes = self.examination.tick(now, &around);
        changes.iter().for_each(|change| self.tell(change, events));
        // One word for all of it: a newer one would take the place of one that was not told yet.
        let advice: Vec<String> = changes.iter().filter_map(advice).collect();
        if !advice.is_empty() {
            stream.advise(&advice.join(". "));
        }
        !changes.is_empty()
    }

    /// The stream is over, and with it all that was wrong.
    pub(super) fn discharge(&self, events: &Events) {
        self.findings().iter().for_each(|finding| self.tell(&Change::Cleared(finding.code), events));
    }

    fn tell(&self, change: &Change, events: &Events) {
        match change {
            Change::Found(finding) => {
                let Finding { code, severity, text, remedy, value, .. } = finding;
                let data =
                    json!({ "code": code, "severity": severity, "text": text, "remedy": remedy, "value": value });
                events.say("doctor.finding", Some(&self.name), data);
                tracing::info!(stream = self.name, code, severity = severity.name(), remedy, "{text}");
            }
            Change::Cleared(code) => {
                events.say("doctor.cleared", Some(&self.name), json!({ "code": code }));
                tracing::info!(stream = self.name, code, "no longer found");
            }
        }
    }
}

/// What a broadcaster is told of a change: what is worth an interruption.
fn advice(change: &Change) -> Option<String> {
    match change {
        Change::Found(finding) if finding.severity > Severity::Info => {
            Some(format!("{}. {}", finding.text, finding.remedy))
        }
        _ => None,
    }
}
