//! A server within the test, and clients of it.

use std::time::{Duration, Instant};

use headwater::access::{KeyGrant, Made, NewKey};
use headwater::config::{Config, LadderMode, Time};
use headwater::server::Server;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::http::Client;
use super::support::publish::{Ffmpeg, Show};
use super::support::server::PATIENCE;
use super::support::webrtc::{Identity, Peer, Reply, offer};

/// A running server with files of its own.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) http: String,
    pub(crate) data: TempDir,
}

impl Rig {
    /// On free ports, with what `change` makes of the defaults.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Rig {
        let data = TempDir::new().unwrap();
        let mut config = Config::default();
        let free = "127.0.0.1:0".parse().unwrap();
        (config.http.listen, config.rtmp.listen, config.admin.listen, config.webrtc.listen) = (free, free, free, free);
        config.data.dir = data.path().to_owned();
        // This program is no worker.
        (config.transcode.mode, config.transcode.thumbnails) = (LadderMode::Off, Time::secs(0));
        config.server.threads = 1;
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        let http = server.http_addr().to_string();
        Rig { server, http, data }
    }

    /// Makes a key.
    pub(crate) async fn key(&self, stream: &str, grant: KeyGrant) -> Made {
        let new = NewKey { stream: Some(stream.parse().unwrap()), grant, label: String::new() };
        self.server.access().make_key(new).await.unwrap()
    }

    /// ffmpeg publishes with this stream key.
    pub(crate) fn publish(&self, key: &str) -> Ffmpeg {
        let show = Show { sound: None, ..Show::default() };
        show.publish_to(&format!("rtmp://{}/live/{key}", self.server.rtmp_addr().unwrap()))
    }

    /// ffmpeg publishes, is refused and says why.
    pub(crate) async fn refused(&self, key: &str) -> String {
        let mut ffmpeg = self.publish(key);
        let status = ffmpeg.process.exit(PATIENCE).await;
        assert!(!status.success(), "{key} was let in");
        ffmpeg.process.output()
    }

    /// Waits until there is something to watch.
    pub(crate) async fn live(&self, name: &str) {
        let (client, start) = (Client::new(&self.http), Instant::now());
        let url = format!("/live/{name}/index.m3u8");
        while client.get(&url).await.unwrap().status != 200 {
            assert!(start.elapsed() < PATIENCE, "{name} is not live");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request with a bearer token, on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\
             {bearer}Connection: close\r\n\r\n",
            self.http,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.http).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Offers to publish (`/whip/NAME`) or to watch (`/whep/NAME`).
    pub(crate) async fn offer(&self, path: &str, token: Option<&str>) -> (Reply, Identity) {
        let identity = Identity::new();
        let direction = if path.starts_with("/whip") { "sendonly" } else { "recvonly" };
        (self.ask("POST", path, token, &offer(direction, "theirs", &identity.fingerprint)).await, identity)
    }

    /// A session whose media can flow.
    pub(crate) async fn join(&self, path: &str, token: Option<&str>) -> Peer {
        let (reply, identity) = self.offer(path, token).await;
        assert_eq!(reply.status, 201, "{path}: {}", reply.body);
        let mut peer = Peer::answered(&reply, identity).await;
        assert!(peer.check(PATIENCE).await, "no answer to an ICE request");
        assert!(peer.shake(PATIENCE).await, "no DTLS handshake");
        peer
    }

    /// Waits until a session is no more; how long that took.
    pub(crate) async fn gone(&self, location: &str) -> Duration {
        let start = Instant::now();
        while self.ask("GET", &format!("{location}/status"), None, "").await.status == 200 {
            assert!(start.elapsed() < PATIENCE, "{location} goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }
}
