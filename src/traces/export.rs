//! Sends finished ways to an OpenTelemetry collector: OTLP over HTTP/1.1, in JSON, at most once a second. What cannot be sent
//! is dropped and counted; a collector that fails is left alone for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, timeout};

use super::{Traces, otlp};
use crate::metrics::TRACES_LOST;

/// Where a collector listens.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    /// `HOST:PORT`.
    host: String,
    path: String,
}

/// How often finished ways are sent.
const SEND: Duration = Duration::from_secs(1);
/// A request is answered within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure, nothing is tried for so long.
const REST: Duration = Duration::from_secs(10);
/// Where collectors take OTLP over HTTP.
const PORT: u16 = 4_318;

impl Collector {
    /// At `http://HOST[:PORT][/PATH]`; None for anything else.
    pub(super) fn at(endpoint: &str) -> Option<Collector> {
        let (host, path) = endpoint.strip_prefix("http://")?.split_once('/').unwrap_or((&endpoint[7..], ""));
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#');
        if host.is_empty() || endpoint.contains(odd) {
            return None;
        }
        let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err());
        let host = if bare { format!("{host}:{PORT}") } else { host.to_owned() };
        let path = match path.trim_end_matches('/') {
            "" => "/v1/traces".to_owned(),
            path => format!("/{path}"),
        };
        Some(Collector { host, path })
    }

    async fn post(&self, body: String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.host).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let request = Request::post(&self.path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            match response.status() {
                StatusCode::OK => Ok(()),
                status => Err(format!("it answers {status}").into()),
            }
        };
        // The connection ends with this request, whatever of its answer is still to come.
        tokio::select! {
            answered = answer => answered,
            ended = connection => Err(ended.err().map_or("it closed the connection".into(), Into::into)),
        }
    }
}

/// Sends what is done once a second, for ever.
pub(super) async fn run(traces: Arc<Traces>, collector: Collector) {
    let mut tick = tokio::time::interval(SEND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut rests, mut failing) = (None::<Instant>, false);
    loop {
        tick.tick().await;
        let now = Instant::now();
        let ways = traces.done(now);
        if ways.is_empty() {
            continue;
        }
        let tried = rests.is_none_or(|until| now >= until);
        let sent = match tried {
            true => {
                timeout(PATIENCE, collector.post(otlp::body(&traces, &ways))).await.unwrap_or_else(|_| Err(LATE.into()))
            }
            false => Err(LATE.into()),
        };
        match sent {
            Ok(()) => (rests, failing) = (None, false),
            Err(error) => {
                metrics::counter!(TRACES_LOST).increment(ways.len() as u64);
                if tried {
                    rests = Some(Instant::now() + REST);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(host = collector.host, %error, "traces are lost: the collector does not take them");
                    }
                }
            }
        }
    }
}

const LATE: &str = "no answer in time";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endpoints_are_addresses_without_tls() {
        for (text, host, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://collector", "collector:4318", "/v1/traces"),
            ("http://[::1]", "[::1]:4318", "/v1/traces"),
            ("http://collector:80/otlp/v1/traces", "collector:80", "/otlp/v1/traces"),
        ] {
            let collector = Collector::at(text).unwrap();
            assert_eq!((collector.host.as_str(), collector.path.as_str()), (host, path), "{text}");
        }
        for text in ["", "collector:4318", "https://collector", "http://", "http:///x", "http://a b", "http://u:p@host"]
        {
            assert!(Collector::at(text).is_none(), "{text}");
        }
    }
}
