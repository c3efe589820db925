//! Entity tags, If-None-Match, If-Range and Accept-Encoding (RFC 9110 sections 8.8, 13 and 12.5.3). Pure.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE};

/// A strong entity tag as the header has it, with its quotes; `suffix` tells encodings of one text apart.
pub(super) fn tag(opaque: &str, suffix: &str) -> Option<HeaderValue> {
    let mut text = String::with_capacity(opaque.len() + suffix.len() + 2);
    text.push('"');
    text.push_str(opaque);
    text.push_str(suffix);
    text.push('"');
    HeaderValue::try_from(text).ok()
}

/// Whether the client has this representation already, so that 304 will do. The comparison is the weak one.
pub(super) fn known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    listed(headers, IF_NONE_MATCH).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether a Range header counts: there is no If-Range, or it names exactly this representation. We send no dates of
/// change, so a date never does.
pub(super) fn range_counts(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers.get(IF_RANGE).is_none_or(|wanted| wanted == tag)
}

/// Whether the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    listed(headers, ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let name = name.trim();
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused(weight)
    })
}

/// `q=0`, `q=0.0` and so on: everything else is some degree of welcome.
fn refused(weight: &str) -> bool {
    let Some(value) = weight.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('=')) else {
        return false;
    };
    value.trim().bytes().all(|b| matches!(b, b'0' | b'.'))
}

fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_known_tag_is_found_in_any_list() {
        let tag = tag("a1", "").unwrap();
        for yes in [r#""a1""#, r#"W/"a1""#, r#""x", "a1""#, r#""x",W/"a1" ,"y""#, "*"] {
            assert!(known(&with(IF_NONE_MATCH, &[yes]), &tag), "{yes}");
        }
        for no in ["", "a1", r#""a2""#, r#""a1-gz""#, r#"w/"a1""#] {
            assert!(!known(&with(IF_NONE_MATCH, &[no]), &tag), "{no}");
        }
        assert!(known(&with(IF_NONE_MATCH, &[r#""x""#, r#""a1""#]), &tag));
        assert!(!known(&HeaderMap::new(), &tag));
    }

    #[test]
    fn ranges_count_for_the_same_bytes_alone() {
        let tag = tag("a1", "-gz").unwrap();
        assert!(range_counts(&HeaderMap::new(), &tag));
        assert!(range_counts(&with(IF_RANGE, &[r#""a1-gz""#]), &tag));
        for no in [r#""a1""#, r#"W/"a1-gz""#, "Tue, 15 Nov 1994 12:45:26 GMT"] {
            assert!(!range_counts(&with(IF_RANGE, &[no]), &tag), "{no}");
        }
    }

    #[test]
    fn gzip_is_sent_where_it_is_welcome() {
        for yes in ["gzip", "deflate, gzip", "br;q=1.0, GZIP;q=0.5", "*", "gzip;q=1", "gzip ; q=0.001"] {
            assert!(takes_gzip(&with(ACCEPT_ENCODING, &[yes])), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "xgzip"] {
            assert!(!takes_gzip(&with(ACCEPT_ENCODING, &[no])), "{no}");
        }
    }
}
