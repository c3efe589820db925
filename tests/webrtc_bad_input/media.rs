//! RTP of publishers that are who they say, and send rubbish; and of those that never send a key frame.

use std::time::{Duration, Instant};

use super::beside::{Beside, Publisher};
use super::support::webrtc::{AUDIO, Peer, VIDEO, rtp};
use super::{noise, server, sessions, until};

#[tokio::test]
async fn rubbish_under_the_right_keys_ends_that_publisher_at_most() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut peer = Peer::join(&server, "/whip/rubbish").await;
    let before = server.process.resident();
    for at in 0..20_000_u64 {
        let random = noise(at, 16);
        let number = |at: usize| u32::from_be_bytes(random[at..at + 4].try_into().unwrap());
        let stream = match at % 4 {
            0 => VIDEO,
            1 => AUDIO,
            2 => (VIDEO.0, random[0] & 0x7f),
            _ => (number(0), random[4] & 0x7f),
        };
        let length = number(8) as usize % 1_200;
        let mut packet = rtp(stream, number(4) as u16, number(12), random[5] & 1 == 0, &noise(at + 7, length));
        // Padding, extensions and contributing sources that are there or not.
        if at % 5 == 0 {
            packet[0] = 0x80 | random[6] & 0x3f;
        }
        if let Ok(sealed) = peer.try_seal(&packet) {
            peer.send(&sealed).await;
        }
        if at % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for at in 0..500 {
        let sealed =
            peer.seal_rtcp(&[&[0x80 | (at % 32) as u8, 200 + (at % 7) as u8, 0, 9][..], &noise(at, 36)].concat());
        peer.send(&sealed).await;
    }
    let grown = server.process.resident().saturating_sub(before);
    println!("{grown} KiB for 20,000 packets of rubbish");
    assert!(grown < 32_768, "{grown} KiB");
    assert_eq!(beside.goes_on().await, 0);
}

#[tokio::test]
async fn a_publisher_that_sends_no_key_frame_is_asked_with_pauses_and_the_operator_told() {
    let server = server(&[]).await;
    let peer = Peer::join(&server, "/whip/keyless").await;
    let start = Instant::now();
    let publisher = Publisher::start(peer, None);
    let said = |line: &str| line.contains("but no key frame").then(|| line.to_owned());
    let line = server.process.line(Duration::from_secs(11), said).await.expect("the log says so");
    assert!(line.contains("WARN") && line.contains("keyless"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let told = |all: &[serde_json::Value]| {
        all.iter().any(|each| each["trouble"].as_str().is_some_and(|text| text.contains("keyframe interval")))
    };
    until(&server, Duration::from_secs(2), "told", told).await;
    let session = sessions(&server).await.remove(0);
    assert!(session["key_requests"].as_u64() > Some(3), "{session}");
    let asked = publisher.asked.lock().unwrap().clone();
    assert!((4..=9).contains(&asked.len()), "{} requests in 10 s", asked.len());
    let gaps: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap > Duration::from_millis(400)), "{gaps:?}");
    assert!(gaps.last().unwrap() > &Duration::from_secs(4), "who does not listen is not shouted at: {gaps:?}");
}
