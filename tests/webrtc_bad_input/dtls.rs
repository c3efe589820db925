//! Handshakes with the wrong certificate, and with none.

use std::time::Duration;

use super::beside::Beside;
use super::support::webrtc::{Identity, Peer};
use super::{noise, server, until};

#[tokio::test]
async fn a_certificate_that_the_offer_did_not_name_is_refused_and_said() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut peer = Peer::offer(&server, "/whip/other", &Identity::new().fingerprint, Identity::new()).await;
    assert!(peer.check(Duration::from_secs(5)).await);
    assert!(!peer.shake(Duration::from_secs(3)).await);
    let said =
        |line: &str| line.contains("the peer's certificate is not the one its offer named").then(|| line.to_owned());
    let line = server.process.line(Duration::from_secs(5), said).await.expect("the log says why");
    assert!(line.contains("WARN") && line.contains("stream") && line.contains("other"), "{line}");
    until(&server, Duration::from_secs(5), "over", |all| all.len() == 2).await;
    assert_eq!(beside.goes_on().await, 0);
}

/// One record of a first message in so many empty fragments, each of which says that another follows it.
fn chain(from: u32, count: u32) -> Vec<u8> {
    let fragment = |at: u32| [&[1, 0, 0, 0, 0, 0][..], &at.to_be_bytes()[1..], &[0, 0, 1]].concat();
    let body: Vec<u8> = (from..from + count).flat_map(fragment).collect();
    let number = (from as u16).to_be_bytes();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0][..], &number, &(body.len() as u16).to_be_bytes(), &body].concat()
}

#[tokio::test]
async fn records_that_make_no_sense_end_their_own_session_at_most() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    for round in 0..8 {
        let identity = Identity::new();
        let named = identity.fingerprint.clone();
        let mut peer = Peer::offer(&server, &format!("/whip/g{round}"), &named, identity).await;
        assert!(peer.check(Duration::from_secs(5)).await);
        for at in 0..150_u32 {
            let datagram = match round {
                0 => chain(at * 4_000, 4_000),
                1 => chain(at * 100, 100),
                _ => {
                    let mut rubbish = noise(u64::from(round * 1_000 + at), 13 + at as usize * 9);
                    rubbish[..3].copy_from_slice(&[20 + (at % 4) as u8, 0xfe, 0xfd]);
                    let length = (rubbish.len() - 13) as u16;
                    rubbish[11..13].copy_from_slice(&length.to_be_bytes());
                    if round % 2 == 0 {
                        rubbish[3..5].copy_from_slice(&[0, (at % 3) as u8]);
                    }
                    rubbish
                }
            };
            peer.send(&datagram).await;
        }
    }
    assert_eq!(beside.goes_on().await, 0);
    Peer::join(&server, "/whip/after").await;
}

#[tokio::test]
async fn what_comes_in_the_clear_after_the_handshake_changes_nothing() {
    let server = server(&[]).await;
    let mut peer = Peer::join(&server, "/whip/show").await;
    let before = server.process.resident();
    for at in 0..20_000_u32 {
        let epoch = (at % 3) as u8;
        let mut record = noise(u64::from(at), 1_200);
        record[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, (at >> 8) as u8, at as u8, 4, 163]);
        record[13..25].copy_from_slice(&[1, 0, 4, 151, 0, at as u8, 0, 0, 0, 0, 4, 151]);
        peer.send(&record).await;
        if at % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(peer.check(Duration::from_secs(5)).await);
    let grown = server.process.resident().saturating_sub(before);
    assert!(grown < 8_192, "{grown} KiB kept of 24 MB in the clear");
    until(&server, Duration::from_secs(5), "alive", |all| all.iter().any(|each| each["state"] == "connected")).await;
}
