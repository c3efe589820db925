//! Who may publish, watch and administer. Every ingest and every way to watch asks [`Access`] and shows whoever asked why not.
//! Owns stream names, the keys and their file. Secrets compare in constant time, print as dots and are never logged.

mod admin;
mod attempts;
pub mod base64url;
mod grant;
mod judge;
mod jwks;
mod jwt;
mod key;
mod keys;
mod name;
mod networks;
mod play;
mod play_secret;
mod seats;
mod secret;
mod store;
mod webhook;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use attempts::{Patience, network};
pub use grant::{Action, From, Grant, Operator, Refused};
pub use jwt::{BadToken, TokenKeyError, TokenSettings};
pub use key::{Key, KeyError, KeyGrant, KeyId, KeyInfo, KeyOrigin, Made, NewKey};
pub use name::{BadName, BadPattern, StreamName, StreamPattern};
pub use networks::{BadNetwork, Gate, Network};
pub use play::{BadLink, PlayClaims, PlayLink, PlayLinks};
pub use play_secret::{PlaySecret, Signer};
pub use seats::Seat;
pub use secret::{NoRandom, Secret};
pub use webhook::WebhookSettings;

use crate::events::Events;
use crate::fetch::{BadTarget, NoAuthorities};
use admin::AdminToken;
use attempts::Attempts;
use judge::Question;
use jwt::Tokens;
use keys::Keys;
use seats::Seats;
use webhook::Webhook;

/// What is configured.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Directory of the files; None keeps what is made in memory alone.
    pub data: Option<PathBuf>,
    /// The configured keys.
    pub keys: Vec<Key>,
    /// Who signs tokens.
    pub tokens: TokenSettings,
    /// Who is asked where neither key nor token answers.
    pub webhook: Option<WebhookSettings>,
    /// What can be changed while the server runs.
    pub policy: Policy,
}

/// What holds for all, and needs no files.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Streams that only those may watch who show that they may.
    pub private: Vec<StreamPattern>,
    /// Where publishers may come from.
    pub publishers: Gate,
    /// Where viewers may come from.
    pub viewers: Gate,
    /// Where operators may come from.
    pub operators: Gate,
    /// With wrong keys.
    pub patience: Patience,
    /// Publishers and WHEP viewers of one address at a time; None is any number.
    pub sessions: Option<usize>,
    /// The admin token; None makes one and keeps it in the data directory.
    pub admin_token: Option<Secret>,
}

impl Policy {
    fn gate(&self, action: Action) -> &Gate {
        match action {
            Action::Publish => &self.publishers,
            Action::Play => &self.viewers,
            Action::Administer => &self.operators,
        }
    }
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
    /// A key that tokens are checked with cannot be used.
    #[error(transparent)]
    Token(#[from] TokenKeyError),
    /// The webhook cannot be reached by TLS.
    #[error("access.webhook_url: {0}")]
    Webhook(NoAuthorities),
    /// The webhook's address is none.
    #[error("access.webhook_url: {0}")]
    WebhookUrl(BadTarget),
    /// The file of the admin token has none.
    #[error("{path} has no admin token; delete it, and the next start makes a new one", path = .0.display())]
    AdminToken(PathBuf),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// Who may do what. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Access {
    shared: Arc<Shared>,
}

/// What speaks for somebody beside keys.
#[derive(Debug)]
struct Authorities {
    admin: Option<AdminToken>,
    tokens: Option<Tokens>,
    webhook: Option<Webhook>,
    secret: PlaySecret,
}

#[derive(Debug)]
struct Shared {
    keys: Arc<Keys>,
    policy: RwLock<Arc<Policy>>,
    /// The one in the data directory; a configured one goes before it.
    admin: Option<AdminToken>,
    tokens: Option<Tokens>,
    webhook: Option<Webhook>,
    attempts: Attempts,
    seats: Seats,
    secret: PlaySecret,
    links: PlayLinks,
    events: Events,
}

impl Access {
    /// As configured, with the keys of earlier runs. What is refused is told to `events`.
    pub fn open(settings: Settings, events: Events) -> Result<Access, Error> {
        let file = |name| settings.data.as_ref().map(|folder: &PathBuf| folder.join(name));
        let keys = Keys::open(&settings.keys, file(store::FILE))?;
        let token = file(admin::FILE).filter(|_| settings.policy.admin_token.is_none());
        let admin = token.as_deref().map(AdminToken::in_file).transpose()?;
        let tokens = (!settings.tokens.is_empty()).then(|| Tokens::open(&settings.tokens)).transpose()?;
        let webhook = settings.webhook.map(Webhook::new).transpose().map_err(Error::Webhook)?;
        let secret = match &settings.data {
            Some(folder) => PlaySecret::open(folder)
                .map_err(|source| Error::File { path: folder.join(play_secret::FILE), source })?,
            None => PlaySecret::random()?,
        };
        Ok(Access::of(keys, settings.policy, Authorities { admin, tokens, webhook, secret }, events))
    }

    /// With these keys, in memory alone; nobody is told of refusals.
    pub fn new(keys: Vec<Key>) -> Access {
        // Where there are no random numbers, no link opens anything that is private: nothing is.
        let secret = PlaySecret::random().unwrap_or_else(|_| PlaySecret::new([0; 32]));
        let alone = Authorities { admin: None, tokens: None, webhook: None, secret };
        Access::of(Keys::in_memory(&keys), Policy::default(), alone, Events::new())
    }

    fn of(keys: Keys, policy: Policy, authorities: Authorities, events: Events) -> Access {
        let Authorities { admin, tokens, webhook, secret } = authorities;
        let (keys, policy) = (Arc::new(keys), RwLock::new(Arc::new(policy)));
        let (attempts, seats, links) = (Attempts::default(), Seats::default(), PlayLinks::new(&secret));
        let shared = Shared { keys, policy, admin, tokens, webhook, attempts, seats, secret, links, events };
        Access { shared: Arc::new(shared) }
    }

    /// Puts other configured keys and another policy in the place of those that hold. What keys opened that are gone ends;
    /// other sessions go on.
    pub fn configure(&self, keys: &[Key], mut policy: Policy) {
        let mut present = self.shared.policy.write().unwrap_or_else(PoisonError::into_inner);
        if policy.admin_token.is_none() && self.shared.admin.is_none() {
            // One is made at the start alone: until then the operator has only this one.
            policy.admin_token.clone_from(&present.admin_token);
        }
        *present = Arc::new(policy);
        drop(present);
        self.shared.keys.configure(keys);
    }

    /// The admin token, where it was made at this start: it can be had here alone, to be shown once.
    pub fn made_admin_token(&self) -> Option<&Secret> {
        self.shared.admin.as_ref()?.made.as_ref()
    }

    /// Judges a stream key as broadcasters write it: `NAME`, `NAME?key=SECRET`, `NAME?token=TOKEN`, or a bare secret that
    /// belongs to a name.
    pub async fn publish(&self, stream_key: &str, from: &From) -> Result<Grant, Refused> {
        let (name, query) = stream_key.split_once('?').unwrap_or((stream_key, ""));
        let shown = query.split('&').find_map(|pair| pair.strip_prefix("key=").or_else(|| pair.strip_prefix("token=")));
        let question = Question { action: Action::Publish, from };
        if shown.is_some() || self.is_open() {
            let judged = match StreamName::new(name) {
                Ok(name) => self.shared.judge(question, &name, shown).await,
                Err(bad) => Err(Refused::Name(bad)),
            };
            return self.shared.settle(question, Some(name), shown.is_some(), judged);
        }
        let judged = self.shared.judge_bare(question, name).await;
        // What stands there may be a secret with a slip of the finger in it, and is not repeated.
        self.shared.settle(question, None, true, judged)
    }

    /// Judges a secret or token that is shown beside the name, as WHIP does.
    pub async fn publish_with(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        let question = Question { action: Action::Publish, from };
        let judged = self.shared.judge(question, name, shown).await;
        self.shared.settle(question, Some(name.as_str()), shown.is_some(), judged)
    }

    /// Judges who wants to watch. Whoever asks for a stream that is not private is let in, whatever is shown.
    pub async fn play(&self, name: &StreamName, shown: Option<&str>, from: &From) -> Result<Grant, Refused> {
        let question = Question { action: Action::Play, from };
        let judged = self.shared.judge(question, name, shown).await;
        self.shared.settle(question, Some(name.as_str()), shown.is_some(), judged)
    }

    /// Judges who wants to change the server.
    pub async fn administer(&self, token: &str, from: &From) -> Result<Operator, Refused> {
        let question = Question { action: Action::Administer, from };
        let judged = self.shared.judge_operator(question, token).await;
        self.shared.settle(question, None, true, judged)
    }

    /// Whether a stream is open to whoever comes from an address and shows nothing: then [`Access::play`] need not be asked.
    /// Every request of an HLS viewer asks this, so it waits for nothing.
    pub fn plays_freely(&self, name: &str, address: IpAddr) -> bool {
        self.shared.plays_freely(name, address.to_canonical())
    }

    /// The token of a signed link: `/s/TOKEN/watch/NAME` and all else of the streams that it opens.
    pub fn sign_play(&self, claims: &PlayClaims) -> String {
        self.shared.links.sign(claims)
    }

    /// What links and viewers' ids are signed with.
    pub fn play_secret(&self) -> &PlaySecret {
        &self.shared.secret
    }

    /// Nobody has a key to publish, and no token and no webhook can let anybody in: whoever is on this machine may.
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// Whether a stream is not for everybody: it is configured so, or there is a key to watch it.
    pub fn is_private(&self, name: &StreamName) -> bool {
        self.shared.is_private(name)
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

    /// Writes down now and then when keys were last used, and tells of refusals, until stopped. Run once.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(KEEP);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.save().await;
            self.shared.tell_untold();
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
}

impl Default for Access {
    /// Without keys: whoever is on this machine publishes, and everybody watches.
    fn default() -> Access {
        Access::new(Vec::new())
    }
}

/// How often it is written down when keys were last used.
const KEEP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
