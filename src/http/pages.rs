//! The pages and their assets, built by npm and embedded in the binary, with the headers that fence them in.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use rust_embed::RustEmbed;

use super::asked::Asked;
use super::body::Body;
use super::conditional;
use super::error::Error;

/// `build.rs` made sure that the folder is there.
#[derive(RustEmbed)]
#[folder = "static/dist"]
struct Dist;

/// Everything built, by its path; read once, so that no request touches a disk.
#[derive(Debug)]
pub(super) struct Pages {
    files: HashMap<String, File>,
}

#[derive(Debug)]
struct File {
    bytes: Bytes,
    /// Filled by [`Pages::compress`] for texts; until then they go out as they are.
    gzip: OnceLock<Bytes>,
    /// Opaque part of the entity tag.
    etag: String,
    kind: HeaderValue,
    text: bool,
}

impl Pages {
    /// Takes all files. Cheap: in a release binary they are in memory already.
    pub(super) fn new() -> Arc<Pages> {
        let files = Dist::iter().filter_map(|path| {
            let file = Dist::get(&path)?;
            Some((path.into_owned(), File::new(file)))
        });
        // The type needs the path, so it is set in a second step.
        let mut files: HashMap<String, File> = files.collect();
        for (path, file) in &mut files {
            (file.kind, file.text) = kind(path);
        }
        Arc::new(Pages { files })
    }

    /// Compresses every text once. Takes tens of milliseconds: for a thread of its own.
    pub(super) fn compress(&self) {
        for file in self.files.values().filter(|file| file.text) {
            if let Some(gzip) = gzip(&file.bytes) {
                file.gzip.get_or_init(|| gzip);
            }
        }
    }

    /// A page, which no other site may show in a frame unless it is `framed`.
    pub(super) fn page(&self, path: &str, framed: bool, asked: &Asked) -> Result<Response<Body>, Error> {
        let mut response = self.file(path, asked)?;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, if framed { POLICY_FRAMED } else { POLICY });
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
        headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static("camera=(), microphone=(), geolocation=()"));
        if !framed {
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        Ok(response)
    }

    /// A page that may use cameras, microphones and screens, if its visitor lets it.
    pub(super) fn studio(&self, path: &str, asked: &Asked) -> Result<Response<Body>, Error> {
        let mut response = self.page(path, false, asked)?;
        let devices =
            HeaderValue::from_static("camera=(self), microphone=(self), display-capture=(self), geolocation=()");
        response.headers_mut().insert(PERMISSIONS_POLICY, devices);
        Ok(response)
    }

    /// The admin page, which shows players of the viewers' listener in frames.
    pub(super) fn console(&self, asked: &Asked) -> Result<Response<Body>, Error> {
        let mut response = self.page("admin.html", false, asked)?;
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY_CONSOLE);
        Ok(response)
    }

    /// Any built file.
    pub(super) fn file(&self, path: &str, asked: &Asked) -> Result<Response<Body>, Error> {
        let file = self.files.get(path).ok_or(Error::NotFound("no such file".into()))?;
        let gzip = file.gzip.get().filter(|_| asked.gzip);
        let tag = conditional::tag(&file.etag, if gzip.is_some() { "-gz" } else { "" });
        let known = tag.as_ref().is_some_and(|tag| conditional::known(asked, tag));
        let bytes = gzip.unwrap_or(&file.bytes).clone();
        let mut response = Response::new(if known { Body::empty() } else { Body::one(bytes) });
        let headers = response.headers_mut();
        headers
            .insert(header::CACHE_CONTROL, if hashed(path) { FOR_EVER } else { HeaderValue::from_static("no-cache") });
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag);
        }
        if file.text {
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        headers.insert(header::CONTENT_TYPE, file.kind.clone());
        if gzip.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

impl File {
    fn new(file: rust_embed::EmbeddedFile) -> File {
        let etag = file.metadata.sha256_hash()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes = match file.data {
            std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            std::borrow::Cow::Owned(bytes) => Bytes::from(bytes),
        };
        File {
            bytes,
            gzip: OnceLock::new(),
            etag,
            kind: HeaderValue::from_static("application/octet-stream"),
            text: false,
        }
    }
}

/// The media type by the name's end, and whether it is text that compresses.
fn kind(path: &str) -> (HeaderValue, bool) {
    let (kind, text) = match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => ("text/html; charset=utf-8", true),
        "js" | "mjs" => ("text/javascript; charset=utf-8", true),
        "css" => ("text/css; charset=utf-8", true),
        "svg" => ("image/svg+xml", true),
        "json" | "map" => ("application/json", true),
        "webmanifest" => ("application/manifest+json", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "png" => ("image/png", false),
        "jpg" | "jpeg" => ("image/jpeg", false),
        "webp" => ("image/webp", false),
        "ico" => ("image/x-icon", false),
        "woff2" => ("font/woff2", false),
        "wasm" => ("application/wasm", false),
        _ => ("application/octet-stream", false),
    };
    (HeaderValue::from_static(kind), text)
}

/// Whether the name carries a hash of the content, as the build gives all assets (`assets/app-UMCDQABQ.js`): such a name
/// never changes meaning.
fn hashed(path: &str) -> bool {
    let stem = path.strip_prefix("assets/").and_then(|name| name.rsplit_once('.'));
    let hash = stem.and_then(|(stem, _)| stem.rsplit_once('-'));
    hash.is_some_and(|(_, hash)| hash.len() >= 8 && hash.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()))
}

fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::best());
    encoder.write_all(bytes).ok()?;
    let zipped = encoder.finish().ok()?;
    // What does not shrink is better sent as it is.
    (zipped.len() < bytes.len()).then(|| zipped.into())
}

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Our own scripts alone; media from memory (`blob:`) as Media Source players have it, and their workers.
macro_rules! policy {
    ($frames:literal, $ancestors:literal) => {
        HeaderValue::from_static(concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; ",
            "font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; ",
            "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-src ",
            $frames,
            "; frame-ancestors ",
            $ancestors
        ))
    };
}
const POLICY: HeaderValue = policy!("'self'", "'none'");
const POLICY_FRAMED: HeaderValue = policy!("'self'", "*");
const POLICY_CONSOLE: HeaderValue = policy!("http: https:", "'none'");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asking(name: HeaderName, value: &str) -> Asked {
        Asked::with(&[(name, value)])
    }

    #[test]
    fn the_three_pages_are_there_and_fenced() {
        let pages = Pages::new();
        for (path, framed) in [("watch.html", false), ("embed.html", true), ("home.html", false)] {
            let page = pages.page(path, framed, &Asked::with(&[])).unwrap();
            let headers = page.headers();
            assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
            assert_eq!(headers.contains_key(header::X_FRAME_OPTIONS), !framed);
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.ends_with(if framed { "frame-ancestors *" } else { "frame-ancestors 'none'" }));
        }
        assert!(pages.file("none.js", &Asked::with(&[])).is_err());
    }

    #[test]
    fn texts_are_compressed_once_asked_to() {
        let text = "all work and no play ".repeat(100);
        let file = File {
            bytes: Bytes::from(text.clone()),
            gzip: OnceLock::new(),
            etag: "e".into(),
            kind: HeaderValue::from_static("text/css"),
            text: true,
        };
        let pages = Pages { files: HashMap::from([("assets/a.css".to_owned(), file)]) };
        let gzip = asking(header::ACCEPT_ENCODING, "gzip");
        assert_eq!(pages.file("assets/a.css", &gzip).unwrap().body().left(), text.len());
        pages.compress();
        let zipped = pages.file("assets/a.css", &gzip).unwrap();
        assert!(zipped.body().left() < text.len() / 2);
        assert_eq!(zipped.headers()[header::ETAG], "\"e-gz\"");
        let known = pages.file("assets/a.css", &asking(header::IF_NONE_MATCH, "\"e\"")).unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn only_hashed_names_are_kept_for_ever() {
        for yes in ["assets/app-UMCDQABQ.js", "assets/logo-44DDCFCB.svg"] {
            assert!(hashed(yes), "{yes}");
        }
        for no in [
            "watch.html",
            "assets/poster-1280x720.png",
            "assets/my-background.svg",
            "assets/app.js",
            "a-UMCDQABQ.js",
            "noend",
        ] {
            assert!(!hashed(no), "{no}");
        }
    }
}
