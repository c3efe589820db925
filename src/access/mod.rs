//! Who may publish, watch and administer. Every ingest and every way to watch asks [`Access`] and shows whoever asked why not.
//! Owns stream names, the keys and their file. Secrets compare in constant time, print as dots and are never logged.

pub mod base64url;
mod grant;
mod key;
mod keys;
mod name;
mod network;
mod play;
mod play_secret;
mod secret;
mod store;
mod token;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use grant::{Action, From, Grant, Refused};
pub use key::{Key, KeyError, KeyGrant, KeyId, KeyInfo, KeyOrigin, Made, NewKey};
pub use name::{BadName, BadPattern, StreamName, StreamPattern};
pub use network::network;
pub use play::{BadLink, PlayClaims, PlayLink, PlayLinks};
pub use play_secret::{PlaySecret, Signer};
pub use secret::{NoRandom, Secret};

use crate::events::Events;
use crate::metrics::ACCESS_REFUSED;
use keys::Keys;
use token::AdminToken;

/// What is configured.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Directory of the files; None keeps what is made in memory alone.
    pub data: Option<PathBuf>,
    /// The configured keys.
    pub keys: Vec<Key>,
    /// Streams that only those may watch who show that they may.
    pub private: Vec<StreamPattern>,
    /// What administers; None takes or makes the one of the data directory.
    pub admin_token: Option<Secret>,
}

/// Why the server cannot know who may do what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}; make it readable and writable for this user alone", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not as it was written.
    #[error(
        "{path} is damaged ({problem}); put a backup in its place, or move it away and make all keys anew",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Who may do what. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Access {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    keys: Arc<Keys>,
    private: Vec<StreamPattern>,
    admin_token: AdminToken,
    secret: PlaySecret,
    links: PlayLinks,
    events: Events,
}

impl Access {
    /// As configured, with the keys of earlier runs. What is refused is told to `events`.
    pub fn open(settings: Settings, events: Events) -> Result<Access, Error> {
        let file = settings.data.as_ref().map(|folder| folder.join(store::FILE));
        let keys = Arc::new(Keys::open(&settings.keys, file)?);
        let admin_token = AdminToken::open(settings.admin_token, settings.data.as_deref())?;
        let secret = match &settings.data {
            Some(folder) => PlaySecret::open(folder)
                .map_err(|source| Error::File { path: folder.join(play_secret::FILE), source })?,
            None => PlaySecret::random()?,
        };
        let links = PlayLinks::new(&secret);
        let private = settings.private;
        Ok(Access { shared: Arc::new(Shared { keys, private, admin_token, secret, links, events }) })
    }

    /// With these keys, in memory alone; nobody is told of refusals, and nobody administers.
    pub fn new(keys: Vec<Key>) -> Access {
        let keys = Arc::new(Keys::in_memory(&keys));
        // Where there are no random numbers, no link opens anything that is private: nothing is.
        let secret = PlaySecret::random().unwrap_or_else(|_| PlaySecret::new([0; 32]));
        let links = PlayLinks::new(&secret);
        let (private, admin_token, events) = (Vec::new(), AdminToken::nobody(), Events::new());
        Access { shared: Arc::new(Shared { keys, private, admin_token, secret, links, events }) }
    }

    /// Judges who wants to change the server.
    pub fn administer(&self, token: &str) -> Result<(), Refused> {
        if self.shared.admin_token.matches(token) { Ok(()) } else { Err(Refused::Admin) }
    }

    /// The admin token, if this start made it: to be shown this once.
    pub fn made_admin_token(&self) -> Option<&Secret> {
        self.shared.admin_token.made()
    }

    /// Judges a stream key as broadcasters write it: `NAME`, `NAME?key=SECRET`, or a bare secret that belongs to a name.
    pub async fn publish(&self, stream_key: &str, from: &From) -> Result<Grant, Refused> {
        let (name, query) = stream_key.split_once('?').unwrap_or((stream_key, ""));
        let shown = query.split('&').find_map(|pair| pair.strip_prefix("key=").or_else(|| pair.strip_prefix("token=")));
        if shown.is_some() || self.is_open() {
            let judged = match StreamName::new(name) {
                Ok(name) => self.judge_publisher(&name, shown, from).await,
                Err(bad) => Err(Refused::Name(bad)),
            };
            return self.settle(Action::Publish, Some(name), from, judged);
        }
        let named = self.shared.keys.names(KeyGrant::Publish, name);
        let judged = named.map(|(key, stream)| Grant { key: Some(key), ..Grant::open(stream) }).ok_or(Refused::Key);
        // What stands there may be a secret with a slip of the finger in it, and is not repeated.
        self.settle(Action::Publish, None, from, judged)
    }

    /// Judges a secret or token that is shown beside the name, as WHIP does.
    pub async fn publish_with(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        let judged = self.judge_publisher(name, shown, from).await;
        self.settle(Action::Publish, Some(name.as_str()), from, judged)
    }

    /// Judges who wants to watch. Whoever asks for a stream that is not private is let in, whatever is shown.
    pub async fn play(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        let judged = self.judge_viewer(name, shown, from).await;
        self.settle(Action::Play, Some(name.as_str()), from, judged)
    }

    /// The token of a signed link: `/s/TOKEN/watch/NAME` and all else of the streams that it opens.
    pub fn sign_play(&self, claims: &PlayClaims) -> String {
        self.shared.links.sign(claims)
    }

    /// What links and viewers' ids are signed with.
    pub fn play_secret(&self) -> &PlaySecret {
        &self.shared.secret
    }

    /// Nobody has a key to publish: whoever is on this machine may.
    pub fn is_open(&self) -> bool {
        !self.shared.keys.any(KeyGrant::Publish)
    }

    /// Whether a stream is not for everybody: it is configured so, or there is a key to watch it.
    pub fn is_private(&self, name: &StreamName) -> bool {
        let listed = self.shared.private.iter().any(|streams| streams.matches(name.as_str()));
        listed || self.shared.keys.any_for(KeyGrant::Play, name)
    }

    /// All keys: those of the configuration, then those that were made, the oldest first.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.shared.keys.list()
    }

    /// Makes a key.
    pub async fn make_key(&self, new: NewKey) -> Result<Made, KeyError> {
        let made = self.change(move |keys| keys.make(new)).await?;
        let KeyInfo { id, label, stream, grant, .. } = &made.key;
        self.shared.events.say(
            "key.made",
            None,
            json!({ "id": id, "label": label, "streams": stream, "grant": grant }),
        );
        Ok(made)
    }

    /// Puts a new key in the place of one, which is revoked at once. The new one has another id.
    pub async fn rotate_key(&self, id: &KeyId) -> Result<Made, KeyError> {
        let old = id.clone();
        let made = self.change(move |keys| keys.rotate(&old)).await?;
        self.shared.events.say("key.rotated", None, json!({ "id": id, "new": made.key.id, "label": made.key.label }));
        Ok(made)
    }

    /// Takes a key away; what it opened ends within two seconds.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<(), KeyError> {
        let gone = id.clone();
        self.change(move |keys| keys.revoke(&gone)).await?;
        self.shared.events.say("key.revoked", None, json!({ "id": id }));
        Ok(())
    }

    /// Keys that are revoked from now on. Who misses some asks [`Access::stands`] of every key it knows.
    pub fn revocations(&self) -> broadcast::Receiver<KeyId> {
        self.shared.keys.revocations()
    }

    /// Whether a key is still one.
    pub fn stands(&self, id: &KeyId) -> bool {
        self.shared.keys.has(id)
    }

    /// Writes down now and then when keys were last used, until stopped, and then once more. Run once.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SAVE);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.save().await;
        }
        self.save().await;
    }

    async fn save(&self) {
        if let Err(error) = self.change(Keys::save).await {
            tracing::warn!(%error, "when keys were last used is not written down");
        }
    }

    /// Files are written where blocking is allowed.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Keys) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let keys = self.shared.keys.clone();
        let changed = tokio::task::spawn_blocking(move || change(&keys)).await;
        changed.unwrap_or_else(|error| Err(KeyError::Write(error.to_string())))
    }

    async fn judge_publisher(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        if self.is_open() {
            let local = from.address.to_canonical().is_loopback();
            return if local { Ok(Grant::open(name.clone())) } else { Err(Refused::NotLocal) };
        }
        let key = shown.and_then(|shown| self.shared.keys.fits(KeyGrant::Publish, name, shown));
        key.map(|key| Grant { key: Some(key), ..Grant::open(name.clone()) }).ok_or(Refused::Key)
    }

    async fn judge_viewer(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        // A link says until when and for whom, also where nobody would need one.
        if let Some(link) = shown.and_then(|shown| self.shared.links.read(shown)) {
            link.opens(name.as_str(), from.address, SystemTime::now())?;
            let key = link.claims.key.clone();
            if key.as_ref().is_some_and(|key| !self.stands(key)) {
                return Err(BadLink::Withdrawn.into());
            }
            return Ok(Grant { key, link: Some(Box::new(link)), ..Grant::open(name.clone()) });
        }
        if !self.is_private(name) {
            return Ok(Grant::open(name.clone()));
        }
        let key = shown.and_then(|shown| self.shared.keys.fits(KeyGrant::Play, name, shown));
        key.map(|key| Grant { key: Some(key), ..Grant::open(name.clone()) }).ok_or(Refused::Private)
    }

    /// Counts and tells a refusal. `stream`: what was asked for, where it is certainly no secret.
    fn settle(
        &self,
        action: Action,
        stream: Option<&str>,
        from: &From,
        judged: Result<Grant, Refused>,
    ) -> Result<Grant, Refused> {
        if let Err(refused) = &judged {
            metrics::counter!(ACCESS_REFUSED, "action" => action.name(), "reason" => refused.reason()).increment(1);
            let kind = if action == Action::Play { "play.refused" } else { "publish.refused" };
            let stream = stream.filter(|name| StreamName::check(name).is_ok());
            let about = json!({ "address": from.address, "protocol": from.protocol, "reason": refused.to_string() });
            self.shared.events.say(kind, stream, about);
        }
        judged
    }
}

impl Default for Access {
    /// Without keys: whoever is on this machine publishes, and everybody watches.
    fn default() -> Access {
        Access::new(Vec::new())
    }
}

/// How often it is written down when keys were last used.
const SAVE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
