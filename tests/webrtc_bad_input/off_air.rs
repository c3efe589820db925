//! WHEP of a stream that nobody publishes.

use std::time::{Duration, Instant};

use super::beside::Publisher;
use super::server;
use super::support::webrtc::{HERE, Identity, Peer, offer, post};

fn viewer() -> String {
    offer("recvonly", "theirs", &Identity::new().fingerprint)
}

#[tokio::test]
async fn by_default_a_viewer_is_told_to_come_back() {
    let server = server(&["--webrtc-wait", "0s"]).await;
    let reply = post(&server, HERE, "/whep/nobody", &viewer()).await;
    assert_eq!((reply.status, reply.header("retry-after")), (404, Some("2")), "{reply:?}");
}

#[tokio::test]
async fn by_option_a_viewer_waits_for_the_stream_and_not_for_ever() {
    let server = server(&["--webrtc-wait", "3s"]).await;
    let (start, viewer) = (Instant::now(), viewer());
    let (gone, publisher) = tokio::join!(post(&server, HERE, "/whep/nobody", &viewer), async {
        let waiting = async { post(&server, HERE, "/whep/late", &viewer).await };
        let publishing = async { Publisher::start(Peer::join(&server, "/whip/late").await, Some(30)) };
        let (reply, publisher) = tokio::join!(waiting, publishing);
        assert_eq!(reply.status, 201, "{reply:?}");
        publisher
    });
    drop(publisher);
    assert_eq!((gone.status, gone.header("retry-after")), (404, Some("2")));
    assert!(start.elapsed() >= Duration::from_secs(3));
}
