//! STUN of strangers, and datagrams with an address on them that is not their sender's.

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::beside::Beside;
use super::server;
use super::support::webrtc::{HERE, Identity, Incoming, Peer, VIDEO, picture, request, rtp};

/// Whether anything comes within a moment.
async fn hears(socket: &UdpSocket) -> bool {
    let mut buffer = [0; 2_000];
    tokio::time::timeout(Duration::from_millis(400), socket.recv_from(&mut buffer)).await.is_ok()
}

#[tokio::test]
async fn requests_that_prove_nothing_are_not_answered() {
    let server = server(&[]).await;
    let identity = Identity::new();
    let named = identity.fingerprint.clone();
    let mut peer = Peer::offer(&server, "/whip/show", &named, identity).await;
    let (username, password) = (peer.username.clone(), peer.password.clone());
    let fragment = username.split(':').next().unwrap();
    let good = peer.request();
    let mut cut = good.clone();
    cut.truncate(good.len() - 4);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut answer = good.clone();
    answer[..2].copy_from_slice(&[1, 1]);
    // The nominating attribute behind what the integrity covers.
    let mut appended = request(&username, Some(&password), false);
    appended.extend([0, 0x25, 0, 0]);
    let length = (appended.len() - 20) as u16;
    appended[2..4].copy_from_slice(&length.to_be_bytes());
    for (what, bytes) in [
        ("a wrong password", request(&username, Some("wrong"), true)),
        ("no integrity", request(&username, None, true)),
        ("neither", request(&username, None, false)),
        ("an unknown fragment", request("nobody:theirs", Some(&password), true)),
        ("another peer's fragment", request(&format!("{fragment}:others"), Some(&password), true)),
        ("no colon", request(fragment, Some(&password), true)),
        ("an empty name", request("", Some(&password), true)),
        ("a long name", request(&format!("{fragment}:{}", "x".repeat(500)), Some(&password), true)),
        ("cut short", cut),
        ("a wrong fingerprint", flipped),
        ("an answer", answer),
        ("an attribute that is not covered", appended),
        ("nothing", vec![]),
        ("a byte", vec![0]),
        ("zeros", vec![0; 1_000]),
    ] {
        peer.send(&bytes).await;
        assert!(!hears(&peer.socket).await, "{what} was answered");
    }
    assert!(peer.check(Duration::from_secs(5)).await);
    // RFC 8489 lets a request be without a fingerprint; who knows the password is the peer.
    peer.send(&request(&username, Some(&password), false)).await;
    assert!(hears(&peer.socket).await);
}

#[tokio::test]
async fn a_flood_of_requests_costs_others_nothing() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let peer = Peer::join(&server, "/whip/other").await;
    let flood = [
        request("nobody:theirs", Some("wrong"), true),
        request(&peer.username, Some("wrong"), true),
        request(&peer.username, None, false),
    ];
    let (before, start) = (server.process.cpu(), Instant::now());
    let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
    for at in 0..60_000 {
        let _ = socket.send_to(&flood[at % 3], peer.to).await;
        // Some 20,000 a second.
        if at % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (took, lost) = (server.process.cpu() - before, beside.goes_on().await);
    println!("60,000 requests in {:?} took {took:?} of a processor; {lost} packets lost beside them", start.elapsed());
    assert!(!hears(&socket).await, "an answer");
    assert!(lost < 20, "{lost} packets lost");
}

#[tokio::test]
async fn media_goes_to_no_address_that_has_not_proven_itself() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut viewer = Peer::join(&server, "/whep/healthy").await;
    let forged = UdpSocket::bind((HERE, 0)).await.unwrap();
    let report = viewer.seal_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
    for bytes in [
        request(&viewer.username, Some("wrong"), true),
        request(&viewer.username, None, true),
        report.clone(),
        vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0],
        rtp(VIDEO, 1, 1, true, &[0; 500]),
    ] {
        for _ in 0..20 {
            forged.send_to(&bytes, viewer.to).await.unwrap();
        }
        assert!(!hears(&forged).await);
        let media = async { while !matches!(viewer.next(Duration::from_secs(5)).await, Some(Incoming::Rtp(_))) {} };
        tokio::time::timeout(Duration::from_secs(5), media).await.expect("the viewer is still sent its media");
    }
    // The password is the proof: with it the same socket is the peer.
    forged.send_to(&viewer.request(), viewer.to).await.unwrap();
    assert!(hears(&forged).await);
    assert_eq!(beside.goes_on().await, 0);
}

/// Who has a session of its own knows a password, and may write another peer's address on a right request of its own.
#[tokio::test]
async fn a_peers_path_is_not_taken_over_with_the_credentials_of_another_session() {
    let server = server(&[]).await;
    let mut publisher = Peer::join(&server, "/whip/victim").await;
    let identity = Identity::new();
    let named = identity.fingerprint.clone();
    let thief = Peer::offer(&server, "/whip/thief", &named, identity).await;
    let mut sequence = 0_u16;
    for count in 0..60_u32 {
        // Sent from the victim's own socket: no difference to a forged address.
        publisher.socket.send_to(&thief.request(), thief.to).await.unwrap();
        let payloads = picture(count.is_multiple_of(10), 900);
        let last = payloads.len() - 1;
        for (at, payload) in payloads.iter().enumerate() {
            let sealed = publisher.seal(&rtp(VIDEO, sequence, count * 3_000, at == last, payload));
            sequence += 1;
            publisher.send(&sealed).await;
        }
        tokio::time::sleep(Duration::from_millis(33)).await;
    }
    super::until(&server, Duration::from_secs(3), "published", |all| {
        all.iter().any(|each| each["stream"] == "victim" && each["frames"].as_u64() > Some(50))
    })
    .await;
}
