//! The answer that carries a still picture of a stream. It changes every few seconds under one address.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::asked::Asked;
use super::body::Body;
use super::conditional;

/// Answers with a JPEG, or 304 if the client has it.
pub(super) fn response(jpeg: Bytes, asked: &Asked) -> Response<Body> {
    let mut hasher = DefaultHasher::new();
    jpeg.hash(&mut hasher);
    let tag = conditional::tag(&format!("{:016x}", hasher.finish()), "");
    let known = tag.as_ref().is_some_and(|tag| conditional::known(asked, tag));
    let mut response = Response::new(if known { Body::empty() } else { Body::one(jpeg) });
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=2"));
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};

    use super::*;

    #[test]
    fn a_picture_that_is_known_is_not_sent_again() {
        let first = response(Bytes::from_static(b"jpeg"), &Asked::with(&[]));
        assert_eq!((first.headers()[CONTENT_TYPE].to_str().unwrap(), first.body().left()), ("image/jpeg", 4));
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let asked = || Asked::with(&[(IF_NONE_MATCH, &tag)]);
        assert_eq!(response(Bytes::from_static(b"jpeg"), &asked()).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response(Bytes::from_static(b"other"), &asked()).status(), StatusCode::OK);
    }
}
