//! The table of viewers' sessions: who watches what since when, found by id, counted by stream, network and pass. Takes the
//! time as a number and does no I/O. Locked for moments: a shard for one id, and the tallies where somebody comes or goes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::id::ViewerId;
use crate::access::{PlayLink, network};

/// One viewer of one stream, from its first request for a media playlist to some time after its last.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: ViewerId,
    pub(super) audience: Arc<Audience>,
    pub(super) peer: IpAddr,
    /// As limits count it.
    network: IpAddr,
    pub(super) agent: Box<str>,
    pub(super) since: SystemTime,
    /// What its sessions are counted by, beside stream and network.
    pub(super) pass: Option<Pass>,
    /// When it last began or ended a request, in milliseconds.
    seen: AtomicU64,
    /// Requests that are held for it.
    held: AtomicU32,
    kicked: AtomicBool,
    /// Its player asks for parts before they are there.
    low_latency: AtomicBool,
    rendition: Mutex<Box<str>>,
}

/// Those who watch one stream.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) stream: Box<str>,
    pub(super) now: AtomicUsize,
    pub(super) peak: AtomicUsize,
    /// Those of them with low latency, as of the last sweep; and as far as the present one has counted.
    pub(super) low_latency: AtomicUsize,
    counted: AtomicUsize,
    /// A session ends so many milliseconds after its last request.
    pub(super) patience: AtomicU64,
}

/// A right to play that is for so many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Pass {
    /// Tells it from others.
    pub(in crate::http) tag: [u8; PlayLink::TAG],
    /// Sessions that it is for; 0 sets no limit.
    pub(in crate::http) most: usize,
}

/// Who comes, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer<'a> {
    pub(super) id: ViewerId,
    pub(super) stream: &'a str,
    pub(super) peer: IpAddr,
    pub(super) agent: &'a str,
    pub(super) rendition: &'a str,
    pub(super) pass: Option<Pass>,
}

/// How many there may be. 0 sets no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) per_stream: usize,
    pub(super) per_network: usize,
    /// Viewers of the stream, and of the network, by other ways than this table.
    pub(super) elsewhere: (usize, usize),
}

/// Why nobody more is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Stream(usize),
    Network(usize),
    Pass(usize),
    /// The table itself.
    Table,
}

#[derive(Debug)]
pub(super) struct Table {
    shards: Vec<Mutex<HashMap<ViewerId, Arc<Session>>>>,
    tallies: Mutex<Tallies>,
}

#[derive(Debug, Default)]
struct Tallies {
    streams: HashMap<Box<str>, Arc<Audience>>,
    networks: HashMap<IpAddr, usize>,
    passes: HashMap<[u8; PlayLink::TAG], usize>,
    all: usize,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), tallies: Mutex::default() }
    }

    pub(super) fn find(&self, id: &ViewerId) -> Option<Arc<Session>> {
        self.shard(id).get(id).cloned()
    }

    /// Takes somebody in; the session that is there already, if there is one. True: it is new.
    pub(super) fn join(&self, who: &Newcomer<'_>, limits: &Limits, now: u64) -> Result<(Arc<Session>, bool), Full> {
        let mut shard = self.shard(&who.id);
        if let Some(session) = shard.get(&who.id) {
            return Ok((session.clone(), false));
        }
        // Of the two locks, a shard's is always the first.
        let network = network(who.peer);
        let audience = self.tallies().admit(who, network, limits)?;
        let session = Arc::new(Session {
            id: who.id,
            audience,
            peer: who.peer,
            network,
            agent: who.agent.into(),
            since: SystemTime::now(),
            pass: who.pass,
            seen: AtomicU64::new(now),
            held: AtomicU32::new(0),
            kicked: AtomicBool::new(false),
            low_latency: AtomicBool::new(false),
            rendition: Mutex::new(who.rendition.into()),
        });
        shard.insert(who.id, session.clone());
        Ok((session, true))
    }

    /// Lets nobody watch under this id for some time. Gives its session, if it watched until now.
    pub(super) fn kick(&self, id: &ViewerId, now: u64) -> Option<Arc<Session>> {
        let session = {
            let shard = self.shard(id);
            let session = shard.get(id).filter(|session| !session.kicked.swap(true, Relaxed))?;
            session.seen.store(now, Relaxed);
            session.clone()
        };
        self.tallies().leave(&session);
        Some(session)
    }

    /// Takes one out. False where that was done already.
    pub(super) fn remove(&self, session: &Session) -> bool {
        let removed = !session.is_kicked() && self.shard(&session.id).remove(&session.id).is_some();
        if removed {
            self.tallies().leave(session);
        }
        removed
    }

    /// Takes out those who have gone, and gives them; counts who watches with low latency.
    pub(super) fn sweep(&self, now: u64) -> Vec<Arc<Session>> {
        let mut gone = Vec::new();
        for shard in &self.shards {
            lock(shard).retain(|_, session| {
                let over = session.is_over(now);
                if over && !session.is_kicked() {
                    gone.push(session.clone());
                }
                let counts = !over && !session.is_kicked() && session.low_latency();
                session.audience.counted.fetch_add(usize::from(counts), Relaxed);
                !over
            });
        }
        let mut tallies = self.tallies();
        for session in &gone {
            tallies.leave(session);
        }
        for audience in tallies.streams.values() {
            audience.low_latency.store(audience.counted.swap(0, Relaxed), Relaxed);
        }
        gone
    }

    /// Brings each stream up to date: `other` viewers, and for how long one may be silent. None of the latter: the stream is
    /// over, and forgotten with its last viewer.
    pub(super) fn streams(&self, state: impl Fn(&str) -> (usize, Option<u64>)) {
        let streams: Vec<Arc<Audience>> = self.tallies().streams.values().cloned().collect();
        for audience in streams {
            let (other, patience) = state(&audience.stream);
            audience.peak.fetch_max(audience.now.load(Relaxed) + other, Relaxed);
            match patience {
                Some(patience) => audience.patience.store(patience, Relaxed),
                None => {
                    let mut tallies = self.tallies();
                    if audience.now.load(Relaxed) == 0 {
                        tallies.streams.remove(&audience.stream);
                    }
                }
            }
        }
    }

    pub(super) fn audience(&self, stream: &str) -> Option<Arc<Audience>> {
        self.tallies().streams.get(stream).cloned()
    }

    /// Somebody watches a stream by another way than this table.
    pub(super) fn watched(&self, stream: &str) {
        self.tallies().audience(stream);
    }

    /// Watching now, all streams together.
    pub(super) fn all(&self) -> usize {
        self.tallies().all
    }

    /// Watching now, from one network.
    pub(super) fn from(&self, network: IpAddr) -> usize {
        self.tallies().networks.get(&network).copied().unwrap_or_default()
    }

    /// Everybody, of one stream where one is named, in no order.
    pub(super) fn sessions(&self, stream: Option<&str>) -> Vec<Arc<Session>> {
        let wanted = |session: &&Arc<Session>| {
            !session.is_kicked() && stream.is_none_or(|stream| *session.audience.stream == *stream)
        };
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(lock(shard).values().filter(wanted).cloned());
        }
        all
    }

    fn shard(&self, id: &ViewerId) -> MutexGuard<'_, HashMap<ViewerId, Arc<Session>>> {
        lock(&self.shards[id.slot(SHARDS)])
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        lock(&self.tallies)
    }
}

impl Session {
    /// A request of it begins.
    pub(super) fn begin(&self, rendition: &str, low_latency: bool, now: u64) {
        self.low_latency.store(low_latency, Relaxed);
        self.held.fetch_add(1, Relaxed);
        self.seen.store(now, Relaxed);
        let mut last = lock(&self.rendition);
        if **last != *rendition {
            *last = rendition.into();
        }
    }

    /// A request of it is answered, or its client is gone.
    pub(super) fn end(&self, now: u64) {
        self.held.fetch_sub(1, Relaxed);
        if !self.is_kicked() {
            self.seen.store(now, Relaxed);
        }
    }

    pub(super) fn is_kicked(&self) -> bool {
        self.kicked.load(Relaxed)
    }

    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    pub(super) fn low_latency(&self) -> bool {
        self.low_latency.load(Relaxed)
    }

    pub(super) fn rendition(&self) -> Box<str> {
        lock(&self.rendition).clone()
    }

    fn is_over(&self, now: u64) -> bool {
        let kicked = self.is_kicked();
        let patience = if kicked { BANISHED } else { self.audience.patience.load(Relaxed) };
        let waits = !kicked && self.held.load(Relaxed) > 0;
        !waits && now.saturating_sub(self.seen()) > patience
    }
}

impl Tallies {
    fn admit(&mut self, who: &Newcomer<'_>, network: IpAddr, limits: &Limits) -> Result<Arc<Audience>, Full> {
        if self.all >= MOST {
            return Err(Full::Table);
        }
        let audience = self.streams.get(who.stream);
        let watching = audience.map_or(0, |audience| audience.now.load(Relaxed));
        let beyond = |most: usize, count: usize| most > 0 && count >= most;
        if beyond(limits.per_stream, watching + limits.elsewhere.0) {
            return Err(Full::Stream(limits.per_stream));
        }
        let near = self.networks.get(&network).copied().unwrap_or_default();
        if beyond(limits.per_network, near + limits.elsewhere.1) {
            return Err(Full::Network(limits.per_network));
        }
        if let Some(pass) = who.pass.filter(|pass| pass.most > 0) {
            let count = self.passes.entry(pass.tag).or_default();
            if *count >= pass.most {
                return Err(Full::Pass(pass.most));
            }
            *count += 1;
        }
        let audience = self.audience(who.stream);
        self.all += 1;
        *self.networks.entry(network).or_default() += 1;
        let now = audience.now.fetch_add(1, Relaxed) + 1;
        audience.peak.fetch_max(now + limits.elsewhere.0, Relaxed);
        Ok(audience)
    }

    /// Those of a stream, from now on if nobody is.
    fn audience(&mut self, stream: &str) -> Arc<Audience> {
        if let Some(audience) = self.streams.get(stream) {
            return audience.clone();
        }
        let audience = Arc::new(Audience {
            stream: stream.into(),
            now: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            low_latency: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            patience: AtomicU64::new(UNKNOWN),
        });
        self.streams.insert(stream.into(), audience.clone());
        audience
    }

    fn leave(&mut self, session: &Session) {
        self.all = self.all.saturating_sub(1);
        session.audience.now.fetch_sub(1, Relaxed);
        if let Some(count) = self.networks.get_mut(&session.network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&session.network);
            }
        }
        if let Some(pass) = session.pass.filter(|pass| pass.most > 0)
            && let Some(count) = self.passes.get_mut(&pass.tag)
        {
            *count -= 1;
            if *count == 0 {
                self.passes.remove(&pass.tag);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests of so many viewers at once do not meet.
const SHARDS: usize = 32;
/// Sessions at a time, some 400 bytes each: more than any one server has viewers.
const MOST: usize = 200_000;
/// Milliseconds until the stream's target duration is known.
const UNKNOWN: u64 = 30_000;
/// Milliseconds that who was sent away stays away: longer than players try again by themselves.
const BANISHED: u64 = 10 * 60 * 1_000;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
