//! LL-HLS, valid by construction: follows every stream of the hub, cuts it into parts and segments, renders each
//! playlist once, and answers who waits for them. `http` calls [`Hls`]; nothing here knows HTTP.

mod playlist;
mod presentation;
mod rendition;
mod segmenter;

use std::time::Duration;

use bytes::Bytes;

/// What a viewer asks of a media playlist: the delivery directives of RFC 8216bis section 6.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// `_HLS_msn`: hold the answer until this media sequence number is in the playlist.
    pub msn: Option<u64>,
    /// `_HLS_part`: of that segment, hold until this part is. Without `msn` a bad request.
    pub part: Option<u64>,
    /// `_HLS_skip=YES` or `v2`: a delta playlist is welcome.
    pub skip: bool,
    /// An ordinary HLS view without parts, for players that ask with `ll=0`.
    pub plain: bool,
}

/// A rendered playlist: the same bytes for every viewer.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// UTF-8 text.
    pub text: Bytes,
    /// The same, gzip.
    pub gzip: Bytes,
    /// Strong entity tag without quotes; changes whenever the text does.
    pub etag: std::sync::Arc<str>,
    /// How long a shared cache may keep it.
    pub max_age: Duration,
}

/// An init section, part or segment: immutable for ever under its URL.
#[derive(Clone, Debug)]
pub struct Media {
    /// The bytes in order; a segment is the run of its parts.
    pub chunks: std::sync::Arc<[Bytes]>,
    /// Sum of the chunks' lengths in bytes.
    pub length: usize,
}

/// Why there is no playlist or media to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such stream, rendition or file, or it has left the window. HTTP 404.
    #[error("{0}")]
    NotFound(&'static str),
    /// The directives make no sense. HTTP 400.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Not yet: the stream has no whole segment so far, or the part did not come in time. HTTP 503 with Retry-After.
    #[error("{reason}")]
    NotYet {
        /// What is missing.
        reason: &'static str,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// All presentations. Cheap to clone; `http` asks it by stream name.
#[derive(Clone, Debug)]
pub struct Hls {
    _private: (),
}

impl Hls {
    /// The multivariant playlist of a stream. Held until the first whole segment exists (bounded), else `NotYet`.
    /// `plain`: name the ordinary HLS view (`ll=0`) of each media playlist.
    pub async fn multivariant(&self, _name: &str, _plain: bool) -> Result<Rendered, Refusal> {
        Err(Refusal::NotFound("no such stream"))
    }

    /// A media playlist; held as the directives ask. `rendition` is the file name without `.m3u8`.
    pub async fn playlist(&self, _name: &str, _rendition: &str, _reload: Reload) -> Result<Rendered, Refusal> {
        Err(Refusal::NotFound("no such stream"))
    }

    /// An init section (`init-N.mp4`), segment (`MSN.m4s`) or part (`MSN.PART.m4s`); the part that is hinted next is held.
    pub async fn media(&self, _name: &str, _epoch: u64, _rendition: &str, _file: &str) -> Result<Media, Refusal> {
        Err(Refusal::NotFound("no such stream"))
    }

    /// True while the name has something to play (live, waiting, or ended and still watchable).
    pub fn on_air(&self, _name: &str) -> bool {
        false
    }
}
