//! Clients: a socket that says exactly what the test wants, and hyper's for HTTP/2 and TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection that reads responses one by one.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Raw {
        Raw { stream, buffer: Vec::new() }
    }
}

impl Raw {
    pub(crate) async fn connect(addr: SocketAddr) -> Raw {
        Raw::from(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// GET, keeping the connection.
    pub(crate) async fn get(&mut self, path: &str, headers: &str) -> Reply {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
        self.reply(false).await
    }

    /// The next response. `bodiless`: it answers HEAD.
    pub(crate) async fn reply(&mut self, bodiless: bool) -> Reply {
        tokio::time::timeout(PATIENCE, self.read_reply(bodiless)).await.expect("an answer in time")
    }

    async fn read_reply(&mut self, bodiless: bool) -> Reply {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert_ne!(count, 0, "closed within a head: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let length = if bodiless || matches!(status, 204 | 304) { 0 } else { length };
        while self.buffer.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "closed within a body");
        }
        let body = self.buffer.drain(..length).collect::<Vec<u8>>().into();
        Reply { status, headers, body }
    }

    /// Until the server closes; how many bytes came before. A reset counts as closing.
    pub(crate) async fn closed(&mut self) -> usize {
        let drained = async {
            let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
            while let Ok(count @ 1..) = self.stream.read(&mut buffer).await {
                total += count;
            }
            total
        };
        tokio::time::timeout(PATIENCE, drained).await.expect("the server closes in time")
    }
}

/// One GET on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str, headers: &str) -> Reply {
    Raw::connect(addr).await.get(path, headers).await
}

/// TLS that trusts one certificate.
pub(crate) fn connector(trusted: &str, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn secure(addr: SocketAddr, tls: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    tls.connect(name, TcpStream::connect(addr).await.unwrap()).await
}

/// hyper's client in either version.
pub(crate) enum Client {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    pub(crate) async fn http1(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Client {
        let (client, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Client::One(client)
    }

    pub(crate) async fn http2(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Client {
        let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Client::Two(client)
    }

    pub(crate) async fn send(&mut self, path: &str) -> hyper::Result<Response<hyper::body::Incoming>> {
        let authority = if matches!(self, Client::Two(_)) { "http://localhost" } else { "" };
        let request =
            Request::get(format!("{authority}{path}")).header("host", "localhost").body(Empty::new()).unwrap();
        match self {
            Client::One(client) => client.send_request(request).await,
            Client::Two(client) => client.send_request(request).await,
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let answer = async {
            let (head, body) = self.send(path).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: head.status.as_u16(), headers: head.headers, body }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    pub(crate) async fn status(&mut self, path: &str) -> StatusCode {
        StatusCode::from_u16(self.get(path).await.status).unwrap()
    }
}
