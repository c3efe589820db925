//! The ICE-lite agent of one session (RFC 8445 section 2.5): which paths to the peer are proven, which of them is nominated,
//! and whether the peer still consents (RFC 7675). Sans-IO; `transport` feeds it. Sends on the nominated path alone: a peer
//! that keeps several paths warm would otherwise get its media on whichever it asked last.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_crypto::RTCCrypto;

use super::stun::Request;

/// One way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    /// The peer's address.
    pub(super) remote: SocketAddr,
    /// The address of ours that the peer asked, and that it must be answered from.
    pub(super) local: Option<IpAddr>,
    /// The number of the TCP connection; None for UDP.
    pub(super) tcp: Option<u64>,
}

/// What both ends prove themselves with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) fragment: String,
    pub(super) password: String,
}

/// The agent.
#[derive(Debug)]
pub(super) struct Ice {
    local: Credentials,
    /// The peer's fragment.
    remote: String,
    proven: Vec<Proven>,
    nominated: Option<usize>,
    heard: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Proven {
    path: Path,
    priority: u32,
    asked: Instant,
    nominated: Option<Instant>,
}

/// What a request led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not from the peer.
    Stranger,
    /// From the peer: this goes back where it came from. `moved`: from now on another path is used.
    Peer { answer: Vec<u8>, moved: bool },
}

impl Ice {
    /// For a peer whose offer named the fragment `remote`.
    pub(super) fn new(local: Credentials, remote: String, now: Instant) -> Ice {
        Ice { local, remote, proven: Vec::new(), nominated: None, heard: now }
    }

    /// Our fragment, by which requests find the session.
    pub(super) fn fragment(&self) -> &str {
        &self.local.fragment
    }

    /// New credentials on both ends (RFC 8445 section 9). Media goes on over the old path until a new one is nominated.
    pub(super) fn restart(&mut self, local: Credentials, remote: String) {
        (self.local, self.remote) = (local, remote);
        for proven in &mut self.proven {
            (proven.priority, proven.nominated) = (0, None);
        }
    }

    /// Takes a request that came over `path`.
    pub(super) fn hear(&mut self, mut request: Request, path: Path, now: Instant, crypto: &dyn RTCCrypto) -> Heard {
        let ours = request.local == self.local.fragment && request.remote == self.remote;
        if !ours || request.controlled || !request.proves(&self.local.password, crypto) {
            return Heard::Stranger;
        }
        let Some(answer) = request.answer(path.remote, &self.local.password, crypto) else { return Heard::Stranger };
        self.heard = now;
        let at = self.prove(path, request.priority, now);
        let moved = request.nominates && self.nominate(at, now);
        Heard::Peer { answer, moved }
    }

    /// Where to send: the nominated path, or while there is none the one that was asked over last.
    pub(super) fn path(&self) -> Option<Path> {
        let newest = || self.proven.iter().max_by_key(|proven| proven.asked);
        self.nominated.and_then(|at| self.proven.get(at)).or_else(newest).map(|proven| proven.path)
    }

    /// True for a path that the peer has proven to be its own; only over such does anything but STUN count.
    pub(super) fn is_proven(&self, path: &Path) -> bool {
        self.proven.iter().any(|proven| proven.path == *path)
    }

    /// The proven paths, for whoever routes datagrams.
    pub(super) fn paths(&self) -> impl Iterator<Item = Path> {
        self.proven.iter().map(|proven| proven.path)
    }

    /// The peer sent something that nobody else can have sent.
    pub(super) fn alive(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When the peer last showed that it wants to hear from us.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    fn prove(&mut self, path: Path, priority: u32, now: Instant) -> usize {
        if let Some(at) = self.proven.iter().position(|proven| proven.path == path) {
            let proven = &mut self.proven[at];
            (proven.asked, proven.priority) = (now, proven.priority.max(priority));
            return at;
        }
        let proven = Proven { path, priority, asked: now, nominated: None };
        if self.proven.len() < MOST_PATHS {
            self.proven.push(proven);
            return self.proven.len() - 1;
        }
        // The one that was asked over longest ago, save the nominated, makes room.
        let spare = (0..self.proven.len()).filter(|at| Some(*at) != self.nominated);
        let at = spare.min_by_key(|at| self.proven[*at].asked).unwrap_or(0);
        self.proven[at] = proven;
        at
    }

    /// An agent that nominates aggressively asks to use every path, so the best of them stands; one that moves to a
    /// lesser path stops asking for the better one.
    fn nominate(&mut self, at: usize, now: Instant) -> bool {
        self.proven[at].nominated = Some(now);
        let Some(before) = self.nominated.filter(|before| *before != at) else {
            return self.nominated.replace(at).is_none();
        };
        let old = self.proven[before];
        let stale = old.nominated.is_none_or(|then| now.saturating_duration_since(then) > RENEWED);
        if self.proven[at].priority < old.priority && !stale {
            return false;
        }
        self.nominated = Some(at);
        true
    }
}

/// More than the addresses of a laptop with a VPN and a phone attached; what exceeds it replaces the oldest.
const MOST_PATHS: usize = 16;
/// Browsers ask over the path they use every 2.5 s at least.
const RENEWED: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::stun::request;
    use super::*;

    fn ice(now: Instant) -> Ice {
        Ice::new(Credentials { fragment: "ours".into(), password: "secret".into() }, "theirs".into(), now)
    }

    fn path(remote: &str) -> Path {
        Path { remote: remote.parse().unwrap(), local: None, tcp: None }
    }

    fn ask(ice: &mut Ice, path: Path, raw: &[u8], now: Instant) -> Heard {
        let provider = rtc_crypto::default_provider().unwrap();
        ice.hear(Request::read(raw).unwrap(), path, now, provider.crypto())
    }

    fn moved(heard: Heard) -> bool {
        matches!(heard, Heard::Peer { moved: true, .. })
    }

    #[test]
    fn only_the_peer_is_heard() {
        let now = Instant::now();
        let mut ice = ice(now);
        let from = path("192.0.2.1:1000");
        for (user, password) in [("ours:theirs", "wrong"), ("ours:others", "secret"), ("other:theirs", "secret")] {
            assert_eq!(ask(&mut ice, from, &request(user, password, 1, true), now), Heard::Stranger);
        }
        assert!(!ice.is_proven(&from) && ice.path().is_none());
        assert!(moved(ask(&mut ice, from, &request("ours:theirs", "secret", 1, true), now)));
        assert!(ice.is_proven(&from) && ice.path() == Some(from));
        assert!(!ice.is_proven(&path("192.0.2.1:1001")));
    }

    #[test]
    fn media_goes_over_the_nominated_path_whoever_else_is_asked() {
        let mut now = Instant::now();
        let mut ice = ice(now);
        let (a, b) = (path("192.0.2.1:1000"), path("198.51.100.1:1000"));
        ask(&mut ice, a, &request("ours:theirs", "secret", 9, false), now);
        assert_eq!(ice.path(), Some(a), "while none is nominated, the newest");
        assert!(moved(ask(&mut ice, a, &request("ours:theirs", "secret", 9, true), now)));
        for _ in 0..10 {
            now += Duration::from_millis(500);
            ask(&mut ice, a, &request("ours:theirs", "secret", 9, true), now);
            assert!(!moved(ask(&mut ice, b, &request("ours:theirs", "secret", 5, false), now)));
            assert!(!moved(ask(&mut ice, b, &request("ours:theirs", "secret", 5, true), now)), "the better stands");
            assert_eq!(ice.path(), Some(a));
        }
        now += Duration::from_secs(4);
        assert!(moved(ask(&mut ice, b, &request("ours:theirs", "secret", 5, true), now)), "the better is given up");
        assert_eq!(ice.path(), Some(b));
        let c = path("203.0.113.1:1000");
        assert!(moved(ask(&mut ice, c, &request("ours:theirs", "secret", 7, true), now)), "a better one came");
    }

    #[test]
    fn a_restart_takes_new_credentials_and_keeps_the_path() {
        let now = Instant::now();
        let mut ice = ice(now);
        let (a, b) = (path("192.0.2.1:1000"), path("198.51.100.1:1000"));
        ask(&mut ice, a, &request("ours:theirs", "secret", 9, true), now);
        ice.restart(Credentials { fragment: "new".into(), password: "other".into() }, "fresh".into());
        assert_eq!(ice.path(), Some(a));
        assert_eq!(ask(&mut ice, b, &request("ours:theirs", "secret", 9, true), now), Heard::Stranger);
        assert!(moved(ask(&mut ice, b, &request("new:fresh", "other", 1, true), now)));
        assert_eq!(ice.path(), Some(b));
    }

    #[test]
    fn paths_are_bounded_and_the_nominated_one_stays() {
        let mut now = Instant::now();
        let mut ice = ice(now);
        let first = path("192.0.2.1:1000");
        ask(&mut ice, first, &request("ours:theirs", "secret", 9, true), now);
        for port in 1..100 {
            now += Duration::from_millis(1);
            ask(&mut ice, path(&format!("192.0.2.2:{port}")), &request("ours:theirs", "secret", 1, false), now);
        }
        assert_eq!(ice.paths().count(), MOST_PATHS);
        assert!(ice.is_proven(&first) && ice.is_proven(&path("192.0.2.2:99")) && !ice.is_proven(&path("192.0.2.2:1")));
    }
}
