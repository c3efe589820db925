//! Byte ranges of RFC 9110 section 14: one range, or the whole. Pure.

use std::ops::Range;

/// What a Range header asks of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it: no header, one we may ignore (several ranges, another unit), or one that is not well-formed.
    Whole,
    /// These bytes; never empty, always within the resource.
    Part(Range<usize>),
    /// Bytes past the end.
    Unsatisfiable,
}

/// Reads a Range header for a resource of `length` bytes.
pub(super) fn read(header: &str, length: usize) -> Extent {
    let Some((unit, spec)) = header.split_once('=') else { return Extent::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Extent::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Extent::Whole };
    match (first, position(first), last, position(last)) {
        ("", _, _, Some(suffix)) => match suffix.min(length) {
            0 => Extent::Unsatisfiable,
            suffix => Extent::Part(length - suffix..length),
        },
        (_, Some(first), "", _) if first < length => Extent::Part(first..length),
        (_, Some(first), _, Some(last)) if last < first => Extent::Whole,
        (_, Some(first), _, Some(last)) if first < length => Extent::Part(first..last.saturating_add(1).min(length)),
        (_, Some(_), "", _) | (_, Some(_), _, Some(_)) => Extent::Unsatisfiable,
        _ => Extent::Whole,
    }
}

/// Digits alone; a number too large to hold is past every end.
fn position(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_in_all_its_forms() {
        for (header, asked) in [
            ("bytes=0-0", Extent::Part(0..1)),
            ("bytes=0-99", Extent::Part(0..100)),
            ("bytes=0-", Extent::Part(0..100)),
            ("bytes=99-", Extent::Part(99..100)),
            ("bytes=10-19", Extent::Part(10..20)),
            ("bytes=90-200", Extent::Part(90..100)),
            ("bytes=90-99999999999999999999999", Extent::Part(90..100)),
            ("bytes=-1", Extent::Part(99..100)),
            ("bytes=-500", Extent::Part(0..100)),
            ("Bytes=1-2", Extent::Part(1..3)),
            ("bytes=100-", Extent::Unsatisfiable),
            ("bytes=100-200", Extent::Unsatisfiable),
            ("bytes=99999999999999999999999-", Extent::Unsatisfiable),
            ("bytes=-0", Extent::Unsatisfiable),
            ("bytes=5-4", Extent::Whole),
            ("bytes=0-1,5-6", Extent::Whole),
            ("bytes=", Extent::Whole),
            ("bytes=-", Extent::Whole),
            ("bytes=a-b", Extent::Whole),
            ("bytes=1-b", Extent::Whole),
            ("bytes=-1-", Extent::Whole),
            ("bytes=+1-2", Extent::Whole),
            ("items=0-1", Extent::Whole),
            ("nonsense", Extent::Whole),
            ("", Extent::Whole),
        ] {
            assert_eq!(read(header, 100), asked, "{header}");
        }
    }

    #[test]
    fn nothing_has_no_ranges() {
        assert_eq!(read("bytes=0-", 0), Extent::Unsatisfiable);
        assert_eq!(read("bytes=-5", 0), Extent::Unsatisfiable);
    }
}
