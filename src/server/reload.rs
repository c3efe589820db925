//! When a running server reads its configuration again: on SIGHUP, and when a file of it is another one. Looks every two
//! seconds, for editors and deployment tools replace files in ways that no notification covers on every file system.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use crate::config::{Control, Reloaded};
use crate::metrics;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reads the configuration again whenever it is time to; never ends.
pub(super) async fn follow(control: &Control, mut hangups: Signal) -> Infallible {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look reads them too: they may have changed since the start.
    let mut seen: Option<Seen> = None;
    loop {
        let asked = tokio::select! {
            _ = tick.tick() => false,
            _ = hangups.recv() => true,
        };
        let before = seen.clone();
        let (now, outcome) = blocking(control, move |control| {
            let now = before.as_ref().map_or_else(|| Seen::of(control.files()), |before| before.again(control.files()));
            let changed = before.is_none_or(|before| before.differs(&now));
            let outcome = (asked || changed).then(|| control.reload());
            (now, outcome)
        })
        .await
        .unzip();
        seen = now;
        let outcome = outcome.flatten();
        outcome.as_ref().inspect(|outcome| meter(outcome));
        match outcome {
            Some(Reloaded::Unchanged) if asked => {
                tracing::info!("the configuration is read again: nothing is different")
            }
            Some(Reloaded::Refused(errors)) => {
                tracing::error!(errors = errors.iter().count(), "the configuration stays as it was");
            }
            Some(Reloaded::Unchanged | Reloaded::Applied(_)) | None => {}
        }
    }
}

/// The first look, at what the server was started with, is one.
fn meter(outcome: &Reloaded) {
    let taken = !matches!(outcome, Reloaded::Refused(_));
    ::metrics::gauge!(metrics::CONFIG_RELOAD_SUCCESSFUL).set(f64::from(u8::from(taken)));
    if taken && let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) {
        ::metrics::gauge!(metrics::CONFIG_RELOAD_TIME).set(since.as_secs_f64());
    }
}

/// Files may be on a disk that sleeps, so not on a thread that serves. None where the runtime ends.
async fn blocking<T: Send + 'static>(
    control: &Control,
    work: impl FnOnce(&Control) -> T + Send + 'static,
) -> Option<T> {
    let control = control.clone();
    tokio::task::spawn_blocking(move || work(&control)).await.ok()
}

/// The files as they were when they were looked at.
#[derive(Clone, Debug)]
struct Seen(Vec<File>);

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    /// When it was written, and its length: while they stay the same it is not read. None: it is not there.
    stamp: Option<(SystemTime, u64)>,
    hash: Option<[u8; 32]>,
}

impl Seen {
    fn of(paths: Vec<PathBuf>) -> Seen {
        Seen(paths.into_iter().map(|path| File::read(path, None)).collect())
    }

    fn again(&self, paths: Vec<PathBuf>) -> Seen {
        let known = |path: &PathBuf| self.0.iter().find(|file| file.path == *path);
        Seen(paths.into_iter().map(|path| File::read(path.clone(), known(&path))).collect())
    }

    /// Whether any file, or which files there are, is another.
    fn differs(&self, other: &Seen) -> bool {
        let marks = |seen: &Seen| seen.0.iter().map(|file| (file.path.clone(), file.hash)).collect::<Vec<_>>();
        marks(self) != marks(other)
    }
}

impl File {
    fn read(path: PathBuf, known: Option<&File>) -> File {
        let stamp = fs::metadata(&path).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        let hash = match known {
            Some(known) if known.stamp == stamp => known.hash,
            // A file that cannot be read is another one than any that can.
            _ => stamp.filter(|(_, length)| *length <= LARGEST).and_then(|_| fs::read(&path).ok()).map(hash),
        };
        File { path, stamp, hash }
    }
}

fn hash(bytes: Vec<u8>) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes of a file that are read: what is longer is no configuration.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_content_is_seen_and_another_time_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        let paths = || vec![here.clone(), there.clone()];
        fs::write(&here, "a = 1").unwrap();
        let mut seen = Seen::of(paths());
        let mut look = || {
            let now = seen.again(paths());
            let differs = seen.differs(&now);
            seen = now;
            differs
        };
        assert!(!look());
        let later = SystemTime::now() + Duration::from_secs(60);
        fs::File::options().write(true).open(&here).unwrap().set_modified(later).unwrap();
        assert!(!look(), "touched, and still the same");
        fs::write(&here, "a = 2").unwrap();
        assert!(look());
        fs::write(&there, "").unwrap();
        assert!(look(), "a file that was not there");
        fs::remove_file(&there).unwrap();
        assert!(look(), "a file that is gone");
        assert!(!look());
    }
}
