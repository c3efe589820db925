//! Viewers that ask for far more than they lost.

use std::time::{Duration, Instant};

use super::beside::Beside;
use super::server;
use super::support::webrtc::{Incoming, Peer, VIDEO};

/// A request to send again, as large as a datagram holds.
fn missing(media: u32, from: u16) -> Vec<u8> {
    let mut packet = vec![0x81, 205, 1, 46];
    packet.extend(1_u32.to_be_bytes());
    packet.extend(media.to_be_bytes());
    for at in 0..300_u16 {
        packet.extend(from.wrapping_sub(at * 17).to_be_bytes());
        packet.extend([0xff, 0xff]);
    }
    packet
}

/// The viewer's pictures: their SSRC and the newest number.
async fn pictures(viewer: &mut Peer) -> (u32, u16) {
    loop {
        if let Some(Incoming::Rtp(packet)) = viewer.next(Duration::from_secs(5)).await
            && packet[1] & 0x7f == VIDEO.1
        {
            let ssrc = u32::from_be_bytes(packet[8..12].try_into().unwrap());
            return (ssrc, u16::from_be_bytes([packet[2], packet[3]]));
        }
    }
}

/// Packets that come within a time: repairs, and pictures; and the bytes of all.
async fn count(viewer: &mut Peer, bound: Duration) -> (u64, u64, usize) {
    let (mut repairs, mut media, mut bytes, until) = (0, 0, 0, Instant::now() + bound);
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if let Some(Incoming::Rtp(packet)) = viewer.next(left).await {
            (repairs, media) = if packet[1] & 0x7f == 97 { (repairs + 1, media) } else { (repairs, media + 1) };
            bytes += packet.len();
        }
    }
    (repairs, media, bytes)
}

#[tokio::test]
async fn a_storm_of_requests_to_send_again_is_answered_in_bounds() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut viewer = Peer::join(&server, "/whep/healthy").await;
    let (idle, start) = (server.process.cpu(), Instant::now());
    count(&mut viewer, Duration::from_secs(2)).await;
    let idle = server.process.cpu() - idle;
    let before = server.process.cpu();
    let mut repairs = 0;
    for _ in 0..4 {
        for _ in 0..10 {
            let (ssrc, newest) = pictures(&mut viewer).await;
            for _ in 0..30 {
                let sealed = viewer.seal_rtcp(&missing(ssrc, newest));
                viewer.send(&sealed).await;
            }
            repairs += count(&mut viewer, Duration::from_millis(100)).await.0;
        }
    }
    let took = server.process.cpu() - before;
    println!(
        "{repairs} repairs for 1,200 requests of 5,100 packets each in 4 s; {took:?} of a processor, idle {idle:?} in 2 s"
    );
    // As many a second as a link that loses a fifth of 10 Mbit/s needs, and once as many at first.
    assert!((100..=250 * 6).contains(&repairs), "{repairs} repairs in {:?}", start.elapsed());
    assert!(beside.goes_on().await < 10);
}

#[tokio::test]
async fn a_flood_of_requests_for_key_frames_is_one_every_half_second() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut viewer = Peer::join(&server, "/whep/healthy").await;
    let (ssrc, _) = pictures(&mut viewer).await;
    let (_, _, calm) = count(&mut viewer, Duration::from_secs(3)).await;
    let mut flooded = 0;
    for _ in 0..30 {
        for _ in 0..50 {
            let loss = [&[0x81, 206, 0, 2, 0, 0, 0, 1][..], &ssrc.to_be_bytes()].concat();
            let sealed = viewer.seal_rtcp(&loss);
            viewer.send(&sealed).await;
        }
        flooded += count(&mut viewer, Duration::from_millis(100)).await.2;
    }
    println!("{calm} bytes in 3 s, {flooded} with 500 requests a second");
    // Each refresh sends at most the newest group of pictures again: a second of the stream, twice a second.
    assert!(flooded < calm * 4, "{calm} bytes in 3 s, {flooded} when asked");
    assert!(beside.goes_on().await < 10);
}

#[tokio::test]
async fn a_flood_of_reports_costs_others_nothing() {
    let server = server(&[]).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut viewer = Peer::join(&server, "/whep/healthy").await;
    let (ssrc, _) = pictures(&mut viewer).await;
    // As many packets in one as a datagram holds: reports, feedback on millions of packets, applications' own.
    let report = [&[0x81, 201, 0, 7, 0, 0, 0, 1][..], &ssrc.to_be_bytes(), &[0xff; 20]].concat();
    let feedback = [
        &[0x8f, 205, 0, 5, 0, 0, 0, 1][..],
        &ssrc.to_be_bytes(),
        &[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x3f, 0xff, 0x3f, 0xff],
    ]
    .concat();
    let compound: Vec<u8> = (0..20).flat_map(|_| [report.clone(), feedback.clone()].concat()).collect();
    let before = server.process.cpu();
    for at in 0..20_000 {
        let sealed = viewer.seal_rtcp(&compound);
        viewer.send(&sealed).await;
        if at % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let lost = beside.goes_on().await;
    println!("20,000 compound packets of 40 took {:?}; {lost} packets lost beside them", server.process.cpu() - before);
    assert!(lost < 20, "{lost} packets lost");
}
