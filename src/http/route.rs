//! Which resource a path names. Pure: paths are split and checked, never decoded, since no address of ours needs
//! percent-encoding; what is left cannot leave its folder or hide a slash.

use crate::access::StreamName;

use super::error::Error;

/// A resource of the viewers' listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/`
    Home,
    /// `/watch/NAME`
    Watch,
    /// `/embed/NAME`
    Embed,
    /// `/publish/NAME`
    Publish,
    /// `/assets/FILE`, `/favicon.ico`, `/favicon.svg`: the path within the built pages.
    Asset(&'a str),
    /// `/healthz`
    Alive,
    /// `/readyz`
    Ready,
    /// `/live/NAME/index.m3u8`
    Multivariant { name: &'a str },
    /// `/live/NAME/RENDITION.m3u8`
    Playlist { name: &'a str, rendition: &'a str },
    /// `/live/NAME/poster.jpg`
    Still { name: &'a str },
    /// `/live/NAME/EPOCH/RENDITION/FILE`
    Media { name: &'a str, epoch: u64, rendition: &'a str, file: &'a str },
}

impl<'a> Route<'a> {
    /// Whether it belongs to one stream, and may stand behind a signed prefix.
    pub(super) fn is_of_a_stream(&self) -> bool {
        match self {
            Route::Multivariant { .. } | Route::Playlist { .. } | Route::Still { .. } | Route::Media { .. } => true,
            Route::Watch | Route::Embed => true,
            Route::Home | Route::Publish | Route::Asset(_) | Route::Alive | Route::Ready => false,
        }
    }

    /// The resource at a path, or why there is none.
    pub(super) fn of(path: &'a str) -> Result<Route<'a>, Error> {
        check(path)?;
        let rest = path.strip_prefix('/').ok_or(Error::BadRequest("the path must start with a slash".into()))?;
        if let Some(rest) = rest.strip_prefix("live/") {
            return live(rest);
        }
        match rest.split_once('/') {
            Some(("watch", name)) => named(name).map(|()| Route::Watch),
            Some(("embed", name)) => named(name).map(|()| Route::Embed),
            Some(("publish", name)) => named(name).map(|()| Route::Publish),
            Some(("assets", _)) => Ok(Route::Asset(rest)),
            Some(_) => Err(NOTHING),
            None => match rest {
                "" => Ok(Route::Home),
                "favicon.ico" | "favicon.svg" => Ok(Route::Asset(rest)),
                "healthz" => Ok(Route::Alive),
                "readyz" => Ok(Route::Ready),
                _ => Err(NOTHING),
            },
        }
    }
}

/// A signed prefix, `/s/TOKEN`: its token, and the path behind it.
pub(super) fn prefix(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(SIGNED)?;
    let end = rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))?;
    let fits = (1..=LONGEST_TOKEN).contains(&end) && rest[end..].starts_with('/');
    fits.then(|| rest.split_at(end))
}

/// The path behind a signed prefix, or all of it where there is none.
pub(super) fn unsigned(path: &str) -> &str {
    prefix(path).map_or(path, |(_, rest)| rest)
}

/// How a signed prefix begins.
pub(super) const SIGNED: &str = "/s/";

/// Below `/live/`, the hot path.
fn live(rest: &str) -> Result<Route<'_>, Error> {
    let (name, rest) = rest.split_once('/').ok_or(NOTHING)?;
    named(name)?;
    if let Some(rendition) = rest.strip_suffix(".m3u8").filter(|rendition| !rendition.contains('/')) {
        return match rendition {
            "" => Err(NOTHING),
            "index" => Ok(Route::Multivariant { name }),
            _ => Ok(Route::Playlist { name, rendition }),
        };
    }
    if rest == "poster.jpg" {
        return Ok(Route::Still { name });
    }
    let mut parts = rest.split('/');
    let (Some(epoch), Some(rendition), Some(file), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NOTHING);
    };
    let epoch = number(epoch).ok_or(Error::NotFound("the epoch in the path is not a number".into()))?;
    if rendition.is_empty() || file.is_empty() {
        return Err(NOTHING);
    }
    Ok(Route::Media { name, epoch, rendition, file })
}

/// A number as addresses have it: digits alone, so that one resource has one address (`+1` parses as a number too).
pub(super) fn number(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

fn named(name: &str) -> Result<(), Error> {
    StreamName::check(name).map_err(|bad| Error::NotFound(bad.to_string().into()))
}

/// Refuses what no address of ours has, before anything looks at the parts.
fn check(path: &str) -> Result<(), Error> {
    if path.len() > LONGEST {
        return Err(Error::UriTooLong);
    }
    if let Some(odd) = path.bytes().find(|b| matches!(b, b'%' | b'\\' | 0..=b' ' | 0x7f..)) {
        let odd = char::from(odd);
        return Err(Error::BadRequest(
            format!("the path has {odd:?}; letters, digits, '-', '_', '.' and '/' are all an address here needs")
                .into(),
        ));
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Error::BadRequest("the path has a dot segment".into()));
    }
    Ok(())
}

const NOTHING: Error = Error::NotFound(std::borrow::Cow::Borrowed("nothing is at this address"));

/// The longest token in bytes: those of identity providers have a kilobyte.
const LONGEST_TOKEN: usize = 2048;

/// The longest path in bytes, without a signed prefix: a name of 64, a rendition and a file fit four times over.
const LONGEST: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_route_of_the_contract() {
        let name = "my-show_2.0";
        for (path, route) in [
            ("/", Route::Home),
            ("/watch/my-show_2.0", Route::Watch),
            ("/embed/my-show_2.0", Route::Embed),
            ("/publish/my-show_2.0", Route::Publish),
            ("/assets/app-1a2b.js", Route::Asset("assets/app-1a2b.js")),
            ("/assets/fonts/a.woff2", Route::Asset("assets/fonts/a.woff2")),
            ("/favicon.svg", Route::Asset("favicon.svg")),
            ("/favicon.ico", Route::Asset("favicon.ico")),
            ("/healthz", Route::Alive),
            ("/readyz", Route::Ready),
            ("/live/my-show_2.0/index.m3u8", Route::Multivariant { name }),
            ("/live/my-show_2.0/video.m3u8", Route::Playlist { name, rendition: "video" }),
            ("/live/my-show_2.0/poster.jpg", Route::Still { name }),
            (
                "/live/my-show_2.0/17/video/4.2.m4s",
                Route::Media { name, epoch: 17, rendition: "video", file: "4.2.m4s" },
            ),
        ] {
            assert_eq!(Route::of(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn a_signed_prefix_is_told_from_the_path() {
        let longest = "x".repeat(LONGEST_TOKEN);
        for token in ["a", "a.b-c_d", &*longest] {
            assert_eq!(prefix(&format!("/s/{token}/live/show/index.m3u8")), Some((token, "/live/show/index.m3u8")));
        }
        let long = format!("/s/{longest}x/live/show/index.m3u8");
        for path in ["/s//live/show", "/s/a", "/s/a%2f/b", "/s", "/live/s/a/b", "/s/a b/c", &*long] {
            assert_eq!(prefix(path), None, "{path}");
        }
    }

    #[test]
    fn all_else_is_refused_with_a_fitting_status() {
        let long = format!("/live/{}/index.m3u8", "x".repeat(300));
        let endless = format!("/{}", "x".repeat(5_000));
        for (path, status) in [
            ("/live/", 404),
            ("/live/show", 404),
            ("/live/show/", 404),
            ("/live/show/.m3u8", 404),
            ("/live//index.m3u8", 404),
            ("/live/.hidden/index.m3u8", 404),
            ("/live/a b/index.m3u8", 400),
            ("/live/show/x/video/1.m4s", 404),
            ("/live/show/+1/video/1.m4s", 404),
            ("/live/show/01/video/1.m4s", 404),
            ("/live/show/99999999999999999999999/video/1.m4s", 404),
            ("/live/show/1/video/1.m4s/", 404),
            ("/live/show/1/video/x/1.m4s", 404),
            ("/live/show/1//1.m4s", 404),
            ("/live/show/1/video.m3u8", 404),
            ("/live/../etc/passwd", 400),
            ("/live/show/1/video/..", 400),
            ("/assets/../watch.html", 400),
            ("/assets/./a.js", 400),
            ("/assets/%2e%2e/watch.html", 400),
            ("/live/%73how/index.m3u8", 400),
            ("/live/a%2fb/index.m3u8", 400),
            ("/live/a%00b/index.m3u8", 400),
            ("/live/a\\b/index.m3u8", 400),
            ("/watch/", 404),
            ("/watch/a/b", 404),
            ("/watch", 404),
            ("/favicon.png", 404),
            ("/nothing", 404),
            ("", 400),
            ("*", 400),
            (&long, 404),
            (&endless, 414),
        ] {
            assert_eq!(Route::of(path).unwrap_err().status().as_u16(), status, "{path}");
        }
    }
}
