//! The answer that carries an init section, part or segment: immutable, whole or in one range, copied nowhere.

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::asked::Asked;
use super::body::Body;
use super::conditional;
use super::error::Error;
use super::range::{self, Extent};
use crate::hls::Media;

/// Answers with media that stands at the path that was asked for.
pub(super) fn response(media: Media, asked: &Asked) -> Result<Response<Body>, Error> {
    let tag = tag(asked.path(), media.length);
    if conditional::known(asked, &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        describe(response.headers_mut(), tag);
        return Ok(response);
    }
    let extent = match asked.range.as_deref() {
        // RFC 9110 section 14.2 defines ranges for GET alone.
        Some(text) if asked.method == Method::GET && conditional::range_counts(asked, &tag) => {
            range::read(text, media.length)
        }
        _ => Extent::Whole,
    };
    let (status, range) = match extent {
        Extent::Whole => (StatusCode::OK, 0..media.length),
        Extent::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Extent::Unsatisfiable => return Err(Error::Unsatisfiable { length: media.length }),
    };
    let span = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), media.length));
    let mut response = Response::new(Body::run(media.chunks, range));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    describe(headers, tag);
    headers.insert(header::CONTENT_TYPE, TYPE);
    if let Some(span) = span.and_then(|span| HeaderValue::try_from(span).ok()) {
        headers.insert(header::CONTENT_RANGE, span);
    }
    Ok(response)
}

fn describe(headers: &mut HeaderMap, tag: HeaderValue) {
    headers.reserve(HEADERS);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, tag);
}

/// The address alone names the bytes for ever, so its hash (FNV-1a, 64 bits) and the length tell them apart.
fn tag(path: &str, length: usize) -> HeaderValue {
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    HeaderValue::try_from(format!("\"{hash:x}-{length:x}\"")).unwrap_or(HeaderValue::from_static("\"media\""))
}

/// One type for init sections, parts and segments, with sound or without: every cache and player knows it, where
/// `video/iso.segment` is unknown to many and HLS players read neither (they follow CODECS).
const TYPE: HeaderValue = HeaderValue::from_static("video/mp4");

/// Room for ours and those of CORS.
const HEADERS: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use hyper::header::{CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, RANGE};

    use super::*;

    const PATH: &str = "/live/show/1/video/7.m4s";

    fn ask(headers: &[(HeaderName, &str)]) -> Result<Response<Body>, Error> {
        let chunks = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        response(Media { chunks: chunks.into(), length: 7 }, &Asked::with(headers))
    }

    #[test]
    fn whole_or_in_part() {
        let whole = ask(&[]).unwrap();
        assert_eq!((whole.status(), whole.body().left()), (StatusCode::OK, 7));
        let part = ask(&[(RANGE, "bytes=2-4")]).unwrap();
        assert_eq!((part.status(), part.body().left()), (StatusCode::PARTIAL_CONTENT, 3));
        assert_eq!(part.headers()[CONTENT_RANGE], "bytes 2-4/7");
        let mut head = Asked::with(&[(RANGE, "bytes=2-4")]);
        head.method = Method::HEAD;
        let media = Media { chunks: [Bytes::from_static(b"abcdefg")].into(), length: 7 };
        assert_eq!(response(media, &head).unwrap().status(), StatusCode::OK);
        assert_eq!(ask(&[(RANGE, "bytes=7-")]).unwrap_err(), Error::Unsatisfiable { length: 7 });
    }

    #[test]
    fn conditions_hold() {
        let tag = ask(&[]).unwrap().headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(ask(&[(IF_NONE_MATCH, &tag)]).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(&[(RANGE, "bytes=0-1"), (IF_RANGE, &tag)]).unwrap().status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(ask(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"x\"")]).unwrap().status(), StatusCode::OK);
    }

    #[test]
    fn tags_differ_by_address() {
        assert_ne!(tag(PATH, 7), tag("/live/show/2/video/7.m4s", 7));
        assert_ne!(tag(PATH, 7), tag(PATH, 8));
    }
}
