//! What broken and hostile peers send to the RTMP listener, over real sockets: each ends only its own session, with a
//! reason where one can be heard, and a healthy publisher beside it goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod rtmp_support;

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use headwater::access::Access;
use headwater::hub::Takeover;
use headwater::rtmp::Settings;
use headwater::rtmp::amf0::Value;
use headwater::rtmp::chunk::Limits;
use headwater::rtmp::message::MessageType;
use rtmp_support::*;

/// Numbers that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn quick() -> Settings {
    Settings { start_timeout: Duration::from_millis(500), ..Settings::default() }
}

async fn quick_server() -> Server {
    Server::start(quick(), Access::default(), Takeover::Newest).await
}

/// A type 0 chunk header on chunk stream 4.
fn header(time: u32, length: u32, kind: u8) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(4);
    out.put_uint(time.into(), 3);
    out.put_uint(length.into(), 3);
    out.put_u8(kind);
    out.put_u32_le(1);
    out.to_vec()
}

#[tokio::test]
async fn random_bytes_are_cut_off() {
    let server = quick_server().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    for seed in 0..50 {
        let mut peer = Raw::connect(&server).await;
        peer.send(&noise(seed, 5000)).await;
        peer.until_closed().await;
        assert_goes_on(&mut healthy, &mut frames, 40 + seed as u32 * 40).await;
    }
}

#[tokio::test]
async fn rubbish_behind_the_handshake_is_cut_off() {
    let server = quick_server().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    for seed in 0..50 {
        let mut peer = Raw::shaken(&server).await;
        peer.send(&noise(seed, 100_000)).await;
        peer.until_closed().await;
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn rubbish_behind_publish_ends_that_publisher_alone() {
    let server = quick_server().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    for seed in 0..20 {
        let mut peer = Raw::publishing(&server, "rubbish").await;
        peer.send(&[0xc7]).await;
        peer.send(&noise(seed, 100_000)).await;
        let (code, text) = peer.refusal().await;
        assert_eq!(code, "NetStream.Failed");
        assert_eq!(text, "chunk stream 7 starts with a header that leaves out its length");
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn strangers_are_cut_off_at_their_first_byte() {
    let server = Server::open().await;
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", b"\x06", b"SSH-2.0"] {
        let mut peer = Raw::connect(&server).await;
        peer.send(greeting).await;
        peer.until_closed().await;
    }
}

#[tokio::test]
async fn a_chunk_size_of_zero_is_refused() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut peer = Raw::publishing(&server, "zero").await;
    peer.message(MessageType::SetChunkSize, 0, vec![0; 4]).await;
    assert_eq!(peer.refusal().await, ("NetStream.Failed".to_owned(), "chunk size 0".to_owned()));
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn the_largest_chunk_size_is_taken_and_reserves_nothing() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let before = resident();
    let mut peers = Vec::new();
    for i in 0..50 {
        let mut peer = Raw::publishing(&server, &format!("huge-{i}")).await;
        peer.message(MessageType::SetChunkSize, 0, vec![0x7f, 0xff, 0xff, 0xff]).await;
        peer.send(&header(0, 8 << 20, 9)).await;
        peer.send(&[0; 1000]).await;
        peers.push(peer);
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 40 << 20, "50 announcements of 8 MiB took {grown} bytes");
}

#[tokio::test]
async fn messages_beyond_the_bound_are_refused_when_they_are_announced() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    for length in [(8 << 20) + 1, 16_000_000, 0xff_ffff] {
        let mut peer = Raw::publishing(&server, "long").await;
        peer.send(&header(0, length, 9)).await;
        let (code, text) = peer.refusal().await;
        assert_eq!(code, "NetStream.Failed");
        assert_eq!(text, format!("message of {length} bytes, 8388608 are allowed"));
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn unfinished_messages_are_bounded_together() {
    let limits = Limits { unfinished: 1 << 20, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let server = Server::start(settings, Access::default(), Takeover::Newest).await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut peer = Raw::publishing(&server, "hoard").await;
    peer.message(MessageType::SetChunkSize, 0, 100_000u32.to_be_bytes().to_vec()).await;
    for chunk_stream in 10..40u8 {
        let mut begun = header(0, 8 << 20, 9);
        begun[0] = chunk_stream;
        peer.send(&begun).await;
        peer.send(&vec![0; 100_000]).await;
    }
    assert_eq!(peer.refusal().await.1, "more than 1048576 bytes of unfinished messages");
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn too_many_chunk_streams_are_refused() {
    let server = Server::open().await;
    let mut peer = Raw::publishing(&server, "wide").await;
    for id in 0..=64 {
        let mut begun = header(0, 300, 9);
        begun.splice(0..1, [0, id]);
        peer.send(&begun).await;
        peer.send(&[0; 128]).await;
    }
    assert_eq!(peer.refusal().await.1, "more than 64 chunk streams");
}

#[tokio::test]
async fn nested_and_endless_amf_is_refused() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let bombs = [
        ([3, 0, 1, b'a'].repeat(10_000), "AMF: nested deeper than 16"),
        ([0x0a, 0, 0, 0, 1].repeat(10_000), "AMF: nested deeper than 16"),
        ([5].repeat(50_000), "AMF: more than 2048 values"),
        ([0x0a, 0xff, 0xff, 0xff, 0xff].to_vec(), "AMF: truncated"),
        ([0x11, 0x0a].to_vec(), "AMF3 values are not supported; set the encoder to AMF0"),
        ([5].repeat(70_000), "command of 70015 bytes, 65536 are allowed"),
    ];
    for (bomb, reason) in bombs {
        for kind in [MessageType::Command, MessageType::Data] {
            let mut peer = Raw::publishing(&server, "bomb").await;
            let start = [&[2, 0, 3][..], b"cmd", &[0], &1f64.to_be_bytes()].concat();
            peer.message(kind, 0, [start, bomb.clone()].concat()).await;
            assert_eq!(peer.refusal().await.1, reason);
        }
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn half_open_connections_do_not_keep_publishers_out() {
    let settings = Settings { max_half_open: 50, start_timeout: Duration::from_secs(60), ..Settings::default() };
    let server = Server::start(settings, Access::default(), Takeover::Newest).await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut half_open = Vec::new();
    for i in 0..500 {
        let mut peer = Raw::connect(&server).await;
        if i % 2 == 0 {
            peer.send(&[3; 700]).await;
        }
        half_open.push(peer);
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
    let (mut late, mut late_frames) = Publisher::live(&server, "late").await;
    assert_goes_on(&mut late, &mut late_frames, 40).await;
    // All but the last 50 had to make room.
    for peer in half_open.into_iter().take(440) {
        peer.until_closed().await;
    }
}

#[tokio::test]
async fn half_open_connections_end_by_themselves() {
    let server = quick_server().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut half_open = Vec::new();
    for _ in 0..500 {
        half_open.push(Raw::connect(&server).await);
    }
    for peer in half_open {
        peer.until_closed().await;
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn broken_tags_are_dropped_and_the_stream_goes_on() {
    let server = Server::open().await;
    let (mut publisher, mut frames) = Publisher::live(&server, "sloppy").await;
    let broken: [&[u8]; 11] = [
        &[],
        &[0x17],
        &[0x17, 1, 0],
        &[0x17, 1, 0, 0, 0],
        &[0x27, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0x27, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1],
        &[0x27, 1, 0, 0, 0, 0, 0],
        &[0x97, 0xff],
        &[0x96, 0x11, b'h'],
        &[0x93, b'h', b'v', b'c', b'1', 1],
        &[0x57, 0],
    ];
    for (i, body) in broken.into_iter().enumerate() {
        publisher.client.video(40 + i as u32, body.to_vec().into());
        publisher.client.audio(40 + i as u32, [0xafu8, 1][..body.len().min(2)].to_vec().into());
    }
    // An empty NAL unit in front of a whole one costs the frame nothing.
    let mut mended = vec![0x17, 1, 0, 0, 0, 0, 0, 0, 0];
    mended.extend_from_slice(&idr(77)[5..]);
    publisher.client.video(60, mended.into());
    publisher.flush().await;
    picture_of(&mut frames, 81).await;
    assert_goes_on(&mut publisher, &mut frames, 80).await;
}

#[tokio::test]
async fn codecs_and_configurations_that_cannot_be_used_are_named() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let cases: [(MessageType, &[u8], &str); 5] = [
        (MessageType::Video, b"\x90vp09x", "VP9 over RTMP is not supported; choose H.264, HEVC or AV1 in the encoder"),
        (MessageType::Audio, b"\x90fLaCx", "FLAC over RTMP is not supported; choose AAC or Opus in the encoder"),
        (MessageType::Audio, b"\x2fx", "MP3 over RTMP is not supported; choose AAC or Opus in the encoder"),
        (MessageType::Video, b"\x17\0\0\0\0garbage", "H.264 configuration: "),
        (MessageType::Video, b"\x90hvc1garbage", "HEVC configuration: "),
    ];
    for (kind, body, reason) in cases {
        let mut peer = Raw::publishing(&server, "other").await;
        peer.message(kind, 0, body).await;
        let (code, text) = peer.refusal().await;
        assert_eq!(code, "NetStream.Publish.Rejected");
        assert!(text.starts_with(reason), "{text}");
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn stream_names_that_cannot_stand_in_an_address_are_refused() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let long = "x".repeat(300);
    let longer = "y".repeat(60_000);
    for name in ["", "über", "日本語", "a/b", "../../etc/passwd", "a b", ".hidden", "nul\0", &long, &longer] {
        let (code, text) = Publisher::connect(&server, name).await.err().expect(name);
        assert_eq!(code, "NetStream.Publish.BadName", "{name:?}");
        assert!(text.starts_with("the stream name "), "{text}");
    }
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn timestamps_that_run_backwards_do_not_end_a_session() {
    let server = Server::open().await;
    let (mut publisher, mut frames) = Publisher::live(&server, "backwards").await;
    for time in [5000, 4000, 0, u32::MAX, 1 << 31, 7, 3_000_000_000, 0xff_ffff, 12] {
        publisher.picture(time, 600).await;
        publisher.sound(time).await;
    }
    // Whatever becomes of these, the session is there and new pictures come.
    let mut time = 1000;
    let wait = async {
        loop {
            time += 40;
            publisher.picture(time, 900).await;
            tokio::select! {
                biased;
                _ = picture_of(&mut frames, 904) => return,
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn a_slow_writer_holds_up_nobody() {
    let server = Server::open().await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut slow = Raw::publishing(&server, "slow").await;
    let tag = idr(3000);
    let mut message = header(0, tag.len() as u32, 9);
    for (i, chunk) in tag.chunks(128).enumerate() {
        if i > 0 {
            message.push(0xc4);
        }
        message.extend_from_slice(chunk);
    }
    slow.message(MessageType::Video, 0, avc_header()).await;
    for (i, byte) in message.iter().enumerate() {
        slow.send(&[*byte]).await;
        if i % 500 == 0 {
            assert_goes_on(&mut healthy, &mut frames, 40 + i as u32).await;
        }
    }
    let mut slow_frames = server.frames("slow");
    picture_of(&mut slow_frames, 3004).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    let settings = Settings { write_timeout: Duration::from_millis(200), ..Settings::default() };
    let server = Server::start(settings, Access::default(), Takeover::Newest).await;
    let (mut healthy, mut frames) = Publisher::live(&server, "healthy").await;
    let mut deaf = Raw::publishing(&server, "deaf").await;
    let ping = [&[2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0][..], &[0, 6, 1, 2, 3, 4]].concat();
    let pings = ping.repeat(2000);
    let flood = async {
        // Ends when the server does not take any more, because it has closed.
        while tokio::io::AsyncWriteExt::write_all(&mut deaf.io, &pings).await.is_ok() {}
    };
    tokio::time::timeout(SOON, flood).await.expect("the server goes on answering");
    assert_goes_on(&mut healthy, &mut frames, 40).await;
}

#[tokio::test]
async fn commands_out_of_order_are_answered_or_closed_with_a_reason() {
    let server = Server::open().await;
    let mut early = Raw::shaken(&server).await;
    early.call("publish", &[Value::Null, Value::text("x")]).await;
    assert_eq!(early.refusal().await.1, "\"a command before connect\" out of order");
    let mut twice = Raw::publishing(&server, "x").await;
    twice.call("publish", &[Value::Null, Value::text("y")]).await;
    assert_eq!(twice.refusal().await.1, "\"publish\" out of order");
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
