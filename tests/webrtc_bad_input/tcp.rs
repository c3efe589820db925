//! ICE over TCP: connections that say nothing, half of something, or rubbish.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::beside::Beside;
use super::support::Headwater;
use super::support::webrtc::{Identity, Peer};
use super::{noise, server};

/// Where the media port is, for TCP too.
async fn port(server: &Headwater) -> (SocketAddr, Peer) {
    let identity = Identity::new();
    let named = identity.fingerprint.clone();
    let peer = Peer::offer(server, "/whip/tcp?test", &named, identity).await;
    (peer.to, peer)
}

async fn connect(from: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, from, 1)), 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Waits until the server closes; says how long that took.
async fn closed(stream: &mut TcpStream, bound: Duration) -> Duration {
    let start = Instant::now();
    let mut buffer = [0; 1_000];
    let read = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(bound, read).await.expect("the connection is closed");
    start.elapsed()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

#[tokio::test]
async fn a_connection_that_no_session_knows_is_closed() {
    let server = server(&[]).await;
    let (to, peer) = port(&server).await;
    let beside = Beside::start(&server, "healthy").await;
    let soon = Duration::from_secs(15);
    let mut silent = connect(1, to).await;
    let mut half = connect(1, to).await;
    half.write_all(&[1, 0, 7]).await.unwrap();
    let mut large = connect(1, to).await;
    large.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(closed(&mut large, soon).await < Duration::from_secs(2), "no datagram is so long");
    let mut rubbish = connect(1, to).await;
    for at in 0..200 {
        if rubbish.write_all(&framed(&noise(at, 900))).await.is_err() {
            break;
        }
    }
    assert!(closed(&mut rubbish, soon).await < Duration::from_secs(5), "much rubbish");
    let mut empty = connect(1, to).await;
    let _ = empty.write_all(&vec![0; 1_000_000]).await;
    assert!(closed(&mut empty, soon).await < Duration::from_secs(5), "many datagrams of nothing");
    // A session's own is kept.
    let mut known = connect(1, to).await;
    known.write_all(&framed(&peer.request())).await.unwrap();
    let mut answer = [0; 4];
    tokio::time::timeout(soon, known.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[2..], [1, 1], "an answer to a request");
    closed(&mut silent, soon).await;
    closed(&mut half, soon).await;
    known.write_all(&framed(&peer.request())).await.unwrap();
    tokio::time::timeout(soon, known.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(beside.goes_on().await, 0);
}

#[tokio::test]
async fn thousands_of_idle_connections_are_bounded_and_leave_again() {
    let server = server(&["--webrtc-max-sessions", "500"]).await;
    let (to, _peer) = port(&server).await;
    let beside = Beside::start(&server, "healthy").await;
    let (before, memory) = (server.process.descriptors(), server.process.resident());
    let mut idle = Vec::new();
    for from in 1..=20 {
        for _ in 0..100 {
            idle.push(connect(from, to).await);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (during, grown) = (server.process.descriptors(), server.process.resident().saturating_sub(memory));
    println!("{before} descriptors before, {during} with 2,000 connections, {grown} KiB more");
    assert!(during <= before + 500, "{before} descriptors before, {during} with 2,000 connections");
    assert!(grown < 500 * 32, "{grown} KiB for 500 connections");
    for stream in &mut idle {
        closed(stream, Duration::from_secs(15)).await;
    }
    // A few belong to whoever makes stills.
    assert!(server.process.descriptors() < before + 20);
    assert_eq!(beside.goes_on().await, 0);
}

#[tokio::test]
async fn one_connection_that_floods_waits_for_the_others() {
    let server = server(&[]).await;
    let (to, peer) = port(&server).await;
    let beside = Beside::start(&server, "healthy").await;
    let mut known = connect(1, to).await;
    known.write_all(&framed(&peer.request())).await.unwrap();
    let mut answer = [0; 4];
    known.read_exact(&mut answer).await.unwrap();
    let flood: Vec<u8> = (0..500).flat_map(|at| framed(&noise(at, 100 + at as usize))).collect();
    let (before, start, mut sent) = (server.process.cpu(), Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(3) && known.write_all(&flood).await.is_ok() {
        sent += flood.len();
    }
    let (took, lost) = (server.process.cpu() - before, beside.goes_on().await);
    println!("{sent} bytes of rubbish over one connection took {took:?}; {lost} packets lost beside them");
    assert!(lost < 20, "{lost} packets lost");
}
