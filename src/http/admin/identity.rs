//! Who calls the admin API: by the admin token itself, or by the cookie that it is exchanged for on the login page. Owns
//! the sessions of browsers and the limit on wrong tokens. Never keeps a token or a cookie as it is.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::access::{NoRandom, Secret};
use crate::http::problem::Problem;

/// How a caller has shown who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody in particular, on a route that is for everybody.
    Anybody,
    /// A browser that has logged in.
    Cookie,
    /// A program that sends the token.
    Token,
}

impl Who {
    /// As the API and the audit log name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Anybody => "anybody",
            Who::Cookie => "browser",
            Who::Token => "token",
        }
    }
}

/// Whether a text is the admin token; compares in constant time.
pub(super) type IsToken = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The one who knows who is who.
pub(super) struct Identity {
    is_token: IsToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the cookie's hash.
    sessions: HashMap<[u8; 32], Session>,
    wrong: HashMap<IpAddr, Wrong>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    began: Instant,
    used: Instant,
}

/// Wrong tokens from one address.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    count: u32,
    last: Instant,
}

impl Identity {
    pub(super) fn new(is_token: IsToken) -> Identity {
        Identity { is_token, state: Mutex::default() }
    }

    /// Who makes this call, or why nobody is taken to.
    pub(super) fn of(&self, method: &Method, headers: &HeaderMap, peer: IpAddr) -> Result<Who, Problem> {
        if let Some(token) = text(headers, &header::AUTHORIZATION) {
            let token = bearer(token).ok_or_else(|| unknown("send Authorization: Bearer TOKEN"))?;
            return self.check(token, peer, Instant::now()).map(|()| Who::Token);
        }
        let cookie = cookie(headers).ok_or_else(|| unknown("log in, or send Authorization: Bearer TOKEN"))?;
        if !self.lives(cookie, Instant::now()) {
            return Err(unknown("the login is over; log in again"));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            from_our_page(headers)?;
        }
        Ok(Who::Cookie)
    }

    /// Exchanges the token for a cookie's value.
    pub(super) fn log_in(&self, token: &str, headers: &HeaderMap, peer: IpAddr) -> Result<String, Problem> {
        from_our_origin(headers)?;
        let now = Instant::now();
        self.check(token, peer, now)?;
        let failed = |error: NoRandom| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        let value = Secret::random().map_err(failed)?.reveal().to_owned();
        let mut state = self.state();
        state.sessions.retain(|_, session| session.lives(now));
        if state.sessions.len() >= MOST_SESSIONS
            && let Some(oldest) = state.sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash)
        {
            state.sessions.remove(&oldest);
        }
        state.sessions.insert(hash(&value), Session { began: now, used: now });
        Ok(value)
    }

    /// Ends the session of the caller's cookie.
    pub(super) fn log_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.state().sessions.remove(&hash(cookie));
        }
    }

    fn lives(&self, cookie: &str, now: Instant) -> bool {
        let mut state = self.state();
        let Some(session) = state.sessions.get_mut(&hash(cookie)).filter(|session| session.lives(now)) else {
            return false;
        };
        session.used = now;
        true
    }

    /// Whether a token is the right one; who is wrong too often waits.
    fn check(&self, token: &str, peer: IpAddr, now: Instant) -> Result<(), Problem> {
        let peer = network(peer);
        let wait = self.state().wrong.get(&peer).map_or(Duration::ZERO, |wrong| wrong.wait(now));
        if !wait.is_zero() {
            let seconds = wait.as_secs() + 1;
            let detail = format!("too many wrong tokens from this address; try again in {seconds} s");
            return Err(
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with(header::RETRY_AFTER, seconds.to_string())
            );
        }
        if (self.is_token)(token) {
            self.state().wrong.remove(&peer);
            return Ok(());
        }
        self.note_wrong(peer, now);
        Err(unknown("this is not the admin token"))
    }

    fn note_wrong(&self, peer: IpAddr, now: Instant) {
        let mut state = self.state();
        if state.wrong.len() >= MOST_ADDRESSES {
            state.wrong.retain(|_, wrong| now.saturating_duration_since(wrong.last) < FORGOTTEN);
            if state.wrong.len() >= MOST_ADDRESSES {
                // An attack from everywhere: forgetting all costs it nothing and keeps the memory bounded.
                state.wrong.clear();
            }
        }
        let wrong = state.wrong.entry(peer).or_insert(Wrong { count: 0, last: now });
        if now.saturating_duration_since(wrong.last) >= FORGOTTEN {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        if wrong.count.is_power_of_two() {
            tracing::warn!(%peer, count = wrong.count, "wrong admin token");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE && now.saturating_duration_since(self.began) < LONGEST
    }
}

impl Wrong {
    /// How long until this address is heard again: nothing for the first few, then twice as long each time.
    fn wait(&self, now: Instant) -> Duration {
        let Some(beyond) = self.count.checked_sub(FREE) else { return Duration::ZERO };
        let whole = Duration::from_secs(1 << beyond.min(6)).min(LONGEST_WAIT);
        whole.saturating_sub(now.saturating_duration_since(self.last))
    }
}

/// The cookie's header for a value; an empty one ends it.
pub(super) fn set_cookie(value: &str, secure: bool) -> String {
    let age = if value.is_empty() { 0 } else { LONGEST.as_secs() };
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// What a form of another site cannot send: a header of our own, and the origin if the browser says one.
fn from_our_page(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(OURS) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "a change by cookie needs the header X-Headwater: 1"));
    }
    from_our_origin(headers)
}

fn from_our_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = text(headers, &header::ORIGIN) else { return Ok(()) };
    let host = text(headers, &header::HOST).unwrap_or_default();
    match origin.split_once("://") {
        Some((_, authority)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Problem::new(StatusCode::FORBIDDEN, "this came from a page of another site")),
    }
}

fn unknown(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, "Bearer realm=\"headwater admin\"")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == COOKIE && !value.is_empty()).map(|(_, value)| value)
}

/// RFC 6750 section 2.1.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Of a random text of 160 bits: nothing is to be guessed from its hash.
fn hash(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

/// Who has one address of IPv6 has a whole /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

const COOKIE: &str = "headwater_admin";
const OURS: HeaderName = HeaderName::from_static("x-headwater");
/// Browsers that are logged in at a time.
const MOST_SESSIONS: usize = 256;
/// A login without a call ends.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Every login ends.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Wrong tokens that cost an address nothing.
const FREE: u32 = 5;
/// The longest wait for the next.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Addresses whose wrong tokens are remembered.
const MOST_ADDRESSES: usize = 4096;
/// And for how long.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn identity() -> Identity {
        Identity::new(Arc::new(|token| token == "right"))
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn logged_in(identity: &Identity) -> String {
        let value = identity.log_in("right", &HeaderMap::new(), PEER).unwrap();
        format!("other=1; {COOKIE}={value}")
    }

    #[test]
    fn a_token_or_its_cookie_shows_who_calls() {
        let identity = identity();
        let by = |pairs: &[(HeaderName, &str)]| identity.of(&Method::GET, &headers(pairs), PEER);
        assert_eq!(by(&[(header::AUTHORIZATION, "Bearer right")]).unwrap(), Who::Token);
        for wrong in ["Bearer wrong", "Bearer ", "Basic right", "right"] {
            assert_eq!(by(&[(header::AUTHORIZATION, wrong)]).unwrap_err().status, 401, "{wrong}");
        }
        assert_eq!(by(&[]).unwrap_err().status, 401);
        let cookie = logged_in(&identity);
        assert_eq!(by(&[(header::COOKIE, &cookie)]).unwrap(), Who::Cookie);
        identity.log_out(&headers(&[(header::COOKIE, &cookie)]));
        assert_eq!(by(&[(header::COOKIE, &cookie)]).unwrap_err().status, 401);
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let identity = identity();
        let cookie = logged_in(&identity);
        let post = |more: &[(HeaderName, &str)]| {
            let mut all = vec![(header::COOKIE, cookie.as_str()), (header::HOST, "admin.example:8081")];
            all.extend_from_slice(more);
            identity.of(&Method::POST, &headers(&all), PEER).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(post(&[]), Err(403));
        assert_eq!(post(&[(OURS, "1")]), Ok(Who::Cookie));
        assert_eq!(post(&[(OURS, "1"), (header::ORIGIN, "http://admin.example:8081")]), Ok(Who::Cookie));
        assert_eq!(post(&[(OURS, "1"), (header::ORIGIN, "http://other.example")]), Err(403));
        let elsewhere = headers(&[(header::ORIGIN, "http://other.example"), (header::HOST, "admin.example:8081")]);
        assert_eq!(identity.log_in("right", &elsewhere, PEER).unwrap_err().status, 403);
    }

    #[test]
    fn who_guesses_waits_and_nobody_else_does() {
        let identity = identity();
        let now = Instant::now();
        for _ in 0..FREE {
            assert_eq!(identity.check("wrong", PEER, now).unwrap_err().status, 401);
        }
        assert_eq!(identity.check("right", PEER, now).unwrap_err().status, 429);
        assert!(identity.check("right", "203.0.113.8".parse().unwrap(), now).is_ok());
        assert!(identity.check("right", PEER, now + LONGEST_WAIT).is_ok());
        for n in 0..3 * MOST_ADDRESSES as u32 {
            let _ = identity.check("wrong", IpAddr::V4(n.into()), now);
        }
        assert!(identity.state().wrong.len() <= MOST_ADDRESSES);
    }

    #[test]
    fn logins_end_and_are_bounded() {
        let now = Instant::now();
        let session = Session { began: now, used: now };
        assert!(session.lives(now + IDLE - Duration::from_secs(1)) && !session.lives(now + IDLE));
        assert!(!Session { used: now + LONGEST, ..session }.lives(now + LONGEST));
        let identity = identity();
        for _ in 0..MOST_SESSIONS + 3 {
            identity.log_in("right", &HeaderMap::new(), PEER).unwrap();
        }
        assert_eq!(identity.state().sessions.len(), MOST_SESSIONS);
    }
}
