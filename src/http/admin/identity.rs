//! Who calls the admin API: by a token that administers, or by the cookie that it is exchanged for on the login page. Owns
//! the sessions of browsers; asks `access` about tokens. Never keeps a token or a cookie as it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName};
use hyper::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::access::{Access, From, NoRandom, Refused, Secret};
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

/// The one who knows who is who.
#[derive(Debug)]
pub(super) struct Identity {
    access: Access,
    /// By the cookie's hash.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    began: Instant,
    used: Instant,
}

impl Identity {
    pub(super) fn new(access: Access) -> Identity {
        Identity { access, sessions: Mutex::default() }
    }

    /// Who makes this call, or why nobody is taken to.
    pub(super) async fn of(&self, method: &Method, headers: &HeaderMap, peer: IpAddr) -> Result<Who, Problem> {
        if let Some(token) = text(headers, &header::AUTHORIZATION) {
            let token = bearer(token).ok_or_else(|| unknown("send Authorization: Bearer TOKEN"))?;
            return self.check(token, peer).await.map(|()| Who::Token);
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
    pub(super) async fn log_in(&self, token: &str, headers: &HeaderMap, peer: IpAddr) -> Result<String, Problem> {
        from_our_origin(headers)?;
        self.check(token, peer).await?;
        let failed = |error: NoRandom| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        let value = Secret::random().map_err(failed)?.reveal().to_owned();
        let now = Instant::now();
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.lives(now));
        if sessions.len() >= MOST_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(hash(&value), Session { began: now, used: now });
        Ok(value)
    }

    /// Ends the session of the caller's cookie.
    pub(super) fn log_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie(headers) {
            self.sessions().remove(&hash(cookie));
        }
    }

    fn lives(&self, cookie: &str, now: Instant) -> bool {
        let mut sessions = self.sessions();
        let Some(session) = sessions.get_mut(&hash(cookie)).filter(|session| session.lives(now)) else {
            return false;
        };
        session.used = now;
        true
    }

    async fn check(&self, token: &str, peer: IpAddr) -> Result<(), Problem> {
        let refused = match self.access.administer(token, &From::new(peer, "admin")).await {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        let problem = match refused {
            Refused::TooMany(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, refused.to_string()),
            Refused::Address => Problem::new(StatusCode::FORBIDDEN, refused.to_string()),
            Refused::Unavailable => Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
            _ => unknown("this is not the admin token"),
        };
        Err(match refused.retry_after() {
            Some(seconds) => problem.with(header::RETRY_AFTER, seconds.to_string()),
            None => problem,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE && now.saturating_duration_since(self.began) < LONGEST
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

const COOKIE: &str = "headwater_admin";
const OURS: HeaderName = HeaderName::from_static("x-headwater");
/// Browsers that are logged in at a time.
const MOST_SESSIONS: usize = 256;
/// A login without a call ends.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Every login ends.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::access;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn identity() -> Identity {
        let policy = access::Policy { admin_token: Some(Secret::new("right")), ..access::Policy::default() };
        let settings = access::Settings { policy, ..access::Settings::default() };
        Identity::new(Access::open(settings, crate::events::Events::new()).unwrap())
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    async fn logged_in(identity: &Identity) -> String {
        let value = identity.log_in("right", &HeaderMap::new(), PEER).await.unwrap();
        format!("other=1; {COOKIE}={value}")
    }

    #[tokio::test]
    async fn a_token_or_its_cookie_shows_who_calls() {
        let identity = identity();
        let by = async |pairs: &[(HeaderName, &str)]| identity.of(&Method::GET, &headers(pairs), PEER).await;
        assert_eq!(by(&[(header::AUTHORIZATION, "Bearer right")]).await.unwrap(), Who::Token);
        for wrong in ["Bearer wrong", "Bearer ", "Basic right", "right"] {
            assert_eq!(by(&[(header::AUTHORIZATION, wrong)]).await.unwrap_err().status, 401, "{wrong}");
        }
        assert_eq!(by(&[]).await.unwrap_err().status, 401);
        let cookie = logged_in(&identity).await;
        assert_eq!(by(&[(header::COOKIE, &cookie)]).await.unwrap(), Who::Cookie);
        identity.log_out(&headers(&[(header::COOKIE, &cookie)]));
        assert_eq!(by(&[(header::COOKIE, &cookie)]).await.unwrap_err().status, 401);
    }

    #[tokio::test]
    async fn a_page_of_another_site_changes_nothing() {
        let identity = identity();
        let cookie = logged_in(&identity).await;
        let post = async |more: &[(HeaderName, &str)]| {
            let mut all = vec![(header::COOKIE, cookie.as_str()), (header::HOST, "admin.example:8081")];
            all.extend_from_slice(more);
            identity.of(&Method::POST, &headers(&all), PEER).await.map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(post(&[]).await, Err(403));
        assert_eq!(post(&[(OURS, "1")]).await, Ok(Who::Cookie));
        assert_eq!(post(&[(OURS, "1"), (header::ORIGIN, "http://admin.example:8081")]).await, Ok(Who::Cookie));
        assert_eq!(post(&[(OURS, "1"), (header::ORIGIN, "http://other.example")]).await, Err(403));
        let elsewhere = headers(&[(header::ORIGIN, "http://other.example"), (header::HOST, "admin.example:8081")]);
        assert_eq!(identity.log_in("right", &elsewhere, PEER).await.unwrap_err().status, 403);
    }

    #[tokio::test]
    async fn who_guesses_waits_and_nobody_else_does() {
        let identity = identity();
        let mut last = StatusCode::OK;
        for _ in 0..30 {
            last = identity.check("wrong", PEER).await.unwrap_err().status;
        }
        assert_eq!(last, 429);
        assert_eq!(identity.check("right", PEER).await.unwrap_err().status, 429);
        assert!(identity.check("right", "203.0.113.8".parse().unwrap()).await.is_ok());
    }

    #[tokio::test]
    async fn logins_end_and_are_bounded() {
        let now = Instant::now();
        let session = Session { began: now, used: now };
        assert!(session.lives(now + IDLE - Duration::from_secs(1)) && !session.lives(now + IDLE));
        assert!(!Session { used: now + LONGEST, ..session }.lives(now + LONGEST));
        let identity = identity();
        for _ in 0..MOST_SESSIONS + 3 {
            identity.log_in("right", &HeaderMap::new(), PEER).await.unwrap();
        }
        assert_eq!(identity.sessions().len(), MOST_SESSIONS);
    }
}
