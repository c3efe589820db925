//! TLS: both protocol versions, a certificate that changes, and handshakes that never come.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use headwater::http::{Edge, Settings};
use headwater::tls::Certificates;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::client::{Client, Raw, connector, secure};
use super::double::Double;
use super::{settings, watching};

struct Files {
    _dir: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        Files { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem"), _dir: dir }
    }

    /// Writes a new pair; gives the certificate.
    fn renew(&self) -> String {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&self.cert, made.cert.pem()).unwrap();
        fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.pem()
    }
}

fn start(files: &Files) -> (Edge, Certificates) {
    let certificates = Certificates::load(&files.cert, &files.key).unwrap();
    let settings = Settings {
        tls_listen: Some("127.0.0.1:0".parse().unwrap()),
        handshake_timeout: Duration::from_millis(200),
        ..settings()
    };
    let edge = Edge::start(settings, Double::new(), Some(certificates.for_http().unwrap()), None, watching()).unwrap();
    (edge, certificates)
}

#[tokio::test]
async fn both_versions_over_tls_and_http2_without() {
    let files = Files::new();
    let trusted = files.renew();
    let (edge, _certificates) = start(&files);
    let addr = edge.tls_addr().unwrap();
    let path = "/live/show/1/video/7.m4s";
    let stream = secure(addr, &connector(&trusted, &[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let reply = Client::http2(stream).await.get(path).await;
    assert_eq!(
        (reply.status, reply.text(), reply.header("content-length")),
        (200, "part one, part two, part three", "30")
    );
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let stream = secure(addr, &connector(&trusted, protocols)).await.unwrap();
        assert_eq!(Client::http1(stream).await.get(path).await.body.len(), 30);
    }
    let mut prior = Client::http2(TcpStream::connect(edge.addr()).await.unwrap()).await;
    assert_eq!(prior.get(path).await.body.len(), 30);
    assert_eq!(prior.get("/live/show/../x").await.status, 400);
}

#[tokio::test]
async fn long_answers_and_held_ones_come_whole_over_tls() {
    let files = Files::new();
    let trusted = files.renew();
    let certificates = Certificates::load(&files.cert, &files.key).unwrap();
    let settings = Settings { tls_listen: Some("127.0.0.1:0".parse().unwrap()), ..settings() };
    let double = Double::new();
    let edge = Edge::start(settings, double.clone(), Some(certificates.for_http().unwrap()), None, watching()).unwrap();
    let addr = edge.tls_addr().unwrap();
    let stream = secure(addr, &connector(&trusted, &[b"h2"])).await.unwrap();
    let Client::Two(sender) = Client::http2(stream).await else { panic!() };
    let held = tokio::spawn({
        let mut client = Client::Two(sender.clone());
        async move { client.get("/live/show/video.m3u8?_HLS_msn=8").await }
    });
    let mut sides = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut client = Client::Two(sender.clone());
        sides.spawn(async move { client.get("/live/show/1/video/big.m4s").await.body });
    }
    let stream = secure(addr, &connector(&trusted, &[b"http/1.1"])).await.unwrap();
    let mut one = Client::http1(stream).await;
    sides.spawn(async move { one.get("/live/show/1/video/big.m4s").await.body });
    while let Some(body) = sides.join_next().await {
        let body = body.unwrap();
        assert_eq!(body.len(), 64 << 20);
        assert!(body[63 << 20..].iter().all(|byte| *byte == 1));
    }
    double.waiting(1).await;
    double.publish(8);
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let files = Files::new();
    let old = files.renew();
    let (edge, certificates) = start(&files);
    let addr = edge.tls_addr().unwrap();
    let kept = secure(addr, &connector(&old, &[b"h2"])).await.unwrap();
    let mut kept = Client::http2(kept).await;
    let new = files.renew();
    certificates.reload().unwrap();
    assert!(secure(addr, &connector(&old, &[b"h2"])).await.is_err());
    let stream = secure(addr, &connector(&new, &[b"h2"])).await.unwrap();
    assert_eq!(Client::http2(stream).await.status("/healthz").await, 200);
    assert_eq!(kept.status("/healthz").await, 200);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let files = Files::new();
    let trusted = files.renew();
    let (edge, _certificates) = start(&files);
    let addr = edge.tls_addr().unwrap();
    for opening in ["", "\u{16}\u{3}\u{1}", "GET / HTTP/1.1\r\n\r\n"] {
        let mut raw = Raw::connect(addr).await;
        raw.say(opening).await;
        raw.closed().await;
    }
    let stream = secure(addr, &connector(&trusted, &[b"h2"])).await.unwrap();
    assert_eq!(Client::http2(stream).await.status("/healthz").await, 200);
}
