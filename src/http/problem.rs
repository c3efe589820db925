//! Why a request is not served, as RFC 9457 has it: what callers of the admin API, of WHIP and of WHEP are told, as JSON.
//! Requests for pages and media are answered in plain text instead (`error`).

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::body::Body;
use super::error::Error;

/// A refusal, with headers of its own.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `detail`: what happened and what to do, for the caller's eyes.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), headers: Vec::new() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// With a header, unless its value cannot stand in one.
    pub(super) fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Problem {
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.push((name, value));
        }
        self
    }

    pub(super) fn response(self) -> Response<Body> {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let problem =
            json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut response = Response::new(Body::one(Bytes::from(problem.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let problem = Problem::new(error.status(), error.to_string());
        match error.retry_after() {
            Some(seconds) => problem.with(header::RETRY_AFTER, seconds.to_string()),
            None => problem,
        }
    }
}
