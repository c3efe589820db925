//! The one place where what went wrong becomes a response: status, reason in plain text, and how long to remember it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::Body;
use crate::hls::Refusal;

/// Why a request has no better answer. The texts are for whoever typed the address, a developer most likely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    #[error("{0}")]
    NotFound(Cow<'static, str>),
    #[error("this method is not served here; use GET or HEAD")]
    MethodNotAllowed,
    #[error("requests with a body are not served here")]
    BodyRefused,
    #[error("the address is too long")]
    UriTooLong,
    #[error("the range begins past the end: there are {length} bytes")]
    Unsatisfiable { length: usize },
    #[error("{reason}")]
    NotYet { reason: &'static str, retry_after: Duration },
    #[error("this listener answers to localhost and to addresses alone, not to names; ask for http://localhost:PORT/")]
    Misdirected,
    #[error("too many connections; try again in {} seconds", BUSY.as_secs())]
    Busy,
    #[error("the server is shutting down")]
    Draining,
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    /// Nothing was shown that lets one in.
    #[error("{0}")]
    Unauthorized(Cow<'static, str>),
    /// Nobody can say now whether this is allowed.
    #[error("{0}")]
    Undecided(Cow<'static, str>),
    /// There is room again when others leave.
    #[error("{0}")]
    NoRoom(Cow<'static, str>),
    /// The client itself has too many.
    #[error("{0}")]
    TooMany(Cow<'static, str>),
}

impl Error {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Error::BadRequest(_) => StatusCode::BAD_REQUEST,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Error::BodyRefused => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Error::UriTooLong => StatusCode::URI_TOO_LONG,
            Error::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Error::NotYet { .. } | Error::Busy | Error::Draining | Error::NoRoom(_) | Error::Undecided(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Error::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::one(Bytes::from(format!("{self}\n"))));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.remembered()));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Error::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            }
            Error::Unauthorized(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"headwater\""));
            }
            Error::Unsatisfiable { length } => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            // What follows on the connection is the body we do not want to read.
            Error::BodyRefused | Error::Busy => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }

    /// A cache in front may answer for a second what is about to change: it takes the rush off a stream that starts,
    /// and a viewer waits no more than that second too long.
    fn remembered(&self) -> &'static str {
        match self {
            Error::NotFound(_) | Error::NotYet { .. } => "public, max-age=1",
            _ => "no-store",
        }
    }

    /// In whole seconds, rounded up: RFC 9110 section 10.2.3 has no smaller unit.
    pub(super) fn retry_after(&self) -> Option<u64> {
        let wait = match self {
            Error::NotYet { retry_after, .. } => *retry_after,
            Error::Busy | Error::Draining | Error::Undecided(_) => BUSY,
            Error::NoRoom(_) | Error::TooMany(_) => FULL,
            _ => return None,
        };
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero())))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NotFound(reason) => Error::NotFound(reason.into()),
            Refusal::BadRequest(reason) => Error::BadRequest(reason.into()),
            Refusal::NotYet { reason, retry_after } => Error::NotYet { reason, retry_after },
        }
    }
}

/// When a refused viewer should come back: players retry on their own, and this spreads them out.
const BUSY: Duration = Duration::from_secs(5);

/// When a viewer beyond a limit should come back: viewers leave more slowly than connections.
const FULL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_and_never_none() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (6_000, 6)] {
            let error = Error::NotYet { reason: "soon", retry_after: Duration::from_millis(millis) };
            assert_eq!(error.response().headers()[header::RETRY_AFTER], seconds.to_string(), "{millis} ms");
        }
    }

    #[test]
    fn every_refusal_says_what_is_wrong() {
        for (error, status, name, value) in [
            (Error::MethodNotAllowed, 405, header::ALLOW, "GET, HEAD, OPTIONS"),
            (Error::BodyRefused, 413, header::CONNECTION, "close"),
            (Error::Unsatisfiable { length: 9 }, 416, header::CONTENT_RANGE, "bytes */9"),
            (Error::Busy, 503, header::RETRY_AFTER, "5"),
            (Refusal::NotFound("gone").into(), 404, header::CACHE_CONTROL, "public, max-age=1"),
            (Refusal::BadRequest("odd").into(), 400, header::CACHE_CONTROL, "no-store"),
        ] {
            let response = error.response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[&name], value, "{error:?}");
            assert!(response.body().left() > 1, "{error:?}");
        }
    }
}
