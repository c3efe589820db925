//! Where the load goes: parses the URL that every mode takes, resolves it once, and refuses machines other than this
//! one unless the operator said so, because a load tool pointed at strangers is a weapon. Opens no connection.

use std::net::{SocketAddr, ToSocketAddrs};

use hyper::Uri;

/// A server under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Lower-case scheme: `rtmp`, `http` or `https`.
    pub(crate) scheme: String,
    /// Host and port as the URL has them; goes into Host and `:authority`.
    pub(crate) authority: String,
    /// The host alone, for TLS.
    pub(crate) host: String,
    /// The first address the host resolves to.
    pub(crate) address: SocketAddr,
    /// Path with query; starts with a slash.
    pub(crate) path: String,
}

/// Why a URL is no target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Not a URL, or not of a scheme this mode speaks.
    #[error("\"{url}\" is not a usable URL: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host has no address.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The host and port.
        host: String,
        /// The resolver's words.
        source: std::io::Error,
    },
    /// The address is another machine's.
    #[error("{host} is {address}, which is not this machine; add --allow-remote if it is yours to load")]
    Remote {
        /// The host and port.
        host: String,
        /// What it resolves to.
        address: SocketAddr,
    },
}

impl Target {
    /// Parses and resolves `url`, which must have one of `schemes`.
    pub(crate) fn parse(url: &str, schemes: &[&str], allow_remote: bool) -> Result<Target, Error> {
        let refuse = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
        let uri: Uri = url.parse().map_err(|e: hyper::http::uri::InvalidUri| refuse(&e.to_string()))?;
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        if !schemes.contains(&scheme.as_str()) {
            return Err(refuse(&format!("the scheme must be {}", schemes.join(" or "))));
        }
        let authority = uri.authority().ok_or_else(|| refuse("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("credentials in a URL are not supported"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(default_port(&scheme));
        let address = resolve(&host, port, allow_remote)?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Ok(Target { scheme, authority: authority.as_str().to_owned(), host, address, path })
    }
}

fn default_port(scheme: &str) -> u16 {
    match scheme {
        "rtmp" => 1935,
        "https" => 443,
        _ => 80,
    }
}

fn resolve(host: &str, port: u16, allow_remote: bool) -> Result<SocketAddr, Error> {
    let shown = format!("{host}:{port}");
    let mut addresses =
        (host, port).to_socket_addrs().map_err(|source| Error::Resolve { host: shown.clone(), source })?;
    let address = addresses.next().ok_or_else(|| Error::Resolve {
        host: shown.clone(),
        source: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"),
    })?;
    if allow_remote || address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err(Error::Remote { host: shown, address })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loopback_url_is_taken_apart() {
        let target = Target::parse("http://127.0.0.1:8080/live/a/index.m3u8?x=1", &["http", "https"], false).unwrap();
        assert_eq!(target.path, "/live/a/index.m3u8?x=1");
        assert_eq!(target.authority, "127.0.0.1:8080");
        assert_eq!(target.address.port(), 8080);
        let rtmp = Target::parse("rtmp://[::1]/live", &["rtmp"], false).unwrap();
        assert_eq!((rtmp.host.as_str(), rtmp.address.port()), ("::1", 1935));
    }

    #[test]
    fn strangers_are_refused_unless_allowed() {
        let url = "http://192.0.2.1/index.m3u8";
        assert!(matches!(Target::parse(url, &["http"], false), Err(Error::Remote { .. })));
        assert!(Target::parse(url, &["http"], true).is_ok());
        assert!(matches!(Target::parse("http://0.0.0.0/", &["http"], false), Err(Error::Remote { .. })));
    }

    #[test]
    fn rubbish_is_refused() {
        for url in ["", "live", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "http:///x", "rtmp://127.0.0.1"] {
            assert!(matches!(Target::parse(url, &["http"], true), Err(Error::Url { .. })), "{url}");
        }
    }
}
