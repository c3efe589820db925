//! Offers that cannot be read, are too large, or that nobody comes back for.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::support::webrtc::{HERE, Identity, Peer, Reply, ask, offer, post};
use super::{noise, server, sessions, until};

/// A refusal, with its reason as RFC 9457 has it.
fn refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status, status, "{reason}: {reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reason}");
    let problem: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(reason) && detail.len() < 400, "{reason:?} is not in {detail:?}");
}

fn good(direction: &str) -> String {
    offer(direction, "theirs", &Identity::new().fingerprint)
}

#[tokio::test]
async fn offers_that_make_no_sense_are_refused_with_a_reason() {
    let server = server(&["--webrtc-wait", "0s"]).await;
    let good = good("sendonly");
    let without = |line: &str| good.lines().filter(|each| !each.starts_with(line)).collect::<Vec<_>>().join("\r\n");
    let many: String = (0..17).map(|at| format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:x{at}\r\n")).collect();
    for (offer, status, reason) in [
        (String::new(), 400, "no session description"),
        ("v=0\r\n".to_owned(), 400, "no session description"),
        ("{\"sdp\": \"v=0\"}".to_owned(), 400, "no session description"),
        (good.replace("v=0", "v=1"), 400, "no session description"),
        (good.replace("m=video 9", "m=video x"), 400, "no session description"),
        (format!("{good}{}=1\r\n", "x".repeat(5_000)), 400, "no session description"),
        (good.replace("a=mid:0", "a=mid:0\ra=x:y"), 400, "control character"),
        (good.replace("a=mid:0", "a=mid:0 1"), 400, "a=mid"),
        (good.replace("a=ice-ufrag:theirs", "a=ice-ufrag:a:b"), 400, "a=ice-ufrag"),
        (good.replace("theirs", &"x".repeat(300)), 400, "a=ice-ufrag"),
        (without("a=ice-ufrag"), 400, "no a=ice-ufrag"),
        (without("a=ice-pwd"), 400, "no a=ice-pwd"),
        (without("a=fingerprint"), 400, "no a=fingerprint"),
        (good.split("m=").next().unwrap().to_owned(), 400, "no media section"),
        (good.replace("sha-256", "sha-1"), 400, "fingerprint"),
        (good.replace("sha-256 ", "sha-256 00:"), 400, "fingerprint"),
        (good.replace("a=setup:active", "a=setup:holdconn"), 400, "a=setup"),
        (good.replace("a=group", "a=ice-lite\r\na=group"), 400, "ICE-lite"),
        (format!("{good}{many}"), 400, "16 media sections"),
        (good.replace("a=sendonly", "a=recvonly"), 422, "nothing in the offer can be taken"),
        (good.replace("H264", "theora").replace("opus", "speex"), 422, "nothing in the offer can be taken"),
        (
            good.replace("m=audio", "m=application").replace("m=video", "m=text"),
            422,
            "nothing in the offer can be taken",
        ),
        (format!("{good}a=x:{}\r\n", "y".repeat(70_000)), 413, "64 KiB"),
    ] {
        refused(&post(&server, HERE, "/whip/show", &offer).await, status, reason);
    }
    refused(&ask(&server, HERE, "POST", "/whip/show", "application/json", b"{}").await, 415, "application/sdp");
    refused(&ask(&server, HERE, "POST", "/whip/show", "application/sdp", &noise(3, 500)).await, 400, "no text");
    refused(&post(&server, HERE, "/whep/show", &good).await, 404, "off the air");
    refused(&post(&server, HERE, "/whip/a%20b", &good).await, 404, "");
    assert!(sessions(&server).await.is_empty());
}

#[tokio::test]
async fn patches_that_make_no_sense_change_nothing() {
    let server = server(&[]).await;
    let mut peer = Peer::join(&server, "/whip/show").await;
    let patch = async |kind: &'static str, body: &[u8]| ask(&server, HERE, "PATCH", &peer.location, kind, body).await;
    const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
    refused(&patch(FRAGMENT, b"rubbish").await, 400, "no SDP fragment");
    refused(&patch(FRAGMENT, b"a=ice-ufrag:\r\n").await, 400, "no SDP fragment");
    refused(&patch(FRAGMENT, &vec![b'a'; 70_000]).await, 413, "64 KiB");
    refused(&patch("application/sdp", b"a=x\r\n").await, 415, FRAGMENT);
    assert!(peer.check(Duration::from_secs(5)).await, "its credentials are what they were");
    // A restart an instant: only the newest credentials lead anywhere.
    let mut newest = String::new();
    for _ in 0..200 {
        let reply = ask(&server, HERE, "PATCH", &peer.location, FRAGMENT, b"a=ice-ufrag:new\r\na=ice-pwd:x\r\n").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        newest = reply.body;
    }
    let value = |name: &str| newest.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    assert!(!peer.check(Duration::from_millis(300)).await);
    (peer.username, peer.password) = (format!("{}:new", value("a=ice-ufrag:")), value("a=ice-pwd:"));
    assert!(peer.check(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_thousand_offers_that_nobody_comes_back_for() {
    let server = server(&["--webrtc-max-sessions", "640"]).await;
    let good = good("sendonly");
    let first = post(&server, HERE, "/whip/warm?test", &good).await;
    assert_eq!(first.status, 201);
    let before = server.process.resident();
    let (mut taken, mut address, mut all) = (1, 0, 0);
    for network in 1..=16_u8 {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, network, 1));
        for at in 0..66 {
            let reply = post(&server, from, &format!("/whip/s{network}-{at}?test"), &good).await;
            if reply.status == 201 {
                taken += 1;
                continue;
            }
            let full = taken == 640;
            refused(&reply, 503, if full { "webrtc.max_sessions" } else { "from this address" });
            assert_eq!(reply.header("retry-after"), Some("5"));
            (all, address) = (all + u32::from(full), address + u32::from(!full));
        }
    }
    assert!(taken == 640 && all > 300 && address > 10, "{taken} taken, {all} and {address} refused");
    let during = server.process.resident();
    until(&server, Duration::from_secs(25), "forgotten", |all| all.is_empty()).await;
    let after = server.process.resident();
    println!("memory in KiB: {before} before, {during} with 640 offers, {after} after");
    assert!(during - before < 640 * 64, "{} KiB for 640 offers", during - before);
    assert!(after < before + 16_384, "{before} KiB before, {after} after");
    assert_eq!(post(&server, HERE, "/whip/warm?test", &good).await.status, 201);
}

/// A request for an offer's session is enough to have a worker take it up, and does not make it any less half-done.
#[tokio::test]
async fn half_done_sessions_of_one_address_are_bounded_whatever_they_say() {
    let server = server(&[]).await;
    let identity = Identity::new();
    let mut peers = Vec::new();
    for at in 0..64 {
        let named = identity.fingerprint.clone();
        let mut peer = Peer::offer(&server, &format!("/whip/s{at}?test"), &named, identity.clone()).await;
        assert!(peer.check(Duration::from_secs(5)).await);
        peers.push(peer);
    }
    let reply = post(&server, HERE, "/whip/more?test", &good("sendonly")).await;
    refused(&reply, 503, "from this address");
    assert!(peers[0].shake(Duration::from_secs(10)).await);
    assert_eq!(post(&server, HERE, "/whip/more?test", &good("sendonly")).await.status, 201);
}
