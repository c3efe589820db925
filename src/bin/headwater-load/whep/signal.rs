//! WHEP and WHIP over HTTP: an offer posted, an answer taken, a session deleted. One connection for each request, since there
//! are two of them in the life of a session. Called by `viewer` and `source`.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;
use super::sdp::Answer;
use crate::target::Target;

/// Posts an offer; the answer, and the path of the session that came of it.
pub(crate) async fn post(target: &Target, offer: String) -> Result<(Answer, String), Failure> {
    let (status, location, body) = exchange(target, Method::POST, &target.path, offer).await?;
    if status != 201 {
        return Err(Failure::Status(status));
    }
    let answer = std::str::from_utf8(&body).ok().and_then(Answer::read).ok_or(Failure::Answer)?;
    Ok((answer, path(&location.unwrap_or_default()).to_owned()))
}

/// Ends a session. Not every server knows how.
pub(crate) async fn delete(target: &Target, session: &str) -> Result<(), Failure> {
    match exchange(target, Method::DELETE, session, String::new()).await {
        Ok((200 | 204, ..)) => Ok(()),
        _ => Err(Failure::Delete),
    }
}

async fn exchange(
    target: &Target,
    method: Method,
    path: &str,
    body: String,
) -> Result<(u16, Option<String>, Bytes), Failure> {
    let talk = async {
        let tcp = TcpStream::connect(target.address).await.map_err(|_| Failure::Connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(|_| Failure::Connect)?;
        let mut request = Request::builder().method(method).uri(path).header("host", &target.authority);
        if !body.is_empty() {
            request = request.header("content-type", "application/sdp");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| Failure::Answer)?;
        let receive = async {
            let response = sender.send_request(request).await.map_err(|_| Failure::Connect)?;
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|_| Failure::Answer)?;
            Ok((status, location, body.to_bytes()))
        };
        tokio::select! {
            received = receive => received,
            // It ends only with the connection; what was received by then is what there is.
            _ = connection => Err(Failure::Connect),
        }
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap_or(Err(Failure::Connect))
}

/// The path of a URL that may be whole.
fn path(location: &str) -> &str {
    match location.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => location,
    }
}

const PATIENCE: Duration = Duration::from_secs(15);
/// In bytes; an answer has some 2,000.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_session_is_named_by_its_path() {
        assert_eq!(path("/whep/a/b"), "/whep/a/b");
        assert_eq!(path("http://127.0.0.1:8080/whep/a"), "/whep/a");
    }
}
