//! Who changed what: one line of JSON for each change, in a file of the data directory that outlives the process. Bounded:
//! when the file is full it takes the place of the one before. Never holds a secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::identity::Who;
use crate::events::Events;
use crate::metrics as names;

/// One change.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) struct Entry {
    /// When, in milliseconds of Unix time.
    at_ms: u64,
    /// `browser` or `token`.
    who: String,
    /// The address that the call came from.
    from: String,
    /// `stream.kick`, say.
    action: String,
    /// What it was done to.
    target: String,
    /// `done`, or why not.
    outcome: String,
}

/// The log.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    events: Events,
    /// Bytes of the present file; None while it cannot be written.
    file: Mutex<Option<(File, u64)>>,
    most: u64,
}

impl Audit {
    /// Goes on with the file of the data directory. One that cannot be written is said in the log: the server serves on.
    pub(super) fn open(data: &Path, events: Events) -> Audit {
        Audit::bounded(data, events, MOST_BYTES)
    }

    fn bounded(data: &Path, events: Events, most: u64) -> Audit {
        let path = data.join("audit.jsonl");
        let file = match open(&path) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the audit log cannot be written; changes are logged here");
                None
            }
        };
        Audit { path, events, file: Mutex::new(file), most }
    }

    /// A change was made, or refused. `event`: how the event log names it.
    pub(super) fn note(
        &self,
        (who, from): (Who, IpAddr),
        event: &'static str,
        target: &str,
        outcome: Result<(), &str>,
    ) {
        let outcome = outcome.err().unwrap_or("done");
        tracing::info!(who = who.name(), %from, action = event, target, outcome, "operator");
        let entry = Entry {
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            who: who.name().to_owned(),
            from: from.to_string(),
            action: event.trim_start_matches("operator.").to_owned(),
            target: target.to_owned(),
            outcome: outcome.to_owned(),
        };
        let stream = event.starts_with("operator.stream.").then_some(target);
        let data = json!({ "who": entry.who, "from": entry.from, "target": target, "outcome": outcome });
        self.events.say(event, stream, data);
        if let Err(error) = self.append(&entry) {
            metrics::counter!(names::AUDIT_FAILED).increment(1);
            tracing::error!(path = %self.path.display(), %error, "the audit log could not be written");
        }
    }

    /// The newest entries, the newest first.
    pub(super) fn newest(&self, most: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for path in [self.before(), self.path.clone()] {
            match File::open(&path) {
                // A line that was cut off by a crash is passed over.
                Ok(file) => entries.extend(
                    BufReader::new(file)
                        .lines()
                        .map_while(Result::ok)
                        .filter_map(|line| serde_json::from_str(&line).ok()),
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let entries: Vec<Entry> = entries;
        Ok(entries.into_iter().rev().take(most).collect())
    }

    fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((file, length)) = guard.as_mut() else {
            // Said in the log once, when the file could not be opened.
            metrics::counter!(names::AUDIT_FAILED).increment(1);
            return Ok(());
        };
        if *length + line.len() as u64 > self.most {
            fs::rename(&self.path, self.before())?;
            (*file, *length) = open(&self.path)?;
        }
        file.write_all(&line)?;
        *length += line.len() as u64;
        file.sync_data()
    }

    fn before(&self) -> PathBuf {
        self.path.with_extension("1.jsonl")
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Of one file; there are two. Some ten thousand changes.
const MOST_BYTES: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ME: (Who, IpAddr) = (Who::Token, IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn changes_outlive_the_process() {
        let data = tempfile::tempdir().unwrap();
        let events = Events::new();
        let audit = Audit::open(data.path(), events.clone());
        audit.note(ME, "operator.stream.kick", "show", Ok(()));
        audit.note(ME, "operator.key.revoke", "k1", Err("no such key"));
        drop(audit);
        let entries = Audit::open(data.path(), Events::new()).newest(10).unwrap();
        let shown: Vec<_> =
            entries.iter().map(|e| (e.action.as_str(), e.target.as_str(), e.outcome.as_str())).collect();
        assert_eq!(shown, [("key.revoke", "k1", "no such key"), ("stream.kick", "show", "done")]);
        assert_eq!(fs::metadata(data.path().join("audit.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
        let said = events.last(Some("show"), 10);
        assert_eq!((said.len(), said[0].kind), (1, "operator.stream.kick"));
    }

    #[test]
    fn the_file_is_bounded_and_the_newest_stay() {
        let data = tempfile::tempdir().unwrap();
        let audit = Audit::bounded(data.path(), Events::new(), 2_000);
        for n in 0..100 {
            audit.note(ME, "operator.stream.kick", &format!("show-{n}"), Ok(()));
        }
        let entries = audit.newest(1_000).unwrap();
        assert!((10..50).contains(&entries.len()), "{}", entries.len());
        assert_eq!(entries[0].target, "show-99");
        let bytes: u64 = fs::read_dir(data.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 4_000);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let data = tempfile::tempdir().unwrap();
        let audit = Audit::open(data.path(), Events::new());
        audit.note(ME, "operator.drain", "", Ok(()));
        fs::OpenOptions::new().append(true).open(data.path().join("audit.jsonl")).unwrap().write_all(b"{\"at").unwrap();
        assert_eq!(audit.newest(10).unwrap().len(), 1);
    }
}
