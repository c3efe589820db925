//! Entity tags, If-None-Match, If-Range and Accept-Encoding (RFC 9110 sections 8.8, 13 and 12.5.3). Pure.

use hyper::HeaderMap;
use hyper::header::{ACCEPT_ENCODING, HeaderValue};

use super::asked::Asked;

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
pub(super) fn known(asked: &Asked, tag: &HeaderValue) -> bool {
    let mut listed = asked.if_none_match.iter().flat_map(|list| list.split(',')).map(str::trim);
    listed.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether a Range header counts: there is no If-Range, or it names exactly this representation. We send no dates of
/// change, so a date never does.
pub(super) fn range_counts(asked: &Asked, tag: &HeaderValue) -> bool {
    asked.if_range.as_deref().is_none_or(|wanted| wanted == tag)
}

/// Whether the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).any(|coding| {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hyper::header::{HeaderName, IF_NONE_MATCH, IF_RANGE};

    use super::*;

    fn asked(name: HeaderName, value: &str) -> Asked {
        Asked::with(&[(name, value)])
    }

    #[test]
    fn a_known_tag_is_found_in_any_list() {
        let tag = tag("a1", "").unwrap();
        for yes in [r#""a1""#, r#"W/"a1""#, r#""x", "a1""#, r#""x",W/"a1" ,"y""#, "*"] {
            assert!(known(&asked(IF_NONE_MATCH, yes), &tag), "{yes}");
        }
        for no in ["", "a1", r#""a2""#, r#""a1-gz""#, r#"w/"a1""#] {
            assert!(!known(&asked(IF_NONE_MATCH, no), &tag), "{no}");
        }
        assert!(!known(&Asked::with(&[]), &tag));
    }

    #[test]
    fn ranges_count_for_the_same_bytes_alone() {
        let tag = tag("a1", "-gz").unwrap();
        assert!(range_counts(&Asked::with(&[]), &tag));
        assert!(range_counts(&asked(IF_RANGE, r#""a1-gz""#), &tag));
        for no in [r#""a1""#, r#"W/"a1-gz""#, "Tue, 15 Nov 1994 12:45:26 GMT"] {
            assert!(!range_counts(&asked(IF_RANGE, no), &tag), "{no}");
        }
    }

    #[test]
    fn gzip_is_sent_where_it_is_welcome() {
        for yes in ["gzip", "deflate, gzip", "br;q=1.0, GZIP;q=0.5", "*", "gzip;q=1", "gzip ; q=0.001"] {
            assert!(asked(ACCEPT_ENCODING, yes).gzip, "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "xgzip"] {
            assert!(!asked(ACCEPT_ENCODING, no).gzip, "{no}");
        }
    }
}
