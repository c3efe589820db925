//! The answer that carries a playlist: the rendered text or its gzip, whichever the client takes.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::asked::Asked;
use super::body::Body;
use super::conditional;
use crate::hls::Rendered;

/// Answers with a rendered playlist, or 304 if the client has it.
pub(super) fn response(rendered: &Rendered, asked: &Asked) -> Response<Body> {
    let gzip = asked.gzip;
    let tag = conditional::tag(rendered.etag(), if gzip { "-gz" } else { "" });
    let known = tag.as_ref().is_some_and(|tag| conditional::known(asked, tag));
    let mut response = Response::new(match (known, gzip) {
        (true, _) => Body::empty(),
        (false, true) => Body::one(rendered.gzip()),
        (false, false) => Body::one(rendered.text()),
    });
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(header::CACHE_CONTROL, lifetime(rendered.max_age().as_secs_f64()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(tag) = tag {
        headers.insert(header::ETAG, tag);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apple.mpegurl"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Answers with a multivariant playlist whose playlists' addresses carry a viewer's id: for this viewer alone.
pub(super) fn personal(rendered: &Rendered, id: &str, asked: &Asked) -> Response<Body> {
    let text = rendered.text();
    let own = Rendered::new(with_viewer(&String::from_utf8_lossy(&text), id), rendered.max_age());
    let mut response = response(&own, asked);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

/// Adds `viewer=ID` to every address: lines of their own, and URI attributes.
fn with_viewer(text: &str, id: &str) -> String {
    let mut whole = String::with_capacity(text.len() + 256);
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\r', '\n']);
        let end = match bare.strip_prefix('#') {
            None if bare.is_empty() => None,
            None => Some(bare.len()),
            Some(_) => bare.find(URI).and_then(|at| {
                let from = at + URI.len();
                bare[from..].find('"').map(|length| from + length)
            }),
        };
        let Some(end) = end else {
            whole.push_str(line);
            continue;
        };
        let (address, rest) = line.split_at(end);
        let begin = address.rfind('"').map_or(0, |at| at + 1);
        whole.push_str(address);
        whole.push_str(if address[begin..].contains('?') { "&viewer=" } else { "?viewer=" });
        whole.push_str(id);
        whole.push_str(rest);
    }
    whole
}

/// How an attribute with an address begins, RFC 8216bis section 4.4.6: none of ours comes first in its list.
const URI: &str = ",URI=\"";

/// How long caches may keep a playlist: about as long as it stays the newest, in whole seconds and at least one.
///
/// A blocking reload names the part it waited for, so its answer is as good later as it was then. An answer to a plain
/// request grows old with the next part, and may be a second late out of a cache: a low-latency player asks next for
/// what follows by number and is up to date at once; an ordinary one holds back three segments. What the second buys is
/// that a cache in front asks here once for any number of viewers.
fn lifetime(seconds: f64) -> HeaderValue {
    match seconds.ceil() as u64 {
        0 | 1 => HeaderValue::from_static("public, max-age=1"),
        more => HeaderValue::try_from(format!("public, max-age={more}"))
            .unwrap_or(HeaderValue::from_static("public, max-age=1")),
    }
}

/// Room for ours and those of CORS.
const HEADERS: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, IF_NONE_MATCH};

    use super::*;

    fn rendered(max_age: u64) -> Rendered {
        Rendered::new("#EXTM3U\n".to_owned(), Duration::from_millis(max_age))
    }

    fn ask(headers: &[(header::HeaderName, &str)]) -> Response<Body> {
        response(&rendered(333), &Asked::with(headers))
    }

    #[test]
    fn text_or_gzip_each_with_its_own_tag() {
        let plain = ask(&[]);
        let tag = rendered(333).etag().to_owned();
        assert_eq!((plain.headers()[ETAG].to_str().unwrap(), plain.body().left()), (&*format!("\"{tag}\""), 8));
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let zipped = ask(&[(ACCEPT_ENCODING, "gzip, br")]);
        assert_eq!(zipped.headers()[ETAG], format!("\"{tag}-gz\""));
        assert_eq!(zipped.body().left(), rendered(333).gzip().len());
        assert_eq!(zipped.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(zipped.headers()[header::VARY], "Accept-Encoding");
    }

    #[test]
    fn a_known_playlist_is_not_sent_again() {
        let tag = &format!("\"{}\"", rendered(333).etag());
        let known = ask(&[(IF_NONE_MATCH, tag)]);
        assert_eq!((known.status(), known.body().left()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(known.headers()[ETAG], *tag);
        assert_eq!(ask(&[(IF_NONE_MATCH, tag), (ACCEPT_ENCODING, "gzip")]).status(), StatusCode::OK);
    }

    #[test]
    fn every_address_carries_the_viewer_and_nothing_else_changes() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\",URI=\"a.m3u8\",CHANNELS=\"2\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\nsource.m3u8\n\n#EXT-X-STREAM-INF:BANDWIDTH=2\r\nx.m3u8?ll=0\r\ny";
        let with = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\",URI=\"a.m3u8?viewer=ID\",CHANNELS=\"2\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,b\"\nsource.m3u8?viewer=ID\n\n#EXT-X-STREAM-INF:BANDWIDTH=2\r\n\
            x.m3u8?ll=0&viewer=ID\r\ny?viewer=ID";
        assert_eq!(with_viewer(text, "ID"), with);
    }

    #[test]
    fn a_personal_playlist_is_in_no_cache() {
        let rendered = Rendered::new("#EXTM3U\nvideo.m3u8\n".to_owned(), Duration::from_secs(1));
        let response = personal(&rendered, "ID", &Asked::with(&[]));
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
        assert_eq!(response.body().left(), "#EXTM3U\nvideo.m3u8?viewer=ID\n".len());
        assert_ne!(response.headers()[ETAG], format!("\"{}\"", rendered.etag()));
    }

    #[test]
    fn lifetimes_are_whole_seconds_and_at_least_one() {
        for (millis, wanted) in [(0, 1), (333, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            let response = response(&rendered(millis), &Asked::with(&[]));
            assert_eq!(response.headers()[header::CACHE_CONTROL], format!("public, max-age={wanted}"));
        }
    }
}
