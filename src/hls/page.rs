//! Rendered playlists: what is kept of them and for how long, and what HTTP needs of each. A rendition keeps its pages
//! here and renders what is missing; nothing here knows what a playlist says.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Rendered;
use super::window::Position;

/// The name of another rendition of the presentation and how far it is, as EXT-X-RENDITION-REPORT says it.
pub(super) type Report = (Arc<str>, Position);

/// A rendition's playlists as they are now: each rendered when first asked for after a change, once for all viewers. Of
/// a stream that nobody watches, nothing is rendered.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) full: Option<Rendered>,
    /// The inner None: a delta update would skip nothing.
    pub(super) delta: Option<Option<Rendered>>,
    pub(super) plain: Option<Rendered>,
    /// What `full` and `delta` say of the others.
    reports: Vec<Report>,
}

impl Pages {
    /// The rendition has changed; its plain view changes with whole segments alone.
    pub(super) fn forget(&mut self, closed: bool) {
        self.full = None;
        self.delta = None;
        if closed {
            self.plain = None;
        }
    }

    /// Forgets the pages that say something untrue of the others by now: a rendition may stand still while they go on.
    /// While all is well they are a part apart at most.
    pub(super) fn meet<'a>(&mut self, now: impl Iterator<Item = &'a Report> + Clone) {
        let unwritten = self.full.is_none() && self.delta.is_none();
        if unwritten || outrun(&self.reports, now.clone()) {
            self.forget(false);
            self.reports = now.cloned().collect();
        }
    }
}

/// Whether any rendition is more than a part further than it is said to be, or came or went. How many parts a segment had
/// that is over is not known here, so that another segment always counts.
fn outrun<'a>(said: &[Report], mut now: impl Iterator<Item = &'a Report> + Clone) -> bool {
    let further = |(name, (msn, part)): &Report| {
        let Some((_, (old, old_part))) = said.iter().find(|(other, _)| other == name) else { return true };
        msn > old || *part > old_part + 1
    };
    said.len() != now.clone().count() || now.any(further)
}

/// A playlist's text, and what is made from it at most once.
#[derive(Debug)]
pub(super) struct Page {
    text: Bytes,
    gzip: OnceLock<Bytes>,
    etag: Box<str>,
    max_age: Duration,
}

impl Rendered {
    /// From a finished text; `max_age` as [`Rendered::max_age`].
    pub fn new(text: String, max_age: Duration) -> Rendered {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let etag = format!("{:016x}", hasher.finish()).into();
        Rendered(Arc::new(Page { text: text.into(), gzip: OnceLock::new(), etag, max_age }))
    }

    /// UTF-8 text.
    pub fn text(&self) -> Bytes {
        self.0.text.clone()
    }

    /// The same, gzip: compressed when first asked for, once for all viewers.
    pub fn gzip(&self) -> Bytes {
        self.0.gzip.get_or_init(|| gzip(&self.0.text)).clone()
    }

    /// Strong entity tag without quotes; changes whenever the text does.
    pub fn etag(&self) -> &str {
        &self.0.etag
    }

    /// How long a shared cache may keep it.
    pub fn max_age(&self) -> Duration {
        self.0.max_age
    }
}

/// Level 4: playlists shrink to about a seventh, and the best level gains 3 % for three times the work.
fn gzip(text: &Bytes) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::new(4));
    match encoder.write_all(text).and_then(|()| encoder.finish()) {
        Ok(bytes) => bytes.into(),
        // Writing to memory cannot fail.
        Err(_) => Bytes::new(),
    }
}
