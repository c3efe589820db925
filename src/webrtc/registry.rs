//! Where every session is: waiting for its peer's first request, or with a worker. Shared by the workers and by HTTP, locked
//! for moments, and never on the way of a packet of a session that is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Client;
use super::audience::Audience;
use super::ice::Credentials;
use super::session::{Media, Session, Shown};
use crate::access::{KeyId, Seat, network};

/// The registry.
#[derive(Debug)]
pub(super) struct Registry {
    table: Mutex<Table>,
    most: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<String, Entry>,
    /// By our user fragment; after a restart both the old and the new one lead to a session.
    fragments: HashMap<String, String>,
    tcp: HashMap<u64, Connection>,
    next_tcp: u64,
    /// TCP connections of a network that no session knows yet.
    unproven: HashMap<IpAddr, usize>,
    audience: Audience,
    draining: bool,
}

/// A TCP connection.
#[derive(Debug)]
struct Connection {
    writer: mpsc::Sender<Vec<u8>>,
    /// None once a session knows it.
    unproven: Option<IpAddr>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    fragments: Vec<String>,
    shown: Shown,
    etag: String,
    /// The network that the offer came from.
    peer: IpAddr,
    /// The key that let it in.
    key: Option<KeyId>,
    /// Kept until the session is over.
    _seat: Option<Seat>,
    connected: bool,
    /// The stream that it views; None for a publisher.
    views: Option<String>,
}

#[derive(Debug)]
enum Place {
    /// Nobody has asked for it yet.
    Waiting(Box<Session>, Instant),
    /// With a worker.
    With(usize),
}

/// Who has a session.
#[derive(Debug)]
pub(super) enum Found {
    /// You, from now on.
    Yours(Box<Session>),
    /// This worker.
    With(usize),
    /// Nobody.
    Nowhere,
}

/// Why a session is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// As many as may be.
    Sessions(usize),
    /// As many half-done offers of one address as may be.
    Address,
    /// The server ends.
    Draining,
}

impl Registry {
    /// For so many sessions.
    pub(super) fn new(most: usize) -> Registry {
        Registry { table: Mutex::default(), most: AtomicUsize::new(most) }
    }

    /// For so many from now on; those that are here stay.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes in a session of an offer from `client`.
    pub(super) fn add(&self, session: Session, etag: String, client: &Client) -> Result<(), Full> {
        let mut table = self.table();
        if table.draining {
            return Err(Full::Draining);
        }
        let most = self.most.load(Ordering::Relaxed);
        if table.sessions.len() >= most {
            return Err(Full::Sessions(most));
        }
        let peer = network(client.peer.ip());
        let waits = |entry: &&Entry| entry.peer == peer && !entry.connected;
        if table.sessions.values().filter(waits).count() >= MOST_WAITING {
            return Err(Full::Address);
        }
        let (id, fragment) = (session.id.clone(), session.transport.fragment().to_owned());
        table.fragments.insert(fragment.clone(), id.clone());
        let shown = session.shown.clone();
        let views = matches!(session.media, Media::Out(_)).then(|| shown.get().stream);
        if views.is_some() {
            table.audience.offered(peer);
        }
        let place = Place::Waiting(Box::new(session), Instant::now());
        let fragments = vec![fragment];
        let (key, seat) = (client.key.clone(), client.seat.clone());
        let entry = Entry { place, fragments, shown, etag, peer, key, _seat: seat, connected: false, views };
        table.sessions.insert(id, entry);
        Ok(())
    }

    /// A request for this user fragment reached `worker`.
    pub(super) fn claim(&self, fragment: &str, worker: usize) -> Found {
        let mut table = self.table();
        let Table { sessions, fragments, .. } = &mut *table;
        let Some(entry) = fragments.get(fragment).and_then(|id| sessions.get_mut(id)) else { return Found::Nowhere };
        match std::mem::replace(&mut entry.place, Place::With(worker)) {
            Place::Waiting(session, _) => Found::Yours(session),
            Place::With(owner) => {
                entry.place = Place::With(owner);
                Found::With(owner)
            }
        }
    }

    /// Its media can flow.
    pub(super) fn connected(&self, id: &str) {
        let mut table = self.table();
        let Table { sessions, audience, .. } = &mut *table;
        let Some(entry) = sessions.get_mut(id).filter(|entry| !entry.connected) else { return };
        entry.connected = true;
        if let Some(stream) = &entry.views {
            audience.connected(stream);
        }
    }

    /// What is known of viewers' numbers.
    pub(super) fn audience<T>(&self, of: impl FnOnce(&Audience) -> T) -> T {
        of(&self.table().audience)
    }

    /// Whether media can flow; None for no session.
    pub(super) fn is_connected(&self, id: &str) -> Option<bool> {
        self.table().sessions.get(id).map(|entry| entry.connected)
    }

    /// The worker of a session; None for one that nobody has asked for yet, and for none.
    pub(super) fn worker(&self, id: &str) -> Option<usize> {
        match self.table().sessions.get(id)?.place {
            Place::With(worker) => Some(worker),
            Place::Waiting(..) => None,
        }
    }

    /// The entity tag of a session's ICE credentials; None for no session.
    pub(super) fn etag(&self, id: &str) -> Option<String> {
        self.table().sessions.get(id).map(|entry| entry.etag.clone())
    }

    /// How a session goes.
    pub(super) fn shown(&self, id: &str) -> Option<Shown> {
        self.table().sessions.get(id).map(|entry| entry.shown.clone())
    }

    /// The ids of those whose keys `is` takes.
    pub(super) fn with_key(&self, is: impl Fn(&KeyId) -> bool) -> Vec<String> {
        let table = self.table();
        let has = |entry: &Entry| entry.key.as_ref().is_some_and(&is);
        table.sessions.iter().filter(|(_, entry)| has(entry)).map(|(id, _)| id.clone()).collect()
    }

    /// How all go.
    pub(super) fn all_shown(&self) -> Vec<Shown> {
        self.table().sessions.values().map(|entry| entry.shown.clone()).collect()
    }

    /// Gives a session new credentials: at once where nobody has asked for it yet, else `tell` tells its worker, or fails to.
    /// None for no session.
    pub(super) fn restart(
        &self,
        id: &str,
        (local, remote): (Credentials, String),
        etag: String,
        tell: impl FnOnce(usize, Credentials, String) -> bool,
    ) -> Option<bool> {
        let mut table = self.table();
        let Table { sessions, fragments, .. } = &mut *table;
        let entry = sessions.get_mut(id)?;
        let fragment = local.fragment.clone();
        match &mut entry.place {
            Place::Waiting(session, _) => session.transport.restart(local, remote),
            Place::With(worker) if !tell(*worker, local, remote) => return Some(false),
            Place::With(_) => {}
        }
        entry.etag = etag;
        fragments.insert(fragment.clone(), id.to_owned());
        entry.fragments.push(fragment);
        if entry.fragments.len() > MOST_FRAGMENTS {
            fragments.remove(&entry.fragments.remove(0));
        }
        Some(true)
    }

    /// It is over. Gives a session that no worker has.
    pub(super) fn remove(&self, id: &str) -> Option<Box<Session>> {
        let mut table = self.table();
        let entry = table.sessions.remove(id)?;
        for fragment in &entry.fragments {
            table.fragments.remove(fragment);
        }
        if let Some(stream) = &entry.views {
            table.audience.gone(stream, entry.peer, entry.connected);
        }
        match entry.place {
            Place::Waiting(session, _) => Some(session),
            Place::With(_) => None,
        }
    }

    /// Forgets offers that nobody came back for.
    pub(super) fn sweep(&self, patience: Duration) -> usize {
        let old = |entry: &Entry| matches!(&entry.place, Place::Waiting(_, since) if since.elapsed() > patience);
        let ids: Vec<String> =
            self.table().sessions.iter().filter(|(_, entry)| old(entry)).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| drop(self.remove(id)));
        ids.len()
    }

    /// No new sessions.
    pub(super) fn drain(&self) {
        self.table().draining = true;
    }

    /// Sessions now.
    pub(super) fn len(&self) -> usize {
        self.table().sessions.len()
    }

    /// A TCP connection from `peer`, and its writer; None where there are as many as may be.
    pub(super) fn add_tcp(&self, writer: mpsc::Sender<Vec<u8>>, peer: IpAddr) -> Option<u64> {
        let (mut table, peer) = (self.table(), network(peer));
        let unproven = table.unproven.get(&peer).copied().unwrap_or_default();
        if table.tcp.len() >= self.most.load(Ordering::Relaxed) || unproven >= MOST_WAITING {
            return None;
        }
        table.unproven.insert(peer, unproven + 1);
        table.next_tcp += 1;
        let id = table.next_tcp;
        table.tcp.insert(id, Connection { writer, unproven: Some(peer) });
        Some(id)
    }

    /// The writer of a TCP connection.
    pub(super) fn tcp(&self, id: u64) -> Option<mpsc::Sender<Vec<u8>>> {
        self.table().tcp.get(&id).map(|connection| connection.writer.clone())
    }

    /// A session knows it.
    pub(super) fn prove_tcp(&self, id: u64) {
        let mut table = self.table();
        let peer = table.tcp.get_mut(&id).and_then(|connection| connection.unproven.take());
        table.proven(peer);
    }

    /// It is closed.
    pub(super) fn remove_tcp(&self, id: u64) {
        let mut table = self.table();
        let peer = table.tcp.remove(&id).and_then(|connection| connection.unproven);
        table.proven(peer);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// A network has one connection less that no session knows.
    fn proven(&mut self, peer: Option<IpAddr>) {
        let Some(peer) = peer else { return };
        if let Some(count) = self.unproven.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.unproven.remove(&peer);
            }
        }
    }
}

/// Half-done offers, and connections that no session knows yet, of one address: a room full of browsers behind one router,
/// all at once.
const MOST_WAITING: usize = 64;
/// Credentials that lead to one session.
pub(super) const MOST_FRAGMENTS: usize = 4;
