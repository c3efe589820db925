//! A small HTTP/1.1 client over hyper: keeps connections, follows nothing, says when it asked and when the answer was
//! complete. Used by the checker's driver and by the end-to-end tests.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longer than any answer may be held: three target durations of the longest segments, and some.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one server.
pub struct Client {
    address: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: Instant,
    pub at: Instant,
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; lossy, for assertions.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A client of `host:port`.
    pub fn new(address: &str) -> Client {
        Client { address: address.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    /// The `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// GET of path and query.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.get_with(url, &[]).await
    }

    /// GET with request headers.
    pub async fn get_with(&self, url: &str, headers: &[(String, String)]) -> Result<Answer, String> {
        self.send("GET", url, headers, Bytes::new()).await
    }

    /// A request of any method, with a body.
    pub async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(PATIENCE, self.exchange(method, url, headers, body)).await {
            Ok(answer) => answer.map_err(|fault| format!("{method} {url}: {fault}")),
            Err(_) => Err(format!("{method} {url}: no answer within {PATIENCE:?}")),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut sender = self.connection().await?;
        let mut request = hyper::Request::builder().method(method).uri(url).header("host", &self.address);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let asked = Instant::now();
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        let at = Instant::now();
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(sender);
        }
        let text = |v: &hyper::header::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
        let headers = head.headers.iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
        Ok(Answer { asked, at, status: head.status.as_u16(), headers, body })
    }

    /// A kept connection that is still open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        loop {
            let kept = self.idle.lock().ok().and_then(|mut idle| idle.pop());
            let Some(mut sender) = kept else { break };
            if !sender.is_closed() && sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // Ends when the sender is dropped or the server closes.
        tokio::spawn(connection);
        Ok(sender)
    }
}
