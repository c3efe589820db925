//! The rule checker: is fed what a strict client saw of one live presentation (when it asked, for what, what came), and
//! says which rule of RFC 8216bis, CMAF or this project was broken. [`Checker`] is pure; [`driver`] feeds it from a live
//! URL. Shares no code with the server: its parsers are its own, beside m3u8-rs as a second opinion.
//!
//! `text` judges one playlist, `reload` playlists over time, `fragments` media files, `delivery` answers as HTTP,
//! `multivariant` the multivariant playlist and what it claims.

// Each test binary that includes the checker uses a part of it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod boxes;
mod delivery;
pub mod driver;
mod fragments;
// The checker is also a test binary of its own, without the support module that most tests bring along.
#[allow(clippy::duplicate_mod)]
#[path = "../support/http.rs"]
pub mod http;
mod multivariant;
pub mod playlist;
mod reload;
pub mod rules;
mod text;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

pub use rules::{Ledger, Rule, Violation};

use boxes::Init;
use playlist::{Media, Nanos, Part, Segment, Tip};

/// One request and its answer.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// When the request was sent, since the start of the watch.
    pub asked: Duration,
    /// When the answer was complete.
    pub at: Duration,
    /// Path and query.
    pub url: String,
    /// Request headers, names in lower case.
    pub request: Vec<(String, String)>,
    /// HTTP status.
    pub status: u16,
    /// Answer headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it was sent, still compressed if it was.
    pub body: Bytes,
}

impl Observation {
    /// The URL without its query.
    pub fn path(&self) -> &str {
        self.url.split('?').next().unwrap_or(&self.url)
    }

    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.url.split_once('?')?;
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name)).map(|(_, value)| value)
    }

    /// The value of an answer header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value of a request header.
    pub fn requested(&self, name: &str) -> Option<&str> {
        self.request.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The file name, for details.
    pub fn label(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

/// What a path is, as the playlists said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Playlist(usize),
    Init(usize),
    Segment(usize, u64),
    Part(usize, u64, usize),
    /// Named by a preload hint and not yet listed.
    Hinted(usize),
}

/// What is remembered of one rendition.
#[derive(Debug, Default)]
struct Rendition {
    path: String,
    /// Header values of the first playlist, which must stay.
    constants: Option<reload::Constants>,
    /// Every segment ever listed.
    facts: BTreeMap<u64, Facts>,
    /// When answers came and what was newest in them, oldest first.
    tips: VecDeque<(Duration, Tip, u64)>,
    /// Recent playlists, to hold full against delta and plain against gzip.
    seen: VecDeque<reload::Seen>,
    /// Hints whose part has not been listed: what was newest when it was hinted, and the path.
    hints: BTreeMap<Tip, String>,
    /// Tips that other renditions' reports claimed for this one.
    claims: Vec<(Duration, (u64, u64))>,
    /// Length of the longest playlist.
    longest: Nanos,
    target: Nanos,
    part_target: Nanos,
    ended: Option<Duration>,
    inits: HashMap<String, Init>,
    cursor: fragments::Cursor,
}

/// What is remembered of one segment.
#[derive(Debug, Default)]
struct Facts {
    listing: Segment,
    complete: bool,
    /// Its discontinuity sequence number.
    discontinuity: u64,
    /// A playlist that lists it says that all segments are independent.
    independent: bool,
    /// Parts as first listed, and when.
    parts: Vec<(Part, Duration)>,
    /// When a playlist first came without it.
    removed: Option<Duration>,
    /// When a playlist first came without its parts.
    stripped: Option<Duration>,
    part_bytes: BTreeMap<usize, Bytes>,
    segment_bytes: Option<Bytes>,
    bytes: Option<usize>,
    measured: Option<fragments::Measured>,
}

/// The checker of one presentation in one epoch.
#[derive(Debug, Default)]
pub struct Checker {
    ledger: Ledger,
    index: String,
    renditions: Vec<Rendition>,
    resources: HashMap<String, Resource>,
    variants: Vec<multivariant::Claim>,
    groups: Vec<multivariant::Group>,
    /// Answers for paths that no playlist has named yet; oldest dropped beyond [`Checker::WAITING`].
    waiting: VecDeque<Observation>,
    /// A digest of the body of each immutable path, and its entity tag.
    digests: HashMap<String, (u64, Option<String>)>,
    finished: bool,
}

impl Checker {
    /// Answers that may wait for the playlist that names them.
    const WAITING: usize = 512;

    /// A checker of the presentation whose multivariant playlist is at the path `index`.
    pub fn new(index: &str) -> Checker {
        Checker { index: index.to_owned(), ..Checker::default() }
    }

    /// Takes one observation, in the order of arrival of the answers.
    pub fn observe(&mut self, seen: Observation) {
        if seen.path() == self.index {
            self.delivered(&seen, delivery::Sort::Playlist);
            self.observe_multivariant(&seen);
        } else if let Some(resource) = self.resources.get(seen.path()).copied() {
            self.observe_resource(resource, &seen);
        } else {
            if self.waiting.len() == Self::WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(seen);
            return;
        }
        self.retry();
    }

    /// Evaluates what only the end tells. Call once.
    pub fn finish(&mut self) -> &Ledger {
        if !self.finished {
            self.finished = true;
            self.finish_fragments();
            self.finish_multivariant();
        }
        &self.ledger
    }

    /// Counts and violations so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Paths that nothing explained, for the driver's own check.
    pub fn unexplained(&self) -> Vec<String> {
        self.waiting.iter().map(|o| o.url.clone()).collect()
    }

    fn observe_resource(&mut self, resource: Resource, seen: &Observation) {
        match resource {
            Resource::Playlist(r) => {
                self.delivered(seen, delivery::Sort::Playlist);
                self.observe_playlist(r, seen);
            }
            Resource::Init(r) => {
                self.delivered(seen, delivery::Sort::Media);
                self.observe_init(r, seen);
            }
            Resource::Segment(r, msn) => {
                self.delivered(seen, delivery::Sort::Media);
                self.observe_segment(r, msn, seen);
            }
            Resource::Part(r, msn, part) => {
                self.delivered(seen, delivery::Sort::Media);
                self.observe_part(r, msn, part, seen);
            }
            // Judged when a playlist lists it, or never if the stream took another turn.
            Resource::Hinted(_) => self.waiting.push_back(seen.clone()),
        }
    }

    /// Gives waiting answers another try: a playlist may have named them.
    fn retry(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(seen) = self.waiting.pop_front() else { break };
            match self.resources.get(seen.path()).copied() {
                None | Some(Resource::Hinted(_)) => self.waiting.push_back(seen),
                Some(Resource::Segment(r, msn)) if !self.init_known(r, msn) => self.waiting.push_back(seen),
                Some(Resource::Part(r, msn, _)) if !self.init_known(r, msn) => self.waiting.push_back(seen),
                Some(resource) => self.observe_resource(resource, &seen),
            }
        }
    }

    fn init_known(&self, r: usize, msn: u64) -> bool {
        let rendition = &self.renditions[r];
        let map = rendition.facts.get(&msn).and_then(|f| f.listing.map.as_ref());
        map.is_some_and(|map| rendition.inits.contains_key(map))
    }

    fn rendition(&mut self, path: &str) -> usize {
        if let Some(r) = self.renditions.iter().position(|r| r.path == path) {
            return r;
        }
        self.resources.insert(path.to_owned(), Resource::Playlist(self.renditions.len()));
        self.renditions.push(Rendition { path: path.to_owned(), ..Rendition::default() });
        self.renditions.len() - 1
    }
}

impl Rendition {
    /// File name, for details.
    fn label(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The newest part of a tip: its segment and index.
    fn last_part(&self, tip: Tip) -> Option<(u64, u64)> {
        if tip.parts > 0 {
            return Some((tip.msn, tip.parts - 1));
        }
        let (msn, facts) = self.facts.range(..tip.msn).rev().find(|(_, f)| !f.parts.is_empty())?;
        Some((*msn, facts.parts.len() as u64 - 1))
    }

    /// What was surely newest at a time: in answers that were complete by then.
    fn tip_at(&self, time: Duration) -> Option<Tip> {
        self.tips.iter().filter(|(at, _, _)| *at <= time).map(|(_, tip, _)| *tip).max()
    }
}

/// The path that `uri` names in a playlist at `base`, without query. RFC 3986 section 5, as far as servers use it.
pub fn resolve(base: &str, uri: &str) -> String {
    let uri = uri.split('?').next().unwrap_or(uri);
    let uri = match uri.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => uri,
    };
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let base = base.split('?').next().unwrap_or(base);
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for step in uri.split('/') {
        match step {
            "." => {}
            ".." => {
                parts.pop();
            }
            step => parts.push(step),
        }
    }
    parts.join("/")
}

/// Completes a delta playlist from what is known, and makes every URI a path.
fn resolved(base: &str, mut media: Media) -> Media {
    for segment in media.segments.iter_mut().chain([&mut media.open]) {
        if !segment.uri.is_empty() {
            segment.uri = resolve(base, &segment.uri);
        }
        segment.map = segment.map.as_ref().map(|map| resolve(base, map));
        for part in &mut segment.parts {
            part.uri = resolve(base, &part.uri);
        }
    }
    for hint in &mut media.hints {
        hint.uri = resolve(base, &hint.uri);
    }
    for report in &mut media.reports {
        report.uri = resolve(base, &report.uri);
    }
    media
}
