//! A small web server for tests: it notes what it is asked and answers as a test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// How many came before it.
    pub(crate) count: usize,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// The server.
pub(crate) struct Site {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Site {
    /// Answers with a status and a body.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Site {
        Site::serve(None, Some(answer)).await
    }

    /// The same over TLS, as `localhost`.
    pub(crate) async fn start_tls(
        certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
        answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static,
    ) -> Site {
        let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.cert.der().clone()], key).unwrap();
        Site::serve(Some(Arc::new(config).into()), Some(answer)).await
    }

    /// Takes connections and says nothing.
    pub(crate) async fn silent() -> Site {
        Site::serve(None, None::<fn(&Asked) -> (u16, String)>).await
    }

    /// The address of nobody.
    pub(crate) async fn dead() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    }

    /// The address of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        let host = if self.scheme == "https" { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{}://{host}:{}{path}", self.scheme, self.address.port())
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve(
        tls: Option<tokio_rustls::TlsAcceptor>,
        answer: Option<impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static>,
    ) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), answer.map(Arc::new));
        let (notes, scheme) = (asked.clone(), if tls.is_some() { "https" } else { "http" });
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let Some(answer) = answer.clone() else {
                    open.push(stream);
                    continue;
                };
                let (notes, tls) = (notes.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => exchange(stream, &notes, &*answer).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => exchange(stream, &notes, &*answer).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Site { address, scheme, asked, task }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    notes: &Mutex<Vec<Asked>>,
    answer: &(impl Fn(&Asked) -> (u16, String) + Sync),
) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1)?.to_owned();
    let asked = {
        let mut notes = notes.lock().unwrap();
        let asked = Asked { count: notes.len(), path, head, body };
        notes.push(asked.clone());
        asked
    };
    let (status, body) = answer(&asked);
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
