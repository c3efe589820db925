//! Answers as HTTP: content types, lengths, caching, entity tags, conditional requests, compression, CORS.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;

use super::playlist::SECOND;
use super::rules::Rule;
use super::{Checker, Observation};

/// What an answer is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Changes all the time.
    Playlist,
    /// Immutable under its URL.
    Media,
}

/// The text of a playlist answer, unpacked; None if it cannot be.
pub fn text(seen: &Observation) -> Option<String> {
    if seen.header("content-encoding") != Some("gzip") {
        return String::from_utf8(seen.body.to_vec()).ok();
    }
    let mut text = String::new();
    // A playlist of ours is some ten kilobytes: a million bytes are surely a fault.
    flate2::read::GzDecoder::new(&seen.body[..]).take(1_000_000).read_to_string(&mut text).ok()?;
    Some(text)
}

impl Checker {
    pub(super) fn delivered(&mut self, seen: &Observation, sort: Sort) {
        let url = &seen.url;
        if seen.requested("origin").is_some() {
            let allowed = seen.header("access-control-allow-origin");
            self.ledger.check(Rule::Cors, allowed.is_some(), || format!("{url}: no Access-Control-Allow-Origin"));
        }
        match seen.status {
            200 => self.judge_headers(seen, sort),
            304 => self.judge_not_modified(seen),
            status => {
                let short = no_store(seen) || max_age(seen).is_some_and(|age| age <= 5);
                self.ledger.check(Rule::CachePlaylist, short, || {
                    format!("{url}: {status} with Cache-Control {:?}", seen.header("cache-control"))
                });
            }
        }
    }

    fn judge_headers(&mut self, seen: &Observation, sort: Sort) {
        let url = &seen.url;
        let kind = seen.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let fits = match sort {
            Sort::Playlist => matches!(kind, "application/vnd.apple.mpegurl" | "audio/mpegurl"),
            Sort::Media => matches!(kind, "video/mp4" | "audio/mp4" | "video/iso.segment"),
        };
        self.ledger.check(Rule::ContentType, fits, || format!("{url}: Content-Type {kind:?}"));
        let length = seen.header("content-length").and_then(|n| n.parse::<usize>().ok());
        self.ledger.check(Rule::ContentLength, length == Some(seen.body.len()), || {
            format!("{url}: Content-Length {length:?} with {} bytes", seen.body.len())
        });
        let caching = || format!("{url}: Cache-Control {:?}", seen.header("cache-control"));
        match sort {
            Sort::Playlist => {
                let target = self.renditions.iter().map(|r| r.target).max().unwrap_or(0).max(SECOND);
                let blocking = seen.query("_HLS_msn").is_some();
                let most = if blocking { 6 * target } else { target } / SECOND;
                let fits = no_store(seen) || max_age(seen).is_some_and(|age| age <= most.unsigned_abs());
                self.ledger.check(Rule::CachePlaylist, fits, caching);
                let vary = seen.header("vary").unwrap_or_default().to_ascii_lowercase();
                let packed = seen.requested("accept-encoding").is_some_and(|e| e.contains("gzip"));
                self.ledger.check(Rule::Gzip, !packed || seen.header("content-encoding") == Some("gzip"), || {
                    format!("{url}: gzip was welcome and did not come")
                });
                self.ledger.check(Rule::Gzip, vary.contains("accept-encoding"), || format!("{url}: Vary {vary:?}"));
                self.ledger.check(Rule::Etag, seen.header("etag").is_some(), || format!("{url}: no ETag"));
            }
            Sort::Media => {
                let long = !no_store(seen) && max_age(seen).is_some_and(|age| age >= 3600);
                self.ledger.check(Rule::CacheMedia, long, caching);
                self.judge_bytes(seen);
            }
        }
        if let (Some(asked), Some(tag)) = (seen.requested("if-none-match"), seen.header("etag")) {
            self.ledger.check(Rule::NotModified, asked != tag, || format!("{url}: 200 for the ETag that it still has"));
        }
    }

    fn judge_not_modified(&mut self, seen: &Observation) {
        let asked = seen.requested("if-none-match");
        let holds =
            asked.is_some() && seen.body.is_empty() && (seen.header("etag").is_none_or(|tag| Some(tag) == asked));
        self.ledger.check(Rule::NotModified, holds, || {
            format!("{}: 304 for {asked:?} with {} bytes and ETag {:?}", seen.url, seen.body.len(), seen.header("etag"))
        });
    }

    /// The same path never has other bytes.
    fn judge_bytes(&mut self, seen: &Observation) {
        let mut hasher = DefaultHasher::new();
        seen.body.hash(&mut hasher);
        let now = (hasher.finish(), seen.header("etag").map(str::to_owned));
        let was = self.digests.entry(seen.path().to_owned()).or_insert_with(|| now.clone());
        let same = *was == now;
        self.ledger.check(Rule::Immutable, same, || format!("{}: other bytes or another ETag than before", seen.url));
    }
}

fn no_store(seen: &Observation) -> bool {
    let control = seen.header("cache-control").unwrap_or_default();
    control.split(',').any(|d| matches!(d.trim(), "no-store" | "no-cache"))
}

fn max_age(seen: &Observation) -> Option<u64> {
    let control = seen.header("cache-control")?;
    control.split(',').find_map(|d| d.trim().strip_prefix("max-age=")).and_then(|n| n.parse().ok())
}
