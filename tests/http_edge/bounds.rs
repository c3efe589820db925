//! Hostile and unlucky peers: each loses its own connection and nothing else.

use std::time::Duration;

use headwater::http::{Edge, Settings, StartError};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{Client, Raw, get};
use super::double::Double;
use super::{edge, settings, watching};

const BRIEF: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn a_head_that_does_not_end_in_time_ends_the_connection() {
    let (edge, _double) = edge(Settings { header_timeout: BRIEF, idle_timeout: LONG, ..settings() });
    for opening in ["", "P", "GET / HTTP/1.1\r\nHost: t\r\nX: ", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut raw = Raw::connect(edge.addr()).await;
        raw.say(opening).await;
        raw.closed().await;
    }
    // Dripping bytes buys no time, nor does a first request well done.
    let mut raw = Raw::connect(edge.addr()).await;
    assert_eq!(raw.get("/healthz", "").await.status, 200);
    raw.say("GET / HTTP/1.1\r\n").await;
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if raw.stream.write_all(b"X: y\r\n").await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(super::client::PATIENCE, drip).await.expect("closed in time");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_held_one_is_not() {
    let (edge, double) = edge(Settings { idle_timeout: BRIEF, ..settings() });
    let mut held = Raw::connect(edge.addr()).await;
    held.say("GET /live/show/video.m3u8?_HLS_msn=8 HTTP/1.1\r\nHost: t\r\n\r\n").await;
    double.waiting(1).await;
    let mut idle = Raw::connect(edge.addr()).await;
    assert_eq!(idle.get("/healthz", "").await.status, 200);
    idle.closed().await;
    let mut client = Client::http2(TcpStream::connect(edge.addr()).await.unwrap()).await;
    assert_eq!(client.status("/healthz").await, 200);
    let Client::Two(mut sender) = client else { panic!() };
    tokio::time::timeout(super::client::PATIENCE, async {
        while sender.ready().await.is_ok() {
            tokio::time::sleep(BRIEF).await
        }
    })
    .await
    .expect("closed in time");
    double.publish(8);
    assert_eq!(held.reply(false).await.status, 200);
}

#[tokio::test]
async fn a_peer_that_takes_no_bytes_is_closed() {
    let (edge, double) = edge(Settings { write_timeout: BRIEF, ..settings() });
    let mut raw = Raw::connect(edge.addr()).await;
    raw.say("GET /live/show/1/video/big.m4s HTTP/1.1\r\nHost: t\r\n\r\n").await;
    double.bodies(1).await;
    // The body is let go of while the client still has its connection.
    double.bodies(0).await;
    assert!(raw.closed().await < 64 << 20);
    // One that reads gets all of it.
    let whole = get(edge.addr(), "/live/show/1/video/big.m4s", "").await;
    assert_eq!(whole.body.len(), 64 << 20);
    assert!(whole.body[63 << 20..].iter().all(|byte| *byte == 1));
    // Over HTTP/2 it is the window that stays shut, while the socket goes on taking pings.
    let mut client = Client::http2(TcpStream::connect(edge.addr()).await.unwrap()).await;
    assert_eq!(client.get("/live/show/1/video/big.m4s").await.body.len(), 64 << 20);
    let unread = client.send("/live/show/1/video/big.m4s").await.unwrap();
    double.bodies(0).await;
    assert!(unread.into_body().collect().await.is_err());
}

#[tokio::test]
async fn beyond_the_limit_is_503_until_there_is_room() {
    let (edge, _double) = edge(Settings { max_connections: 2, ..settings() });
    let (mut one, mut two) = (Raw::connect(edge.addr()).await, Raw::connect(edge.addr()).await);
    assert_eq!((one.get("/healthz", "").await.status, two.get("/healthz", "").await.status), (200, 200));
    let mut third = Raw::connect(edge.addr()).await;
    let refused = third.get("/healthz", "").await;
    assert_eq!((refused.status, refused.header("retry-after"), refused.header("connection")), (503, "5", "close"));
    third.closed().await;
    let mut http2 = Client::http2(TcpStream::connect(edge.addr()).await.unwrap()).await;
    assert_eq!(http2.status("/healthz").await, 503);
    drop(one);
    // The place is free when the server has seen the end of the connection.
    for attempt in 0.. {
        assert!(attempt < 200, "the place never became free");
        if get(edge.addr(), "/healthz", "").await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(two.get("/healthz", "").await.status, 200);
}

#[tokio::test]
async fn rubbish_harms_nobody_else() {
    let (edge, _double) = edge(settings());
    let mut good = Raw::connect(edge.addr()).await;
    let mut noise = 0x9e37_79b9_u32;
    for round in 0..50_usize {
        let mut stream = TcpStream::connect(edge.addr()).await.unwrap();
        let mut bytes: Vec<u8> = if round % 2 == 0 { vec![] } else { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() };
        bytes.extend((0..round * 40).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        }));
        // The server may close before all of it is written.
        let _ = stream.write_all(&bytes).await;
        assert_eq!(good.get("/healthz", "").await.status, 200);
    }
    let mut huge = Raw::connect(edge.addr()).await;
    let header = format!("GET / HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    let _ = huge.stream.write_all(header.as_bytes()).await;
    assert_eq!(huge.reply(false).await.status, 431);
    let mut many = Raw::connect(edge.addr()).await;
    let _ = many.stream.write_all(format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500)).as_bytes()).await;
    assert_eq!(many.reply(false).await.status, 431);
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_option() {
    let (edge, _double) = edge(settings());
    let taken = Settings { listen: edge.addr(), ..settings() };
    let error = Edge::start(taken, Double::new(), None, None, watching()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&edge.addr().to_string()) && text.contains("http.listen"), "{text}");
    let without = Settings { tls_listen: Some("127.0.0.1:0".parse().unwrap()), ..settings() };
    assert!(matches!(Edge::start(without, Double::new(), None, None, watching()), Err(StartError::NoCertificate)));
}
