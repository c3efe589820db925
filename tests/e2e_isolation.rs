//! Nobody disturbs anybody: bad publishers and viewers beside a healthy stream, the end of the server, ports in use,
//! counters, and memory under publishers that come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
mod support;

use std::time::{Duration, Instant};

use checker::driver::Watch;
use support::process::Process;
use support::rtmp::{Session, tags};
use support::server::{PATIENCE, command};
use support::{Headwater, Show};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_neighbours_do_not_disturb_a_healthy_stream() {
    let server = Headwater::start(&[]).await;
    let mut publisher = Show::default().publish(&server, "healthy");
    server.index("healthy").await;
    let before = server.process.resident();
    let (watch, outcome) = Watch::start(&server.http, "/live/healthy/index.m3u8");
    let rtmp = server.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live").to_owned();

    // Sessions that say nothing more, kept open to the end.
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(TcpStream::connect(&rtmp).await.unwrap());
        open.push(TcpStream::connect(&server.http).await.unwrap());
    }
    for junk in
        [noise(1), noise(10_000), noise(500_000), vec![3; 4_000], vec![0; 4_000], b"GET / HTTP/1.1\r\n\r\n".to_vec()]
    {
        thrown_at(&rtmp, &junk).await;
        thrown_at(&server.http, &junk).await;
    }
    after_the_handshake(&rtmp).await;
    for url in [
        "/live/../../etc/passwd",
        "/live/%2e%2e/%2e%2e/etc/passwd",
        "/live/healthy/../../../etc/passwd",
        "/live/healthy/0/source/..%2f..%2finit-0.mp4",
        "/live/nobody/index.m3u8",
        "/live/healthy/nothing.m3u8",
        "/live/healthy/99999999999999999999/source/0.m4s",
    ] {
        let answer = server.get(url).await;
        assert!((400..500).contains(&answer.status), "{url} answered {}", answer.status);
    }
    let path = server.renditions("healthy").await.remove(0);
    for query in
        ["_HLS_msn=18446744073709551615", "_HLS_msn=-1", "_HLS_msn=x", "_HLS_msn=1e9", "_HLS_part=0", "_HLS_msn=99999"]
    {
        let answer = server.get(&format!("{path}?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    for name in ["a/b", "../x", "ü", &"n".repeat(300), "%00", "."] {
        let mut refused = Show { seconds: Some(20), ..Show::default() }.publish(&server, name);
        assert!(!refused.process.exit(Duration::from_secs(10)).await.success(), "{name:?} may be published");
    }
    // Viewers that ask and never read.
    let segment = checker::playlist::Media::parse(&server.get(&path).await.text()).segments[0].uri.clone();
    for _ in 0..50 {
        let mut slow = TcpStream::connect(&server.http).await.unwrap();
        let request = format!("GET /live/healthy/{segment} HTTP/1.1\r\nhost: x\r\n\r\n");
        slow.write_all(request.repeat(20).as_bytes()).await.unwrap();
        open.push(slow);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    watch.stop();
    outcome.await.unwrap().assert_clean("beside bad neighbours");
    assert!(publisher.process.runs());
    let grown = server.process.resident().saturating_sub(before);
    eprintln!("450 idle or slow connections and the junk: {grown} KiB more");
    assert!(grown < 100 * 1024, "{grown} KiB more");
}

/// Random bytes, whatever the answer: the connection ends, or it waits for more.
async fn thrown_at(address: &str, junk: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be closed while this is being written.
    let _ = stream.write_all(junk).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{} bytes of junk are neither answered nor closed", junk.len());
}

/// A good handshake, then rubbish: each must be closed, or end with the half that was closed here.
async fn after_the_handshake(address: &str) {
    let set_chunk_size = |size: u32| [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &size.to_be_bytes()].concat();
    let huge = vec![3, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
    let mut nested = vec![3, 0, 0, 0, 0, 0xea, 0x60, 20, 0, 0, 0, 0];
    nested.extend([3, 0, 1, b'a'].repeat(15_000));
    for junk in [noise(20_000), set_chunk_size(0), set_chunk_size(0x7fff_ffff), huge, nested] {
        let mut session = Session::shake(address).await;
        let _ = session.stream.write_all(&junk).await;
        let _ = session.stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), session.stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{} bytes of rubbish keep a session open", junk.len());
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains() {
    let mut server = Headwater::start(&[]).await;
    let mut publisher = Show::default().publish(&server, "show");
    let path = server.renditions("show").await.remove(0);
    assert_eq!(server.get("/readyz").await.status, 200);
    let media = checker::playlist::Media::parse(&server.get(&path).await.text());
    // A viewer that is held when the end comes gets an answer.
    let client = support::Client::new(&server.http);
    let url = format!("{path}?_HLS_msn={}", media.open.msn + 1);
    let held = tokio::spawn(async move { client.get(&url).await });
    let start = Instant::now();
    while server.metric("headwater_http_held_requests").await < 1.0 {
        assert!(start.elapsed() < PATIENCE, "the viewer is not held");
        tokio::task::yield_now().await;
    }
    server.process.signal("TERM").await;
    let start = Instant::now();
    let status = server.process.exit(Duration::from_secs(20)).await;
    eprintln!("drained within {:?}", start.elapsed());
    assert_eq!(status.code(), Some(0), "{}", server.process.output());
    let held = held.await.unwrap();
    eprintln!("the held viewer: {:?}", held.as_ref().map(|a| (a.status, a.text().contains("ENDLIST"))));
    assert!(held.is_ok_and(|answer| answer.status == 200 || answer.status == 503));
    publisher.process.exit(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_move() {
    const MOVING: [&str; 7] = [
        "headwater_rtmp_connections_total",
        "headwater_rtmp_bytes_received_total",
        "headwater_hub_frames_total",
        "headwater_hls_parts_total",
        "headwater_hls_segments_total",
        "headwater_http_requests_total",
        "headwater_http_bytes_sent_total",
    ];
    let server = Headwater::start(&[]).await;
    let mut before = Vec::new();
    for name in MOVING {
        before.push(server.metric(name).await);
    }
    let mut publisher = Show::default().publish(&server, "show");
    server.renditions("show").await;
    assert!(server.metric("headwater_rtmp_sessions").await >= 1.0);
    // This one is looked at every few seconds.
    let start = Instant::now();
    while server.metric("headwater_hub_streams").await < 1.0 {
        assert!(start.elapsed() < PATIENCE, "no stream is counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Bytes are counted in batches; the rest when the session ends.
    publisher.process.kill().await;
    server.process.line(PATIENCE, |line| line.contains("session ended").then_some(())).await.unwrap();
    let mut still = Vec::new();
    for (name, before) in MOVING.into_iter().zip(before) {
        if server.metric(name).await <= before {
            still.push(name);
        }
    }
    assert!(still.is_empty(), "these stand still: {still:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_ends_the_start_with_its_name() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["http-listen", "rtmp-listen", "admin-listen", "webrtc-listen"] {
        let data = tempfile::tempdir().unwrap();
        let mut command = command(&data);
        for other in ["http-listen", "rtmp-listen", "admin-listen", "webrtc-listen"] {
            command
                .args([format!("--{other}"), if other == option { address.clone() } else { "127.0.0.1:0".to_owned() }]);
        }
        let mut process = Process::start("headwater", command);
        let status = process.exit(PATIENCE).await;
        let output = process.output();
        assert_eq!(status.code(), Some(3), "{option}: {output}");
        let key = option.replace('-', ".");
        assert!(output.contains(&key) && output.contains(&address), "{option} is not named: {output}");
    }
}

/// Publishers that connect, send two seconds and vanish: 1,000 of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn memory_stays_flat_while_publishers_come_and_go() {
    let flags = ["--hub-reconnect-window", "100ms", "--hls-linger", "100ms"];
    let server = Headwater::start(&flags).await;
    let rtmp = server.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live").to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("show.flv");
    Show { seconds: Some(2), ..Show::default() }.write(&file).await;
    let tags = tags(&file);
    let mut warm = 0;
    for round in 0..1_000 {
        let mut session = Session::publish(&rtmp, &format!("churn-{round}")).await;
        for tag in &tags {
            session.send(tag).await.unwrap();
        }
        drop(session);
        if round == 299 {
            warm = settled(&server, round + 1).await;
        }
    }
    let resident = settled(&server, 1_000).await;
    assert!(resident * 100 <= warm * 105, "{warm} KiB after 300 publishers, {resident} KiB after 1,000");
}

/// Resident memory once every stream is over and forgotten.
async fn settled(server: &Headwater, streams: usize) -> u64 {
    let start = Instant::now();
    while server.process.output().matches("stream is over").count() < streams
        || server.metric("headwater_hub_streams").await > 0.0
    {
        assert!(start.elapsed() < PATIENCE, "streams do not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (resident, held) = (server.process.resident(), server.metric("headwater_hub_memory_bytes").await);
    eprintln!("{streams} publishers: {resident} KiB, {held} B held, {} descriptors", server.process.descriptors());
    resident
}
