//! Requests to others over HTTP and HTTPS: one connection each, bounded in time and size, no redirects. What webhooks, key
//! sets and certificate authorities need, and no more. A leaf: `access` and `acme` ask by it.

#[cfg(test)]
pub(crate) mod site;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a request goes.
#[derive(Clone)]
pub struct Target {
    uri: Uri,
    host: String,
    port: u16,
    name: Option<ServerName<'static>>,
}

impl Target {
    /// Whether it is reached by TLS.
    fn is_secure(&self) -> bool {
        self.name.is_some()
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Target, BadTarget> {
        let bad = || BadTarget;
        let uri: Uri = text.parse().map_err(|_| BadTarget)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(BadTarget);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (name, usual) = match uri.scheme_str() {
            Some("https") => (Some(ServerName::try_from(host.clone()).map_err(|_| BadTarget)?), 443),
            Some("http") => (None, 80),
            _ => return Err(BadTarget),
        };
        let port = uri.port_u16().unwrap_or(usual);
        Ok(Target { uri, host, port, name })
    }
}

impl fmt::Debug for Target {
    /// Without the path and the query, where some have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Not the address of a web server. Does not repeat it: some have secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no address of a web server; write it as https://example.org/path, without a user")]
pub struct BadTarget;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The other end is not there, or is not who it should be.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It was there, and then no more.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// More than is wanted of anybody.
    #[error("the answer has more than {0} bytes")]
    Large(usize),
    /// The other end speaks TLS, and nobody here can judge it.
    #[error("there is no trust in any certificate here")]
    NoRoots,
}

/// Makes requests.
#[derive(Clone)]
pub struct Fetch {
    tls: Option<TlsConnector>,
    patience: Duration,
    /// Bytes of an answer.
    most: usize,
}

impl Fetch {
    /// For requests to `target`, each with so much time, and answers of at most so many bytes. Reads the system's certificate
    /// authorities where they are needed: an operator's own is trusted when the system trusts it.
    pub fn new(target: &Target, patience: Duration, most: usize) -> Result<Fetch, NoAuthorities> {
        let tls = target.is_secure().then(system_roots).transpose()?.map(connector).transpose()?;
        Ok(Fetch { tls, patience, most })
    }

    /// The same; who is certified by an authority of this PEM text is trusted too.
    pub fn trusting(target: &Target, patience: Duration, most: usize, pem: &[u8]) -> Result<Fetch, NoAuthorities> {
        let bad = |error: &dyn fmt::Display| NoAuthorities(error.to_string());
        // Where the system has none, these are all.
        let mut roots = system_roots().unwrap_or_else(|_| rustls::RootCertStore::empty());
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
        let tls = target.is_secure().then(|| connector(roots)).transpose()?;
        Ok(Fetch { tls, patience, most })
    }

    /// Sends a request to `target` and waits for the whole answer.
    pub async fn send(&self, target: &Target, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failed> {
        let exchange = Box::pin(self.exchange(target, request));
        tokio::time::timeout(self.patience, exchange).await.unwrap_or(Err(Failed::Late(self.patience)))
    }

    async fn exchange(&self, target: &Target, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failed> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(Failed::Connect)?;
        // Where the option cannot be set, the request is only slower.
        let _ = stream.set_nodelay(true);
        match &target.name {
            None => self.over(stream, target, request).await,
            Some(name) => {
                let tls = self.tls.as_ref().ok_or(Failed::NoRoots)?;
                let stream = tls.connect(name.clone(), stream).await.map_err(Failed::Connect)?;
                self.over(stream, target, request).await
            }
        }
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        target: &Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Failed> {
        let path = target.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::from_str(path).unwrap_or_default();
        let authority = target.uri.authority().map_or("", |authority| authority.as_str());
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static("")));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("headwater/", env!("CARGO_PKG_VERSION"))));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Both in this task: what is dropped when time is up closes the connection.
        let answer = async {
            let response = sender.send_request(request).await?;
            let (head, mut body) = response.into_parts();
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                bytes.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
                if bytes.len() > self.most {
                    return Err(Failed::Large(self.most));
                }
            }
            Ok(Response::from_parts(head, bytes.freeze()))
        };
        let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
        tokio::select! {
            answered = &mut answer => answered,
            ended = &mut connection => {
                ended?;
                answer.await
            }
        }
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("patience", &self.patience).field("most", &self.most).finish_non_exhaustive()
    }
}

/// The system trusts no certificate authority, or the TLS library none of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no certificate authorities are found on this system ({0}); install the package ca-certificates, or set SSL_CERT_FILE"
)]
pub struct NoAuthorities(String);

fn system_roots() -> Result<rustls::RootCertStore, NoAuthorities> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.first()) {
        (0, Some(error)) => Err(NoAuthorities(error.to_string())),
        (0, None) => Err(NoAuthorities("there are none".to_owned())),
        _ => Ok(roots),
    }
}

fn connector(roots: rustls::RootCertStore) -> Result<TlsConnector, NoAuthorities> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| NoAuthorities(error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::site::Site;
    use super::*;

    fn get() -> Request<Full<Bytes>> {
        Request::get("/").body(Full::default()).unwrap()
    }

    fn fetch(site: &Site, patience: Duration) -> (Fetch, Target) {
        let target: Target = site.url("/a?b=c").parse().unwrap();
        (Fetch::new(&target, patience, 1_000).unwrap(), target)
    }

    #[test]
    fn addresses_are_checked_and_not_repeated() {
        for text in ["http://example.org", "https://example.org:8443/a?b=c", "http://[::1]:80/", "https://192.0.2.1/"] {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
        for text in
            ["", "example.org", "ftp://example.org", "https://", "/path", "https://user:pass@example.org", "http://a b"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        let target: Target = "https://example.org/hook?token=topsecret".parse().unwrap();
        assert_eq!(format!("{target:?}"), "https://example.org:443");
    }

    #[tokio::test]
    async fn an_answer_comes_whole_or_not_at_all() {
        let site = Site::start(|asked| match asked.count {
            0 => (200, "hello".to_owned()),
            1 => (404, "nothing".to_owned()),
            _ => (200, "x".repeat(2_000)),
        })
        .await;
        let (fetch, target) = fetch(&site, Duration::from_secs(20));
        assert_eq!(fetch.send(&target, get()).await.unwrap().into_body(), "hello");
        assert_eq!(fetch.send(&target, get()).await.unwrap().status(), 404);
        assert!(matches!(fetch.send(&target, get()).await, Err(Failed::Large(1_000))));
        let asked = &site.asked()[0];
        assert_eq!((asked.path.as_str(), asked.body.as_str()), ("/a?b=c", ""));
        assert!(site.url("/").contains(asked.header("host").unwrap()));
    }

    #[tokio::test]
    async fn who_is_slow_or_dead_is_given_up() {
        let silent = Site::silent().await;
        let (fetch, target) = fetch(&silent, Duration::from_millis(50));
        assert!(matches!(fetch.send(&target, get()).await, Err(Failed::Late(_))));
        let dead: Target = Site::dead().await.parse().unwrap();
        assert!(matches!(fetch.send(&dead, get()).await, Err(Failed::Connect(_))));
    }

    #[tokio::test]
    async fn tls_is_spoken_with_those_that_can_prove_who_they_are() {
        let known = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let site = Site::start_tls(&known, |_| (200, "secured".to_owned())).await;
        let target: Target = site.url("/").parse().unwrap();
        let trusting = |certificate: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certificate.cert.der().clone()).unwrap();
            Fetch { tls: Some(connector(roots).unwrap()), patience: Duration::from_secs(20), most: 100 }
        };
        assert_eq!(trusting(&known).send(&target, get()).await.unwrap().into_body(), "secured");
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        assert!(matches!(trusting(&other).send(&target, get()).await, Err(Failed::Connect(_))));
    }
}
