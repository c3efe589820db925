//! Requests that wait: answered the moment the segment is there, forgotten when the client goes away, finished in a drain.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Client, PATIENCE, Raw, get};
use super::{edge, settings};

const NEXT: &str = "/live/show/video.m3u8?_HLS_msn=8";

#[tokio::test]
async fn a_reload_and_a_hinted_part_wait_for_what_they_name() {
    let (edge, double) = edge(settings());
    let (mut reload, mut hint) = (Raw::connect(edge.addr()).await, Raw::connect(edge.addr()).await);
    reload.say(&format!("GET {NEXT}&_HLS_part=0 HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    hint.say("GET /live/show/1/video/8.0.m4s HTTP/1.1\r\nHost: t\r\n\r\n").await;
    double.waiting(2).await;
    // Others are not held up by it.
    assert_eq!(get(edge.addr(), "/live/show/video.m3u8", "").await.status, 200);
    double.publish(8);
    assert!(reload.reply(false).await.text().contains("newest=8"));
    assert_eq!(hint.reply(false).await.text(), "hinted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_wait_and_all_are_answered() {
    let (edge, double) = edge(settings());
    let addr = edge.addr();
    let mut tasks = JoinSet::new();
    for _ in 0..500 {
        tasks.spawn(async move { (get(addr, NEXT, "").await.text().contains("newest=8"), 1) });
    }
    for _ in 0..6 {
        tasks.spawn(async move {
            let Client::Two(client) = Client::http2(TcpStream::connect(addr).await.unwrap()).await else { panic!() };
            let mut streams = JoinSet::new();
            for _ in 0..250 {
                let mut client = Client::Two(client.clone());
                streams.spawn(async move { client.get(NEXT).await.text().contains("newest=8") });
            }
            let answers = streams.join_all().await;
            (answers.iter().all(|right| *right), answers.len())
        });
    }
    double.waiting(2000).await;
    double.publish(8);
    let answers = tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("all in time");
    assert!(answers.iter().all(|(right, _)| *right));
    assert_eq!(answers.iter().map(|(_, count)| count).sum::<usize>(), 2000);
    double.waiting(0).await;
}

#[tokio::test]
async fn who_goes_away_is_forgotten() {
    let (edge, double) = edge(settings());
    let mut raw = Raw::connect(edge.addr()).await;
    raw.say(&format!("GET {NEXT} HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    double.waiting(1).await;
    drop(raw);
    double.waiting(0).await;
    let mut client = Client::http2(TcpStream::connect(edge.addr()).await.unwrap()).await;
    let request = tokio::spawn(async move { client.send(NEXT).await.map(drop) });
    double.waiting(1).await;
    request.abort();
    double.waiting(0).await;
}

#[tokio::test]
async fn a_drain_lets_held_requests_finish_and_takes_no_new_ones() {
    let (edge, double) = edge(settings());
    let addr = edge.addr();
    let readiness = edge.readiness();
    let (mut held, mut idle, fresh) =
        (Raw::connect(addr).await, Raw::connect(addr).await, TcpStream::connect(addr).await);
    assert_eq!(idle.get("/healthz", "").await.status, 200);
    held.say(&format!("GET {NEXT} HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    double.waiting(1).await;
    readiness.end();
    assert_eq!(idle.get("/readyz", "").await.status, 503);
    let drained = tokio::spawn(edge.drain(PATIENCE));
    // The idle connection and the one that never asked are closed, and so are the listeners, each by its own thread.
    idle.closed().await;
    Raw::from(fresh.unwrap()).closed().await;
    tokio::time::timeout(PATIENCE, async { while TcpStream::connect(addr).await.is_ok() {} }).await.unwrap();
    double.publish(8);
    let reply = held.reply(false).await;
    assert_eq!((reply.status, reply.header("connection")), (200, "close"));
    assert!(drained.await.unwrap());
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let (edge, double) = edge(settings());
    let mut held = Raw::connect(edge.addr()).await;
    held.say(&format!("GET {NEXT} HTTP/1.1\r\nHost: t\r\n\r\n")).await;
    double.waiting(1).await;
    assert!(!edge.drain(Duration::from_millis(50)).await);
    assert_eq!(held.closed().await, 0);
    double.waiting(0).await;
}
