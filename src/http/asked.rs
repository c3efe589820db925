//! What a request asks, copied out of it. A request's own headers are slices of its connection's read buffer, and would
//! keep 8 KiB of it for each one that is held; this keeps some hundred bytes.

use std::net::IpAddr;

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};

use super::{conditional, route};

/// A request without its buffer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) has_body: bool,
    /// Path and query, undecoded.
    target: Box<str>,
    /// Where the path begins, behind a signed prefix.
    start: usize,
    path: usize,
    /// Whether the client takes gzip.
    pub(super) gzip: bool,
    pub(super) if_none_match: Option<Box<str>>,
    pub(super) if_range: Option<Box<str>>,
    pub(super) range: Option<Box<str>>,
    pub(super) origin: Option<HeaderValue>,
    /// The authority the client means: of the URI, else of the Host header.
    pub(super) host: Option<Box<str>>,
    /// What a player calls itself, cut short; of requests for playlists alone.
    pub(super) agent: Option<Box<str>>,
    /// The page that a request came from; of requests for playlists and pages alone.
    pub(super) referrer: Option<Box<str>>,
    /// A key or token in the Authorization header, of requests for streams alone.
    pub(super) bearer: Option<Box<str>>,
    /// Who asks, where it is known.
    pub(super) peer: Option<IpAddr>,
}

impl Asked {
    pub(super) fn of(request: &Request<Incoming>, peer: Option<IpAddr>) -> Asked {
        let asked = Asked::new(request.method(), request.uri(), request.headers(), !request.body().is_end_stream());
        Asked { peer, ..asked }
    }

    fn new(method: &Method, uri: &Uri, headers: &HeaderMap, has_body: bool) -> Asked {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let path = uri.path();
        let start = route::prefix(path).map_or(0, |(token, _)| route::SIGNED.len() + token.len());
        let playlist = path.ends_with(".m3u8");
        let stream = path.get(start..).is_some_and(|path| path.starts_with("/live/"));
        let one = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(Box::from);
        Asked {
            method: method.clone(),
            has_body,
            target: target.into(),
            start: start.min(target.len()),
            path: path.len().min(target.len()),
            gzip: conditional::takes_gzip(headers),
            if_none_match: joined(headers, header::IF_NONE_MATCH),
            if_range: one(header::IF_RANGE),
            range: one(header::RANGE),
            // A copy: a clone would be a slice of the buffer again.
            origin: headers.get(header::ORIGIN).and_then(|origin| HeaderValue::from_bytes(origin.as_bytes()).ok()),
            agent: playlist.then(|| agent(headers)).flatten(),
            referrer: (playlist || !stream).then(|| one(header::REFERER)).flatten(),
            bearer: stream.then(|| bearer(headers)).flatten(),
            peer: None,
            host: uri.authority().map(|authority| authority.as_str().into()).or_else(|| one(header::HOST)),
        }
    }

    pub(super) fn path(&self) -> &str {
        &self.target[self.start..self.path]
    }

    /// The token of a signed prefix.
    pub(super) fn token(&self) -> Option<&str> {
        self.target[..self.start].strip_prefix(route::SIGNED)
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.target[self.path..].strip_prefix('?')
    }

    /// A GET with these headers.
    #[cfg(test)]
    pub(super) fn with(headers: &[(HeaderName, &str)]) -> Asked {
        let headers = headers.iter().filter_map(|(name, value)| Some((name.clone(), value.parse().ok()?))).collect();
        Asked::new(&Method::GET, &Uri::default(), &headers, false)
    }
}

/// What a client calls itself, as it may be shown: without control characters, and not for ever.
fn agent(headers: &HeaderMap) -> Option<Box<str>> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(agent.get(..LONGEST_AGENT).unwrap_or(agent).into())
}

/// RFC 6750 section 2.1.
fn bearer(headers: &HeaderMap) -> Option<Box<str>> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
}

/// All values of a header that may come several times, as one list.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Box<str>> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(",").into())
}

/// Characters of a client's name.
const LONGEST_AGENT: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn path_and_query_are_told_apart() {
        for (uri, path, query) in [
            ("/", "/", None),
            ("/a/b?c=d&e", "/a/b", Some("c=d&e")),
            ("/a?", "/a", Some("")),
            ("http://host:80/a?b?c", "/a", Some("b?c")),
            ("http://host", "/", None),
            ("*", "*", None),
            ("host:443", "", None),
        ] {
            let asked = Asked::new(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new(), false);
            assert_eq!((asked.path(), asked.query()), (path, query), "{uri}");
        }
    }

    #[test]
    fn a_signed_prefix_is_no_part_of_the_path() {
        let of = |uri: &str| Asked::new(&Method::GET, &uri.parse().unwrap(), &HeaderMap::new(), false);
        let asked = of("/s/a-b_c.d/live/show/index.m3u8?x=1");
        assert_eq!(
            (asked.path(), asked.query(), asked.token()),
            ("/live/show/index.m3u8", Some("x=1"), Some("a-b_c.d"))
        );
        let asked = of("/live/s/index.m3u8");
        assert_eq!((asked.path(), asked.token()), ("/live/s/index.m3u8", None));
    }

    #[test]
    fn headers_are_copied() {
        let asked = Asked::with(&[
            (header::IF_NONE_MATCH, "\"a\""),
            (header::IF_NONE_MATCH, "\"b\""),
            (header::RANGE, "bytes=0-1"),
            (header::ACCEPT_ENCODING, "gzip"),
        ]);
        assert_eq!(asked.if_none_match.as_deref(), Some("\"a\",\"b\""));
        assert_eq!((asked.range.as_deref(), asked.if_range.as_deref(), asked.gzip), (Some("bytes=0-1"), None, true));
    }
}
