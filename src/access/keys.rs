//! The table of keys, those of the configuration and those that were made: which of them a shown secret is, and how they are
//! made, rotated and revoked. Looked at for every publisher; changed by the operator alone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use super::secret::{self, Digest};
use super::store::{self, Row};
use super::{
    Error, Key, KeyError, KeyGrant, KeyId, KeyInfo, KeyOrigin, Made, NewKey, Secret, StreamName, StreamPattern,
};

/// The table.
#[derive(Debug)]
pub(super) struct Keys {
    entries: RwLock<Arc<[Arc<Entry>]>>,
    /// None keeps made keys in memory alone.
    file: Option<PathBuf>,
    /// One change at a time, so that the file and the table have the same.
    changing: Mutex<()>,
    revoked: broadcast::Sender<KeyId>,
    /// Some key was used since the file was written.
    touched: AtomicBool,
    /// Ids of configured keys are made with it: they say nothing of their secrets, and stay the same while the process runs.
    salt: [u8; 16],
}

#[derive(Debug)]
struct Entry {
    id: KeyId,
    label: String,
    stream: Option<StreamPattern>,
    grant: KeyGrant,
    digest: Digest,
    /// Seconds since 1970; zero is unknown, or never.
    made: u64,
    used: AtomicU64,
    origin: KeyOrigin,
}

impl Keys {
    /// Configured keys, and those in the file.
    pub(super) fn open(configured: &[Key], file: Option<PathBuf>) -> Result<Keys, Error> {
        let stored = file.as_deref().map(store::read).transpose()?.unwrap_or_default();
        let mut entries = Vec::new();
        for row in stored {
            let damaged = |problem: &str| Error::Damaged {
                path: file.clone().unwrap_or_default(),
                problem: format!("{problem} of key {:?}", row.id),
            };
            if entries.iter().any(|entry: &Arc<Entry>| entry.id.as_str() == row.id) {
                return Err(damaged("there are two entries"));
            }
            entries.push(Arc::new(Entry::stored(&row).ok_or_else(|| damaged("there is no SHA-256"))?));
        }
        let keys = Keys::new(entries, file, secret::random()?);
        keys.configure(configured);
        Ok(keys)
    }

    /// Configured keys, and no file.
    pub(super) fn in_memory(configured: &[Key]) -> Keys {
        let keys = Keys::new(Vec::new(), None, secret::random().unwrap_or_default());
        keys.configure(configured);
        keys
    }

    fn new(entries: Vec<Arc<Entry>>, file: Option<PathBuf>, salt: [u8; 16]) -> Keys {
        Keys {
            entries: RwLock::new(entries.into()),
            file,
            changing: Mutex::new(()),
            revoked: broadcast::Sender::new(REVOCATIONS),
            touched: AtomicBool::new(false),
            salt,
        }
    }

    /// The key that this secret is, if it opens the name.
    pub(super) fn fits(&self, grant: KeyGrant, name: &StreamName, shown: &str) -> Option<KeyId> {
        let opens = |entry: &Entry| entry.stream.as_ref().is_none_or(|streams| streams.matches(name.as_str()));
        self.find(grant, shown, |entry| opens(entry).then(|| entry.id.clone()))
    }

    /// The key that this secret is, and the one name that it opens.
    pub(super) fn names(&self, grant: KeyGrant, shown: &str) -> Option<(KeyId, StreamName)> {
        self.find(grant, shown, |entry| Some((entry.id.clone(), entry.stream.as_ref()?.name()?)))
    }

    fn find<T>(&self, grant: KeyGrant, shown: &str, take: impl Fn(&Entry) -> Option<T>) -> Option<T> {
        if shown.len() > LONGEST {
            return None;
        }
        let digest = Digest::of(shown);
        let entries = self.entries();
        let mut found = None;
        // Every key is compared, so that the time does not tell which one came close.
        for entry in entries.iter() {
            if entry.digest.is(&digest) & (entry.grant == grant) && found.is_none() {
                found = take(entry).map(|taken| (entry, taken));
            }
        }
        let (entry, taken) = found?;
        entry.used.store(seconds(SystemTime::now()), Ordering::Relaxed);
        self.touched.fetch_or(entry.origin == KeyOrigin::Stored, Ordering::Relaxed);
        Some(taken)
    }

    /// Whether there is a key for this.
    pub(super) fn any(&self, grant: KeyGrant) -> bool {
        self.entries().iter().any(|entry| entry.grant == grant)
    }

    /// Whether there is a key for this that opens the name.
    pub(super) fn any_for(&self, grant: KeyGrant, name: &StreamName) -> bool {
        let fits = |entry: &Entry| entry.stream.as_ref().is_none_or(|streams| streams.matches(name.as_str()));
        self.entries().iter().any(|entry| entry.grant == grant && fits(entry))
    }

    /// Whether a key is still one.
    pub(super) fn has(&self, id: &KeyId) -> bool {
        self.entries().iter().any(|entry| entry.id == *id)
    }

    /// All of them: the configured ones, then the others, the oldest first.
    pub(super) fn list(&self) -> Vec<KeyInfo> {
        self.entries().iter().map(|entry| entry.info()).collect()
    }

    /// Revoked keys from now on.
    pub(super) fn revocations(&self) -> broadcast::Receiver<KeyId> {
        self.revoked.subscribe()
    }

    /// Makes a key. Writes the file, which may block.
    pub(super) fn make(&self, new: NewKey) -> Result<Made, KeyError> {
        if new.label.chars().count() > NewKey::LONGEST_LABEL || new.label.contains(char::is_control) {
            return Err(KeyError::Label);
        }
        self.change(|entries| {
            if entries.len() >= MOST {
                return Err(KeyError::TooMany(entries.len()));
            }
            let (entry, secret) = Entry::made(new.label, new.stream, new.grant)?;
            let key = entry.info();
            entries.push(Arc::new(entry));
            Ok(Made { key, secret })
        })
    }

    /// Puts a new key, with an id of its own, in the place of another, which is revoked at once. Writes the file.
    pub(super) fn rotate(&self, id: &KeyId) -> Result<Made, KeyError> {
        let made = self.change(|entries| {
            let at = place(entries, id)?;
            let old = &entries[at];
            let (entry, secret) = Entry::made(old.label.clone(), old.stream.clone(), old.grant)?;
            let key = entry.info();
            entries[at] = Arc::new(entry);
            Ok(Made { key, secret })
        })?;
        self.tell(id);
        Ok(made)
    }

    /// Takes a key away. Writes the file.
    pub(super) fn revoke(&self, id: &KeyId) -> Result<(), KeyError> {
        self.change(|entries| {
            let at = place(entries, id)?;
            entries.remove(at);
            Ok(())
        })?;
        self.tell(id);
        Ok(())
    }

    /// Puts other keys in the place of the configured ones; those that are gone are revoked.
    pub(super) fn configure(&self, configured: &[Key]) {
        // Without writing: the file has none of them.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.entries();
        let mut entries: Vec<_> = configured.iter().map(|key| Arc::new(Entry::configured(key, &self.salt))).collect();
        for entry in &entries {
            if let Some(old) = before.iter().find(|old| old.id == entry.id) {
                entry.used.store(old.used.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        entries.extend(before.iter().filter(|entry| entry.origin == KeyOrigin::Stored).cloned());
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries.into();
        before.iter().filter(|old| !self.has(&old.id)).for_each(|old| self.tell(&old.id));
    }

    /// Writes down when keys were last used, if any was. May block.
    pub(super) fn save(&self) -> Result<(), KeyError> {
        if self.touched.swap(false, Ordering::Relaxed) { self.change(|_| Ok(())) } else { Ok(()) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Entry>>) -> Result<T, KeyError>) -> Result<T, KeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.entries().to_vec();
        let changed = change(&mut entries)?;
        if let Some(file) = &self.file {
            let rows = entries.iter().filter(|entry| entry.origin == KeyOrigin::Stored).map(|entry| entry.row());
            let written = store::write(file, rows.collect());
            written.map_err(|error| KeyError::Write(format!("{}: {error}", file.display())))?;
        }
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries.into();
        Ok(changed)
    }

    /// Nobody may be listening.
    fn tell(&self, id: &KeyId) {
        let _ = self.revoked.send(id.clone());
    }

    fn entries(&self) -> Arc<[Arc<Entry>]> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Entry {
    fn configured(key: &Key, salt: &[u8; 16]) -> Entry {
        let digest = key.secret.digest();
        let streams = key.stream.as_ref().map_or("", StreamPattern::as_str);
        let mixed = Digest::of(&format!("{}/{}/{streams}/{:?}", secret::hex(salt), digest.hex(), key.grant)).hex();
        Entry {
            id: KeyId::new(&format!("config-{}", &mixed[..8])),
            label: key.label.clone(),
            stream: key.stream.clone(),
            grant: key.grant,
            digest,
            made: 0,
            used: AtomicU64::new(0),
            origin: KeyOrigin::Config,
        }
    }

    fn stored(row: &Row) -> Option<Entry> {
        Some(Entry {
            id: KeyId::new(&row.id),
            label: row.label.clone(),
            stream: row.stream.clone(),
            grant: row.grant,
            digest: Digest::from_hex(&row.sha256)?,
            made: row.made,
            used: AtomicU64::new(row.used.unwrap_or_default()),
            origin: KeyOrigin::Stored,
        })
    }

    fn made(label: String, stream: Option<StreamPattern>, grant: KeyGrant) -> Result<(Entry, Secret), KeyError> {
        let secret = Secret::random()?;
        let entry = Entry {
            id: KeyId::new(&secret::letters::<10>()?),
            label,
            stream,
            grant,
            digest: secret.digest(),
            made: seconds(SystemTime::now()),
            used: AtomicU64::new(0),
            origin: KeyOrigin::Stored,
        };
        Ok((entry, secret))
    }

    fn info(&self) -> KeyInfo {
        let time = |seconds: u64| (seconds > 0).then(|| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))).flatten();
        KeyInfo {
            id: self.id.clone(),
            label: self.label.clone(),
            stream: self.stream.clone(),
            grant: self.grant,
            made: time(self.made),
            used: time(self.used.load(Ordering::Relaxed)),
            origin: self.origin,
        }
    }

    fn row(&self) -> Row {
        Row {
            id: self.id.to_string(),
            label: self.label.clone(),
            stream: self.stream.clone(),
            grant: self.grant,
            sha256: self.digest.hex(),
            made: self.made,
            used: Some(self.used.load(Ordering::Relaxed)).filter(|used| *used > 0),
        }
    }
}

/// Where a key stands that can be changed.
fn place(entries: &[Arc<Entry>], id: &KeyId) -> Result<usize, KeyError> {
    let at = entries.iter().position(|entry| entry.id == *id).ok_or_else(|| KeyError::Unknown(id.clone()))?;
    match entries[at].origin {
        KeyOrigin::Stored => Ok(at),
        KeyOrigin::Config => Err(KeyError::Configured(id.clone())),
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Keys, all told: a wrong one is compared with each of them, which takes a fraction of a millisecond.
const MOST: usize = 5_000;
/// Revocations that a slow follower may miss before it has to look at all keys.
const REVOCATIONS: usize = 256;
/// Bytes of a secret. What is longer is none, and not worth a digest.
const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    fn new(stream: Option<&str>, grant: KeyGrant) -> NewKey {
        NewKey { stream: stream.map(|text| text.parse().unwrap()), grant, label: "camera".to_owned() }
    }

    #[test]
    fn a_made_key_opens_its_names_until_it_is_revoked_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(store::FILE);
        let keys = Keys::open(&[], Some(file.clone())).unwrap();
        let made = keys.make(new(Some("show-*"), KeyGrant::Publish)).unwrap();
        let shown = made.secret.reveal();
        assert_eq!(keys.fits(KeyGrant::Publish, &name("show-1"), shown), Some(made.key.id.clone()));
        assert_eq!(keys.fits(KeyGrant::Publish, &name("other"), shown), None);
        assert_eq!(keys.fits(KeyGrant::Play, &name("show-1"), shown), None);
        assert!(keys.list()[0].used.is_some());
        keys.save().unwrap();
        assert!(!std::fs::read_to_string(&file).unwrap().contains(shown));

        let again = Keys::open(&[], Some(file.clone())).unwrap();
        assert_eq!(again.list(), keys.list());
        assert!(again.fits(KeyGrant::Publish, &name("show-1"), shown).is_some());
        let mut revoked = again.revocations();
        again.revoke(&made.key.id).unwrap();
        assert_eq!(revoked.try_recv().unwrap(), made.key.id);
        assert!(again.fits(KeyGrant::Publish, &name("show-1"), shown).is_none() && !again.has(&made.key.id));
        assert!(Keys::open(&[], Some(file)).unwrap().list().is_empty());
    }

    #[test]
    fn a_rotated_key_is_another_in_the_same_place() {
        let keys = Keys::open(&[], None).unwrap();
        let old = keys.make(new(Some("show"), KeyGrant::Play)).unwrap();
        keys.make(new(None, KeyGrant::Publish)).unwrap();
        let fresh = keys.rotate(&old.key.id).unwrap();
        assert_ne!(fresh.key.id, old.key.id);
        assert_eq!((&keys.list()[0].id, keys.list()[0].label.as_str()), (&fresh.key.id, "camera"));
        assert!(keys.fits(KeyGrant::Play, &name("show"), old.secret.reveal()).is_none());
        assert!(keys.fits(KeyGrant::Play, &name("show"), fresh.secret.reveal()).is_some());
        assert!(matches!(keys.rotate(&old.key.id), Err(KeyError::Unknown(_))));
    }

    #[test]
    fn configured_keys_are_listed_and_changed_in_the_configuration_alone() {
        let key = |secret: &str| Key::publish(Some(name("show")), secret);
        let keys = Keys::open(&[key("one"), key("two")], None).unwrap();
        let made = keys.make(new(None, KeyGrant::Publish)).unwrap();
        let ids: Vec<KeyId> = keys.list().into_iter().map(|key| key.id).collect();
        assert_eq!(keys.list()[0].origin, KeyOrigin::Config);
        assert_eq!(keys.revoke(&ids[0]), Err(KeyError::Configured(ids[0].clone())));
        let mut revoked = keys.revocations();
        keys.configure(&[key("two"), key("three")]);
        assert_eq!(revoked.try_recv().unwrap(), ids[0]);
        assert!(revoked.try_recv().is_err());
        let now: Vec<KeyId> = keys.list().into_iter().map(|key| key.id).collect();
        assert_eq!((&now[0], &now[2]), (&ids[1], &made.key.id));
    }

    #[test]
    fn labels_are_short_and_on_one_line() {
        let keys = Keys::open(&[], None).unwrap();
        for label in ["x".repeat(101), "a\nb".to_owned()] {
            let new = NewKey { label, ..NewKey::default() };
            assert!(matches!(keys.make(new), Err(KeyError::Label)));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gone").join(store::FILE);
        let keys = Keys::open(&[], Some(file)).unwrap();
        let said = keys.make(new(None, KeyGrant::Publish)).unwrap_err();
        assert!(matches!(said, KeyError::Write(_)), "{said}");
        assert!(keys.list().is_empty());
    }
}
