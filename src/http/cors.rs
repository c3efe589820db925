//! Which other sites' pages may read streams (the Fetch standard's CORS protocol). The answer that fits every site costs no
//! request a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::body::Body;
use crate::current::Current;

/// The allowed origins. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    any: Arc<AtomicBool>,
    listed: Current<Vec<HeaderValue>>,
}

impl Origins {
    /// From settings; entries that cannot stand in a header can match no Origin and are left out.
    pub(super) fn new(allowed: &[String]) -> Origins {
        let origins = Origins { any: Arc::default(), listed: Current::new(Vec::new()) };
        origins.allow(allowed);
        origins
    }

    /// Others from now on.
    pub(super) fn allow(&self, allowed: &[String]) {
        self.listed.set(allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect());
        self.any.store(allowed.iter().any(|origin| origin == "*"), Ordering::Relaxed);
    }

    /// Adds what a page of another site needs to read this answer. Streams carry no cookies, so no credentials.
    pub(super) fn open(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.any.load(Ordering::Relaxed) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            // Whoever is not listed still gets an answer that a cache must not give to whoever is.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = origin.filter(|origin| self.listed.get().contains(origin)) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }

    /// The answer to a preflight.
    pub(super) fn preflight(&self, origin: Option<&HeaderValue>) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.open(origin, headers);
        headers.insert(header::ALLOW, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ASKED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
        response
    }
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// What players measure by: the length and range of what came, its age, and when to try again.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Content-Length, Content-Range, Accept-Ranges, Age, Date, ETag, Retry-After");
const ASKED: HeaderValue = HeaderValue::from_static("Range, If-None-Match, If-Range, Cache-Control, Accept");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_or_those_listed() {
        let site = HeaderValue::from_static("https://site.example");
        let other = HeaderValue::from_static("https://other.example");
        let open = |origins: &Origins, origin: &HeaderValue| {
            origins.preflight(Some(origin)).headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
        };
        let any = Origins::new(&["*".to_owned()]);
        assert_eq!(open(&any, &other), Some(HeaderValue::from_static("*")));
        let listed = Origins::new(&["https://site.example".to_owned()]);
        assert_eq!(open(&listed, &site), Some(site.clone()));
        assert_eq!(open(&listed, &other), None);
        assert_eq!(listed.preflight(None).headers()[header::VARY], "Origin");
        assert_eq!(open(&Origins::new(&[]), &site), None);
        listed.clone().allow(&["https://other.example".to_owned()]);
        assert_eq!((open(&listed, &site), open(&listed, &other)), (None, Some(other)));
    }
}
