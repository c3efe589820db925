//! The edge's bounds and addresses, as `config` fills them in. Values only.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::access::Network;

/// What an [`Edge`](super::Edge) listens on and what it allows its peers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Plain HTTP/1.1 and HTTP/2 (prior knowledge); port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTP/1.1 and HTTP/2 over TLS; served only when a TLS configuration is given too.
    pub tls_listen: Option<SocketAddr>,
    /// Threads, each with its own runtime and listening sockets; 0 means one per core.
    pub threads: usize,
    /// Connections at a time, over all threads; one more is answered 503 and closed.
    pub max_connections: usize,
    /// From the first byte of a request (or from the accept, for the first one) to the end of its head.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request in flight.
    pub idle_timeout: Duration,
    /// How long a peer may take no byte of an answer that waits for it; a whole answer may take four to eight times that.
    pub write_timeout: Duration,
    /// From the accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// The largest request head in bytes.
    pub max_header_bytes: usize,
    /// Origins whose pages may read streams; `*` allows every one.
    pub allow_origins: Vec<String>,
    /// Proxies whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<Network>,
    /// Hosts whose pages may play streams; none lets in all.
    pub referrers: Vec<String>,
    /// Whether who says nothing of the page that plays is welcome where `referrers` are listed.
    pub empty_referrer: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            tls_listen: None,
            threads: 0,
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
            allow_origins: vec!["*".to_owned()],
            trusted_proxies: Vec::new(),
            referrers: Vec::new(),
            empty_referrer: true,
        }
    }
}
