//! The delivery directives of RFC 8216bis section 6.2.5 in a query, `ll=0`, and the viewer's id. Pure. Unknown parameters are ignored:
//! players and analytics add theirs.

use super::error::Error;
use super::route::number;
use crate::hls::Reload;

/// Of a playlist request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives<'a> {
    /// What the playlist shall be.
    pub(super) reload: Reload,
    /// `viewer`: who asks, as the multivariant playlist had it. Nothing in the answer depends on it.
    pub(super) viewer: Option<&'a str>,
}

/// Reads what a playlist request asks for, or says which directive makes no sense.
pub(super) fn read(query: Option<&str>) -> Result<Directives<'_>, Error> {
    let Some(query) = query else { return Ok(Directives::default()) };
    if query.len() > LONGEST {
        return Err(Error::UriTooLong);
    }
    let mut seen = Seen::default();
    let mut reload = Reload::default();
    let mut viewer = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "_HLS_msn" => reload.msn = Some(once(&mut seen.msn, "_HLS_msn").and_then(|()| count(value, "_HLS_msn"))?),
            "_HLS_part" => {
                reload.part = Some(once(&mut seen.part, "_HLS_part").and_then(|()| count(value, "_HLS_part"))?);
            }
            "_HLS_skip" => {
                once(&mut seen.skip, "_HLS_skip")?;
                reload.skip = choice(value, &["YES", "v2"], &[], "_HLS_skip must be YES or v2")?;
            }
            "ll" => {
                once(&mut seen.ll, "ll")?;
                reload.plain = choice(value, &["0"], &["1"], "ll must be 0 (ordinary HLS) or 1 (low latency)")?;
            }
            // The last one counts: players that add theirs to an address add it at the end.
            "viewer" => viewer = Some(value),
            _ => {}
        }
    }
    if reload.part.is_some() && reload.msn.is_none() {
        return Err(Error::BadRequest("_HLS_part needs _HLS_msn".into()));
    }
    Ok(Directives { reload, viewer })
}

#[derive(Default)]
struct Seen {
    msn: bool,
    part: bool,
    skip: bool,
    ll: bool,
}

fn once(seen: &mut bool, name: &'static str) -> Result<(), Error> {
    if std::mem::replace(seen, true) {
        return Err(Error::BadRequest(format!("{name} is given twice").into()));
    }
    Ok(())
}

fn count(value: &str, name: &'static str) -> Result<u64, Error> {
    match number(value).filter(|n| *n <= LARGEST) {
        Some(n) if !value.is_empty() => Ok(n),
        _ => Err(Error::BadRequest(format!("{name} must be a whole number from 0 to {LARGEST}").into())),
    }
}

fn choice(value: &str, yes: &[&str], no: &[&str], wrong: &'static str) -> Result<bool, Error> {
    let chosen = yes.contains(&value);
    if chosen || no.contains(&value) { Ok(chosen) } else { Err(Error::BadRequest(wrong.into())) }
}

/// The longest query in bytes; ours has some 60, and tokens of proxies in front may be long.
const LONGEST: usize = 2048;

/// What a player written in JavaScript can count to. A number beyond is a mistake wherever it comes from.
const LARGEST: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reload(msn: Option<u64>, part: Option<u64>, skip: bool, plain: bool) -> Reload {
        Reload { msn, part, skip, plain }
    }

    #[test]
    fn directives_are_read_in_any_order() {
        for (query, wanted) in [
            (None, Reload::default()),
            (Some(""), Reload::default()),
            (Some("_HLS_msn=12"), reload(Some(12), None, false, false)),
            (Some("_HLS_part=0&_HLS_msn=12"), reload(Some(12), Some(0), false, false)),
            (Some("_HLS_msn=7&_HLS_part=3&_HLS_skip=YES"), reload(Some(7), Some(3), true, false)),
            (Some("_HLS_skip=v2"), reload(None, None, true, false)),
            (Some("ll=0"), reload(None, None, false, true)),
            (Some("ll=1"), reload(None, None, false, false)),
            (Some("token=a%20b&_HLS_msn=1&cb&=&&x=y=z"), reload(Some(1), None, false, false)),
            (Some("_HLS_future=9"), Reload::default()),
        ] {
            assert_eq!(read(query).unwrap().reload, wanted, "{query:?}");
        }
        assert_eq!(read(Some("ll=0&viewer=ab-_9&_HLS_msn=1")).unwrap().viewer, Some("ab-_9"));
        assert_eq!(read(Some("viewers=1")).unwrap().viewer, None);
    }

    #[test]
    fn nonsense_is_named() {
        let long = format!("x={}", "y".repeat(3000));
        for (query, reason) in [
            ("_HLS_msn=", "_HLS_msn must be"),
            ("_HLS_msn", "_HLS_msn must be"),
            ("_HLS_msn=-1", "_HLS_msn must be"),
            ("_HLS_msn=+1", "_HLS_msn must be"),
            ("_HLS_msn=1e9", "_HLS_msn must be"),
            ("_HLS_msn=0x10", "_HLS_msn must be"),
            ("_HLS_msn=9007199254740992", "_HLS_msn must be"),
            ("_HLS_msn=99999999999999999999999999", "_HLS_msn must be"),
            ("_HLS_msn=1&_HLS_msn=1", "_HLS_msn is given twice"),
            ("_HLS_msn=1&_HLS_part=x", "_HLS_part must be"),
            ("_HLS_msn=1&_HLS_part=1&_HLS_part=2", "_HLS_part is given twice"),
            ("_HLS_part=1", "_HLS_part needs _HLS_msn"),
            ("_HLS_skip=yes", "_HLS_skip must be"),
            ("_HLS_skip=YES&_HLS_skip=v2", "_HLS_skip is given twice"),
            ("ll=2", "ll must be"),
            ("ll=0&ll=0", "ll is given twice"),
            (&long, "too long"),
        ] {
            let error = read(Some(query)).unwrap_err().to_string();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }
}
